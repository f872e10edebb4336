//! Reading DHCP options, each in its format; never one that the server itself sets.

use std::collections::BTreeMap;

use super::cursor::At;
use super::dhcp_option::DhcpOption;
use super::error::Report;
use super::option_format::{self, Format};

/// Options that the server sets, or that mean something only between server, relay and client (RFC 2132, 3046, 4361),
/// with the key to use instead.
const OWN: [(u8, &str); 21] = [
    (1, "the mask follows from `ipv4.subnet`"),
    (3, "the router is `ipv4.gateway`"),
    (6, "resolvers are `dns.upstream`"),
    (12, "a guest's name is `hostname` in its reservation"),
    (15, "the domain is `dns.domain`"),
    (26, "the MTU is `mtu`"),
    (28, "the broadcast address follows from `ipv4.subnet`"),
    (50, "only clients send it"),
    (51, "the lease time is `lease_time`"),
    (52, "the server sets it"),
    (53, "it is the message type"),
    (54, "it is the gateway's address"),
    (55, "only clients send it"),
    (56, "the server sets it in a NAK"),
    (57, "only clients send it"),
    (58, "it follows from `lease_time`"),
    (59, "it follows from `lease_time`"),
    (61, "only clients send it"),
    (81, "it is `hostname` in a reservation, in `dns.domain`"),
    (82, "only relays send it"),
    (118, "only relays send it"),
];

/// The longest value of one option: its length is one byte.
const LONGEST: usize = 255;

pub(super) fn options(at: &At<'_>, report: &mut Report) -> BTreeMap<u8, DhcpOption> {
    let mut options = BTreeMap::new();
    for (number, at) in at.entries(report, "a mapping of option numbers to values, { 42: [192.168.124.1] }") {
        let code = number
            .parse::<u8>()
            .ok()
            .filter(|code| (1..=254).contains(code) && code.to_string() == number);
        let Some(code) = code else {
            at.wrong(
                report,
                format!("{number:?} is not a DHCP option number"),
                "give a number from 1 to 254",
            );
            continue;
        };
        if let Some((_, instead)) = OWN.iter().find(|(own, _)| *own == code) {
            at.wrong(
                report,
                format!("option {code} cannot be configured"),
                format!("remove it: {instead}"),
            );
            continue;
        }
        let Some(value) = value(&at, report, code) else {
            continue;
        };
        let length = value.bytes().len();
        if !(1..=LONGEST).contains(&length) {
            at.wrong(
                report,
                format!("the value has {length} bytes"),
                format!("give 1 to {LONGEST} bytes"),
            );
            continue;
        }
        options.insert(code, value);
    }
    options
}

fn value(at: &At<'_>, report: &mut Report, code: u8) -> Option<DhcpOption> {
    let format = option_format::of(code);
    if format == Format::Any && at.is_plain() && at.scalar().is_some_and(|text| text.parse::<f64>().is_ok()) {
        at.wrong(
            report,
            format!(
                "{} may be a text or a number of one, two or four bytes",
                at.scalar().unwrap_or_default()
            ),
            "write the bytes as a list, [0, 60], or the text in quotes",
        );
        return None;
    }
    let value = match at.scalar() {
        Some(text) => format.read_one(text),
        None => {
            let items = at.list(report, format.expected());
            let texts: Option<Vec<_>> = items.iter().map(At::scalar).collect();
            texts
                .filter(|texts| !texts.is_empty())
                .and_then(|texts| format.read_list(&texts))
        }
    };
    if value.is_none() {
        at.wrong(
            report,
            format!("the value of option {code} is not {}", format.expected()),
            format!("write {code}: {}", format.example()),
        );
    }
    value
}
