//! `endpoint list`.

use std::net::IpAddr;

use crate::cluster::gossip::Presence;
use crate::id::{Mac, SegmentName};
use crate::node::Node;
use crate::time::Instant;

/// A line of `endpoint list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointLine {
    /// The segment.
    pub segment: SegmentName,
    /// The guest's MAC.
    pub mac: Mac,
    /// Its addresses: leased ones, and those that ARP has shown.
    pub addresses: Vec<IpAddr>,
    /// The name of its host.
    pub host: String,
    /// Its port there.
    pub interface: Option<String>,
}

impl Node {
    /// Where the guests are.
    pub fn endpoint_lines(&self, segment: Option<&SegmentName>, now: Instant) -> Vec<EndpointLine> {
        let Some(formed) = &self.formed else { return Vec::new() };
        let leases = self.lease_lines(segment, now);
        let mut lines = Vec::new();
        for endpoint in formed
            .gossip
            .endpoints()
            .filter(|endpoint| endpoint.presence == Presence::Here)
        {
            let Some(name) = formed.catalogue.name(endpoint.segment) else {
                continue;
            };
            if segment.is_some_and(|only| only != name) {
                continue;
            }
            let leased = leases
                .iter()
                .filter(|line| line.segment == *name && line.lease.client == Some(endpoint.mac))
                .map(|line| line.lease.address.ip());
            let mut addresses: Vec<IpAddr> = endpoint.addresses.iter().copied().chain(leased).collect();
            addresses.sort();
            addresses.dedup();
            lines.push(EndpointLine {
                segment: name.clone(),
                mac: endpoint.mac,
                addresses,
                host: formed.name_of(endpoint.host),
                interface: (!endpoint.interface.is_empty()).then(|| endpoint.interface.clone()),
            });
        }
        lines
    }
}
