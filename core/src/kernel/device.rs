//! What can be set on a link: the words that the desired and the observed state have in common.

use crate::id::{IfName, Vni};
use std::net::IpAddr;

/// `IFF_UP` or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Admin {
    /// `ip link set … up`
    Up,
    /// `ip link set … down`
    Down,
}

/// `IFLA_INET6_ADDR_GEN_MODE`, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AddrGen {
    /// No link-local address, or a kernel without IPv6.
    None,
    /// Any of the ways to make one.
    Some,
}

/// A switch of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Switch {
    /// 1
    On,
    /// 0
    Off,
}

/// The kinds of links that we make, and the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// A bridge.
    Bridge(Bridge),
    /// A VXLAN device.
    Vxlan(Vxlan),
    /// A macvlan.
    Macvlan(Macvlan),
    /// Anything else: NICs, taps, veths …
    Other,
}

/// What can be set on a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bridge {
    /// Spanning tree.
    pub stp: Switch,
    /// Forward delay in hundredths of a second, the kernel's unit (`USER_HZ`).
    pub forward_delay: u32,
    /// Multicast snooping.
    pub multicast_snooping: Switch,
}

/// What can be set on a VXLAN device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Vxlan {
    /// Its network identifier; none on a device in `external` mode, which is never ours.
    pub vni: Option<Vni>,
    /// The outer source address; none where the kernel chooses.
    pub local: Option<IpAddr>,
    /// The UDP destination port.
    pub port: u16,
    /// The outer "don't fragment" bit.
    pub df: Df,
    /// Whether the kernel learns where a MAC is from the frames that come in.
    pub learning: Switch,
    /// The lower device it is bound to; ours never is.
    pub lower: Option<IfName>,
    /// The device's own group (or default destination); ours keep theirs in the forwarding table.
    pub group: Option<IpAddr>,
}

/// `IFLA_VXLAN_DF`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Df {
    /// Never set.
    Unset,
    /// Always set.
    Set,
    /// As in the inner packet.
    Inherit,
}

/// What is set on a macvlan.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Macvlan {
    /// The device that it sits on.
    pub lower: IfName,
    /// Its mode.
    pub mode: MacvlanMode,
}

/// `IFLA_MACVLAN_MODE`, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MacvlanMode {
    /// `bridge`: ours.
    Bridge,
    /// `private`, `vepa`, `passthru`, `source`: never ours.
    Other,
}
