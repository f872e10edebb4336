//! `lease release`: the owner of an address ends its lease.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::guard::guard;
use super::machine::Machine;
use super::pending::{Operation, Pace, Release};
use crate::addresses::{Answer, Request};
use crate::id::{IfName, SegmentId, SegmentName};
use crate::lease::LeaseState;
use crate::node::Node;
use crate::node::effect::{Call, Done, Force, Refusal};
use crate::node::loss::{GuestLease, Loss, Lost};
use crate::node::member::Member;
use crate::time::{Duration, Instant};

impl Node {
    /// Ends a lease at its owner, for the guest that has it.
    pub fn release(&mut self, call: Call, segment: Option<&SegmentName>, address: IpAddr, force: Force, now: Instant) {
        let ports = std::mem::take(&mut self.ports);
        let begun = self.member().and_then(|member| {
            let (segment, lease) = member.find_lease(segment, address, now)?;
            let client = lease.mac;
            if force == Force::No {
                member.refuse_attached(segment, lease, &ports)?;
            }
            let token = member.token();
            let request = Request::Revoke {
                segment,
                address,
                client,
            };
            member.leases.handle_request(token, request, now);
            Ok(Operation::Release(Release { token }))
        });
        self.ports = ports;
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
    ) -> Result<(SegmentId, GuestLease), Refusal> {
        let only = segment.map(|name| self.segment_id(name)).transpose()?;
        self.derived
            .segments
            .keys()
            .filter(|id| only.is_none_or(|only| only == **id))
            .find_map(|id| {
                let leases = self.leases.lease_list(*id, now);
                let lease = leases.into_iter().find(|lease| lease.address.ip() == address)?;
                Some((*id, lease.client?, lease))
            })
            .ok_or_else(|| Refusal::new(format!("no lease on {address}")).hint("see `overlayctl lease list`"))
            .and_then(|(id, mac, lease)| match lease.state {
                LeaseState::Settled => Err(Refusal::new(format!("{address} is reserved for {mac}"))
                    .hint("remove the reservation from the segment and `overlayctl apply` it")),
                LeaseState::Held
                | LeaseState::Pending
                | LeaseState::Quarantined
                | LeaseState::Declined
                | LeaseState::Free => {
                    let hostname = lease.hostname;
                    Ok((id, GuestLease { address, mac, hostname }))
                }
            })
    }

    /// What hosts say of a guest may forbid that its lease ends; it never permits anything.
    fn refuse_attached(
        &self,
        segment: SegmentId,
        lease: GuestLease,
        ports: &BTreeMap<IfName, Vec<IfName>>,
    ) -> Result<(), Refusal> {
        let known = self.catalogue.iter().find(|known| known.id == segment);
        let guests = known.map(|known| self.guests_of(known, ports)).unwrap_or_default();
        let attached = guests.into_iter().find(|guest| guest.mac == Some(lease.mac));
        let (Some(known), Some(guest)) = (known, attached) else {
            return Ok(());
        };
        let loss = Loss {
            segment: Some(known.segment.name.clone()),
            what: Lost::Lease(lease),
        };
        let hint = format!(
            "its guest is attached on {} ({}): detach it or shut it down, or use --force: it is refused when it renews, and \
             asks for another address",
            guest.host_name, guest.port
        );
        guard(&[loss], Force::No, &hint)
    }
}
