//! The copies of an owner's record: who must have it on disk before the client hears of it, and who is waiting for that.

use std::collections::BTreeSet;

use crate::id::HostId;
use crate::lease::{Epoch, Version};
use crate::range::{Address, Range};
use crate::time::{Duration, Instant};

use super::live::{Asker, Replication, Waiter};
use super::message::{Message, PutRefusal, Reply};
use super::participation::Participation;
use super::record::Holder;
use super::store::AddressStore;
use super::timing::{ANSWER_LIFE, ASK, KEEPERS, REPEAT_FIRST, REPEAT_LAST};
use super::{keepers, listing, reply, timing};

/// Acknowledges: the guest may rely on the address from now on.
pub(super) fn grant(
    store: &mut AddressStore,
    host: &mut Participation,
    address: Address,
    waiter: Waiter,
    now: Instant,
) {
    let record = &store.at(address).record;
    let lease_time = waiter.claim.lease_time.min(record.lease_time).min(store.lease_time());
    let until = now + timing::relied(lease_time);
    let nonce = host.random();
    let Some(live) = store.live.get_mut(&address) else {
        return;
    };
    live.relied_until = Some(live.relied_until.map_or(until, |before| before.max(until)));
    live.nonce = nonce;
    live.granted = now;
    let at = live.relied_until.unwrap_or(until);
    store.look_at(address, at);
    let copies = store.copies_behind(host, address);
    reply::reply(
        store,
        host,
        address,
        waiter,
        Reply::Granted { lease_time, copies },
        store.after(address),
        now,
    );
    listing::tell(store, host, address, now);
}

/// A host has stored a record.
pub(super) fn handle_stored(
    store: &mut AddressStore,
    host: &mut Participation,
    from: HostId,
    address: Address,
    version: Version,
    now: Instant,
) {
    let state = store.at(address);
    if !store.owns(host, address) || state.record.version != version || !state.may.contains(&from) {
        return;
    }
    let keeper = state.record.keeper;
    if let Some(live) = store.live.get_mut(&address) {
        live.confirmed.insert(from);
        live.alone &= keeper != Some(from);
    }
    if keeper != Some(from) {
        store.update(host, Range::one(address), |_, state| {
            state.may.remove(&from);
        });
    }
    settle(store, host, address, now);
}

/// Answers those that waited, if the record is confirmed; and tells of it.
pub(super) fn settle(store: &mut AddressStore, host: &mut Participation, address: Address, now: Instant) {
    if !store.owns(host, address) {
        return;
    }
    let bound = store.at(address).record.is_bound();
    if bound && store.is_confirmed(host, address) {
        let waiters = store
            .live
            .get_mut(&address)
            .and_then(|live| live.work.as_mut())
            .map(|work| {
                work.keeper_by = None;
                std::mem::take(&mut work.waiters)
            });
        let waiters = waiters.unwrap_or_default();
        if waiters.is_empty() {
            listing::tell(store, host, address, now);
        }
        for waiter in waiters {
            grant(store, host, address, waiter, now);
        }
    }
    if store.unconfirmed(address).is_empty()
        && let Some(live) = store.live.get_mut(&address)
        && live.work.as_ref().is_some_and(|work| work.waiters.is_empty())
    {
        live.work = None;
    }
    if !bound {
        listing::tell(store, host, address, now);
    }
}

/// A host did not store a record.
pub(super) fn handle_put_refused(
    store: &mut AddressStore,
    host: &mut Participation,
    refusal: (HostId, Address, Version, PutRefusal, Epoch, Duration),
    now: Instant,
) {
    let (from, address, version, why, promised, left) = refusal;
    let state = store.at(address);
    if !store.owns(host, address) || state.record.version != version || !state.may.contains(&from) {
        return;
    }
    match why {
        PutRefusal::Promised if promised > state.epoch => rise_above(store, host, address, promised, now),
        // The refuser's guest has it: that is the client named last, whatever else it is quarantined for.
        PutRefusal::Keeps if matches!(state.record.holder, Holder::Free { last: Some(_) }) => {
            keepers::revive(store, host, address, timing::relied(left), now);
        }
        PutRefusal::Keeps => {
            let at = now + left.clamp(REPEAT_FIRST, REPEAT_LAST);
            if let Some(work) = store.live.get_mut(&address).and_then(|live| live.work.as_mut()) {
                work.due = work.due.max(at);
            }
            store.look_at(address, at);
        }
        PutRefusal::NoPart => {
            if store.at(address).record.keeper == Some(from)
                && let Some(by) = store
                    .live
                    .get_mut(&address)
                    .and_then(|live| live.work.as_mut()?.keeper_by.as_mut())
            {
                *by = now;
            }
            store.look_at(address, now);
        }
        PutRefusal::Promised | PutRefusal::Older | PutRefusal::Owner => {}
    }
}

