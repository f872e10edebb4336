//! What this host has in its kernel, as the edge has just read it.
//!
//! Nothing here is remembered: a value of [`Observed`] is made anew for each plan. It holds foreign objects, too, as far
//! as they may be in the way; the mark in a link's alias distinguishes them from ours.

use crate::id::{IfName, Mac};
use crate::kernel::device::{AddrGen, Admin, LinkKind};
use crate::kernel::mark::Alias;
use crate::kernel::sysctl::Sysctl;
use crate::kernel::table::{Seal, TableName};
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// All that a plan looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Every link of the network namespace, ours or not.
    pub links: BTreeMap<IfName, Link>,
    /// The kernel's numbers of links: they stay when a link is renamed, and are not given again soon, as a name may be.
    pub indexes: BTreeMap<IfName, u32>,
    /// The addresses of our links, and of other links those with our mark or a joined group.
    pub addresses: BTreeMap<(IfName, IpNet), Address>,
    /// Forwarding entries by device, for our VXLAN devices and our bridges (the device itself, not its ports).
    pub fdb: BTreeMap<IfName, Fdb>,
    /// The guests that bridges have heard on their ports: MAC and port, by bridge.
    pub guests: BTreeMap<IfName, BTreeMap<Mac, IfName>>,
    /// The sysctls that the desired state names, as far as the kernel has them; one that is not here does not exist.
    pub sysctls: BTreeMap<Sysctl, u32>,
    /// Our nftables tables that are there, sealed or not.
    pub tables: BTreeMap<TableName, Option<Seal>>,
}

/// One network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its kind, with the settings that we make of it.
    pub kind: LinkKind,
    /// Its Ethernet address.
    pub mac: Mac,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Whether it is set up (`IFF_UP`, not its carrier).
    pub admin: Admin,
    /// The bridge (or other device) that it is a port of.
    pub master: Option<IfName>,
    /// Its alias, empty if it has none.
    pub alias: String,
    /// Whether the kernel makes IPv6 link-local addresses on it.
    pub addr_gen: AddrGen,
}

/// An address on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// How long the kernel keeps it.
    pub lifetime: Lifetime,
    /// Whether it carries our [`PROTOCOL`](super::mark::PROTOCOL) (kernels before 5.18 cannot tell: [`Mark::Foreign`]).
    pub mark: Mark,
    /// Whether the kernel joined the multicast group for it (`IFA_F_MCAUTOJOIN`).
    pub group: MulticastGroup,
}

/// How long an address stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lifetime {
    /// Until it is removed.
    Forever,
    /// So many seconds from now, if nobody renews it.
    Seconds(u32),
}

/// Whether an object says that it is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// It carries our mark.
    Ours,
    /// It does not, or the kernel cannot tell.
    Foreign,
}

/// Whether an address is a multicast group that the kernel has joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MulticastGroup {
    /// `autojoin`.
    Joined,
    /// `autojoin`, but the kernel's own `local` route for it swallows what this host sends to the group.
    Shadowed,
    /// A unicast address.
    No,
}

/// The forwarding entries of one device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fdb {
    /// On a VXLAN device: where frames to unknown and to many go (the all-zero MAC's destinations).
    pub flood: BTreeSet<Flood>,
    /// On a VXLAN device, its own table (`self`): where a MAC is.
    pub remote: BTreeMap<Mac, Remote>,
    /// In the bridge's table (`master`): the MACs behind this port; on the bridge itself its local MACs.
    pub bridge: BTreeMap<Mac, FdbOrigin>,
}

/// One destination of the flood list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flood {
    /// A VTEP, or a multicast group.
    pub to: IpAddr,
    /// The NIC to send to a group with.
    pub via: Option<IfName>,
}

/// Where a VXLAN device sends frames for a MAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remote {
    /// The outer destination.
    pub vtep: IpAddr,
    /// Who made the entry.
    pub origin: FdbOrigin,
}

/// Who made a forwarding entry, and what that means to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FdbOrigin {
    /// Learnt by the kernel; goes by itself.
    Learned,
    /// `extern_learn`: ours. It does not age, yet yields to a frame that shows the MAC elsewhere.
    External,
    /// `static` (`NUD_NOARP`).
    Static,
    /// `permanent`: on a bridge a local address, on a VXLAN device an entry that never yields.
    Permanent,
}

impl Observed {
    /// The links that `bridge` has as ports, with their names.
    pub fn ports<'a>(&'a self, bridge: &'a IfName) -> impl Iterator<Item = (&'a IfName, &'a Link)> {
        self.links
            .iter()
            .filter(move |(_, link)| link.master.as_ref() == Some(bridge))
    }

    /// The ports of our bridges that are not ours.
    pub fn guest_ports(&self) -> BTreeMap<IfName, Vec<IfName>> {
        let ours = self
            .links
            .iter()
            .filter(|(_, link)| matches!(link.kind, LinkKind::Bridge(_)) && link.mark().is_some());
        ours.map(|(bridge, _)| {
            let guests = self.ports(bridge).filter(|(_, link)| link.mark().is_none());
            (bridge.clone(), guests.map(|(name, _)| name.clone()).collect())
        })
        .collect()
    }
}

impl Link {
    /// Whether a link of this name is one of ours: it has our mark, and a name and kind that we give.
    pub fn is_ours(&self, name: &IfName) -> bool {
        self.mark().is_some_and(|alias| match &self.kind {
            LinkKind::Bridge(_) => true,
            LinkKind::Vxlan(_) => *name == alias.segment.vxlan(),
            LinkKind::Macvlan(_) => *name == alias.segment.gateway(),
            LinkKind::Other => false,
        })
    }

    /// The mark in its alias, if it has ours.
    pub fn mark(&self) -> Option<Alias> {
        self.alias.parse().ok()
    }
}
