//! `peer list`.

use std::net::IpAddr;

use crate::cluster::gossip::Candidacy;
use crate::cluster::membership::{PeerState, Who};
use crate::id::HostId;
use crate::mtu::OverlayMtu;
use crate::node::Node;

/// A line of `peer list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerLine {
    /// Its name; a static peer's is its address.
    pub name: String,
    /// Its id; a static peer has none.
    pub id: Option<HostId>,
    /// Its VTEP.
    pub address: Option<IpAddr>,
    /// How it is.
    pub state: PeerState,
    /// Whether it is this host.
    pub me: bool,
    /// Its overlay MTU.
    pub mtu: Option<OverlayMtu>,
    /// Whether its operator has drained it.
    pub drained: bool,
}

impl Node {
    /// This host first, then the others by name.
    pub fn peer_lines(&self) -> Vec<PeerLine> {
        let Some(formed) = &self.formed else { return Vec::new() };
        let mut lines: Vec<PeerLine> = formed
            .derived
            .peers
            .iter()
            .map(|peer| PeerLine {
                name: peer.name.clone(),
                id: match peer.who {
                    Who::Me(id) | Who::Host(id) => Some(id),
                    Who::Static(_) => None,
                },
                address: peer.address,
                state: peer.state,
                me: matches!(peer.who, Who::Me(_)),
                mtu: peer.overlay_mtu,
                drained: match peer.who {
                    Who::Me(_) => self.is_drained(),
                    Who::Host(id) => formed
                        .gossip
                        .host(id)
                        .is_some_and(|host| matches!(host.candidacy, Candidacy::Drained { .. })),
                    Who::Static(_) => false,
                },
            })
            .collect();
        lines.sort_by(|one, other| (!one.me, &one.name, one.id).cmp(&(!other.me, &other.name, other.id)));
        lines
    }
}
