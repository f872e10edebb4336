//! One group's role at this host.
//!
//! ```text
//!                    first in the order of those alive,
//!                    nobody holds, nobody is granted
//!        ┌──────────┐ ─────────────────────────────► ┌──────────┐
//!        │ Follower │                                │ Claimant │
//!        └──────────┘ ◄───────────────────────────── └──────────┘
//!           ▲    ▲      a better claimant, a holder,       │ each other voter has granted,
//!           │    │      nobody answers for 1050 ms         │ is dead, or is silent for long
//!  address  │    └──────────────────────┐                  ▼
//!  is off:  │         restart with the  │            ┌──────────┐
//!  `Yield`  │         address gone      └─ (start) ─►│  Holder  │ ◄─┐ complete round:
//!           │                         address there  └──────────┘ ──┘ 5 s more
//!        ┌──────────────┐   hold over, a higher term,      │
//!        │ SteppingDown │ ◄────────────────────────────────┘
//!        └──────────────┘   hand-over, removal
//! ```
//!
//! Beside its role each voter has at most one *grant*: whom it lets hold or claim. [`grant`] is the voter's side,
//! [`claim`] the claimant's, [`hold`] the holder's, [`hand_over`] the planned end of a hold.

mod claim;
mod grant;
mod hand_over;
mod hold;
mod state;
mod view;

use std::collections::{BTreeMap, BTreeSet};

pub(super) use state::First;
use state::{Attention, Grant, Preparation, State, Vote};

use super::effect::{Effect, ElectionTimer, FoundAddress, Role};
use super::host::{LocalHost, Pass};
use super::message::{ElectionCandidacy, Established, Fitness, GroupId, Held, Key, Lasting, Rank, Says};
use super::peer::Watch;
use super::view::GroupView;
use super::{Cause, order, timing};
use crate::id::{HostId, SegmentId, Term};
use crate::time::{Duration, Instant};

/// One group.
#[derive(Clone, Debug)]
pub(super) struct Group {
    id: GroupId,
    segments: BTreeSet<SegmentId>,
    /// All of its hosts that are not removed, in order; empty while this host is in no such group.
    order: Vec<Rank>,
    /// The voters but this host.
    voters: Vec<HostId>,
    /// Whether each host lacks something, and since when that is so.
    fitness: BTreeMap<HostId, (Fitness, Instant)>,
    vote: Vote,
    state: State,
    /// The highest term seen.
    highest: Term,
    grant: Option<Grant>,
    /// The highest term that each host has yielded.
    yielded: BTreeMap<HostId, Term>,
    /// Who held last, as far as is known here.
    last_holder: Option<HostId>,
    /// Quiet since; `None`: no longer.
    quiet: Option<Instant>,
    resting: Instant,
    /// Since when nothing but the order stands against a claim.
    vacant: Option<Instant>,
    preparation: Option<Preparation>,
    attention: Attention,
    /// When it wants to be looked at next.
    alarm: Option<(Instant, ElectionTimer)>,
    pub(super) shown: Role,
    pub(super) since: Instant,
    pub(super) cause: Cause,
}

impl Group {
    /// A group that this host knows nothing of yet.
    pub(super) fn new(id: GroupId, host: &LocalHost, now: Instant) -> Self {
        Self {
            id,
            segments: BTreeSet::new(),
            order: Vec::new(),
            voters: Vec::new(),
            fitness: BTreeMap::new(),
            vote: Vote::Outsider,
            state: State::Follower,
            highest: Term::default(),
            grant: None,
            yielded: BTreeMap::new(),
            last_holder: None,
            // It cannot tell whose words it misses: what it forgot by starting binds it for the full time.
            quiet: (now.since(host.listening) < timing::QUIET).then_some(host.listening),
            resting: now,
            vacant: None,
            preparation: None,
            attention: Attention::Needed,
            alarm: None,
            shown: Role::Follower { holder: None },
            since: now,
            cause: Cause::NoneKnown,
        }
    }

    /// Whether it may be forgotten: this host is not in it, and no promise binds it.
    pub(super) fn idle(&self, now: Instant) -> bool {
        self.vote == Vote::Outsider
            && matches!(self.state, State::Follower)
            && self.grant.as_ref().is_none_or(|grant| !grant.binds(now))
    }

    pub(super) fn segments(&self) -> &BTreeSet<SegmentId> {
        &self.segments
    }

