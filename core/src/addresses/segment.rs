//! One segment's addresses on this host: what is on disk about them, what is not, and the ways to find them.
//!
//! All changes of what is on disk go through `Segment::update`, which journals them and keeps the indexes.
//!
//! ```text
//!  state   every address: owner, epoch, promise, record       on disk, in runs
//!  live    bound, or not yet confirmed: relied_until, nonce    volatile, one entry per address
//!  free    owned here, offered by the pool, nobody's           index of state
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::id::{HostId, Mac, SegmentId};
use crate::range::{Address, Range, RangeMap};
use crate::time::{Duration, Instant};

use super::find::Search;
use super::host::Host;
use super::initial_owner::Births;
use super::journal::JournalRecord;
use super::message::{Claim, Generation, Reply};
use super::record::{AddressState, Holder, Record, Transfer};
use super::replication::Replication;
use super::requests::{Question, Waiter};
use super::takeover::Ballot;
use super::timing;
use super::transfer::Gives;
use super::view::{Guest, Reservation, SegmentPool, Standing};
use crate::lease::{Epoch, Version};
use crate::lease::{Lease, Share};

static UNKNOWN: AddressState = AddressState::UNKNOWN;

/// What is known of a bound or unconfirmed address and not on disk.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// Until when a guest may rely on what this host said.
    pub(super) relied_until: Option<Instant>,
    /// New whenever `relied_until` is set.
    pub(super) nonce: u64,
    /// When `relied_until` was last set, or may have been.
    pub(super) granted: Instant,
    /// Hosts that stored the record's very version.
    pub(super) confirmed: BTreeSet<HostId>,
    /// What the owner has still to do.
    pub(super) work: Option<Replication>,
    /// No keeper has stored the record since it last had none.
    pub(super) alone: bool,
    /// The owner may have ended what this keeper extends: the client did not show its lease, or this host restarted.
    pub(super) unsure: bool,
    /// From when on a reservation that ended is over.
    pub(super) retire: Option<Instant>,
    /// When it is looked at.
    due: Option<Instant>,
}

/// An address kept in memory for a client that was offered it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    pub(super) client: Mac,
    pub(super) until: Instant,
}

/// What a timer is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    Live(Address),
    Quarantine,
    Offer(Address),
    Question(u64),
    Search(u64),
    Give,
    Ballot,
    Tick,
}

/// The configuration, prepared for looking up.
#[derive(Debug, Default)]
pub(super) struct Configured {
    pub(super) pool: Option<SegmentPool>,
    pub(super) reserved: BTreeMap<Address, Reservation>,
    pub(super) reserved_for: BTreeMap<Mac, Address>,
    /// What anybody may be given: the ranges less the reserved addresses.
    pub(super) offered: RangeMap<()>,
    /// Newest generation ever known; on disk.
    pub(super) generation: u64,
    /// Longest lease time of any generation known; on disk.
    pub(super) longest: Duration,
    /// The lease time that every member knows; on disk.
    pub(super) agreed: Duration,
    /// When the tombstone was learned.
    pub(super) deleted: Option<Instant>,
}

