//! A segment as it holds: every value checked, every default that does not depend on the host filled in.
//!
//! Whoever has a [`Segment`] need check nothing again. What only a host can know (its own interface, its resolvers)
//! stays an `Option` and says so.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::dhcp_option::DhcpOption;
use super::range::{PortRange, Range4, Range6};
use crate::id::{IfName, Mac, SegmentName, Vni};
use crate::mtu::OverlayMtu;
use crate::time::Duration;

/// The UDP port of VXLAN (RFC 7348 section 8).
pub const VXLAN_PORT: u16 = 4789;

/// How long a lease runs where the segment does not say.
pub const DEFAULT_LEASE_TIME: Duration = Duration::from_secs(3600);

/// The shortest lease: below it renewals are most of the traffic.
pub const SHORTEST_LEASE: Duration = Duration::from_secs(10);

/// The longest lease: an address of a guest that is gone for good comes back after it.
pub const LONGEST_LEASE: Duration = Duration::from_secs(365 * 86_400);

/// One layer-2 network: one VNI, one bridge on each of its hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its name in the cluster.
    pub name: SegmentName,
    /// Its number on the wire.
    pub vni: Vni,
    /// The bridge on each host; default `br-<name>`.
    pub bridge: IfName,
    /// How frames reach the other hosts; default [`Transport::Unicast`].
    pub transport: Transport,
    /// UDP destination port of the VXLAN; default 4789.
    pub port: u16,
    /// What the gateway does for the guests; default [`Mode::Nat`].
    pub mode: Mode,
    /// Upper bound of the guests' MTU; default [`MtuBound::Auto`].
    pub mtu: MtuBound,
    /// Spanning tree on the bridge; default [`Stp::Off`].
    pub stp: Stp,
    /// The hosts that have the segment; default [`HostSelector::All`].
    pub hosts: HostSelector,
    /// Addresses of the hosts themselves on the bridge; default [`HostAddress::None`].
    pub host_address: HostAddress,
    /// IPv4 for the guests, if any.
    pub ipv4: Option<Ipv4>,
    /// IPv6 for the guests, if any.
    pub ipv6: Option<Ipv6>,
    /// Names for the guests.
    pub dns: Dns,
    /// Segments to which guests may open connections; default none.
    pub forward_to: BTreeSet<SegmentName>,
    /// Ports of the gateway host that lead to guests; default none.
    pub ports: Vec<PortForward>,
    /// An address on the uplink that moves with the gateway, with its prefix length; default none.
    pub uplink_address: Option<IpNet>,
    /// Whether guests are held to their leased MAC and addresses; default [`PortSecurity::Off`].
    pub port_security: PortSecurity,
}

/// How frames reach the other hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A copy to each host of the flood list.
    Unicast,
    /// One copy to a multicast group that every host has joined.
    Multicast {
        /// The group, IPv4 or IPv6.
        group: IpAddr,
        /// The interface on which it is joined; `None`: the host's underlay.
        interface: Option<IfName>,
    },
}

/// What the gateway does with traffic that leaves the segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Masqueraded behind the uplink's address.
    Nat,
    /// Forwarded as it is; others must have a route back.
    Routed,
    /// Not forwarded; the gateway is there for DHCP and DNS only.
    Isolated,
    /// The segment is joined with a physical network.
    Bridged(Bridged),
}

/// The physical network that a bridged segment is joined with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridged {
    /// The NIC that is taken into the bridge.
    pub interface: IfName,
    /// Which hosts take it in.
    pub on: BridgedOn,
}

/// Which hosts take the physical NIC into the bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BridgedOn {
    /// Only the gateway host, so that no loop can arise.
    GatewayHost,
    /// Every host; spanning tree breaks the loops.
    EveryHost,
}

/// An upper bound of the segment's MTU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MtuBound {
    /// As large as the underlay carries.
    Auto,
    /// At most so many bytes, and never above what the underlay carries.
    AtMost(u16),
}

impl MtuBound {
    /// The bound, if there is one.
    pub fn bytes(self) -> Option<OverlayMtu> {
        match self {
            Self::Auto => None,
            Self::AtMost(bytes) => Some(OverlayMtu::new(u32::from(bytes))),
        }
    }
}

/// Spanning tree on the segment's bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stp {
    /// Ports forward at once.
    Off,
    /// On, with a forward delay of two seconds.
    On,
}

/// The hosts that have a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostSelector {
    /// Every host of the cluster.
    All,
    /// The hosts that carry all of these labels.
    Labels(BTreeMap<String, String>),
}

/// Addresses of the hosts themselves on a segment's bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostAddress {
    /// The hosts have none.
    None,
    /// Each host takes one from the pool.
    Auto,
    /// The hosts named have the addresses given; the others have none.
    Named(BTreeMap<String, IpAddr>),
}

/// IPv4 for the guests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ipv4 {
    /// The subnet; its host bits are zero, its length is 1 to 30.
    pub subnet: Ipv4Net,
    /// The gateway's address, a host address of the subnet; default the first.
    pub gateway: Ipv4Addr,
    /// How guests get addresses; `None`: not from us.
    pub dhcp: Option<Dhcp4>,
}

