//! What the DHCP server of this host asks, and what it is told: whom to ask and in which order is decided here, not there.

use std::net::IpAddr;

use crate::id::{HostId, Mac, SegmentId};
use crate::range::Address;
use crate::time::{Duration, Instant};

use super::journal::JournalRecord;
use super::message::{Claim, Message};
use crate::lease::{Lease, Share, Version};

/// A question of the local DHCP server. Each gets exactly one `Answer` with its token, at the latest after 5 s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// DISCOVER: which address would the client get? Nothing is bound; a new address is held for 10 s.
    Find {
        /// The segment of the address.
        segment: SegmentId,
        /// For whom.
        client: Mac,
        /// DHCP option 50: taken if it can be.
        wish: Option<IpAddr>,
    },
    /// REQUEST: a new lease, or more time (`Claim::basis` says which).
    Bind {
        /// The segment of the address.
        segment: SegmentId,
        /// Which address: option 50, or `ciaddr`.
        address: IpAddr,
        /// Who, and for how long.
        claim: Claim,
    },
    /// RELEASE.
    Release {
        /// The segment of the address.
        segment: SegmentId,
        /// Which address: `ciaddr`.
        address: IpAddr,
        /// The client that has it.
        client: Mac,
    },
    /// DECLINE: counts only from the client that has the lease.
    Decline {
        /// The segment of the address.
        segment: SegmentId,
        /// Which address: option 50.
        address: IpAddr,
        /// The client that has it.
        client: Mac,
    },
    /// An operator ends a lease: nobody extends it from then on.
    Revoke {
        /// The segment of the address.
        segment: SegmentId,
        /// Which address.
        address: IpAddr,
        /// The client that has it.
        client: Mac,
    },
    /// A foreign user was seen at an address that nobody has.
    Conflict {
        /// The segment of the address.
        segment: SegmentId,
        /// Which address.
        address: IpAddr,
    },
    /// An address that was found for a client is not kept for it any more.
    Withdraw {
        /// The segment of the address.
        segment: SegmentId,
        /// Which address.
        address: IpAddr,
        /// The client that was offered it.
        client: Mac,
    },
}

impl Request {
    /// The segment that it is about.
    pub(super) const fn segment(&self) -> SegmentId {
        match self {
            Request::Find { segment, .. }
            | Request::Bind { segment, .. }
            | Request::Release { segment, .. }
            | Request::Decline { segment, .. }
            | Request::Revoke { segment, .. }
            | Request::Conflict { segment, .. }
            | Request::Withdraw { segment, .. } => *segment,
        }
    }
}

/// What is wanted of the owner of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A lease; a keeper may extend it, too.
    Bind(Claim),
    /// This client gives its lease back.
    Release(Mac),
    /// This client found its address in use.
    Decline(Mac),
    /// A foreign user was seen at an address that nobody has.
    Conflict,
    /// An operator ends this client's lease, in this version.
    Revoke(Mac, Version),
}

/// What the DHCP server is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// OFFER this address for this long.
    Offer {
        /// The address.
        address: IpAddr,
        /// For how long the client may use it.
        lease_time: Duration,
        /// The host name that a reservation gives, if any.
        hostname: Option<String>,
    },
    /// ACK.
    Ack {
        /// The address.
        address: IpAddr,
        /// For how long the client may use it.
        lease_time: Duration,
        /// The host name that a reservation gives, if any.
        hostname: Option<String>,
        /// How many hosts have the lease on disk.
        copies: u32,
    },
    /// NAK: the owner says that another client has the address, or another guest has answered for it.
    Nak,
    /// Say nothing to the guest.
    Silence(Silence),
    /// Release, decline or conflict was passed on and done; nothing is said to the guest.
    Done,
}

impl Answer {
    /// Whoever could say came too late.
    pub(super) const TOO_LATE: Answer = Answer::Silence(Silence::OutOfReach);
}

/// Why the guest hears nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Silence {
    /// The segment has no pool, or is not known here.
    NoPool,
    /// No address is free, and nobody lent one.
    NothingFree,
    /// The segment's `max_leases` are held.
    MaxLeases,
    /// Neither owner nor keeper of the address answered.
    OutOfReach,
    /// The address is reserved for somebody else, dropped from the pool, or its reservation is still pending.
    NotOffered,
    /// This host was removed, or its disk is lost.
    NoPart,
}

/// What the machine wants done. Order matters: effects are carried out in the order they come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send it on the lease stream; if there is none, drop it.
    Send {
        /// The receiver.
        to: HostId,
        /// What to send.
        message: Message,
    },
    /// Write to the journal and sync; then `handle_synced(sequence)`. Several may share an fsync.
    Append {
        /// Grows by one with each append.
        sequence: u64,
        /// What to append.
        records: Vec<JournalRecord>,
    },
    /// To the DHCP server.
    Answer {
        /// Of the request.
        token: u64,
        /// The answer to it.
        answer: Answer,
    },
    /// Every host should learn this, replacing what it had of the same segment and address.
    GossipLease(Lease),
    /// Every host should learn this, replacing what it had of the same segment and host.
    GossipShare(Share),
    /// Somebody should know this.
    Event(LeaseEvent),
    /// This host has handed over all it had and is in its own `removed`: it may go.
    Left,
}

/// Something that happened to leases, addresses or the journal, and that somebody should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseEvent {
    /// The gateway had no address to give.
    NothingFree {
        /// The segment of the address.
        segment: SegmentId,
    },
    /// A client declined an address, or a conflict was seen.
    Declined {
        /// The segment of the address.
        segment: SegmentId,
        /// The address.
        address: Address,
        /// For how long.
        time: Duration,
    },
    /// Another host introduced the same addresses; that one stays their owner.
    BirthLost {
        /// The segment of the address.
        segment: SegmentId,
        /// The owner that stays.
        owner: HostId,
    },
    /// A lease that this host brought along is taken by another client, or not in the pool: it does not come along.
    BroughtTaken {
        /// The segment of the address.
        segment: SegmentId,
        /// The address.
        address: Address,
        /// Whose lease gives way.
        client: Mac,
    },
    /// This host learned that it was removed: it serves no more.
    Removed,
    /// This host's disk is behind what others heard from it, or was reported lost: it owns and keeps nothing any more.
    DiskLost,
}

/// Why this host cannot begin to take part on an operator's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unrecovered {
    /// It takes part.
    TakesPart,
    /// Its disk is lost, it was removed, or it leaves.
    NoPart,
    /// This one takes part, and can let it do so.
    OtherTakesPart(HostId),
    /// This member has lost its journal: it can neither acknowledge nor report.
    OtherLost(HostId),
    /// These members are not heard, or have not acknowledged it: they may have what nobody else knows.
    Silent(Vec<HostId>),
}

/// Why `poll_timeout` wants to be called back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// A lease or a quarantine may be over.
    End,
    /// A message is due again.
    Repeat,
    /// A question to another host, or an offer, runs out.
    Wait,
    /// Shares and membership are looked at.
    Tick,
}

/// When the machine wants to be called, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeout {
    /// The time to be called at, at the latest.
    pub at: Instant,
    /// What is due then.
    pub reason: Reason,
}
