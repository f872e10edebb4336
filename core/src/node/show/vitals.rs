//! What findings rest on, from what the machines know.

use std::collections::BTreeMap;

use super::gateways::leads_out;
use crate::cluster::catalogue::Definition;
use crate::cluster::gossip;
use crate::cluster::membership::PeerState;
use crate::config::CandidateSetting;
use crate::health::{
    self, BlockedPath, DuplicateMac, FailingUplink, Finding, JournalState, LoweredMtu, Meanwhile, RefusedJoin,
    Severity, UnderlayState, Vitals,
};
use crate::id::{HostId, IfName, SegmentId, SegmentName};
use crate::kernel::inputs::BridgeNetfilter;
use crate::node::Node;
use crate::node::effect::Lasts;
use crate::node::member::Member;
use crate::time::Instant;

impl Node {
    /// All that is wrong, worst first, as far as this host can tell itself.
    pub(in crate::node) fn own_findings(&self, now: Instant) -> Vec<Finding> {
        health::check(&self.vitals(now))
    }

    fn vitals(&self, now: Instant) -> Vitals {
        let edge = self.edge.clone();
        let known = self.facts.as_ref().map(|facts| &facts.name);
        let host = known.or(self.config.host.name.as_ref()).cloned().unwrap_or_default();
        let Some(formed) = &self.formed else {
            return Vitals {
                host,
                refused_join: self.refused_join(Meanwhile::NoCluster),
                edge,
                ..Vitals::default()
            };
        };
        Vitals {
            host,
            underlay: match &self.no_underlay {
                Some(why) => UnderlayState::Missing(why.clone()),
                None => UnderlayState::Present,
            },
            refused_join: self.refused_join(Meanwhile::Alone),
            peers: self.members_seen(),
            conflicts: self
                .facts
                .iter()
                .flat_map(|facts| formed.subnet_conflicts(facts))
                .collect(),
            lowered: lowered(formed),
            filtered_bridges: self.filtered_bridges(formed),
            uplinks: self.failing_uplinks(formed),
            all_drained: all_drained(formed),
            without_gateway: self.without_gateway(formed),
            led_out: self.led_out(formed),
            without_resolver: self.without_resolver(formed),
            differing: self.differing(formed),
            lost_generations: lost_generations(formed),
            waiting: formed.waiting(now),
            lost_journals: formed
                .leases
                .lost_members()
                .into_iter()
                .map(|host| formed.name_of(host))
                .collect(),
            blocked_paths: blocked_paths(formed),
            duplicate_macs: duplicate_macs(formed, now),
            journal: self.journal(formed),
            pools: formed.pool_states(now),
            misuses: formed.misuses(now),
            crowded_ports: formed.crowded_ports(),
            edge,
        }
    }

    /// What stands against this host's being let in where its configuration wants it.
    fn refused_join(&self, meanwhile: Meanwhile) -> Option<RefusedJoin> {
        let (addresses, refused) = self.join_search()?;
        // The first host of a cluster waits for the others of its list as long as they take.
        let refused =
            refused.filter(|refused| meanwhile == Meanwhile::NoCluster || refused.lasts == Lasts::UntilChanged)?;
        let at: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        Some(RefusedJoin {
            at: at.join(", "),
            why: refused.to_string(),
            severity: match refused.lasts {
                Lasts::UntilChanged => Severity::Fail,
                Lasts::ForNow => Severity::Warn,
            },
            meanwhile,
        })
    }

    fn members_seen(&self) -> Vec<(String, PeerState)> {
        let members = self.peer_lines().into_iter().filter(|line| {
            !line.me
                && match line.state {
                    PeerState::Alive | PeerState::Suspect | PeerState::Failed => true,
                    PeerState::Left | PeerState::Static => false,
                }
        });
        members.map(|line| (line.name, line.state)).collect()
    }

    fn filtered_bridges(&self, formed: &Member) -> Vec<IfName> {
        match self.facts.as_ref().map(|facts| facts.bridge_netfilter) {
            Some(BridgeNetfilter::LeftOn) => {
                let here = formed.derived.segments.values();
                here.map(|mine| mine.definition.segment.bridge.clone()).collect()
            }
            Some(BridgeNetfilter::SwitchOff | BridgeNetfilter::LeftOff) | None => Vec::new(),
        }
    }

    /// Of candidates of segments that lead outside.
    fn failing_uplinks(&self, formed: &Member) -> Vec<FailingUplink> {
        let candidates = formed.gossip.hosts().filter(|host| match host.candidacy {
            gossip::Candidacy::Candidate { .. } => true,
            gossip::Candidacy::Drained { .. }
            | gossip::Candidacy::JournalLost { .. }
            | gossip::Candidacy::Departing { .. }
            | gossip::Candidacy::None => false,
        });
        let needed = candidates.filter(|host| {
            let needs = |known: &Definition| leads_out(&known.segment) && known.segment.selects(&host.labels);
            formed.catalogue.iter().any(needs)
        });
        needed.filter_map(|host| self.failing_uplink(host.id)).collect()
    }

    fn led_out(&self, formed: &Member) -> Vec<SegmentName> {
        let here = formed.derived.segments.values().map(|mine| &mine.definition.segment);
        let led = here.filter(|segment| {
            let active = self.gateway_of(&segment.name).is_some_and(|line| line.me);
            active && leads_out(segment)
        });
        led.map(|segment| segment.name.clone()).collect()
    }

