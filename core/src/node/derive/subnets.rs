//! What else is in the subnets of segments: networks of this host, and what no gateway may have in its subnet.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;

use crate::cluster::gossip::HostRecord;
use crate::health::{Conflict, Held, SubnetConflict};
use crate::id::SegmentId;
use crate::network::largest;
use crate::node::effect::Facts;
use crate::node::member::Member;

/// So many networks in one subnet are told of.
const LISTED: usize = 8;

impl Member {
    /// The segments here that this host must not be the gateway of: the members, or the next hop, would be sought in them.
    pub(super) fn held_subnets(&self, facts: Option<&Facts>) -> BTreeMap<SegmentId, Held> {
        let hops = facts.iter().flat_map(|facts| &facts.next_hops);
        let hops: Vec<Ipv4Addr> = hops.copied().collect();
        let held = |subnet: Ipv4Net| {
            let hop = hops.iter().find(|hop| subnet.contains(*hop));
            self.vtep_in(subnet).or(hop.map(|hop| Held::NextHop(*hop)))
        };
        let subnets = self.derived.segments.iter();
        subnets
            .filter_map(|(id, local)| Some((*id, held(local.definition.segment.ipv4.as_ref()?.subnet)?)))
            .collect()
    }

    /// A member whose VTEP is in a subnet.
    pub(in crate::node) fn vtep_in(&self, subnet: Ipv4Net) -> Option<Held> {
        let vteps = |host: &HostRecord| {
            host.all_vteps()
                .map(|vtep| (vtep, host.name.clone()))
                .collect::<Vec<_>>()
        };
        let hosts = self.gossip.hosts().flat_map(vteps);
        let statics = self
            .gossip
            .static_peers()
            .map(|peer| (peer.address, "a static peer".to_owned()));
        hosts.chain(statics).find_map(|(vtep, host)| match vtep {
            IpAddr::V4(address) if subnet.contains(&address) => Some(Held::Vtep { address, host }),
            IpAddr::V4(_) | IpAddr::V6(_) => None,
        })
    }

    /// All that is in the subnets of this host's segments and is not theirs; of what bars this host nothing but that.
    pub(in crate::node) fn subnet_conflicts(&self, facts: &Facts) -> Vec<SubnetConflict> {
        let mut found = Vec::new();
        for (id, local) in &self.derived.segments {
            let segment = &local.definition.segment;
            let Some(ipv4) = &segment.ipv4 else { continue };
            let overlapping = facts.networks.iter().filter(|network| network.overlaps(ipv4.subnet));
            let with: Vec<Conflict> = match self.derived.held.get(id) {
                Some(held) => vec![Conflict::Held(held.clone())],
                None => largest(overlapping, LISTED)
                    .into_iter()
                    .map(Conflict::Network)
                    .collect(),
            };
            found.extend(with.into_iter().map(|with| SubnetConflict {
                segment: segment.name.clone(),
                subnet: ipv4.subnet,
                with,
            }));
        }
        found
    }
}
