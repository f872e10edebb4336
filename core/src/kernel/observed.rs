//! What this host has in its kernel, as the edge has just read it.
//!
//! Nothing here is remembered: a value of [`Host`] is made anew for each plan. It holds foreign objects, too, as far
//! as they may be in the way; the mark in a link's alias tells them from ours.

use crate::id::{IfName, Mac, SegmentName, Term, Vni};
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// The number that marks our addresses (`IFA_PROTO`) and routes (`rtm_protocol`); free in iproute2's `rt_protos`.
pub const PROTOCOL: u8 = 79;

/// All that a plan looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// Every link of the network namespace, ours or not.
    pub links: BTreeMap<IfName, Link>,
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
    /// What it is.
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

/// `IFF_UP` or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Admin {
    /// Set up.
    Up,
    /// Set down.
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
    /// Anything else.
    Other,
}

/// An address on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// How long the kernel keeps it.
    pub lifetime: Lifetime,
    /// Whether it carries our [`PROTOCOL`] (kernels before 5.18 cannot tell: [`Mark::Foreign`]).
    pub mark: Mark,
    /// Whether the kernel joined the multicast group for it (`IFA_F_MCAUTOJOIN`).
    pub group: Group,
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
    /// It does not.
    Foreign,
}

/// Whether an address is a multicast group that the kernel has joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// `autojoin`.
    Joined,
    /// `autojoin`, but the kernel's own `local` route for it swallows what this host sends to the group.
    Shadowed,
    /// An ordinary address.
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
    pub bridge: BTreeMap<Mac, Origin>,
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
    /// The VTEP.
    pub vtep: IpAddr,
    /// Who made the entry.
    pub origin: Origin,
}

/// Who made a forwarding entry, and what that means to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Learnt by the kernel; goes by itself.
    Learned,
    /// `extern_learn`: ours. It does not age, yet yields to a frame that shows the MAC elsewhere.
    External,
    /// `static` (`NUD_NOARP`).
    Static,
    /// `permanent`: on a bridge a local address, on a VXLAN device an entry that never yields.
    Permanent,
}

/// A kernel setting that a plan may have to change; all are plain numbers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sysctl {
    /// `net.ipv4.conf.IF.forwarding`
    Forwarding4(IfName),
    /// `net.ipv4.conf.IF.arp_ignore`
    ArpIgnore(IfName),
    /// `net.ipv4.conf.IF.rp_filter`
    ReversePath(IfName),
    /// `net.ipv6.conf.IF.accept_ra`
    AcceptRa(IfName),
    /// `net.bridge.bridge-nf-call-iptables`
    BridgeNetfilter4,
    /// `net.bridge.bridge-nf-call-ip6tables`
    BridgeNetfilter6,
    /// `net.bridge.bridge-nf-call-arptables`
    BridgeNetfilterArp,
}

impl Sysctl {
    /// The path below `/proc/sys`.
    pub fn path(&self) -> String {
        match self {
            Self::Forwarding4(link) => format!("net/ipv4/conf/{link}/forwarding"),
            Self::ArpIgnore(link) => format!("net/ipv4/conf/{link}/arp_ignore"),
            Self::ReversePath(link) => format!("net/ipv4/conf/{link}/rp_filter"),
            Self::AcceptRa(link) => format!("net/ipv6/conf/{link}/accept_ra"),
            Self::BridgeNetfilter4 => "net/bridge/bridge-nf-call-iptables".to_owned(),
            Self::BridgeNetfilter6 => "net/bridge/bridge-nf-call-ip6tables".to_owned(),
            Self::BridgeNetfilterArp => "net/bridge/bridge-nf-call-arptables".to_owned(),
        }
    }

    /// The interface whose setting it is, if it belongs to one.
    pub const fn link(&self) -> Option<&IfName> {
        match self {
            Self::Forwarding4(link) | Self::ArpIgnore(link) | Self::ReversePath(link) | Self::AcceptRa(link) => {
                Some(link)
            }
            Self::BridgeNetfilter4 | Self::BridgeNetfilter6 | Self::BridgeNetfilterArp => None,
        }
    }
}

