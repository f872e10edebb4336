//! First owners, and how everybody comes to know who owns what.
//!
//! ```text
//!  introducer: Unborn ── Birth to all ──► every member that is not failed knows it ──► Settled: it may give
//!                   └── another owner is named: that one stays, unless it gives way itself
//!  any owner, after each change of epoch: Birth to all, until each knows
//! ```
//! Knowing who owns an address gives nobody a right to it: a range is taken by `Give`, by inheritance or here.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::HostId;
use crate::range::{Range, RangeMap};
use crate::time::Instant;

use super::host::{Departure, Host};
use super::message::{Message, OwnedRun, Ownership};
use super::record::{AddressState, Transfer};
use super::request::{Effect, LeaseEvent};
use super::segment::Segment;
use super::timing::TICK;
use super::view::Reach;
use crate::lease::Epoch;

/// What the others know of what this host owns.
#[derive(Debug, Default)]
pub(super) struct Births {
    known_by: BTreeMap<HostId, RangeMap<Epoch>>,
    /// The owners that a host has named of what this one is to own.
    named_by: BTreeMap<HostId, RangeMap<HostId>>,
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

    /// A host has named another owner.
    fn name(&mut self, by: HostId, part: Range, owner: HostId) {
        self.named_by.entry(by).or_default().set(part, owner);
    }

    /// Whether a host has named another owner of any part of a range. What it said outlasts its failing.
    fn has_named(&self, by: HostId, range: Range) -> bool {
        let named = self.named_by.get(&by);
        named.is_some_and(|named| named.within(range).next().is_some())
    }

    /// A named owner of a part of a range, such as is wanted.
    fn named(&self, range: Range, wanted: impl Fn(HostId) -> bool) -> Option<(Range, HostId)> {
        let all = self.named_by.values().flat_map(|named| named.within(range));
        let mut found = all.filter(|(_, owner)| wanted(**owner));
        found.next().map(|(part, owner)| (part, *owner))
    }

    /// What of a range a host does not know to be this one's under this epoch or a later one.
    fn unknown_to(&self, host: HostId, range: Range, epoch: Epoch) -> Vec<Range> {
        let Some(known) = self.known_by.get(&host) else {
            return vec![range];
        };
        let earlier = known.within(range).filter(|(_, known)| **known < epoch);
        let earlier = earlier.map(|(part, _)| part);
        earlier.chain(known.gaps(range)).collect()
    }

    /// Whether a host has nothing against this one's owning a range: it knows so, or has named others that know so.
    fn agrees(&self, host: HostId, range: Range, epoch: Epoch) -> bool {
        self.unknown_to(host, range, epoch).into_iter().all(|part| {
            let Some(named) = self.named_by.get(&host) else {
                return false;
            };
            named.gaps(part).is_empty()
                && named
                    .within(part)
                    .all(|(part, owner)| self.unknown_to(*owner, part, epoch).is_empty())
        })
    }
}

impl Segment {
    /// Addresses that this host never heard of get their first owner.
    ///
    /// If this host is that, and may only have forgotten them in a crash, it asks all members as an heir would.
    pub(super) fn first_owner(&mut self, host: &mut Host, range: Range, introducer: HostId, birth: Option<Epoch>) {
        let me = host.me;
        let parts = self.parts(range).into_iter();
        for (part, known) in parts.filter(|(_, state)| state.owner.is_none()) {
            // Who has promised an heir something knows that there was an owner.
            let birth = birth.filter(|_| known.promised == Epoch::NONE);
            self.update(host, part, |_, state| {
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
            let mut missing: BTreeMap<(Epoch, Ownership), Vec<Range>> = BTreeMap::new();
            for (range, owned) in mine.iter() {
                let parts = self.births.unknown_to(to, range, owned.0);
                if !parts.is_empty() {
                    missing.entry(*owned).or_default().extend(parts);
                }
            }
            if missing.is_empty() {
                self.births.done.insert(to);
                host.tell_soon_to(to, now);
            }
            self.births.told.insert(to, now);
            for ((epoch, ownership), ranges) in missing {
                let after = ranges.iter().map(|&range| self.after_all(range)).max().unwrap_or(0);
                host.disk.send(
                    to,
                    Message::Birth {
                        segment: self.id,
                        epoch,
                        ownership,
                        ranges,
                    },
                    after,
                    now,
                );
            }
        }
    }

    /// What this host owns or is to own.
    fn owned(&self, me: HostId) -> RangeMap<(Epoch, Ownership)> {
        let mut mine = RangeMap::default();
        let known = |state: &AddressState| state.owner == Some(me) && state.epoch > Epoch::NONE;
        for (range, state) in self.state.iter().filter(|(_, state)| known(state)) {
            let ownership = match state.transfer {
                Transfer::Unborn => Ownership::ToBe,
                Transfer::Settled | Transfer::HandingOver => Ownership::Settled,
            };
            mine.set(range, (state.epoch, ownership));
        }
        mine
    }

    /// Another host says what it owns.
    pub(super) fn handle_birth(
        &mut self,
        host: &mut Host,
        from: HostId,
        (epoch, ownership): (Epoch, Ownership),
        ranges: Vec<Range>,
        now: Instant,
    ) {
        let mut known = Vec::new();
        let mut others = Vec::new();
        let parts: Vec<_> = ranges.into_iter().flat_map(|range| self.parts(range)).collect();
        for (part, state) in parts {
            match self.answer_birth(host, from, (epoch, ownership), (part, &state), now) {
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
        (epoch, ownership): (Epoch, Ownership),
        (part, state): (Range, &AddressState),
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
            // However new the generation: whoever adds the addresses did not know that they have an owner.
            (Some(owner), Transfer::Settled | Transfer::HandingOver)
                if owner != from && owner != host.me && ownership == Ownership::ToBe =>
            {
                other(owner, state.epoch)
            }
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
            host.disk.effect(Effect::Event(LeaseEvent::BirthLost {
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
        let named = self.births.named_by.entry(from).or_default();
        for range in ranges {
            known.set(range, epoch);
            named.clear(range);
        }
        for run in others {
            for (part, state) in self.parts(run.range) {
                if state.owner != Some(host.me) || run.owner == host.me {
                    continue;
                }
                match state.transfer {
                    Transfer::Unborn if run.owner == from || run.epoch > state.epoch || host.is_removed(run.owner) => {
                        self.yield_to(host, part, run.epoch, run.owner);
                    }
                    Transfer::Unborn => self.births.name(from, part, run.owner),
                    Transfer::Settled if run.owner != from && run.epoch > state.epoch => {
                        self.rise_range(host, part, run.epoch, now);
                    }
                    Transfer::Settled | Transfer::HandingOver => {}
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
        let mut born = false;
        for (range, epoch) in unborn {
            if let Some((part, owner)) = self.births.named(range, |owner| host.is_removed(owner)) {
                // It is inherited, and quarantined.
                self.yield_to(host, part, Epoch::NONE, owner);
                continue;
            }
            let known = host.others().all(|other| {
                // Who has lost its journal knows of nothing, and says nothing.
                let silent = host.reach(other) == Reach::Failed || host.has_lost_its(other);
                let asked = !silent || self.births.has_named(other, range);
                !asked || self.births.agrees(other, range, epoch)
            });
            if known && !self.blocked.within(range).any(|(_, until)| *until > now) {
                self.update(host, range, |_, state| state.transfer = Transfer::Settled);
                if self.births.named(range, |_| true).is_some() {
                    // Whoever named another hears that it was wrong.
                    self.births.changed();
                }
                born = true;
            }
        }
        if born {
            self.tell_share(host);
        }
    }
}
