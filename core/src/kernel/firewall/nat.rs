//! Port forwards, and masquerading behind the uplinks.

use super::render::{Chain, braces, names, quoted};
use crate::config::{Mode, PortForward, Protocol, Segment};
use crate::id::IfName;
use crate::kernel::inputs::SegmentInputs;
use std::net::SocketAddr;

pub(super) fn port_forwards<'a>(it: &SegmentInputs, uplinks: impl Iterator<Item = &'a IfName>) -> Vec<String> {
    let Segment { name, ipv4, .. } = &it.segment;
    let Some(ipv4) = ipv4 else { return Vec::new() };
    let from: Vec<String> = uplinks.map(quoted).chain([quoted(&name.gateway())]).collect();
    // The gateway's own services stay reachable for guests at its address inside.
    let head = format!(
        "iifname {} fib daddr type local ip daddr != {}",
        braces(&from),
        ipv4.gateway
    );
    each_forward(it, &head)
}

/// The same for what the gateway's host itself sends to one of its own addresses; on the loopback and in segments it
/// reaches its own services.
pub(super) fn own_dstnat(gateways: &[&SegmentInputs]) -> Chain {
    let head = "ip daddr != 127.0.0.0/8 ip daddr != @subnets4 fib daddr type local";
    let rules = gateways.iter().flat_map(|it| each_forward(it, head)).collect();
    // nft knows this priority by name for prerouting alone.
    Chain::base("ov_dstnat_out", "nat hook output priority -100", rules)
}

fn each_forward(it: &SegmentInputs, head: &str) -> Vec<String> {
    let Segment { mode, ipv4, ports, .. } = &it.segment;
    if ipv4.is_none() || *mode == Mode::Isolated {
        return Vec::new();
    }
    let rule = |forward| Some(format!("{head} {}", destination(forward)?));
    ports.iter().filter_map(rule).collect()
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

pub(super) fn masquerade<'a>(it: &SegmentInputs, uplinks: impl Iterator<Item = &'a IfName>) -> Vec<String> {
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
    let mut uplinks = uplinks.peekable();
    if *mode == Mode::Nat && uplinks.peek().is_some() {
        let leaving = format!(
            "ip saddr {subnet} oifname {} ip daddr != {{ 224.0.0.0/24, 255.255.255.255 }} ip daddr != @subnets4",
            names(uplinks)
        );
        rules.push(format!(
            "{leaving} meta l4proto {{ tcp, udp }} masquerade to :1024-65535"
        ));
        rules.push(format!("{leaving} masquerade"));
    }
    rules
}
