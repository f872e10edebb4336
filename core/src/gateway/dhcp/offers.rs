//! What the guests of a segment were offered and have not taken yet, by guest and by port.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use crate::id::{HostId, Mac};
use crate::time::{Duration, Instant};

/// How long a guest may take up an offer: as long as the leases hold a new address for it.
pub(super) const OFFER_LIFE: Duration = Duration::from_secs(10);
/// An offer that is this old is not on its way any more: where nothing is free, another guest may have the address.
pub(super) const UNANSWERED: Duration = Duration::from_millis(500);
/// The same among guests of one port: others come first.
pub(super) const UNANSWERED_THERE: Duration = Duration::from_millis(1500);
/// Offers that are remembered in a segment; a guest whose offer is not must say which address it takes.
const MOST_OFFERS: usize = 4096;
/// A port with more open offers than this is named where guests get no address.
const CROWD: usize = 16;

/// A guest's port, and the host that it is on.
pub type GuestPort = (HostId, String);

#[derive(Debug, Default)]
pub(super) struct Offers {
    guests: BTreeMap<Mac, Offer>,
    /// The same by port, oldest first; guests whose host has not told of them are on none.
    ports: BTreeMap<Option<GuestPort>, BTreeSet<(Instant, Mac)>>,
}

#[derive(Debug)]
struct Offer {
    address: Ipv4Addr,
    at: Instant,
    port: Option<GuestPort>,
}

impl Offers {
    /// What a guest was offered and may still take.
    pub(super) fn to(&self, guest: Mac, now: Instant) -> Option<Ipv4Addr> {
        let offer = self.guests.get(&guest)?;
        (now.since(offer.at) <= OFFER_LIFE).then_some(offer.address)
    }

    pub(super) fn note(&mut self, guest: Mac, address: Ipv4Addr, now: Instant) {
        let port = self.take(guest).and_then(|before| before.port);
        if self.guests.len() >= MOST_OFFERS {
            self.forget_old(now);
        }
        if self.guests.len() < MOST_OFFERS {
            self.insert(guest, Offer { address, at: now, port });
        }
    }

    /// A guest is on this port now.
    pub(super) fn set_port(&mut self, guest: Mac, port: GuestPort) {
        if let Some(offer) = self.take(guest) {
            let port = Some(port);
            self.insert(guest, Offer { port, ..offer });
        }
    }

    /// The guest has taken it, or gives it up.
    pub(super) fn remove(&mut self, guest: Mac) {
        self.take(guest);
    }

    /// Takes, for a guest on this port, the oldest offer that was not answered, of the port that has most of them, and more than
    /// this one: guests that one port makes up take addresses from each other alone, and come after all others.
    pub(super) fn take_oldest(&mut self, port: Option<&GuestPort>, now: Instant) -> Option<(Mac, Ipv4Addr)> {
        self.forget_old(now);
        let oldest = |offers: &BTreeSet<(Instant, Mac)>| offers.first().copied();
        let own = self.ports.get(&port.cloned()).map_or(0, BTreeSet::len);
        let unanswered = self.ports.iter().filter(|(of, offers)| {
            let (patience, fits) = if of.as_ref() == port {
                (UNANSWERED_THERE, true)
            } else {
                (UNANSWERED, offers.len() > own)
            };
            fits && oldest(offers).is_some_and(|(at, _)| now.since(at) >= patience)
        });
        let (_, offers) = unanswered.max_by_key(|(_, offers)| offers.len())?;
        let (_, guest) = oldest(offers)?;
        self.take(guest).map(|offer| (guest, offer.address))
    }

    /// The port that has more open offers than guests of one port ask for at a time, and how many.
    pub(super) fn crowd(&self) -> Option<(GuestPort, usize)> {
        let ports = self
            .ports
            .iter()
            .filter_map(|(port, offers)| Some((port.as_ref()?, offers.len())));
        let (port, count) = ports.max_by_key(|(_, count)| *count)?;
        (count > CROWD).then(|| (port.clone(), count))
    }

    fn insert(&mut self, guest: Mac, offer: Offer) {
        self.ports
            .entry(offer.port.clone())
            .or_default()
            .insert((offer.at, guest));
        self.guests.insert(guest, offer);
    }

    fn take(&mut self, guest: Mac) -> Option<Offer> {
        let offer = self.guests.remove(&guest)?;
        if let Some(offers) = self.ports.get_mut(&offer.port) {
            offers.remove(&(offer.at, guest));
            if offers.is_empty() {
                self.ports.remove(&offer.port);
            }
        }
        Some(offer)
    }

    fn forget_old(&mut self, now: Instant) {
        for offers in self.ports.values_mut() {
            while let Some(&(at, guest)) = offers.first()
                && now.since(at) > OFFER_LIFE
            {
                offers.pop_first();
                self.guests.remove(&guest);
            }
        }
        self.ports.retain(|_, offers| !offers.is_empty());
    }
}
