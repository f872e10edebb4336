//! The owner's side of a lease: binding and extending. Its copies on other hosts are in `replication.rs`, its end in
//! `ending.rs`.
//!
//! ```text
//!  Bind ─ write ─ fsync ─► Put to all in `may` ─► Stored by the keeper ─► the waiting are answered
//!                             │  300 ms without                               │
//!                             └─► the next keeper (three at most)             ▼
//!  relied_until past ─ write unbound ─ fsync ─► Put to all in `may` ─► all stored: free
//! ```

use std::collections::BTreeSet;

use crate::id::{HostId, Mac};
use crate::range::{Address, Range};
use crate::time::Instant;

use super::live::{Asker, Replication, Waiter};
use super::message::{Ask, Basis, Claim, Message, Reply};
use super::participation::Participation;
use super::record::{Holder, LeaseRecord};
use super::store::{AddressStore, fresh_version};
use super::timing::{ANSWER_LIFE, ASK, NONCE_AFTER};
use super::{ending, grave, keepers, replication, reply};

/// A client wants an address, or more time.
pub(super) fn claim(
    store: &mut AddressStore,
    host: &mut Participation,
    address: Address,
    waiter: Waiter,
    now: Instant,
) {
    let state = store.at(address);
    let owner = state.owner.filter(|&owner| owner != host.me);
    let wants = waiter.claim.client;
    if store.owns(host, address) && store.is_current() && !store.allows(address, wants) {
        return reply::reply(store, host, address, waiter, Reply::Taken, store.after(address), now);
    }
    if !host.serves() || !store.allows(address, wants) {
        return reply::reply(store, host, address, waiter, Reply::CannotSay { owner }, 0, now);
    }
    if store.owns(host, address) {
        match state.record.holder {
            Holder::Client(client) | Holder::Reserved(client) if client == wants => {
                renew(store, host, address, waiter, now);
            }
            Holder::Client(_) | Holder::Reserved(_) | Holder::Released(_) | Holder::Declined => {
                reply::reply(store, host, address, waiter, Reply::Taken, store.after(address), now);
            }
            Holder::Free { .. } if state.is_free() && may_bind(store, address, wants) => {
                bind(store, host, address, &waiter.claim.clone(), Some(waiter), now);
            }
            Holder::Free { last } if last == Some(wants) && state.is_ending() => {
                keepers::revive(store, host, address, ANSWER_LIFE * 2, now);
                renew(store, host, address, waiter, now);
            }
            Holder::Free { .. } => reply::reply(store, host, address, waiter, Reply::CannotSay { owner: None }, 0, now),
        }
    } else if keeps_for(store, host, address, wants) {
        grant_as_keeper(store, host, address, waiter, now);
    } else {
        reply::reply(store, host, address, waiter, Reply::CannotSay { owner }, 0, now);
    }
}

/// Whether this host keeps the lease that a client has.
pub(super) fn keeps_for(store: &AddressStore, host: &Participation, address: Address, client: Mac) -> bool {
    store.keeps(host, address) && store.at(address).record.client() == Some(client)
}

/// Extends the lease that this host keeps.
pub(super) fn grant_as_keeper(
    store: &mut AddressStore,
    host: &mut Participation,
    address: Address,
    waiter: Waiter,
    now: Instant,
) {
    let wanting = waiter.claim.basis == Basis::Wanting;
    if let Some(live) = store.live.get_mut(&address).filter(|_| wanting) {
        live.unsure = true;
    }
    replication::grant(store, host, address, waiter, now);
}

/// Whether a free address may be bound to a client now.
fn may_bind(store: &AddressStore, address: Address, client: Mac) -> bool {
    let offered_to_other = store.offers.get(&address).is_some_and(|offer| offer.client != client);
    let reserved = store.configured.reserved.contains_key(&address);
    !offered_to_other && store.blocked.at(address).is_none() && (reserved || !is_full(store))
}

/// Whether `max_leases` are held.
pub(super) fn is_full(store: &AddressStore) -> bool {
    store
        .configured
        .pool
        .as_ref()
        .and_then(|pool| pool.max_leases)
        .is_some_and(|most| store.held >= most)
}

/// The client has the lease already, as far as this owner knows.
fn renew(store: &mut AddressStore, host: &mut Participation, address: Address, waiter: Waiter, now: Instant) {
    if waiter.claim.basis == Basis::Having || store.is_confirmed(host, address) {
        replication::grant(store, host, address, waiter, now);
        keepers::repair(store, host, address, now);
        return;
    }
    let Some(live) = store.live.get_mut(&address) else {
        return;
    };
    let work = live.work.get_or_insert_with(|| Replication::new(now));
    work.keeper_by.get_or_insert(now + ASK);
    work.waiters.push(waiter);
    store.look_at(address, now);
}

