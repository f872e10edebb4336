//! The nftables tables of this host, rendered whole.
//!
//! `table inet overlayd` admits VXLAN from known VTEPs only, keeps guests away from the hosts and from each other's
//! segments, and on a gateway forwards, masquerades and clamps. `table netdev overlayd` drops what only the segment's
//! own DHCP server and router may send, where it comes in from a guest. Each text replaces its table in one transaction.
//!
//! What a packet passes, in hook order:
//! ```text
//! ingress            of each guest's port: DHCP servers' and routers' words: drop
//! prerouting raw     outer VXLAN of ours: notrack
//! prerouting dstnat  port forwards
//! input              outer VXLAN of ours from strangers: drop · guests: DHCP, DNS, echo, host_address
//! forward mangle     TCP MSS, connection mark
//! forward            around the gateway: rejected · from the segment: VXLAN and gRPC to any member: drop · to the segment
//! postrouting        masquerade
//! output raw         outer VXLAN of ours: notrack
//! ```
//! A hook without rules is not taken: each costs every packet of the host, outer ones too. A host that is no gateway and
//! not about to be one, or only an isolated segment's, asks for no NAT; one that has no address of its own in a segment either,
//! for no connection tracking, and unless somebody else does there is nothing to keep outer VXLAN out of. What is left to
//! those is `input`. Until a candidate's rules are there nothing is forwarded by the gateway's link.
//!
//! An `accept` ends only our own chain: the host's firewall has its say before or after. Every chain's name begins with
//! `ov_`, because nft takes some plain words for keywords. Only expressions that kernels without the bridge family's
//! `meta` and `reject` have are used: bridge ports are known by name, not by their bridge's.

use crate::config::{Mode, PortForward, Protocol, Segment};
use crate::id::{IfName, Mac};
use crate::kernel::desired::{BridgeNetfilter, Inputs, SegmentInputs, Table, Tracking, gateway_mac};
use crate::kernel::observed::TableName;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};

/// Marks a connection as ours (upper byte) and names its segment (the VNI), so that a gateway that steps down can
/// flush its segment's connections and no other.
pub const CONNECTION_MARK: u32 = 0x4f00_0000;

/// A chain takes 256 devices at most.
const DEVICES: usize = 200;

const REJECT: &str = "reject with icmpx type admin-prohibited";

/// The tables that `inputs` ask for: none without segments.
pub fn tables(inputs: &Inputs) -> Vec<Table> {
    if inputs.segments.is_empty() {
        return Vec::new();
    }
    [Some(inet(inputs)), netdev(inputs), bridge(inputs)]
        .into_iter()
        .flatten()
        .collect()
}

struct Set {
    name: &'static str,
    kind: &'static str,
    elements: Vec<String>,
}

struct Chain {
    name: String,
    hook: Option<String>,
    rules: Vec<String>,
}

impl Chain {
    fn base(name: impl Into<String>, hook: impl Into<String>, rules: Vec<String>) -> Self {
        Self {
            name: name.into(),
            hook: Some(hook.into()),
            rules,
        }
    }

    fn jumped_to(name: String, rules: Vec<String>) -> Self {
        Self {
            name,
            hook: None,
            rules,
        }
    }
}

/// `add` before `delete`, so that the delete cannot fail where there is no table yet.
fn render(name: TableName, sets: &[Set], chains: &[Chain]) -> Table {
    let mut lines = vec![
        format!("add table {name}"),
        format!("delete table {name}"),
        format!("table {name} {{"),
    ];
    for Set { name, kind, elements } in sets {
        lines.push(format!("\tset {name} {{"));
        lines.extend(kind.lines().map(|line| format!("\t\t{line}")));
        if !elements.is_empty() {
            lines.push(format!("\t\telements = {}", braces(elements)));
        }
        lines.push("\t}".to_owned());
    }
    for Chain { name, hook, rules } in chains {
        lines.push(format!("\tchain {name} {{"));
        lines.extend(hook.iter().map(|hook| format!("\t\ttype {hook}; policy accept;")));
        lines.extend(rules.iter().map(|rule| format!("\t\t{rule}")));
        lines.push("\t}".to_owned());
    }
    lines.push("}\n".to_owned());
    Table {
        name,
        text: lines.join("\n"),
    }
}

