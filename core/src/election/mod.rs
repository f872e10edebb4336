//! One gateway in each connected part: grants, terms and claims.
//!
//! [`Election`] serves all groups of this host. It decides who holds the gateway and when its address must be off; it
//! never touches the kernel, and knows nothing of leases, names or NAT. The rules are in `docs/protocol.md`, part A;
//! their numbers are named where they are built: `group` has the roles, `peer` tells who is alive, `order` who comes
//! first, `timing` all durations. It drives this host's one prober ([`Reachability`]): what a probe shows is judged in
//! the same call, before anything else is said.

mod cause;
mod effect;
mod group;
mod host;
pub mod message;
mod order;
mod peer;
pub mod timing;
mod view;

use std::collections::{BTreeMap, BTreeSet};

pub use cause::Cause;
pub use effect::{AddressEvent, Effect, ElectionTimer, FoundAddress, MoveError, Moving, Role, Start};
pub use message::{ElectionCandidacy, ElectionUplink, Fitness, GroupId, Message};
pub use view::{ElectionView, GroupView, HostStanding, HostView};

use group::{First, Group};
use host::{LocalHost, Pass};
use message::{Part, Says, Turn};
use peer::News;

use crate::cluster::reachability::{Outcome, Reachability};
use crate::id::{HostId, Term};
use crate::time::Instant;

/// The election of all groups of this host.
#[derive(Debug)]
pub struct Election {
    host: LocalHost,
    groups: BTreeMap<GroupId, Group>,
    /// Addresses found at start, until the first view says whose they are.
    found: Option<Vec<FoundAddress>>,
    /// When anything was last called: a long pause is a gap in this host's own running.
    called: Instant,
    beat: Instant,
}

/// Groups that this host is not in, as far as it knows, in which it has made promises: at most so many.
const OUTSIDE_AT_MOST: usize = 1024;

impl Election {
    /// `now` is when the agent started; nothing has been sent yet, and the kernel's addresses have been read.
    pub fn new(start: Start, now: Instant) -> Self {
        Self {
            host: LocalHost::new(&start, now),
            groups: BTreeMap::new(),
            found: Some(start.kernel),
            called: now,
            beat: now,
        }
    }

    /// Who is there, given whole; to be called before anything else, and again on each change.
    ///
    /// An address found at start in a segment that the first view does not have is not resumed; the plan removes it.
    pub fn set_view(&mut self, view: ElectionView, now: Instant) {
        self.begin(now);
        self.host.set_hosts(&view, now);
        let (found, first) = match self.found.take() {
            Some(found) => (found, First::Start),
            None => (Vec::new(), First::Later),
        };
        let old = std::mem::take(&mut self.groups);
        let mut absorbed = BTreeSet::new();
        for (&id, seen) in &view.groups {
            if !self.host.present() || !seen.hosts.contains(&self.host.me) {
                continue;
            }
            let mut group = old.get(&id).cloned().unwrap_or_else(|| Group::new(id, &self.host, now));
            for (&former, other) in &old {
                if former != id && other.joined() && !other.segments().is_disjoint(&seen.segments) {
                    group.absorb(other, now);
                    absorbed.insert(former);
                }
            }
            group.touch();
            group.set_view(seen, &found, first, &mut self.host, now);
            self.groups.insert(id, group);
        }
        for (id, mut group) in old {
            if !self.groups.contains_key(&id) && !absorbed.contains(&id) {
                group.touch();
                group.leave(&mut self.host, now);
                self.groups.insert(id, group);
            }
        }
        self.finish(now);
    }

    /// A message came in on the stream of `from`.
    pub fn handle_message(&mut self, from: HostId, message: Message, now: Instant) {
        self.begin(now);
        if self.host.hear(from, &message.header, now) == Some(News::Fresh) {
            for group in self.groups.values_mut() {
                group.hear_header(from, &mut self.host, now);
            }
            for part in message.parts {
                self.hear(from, part, now);
            }
        }
        self.finish(now);
    }

