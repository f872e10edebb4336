//! What may be given to a guest: the free addresses less those that are offered, seen in use, or answered for by ARP.

use crate::id::{HostId, Mac};
use crate::range::{Address, Range};
use crate::time::Instant;

use super::live::{Offer, Rest, Timer};
use super::participation::Participation;
use super::record::Transfer;
use super::store::AddressStore;
use super::timing::{OFFER, REST};

impl AddressStore {
    pub(super) fn drop_free(&mut self, range: Range) {
        let gone: u64 = self.free.within(range).map(|(part, ())| part.size()).sum();
        if gone > 0 {
            self.free_count -= gone;
            self.free.clear(range);
        }
    }

    /// Looks anew which addresses of a range may be given.
    pub(super) fn refresh_free(&mut self, me: HostId, range: Range) {
        self.drop_free(range);
        let usable: Vec<Range> = self
            .state()
            .within(range)
            .filter(|(_, state)| state.owner == Some(me) && state.transfer == Transfer::Settled && state.is_free())
            .flat_map(|(part, _)| {
                self.configured
                    .offered
                    .within(part)
                    .map(|(part, ())| part)
                    .collect::<Vec<_>>()
            })
            .flat_map(|part| self.blocked.gaps(part))
            .collect();
        for part in usable {
            self.free.set(part, ());
            self.free_count += part.size();
            let taken: Vec<Address> = self
                .offers
                .range(part.first()..=part.last())
                .map(|(&address, _)| address)
                .chain(self.seen.range(part.first()..=part.last()).map(|(&address, _)| address))
                .chain(
                    self.resting
                        .range(part.first()..=part.last())
                        .map(|(&address, _)| address),
                )
                .collect();
            for address in taken {
                self.drop_free(Range::one(address));
            }
        }
    }

    /// Whether this owner could bind an address to a client now.
    pub(super) fn is_giveable(&self, host: &Participation, address: Address, client: Mac) -> bool {
        self.owns(host, address)
            && self.at(address).is_free()
            && self.configured.offered.at(address).is_some()
            && self.blocked.at(address).is_none()
            && self.offers.get(&address).is_none_or(|offer| offer.client == client)
            && self.resting.get(&address).is_none_or(|rest| rest.by == client)
            && self
                .seen
                .get(&address)
                .is_none_or(|seen| seen.iter().all(|&mac| mac == client))
    }

    /// The next free address in turn, so that those given back last are given again last.
    pub(super) fn next_free(&mut self) -> Option<Address> {
        let address = self.free_from(self.cursor)?;
        self.cursor = Address::from_bits(address.bits().saturating_add(1));
        Some(address)
    }

    /// The addresses that [`AddressStore::next_free`] gives next.
    pub(super) fn free_ahead(&self, count: usize) -> Vec<Address> {
        let mut ahead: Vec<Address> = Vec::new();
        let mut from = self.cursor;
        while let Some(address) = self.free_from(from).filter(|next| !ahead.contains(next))
            && ahead.len() < count
        {
            ahead.push(address);
            from = Address::from_bits(address.bits().saturating_add(1));
        }
        ahead
    }

    fn free_from(&self, from: Address) -> Option<Address> {
        let here = self.free.run(from).map(|_| from);
        here.or_else(|| self.free.next(from).map(|(run, ())| run.first()))
            .or_else(|| self.free.iter().next().map(|(run, ())| run.first()))
    }

    pub(super) fn hold(&mut self, me: HostId, address: Address, client: Mac, now: Instant) {
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
    pub(super) fn offer_due(&mut self, host: &Participation, address: Address, now: Instant) {
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

    /// The address is not kept for this client any more; another may have it.
    pub(super) fn withdraw_offer_to(&mut self, host: &Participation, address: Address, client: Mac) {
        if self.offers.get(&address).is_some_and(|offer| offer.client == client) {
            self.withdraw_offer(address);
            self.refresh_free(host.me, Range::one(address));
        }
    }

    /// A guest has answered for an address: for a while no other is given it, also the one that it was offered to.
    pub(super) fn rest(&mut self, address: Address, by: Mac, now: Instant) {
        let until = now + REST;
        self.resting.insert(address, Rest { by, until });
        self.at_time(until, Timer::Rest(address));
        if self.offers.get(&address).is_some_and(|offer| offer.client != by) {
            self.withdraw_offer(address);
        }
        self.block(address);
    }

    pub(super) fn rest_due(&mut self, host: &Participation, address: Address, now: Instant) {
        if self.resting.get(&address).is_some_and(|rest| rest.until <= now) {
            self.resting.remove(&address);
            self.refresh_free(host.me, Range::one(address));
        }
    }

    /// Whether an address that nobody has leased is used by another guest than this one.
    pub(super) fn is_used_by_other(&self, host: &Participation, address: Address, client: Mac) -> bool {
        self.owns(host, address)
            && self.at(address).is_free()
            && self.resting.get(&address).is_some_and(|rest| rest.by != client)
    }

    /// Takes an address out of those that may be given.
    pub(super) fn block(&mut self, address: Address) {
        if self.free.at(address).is_some() {
            self.free.clear(Range::one(address));
            self.free_count -= 1;
        }
    }
}
