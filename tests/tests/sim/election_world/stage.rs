//! One real election among hosts that say exactly what a story wants: for what random histories find too rarely.

use std::collections::{BTreeMap, BTreeSet};

use super::core::cluster::reachability::{Outcome, Probe};
use super::core::election::message::{Echo, Header, Held, Lasting, Part, Says};
use super::core::election::{
    AddressEvent, Effect, Election, ElectionCandidacy, ElectionUplink, ElectionView, FoundAddress, GroupId, GroupView,
    HostStanding, HostView, Message, Role, Start,
};
use super::core::id::{HostId, SegmentId, Term};
use super::core::time::{Duration, Instant};
use crate::report::Violation;

/// The host that the story is about; its instance is 2.
pub(crate) const ME: HostId = HostId(1);
/// The one group.
pub(crate) const GROUP: GroupId = GroupId(SegmentId(7));

/// The election, and what the others do.
pub(crate) struct Stage {
    election: Election,
    now: u64,
    sequence: u64,
    /// Hosts that send an empty message with a fresh echo with each beat, and the term that they hold.
    pub(crate) talkers: BTreeMap<HostId, Option<Term>>,
    /// Hosts whose kernels answer.
    pub(crate) alive: BTreeSet<HostId>,
    sent: Vec<(u64, HostId, Part)>,
    pub(crate) lifetimes: Vec<(u64, Option<Duration>)>,
    pub(crate) removals: Vec<u64>,
}

/// Whether the other kernels have ever answered, and do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Kernels,
    Nothing,
}

/// This host's place in the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    First,
    Last,
}

impl Stage {
    /// `hosts` of them, this one with the lowest id; the lower the id, the better its place. All others are heard
    /// and alive at first, and all kernels have answered before.
    pub(crate) fn new(hosts: u64, found: Option<(Term, Duration)>) -> Self {
        Self::cast(hosts, found, Known::Kernels, Place::First)
    }

    /// The same, with other roles to play.
    pub(crate) fn cast(hosts: u64, found: Option<(Term, Duration)>, known: Known, place: Place) -> Self {
        let others: BTreeSet<HostId> = (2..=hosts).map(HostId).collect();
        let start = Start {
            me: ME,
            instance: 2,
            seed: 1,
            kernel: found
                .map(|(term, remaining)| FoundAddress {
                    segment: GROUP.0,
                    term,
                    remaining: Some(remaining),
                })
                .into_iter()
                .collect(),
            kernel_answered: if known == Known::Kernels {
                others.clone()
            } else {
                BTreeSet::new()
            },
        };
        let now = 100_000;
        let mut stage = Self {
            election: Election::new(start, Instant::from_millis(now)),
            now,
            sequence: 0,
            talkers: others.iter().map(|host| (*host, None)).collect(),
            alive: if known == Known::Kernels {
                others
            } else {
                BTreeSet::new()
            },
            sent: Vec::new(),
            lifetimes: Vec::new(),
            removals: Vec::new(),
        };
        let mut view = ElectionView::default();
        for host in 1..=hosts {
            let seen = HostView {
                candidacy: ElectionCandidacy::Candidate,
                priority: match place {
                    Place::Last if HostId(host) == ME => 1,
                    Place::First | Place::Last => 1000 - u32::try_from(host).unwrap(),
                },
                uplink: ElectionUplink::Works,
                standing: HostStanding::Member,
            };
            view.hosts.insert(HostId(host), seen);
        }
        let group = GroupView {
            segments: [GROUP.0].into(),
            hosts: view.hosts.keys().copied().collect(),
            lacking: BTreeSet::new(),
            known_holder: None,
        };
        view.groups.insert(GROUP, group);
        stage.election.set_view(view, Instant::from_millis(now));
        stage.drain();
        stage
    }