    fn hear(&mut self, from: HostId, part: Part, now: Instant) {
        match part {
            Part::Hello => {
                let terms = self.groups.iter().map(|(id, group)| (*id, group.highest())).collect();
                self.host.say(from, Part::HelloAnswer { terms });
            }
            Part::HelloAnswer { terms } => {
                for (id, term) in terms {
                    if let Some(group) = self.groups.get_mut(&id) {
                        group.learn(term);
                    }
                }
            }
            Part::Ping => self.host.say(from, Part::Pong { turn: Turn::First }),
            Part::Pong { turn: Turn::First } => self.host.say(from, Part::Pong { turn: Turn::Last }),
            Part::Pong { turn: Turn::Last } => {}
            Part::Group { group, says } => self.hear_group(from, group, says, now),
        }
    }

    fn hear_group(&mut self, from: HostId, id: GroupId, says: Says, now: Instant) {
        let asks = matches!(says, Says::Renew { .. } | Says::Ask { .. });
        if !self.groups.contains_key(&id) && asks && self.groups.len() < OUTSIDE_AT_MOST {
            // The sender's view may be ahead of this one: whoever is asked for a vote is bound by what it says.
            self.groups.insert(id, Group::new(id, &self.host, now));
        }
        let Some(group) = self.groups.get_mut(&id) else { return };
        group.touch();
        let host = &mut self.host;
        match says {
            Says::Renew { term, round, lasting } => group.hear_renew(from, (term, round, lasting), host, now),
            Says::RenewGranted { term, round } => group.hear_renew_granted(from, (term, round), host, now),
            Says::Heard => {}
            Says::Ask { term, sent, key } => group.hear_ask(from, (term, sent, key), host, now),
            Says::ClaimGranted { term, sent } => group.hear_claim_granted(from, term, sent),
            Says::Refused {
                term,
                why,
                named,
                key: _,
            } => group.hear_refused(from, (term, why, named), host, now),
            Says::Yield { term, successor } => group.hear_yield(from, (term, successor), host, now),
            Says::Prepare { term } => group.hear_prepare(from, term, host, now),
            Says::Prepared { term } => group.hear_prepared(from, term, host, now),
            Says::Move { to } => group.hear_move(to, host, now),
        }
    }

    /// A host's agent said something, on whatever stream.
    pub fn handle_heard(&mut self, host: HostId, now: Instant) {
        self.host.heard(host, now);
    }

    /// Whose kernels membership waits for.
    pub fn set_suspects(&mut self, suspects: BTreeSet<HostId>, now: Instant) {
        if *self.reachability().suspects() == suspects {
            return;
        }
        self.begin(now);
        self.host.reachability.set_suspects(suspects);
        self.finish(now);
    }

    /// Who is reachable, as found so far.
    pub fn reachability(&self) -> &Reachability {
        &self.host.reachability
    }

    /// What became of an [`Effect::Probe`].
    pub fn handle_probe(&mut self, host: HostId, number: u64, outcome: Outcome, now: Instant) {
        self.begin(now);
        self.host.report(host, number, outcome, now);
        self.finish(now);
    }

    /// What became of an [`Effect::SetAddress`] or [`Effect::RemoveAddress`].
    pub fn handle_address(&mut self, group: GroupId, event: AddressEvent, now: Instant) {
        self.begin(now);
        if let Some(group) = self.groups.get_mut(&group) {
            group.touch();
            group.address(event, &mut self.host, now);
        }
        self.finish(now);
    }

    /// An [`Effect::Prepare`] is done.
    pub fn handle_prepared(&mut self, group: GroupId, now: Instant) {
        self.begin(now);
        if let Some(group) = self.groups.get_mut(&group) {
            group.touch();
            group.prepared(&mut self.host);
        }
        self.finish(now);
    }

    /// Whether this host's own uplink works.
    pub fn set_uplink(&mut self, uplink: ElectionUplink, now: Instant) {
        self.begin(now);
        self.host.set_uplink(uplink, now);
        self.touch_all();
        self.finish(now);
    }

    /// Hands the group over, from whichever host holds it.
    ///
    /// # Errors
    /// Nothing has begun: see [`MoveError`].
    pub fn move_gateway(&mut self, group: GroupId, to: Option<HostId>, now: Instant) -> Result<Moving, MoveError> {
        self.begin(now);
        let group = self.groups.get_mut(&group).filter(|group| group.joined());
        let moving = group.map_or(Err(MoveError::UnknownGroup), |group| {
            group.move_to(to, &mut self.host, now)
        });
        self.finish(now);
        moving
    }

