//! `lease release`: the owner of an address ends its lease.

use std::net::IpAddr;

use super::machine::Machine;
use super::pending::{Operation, Pace, Release};
use crate::addresses::{Answer, Request};
use crate::id::{Mac, SegmentId, SegmentName};
use crate::node::Node;
use crate::node::effect::{Call, Done, Refusal};
use crate::node::member::Member;
use crate::time::{Duration, Instant};

impl Node {
    /// Ends a lease at its owner, for the guest that has it.
    pub fn release(&mut self, call: Call, segment: Option<&SegmentName>, address: IpAddr, now: Instant) {
        let begun = self.member().and_then(|member| {
            let (segment, client) = member.find_lease(segment, address, now)?;
            let token = member.token();
            let request = Request::Release {
                segment,
                address,
                client,
            };
            member.leases.handle_request(token, request, now);
            Ok(Operation::Release(Release { token }))
        });
        self.begin(call, begun, now);
    }
}

impl Machine for Release {
    fn patience(&self) -> Option<Duration> {
        None
    }

    fn pace(&self) -> Pace {
        Pace::Waits
    }

    fn look(&mut self, node: &mut Node, _now: Instant) -> Option<Result<Done, Refusal>> {
        let member = match node.member() {
            Ok(member) => member,
            Err(refusal) => return Some(Err(refusal)),
        };
        Some(match member.own_answers.remove(&self.token)? {
            Answer::Done => Ok(Done::Released),
            Answer::Offer { .. } | Answer::Ack { .. } | Answer::Nak | Answer::Silence(_) => Err(Refusal::new(
                "the owner of the address did not respond, or has no such lease",
            )
            .hint("see `overlayctl lease list` for the owner, and try again when it is alive")),
        })
    }

    fn expire(&mut self, _node: &mut Node, _now: Instant) -> Option<Result<Done, Refusal>> {
        None
    }
}

impl Member {
    fn find_lease(
        &self,
        segment: Option<&SegmentName>,
        address: IpAddr,
        now: Instant,
    ) -> Result<(SegmentId, Mac), Refusal> {
        let only = segment.map(|name| self.segment_id(name)).transpose()?;
        self.derived
            .segments
            .keys()
            .filter(|id| only.is_none_or(|only| only == **id))
            .find_map(|id| {
                let leases = self.leases.lease_list(*id, now);
                let lease = leases.into_iter().find(|lease| lease.address.ip() == address)?;
                Some((*id, lease.client?))
            })
            .ok_or_else(|| Refusal::new(format!("no lease on {address}")).hint("see `overlayctl lease list`"))
    }
}
