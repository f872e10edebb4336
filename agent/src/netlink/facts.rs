//! What the host's own network is like, apart from what we make: the way out, its address, its size, its carrier.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_route::address::AddressAttribute;
use netlink_packet_route::address::{AddressFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteMetric, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use overlayd_core::gateway::uplink::{Carrier, NextHop};
use overlayd_core::id::{IfName, Mac};
use overlayd_core::mtu::UnderlayMtu;

use super::address::{link_by_name, read_address};
use super::connection::Connection;
use super::error::Error;
use super::observe::{links, names};

/// How the kernel reaches another host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// The address that packets leave from.
    pub source: Option<IpAddr>,
    /// What it carries: the route's own MTU if it has one, else its interface's.
    pub mtu: Option<UnderlayMtu>,
}

/// As whom this host asks a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// The interface's MAC.
    pub mac: Mac,
    /// The address that packets to the neighbour leave from.
    pub address: Ipv4Addr,
}

/// The interfaces of the default routes, the one that counts first: IPv4's by their metrics, then IPv6's.
pub(super) fn default_routes(connection: &mut Connection) -> Result<Vec<IfName>, Error> {
    let names = names(&links(connection)?);
    let mut all = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut question = RouteMessage::default();
        question.header.address_family = family;
        let mut found: Vec<(u32, IfName)> = Vec::new();
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
            found.push((metric.unwrap_or(0), link.clone()));
        }
        found.sort_by_key(|(metric, _)| *metric);
        all.extend(found.into_iter().map(|(_, link)| link));
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
    let route = route_to(connection, hop.address.into(), None)?;
    Ok(match (mac, route.as_ref().and_then(source)) {
        (Some(mac), Some(IpAddr::V4(address))) => Some(Asker { mac, address }),
        _ => None,
    })
}

/// The global addresses of an interface in the kernel's order, IPv4 before IPv6, as far as they last.
pub(super) fn global_addresses(connection: &mut Connection, name: &IfName) -> Result<Vec<IpAddr>, Error> {
    let Some(link) = link_by_name(connection, name)? else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let all = lasting_addresses(connection, family, link.header.index)?;
        found.extend(all.into_iter().map(|(_, address)| address));
    }
    Ok(found)
}

/// The global addresses of one family with their interfaces; of one interface, or (0) of all. Not those that others do not
/// reach, or not for long: tentative, deprecated, and the temporary ones of IPv6's privacy extensions (RFC 8981), which the
/// kernel prefers as source and replaces within a day.
fn lasting_addresses(
    connection: &mut Connection,
    family: AddressFamily,
    link: u32,
) -> Result<Vec<(u32, IpAddr)>, Error> {
    let mut unfit =
        AddressFlags::Tentative | AddressFlags::Dadfailed | AddressFlags::Deprecated | AddressFlags::Mcautojoin;
    if family == AddressFamily::Inet6 {
        // `IFA_F_TEMPORARY`. For IPv4 the same bit says that another address of the subnet was there before.
        unfit |= AddressFlags::Secondary;
    }
    let mut question = AddressMessage::default();
    question.header.family = family;
    question.header.index = link;
    let mut found = Vec::new();
    for answer in connection.dump(&RouteNetlinkMessage::GetAddress(question))? {
        let RouteNetlinkMessage::NewAddress(message) = answer else {
            continue;
        };
        let fit = !message.attributes.iter().any(|attribute| match attribute {
            AddressAttribute::Flags(flags) => flags.intersects(unfit),
            _ => false,
        });
        if message.header.scope == AddressScope::Universe && fit {
            let address = read_address(&message).map(|(address, _)| address.addr());
            found.extend(address.map(|address| (message.header.index, address)));
        }
    }
    Ok(found)
}

/// How the kernel reaches each of these, in the same order.
///
/// The source is the one of the route out of `underlay`, whichever interface comes first: who names an underlay means it.
/// Where that has no address the kernel would take just any of the host's; only those of loopback and dummy interfaces
/// are meant to stand in.
pub(super) fn paths(connection: &mut Connection, to: &[IpAddr], underlay: &IfName) -> Result<Vec<Path>, Error> {
    let links: BTreeMap<u32, LinkMessage> = links(connection)?
        .into_iter()
        .map(|link| (link.header.index, link))
        .collect();
    let names = names(links.values());
    let Some(underlay) = names
        .iter()
        .find(|(_, name)| *name == underlay)
        .map(|(index, _)| *index)
    else {
        return Ok(Vec::new());
    };
    let mut own = BTreeSet::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        if to.iter().any(|to| to.is_ipv4() == (family == AddressFamily::Inet)) {
            let stands_in = |index: &u32| *index == underlay || links.get(index).is_some_and(belongs_to_no_wire);
            let all = lasting_addresses(connection, family, 0)?;
            own.extend(
                all.iter()
                    .filter(|(link, _)| stands_in(link))
                    .map(|(_, address)| *address),
            );
        }
    }
    let mut paths = Vec::new();
    for &to in to {
        let route = route_to(connection, to, None)?;
        let link = route.as_ref().and_then(out);
        let limit = route
            .iter()
            .flat_map(|route| &route.attributes)
            .find_map(|attribute| match attribute {
                RouteAttribute::Metrics(metrics) => metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(bytes) if *bytes > 0 => Some(UnderlayMtu::new(*bytes)),
                    _ => None,
                }),
                _ => None,
            });
        let mtu = limit.or_else(|| link.and_then(|index| links.get(&index)).and_then(mtu_of));
        let by_underlay = match link {
            Some(index) if index == underlay => route,
            Some(_) | None => route_to(connection, to, Some(underlay))?,
        };
        let source = by_underlay
            .as_ref()
            .and_then(source)
            .filter(|source| own.contains(source));
        paths.push(Path { source, mtu });
    }
    Ok(paths)
}

/// Loopback and dummy interfaces: their addresses are the host's, by whichever NIC it is reached.
fn belongs_to_no_wire(link: &LinkMessage) -> bool {
    link.header.flags.contains(LinkFlags::Loopback)
        || link.attributes.iter().any(|attribute| match attribute {
            LinkAttribute::LinkInfo(infos) => infos.contains(&LinkInfo::Kind(InfoKind::Dummy)),
            _ => false,
        })
}

/// The address that a route's packets leave from.
fn source(route: &RouteMessage) -> Option<IpAddr> {
    route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::PrefSource(RouteAddress::Inet(address)) => Some(IpAddr::V4(*address)),
        RouteAttribute::PrefSource(RouteAddress::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    })
}

/// Whether an address is this host's own.
pub(super) fn is_local(connection: &mut Connection, address: IpAddr) -> Result<bool, Error> {
    let route = route_to(connection, address, None)?;
    Ok(route.is_some_and(|route| route.header.kind == RouteType::Local))
}

/// The route that the kernel would take to an address, by whatever interface or by that one alone, if there is one.
fn route_to(connection: &mut Connection, to: IpAddr, by: Option<u32>) -> Result<Option<RouteMessage>, Error> {
    let mut question = RouteMessage::default();
    let bits = if to.is_ipv4() { 32 } else { 128 };
    question.header.address_family = if to.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    question.header.destination_prefix_length = bits;
    question.attributes.push(RouteAttribute::Destination(to.into()));
    question.attributes.extend(by.map(RouteAttribute::Oif));
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

/// The interface that a route goes out of; of several next hops the first.
fn out(route: &RouteMessage) -> Option<u32> {
    route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        RouteAttribute::MultiPath(hops) => hops.first().map(|hop| hop.interface_index),
        _ => None,
    })
}
