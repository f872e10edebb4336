//! What this host should have in its kernel.

use crate::config::{Mode, Segment, Stp, Transport};
use crate::id::{IfName, Mac, SegmentId, SegmentName, Term};
use crate::kernel::device::{Admin, Bridge, Df, LinkKind, Macvlan, MacvlanMode, Switch, Vxlan};
use crate::kernel::firewall;
use crate::kernel::inputs::{BridgeNetfilter, Inputs, SegmentInputs, SegmentRole, ThisHost};
use crate::kernel::mark::{self, Alias, gateway_mac};
use crate::kernel::observed::{Flood, MulticastGroup};
use crate::kernel::sysctl::Sysctl;
use crate::kernel::table::{Table, TableName};
use crate::mtu;
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// With spanning tree a port forwards after about two and a half times this; the kernel's default of 15 s would make
/// DHCP clients give up. In hundredths of a second, and the least that the kernel takes.
const FORWARD_DELAY: u32 = 200;

/// The whole wanted state; only what it names is ever touched, and what carries our mark without being named goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// Our links by name.
    pub links: BTreeMap<IfName, DesiredLink>,
    /// Guest ports that are to be plugged into a bridge again, because they left it only when it was deleted.
    pub orphans: BTreeMap<IfName, IfName>,
    /// The addresses that stay: `host_address`, joined groups. Gateway addresses are the address worker's.
    pub addresses: BTreeMap<(IfName, IpNet), MulticastGroup>,
    /// Gateway addresses where they must never be: on the bridge itself, beside the gateway's own link.
    pub misplaced: BTreeSet<(IfName, IpAddr)>,
    /// The links of active gateways, whose addresses are the address worker's: no plan touches the addresses named here.
    pub gateways: BTreeMap<SegmentName, Gateway>,
    /// Flood lists, remote MACs and local MACs by device.
    pub fdb: BTreeMap<IfName, Entries>,
    /// Settings of our links and of the uplinks, and bridge netfilter.
    pub sysctls: BTreeMap<Sysctl, u32>,
    /// Our nftables tables; one that is not here is removed.
    pub tables: BTreeMap<TableName, Table>,
}

/// A link as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredLink {
    /// Its kind, with all settings.
    pub kind: LinkKind,
    /// Hashed, and so the same after each restart.
    pub mac: Mac,
    /// Its MTU in bytes; `None`: as the kernel made it.
    pub mtu: Option<u32>,
    /// Up, or made ready but down.
    pub admin: Admin,
    /// The bridge that it is a port of.
    pub master: Option<IfName>,
    /// The mark that makes it ours.
    pub alias: String,
}

/// A gateway that is active here: what the address worker needs to take it over and to hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// The macvlan, `gw-<segment>`.
    pub link: IfName,
    /// The bridge below it.
    pub bridge: IfName,
    /// The virtual MAC, the same on every host.
    pub mac: Mac,
    /// The mark with the term, to be set before the address.
    pub alias: String,
    /// The addresses with the subnet's prefix length.
    pub addresses: Vec<IpNet>,
    /// The term that it was elected for.
    pub term: Term,
}

/// The forwarding entries that a device should have. A map of remote MACs may be large: it is the only copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries {
    /// As in [`crate::kernel::observed::Fdb::flood`].
    pub flood: BTreeSet<Flood>,
    /// The VTEP behind which each guest is.
    pub remote: BTreeMap<Mac, IpAddr>,
    /// The gateway's MAC while the active gateway is not known, as after a start: an entry for it stays as it is.
    pub unsettled: Option<Mac>,
    /// On a bridge: MACs that are local.
    pub local: BTreeSet<Mac>,
}

/// What a host should have, given all that decides it.
pub fn derive(inputs: &Inputs) -> Desired {
    let mut desired = Desired::default();
    for (&id, it) in &inputs.segments {
        segment(id, it, &inputs.host, &mut desired);
        if it.has_gateway_link() {
            gateway(id, it, &inputs.host, &mut desired);
        }
    }
    if inputs.bridge_netfilter == BridgeNetfilter::SwitchOff && !inputs.segments.is_empty() {
        let calls = [
            Sysctl::BridgeNetfilter4,
            Sysctl::BridgeNetfilter6,
            Sysctl::BridgeNetfilterArp,
        ];
        desired.sysctls.extend(calls.map(|call| (call, 0)));
    }
    desired.tables = firewall::tables(inputs)
        .into_iter()
        .map(|table| (table.name, table))
        .collect();
    desired
}

