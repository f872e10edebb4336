//! What configuration and endpoint table change for one segment: pools, reservations, guests.

use crate::id::{HostId, Mac};
use crate::lease::Epoch;
use crate::range::{Address, Range, RangeMap};
use crate::time::{Duration, Instant};

use super::journal::JournalRecord;
use super::live::Timer;
use super::message::{Generation, Life};
use super::participation::Participation;
use super::record::{Holder, LeaseRecord, Transfer};
use super::store::AddressStore;
use super::timing::MOVED;
use super::view::{Guest, SegmentPool};
use super::{initial_owner, listing, owner, timing};

impl AddressStore {
    /// 1.03 times the longest lease time that anyone can have given, and 10 s.
    pub(super) fn full_time(&self, record: &LeaseRecord) -> Duration {
        timing::relied(record.lease_time.max(self.configured.longest))
    }

    /// Whether this generation lets a client have an address.
    pub(super) fn allows(&self, address: Address, client: Mac) -> bool {
        self.is_current()
            && match self.configured.reserved.get(&address) {
                Some(reservation) => reservation.client == client,
                None => self.configured.offered.at(address).is_some(),
            }
    }

    /// Whether the newest configuration that this host ever knew is the one it has.
    pub(super) fn is_current(&self) -> bool {
        self.configured.life == Life::Stands
            && self
                .configured
                .pool
                .as_ref()
                .is_some_and(|pool| pool.generation >= self.configured.generation)
    }

    /// Whether the record's reservation stands.
    pub(super) fn stands(&self, address: Address, record: &LeaseRecord) -> bool {
        let Holder::Reserved(client) = record.holder else {
            return false;
        };
        !self.is_current() && self.configured.life == Life::Stands
            || self
                .configured
                .reserved
                .get(&address)
                .is_some_and(|reservation| reservation.client == client)
    }

    /// For how long a lease is given now.
    pub(super) fn lease_time(&self) -> Duration {
        let wanted = self
            .configured
            .pool
            .as_ref()
            .map_or(Duration::ZERO, |pool| pool.lease_time);
        if self.configured.agreed > Duration::ZERO {
            wanted.min(self.configured.agreed)
        } else {
            wanted
        }
    }

    /// What this host knows of the configuration.
    pub(super) fn generation(&self) -> Generation {
        Generation {
            segment: self.id,
            generation: self.configured.generation,
            life: self.configured.life,
            longest: self.configured.longest,
            agreed: self.configured.agreed,
        }
    }

    /// Nothing is offered any more; what is known of the addresses stays.
    pub(super) fn withdraw_pool(&mut self, me: HostId) {
        self.configured.pool = None;
        self.configured.reserved.clear();
        self.configured.reserved_for.clear();
        self.configured.offered = RangeMap::default();
        let all: Vec<Range> = self.state().iter().map(|(range, _)| range).collect();
        for range in all {
            self.refresh_free(me, range);
        }
    }

    pub(super) fn write_configured(&self, host: &mut Participation) {
        let sequence = host.journal.write(JournalRecord::Segment {
            segment: self.id,
            generation: self.configured.generation,
            life: self.configured.life,
            longest: self.configured.longest,
            agreed: self.configured.agreed,
        });
        host.follows(sequence);
    }
}

/// A new generation of the pool.
pub(super) fn set_pool(store: &mut AddressStore, host: &mut Participation, pool: SegmentPool, now: Instant) {
    if store
        .configured
        .pool
        .as_ref()
        .is_some_and(|before| before.generation > pool.generation)
    {
        return;
    }
    if store.configured.life != Life::Stands && pool.generation <= store.configured.generation {
        return;
    }
    // Whoever has left took nothing of a segment along that was over: its heirs have it, should another have it back.
    if host.is_removed(host.me) {
        return;
    }
    let before = store.generation();
    let was_offered: Vec<Range> = store.configured.offered.iter().map(|(range, ())| range).collect();
    let configured = &mut store.configured;
    configured.offer(&pool, host.me);
    let introducer = pool.introducer;
    // After a start, a later generation does not say which of its addresses were new in it.
    let certain = configured.pool.is_some() || pool.generation == pool.born;
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
    if store.generation() != before {
        store.write_configured(host);
        host.tell_soon(now);
    }
    for &range in &ranges {
        initial_owner::first_owner(store, host, range, introducer, birth);
    }
    for range in was_offered.into_iter().chain(ranges) {
        store.refresh_free(host.me, range);
    }
    store.due.share = true;
    for address in store.reserved_records.clone() {
        store.look_at(address, now);
    }
    store.at_time(now, Timer::Tick);
}

