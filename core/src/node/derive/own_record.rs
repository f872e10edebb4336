//! What this host says of itself in gossip; and, while its underlay is missing, what it said last.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::cluster::catalogue::Definition;
use crate::cluster::gossip::{self, HostRecord, Lack};
use crate::config::{self, HostConfig, Transport};
use crate::election::ElectionUplink;
use crate::gateway::uplink::Health;
use crate::id::{HostId, IfName, SegmentId, SegmentName};
use crate::kernel::inputs::{BridgeNetfilter, Tracking};
use crate::network;
use crate::node::effect::Facts;
use crate::node::member::{Duty, Member};
use crate::time::Instant;

impl Member {
    /// Says what this host is.
    pub(super) fn tell_host(
        &mut self,
        config: &HostConfig,
        facts: &Facts,
        version: &str,
        lacking: &BTreeSet<SegmentName>,
        now: Instant,
    ) {
        let host = host_record(self.me, self.instance, config, facts, version, self.duty());
        let segments = self
            .catalogue
            .iter()
            .filter(|known| known.segment.selects(&config.host.labels))
            .map(|known| (known.id, known.generation))
            .collect();
        let vteps = self
            .catalogue
            .iter()
            .filter(|known| known.segment.selects(&config.host.labels))
            .filter_map(|known| Some((known.id, self.vtep_of(known, facts)?)))
            .collect();
        let host = HostRecord {
            segments,
            vteps,
            lacks: self.lacks(lacking, facts),
            ..host
        };
        self.gossip.put_host(host, now);
    }

    /// All that keeps this host from doing the job of a gateway, by segment.
    fn lacks(&self, not_whole: &BTreeSet<SegmentName>, facts: &Facts) -> BTreeSet<(SegmentId, Lack)> {
        let beside = |known: &Definition| {
            let ipv4 = known.segment.ipv4.as_ref();
            ipv4.is_some_and(|ipv4| facts.networks.iter().any(|network| network.overlaps(ipv4.subnet)))
        };
        let not_whole = not_whole.iter().filter_map(|name| self.catalogue.get(name));
        let not_whole = not_whole.map(|known| (known.id, Lack::NotWhole));
        let beside = self.catalogue.iter().filter(|known| beside(known));
        not_whole
            .chain(beside.map(|known| (known.id, Lack::SubnetConflict)))
            .collect()
    }

    /// This host's VTEP in a segment that goes by a NIC of its own. While that has no address the last one stays.
    pub(super) fn vtep_of(&self, known: &Definition, facts: &Facts) -> Option<IpAddr> {
        let Transport::Multicast { group, interface } = &known.segment.transport else {
            return None;
        };
        let there = facts.sources.get(&(*group, interface.clone()?)).copied();
        let before = || self.gossip.host(self.me)?.vteps.get(&known.id).copied();
        there.or_else(before).filter(|vtep| *vtep != facts.vtep)
    }

    /// What this host last told the others of itself, while its underlay is missing.
    pub(super) fn remembered_facts(&self, config: &HostConfig) -> Option<Facts> {
        let me = self.gossip.host(self.me)?;
        let named = match &config.host.gateway.uplink {
            config::UplinkSetting::Auto => &[][..],
            config::UplinkSetting::Only(named) => named,
        };
        Some(Facts {
            name: me.name.clone(),
            vtep: me.vtep,
            sources: BTreeMap::new(),
            listen: me.listen,
            // Only a multicast segment without an interface of its own asks for it, and it has nowhere to send yet.
            underlay: config.host.underlay.clone().or_else(|| IfName::new("lo").ok())?,
            underlay_mtu: me.overlay_mtu.underlay(me.vtep),
            uplinks: named.iter().map(|link| (link.clone(), BTreeSet::new())).collect(),
            uplink_health: Health::NoRoute {
                link: named.first().cloned(),
            },
            networks: me.networks.clone(),
            next_hops: BTreeSet::new(),
            resolvers: Vec::new(),
            bridge_netfilter: BridgeNetfilter::LeftOff,
            tracking: Tracking::On,
        })
    }
}

/// What a host says of itself, but for its segments.
pub(in crate::node) fn host_record(
    me: HostId,
    instance: u64,
    config: &HostConfig,
    facts: &Facts,
    version: &str,
    duty: Duty,
) -> HostRecord {
    let priority = u32::from(config.host.gateway.priority);
    HostRecord {
        instance,
        counter: 0,
        id: me,
        name: facts.name.clone(),
        vtep: facts.vtep,
        vteps: BTreeMap::new(),
        listen: facts.listen,
        labels: config.host.labels.clone(),
        overlay_mtu: facts.underlay_mtu.overlay(facts.vtep),
        candidacy: match (config.host.gateway.candidate, duty) {
            (config::CandidateSetting::Never, _) => gossip::Candidacy::None,
            (config::CandidateSetting::Candidate, Duty::Regular) => gossip::Candidacy::Candidate { priority },
            (config::CandidateSetting::Candidate, Duty::JournalLost) => gossip::Candidacy::JournalLost { priority },
            (config::CandidateSetting::Candidate, Duty::Drained) => gossip::Candidacy::Drained { priority },
            (config::CandidateSetting::Candidate, Duty::Departing) => gossip::Candidacy::Departing { priority },
        },
        uplink: match facts.uplink() {
            ElectionUplink::Works => gossip::Uplink::Works,
            ElectionUplink::Down => gossip::Uplink::Fails,
        },
        lacks: BTreeSet::new(),
        segments: BTreeMap::new(),
        networks: network::told(&facts.networks),
        journal: 0,
        agent_version: version.to_owned(),
    }
}
