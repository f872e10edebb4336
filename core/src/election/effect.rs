//! What the election starts with, what it wants done, and what it wants to know about it afterwards.

use std::collections::BTreeSet;

use super::Cause;
use super::message::{GroupId, Message};
use crate::cluster::reachability::{Liveness, Probe};
use crate::id::{HostId, SegmentId, Term};
use crate::time::Duration;

/// What a host starts with.
#[derive(Clone, Debug)]
pub struct Start {
    /// This host.
    pub me: HostId,
    /// Grows with each start; on disk before it is used.
    pub instance: u64,
    /// Seed of the random rests.
    pub seed: u64,
    /// The gateway addresses found in the kernel.
    pub kernel: Vec<FoundAddress>,
    /// The hosts whose kernels have ever answered a probe, as last persisted.
    pub kernel_answered: BTreeSet<HostId>,
}

/// Something for the edge to do, in the order in which it was polled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send on the election stream to that host; no stream, or a full one: drop it.
    Send {
        /// The receiver.
        to: HostId,
        /// What to send.
        message: Message,
    },
    /// Send one ICMP echo to that host's VTEP address and report with [`super::Election::handle_probe`]: answered,
    /// or 50 ms over without an answer (or it could not be sent).
    Probe(Probe),
    /// Add the group's gateway addresses, or renew their lifetime, with the term in the link's alias; report with
    /// [`super::Election::handle_address`]. Services follow the role.
    SetAddress {
        /// The group: all of its segments.
        group: GroupId,
        /// The term for the alias.
        term: Term,
        /// `valid_lft`; `None`: for ever.
        lifetime: Option<Duration>,
    },
    /// Take services and the group's gateway addresses off, then report [`AddressEvent::Removed`]; the report lets the
    /// others take over. May come again until reported. Nothing there to remove is removed, too.
    RemoveAddress {
        /// The group: all of its segments.
        group: GroupId,
    },
    /// This host is to be the successor: prepare everything but the address, then call
    /// [`super::Election::handle_prepared`]. Nothing may ever come of it.
    Prepare {
        /// The group that it is to take.
        group: GroupId,
        /// The present holder.
        holder: HostId,
    },
    /// The role of this host in a group, or the holder that it knows of, has changed.
    Role {
        /// In which group.
        group: GroupId,
        /// What it is now.
        role: Role,
        /// Why.
        cause: Cause,
    },
    /// What the election thinks of another host has changed.
    Liveness {
        /// Another host of the view.
        host: HostId,
        /// What it is now.
        liveness: Liveness,
    },
    /// Write this to disk: the hosts whose kernels have ever answered a probe. Nothing waits for it.
    Persist {
        /// All of them.
        kernel_answered: BTreeSet<HostId>,
    },
}

/// This host's part in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Somebody else is the gateway, or nobody.
    Follower {
        /// Who, and its term, where it is known.
        holder: Option<(HostId, Term)>,
    },
    /// This host asks for the group.
    Claimant {
        /// The term it would have.
        term: Term,
    },
    /// This host is the gateway.
    Holder {
        /// Its term.
        term: Term,
    },
}

/// What became of the gateway addresses of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressEvent {
    /// They are set as last asked for.
    Set,
    /// They could not be set; this host gives the group up for a while.
    Failed,
    /// They are off, and so are the services.
    Removed,
}

/// A gateway address that was found in the kernel at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundAddress {
    /// The segment of the link that carries it.
    pub segment: SegmentId,
    /// The term in the link's alias.
    pub term: Term,
    /// What is left of its lifetime; `None`: unlimited.
    pub remaining: Option<Duration>,
}

/// Why a gateway is not moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MoveError {
    /// This host is not in such a group.
    UnknownGroup,
    /// Nobody is known to hold it.
    NoHolder,
    /// It is there already.
    AlreadyThere,
    /// The host named is drained, or gives way for another reason.
    Drained(HostId),
    /// The host named lacks something that the gateway needs.
    Lacking(HostId),
    /// The host named is configured not to be a candidate.
    NotCandidate(HostId),
    /// The host named has no vote: it does not have the segment, or others elect for it.
    NoVoter(HostId),
    /// The holder has not heard the host named just now.
    Unreachable(HostId),
    /// No host can take it.
    NoSuccessor,
}

/// What a planned hand-over began with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moving {
    /// This host holds the group and prepares that successor.
    To(HostId),
    /// Another host holds it and was asked to hand over.
    AskedOf(HostId),
}

/// Why [`super::Election::poll_timeout`] wants to be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElectionTimer {
    /// The beat of renewals, asks and pings.
    Beat,
    /// The end of a hold.
    Hold,
    /// A suspicion, a claim or a wait.
    Watch,
    /// A probe.
    Probe,
}
