//! Reading segments: single keys here, devices in [`super::read_link`], subnets in [`super::read_addresses`], DHCP in
//! [`super::read_dhcp`], names in [`super::read_dns`], forwards in [`super::read_ports`], and what two segments cannot
//! have in common in [`super::across`].

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::across::{self, Outline, Shared};
use super::cursor::{At, Fields, Section};
use super::error::Report;
use super::read_addresses::Subnets;
use super::read_dhcp;
use super::read_dns::dns;
use super::read_link::{bridge, mode, mtu, transport};
use super::read_ports;
use super::scalar::{is_domain, labels, unicast, wrong_name, yes_or_no};
use super::segment::{HostAddress, HostSelector, Mode, MtuBound, PortSecurity, Segment, Stp, Transport, VXLAN_PORT};
use crate::id::{SegmentName, Vni};

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
        at.wrong(report, format!("{what} {name:?}"), what.hint());
    }
    read.into_iter().filter_map(|(segment, _)| segment).collect()
}

fn segment(at: &At<'_>, report: &mut Report) -> (Option<Segment>, Outline) {
    let Some(fields) = at.fields(report, &SEGMENT) else {
        return (None, Outline::default());
    };
    let name = name(&fields, report);
    let vni = vni(&fields, report);
    let bridge = match fields.maybe("bridge") {
        Some(at) => bridge(&at, report),
        None => name.as_ref().map(SegmentName::default_bridge),
    };
    let transport = fields.read("transport", |at| transport(at, report));
    let port = fields.read("port", |at| at.number(report, "a port", 1..=65535));
    let port = port.unwrap_or(VXLAN_PORT);
    let stp = fields.read("stp", |at| yes_or_no(at, report, Stp::On, Stp::Off));
    let stp = stp.unwrap_or(Stp::Off);
    let mode = mode(&fields, report, stp).unwrap_or(Mode::Nat);
    let hosts = fields.read("hosts", |at| hosts(at, report));
    let subnets = Subnets::read(&fields, report);
    let mtu = fields.read("mtu", |at| mtu(at, report, &fields));
    let host_address = fields.read("host_address", |at| host_address(at, report, &subnets));
    let host_address = host_address.unwrap_or(HostAddress::None);
    let (ipv4, ipv6) = read_dhcp::services(&subnets, report, &host_address);
    let dns = fields.filled("dns").map(|at| dns(&at, report, &subnets));
    let forward_to = forward_to(&fields, report, name.as_ref(), &mode);
    let ports = read_ports::ports(&fields, report, &subnets, port, &mode);
    let uplink_address = fields.read("uplink_address", |at| uplink(at, report, &subnets, &mode));
    let security = [("off", PortSecurity::Off), ("on", PortSecurity::On)];
    let port_security = fields.read("port_security", |at| at.word(report, &security));
    let outline = Outline {
        name: name.clone(),
        vni,
        bridge: bridge.clone(),
        ipv4: subnets.v4.map(|(subnet, _)| subnet),
        ipv6: subnets.v6.map(|(subnet, _)| subnet),
        ports: ports.clone(),
        uplink: uplink_address,
    };
    let complete = name.zip(vni).zip(bridge);
    let segment = complete.map(|((name, vni), bridge)| Segment {
        name,
        vni,
        bridge,
        transport: transport.unwrap_or(Transport::Unicast),
        port,
        mode,
        mtu: mtu.unwrap_or(MtuBound::Auto),
        stp,
        hosts: hosts.unwrap_or(HostSelector::All),
        host_address,
        ipv4,
        ipv6,
        dns: dns.unwrap_or_default(),
        forward_to,
        ports,
        uplink_address,
        port_security: port_security.unwrap_or(PortSecurity::Off),
    });
    (segment, outline)
}

fn name(fields: &Fields<'_>, report: &mut Report) -> Option<SegmentName> {
    let at = fields.required(report, "name", "give the segment a name")?;
    at.parse(report, "a segment name", "use a-z, 0-9 and -, at most 12 characters")
}

fn vni(fields: &Fields<'_>, report: &mut Report) -> Option<Vni> {
    let at = fields.required(report, "vni", "give a number that no other segment has, 1 to 16777215")?;
    let number = at.number(report, "a VNI", 1..=0xff_ffff)?;
    Vni::new(number).ok()
}

fn hosts(at: &At<'_>, report: &mut Report) -> Option<HostSelector> {
    if at.scalar().is_some() {
        return at.word(report, &[("all", HostSelector::All)]);
    }
    let labels = labels(at, report);
    if labels.is_empty() {
        at.wrong(report, "no labels given", "write `all`, or labels such as { rack: a }");
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
                format!("{address} is already assigned to {other:?}"),
                "give each host its own",
            );
        }
        addresses.insert(host.to_owned(), address);
    }
    Some(HostAddress::Named(addresses))
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
                format!("{:?} is the segment itself", name.as_str()),
                "remove it: guests of a segment always reach each other",
            );
        } else if names.contains(&name) {
            at.wrong(
                report,
                format!("{:?} is listed twice", name.as_str()),
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
        at.wrong(report, format!("{address} is not a unicast address"), hint);
    } else if hosts && (address == net.network() || address == net.broadcast() && address.is_ipv4()) {
        at.wrong(report, format!("{address} is the network or broadcast address"), hint);
    } else if subnets.contains(address) {
        at.wrong(
            report,
            format!("{address} is in the segment's own subnet"),
            "give an address of the uplink's network",
        );
    }
    if *mode == Mode::Isolated {
        at.wrong(
            report,
            "an isolated segment has no uplink",
            "choose another mode or remove the key",
        );
    }
    Some(net)
}
