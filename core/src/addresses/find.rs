//! Finding an address for a guest that asks for any, and keeping it in memory while the guest makes up its mind.
//!
//! ```text
//!  reservation ─► the client's address ─► what it was offered ─► its wish ─► the next free one ─► borrow ─► silence
//! ```

use crate::id::Mac;
use crate::lease::{Lease, LeaseState, Left};
use crate::range::Address;
use crate::time::Instant;

use super::live::Timer;
use super::message::{Claim, Part};
use super::participation::Participation;
use super::record::Holder;
use super::request::{Answer, Effect, LeaseEvent, Silence};
use super::requests::{Requests, Search};
use super::share::Sharing;
use super::store::AddressStore;
use super::timing::{ASK, DECLINED, FINDING_EVERY};
use super::view::ReservedAddress;
use super::{listing, owner};

impl Requests {
    /// A client found an address in use: for a while it is not offered that again.
    pub(super) fn note_declined(&mut self, client: Mac, address: Address, now: Instant) {
        self.declined_by.retain(|_, (_, at)| now.since(*at) < DECLINED);
        self.declined_by.insert(client, (address, now));
    }

    /// Which address would a client get?
    pub(super) fn find(
        &mut self,
        store: &mut AddressStore,
        sharing: &mut Sharing,
        host: &mut Participation,
        token: u64,
        (client, wish): (Mac, Option<Address>),
        now: Instant,
    ) {
        let answer = match self.pick(store, host, client, wish, now) {
            Ok(address) => offer(store, address),
            Err(Silence::NothingFree) if sharing.borrow(store, host, now) => {
                let id = host.random();
                self.searches.insert(
                    id,
                    Search {
                        token,
                        client,
                        wish,
                        until: now + ASK,
                    },
                );
                store.at_time(now + ASK, Timer::Search(id));
                return;
            }
            Err(why) => self.silence(store, host, why, now),
        };
        host.outbox.answer(token, answer, 0, now);
    }

    /// Somebody may have lent addresses, or a search's time is over.
    pub(super) fn search_again(&mut self, store: &mut AddressStore, host: &mut Participation, now: Instant) {
        let ids: Vec<u64> = self.searches.keys().copied().collect();
        for id in ids {
            let Some(search) = self.searches.get(&id) else { continue };
            let (client, wish, until) = (search.client, search.wish, search.until);
            let answer = match self.pick(store, host, client, wish, now) {
                Ok(address) => offer(store, address),
                Err(_) if until > now => continue,
                Err(why) => self.silence(store, host, why, now),
            };
            if let Some(search) = self.searches.remove(&id) {
                host.outbox.answer(search.token, answer, 0, now);
            }
        }
    }

    fn silence(&mut self, store: &mut AddressStore, host: &mut Participation, why: Silence, now: Instant) -> Answer {
        let quiet = self.complained.is_some_and(|before| now.since(before) < FINDING_EVERY);
        if why == Silence::NothingFree && !quiet {
            self.complained = Some(now);
            host.outbox
                .effect(Effect::Event(LeaseEvent::NothingFree { segment: store.id }));
        }
        Answer::Silence(why)
    }

    fn pick(
        &mut self,
        store: &mut AddressStore,
        host: &Participation,
        client: Mac,
        wish: Option<Address>,
        now: Instant,
    ) -> Result<Address, Silence> {
        if !host.serves() || host.part() == Part::Leaving {
            return Err(Silence::NoPart);
        }
        if store.configured.pool.is_none() {
            return Err(Silence::NoPool);
        }
        if let Some(&address) = store.configured.reserved_for.get(&client) {
            match reserved_state(store, host, address, client) {
                LeaseState::Settled => return Ok(address),
                LeaseState::Pending if owner_answers(store, host, address) => return Err(Silence::NotOffered),
                // It cannot have that yet: this client gets any other address meanwhile.
                LeaseState::Pending
                | LeaseState::Held
                | LeaseState::Quarantined
                | LeaseState::Declined
                | LeaseState::Free => {}
            }
        }
        if let Some(address) = self.address_of(store, host, client) {
            return Ok(address);
        }
        if owner::is_full(store) {
            return Err(Silence::MaxLeases);
        }
        let before = store
            .clients
            .range((client, Address::from_bits(0))..=(client, Address::from_bits(u128::MAX)));
        let mine = before
            .map(|&(_, address)| address)
            .find(|&address| store.is_giveable(host, address, client));
        let offered = store
            .offer_of
            .get(&client)
            .copied()
            .filter(|&address| store.is_giveable(host, address, client));
        let wish = wish.filter(|&address| store.is_giveable(host, address, client));
        let address = offered
            .or(mine)
            .or(wish)
            .or_else(|| store.next_free())
            .ok_or(Silence::NothingFree)?;
        store.hold(host.me, address, client, now);
        Ok(address)
    }

