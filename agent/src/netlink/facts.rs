//! What the host's own network is like, apart from what we make: the way out, its address, its size, its carrier.

use std::net::IpAddr;

use netlink_packet_route::address::AddressAttribute;
use netlink_packet_route::address::{AddressFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::{RouteAttribute, RouteHeader, RouteMessage, RouteMetric, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use overlayd_core::id::IfName;
use overlayd_core::mtu::UnderlayMtu;

use super::address::{link_by_name, read_address};
use super::connection::Connection;
use super::error::Error;
use super::observe::{links, names};

/// Whether a NIC has a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// It is up and has one.
    Up,
    /// It is down or has none.
    Down,
}

/// The interface of the default route: IPv4's with the lowest metric, else IPv6's.
pub(super) fn default_route(connection: &mut Connection) -> Result<Option<IfName>, Error> {
    let names = names(&links(connection)?);
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut question = RouteMessage::default();
        question.header.address_family = family;
        let mut best: Option<(u32, u32)> = None;
        for answer in connection.dump(&RouteNetlinkMessage::GetRoute(question))? {
            let RouteNetlinkMessage::NewRoute(route) = answer else {
                continue;
            };
            let is_default = route.header.destination_prefix_length == 0
                && route.header.table == RouteHeader::RT_TABLE_MAIN
                && route.header.kind == RouteType::Unicast;
            let Some(index) = out(&route).filter(|_| is_default) else {
                continue;
            };
            let metric = route.attributes.iter().find_map(|attribute| match attribute {
                RouteAttribute::Priority(metric) => Some(*metric),
                _ => None,
            });
            let found = (metric.unwrap_or(0), index);
            if best.is_none_or(|best| found.0 < best.0) {
                best = Some(found);
            }
        }
        if let Some(name) = best.and_then(|(_, index)| names.get(&index)) {
            return Ok(Some(name.clone()));
        }
    }
    Ok(None)
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
    let mut question = RouteMessage::default();
    let bits = if to.is_ipv4() { 32 } else { 128 };
    question.header.address_family = if to.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    question.header.destination_prefix_length = bits;
    question.attributes.push(RouteAttribute::Destination(to.into()));
    let route = match connection.ask(&RouteNetlinkMessage::GetRoute(question)) {
        Ok(Some(RouteNetlinkMessage::NewRoute(route))) => route,
        Ok(_) => return Ok(None),
        Err(Error::Refused(refusal)) if is_unreachable(refusal.errno) => return Ok(None),
        Err(error) => return Err(error),
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
