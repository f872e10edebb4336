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
use crate::lease::Epoch;
use crate::range::{Range, RangeMap};
use crate::time::Instant;

use super::inheritance::{Ballots, Inheritance, Reported};
use super::live::Timer;
use super::message::{Message, ReportedRun};
use super::participation::Participation;
use super::record::{AddressState, Reuse, Transfer};
use super::store::AddressStore;
use super::timing::{BALLOT_REPEAT, HEIR_WAITS, RUNS_PER_MESSAGE, UNCLAIMED};
use super::transfer;

/// What this host does about addresses whose owners are removed.
#[derive(Debug, Default)]
pub(super) struct Takeover {
    ballot: Option<Ballot>,
    /// Since when this host leaves an inheritance to a lower one.
    orphans_since: Option<Instant>,
}

/// An inheritance under way.
#[derive(Debug)]
struct Ballot {
    epoch: Epoch,
    ranges: Vec<Range>,
    removed: BTreeSet<HostId>,
    asked: BTreeSet<HostId>,
    reports: BTreeMap<HostId, RangeMap<Reported>>,
    due: Instant,
}

impl Ballot {
    /// Whether it is about any of these addresses.
    fn touches(&self, part: Range) -> bool {
        self.ranges.iter().any(|range| range.common(part).is_some())
    }
}

impl Takeover {
    /// A ballot is over where this host has taken over what it is about in another way.
    fn heed(&mut self, store: &mut AddressStore) {
        let taken = std::mem::take(&mut store.taken);
        let touched = |ballot: &mut Ballot| taken.iter().any(|&part| ballot.touches(part));
        if self.ballot.take_if(touched).is_some() {
            store.due.orphans = true;
        }
    }

    /// Looks for addresses of removed owners. A host that leaves does so, too: it may be the only one to know of them.
    pub(super) fn inherit(&mut self, store: &mut AddressStore, host: &mut Participation, now: Instant) {
        self.heed(store);
        if self.ballot.is_some() || !store.due.orphans || !host.takes_part() {
            return;
        }
        let mut orphans: Vec<Range> = Vec::new();
        let orphan = |state: &AddressState| {
            let forgotten = state.owner == Some(host.me) && state.epoch == Epoch::NONE;
            forgotten || state.owner.is_some_and(|owner| host.is_removed(owner))
        };
        let found = store.state().iter().filter(|(_, state)| orphan(state));
        for (range, _) in found.take(RUNS_PER_MESSAGE) {
            match orphans.last_mut().and_then(|last| Some((last.joined(range)?, last))) {
                Some((joined, last)) => *last = joined,
                None => orphans.push(range),
            }
        }
        if orphans.is_empty() {
            return self.inherit_unclaimed(store, host, now);
        }
        let since = *self.orphans_since.get_or_insert(now);
        let lowest = host
            .others()
            .filter(|&other| host.can_keep(other))
            .all(|other| host.me < other);
        if lowest || now.since(since) >= HEIR_WAITS {
            self.begin_ballot(store, host, orphans, 0, now);
        }
    }

    /// Addresses whose owner is only presumed, and can be asked: if none ever said that it owns them, they are anyone's.
    fn inherit_unclaimed(&mut self, store: &mut AddressStore, host: &mut Participation, now: Instant) {
        let presumed = |state: &AddressState| state.epoch == Epoch::NONE && state.owner.is_some();
        let unclaimed: Vec<(Range, HostId)> = store
            .state()
            .iter()
            .filter(|(_, state)| presumed(state))
            .filter_map(|(range, state)| Some((range, state.owner?)))
            .take(RUNS_PER_MESSAGE)
            .collect();
        if unclaimed.is_empty() {
            store.due.orphans = false;
            self.orphans_since = None;
            return;
        }
        let since = *self.orphans_since.get_or_insert(now);
        if now.since(since) >= UNCLAIMED && unclaimed.iter().all(|(_, owner)| host.hears(*owner)) {
            let ranges = unclaimed.into_iter().map(|(range, _)| range).collect();
            self.begin_ballot(store, host, ranges, 0, now);
        }
    }

    fn begin_ballot(
        &mut self,
        store: &mut AddressStore,
        host: &mut Participation,
        ranges: Vec<Range>,
        above: u64,
        now: Instant,
    ) {
        let fresh = ranges.iter().map(|&range| store.fresh_epoch(host.me, range)).max();
        let Some(mut epoch) = fresh else { return };
        epoch.number = epoch.number.max(above + 1);
        for &range in &ranges {
            store.update(host, range, |_, state| state.promised = epoch);
        }
        self.ballot = Some(Ballot {
            epoch,
            ranges,
            removed: host.removed().clone(),
            asked: host.others().collect(),
            reports: BTreeMap::new(),
            due: now,
        });
        self.retry_ballot(store, host, now);
    }

