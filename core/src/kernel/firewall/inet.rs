//! `table inet overlayd`: what comes in to the host, and outer VXLAN; what guests send on is in the other files.

use super::forward::{forward, from_segment, to_members, to_segment};
use super::nat::{masquerade, own_dstnat, port_forwards};
use super::render::{Chain, REJECT, REJECTED, Set, braces, quotable, quoted, render};
use crate::config::{Mode, Segment};
use crate::kernel::inputs::{Inputs, SegmentInputs, Tracking};
use crate::kernel::table::{Table, TableName};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

pub(super) fn inet(inputs: &Inputs) -> Table {
    let segments: Vec<&SegmentInputs> = inputs.segments.values().collect();
    let gateways: Vec<&SegmentInputs> = segments.iter().copied().filter(|it| it.hosts_gateway()).collect();
    // A name that nft cannot spell leads nowhere, instead of making it refuse the whole table.
    let mut uplinks = inputs.host.uplinks.clone();
    uplinks.retain(|link, _| quotable(link));
    let each = |rules: &dyn Fn(&SegmentInputs) -> Vec<String>| gateways.iter().flat_map(|it| rules(it)).collect();
    let tracked = inputs.tracking == Tracking::On || segments.iter().any(|it| tracks(it));
    let untracked: &[&SegmentInputs] = if tracked { &segments } else { &[] };
    let mut chains = vec![
        Chain::base(
            "ov_raw_in",
            "filter hook prerouting priority raw",
            raw_in(inputs, untracked),
        ),
        Chain::base("ov_raw_out", "filter hook output priority raw", raw_out(untracked)),
        Chain::base(
            "ov_dstnat",
            "nat hook prerouting priority dstnat",
            each(&|it| port_forwards(it, uplinks.keys())),
        ),
        own_dstnat(&gateways),
        Chain::base(
            "ov_input",
            "filter hook input priority filter - 5",
            input(inputs, &segments),
        ),
        Chain::base("ov_mangle", "filter hook forward priority mangle", each(&mangle)),
        Chain::base(
            "ov_forward",
            "filter hook forward priority filter - 5",
            forward(&segments, &gateways),
        ),
        Chain::base(
            "ov_srcnat",
            "nat hook postrouting priority srcnat",
            each(&|it| masquerade(it, uplinks.keys())),
        ),
    ];
    for it in &segments {
        chains.push(Chain::jumped_to(format!("ov_host_{}", it.segment.name), to_host(it)));
    }
    let to_members = to_members(inputs, &segments);
    for it in &gateways {
        let name = &it.segment.name;
        chains.push(Chain::jumped_to(
            format!("ov_from_{name}"),
            from_segment(it, &gateways, &uplinks, &to_members),
        ));
        chains.push(Chain::jumped_to(format!("ov_to_{name}"), to_segment(it)));
    }
    chains.retain(|chain| chain.hook.is_none() || !chain.rules.is_empty());
    let counts = gateways.iter().any(|it| it.segment.mode == Mode::Nat).then_some(Set {
        name: REJECTED,
        kind: "type ifname . ifname\nsize 64\nflags dynamic,timeout\ntimeout 10m",
        elements: Vec::new(),
    });
    let sets: Vec<Set> = sets(inputs).into_iter().chain(counts).collect();
    render(TableName::Inet, &sets, &chains)
}

fn sets(inputs: &Inputs) -> [Set; 3] {
    let subnets = inputs.segments.values().filter_map(|it| it.segment.ipv4.as_ref());
    let member = |v4: bool| {
        inputs
            .members
            .iter()
            .filter(move |it| it.is_ipv4() == v4)
            .map(IpAddr::to_string)
            .collect()
    };
    [
        Set {
            name: "members4",
            kind: "type ipv4_addr",
            elements: member(true),
        },
        Set {
            name: "members6",
            kind: "type ipv6_addr",
            elements: member(false),
        },
        Set {
            name: "subnets4",
            kind: "type ipv4_addr\nflags interval",
            elements: subnets.map(|ipv4| ipv4.subnet.to_string()).collect(),
        },
    ]
}

/// NAT makes the kernel track every outer source port as a connection of its own.
fn raw_in(inputs: &Inputs, segments: &[&SegmentInputs]) -> Vec<String> {
    // What guests or other hosts send in VXLAN of their own is forwarded, and may have to be translated.
    let known = |(outer, family, set): (String, &str, &str)| format!("{outer} {family} saddr {set} notrack");
    outer_vxlan_of(inputs, segments).map(known).collect()
}

fn raw_out(segments: &[&SegmentInputs]) -> Vec<String> {
    outer_vxlan(segments).iter().map(|it| format!("{it} notrack")).collect()
}

