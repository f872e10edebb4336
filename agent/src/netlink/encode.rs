//! An op as the rtnetlink request that does it.
//!
//! Changes go as `RTM_NEWLINK` without `NLM_F_CREATE`: `RTM_SETLINK` leaves the settings of a kind alone. New links
//! stay down until the plan sets them up, and get their MTU in a request of its own: one in the create request does
//! not stick to a bridge.
//!
//! The messages are rtnetlink's builders', sent on our own socket; what a builder has no word for is appended as an
//! attribute of `netlink-packet-route`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressProtocol};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, BridgeStpState, In6AddrGenMode, InfoKind, LinkAttribute, MacVlanMode, VxlanDf,
};
use netlink_packet_route::route::{RouteMessage, RouteProtocol, RouteScope, RouteType};
use overlayd_core::id::{IfName, Mac};
use overlayd_core::kernel::device::{Bridge, Df, MacvlanMode, Switch, Vxlan};
use overlayd_core::kernel::mark::PROTOCOL;
use overlayd_core::kernel::observed::MulticastGroup;
use overlayd_core::kernel::plan::Op;
use rtnetlink::{LinkBridge, LinkMacVlan, LinkMessageBuilder, LinkUnspec, LinkVxlan, RouteMessageBuilder};

use super::address::{address_message, new_address};
use super::fdb::{self, Request};

/// `RT_TABLE_LOCAL` (`linux/rtnetlink.h`).
pub(super) const LOCAL_TABLE: u8 = 255;

/// Metric of the route that comes with an address that stays: the gateway's own, of metric 0, goes before it.
const STAYING_METRIC: u32 = 1024;

/// Interfaces by name.
pub(super) type Indexes = BTreeMap<IfName, u32>;

/// The interfaces that must be there before the op's request can be written.
pub(super) fn links(op: &Op) -> [Option<&IfName>; 2] {
    match op {
        Op::AddBridge { .. } => [None, None],
        Op::AddVxlan { vxlan, .. } => [vxlan.lower.as_ref(), None],
        Op::AddMacvlan { macvlan, .. } => [Some(&macvlan.lower), None],
        Op::SetMaster { link, master } => [Some(link), Some(master)],
        Op::AppendFlood { link, flood } | Op::RemoveFlood { link, flood } => [Some(link), flood.via.as_ref()],
        Op::DeleteLink { link }
        | Op::SetAlias { link, .. }
        | Op::SetMac { link, .. }
        | Op::SetMtu { link, .. }
        | Op::DisableAddrGen { link }
        | Op::SetUp { link }
        | Op::SetDown { link }
        | Op::SetBridge { link, .. }
        | Op::SetVxlan { link, .. }
        | Op::ReplaceRemote { link, .. }
        | Op::RemoveRemote { link, .. }
        | Op::RemoveBehind { link, .. }
        | Op::AddLocal { link, .. }
        | Op::RemoveLocal { link, .. }
        | Op::AddAddress { link, .. }
        | Op::UnshadowGroup { link, .. }
        | Op::RemoveAddress { link, .. } => [Some(link), None],
        Op::SetSysctl { .. } | Op::ReplaceTable { .. } | Op::DeleteTable { .. } => [None, None],
    }
}

/// The op's request, or nothing for one that is not rtnetlink's or whose interfaces are not in `indexes`.
pub(super) fn request(op: &Op, indexes: &Indexes) -> Option<Request> {
    let index = |link: &IfName| indexes.get(link).copied();
    let existing = |link: &IfName| index(link).map(LinkUnspec::new_with_index);
    let request = match op {
        Op::AddBridge { link, mac, bridge } => {
            let builder = LinkMessageBuilder::<LinkBridge>::new(link.as_str());
            create(bridge_settings(builder, *bridge), *mac)
        }
        Op::AddVxlan { link, mac, vxlan } => {
            let lower = match &vxlan.lower {
                Some(lower) => Some(index(lower)?),
                None => None,
            };
            let builder = LinkMessageBuilder::<LinkVxlan>::new(link.as_str());
            create(vxlan_settings(builder, vxlan, lower), *mac)
        }
        Op::AddMacvlan { link, mac, macvlan } => {
            let mode = match macvlan.mode {
                MacvlanMode::Bridge | MacvlanMode::Other => MacVlanMode::Bridge,
            };
            create(LinkMacVlan::new(link.as_str(), index(&macvlan.lower)?, mode), *mac)
        }
        Op::DeleteLink { link } => (RouteNetlinkMessage::DelLink(existing(link)?.build()), 0),
        Op::SetAlias { link, alias } => change(existing(link)?.alias(alias.as_str())),
        Op::SetMac { link, mac } => change(existing(link)?.address(mac.0.to_vec())),
        Op::SetMtu { link, mtu } => change(existing(link)?.mtu(*mtu)),
        Op::DisableAddrGen { link } => {
            // No builder speaks of a family's settings.
            let none = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
            let families = LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![none])]);
            change(existing(link)?.append_extra_attribute(families))
        }
        Op::SetMaster { link, master } => change(existing(link)?.controller(index(master)?)),
        Op::SetUp { link } => change(existing(link)?.up()),
        Op::SetDown { link } => change(existing(link)?.down()),
        Op::SetBridge { link, bridge } => {
            // By its index alone: with a name it would be a renaming.
            let builder = LinkMessageBuilder::<LinkBridge>::new_with_info_kind(InfoKind::Bridge);
            change(bridge_settings(builder.index(index(link)?), *bridge))
        }
        Op::SetVxlan {
            link,
            local,
            df,
            learning,
        } => {
            let builder = LinkMessageBuilder::<LinkVxlan>::new_with_info_kind(InfoKind::Vxlan).index(index(link)?);
            let builder = builder.df(df_value(*df)).learning(*learning == Switch::On);
            change(local_address(builder, *local))
        }
        Op::AppendFlood { link, flood } => fdb::add_flood(index(link)?, flood.to, flood.via.as_ref().and_then(index)),
        Op::RemoveFlood { link, flood } => {
            fdb::remove_flood(index(link)?, flood.to, flood.via.as_ref().and_then(index))
        }
        Op::ReplaceRemote { link, mac, vtep } => fdb::set_remote(index(link)?, *mac, *vtep),
        Op::RemoveRemote { link, mac, vtep } => fdb::remove_remote(index(link)?, *mac, *vtep),
        Op::RemoveBehind { link, mac } => fdb::remove_behind(index(link)?, *mac),
        Op::AddLocal { link, mac } => fdb::add_local(index(link)?, *mac),
        Op::RemoveLocal { link, mac } => fdb::remove_local(index(link)?, *mac),
        Op::AddAddress { link, address, group } => {
            let message = planned(new_address(index(link)?, *address, None), *group);
            (RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_REPLACE)
        }
        Op::UnshadowGroup { link, group } => (RouteNetlinkMessage::DelRoute(local_route(index(link)?, *group)), 0),
        Op::RemoveAddress { link, address } => {
            let message = address_message(index(link)?, *address);
            (RouteNetlinkMessage::DelAddress(message), 0)
        }
        Op::SetSysctl { .. } | Op::ReplaceTable { .. } | Op::DeleteTable { .. } => return None,
    };
    Some(request)
}