    /// Asks those that have not reported, and finishes when all have.
    pub(super) fn retry_ballot(&mut self, store: &mut AddressStore, host: &mut Participation, now: Instant) {
        self.heed(store);
        let Some(ballot) = self.ballot.as_mut() else { return };
        if ballot.removed != *host.removed() {
            self.ballot = None;
            store.due.orphans = true;
            return self.inherit(store, host, now);
        }
        let missing: Vec<HostId> = ballot
            .asked
            .iter()
            .copied()
            .filter(|other| !ballot.reports.contains_key(other))
            .collect();
        if missing.is_empty() {
            return self.finish_ballot(store, host, now);
        }
        if ballot.due <= now {
            ballot.due = now + BALLOT_REPEAT;
            let (epoch, ranges) = (ballot.epoch, ballot.ranges.clone());
            let removed: Vec<HostId> = ballot.removed.iter().copied().collect();
            let after = ranges
                .iter()
                .map(|&range| store.after_all(range))
                .max()
                .unwrap_or(0)
                .max(host.written());
            for to in missing {
                if !host.hears(to) {
                    continue;
                }
                let (ranges, removed) = (ranges.clone(), removed.clone());
                host.outbox.send(
                    to,
                    Message::Prepare {
                        segment: store.id,
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
        store.at_time(next, Timer::Ballot);
    }

    /// A member says all that it knows.
    pub(super) fn handle_report(
        &mut self,
        store: &mut AddressStore,
        host: &mut Participation,
        from: HostId,
        (epoch, runs, members): (Epoch, Vec<ReportedRun>, Vec<HostId>),
        now: Instant,
    ) {
        self.heed(store);
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
        self.retry_ballot(store, host, now);
    }

    /// The ballot was too low for somebody.
    pub(super) fn handle_prepare_refused(
        &mut self,
        store: &mut AddressStore,
        host: &mut Participation,
        epoch: Epoch,
        highest: u64,
        now: Instant,
    ) {
        self.heed(store);
        if let Some(ballot) = self.ballot.take_if(|ballot| ballot.epoch == epoch) {
            self.begin_ballot(store, host, ballot.ranges, highest, now);
        }
    }

    fn finish_ballot(&mut self, store: &mut AddressStore, host: &mut Participation, now: Instant) {
        let Some(ballot) = self.ballot.take() else { return };
        store.due.orphans = true;
        let outbid = |state: &AddressState| state.promised != ballot.epoch;
        if ballot
            .ranges
            .iter()
            .any(|&range| store.parts(range).iter().any(|(_, state)| outbid(state)))
        {
            // Somebody else is at it: leave it to that host for a while.
            self.orphans_since = Some(now);
            return;
        }
        for piece in pieces(store, &ballot) {
            decide(store, host, &ballot, piece, now);
        }
        self.orphans_since = None;
    }
}

/// The ballot's addresses, cut wherever this host or a report begins to say something else.
fn pieces(store: &AddressStore, ballot: &Ballot) -> Vec<Range> {
    let mut pieces = RangeMap::default();
    let mut mark = 0u64;
    for &range in &ballot.ranges {
        pieces.set(range, BTreeSet::new());
        let mine = store.state().within(range).map(|(part, _)| part);
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
fn decide(store: &mut AddressStore, host: &mut Participation, ballot: &Ballot, piece: Range, now: Instant) {
    let me = host.me;
    let at = piece.first();
    let known = store.at(at);
    let mine = Reported {
        epoch: known.epoch,
        owner: known.owner,
        record: known.record.clone(),
    };
    let owns = known.owner == Some(me) && known.transfer == Transfer::Settled;
    let ballots = Ballots {
        me,
        removed: &ballot.removed,
        mine: &mine,
        owns,
        reports: &ballot.reports.iter().map(|(&from, said)| (from, said.at(at))).collect(),
    };
    match ballots.verdict() {
        Inheritance::Unchanged => {}
        Inheritance::Owned { owner, epoch } => {
            store.update(host, piece, |_, state| {
                if !owns && (epoch, Some(owner)) != (state.epoch, state.owner) {
                    state.owner = Some(owner);
                    state.epoch = epoch;
                    state.transfer = Transfer::Settled;
                }
            });
        }
        Inheritance::Inherited => inherit(store, host, ballot.epoch, piece, &ballots, now),
    }
}

/// Takes a piece over with the newest record that anybody has, from all who may extend it.
fn inherit(
    store: &mut AddressStore,
    host: &mut Participation,
    epoch: Epoch,
    piece: Range,
    ballots: &Ballots<'_>,
    now: Instant,
) {
    let me = host.me;
    let records = ballots.said().map(|(_, said)| &said.record);
    let Some(newest) = records.max_by_key(|record| record.version) else {
        return;
    };
    let may: BTreeSet<HostId> = ballots
        .said()
        .filter(|(from, said)| *from != me && said.record.is_bound() && said.record.keeper == Some(*from))
        .map(|(from, _)| from)
        .collect();
    store.update(host, piece, |_, state| {
        state.record = newest.clone();
        if state.record.keeper == Some(me) {
            state.record.keeper = None;
        }
        state.may.clone_from(&may);
        state.reuse = Reuse::Quarantined;
        state.owner = Some(me);
        state.epoch = epoch;
        state.transfer = Transfer::Settled;
    });
    transfer::take_over(store, host, piece, now);
}