/// The DHCPv4 service of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dhcp4 {
    /// What may be handed out; `None`: every host address of the subnet that is not somebody's already.
    pub range: Option<Range4>,
    /// How long a lease runs; default one hour.
    pub lease_time: Duration,
    /// How many leases may be held at once; `None`: as many as the range has addresses.
    pub max_leases: Option<u32>,
    /// Addresses that are kept for certain guests, in or outside the range.
    pub reservations: Vec<Reservation>,
    /// What guests boot that have no reservation, or one that does not say.
    pub boot: NetworkBoot,
    /// Options handed to the guests as they are, by number (1 to 254, none that the server itself sets).
    pub options: BTreeMap<u8, DhcpOption>,
}

/// An address that is kept for one guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// The guest's MAC.
    pub mac: Mac,
    /// The address that no other guest gets.
    pub address: Ipv4Addr,
    /// Its host name (DHCP option 12), if any.
    pub hostname: Option<String>,
    /// What it boots.
    pub boot: NetworkBoot,
}

/// What guests that boot from the network are told; of a reservation, in place of what the segment says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkBoot {
    /// The server that has the boot file (`siaddr`, option 66).
    pub next_server: Option<Ipv4Addr>,
    /// The boot file (`file`, option 67).
    pub boot_file: Option<BootFile>,
}

/// Which file a guest boots; each name has 1 to 255 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BootFile {
    /// The same for all.
    Same(String),
    /// By what the guest can start.
    ByClient {
        /// By the number of its architecture (option 93, RFC 4578 section 2.1).
        architectures: BTreeMap<u16, String>,
        /// For iPXE, whatever the architecture: what the others load it for.
        ipxe: Option<String>,
    },
}

/// IPv6 for the guests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ipv6 {
    /// The prefix; its host bits are zero.
    pub subnet: Ipv6Net,
    /// The gateway's address, in the prefix; default the first after the prefix itself.
    pub gateway: Ipv6Addr,
    /// The DHCPv6 service, if any.
    pub dhcp: Option<Dhcp6>,
}

/// The DHCPv6 service of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dhcp6 {
    /// What may be handed out.
    pub range: Range6,
}

/// Names for the guests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    /// The search domain of the guests (DHCP option 15).
    pub domain: Option<String>,
    /// Resolvers that guests are sent to; empty: the gateway host's own.
    pub upstream: Vec<IpAddr>,
    /// Names with a fixed address.
    pub hosts: BTreeMap<String, IpAddr>,
}

/// Ports of the gateway host that lead to a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortForward {
    /// The same on both sides.
    pub protocol: Protocol,
    /// The ports on the gateway host.
    pub listen: PortRange,
    /// The guest, and the port that the first of `listen` leads to; the others follow in order.
    pub to: SocketAddr,
}

/// A transport protocol with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// `tcp`
    Tcp,
    /// `udp`
    Udp,
}

/// Whether guests are held to what they leased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortSecurity {
    /// A guest may send from any address.
    Off,
    /// A guest port may use only its leased MAC and addresses.
    On,
}

impl Dns {
    /// Those resolvers of the segment's own that a DHCPv4 server can name.
    pub fn upstream_v4(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.upstream.iter().filter_map(|address| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        })
    }
}

impl Segment {
    /// The gateway's IPv4 address, if the segment has IPv4.
    pub fn gateway_v4(&self) -> Option<Ipv4Addr> {
        self.ipv4.as_ref().map(|ipv4| ipv4.gateway)
    }

    /// Whether a host with these labels has the segment.
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        match &self.hosts {
            HostSelector::All => true,
            HostSelector::Labels(wanted) => wanted.iter().all(|(key, value)| labels.get(key) == Some(value)),
        }
    }

    /// The addresses that DHCPv4 may hand out, in order and disjoint: the range, or where none is given all host
    /// addresses, without the gateway's and the hosts' own. Reserved addresses are not taken out. Empty without DHCP.
    pub fn pool_v4(&self) -> Vec<Range4> {
        let Some((ipv4, dhcp)) = self.ipv4.as_ref().and_then(|ipv4| Some((ipv4, ipv4.dhcp.as_ref()?))) else {
            return Vec::new();
        };
        let mut taken = BTreeSet::from([ipv4.gateway]);
        if let HostAddress::Named(addresses) = &self.host_address {
            taken.extend(addresses.values().filter_map(|address| match address {
                IpAddr::V4(address) => Some(*address),
                IpAddr::V6(_) => None,
            }));
        }
        dhcp.range.unwrap_or_else(|| ipv4.hosts()).without(&taken)
    }
}

impl BootFile {
    /// Every file that it names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let (same, by_client) = match self {
            BootFile::Same(file) => (Some(file), None),
            BootFile::ByClient { architectures, ipxe } => (None, Some(architectures.values().chain(ipxe))),
        };
        same.into_iter()
            .chain(by_client.into_iter().flatten())
            .map(String::as_str)
    }
}

impl Ipv4 {
    /// All host addresses of the subnet: without the network's own and the broadcast address.
    pub fn hosts(&self) -> Range4 {
        let (network, broadcast) = (self.subnet.network().to_bits(), self.subnet.broadcast().to_bits());
        Range4 {
            first: Ipv4Addr::from_bits(network.saturating_add(1)),
            last: Ipv4Addr::from_bits(broadcast.saturating_sub(1)),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}