/// The bridge and the VXLAN device, alike on every host of the segment.
fn segment(id: SegmentId, it: &SegmentInputs, host: &ThisHost, desired: &mut Desired) {
    let Segment { name, bridge, .. } = &it.segment;
    let size = Some(mtu::device(host.underlay_mtu, it.mtu));
    let alias = Alias {
        segment: name.clone(),
        term: None,
    }
    .to_string();
    let own = mark::hashed_mac(0x02, &[b"bridge", &id.0.to_be_bytes(), &host.id.0.to_be_bytes()]);
    let link = |kind, mac, master| DesiredLink {
        kind,
        mac,
        mtu: size,
        admin: Admin::Up,
        master,
        alias: alias.clone(),
    };
    let vxlan = name.vxlan();
    let kind = LinkKind::Vxlan(Vxlan {
        vni: Some(it.segment.vni),
        local: Some(it.local(host)),
        port: it.segment.port,
        // What a guest lets be fragmented arrives in fragments; what it does not is answered "fragmentation needed".
        df: Df::Inherit,
        learning: Switch::On,
        lower: None,
        group: None,
    });
    desired.links.insert(
        vxlan.clone(),
        link(kind, mark::vxlan_mac(id, host.id), Some(bridge.clone())),
    );
    let stp = match it.segment.stp {
        Stp::On => Switch::On,
        Stp::Off => Switch::Off,
    };
    let kind = LinkKind::Bridge(Bridge {
        stp,
        forward_delay: FORWARD_DELAY,
        multicast_snooping: Switch::Off,
    });
    desired.links.insert(bridge.clone(), link(kind, own, None));

    // Without arp_ignore the bridge would answer for the gateway's address, and with its own MAC.
    desired.sysctls.insert(Sysctl::ArpIgnore(bridge.clone()), 1);
    desired.sysctls.insert(Sysctl::AcceptRa(bridge.clone()), 0);
    desired.sysctls.insert(Sysctl::AcceptRa(vxlan.clone()), 0);
    if let Some(address) = it.host_address {
        desired
            .addresses
            .insert((bridge.clone(), IpNet::V4(address)), MulticastGroup::No);
        // On the gateway host the subnet's route leads to the gateway's link, not back to the bridge.
        desired.sysctls.insert(Sysctl::ReversePath(bridge.clone()), 2);
    }
    if let Some(gateway) = it.gateway_address() {
        desired.misplaced.insert((bridge.clone(), gateway.addr()));
    }
    let entries = entries(id, it, host, desired);
    desired.fdb.insert(vxlan, entries);
}

/// Where the VXLAN device sends frames. One device carries one address family.
fn entries(id: SegmentId, it: &SegmentInputs, host: &ThisHost, desired: &mut Desired) -> Entries {
    let local = it.local(host);
    let reachable = |vtep: &IpAddr| vtep.is_ipv4() == local.is_ipv4() && *vtep != local;
    let peers: BTreeSet<IpAddr> = it.peers.union(&it.static_peers).copied().filter(reachable).collect();
    let flood = match &it.segment.transport {
        Transport::Unicast => peers.iter().map(|&to| Flood { to, via: None }).collect(),
        Transport::Multicast { group, interface } => {
            let via = interface.as_ref().unwrap_or(&host.underlay);
            desired
                .addresses
                .insert((via.clone(), IpNet::from(*group)), MulticastGroup::Joined);
            BTreeSet::from([Flood {
                to: *group,
                via: Some(via.clone()),
            }])
        }
    };
    let gateway = gateway_mac(id);
    let (here, unsettled) = match it.role {
        SegmentRole::Gateway { .. } => (Some(gateway), None),
        SegmentRole::Standby | SegmentRole::Candidate | SegmentRole::Preparing => {
            (None, (!it.endpoints.contains_key(&gateway)).then_some(gateway))
        }
    };
    let elsewhere = |(mac, vtep): (&Mac, &IpAddr)| {
        let unicast = *mac != Mac::ZERO && !mac.is_multicast() && Some(*mac) != here;
        (unicast && peers.contains(vtep)).then_some((*mac, *vtep))
    };
    Entries {
        flood,
        remote: it.endpoints.iter().filter_map(elsewhere).collect(),
        unsettled,
        local: BTreeSet::new(),
    }
}

/// The gateway's own link. Until the gateway is active here it stays down and its MAC unknown to the bridge: up, it
/// would take the frames that are meant for the active gateway.
fn gateway(id: SegmentId, it: &SegmentInputs, host: &ThisHost, desired: &mut Desired) {
    let Segment { name, bridge, mode, .. } = &it.segment;
    let link = name.gateway();
    let mac = gateway_mac(id);
    let (admin, term) = match it.role {
        SegmentRole::Gateway { term } => (Admin::Up, Some(term)),
        SegmentRole::Standby | SegmentRole::Candidate | SegmentRole::Preparing => (Admin::Down, None),
    };
    let alias = Alias {
        segment: name.clone(),
        term,
    }
    .to_string();
    let kind = LinkKind::Macvlan(Macvlan {
        lower: bridge.clone(),
        mode: MacvlanMode::Bridge,
    });
    // What the host itself sends or forwards into the segment must fit: here the small MTU makes the kernel say so.
    let mtu = Some(it.mtu.bytes());
    desired.links.insert(
        link.clone(),
        DesiredLink {
            kind,
            mac,
            mtu,
            admin,
            master: None,
            alias: alias.clone(),
        },
    );
    desired.sysctls.insert(Sysctl::ArpIgnore(link.clone()), 1);
    desired.sysctls.insert(Sysctl::AcceptRa(link.clone()), 0);
    if matches!(mode, Mode::Nat | Mode::Routed) {
        // Forwarding is asked of the interface that a packet comes in by; the host's other interfaces stay as they are.
        desired.sysctls.insert(Sysctl::Forwarding4(link.clone()), 1);
        desired.sysctls.extend(
            host.uplinks
                .keys()
                .map(|uplink| (Sysctl::Forwarding4(uplink.clone()), 1)),
        );
    }
    if let Some(term) = term {
        desired.fdb.entry(bridge.clone()).or_default().local.insert(mac);
        let addresses = it.gateway_address().into_iter().collect();
        desired.gateways.insert(
            name.clone(),
            Gateway {
                link,
                bridge: bridge.clone(),
                mac,
                alias,
                addresses,
                term,
            },
        );
    }
}
