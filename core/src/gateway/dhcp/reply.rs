//! The bytes of OFFER, ACK and NAK, and where they go.
//!
//! What matters most stands first, so that a guest that takes only small messages loses the least. The fields `sname`
//! and `file` never carry options: guests disagree about reading them.

use std::net::{IpAddr, Ipv4Addr};

use dhcproto::v4::{MessageType, OptionCode};

use crate::addresses::Answer;
use crate::id::Mac;
use crate::time::Duration;

use super::boot::{Boot, boot};
use super::exchange::{Effect, SegmentService};
use super::request::{GuestMessage, Kind, Replies};

/// Old relays and boot ROMs drop what is shorter than a BOOTP message (RFC 1542 section 2.1).
const SHORTEST: usize = 300;
/// Every guest takes an IP packet of this size (RFC 2131 section 2).
const SMALLEST_LIMIT: u16 = 576;
/// IPv4 and UDP header.
const HEADERS: usize = 28;
const MAGIC: [u8; 4] = [99, 130, 83, 99];
/// The boot file's field (RFC 2131 section 2).
const FILE: std::ops::Range<usize> = 108..236;
const BOOT_REPLY: u8 = 2;
const ETHERNET: u8 = 1;
const BROADCAST_FLAG: u16 = 0x8000;

/// Options that say what the server itself knows: an operator's raw option does not replace them.
const OWN: [OptionCode; 15] = [
    OptionCode::Pad,
    OptionCode::SubnetMask,
    OptionCode::InterfaceMtu,
    OptionCode::RequestedIpAddress,
    OptionCode::AddressLeaseTime,
    OptionCode::OptionOverload,
    OptionCode::MessageType,
    OptionCode::ServerIdentifier,
    OptionCode::ParameterRequestList,
    OptionCode::MaxMessageSize,
    OptionCode::ClientIdentifier,
    OptionCode::RapidCommit,
    OptionCode::ClientFQDN,
    OptionCode::RelayAgentInformation,
    OptionCode::End,
];

/// What a reply says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Saying<'a> {
    /// OFFER or ACK of an address.
    Lease {
        kind: MessageType,
        address: Ipv4Addr,
        time: Duration,
        hostname: Option<&'a str>,
    },
    /// ACK of an INFORM: options, but no address and no time.
    Options,
    /// NAK.
    No { why: &'static str },
}

/// What an answer makes of the message that it is for; none if the one does not fit the other.
pub(super) fn saying(answer: &Answer, kind: Kind) -> Option<Saying<'_>> {
    match (answer, kind) {
        (
            Answer::Offer {
                address: IpAddr::V4(address),
                lease_time,
                hostname,
            },
            Kind::Discover { .. },
        ) => Some(Saying::Lease {
            kind: MessageType::Offer,
            address: *address,
            time: *lease_time,
            hostname: hostname.as_deref(),
        }),
        (
            Answer::Ack {
                address: IpAddr::V4(address),
                lease_time,
                hostname,
                ..
            },
            Kind::Selecting { .. } | Kind::Rebooting { .. } | Kind::Extending { .. },
        ) => Some(Saying::Lease {
            kind: MessageType::Ack,
            address: *address,
            time: *lease_time,
            hostname: hostname.as_deref(),
        }),
        (Answer::Nak, Kind::Selecting { .. } | Kind::Rebooting { .. } | Kind::Extending { .. }) => Some(Saying::No {
            why: "another guest has this address",
        }),
        (Answer::Offer { .. } | Answer::Ack { .. } | Answer::Nak | Answer::Silence(_) | Answer::Done, _) => None,
    }
}

/// Where a reply goes: RFC 2131 section 4.1.
pub(super) fn say(service: &SegmentService, message: &GuestMessage, saying: Saying<'_>) -> Effect {
    let everybody = (Mac::BROADCAST, Ipv4Addr::BROADCAST);
    let (destination_mac, destination) = match saying {
        Saying::No { .. } => everybody,
        Saying::Options => (message.client, message.ciaddr),
        Saying::Lease {
            kind: MessageType::Ack,
            address,
            ..
        } if message.ciaddr == address => (message.client, address),
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
        bytes: write(service, message, saying),
    }
}

fn write(service: &SegmentService, to: &GuestMessage, saying: Saying<'_>) -> Vec<u8> {
    let (kind, yiaddr, ciaddr) = match saying {
        Saying::Lease {
            kind: MessageType::Offer,
            address,
            ..
        } => (MessageType::Offer, address, Ipv4Addr::UNSPECIFIED),
        Saying::Lease { kind, address, .. } => (kind, address, to.ciaddr),
        Saying::Options => (MessageType::Ack, Ipv4Addr::UNSPECIFIED, to.ciaddr),
        Saying::No { .. } => (MessageType::Nak, Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED),
    };
    let limit = to.largest.max(SMALLEST_LIMIT).min(service.mtu.max(SMALLEST_LIMIT));
    let boots = match saying {
        Saying::Lease { .. } | Saying::Options => boot(service, to.client, &to.boots),
        Saying::No { .. } => Boot::default(),
    };
    let mut options = Options {
        bytes: header(to, ciaddr, yiaddr, boots),
        limit: usize::from(limit) - HEADERS,
    };

    options.add(OptionCode::MessageType, &[u8::from(kind)]);
    options.add(OptionCode::ServerIdentifier, &service.gateway.octets());
    if let Saying::Lease { time, .. } = saying {
        let seconds = u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        options.add(OptionCode::AddressLeaseTime, &seconds.to_be_bytes());
        // RFC 2131 section 4.4.5.
        options.add(OptionCode::Renewal, &(seconds / 2).to_be_bytes());
        options.add(OptionCode::Rebinding, &(seconds - seconds / 8).to_be_bytes());
    }
    if !to.client_id.is_empty() {
        // RFC 6842.
        options.add(OptionCode::ClientIdentifier, &to.client_id);
    }
    match saying {
        Saying::No { why } => options.add(OptionCode::Message, why.as_bytes()),
        Saying::Lease { hostname, .. } => add_network(&mut options, service, to, (hostname, boots)),
        Saying::Options => add_network(&mut options, service, to, (None, boots)),
    }
    options.finish()
}