    /// Whether this host is in the group.
    pub(super) fn joined(&self) -> bool {
        self.vote != Vote::Outsider
    }

    /// Whether the group has other hosts.
    pub(super) fn shared(&self) -> bool {
        !self.voters.is_empty() || self.order.len() > 1
    }

    pub(super) fn highest(&self) -> Term {
        self.highest
    }

    /// Another host has seen that term.
    pub(super) fn learn(&mut self, term: Term) {
        self.highest = self.highest.max(term);
    }

    /// Whether it needs the beat: it has other hosts, or a promise or a hold that ends.
    pub(super) fn beats(&self) -> bool {
        let ends = match &self.state {
            State::Holder(hold) => hold.ends(),
            State::Follower | State::Claimant(_) | State::SteppingDown(_) => self.vote == Vote::Outsider,
        };
        ends || self.shared()
    }

    /// The hosts of the group, the first to serve it first.
    pub(super) fn hosts_in_order(&self) -> Vec<HostId> {
        self.order.iter().map(|rank| rank.host).collect()
    }

    pub(super) fn in_order(&self, host: HostId) -> bool {
        self.order.iter().any(|rank| rank.host == host)
    }

    /// The terms that a header of this host is to name.
    pub(super) fn held(&self) -> Option<Held> {
        match &self.state {
            State::Follower | State::Claimant(_) => None,
            State::Holder(hold) => Some(Held {
                group: self.id,
                term: hold.term,
                lasting: hold.address,
            }),
            State::SteppingDown(down) => Some(Held {
                group: self.id,
                term: down.term,
                lasting: down.lasting,
            }),
        }
    }

    /// A gap in this host's own running.
    pub(super) fn gap(&mut self, host: &mut LocalHost, now: Instant) {
        self.drop_claim(host);
        self.quiet = Some(now);
    }

    /// Whether this host must not grant claims, nor claim.
    fn quiet(&self) -> bool {
        self.quiet.is_some()
    }

    /// Ends the quiet time when each other voter has answered something, is dead, or the time is over.
    fn listen(&mut self, host: &mut LocalHost, now: Instant) {
        let Some(since) = self.quiet else { return };
        if now.since(since) >= timing::QUIET {
            self.quiet = None;
            return;
        }
        if self.vote == Vote::Outsider {
            return;
        }
        let mut missing = false;
        for &voter in &self.voters {
            let answered = host.peer(voter).is_some_and(|peer| peer.echoed_since(since));
            if !answered && !host.dead(voter) {
                missing = true;
                host.greet(voter, now);
                host.watch(voter, Watch::Closely);
            }
        }
        if !missing {
            self.quiet = None;
        }
    }

    /// Does what is due. Deadlines of a hold have been looked at before ([`Group::check_hold`]).
    pub(super) fn pass(&mut self, pass: Pass, host: &mut LocalHost, now: Instant) {
        let due = self.alarm.is_some_and(|(at, _)| at <= now);
        if pass == Pass::Beat || self.attention == Attention::Needed || due {
            let others = host.take_timer();
            self.look(pass, host, now);
            self.alarm = host.take_timer();
            if let Some((at, reason)) = others {
                host.schedule(at, reason);
            }
            self.attention = self.settles(host, now);
        }
        if let Some((at, reason)) = self.alarm {
            host.schedule(at, reason);
        }
    }

    /// Something was said or done that concerns the group.
    pub(super) fn touch(&mut self) {
        self.attention = Attention::Needed;
    }

    fn settles(&self, host: &LocalHost, now: Instant) -> Attention {
        let settled = match &self.state {
            State::Follower if self.vote == Vote::Voter => self.bound(now).is_some_and(|grant| {
                grant.standing == Established::Holder && host.silence(grant.to, now) < timing::SUSPECT
            }),
            State::Follower | State::Holder(_) => true,
            State::Claimant(_) | State::SteppingDown(_) => false,
        };
        if settled && !self.quiet() {
            Attention::Settled
        } else {
            Attention::Needed
        }
    }

    fn look(&mut self, pass: Pass, host: &mut LocalHost, now: Instant) {
        if self.order.len() > order::VOTERS && pass == Pass::Beat && self.joined() {
            self.choose_voters(host, now);
        }
        for &voter in &self.voters {
            host.watch(voter, Watch::Member);
        }
        self.listen(host, now);
        self.on_tick_grant(pass, host, now);
        self.on_tick_claim(host, now);
        self.on_tick_hold(pass, host, now);
        self.on_tick_hand_over(pass, host, now);
        self.consider_claim(host, now);
        if pass == Pass::Beat {
            self.keep_in_touch(host, now);
        }
        self.show(host, now);
    }