fn inet(inputs: &Inputs) -> Table {
    let segments: Vec<&SegmentInputs> = inputs.segments.values().collect();
    let gateways: Vec<&SegmentInputs> = segments.iter().copied().filter(|it| it.serves()).collect();
    let subnets = segments.iter().filter_map(|it| it.segment.ipv4.as_ref());
    let member = |v4: bool| {
        inputs
            .members
            .iter()
            .filter(move |it| it.is_ipv4() == v4)
            .map(IpAddr::to_string)
            .collect()
    };
    let sets = [
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
    ];
    let uplink = inputs.host.uplink.as_ref();
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
            each(&|it| port_forwards(it, uplink)),
        ),
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
            each(&|it| masquerade(it, uplink)),
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
            from_segment(it, &gateways, uplink, &to_members),
        ));
        chains.push(Chain::jumped_to(format!("ov_to_{name}"), to_segment(it)));
    }
    chains.retain(|chain| chain.hook.is_none() || !chain.rules.is_empty());
    render(TableName::Inet, &sets, &chains)
}

/// NAT makes the kernel track every outer source port as a connection of its own.
fn raw_in(inputs: &Inputs, segments: &[&SegmentInputs]) -> Vec<String> {
    let (family, set) = members(inputs);
    // What guests or other hosts send in VXLAN of their own is forwarded, and may have to be translated.
    let known = |outer: &String| format!("{outer} {family} saddr {set} notrack");
    outer_vxlan(segments).iter().map(known).collect()
}

fn raw_out(segments: &[&SegmentInputs]) -> Vec<String> {
    outer_vxlan(segments).iter().map(|it| format!("{it} notrack")).collect()
}

/// Each outer packet of guests' traffic passes this chain, and each expression that it passes shows in what a segment
/// carries: a member's is let go by its address, before its port and VNI are read.
fn input(inputs: &Inputs, segments: &[&SegmentInputs]) -> Vec<String> {
    let (family, set) = members(inputs);
    let strangers = outer_vxlan(segments)
        .into_iter()
        .map(|outer| format!("{family} saddr != {set} {outer} drop"));
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
    it.serves() || it.host_address.is_some()
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
    let mark = CONNECTION_MARK | it.segment.vni.number();
    ["iifname", "oifname"]
        .into_iter()
        .flat_map(|side| {
            [
                format!(
                    "{side} {gateway} tcp flags & (syn | rst) == syn \
                     tcp option maxseg size > {payload} tcp option maxseg size set {payload}"
                ),
                format!("{side} {gateway} ct state new ct mark set {mark:#010x}"),
            ]
        })
        .collect()
}

/// A guest behind our own NAT would come from a known VTEP's address: its VXLAN must not reach any, nor its gRPC. IPv6 is
/// not forwarded.
fn to_members(inputs: &Inputs, segments: &[&SegmentInputs]) -> Vec<String> {
    let vxlan: BTreeSet<u16> = segments.iter().map(|it| it.segment.port).collect();
    let mut rules = vec![format!("ip daddr @members4 udp dport {} drop", braces(vxlan))];
    if !inputs.cluster_ports.is_empty() {
        let grpc = braces(&inputs.cluster_ports);
        rules.push(format!("ip daddr @members4 tcp dport {grpc} drop"));
    }
    rules
}

