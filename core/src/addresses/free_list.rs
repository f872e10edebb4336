//! What may be given to a guest: the free addresses less those that are offered, or seen in use.

use crate::id::{HostId, Mac};
use crate::range::{Address, Range};
use crate::time::Instant;

use super::live::{Offer, Timer};
use super::participation::Participation;
use super::record::Transfer;
use super::store::AddressStore;
use super::timing::OFFER;

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
            && self
                .seen
                .get(&address)
                .is_none_or(|seen| seen.iter().all(|&mac| mac == client))
    }

    /// The next free address in turn, so that those given back last are given again last.
    pub(super) fn next_free(&mut self) -> Option<Address> {
        let here = self.free.run(self.cursor).map(|_| self.cursor);
        let address = here
            .or_else(|| self.free.next(self.cursor).map(|(run, ())| run.first()))
            .or_else(|| self.free.iter().next().map(|(run, ())| run.first()))?;
        self.cursor = Address::from_bits(address.bits().saturating_add(1));
        Some(address)
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

    /// Takes an address out of those that may be given.
    pub(super) fn block(&mut self, address: Address) {
        if self.free.at(address).is_some() {
            self.free.clear(Range::one(address));
            self.free_count -= 1;
        }
    }
}