/// Takes a fresh epoch above a promise and puts the same version again.
pub(super) fn rise_above(
    store: &mut AddressStore,
    host: &mut Participation,
    address: Address,
    promised: Epoch,
    now: Instant,
) {
    let me = host.me;
    let mut epoch = store.fresh_epoch(me, Range::one(address));
    epoch.number = epoch.number.max(promised.number + 1);
    store.update(host, Range::one(address), |_, state| {
        state.epoch = epoch;
    });
    if let Some(live) = store.live.get_mut(&address) {
        live.confirmed.clear();
        let work = live.work.get_or_insert_with(|| Replication::new(now));
        work.due = now;
    }
    store.look_at(address, now);
    store.due.owned = true;
}

/// Puts what is due, and looks for another keeper if the chosen one is silent.
pub(super) fn work(store: &mut AddressStore, host: &mut Participation, address: Address, now: Instant) {
    let Some(work) = store.live.get_mut(&address).and_then(|live| live.work.as_mut()) else {
        return;
    };
    for late in work
        .waiters
        .extract_if(.., |waiter| waiter.is_late(now))
        .collect::<Vec<_>>()
    {
        // Another host has long stopped waiting.
        if let Asker::Here(_) = late.asker {
            reply::reply(store, host, address, late, Reply::CannotSay { owner: None }, 0, now);
        }
    }
    if store.at(address).record.is_bound() && !store.is_confirmed(host, address) {
        next_keeper(store, host, address, now);
    }
    let missing = store.unconfirmed(address);
    let state = store.at(address).clone();
    let after = store.after(address);
    let confirmed = store.is_confirmed(host, address);
    let Some(work) = store.live.get_mut(&address).and_then(|live| live.work.as_mut()) else {
        return;
    };
    if work.due <= now {
        work.due = now + work.wait;
        work.wait = (work.wait * 2).min(REPEAT_LAST);
        for to in missing {
            let waits = host.retires(to) && state.record.keeper.is_some_and(|keeper| keeper != to) && !confirmed;
            if host.hears(to) && !waits {
                let record = state.record.clone();
                let message = Message::Put {
                    segment: store.id,
                    address,
                    epoch: state.epoch,
                    record,
                    confirmed,
                };
                host.outbox.send(to, message, after, now);
            }
        }
    }
    let late = work.waiters.first().map(|waiter| waiter.since + ANSWER_LIFE);
    let next = work.keeper_by.into_iter().chain(late).fold(work.due, Instant::min);
    store.look_at(address, next);
    settle(store, host, address, now);
}

/// The chosen keeper has not stored the record in time: the next one, or none where this host is alone.
fn next_keeper(store: &mut AddressStore, host: &mut Participation, address: Address, now: Instant) {
    let state = store.at(address);
    let (holder, crowded) = (state.record.holder, state.may.len() >= KEEPERS);
    let Some(work) = store.live.get(&address).and_then(|live| live.work.as_ref()) else {
        return;
    };
    if work.keeper_by.is_none_or(|by| by > now) {
        return;
    }
    let any = keepers::choose_keeper(store, host, None, &BTreeSet::new());
    let gone = state.record.keeper.is_none_or(|keeper| !host.can_keep(keeper));
    let next = keepers::choose_keeper(store, host, None, &work.tried)
        .or(any.filter(|_| gone))
        .filter(|next| !crowded || state.may.contains(next));
    if next.is_some() || any.is_none() {
        keepers::rewrite(store, host, address, next, holder, now);
    } else if let Some(work) = store.live.get_mut(&address).and_then(|live| live.work.as_mut()) {
        work.keeper_by = Some(now + ASK);
    }
}

/// Those that waited for an address hear that this host cannot say.
pub(super) fn drop_waiters(store: &mut AddressStore, host: &mut Participation, address: Address, now: Instant) {
    let waiters = store
        .live
        .get_mut(&address)
        .and_then(|live| live.work.take())
        .map(|work| work.waiters);
    let owner = store.at(address).owner.filter(|&owner| owner != host.me);
    for waiter in waiters.unwrap_or_default() {
        let after = store.after(address);
        reply::reply(store, host, address, waiter, Reply::CannotSay { owner }, after, now);
    }
}

/// After a start, or a taking over: what was under way goes on, `after` so long.
pub(super) fn resume(store: &mut AddressStore, host: &Participation, address: Address, at: Instant) {
    if store.at(address).owner == Some(host.me)
        && !store.at(address).may.is_empty()
        && let Some(live) = store.live.get_mut(&address)
    {
        live.work.get_or_insert_with(|| Replication::new(at));
    }
    store.look_at(address, at);
}
