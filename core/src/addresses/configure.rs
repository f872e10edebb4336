//! What configuration and endpoint table change for one segment: pools, reservations, guests.

use std::net::IpAddr;

use crate::id::{HostId, Mac};
use crate::range::{Address, Range, RangeMap};
use crate::time::{Duration, Instant};

use super::host::Host;
use super::message::{Claim, Generation};
use super::record::{AddressState, Holder, Transfer};
use super::request::{Answer, Effect, LeaseEvent};
use super::requests::{Origin, Wanted};
use super::segment::{Segment, Timer};
use super::timing::{self, MOVED};
use super::view::{Guest, SegmentPool, Standing};
use crate::lease::Epoch;

impl Segment {
    /// A new generation of the pool.
    pub(super) fn set_pool(&mut self, host: &mut Host, pool: SegmentPool, now: Instant) {
        if self
            .configured
            .pool
            .as_ref()
            .is_some_and(|before| before.generation > pool.generation)
        {
            return;
        }
        self.configured.deleted = None;
        let before = self.generation();
        let was_offered: Vec<Range> = self.configured.offered.iter().map(|(range, ())| range).collect();
        let configured = &mut self.configured;
        configured.reserved = pool
            .reservations
            .iter()
            .map(|r| (r.address.into(), r.clone()))
            .collect();
        configured.reserved_for = pool.reservations.iter().map(|r| (r.client, r.address.into())).collect();
        configured.offered = RangeMap::default();
        for &range in &pool.ranges {
            configured.offered.set(range, ());
        }
        for &address in configured.reserved.keys() {
            configured.offered.clear(Range::one(address));
        }
        if configured.generation == 0 && pool.introducer == host.me {
            configured.agreed = pool.lease_time;
        }
        configured.generation = configured.generation.max(pool.generation);
        configured.longest = configured.longest.max(pool.lease_time);
        let introducer = pool.introducer;
        // After a start, a later generation does not say which of its addresses were new in it.
        let certain = configured.pool.is_some() || pool.generation == 1;
        let birth = certain.then_some(Epoch {
            number: pool.generation,
            host: introducer,
        });
        let ranges: Vec<Range> = pool
            .ranges
            .iter()
            .copied()
            .chain(configured.reserved.keys().map(|&a| Range::one(a)))
            .collect();
        configured.pool = Some(pool);
        if self.generation() != before {
            self.write_configured(host);
            host.tell_soon(now);
        }
        for &range in &ranges {
            self.first_owner(host, range, introducer, birth);
        }
        for range in was_offered.into_iter().chain(ranges) {
            self.refresh_free(host.me, range);
        }
        self.share_due = true;
        for address in self.reserved_records.clone() {
            self.look_at(address, now);
        }
        self.at_time(now, Timer::Tick);
    }

    /// The pool of a segment that this host served before it lost its journal: whoever introduced the addresses, all of
    /// them are inherited, and quarantined.
    pub(super) fn set_forgotten_pool(&mut self, host: &mut Host, pool: SegmentPool, above: u64, now: Instant) {
        let reserved = pool.reservations.iter().map(|r| Range::one(Address::from(r.address)));
        let ranges: Vec<Range> = pool.ranges.iter().copied().chain(reserved).collect();
        let promised = Epoch {
            number: above,
            host: host.me,
        };
        let me = host.me;
        for range in ranges {
            self.update(host, range, |_, state| {
                state.owner = Some(me);
                state.transfer = Transfer::Unborn;
                state.promised = promised;
            });
        }
        self.set_pool(host, pool, now);
    }

    /// The segment has a tombstone.
    pub(super) fn set_deleted(&mut self, host: &Host, now: Instant) {
        if self.configured.deleted.is_some() {
            return;
        }
        self.configured.deleted = Some(now);
        self.configured.pool = None;
        self.configured.reserved.clear();
        self.configured.reserved_for.clear();
        self.configured.offered = RangeMap::default();
        let all: Vec<Range> = self.state.iter().map(|(range, _)| range).collect();
        for range in all {
            self.refresh_free(host.me, range);
        }
        self.at_time(now + self.grave_time(), Timer::Tick);
    }

    /// How long the addresses of a deleted segment wait.
    fn grave_time(&self) -> Duration {
        timing::relied(self.configured.longest)
    }

    /// Until when no other segment may begin with these addresses.
    pub(super) fn grave(&self) -> Option<(Vec<Range>, Instant)> {
        let until = self.configured.deleted? + self.grave_time();
        Some((self.state.iter().map(|(range, _)| range).collect(), until))
    }

    /// Forgets a deleted segment whose addresses have waited.
    pub(super) fn forget(&mut self, host: &mut Host) {
        let all: Vec<Range> = self.state.iter().map(|(range, _)| range).collect();
        for range in all {
            self.update(host, range, |_, state| *state = AddressState::UNKNOWN);
        }
        self.configured.generation = 0;
        self.configured.longest = Duration::ZERO;
        self.configured.agreed = Duration::ZERO;
        self.write_configured(host);
    }

