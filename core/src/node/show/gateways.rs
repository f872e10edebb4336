//! `gateway list`, and whose uplinks do not work.

use crate::cluster::catalogue::Definition;
use crate::cluster::gossip::{self, Presence};
use crate::config::{Mode, Segment};
use crate::election::Role;
use crate::gateway::uplink::Health;
use crate::health::FailingUplink;
use crate::id::{HostId, SegmentName, Term};
use crate::node::Node;
use crate::node::cause::gateway_reason;
use crate::node::derived::group_of;
use crate::time::{Duration, Instant};

/// A line of `gateway list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayLine {
    /// The segment.
    pub segment: SegmentName,
    /// Who serves it, as far as this host knows.
    pub host: Option<String>,
    /// In which term.
    pub term: Term,
    /// How long this host has known that.
    pub since: Option<Duration>,
    /// Whether it is this host.
    pub me: bool,
    /// Whether that host's kernel has the address, as far as this one knows.
    pub serves: Serves,
    /// Why.
    pub reason: String,
}

/// How far a gateway is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serves {
    /// It has the term, and is about to.
    NotYet,
    /// Its kernel has the address.
    Now,
}

impl Node {
    /// Who serves what; segments that nobody can serve are left out.
    pub fn gateway_lines(&self, now: Instant) -> Vec<GatewayLine> {
        let Some(formed) = &self.formed else { return Vec::new() };
        let all = formed.catalogue.iter();
        let mut lines: Vec<GatewayLine> = all.filter_map(|known| self.gateway_of(&known.segment.name)).collect();
        for line in &mut lines {
            let at = formed
                .group(&line.segment)
                .and_then(|group| formed.election.since(group));
            line.since = line.host.as_ref().and(at).map(|at| now.since(at));
        }
        lines
    }

    pub(super) fn gateway_of(&self, name: &SegmentName) -> Option<GatewayLine> {
        let formed = self.formed.as_ref()?;
        let Definition { id, segment, .. } = formed.catalogue.get(name)?;
        segment.ipv4.as_ref()?;
        let group = group_of(*id);
        let none = |reason: String| GatewayLine {
            segment: name.clone(),
            host: None,
            term: Term(0),
            since: None,
            me: false,
            serves: match formed.server(group) {
                Some(_) => Serves::Now,
                None => Serves::NotYet,
            },
            reason,
        };
        let Some(role) = formed.election.role(group) else {
            // This host does not have the segment: what gossip tells.
            let claims = formed.gossip.claims(*id);
            let claim = claims.into_iter().rev().find(|claim| claim.presence == Presence::Here);
            return Some(match claim {
                Some(claim) => GatewayLine {
                    host: Some(formed.name_of(claim.holder)),
                    term: claim.term,
                    ..none(claim.reason.clone())
                },
                None => none(match formed.derived.held.get(id) {
                    Some(held) => format!("the subnet holds {held}"),
                    None => "no active gateway is known".to_owned(),
                }),
            });
        };
        let mut reason = gateway_reason(group, &formed.election, &formed.gossip);
        let holder = formed.election.holder(group).map(|(host, _)| host);
        if let Some(uplink) = holder
            .filter(|_| leads_out(segment))
            .and_then(|host| self.failing_uplink(host))
        {
            reason = format!("{reason}; {uplink}");
        }
        Some(match role {
            Role::Holder { term } => GatewayLine {
                host: Some(formed.name_of(self.me)),
                term,
                me: true,
                ..none(reason)
            },
            Role::Follower {
                holder: Some((host, term)),
            } => GatewayLine {
                host: Some(formed.name_of(host)),
                term,
                ..none(reason)
            },
            Role::Follower { holder: None } | Role::Claimant { .. } => none(reason),
        })
    }

    /// A host's uplink, if it does not work as far as this host knows.
    pub(super) fn failing_uplink(&self, host: HostId) -> Option<FailingUplink> {
        if host == self.me {
            let health = &self.facts.as_ref()?.uplink_health;
            return (*health != Health::Works).then(|| FailingUplink::Own(health.clone()));
        }
        let known = self.formed.as_ref()?.gossip.host(host)?;
        match known.uplink {
            gossip::Uplink::Works => None,
            gossip::Uplink::Fails => Some(FailingUplink::Of(known.name.clone())),
        }
    }
}

/// Whether the gateway of a segment needs an uplink.
pub(super) fn leads_out(segment: &Segment) -> bool {
    let outside = match segment.mode {
        Mode::Nat | Mode::Routed => true,
        Mode::Isolated | Mode::Bridged(_) => false,
    };
    outside && segment.ipv4.is_some()
}
