//! Finding an address for a guest that asks for any, and keeping it in memory while the guest makes up its mind.
//!
//! ```text
//!  reservation ─► the client's address ─► what it was offered ─► its wish ─► the next free one ─► borrow ─► silence
//! ```

use crate::id::{HostId, Mac};
use crate::range::{Address, Range};
use crate::time::Instant;

use super::host::Host;
use super::message::{Message, Part};
use super::record::Holder;
use super::request::{Answer, Effect, LeaseEvent, Silence};
use super::segment::{Offer, Segment, Timer};
use super::timing::{ASK, FINDING_EVERY, OFFER};
use crate::lease::LeaseState;

/// A guest waits until somebody lends addresses.
#[derive(Debug)]
pub(super) struct Search {
    token: u64,
    client: Mac,
    wish: Option<Address>,
    until: Instant,
}

impl Segment {
    /// Which address would a client get?
    pub(super) fn find(&mut self, host: &mut Host, token: u64, client: Mac, wish: Option<Address>, now: Instant) {
        let answer = match self.pick(host, client, wish, now) {
            Ok(address) => self.offer(address),
            Err(Silence::NothingFree) if self.borrow(host, now) => {
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
                self.at_time(now + ASK, Timer::Search(id));
                return;
            }
            Err(why) => self.silence(host, why, now),
        };
        host.disk.answer(token, answer, 0, now);
    }

    /// Somebody may have lent addresses, or a search's time is over.
    pub(super) fn search_again(&mut self, host: &mut Host, now: Instant) {
        let ids: Vec<u64> = self.searches.keys().copied().collect();
        for id in ids {
            let Some(search) = self.searches.get(&id) else { continue };
            let (client, wish, until) = (search.client, search.wish, search.until);
            let answer = match self.pick(host, client, wish, now) {
                Ok(address) => self.offer(address),
                Err(_) if until > now => continue,
                Err(why) => self.silence(host, why, now),
            };
            if let Some(search) = self.searches.remove(&id) {
                host.disk.answer(search.token, answer, 0, now);
            }
        }
    }

    fn offer(&self, address: Address) -> Answer {
        let hostname = self
            .configured
            .reserved
            .get(&address)
            .and_then(|reservation| reservation.hostname.clone());
        Answer::Offer {
            address: address.ip(),
            lease_time: self.lease_time(),
            hostname,
        }
    }

    fn silence(&mut self, host: &mut Host, why: Silence, now: Instant) -> Answer {
        let quiet = self.complained.is_some_and(|before| now.since(before) < FINDING_EVERY);
        if why == Silence::NothingFree && !quiet {
            self.complained = Some(now);
            host.disk
                .effect(Effect::Event(LeaseEvent::NothingFree { segment: self.id }));
        }
        Answer::Silence(why)
    }

    fn pick(&mut self, host: &Host, client: Mac, wish: Option<Address>, now: Instant) -> Result<Address, Silence> {
        if !host.serves() || host.part() == Part::Leaving {
            return Err(Silence::NoPart);
        }
        if self.configured.pool.is_none() {
            return Err(Silence::NoPool);
        }
        if let Some(&address) = self.configured.reserved_for.get(&client) {
            match self.reserved_state(host, address, client) {
                LeaseState::Settled => return Ok(address),
                LeaseState::Pending => return Err(Silence::NotOffered),
                // Another client has it yet: this one gets any other address meanwhile.
                LeaseState::Held | LeaseState::Quarantined | LeaseState::Declined | LeaseState::Free => {}
            }
        }
        if let Some(address) = self.address_of(host, client) {
            return Ok(address);
        }
        if self.is_full(client) {
            return Err(Silence::MaxLeases);
        }
        let before = self
            .clients
            .range((client, Address::from_bits(0))..=(client, Address::from_bits(u128::MAX)));
        let mine = before
            .map(|&(_, address)| address)
            .find(|&address| self.is_giveable(host, address, client));
        let offered = self
            .offer_of
            .get(&client)
            .copied()
            .filter(|&address| self.is_giveable(host, address, client));
        let wish = wish.filter(|&address| self.is_giveable(host, address, client));
        let address = offered
            .or(mine)
            .or(wish)
            .or_else(|| self.next_free())
            .ok_or(Silence::NothingFree)?;
        self.hold(host.me, address, client, now);
        Ok(address)
    }

