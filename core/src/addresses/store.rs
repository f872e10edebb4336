//! One segment's addresses on this host: what is on disk about them, what is not, and the ways to find them.
//!
//! All changes of what is on disk go through `AddressStore::update`, which journals them and keeps the indexes.
//!
//! ```text
//!  state   every address: owner, epoch, promise, record       on disk, in runs
//!  live    bound, or not yet confirmed: relied_until, nonce    volatile, one entry per address
//!  free    owned here, offered by the pool, nobody's           index of state
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::id::{HostId, Mac, SegmentId};
use crate::lease::{Epoch, Lease, Share, Version};
use crate::range::{Address, Range, RangeMap};
use crate::time::Instant;

use super::configured::Configured;
use super::journal::JournalRecord;
use super::live::{Live, Offer, Rest, Timer, Waiter};
use super::message::Reply;
use super::participation::Participation;
use super::record::{AddressState, Holder, Transfer};
use super::timing;
use super::view::{GatewayStanding, Guest};

static UNKNOWN: AddressState = AddressState::UNKNOWN;

/// See the file's head.
#[derive(Debug)]
pub(super) struct AddressStore {
    pub(super) id: SegmentId,
    pub(super) configured: Configured,
    state: RangeMap<AddressState>,
    pub(super) live: BTreeMap<Address, Live>,
    /// Until when addresses that this host owns are quarantined.
    pub(super) quarantined: RangeMap<Instant>,
    /// Addresses that somebody may still rely on in a deleted segment.
    pub(super) blocked: RangeMap<SegmentId>,
    pub(super) free: RangeMap<()>,
    pub(super) free_count: u64,
    pub(super) cursor: Address,
    pub(super) clients: BTreeSet<(Mac, Address)>,
    pub(super) reserved_records: BTreeSet<Address>,
    pub(super) offers: BTreeMap<Address, Offer>,
    pub(super) offer_of: BTreeMap<Mac, Address>,
    pub(super) resting: BTreeMap<Address, Rest>,
    pub(super) guests: BTreeMap<Mac, (Guest, Instant)>,
    pub(super) seen: BTreeMap<Address, BTreeSet<Mac>>,
    pub(super) known: BTreeMap<Address, (Lease, Instant)>,
    pub(super) known_clients: BTreeSet<(Mac, Address)>,
    pub(super) held: u64,
    pub(super) shares: BTreeMap<HostId, Share>,
    /// Counts what was told about shares.
    pub(super) told: u64,
    pub(super) standing: GatewayStanding,
    pub(super) standing_at: Instant,
    /// The last gateway that served for a minute.
    pub(super) settled_gateway: Option<HostId>,
    pub(super) due: Due,
    /// What this host took over, until a ballot under way has heeded it.
    pub(super) taken: Vec<Range>,
    /// What this host, asked by itself, answered and has still to follow up.
    pub(super) returned: Vec<(Address, Waiter, Reply)>,
    timers: BTreeSet<(Instant, Timer)>,
    next_tick: Instant,
    unsynced: BTreeMap<Address, u64>,
    unsynced_order: VecDeque<(u64, Address)>,
    wide: u64,
}

/// What has changed, until the machine that it is for has looked.
#[derive(Debug)]
pub(super) struct Due {
    /// What this host owns is to be told anew.
    pub(super) share: bool,
    /// Some owner may be a removed host.
    pub(super) orphans: bool,
    /// Some bound record may need another keeper.
    pub(super) keepers: bool,
    /// This host owns something else, or under another epoch.
    pub(super) owned: bool,
    /// Other segments may begin with these addresses, or must not.
    pub(super) grave: bool,
}

impl AddressStore {
    pub(super) fn new(id: SegmentId, now: Instant) -> Self {
        let mut store = Self {
            id,
            configured: Configured::default(),
            state: RangeMap::default(),
            live: BTreeMap::new(),
            quarantined: RangeMap::default(),
            blocked: RangeMap::default(),
            free: RangeMap::default(),
            free_count: 0,
            cursor: Address::from_bits(0),
            clients: BTreeSet::new(),
            reserved_records: BTreeSet::new(),
            offers: BTreeMap::new(),
            offer_of: BTreeMap::new(),
            resting: BTreeMap::new(),
            guests: BTreeMap::new(),
            seen: BTreeMap::new(),
            known: BTreeMap::new(),
            known_clients: BTreeSet::new(),
            held: 0,
            shares: BTreeMap::new(),
            told: 0,
            standing: GatewayStanding::default(),
            standing_at: now,
            settled_gateway: None,
            due: Due {
                share: true,
                orphans: true,
                keepers: true,
                owned: false,
                grave: false,
            },
            taken: Vec::new(),
            returned: Vec::new(),
            timers: BTreeSet::new(),
            next_tick: now,
            unsynced: BTreeMap::new(),
            unsynced_order: VecDeque::new(),
            wide: 0,
        };
        store.at_time(now, Timer::Tick);
        store
    }

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

    /// All addresses of which anything is known. It is changed by `update` alone, which journals it.
    pub(super) const fn state(&self) -> &RangeMap<AddressState> {
        &self.state
    }

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
        host: &mut Participation,
        range: Range,
        mut change: impl FnMut(Range, &mut AddressState),
    ) -> u64 {
        for (part, old) in self.parts(range) {
            let mut new = old.clone();
            change(part, &mut new);
            if new == old {
                continue;
            }
            self.due.share = true;
            self.due.orphans |= new.owner != old.owner;
            self.leave_index(part, &old);
            self.set_state(part, new.clone());
            self.enter_index(host.me, part, &new);
            let sequence = host.journal.write(JournalRecord::Addresses {
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

    fn set_state(&mut self, part: Range, state: AddressState) {
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
        self.set_state(range, state.clone());
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

    fn leave_index(&mut self, part: Range, state: &AddressState) {
        self.drop_free(part);
        match state.record.holder {
            Holder::Client(mac) | Holder::Reserved(mac) | Holder::Free { last: Some(mac) } => {
                for address in part.addresses() {
                    self.clients.remove(&(mac, address));
                    self.reserved_records.remove(&address);
                }
            }
            Holder::Released(_) | Holder::Declined | Holder::Free { last: None } => {}
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
            Holder::Released(_) | Holder::Declined | Holder::Free { last: None } => {}
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

    /// Whether this host decides about an address now.
    pub(super) fn owns(&self, host: &Participation, address: Address) -> bool {
        let state = self.at(address);
        state.owner == Some(host.me) && state.transfer == Transfer::Settled && host.serves()
    }

    /// Whether this host may extend the lease of an address for somebody else's client list.
    pub(super) fn keeps(&self, host: &Participation, address: Address) -> bool {
        let state = self.at(address);
        state.owner != Some(host.me)
            && state.record.is_bound()
            && state.record.keeper == Some(host.me)
            && host.takes_part()
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
