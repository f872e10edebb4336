//! How many hosts have a lease on disk, and who has still to store it: questions that change nothing.

use crate::id::HostId;
use crate::range::Address;
use crate::time::{Duration, Instant};

use super::participation::Participation;
use super::store::AddressStore;

impl AddressStore {
    /// Whether owner and keeper have the record as it is now.
    pub(super) fn is_confirmed(&self, host: &Participation, address: Address) -> bool {
        let Some(live) = self.live.get(&address) else {
            return false;
        };
        match self.at(address).record.keeper {
            Some(keeper) => live.confirmed.contains(&keeper),
            None => host.journal.has(self.after(address)),
        }
    }

    /// How many hosts have the lease on disk: a guest that shows its lease was told of it once two had it.
    pub(super) fn copies_behind(&self, host: &Participation, address: Address) -> u32 {
        let alone = self.live.get(&address).is_none_or(|live| live.alone);
        match self.at(address).record.keeper {
            Some(keeper) if keeper != host.me && !alone => 2,
            Some(_) | None => self.copies(host, address),
        }
    }

    /// How many hosts are known to have the lease on disk.
    pub(super) fn copies(&self, host: &Participation, address: Address) -> u32 {
        let record = &self.at(address).record;
        let confirmed = self.live.get(&address).is_some_and(|live| match record.keeper {
            Some(keeper) if keeper == host.me => !live.unsure,
            Some(keeper) => live.confirmed.contains(&keeper),
            None => false,
        });
        if confirmed { 2 } else { 1 }
    }

    /// The hosts that have still to store the record.
    pub(super) fn unconfirmed(&self, address: Address) -> Vec<HostId> {
        let confirmed = self.live.get(&address).map(|live| &live.confirmed);
        let missing = |host: &&HostId| confirmed.is_none_or(|confirmed| !confirmed.contains(host));
        self.at(address).may.iter().filter(missing).copied().collect()
    }

    /// How long a guest may still rely on what this keeper said.
    pub(super) fn relied_here(&self, host: &Participation, address: Address, now: Instant) -> Duration {
        let record = &self.at(address).record;
        if !record.is_bound() || record.keeper != Some(host.me) {
            return Duration::ZERO;
        }
        let until = self.live.get(&address).and_then(|live| live.relied_until);
        until.map_or(Duration::ZERO, |until| until.since(now))
    }
}
