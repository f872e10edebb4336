//! The word of an owner or keeper, to whoever claimed an address.

use crate::range::Address;
use crate::time::{Duration, Instant};

use super::live::{Asker, Origin, Waiter};
use super::message::{Message, Reply};
use super::participation::Participation;
use super::request::Answer;
use super::store::AddressStore;

/// An owner or keeper says something to whoever claimed an address.
///
/// What this host has to follow up waits for the end of the turn: the owner is in the middle of its own work.
pub(super) fn reply(
    store: &mut AddressStore,
    host: &mut Participation,
    address: Address,
    waiter: Waiter,
    reply: Reply,
    after: u64,
    now: Instant,
) {
    let token = match waiter.asker {
        Asker::There(to, id) => return host.outbox.send(to, Message::Reply { id, reply }, after, now),
        Asker::Here(Origin::Brought) => return store.returned.push((address, waiter, reply)),
        Asker::Here(Origin::Guest(token)) => token,
    };
    let answer = match reply {
        Reply::Granted { lease_time, copies } => acknowledged(store, address, lease_time, copies),
        Reply::Taken => Answer::Nak,
        Reply::CannotSay { .. } => return store.returned.push((address, waiter, reply)),
        Reply::Nonce { .. } | Reply::Done => Answer::Done,
    };
    host.outbox.answer(token, answer, after, now);
}

pub(super) fn acknowledged(store: &AddressStore, address: Address, lease_time: Duration, copies: u32) -> Answer {
    Answer::Ack {
        address: address.ip(),
        lease_time,
        hostname: store.configured.reserved.get(&address).and_then(|r| r.hostname.clone()),
        copies,
    }
}
