//! What is on disk: absolute values, so that a record read twice or a journal cut short does no harm.
//!
//! The machine says `Append` with a sequence; the edge writes, syncs (many appends may share one fsync) and reports the
//! sequence back. Appends reach the disk in order: what is reported implies all before it. A snapshot starts a new journal.

use std::collections::BTreeSet;

use crate::id::{HostId, SegmentId};
use crate::range::Range;
use crate::time::Duration;

use super::record::AddressState;

/// One line of the journal; a later one about the same thing replaces the earlier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalRecord {
    /// All that is known of membership.
    Membership(Membership),
    /// What is known of a run of addresses.
    Addresses {
        /// Where.
        segment: SegmentId,
        /// Which.
        range: Range,
        /// What. `AddressState::UNKNOWN` forgets them.
        state: AddressState,
    },
    /// What must outlive the segment's present generation.
    Segment {
        /// Which.
        segment: SegmentId,
        /// The newest generation known here, zero before any is; zero with no lease time forgets the segment.
        generation: u64,
        /// The longest lease time of any generation known here.
        longest: Duration,
        /// The lease time that every member is known to know: an owner binds for no longer.
        agreed: Duration,
    },
}

/// Who belongs to the cluster, as far as leases go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
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
