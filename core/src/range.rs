//! Addresses as numbers, and runs of them: what a pool is made of.
//!
//! A run of addresses with equal values is one entry, in memory, on disk and in messages: a /16 without a lease
//! costs as much as a single address. Nothing here knows owners or leases.
//!
//! ```text
//! set(.16-.254, A)      .16 ───────────── A ───────────── .254
//! set(.20, B)           .16 ─ A ─ .19 │ B │ .21 ─── A ─── .254
//! set(.20, A)           .16 ───────────── A ───────────── .254     equal neighbours join again
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// An IPv4 or IPv6 address as one number: IPv4 addresses are those of `::ffff:0:0/96` (RFC 4291 section 2.5.5.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(u128);

impl Address {
    /// The address as the rest of the world writes it.
    pub fn ip(self) -> IpAddr {
        Ipv6Addr::from_bits(self.0).to_canonical()
    }

    /// The number itself, for the wire and the disk.
    pub const fn bits(self) -> u128 {
        self.0
    }

    /// The address with this number.
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    fn after(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }

    fn before(self) -> Option<Self> {
        self.0.checked_sub(1).map(Self)
    }
}

impl<A: Into<IpAddr>> From<A> for Address {
    fn from(ip: A) -> Self {
        match ip.into() {
            IpAddr::V4(v4) => Self(v4.to_ipv6_mapped().to_bits()),
            IpAddr::V6(v6) => Self(v6.to_bits()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ip().fmt(f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ip().fmt(f)
    }
}

/// A run of addresses, both ends included; never empty.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range {
    first: Address,
    last: Address,
}

impl Range {
    /// From `first` to `last`, both included; none if they are the wrong way round.
    pub fn new(first: impl Into<Address>, last: impl Into<Address>) -> Option<Self> {
        let (first, last) = (first.into(), last.into());
        (first <= last).then_some(Self { first, last })
    }

    /// One address.
    pub fn one(address: impl Into<Address>) -> Self {
        let address = address.into();
        Self {
            first: address,
            last: address,
        }
    }

    /// Its lowest address.
    pub const fn first(self) -> Address {
        self.first
    }

    /// Its highest address.
    pub const fn last(self) -> Address {
        self.last
    }

    /// How many addresses it has; at most `u64::MAX` is said.
    pub fn size(self) -> u64 {
        u64::try_from(self.last.0 - self.first.0)
            .unwrap_or(u64::MAX)
            .saturating_add(1)
    }

    /// Each of its addresses.
    pub fn addresses(self) -> impl Iterator<Item = Address> {
        (self.first.0..=self.last.0).map(Address)
    }

    /// Whether the address is in it.
    pub fn contains(self, address: Address) -> bool {
        self.first <= address && address <= self.last
    }

    /// What both have.
    pub fn common(self, other: Range) -> Option<Range> {
        let (first, last) = (self.first.max(other.first), self.last.min(other.last));
        (first <= last).then_some(Range { first, last })
    }

    /// Both as one run, if `other` begins right after this one ends.
    pub fn joined(self, other: Range) -> Option<Range> {
        (self.last.after() == Some(other.first)).then_some(Range {
            first: self.first,
            last: other.last,
        })
    }

    /// Its last `count` addresses, or all of it; none for a count of zero.
    pub fn take_last(self, count: u64) -> Option<Range> {
        let less = u128::from(count.checked_sub(1)?);
        Some(Range {
            first: Address(self.last.0.saturating_sub(less).max(self.first.0)),
            last: self.last,
        })
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            self.first.fmt(f)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl fmt::Debug for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A value for each of some addresses; runs of equal values are one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeMap<V> {
    runs: BTreeMap<Address, (Address, V)>,
}

impl<V> Default for RangeMap<V> {
    fn default() -> Self {
        Self { runs: BTreeMap::new() }
    }
}

impl<V: Clone + PartialEq> RangeMap<V> {
    /// The value of one address.
    pub fn at(&self, address: Address) -> Option<&V> {
        self.run(address).map(|(_, value)| value)
    }

    /// The run that an address lies in, and its value.
    pub fn run(&self, address: Address) -> Option<(Range, &V)> {
        let (&first, &(last, ref value)) = self.runs.range(..=address).next_back()?;
        (address <= last).then_some((Range { first, last }, value))
    }

    /// All runs in order.
    pub fn iter(&self) -> impl Iterator<Item = (Range, &V)> {
        self.runs
            .iter()
            .map(|(&first, &(last, ref value))| (Range { first, last }, value))
    }

    /// The parts of runs that lie in `range`, in order.
    pub fn within(&self, range: Range) -> impl Iterator<Item = (Range, &V)> {
        let from = self.run(range.first).map_or(range.first, |(run, _)| run.first);
        self.runs
            .range(from..=range.last)
            .filter_map(move |(&first, &(last, ref value))| Some((Range { first, last }.common(range)?, value)))
    }

    /// The first run that begins at an address or after it.
    pub fn next(&self, from: Address) -> Option<(Range, &V)> {
        self.runs
            .range(from..)
            .next()
            .map(|(&first, &(last, ref value))| (Range { first, last }, value))
    }

    /// The parts of `range` that have no value, in order.
    pub fn gaps(&self, range: Range) -> Vec<Range> {
        let mut gaps = Vec::new();
        let mut next = Some(range.first);
        for (run, _) in self.within(range) {
            if let Some(from) = next
                && let Some(before) = run.first.before()
                && from <= before
            {
                gaps.push(Range {
                    first: from,
                    last: before,
                });
            }
            next = run.last.after();
        }
        if let Some(from) = next
            && from <= range.last
        {
            gaps.push(Range {
                first: from,
                last: range.last,
            });
        }
        gaps
    }

    /// Gives every address of `range` this value.
    pub fn set(&mut self, range: Range, value: V) {
        self.clear(range);
        let Range { mut first, mut last } = range;
        if let Some(before) = first.before()
            && let Some((run, old)) = self.run(before)
            && *old == value
        {
            first = run.first;
        }
        if let Some(after) = last.after()
            && let Some((run, old)) = self.run(after)
            && *old == value
        {
            last = run.last;
            self.runs.remove(&after);
        }
        self.runs.insert(first, (last, value));
    }

    /// Takes the values of all addresses of `range` away.
    pub fn clear(&mut self, range: Range) {
        let touched: Vec<Address> = self.within(range).map(|(part, _)| part.first).collect();
        for address in touched {
            let Some((run, value)) = self.run(address) else {
                continue;
            };
            let value = value.clone();
            self.runs.remove(&run.first);
            if let Some(before) = range.first.before()
                && run.first <= before
            {
                self.runs.insert(run.first, (before, value.clone()));
            }
            if let Some(after) = range.last.after()
                && after <= run.last
            {
                self.runs.insert(after, (run.last, value));
            }
        }
    }

    /// The number of entries.
    pub fn entries(&self) -> usize {
        self.runs.len()
    }

    /// Whether no address has a value.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(first: u8, last: u8) -> Range {
        Range::new(IpAddr::from([10, 0, 0, first]), IpAddr::from([10, 0, 0, last])).unwrap()
    }

    #[test]
    fn both_families_keep_their_spelling() {
        for text in ["192.168.124.16", "fd10:0:2::100", "::", "255.255.255.255"] {
            let ip: IpAddr = text.parse().unwrap();
            assert_eq!(Address::from(ip).ip(), ip);
        }
        assert_eq!(range(16, 254).to_string(), "10.0.0.16-10.0.0.254");
        assert_eq!(range(16, 254).size(), 239);
    }

    proptest! {
        #[test]
        fn runs_say_the_same_as_single_addresses(steps in prop::collection::vec((0u8..40, 0u8..12, 0u8..4), 1..60)) {
            let mut runs = RangeMap::default();
            let mut single: BTreeMap<u8, u8> = BTreeMap::new();
            for (first, more, value) in steps {
                let last = first + more;
                if value == 0 {
                    runs.clear(range(first, last));
                    (first..=last).for_each(|a| { single.remove(&a); });
                } else {
                    runs.set(range(first, last), value);
                    (first..=last).for_each(|a| { single.insert(a, value); });
                }
                for a in 0..60 {
                    prop_assert_eq!(runs.at(IpAddr::from([10, 0, 0, a]).into()), single.get(&a));
                }
                let joined = (0u8..60).filter(|a| single.get(a).is_some_and(|v| a.checked_sub(1).and_then(|b| single.get(&b)) != Some(v)));
                prop_assert_eq!(runs.entries(), joined.count());
                let missing: u64 = runs.gaps(range(0, 59)).iter().map(|gap| gap.size()).sum();
                prop_assert_eq!(missing, 60 - single.len() as u64);
            }
        }
    }
}
