//! First owners, and how everybody comes to know who owns what.
//!
//! ```text
//!  introducer: Unborn ── Birth to all ──► every member that is not failed knows it ──► Settled: it may give
//!                   └── another owner is named: that one stays
//!  any owner, after each change of epoch: Birth to all, until each knows
//! ```
//! Knowing who owns an address gives nobody a right to it: a range is taken by `Give`, by inheritance or here.

use std::collections::{BTreeMap, BTreeSet};

use crate::gateway::pool::{Range, RangeMap};
use crate::id::HostId;
use crate::time::Instant;

use super::host::{Departure, Host};
use super::message::{Message, OwnedRun};
use super::record::{AddressState, Epoch, Transfer};
use super::request::{Effect, Finding};
use super::segment::Segment;
use super::timing::TICK;
use super::view::Reach;

/// What the others know of what this host owns.
#[derive(Debug, Default)]
pub(super) struct Births {
    known_by: BTreeMap<HostId, RangeMap<Epoch>>,
    /// Hosts that know all.
    done: BTreeSet<HostId>,
    /// When each was told last.
    told: BTreeMap<HostId, Instant>,
}

impl Births {
    /// Whether a host knows all that this one owns.
    pub(super) fn knows(&self, host: HostId) -> bool {
        self.done.contains(&host)
    }

    /// This host owns something else, or under another epoch.
    pub(super) fn changed(&mut self) {
        self.done.clear();
        self.told.clear();
    }
}

impl Segment {
    /// Addresses that this host never heard of get their first owner.
    ///
    /// If this host is that, and may only have forgotten them in a crash, it asks all members as an heir would.
    pub(super) fn first_owner(&mut self, host: &mut Host, range: Range, introducer: HostId, birth: Option<Epoch>) {
        let me = host.me;
        for gap in self.state.gaps(range) {
            self.update(host, gap, |_, state| {
                state.owner = Some(introducer);
                if introducer == me {
                    state.epoch = birth.unwrap_or(Epoch::NONE);
                    state.transfer = Transfer::Unborn;
                }
            });
            self.births.changed();
        }
    }

    /// Tells those that do not know yet what this host owns.
    pub(super) fn tell_owned(&mut self, host: &mut Host, now: Instant) {
        let due: Vec<HostId> = host
            .others()
            .filter(|other| host.hears(*other) && !self.births.done.contains(other))
            .filter(|other| self.births.told.get(other).is_none_or(|told| now.since(*told) >= TICK))
            .collect();
        if due.is_empty() {
            return;
        }
        let mine = self.owned(host.me);
        for to in due {
            let known = self.births.known_by.entry(to).or_default();
            let mut missing: BTreeMap<Epoch, Vec<Range>> = BTreeMap::new();
            for (range, epoch) in mine.iter() {
                let stale = known
                    .within(range)
                    .filter(|(_, known)| *known < epoch)
                    .map(|(part, _)| part);
                let parts: Vec<Range> = stale.chain(known.gaps(range)).collect();
                if !parts.is_empty() {
                    missing.entry(*epoch).or_default().extend(parts);
                }
            }
            if missing.is_empty() {
                self.births.done.insert(to);
                host.tell_soon_to(to, now);
            }
            self.births.told.insert(to, now);
            for (epoch, ranges) in missing {
                let after = ranges.iter().map(|&range| self.after_all(range)).max().unwrap_or(0);
                host.disk.send(
                    to,
                    Message::Birth {
                        segment: self.id,
                        epoch,
                        ranges,
                    },
                    after,
                    now,
                );
            }
        }
    }

    /// What this host owns or is to own, by epoch.
    fn owned(&self, me: HostId) -> RangeMap<Epoch> {
        let mut mine = RangeMap::default();
        let known = |state: &AddressState| state.owner == Some(me) && state.epoch > Epoch::NONE;
        for (range, state) in self.state.iter().filter(|(_, state)| known(state)) {
            mine.set(range, state.epoch);
        }
        mine
    }

    /// Another host says what it owns.
    pub(super) fn handle_birth(
        &mut self,
        host: &mut Host,
        from: HostId,
        epoch: Epoch,
        ranges: Vec<Range>,
        now: Instant,
    ) {
        let mut known = Vec::new();
        let mut others = Vec::new();
        let parts: Vec<_> = ranges.into_iter().flat_map(|range| self.parts(range)).collect();
        for (part, state) in parts {
            match self.answer_birth(host, from, epoch, part, &state, now) {
                None => known.push(part),
                Some(owner) => others.push(owner),
            }
        }
        let after = known
            .iter()
            .chain(others.iter().map(|run| &run.range))
            .map(|&range| self.after_all(range))
            .max();
        let message = Message::BirthKnown {
            segment: self.id,
            epoch,
            ranges: known,
            others,
        };
        host.disk.send(from, message, after.unwrap_or(0), now);
    }

