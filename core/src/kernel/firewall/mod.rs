//! The nftables tables of this host, rendered whole.
//!
//! `table inet overlayd` admits VXLAN from known VTEPs only, keeps guests away from the hosts and from each other's
//! segments, and on a gateway forwards, masquerades and clamps. `table netdev overlayd` drops what only the segment's
//! own DHCP server and router may send, where it has one, as it comes in from a guest. `table arp overlayd` keeps the
//! gateway's address from being found anywhere but in its segment. Each text replaces its table in one transaction.
//!
//! What a packet passes, in hook order:
//! ```text
//! ingress            of each guest's port: DHCP replies and router advertisements: drop
//! prerouting raw     outer VXLAN of ours: notrack
//! prerouting dstnat  port forwards
//! input              outer VXLAN of ours from unknown VTEPs: drop · guests: DHCP, DNS, echo, host_address
//! forward mangle     TCP MSS
//! forward            around the gateway: rejected · from the segment: VXLAN and gRPC to any member: drop · to the segment
//! postrouting        masquerade
//! output raw         outer VXLAN of ours: notrack
//! output dstnat      port forwards, from the gateway's host itself
//! ```
//! A hook without rules is not taken: each costs every packet of the host, outer ones too. A host that is no gateway and
//! not about to be one, or only an isolated segment's, asks for no NAT; one that has no address of its own in a segment either,
//! for no connection tracking, and unless somebody else does there is nothing to keep outer VXLAN out of. What is left to
//! those is `input`. Until a candidate's rules are there nothing is forwarded by the gateway's link.
//!
//! An `accept` ends only our own chain: the host's firewall has its say before or after. Every chain's name begins with
//! `ov_`, because nft takes some plain words for keywords. Only expressions that kernels without the bridge family's
//! `meta` and `reject` have are used: bridge ports are known by name, not by their bridge's.

mod forward;
mod inet;
mod nat;
mod render;

use crate::config::Segment;
use crate::id::{IfName, Mac};
use crate::kernel::inputs::{BridgeNetfilter, Inputs, SegmentInputs};
use crate::kernel::mark::gateway_mac;
use crate::kernel::table::{Table, TableName};
use inet::inet;
pub use render::REJECTED;
use render::{Chain, braces, quotable, quoted, render};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// A chain takes 256 devices at most.
const DEVICES: usize = 200;

/// The tables that `inputs` ask for: none without segments.
pub fn tables(inputs: &Inputs) -> Vec<Table> {
    if inputs.segments.is_empty() {
        return Vec::new();
    }
    [Some(inet(inputs)), netdev(inputs), bridge(inputs), arp(inputs)]
        .into_iter()
        .flatten()
        .collect()
}

/// Filtered where frames come in from a guest; what comes through the VXLAN device was filtered on its own host, and pays
/// nothing.
fn netdev(inputs: &Inputs) -> Option<Table> {
    let mut filtered: BTreeMap<Vec<String>, BTreeSet<&IfName>> = BTreeMap::new();
    for it in inputs.segments.values() {
        let rules = not_from_guests(&it.segment).into_iter().map(str::to_owned);
        let rules = rules.chain(told_by_the_kernel(inputs.host.vtep, it)).collect();
        let ports = it.guest_ports.iter().filter(|port| quotable(port));
        filtered.entry(rules).or_default().extend(ports);
    }
    let mut chains: Vec<Chain> = Vec::new();
    for (rules, ports) in filtered.into_iter().filter(|(rules, _)| !rules.is_empty()) {
        let ports: Vec<String> = ports.into_iter().map(quoted).collect();
        for ports in ports.chunks(DEVICES) {
            let name = format!("ov_guests_{}", chains.len());
            let hook = format!("filter hook ingress devices = {} priority filter", braces(ports));
            chains.push(Chain::base(name, hook, rules.clone()));
        }
    }
    (!chains.is_empty()).then(|| render(TableName::Netdev, &[], &chains))
}

/// What the segment's own gateway says; what it does not do may be a guest's job.
fn not_from_guests(segment: &Segment) -> Vec<&'static str> {
    let dhcp4 = segment.ipv4.as_ref().is_some_and(|ipv4| ipv4.dhcp.is_some());
    let dhcp4 = dhcp4.then_some("udp sport 67 drop");
    let router6 = segment.ipv6.is_some();
    let ipv6 = ["udp sport 547 drop", "icmpv6 type nd-router-advert drop"];
    dhcp4.into_iter().chain(ipv6.into_iter().filter(|_| router6)).collect()
}

/// Over IPv6 the kernel fragments no VXLAN, and drops in silence what a guest lets be fragmented. So it must not be: then the
/// kernel tells the guest what fits, who fragments by itself from then on.
fn told_by_the_kernel(vtep: IpAddr, it: &SegmentInputs) -> Option<String> {
    let rule = || format!("ip length > {} ip frag-off 0 ip frag-off set 0x4000", it.mtu);
    vtep.is_ipv6().then(rule)
}

/// With bridge netfilter on, a frame to the gateway is tracked when it enters the bridge, and the kernel takes what is
/// not addressed to the port's own MAC for settled before it is routed: nothing can be masqueraded then, not even once all
/// rules are there. So a candidate has this table before it is active.
fn bridge(inputs: &Inputs) -> Option<Table> {
    match inputs.bridge_netfilter {
        BridgeNetfilter::SwitchOff | BridgeNetfilter::LeftOff => return None,
        BridgeNetfilter::LeftOn => {}
    }
    let gateways = inputs.segments.iter().filter(|(_, it)| it.has_gateway_link());
    let macs: Vec<Mac> = gateways.map(|(id, _)| gateway_mac(*id)).collect();
    if macs.is_empty() {
        return None;
    }
    let rule = format!("ether daddr {} meta pkttype set host", braces(macs));
    let chain = Chain::base("ov_prerouting", "filter hook prerouting priority filter", vec![rule]);
    Some(render(TableName::Bridge, &[], &[chain]))
}

/// Asked for any of the host's addresses by whatever interface, the kernel answers, unless `arp_ignore` of all interfaces
/// says otherwise: whoever asks on the underlay for an address that is also a gateway's would take this host for it.
fn arp(inputs: &Inputs) -> Option<Table> {
    let rule = |it: &SegmentInputs| {
        let gateway = it.gateway_address()?.addr();
        let own = it.segment.name.gateway();
        let links = [&own].into_iter().chain(&it.twins).filter(|link| quotable(link));
        let links: Vec<String> = links.map(quoted).collect();
        let links = match links.as_slice() {
            [link] => link.clone(),
            _ => braces(links),
        };
        Some(format!("iifname != {links} arp daddr ip {gateway} drop"))
    };
    let rules: Vec<String> = inputs.segments.values().filter_map(rule).collect();
    let chain = Chain::base("ov_arp", "filter hook input priority filter", rules);
    (!chain.rules.is_empty()).then(|| render(TableName::Arp, &[], &[chain]))
}
