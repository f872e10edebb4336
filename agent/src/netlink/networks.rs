//! The IPv4 networks that the host has apart from our segments.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteScope, RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use overlayd_core::network::HostNetwork;

use super::connection::Connection;
use super::encode::LOCAL_TABLE;
use super::error::Error;
use super::observe::{Names, link, links, names};

/// A shorter prefix is a way out and no network: a VPN that takes all traffic has routes to `0.0.0.0/1` and `128.0.0.0/1`.
const SHORTEST: u8 = 8;

/// The host's own network, as IPv4 routes tell of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnNetwork {
    /// What the connected routes of the main table lead to, and the host's own addresses; not those on our links. Routes of
    /// other tables (VRFs) are of other networks.
    pub networks: BTreeSet<HostNetwork>,
    /// The next hops of the ways out.
    pub next_hops: BTreeSet<Ipv4Addr>,
}

pub(super) fn own_network(connection: &mut Connection) -> Result<OwnNetwork, Error> {
    let links = links(connection)?;
    let mut names = names(&links);
    let ours = links.iter().filter_map(|message| {
        let (name, link) = link(message, &names)?;
        link.is_ours(&name).then_some(message.header.index)
    });
    for index in ours.collect::<Vec<_>>() {
        names.remove(&index);
    }
    let mut question = RouteMessage::default();
    question.header.address_family = AddressFamily::Inet;
    let mut found = OwnNetwork::default();
    for answer in connection.dump(&RouteNetlinkMessage::GetRoute(question))? {
        let RouteNetlinkMessage::NewRoute(route) = answer else {
            continue;
        };
        let hops = next_hops(&route.attributes);
        if route.header.kind == RouteType::Unicast && route.header.destination_prefix_length < SHORTEST {
            found.next_hops.extend(hops);
        } else if hops.is_empty() {
            found.networks.extend(network(&route, &names));
        }
    }
    Ok(found)
}

/// The network that a route without next hop leads to, if it is the host's own.
fn network(route: &RouteMessage, names: &Names) -> Option<HostNetwork> {
    let (mut link, mut to) = (None, None);
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(index) => link = names.get(index),
            RouteAttribute::Destination(RouteAddress::Inet(address)) => to = Some(*address),
            _ => {}
        }
    }
    let header = &route.header;
    let connected = header.table == RouteHeader::RT_TABLE_MAIN
        && header.kind == RouteType::Unicast
        && header.scope == RouteScope::Link;
    let own = header.table == LOCAL_TABLE && header.kind == RouteType::Local;
    let to = to.filter(|to| (connected || own) && !to.is_loopback() && !to.is_multicast())?;
    HostNetwork::new(to, header.destination_prefix_length, link?.clone())
}

fn next_hops(attributes: &[RouteAttribute]) -> BTreeSet<Ipv4Addr> {
    let mut found = BTreeSet::new();
    for attribute in attributes {
        match attribute {
            RouteAttribute::Gateway(RouteAddress::Inet(address)) | RouteAttribute::Via(RouteVia::Inet(address)) => {
                found.insert(*address);
            }
            RouteAttribute::MultiPath(hops) => found.extend(hops.iter().flat_map(|hop| next_hops(&hop.attributes))),
            _ => {}
        }
    }
    found
}