/// Mask and MTU always, the rest as far as the guest asks for it; a guest that names no options gets all.
fn add_network(
    options: &mut Options,
    service: &SegmentService,
    to: &GuestMessage,
    (hostname, boots): (Option<&str>, Boot<'_>),
) {
    options.add(OptionCode::SubnetMask, &service.subnet.netmask().octets());
    options.add(OptionCode::InterfaceMtu, &service.mtu.to_be_bytes());
    if let Some(fqdn) = &to.fqdn {
        options.add(
            OptionCode::ClientFQDN,
            &fqdn.answer(hostname, service.domain.as_deref()),
        );
    }

    let mut known: Vec<(u8, Vec<u8>)> = Vec::new();
    let mut know = |code: OptionCode, data: Vec<u8>| {
        if !data.is_empty() && !service.options.contains_key(&u8::from(code)) {
            known.push((u8::from(code), data));
        }
    };
    know(
        OptionCode::Router,
        service
            .router
            .map(|router| router.octets().to_vec())
            .unwrap_or_default(),
    );
    know(
        OptionCode::DomainNameServer,
        service.dns.iter().flat_map(Ipv4Addr::octets).collect(),
    );
    know(
        OptionCode::DomainName,
        service.domain.clone().unwrap_or_default().into_bytes(),
    );
    know(OptionCode::Hostname, hostname.unwrap_or_default().as_bytes().to_vec());
    know(OptionCode::BroadcastAddr, service.subnet.broadcast().octets().to_vec());
    let server = boots.server.map(|server| server.to_string());
    know(OptionCode::TFTPServerName, server.unwrap_or_default().into_bytes());
    know(
        OptionCode::BootfileName,
        boots.file.unwrap_or_default().as_bytes().to_vec(),
    );
    let own = OWN.map(u8::from);
    let raw = service.options.iter().filter(|(code, _)| !own.contains(code));
    known.extend(raw.map(|(code, data)| (*code, data.clone())));

    // In the guest's order (RFC 2132 section 9.8), after it nothing.
    if let Some(wanted) = &to.wanted {
        known.retain(|(code, _)| wanted.contains(code));
        known.sort_by_key(|(code, _)| wanted.iter().position(|one| one == code));
    }
    for (code, data) in known {
        options.add(OptionCode::from(code), &data);
    }
}

fn header(to: &GuestMessage, ciaddr: Ipv4Addr, yiaddr: Ipv4Addr, boots: Boot<'_>) -> Vec<u8> {
    let flags = match to.replies {
        Replies::Broadcast => BROADCAST_FLAG,
        Replies::Unicast => 0,
    };
    let mut bytes = Vec::with_capacity(SHORTEST);
    bytes.extend([BOOT_REPLY, ETHERNET, 6, 0]);
    bytes.extend(to.transaction.to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(flags.to_be_bytes());
    bytes.extend(ciaddr.octets());
    bytes.extend(yiaddr.octets());
    bytes.extend(boots.server.unwrap_or(Ipv4Addr::UNSPECIFIED).octets());
    // giaddr.
    bytes.extend([0; 4]);
    bytes.extend(to.client.0);
    // The rest of chaddr, sname.
    bytes.resize(FILE.start, 0);
    // A longer name is in option 67 alone; the field ends with a zero.
    let file = boots.file.filter(|file| file.len() < FILE.len());
    bytes.extend(file.unwrap_or_default().as_bytes());
    bytes.resize(FILE.end, 0);
    bytes.extend(MAGIC);
    bytes
}

struct Options {
    bytes: Vec<u8>,
    limit: usize,
}

impl Options {
    /// Adds one option, in pieces if it is long (RFC 3396), or leaves it out where it does not fit.
    fn add(&mut self, code: OptionCode, data: &[u8]) {
        let pieces = data.len().div_ceil(usize::from(u8::MAX)).max(1);
        let end = 1;
        if self.bytes.len() + 2 * pieces + data.len() + end > self.limit {
            return;
        }
        for piece in data.chunks(usize::from(u8::MAX)) {
            self.bytes.extend([u8::from(code), piece.len() as u8]);
            self.bytes.extend(piece);
        }
    }

    fn finish(mut self) -> Vec<u8> {
        self.bytes.push(u8::from(OptionCode::End));
        if self.bytes.len() < SHORTEST {
            self.bytes.resize(SHORTEST, 0);
        }
        self.bytes
    }
}
