//! `gateway move`: a planned hand-over, which has ended when the receiver serves.

use super::machine::Machine;
use super::pending::{MoveGateway, Operation, Pace};
use crate::election::Moving;
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
            Err(error) => {
                Err(Refusal::new(error.to_string()).hint("see `overlayctl gateway list` and `overlayctl peer list`"))
            }
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