/// See the file's head.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) id: SegmentId,
    pub(super) configured: Configured,
    pub(super) state: RangeMap<AddressState>,
    pub(super) live: BTreeMap<Address, Live>,
    pub(super) quarantined: RangeMap<Instant>,
    pub(super) free: RangeMap<()>,
    pub(super) free_count: u64,
    pub(super) cursor: Address,
    pub(super) clients: BTreeSet<(Mac, Address)>,
    pub(super) reserved_records: BTreeSet<Address>,
    pub(super) offers: BTreeMap<Address, Offer>,
    pub(super) offer_of: BTreeMap<Mac, Address>,
    pub(super) guests: BTreeMap<Mac, (Guest, Instant)>,
    pub(super) seen: BTreeMap<Address, BTreeSet<Mac>>,
    /// What a client declined here last, and when: it is not offered that again while its owner has not heard of it.
    pub(super) declined_by: BTreeMap<Mac, (Address, Instant)>,
    pub(super) known: BTreeMap<Address, (Lease, Instant)>,
    pub(super) known_clients: BTreeSet<(Mac, Address)>,
    pub(super) held: u64,
    pub(super) shares: BTreeMap<HostId, Share>,
    pub(super) standing: Standing,
    pub(super) standing_at: Instant,
    /// The last gateway that served for a minute.
    pub(super) settled_gateway: Option<HostId>,
    /// Leases that this host brought along and whose owners have not answered.
    pub(super) brought: BTreeMap<Address, Claim>,
    pub(super) questions: BTreeMap<u64, Question>,
    /// What this host, asked by itself, answered and has still to follow up.
    pub(super) returned: Vec<(Address, Waiter, Reply)>,
    pub(super) searches: BTreeMap<u64, Search>,
    pub(super) gives: Gives,
    pub(super) births: Births,
    pub(super) ballot: Option<Ballot>,
    /// Since when this host leaves an inheritance to a lower one.
    pub(super) orphans_since: Option<Instant>,
    pub(super) orphans_due: bool,
    pub(super) borrowed: Option<Instant>,
    pub(super) complained: Option<Instant>,
    /// Addresses of deleted segments, and until when nobody else may be given them.
    pub(super) blocked: RangeMap<Instant>,
    /// Whether some bound record may need another keeper.
    pub(super) keepers_due: bool,
    /// Whether what this host owns is to be told anew.
    pub(super) share_due: bool,
    /// Counts what was told about shares.
    pub(super) told: u64,
    /// Addresses kept here for which the owner has shown another keeper.
    pub(super) replaced: BTreeSet<Address>,
    timers: BTreeSet<(Instant, Timer)>,
    next_tick: Instant,
    unsynced: BTreeMap<Address, u64>,
    unsynced_order: VecDeque<(u64, Address)>,
    wide: u64,
}

impl Segment {
    pub(super) fn new(id: SegmentId, now: Instant) -> Self {
        let mut segment = Self {
            id,
            configured: Configured::default(),
            state: RangeMap::default(),
            live: BTreeMap::new(),
            quarantined: RangeMap::default(),
            free: RangeMap::default(),
            free_count: 0,
            cursor: Address::from_bits(0),
            clients: BTreeSet::new(),
            reserved_records: BTreeSet::new(),
            offers: BTreeMap::new(),
            offer_of: BTreeMap::new(),
            guests: BTreeMap::new(),
            seen: BTreeMap::new(),
            declined_by: BTreeMap::new(),
            known: BTreeMap::new(),
            known_clients: BTreeSet::new(),
            held: 0,
            shares: BTreeMap::new(),
            standing: Standing::default(),
            standing_at: now,
            settled_gateway: None,
            brought: BTreeMap::new(),
            questions: BTreeMap::new(),
            returned: Vec::new(),
            searches: BTreeMap::new(),
            gives: Gives::default(),
            births: Births::default(),
            ballot: None,
            orphans_since: None,
            orphans_due: true,
            borrowed: None,
            complained: None,
            blocked: RangeMap::default(),
            keepers_due: true,
            share_due: true,
            told: 0,
            replaced: BTreeSet::new(),
            timers: BTreeSet::new(),
            next_tick: now,
            unsynced: BTreeMap::new(),
            unsynced_order: VecDeque::new(),
            wide: 0,
        };
        segment.at_time(now, Timer::Tick);
        segment
    }

    // --- time ---

    pub(super) fn at_time(&mut self, at: Instant, timer: Timer) {
        self.timers.insert((at, timer));
    }

    /// The tick's own next time; extra ticks start no row of their own.
    pub(super) fn tick_again(&mut self, now: Instant) {
        if self.next_tick <= now {
            self.next_tick = now + timing::TICK;
            self.at_time(self.next_tick, Timer::Tick);
        }
    }

    pub(super) fn next_timer(&self) -> Option<(Instant, Timer)> {
        self.timers.first().copied()
    }

