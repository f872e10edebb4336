//! What guests are offered: DHCP on the segments that this host serves, and the announcement of a gateway that is new.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{Mode, NetworkBoot};
use crate::gateway::GatewayLink;
use crate::gateway::dhcp::SegmentService;
use crate::id::{IfName, SegmentId};
use crate::kernel::mark;
use crate::node::derived::{LocalSegment, group_of};
use crate::node::effect::{Effect, Facts};
use crate::node::member::Member;

impl Member {
    pub(super) fn derive_dhcp(&mut self, facts: Option<&Facts>) {
        let mut services = BTreeMap::new();
        let mut listen = BTreeMap::new();
        for (id, local) in &self.derived.segments {
            let group = group_of(*id);
            if self.gateways.served_term(group, &self.election).is_none() {
                continue;
            }
            let Some(service) = service_of(*id, local, facts) else {
                continue;
            };
            let link = local.definition.segment.name.gateway();
            let address = service.gateway;
            listen.insert(*id, GatewayLink { link, address });
            services.insert(*id, service);
        }
        for id in self
            .derived
            .services
            .dhcp
            .keys()
            .filter(|id| !services.contains_key(id))
        {
            self.dhcp.remove_segment(*id);
        }
        for (id, service) in &services {
            if self.derived.services.dhcp.get(id) != Some(service) {
                self.dhcp.set_segment(service.clone());
            }
        }
        self.derived.services.dhcp = services;
        if self.derived.services.listen != listen {
            self.derived.services.listen.clone_from(&listen);
            self.effects.push_back(Effect::Listen(listen));
        }
    }

    /// The bridges whose guests may have IPv4 addresses.
    pub(super) fn derive_bridges(&mut self) {
        let here = self.derived.segments.values().map(|local| &local.definition.segment);
        let bridges: BTreeSet<IfName> = here
            .filter(|segment| segment.ipv4.is_some())
            .map(|segment| segment.bridge.clone())
            .collect();
        if self.derived.services.bridges != bridges {
            self.derived.services.bridges.clone_from(&bridges);
            self.effects.push_back(Effect::HearAddresses(bridges));
        }
    }

    /// A term that is new here is announced on its segments: the guests' neighbour tables and all bridges learn.
    pub(super) fn announce_gateways(&mut self) {
        let mut announced = BTreeMap::new();
        for group in self.derived.groups() {
            let Some(term) = self.gateways.served_term(group, &self.election) else {
                continue;
            };
            announced.insert(group, term);
            if self.derived.services.announced.get(&group) == Some(&term) {
                continue;
            }
            for id in self.derived.segments_of(group) {
                let Some(local) = self.derived.segments.get(&id) else {
                    continue;
                };
                let Some(address) = local.definition.segment.gateway_v4() else {
                    continue;
                };
                self.effects.push_back(Effect::Announce {
                    segment: id,
                    link: local.definition.segment.name.gateway(),
                    mac: mark::gateway_mac(id),
                    address,
                });
            }
        }
        self.derived.services.announced = announced;
    }
}

fn service_of(id: SegmentId, local: &LocalSegment, facts: Option<&Facts>) -> Option<SegmentService> {
    let segment = &local.definition.segment;
    let ipv4 = segment.ipv4.as_ref()?;
    let dhcp = ipv4.dhcp.as_ref()?;
    let upstream: Vec<_> = segment.dns.upstream_v4().collect();
    let dns = if upstream.is_empty() {
        facts.map(|facts| facts.resolvers.clone()).unwrap_or_default()
    } else {
        upstream
    };
    let reserved = dhcp.reservations.iter();
    Some(SegmentService {
        segment: id,
        subnet: ipv4.subnet,
        gateway: ipv4.gateway,
        router: match segment.mode {
            Mode::Nat | Mode::Routed => Some(ipv4.gateway),
            Mode::Isolated | Mode::Bridged(_) => None,
        },
        mtu: u16::try_from(local.mtu.bytes()).unwrap_or(u16::MAX),
        dns,
        domain: segment.dns.domain.clone(),
        options: dhcp
            .options
            .iter()
            .map(|(code, option)| (*code, option.bytes()))
            .collect(),
        boot: dhcp.boot.clone(),
        reserved_boot: reserved
            .filter(|reservation| reservation.boot != NetworkBoot::default())
            .map(|reservation| (reservation.mac, reservation.boot.clone()))
            .collect(),
        lease_time: dhcp.lease_time,
    })
}
