//! At which of its addresses a host is reached by the members: the source that its kernel takes towards them.
//!
//! A cluster is of one address family. While a host's address of that family is away (a DHCP client that renews it takes
//! seconds), an address of the other one is no substitute: nobody would be reached from it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Towards the outside, where nobody is known yet; for documentation (RFC 5737, RFC 3849), so nobody's in particular.
const OUTSIDE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

/// Towards whom the kernel is asked for its source: the other members that are known, of the family of `before` if any
/// of them is; else those that are to be joined; else anybody.
pub fn destinations(members: &BTreeSet<IpAddr>, join: &[SocketAddr], before: Option<IpAddr>) -> Vec<IpAddr> {
    if members.is_empty() {
        let join: Vec<IpAddr> = join.iter().map(SocketAddr::ip).collect();
        return if join.is_empty() { OUTSIDE.to_vec() } else { join };
    }
    let kin = |of: IpAddr| {
        members
            .iter()
            .copied()
            .filter(move |member| member.is_ipv4() == of.is_ipv4())
    };
    let kin: Vec<IpAddr> = before.into_iter().flat_map(kin).collect();
    if kin.is_empty() {
        members.iter().copied().collect()
    } else {
        kin
    }
}

/// The one of `sources`, one for each destination, that most are reached from; the one in use so far wins, so that a member
/// that comes or goes changes nothing.
pub fn choose(sources: impl IntoIterator<Item = IpAddr>, before: Option<IpAddr>) -> Option<IpAddr> {
    let mut counts: BTreeMap<IpAddr, usize> = BTreeMap::new();
    for source in sources.into_iter().filter(|source| is_usable(*source)) {
        *counts.entry(source).or_default() += 1;
    }
    if let Some(before) = before.filter(|before| counts.contains_key(before)) {
        return Some(before);
    }
    // Of equal ones the first, IPv4 before IPv6.
    let most = counts.values().copied().max()?;
    counts
        .into_iter()
        .find(|(_, count)| *count == most)
        .map(|(source, _)| source)
}

/// Whether others can send to it.
fn is_usable(address: IpAddr) -> bool {
    let local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !local && !address.is_loopback() && !address.is_unspecified() && !address.is_multicast()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn ips(texts: &[&str]) -> BTreeSet<IpAddr> {
        texts.iter().map(|text| ip(text)).collect()
    }

    #[test]
    fn members_come_before_those_to_be_joined_and_those_before_anybody() {
        let join = ["10.0.0.9:7480".parse().unwrap()];
        let members = ips(&["10.0.0.2", "10.0.0.3"]);
        assert_eq!(destinations(&members, &join, None), [ip("10.0.0.2"), ip("10.0.0.3")]);
        assert_eq!(destinations(&BTreeSet::new(), &join, None), [ip("10.0.0.9")]);
        assert_eq!(destinations(&BTreeSet::new(), &[], Some(ip("10.0.0.1"))), OUTSIDE);
    }

    #[test]
    fn the_family_stays_while_a_member_has_it_and_goes_to_theirs_when_none_has() {
        let mixed = ips(&["10.0.0.2", "fd00::2", "fd00::3"]);
        assert_eq!(destinations(&mixed, &[], Some(ip("10.0.0.1"))), [ip("10.0.0.2")]);
        assert_eq!(
            destinations(&mixed, &[], Some(ip("fd00::1"))),
            [ip("fd00::2"), ip("fd00::3")]
        );
        let six = ips(&["fd00::2"]);
        assert_eq!(destinations(&six, &[], Some(ip("10.0.0.1"))), [ip("fd00::2")]);
    }

    #[test]
    fn the_source_in_use_stays_while_a_member_is_reached_from_it() {
        let sources = ["10.0.0.5", "10.0.0.5", "10.0.0.1"].map(ip);
        assert_eq!(choose(sources, None), Some(ip("10.0.0.5")));
        assert_eq!(choose(sources, Some(ip("10.0.0.1"))), Some(ip("10.0.0.1")));
        assert_eq!(choose(sources, Some(ip("10.0.0.77"))), Some(ip("10.0.0.5")));
        assert_eq!(choose(["fd00::1", "10.0.0.1"].map(ip), None), Some(ip("10.0.0.1")));
        assert_eq!(choose(["169.254.0.1", "fe80::1", "127.0.0.1"].map(ip), None), None);
    }
}