    pub(super) fn pop_timer(&mut self, now: Instant) -> Option<Timer> {
        let &(at, timer) = self.timers.first().filter(|(at, _)| *at <= now)?;
        self.timers.remove(&(at, timer));
        if let Timer::Live(address) = timer
            && let Some(live) = self.live.get_mut(&address)
            && live.due == Some(at)
        {
            live.due = None;
        }
        Some(timer)
    }

    /// The address is looked at then, or earlier.
    pub(super) fn look_at(&mut self, address: Address, at: Instant) {
        let Some(live) = self.live.get_mut(&address) else {
            return;
        };
        if live.due.is_some_and(|due| due <= at) {
            return;
        }
        if let Some(due) = live.due.replace(at) {
            self.timers.remove(&(due, Timer::Live(address)));
        }
        self.timers.insert((at, Timer::Live(address)));
    }

    /// 1.03 times the longest lease time that anyone can have given, and 10 s.
    pub(super) fn full_time(&self, record: &Record) -> Duration {
        timing::relied(record.lease_time.max(self.configured.longest))
    }

    // --- what is on disk ---

    /// What is known of an address.
    pub(super) fn at(&self, address: Address) -> &AddressState {
        self.state.at(address).unwrap_or(&UNKNOWN)
    }

    /// All parts of a range with what is known of them, unknown ones included.
    pub(super) fn parts(&self, range: Range) -> Vec<(Range, AddressState)> {
        let mut parts: Vec<_> = self
            .state
            .within(range)
            .map(|(part, state)| (part, state.clone()))
            .collect();
        parts.extend(
            self.state
                .gaps(range)
                .into_iter()
                .map(|gap| (gap, AddressState::UNKNOWN)),
        );
        parts.sort_by_key(|(part, _)| part.first());
        parts
    }

    /// Changes what is on disk about a range.
    pub(super) fn update(
        &mut self,
        host: &mut Host,
        range: Range,
        mut change: impl FnMut(Range, &mut AddressState),
    ) -> u64 {
        for (part, old) in self.parts(range) {
            let mut new = old.clone();
            change(part, &mut new);
            if new == old {
                continue;
            }
            self.share_due = true;
            self.orphans_due |= new.owner != old.owner;
            self.leave_index(part, &old);
            self.store(part, new.clone());
            self.enter_index(host.me, part, &new);
            let sequence = host.disk.write(JournalRecord::Addresses {
                segment: self.id,
                range: part,
                state: new,
            });
            if part.size() == 1 {
                self.unsynced.insert(part.first(), sequence);
                self.unsynced_order.push_back((sequence, part.first()));
            } else {
                self.wide = sequence;
            }
        }
        self.after_all(range)
    }

    fn store(&mut self, part: Range, state: AddressState) {
        if state == AddressState::UNKNOWN {
            self.state.clear(part);
        } else {
            self.state.set(part, state);
        }
    }

    /// Takes over what a start finds on disk.
    pub(super) fn recover(&mut self, me: HostId, range: Range, state: AddressState) {
        for (part, old) in self.parts(range) {
            self.leave_index(part, &old);
        }
        self.store(range, state.clone());
        self.enter_index(me, range, &state);
    }

    /// The append after which what is known of an address is on disk.
    pub(super) fn after(&self, address: Address) -> u64 {
        self.unsynced.get(&address).copied().unwrap_or(0).max(self.wide)
    }

    /// The append after which what is known of a range is on disk.
    pub(super) fn after_all(&self, range: Range) -> u64 {
        self.unsynced
            .range(range.first()..=range.last())
            .map(|(_, &at)| at)
            .max()
            .unwrap_or(0)
            .max(self.wide)
    }

    /// Forgets which writes are on disk by now; the single addresses among them.
    pub(super) fn synced(&mut self, sequence: u64) -> Vec<Address> {
        let mut done = Vec::new();
        while let Some(&(at, address)) = self.unsynced_order.front()
            && at <= sequence
        {
            self.unsynced_order.pop_front();
            if self.unsynced.get(&address) == Some(&at) {
                self.unsynced.remove(&address);
                done.push(address);
            }
        }
        done
    }

    // --- indexes ---

