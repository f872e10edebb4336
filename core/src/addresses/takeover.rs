//! Inheritance: how addresses of a removed owner get another one.
//!
//! ```text
//!  orphans seen ─ (lowest host at once, others after 2 s) ─► ballot: fresh epoch E, promised here, fsync
//!     Prepare(E, removed) ──► every member that is not removed, and every member that they name
//!     Report(E) from all, nothing higher promised here, `removed` unchanged ──► owner := heir where the
//!                                                              highest (epoch, owner) reported is removed
//!     otherwise: a new ballot
//! ```
//! Addresses that this host introduced and may have forgotten in a crash are asked for in the same way.
//! One member that is down stops it: wait for it, or remove it too.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::HostId;
use crate::range::{Range, RangeMap};
use crate::time::Instant;

use super::host::Host;
use super::message::{Message, ReportedRun};
use super::record::{AddressState, Record, Reuse, Transfer};
use super::segment::{Segment, Timer};
use super::timing::{BALLOT_REPEAT, HEIR_WAITS, RUNS_PER_MESSAGE, UNCLAIMED};
use crate::lease::Epoch;

/// An inheritance under way.
#[derive(Debug)]
pub(super) struct Ballot {
    epoch: Epoch,
    ranges: Vec<Range>,
    removed: BTreeSet<HostId>,
    asked: BTreeSet<HostId>,
    reports: BTreeMap<HostId, RangeMap<Reported>>,
    due: Instant,
}

/// What one member has of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reported {
    epoch: Epoch,
    owner: Option<HostId>,
    record: Record,
}

impl Ballot {
    /// Whether it is about any of these addresses.
    pub(super) fn touches(&self, part: Range) -> bool {
        self.ranges.iter().any(|range| range.common(part).is_some())
    }
}

impl Segment {
    /// Looks for addresses of removed owners. A host that leaves does so, too: it may be the only one to know of them.
    pub(super) fn inherit(&mut self, host: &mut Host, now: Instant) {
        if self.ballot.is_some() || !self.orphans_due || !host.takes_part() {
            return;
        }
        let mut orphans: Vec<Range> = Vec::new();
        let orphan = |state: &AddressState| {
            let forgotten = state.owner == Some(host.me) && state.epoch == Epoch::NONE;
            forgotten || state.owner.is_some_and(|owner| host.is_removed(owner))
        };
        let found = self.state.iter().filter(|(_, state)| orphan(state));
        for (range, _) in found.take(RUNS_PER_MESSAGE) {
            match orphans.last_mut().and_then(|last| Some((last.joined(range)?, last))) {
                Some((joined, last)) => *last = joined,
                None => orphans.push(range),
            }
        }
        if orphans.is_empty() {
            return self.inherit_unclaimed(host, now);
        }
        let since = *self.orphans_since.get_or_insert(now);
        let lowest = host
            .others()
            .filter(|&other| host.can_keep(other))
            .all(|other| host.me < other);
        if lowest || now.since(since) >= HEIR_WAITS {
            self.begin_ballot(host, orphans, 0, now);
        }
    }

    /// Addresses whose owner is only presumed, and can be asked: if none ever said that it owns them, they are anyone's.
    fn inherit_unclaimed(&mut self, host: &mut Host, now: Instant) {
        let presumed = |state: &AddressState| state.epoch == Epoch::NONE && state.owner.is_some();
        let unclaimed: Vec<(Range, HostId)> = self
            .state
            .iter()
            .filter(|(_, state)| presumed(state))
            .filter_map(|(range, state)| Some((range, state.owner?)))
            .take(RUNS_PER_MESSAGE)
            .collect();
        if unclaimed.is_empty() {
            self.orphans_due = false;
            self.orphans_since = None;
            return;
        }
        let since = *self.orphans_since.get_or_insert(now);
        if now.since(since) >= UNCLAIMED && unclaimed.iter().all(|(_, owner)| host.hears(*owner)) {
            let ranges = unclaimed.into_iter().map(|(range, _)| range).collect();
            self.begin_ballot(host, ranges, 0, now);
        }
    }

    fn begin_ballot(&mut self, host: &mut Host, ranges: Vec<Range>, above: u64, now: Instant) {
        let fresh = ranges.iter().map(|&range| self.fresh_epoch(host.me, range)).max();
        let Some(mut epoch) = fresh else { return };
        epoch.number = epoch.number.max(above + 1);
        for &range in &ranges {
            self.update(host, range, |_, state| state.promised = epoch);
        }
        self.ballot = Some(Ballot {
            epoch,
            ranges,
            removed: host.removed().clone(),
            asked: host.others().collect(),
            reports: BTreeMap::new(),
            due: now,
        });
        self.retry_ballot(host, now);
    }

