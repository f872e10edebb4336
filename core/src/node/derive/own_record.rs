//! What this host says of itself in gossip; and, while its underlay is missing, what it said last.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::gossip::{self, HostRecord, Lack};
use crate::config::{self, HostConfig};
use crate::election::ElectionUplink;
use crate::gateway::uplink::Health;
use crate::id::{HostId, IfName, SegmentId, SegmentName};
use crate::kernel::inputs::{BridgeNetfilter, Tracking};
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
        let lacks = self.lacks(lacking);
        self.gossip.put_host(
            HostRecord {
                segments,
                lacks,
                ..host
            },
            now,
        );
    }

    /// All that keeps this host from doing the job of a gateway, by segment.
    fn lacks(&self, not_whole: &BTreeSet<SegmentName>) -> BTreeSet<(SegmentId, Lack)> {
        let known = not_whole.iter().filter_map(|name| self.catalogue.get(name));
        known.map(|known| (known.id, Lack::NotWhole)).collect()
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
            listen: me.listen,
            // Only a multicast segment without an interface of its own asks for it, and it has nowhere to send yet.
            underlay: config.host.underlay.clone().or_else(|| IfName::new("lo").ok())?,
            underlay_mtu: me.overlay_mtu.underlay(me.vtep),
            uplinks: named.iter().map(|link| (link.clone(), BTreeSet::new())).collect(),
            uplink_health: Health::NoRoute {
                link: named.first().cloned(),
            },
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
        journal: 0,
        agent_version: version.to_owned(),
    }
}