/// Writes a record that names a new client.
fn bind(
    store: &mut AddressStore,
    host: &mut Participation,
    address: Address,
    claim: &Claim,
    waiter: Option<Waiter>,
    now: Instant,
) {
    let keeper = keepers::choose_keeper(store, host, claim.guest_host, &BTreeSet::new());
    let lease_time = store.lease_time();
    let holder = if store.configured.reserved.contains_key(&address) {
        Holder::Reserved(claim.client)
    } else {
        Holder::Client(claim.client)
    };
    store.withdraw_offer(address);
    store.update(host, Range::one(address), |_, state| {
        state.record = LeaseRecord {
            version: fresh_version(state),
            holder,
            lease_time,
            keeper,
            client_id: claim.client_id.clone(),
            hostname: claim.hostname.clone(),
            strikes: 0,
        };
        state.may.extend(keeper);
    });
    let nonce = host.random();
    let Some(live) = store.live.get_mut(&address) else {
        return;
    };
    live.relied_until = Some(now + ANSWER_LIFE * 2);
    live.nonce = nonce;
    live.confirmed.clear();
    live.alone = false;
    live.retire = None;
    let mut work = Replication::new(now);
    work.keeper_by = keeper.map(|_| now + ASK);
    work.tried.extend(keeper);
    work.waiters.extend(waiter);
    live.work = Some(work);
    // The keeper's copy leaves with the fsync of this very turn.
    step(store, host, address, now);
}

/// Binds a reserved address to its client.
pub(super) fn bind_reserved(store: &mut AddressStore, host: &mut Participation, address: Address, now: Instant) {
    let Some(reservation) = store.configured.reserved.get(&address) else {
        return;
    };
    let client = reservation.client;
    let state = store.at(address);
    let (client_id, hostname) = match state.record.client() {
        Some(_) => (state.record.client_id.clone(), state.record.hostname.clone()),
        None => (Vec::new(), reservation.hostname.clone().unwrap_or_default()),
    };
    match state.record.holder {
        Holder::Free { .. } if state.is_free() && store.blocked.at(address).is_none() => {
            let claim = Claim {
                client,
                basis: Basis::Wanting,
                guest_host: store.guests.get(&client).and_then(|(guest, _)| guest.host),
                lease_time: store.lease_time(),
                client_id,
                hostname,
            };
            bind(store, host, address, &claim, None, now);
        }
        Holder::Client(holder) if holder == client => {
            let keeper = state.record.keeper;
            keepers::rewrite(store, host, address, keeper, Holder::Reserved(client), now);
        }
        Holder::Client(_) | Holder::Reserved(_) | Holder::Released(_) | Holder::Declined | Holder::Free { .. } => {}
    }
}

/// Looks at a bound or unconfirmed address: what is over ends, what is due is put.
pub(super) fn step(store: &mut AddressStore, host: &mut Participation, address: Address, now: Instant) {
    if !store.owns(host, address) {
        replication::drop_waiters(store, host, address, now);
        return;
    }
    let state = store.at(address);
    let full = store.full_time(&state.record);
    if state.record.is_bound() {
        let stands = store.stands(address, &state.record);
        let is_reserved = matches!(state.record.holder, Holder::Reserved(_));
        let everybody = grave::everybody_knows(store, host);
        let Some(live) = store.live.get_mut(&address) else {
            return;
        };
        let mut over = *live.relied_until.get_or_insert(now + full);
        if is_reserved && !stands {
            match live.retire {
                Some(retire) => over = over.max(retire),
                None if everybody => over = over.max(*live.retire.insert(now + full)),
                None => over = Instant::from_millis(u64::MAX),
            }
        } else if is_reserved {
            live.retire = None;
            over = Instant::from_millis(u64::MAX);
        }
        if over <= now {
            ending::end(store, host, address, now);
        } else {
            store.look_at(address, over);
        }
    }
    replication::work(store, host, address, now);
}

/// The version and nonce that a release must repeat; none if the lease was extended after `since`, when the client
/// may already have said that it gives it back.
pub(super) fn nonce(
    store: &AddressStore,
    host: &Participation,
    address: Address,
    client: Mac,
    since: Instant,
) -> Reply {
    let record = &store.at(address).record;
    match store.live.get(&address) {
        Some(live) if store.owns(host, address) && record.holder == Holder::Client(client) && live.granted <= since => {
            Reply::Nonce {
                version: record.version,
                nonce: live.nonce,
            }
        }
        _ => Reply::Done,
    }
}

/// Another host asks this one as owner or keeper.
pub(super) fn handle_ask(
    store: &mut AddressStore,
    host: &mut Participation,
    (from, id): (HostId, u64),
    address: Address,
    ask: Ask,
    now: Instant,
) {
    let reply = match ask {
        Ask::Bind(claim) => {
            let (asker, since) = (Asker::There(from, id), now);
            return self::claim(store, host, address, Waiter { asker, claim, since }, now);
        }
        _ if !store.owns(host, address) => Reply::CannotSay {
            owner: store.at(address).owner.filter(|&owner| owner != host.me),
        },
        Ask::Nonce { client } => nonce(store, host, address, client, now - NONCE_AFTER),
        Ask::Release { client, version, nonce } => {
            if ending::is_lease(store, address, (client, version, nonce)) {
                ending::release(store, address, client, now);
            }
            Reply::Done
        }
        Ask::Decline { client, version, nonce } => {
            if ending::is_lease(store, address, (client, version, nonce)) {
                ending::decline(store, host, address, Some(client), now);
            }
            Reply::Done
        }
        Ask::Conflict => {
            ending::decline(store, host, address, None, now);
            Reply::Done
        }
        Ask::Revoke { client, version } => ending::revoke(store, host, address, (client, version), now),
    };
    host.outbox
        .send(from, Message::Reply { id, reply }, store.after(address), now);
}
