//! What is on disk: absolute values, so that a record read twice or a journal cut short does no harm.
//!
//! The machine says `Append` with a sequence; the edge writes, syncs (many appends may share one fsync) and reports the
//! sequence back. Appends reach the disk in order: what is reported implies all before it. A snapshot starts a new journal.

use std::collections::BTreeSet;

use crate::id::{HostId, SegmentId};
use crate::range::Range;
use crate::time::Duration;

use super::message::Life;
use super::record::AddressState;

/// One line of the journal; a later one about the same thing replaces the earlier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalRecord {
    /// All that is known of membership.
    Membership(Members),
    /// What is known of a run of addresses.
    Addresses {
        /// The segment of the address.
        segment: SegmentId,
        /// The addresses.
        range: Range,
        /// What. `AddressState::UNKNOWN` forgets them.
        state: AddressState,
    },
    /// What must outlive the segment's present generation.
    Segment {
        /// The segment.
        segment: SegmentId,
        /// The newest generation known here, zero before any is; zero with no lease time forgets the segment.
        generation: u64,
        /// Whether that is its last.
        life: Life,
        /// The longest lease time of any generation known here.
        longest: Duration,
        /// The lease time that every member is known to know: an owner binds for no longer.
        agreed: Duration,
    },
}

/// Who belongs to the cluster, as far as leases go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// All members known, this host included.
    pub members: BTreeSet<HostId>,
    /// Those that have this host among their members on their disk.
    pub acknowledged: BTreeSet<HostId>,
    /// Whether one of them takes part.
    pub introduced: Introduced,
    /// Hosts that are off for good; only grows.
    pub removed: BTreeSet<HostId>,
}

/// Whether this host's membership rests on one that takes part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Introduced {
    /// It is in no cluster, or nobody that takes part has acknowledged it.
    #[default]
    Not,
    /// A host that takes part has acknowledged it, but not yet every member.
    ByMember,
    /// It formed the cluster, or every member that it knew of has acknowledged it: it takes part from then on.
    Fully,
}

/// What a start finds on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Of the last append read; zero on an empty disk.
    pub sequence: u64,
    /// All records in the order of writing.
    pub records: Vec<JournalRecord>,
}

/// What was written, and how much of it is on disk. All writes of one `handle_*` are one append.
///
/// ```text
/// write(a) write(b) ── flush ─► Append #7 ─► edge ── synced(7)
/// ```
#[derive(Debug)]
pub(super) struct Journal {
    /// Of the last append, or of the one that is being put together.
    sequence: u64,
    /// All up to here is on disk.
    synced: u64,
    /// Nothing more is written.
    lost: bool,
    batch: Vec<JournalRecord>,
}

impl Journal {
    pub(super) const fn new(sequence: u64) -> Self {
        Self {
            sequence,
            synced: sequence,
            lost: false,
            batch: Vec::new(),
        }
    }

    /// Adds a record to the append of this turn; its sequence.
    ///
    /// A lost journal stays as it is: what a host learns later is no reason to take it for whole after a restart.
    pub(super) fn write(&mut self, record: JournalRecord) -> u64 {
        if self.lost {
            return self.synced;
        }
        if self.batch.is_empty() {
            self.sequence += 1;
        }
        self.batch.push(record);
        self.sequence
    }

    /// Ends the turn: the append of what was written in it.
    pub(super) fn flush(&mut self) -> Option<(u64, Vec<JournalRecord>)> {
        let records = std::mem::take(&mut self.batch);
        (!records.is_empty()).then_some((self.sequence, records))
    }

    /// The edge has synced; up to where everything is on disk by now.
    pub(super) fn handle_synced(&mut self, sequence: u64) -> u64 {
        self.synced = self.synced.max(sequence.min(self.sequence));
        self.synced
    }

    /// Whether everything up to `sequence` is on disk.
    pub(super) const fn has(&self, sequence: u64) -> bool {
        sequence <= self.synced
    }

    /// Of the last fsync.
    pub(super) const fn synced_sequence(&self) -> u64 {
        self.synced
    }

    /// Of the last append.
    pub(super) const fn sequence(&self) -> u64 {
        self.sequence
    }

    pub(super) fn lose(&mut self) {
        self.lost = true;
        self.batch.clear();
    }
}
