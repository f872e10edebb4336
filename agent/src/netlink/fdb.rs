//! Forwarding entries as rtnetlink messages, and back.
//!
//! The state and flag bits differ by layer (`vxlan_core.c`, `br_fdb.c`): on the VXLAN side (`NTF_SELF`) an entry is
//! `REACHABLE` or `PERMANENT`, on the bridge side (`NTF_MASTER`) `PERMANENT` means *the bridge's own address*. Only
//! `REACHABLE` with `EXT_LEARNED` is right on both, so that is what a learnt MAC gets, in one message.
//!
//! rtnetlink builds these only as requests of its asynchronous handle, and cannot append: the messages are made here.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use overlayd_core::id::Mac;

/// A request and the flags that it goes with.
pub(super) type Request = (RouteNetlinkMessage, u16);

/// One more destination of the flood list. Appending one that is there changes nothing.
pub(super) fn add_flood(vxlan: u32, to: IpAddr, via: Option<u32>) -> Request {
    (
        RouteNetlinkMessage::NewNeighbour(flood(vxlan, to, via)),
        NLM_F_CREATE | NLM_F_APPEND,
    )
}

/// One destination less. Never without the destination: the kernel would then clear the whole list.
pub(super) fn remove_flood(vxlan: u32, to: IpAddr, via: Option<u32>) -> Request {
    (RouteNetlinkMessage::DelNeighbour(flood(vxlan, to, via)), 0)
}

/// A remote guest's MAC, on the VXLAN and on the bridge above it.
pub(super) fn set_remote(vxlan: u32, mac: Mac, at: IpAddr) -> Request {
    let message = bridge_entry(
        vxlan,
        mac,
        NeighbourState::Reachable,
        BOTH_LAYERS | NeighbourFlags::ExtLearned,
        Some(at),
    );
    (RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | NLM_F_REPLACE)
}

/// Forgets where a MAC is, in the VXLAN's table.
pub(super) fn remove_remote(vxlan: u32, mac: Mac, at: IpAddr) -> Request {
    let message = bridge_entry(vxlan, mac, NeighbourState::None, NeighbourFlags::Own, Some(at));
    (RouteNetlinkMessage::DelNeighbour(message), 0)
}

/// Forgets that a MAC is behind a port, in the bridge's table.
pub(super) fn remove_behind(port: u32, mac: Mac) -> Request {
    let message = bridge_entry(port, mac, NeighbourState::None, NeighbourFlags::Controller, None);
    (RouteNetlinkMessage::DelNeighbour(message), 0)
}

/// A MAC that the bridge itself answers to, although it is on a device above it.
pub(super) fn add_local(bridge: u32, mac: Mac) -> Request {
    let message = bridge_entry(bridge, mac, NeighbourState::Permanent, NeighbourFlags::Own, None);
    (RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | NLM_F_REPLACE)
}

/// Takes such a MAC away again.
pub(super) fn remove_local(bridge: u32, mac: Mac) -> Request {
    let message = bridge_entry(bridge, mac, NeighbourState::None, NeighbourFlags::Own, None);
    (RouteNetlinkMessage::DelNeighbour(message), 0)
}

/// The question for all forwarding entries of all devices: of a bridge port, both layers'.
pub(super) fn list_fdb() -> RouteNetlinkMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    RouteNetlinkMessage::GetNeighbour(message)
}

/// Flag bits of one request for the VXLAN (`NTF_SELF`) and its bridge (`NTF_MASTER`).
const BOTH_LAYERS: NeighbourFlags = NeighbourFlags::Own.union(NeighbourFlags::Controller);

fn flood(vxlan: u32, to: IpAddr, via: Option<u32>) -> NeighbourMessage {
    let mut message = bridge_entry(
        vxlan,
        Mac::ZERO,
        NeighbourState::Permanent,
        NeighbourFlags::Own,
        Some(to),
    );
    message.attributes.extend(via.map(NeighbourAttribute::IfIndex));
    message
}

fn bridge_entry(
    device: u32,
    mac: Mac,
    state: NeighbourState,
    flags: NeighbourFlags,
    destination: Option<IpAddr>,
) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = device;
    message.header.state = state;
    message.header.flags = flags;
    message.attributes.reserve_exact(3);
    message
        .attributes
        .push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
    message
        .attributes
        .extend(destination.map(|address| NeighbourAttribute::Destination(address.into())));
    message
}

/// What a neighbour message says, by its attributes.
pub(super) struct Entry {
    pub(super) mac: Option<Mac>,
    pub(super) destination: Option<IpAddr>,
    pub(super) via: Option<u32>,
    pub(super) bridge: Option<u32>,
}

impl Entry {
    pub(super) fn read(message: &NeighbourMessage) -> Self {
        let mut entry = Self {
            mac: None,
            destination: None,
            via: None,
            bridge: None,
        };
        for attribute in &message.attributes {
            match attribute {
                NeighbourAttribute::LinkLayerAddress(bytes) => entry.mac = bytes.as_slice().try_into().ok().map(Mac),
                NeighbourAttribute::Destination(address) => entry.destination = ip(address),
                NeighbourAttribute::IfIndex(index) => entry.via = Some(*index),
                NeighbourAttribute::Controller(index) => entry.bridge = Some(*index),
                _ => {}
            }
        }
        entry
    }
}

/// In the bridge family the crate leaves the bytes as they are: their number tells the address family.
fn ip(address: &NeighbourAddress) -> Option<IpAddr> {
    match address {
        NeighbourAddress::Inet(address) => Some((*address).into()),
        NeighbourAddress::Inet6(address) => Some((*address).into()),
        NeighbourAddress::Other(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(bytes.as_slice()).ok().map(IpAddr::from),
            16 => <[u8; 16]>::try_from(bytes.as_slice()).ok().map(IpAddr::from),
            _ => None,
        },
        _ => None,
    }
}
