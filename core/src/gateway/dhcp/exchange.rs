//! What goes into the server and what comes out of it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::addresses::Request;
use crate::config::NetworkBoot;
use crate::id::{HostId, Mac, SegmentId};
use crate::time::Duration;

/// What DHCP offers to the guests of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentService {
    /// The segment whose guests are served.
    pub segment: SegmentId,
    /// Option 1, and what a requested address must lie in.
    pub subnet: Ipv4Net,
    /// The gateway address: on every host the server's identifier (option 54), and the source of replies.
    pub gateway: Ipv4Addr,
    /// The default router (option 3); none in an isolated segment.
    pub router: Option<Ipv4Addr>,
    /// The segment's MTU (option 26).
    pub mtu: u16,
    /// Name servers (option 6); none is not sent.
    pub dns: Vec<Ipv4Addr>,
    /// The domain (option 15).
    pub domain: Option<String>,
    /// Further options by code, as they stand on the wire; in place of the options 3, 6, 12, 15, 28, 66 and
    /// 67 of this server.
    pub options: BTreeMap<u8, Vec<u8>>,
    /// What guests boot from the network.
    pub boot: NetworkBoot,
    /// What guests with a reservation of their own boot, where that says so.
    pub reserved_boot: BTreeMap<Mac, NetworkBoot>,
    /// How long a lease lasts (option 51); guests renew after half of it.
    pub lease_time: Duration,
}

/// A DHCP message as it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The UDP payload.
    pub bytes: Vec<u8>,
    /// The frame's source.
    pub source: Mac,
    /// The host that the guest is on, if the bridge's forwarding database shows it.
    pub guest_host: Option<HostId>,
}

/// What the server wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Ask the leases; then `handle_answer` with this token.
    Ask {
        /// New with each question.
        token: u64,
        /// For the addresses' owner.
        request: Request,
    },
    /// Send a message from port 67 to port 68.
    Reply {
        /// The segment whose gateway link it leaves by.
        segment: SegmentId,
        /// The frame's destination.
        destination_mac: Mac,
        /// The gateway address.
        source: Ipv4Addr,
        /// The guest's address, or the limited broadcast.
        destination: Ipv4Addr,
        /// The UDP payload.
        bytes: Vec<u8>,
    },
    /// Ask the segment's guests by ARP who has these addresses; `handle_arp` takes the answers.
    AskGuests {
        /// The segment whose gateway link the questions leave by.
        segment: SegmentId,
        /// One question each.
        addresses: Vec<Ipv4Addr>,
    },
    /// Name the addresses that guests are offered next: `handle_ahead`.
    LookAhead {
        /// Their segment.
        segment: SegmentId,
    },
    /// A guest has answered for an address: the leases give it to nobody else for a while, unless it is leased.
    InUse {
        /// The segment.
        segment: SegmentId,
        /// The address.
        address: Ipv4Addr,
        /// The guest.
        by: Mac,
    },
    /// A guest says of more addresses than it can use that they are in use: nothing that it says of them counts.
    Disbelieved {
        /// The segment.
        segment: SegmentId,
    },
    /// A guest got no address; said at most once a minute of each segment and reason.
    Unserved {
        /// Its segment.
        segment: SegmentId,
        /// The guest.
        client: Mac,
        /// Why.
        shortage: Shortage,
    },
}

/// What guests without an address lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shortage {
    /// No address of the pool is free, and no other host lends one.
    Exhausted,
    /// The segment's `max_leases` are held.
    MaxLeases,
}

/// Why a message had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ignored {
    /// This host is not the gateway of the segment.
    NotServed,
    /// It is no DHCP message, or one that contradicts itself.
    Malformed,
    /// It is a server's.
    NotARequest,
    /// It has no message type: BOOTP, which knows no lease times.
    Bootp,
    /// It claims to come from a relay.
    Relayed,
    /// The frame came from another station than the message says.
    ForeignHardwareAddress,
    /// It is meant for another server.
    OtherServer,
    /// It takes an offer without saying which address, and none was made here lately.
    NothingOffered,
    /// The same question is open already.
    Repeated,
    /// Too many questions are open.
    Busy,
    /// The address is none of the segment's, and no NAK is due.
    ForeignAddress,
    /// The guest says of more addresses than it can use that they are in use.
    Disbelieved,
}
