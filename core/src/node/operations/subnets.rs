//! Where a segment's subnet cannot be: over the hosts' own networks.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::Ipv4Net;

use crate::cluster::gossip::HostRecord;
use crate::config::Segment;
use crate::node::effect::{Force, Refusal};
use crate::node::member::Member;

/// More overlaps are not listed one by one.
const LISTED: usize = 8;

impl Member {
    /// Refuses segments whose subnet is new and is also a network of one of their hosts, or holds a VTEP. One that stands
    /// already is the business of a finding: all else about such a segment can be changed.
    pub(super) fn refuse_overlaps(&self, segments: &[Segment], force: Force) -> Result<(), Refusal> {
        let mut held = Vec::new();
        let mut overlaps = Vec::new();
        let mut silent = BTreeSet::new();
        for segment in segments {
            let Some(subnet) = self.new_subnet(segment) else {
                continue;
            };
            let place = format!("segment {}: ipv4.subnet: {subnet}", segment.name);
            if let Some(vtep) = self.vtep_in(subnet) {
                held.push(format!("{place} holds {vtep}"));
                continue;
            }
            for host in self.hosts_of(segment) {
                let networks = host.networks.iter().filter(|network| network.overlaps(subnet));
                overlaps.extend(networks.map(|network| format!("{place} overlaps {network} of {}", host.name)));
            }
            silent.extend(self.silent_hosts(segment));
        }
        let insists = force == Force::Yes && held.is_empty();
        let all: Vec<String> = held.into_iter().chain(overlaps).collect();
        if all.is_empty() || insists {
            return Ok(());
        }
        let more = all.len().saturating_sub(LISTED);
        let mut what = all.into_iter().take(LISTED).collect::<Vec<_>>().join("; ");
        if more > 0 {
            what = format!("{what}; and {more} more");
        }
        if !silent.is_empty() {
            let silent = silent.into_iter().collect::<Vec<_>>().join(", ");
            what = format!("{what}; unknown on {silent}, out of reach: what was known last counts");
        }
        Err(Refusal::new(what)
            .hint(
                "choose another subnet; `ip -4 route` on the host shows its networks. With --force an overlap is accepted, and \
                 the hosts concerned come last as gateway",
            )
            .until_changed())
    }

    /// Refuses a VTEP in the subnet of a segment: that one could have no gateway any more.
    pub(super) fn refuse_within_segment(&self, name: &str, vtep: IpAddr) -> Result<(), Refusal> {
        let IpAddr::V4(address) = vtep else { return Ok(()) };
        for known in self.catalogue.iter() {
            let segment = &known.segment;
            if let Some(ipv4) = segment.ipv4.as_ref().filter(|ipv4| ipv4.subnet.contains(&address)) {
                let (subnet, segment) = (ipv4.subnet, &segment.name);
                let what = format!("{name}: the VTEP address {vtep} is in the subnet {subnet} of segment {segment}");
                return Err(Refusal::new(what)
                    .hint(format!(
                        "give {name} an address outside of it, or {segment} another subnet"
                    ))
                    .until_changed());
            }
        }
        Ok(())
    }

    /// The subnet of a segment, if it does not have it already.
    pub(super) fn new_subnet(&self, segment: &Segment) -> Option<Ipv4Net> {
        let subnet = segment.ipv4.as_ref()?.subnet;
        let known = self.catalogue.get(&segment.name);
        let before = known.and_then(|known| known.segment.ipv4.as_ref());
        before.is_none_or(|before| before.subnet != subnet).then_some(subnet)
    }

    /// The hosts of a segment that do not respond, by name: their networks may be others by now.
    pub(super) fn silent_hosts(&self, segment: &Segment) -> Vec<String> {
        let silent = self
            .hosts_of(segment)
            .filter(|host| host.id != self.me && !self.gossip.is_connected(host.id));
        silent.map(|host| host.name.clone()).collect()
    }

    fn hosts_of(&self, segment: &Segment) -> impl Iterator<Item = &HostRecord> {
        self.gossip.hosts().filter(|host| segment.selects(&host.labels))
    }
}
