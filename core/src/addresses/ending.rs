//! How a lease ends at its owner: given back, run out, declined; and addresses that are quarantined for a full time before they
//! are given out again.

use crate::id::{HostId, Mac};
use crate::lease::Version;
use crate::range::{Address, Range};
use crate::time::{Duration, Instant};

use super::live::{Replication, Timer};
use super::message::Reply;
use super::participation::Participation;
use super::record::{Holder, LeaseRecord, Reuse, Transfer};
use super::request::{Effect, LeaseEvent};
use super::store::{AddressStore, fresh_version};
use super::{keepers, listing, replication, timing};

/// Nobody relies on it any more: nobody has it.
pub(super) fn end(store: &mut AddressStore, host: &mut Participation, address: Address, now: Instant) {
    replication::drop_waiters(store, host, address, now);
    store.update(host, Range::one(address), |_, state| {
        let last = state.record.client();
        state.record.version = fresh_version(state);
        state.record.holder = Holder::Free { last };
        state.record.keeper = None;
    });
    if let Some(live) = store.live.get_mut(&address) {
        live.relied_until = None;
        live.retire = None;
        live.confirmed.clear();
        live.work = Some(Replication::new(now));
        store.look_at(address, now);
    }
    listing::tell(store, host, address, now);
}

/// Whether a client's lease is still what it was when the nonce was asked for.
pub(super) fn is_lease(store: &AddressStore, address: Address, (client, version, nonce): (Mac, Version, u64)) -> bool {
    let record = &store.at(address).record;
    record.holder == Holder::Client(client)
        && record.version == version
        && store.live.get(&address).is_some_and(|live| live.nonce == nonce)
}

/// The client gives its lease back: nobody relies on it at this owner.
pub(super) fn release(store: &mut AddressStore, address: Address, client: Mac, now: Instant) {
    if store.at(address).record.holder != Holder::Client(client) {
        return;
    }
    if let Some(live) = store.live.get_mut(&address) {
        live.relied_until = Some(now);
        store.look_at(address, now);
    }
}

/// An operator ends a client's lease: from now on nobody extends it, and it is free when nobody can rely on it any more.
pub(super) fn revoke(
    store: &mut AddressStore,
    host: &mut Participation,
    address: Address,
    (client, version): (Mac, Version),
    now: Instant,
) -> Reply {
    let record = &store.at(address).record;
    if record.holder != Holder::Client(client) || record.version != version {
        return Reply::CannotSay { owner: None };
    }
    replication::drop_waiters(store, host, address, now);
    store.update(host, Range::one(address), |_, state| {
        state.record.version = fresh_version(state);
        state.record.holder = Holder::Released(client);
    });
    if let Some(live) = store.live.get_mut(&address) {
        live.confirmed.clear();
        live.work = Some(Replication::new(now));
    }
    store.look_at(address, now);
    listing::tell(store, host, address, now);
    Reply::Done
}

/// A client found its address in use, or a foreign user was seen at one that nobody has.
pub(super) fn decline(
    store: &mut AddressStore,
    host: &mut Participation,
    address: Address,
    by: Option<Mac>,
    now: Instant,
) {
    let state = store.at(address);
    let fits = match (by, state.record.holder) {
        (Some(client), Holder::Client(holder)) => client == holder,
        (None, Holder::Free { .. }) => true,
        (Some(_), Holder::Free { .. } | Holder::Reserved(_) | Holder::Released(_) | Holder::Declined)
        | (None, Holder::Client(_) | Holder::Reserved(_) | Holder::Released(_) | Holder::Declined) => false,
    };
    if !store.owns(host, address) || !fits {
        return;
    }
    let time = timing::declined_for(state.record.strikes);
    store.withdraw_offer(address);
    replication::drop_waiters(store, host, address, now);
    store.update(host, Range::one(address), |_, state| {
        state.record = LeaseRecord {
            version: fresh_version(state),
            holder: Holder::Declined,
            lease_time: time.max(state.record.lease_time),
            // It stops extending, and says when its own time is over.
            keeper: state.record.keeper,
            client_id: Vec::new(),
            hostname: String::new(),
            strikes: state.record.strikes + 1,
        };
    });
    if let Some(live) = store.live.get_mut(&address) {
        live.relied_until = Some(now + time);
        live.confirmed.clear();
        live.work = Some(Replication::new(now));
    }
    store.look_at(address, now);
    host.outbox.effect(Effect::Event(LeaseEvent::Declined {
        segment: store.id,
        address,
        time,
    }));
    listing::tell(store, host, address, now);
}

/// A host was removed: where it may have extended a lease with its last breath, the address is
/// quarantined.
pub(super) fn forget_host(store: &mut AddressStore, host: &mut Participation, gone: HostId, now: Instant) {
    let me = host.me;
    let touched: Vec<Range> = store
        .state()
        .iter()
        .filter(|(_, state)| state.owner == Some(me) && state.may.contains(&gone))
        .map(|(range, _)| range)
        .collect();
    for range in touched {
        for address in range.addresses() {
            let full = store.full_time(&store.at(address).record);
            if store.at(address).is_ending() {
                keepers::revive(store, host, address, full, now);
            } else if let Some(live) = store.live.get_mut(&address) {
                let until = now + full;
                live.relied_until = Some(live.relied_until.map_or(until, |before| before.max(until)));
            }
        }
        store.update(host, range, |_, state| {
            state.may.remove(&gone);
            state.reuse = Reuse::Quarantined;
        });
        quarantine(store, range, now);
        for address in range.addresses() {
            keepers::repair(store, host, address, now);
            store.look_at(address, now);
        }
    }
}

/// A full time begins for the quarantined addresses of a range.
pub(super) fn quarantine(store: &mut AddressStore, range: Range, now: Instant) {
    let quarantined: Vec<(Range, Duration)> = store
        .state()
        .within(range)
        .filter(|(_, state)| state.reuse == Reuse::Quarantined)
        .map(|(part, state)| (part, store.full_time(&state.record)))
        .collect();
    for (part, full) in quarantined {
        store.quarantined.set(part, now + full);
        store.at_time(now + full, Timer::Quarantine);
    }
}

/// Addresses whose full time has passed leave quarantine.
pub(super) fn end_quarantines(store: &mut AddressStore, host: &mut Participation, now: Instant) {
    let over: Vec<Range> = store
        .quarantined
        .iter()
        .filter(|(_, until)| **until <= now)
        .map(|(range, _)| range)
        .collect();
    let me = host.me;
    for range in over {
        store.quarantined.clear(range);
        store.update(host, range, |_, state| {
            if state.owner == Some(me) && state.transfer == Transfer::Settled {
                state.reuse = Reuse::Allowed;
            }
        });
    }
}
