//! What hosts tell each other about records, and what comes of it.

use super::record::{HostRecord, Key, Record};
use super::segment_record::SegmentRecord;
use super::store::{RANGES, Span};
use crate::id::HostId;

/// What hosts tell each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Some records, in full.
    Records(Vec<Record>),
    /// All that the sender knows, in one number per range.
    Digest(Box<[u64; RANGES]>),
    /// All that the sender knows of one span: key and content fingerprints, in order.
    Summary {
        /// The span: what is in it and not in `entries` the sender does not know.
        span: Span,
        /// Key fingerprint and content fingerprint.
        entries: Vec<(u64, u64)>,
    },
    /// Key fingerprints of records that the sender asks for.
    Want(Vec<u64>),
}

/// What came of a host's gossip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send this.
    Send {
        /// To whom.
        to: HostId,
        /// What.
        message: Message,
    },
    /// A record is new, different, or gone.
    Changed(Change),
    /// All records that last: to be on disk.
    Save(Vec<Record>),
    /// Two introducers gave one segment different contents: one of them lost, and its operator should know.
    SegmentLost {
        /// What does not stand.
        loser: Box<SegmentRecord>,
        /// What stands.
        winner: Box<SegmentRecord>,
    },
    /// What another host remembers of this one, if it is not what this one says of itself: after a lost disk it tells
    /// how far the journal had come.
    Remembered(Box<HostRecord>),
}

/// A record that is new, different, or gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What it is about.
    pub key: Key,
    /// What was known before.
    pub old: Option<Box<Record>>,
    /// What is known now; `None` when the host it depends on was removed.
    pub new: Option<Box<Record>>,
    /// Where it came from.
    pub origin: ChangeOrigin,
}

/// Where a change came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeOrigin {
    /// From this host.
    Own,
    /// From a peer.
    Peer(HostId),
}

/// What a deadline of the gossip is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Digests are due.
    Digest,
    /// Changes have waited for others long enough.
    Flush,
    /// What lasts has changed.
    Save,
}

/// What became of a record that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It stands, and goes out.
    Changed,
    /// It says what was known already.
    Unchanged,
    /// A newer version, or a removed host, stands against it.
    Refused,
}
