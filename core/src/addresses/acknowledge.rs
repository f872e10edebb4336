//! What hosts tell each other of membership: who is a member, who is removed, who takes part.

use std::collections::BTreeSet;

use crate::id::HostId;
use crate::time::Instant;

use super::journal::Introduced;
use super::message::{Generation, Message, Part};
use super::participation::{KnownHost, Participation};
use super::timing::{ACKNOWLEDGE_LATE, ACKNOWLEDGE_SOON, REPEAT_FIRST};
use super::view::Reach;

/// What an `Acknowledge` brought.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Hosts that are removed and were not known to be.
    pub(super) removed: Vec<HostId>,
    /// This host takes part from now on, or a member was added, or another says something else about its part.
    pub(super) parts_changed: bool,
}

/// What an `Acknowledge` says.
#[derive(Debug)]
pub(super) struct Acknowledgement {
    pub(super) members: BTreeSet<HostId>,
    pub(super) removed: BTreeSet<HostId>,
    pub(super) part: Part,
    pub(super) generations: Vec<Generation>,
    pub(super) sequence: u64,
    pub(super) heard: u64,
}

impl Participation {
    pub(super) fn handle_acknowledge(&mut self, from: HostId, said: Acknowledgement, now: Instant) -> News {
        let mut news = News::default();
        if said.heard > self.journal.sequence() {
            self.lose(now);
        }
        let before = self.membership.clone();
        let peer = self.peers.entry(from).or_default();
        peer.sequence = peer.sequence.max(said.sequence);
        news.parts_changed = peer.part != Some(said.part);
        peer.part = Some(said.part);
        peer.took_part = said.part == Part::Taking || peer.took_part && said.part == Part::Leaving;
        for told in &said.generations {
            let (known, at) = peer.generations.entry(told.segment).or_default();
            *known = (told.generation, told.life).max(*known);
            *at = said.sequence.max(*at);
        }
        // What it names no more it has forgotten, unless this is an older word.
        peer.generations.retain(|_, (_, at)| *at >= said.sequence);
        peer.removed.extend(&said.removed);
        peer.members.clone_from(&said.members);

        // Its members first: with the removed out of the way, one of them may be all that this host still waits for.
        self.membership
            .members
            .extend(said.members.iter().filter(|&&host| !before.removed.contains(&host)));
        self.membership.members.insert(from);
        if said.members.contains(&self.me) {
            self.membership.acknowledged.insert(from);
            if said.part == Part::Taking && self.membership.introduced == Introduced::Not {
                self.membership.introduced = Introduced::ByMember;
            }
        }
        news.removed = self.learn_removed(&said.removed, now);
        self.consider_part();
        if self.membership != before {
            news.parts_changed = true;
            self.write(now);
        }
        let behind = said.part == Part::Joining
            || !self
                .membership
                .members
                .iter()
                .all(|host| said.members.contains(host) || self.is_removed(*host))
            || !self.membership.removed.is_subset(&said.removed);
        let peer = self.peers.entry(from).or_default();
        if behind && peer.told.is_none_or(|told| now.since(told) >= REPEAT_FIRST) {
            peer.due = now;
        }
        news
    }

    /// Says who is a member to everybody who is due.
    ///
    /// A joiner is acknowledged only once it knows all that this host owns: it may be the next to introduce addresses.
    pub(super) fn acknowledge(
        &mut self,
        generations: impl Fn() -> Vec<Generation>,
        knows: impl Fn(HostId) -> bool,
        now: Instant,
    ) {
        let due: Vec<HostId> = self
            .speaks_to()
            .filter(|(_, peer)| peer.due <= now)
            .map(|(host, _)| host)
            .collect();
        // One that lost its journal may not know itself for a member, and must say what became of it.
        if due.is_empty() || !self.membership.members.contains(&self.me) && !self.lost {
            return;
        }
        let members: Vec<HostId> = self
            .membership
            .members
            .iter()
            .copied()
            .filter(|&host| !self.is_removed(host))
            .collect();
        let removed: Vec<HostId> = self.membership.removed.iter().copied().collect();
        let generations = generations();
        let part = self.part();
        for host in due {
            let every = if self.is_settled(host) {
                ACKNOWLEDGE_LATE
            } else {
                ACKNOWLEDGE_SOON
            };
            let Some(peer) = self.peers.get_mut(&host) else {
                continue;
            };
            peer.told = Some(now);
            peer.due = if self.membership.removed.contains(&host) {
                Instant::from_millis(u64::MAX)
            } else {
                now + every
            };
            // Without a journal nobody is let in: that would be forgotten.
            let withheld = !matches!(peer.part, Some(Part::Taking | Part::Leaving)) && (self.lost || !knows(host));
            let message = Message::Acknowledge {
                members: members
                    .iter()
                    .copied()
                    .filter(|&member| member != host || !withheld)
                    .collect(),
                removed: removed.clone(),
                part,
                generations: generations.clone(),
                sequence: self.journal.synced_sequence(),
                heard: peer.sequence,
            };
            self.outbox.send(host, message, self.written, now);
        }
    }

    fn is_settled(&self, host: HostId) -> bool {
        let Some(peer) = self.peers.get(&host) else {
            return false;
        };
        self.membership
            .members
            .iter()
            .all(|member| peer.members.contains(member) || self.is_removed(*member))
            && self.membership.removed.is_subset(&peer.removed)
            && matches!(self.part(), Part::Taking)
            && peer.part == Some(Part::Taking)
    }

    /// Members, and the removed that still speak: only those that can be reached.
    fn speaks_to(&self) -> impl Iterator<Item = (HostId, &KnownHost)> {
        self.peers
            .iter()
            .map(|(&host, peer)| (host, peer))
            .filter(|&(host, _)| host != self.me && self.reach(host) == Reach::Reachable)
            .filter(|&(host, _)| self.membership.members.contains(&host) || self.is_removed(host))
    }

    pub(super) fn next_acknowledge(&self) -> Option<Instant> {
        self.speaks_to().map(|(_, peer)| peer.due).min()
    }

    /// Whether everybody who can be reached knows that this host left.
    pub(super) fn departure_known(&self) -> bool {
        self.others().filter(|&host| self.hears(host)).all(|host| {
            self.peers
                .get(&host)
                .is_some_and(|peer| peer.removed.contains(&self.me))
        })
    }
}
