//! What an address has in memory only: who relies on it for how long, who has stored its record, who waits for that.

use std::collections::BTreeSet;

use crate::id::{HostId, Mac};
use crate::range::Address;
use crate::time::{Duration, Instant};

use super::message::Claim;
use super::timing::{ANSWER_LIFE, REPEAT_FIRST};

/// What is known of a bound or unconfirmed address and not on disk.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// Until when a guest may rely on what this host said.
    pub(super) relied_until: Option<Instant>,
    /// New whenever `relied_until` is set.
    pub(super) nonce: u64,
    /// When `relied_until` was last set, or may have been.
    pub(super) granted: Instant,
    /// Hosts that stored the record's very version.
    pub(super) confirmed: BTreeSet<HostId>,
    /// What the owner has still to do.
    pub(super) work: Option<Replication>,
    /// No keeper has stored the record since it last had none.
    pub(super) alone: bool,
    /// The owner may have ended what this keeper extends: the client did not show its lease, or this host restarted.
    pub(super) unsure: bool,
    /// From when on a reservation that ended is over.
    pub(super) retire: Option<Instant>,
    /// When it is looked at.
    pub(super) due: Option<Instant>,
}

/// An address kept in memory for a client that was offered it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    pub(super) client: Mac,
    pub(super) until: Instant,
}

/// An address that nobody has leased, and that a guest has answered for by ARP.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rest {
    pub(super) by: Mac,
    pub(super) until: Instant,
}

/// What a timer is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    Live(Address),
    Quarantine,
    Offer(Address),
    Rest(Address),
    Question(u64),
    Search(u64),
    Give,
    Ballot,
    Tick,
}

/// What an owner has to do about a record until every host in `may` has confirmed it.
#[derive(Debug)]
pub(super) struct Replication {
    /// When the record is put again.
    pub(super) due: Instant,
    /// How long to wait after that.
    pub(super) wait: Duration,
    /// When the next keeper is taken.
    pub(super) keeper_by: Option<Instant>,
    /// Keepers that were tried.
    pub(super) tried: BTreeSet<HostId>,
    /// Who is to be answered.
    pub(super) waiters: Vec<Waiter>,
}

impl Replication {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            due: now,
            wait: REPEAT_FIRST,
            keeper_by: None,
            tried: BTreeSet::new(),
            waiters: Vec::new(),
        }
    }
}

/// For whom something is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A request of the local DHCP server, by its token.
    Guest(u64),
    /// A lease that this host brought along from a cluster of its own.
    Brought,
}

/// Whoever claims an address of an owner or keeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// This host itself.
    Here(Origin),
    /// Another host, by the number of its question.
    There(HostId, u64),
}

/// A claim, who waits for its answer, and since when.
#[derive(Clone, Debug)]
pub(super) struct Waiter {
    pub(super) asker: Asker,
    pub(super) claim: Claim,
    pub(super) since: Instant,
}

impl Waiter {
    /// An answer counts for 5 s from the question.
    pub(super) fn is_late(&self, now: Instant) -> bool {
        now.since(self.since) >= ANSWER_LIFE
    }
}