    /// How the reservation of an address for a client stands; `Held` if another client has the address yet.
    fn reserved_state(&self, host: &Host, address: Address, client: Mac) -> LeaseState {
        if self.owns(host, address) {
            return match self.at(address).record.holder {
                Holder::Reserved(holder) | Holder::Client(holder) if holder == client => LeaseState::Settled,
                Holder::Free { .. } => LeaseState::Pending,
                Holder::Reserved(_) | Holder::Client(_) | Holder::Declined => LeaseState::Held,
            };
        }
        match self.known.get(&address) {
            Some((told, _)) if told.client == Some(client) => LeaseState::Settled,
            Some((told, _)) if told.client.is_some() => LeaseState::Held,
            Some(_) | None => LeaseState::Pending,
        }
    }

    /// The address that a client has, if its owner or keeper can be asked.
    fn address_of(&self, host: &Host, client: Mac) -> Option<Address> {
        let all = (client, Address::from_bits(0))..=(client, Address::from_bits(u128::MAX));
        let here = self.clients.range(all.clone()).filter_map(|&(_, address)| {
            let record = &self.at(address).record;
            let asks = self.owns(host, address)
                || self.keeps(host, address)
                || self.owner_of(address).is_some_and(|owner| host.hears(owner));
            (record.client() == Some(client) && asks).then_some((record.version, address))
        });
        let told = self.known_clients.range(all).filter_map(|&(_, address)| {
            let (told, _) = self.known.get(&address)?;
            let newer_here = self.at(address).record.version > told.version;
            let asks = host.hears(told.owner) || told.keeper.is_some_and(|keeper| host.hears(keeper));
            (asks && !newer_here).then_some((told.version, address))
        });
        let declined = self.declined_by.get(&client).map(|&(address, _)| address);
        here.chain(told)
            .filter(|&(_, address)| self.allows(address, client) && declined != Some(address))
            .max()
            .map(|(_, address)| address)
    }

    /// Whether this owner could bind an address to a client now.
    fn is_giveable(&self, host: &Host, address: Address, client: Mac) -> bool {
        self.owns(host, address)
            && self.at(address).is_free()
            && self.configured.offered.at(address).is_some()
            && self.offers.get(&address).is_none_or(|offer| offer.client == client)
            && self
                .seen
                .get(&address)
                .is_none_or(|seen| seen.iter().all(|&mac| mac == client))
    }

    /// The next free address in turn, so that those given back last are given again last.
    fn next_free(&mut self) -> Option<Address> {
        let here = self.free.run(self.cursor).map(|_| self.cursor);
        let address = here
            .or_else(|| self.free.next(self.cursor).map(|(run, ())| run.first()))
            .or_else(|| self.free.iter().next().map(|(run, ())| run.first()))?;
        self.cursor = Address::from_bits(address.bits().saturating_add(1));
        Some(address)
    }

    fn hold(&mut self, me: HostId, address: Address, client: Mac, now: Instant) {
        if let Some(before) = self
            .offer_of
            .insert(client, address)
            .filter(|&before| before != address)
        {
            self.offers.remove(&before);
            self.refresh_free(me, Range::one(before));
        }
        self.offers.insert(
            address,
            Offer {
                client,
                until: now + OFFER,
            },
        );
        self.at_time(now + OFFER, Timer::Offer(address));
        self.block(address);
    }

    /// An offer's time may be over.
    pub(super) fn offer_due(&mut self, host: &Host, address: Address, now: Instant) {
        if self.offers.get(&address).is_some_and(|offer| offer.until <= now) {
            self.withdraw_offer(address);
            self.refresh_free(host.me, Range::one(address));
        }
    }

    /// The address is bound, or no longer kept for the client.
    pub(super) fn withdraw_offer(&mut self, address: Address) {
        if let Some(offer) = self.offers.remove(&address) {
            self.offer_of.remove(&offer.client);
        }
    }

    /// Asks every reachable owner for half of what it has free; whether anybody was asked.
    fn borrow(&mut self, host: &mut Host, now: Instant) -> bool {
        let owners: Vec<_> = host.others().filter(|&other| host.can_keep(other)).collect();
        if !host.takes_part() || owners.is_empty() {
            return false;
        }
        if self.borrowed.is_none_or(|before| now.since(before) >= ASK) {
            self.borrowed = Some(now);
            for to in owners {
                host.disk.send(
                    to,
                    Message::Borrow {
                        segment: self.id,
                        count: 0,
                    },
                    0,
                    now,
                );
            }
        }
        true
    }
}
