//! The peers as an operator and the flood lists see them: one word per peer, from all that is known.

use std::net::IpAddr;

use super::swim::{MemberState, Membership};
use crate::cluster::gossip::{Departure, Gossip};
use crate::cluster::reachability::Reachability;
use crate::id::{HostId, SegmentId};
use crate::mtu::OverlayMtu;
use crate::time::Instant;

/// How a peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PeerState {
    /// Its agent answers.
    Alive,
    /// Its agent is silent; its kernel may go on, and keeps its traffic.
    Suspect,
    /// Agent and kernel are silent: it gets no traffic.
    Failed,
    /// It went by its own word.
    Left,
    /// It runs no agent.
    Static,
}

impl PeerState {
    /// The word that operators read.
    pub const fn as_str(self) -> &'static str {
        match self {
            PeerState::Alive => "alive",
            PeerState::Suspect => "suspect",
            PeerState::Failed => "failed",
            PeerState::Left => "left",
            PeerState::Static => "static",
        }
    }

    /// Whether the flood lists have it.
    pub const fn is_flooded(self) -> bool {
        match self {
            PeerState::Alive | PeerState::Suspect | PeerState::Static => true,
            PeerState::Failed | PeerState::Left => false,
        }
    }
}

/// Who a peer is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// This host.
    Me(HostId),
    /// A host with an agent.
    Host(HostId),
    /// A VTEP without one, in one segment or in all.
    Static(Option<SegmentId>),
}

/// A peer, or this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// A host, or a VTEP without an agent.
    pub who: Who,
    /// Its name; a static peer's is its address.
    pub name: String,
    /// Its VTEP address; none is known of a host that has left.
    pub address: Option<IpAddr>,
    /// How it is.
    pub state: PeerState,
    /// Its overlay MTU, where it has said so.
    pub overlay_mtu: Option<OverlayMtu>,
}

/// All that says how a peer is.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// This host.
    pub me: HostId,
    /// What all hosts know.
    pub gossip: &'a Gossip,
    /// Whose agents answer.
    pub membership: &'a Membership,
    /// Whose agents and kernels are silent.
    pub reachability: &'a Reachability,
    /// When it is asked.
    pub now: Instant,
}

/// All peers and this host: hosts by id, then static peers by address, then hosts that have left.
pub fn view(inputs: &Inputs<'_>) -> Vec<Peer> {
    let Inputs { me, gossip, .. } = *inputs;
    let hosts = gossip.hosts().map(|host| Peer {
        who: if host.id == me { Who::Me(me) } else { Who::Host(host.id) },
        name: host.name.clone(),
        address: Some(host.vtep),
        state: state_of(inputs, host.id),
        overlay_mtu: Some(host.overlay_mtu),
    });
    let statics = gossip.static_peers().map(|peer| Peer {
        who: Who::Static(peer.segment),
        name: peer.address.to_string(),
        address: Some(peer.address),
        state: PeerState::Static,
        overlay_mtu: None,
    });
    let left = gossip
        .removed()
        .filter(|removed| removed.why == Departure::Left && removed.host != me)
        .map(|removed| Peer {
            who: Who::Host(removed.host),
            name: removed.name.clone(),
            address: None,
            state: PeerState::Left,
            overlay_mtu: None,
        });
    hosts.chain(statics).chain(left).collect()
}

fn state_of(inputs: &Inputs<'_>, host: HostId) -> PeerState {
    if host == inputs.me {
        return PeerState::Alive;
    }
    if inputs.reachability.is_gone(host) {
        return PeerState::Failed;
    }
    if inputs.reachability.is_agent_heard(host, inputs.now) {
        return PeerState::Alive;
    }
    let kernel_answers = inputs.reachability.is_kernel_answering(host, inputs.now);
    match inputs.membership.state(host) {
        Some(MemberState::Alive) => PeerState::Alive,
        // Nobody has told of it yet: its traffic goes on until membership decides.
        Some(MemberState::Suspect) | None => PeerState::Suspect,
        Some(MemberState::Down) if kernel_answers => PeerState::Suspect,
        Some(MemberState::Down) => PeerState::Failed,
    }
}
