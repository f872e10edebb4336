//! This host among the others: members, the removed, and whether it takes part.
//!
//! ```text
//!            join        every member left has acknowledged, one of them
//!  (nothing) ────► Joining ── takes part and knows all the removed ─────► Taking ── leave ──► Leaving ──► removed
//!      │              └────────── or the operator's `pool recover` ──────►┤
//!      └──────────────────────────── form ────────────────────────────────►┘
//!                        any of them ── disk lost, or removed by others ──► Lost
//! ```
//! From the moment a host knows that another is removed, no message of that one counts.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{HostId, SegmentId};
use crate::time::{Duration, Instant};

use super::journal::{Introduced, Journal, JournalRecord, Members};
use super::message::{Life, Message, Part};
use super::outbox::Outbox;
use super::request::{Effect, LeaseEvent, Unrecovered};
use super::timing::TICK;
use super::view::{Reach, Roster};

/// What another host last said of itself.
#[derive(Debug, Default)]
pub(super) struct KnownHost {
    pub(super) part: Option<Part>,
    /// Whether it ever said that it takes part: one that leaves may never have.
    pub(super) took_part: bool,
    pub(super) members: BTreeSet<HostId>,
    pub(super) removed: BTreeSet<HostId>,
    /// What it said of each segment, and where its journal was when it said so last.
    pub(super) generations: BTreeMap<SegmentId, ((u64, Life), u64)>,
    /// Highest journal sequence ever heard from it.
    pub(super) sequence: u64,
    /// When membership was last told to it.
    pub(super) told: Option<Instant>,
    /// When it is due again.
    pub(super) due: Instant,
}

/// Where this host's departure stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Departure {
    /// It stays.
    None,
    /// It hands over what it has.
    HandingOver,
    /// It is in its own `removed`; the others are told until this instant at most.
    Telling(Instant),
    /// It is gone.
    Gone,
}

/// This host's identity, membership and way out.
#[derive(Debug)]
pub(super) struct Participation {
    pub(super) me: HostId,
    pub(super) journal: Journal,
    pub(super) outbox: Outbox,
    pub(super) departure: Departure,
    pub(super) membership: Members,
    pub(super) lost: bool,
    pub(super) reach: BTreeMap<HostId, Reach>,
    pub(super) peers: BTreeMap<HostId, KnownHost>,
    /// The append that the last change of membership is in.
    pub(super) written: u64,
    pub(super) random: u64,
    /// Whom this turn asks for addresses.
    borrows: Vec<(HostId, Message)>,
}

impl Participation {
    pub(super) fn new(me: HostId, membership: Members, sequence: u64, seed: u64) -> Self {
        Self {
            me,
            journal: Journal::new(sequence),
            outbox: Outbox::new(sequence),
            departure: Departure::None,
            membership,
            lost: false,
            reach: BTreeMap::new(),
            peers: BTreeMap::new(),
            written: sequence,
            random: seed ^ me.0.rotate_left(32),
            borrows: Vec::new(),
        }
    }

    /// All appends up to this sequence are on disk: what waited for them leaves.
    pub(super) fn handle_synced(&mut self, sequence: u64, now: Instant) {
        let durable = self.journal.handle_synced(sequence);
        self.outbox.release(durable, now);
    }

    /// Asks another host for free addresses, once this turn has said what this host is: whoever does not know yet that it
    /// takes part gives it none.
    pub(super) fn borrow(&mut self, owner: HostId, segment: SegmentId, count: u64) {
        self.borrows.push((owner, Message::Borrow { segment, count }));
    }

    pub(super) fn send_borrows(&mut self, now: Instant) {
        for (owner, borrow) in std::mem::take(&mut self.borrows) {
            self.outbox.send(owner, borrow, self.written, now);
        }
    }

    /// Ends the turn: what was written in it is one append.
    pub(super) fn flush(&mut self) {
        if let Some((sequence, records)) = self.journal.flush() {
            self.outbox.effect(Effect::Append { sequence, records });
        }
    }

    /// Whether this host may act on what it owns and keeps.
    pub(super) fn serves(&self) -> bool {
        !self.lost && self.membership.members.contains(&self.me) && !self.is_removed(self.me)
    }

    /// Whether it may be keeper, receiver and heir.
    pub(super) fn takes_part(&self) -> bool {
        self.serves() && self.membership.introduced == Introduced::Fully
    }

    pub(super) fn part(&self) -> Part {
        if !self.serves() {
            Part::Lost
        } else if self.departure != Departure::None {
            Part::Leaving
        } else if self.takes_part() {
            Part::Taking
        } else {
            Part::Joining
        }
    }