    /// Asks those that have not reported, and finishes when all have.
    pub(super) fn retry_ballot(&mut self, host: &mut Host, now: Instant) {
        let Some(ballot) = self.ballot.as_mut() else { return };
        if ballot.removed != *host.removed() {
            self.ballot = None;
            self.orphans_due = true;
            return self.inherit(host, now);
        }
        let missing: Vec<HostId> = ballot
            .asked
            .iter()
            .copied()
            .filter(|other| !ballot.reports.contains_key(other))
            .collect();
        if missing.is_empty() {
            return self.finish_ballot(host, now);
        }
        if ballot.due <= now {
            ballot.due = now + BALLOT_REPEAT;
            let (epoch, ranges) = (ballot.epoch, ballot.ranges.clone());
            let removed: Vec<HostId> = ballot.removed.iter().copied().collect();
            let after = ranges
                .iter()
                .map(|&range| self.after_all(range))
                .max()
                .unwrap_or(0)
                .max(host.written());
            for to in missing {
                if !host.hears(to) {
                    continue;
                }
                let (ranges, removed) = (ranges.clone(), removed.clone());
                host.disk.send(
                    to,
                    Message::Prepare {
                        segment: self.id,
                        epoch,
                        ranges,
                        removed,
                    },
                    after,
                    now,
                );
            }
        }
        let next = self.ballot.as_ref().map_or(now + BALLOT_REPEAT, |ballot| ballot.due);
        self.at_time(next, Timer::Ballot);
    }

    /// Another host wants to inherit. What it has removed was taken over before this is called.
    pub(super) fn handle_prepare(
        &mut self,
        host: &mut Host,
        from: HostId,
        epoch: Epoch,
        ranges: Vec<Range>,
        now: Instant,
    ) {
        if !host.serves() {
            return;
        }
        let segment = self.id;
        let low = |state: &AddressState| {
            epoch < state.promised || epoch <= state.epoch || epoch <= state.record.version.epoch
        };
        let parts: Vec<(Range, AddressState)> = ranges.iter().flat_map(|&range| self.parts(range)).collect();
        if parts.iter().any(|(_, state)| low(state)) {
            let highest = parts.iter().map(|(_, state)| state.highest()).max().unwrap_or(0);
            let after = ranges.iter().map(|&range| self.after_all(range)).max().unwrap_or(0);
            return host.disk.send(
                from,
                Message::PrepareRefused {
                    segment,
                    epoch,
                    highest,
                },
                after,
                now,
            );
        }
        let runs = parts
            .into_iter()
            .filter(|(_, state)| *state != AddressState::UNKNOWN)
            .map(|(range, state)| ReportedRun {
                range,
                epoch: state.epoch,
                owner: state.owner,
                record: state.record,
            })
            .collect();
        for &range in &ranges {
            self.update(host, range, |_, state| state.promised = epoch);
        }
        let after = ranges
            .iter()
            .map(|&range| self.after_all(range))
            .max()
            .unwrap_or(0)
            .max(host.written());
        let members = host.others().chain([host.me]).collect();
        host.disk.send(
            from,
            Message::Report {
                segment,
                epoch,
                ranges,
                runs,
                members,
            },
            after,
            now,
        );
    }

    /// A member says all that it knows.
    pub(super) fn handle_report(
        &mut self,
        host: &mut Host,
        from: HostId,
        (epoch, runs, members): (Epoch, Vec<ReportedRun>, Vec<HostId>),
        now: Instant,
    ) {
        let Some(ballot) = self.ballot.as_mut() else { return };
        if ballot.epoch != epoch || !ballot.asked.contains(&from) {
            return;
        }
        let mut report = RangeMap::default();
        for ReportedRun {
            range,
            epoch,
            owner,
            record,
        } in runs
        {
            report.set(range, Reported { epoch, owner, record });
        }
        ballot.reports.insert(from, report);
        for member in members
            .into_iter()
            .filter(|&member| member != host.me && !host.is_removed(member))
        {
            if ballot.asked.insert(member) {
                ballot.due = now;
            }
        }
        self.retry_ballot(host, now);
    }

    /// The ballot was too low for somebody.
    pub(super) fn handle_prepare_refused(&mut self, host: &mut Host, epoch: Epoch, highest: u64, now: Instant) {
        if let Some(ballot) = self.ballot.take_if(|ballot| ballot.epoch == epoch) {
            self.begin_ballot(host, ballot.ranges, highest, now);
        }
    }

