//! All sockets to guests: which are open, and to whom they tell what they hear.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use overlayd_core::gateway::GatewayLink;
use overlayd_core::id::{IfName, SegmentId};
use tokio::sync::mpsc;

use super::arp::{Ear, Heard, Inquirer, Used};
use super::dhcp::{Port, Received, Reply};

/// The sockets to guests.
#[derive(Debug)]
pub struct GuestSockets {
    dhcp: mpsc::Sender<Received>,
    arp: mpsc::Sender<Heard>,
    used: mpsc::Sender<Used>,
    gateways: BTreeMap<SegmentId, Gateway>,
    ears: BTreeMap<IfName, Ear>,
}

/// Those on one gateway's link.
#[derive(Debug)]
struct Gateway {
    at: GatewayLink,
    port: Port,
    inquirer: Inquirer,
}

impl GuestSockets {
    /// None yet.
    pub fn new(dhcp: mpsc::Sender<Received>, arp: mpsc::Sender<Heard>, used: mpsc::Sender<Used>) -> Self {
        Self {
            dhcp,
            arp,
            used,
            gateways: BTreeMap::new(),
            ears: BTreeMap::new(),
        }
    }

    /// Listens for DHCP and ARP on these links, and on no others.
    pub fn listen(&mut self, links: BTreeMap<SegmentId, GatewayLink>) {
        self.gateways
            .retain(|segment, gateway| links.get(segment) == Some(&gateway.at));
        for (segment, at) in links {
            self.gateways.entry(segment).or_insert_with(|| Gateway {
                port: Port::open(segment, at.link.clone(), self.dhcp.clone()),
                inquirer: Inquirer::open(segment, at.clone(), self.arp.clone()),
                at,
            });
        }
    }

    /// Hears on these bridges which addresses guests use, and on no others.
    pub fn hear(&mut self, bridges: BTreeSet<IfName>) {
        self.ears.retain(|bridge, _| bridges.contains(bridge));
        for bridge in bridges {
            self.ears
                .entry(bridge.clone())
                .or_insert_with(|| Ear::open(bridge, self.used.clone()));
        }
    }

    /// Asks the guests of a segment who has these addresses.
    pub fn ask(&self, segment: SegmentId, addresses: &[Ipv4Addr]) {
        if let Some(gateway) = self.gateways.get(&segment) {
            gateway.inquirer.ask(addresses);
        }
    }

    /// Sends a DHCP message to a guest.
    pub fn reply(&self, segment: SegmentId, reply: Reply) {
        if let Some(gateway) = self.gateways.get(&segment) {
            gateway.port.send(reply);
        }
    }
}
