//! An op as the rtnetlink request that does it.
//!
//! Changes go as `RTM_NEWLINK` without `NLM_F_CREATE`: `RTM_SETLINK` leaves the settings of a kind alone. New links
//! stay down until the plan sets them up, and get their MTU in a request of its own: one in the create request does
//! not stick to a bridge.

use std::collections::BTreeMap;
use std::net::IpAddr;

use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressProtocol};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, BridgeStpState, In6AddrGenMode, InfoBridge, InfoData, InfoKind, InfoMacVlan, InfoVxlan,
    LinkAttribute, LinkFlags, LinkInfo, LinkMessage, MacVlanMode, VxlanDf,
};
use netlink_packet_route::route::{RouteAttribute, RouteMessage, RouteScope, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use overlayd_core::id::{IfName, Mac};
use overlayd_core::kernel::device::{Bridge, Df, MacvlanMode, Switch, Vxlan};
use overlayd_core::kernel::mark::PROTOCOL;
use overlayd_core::kernel::observed::Group;
use overlayd_core::kernel::plan::Op;

use super::address::{address_message, new_address};
use super::connection::{CREATE, EXCLUSIVE, REPLACE};
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
    let change = |link: &IfName, attribute: LinkAttribute| {
        let mut message = LinkMessage::default();
        message.header.index = index(link)?;
        message.attributes.push(attribute);
        Some((RouteNetlinkMessage::NewLink(message), 0))
    };
    let switch = |link: &IfName, flags: LinkFlags| {
        let mut message = LinkMessage::default();
        message.header.index = index(link)?;
        message.header.flags = flags;
        message.header.change_mask = LinkFlags::Up;
        Some((RouteNetlinkMessage::NewLink(message), 0))
    };
    match op {
        Op::AddBridge { link, mac, bridge } => Some(create(
            link,
            *mac,
            InfoKind::Bridge,
            InfoData::Bridge(bridge_settings(*bridge)),
            None,
        )),
        Op::AddVxlan { link, mac, vxlan } => {
            let lower = match &vxlan.lower {
                Some(lower) => Some(index(lower)?),
                None => None,
            };
            let settings = InfoData::Vxlan(vxlan_settings(vxlan, lower));
            Some(create(link, *mac, InfoKind::Vxlan, settings, None))
        }
        Op::AddMacvlan { link, mac, macvlan } => {
            let mode = match macvlan.mode {
                MacvlanMode::Bridge | MacvlanMode::Other => MacVlanMode::Bridge,
            };
            let settings = InfoData::MacVlan(vec![InfoMacVlan::Mode(mode)]);
            Some(create(
                link,
                *mac,
                InfoKind::MacVlan,
                settings,
                Some(index(&macvlan.lower)?),
            ))
        }
        Op::DeleteLink { link } => {
            let mut message = LinkMessage::default();
            message.header.index = index(link)?;
            Some((RouteNetlinkMessage::DelLink(message), 0))
        }
        Op::SetAlias { link, alias } => change(link, LinkAttribute::IfAlias(alias.clone())),
        Op::SetMac { link, mac } => change(link, LinkAttribute::Address(mac.0.to_vec())),
        Op::SetMtu { link, mtu } => change(link, LinkAttribute::Mtu(*mtu)),
        Op::DisableAddrGen { link } => {
            let none = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
            change(link, LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![none])]))
        }
        Op::SetMaster { link, master } => change(link, LinkAttribute::Controller(index(master)?)),
        Op::SetUp { link } => switch(link, LinkFlags::Up),
        Op::SetDown { link } => switch(link, LinkFlags::empty()),
        Op::SetBridge { link, bridge } => {
            change(link, info(InfoKind::Bridge, InfoData::Bridge(bridge_settings(*bridge))))
        }
        Op::SetVxlan {
            link,
            local,
            df,
            learning,
        } => {
            let settings = vec![
                local_address(*local),
                InfoVxlan::Df(df_value(*df)),
                learning_value(*learning),
            ];
            change(link, info(InfoKind::Vxlan, InfoData::Vxlan(settings)))
        }
        Op::AppendFlood { link, flood } => Some(fdb::add_flood(
            index(link)?,
            flood.to,
            flood.via.as_ref().and_then(index),
        )),
        Op::RemoveFlood { link, flood } => Some(fdb::remove_flood(
            index(link)?,
            flood.to,
            flood.via.as_ref().and_then(index),
        )),
        Op::ReplaceRemote { link, mac, vtep } => Some(fdb::set_remote(index(link)?, *mac, *vtep)),
        Op::RemoveRemote { link, mac, vtep } => Some(fdb::remove_remote(index(link)?, *mac, *vtep)),
        Op::RemoveBehind { link, mac } => Some(fdb::remove_behind(index(link)?, *mac)),
        Op::AddLocal { link, mac } => Some(fdb::add_local(index(link)?, *mac)),
        Op::RemoveLocal { link, mac } => Some(fdb::remove_local(index(link)?, *mac)),
        Op::AddAddress { link, address, group } => {
            let RouteNetlinkMessage::NewAddress(mut message) = new_address(index(link)?, *address, None) else {
                return None;
            };
            message
                .attributes
                .push(AddressAttribute::Protocol(AddressProtocol::Other(PROTOCOL)));
            match group {
                Group::Joined | Group::Shadowed => {
                    message
                        .attributes
                        .retain(|attribute| !matches!(attribute, AddressAttribute::Flags(_)));
                    message
                        .attributes
                        .push(AddressAttribute::Flags(AddressFlags::Mcautojoin | AddressFlags::Nodad));
                }
                Group::No => message.attributes.push(AddressAttribute::RoutePriority(STAYING_METRIC)),
            }
            Some((RouteNetlinkMessage::NewAddress(message), CREATE | REPLACE))
        }
        Op::UnshadowGroup { link, group } => {
            Some((RouteNetlinkMessage::DelRoute(local_route(index(link)?, *group)), 0))
        }
        Op::RemoveAddress { link, address } => Some((
            RouteNetlinkMessage::DelAddress(address_message(index(link)?, *address)),
            0,
        )),
        Op::SetSysctl { .. } | Op::ReplaceTable { .. } | Op::DeleteTable { .. } => None,
    }
}

