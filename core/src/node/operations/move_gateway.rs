//! `gateway move`: a planned hand-over, which has ended when the receiver serves.

use super::machine::Machine;
use super::pending::{MoveGateway, Operation, Pace};
use crate::cluster::gossip::{Candidacy, Lack};
use crate::cluster::membership::{PeerState, Who};
use crate::election::{MoveError, Moving};
use crate::id::{HostId, SegmentName};
use crate::node::Node;
use crate::node::effect::{Call, Done, Refusal};
use crate::node::member::Member;
use crate::time::{Duration, Instant};

/// How long a hand-over may take.
const MOVE_WITHIN: Duration = Duration::from_secs(10);
/// How often it is asked for: the holder may not know yet that the receiver can take the gateway.
const ASK_EVERY: Duration = Duration::from_millis(500);

impl Node {
    /// Hands a segment's gateway to another host; answered when that serves.
    pub fn move_gateway(&mut self, call: Call, segment: &SegmentName, to: Option<&str>, now: Instant) {
        let begun = self.member().and_then(|member| member.begin_move(segment, to, now));
        if let Ok(moving) = &begun {
            let group = moving.group;
            let refusal = Refusal::new(format!("the gateway of segment {segment} was moved again meanwhile"));
            self.end(
                |operation| matches!(operation, Operation::MoveGateway(earlier) if earlier.group == group),
                &Err(refusal),
            );
        }
        self.begin(call, begun.map(Operation::MoveGateway), now);
    }
}

impl Member {
    fn begin_move(&mut self, segment: &SegmentName, to: Option<&str>, now: Instant) -> Result<MoveGateway, Refusal> {
        self.segment_id(segment)?;
        let no_gateway = || Refusal::new(format!("segment {segment} has no subnet, and so no gateway"));
        let group = self.group(segment).ok_or_else(no_gateway)?;
        let to = to.map(|name| self.host_named(name)).transpose()?;
        let from = self.election.holder(group).map(|(host, _)| host);
        match self.election.move_gateway(group, to, now) {
            Ok(Moving::To(_) | Moving::AskedOf(_)) => Ok(MoveGateway { group, from, to }),
            // Not heard for a moment, or not since it came back: it is asked again.
            Err(MoveError::Unreachable(host)) if self.is_alive(host) => Ok(MoveGateway { group, from, to }),
            Err(error) => Err(self.move_refusal(segment, error)),
        }
    }

    fn is_alive(&self, host: HostId) -> bool {
        let peer = self.derived.peers.iter().find(|peer| peer.who == Who::Host(host));
        peer.is_some_and(|peer| peer.state == PeerState::Alive)
    }

    fn gives_way(&self, host: HostId) -> Refusal {
        let name = self.name_of(host);
        match self.gossip.host(host).map(|host| host.candidacy) {
            Some(Candidacy::JournalLost { .. }) => {
                Refusal::new(format!("host {name} has lost its journal")).hint("see `overlayctl status` there")
            }
            Some(Candidacy::Departing { .. }) => Refusal::new(format!("the agent of host {name} is about to stop")),
            Some(Candidacy::Drained { .. } | Candidacy::Candidate { .. } | Candidacy::None) | None => {
                Refusal::new(format!("host {name} is drained")).hint("run `overlayctl undrain` there first")
            }
        }
    }

    /// What a host lacks to be the gateway of a segment.
    fn lack(&self, host: HostId, segment: &SegmentName) -> String {
        let known = self.catalogue.get(segment);
        let conflict = known.zip(self.gossip.host(host)).is_some_and(|(known, host)| {
            host.lacks.contains(&(known.id, Lack::SubnetConflict)) && !host.lacks.contains(&(known.id, Lack::NotWhole))
        });
        if conflict {
            format!("the subnet of segment {segment} is also a network of its own")
        } else {
            format!("segment {segment} is not whole there")
        }
    }

    fn move_refusal(&self, segment: &SegmentName, error: MoveError) -> Refusal {
        let name = |host| self.name_of(host);
        match error {
            MoveError::UnknownGroup => Refusal::new(format!(
                "this host does not participate in the gateway election of segment {segment}"
            ))
            .hint("run this on a host that has the segment; see `overlayctl segment list`"),
            MoveError::NoHolder => Refusal::new(format!("segment {segment} has no active gateway"))
                .hint("see `overlayctl gateway list`"),
            MoveError::AlreadyThere => Refusal::new(format!("that host is already the gateway of segment {segment}")),
            MoveError::Drained(host) => self.gives_way(host),
            MoveError::Lacking(host) => {
                let why = self.lack(host, segment);
                Refusal::new(format!("host {} cannot do the job: {why}", name(host)))
                    .hint("see `overlayctl status`")
            }
            MoveError::NotCandidate(host) => Refusal::new(format!("host {} is not a gateway candidate", name(host)))
                .hint("its overlayd.yaml says `gateway: candidate: false`"),
            MoveError::NoVoter(host) => Refusal::new(format!(
                "host {} does not participate in the gateway election of segment {segment}",
                name(host)
            ))
            .hint("see `overlayctl segment list` for the hosts of a segment"),
            MoveError::Unreachable(host) => {
                Refusal::new(format!("host {} does not respond to the gateway host", name(host)))
                    .hint("see `overlayctl peer list`")
            }
            MoveError::NoSuccessor => Refusal::new(format!(
                "no other host can take the gateway of segment {segment}: none that is a candidate and not drained responds"
            ))
            .hint("see `overlayctl gateway list` and `overlayctl peer list`"),
        }
    }
}

impl Machine for MoveGateway {
    fn patience(&self) -> Option<Duration> {
        Some(MOVE_WITHIN)
    }

    fn pace(&self) -> Pace {
        Pace::Tries {
            first_in: ASK_EVERY,
            every: ASK_EVERY,
        }
    }

    fn look(&mut self, node: &mut Node, _now: Instant) -> Option<Result<Done, Refusal>> {
        let member = match node.member() {
            Ok(member) => member,
            Err(refusal) => return Some(Err(refusal)),
        };
        let server = member.server(self.group)?;
        self.is_meant(server).then(|| {
            Ok(Done::Moved {
                from: self.from.map(|host| member.name_of(host)),
            })
        })
    }

    fn retry(&mut self, node: &mut Node, now: Instant) -> Option<Result<Done, Refusal>> {
        let member = node.member().ok()?;
        let (holder, _) = member.election.holder(self.group)?;
        if !self.is_meant(holder) {
            // What stands against it may be gone the next time; the operation ends by itself.
            let _ = member.election.move_gateway(self.group, self.to, now);
        }
        None
    }

    fn expire(&mut self, _node: &mut Node, _now: Instant) -> Option<Result<Done, Refusal>> {
        Some(Err(Refusal::new("the gateway did not move within 10 s").hint(
            "see `overlayctl gateway list`, and the log of overlayd on the host that it was to move to",
        )))
    }
}

impl MoveGateway {
    fn is_meant(&self, holder: HostId) -> bool {
        match self.to {
            Some(to) => holder == to,
            None => self.from != Some(holder),
        }
    }
}
