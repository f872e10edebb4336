//! Single values with a spelling of our own: durations, ranges, names, labels, paths, addresses with a port.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use super::cursor::At;
use super::error::Report;
use super::range::{PortRange, Range4, Range6};
use crate::id::IfName;
use crate::time::Duration;

/// A duration: `3600` (seconds), `90m`, `1h30m`; units d, h, m, s, each at most once, the larger first.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let seconds = if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().ok()?
    } else {
        let mut rest = text;
        let mut total = 0_u64;
        for (unit, seconds) in [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)] {
            let Some((number, after)) = rest.split_once(unit) else {
                continue;
            };
            if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            total = number.parse::<u64>().ok()?.checked_mul(seconds)?.checked_add(total)?;
            rest = after;
        }
        if rest.is_empty() && !text.is_empty() {
            total
        } else {
            return None;
        }
    };
    Some(Duration::from_secs(seconds))
}

/// Why a range of addresses cannot be read.
pub(super) enum BadRange {
    /// Not two addresses with a hyphen between.
    Unreadable,
    /// The last lies below the first.
    Reversed,
}

fn range<T: FromStr + Ord>(text: &str) -> Result<(T, T), BadRange> {
    let (first, last) = text.split_once('-').ok_or(BadRange::Unreadable)?;
    let (Ok(first), Ok(last)) = (first.trim().parse::<T>(), last.trim().parse::<T>()) else {
        return Err(BadRange::Unreadable);
    };
    if first <= last {
        Ok((first, last))
    } else {
        Err(BadRange::Reversed)
    }
}

fn read_range<T: FromStr + Ord>(at: &At<'_>, report: &mut Report, expected: &str) -> Option<(T, T)> {
    let text = at.text(report, expected)?;
    match range(text) {
        Ok(range) => Some(range),
        Err(BadRange::Unreadable) => {
            at.wrong(
                report,
                format!("{text:?} is not {expected}"),
                "write FIRST-LAST, both included",
            );
            None
        }
        Err(BadRange::Reversed) => {
            at.wrong(
                report,
                format!("the range {text} is reversed"),
                "put the lower one first",
            );
            None
        }
    }
}

pub(super) fn range4(at: &At<'_>, report: &mut Report) -> Option<Range4> {
    let (first, last) = read_range::<Ipv4Addr>(at, report, "a range of IPv4 addresses (10.0.0.16-10.0.0.254)")?;
    Some(Range4 { first, last })
}

pub(super) fn range6(at: &At<'_>, report: &mut Report) -> Option<Range6> {
    let (first, last) = read_range::<Ipv6Addr>(at, report, "a range of IPv6 addresses (fd00::100-fd00::1ff)")?;
    Some(Range6 { first, last })
}

/// One port or a range of ports.
pub(super) fn ports(at: &At<'_>, report: &mut Report) -> Option<PortRange> {
    const EXPECTED: &str = "a port or a range of ports (8080 or 5000-5010), from 1 to 65535";
    let text = at.text(report, EXPECTED)?;
    let whole = if text.contains('-') {
        text.to_owned()
    } else {
        format!("{text}-{text}")
    };
    match range::<u16>(&whole) {
        Ok((first, last)) if first > 0 && !text.contains('+') => Some(PortRange { first, last }),
        Ok(_) | Err(BadRange::Unreadable) => {
            at.wrong(
                report,
                format!("{text:?} is not {EXPECTED}"),
                "give ports from 1 to 65535",
            );
            None
        }
        Err(BadRange::Reversed) => {
            at.wrong(
                report,
                format!("the range {text} is reversed"),
                "put the lower port first",
            );
            None
        }
    }
}

pub(super) fn yes_or_no<T: Clone>(at: &At<'_>, report: &mut Report, yes: T, no: T) -> Option<T> {
    at.word(report, &[("true", yes), ("false", no)])
}

/// An address with a port; without one if `default` is given.
pub(super) fn socket(at: &At<'_>, report: &mut Report, default: Option<u16>) -> Option<SocketAddr> {
    const EXPECTED: &str = "an address with a port (192.0.2.1:7480 or [2001:db8::1]:7480)";
    let text = at.text(report, EXPECTED)?;
    let bare = || Some(SocketAddr::new(text.parse().ok()?, default?));
    match text.parse().ok().or_else(bare) {
        Some(address) if address.port() > 0 => Some(address),
        Some(_) => {
            at.wrong(report, format!("{text} has port 0"), "give a port from 1 to 65535");
            None
        }
        None => {
            at.wrong(
                report,
                format!("{text:?} is not {EXPECTED}"),
                "give a numeric address; names are not resolved here",
            );
            None
        }
    }
}

/// An address that one station can have: not unspecified, multicast, loopback or broadcast.
pub(super) fn unicast(at: &At<'_>, report: &mut Report) -> Option<IpAddr> {
    let address = at.parse::<IpAddr>(report, "an IP address", "give a numeric IPv4 or IPv6 address")?;
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    if address.is_unspecified() || address.is_multicast() || address.is_loopback() || broadcast {
        at.wrong(
            report,
            format!("{address} is not a unicast address"),
            "give a unicast address",
        );
        return None;
    }
    Some(address)
}

pub(super) fn path(at: &At<'_>, report: &mut Report) -> Option<PathBuf> {
    let text = at.text(report, "an absolute path")?;
    if text.starts_with('/') && !text.contains('\0') {
        return Some(PathBuf::from(text));
    }
    at.wrong(
        report,
        format!("{text:?} is not an absolute path"),
        "begin it with a slash",
    );
    None
}

/// A host's or domain's name: labels of letters, digits and hyphens, 1 to 63 bytes each, `longest` bytes in all
/// (RFC 1123 section 2.1).
pub(super) fn domain(at: &At<'_>, report: &mut Report, what: &str, longest: usize) -> Option<String> {
    let text = at.text(report, what)?;
    if text.len() <= longest && is_domain(text) {
        return Some(text.to_owned());
    }
    wrong_name(at, report, text, what, longest);
    None
}

pub(super) fn is_domain(text: &str) -> bool {
    !text.is_empty()
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

pub(super) fn wrong_name(at: &At<'_>, report: &mut Report, text: &str, what: impl Display, longest: usize) {
    at.wrong(
        report,
        format!("{text:?} is not {what}"),
        format!("use letters, digits, hyphens and dots, at most {longest} characters"),
    );
}

/// A label's key or value.
fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/'))
}

pub(super) fn interface(at: &At<'_>, report: &mut Report) -> Option<IfName> {
    at.parse(
        report,
        "an interface name",
        "use 1 to 15 bytes without slash, colon or space",
    )
}

/// Labels of a host, or those that a segment asks for.
pub(super) fn labels(at: &At<'_>, report: &mut Report) -> BTreeMap<String, String> {
    const HINT: &str = "use letters, digits, `-`, `_`, `.` and `/`, at most 63 characters";
    let mut labels = BTreeMap::new();
    for (key, at) in at.entries(report, "a mapping of labels, { rack: a }") {
        if !is_label(key) {
            at.wrong(report, format!("{key:?} is not a label name"), HINT);
        }
        let Some(value) = at.text(report, "a label value") else {
            continue;
        };
        if !is_label(value) {
            at.wrong(report, format!("{value:?} is not a label value"), HINT);
        }
        labels.insert(key.to_owned(), value.to_owned());
    }
    labels
}
