//! The IPv4 networks that a host has of its own: what its addresses and connected routes lead to, segments aside.

use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::id::IfName;

/// So many are told to other hosts at most. A host may have a route to each of a thousand containers.
const TOLD: usize = 64;

/// A network that a host is connected to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostNetwork {
    /// Its addresses; a single one where it is an address of the host itself.
    pub network: Ipv4Net,
    /// The interface that leads there.
    pub link: IfName,
}

impl HostNetwork {
    /// The network that an address is in; `None`: an address has no so long a prefix.
    pub fn new(address: Ipv4Addr, length: u8, link: IfName) -> Option<Self> {
        let network = Ipv4Net::new(address, length).ok()?.trunc();
        Some(Self { network, link })
    }

    /// Whether it has addresses in common with a subnet.
    pub fn overlaps(&self, subnet: Ipv4Net) -> bool {
        self.network.contains(&subnet) || subnet.contains(&self.network)
    }
}

impl fmt::Display for HostNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { network, link } = self;
        if network.prefix_len() == network.max_prefix_len() {
            write!(f, "{} on {link}", network.addr())
        } else {
            write!(f, "{network} on {link}")
        }
    }
}

/// What other hosts are told of these.
pub fn told(all: &BTreeSet<HostNetwork>) -> BTreeSet<HostNetwork> {
    largest(all, TOLD)
}

/// The largest, none within another one on the same interface.
pub fn largest<'a>(of: impl IntoIterator<Item = &'a HostNetwork>, at_most: usize) -> BTreeSet<HostNetwork> {
    let mut all: Vec<&HostNetwork> = of.into_iter().collect();
    all.sort_by_key(|it| it.network.prefix_len());
    let mut largest: BTreeSet<HostNetwork> = BTreeSet::new();
    for it in all {
        let within = |other: &HostNetwork| other.link == it.link && other.network.contains(&it.network);
        if largest.len() < at_most && !largest.iter().any(within) {
            largest.insert(it.clone());
        }
    }
    largest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(network: &str, link: &str) -> HostNetwork {
        HostNetwork {
            network: network.parse().unwrap(),
            link: IfName::new(link).unwrap(),
        }
    }

    #[test]
    fn networks_overlap_where_one_holds_the_other() {
        let subnet = "192.168.122.0/24".parse().unwrap();
        for (network, overlaps) in [
            ("192.168.122.0/24", true),
            ("192.168.0.0/16", true),
            ("192.168.122.7/32", true),
            ("192.168.122.128/25", true),
            ("192.168.123.0/24", false),
        ] {
            assert_eq!(on(network, "virbr0").overlaps(subnet), overlaps, "{network}");
        }
    }

    #[test]
    fn of_many_the_largest_are_told_and_none_twice() {
        let virbr0 = on("192.168.122.0/24", "virbr0");
        let mut all: BTreeSet<HostNetwork> = (0..1000)
            .map(|number: u32| {
                on(
                    &format!("10.0.{}.{}/32", number / 250, number % 250),
                    &format!("cali{number}"),
                )
            })
            .collect();
        all.extend([
            virbr0.clone(),
            on("192.168.122.1/32", "virbr0"),
            on("192.168.122.1/32", "lo"),
        ]);
        let told = told(&all);
        assert_eq!(told.len(), TOLD);
        assert!(told.contains(&virbr0));
        assert!(!told.contains(&on("192.168.122.1/32", "virbr0")));
    }
}
