//! `init`, and what every way into a cluster has in common.

use std::net::SocketAddr;

use rand::Rng;

use super::pending::Operation;
use crate::health::events::Event;
use crate::id::{ClusterId, SegmentId};
use crate::node::Node;
use crate::node::effect::{Effect, Refusal};
use crate::node::member::Member;
use crate::node::start::Formation;
use crate::node::start::Survived;
use crate::time::Instant;

/// Whether `init` made a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forming {
    /// It did.
    Now,
    /// There was one.
    Before,
}

/// What `init` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InitReply {
    /// The cluster that this host is in.
    pub cluster: ClusterId,
    /// Whether it is a new one.
    pub forming: Forming,
    /// Where others can join it; `None`: the underlay is missing.
    pub listen: Option<SocketAddr>,
}

impl Node {
    /// Makes this host the first of a new cluster, unless it is in one.
    ///
    /// # Errors
    /// It has no underlay.
    pub fn init(&mut self, now: Instant) -> Result<InitReply, Refusal> {
        let listen = self.facts.as_ref().map(|facts| facts.listen);
        let reply = |cluster, forming| InitReply {
            cluster,
            forming,
            listen,
        };
        if let Some(member) = &self.formed {
            return Ok(reply(member.cluster, Forming::Before));
        }
        if let Some(refusal) = self.no_underlay() {
            return Err(refusal);
        }
        let refusal = Refusal::new("`overlayctl init` formed a cluster on this host meanwhile");
        self.end(|operation| matches!(operation, Operation::Join(_)), &Err(refusal));
        let cluster = self.form(now);
        self.settle(now);
        Ok(reply(cluster, Forming::Now))
    }

    pub(in crate::node) fn form(&mut self, now: Instant) -> ClusterId {
        let cluster = ClusterId(self.rng.next_u64());
        let mut member = Member::new(&mut self.rng, self.me, self.instance, cluster, Survived::nothing(), now);
        member.leases.form(now);
        self.enter(member, now);
        self.introduce(now);
        self.report(Event::ClusterFormed { cluster });
        cluster
    }

    /// The file's segments that the cluster has never heard of: at once by whoever knows all that it knows.
    pub(super) fn introduce(&mut self, now: Instant) {
        let Some(member) = &mut self.formed else { return };
        for segment in &self.config.segments {
            let id = SegmentId(self.rng.next_u64());
            member.gossip.introduce(&segment.name, segment.to_yaml(), id, now);
        }
        member.touch_now(now);
    }

    /// The same after a restart or a change of the file: others may have made a segment of that name meanwhile.
    pub(in crate::node) fn introduce_again(&mut self, now: Instant) {
        let me = self.me;
        let Some(member) = &mut self.formed else { return };
        let roster = member.leases.roster();
        let others = member.gossip.hosts().any(|host| host.id != me);
        if !others && roster.members.iter().eq([&me]) {
            return self.introduce(now);
        }
        for segment in &self.config.segments {
            if member.gossip.segment(&segment.name).is_none() {
                let id = SegmentId(self.rng.next_u64());
                member.gossip.introduce_later(&segment.name, segment.to_yaml(), id);
            }
        }
    }

    pub(super) fn enter(&mut self, mut member: Member, now: Instant) {
        self.formation = Formation::Formed(member.cluster);
        self.former = None;
        self.effects.push_back(Effect::SaveIdentity(self.formation));
        if let Some(facts) = &self.facts {
            member.election.set_uplink(facts.uplink(), now);
        }
        // Whoever is told that this host is in the cluster may rely on that.
        member.gossip.save_now(now);
        member.gossip.save_pending(now);
        self.formed = Some(Box::new(member));
    }
}

impl Node {
    /// Why nothing can be done that needs the underlay.
    pub fn no_underlay(&self) -> Option<Refusal> {
        let why = self.no_underlay.as_ref()?;
        Some(Refusal::new(format!("the underlay of this host is missing: {why}")).hint(why.fix()))
    }
}
