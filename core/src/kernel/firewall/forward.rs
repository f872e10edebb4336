//! What guests may send out of their segment, and what may come into it.

use super::render::{REJECT, REJECTED, braces, names, quoted};
use crate::config::{Mode, Segment};
use crate::id::IfName;
use crate::kernel::inputs::{Inputs, SegmentInputs};
use ipnet::Ipv4Net;
use std::collections::{BTreeMap, BTreeSet};

/// A guest behind our own NAT would come from a known VTEP's address: its VXLAN must not reach any, nor its gRPC. IPv6 is
/// not forwarded.
pub(super) fn to_members(inputs: &Inputs, segments: &[&SegmentInputs]) -> Vec<String> {
    let vxlan: BTreeSet<u16> = segments.iter().map(|it| it.segment.port).collect();
    let mut rules = vec![format!("ip daddr @members4 udp dport {} drop", braces(vxlan))];
    if !inputs.cluster_ports.is_empty() {
        let grpc = braces(&inputs.cluster_ports);
        rules.push(format!("ip daddr @members4 tcp dport {grpc} drop"));
    }
    rules
}

pub(super) fn forward(segments: &[&SegmentInputs], gateways: &[&SegmentInputs]) -> Vec<String> {
    // With bridge netfilter on, bridged frames pass here, too; they stay on their bridge.
    let around = segments.iter().flat_map(|it| {
        let bridge = quoted(&it.segment.bridge);
        [
            format!("iifname {bridge} oifname != {bridge} {REJECT}"),
            format!("oifname {bridge} iifname != {bridge} {REJECT}"),
        ]
    });
    let unready = segments
        .iter()
        .filter(|it| it.has_gateway_link() && !it.hosts_gateway());
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
pub(super) fn from_segment(
    it: &SegmentInputs,
    gateways: &[&SegmentInputs],
    uplinks: &BTreeMap<IfName, BTreeSet<Ipv4Net>>,
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
        // Link-local: what answers there is the host's own, such as a cloud's metadata.
        rules.push(format!("ip daddr 169.254.0.0/16 {REJECT}"));
    }
    match mode {
        Mode::Nat => rules.extend(out(uplinks)),
        Mode::Routed => rules.push("accept".to_owned()),
        Mode::Isolated | Mode::Bridged(_) => {}
    }
    if *mode != Mode::Routed {
        rules.push(REJECT.to_owned());
    }
    rules
}

/// By the interfaces that lead outside; what would leave by another one is counted, for operators to be told.
fn out(uplinks: &BTreeMap<IfName, BTreeSet<Ipv4Net>>) -> Vec<String> {
    let (whole, routed): (Vec<_>, Vec<_>) = uplinks.iter().partition(|(_, connected)| connected.is_empty());
    let whole =
        (!whole.is_empty()).then(|| format!("oifname {} accept", names(whole.into_iter().map(|(link, _)| link))));
    let routed = routed.into_iter().map(|(link, connected)| {
        let connected = braces(connected);
        format!("oifname {} ip daddr != {connected} accept", quoted(link))
    });
    let count = format!("update @{REJECTED} {{ iifname . oifname counter }}");
    whole.into_iter().chain(routed).chain([count]).collect()
}

/// What may come into the segment; what its own guests or those of another segment sent was decided before.
pub(super) fn to_segment(it: &SegmentInputs) -> Vec<String> {
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
