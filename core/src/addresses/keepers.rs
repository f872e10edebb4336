//! Which host keeps a lease beside its owner, and how the record says so.

use std::collections::BTreeSet;

use crate::id::HostId;
use crate::range::{Address, Range};
use crate::time::{Duration, Instant};

use super::live::Replication;
use super::participation::Participation;
use super::record::Holder;
use super::store::{AddressStore, fresh_version};
use super::timing::{ASK, KEEPERS, MOVED, REPEAT_FIRST};

/// Names the client again that the record named last, while a host may still extend its lease: nobody but that client
/// can rely on the address.
pub(super) fn revive(
    store: &mut AddressStore,
    host: &mut Participation,
    address: Address,
    for_time: Duration,
    now: Instant,
) {
    let home = |client| store.guests.get(&client).and_then(|(guest, _)| guest.host);
    let Holder::Free { last: Some(client) } = store.at(address).record.holder else {
        return;
    };
    let keepers = store
        .at(address)
        .may
        .iter()
        .copied()
        .find(|&keeper| host.can_keep(keeper));
    let keeper = keepers.or_else(|| choose_keeper(store, host, home(client), &BTreeSet::new()));
    rewrite(store, host, address, keeper, Holder::Client(client), now);
    if let Some(live) = store.live.get_mut(&address) {
        live.relied_until = Some(now + for_time);
        live.granted = now;
    }
}

/// Writes a newer version of a bound record: another keeper, or a longer time. `may` only grows by it.
pub(super) fn rewrite(
    store: &mut AddressStore,
    host: &mut Participation,
    address: Address,
    keeper: Option<HostId>,
    holder: Holder,
    now: Instant,
) {
    let lease_time = store.lease_time();
    let alone = store.at(address).record.keeper.is_none();
    store.update(host, Range::one(address), |_, state| {
        state.record.version = fresh_version(state);
        state.record.keeper = keeper;
        state.record.holder = holder;
        state.record.lease_time = state.record.lease_time.max(lease_time);
        state.may.extend(keeper);
    });
    let Some(live) = store.live.get_mut(&address) else {
        return;
    };
    live.confirmed.clear();
    live.alone |= alone;
    let work = live.work.get_or_insert_with(|| Replication::new(now));
    work.due = now;
    work.wait = REPEAT_FIRST;
    work.keeper_by = keeper.map(|_| now + ASK);
    work.tried.extend(keeper);
    store.look_at(address, now);
}

/// Gives a bound record the keeper and the time that it should have by now.
pub(super) fn repair(store: &mut AddressStore, host: &mut Participation, address: Address, now: Instant) {
    if !store.owns(host, address) {
        return;
    }
    let state = store.at(address);
    let Some(client) = state.record.client() else { return };
    if store
        .live
        .get(&address)
        .is_some_and(|live| live.work.as_ref().is_some_and(|work| work.keeper_by.is_some()))
    {
        return;
    }
    let at_home = store
        .guests
        .get(&client)
        .and_then(|(guest, since)| Some((guest.host?, *since)));
    let keeper = match (state.record.keeper, at_home) {
        (Some(keeper), _) if host.is_removed(keeper) || host.retires(keeper) => {
            let next = choose_keeper(store, host, at_home.map(|(home, _)| home), &BTreeSet::from([keeper]));
            // Others may be back and keep it then; where all others leave, this host is as good as alone.
            if next.is_none() && !host.is_removed(keeper) && !host.is_left_alone() {
                Some(keeper)
            } else {
                next
            }
        }
        (Some(keeper), Some((home, since)))
            if home != keeper && home != host.me && now.since(since) >= MOVED && host.can_keep(home) =>
        {
            Some(home)
        }
        (Some(keeper), _) => Some(keeper),
        (None, at_home) => choose_keeper(store, host, at_home.map(|(home, _)| home), &BTreeSet::new()),
    };
    let longer = store.lease_time() > state.record.lease_time;
    let crowded = keeper.is_some_and(|keeper| !state.may.contains(&keeper)) && state.may.len() >= KEEPERS;
    if (keeper != state.record.keeper || longer) && !crowded {
        let holder = state.record.holder;
        rewrite(store, host, address, keeper, holder, now);
    }
}

/// The guest's own host, or the next in the group's order that can be asked and takes part.
pub(super) fn choose_keeper(
    store: &AddressStore,
    host: &Participation,
    home: Option<HostId>,
    but: &BTreeSet<HostId>,
) -> Option<HostId> {
    home.into_iter()
        .chain(store.standing.order.iter().copied())
        .find(|&candidate| host.can_keep(candidate) && !but.contains(&candidate))
}

/// Bound records without a keeper that can be one get another.
pub(super) fn replace_keepers(store: &mut AddressStore, host: &Participation, now: Instant) {
    if !std::mem::take(&mut store.due.keepers) {
        return;
    }
    let lacking: Vec<Address> = store
        .live
        .keys()
        .copied()
        .filter(|&address| {
            store.owns(host, address)
                && store.at(address).record.client().is_some()
                && store
                    .at(address)
                    .record
                    .keeper
                    .is_none_or(|keeper| host.is_removed(keeper) || host.retires(keeper))
        })
        .collect();
    for address in lacking {
        store.look_at(address, now);
    }
}