/// The pool of a segment that this host served before it lost its journal: whoever introduced the addresses, all of
/// them are inherited, and quarantined.
pub(super) fn set_forgotten_pool(
    store: &mut AddressStore,
    host: &mut Participation,
    pool: SegmentPool,
    above: u64,
    now: Instant,
) {
    let reserved = pool.reservations.iter().map(|r| Range::one(Address::from(r.address)));
    let ranges: Vec<Range> = pool.ranges.iter().copied().chain(reserved).collect();
    let promised = Epoch {
        number: above,
        host: host.me,
    };
    let me = host.me;
    for range in ranges {
        store.update(host, range, |_, state| {
            state.owner = Some(me);
            state.transfer = Transfer::Unborn;
            state.promised = promised;
        });
    }
    set_pool(store, host, pool, now);
}

/// What another member knows of the configuration.
pub(super) fn learn_generation(store: &mut AddressStore, host: &mut Participation, told: Generation) {
    let before = store.generation();
    store.configured.longest = store.configured.longest.max(told.longest);
    store.configured.agreed = store.configured.agreed.max(told.agreed.min(store.configured.longest));
    if store.generation() != before {
        store.write_configured(host);
    }
}

/// What the tick does about the configuration.
pub(super) fn configured_due(store: &mut AddressStore, host: &mut Participation, now: Instant) {
    if let Some(pool) = store.configured.pool.as_ref().filter(|_| store.is_current())
        && store.configured.agreed < pool.lease_time
        && host.all_know(store.id, store.configured.generation)
    {
        store.configured.agreed = pool.lease_time;
        store.write_configured(host);
    }
    if !store.is_current() {
        return;
    }
    let reserved: Vec<Address> = store.configured.reserved.keys().copied().collect();
    for address in reserved
        .into_iter()
        .filter(|&address| store.owns(host, address))
        .collect::<Vec<_>>()
    {
        owner::bind_reserved(store, host, address, now);
        if !matches!(store.at(address).record.holder, Holder::Free { .. }) {
            listing::retell(store, host, address, now);
        }
    }
    for address in store.reserved_records.clone() {
        store.look_at(address, now);
    }
}

/// Where a guest is, and which addresses it uses.
pub(super) fn set_guest(store: &mut AddressStore, me: HostId, client: Mac, guest: Option<Guest>, now: Instant) {
    let before = store.guests.remove(&client);
    for ip in before.iter().flat_map(|(guest, _)| &guest.addresses) {
        let address = Address::from(*ip);
        if let Some(macs) = store.seen.get_mut(&address) {
            macs.remove(&client);
            if macs.is_empty() {
                store.seen.remove(&address);
                store.refresh_free(me, Range::one(address));
            }
        }
    }
    let Some(guest) = guest else { return };
    for ip in &guest.addresses {
        let address = Address::from(*ip);
        store.seen.entry(address).or_default().insert(client);
        store.block(address);
    }
    let since = before
        .filter(|(before, _)| before.host == guest.host)
        .map_or(now, |(_, since)| since);
    store.guests.insert(client, (guest, since));
    if since == now {
        let all = (client, Address::from_bits(0))..=(client, Address::from_bits(u128::MAX));
        let addresses: Vec<Address> = store.clients.range(all).map(|&(_, address)| address).collect();
        for address in addresses {
            store.look_at(address, now + MOVED);
        }
    }
}
