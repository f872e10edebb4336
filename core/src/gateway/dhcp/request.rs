//! What a guest asks, read from the bytes of its message. Nothing here fails: what cannot be understood is named and left.
//!
//! Only the borrowed reader of the codec is used: its owned one stops at the first option it cannot take (a host name
//! that is no UTF-8, a name in the old spelling in option 81) and would lose the client-id behind it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use dhcproto::v4::borrowed::{DhcpOptionIterator, Message};
use dhcproto::v4::{HType, MessageType, Opcode, OptionCode};

use crate::id::Mac;

use super::boot::BootClient;
use super::exchange::Ignored;
use super::names::{Fqdn, host_name};

/// The longest client-id and host name that are taken up: one option's worth (RFC 2132 section 2).
const OPTION_BYTES: usize = 255;
/// Where options may be continued when option 52 says so (RFC 2131 section 4.1): the fields `file` and `sname`.
const FILE: std::ops::Range<usize> = 108..236;
const SNAME: std::ops::Range<usize> = 44..108;

/// A guest's message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GuestMessage {
    pub(super) client: Mac,
    pub(super) transaction: u32,
    pub(super) replies: Replies,
    /// The address that the guest says it has; unspecified if none.
    pub(super) ciaddr: Ipv4Addr,
    pub(super) kind: Kind,
    /// Option 61, empty if none.
    pub(super) client_id: Vec<u8>,
    /// The label of option 81, else of option 12 (RFC 4702 section 3.1); empty if neither names a host.
    pub(super) hostname: String,
    /// Option 81.
    pub(super) fqdn: Option<Fqdn>,
    /// What it can boot from the network.
    pub(super) boots: BootClient,
    /// Option 55.
    pub(super) wanted: Option<Vec<u8>>,
    /// Option 57: the largest IP packet that the guest takes.
    pub(super) largest: u16,
}

/// How a guest without address can hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Replies {
    Unicast,
    Broadcast,
}

/// What it wants (RFC 2131 section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Discover {
        wish: Option<Ipv4Addr>,
    },
    /// It has chosen an offer; boot ROMs do not always say which address it was.
    Selecting {
        server: Ipv4Addr,
        address: Option<Ipv4Addr>,
    },
    /// It was restarted and asks whether it may keep the address.
    Rebooting {
        address: Ipv4Addr,
    },
    /// It has the address (`ciaddr`) and wants more time: by unicast renewing, by broadcast rebinding. One that names the
    /// server may also be choosing an offer.
    Extending {
        server: Option<Ipv4Addr>,
    },
    Release {
        server: Option<Ipv4Addr>,
    },
    Decline {
        server: Option<Ipv4Addr>,
        address: Ipv4Addr,
    },
    Inform,
}

impl Kind {
    /// The server that it is meant for, if it names one.
    pub(super) fn server(self) -> Option<Ipv4Addr> {
        match self {
            Kind::Selecting { server, .. } => Some(server),
            Kind::Extending { server } | Kind::Release { server } | Kind::Decline { server, .. } => server,
            Kind::Discover { .. } | Kind::Rebooting { .. } | Kind::Inform => None,
        }
    }
}

