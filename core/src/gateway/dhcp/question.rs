//! What a guest's message asks of the leases. Nothing is remembered here.

use std::net::{IpAddr, Ipv4Addr};

use crate::addresses::{Basis, Claim, Request};
use crate::id::HostId;

use super::exchange::{Ignored, SegmentService};
use super::request::{GuestMessage, Kind};

/// What a message leads to.
pub(super) enum Step {
    /// The guest waits for the answer.
    Ask(Request),
    /// The guest waits for nothing.
    Pass(Vec<Request>),
    /// A NAK: no address of this network.
    Refuse,
    /// Options and no address.
    Inform,
}

/// `offered` is what the guest was offered last, if it may still take it.
///
/// # Errors
/// Why the message has no effect.
pub(super) fn step(
    service: &SegmentService,
    message: &GuestMessage,
    offered: Option<Ipv4Addr>,
    guest_host: Option<HostId>,
) -> Result<Step, Ignored> {
    let (segment, client) = (service.segment, message.client);
    if message.kind.server().is_some_and(|server| server != service.gateway) {
        return Err(Ignored::OtherServer);
    }
    let (address, basis) = match message.kind {
        Kind::Discover { wish } => {
            let wish = wish.filter(|wish| service.subnet.contains(wish)).map(IpAddr::V4);
            return Ok(Step::Ask(Request::Find { segment, client, wish }));
        }
        Kind::Selecting { address, .. } => (address.or(offered).ok_or(Ignored::NothingOffered)?, Basis::Wanting),
        Kind::Rebooting { address } => (address, Basis::Wanting),
        Kind::Extending { server } => match offered.filter(|_| server.is_some()) {
            Some(offered) => (offered, Basis::Wanting),
            None => (message.ciaddr, Basis::Having),
        },
        Kind::Release { .. } => {
            let release = Request::Release {
                segment,
                address: message.ciaddr.into(),
                client,
            };
            return Ok(Step::Pass(vec![release]));
        }
        Kind::Decline { address: declined, .. } => {
            let address = IpAddr::V4(declined);
            let mut requests = vec![Request::Decline {
                segment,
                address,
                client,
            }];
            // Of the two, the owner does what fits: the client has the address, or nobody has it yet.
            requests.extend((offered == Some(declined)).then_some(Request::Conflict { segment, address }));
            return Ok(Step::Pass(requests));
        }
        Kind::Inform if service.subnet.contains(&message.ciaddr) => return Ok(Step::Inform),
        Kind::Inform => return Err(Ignored::ForeignAddress),
    };
    if !service.subnet.contains(&address) {
        return Ok(Step::Refuse);
    }
    let claim = Claim {
        client,
        basis,
        guest_host,
        lease_time: service.lease_time,
        client_id: message.client_id.clone(),
        hostname: message.hostname.clone(),
    };
    Ok(Step::Ask(Request::Bind {
        segment,
        address: address.into(),
        claim,
    }))
}