/// As `sysctl -w` takes it: with slashes, because an interface's name may have dots.
impl fmt::Display for Sysctl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}

/// Our nftables tables, one for each family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TableName {
    /// `table inet overlayd`
    Inet,
    /// `table netdev overlayd`
    Netdev,
    /// `table bridge overlayd`
    Bridge,
}

impl TableName {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Inet, Self::Netdev, Self::Bridge];
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inet => "inet overlayd",
            Self::Netdev => "netdev overlayd",
            Self::Bridge => "bridge overlayd",
        })
    }
}

/// What a table says about itself: an empty chain whose name holds two hashes.
///
/// After loading a table's text the edge lists it (`nft -j list table`), strips handles, counters and the seal itself,
/// hashes the rest with [`Seal::hash`], and adds the chain. A table is exactly ours if its seal names the wanted text
/// *and* the listing read now hashes to what the seal names; any hand-made change to any rule, set, policy or chain
/// breaks the second. [`Host::tables`] holds the seal only where the second is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seal {
    /// The hash of the text that was loaded.
    pub text: u64,
    /// The hash of the listing right after it was loaded.
    pub listing: u64,
}

impl Seal {
    /// What the names of these chains begin with.
    pub const PREFIX: &str = "seal_";

    /// The hash that both halves of a seal use; not secret, stable across versions of this program.
    pub fn hash(bytes: &[u8]) -> u64 {
        siphasher::sip::SipHasher13::new_with_keys(0x6f76_6572, 0x6c61_7964).hash(bytes)
    }
}

/// The chain's name.
impl fmt::Display for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:016x}_{:016x}", Self::PREFIX, self.text, self.listing)
    }
}

impl FromStr for Seal {
    type Err = NoSeal;

    fn from_str(chain: &str) -> Result<Self, NoSeal> {
        let half = |text: &str| (text.len() == 16).then(|| u64::from_str_radix(text, 16).ok()).flatten();
        chain
            .strip_prefix(Self::PREFIX)
            .and_then(|rest| rest.split_once('_'))
            .and_then(|(text, listing)| {
                Some(Self {
                    text: half(text)?,
                    listing: half(listing)?,
                })
            })
            .ok_or(NoSeal)
    }
}

/// The chain is no seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a seal")]
pub struct NoSeal;

/// The mark in a link's alias: `overlayd:<segment>`, and `overlayd:<segment>:<term>` on a serving gateway's link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// The segment that the link belongs to.
    pub segment: SegmentName,
    /// The term that the gateway serves in.
    pub term: Option<Term>,
}

impl fmt::Display for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "overlayd:{}", self.segment)?;
        self.term.map_or(Ok(()), |term| write!(f, ":{term}"))
    }
}

impl FromStr for Alias {
    type Err = NoAlias;

    fn from_str(alias: &str) -> Result<Self, NoAlias> {
        let rest = alias.strip_prefix("overlayd:").ok_or(NoAlias)?;
        let (segment, term) = match rest.split_once(':') {
            Some((segment, term)) => (segment, Some(Term(term.parse().map_err(|_| NoAlias)?))),
            None => (rest, None),
        };
        Ok(Self {
            segment: SegmentName::new(segment).map_err(|_| NoAlias)?,
            term,
        })
    }
}

/// The alias is not our mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a mark of overlayd")]
pub struct NoAlias;

impl Host {
    /// The links that `bridge` has as ports, with their names.
    pub fn ports<'a>(&'a self, bridge: &'a IfName) -> impl Iterator<Item = (&'a IfName, &'a Link)> {
        self.links
            .iter()
            .filter(move |(_, link)| link.master.as_ref() == Some(bridge))
    }
}

/// The first byte of every gateway's virtual MAC: locally administered, and told from the bridges' `02`.
pub const GATEWAY_MAC: u8 = 0x0e;

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