fn forward(segments: &[&SegmentInputs], gateways: &[&SegmentInputs]) -> Vec<String> {
    // With bridge netfilter on, bridged frames pass here, too; they stay on their bridge.
    let around = segments.iter().flat_map(|it| {
        let bridge = quoted(&it.segment.bridge);
        [
            format!("iifname {bridge} oifname != {bridge} {REJECT}"),
            format!("oifname {bridge} iifname != {bridge} {REJECT}"),
        ]
    });
    let unready = segments.iter().filter(|it| it.has_gateway_link() && !it.serves());
    let unready = unready.flat_map(|it| {
        let gateway = quoted(&it.segment.name.gateway());
        [format!("iifname {gateway} drop"), format!("oifname {gateway} drop")]
    });
    let from = gateways.iter().map(|it| {
        let Segment { name, .. } = &it.segment;
        format!("iifname {} jump ov_from_{name}", quoted(&name.gateway()))
    });
    let to = gateways.iter().map(|it| {
        let Segment { name, .. } = &it.segment;
        format!("oifname {} jump ov_to_{name}", quoted(&name.gateway()))
    });
    around.chain(unready).chain(from).chain(to).collect()
}

/// Every packet that comes in from the segment ends here.
fn from_segment(
    it: &SegmentInputs,
    gateways: &[&SegmentInputs],
    uplink: Option<&IfName>,
    to_members: &[String],
) -> Vec<String> {
    let Segment {
        name,
        mode,
        ipv4,
        forward_to,
        ..
    } = &it.segment;
    let mut rules = Vec::new();
    if let Some(ipv4) = ipv4 {
        rules.push(format!("ip saddr != {} drop", ipv4.subnet));
    }
    rules.push("meta nfproto ipv6 drop".to_owned());
    if *mode != Mode::Isolated {
        rules.extend_from_slice(to_members);
        rules.push("ct state established,related accept".to_owned());
        rules.push(format!("oifname {} ct status dnat accept", quoted(&name.gateway())));
        for other in gateways.iter().filter(|other| forward_to.contains(&other.segment.name)) {
            rules.push(format!("oifname {} accept", quoted(&other.segment.name.gateway())));
        }
        rules.push(format!("ip daddr @subnets4 {REJECT}"));
    }
    match (mode, uplink) {
        (Mode::Nat, Some(uplink)) => rules.push(format!("oifname {} accept", quoted(uplink))),
        (Mode::Routed, _) => rules.push("accept".to_owned()),
        (Mode::Nat, None) | (Mode::Isolated | Mode::Bridged(_), _) => {}
    }
    if *mode != Mode::Routed {
        rules.push(REJECT.to_owned());
    }
    rules
}

/// What may come into the segment; what its own guests or those of another segment sent was decided before.
fn to_segment(it: &SegmentInputs) -> Vec<String> {
    match it.segment.mode {
        Mode::Nat => vec![
            "ct state established,related accept".to_owned(),
            "ct status dnat accept".to_owned(),
            REJECT.to_owned(),
        ],
        Mode::Routed => vec!["accept".to_owned()],
        Mode::Isolated | Mode::Bridged(_) => vec![REJECT.to_owned()],
    }
}

fn port_forwards(it: &SegmentInputs, uplink: Option<&IfName>) -> Vec<String> {
    let Segment {
        name,
        mode,
        ipv4,
        ports,
        ..
    } = &it.segment;
    let Some(ipv4) = ipv4 else { return Vec::new() };
    if *mode == Mode::Isolated {
        return Vec::new();
    }
    let from: Vec<String> = uplink
        .into_iter()
        .map(quoted)
        .chain([quoted(&name.gateway())])
        .collect();
    // The gateway's own services stay reachable for guests at its address inside.
    let head = format!(
        "iifname {} fib daddr type local ip daddr != {}",
        braces(&from),
        ipv4.gateway
    );
    ports
        .iter()
        .filter_map(|forward| Some(format!("{head} {}", destination(forward)?)))
        .collect()
}