/// Each outer packet of guests' traffic passes this chain, and each expression that it passes shows in what a segment
/// carries: a member's is let go by its address, before its port and VNI are read.
fn input(inputs: &Inputs, segments: &[&SegmentInputs]) -> Vec<String> {
    let strangers =
        outer_vxlan_of(inputs, segments).map(|(outer, family, set)| format!("{family} saddr != {set} {outer} drop"));
    let to_host = segments.iter().flat_map(|it| {
        let name = &it.segment.name;
        inside(&it.segment).map(|link| format!("{link} : jump ov_host_{name}"))
    });
    // Before guests': a host's own address in a segment takes VXLAN like any other.
    strangers
        .chain([format!("{}iifname vmap {}", not_underlay(inputs), braces(to_host))])
        .collect()
}

/// Without an address here the host begins no connection to a guest, and forwards none.
fn tracks(it: &SegmentInputs) -> bool {
    it.hosts_gateway() || it.host_address.is_some()
}

/// What guests may send to the host itself.
fn to_host(it: &SegmentInputs) -> Vec<String> {
    let mut rules = Vec::new();
    if tracks(it) {
        rules.push("ct state established,related accept".to_owned());
    }
    rules.extend([
        "icmp type echo-request accept".to_owned(),
        "icmpv6 type { echo-request, nd-neighbor-solicit, nd-neighbor-advert } accept".to_owned(),
        "udp dport { 53, 67 } accept".to_owned(),
        "tcp dport 53 accept".to_owned(),
    ]);
    if let (Some(address), Some(ipv4)) = (&it.host_address, &it.segment.ipv4) {
        let subnet = ipv4.subnet;
        rules.push(format!("ip saddr {subnet} ip daddr {} accept", address.addr()));
    }
    rules.push(REJECT.to_owned());
    rules
}

fn mangle(it: &SegmentInputs) -> Vec<String> {
    if it.segment.mode == Mode::Isolated {
        return Vec::new();
    }
    let gateway = quoted(&it.segment.name.gateway());
    let payload = it.mtu.tcp_payload_v4();
    let clamp = |side| {
        format!(
            "{side} {gateway} tcp flags & (syn | rst) == syn \
             tcp option maxseg size > {payload} tcp option maxseg size set {payload}"
        )
    };
    vec![clamp("iifname"), clamp("oifname")]
}

/// Outer VXLAN of these segments, by UDP port: the VNI is in bits 32 to 55 of the VXLAN header behind UDP's 64 bits. It is
/// read with the reserved byte after it: nft compares four bytes in place, but has to copy three.
fn outer_vxlan(segments: &[&SegmentInputs]) -> Vec<String> {
    let mut vnis: BTreeMap<u16, BTreeSet<u32>> = BTreeMap::new();
    for it in segments {
        vnis.entry(it.segment.port)
            .or_default()
            .insert(it.segment.vni.number() << 8);
    }
    let of = |(port, vnis): (u16, BTreeSet<u32>)| {
        let vnis: Vec<String> = vnis.into_iter().map(|vni| format!("{vni:#010x}")).collect();
        let wanted = match vnis.as_slice() {
            [vni] => format!("== {vni}"),
            _ => braces(vnis),
        };
        format!("udp dport {port} @th,96,32 & 0xffffff00 {wanted}")
    };
    vnis.into_iter().map(of).collect()
}

/// Outer VXLAN of these segments by address family, with who may send it to us: a VXLAN device takes packets of its local
/// address' family only, to any address of the host or its group.
fn outer_vxlan_of(
    inputs: &Inputs,
    segments: &[&SegmentInputs],
) -> impl Iterator<Item = (String, &'static str, &'static str)> {
    let (v4, v6): (Vec<_>, Vec<_>) = segments.iter().partition(|it| it.local(&inputs.host).is_ipv4());
    let v4 = outer_vxlan(&v4).into_iter().map(|outer| (outer, "ip", "@members4"));
    let v6 = outer_vxlan(&v6).into_iter().map(|outer| (outer, "ip6", "@members6"));
    v4.chain(v6)
}

/// Guests' packets never come in by the underlay: comparing one name spares its packets the look-up of many.
fn not_underlay(inputs: &Inputs) -> String {
    let underlay = Some(&inputs.host.underlay).filter(|link| quotable(link));
    underlay.map_or_else(String::new, |link| format!("iifname != {} ", quoted(link)))
}

/// The interfaces that guests' packets come in by.
fn inside(segment: &Segment) -> [String; 2] {
    [quoted(&segment.bridge), quoted(&segment.name.gateway())]
}
