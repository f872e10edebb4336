//! A DHCPv4 server that owns no socket: what a guest asks becomes a question to the leases, their answer a reply.
//!
//! ```text
//! guest ── message ──► read ──► Ask ──► leases          who may have which address is decided there
//!   ◄────── Reply ──── write ◄─ Answer ──┘              NAK only for a wrong subnet, or when they say so
//! ```
//!
//! A guest hears nothing at all unless there is something to say for certain: a server that keeps silent leaves the
//! guest the lease it has. Not done on purpose:
//! - *Relays*: a segment is one link, nothing on it relays; what claims to come from a relay is dropped and counted.
//! - *Rapid commit* (option 80): an offer costs no disk, its acknowledgement does; guests fall back to the four steps.
//! - *A lease time asked for* (option 51): the segment's own is what can be promised.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};

use crate::addresses::{Answer, Basis, Claim, Request};
use crate::id::{Mac, SegmentId};
use crate::time::{Duration, Instant};
use dhcproto::v4::MessageType;

use reply::Saying;
use request::{GuestMessage, Kind, Replies};

pub mod datagram;
mod exchange;
mod reply;
mod request;
#[cfg(test)]
mod tests;

pub use exchange::{Effect, Ignored, Packet, SegmentService};

/// An answer older than this is dropped: what it promises the guest is counted from before it was given.
pub const OLDEST_ANSWER: Duration = Duration::from_secs(5);
/// Questions that a segment may have open: guests beyond it ask again by themselves.
pub const MOST_PENDING: usize = 1024;

/// The server for all segments whose gateway this host is.
#[derive(Debug, Default)]
pub struct Server {
    segments: BTreeMap<SegmentId, Served>,
    effects: VecDeque<Effect>,
    ignored: BTreeMap<Ignored, u64>,
    next_token: u64,
    /// Whose each open question is.
    asked: BTreeMap<u64, (SegmentId, Mac)>,
}

/// A segment whose gateway this host is.
#[derive(Debug)]
struct Served {
    service: SegmentService,
    /// At most one per guest: a guest that asks something new has given the old question up.
    pending: BTreeMap<Mac, Pending>,
}

#[derive(Debug)]
struct Pending {
    token: u64,
    since: Instant,
    message: GuestMessage,
}

impl Server {
    /// A server that serves no segment yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves a segment from now on, or tells its guests something new; open questions stay.
    pub fn set_segment(&mut self, service: SegmentService) {
        match self.segments.get_mut(&service.segment) {
            Some(segment) => segment.service = service,
            None => {
                self.segments.insert(
                    service.segment,
                    Served {
                        service,
                        pending: BTreeMap::new(),
                    },
                );
            }
        }
    }

    /// Serves a segment no longer: its open questions get no reply.
    pub fn remove_segment(&mut self, segment: SegmentId) {
        self.segments.remove(&segment);
        self.asked.retain(|_, (of, _)| *of != segment);
        self.effects.retain(|effect| match effect {
            Effect::Ask { .. } => true,
            Effect::Reply { segment: of, .. } => *of != segment,
        });
    }

    /// How many messages had no effect, by the reason.
    pub fn ignored(&self) -> &BTreeMap<Ignored, u64> {
        &self.ignored
    }

    /// The next thing to do; drained after each `handle_*`.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Takes a message that came in on a segment.
    pub fn handle_packet(&mut self, segment: SegmentId, packet: &Packet, now: Instant) {
        if let Err(why) = self.take(segment, packet, now) {
            *self.ignored.entry(why).or_default() += 1;
        }
    }

    /// Takes the leases' answer; one to a question that nobody waits for any more is dropped.
    pub fn handle_answer(&mut self, token: u64, answer: Answer, now: Instant) {
        let Some((segment, client)) = self.asked.remove(&token) else {
            return;
        };
        let Some(segment) = self.segments.get_mut(&segment) else {
            return;
        };
        let Some(pending) = segment.pending.remove(&client) else {
            return;
        };
        if now.since(pending.since) > OLDEST_ANSWER {
            return;
        }
        let saying = match (&answer, pending.message.kind) {
            (
                Answer::Offer {
                    address: IpAddr::V4(address),
                    lease_time,
                    hostname,
                },
                Kind::Discover { .. },
            ) => Saying::Lease {
                kind: MessageType::Offer,
                address: *address,
                time: *lease_time,
                hostname: hostname.as_deref(),
            },
            (
                Answer::Ack {
                    address: IpAddr::V4(address),
                    lease_time,
                    hostname,
                    ..
                },
                Kind::Selecting { .. } | Kind::Rebooting { .. } | Kind::Extending { .. },
            ) => Saying::Lease {
                kind: MessageType::Ack,
                address: *address,
                time: *lease_time,
                hostname: hostname.as_deref(),
            },
            (Answer::Nak, Kind::Selecting { .. } | Kind::Rebooting { .. } | Kind::Extending { .. }) => Saying::No {
                why: "another guest has this address",
            },
            (Answer::Offer { .. } | Answer::Ack { .. } | Answer::Nak | Answer::Silence(_) | Answer::Done, _) => return,
        };
        let effect = say(&segment.service, &pending.message, saying);
        self.effects.push_back(effect);
    }

