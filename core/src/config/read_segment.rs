//! Reading segments: single keys here, subnets in [`super::read_addresses`], DHCP in [`super::read_dhcp`], forwards in
//! [`super::read_ports`], and what two segments cannot have in common in [`super::across`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::across::{self, Outline, Shared};
use super::cursor::{At, Fields, Section};
use super::error::Report;
use super::read_addresses::Subnets;
use super::read_dhcp;
use super::read_host::{interface, labels};
use super::read_ports;
use super::scalar::{domain, is_domain, unicast, wrong_name, yes_or_no};
use super::segment::{
    Bridged, BridgedOn, Dns, HostAddress, HostSelector, Mode, MtuBound, PortSecurity, Segment, Stp, Transport,
    VXLAN_PORT,
};
use crate::id::{IfName, SegmentName};

pub(super) const SEGMENT: Section = Section {
    path: "segments",
    keys: &[
        "name",
        "vni",
        "bridge",
        "transport",
        "port",
        "mode",
        "bridged",
        "mtu",
        "stp",
        "hosts",
        "host_address",
        "ipv4",
        "ipv6",
        "dns",
        "forward_to",
        "ports",
        "uplink_address",
        "port_security",
    ],
};
pub(super) const TRANSPORT: Section = Section {
    path: "segments.transport",
    keys: &["multicast", "interface"],
};
pub(super) const BRIDGED: Section = Section {
    path: "segments.bridged",
    keys: &["interface", "every_host"],
};
pub(super) const DNS: Section = Section {
    path: "segments.dns",
    keys: &["domain", "upstream", "hosts"],
};

/// The least MTU that IPv4 asks of a host (RFC 791: 576), and that IPv6 asks of a link (RFC 8200 section 5: 1280).
const LEAST_MTU: [u16; 2] = [576, 1280];

/// All segments of a list; those with a fault are left out, after every fault was reported.
pub(super) fn segments(at: &At<'_>, report: &mut Report) -> Vec<Segment> {
    let items = at.list(report, "a list of segments");
    let read = items.iter().map(|at| segment(at, report)).collect::<Vec<_>>();
    let outlines = read.iter().map(|(_, outline)| outline.clone()).collect::<Vec<_>>();
    for (first, second, what) in across::clashes(&outlines) {
        let name = outlines[first]
            .name
            .as_ref()
            .map_or_else(|| format!("segments[{first}]"), ToString::to_string);
        let at = match &what {
            Shared::Port(index, _) => items[second].find(&format!("ports[{index}].listen")),
            Shared::Name(_)
            | Shared::Vni(_)
            | Shared::Bridge(_)
            | Shared::Ipv4(_)
            | Shared::Ipv6(_)
            | Shared::Uplink(_) => items[second].find(what.key()),
        };
        at.wrong(report, format!("{what} {name:?} too"), what.hint());
    }
    read.into_iter().filter_map(|(segment, _)| segment).collect()
}

fn segment(at: &At<'_>, report: &mut Report) -> (Option<Segment>, Outline) {
    let mut outline = Outline::default();
    let Some(fields) = at.fields(report, &SEGMENT) else {
        return (None, outline);
    };
    let name = fields
        .required(report, "name", "give the segment a name")
        .and_then(|at| at.parse::<SegmentName>(report, "a segment name", "use a-z, 0-9 and -, at most 12 characters"));
    let vni = fields
        .required(report, "vni", "give a number that no other segment has, 1 to 16777215")
        .and_then(|at| at.number(report, "a VNI", 1..=0xff_ffff))
        .and_then(|number| crate::id::Vni::new(number).ok());
    let given = fields.maybe("bridge");
    let bridge = match &given {
        Some(at) => bridge(at, report),
        None => name.as_ref().map(SegmentName::default_bridge),
    };
    let transport = fields
        .maybe("transport")
        .and_then(|at| transport(&at, report))
        .unwrap_or(Transport::Unicast);
    let port = fields
        .maybe("port")
        .and_then(|at| at.number(report, "a port", 1..=65535))
        .unwrap_or(VXLAN_PORT);
    let stp = fields
        .maybe("stp")
        .and_then(|at| yes_or_no(&at, report, Stp::On, Stp::Off))
        .unwrap_or(Stp::Off);
    let mode = mode(&fields, report, stp).unwrap_or(Mode::Nat);
    let hosts = fields
        .maybe("hosts")
        .and_then(|at| hosts(&at, report))
        .unwrap_or(HostSelector::All);
    let subnets = Subnets::read(&fields, report);
    let mtu = fields
        .maybe("mtu")
        .and_then(|at| mtu(&at, report, &fields))
        .unwrap_or(MtuBound::Auto);
    let host_address = fields
        .maybe("host_address")
        .and_then(|at| host_address(&at, report, &subnets))
        .unwrap_or(HostAddress::None);
    let (ipv4, ipv6) = read_dhcp::services(&subnets, report, &host_address);
    let dns = fields
        .filled("dns")
        .map(|at| dns(&at, report, &subnets))
        .unwrap_or_default();
    let forward_to = forward_to(&fields, report, name.as_ref(), &mode);
    let ports = read_ports::ports(&fields, report, &subnets, port, &mode);
    let uplink_address = fields
        .maybe("uplink_address")
        .and_then(|at| uplink(&at, report, &subnets, &mode));
    let port_security = fields
        .maybe("port_security")
        .and_then(|at| at.word(report, &[("off", PortSecurity::Off), ("on", PortSecurity::On)]))
        .unwrap_or(PortSecurity::Off);
    outline.name.clone_from(&name);
    outline.vni = vni;
    outline.bridge.clone_from(&bridge);
    outline.ipv4 = subnets.v4.map(|(subnet, _)| subnet);
    outline.ipv6 = subnets.v6.map(|(subnet, _)| subnet);
    outline.ports.clone_from(&ports);
    outline.uplink = uplink_address;
    let segment = || {
        Some(Segment {
            name: name?,
            vni: vni?,
            bridge: bridge?,
            transport,
            port,
            mode,
            mtu,
            stp,
            hosts,
            host_address,
            ipv4,
            ipv6,
            dns,
            forward_to,
            ports,
            uplink_address,
            port_security,
        })
    };
    (segment(), outline)
}

