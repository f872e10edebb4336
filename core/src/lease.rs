//! A lease and a share of a pool as every host sees them: gossip carries them, and nobody gains authority by them.
//!
//! Fields that decide which of two words is the newer come first, so that the derived order is the rule.

use std::fmt;

use crate::id::{HostId, Mac, SegmentId};
use crate::range::{Address, Range};
use crate::time::Duration;

/// Orders all claims to own an address: a number, and the host that chose it (so two hosts never choose the same).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch {
    /// Higher is later.
    pub number: u64,
    /// Who took it.
    pub host: HostId,
}

impl Epoch {
    /// Below every epoch that anyone ever takes.
    pub const NONE: Epoch = Epoch {
        number: 0,
        host: HostId(0),
    };
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.number, self.host)
    }
}

/// Orders the records of one address: the owner's epoch, and a count within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The epoch that the owner had when it wrote the record, or a later one's.
    pub epoch: Epoch,
    /// Counts within the epoch.
    pub counter: u64,
}

impl Version {
    /// Of an address that never had a record.
    pub const NONE: Version = Version {
        epoch: Epoch::NONE,
        counter: 0,
    };
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.counter)
    }
}

/// One lease, as its owner (or, while that is out of reach, its keeper) last told it. It is for finding and showing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lease {
    /// Of the record at owner and keeper: the newest wins.
    pub version: Version,
    /// Of the same version, the higher wins: extensions change nothing on disk.
    pub told: u64,
    /// The segment that the address belongs to.
    pub segment: SegmentId,
    /// The address that is leased.
    pub address: Address,
    /// Whose; none when free or declined.
    pub client: Option<Mac>,
    /// As the client gave it, or its reservation; empty if neither did.
    pub hostname: String,
    /// The host that decides.
    pub owner: HostId,
    /// The host that may extend it, too.
    pub keeper: Option<HostId>,
    /// How many hosts have it on disk.
    pub copies: u32,
    /// Whether a client has it, and if not, why nobody may.
    pub state: LeaseState,
    /// The generation of the segment that the teller knew: *settled* counts for that and older ones.
    pub generation: u64,
    /// How long it runs from when this was told or handed over.
    pub left: Left,
}

/// What is known of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LeaseState {
    /// A client has it.
    Held,
    /// Nobody has it: the entry may be forgotten.
    Free,
    /// Nobody has it, and somebody beyond asking may rely on it yet.
    Quarantined,
    /// A client declined it, or a foreign user was seen.
    Declined,
    /// Reserved, but somebody else has it still, or not every member knows of it.
    Pending,
    /// Reserved for its client, and every gateway may acknowledge it.
    Settled,
}

impl Lease {
    /// Whether a guest has it, as far as is known: of a reservation, whether its guest has been there of late.
    pub fn is_held(&self) -> bool {
        match self.state {
            LeaseState::Held => true,
            LeaseState::Settled => self.left.0.is_some_and(|left| !left.is_zero()),
            LeaseState::Free | LeaseState::Quarantined | LeaseState::Declined | LeaseState::Pending => false,
        }
    }
}

/// A time that runs out; `None`: it has no end. All values are equal: two hosts see the same record at different moments.
#[derive(Clone, Copy, Debug, Default)]
pub struct Left(pub Option<Duration>);

impl PartialEq for Left {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Left {}

impl PartialOrd for Left {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Left {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

/// What one host owns of a segment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share {
    /// Counts what the owner said: the higher wins.
    pub told: u64,
    /// The segment that the addresses belong to.
    pub segment: SegmentId,
    /// The host that owns them.
    pub owner: HostId,
    /// Its runs, in order.
    pub ranges: Vec<SharedRange>,
}

/// A run of addresses of one owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SharedRange {
    /// The run.
    pub range: Range,
    /// The highest epoch in it.
    pub epoch: Epoch,
    /// Addresses that may be given.
    pub free: u64,
    /// Addresses that a client has.
    pub held: u64,
    /// Addresses that nobody has and that may not be given yet.
    pub quarantined: u64,
    /// Addresses that somebody uses without a lease.
    pub declined: u64,
}
