//! What two segments of one cluster cannot have in common.

use std::fmt;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::segment::{PortForward, Segment};
use crate::id::{IfName, SegmentName, Vni};

/// Two segments that cannot stand beside each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    /// The one that was named first.
    pub first: SegmentName,
    /// The one that was named after it.
    pub second: SegmentName,
    /// What they have in common.
    pub what: Shared,
}

impl fmt::Display for Clash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "segment {:?}: {}: {} {:?}",
            self.second.as_str(),
            self.what.key(),
            self.what,
            self.first.as_str()
        )
    }
}

/// What two segments have in common and must not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shared {
    /// `name`, by which everything refers to a segment.
    Name(SegmentName),
    /// `vni`: their frames would mix.
    Vni(Vni),
    /// `bridge`: their guests would be on one link.
    Bridge(IfName),
    /// Addresses; the second one's IPv4 subnet.
    Ipv4(Ipv4Net),
    /// Addresses; the second one's IPv6 subnet.
    Ipv6(Ipv6Net),
    /// A port of the gateway host; the second one's forward and its place in the list.
    Port(usize, PortForward),
    /// The address on the uplink.
    Uplink(IpNet),
}

impl Shared {
    /// The path of the key in the segment.
    pub fn key(&self) -> &'static str {
        match self {
            Shared::Name(_) => "name",
            Shared::Vni(_) => "vni",
            Shared::Bridge(_) => "bridge",
            Shared::Ipv4(_) => "ipv4.subnet",
            Shared::Ipv6(_) => "ipv6.subnet",
            Shared::Port(..) => "ports",
            Shared::Uplink(_) => "uplink_address",
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Shared::Name(_) => "give each segment its own name",
            Shared::Vni(_) => "give each segment its own VNI",
            Shared::Bridge(_) => "give each segment its own bridge",
            Shared::Ipv4(_) | Shared::Ipv6(_) => "give each segment its own subnet",
            Shared::Port(..) => "choose another port: both segments may have the same gateway host",
            Shared::Uplink(_) => "give each segment its own address",
        }
    }
}

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shared::Name(_) => f.write_str("the name is already used by segment"),
            Shared::Vni(vni) => write!(f, "VNI {vni} is already used by segment"),
            Shared::Bridge(bridge) => write!(f, "bridge {:?} is already used by segment", bridge.as_str()),
            Shared::Ipv4(subnet) => write!(f, "{subnet} overlaps the subnet of segment"),
            Shared::Ipv6(subnet) => write!(f, "{subnet} overlaps the subnet of segment"),
            Shared::Port(_, forward) => write!(
                f,
                "{} {} is already forwarded by segment",
                forward.protocol, forward.listen
            ),
            Shared::Uplink(address) => write!(f, "{address} is already the uplink address of segment"),
        }
    }
}

/// The clashes among segments that one cluster is to have; empty if they can stand together.
pub fn check_together(segments: &[&Segment]) -> Vec<Clash> {
    let outlines = segments.iter().map(|segment| Outline::of(segment)).collect::<Vec<_>>();
    let clash = |(first, second, what): (usize, usize, Shared)| Clash {
        first: segments[first].name.clone(),
        second: segments[second].name.clone(),
        what,
    };
    clashes(&outlines).into_iter().map(clash).collect()
}

/// What is known of a segment that may have faults elsewhere.
#[derive(Clone, Debug, Default)]
pub(super) struct Outline {
    pub(super) name: Option<SegmentName>,
    pub(super) vni: Option<Vni>,
    pub(super) bridge: Option<IfName>,
    pub(super) ipv4: Option<Ipv4Net>,
    pub(super) ipv6: Option<Ipv6Net>,
    pub(super) ports: Vec<PortForward>,
    pub(super) uplink: Option<IpNet>,
}

impl Outline {
    fn of(segment: &Segment) -> Self {
        Self {
            name: Some(segment.name.clone()),
            vni: Some(segment.vni),
            bridge: Some(segment.bridge.clone()),
            ipv4: segment.ipv4.as_ref().map(|ipv4| ipv4.subnet),
            ipv6: segment.ipv6.as_ref().map(|ipv6| ipv6.subnet),
            ports: segment.ports.clone(),
            uplink: segment.uplink_address,
        }
    }
}

/// The clashes, with the positions of both segments, the earlier one first.
pub(super) fn clashes(outlines: &[Outline]) -> Vec<(usize, usize, Shared)> {
    let mut found = Vec::new();
    for (second, b) in outlines.iter().enumerate() {
        for (first, a) in outlines[..second].iter().enumerate() {
            found.extend(shared(a, b).into_iter().map(|what| (first, second, what)));
        }
    }
    found
}

/// What `b` has in common with `a`.
fn shared(a: &Outline, b: &Outline) -> Vec<Shared> {
    let mut found = Vec::new();
    let same_name = same(&a.name, &b.name);
    found.extend(same_name.clone().map(Shared::Name));
    found.extend(same(&a.vni, &b.vni).map(Shared::Vni));
    // Where the name is the same, so is the default bridge: one message is enough.
    found.extend(
        same(&a.bridge, &b.bridge)
            .filter(|_| same_name.is_none())
            .map(Shared::Bridge),
    );
    if let (Some(a), Some(b)) = (a.ipv4, b.ipv4)
        && (a.contains(&b) || b.contains(&a))
    {
        found.push(Shared::Ipv4(b));
    }
    if let (Some(a), Some(b)) = (a.ipv6, b.ipv6)
        && (a.contains(&b) || b.contains(&a))
    {
        found.push(Shared::Ipv6(b));
    }
    if let (Some(a), Some(b)) = (a.uplink, b.uplink)
        && a.addr() == b.addr()
    {
        found.push(Shared::Uplink(b));
    }
    // Forwards hold on the gateway host's uplink, or on the segment's own address there.
    if a.uplink.map(|net| net.addr()) == b.uplink.map(|net| net.addr()) {
        let taken = |(_, forward): &(usize, &PortForward)| a.ports.iter().any(|other| other.overlaps(forward));
        let ports = b.ports.iter().enumerate().filter(taken);
        found.extend(ports.map(|(index, forward)| Shared::Port(index, forward.clone())));
    }
    found
}

fn same<T: Clone + PartialEq>(a: &Option<T>, b: &Option<T>) -> Option<T> {
    b.clone().filter(|_| a == b)
}