    fn drain(&mut self) {
        while let Some(effect) = self.election.poll_effect() {
            let now = Instant::from_millis(self.now);
            match effect {
                Effect::Send { to, message } => {
                    self.sent
                        .extend(message.parts.into_iter().map(|part| (self.now, to, part)));
                }
                Effect::Probe(Probe { host, number }) if self.alive.contains(&host) => {
                    self.election.handle_probe(host, number, Outcome::Answered, now);
                }
                Effect::Probe(Probe { host, number }) => {
                    self.election.handle_probe(host, number, Outcome::Unanswered, now);
                }
                Effect::SetAddress { group, lifetime, .. } => {
                    self.lifetimes.push((self.now, lifetime));
                    self.election.handle_address(group, AddressEvent::Set, now);
                }
                Effect::RemoveAddress { group } => {
                    self.removals.push(self.now);
                    self.election.handle_address(group, AddressEvent::Removed, now);
                }
                Effect::Prepare { group, .. } => self.election.handle_prepared(group, now),
                Effect::Role { .. } | Effect::Liveness { .. } | Effect::Persist { .. } => {}
            }
        }
    }

    /// Time goes on, in steps of 10 ms.
    pub(crate) fn run(&mut self, millis: u64) {
        let until = self.now + millis;
        while self.now < until {
            self.now = (self.now + 10).min(until);
            if self.now.is_multiple_of(50) {
                for (host, term) in self.talkers.clone() {
                    self.hear(host, term, Some((2, self.now - 10)), Vec::new());
                }
            }
            if self
                .election
                .poll_timeout()
                .is_some_and(|(at, _)| at.as_millis() <= self.now)
            {
                self.election.handle_timeout(Instant::from_millis(self.now));
                self.drain();
            }
        }
    }

    /// Time goes on without this host.
    pub(crate) fn freeze(&mut self, millis: u64) {
        self.now += millis;
    }

    /// A message comes in; `echo`: the instance, and the time of this host's clock, that it echoes.
    pub(crate) fn hear(&mut self, from: HostId, term: Option<Term>, echo: Option<(u64, u64)>, says: Vec<Says>) {
        self.sequence += 1;
        let header = Header {
            sender: from,
            instance: 1,
            sequence: self.sequence,
            sent: self.now,
            echo: echo.map(|(instance, sent)| Echo { instance, sent }),
            held: term
                .map(|term| Held {
                    group: GROUP,
                    term,
                    lasting: Lasting::Limited,
                })
                .into_iter()
                .collect(),
        };
        let parts = says
            .into_iter()
            .map(|says| Part::Group { group: GROUP, says })
            .collect();
        self.election
            .handle_message(from, Message { header, parts }, Instant::from_millis(self.now));
        self.drain();
    }

    /// A message with a fresh echo.
    pub(crate) fn say(&mut self, from: HostId, term: Option<Term>, says: Vec<Says>) {
        self.hear(from, term, Some((2, self.now - 10)), says);
    }

    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    pub(crate) fn holds(&self) -> bool {
        matches!(self.election.role(GROUP), Some(Role::Holder { .. }))
    }

    /// The term that this host claims.
    pub(crate) fn claims(&self) -> Option<Term> {
        match self.election.role(GROUP) {
            Some(Role::Claimant { term }) => Some(term),
            Some(Role::Holder { .. } | Role::Follower { .. }) | None => None,
        }
    }

    /// What was said about the group to that host since this was last asked; what was said to others is kept.
    pub(crate) fn told(&mut self, to: HostId) -> Vec<Says> {
        let mut told = Vec::new();
        self.sent.retain(|(_, receiver, part)| match part {
            Part::Group { says, .. } if *receiver == to => {
                told.push(*says);
                false
            }
            _ => true,
        });
        told
    }
}

/// What a story wants.
pub(crate) fn must(holds: bool, what: &'static str, detail: impl std::fmt::Debug) -> Result<(), Violation> {
    if holds {
        Ok(())
    } else {
        Err(Violation {
            predicate: what,
            detail: format!("{detail:?}"),
        })
    }
}
