//! What the host's own network is like, apart from what we make: the way out, its address, its size, its carrier.

use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_route::address::AddressAttribute;
use netlink_packet_route::address::{AddressFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteMetric, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use overlayd_core::gateway::uplink::{Carrier, NextHop};
use overlayd_core::id::{IfName, Mac};
use overlayd_core::mtu::UnderlayMtu;

use super::address::{link_by_name, read_address};
use super::connection::Connection;
use super::error::Error;
use super::observe::{links, names};

/// A default route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultRoute {
    /// Where it goes out.
    pub link: IfName,
    /// Its next hop, if it has one that ARP can ask for.
    pub via: Option<Ipv4Addr>,
}

/// As whom this host asks a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// The interface's MAC.
    pub mac: Mac,
    /// The address that packets to the neighbour leave from.
    pub address: Ipv4Addr,
}

/// The default routes, the one that counts first: IPv4's by their metrics, then IPv6's.
pub(super) fn default_routes(connection: &mut Connection) -> Result<Vec<DefaultRoute>, Error> {
    let names = names(&links(connection)?);
    let mut all = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut question = RouteMessage::default();
        question.header.address_family = family;
        let mut found: Vec<(u32, DefaultRoute)> = Vec::new();
        for answer in connection.dump(&RouteNetlinkMessage::GetRoute(question))? {
            let RouteNetlinkMessage::NewRoute(route) = answer else {
                continue;
            };
            let is_default = route.header.destination_prefix_length == 0
                && route.header.table == RouteHeader::RT_TABLE_MAIN
                && route.header.kind == RouteType::Unicast;
            let link = out(&route).filter(|_| is_default).and_then(|index| names.get(&index));
            let Some(link) = link else { continue };
            let metric = route.attributes.iter().find_map(|attribute| match attribute {
                RouteAttribute::Priority(metric) => Some(*metric),
                _ => None,
            });
            let (link, via) = (link.clone(), via(&route));
            found.push((metric.unwrap_or(0), DefaultRoute { link, via }));
        }
        found.sort_by_key(|(metric, _)| *metric);
        all.extend(found.into_iter().map(|(_, route)| route));
    }
    Ok(all)
}

/// As whom to ask a neighbour by ARP; `None`: nobody can be asked like that there.
pub(super) fn asker(connection: &mut Connection, hop: &NextHop) -> Result<Option<Asker>, Error> {
    let Some(link) = link_by_name(connection, &hop.link)? else {
        return Ok(None);
    };
    if link.header.link_layer_type != LinkLayerType::Ether || link.header.flags.contains(LinkFlags::Noarp) {
        return Ok(None);
    }
    let mac = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Address(bytes) => bytes.as_slice().try_into().ok().map(Mac),
        _ => None,
    });
    let route = route_to(connection, hop.address.into())?;
    let address = route
        .iter()
        .flat_map(|route| &route.attributes)
        .find_map(|attribute| match attribute {
            RouteAttribute::PrefSource(RouteAddress::Inet(address)) => Some(*address),
            _ => None,
        });
    Ok(mac.zip(address).map(|(mac, address)| Asker { mac, address }))
}

/// The first global address of an interface, IPv4 before IPv6; tentative and deprecated ones do not count.
pub(super) fn first_global_address(connection: &mut Connection, name: &IfName) -> Result<Option<IpAddr>, Error> {
    let Some(link) = link_by_name(connection, name)? else {
        return Ok(None);
    };
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut question = AddressMessage::default();
        question.header.family = family;
        question.header.index = link.header.index;
        for answer in connection.dump(&RouteNetlinkMessage::GetAddress(question))? {
            let RouteNetlinkMessage::NewAddress(message) = answer else {
                continue;
            };
            let unfit = AddressFlags::Tentative | AddressFlags::Dadfailed | AddressFlags::Deprecated;
            let fit = !message.attributes.iter().any(|attribute| match attribute {
                AddressAttribute::Flags(flags) => flags.intersects(unfit | AddressFlags::Mcautojoin),
                _ => false,
            });
            if message.header.scope == AddressScope::Universe
                && fit
                && let Some((address, _)) = read_address(&message)
            {
                return Ok(Some(address.addr()));
            }
        }
    }
    Ok(None)
}

/// The size that the route to an address carries: the route's own MTU if it has one, else its interface's.
pub(super) fn route_mtu(connection: &mut Connection, to: IpAddr) -> Result<Option<UnderlayMtu>, Error> {
    let Some(route) = route_to(connection, to)? else {
        return Ok(None);
    };
    let own = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Metrics(metrics) => metrics.iter().find_map(|metric| match metric {
            RouteMetric::Mtu(bytes) if *bytes > 0 => Some(*bytes),
            _ => None,
        }),
        _ => None,
    });
    if let Some(bytes) = own {
        return Ok(Some(UnderlayMtu::new(bytes)));
    }
    let Some(index) = out(&route) else { return Ok(None) };
    let link = links(connection)?.into_iter().find(|link| link.header.index == index);
    Ok(link.as_ref().and_then(mtu_of))
}

/// The route that the kernel would take to an address, if there is one.
fn route_to(connection: &mut Connection, to: IpAddr) -> Result<Option<RouteMessage>, Error> {
    let mut question = RouteMessage::default();
    let bits = if to.is_ipv4() { 32 } else { 128 };
    question.header.address_family = if to.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    question.header.destination_prefix_length = bits;
    question.attributes.push(RouteAttribute::Destination(to.into()));
    match connection.ask(&RouteNetlinkMessage::GetRoute(question)) {
        Ok(Some(RouteNetlinkMessage::NewRoute(route))) => Ok(Some(route)),
        Ok(_) => Ok(None),
        Err(Error::Refused(refusal)) if is_unreachable(refusal.errno) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The MTU of an interface.
pub(super) fn link_mtu(connection: &mut Connection, name: &IfName) -> Result<Option<UnderlayMtu>, Error> {
    Ok(link_by_name(connection, name)?.as_ref().and_then(mtu_of))
}

fn mtu_of(link: &LinkMessage) -> Option<UnderlayMtu> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Mtu(bytes) => Some(UnderlayMtu::new(*bytes)),
        _ => None,
    })
}

/// The carrier of an interface.
pub(super) fn carrier(connection: &mut Connection, name: &IfName) -> Result<Carrier, Error> {
    let link = link_by_name(connection, name)?;
    let has = link.is_some_and(|link| link.header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp));
    Ok(if has { Carrier::Up } else { Carrier::Down })
}

fn is_unreachable(errno: nix::errno::Errno) -> bool {
    use nix::errno::Errno;
    matches!(
        errno,
        Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::EACCES | Errno::EINVAL
    )
}

/// The IPv4 address of a route's next hop; of several the first.
fn via(route: &RouteMessage) -> Option<Ipv4Addr> {
    let gateway = |attributes: &[RouteAttribute]| {
        attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Gateway(RouteAddress::Inet(address)) => Some(*address),
            _ => None,
        })
    };
    gateway(&route.attributes).or_else(|| {
        route.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::MultiPath(hops) => gateway(&hops.first()?.attributes),
            _ => None,
        })
    })
}

/// The interface that a route goes out of; of several next hops the first.
fn out(route: &RouteMessage) -> Option<u32> {
    route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        RouteAttribute::MultiPath(hops) => hops.first().map(|hop| hop.interface_index),
        _ => None,
    })
}
