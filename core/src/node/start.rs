//! What a host starts with, and what of it survived from its last life.

use std::collections::BTreeSet;

use crate::addresses::Recovered;
use crate::cluster::gossip::Record;
use crate::config::HostConfig;
use crate::id::{ClusterId, HostId, SegmentName, Term};
use crate::time::Duration;

/// Whether this host is in a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Formation {
    /// It never was.
    Unformed,
    /// It is, and a restart changes nothing about that.
    Formed(ClusterId),
    /// It left or was removed; only an operator's word brings it back. Its next life has this id, because a removed one
    /// counts for ever.
    Left {
        /// The id of the next life.
        next: HostId,
    },
}

/// A gateway address that was in the kernel when the agent started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The segment in the link's alias.
    pub segment: SegmentName,
    /// The term in the link's alias.
    pub term: Term,
    /// What is left of its lifetime; `None`: unlimited.
    pub remaining: Option<Duration>,
}

/// Whether the journal is what this host wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// It is.
    Whole,
    /// It was damaged: this host owns and keeps nothing any more.
    Lost,
}

/// Whether an operator wants this host to take no gateway while another can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// It takes them in its turn.
    No,
    /// Until `undrain`, over restarts, too.
    Yes,
}

/// What a host starts with.
#[derive(Debug)]
pub struct Start {
    /// This host.
    pub host: HostId,
    /// Grows with each start, already on disk.
    pub instance: u64,
    /// Whether it is in a cluster.
    pub formation: Formation,
    /// Whether it was drained.
    pub drained: Drained,
    /// The host that it was before `overlayd --cleanup`, until it is in a cluster again.
    pub former: Option<HostId>,
    /// Random.
    pub seed: u64,
    /// Its configuration.
    pub config: HostConfig,
    /// The agent's version.
    pub version: String,
    /// What gossip knew last.
    pub records: Vec<Record>,
    /// The journal.
    pub leases: Recovered,
    /// Whether the journal is whole.
    pub disk: Disk,
    /// The gateway addresses found in the kernel.
    pub found: Vec<Found>,
    /// Hosts whose kernel ever answered a probe.
    pub answered: BTreeSet<HostId>,
}

/// What survived a restart.
#[derive(Debug)]
pub(super) struct Survived {
    pub(super) records: Vec<Record>,
    pub(super) leases: Recovered,
    pub(super) found: Vec<Found>,
    pub(super) answered: BTreeSet<HostId>,
}

impl Survived {
    /// Nothing, as in a new cluster.
    pub(super) fn nothing() -> Self {
        Self {
            records: Vec::new(),
            leases: Recovered::default(),
            found: Vec::new(),
            answered: BTreeSet::new(),
        }
    }
}
