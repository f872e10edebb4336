//! `peer add`: this host invites another agent, which then joins; or adds a VTEP that runs no agent.

use std::net::{IpAddr, SocketAddr};

use super::join::itself;
use crate::cluster::catalogue::Definition;
use crate::cluster::gossip::Presence;
use crate::config::{Segment, Transport, Trust};
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
        let own = self.facts.as_ref().map(|facts| facts.vtep);
        let member = self.member()?;
        let id = segment.map(|name| member.segment_id(name)).transpose()?;
        may_be_vtep(address, own)?;
        let is_unicast = |known: &&Definition| known.segment.transport == Transport::Unicast;
        if let Some(known) = segment.and_then(|name| member.catalogue.get(name))
            && !is_unicast(&known)
        {
            return Err(multicast(&known.segment));
        }
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
            .filter(is_unicast)
            .filter(|known| id.is_none_or(|id| id == known.id))
            .map(|known| known.segment.name.clone())
            .collect();
        self.settle(now);
        Ok(names)
    }
}

/// Whether the VXLAN interfaces of this host can send to an address.
fn may_be_vtep(address: IpAddr, own: Option<IpAddr>) -> Result<(), Refusal> {
    if address.is_unspecified() || address.is_loopback() || address.is_multicast() {
        return Err(Refusal::new(format!("{address} is not the address of a host"))
            .hint("a static peer is the VTEP of one switch or host: use its unicast address"));
    }
    match own {
        Some(own) if own.is_ipv4() != address.is_ipv4() => {
            let (here, there) = match own {
                IpAddr::V4(_) => ("IPv4", "IPv6"),
                IpAddr::V6(_) => ("IPv6", "IPv4"),
            };
            Err(Refusal::new(format!(
                "{address} is an {there} address, but the hosts of this cluster use {here} addresses for VXLAN (this \
                 one {own})"
            ))
            .hint(format!("use an {here} address of that VTEP")))
        }
        Some(_) | None => Ok(()),
    }
}

/// Flood lists are for unicast alone.
fn multicast(segment: &Segment) -> Refusal {
    let group = match &segment.transport {
        Transport::Multicast { group, .. } => group.to_string(),
        Transport::Unicast => String::new(),
    };
    Refusal::new(format!(
        "segment {} is multicast: it has no flood list that a static peer could be in",
        segment.name
    ))
    .hint(format!(
        "let that VTEP join the group {group} with the segment's VNI {}",
        segment.vni
    ))
}