fn destination(forward: &PortForward) -> Option<String> {
    let SocketAddr::V4(to) = forward.to else { return None };
    let protocol = match forward.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    let (first, last) = (forward.listen.first, forward.listen.last);
    Some(if first == last {
        format!("{protocol} dport {first} dnat ip to {to}")
    } else if to.port() == first {
        format!("{protocol} dport {first}-{last} dnat ip to {}", to.ip())
    } else {
        let pairs = (first..=last).zip(to.port()..=u16::MAX);
        let pairs: Vec<String> = pairs
            .map(|(listen, port)| format!("{listen} : {} . {port}", to.ip()))
            .collect();
        format!("dnat ip to {protocol} dport map {}", braces(&pairs))
    })
}

fn masquerade(it: &SegmentInputs, uplink: Option<&IfName>) -> Vec<String> {
    let Segment {
        name,
        mode,
        ipv4,
        ports,
        ..
    } = &it.segment;
    let Some(ipv4) = ipv4 else { return Vec::new() };
    let subnet = ipv4.subnet;
    let mut rules = Vec::new();
    if *mode != Mode::Isolated && !ports.is_empty() {
        // A guest that reaches a neighbour by the host's address must get the answer from there, too.
        let gateway = quoted(&name.gateway());
        rules.push(format!(
            "ip saddr {subnet} ip daddr {subnet} oifname {gateway} ct status dnat masquerade"
        ));
    }
    if let (Mode::Nat, Some(uplink)) = (mode, uplink) {
        let leaving = format!(
            "ip saddr {subnet} oifname {} ip daddr != {{ 224.0.0.0/24, 255.255.255.255 }} ip daddr != @subnets4",
            quoted(uplink)
        );
        rules.push(format!(
            "{leaving} meta l4proto {{ tcp, udp }} masquerade to :1024-65535"
        ));
        rules.push(format!("{leaving} masquerade"));
    }
    rules
}

/// Filtered where frames come in from a guest; what comes through the VXLAN device was filtered on its own host, and pays
/// nothing.
fn netdev(inputs: &Inputs) -> Option<Table> {
    let addressed = inputs
        .segments
        .values()
        .filter(|it| it.segment.ipv4.is_some() || it.segment.ipv6.is_some());
    let guests: BTreeSet<&IfName> = addressed
        .flat_map(|it| &it.guest_ports)
        .filter(|port| quotable(port))
        .collect();
    let guests: Vec<String> = guests.into_iter().map(quoted).collect();
    let chains: Vec<Chain> = guests
        .chunks(DEVICES)
        .enumerate()
        .map(|(number, ports)| {
            let hook = format!("filter hook ingress devices = {} priority filter", braces(ports));
            let rules = ["udp sport { 67, 547 } drop", "icmpv6 type nd-router-advert drop"];
            Chain::base(format!("ov_guests_{number}"), hook, rules.map(str::to_owned).to_vec())
        })
        .collect();
    (!chains.is_empty()).then(|| render(TableName::Netdev, &[], &chains))
}

/// With bridge netfilter on, a frame to the gateway is tracked when it enters the bridge, and the kernel takes what is
/// not addressed to the port's own MAC for settled before it is routed: nothing can be masqueraded then, not even once all
/// rules are there. So a candidate has this table before it serves.
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

/// Who may send us VXLAN: a VXLAN device takes packets of its local address' family only, to any address of the host or its
/// group.
fn members(inputs: &Inputs) -> (&'static str, &'static str) {
    match inputs.host.vtep {
        IpAddr::V4(_) => ("ip", "@members4"),
        IpAddr::V6(_) => ("ip6", "@members6"),
    }
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

fn braces(items: impl IntoIterator<Item = impl Display>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    format!("{{ {} }}", items.join(", "))
}

/// nft has no way to write a quotation mark inside a name.
fn quotable(link: &IfName) -> bool {
    !link.as_str().contains(['"', '\\', '*'])
}

fn quoted(link: &IfName) -> String {
    format!("\"{link}\"")
}