    /// What another member knows of the configuration.
    pub(super) fn learn_generation(&mut self, host: &mut Host, told: Generation) {
        let before = self.generation();
        self.configured.longest = self.configured.longest.max(told.longest);
        self.configured.agreed = self.configured.agreed.max(told.agreed.min(self.configured.longest));
        if self.generation() != before {
            self.write_configured(host);
        }
    }

    /// What the tick does about the configuration.
    pub(super) fn configured_due(&mut self, host: &mut Host, now: Instant) {
        if let Some(pool) = self.configured.pool.as_ref().filter(|_| self.is_current())
            && self.configured.agreed < pool.lease_time
            && host.all_know(self.id, self.configured.generation)
        {
            self.configured.agreed = pool.lease_time;
            self.write_configured(host);
        }
        if !self.is_current() {
            return;
        }
        let reserved: Vec<Address> = self.configured.reserved.keys().copied().collect();
        for address in reserved
            .into_iter()
            .filter(|&address| self.owns(host, address))
            .collect::<Vec<_>>()
        {
            self.bind_reserved(host, address, now);
            if !matches!(self.at(address).record.holder, Holder::Free { .. }) {
                self.retell(host, address, now);
            }
        }
        for address in self.reserved_records.clone() {
            self.look_at(address, now);
        }
    }

    /// Bound records without a keeper that can be one get another.
    pub(super) fn keepers_due(&mut self, host: &Host, now: Instant) {
        if !std::mem::take(&mut self.keepers_due) {
            return;
        }
        let lacking: Vec<Address> = self
            .live
            .keys()
            .copied()
            .filter(|&address| {
                self.owns(host, address)
                    && self.at(address).record.client().is_some()
                    && self
                        .at(address)
                        .record
                        .keeper
                        .is_none_or(|keeper| host.is_removed(keeper) || host.retires(keeper))
            })
            .collect();
        for address in lacking {
            self.look_at(address, now);
        }
    }

    /// Who serves.
    pub(super) fn set_standing(&mut self, host: &mut Host, standing: Standing, now: Instant) {
        let ordered_anew = self.standing.order != standing.order;
        self.keepers_due |= ordered_anew;
        self.standing = standing;
        self.standing_at = now;
        if ordered_anew {
            self.ask_for_share(host, now);
        }
    }

    /// Where a guest is, and which addresses it uses.
    pub(super) fn set_guest(&mut self, me: HostId, client: Mac, guest: Option<Guest>, now: Instant) {
        let before = self.guests.remove(&client);
        for ip in before.iter().flat_map(|(guest, _)| &guest.addresses) {
            let address = Address::from(*ip);
            if let Some(macs) = self.seen.get_mut(&address) {
                macs.remove(&client);
                if macs.is_empty() {
                    self.seen.remove(&address);
                    self.refresh_free(me, Range::one(address));
                }
            }
        }
        let Some(guest) = guest else { return };
        for ip in &guest.addresses {
            let address = Address::from(*ip);
            self.seen.entry(address).or_default().insert(client);
            self.block(address);
        }
        let since = before
            .filter(|(before, _)| before.host == guest.host)
            .map_or(now, |(_, since)| since);
        self.guests.insert(client, (guest, since));
        if since == now {
            let all = (client, Address::from_bits(0))..=(client, Address::from_bits(u128::MAX));
            let addresses: Vec<Address> = self.clients.range(all).map(|&(_, address)| address).collect();
            for address in addresses {
                self.look_at(address, now + MOVED);
            }
        }
    }

    /// This host brings a lease along from a cluster of its own.
    pub(super) fn bring(&mut self, address: IpAddr, claim: Claim, now: Instant) {
        self.brought.insert(address.into(), claim);
        self.at_time(now, Timer::Tick);
    }

    /// Asks the owners of what was brought.
    pub(super) fn ask_brought(&mut self, host: &mut Host, now: Instant) {
        let open: Vec<(Address, Claim)> = self
            .brought
            .iter()
            .filter(|(address, _)| !self.asks_brought(**address))
            .map(|(&address, claim)| (address, claim.clone()))
            .collect();
        for (address, claim) in open {
            if self.is_current() && !self.allows(address, claim.client) {
                // Not in the pool, or kept for somebody else: no owner will ever bind it.
                self.bring_in_vain(host, address, claim.client);
                continue;
            }
            self.ask(host, Origin::Brought, address, Wanted::Bind(claim), now);
        }
    }

    /// An owner has said something about a lease that was brought.
    pub(super) fn brought(&mut self, host: &mut Host, address: Address, client: Mac, answer: &Answer) {
        match answer {
            Answer::Ack { .. } => {
                self.brought.remove(&address);
            }
            Answer::Nak => self.bring_in_vain(host, address, client),
            Answer::Silence(_) | Answer::Offer { .. } | Answer::Done => {}
        }
    }

    pub(super) fn bring_in_vain(&mut self, host: &mut Host, address: Address, client: Mac) {
        self.brought.remove(&address);
        host.disk.effect(Effect::Event(LeaseEvent::BroughtTaken {
            segment: self.id,
            address,
            client,
        }));
    }
}