    fn leave_index(&mut self, part: Range, state: &AddressState) {
        self.drop_free(part);
        match state.record.holder {
            Holder::Client(mac) | Holder::Reserved(mac) | Holder::Free { last: Some(mac) } => {
                for address in part.addresses() {
                    self.clients.remove(&(mac, address));
                    self.reserved_records.remove(&address);
                }
            }
            Holder::Declined | Holder::Free { last: None } => {}
        }
    }

    fn enter_index(&mut self, me: HostId, part: Range, state: &AddressState) {
        match state.record.holder {
            Holder::Client(mac) | Holder::Reserved(mac) | Holder::Free { last: Some(mac) } => {
                for address in part.addresses() {
                    self.clients.insert((mac, address));
                    if matches!(state.record.holder, Holder::Reserved(_)) {
                        self.reserved_records.insert(address);
                    }
                }
            }
            Holder::Declined | Holder::Free { last: None } => {}
        }
        let mine = state.owner == Some(me);
        let bound = state.record.is_bound();
        let keeps = bound && state.record.keeper == Some(me);
        if (mine && (bound || !state.may.is_empty())) || keeps {
            for address in part.addresses() {
                self.live.entry(address).or_default();
            }
        } else if !self.live.is_empty() {
            let gone: Vec<Address> = self
                .live
                .range(part.first()..=part.last())
                .map(|(&address, _)| address)
                .collect();
            for address in gone {
                self.live.remove(&address);
            }
        }
        self.refresh_free(me, part);
    }

    fn drop_free(&mut self, range: Range) {
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
            .state
            .within(range)
            .filter(|(_, state)| state.owner == Some(me) && state.transfer == Transfer::Settled && state.is_free())
            .flat_map(|(part, _)| {
                self.configured
                    .offered
                    .within(part)
                    .map(|(part, ())| part)
                    .collect::<Vec<_>>()
            })
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

    // --- who and what ---

    /// Whether this host decides about an address now.
    pub(super) fn owns(&self, host: &Host, address: Address) -> bool {
        let state = self.at(address);
        state.owner == Some(host.me) && state.transfer == Transfer::Settled && host.serves()
    }

    /// Whether this host may extend the lease of an address for somebody else's client list.
    pub(super) fn keeps(&self, host: &Host, address: Address) -> bool {
        let state = self.at(address);
        state.owner != Some(host.me)
            && state.record.is_bound()
            && state.record.keeper == Some(host.me)
            && host.takes_part()
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
        self.configured.deleted.is_none()
            && self
                .configured
                .pool
                .as_ref()
                .is_some_and(|pool| pool.generation >= self.configured.generation)
    }

    /// Whether the record's reservation stands.
    pub(super) fn stands(&self, address: Address, record: &Record) -> bool {
        let Holder::Reserved(client) = record.holder else {
            return false;
        };
        !self.is_current() && self.configured.deleted.is_none()
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

    /// One above everything known of these addresses.
    pub(super) fn fresh_epoch(&self, me: HostId, range: Range) -> Epoch {
        let highest = self
            .state
            .within(range)
            .map(|(_, state)| state.highest())
            .max()
            .unwrap_or(0);
        Epoch {
            number: highest + 1,
            host: me,
        }
    }

    /// What this host knows of the configuration.
    pub(super) fn generation(&self) -> Generation {
        Generation {
            segment: self.id,
            generation: self.configured.generation,
            longest: self.configured.longest,
            agreed: self.configured.agreed,
        }
    }

    pub(super) fn write_configured(&self, host: &mut Host) {
        let sequence = host.disk.write(JournalRecord::Segment {
            segment: self.id,
            generation: self.configured.generation,
            longest: self.configured.longest,
            agreed: self.configured.agreed,
        });
        host.follows(sequence);
    }
}

/// The version after everything that the owner has of an address.
pub(super) fn fresh_version(state: &AddressState) -> Version {
    let base = state.record.version.max(Version {
        epoch: state.epoch,
        counter: 0,
    });
    Version {
        epoch: base.epoch,
        counter: base.counter + 1,
    }
}