/// The route that makes an address the host's own.
fn local_route(index: u32, address: IpAddr) -> RouteMessage {
    let mut message = RouteMessage::default();
    let (family, bits) = match address {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    message.header.address_family = family;
    message.header.destination_prefix_length = bits;
    message.header.table = LOCAL_TABLE;
    message.header.kind = RouteType::Local;
    message.header.scope = RouteScope::NoWhere;
    message.attributes.push(RouteAttribute::Destination(address.into()));
    message.attributes.push(RouteAttribute::Oif(index));
    message
}

fn create(link: &IfName, mac: Mac, kind: InfoKind, settings: InfoData, lower: Option<u32>) -> Request {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(link.as_str().to_owned()));
    message.attributes.push(LinkAttribute::Address(mac.0.to_vec()));
    message.attributes.extend(lower.map(LinkAttribute::Link));
    message.attributes.push(info(kind, settings));
    (RouteNetlinkMessage::NewLink(message), CREATE | EXCLUSIVE)
}

fn info(kind: InfoKind, settings: InfoData) -> LinkAttribute {
    LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind), LinkInfo::Data(settings)])
}

fn bridge_settings(bridge: Bridge) -> Vec<InfoBridge> {
    let stp = match bridge.stp {
        Switch::On => BridgeStpState::KernelStp,
        Switch::Off => BridgeStpState::Disabled,
    };
    vec![
        InfoBridge::ForwardDelay(bridge.forward_delay),
        InfoBridge::StpState(stp),
        InfoBridge::MulticastSnooping(bridge.multicast_snooping == Switch::On),
    ]
}

fn vxlan_settings(vxlan: &Vxlan, lower: Option<u32>) -> Vec<InfoVxlan> {
    let mut settings = vec![
        InfoVxlan::Port(vxlan.port),
        InfoVxlan::Df(df_value(vxlan.df)),
        learning_value(vxlan.learning),
    ];
    match vxlan.vni {
        Some(vni) => settings.push(InfoVxlan::Id(vni.number())),
        None => settings.push(InfoVxlan::CollectMetadata(true)),
    }
    settings.extend(vxlan.local.map(local_address));
    settings.extend(vxlan.group.map(|group| match group {
        IpAddr::V4(group) => InfoVxlan::Group(group),
        IpAddr::V6(group) => InfoVxlan::Group6(group),
    }));
    settings.extend(lower.map(InfoVxlan::Link));
    settings
}

fn local_address(local: IpAddr) -> InfoVxlan {
    match local {
        IpAddr::V4(local) => InfoVxlan::Local(local),
        IpAddr::V6(local) => InfoVxlan::Local6(local),
    }
}

fn learning_value(learning: Switch) -> InfoVxlan {
    InfoVxlan::Learning(learning == Switch::On)
}

fn df_value(df: Df) -> VxlanDf {
    match df {
        Df::Unset => VxlanDf::Unset,
        Df::Set => VxlanDf::Set,
        Df::Inherit => VxlanDf::Inherit,
    }
}
