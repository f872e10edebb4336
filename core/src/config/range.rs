//! Ranges of addresses and of ports, both ends included.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// IPv4 addresses from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range4 {
    /// The lowest.
    pub first: Ipv4Addr,
    /// The highest; not below `first`.
    pub last: Ipv4Addr,
}

impl Range4 {
    /// Whether the address is one of the range.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        (self.first..=self.last).contains(&address)
    }

    /// How many addresses it has.
    pub fn size(&self) -> u64 {
        u64::from(self.last.to_bits()) + 1 - u64::from(self.first.to_bits())
    }

    pub(super) fn without(self, taken: &BTreeSet<Ipv4Addr>) -> Vec<Range4> {
        let mut parts = Vec::new();
        let mut next = u64::from(self.first.to_bits());
        let end = u64::from(self.last.to_bits());
        let mut part = |first: u64, last: u64| {
            if let (Ok(first), Ok(last)) = (u32::try_from(first), u32::try_from(last)) {
                parts.push(Range4 {
                    first: Ipv4Addr::from_bits(first),
                    last: Ipv4Addr::from_bits(last),
                });
            }
        };
        for address in taken.range(self.first..=self.last) {
            let address = u64::from(address.to_bits());
            if next < address {
                part(next, address - 1);
            }
            next = address + 1;
        }
        if next <= end {
            part(next, end);
        }
        parts
    }
}

impl fmt::Display for Range4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// IPv6 addresses from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range6 {
    /// The lowest.
    pub first: Ipv6Addr,
    /// The highest; not below `first`.
    pub last: Ipv6Addr,
}

impl Range6 {
    /// Whether the address is one of the range.
    pub fn contains(&self, address: Ipv6Addr) -> bool {
        (self.first..=self.last).contains(&address)
    }
}

impl fmt::Display for Range6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// Ports from `first` to `last`, both included; 1 to 65535.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortRange {
    /// The lowest.
    pub first: u16,
    /// The highest; not below `first`.
    pub last: u16,
}

impl PortRange {
    /// Whether the port is one of the range.
    pub const fn contains(&self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }

    /// Whether the two have a port in common.
    pub const fn overlaps(&self, other: &PortRange) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            self.first.fmt(f)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}
