//! `peer add`: this host invites another agent, which then joins; or adds a VTEP that runs no agent.

use std::net::{IpAddr, SocketAddr};

use super::join::itself;
use crate::cluster::gossip::Presence;
use crate::config::Trust;
use crate::id::SegmentName;
use crate::node::Node;
use crate::node::effect::{Call, Done, Effect, Force, Refusal};
use crate::time::Instant;

impl Node {
    /// Invites the agent at `to` into this host's cluster.
    pub fn invite(&mut self, call: Call, to: SocketAddr) {
        if self.is_own(to) {
            return self.answer(Some(call), Err(itself(to.ip())));
        }
        if let Some(member) = self.other_at(to) {
            return self.answer(Some(call), Ok(member));
        }
        if let Some(refusal) = self.no_underlay() {
            return self.answer(Some(call), Err(refusal));
        }
        match self.member() {
            Ok(_) => self.effects.push_back(Effect::CallInvite { call, to }),
            Err(refusal) => self.answer(Some(call), Err(refusal)),
        }
    }

    /// What came of an [`Effect::CallInvite`].
    pub fn handle_invited(&mut self, call: Call, result: Result<SocketAddr, Refusal>) {
        self.answer(Some(call), result.map(Done::Invited));
    }

    /// Another host's operator invites this one to its cluster; answered like [`Node::join`].
    pub fn handle_invite(&mut self, call: Call, from: SocketAddr, now: Instant) {
        match self.config.cluster.trust {
            Trust::Insecure => self.join(call, from, Force::No, now),
            Trust::MutualTls => {
                let refusal = Refusal::new("this host accepts invitations only with a token")
                    .hint("run `overlayctl join` there instead");
                self.answer(Some(call), Err(refusal));
            }
        }
    }

    /// Adds a VTEP that runs no agent; the names of the segments that now flood to it.
    ///
    /// # Errors
    /// Nothing was changed.
    pub fn add_static_peer(
        &mut self,
        address: IpAddr,
        segment: Option<&SegmentName>,
        now: Instant,
    ) -> Result<Vec<SegmentName>, Refusal> {
        let member = self.member()?;
        let id = segment.map(|name| member.segment_id(name)).transpose()?;
        if let Some(host) = member.gossip.hosts().find(|host| host.vtep == address) {
            return Err(Refusal::new(format!(
                "{address} is the VTEP address of host {}, which runs an agent",
                host.name
            )));
        }
        member.refuse_within_segment("static peer", address)?;
        member.gossip.put_static_peer(address, id, Presence::Here, now);
        member.touch_now(now);
        let names = member
            .catalogue
            .iter()
            .filter(|known| id.is_none_or(|id| id == known.id))
            .map(|known| known.segment.name.clone())
            .collect();
        self.settle(now);
        Ok(names)
    }
}