    fn finish_ballot(&mut self, host: &mut Host, now: Instant) {
        let Some(ballot) = self.ballot.take() else { return };
        self.orphans_due = true;
        let outbid = |state: &AddressState| state.promised != ballot.epoch;
        if ballot
            .ranges
            .iter()
            .any(|&range| self.parts(range).iter().any(|(_, state)| outbid(state)))
        {
            // Somebody else is at it: leave it to that host for a while.
            self.orphans_since = Some(now);
            return;
        }
        for piece in self.pieces(&ballot) {
            self.decide(host, &ballot, piece, now);
        }
        self.orphans_since = None;
    }

    /// The ballot's addresses, cut wherever this host or a report begins to say something else.
    fn pieces(&self, ballot: &Ballot) -> Vec<Range> {
        let mut pieces = RangeMap::default();
        let mut mark = 0u64;
        for &range in &ballot.ranges {
            pieces.set(range, BTreeSet::new());
            let mine = self.state.within(range).map(|(part, _)| part);
            let theirs = ballot
                .reports
                .values()
                .flat_map(|report| report.within(range).map(|(part, _)| part));
            for part in mine.chain(theirs).collect::<Vec<_>>() {
                mark += 1;
                let inside: Vec<_> = pieces
                    .within(part)
                    .map(|(piece, marks)| (piece, marks.clone()))
                    .collect();
                for (piece, mut marks) in inside {
                    marks.insert(mark);
                    pieces.set(piece, marks);
                }
            }
        }
        pieces.iter().map(|(range, _)| range).collect()
    }

    /// Takes one piece over if its owner is removed, or notes who owns it.
    fn decide(&mut self, host: &mut Host, ballot: &Ballot, piece: Range, now: Instant) {
        let me = host.me;
        let at = piece.first();
        let mine = self.at(at).clone();
        let own = Reported {
            epoch: mine.epoch,
            owner: mine.owner,
            record: mine.record.clone(),
        };
        let reports: Vec<(HostId, &Reported)> = ballot
            .reports
            .iter()
            .filter_map(|(&from, report)| Some((from, report.at(at)?)))
            .chain([(me, &own)])
            .collect();
        let denied = |owner: HostId| {
            (owner == me || ballot.reports.contains_key(&owner))
                && !reports
                    .iter()
                    .any(|(from, said)| *from == owner && said.owner == Some(owner))
        };
        // What this host was only to own, others may take for its own still.
        let owns = mine.owner == Some(me) && mine.transfer == Transfer::Settled;
        let best = reports
            .iter()
            .filter_map(|(_, said)| Some((said.epoch, said.owner?)))
            .filter(|&(epoch, owner)| epoch > Epoch::NONE || owner != me && !denied(owner))
            .filter(|&(epoch, owner)| owner != me || epoch.host != me || owns)
            .max();
        let (epoch, owner) = best.unwrap_or((Epoch::NONE, me));
        let forgotten = owner == me && epoch == Epoch::NONE;
        // The giver's records are on their way: only its `Give` makes the other the owner. A removed one's never arrives.
        let given = match ballot.reports.get(&owner) {
            Some(said) => said.at(at).is_none_or(|said| said.epoch < epoch),
            None => owner == me && !owns,
        };
        // It gave way to this host, which was to be the first owner and is not: nobody has it.
        let gave_way = ballot.reports.get(&owner).and_then(|said| said.at(at));
        let gave_way = !owns && gave_way.is_some_and(|said| said.owner == Some(me) && said.epoch > epoch);
        let orphan = ballot.removed.contains(&owner) || given && ballot.removed.contains(&epoch.host) || gave_way;
        if !orphan && !forgotten {
            if owner == me {
                return;
            }
            self.update(host, piece, |_, state| {
                if !owns && (epoch, Some(owner)) != (state.epoch, state.owner) {
                    state.owner = Some(owner);
                    state.epoch = epoch;
                    state.transfer = Transfer::Settled;
                }
            });
            return;
        }
        let newest = reports
            .iter()
            .map(|(_, said)| &said.record)
            .max_by_key(|record| record.version);
        let Some(newest) = newest.cloned() else { return };
        let may: BTreeSet<HostId> = reports
            .iter()
            .filter(|(from, said)| *from != me && said.record.is_bound() && said.record.keeper == Some(*from))
            .map(|(from, _)| *from)
            .collect();
        self.update(host, piece, |_, state| {
            state.record = newest.clone();
            if state.record.keeper == Some(me) {
                state.record.keeper = None;
            }
            state.may.clone_from(&may);
            state.reuse = Reuse::Quarantined;
            state.owner = Some(me);
            state.epoch = ballot.epoch;
            state.transfer = Transfer::Settled;
        });
        self.take_over(host, piece, now);
    }
}