    /// The address that a client has, if its owner or keeper can be asked.
    fn address_of(&self, store: &AddressStore, host: &Participation, client: Mac) -> Option<Address> {
        let all = (client, Address::from_bits(0))..=(client, Address::from_bits(u128::MAX));
        let here = store.clients.range(all.clone()).filter_map(|&(_, address)| {
            let record = &store.at(address).record;
            let asks = store.owns(host, address)
                || store.keeps(host, address)
                || listing::owner_of(store, address).is_some_and(|owner| host.hears(owner));
            (record.client() == Some(client) && asks).then_some((record.version, address))
        });
        let told = store.known_clients.range(all).filter_map(|&(_, address)| {
            let (told, _) = store.known.get(&address)?;
            let newer_here = store.at(address).record.version > told.version;
            let asks = host.hears(told.owner) || told.keeper.is_some_and(|keeper| host.hears(keeper));
            (asks && !newer_here).then_some((told.version, address))
        });
        let declined = self.declined_by.get(&client).map(|&(address, _)| address);
        here.chain(told)
            .filter(|&(_, address)| store.allows(address, client) && declined != Some(address))
            .max()
            .map(|(_, address)| address)
    }
}

fn offer(store: &AddressStore, address: Address) -> Answer {
    let hostname = store
        .configured
        .reserved
        .get(&address)
        .and_then(|reservation| reservation.hostname.clone());
    Answer::Offer {
        address: address.ip(),
        lease_time: store.lease_time(),
        hostname,
    }
}

/// How the reservation of an address for a client stands; `Held` if the address is not free yet, and pending if it is a
/// matter of milliseconds once its owner answers.
fn reserved_state(store: &AddressStore, host: &Participation, address: Address, client: Mac) -> LeaseState {
    if store.owns(host, address) {
        return match store.at(address).record.holder {
            Holder::Reserved(holder) | Holder::Client(holder) if holder == client => LeaseState::Settled,
            Holder::Free { .. } if store.at(address).is_free() && store.blocked.at(address).is_none() => {
                LeaseState::Pending
            }
            Holder::Free { .. } => LeaseState::Held,
            Holder::Reserved(_) | Holder::Client(_) | Holder::Released(_) | Holder::Declined => LeaseState::Held,
        };
    }
    match store.known.get(&address).map(|(told, _)| (told.client, told.state)) {
        Some((Some(holder), _)) if holder == client => LeaseState::Settled,
        Some((Some(_), _) | (None, LeaseState::Quarantined | LeaseState::Declined)) => LeaseState::Held,
        Some(_) | None => LeaseState::Pending,
    }
}

fn owner_answers(store: &AddressStore, host: &Participation, address: Address) -> bool {
    listing::owner_of(store, address).is_some_and(|owner| owner == host.me || host.hears(owner))
}

/// What everybody was told of a client's reservation, if every gateway may acknowledge it.
fn settled_for(store: &AddressStore, client: Mac) -> Option<(&ReservedAddress, &Lease)> {
    let address = store.configured.reserved_for.get(&client)?;
    let reservation = store.configured.reserved.get(address)?;
    let (told, _) = store.known.get(address)?;
    let pool = store.configured.pool.as_ref().filter(|_| store.is_current())?;
    let settled =
        told.state == LeaseState::Settled && told.client == Some(client) && told.generation >= pool.generation;
    settled.then_some((reservation, told))
}

/// A reservation that is settled is acknowledged without asking anybody; its client is refused any other address while
/// the owner of its own answers. Where it does not, the guest keeps what it has.
pub(super) fn settled(
    store: &mut AddressStore,
    host: &mut Participation,
    address: Address,
    claim: &Claim,
    now: Instant,
) -> Option<Answer> {
    let (reservation, told) = settled_for(store, claim.client)?;
    let own = Address::from(reservation.address);
    if own != address {
        return owner_answers(store, host, own).then_some(Answer::Nak);
    }
    let lease_time = claim.lease_time.min(store.lease_time());
    let answer = Answer::Ack {
        address: address.ip(),
        lease_time,
        hostname: reservation.hostname.clone(),
        copies: told.copies,
    };
    let bound = Lease {
        told: told.told + 1,
        left: Left(Some(lease_time)),
        ..told.clone()
    };
    host.outbox.effect(Effect::GossipLease(bound.clone()));
    listing::learn_lease(store, bound, now);
    Some(answer)
}

/// Why a client may not even ask for an address.
pub(super) fn barred(store: &AddressStore, host: &Participation, address: Address, claim: &Claim) -> Option<Silence> {
    if !host.serves() {
        return Some(Silence::NoPart);
    }
    if store.configured.pool.is_none() {
        return Some(Silence::NoPool);
    }
    // Whoever owns it may know of a newer generation, or refuse.
    let unknown = !store.allows(address, claim.client) && listing::owner_of(store, address).is_none();
    unknown.then_some(Silence::NotOffered)
}
