//! The gateways of this host: whether its kernel has their addresses, what it says of that in gossip, and what leaves
//! only after the desired state that it needs.

use std::collections::{BTreeMap, BTreeSet};

use super::cause::words;
use super::derived::Derived;
use super::effect::Effect;
use crate::cluster::gossip::{GatewayClaim, Gossip, Key, Presence, Record};
use crate::election::{AddressEvent, Election, GroupId, Role};
use crate::id::{HostId, Term};
use crate::time::{Duration, Instant};

/// How often a claim in gossip is repeated: hosts that are no voters believe one for 5 s.
const CLAIM_EVERY: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Gateways {
    me: HostId,
    /// The groups whose gateway addresses are on this host's links: only there guests are listened to.
    addressed: BTreeSet<GroupId>,
    claim_at: Instant,
    /// Addresses to be set: handed out after all else, so that no plan is made any more that takes a gateway away which
    /// it does not know of yet.
    deferred: BTreeMap<GroupId, Effect>,
    /// Groups that are to be prepared: likewise.
    preparing: BTreeSet<GroupId>,
}

impl Gateways {
    pub(super) fn new(me: HostId, now: Instant) -> Self {
        Self {
            me,
            addressed: BTreeSet::new(),
            claim_at: now,
            deferred: BTreeMap::new(),
            preparing: BTreeSet::new(),
        }
    }

    /// What became of a group's addresses; whether that is new.
    pub(super) fn handle_address(&mut self, group: GroupId, event: &AddressEvent) -> bool {
        match event {
            AddressEvent::Set => self.addressed.insert(group),
            AddressEvent::Failed | AddressEvent::Removed => self.addressed.remove(&group),
        }
    }

    /// Whether guests may ask this host for anything.
    pub(super) fn has_any(&self) -> bool {
        !self.addressed.is_empty()
    }

    /// The term in which this host serves a group: it holds it, and its kernel has the address.
    pub(super) fn served_term(&self, group: GroupId, election: &Election) -> Option<Term> {
        held_term(group, election).filter(|_| self.addressed.contains(&group))
    }

    /// The host that serves a group, as far as is known here.
    pub(super) fn server(&self, group: GroupId, election: &Election, gossip: &Gossip) -> Option<HostId> {
        let (holder, term) = election.holder(group)?;
        let serves = if holder == self.me {
            self.addressed.contains(&group)
        } else {
            claim(group, holder, gossip).is_some_and(|claim| claim.presence == Presence::Here && claim.term == term)
        };
        serves.then_some(holder)
    }

    /// Says in gossip what this host is for a group: the gateway from when its kernel has the address.
    pub(super) fn tell_claim(&self, group: GroupId, election: &Election, gossip: &mut Gossip, now: Instant) {
        let held = held_term(group, election);
        if held.is_some() && !self.addressed.contains(&group) {
            return;
        }
        let known = claim(group, self.me, gossip);
        let (term, presence) = match (held, known) {
            (Some(term), _) => (term, Presence::Here),
            (None, Some(claim)) if claim.presence == Presence::Here => (claim.term, Presence::Gone),
            (None, _) => return,
        };
        // The reason stays what it was when it began: the motives of the host before are not what they were.
        let (since, reason) = match known {
            Some(claim) if claim.term == term && claim.presence == presence => (claim.since, claim.reason.clone()),
            Some(_) | None => (0, words(group, election.cause(group), gossip)),
        };
        let claim = GatewayClaim {
            term,
            beat: 0,
            presence,
            group: group.0,
            holder: self.me,
            since,
            reason,
        };
        gossip.put_claim(claim, now);
    }

    /// When claims are repeated.
    pub(super) fn timeout(&self) -> Instant {
        self.claim_at
    }

    pub(super) fn handle_timeout(&mut self, derived: &Derived, election: &Election, gossip: &mut Gossip, now: Instant) {
        if now < self.claim_at {
            return;
        }
        self.claim_at = now + CLAIM_EVERY;
        for group in derived.groups() {
            self.tell_claim(group, election, gossip, now);
        }
    }

    /// An [`Effect::SetAddress`], to be handed out after the desired state.
    pub(super) fn defer(&mut self, group: GroupId, set: Effect) {
        self.deferred.insert(group, set);
    }

    /// The addresses of a group are to be given up: there is nothing to set any more.
    pub(super) fn give_up(&mut self, group: GroupId) {
        self.deferred.remove(&group);
    }

    /// An [`Effect::Prepare`] is to follow the desired state.
    pub(super) fn prepare(&mut self, group: GroupId) {
        self.preparing.insert(group);
    }

    /// What has waited for the desired state, which is handed out by now.
    pub(super) fn take_deferred(&mut self) -> impl Iterator<Item = Effect> + use<> {
        let addresses = std::mem::take(&mut self.deferred).into_values();
        addresses.chain(std::mem::take(&mut self.preparing).into_iter().map(Effect::Prepare))
    }
}

/// The term of a group, where this host holds it.
pub(super) fn held_term(group: GroupId, election: &Election) -> Option<Term> {
    match election.role(group) {
        Some(Role::Holder { term }) => Some(term),
        Some(Role::Follower { .. } | Role::Claimant { .. }) | None => None,
    }
}

fn claim(group: GroupId, holder: HostId, gossip: &Gossip) -> Option<&GatewayClaim> {
    match gossip.get(&Key::Claim(group.0, holder)) {
        Some(Record::Claim(claim)) => Some(claim),
        _ => None,
    }
}