    /// Voters exchange something once a second; a holder tells those that only listen.
    fn keep_in_touch(&self, host: &mut LocalHost, now: Instant) {
        if self.vote == Vote::Voter {
            for &voter in &self.voters {
                host.ping_sometimes(voter, timing::PING, now);
            }
        }
        if self.held().is_some() {
            for rank in self.order.iter().filter(|rank| !self.voters.contains(&rank.host)) {
                host.ping_sometimes(rank.host, timing::PING_LISTENER, now);
            }
        }
    }

    /// Says something about this group to each other voter.
    fn tell_voters(&self, host: &mut LocalHost, says: Says) {
        for &voter in &self.voters {
            host.tell(voter, self.id, says);
        }
    }

    /// This host's own place.
    fn own_key(&self, host: &LocalHost) -> Option<Key> {
        self.key(host.me, host).filter(|key| key.rank.candidacy.is_eligible())
    }

    /// A host's place among claimants.
    fn key(&self, of: HostId, host: &LocalHost) -> Option<Key> {
        let mut rank = *self.order.iter().find(|rank| rank.host == of)?;
        let seen = host.host(of)?;
        rank.candidacy = seen.candidacy;
        Some(Key {
            fitness: self.fitness.get(&of).map_or(Fitness::Whole, |(fitness, _)| *fitness),
            uplink: seen.uplink,
            rank,
        })
    }

    /// Whether a host has been as whole, or as lacking, as it is for so long.
    fn has_been(&self, fitness: Fitness, of: HostId, time: Duration, now: Instant) -> bool {
        self.fitness
            .get(&of)
            .is_some_and(|(is, since)| *is == fitness && now.since(*since) >= time)
    }

    /// Whether another host of the group may ever be a candidate: only then the address needs a lifetime.
    fn contested(&self, host: &LocalHost) -> bool {
        self.order
            .iter()
            .any(|rank| rank.host != host.me && rank.candidacy.is_eligible())
    }

    /// The host with the highest claim to hold the group among those heard lately.
    fn heard_holder(&self, host: &LocalHost, now: Instant) -> Option<(HostId, Term)> {
        self.order
            .iter()
            .filter_map(|rank| {
                let peer = host
                    .peer(rank.host)
                    .filter(|peer| peer.received_within(timing::CLAIM_REPEATED, now))?;
                let held = peer.held(self.id)?;
                (!peer.dead() && !host.lost(rank.host, now)).then_some((held.term, rank.host))
            })
            .max()
            .map(|(term, holder)| (holder, term))
    }

    /// Who holds the group, as far as is known here.
    pub(super) fn holder(&self, host: &LocalHost, now: Instant) -> Option<(HostId, Term)> {
        match &self.state {
            State::Holder(hold) => Some((host.me, hold.term)),
            State::Follower | State::Claimant(_) | State::SteppingDown(_) => match self.vote {
                Vote::Voter | Vote::Outsider => self
                    .grant
                    .as_ref()
                    .filter(|grant| grant.standing == Established::Holder && grant.binds(now))
                    .map(|grant| (grant.to, grant.term)),
                Vote::Listener => self.heard_holder(host, now),
            },
        }
    }

    /// What this host is in the group.
    fn role(&self, host: &LocalHost, now: Instant) -> Role {
        match &self.state {
            State::Claimant(claim) => Role::Claimant { term: claim.term },
            State::Holder(hold) => Role::Holder { term: hold.term },
            State::Follower | State::SteppingDown(_) => Role::Follower {
                holder: self.holder(host, now),
            },
        }
    }

    /// Tells the edge what has changed.
    fn show(&mut self, host: &mut LocalHost, now: Instant) {
        let role = self.role(host, now);
        if role == self.shown {
            return;
        }
        if let Role::Follower { holder } = role {
            match holder {
                Some(_) => self.cause = Cause::Heard,
                None if matches!(self.shown, Role::Follower { .. }) => {
                    self.cause = Cause::HolderGone;
                }
                None => {}
            }
        }
        self.shown = role;
        self.since = now;
        host.effects.push_back(Effect::Role {
            group: self.id,
            role,
            cause: self.cause,
        });
    }
}