    pub(super) fn is_removed(&self, host: HostId) -> bool {
        self.membership.removed.contains(&host)
    }

    pub(super) const fn removed(&self) -> &BTreeSet<HostId> {
        &self.membership.removed
    }

    pub(super) const fn membership(&self) -> &Members {
        &self.membership
    }

    /// All members but this one and the removed.
    pub(super) fn others(&self) -> impl Iterator<Item = HostId> + '_ {
        self.membership
            .members
            .iter()
            .copied()
            .filter(|&host| host != self.me && !self.is_removed(host))
    }

    pub(super) fn awaited(&self) -> Vec<HostId> {
        if self.takes_part() {
            return Vec::new();
        }
        self.others()
            .filter(|host| !self.membership.acknowledged.contains(host))
            .collect()
    }

    /// Whether every member that is left has acknowledged this host, and none of them takes part either.
    pub(super) fn waits_for_nobody(&self) -> bool {
        self.part() == Part::Joining && self.awaited().is_empty() && !self.others().any(|host| self.can_keep(host))
    }

    pub(super) fn reach(&self, host: HostId) -> Reach {
        self.reach.get(&host).copied().unwrap_or(Reach::Silent)
    }

    /// Whether a host can be asked.
    pub(super) fn hears(&self, host: HostId) -> bool {
        self.reach(host) == Reach::Reachable && !self.is_removed(host)
    }

    /// Whether a host could be keeper or receiver now.
    pub(super) fn can_keep(&self, host: HostId) -> bool {
        host != self.me && self.hears(host) && self.peers.get(&host).and_then(|peer| peer.part) == Some(Part::Taking)
    }

    /// Whether nobody is left that could ever keep anything: every other host leaves, or has lost its disk.
    pub(super) fn is_left_alone(&self) -> bool {
        self.others().all(|other| self.retires(other))
    }

    /// Whether a host said that it leaves or has lost its disk.
    pub(super) fn retires(&self, host: HostId) -> bool {
        matches!(
            self.peers.get(&host).and_then(|peer| peer.part),
            Some(Part::Leaving | Part::Lost)
        )
    }

    /// Whether another host said that its journal is lost.
    pub(super) fn has_lost_its(&self, host: HostId) -> bool {
        self.peers.get(&host).and_then(|peer| peer.part) == Some(Part::Lost)
    }

    /// Whether every member that is not removed is known to know a generation of a segment.
    pub(super) fn all_know(&self, segment: SegmentId, generation: u64) -> bool {
        self.others().all(|host| {
            let said = self.said_of(host, segment);
            said.is_some_and(|(known, _)| known >= generation)
        })
    }

    /// A deleted segment is forgotten.
    pub(super) fn forget_segment(&mut self, segment: SegmentId) {
        for peer in self.peers.values_mut() {
            peer.generations.remove(&segment);
        }
    }

    /// What another host last said of a segment.
    pub(super) fn said_of(&self, host: HostId, segment: SegmentId) -> Option<(u64, Life)> {
        let (said, _) = self.peers.get(&host)?.generations.get(&segment)?;
        Some(*said)
    }

    /// Whether another host has said anything of itself since this one started.
    pub(super) fn has_spoken(&self, host: HostId) -> bool {
        self.peers.get(&host).is_some_and(|peer| peer.part.is_some())
    }

    /// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators).
    pub(super) fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn write(&mut self, now: Instant) {
        self.written = self.journal.write(JournalRecord::Membership(self.membership.clone()));
        self.tell_soon(now);
    }

    /// Membership is told to one host now.
    pub(super) fn tell_soon_to(&mut self, host: HostId, now: Instant) {
        if let Some(peer) = self.peers.get_mut(&host) {
            peer.due = now;
        }
    }

    /// What this host says of itself changed: all are told now.
    pub(super) fn tell_soon(&mut self, now: Instant) {
        for host in self.membership.members.iter().filter(|&&host| host != self.me) {
            self.peers.entry(*host).or_default().due = now;
        }
    }

    pub(super) fn form(&mut self, now: Instant) {
        self.membership.members.insert(self.me);
        self.membership.introduced = Introduced::Fully;
        self.write(now);
    }

    /// The operator's word that nobody else serves: this host need not wait for one that takes part.
    ///
    /// Every member that is left must have acknowledged it all the same, and so must `known`, which gossip knows of: what
    /// they have, ballots will ask for.
    pub(super) fn recover(&mut self, known: &BTreeSet<HostId>, now: Instant) -> Result<(), Unrecovered> {
        if self.takes_part() {
            return Err(Unrecovered::TakesPart);
        }
        if !self.serves() || self.departure != Departure::None {
            return Err(Unrecovered::NoPart);
        }
        if let Some(other) = self.others().find(|&other| self.can_keep(other)) {
            return Err(Unrecovered::OtherTakesPart(other));
        }
        if let Some(other) = self.others().find(|&other| self.has_lost_its(other)) {
            return Err(Unrecovered::OtherLost(other));
        }
        if !known.is_subset(&self.membership.members) {
            self.membership.members.extend(known);
            self.write(now);
        }
        let silent = |other: &HostId| !self.hears(*other) || !self.membership.acknowledged.contains(other);
        let silent: Vec<HostId> = self.others().filter(silent).collect();
        if !silent.is_empty() {
            return Err(Unrecovered::Silent(silent));
        }
        self.membership.introduced = Introduced::Fully;
        self.write(now);
        Ok(())
    }

    pub(super) fn join(&mut self, roster: Roster, now: Instant) {
        self.membership = Members {
            members: roster.members.into_iter().chain([self.me]).collect(),
            acknowledged: BTreeSet::new(),
            introduced: Introduced::Not,
            removed: roster.removed,
        };
        self.write(now);
    }

    pub(super) fn admit(&mut self, joiner: HostId, now: Instant) {
        if self.membership.members.insert(joiner) {
            self.write(now);
        }
    }

    /// Takes removals over; those that are new.
    pub(super) fn learn_removed(&mut self, removed: &BTreeSet<HostId>, now: Instant) -> Vec<HostId> {
        let new: Vec<HostId> = removed.difference(&self.membership.removed).copied().collect();
        if !new.is_empty() {
            self.membership.removed.extend(&new);
            if new.contains(&self.me) && matches!(self.departure, Departure::None | Departure::HandingOver) {
                self.outbox.effect(Effect::Event(LeaseEvent::Removed));
            }
            self.consider_part();
            self.write(now);
        }
        new
    }

    /// The journal is lost; the others hear of that, whatever of this host's membership never got to the disk.
    pub(super) fn lose(&mut self, now: Instant) {
        if !self.lost {
            self.lost = true;
            self.journal.lose();
            self.outbox.abandon();
            self.written = self.journal.synced_sequence();
            self.outbox.effect(Effect::Event(LeaseEvent::DiskLost));
            self.tell_soon(now);
        }
    }

    pub(super) fn has_lost_disk(&self) -> bool {
        self.lost
    }

    /// Whether that is news.
    pub(super) fn set_reach(&mut self, host: HostId, reach: Reach, now: Instant) -> bool {
        let before = self.reach.insert(host, reach);
        if reach == Reach::Reachable && before != Some(reach) {
            self.peers.entry(host).or_default().due = now;
        }
        before != Some(reach)
    }

    /// Every member that is left has acknowledged this host, and one of them takes part and knows all the removed.
    ///
    /// The removed may have admitted others that this host never heard of. Whoever knew that they were removed when it
    /// acknowledged this host has nothing to fear from them; a word of the removed themselves is not enough.
    pub(super) fn consider_part(&mut self) {
        let all = self.others().all(|host| self.membership.acknowledged.contains(&host));
        let vouches = |host: HostId| {
            let peer = self.peers.get(&host);
            self.membership.acknowledged.contains(&host)
                && peer.is_some_and(|peer| peer.took_part && self.membership.removed.is_subset(&peer.removed))
        };
        let vouched = self.others().any(vouches);
        if all && vouched && self.membership.introduced == Introduced::ByMember {
            self.membership.introduced = Introduced::Fully;
        }
    }

    /// A removed host speaks: it is told, at most once a tick.
    pub(super) fn tell_removed(&mut self, host: HostId, now: Instant) {
        let peer = self.peers.entry(host).or_default();
        if peer.told.is_none_or(|told| now.since(told) >= TICK) {
            peer.due = now;
        }
    }

    /// What is said of membership from now on rests on this append, too.
    pub(super) fn follows(&mut self, sequence: u64) {
        self.written = self.written.max(sequence);
    }

    /// After which append a promise of this host's membership is on disk.
    pub(super) const fn written(&self) -> u64 {
        self.written
    }

    /// Until when the others are told of a departure.
    pub(super) fn told_until(now: Instant) -> Instant {
        now + Duration::from_secs(2)
    }
}
