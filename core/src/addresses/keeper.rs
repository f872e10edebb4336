//! The keeper's side: storing what owners put, and giving way only when no guest relies on it any more.

use std::collections::BTreeSet;

use crate::id::HostId;
use crate::lease::Epoch;
use crate::range::{Address, Range};
use crate::time::{Duration, Instant};

use super::message::{Message, PutRefusal};
use super::participation::{Departure, Participation};
use super::record::LeaseRecord;
use super::store::AddressStore;
use super::transfer;

/// What this host keeps for other owners.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    /// Addresses kept here for which the owner has shown another keeper.
    replaced: BTreeSet<Address>,
}

impl Keeper {
    /// An owner wants a record stored here.
    pub(super) fn handle_put(
        &mut self,
        store: &mut AddressStore,
        host: &mut Participation,
        from: HostId,
        (address, epoch, record): (Address, Epoch, LeaseRecord),
        confirmed: bool,
        now: Instant,
    ) {
        let version = record.version;
        self.note_replaced(store, host, address, &record, confirmed);
        if let Some((why, left)) = refusal(store, host, address, epoch, &record, now) {
            let promised = store.at(address).promised;
            let segment = store.id;
            let refused = Message::PutRefused {
                segment,
                address,
                version,
                why,
                promised,
                left,
            };
            return host.outbox.send(from, refused, store.after(address), now);
        }
        if host.departure == Departure::None {
            transfer::finish_give(store, host, from, Range::one(address), epoch);
        }
        let before = store.live.get(&address).and_then(|live| live.relied_until);
        let same = record.goes_on_from(&store.at(address).record);
        let newer = store.at(address).record.version < version;
        store.update(host, Range::one(address), |_, state| {
            state.promised = state.promised.max(epoch);
            if state.record.version < version {
                state.record = record.clone();
            }
        });
        if let Some(live) = store.live.get_mut(&address) {
            live.relied_until = before.filter(|_| same);
            live.unsure &= !newer;
        }
        let stored = Message::Stored {
            segment: store.id,
            address,
            version,
        };
        host.outbox.send(from, stored, store.after(address), now);
    }

    /// Notes that the owner has found another keeper for what this host keeps.
    fn note_replaced(
        &mut self,
        store: &mut AddressStore,
        host: &Participation,
        address: Address,
        record: &LeaseRecord,
        confirmed: bool,
    ) {
        let mine = &store.at(address).record;
        if record.keeper == Some(host.me) {
            self.replaced.remove(&address);
        } else if confirmed && mine.keeper == Some(host.me) && mine.version < record.version {
            self.replaced.insert(address);
        }
    }

    /// The addresses of which this host is still the only keeper that it knows of.
    pub(super) fn kept(&self, store: &AddressStore, host: &Participation) -> usize {
        store
            .live
            .keys()
            .filter(|&&address| {
                let state = store.at(address);
                state.owner != Some(host.me)
                    && state.record.keeper == Some(host.me)
                    && state.record.client().is_some()
                    && !self.replaced.contains(&address)
            })
            .count()
    }
}

/// Why a record is not stored, and how long the guest may still rely on this host.
fn refusal(
    store: &AddressStore,
    host: &Participation,
    address: Address,
    epoch: Epoch,
    record: &LeaseRecord,
    now: Instant,
) -> Option<(PutRefusal, Duration)> {
    let state = store.at(address);
    let no_time = |why| Some((why, Duration::ZERO));
    if !host.takes_part() {
        return no_time(PutRefusal::NoPart);
    }
    if epoch < state.promised {
        return no_time(PutRefusal::Promised);
    }
    if record.version < state.record.version {
        return no_time(PutRefusal::Older);
    }
    if state.owner == Some(host.me) {
        return no_time(PutRefusal::Owner);
    }
    let stays = record.keeper == Some(host.me) && record.goes_on_from(&state.record);
    let left = store.relied_here(host, address, now);
    (left > Duration::ZERO && !stays).then_some((PutRefusal::Keeps, left))
}