    /// Whether this host gives way, at once: [`ElectionCandidacy::Candidate`] where the view alone counts.
    pub fn set_candidacy(&mut self, own: ElectionCandidacy, now: Instant) {
        self.begin(now);
        self.host.set_candidacy(own);
        self.touch_all();
        self.finish(now);
    }

    /// The groups that this host holds or whose address it is still taking off.
    pub fn held(&self) -> BTreeSet<GroupId> {
        self.groups
            .iter()
            .filter(|(_, group)| group.held().is_some())
            .map(|(id, _)| *id)
            .collect()
    }

    fn touch_all(&mut self) {
        self.groups.values_mut().for_each(Group::touch);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.begin(now);
        self.finish(now);
    }

    /// Looks at deadlines before anything else is done, and whether this host was running at all (rules 1 and 7).
    fn begin(&mut self, now: Instant) {
        for group in self.groups.values_mut() {
            group.check_hold(&mut self.host, now);
        }
        if self.groups.values().any(Group::shared) && now.since(self.called) > timing::GAP {
            self.host.gap(now);
            for group in self.groups.values_mut() {
                group.touch();
                group.gap(&mut self.host, now);
            }
        }
        self.called = now;
    }

    /// Does what follows from what happened, and sends it.
    fn finish(&mut self, now: Instant) {
        self.host.take_timer();
        let pass = if now >= self.beat { Pass::Beat } else { Pass::Between };
        self.host.judge(pass, now);
        if pass == Pass::Beat {
            let next = self.beat + timing::BEAT;
            self.beat = if next > now { next } else { now + timing::BEAT };
            self.groups.retain(|_, group| !group.idle(now));
        }
        let mut beats = false;
        for group in self.groups.values_mut() {
            group.pass(pass, &mut self.host, now);
            beats |= group.beats();
        }
        self.host.probe(now);
        if beats {
            self.host.schedule(self.beat, ElectionTimer::Beat);
        }
        if self.host.talks() {
            let held: Vec<_> = self.groups.values().filter_map(Group::held).collect();
            self.host.flush(&held, now);
        }
    }

    /// When [`Election::handle_timeout`] is to be called next. While any group has another host this is at most 50 ms
    /// ahead: being called later than 150 ms after the last call of anything counts as a gap in this host's own
    /// running (rule 7), after which it is careful for a while.
    pub fn poll_timeout(&self) -> Option<(Instant, ElectionTimer)> {
        self.host.timer()
    }

    /// The next thing to be done; to be drained after each call of anything.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.host.effects.pop_front()
    }

    /// Who holds the group, as far as is known here.
    pub fn holder(&self, group: GroupId) -> Option<(HostId, Term)> {
        match self.role(group)? {
            Role::Follower { holder } => holder,
            Role::Claimant { .. } => None,
            Role::Holder { term } => Some((self.host.me, term)),
        }
    }

    /// This host's part in the group; `None`: it is not in it.
    pub fn role(&self, group: GroupId) -> Option<Role> {
        self.groups
            .get(&group)
            .filter(|group| group.joined())
            .map(|group| group.shown)
    }

    /// Since when the role is what it is.
    pub fn since(&self, group: GroupId) -> Option<Instant> {
        self.groups.get(&group).map(|group| group.since)
    }

    /// Why the role is what it is.
    pub fn cause(&self, group: GroupId) -> Cause {
        self.groups.get(&group).map_or(Cause::NoneKnown, |group| group.cause)
    }

    /// The hosts of the group, the first to serve it first.
    pub fn order(&self, group: GroupId) -> Vec<HostId> {
        self.groups.get(&group).map(Group::hosts_in_order).unwrap_or_default()
    }

    /// Whether this host is about to hold the group: it claims it, or prepares to be the holder's successor.
    pub fn is_about_to_hold(&self, group: GroupId, now: Instant) -> bool {
        self.groups.get(&group).is_some_and(|group| group.is_about_to_hold(now))
    }

    /// This host.
    pub fn me(&self) -> HostId {
        self.host.me
    }
}