/// # Errors
/// Why the message gets no answer from anybody.
pub(super) fn read(bytes: &[u8]) -> Result<GuestMessage, Ignored> {
    let message = Message::new(bytes).map_err(|_| Ignored::Malformed)?;
    if message.opcode() != Opcode::BootRequest {
        return Err(Ignored::NotARequest);
    }
    if message.htype() != HType::Eth || message.hlen() != 6 {
        return Err(Ignored::Malformed);
    }
    if !message.giaddr().is_unspecified() {
        return Err(Ignored::Relayed);
    }
    let client = <[u8; 6]>::try_from(message.chaddr())
        .map(Mac)
        .map_err(|_| Ignored::Malformed)?;
    if client.is_multicast() || client == Mac::ZERO {
        return Err(Ignored::Malformed);
    }

    let options = options(bytes, &message);
    let address = |code| {
        options
            .get(&u8::from(code))
            .and_then(|data| <[u8; 4]>::try_from(&data[..]).ok())
            .map(Ipv4Addr::from)
    };
    let Some(kind) = options.get(&u8::from(OptionCode::MessageType)) else {
        return Err(Ignored::Bootp);
    };
    let [kind] = kind[..] else {
        return Err(Ignored::Malformed);
    };
    let server = address(OptionCode::ServerIdentifier);
    let requested = address(OptionCode::RequestedIpAddress).filter(|address| !address.is_unspecified());
    let kind = wanted(MessageType::from(kind), message.ciaddr(), server, requested)?;

    let bytes_of = |code: OptionCode| options.get(&u8::from(code)).filter(|data| data.len() <= OPTION_BYTES);
    let fqdn = bytes_of(OptionCode::ClientFQDN).and_then(|data| Fqdn::read(data));
    let label = fqdn.as_ref().and_then(|fqdn| fqdn.label.clone());
    let named = bytes_of(OptionCode::Hostname).and_then(|data| host_name(data));
    Ok(GuestMessage {
        client,
        transaction: message.xid(),
        replies: if message.flags().broadcast() {
            Replies::Broadcast
        } else {
            Replies::Unicast
        },
        ciaddr: message.ciaddr(),
        kind,
        client_id: bytes_of(OptionCode::ClientIdentifier).cloned().unwrap_or_default(),
        hostname: label.or(named).unwrap_or_default(),
        fqdn,
        boots: BootClient::read(|code| options.get(&code).map(Vec::as_slice)),
        wanted: bytes_of(OptionCode::ParameterRequestList).cloned(),
        largest: bytes_of(OptionCode::MaxMessageSize)
            .and_then(|data| <[u8; 2]>::try_from(&data[..]).ok())
            .map_or(0, u16::from_be_bytes),
    })
}

/// What the guest wants, by the kind of its message and by which addresses it names.
fn wanted(
    kind: MessageType,
    ciaddr: Ipv4Addr,
    server: Option<Ipv4Addr>,
    requested: Option<Ipv4Addr>,
) -> Result<Kind, Ignored> {
    #[allow(clippy::wildcard_enum_match_arm, reason = "dhcproto's enum")]
    let kind = match kind {
        MessageType::Discover => Kind::Discover { wish: requested },
        MessageType::Request => match (server, requested) {
            // Whatever stands in `ciaddr`: guests that choose have no address yet (RFC 2131 section 4.3.2).
            (Some(server), Some(_)) => Kind::Selecting {
                server,
                address: requested,
            },
            _ if !ciaddr.is_unspecified() => Kind::Extending { server },
            (Some(server), None) => Kind::Selecting { server, address: None },
            (None, Some(address)) => Kind::Rebooting { address },
            (None, None) => return Err(Ignored::Malformed),
        },
        MessageType::Release if !ciaddr.is_unspecified() => Kind::Release { server },
        MessageType::Decline => Kind::Decline {
            server,
            address: requested.ok_or(Ignored::Malformed)?,
        },
        MessageType::Inform if !ciaddr.is_unspecified() => Kind::Inform,
        MessageType::Release | MessageType::Inform => return Err(Ignored::Malformed),
        _ => return Err(Ignored::NotARequest),
    };
    Ok(kind)
}

/// All options, of one given twice the first; those in the header's spare fields, too, if option 52 says so.
fn options(bytes: &[u8], message: &Message<'_>) -> BTreeMap<u8, Vec<u8>> {
    let mut options = BTreeMap::new();
    let mut add = |more: DhcpOptionIterator<'_>| {
        for option in more {
            options
                .entry(u8::from(option.code()))
                .or_insert_with(|| option.data().to_vec());
        }
    };
    add(message.opts());
    let overload = message
        .opts()
        .find(|option| option.code() == OptionCode::OptionOverload)
        .and_then(|option| option.data().first().copied())
        .unwrap_or(0);
    for (bit, field) in [(1, FILE), (2, SNAME)] {
        if overload & bit != 0
            && let Some(field) = bytes.get(field)
        {
            add(DhcpOptionIterator::new(field));
        }
    }
    options
}