fn bridge(at: &At<'_>, report: &mut Report) -> Option<IfName> {
    let bridge = interface(at, report)?;
    if ["vx-", "gw-"].iter().any(|prefix| bridge.as_str().starts_with(prefix)) {
        let message = format!(
            "{:?} is a name that the agent gives to other interfaces",
            bridge.as_str()
        );
        at.wrong(report, message, "choose a name that begins with neither vx- nor gw-");
    }
    Some(bridge)
}

fn transport(at: &At<'_>, report: &mut Report) -> Option<Transport> {
    if at.scalar().is_some() {
        return at.word(report, &[("unicast", Transport::Unicast)]);
    }
    let fields = at.fields(report, &TRANSPORT)?;
    let interface = fields.maybe("interface").and_then(|at| interface(&at, report));
    let at = fields.required(report, "multicast", "give the group, or write `transport: unicast`")?;
    let hint = "give a group from 224.0.1.0 to 239.255.255.255, or an IPv6 group (ff05::10)";
    let group = at.parse::<IpAddr>(report, "a multicast group", hint)?;
    // 224.0.0.0/24 never leaves the link's control protocols (RFC 5771 section 4), nor does ff01::/16 the host.
    let fit = match group {
        IpAddr::V4(v4) => v4.is_multicast() && v4.octets()[..3] != [224, 0, 0],
        IpAddr::V6(v6) => {
            v6.is_multicast() && v6.segments()[0] & 0xf > 1 && v6.segments()[1..] != [0, 0, 0, 0, 0, 0, 1]
        }
    };
    if !fit {
        at.wrong(
            report,
            format!("{group} is no multicast group that a segment can use"),
            hint,
        );
        return None;
    }
    Some(Transport::Multicast { group, interface })
}

fn mode(fields: &Fields<'_>, report: &mut Report, stp: Stp) -> Option<Mode> {
    let word = fields.maybe("mode").map_or(Some("nat"), |at| {
        let words = ["nat", "routed", "isolated", "bridged"].map(|word| (word, word));
        at.word(report, &words)
    })?;
    let nic = fields.maybe("bridged");
    if word != "bridged"
        && let Some(at) = &nic
    {
        at.wrong(
            report,
            format!("the segment's mode is {word}, and only a bridged one takes a NIC in"),
            "write `mode: bridged` or remove the key",
        );
    }
    let nic = nic.and_then(|at| bridged(&at, report, stp));
    match word {
        "routed" => Some(Mode::Routed),
        "isolated" => Some(Mode::Isolated),
        "bridged" => {
            fields.required(report, "bridged", "name the NIC, `bridged: { interface: eth1 }`")?;
            nic.map(Mode::Bridged)
        }
        _ => Some(Mode::Nat),
    }
}

fn bridged(at: &At<'_>, report: &mut Report, stp: Stp) -> Option<Bridged> {
    let fields = at.fields(report, &BRIDGED)?;
    let every_host = fields.maybe("every_host");
    let on = every_host
        .as_ref()
        .and_then(|at| yes_or_no(at, report, BridgedOn::EveryHost, BridgedOn::GatewayHost))
        .unwrap_or(BridgedOn::GatewayHost);
    if on == BridgedOn::EveryHost
        && stp == Stp::Off
        && let Some(at) = every_host
    {
        at.wrong(
            report,
            "every host takes the NIC in, and nothing breaks the loops",
            "write `stp: true`, too",
        );
    }
    let interface = fields
        .required(report, "interface", "name the NIC")
        .and_then(|at| interface(&at, report))?;
    Some(Bridged { interface, on })
}

fn mtu(at: &At<'_>, report: &mut Report, fields: &Fields<'_>) -> Option<MtuBound> {
    if at.scalar() == Some("auto") {
        return Some(MtuBound::Auto);
    }
    let [v4, v6] = LEAST_MTU;
    let least = if fields.maybe("ipv6").is_some() { v6 } else { v4 };
    let what = if least == v6 {
        "`auto` or an MTU for IPv6"
    } else {
        "`auto` or an MTU"
    };
    at.number(report, what, u64::from(least)..=65535).map(MtuBound::AtMost)
}

