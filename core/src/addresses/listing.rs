//! Telling and listing: what every host learns of leases and ranges.

use std::collections::BTreeMap;

use crate::id::{HostId, Mac};
use crate::lease::{Lease, LeaseState, Left, Version};
use crate::range::{Address, Range};
use crate::time::{Duration, Instant};

use super::participation::Participation;
use super::record::Holder;
use super::request::Effect;
use super::store::AddressStore;
use super::timing;
use super::view::RangeLine;

/// Who owns an address, as far as is known here.
pub(super) fn owner_of(store: &AddressStore, address: Address) -> Option<HostId> {
    let state = store.at(address);
    let told = || {
        store
            .shares
            .values()
            .flat_map(|share| share.ranges.iter().map(move |run| (run, share.owner)))
            .filter(|(run, _)| run.range.contains(address))
            .max_by_key(|(run, _)| run.epoch)
    };
    match state.owner {
        Some(owner) => Some(owner),
        None => told().map(|(_, owner)| owner),
    }
}

/// The newest version of an address' record that is known here.
pub(super) fn version_of(store: &AddressStore, address: Address) -> Version {
    let here = store.at(address).record.version;
    store
        .known
        .get(&address)
        .map_or(here, |(told, _)| told.version.max(here))
}

/// What the lease of an address is, in the words of `lease list`.
pub(super) fn lease_state(store: &AddressStore, host: &Participation, address: Address) -> LeaseState {
    let state = store.at(address);
    let reserved = store.configured.reserved.get(&address);
    match state.record.holder {
        Holder::Declined => LeaseState::Declined,
        Holder::Reserved(_) if !store.stands(address, &state.record) => LeaseState::Held,
        Holder::Reserved(_) if store.is_confirmed(host, address) => LeaseState::Settled,
        Holder::Reserved(_) => LeaseState::Pending,
        Holder::Client(client) if reserved.is_some_and(|reservation| reservation.client != client) => {
            LeaseState::Pending
        }
        Holder::Client(_) => LeaseState::Held,
        Holder::Free { .. } if state.is_free() => LeaseState::Free,
        Holder::Released(_) | Holder::Free { .. } => LeaseState::Quarantined,
    }
}

/// Tells everybody of a lease that this host owns or keeps.
pub(super) fn tell(store: &mut AddressStore, host: &mut Participation, address: Address, now: Instant) {
    let info = info(store, host, address, now);
    host.outbox.effect(Effect::GossipLease(info.clone()));
    learn_lease(store, info, now);
}

/// Tells it again if something other than its time has changed.
pub(super) fn retell(store: &mut AddressStore, host: &mut Participation, address: Address, now: Instant) {
    let mut info = info(store, host, address, now);
    if let Some((before, _)) = store.known.get(&address) {
        info.told = before.told;
        if *before == info {
            return;
        }
    }
    tell(store, host, address, now);
}

fn info(store: &AddressStore, host: &Participation, address: Address, now: Instant) -> Lease {
    let state = store.at(address);
    let record = &state.record;
    let lease_state = lease_state(store, host, address);
    let reserved = store
        .configured
        .reserved
        .get(&address)
        .filter(|r| record.client() == Some(r.client));
    let hostname = reserved
        .and_then(|r| r.hostname.clone())
        .unwrap_or_else(|| record.hostname.clone());
    let relied = store.live.get(&address).and_then(|live| live.relied_until);
    let left = match lease_state {
        // Gateways tell when its client was there last.
        LeaseState::Settled => known_left(store, address, now),
        LeaseState::Held | LeaseState::Pending | LeaseState::Quarantined | LeaseState::Declined | LeaseState::Free => {
            relied
                .filter(|_| record.is_bound())
                .map(|until| timing::shown(until.since(now)))
        }
    };
    let told = store.known.get(&address).map_or(0, |(before, _)| before.told) + 1;
    Lease {
        segment: store.id,
        address,
        version: record.version,
        told,
        client: record.client(),
        hostname,
        owner: state.owner.unwrap_or(host.me),
        keeper: record.keeper,
        copies: store.copies(host, address),
        state: lease_state,
        generation: store.configured.generation,
        left: Left(left),
    }
}

/// What somebody told of a lease.
pub(super) fn learn_lease(store: &mut AddressStore, info: Lease, now: Instant) {
    let address = info.address;
    if let Some((before, _)) = store.known.get(&address) {
        if (before.version, before.told) >= (info.version, info.told) {
            return;
        }
        if let Some(client) = before.client {
            store.known_clients.remove(&(client, address));
            store.held -= 1;
        }
    }
    if let Some(client) = info.client {
        store.known_clients.insert((client, address));
        store.held += 1;
    }
    store.known.insert(address, (info, now));
}

/// All leases known here, by address.
pub(super) fn lease_list(store: &AddressStore, now: Instant) -> Vec<Lease> {
    let aged = |(address, (info, _)): (&Address, &(Lease, Instant))| Lease {
        left: Left(known_left(store, *address, now)),
        ..info.clone()
    };
    store.known.iter().map(aged).collect()
}

/// How long a lease still runs by what was told of it.
fn known_left(store: &AddressStore, address: Address, now: Instant) -> Option<Duration> {
    let (info, heard) = store.known.get(&address)?;
    info.left.0.map(|left| left.saturating_sub(now.since(*heard)))
}

/// The addresses that a client holds, as somebody told.
pub(super) fn held_by(store: &AddressStore, client: Mac) -> impl Iterator<Item = Address> {
    let all = (client, Address::from_bits(0))..=(client, Address::from_bits(u128::MAX));
    let told = store.known_clients.range(all).map(|&(_, address)| address);
    told.filter(|address| store.known.get(address).is_some_and(|(info, _)| info.is_held()))
}

/// All ranges, as their owners told.
pub(super) fn pool_show(store: &AddressStore) -> Vec<RangeLine> {
    let mut newest: BTreeMap<Range, RangeLine> = BTreeMap::new();
    for share in store.shares.values() {
        for run in &share.ranges {
            newest.insert(
                run.range,
                RangeLine {
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
    for (range, state) in store.state().iter() {
        let told = newest.keys().any(|line| line.common(range).is_some());
        if !told {
            let quarantined = range.size();
            let line = RangeLine {
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
pub(super) fn relied_for(store: &AddressStore, host: HostId, address: Address, now: Instant) -> Option<Duration> {
    let state = store.at(address);
    let here = state.owner == Some(host) || state.record.keeper == Some(host);
    let until = store.live.get(&address).filter(|_| here)?.relied_until?;
    Some(until.since(now))
}
