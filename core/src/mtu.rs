//! Sizes: the one place that knows what an encapsulation costs.
//!
//! Two sizes that must never be mixed up have two types: what the underlay carries ([`UnderlayMtu`]) and what a guest
//! may send through a segment ([`OverlayMtu`]). Guests are *told* the small one; the devices stay as large as the
//! underlay ([`device`]), so that the kernel itself answers a guest that was not told with "fragmentation needed".
//! A device of the "right" size would swallow such a frame in silence instead.

use crate::id::HostId;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

/// Outer Ethernet-payload bytes of VXLAN over IPv4: IPv4 20, UDP 8, VXLAN 8, inner Ethernet 14 (RFC 7348 section 5).
const OVERHEAD_V4: u32 = 50;
/// The same over IPv6, whose header has 40 bytes.
const OVERHEAD_V6: u32 = 70;
/// IPv4 header and TCP header without options.
const TCP_OVERHEAD_V4: u32 = 40;
/// The least that an IPv4 host must take in one piece (RFC 791), and the least a segment may have.
pub const SMALLEST: u32 = 576;

/// The largest IP packet, in bytes, that the underlay carries unfragmented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnderlayMtu(u32);

/// The largest IP packet, in bytes, that a guest may send through a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OverlayMtu(u32);

impl UnderlayMtu {
    /// The MTU of the route to the peers, in bytes; the kernel's 0 ("no limit of its own") must be resolved before.
    pub const fn new(bytes: u32) -> Self {
        Self(bytes)
    }

    /// In bytes.
    pub const fn bytes(self) -> u32 {
        self.0
    }

    /// What is left for guests when the outer packets go from `vtep`'s address family.
    pub const fn overlay(self, vtep: IpAddr) -> OverlayMtu {
        OverlayMtu(self.0.saturating_sub(overhead(vtep)))
    }
}

impl OverlayMtu {
    /// In bytes, as configured or as told by another host.
    pub const fn new(bytes: u32) -> Self {
        Self(bytes)
    }

    /// In bytes.
    pub const fn bytes(self) -> u32 {
        self.0
    }

    /// The underlay packet that a guest's packet of this size becomes when it leaves from `vtep`.
    pub const fn underlay(self, vtep: IpAddr) -> UnderlayMtu {
        UnderlayMtu(self.0.saturating_add(overhead(vtep)))
    }

    /// The largest TCP payload over IPv4 that fits, in bytes: what the gateway clamps a connection's MSS to.
    pub const fn tcp_payload_v4(self) -> u32 {
        self.0.saturating_sub(TCP_OVERHEAD_V4)
    }
}

impl fmt::Display for UnderlayMtu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for OverlayMtu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Bytes that VXLAN adds to a guest's packet when the outer packet comes from `vtep`.
pub const fn overhead(vtep: IpAddr) -> u32 {
    match vtep {
        IpAddr::V4(_) => OVERHEAD_V4,
        IpAddr::V6(_) => OVERHEAD_V6,
    }
}

/// A pair of hosts, whichever of them asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(HostId, HostId);

impl Path {
    /// The path between two hosts; the same in both directions.
    pub fn between(one: HostId, other: HostId) -> Self {
        Self(one.min(other), one.max(other))
    }

    /// Whether both ends are in `hosts`.
    fn joins(self, hosts: &BTreeMap<HostId, OverlayMtu>) -> bool {
        hosts.contains_key(&self.0) && hosts.contains_key(&self.1)
    }
}

/// What the guests of a segment are told: the least of its hosts' MTUs, of the probed paths between two of them, and
/// of the configured bound. `None` for a segment without hosts.
pub fn segment(
    hosts: &BTreeMap<HostId, OverlayMtu>,
    probed: &BTreeMap<Path, OverlayMtu>,
    bound: Option<OverlayMtu>,
) -> Option<OverlayMtu> {
    let carried = hosts.values().copied().min()?;
    let paths = probed.iter().filter(|(path, _)| path.joins(hosts)).map(|(_, mtu)| *mtu);
    paths.chain(bound).fold(carried, OverlayMtu::min).into()
}

/// The size of a segment's bridge and VXLAN device: whatever a guest that was told nothing may send, which is at most
/// what the underlay carries; more where another host of the segment has told its guests more.
pub fn device(underlay: UnderlayMtu, segment: OverlayMtu) -> u32 {
    underlay.0.max(segment.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

    #[test]
    fn encapsulation_costs_50_bytes_on_ipv4_and_70_on_ipv6() {
        assert_eq!(UnderlayMtu::new(1500).overlay(V4), OverlayMtu::new(1450));
        assert_eq!(UnderlayMtu::new(9000).overlay(V6), OverlayMtu::new(8930));
        assert_eq!(OverlayMtu::new(1450).underlay(V4), UnderlayMtu::new(1500));
        assert_eq!(
            UnderlayMtu::new(20).overlay(V6),
            OverlayMtu::new(0),
            "nonsense from a kernel must not wrap around"
        );
    }

    #[test]
    fn a_segment_takes_the_least_of_hosts_paths_and_bound() {
        let host = HostId;
        let mtu = OverlayMtu::new;
        let hosts = BTreeMap::from([(host(1), mtu(8950)), (host(2), mtu(1450)), (host(3), mtu(1450))]);
        let check = |probed: &[(u64, u64, u32)], bound: Option<u32>, expected: u32| {
            let probed = probed
                .iter()
                .map(|&(a, b, bytes)| (Path::between(host(a), host(b)), mtu(bytes)))
                .collect();
            assert_eq!(segment(&hosts, &probed, bound.map(mtu)), Some(mtu(expected)));
        };
        check(&[], None, 1450);
        check(&[], Some(1400), 1400);
        check(&[], Some(9000), 1450);
        check(&[(3, 1, 1350)], Some(1400), 1350);
        check(&[(1, 9, 1000)], None, 1450);
        assert_eq!(segment(&BTreeMap::new(), &BTreeMap::new(), Some(mtu(1400))), None);
    }

    #[test]
    fn devices_stay_as_large_as_the_underlay() {
        assert_eq!(device(UnderlayMtu::new(1500), OverlayMtu::new(1450)), 1500);
        assert_eq!(device(UnderlayMtu::new(1400), OverlayMtu::new(1450)), 1450);
    }
}
