//! Leases that a host brings along from a cluster of its own: their new owners are asked to bind them.

use std::net::IpAddr;

use crate::id::Mac;
use crate::range::Address;
use crate::time::Instant;

use super::live::{Asker, Origin, Timer};
use super::message::Claim;
use super::participation::Participation;
use super::request::Wanted;
use super::request::{Answer, Effect, LeaseEvent};
use super::requests::Requests;
use super::store::AddressStore;

impl Requests {
    /// Whether a claim for a lease that was brought along is open, here or elsewhere.
    pub(super) fn asks_brought(&self, store: &AddressStore, address: Address) -> bool {
        let work = store.live.get(&address).and_then(|live| live.work.as_ref());
        work.is_some_and(|work| {
            work.waiters
                .iter()
                .any(|waiter| waiter.asker == Asker::Here(Origin::Brought))
        }) || self
            .questions
            .values()
            .any(|question| question.origin == Origin::Brought && question.address == address)
    }

    /// This host brings a lease along from a cluster of its own.
    pub(super) fn bring(&mut self, store: &mut AddressStore, address: IpAddr, claim: Claim, now: Instant) {
        self.brought.insert(address.into(), claim);
        store.at_time(now, Timer::Tick);
    }

    /// Asks the owners of what was brought.
    pub(super) fn ask_brought(&mut self, store: &mut AddressStore, host: &mut Participation, now: Instant) {
        let open: Vec<(Address, Claim)> = self
            .brought
            .iter()
            .filter(|(address, _)| !self.asks_brought(store, **address))
            .map(|(&address, claim)| (address, claim.clone()))
            .collect();
        for (address, claim) in open {
            if store.is_current() && !store.allows(address, claim.client) {
                // Not in the pool, or kept for somebody else: no owner will ever bind it.
                self.bring_in_vain(store, host, address, claim.client);
                continue;
            }
            self.ask(store, host, Origin::Brought, address, Wanted::Bind(claim), now);
        }
    }

    /// An owner has said something about a lease that was brought.
    pub(super) fn handle_brought(
        &mut self,
        store: &mut AddressStore,
        host: &mut Participation,
        address: Address,
        client: Mac,
        answer: &Answer,
    ) {
        match answer {
            Answer::Ack { .. } => {
                self.brought.remove(&address);
            }
            Answer::Nak => self.bring_in_vain(store, host, address, client),
            Answer::Silence(_) | Answer::Offer { .. } | Answer::Done => {}
        }
    }

    pub(super) fn bring_in_vain(
        &mut self,
        store: &mut AddressStore,
        host: &mut Participation,
        address: Address,
        client: Mac,
    ) {
        self.brought.remove(&address);
        host.outbox.effect(Effect::Event(LeaseEvent::BroughtTaken {
            segment: store.id,
            address,
            client,
        }));
    }
}
