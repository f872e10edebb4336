//! All that decides what this host should have in its kernel.

use crate::config::{Mode, Segment};
use crate::id::{HostId, IfName, Mac, SegmentId, Term};
use crate::kernel::mark::GATEWAY_MAC;
use crate::mtu::{OverlayMtu, UnderlayMtu};
use ipnet::{IpNet, Ipv4Net};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// All that decides what this host should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inputs {
    /// What the host itself is, whatever its segments.
    pub host: ThisHost,
    /// The segments that this host has.
    pub segments: BTreeMap<SegmentId, SegmentInputs>,
    /// Every VTEP that is known in the cluster, static peers and this host included; also of failed hosts.
    pub members: BTreeSet<IpAddr>,
    /// The gRPC ports of the members.
    pub cluster_ports: BTreeSet<u16>,
    /// Whether somebody else on the host needs bridged frames to pass the IP firewall.
    pub bridge_netfilter: BridgeNetfilter,
    /// Whether connections are tracked on this host.
    pub tracking: Tracking,
}

impl Inputs {
    /// The VTEPs of all others in the cluster.
    pub fn others(&self) -> impl Iterator<Item = IpAddr> {
        let own = self.host.vtep;
        self.members.iter().copied().filter(move |member| *member != own)
    }

    /// Whether all that is new are guests on other hosts, none of whom was known elsewhere. A gateway is no guest.
    pub fn adds_only_guests(&self, before: &Self) -> bool {
        let Self {
            host,
            segments,
            members,
            cluster_ports,
            bridge_netfilter,
            tracking,
        } = self;
        *host == before.host
            && *members == before.members
            && *cluster_ports == before.cluster_ports
            && *bridge_netfilter == before.bridge_netfilter
            && *tracking == before.tracking
            && segments.keys().eq(before.segments.keys())
            && segments
                .values()
                .zip(before.segments.values())
                .all(|(now, before)| now.adds_only_guests(before))
    }
}

/// What is known of the host itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThisHost {
    /// Goes into the MACs of its devices.
    pub id: HostId,
    /// The outer source address of its VXLAN.
    pub vtep: IpAddr,
    /// The interface that carries VXLAN.
    pub underlay: IfName,
    /// The MTU of the route to the peers.
    pub underlay_mtu: UnderlayMtu,
    /// The interfaces that guests may leave by, each with the networks connected there that are not for them.
    pub uplinks: BTreeMap<IfName, BTreeSet<Ipv4Net>>,
}

/// `net.bridge.bridge-nf-call-*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BridgeNetfilter {
    /// Nobody else needs it: switched off, put back on leave.
    SwitchOff,
    /// Docker or Kubernetes may need it, and it is off at the moment: left alone.
    LeftOff,
    /// Docker or Kubernetes need it, and it is on: left alone, and the rules make do with it.
    LeftOn,
}

/// Whether the kernel tracks connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracking {
    /// Nobody asks for it, unless our own rules do.
    Off,
    /// It is on, as for libvirt's own networks or a stateful firewall; while our own rules ask for it, that may be all.
    On,
}

/// One segment on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInputs {
    /// What the operator wrote.
    pub segment: Segment,
    /// The outer source address where it is not the host's: that of the NIC which carries a multicast segment.
    pub vtep: Option<IpAddr>,
    /// The MTU that its guests get by DHCP.
    pub mtu: OverlayMtu,
    /// The VTEPs of the peers that have it and are neither failed nor left.
    pub peers: BTreeSet<IpAddr>,
    /// The static peers that have it.
    pub static_peers: BTreeSet<IpAddr>,
    /// Where the guests on other hosts are; entries to a VTEP that is no (static) peer are ignored.
    pub endpoints: BTreeMap<Mac, IpAddr>,
    /// Those of them that were on a port of this host until then: that port is out of date. Any other that is heard on a port
    /// here has just come, and the cluster does not know it yet.
    pub moved_away: BTreeSet<Mac>,
    /// What this host is for it.
    pub role: SegmentRole,
    /// The ports that guests have on the bridge now, as observed: all but the VXLAN device.
    pub guest_ports: BTreeSet<IfName>,
    /// This host's own address on the bridge, resolved from `host_address`.
    pub host_address: Option<Ipv4Net>,
    /// The interfaces of somebody else's that have the gateway's address, too, for a network of their own.
    pub twins: BTreeSet<IfName>,
}

/// What this host is for a segment's gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentRole {
    /// Never the gateway.
    Standby,
    /// Another host is the active gateway, or nobody; this one may have to take over at any time. The gateway's link is made and stays down; what
    /// would cost each packet of the host is not loaded yet.
    Candidate,
    /// About to become the active gateway: everything is made ready but the address; the gateway's link stays down.
    Preparing,
    /// The active gateway.
    Gateway {
        /// The term that it was elected for; a part of the link's alias.
        term: Term,
    },
}

impl SegmentInputs {
    fn adds_only_guests(&self, before: &Self) -> bool {
        let Self {
            segment,
            vtep,
            mtu,
            peers,
            static_peers,
            endpoints,
            moved_away,
            role,
            guest_ports,
            host_address,
            twins,
        } = self;
        *moved_away == before.moved_away
            && *segment == before.segment
            && *vtep == before.vtep
            && *mtu == before.mtu
            && *peers == before.peers
            && *static_peers == before.static_peers
            && *role == before.role
            && *guest_ports == before.guest_ports
            && *host_address == before.host_address
            && *twins == before.twins
            && before
                .endpoints
                .iter()
                .all(|(mac, vtep)| endpoints.get(mac) == Some(vtep))
            && endpoints
                .keys()
                .all(|mac| mac.0[0] != GATEWAY_MAC || before.endpoints.contains_key(mac))
    }

    /// A guest that was heard on a port here stays there until the cluster has agreed where it is. A gateway is no guest.
    pub fn yield_to(&mut self, heard: &BTreeMap<Mac, IfName>) {
        let here = |mac: &Mac| heard.get(mac).is_some_and(|port| self.guest_ports.contains(port));
        let moved_away = &self.moved_away;
        self.endpoints
            .retain(|mac, _| mac.0[0] == GATEWAY_MAC || moved_away.contains(mac) || !here(mac));
    }

    /// The outer source address of its VXLAN.
    pub(super) fn local(&self, host: &ThisHost) -> IpAddr {
        self.vtep.unwrap_or(host.vtep)
    }

    /// Whether this host has the gateway's link, up or down.
    pub fn has_gateway_link(&self) -> bool {
        self.role != SegmentRole::Standby
            && self.segment.ipv4.is_some()
            && !matches!(self.segment.mode, Mode::Bridged(_))
    }

    /// Whether the gateway is active on this host, or about to be.
    pub fn hosts_gateway(&self) -> bool {
        let chosen = match self.role {
            SegmentRole::Standby | SegmentRole::Candidate => false,
            SegmentRole::Preparing | SegmentRole::Gateway { .. } => true,
        };
        chosen && self.has_gateway_link()
    }

    pub(super) fn gateway_address(&self) -> Option<IpNet> {
        let ipv4 = self.segment.ipv4.as_ref()?;
        Ipv4Net::new(ipv4.gateway, ipv4.subnet.prefix_len()).ok().map(IpNet::V4)
    }
}
