//! The operations that are pending: what each knows between its call and its end. What it does is in a file of its own.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::config::Segment;
use crate::election::GroupId;
use crate::id::{HostId, SegmentName};
use crate::node::applied::Run;
use crate::node::effect::{Call, Ended, Force, Refusal};
use crate::node::listening::{Listener, PublishedPorts};
use crate::node::loss::Loss;
use crate::node::peer_message::Sign;
use crate::time::{Duration, Instant};

/// An operation that has begun.
#[derive(Debug)]
pub(in crate::node) struct Pending {
    /// Whom to answer; `None`: nobody, the configuration asked for it.
    pub(super) call: Option<Call>,
    pub(super) operation: Operation,
    pub(super) retry_at: Option<Instant>,
    pub(super) deadline: Option<Instant>,
}

impl Pending {
    /// When it is due without anything happening.
    pub(in crate::node) fn timeout(&self) -> Option<Instant> {
        self.retry_at.into_iter().chain(self.deadline).min()
    }
}

/// The operations that take a while.
#[derive(Debug)]
pub(super) enum Operation {
    Apply(Apply),
    Drain(Drain),
    Join(Join),
    Leave(Leave),
    MoveGateway(MoveGateway),
    Recover(Recover),
    Release(Release),
    RemovePeer(RemovePeer),
}

/// How an operation spends its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// It only waits.
    Waits,
    /// It tries again and again.
    Tries { first_in: Duration, every: Duration },
}

/// `apply`: waits for the candidates' word on the ports that it publishes.
#[derive(Debug)]
pub(super) struct Apply {
    pub(super) segments: Vec<Segment>,
    pub(super) run: Run,
    pub(super) force: Force,
    /// Of the question.
    pub(super) number: u64,
    /// Who has not answered, and what they were asked.
    pub(super) open: BTreeMap<HostId, Vec<PublishedPorts>>,
    /// What those that have answered said.
    pub(super) taken: Vec<(HostId, Listener)>,
}

/// `drain`: waits until other hosts are the gateways that this one was.
#[derive(Debug)]
pub(super) struct Drain {
    /// What this host was the gateway of.
    pub(super) had: Vec<(SegmentName, GroupId)>,
}

/// Looking for a cluster that lets this host in.
#[derive(Debug)]
pub(super) struct Join {
    /// Addresses to ask in turn.
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) next: usize,
    pub(super) asked: Option<SocketAddr>,
    /// What the last one said that refused.
    pub(super) refused: Option<Refusal>,
    pub(super) wanted_by: WantedBy,
    /// Nobody is asked any more: the answer, unless the call that is on its way brings another.
    pub(super) given_up: Option<Refusal>,
}

/// Who wants this host to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WantedBy {
    Operator,
    Configuration,
}

/// `leave`: hands over, announces it, and has all that is ours removed.
#[derive(Debug)]
pub(super) struct Leave {
    pub(super) force: Force,
    pub(super) stage: Stage,
    pub(super) cluster: Ended,
    /// What it costs guests.
    pub(super) losses: Vec<Loss>,
    /// What the operator has to do afterwards.
    pub(super) notes: Vec<String>,
}

/// How far a leave is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    HandingOver,
    Announcing { until: Instant },
    Removing,
}

/// `gateway move`: waits until the receiver serves.
#[derive(Debug)]
pub(super) struct MoveGateway {
    pub(super) group: GroupId,
    pub(super) from: Option<HostId>,
    pub(super) to: Option<HostId>,
}

/// `pool recover`.
#[derive(Debug)]
pub(super) enum Recover {
    /// These members have not acknowledged this host yet.
    Acknowledging(Vec<HostId>),
    /// The append of this number says that it takes part.
    Writing(u64),
}

/// `lease release`: waits for the owner's answer.
#[derive(Debug)]
pub(super) struct Release {
    /// The number of the request to the leases, which always answer.
    pub(super) token: u64,
}

/// `peer remove`: asks all members whether they hear the host.
#[derive(Debug)]
pub(super) struct RemovePeer {
    pub(super) host: HostId,
    pub(super) name: String,
    /// Members that have not said that they hear nothing, and what they have said.
    pub(super) open: BTreeMap<HostId, Option<Sign>>,
}