fn create<T>(link: LinkMessageBuilder<T>, mac: Mac) -> Request {
    let message = link.address(mac.0.to_vec()).build();
    (RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)
}

fn change<T>(link: LinkMessageBuilder<T>) -> Request {
    (RouteNetlinkMessage::NewLink(link.build()), 0)
}

/// An address that a plan sets, with the mark that tells it from foreign ones; the builder has no word for any of this.
fn planned(mut message: AddressMessage, group: MulticastGroup) -> AddressMessage {
    let attributes = &mut message.attributes;
    attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(PROTOCOL)));
    match group {
        MulticastGroup::Joined | MulticastGroup::Shadowed => {
            attributes.retain(|attribute| !matches!(attribute, AddressAttribute::Flags(_)));
            let flags = AddressFlags::Mcautojoin | AddressFlags::Nodad;
            attributes.push(AddressAttribute::Flags(flags));
        }
        MulticastGroup::No => attributes.push(AddressAttribute::RoutePriority(STAYING_METRIC)),
    }
    message
}

/// The route that makes an address the host's own.
fn local_route(index: u32, address: IpAddr) -> RouteMessage {
    match address {
        IpAddr::V4(to) => own(RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(to, 32), index),
        IpAddr::V6(to) => own(
            RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(to, 128),
            index,
        ),
    }
}

fn own<T>(route: RouteMessageBuilder<T>, index: u32) -> RouteMessage {
    let route = route.table_id(LOCAL_TABLE.into()).kind(RouteType::Local);
    // Whoever made it: the builder's "static" would not be found.
    let route = route.scope(RouteScope::NoWhere).protocol(RouteProtocol::Unspec);
    route.output_interface(index).build()
}

fn bridge_settings(builder: LinkMessageBuilder<LinkBridge>, bridge: Bridge) -> LinkMessageBuilder<LinkBridge> {
    let stp = match bridge.stp {
        Switch::On => BridgeStpState::KernelStp,
        Switch::Off => BridgeStpState::Disabled,
    };
    let builder = builder.forward_delay(bridge.forward_delay).stp_state(stp);
    builder.mcast_snooping(bridge.multicast_snooping == Switch::On)
}

fn vxlan_settings(
    builder: LinkMessageBuilder<LinkVxlan>,
    vxlan: &Vxlan,
    lower: Option<u32>,
) -> LinkMessageBuilder<LinkVxlan> {
    let mut builder = builder
        .port(vxlan.port)
        .df(df_value(vxlan.df))
        .learning(vxlan.learning == Switch::On);
    builder = match vxlan.vni {
        Some(vni) => builder.id(vni.number()),
        None => builder.collect_metadata(true),
    };
    if let Some(local) = vxlan.local {
        builder = local_address(builder, local);
    }
    builder = match vxlan.group {
        Some(IpAddr::V4(group)) => builder.group(group),
        Some(IpAddr::V6(group)) => builder.group6(group),
        None => builder,
    };
    match lower {
        Some(lower) => builder.dev(lower),
        None => builder,
    }
}

fn local_address(builder: LinkMessageBuilder<LinkVxlan>, local: IpAddr) -> LinkMessageBuilder<LinkVxlan> {
    match local {
        IpAddr::V4(local) => builder.local(local),
        IpAddr::V6(local) => builder.local6(local),
    }
}

fn df_value(df: Df) -> VxlanDf {
    match df {
        Df::Unset => VxlanDf::Unset,
        Df::Set => VxlanDf::Set,
        Df::Inherit => VxlanDf::Inherit,
    }
}