    /// Takes over that `from` owns a part; or the other owner, if this host knows one.
    fn answer_birth(
        &mut self,
        host: &mut Host,
        from: HostId,
        epoch: Epoch,
        part: Range,
        state: &AddressState,
        now: Instant,
    ) -> Option<OwnedRun> {
        let other = |owner, epoch| {
            Some(OwnedRun {
                range: part,
                epoch,
                owner,
            })
        };
        match (state.owner, state.transfer) {
            (Some(owner), Transfer::Settled) if owner == host.me => {
                if epoch > state.epoch {
                    self.rise_range(host, part, epoch, now);
                }
                other(owner, self.at(part.first()).epoch)
            }
            (Some(owner), Transfer::Unborn) if owner == host.me && epoch < state.epoch => other(owner, state.epoch),
            (Some(owner), Transfer::HandingOver) if owner == from && epoch >= state.epoch => {
                if host.departure == Departure::None {
                    self.finish_give(host, from, part, epoch);
                }
                None
            }
            // Only the receiver, or whoever has it from the receiver, can own it under a later epoch: it was taken.
            (Some(_), Transfer::HandingOver) if epoch > state.epoch => {
                if host.departure == Departure::None {
                    self.yield_to(host, part, epoch, from);
                }
                None
            }
            (Some(owner), Transfer::HandingOver) => other(owner, state.epoch),
            (Some(owner), Transfer::Settled | Transfer::Unborn) if epoch < state.epoch => other(owner, state.epoch),
            (Some(_) | None, Transfer::Settled | Transfer::Unborn) | (None, Transfer::HandingOver) => {
                self.yield_to(host, part, epoch, from);
                None
            }
        }
    }

    /// Notes another owner; if this host was to be the first, it gives way.
    fn yield_to(&mut self, host: &mut Host, part: Range, epoch: Epoch, owner: HostId) {
        let me = host.me;
        let mut lost = false;
        self.update(host, part, |_, state| {
            lost |= state.owner == Some(me);
            state.owner = Some(owner);
            state.epoch = epoch;
            state.transfer = Transfer::Settled;
        });
        if lost {
            host.disk.effect(Effect::Finding(Finding::BirthLost {
                segment: self.id,
                owner,
            }));
        }
    }

    fn rise_range(&mut self, host: &mut Host, range: Range, above: Epoch, now: Instant) {
        let mut epoch = self.fresh_epoch(host.me, range);
        epoch.number = epoch.number.max(above.number + 1);
        self.update(host, range, |_, state| state.epoch = epoch);
        let live: Vec<_> = self
            .live
            .range(range.first()..=range.last())
            .map(|(&address, _)| address)
            .collect();
        for address in live {
            self.resume(host, address, now);
        }
        self.births.changed();
    }

    /// Another host knows what this one owns, or names other owners.
    pub(super) fn handle_birth_known(
        &mut self,
        host: &mut Host,
        from: HostId,
        (epoch, ranges, others): (Epoch, Vec<Range>, Vec<OwnedRun>),
        now: Instant,
    ) {
        // The rest is told at once; what was answered with another owner, a tick later.
        if !ranges.is_empty() {
            self.births.told.remove(&from);
        }
        let known = self.births.known_by.entry(from).or_default();
        for range in ranges {
            known.set(range, epoch);
        }
        for run in others {
            for (part, state) in self.parts(run.range) {
                if state.owner != Some(host.me) || run.owner == host.me {
                    continue;
                }
                match state.transfer {
                    Transfer::Unborn if run.owner == from || run.epoch > state.epoch => {
                        self.yield_to(host, part, run.epoch, run.owner);
                    }
                    Transfer::Settled if run.owner != from && run.epoch > state.epoch => {
                        self.rise_range(host, part, run.epoch, now);
                    }
                    Transfer::Unborn | Transfer::Settled | Transfer::HandingOver => {}
                }
            }
        }
        self.tell_owned(host, now);
        self.bear(host, now);
    }

    /// The introducer may use what every member that is not failed knows to be its own.
    pub(super) fn bear(&mut self, host: &mut Host, now: Instant) {
        if !host.takes_part() {
            return;
        }
        let me = host.me;
        let unborn: Vec<(Range, Epoch)> = self
            .state
            .iter()
            .filter(|(_, state)| state.owner == Some(me) && state.transfer == Transfer::Unborn)
            .filter(|(_, state)| state.epoch > Epoch::NONE)
            .map(|(range, state)| (range, state.epoch))
            .collect();
        for (range, epoch) in unborn {
            let known = host
                .others()
                .filter(|&other| host.reach(other) != Reach::Failed)
                .all(|other| {
                    self.births.known_by.get(&other).is_some_and(|known| {
                        known.gaps(range).is_empty() && known.within(range).all(|(_, known)| *known >= epoch)
                    })
                });
            if known && !self.blocked.within(range).any(|(_, until)| *until > now) {
                self.update(host, range, |_, state| state.transfer = Transfer::Settled);
            }
        }
    }
}