    /// Of the segments whose guests this host tells their resolvers while it is the gateway.
    fn without_resolver(&self, formed: &Member) -> Vec<SegmentName> {
        let none = self.facts.as_ref().is_some_and(|facts| facts.resolvers.is_empty());
        let candidate = self.config.host.gateway.candidate == CandidateSetting::Candidate;
        let here = formed.derived.segments.values().filter(|_| none && candidate);
        let lacking = here.map(|mine| &mine.definition.segment).filter(|segment| {
            let dhcp = segment.ipv4.as_ref().is_some_and(|ipv4| ipv4.dhcp.is_some());
            dhcp && leads_out(segment) && segment.dns.upstream_v4().next().is_none()
        });
        lacking.map(|segment| segment.name.clone()).collect()
    }

    fn without_gateway(&self, formed: &Member) -> Vec<(SegmentName, String)> {
        let lines = formed
            .catalogue
            .iter()
            .filter_map(|known| self.gateway_of(&known.segment.name));
        lines
            .filter(|line| line.host.is_none())
            .map(|line| (line.segment, line.reason))
            .collect()
    }

    fn differing(&self, formed: &Member) -> Vec<SegmentName> {
        let differ = self.config.segments.iter().filter(|segment| {
            let known = formed.catalogue.get(&segment.name);
            known.is_some_and(|known| known.segment != **segment)
        });
        differ.map(|segment| segment.name.clone()).collect()
    }

    fn journal(&self, formed: &Member) -> JournalState {
        let awaited = formed.leases.awaited();
        if formed.leases.has_lost_disk() {
            if !formed.lost_at_start {
                JournalState::Unwritable
            } else if formed.gossip.hosts().any(|host| host.id != self.me) {
                JournalState::Lost
            } else {
                JournalState::LostAlone
            }
        } else if !awaited.is_empty() {
            JournalState::Waiting(awaited.iter().map(|host| formed.name_of(*host)).collect())
        } else if formed.leases.waits_for_nobody() {
            JournalState::NobodyLeft
        } else {
            JournalState::Kept
        }
    }
}

/// By hosts: a firewall rarely knows segments.
fn blocked_paths(formed: &Member) -> Vec<BlockedPath> {
    let mut found: BTreeMap<HostId, Vec<SegmentId>> = BTreeMap::new();
    for (peer, segment) in formed.paths.blocked() {
        found.entry(peer).or_default().push(segment);
    }
    let me = formed.gossip.host(formed.me);
    let path = |(peer, segments): (HostId, Vec<SegmentId>)| {
        let first = *segments.first()?;
        let here = |id: &SegmentId| Some(&formed.derived.segments.get(id)?.definition.segment);
        let from = formed.gossip.host(peer)?;
        Some(BlockedPath {
            from: from.name.clone(),
            segments: segments.iter().filter_map(here).map(|it| it.name.clone()).collect(),
            source: from.vtep_in(first),
            destination: me?.vtep_in(first),
            port: here(&first)?.port,
        })
    };
    found.into_iter().filter_map(path).collect()
}

fn duplicate_macs(formed: &Member, now: Instant) -> Vec<DuplicateMac> {
    let frozen = formed.endpoints.frozen(now);
    let named = frozen.filter_map(|(segment, mac, (one, other), _)| {
        Some(DuplicateMac {
            segment: formed.catalogue.name(segment)?.clone(),
            mac,
            hosts: [formed.name_of(one), formed.name_of(other)],
        })
    });
    named.collect()
}

/// Every host that may be gateway, if none of them is free to be.
fn all_drained(formed: &Member) -> Vec<String> {
    let mut drained = Vec::new();
    for host in formed.gossip.hosts() {
        match host.candidacy {
            gossip::Candidacy::Candidate { .. } => return Vec::new(),
            gossip::Candidacy::Drained { .. } => drained.push(host.name.clone()),
            gossip::Candidacy::JournalLost { .. } | gossip::Candidacy::Departing { .. } | gossip::Candidacy::None => {}
        }
    }
    drained
}

/// Of the segments that this host has.
fn lost_generations(formed: &Member) -> Vec<(SegmentName, u64)> {
    let here = formed
        .derived
        .segments
        .values()
        .map(|mine| &mine.definition.segment.name);
    here.map(|name| (name.clone(), formed.forgotten_generation(name)))
        .filter(|(_, newest)| *newest > 0)
        .collect()
}

/// Of the segments that this host has, by the hosts that are to blame.
fn lowered(formed: &Member) -> Vec<LoweredMtu> {
    let mut found: Vec<LoweredMtu> = Vec::new();
    for mine in formed.derived.segments.values() {
        let segment = &mine.definition.segment;
        let hosts = mine.hosts.iter().filter_map(|host| formed.gossip.host(*host));
        let (small, large): (Vec<_>, Vec<_>) = hosts.partition(|host| host.overlay_mtu <= mine.mtu);
        let rest = large.iter().map(|host| host.overlay_mtu).min();
        let instead = rest.into_iter().chain(segment.mtu.bytes()).min();
        let (Some(first), Some(instead)) = (small.first(), instead.filter(|_| rest.is_some())) else {
            continue;
        };
        if instead <= mine.mtu {
            continue;
        }
        let names: Vec<String> = small.iter().map(|host| host.name.clone()).collect();
        match found.iter_mut().find(|it| it.hosts == names && it.instead == instead) {
            Some(same) => same.segments.push(segment.name.clone()),
            None => found.push(LoweredMtu {
                hosts: names,
                underlay: first.overlay_mtu.underlay(first.vtep),
                told: mine.mtu,
                instead,
                segments: vec![segment.name.clone()],
            }),
        }
    }
    found
}
