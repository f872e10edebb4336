//! What the election goes by: who may be gateway of which group, which hosts elect it, and whom gossip named last.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::gossip::{self, HostRecord, Presence};
use crate::cluster::membership::PeerState;
use crate::config::{Mode, Segment};
use crate::election::{ElectionCandidacy, ElectionUplink, ElectionView, GroupId, GroupView, HostStanding, HostView};
use crate::id::{HostId, SegmentId, Term};
use crate::node::derived::group_of;
use crate::node::member::Member;
use crate::time::{Duration, Instant};

/// How long a holder's word in gossip counts.
const CLAIM_FRESH: Duration = Duration::from_secs(5);

impl Member {
    pub(super) fn derive_election(&mut self, now: Instant) {
        let view = ElectionView {
            hosts: self.host_views(),
            groups: self.group_views(now),
        };
        if self.derived.election != view {
            self.derived.election = view.clone();
            self.election.set_view(view, now);
        }
    }

    fn host_views(&self) -> BTreeMap<HostId, HostView> {
        let states: BTreeMap<HostId, PeerState> = self.states();
        let mut hosts = BTreeMap::new();
        for host in self.gossip.hosts() {
            let (candidacy, priority) = match host.candidacy {
                gossip::Candidacy::None => (ElectionCandidacy::Never, 0),
                gossip::Candidacy::Candidate { priority } => (ElectionCandidacy::Candidate, priority),
                gossip::Candidacy::Drained { priority } | gossip::Candidacy::JournalLost { priority } => {
                    (ElectionCandidacy::Drained, priority)
                }
                gossip::Candidacy::Departing { priority } => (ElectionCandidacy::Departing, priority),
            };
            let uplink = match host.uplink {
                gossip::Uplink::Works => ElectionUplink::Works,
                gossip::Uplink::Fails => ElectionUplink::Down,
            };
            // The word of the election itself does not come back to it: it counts its own silence.
            let standing = match states.get(&host.id) {
                Some(PeerState::Failed) if !self.reachability().is_gone(host.id) => HostStanding::Failed,
                Some(PeerState::Left) => HostStanding::Removed,
                Some(PeerState::Alive | PeerState::Suspect | PeerState::Failed | PeerState::Static) | None => {
                    HostStanding::Member
                }
            };
            hosts.insert(
                host.id,
                HostView {
                    candidacy,
                    priority,
                    uplink,
                    standing,
                },
            );
        }
        hosts
    }

    fn group_views(&self, now: Instant) -> BTreeMap<GroupId, GroupView> {
        self.derived
            .segments
            .iter()
            .filter(|(id, local)| serves(&local.definition.segment) && !self.derived.held.contains_key(id))
            .map(|(id, local)| {
                let group = group_of(*id);
                let view = GroupView {
                    segments: BTreeSet::from([*id]),
                    hosts: local.hosts.clone(),
                    lacking: self.lacking(*id),
                    known_holder: self.known_holder(group, now),
                };
                (group, view)
            })
            .collect()
    }

    fn lacking(&self, segment: SegmentId) -> BTreeSet<HostId> {
        let lacks = |host: &&HostRecord| host.lacks.iter().any(|(of, _)| *of == segment);
        self.gossip.hosts().filter(lacks).map(|host| host.id).collect()
    }

    /// The holder that gossip last named: a host that is new in the election is bound to it for a while.
    fn known_holder(&self, group: GroupId, now: Instant) -> Option<(HostId, Term)> {
        let claims = self.gossip.claims(group.0);
        claims
            .into_iter()
            .rev()
            .find(|claim| {
                let key = gossip::Key::Claim(group.0, claim.holder);
                let fresh = self
                    .gossip
                    .taken_at(&key)
                    .is_some_and(|at| now.since(at) <= CLAIM_FRESH);
                claim.presence == Presence::Here && claim.holder != self.me && fresh
            })
            .map(|claim| (claim.holder, claim.term))
    }
}

/// Whether somebody serves the segment: it has a subnet to serve in.
fn serves(segment: &Segment) -> bool {
    segment.ipv4.is_some() && !matches!(segment.mode, Mode::Bridged(_))
}