fn hosts(at: &At<'_>, report: &mut Report) -> Option<HostSelector> {
    if at.scalar().is_some() {
        return at.word(report, &[("all", HostSelector::All)]);
    }
    let labels = labels(at, report);
    if labels.is_empty() {
        at.wrong(
            report,
            "no label is asked for",
            "write `all`, or labels such as { rack: a }",
        );
        return None;
    }
    Some(HostSelector::Labels(labels))
}

fn host_address(at: &At<'_>, report: &mut Report, subnets: &Subnets<'_>) -> Option<HostAddress> {
    if at.scalar().is_some() {
        let word = at.word(report, &[("none", HostAddress::None), ("auto", HostAddress::Auto)])?;
        if word == HostAddress::Auto && subnets.are_absent() {
            at.wrong(
                report,
                "the segment has no subnet to take addresses from",
                "give `ipv4`, or write `none`",
            );
        }
        return Some(word);
    }
    let mut addresses = BTreeMap::new();
    let mut taken = BTreeMap::new();
    for (host, at) in at.entries(report, "none, auto, or an address per host, { hv1: 192.168.124.2 }") {
        if !is_domain(host) {
            wrong_name(&at, report, host, "a host name", 64);
        }
        let Some(address) = unicast(&at, report) else { continue };
        subnets.check_member(&at, report, address);
        if let Some(other) = taken.insert(address, host) {
            at.wrong(
                report,
                format!("{address} is the address of {other:?} already"),
                "give each host its own",
            );
        }
        addresses.insert(host.to_owned(), address);
    }
    Some(HostAddress::Named(addresses))
}

fn dns(at: &At<'_>, report: &mut Report, subnets: &Subnets<'_>) -> Dns {
    let mut dns = Dns::default();
    let Some(fields) = at.fields(report, &DNS) else {
        return dns;
    };
    dns.domain = fields
        .maybe("domain")
        .and_then(|at| domain(&at, report, "a domain name", 253));
    if let Some(at) = fields.filled("upstream") {
        for at in at.list(report, "a list of resolvers' addresses") {
            let Some(address) = unicast(&at, report) else { continue };
            if subnets.is_gateway(address) {
                at.wrong(
                    report,
                    format!("{address} is the segment's own gateway"),
                    "give another resolver, or leave it out",
                );
            }
            dns.upstream.push(address);
        }
    }
    if let Some(at) = fields.filled("hosts") {
        for (name, at) in at.entries(report, "a mapping of names to addresses, { db: 192.168.124.20 }") {
            if name.len() > 253 || !is_domain(name) {
                wrong_name(&at, report, name, "a host name", 253);
            }
            let Some(address) = unicast(&at, report) else { continue };
            dns.hosts.insert(name.to_owned(), address);
        }
    }
    dns
}

fn forward_to(
    fields: &Fields<'_>,
    report: &mut Report,
    own: Option<&SegmentName>,
    mode: &Mode,
) -> BTreeSet<SegmentName> {
    let mut names = BTreeSet::new();
    let Some(at) = fields.filled("forward_to") else {
        return names;
    };
    let items = at.list(report, "a list of segments' names");
    if !items.is_empty() && *mode == Mode::Isolated {
        at.wrong(
            report,
            "an isolated segment forwards nothing",
            "choose another mode or remove the key",
        );
    }
    for at in items {
        let hint = "use a-z, 0-9 and -, at most 12 characters";
        let Some(name) = at.parse::<SegmentName>(report, "a segment name", hint) else {
            continue;
        };
        if own == Some(&name) {
            at.wrong(
                report,
                format!("{:?} is this segment itself", name.as_str()),
                "remove it: guests of one segment reach each other",
            );
        } else if names.contains(&name) {
            at.wrong(
                report,
                format!("{:?} stands here twice", name.as_str()),
                "keep one of the two",
            );
        }
        names.insert(name);
    }
    names
}

fn uplink(at: &At<'_>, report: &mut Report, subnets: &Subnets<'_>, mode: &Mode) -> Option<IpNet> {
    let hint = "give an address with its prefix length (203.0.113.7/24)";
    let net = at.parse::<IpNet>(report, "an address with a prefix length", hint)?;
    let address = net.addr();
    let hosts = net.prefix_len() + 1 < net.max_prefix_len();
    if address.is_unspecified() || address.is_multicast() || address.is_loopback() {
        at.wrong(
            report,
            format!("{address} is no address that a single host can have"),
            hint,
        );
    } else if hosts && (address == net.network() || address == net.broadcast() && address.is_ipv4()) {
        at.wrong(
            report,
            format!("{address} is the network's own or its broadcast address"),
            hint,
        );
    } else if subnets.contains(address) {
        at.wrong(
            report,
            format!("{address} lies in the segment's own subnet"),
            "give an address of the uplink's network",
        );
    }
    if *mode == Mode::Isolated {
        at.wrong(
            report,
            "an isolated segment has no way in or out",
            "choose another mode or remove the key",
        );
    }
    Some(net)
}
