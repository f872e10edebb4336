//! Reading DHCP options: a list of addresses, a list of bytes, or a text; never one that the server itself sets.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::DhcpOption;
use super::cursor::At;
use super::error::Report;

/// Options that the server sets, or that mean something only between server, relay and client (RFC 2132, 3046, 4361),
/// with the key to use instead.
const OWN: [(u8, &str); 20] = [
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
    (82, "only relays send it"),
    (118, "only relays send it"),
];

/// Options whose value is a list of IPv4 addresses (RFC 2132), so that a text there is a slip.
const ADDRESSES: [u8; 21] = [
    4, 5, 7, 8, 9, 10, 11, 16, 32, 41, 42, 44, 45, 48, 49, 65, 68, 69, 70, 71, 72,
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
    const EXPECTED: &str = "a list of IPv4 addresses, a list of bytes (0 to 255), or a text";
    if let Some(text) = at.scalar() {
        if ADDRESSES.contains(&code) {
            at.wrong(
                report,
                format!("option {code} is a list of addresses"),
                format!("write [{text}]"),
            );
            return None;
        }
        if at.is_plain() && text.parse::<f64>().is_ok() {
            at.wrong(
                report,
                format!("{text} may be a text or a number of one, two or four bytes"),
                "write the bytes as a list, [0, 60], or the text in quotes",
            );
            return None;
        }
        return Some(DhcpOption::Text(text.to_owned()));
    }
    let items = at.list(report, EXPECTED);
    let texts = items.iter().filter_map(At::scalar).collect::<Vec<_>>();
    if texts.len() == items.len() && !items.is_empty() {
        if let Ok(addresses) = texts.iter().map(|text| text.parse::<Ipv4Addr>()).collect() {
            return Some(DhcpOption::Addresses(addresses));
        }
        if let Ok(bytes) = texts.iter().map(|text| text.parse::<u8>()).collect()
            && !ADDRESSES.contains(&code)
        {
            return Some(DhcpOption::Bytes(bytes));
        }
    }
    at.wrong(
        report,
        format!("the value of option {code} is not {EXPECTED}"),
        "give only addresses, or only bytes",
    );
    None
}