    fn take(&mut self, id: SegmentId, packet: &Packet, now: Instant) -> Result<(), Ignored> {
        let segment = self.segments.get_mut(&id).ok_or(Ignored::NotServed)?;
        let message = request::read(&packet.bytes)?;
        if message.client != packet.source {
            return Err(Ignored::ForeignHardwareAddress);
        }
        let (service, client) = (&segment.service, message.client);
        let ours = |server: Option<Ipv4Addr>| server.is_none_or(|server| server == service.gateway);
        let request = match message.kind {
            Kind::Discover { wish } => {
                let wish = wish.filter(|wish| service.subnet.contains(wish)).map(IpAddr::V4);
                Request::Find {
                    segment: id,
                    client,
                    wish,
                }
            }
            Kind::Selecting { server, .. } | Kind::Extending { server: Some(server) } if !ours(Some(server)) => {
                // It took another server's offer: whatever it asked here is void.
                if let Some(old) = segment.pending.remove(&client) {
                    self.asked.remove(&old.token);
                }
                return Err(Ignored::OtherServer);
            }
            Kind::Selecting { address, .. } | Kind::Rebooting { address } => {
                return self.bind(id, address, Basis::Wanting, packet, message, now);
            }
            Kind::Extending { .. } => {
                return self.bind(id, message.ciaddr, Basis::Having, packet, message, now);
            }
            Kind::Release { server } | Kind::Decline { server, .. } if !ours(server) => {
                return Err(Ignored::OtherServer);
            }
            Kind::Release { .. } => Request::Release {
                segment: id,
                address: message.ciaddr.into(),
                client,
            },
            Kind::Decline { address, .. } => Request::Decline {
                segment: id,
                address: address.into(),
                client,
            },
            Kind::Inform => {
                if !service.subnet.contains(&message.ciaddr) {
                    return Err(Ignored::ForeignAddress);
                }
                self.effects.push_back(say(service, &message, Saying::Options));
                return Ok(());
            }
        };
        self.ask(id, request, message, now)
    }

    /// The guest wants this address, or more time for it.
    fn bind(
        &mut self,
        id: SegmentId,
        address: Ipv4Addr,
        basis: Basis,
        packet: &Packet,
        message: GuestMessage,
        now: Instant,
    ) -> Result<(), Ignored> {
        let service = &self.segments.get(&id).ok_or(Ignored::NotServed)?.service;
        if !service.subnet.contains(&address) {
            let why = "this address is not of this network";
            self.effects.push_back(say(service, &message, Saying::No { why }));
            return Ok(());
        }
        let claim = Claim {
            client: message.client,
            basis,
            guest_host: packet.guest_host,
            lease_time: service.lease_time,
            client_id: message.client_id.clone(),
            hostname: message.hostname.clone(),
        };
        let request = Request::Bind {
            segment: id,
            address: address.into(),
            claim,
        };
        self.ask(id, request, message, now)
    }

    fn ask(&mut self, id: SegmentId, request: Request, message: GuestMessage, now: Instant) -> Result<(), Ignored> {
        let segment = self.segments.get_mut(&id).ok_or(Ignored::NotServed)?;
        let waits = !matches!(message.kind, Kind::Release { .. } | Kind::Decline { .. });
        let fresh = |pending: &Pending| now.since(pending.since) <= OLDEST_ANSWER;
        match segment.pending.get(&message.client) {
            Some(open) if waits && fresh(open) && same_question(&open.message, &message) => {
                return Err(Ignored::Repeated);
            }
            Some(open) => {
                self.asked.remove(&open.token);
                segment.pending.remove(&message.client);
            }
            None if segment.pending.len() >= MOST_PENDING => {
                for (_, old) in segment.pending.extract_if(.., |_, pending| !fresh(pending)) {
                    self.asked.remove(&old.token);
                }
                if segment.pending.len() >= MOST_PENDING {
                    return Err(Ignored::Busy);
                }
            }
            None => {}
        }
        let token = self.next_token;
        self.next_token += 1;
        if waits {
            self.asked.insert(token, (id, message.client));
            segment.pending.insert(
                message.client,
                Pending {
                    token,
                    since: now,
                    message,
                },
            );
        }
        self.effects.push_back(Effect::Ask { token, request });
        Ok(())
    }
}

/// Whether a second message is the first one once more: whoever asks something else has given the first one up.
fn same_question(first: &GuestMessage, second: &GuestMessage) -> bool {
    first.transaction == second.transaction && first.kind == second.kind && first.ciaddr == second.ciaddr
}

/// Where a reply goes: RFC 2131 section 4.1.
fn say(service: &SegmentService, message: &GuestMessage, saying: Saying<'_>) -> Effect {
    let everybody = (Mac::BROADCAST, Ipv4Addr::BROADCAST);
    let (destination_mac, destination) = match saying {
        Saying::No { .. } => everybody,
        Saying::Options => (message.client, message.ciaddr),
        Saying::Lease {
            kind: MessageType::Ack, ..
        } if !message.ciaddr.is_unspecified() => (message.client, message.ciaddr),
        Saying::Lease { address, .. } => match message.replies {
            Replies::Broadcast => everybody,
            Replies::Unicast => (message.client, address),
        },
    };
    Effect::Reply {
        segment: service.segment,
        destination_mac,
        source: service.gateway,
        destination,
        bytes: reply::write(service, message, saying),
    }
}
