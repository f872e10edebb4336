//! The peers as an operator and the flood lists see them: one word per peer, from all that is known.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Liveness, Membership};
use crate::cluster::gossip::{Departure, Gossip};
use crate::id::{HostId, SegmentId};
use crate::mtu::OverlayMtu;

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
    /// Who.
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
    /// Hosts that the election has found dead: agent and kernel silent.
    pub dead: &'a BTreeSet<HostId>,
    /// Hosts whose kernel has answered a probe of late.
    pub kernels: &'a BTreeSet<HostId>,
    /// Hosts whose agent has said anything of late: what membership thinks of them is out of date.
    pub heard: &'a BTreeSet<HostId>,
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
    if inputs.dead.contains(&host) {
        return PeerState::Failed;
    }
    if inputs.heard.contains(&host) {
        return PeerState::Alive;
    }
    let kernel_answers = inputs.kernels.contains(&host);
    match inputs.membership.liveness(host) {
        Some(Liveness::Alive) => PeerState::Alive,
        // Nobody has told of it yet: its traffic goes on until membership decides.
        Some(Liveness::Suspect) | None => PeerState::Suspect,
        Some(Liveness::Down) if kernel_answers => PeerState::Suspect,
        Some(Liveness::Down) => PeerState::Failed,
    }
}
