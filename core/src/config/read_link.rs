//! Reading what a segment's devices are like: bridge, transport, the NIC of a bridged one, MTU.

use std::net::IpAddr;

use super::cursor::{At, Fields, Section};
use super::error::Report;
use super::scalar::{interface, yes_or_no};
use super::segment::{Bridged, BridgedOn, Mode, MtuBound, Stp, Transport};
use crate::id::IfName;

pub(super) const TRANSPORT: Section = Section {
    path: "segments.transport",
    keys: &["multicast", "interface"],
};

pub(super) const BRIDGED: Section = Section {
    path: "segments.bridged",
    keys: &["interface", "every_host"],
};

/// The least MTU that IPv4 asks of a host (RFC 791: 576), and that IPv6 asks of a link (RFC 8200 section 5: 1280).
const LEAST_MTU: [u16; 2] = [576, 1280];

pub(super) fn bridge(at: &At<'_>, report: &mut Report) -> Option<IfName> {
    let bridge = interface(at, report)?;
    if ["vx-", "gw-"].iter().any(|prefix| bridge.as_str().starts_with(prefix)) {
        let message = format!("{:?} is reserved for interfaces of the agent", bridge.as_str());
        at.wrong(report, message, "choose a name that begins with neither vx- nor gw-");
    }
    Some(bridge)
}

pub(super) fn transport(at: &At<'_>, report: &mut Report) -> Option<Transport> {
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
        at.wrong(report, format!("{group} is not a usable multicast group"), hint);
        return None;
    }
    Some(Transport::Multicast { group, interface })
}

pub(super) fn mode(fields: &Fields<'_>, report: &mut Report, stp: Stp) -> Option<Mode> {
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
            format!("the key needs `mode: bridged`, and the mode is {word}"),
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
            "without spanning tree this makes a loop",
            "write `stp: true`, too",
        );
    }
    let interface = fields
        .required(report, "interface", "name the NIC")
        .and_then(|at| interface(&at, report))?;
    Some(Bridged { interface, on })
}

pub(super) fn mtu(at: &At<'_>, report: &mut Report, fields: &Fields<'_>) -> Option<MtuBound> {
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
