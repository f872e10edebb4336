//! Telling and listing: what every host learns of leases and ranges.

use std::collections::BTreeMap;

use crate::id::{HostId, Mac};
use crate::range::{Address, Range};
use crate::time::{Duration, Instant};

use super::host::Host;
use super::request::Effect;
use super::segment::Segment;
use super::timing;
use super::view::PoolLine;
use crate::lease::{Lease, LeaseState, Left};

impl Segment {
    /// Tells everybody of a lease that this host owns or keeps.
    pub(super) fn tell(&mut self, host: &mut Host, address: Address, now: Instant) {
        let info = self.info(host, address, now);
        host.disk.effect(Effect::GossipLease(info.clone()));
        self.learn_lease(info, now);
    }

    /// Tells it again if something other than its time has changed.
    pub(super) fn retell(&mut self, host: &mut Host, address: Address, now: Instant) {
        let mut info = self.info(host, address, now);
        if let Some((before, _)) = self.known.get(&address) {
            info.told = before.told;
            if *before == info {
                return;
            }
        }
        self.tell(host, address, now);
    }

    fn info(&self, host: &Host, address: Address, now: Instant) -> Lease {
        let state = self.at(address);
        let record = &state.record;
        let lease_state = self.lease_state(host, address);
        let reserved = self
            .configured
            .reserved
            .get(&address)
            .filter(|r| record.client() == Some(r.client));
        let hostname = reserved
            .and_then(|r| r.hostname.clone())
            .unwrap_or_else(|| record.hostname.clone());
        let relied = self.live.get(&address).and_then(|live| live.relied_until);
        let endless = matches!(
            lease_state,
            LeaseState::Settled | LeaseState::Free | LeaseState::Quarantined
        );
        let told = self.known.get(&address).map_or(0, |(before, _)| before.told) + 1;
        Lease {
            segment: self.id,
            address,
            version: record.version,
            told,
            client: record.client(),
            hostname,
            owner: state.owner.unwrap_or(host.me),
            keeper: record.keeper,
            copies: self.copies(host, address),
            state: lease_state,
            generation: self.configured.generation,
            left: Left(relied.filter(|_| !endless).map(|until| timing::shown(until.since(now)))),
        }
    }

    /// What somebody told of a lease.
    pub(super) fn learn_lease(&mut self, info: Lease, now: Instant) {
        let address = info.address;
        if let Some((before, _)) = self.known.get(&address) {
            if (before.version, before.told) >= (info.version, info.told) {
                return;
            }
            if let Some(client) = before.client {
                self.known_clients.remove(&(client, address));
                self.held -= 1;
            }
        }
        if let Some(client) = info.client {
            self.known_clients.insert((client, address));
            self.held += 1;
        }
        self.known.insert(address, (info, now));
    }

    /// All leases known here, by address.
    pub(super) fn lease_list(&self, now: Instant) -> Vec<Lease> {
        let aged = |(info, heard): &(Lease, Instant)| Lease {
            left: Left(info.left.0.map(|left| left.saturating_sub(now.since(*heard)))),
            ..info.clone()
        };
        self.known.values().map(aged).collect()
    }

    /// The addresses that a client holds, as somebody told.
    pub(super) fn held_by(&self, client: Mac) -> impl Iterator<Item = Address> {
        let all = (client, Address::from_bits(0))..=(client, Address::from_bits(u128::MAX));
        let told = self.known_clients.range(all).map(|&(_, address)| address);
        told.filter(|address| {
            let state = self.known.get(address).map(|(info, _)| info.state);
            state == Some(LeaseState::Held)
        })
    }

    /// All ranges, as their owners told.
    pub(super) fn pool_show(&self) -> Vec<PoolLine> {
        let mut newest: BTreeMap<Range, PoolLine> = BTreeMap::new();
        for share in self.shares.values() {
            for run in &share.ranges {
                newest.insert(
                    run.range,
                    PoolLine {
                        range: run.range,
                        owner: Some(share.owner),
                        free: run.free,
                        held: run.held,
                        quarantined: run.quarantined,
                        declined: run.declined,
                    },
                );
            }
        }
        for (range, state) in self.state.iter() {
            let told = newest.keys().any(|line| line.common(range).is_some());
            if !told {
                let quarantined = range.size();
                let line = PoolLine {
                    range,
                    owner: state.owner,
                    free: 0,
                    held: 0,
                    quarantined,
                    declined: 0,
                };
                newest.insert(range, line);
            }
        }
        newest.into_values().collect()
    }

    /// How long a client may still hold an address, as the owner or keeper here counts; none if it is neither.
    pub(super) fn relied_for(&self, host: HostId, address: Address, now: Instant) -> Option<Duration> {
        let state = self.at(address);
        let here = state.owner == Some(host) || state.record.keeper == Some(host);
        let until = self.live.get(&address).filter(|_| here)?.relied_until?;
        Some(until.since(now))
    }
}
