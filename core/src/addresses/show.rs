//! What is told to every host for finding and showing: nobody gains authority by it.

use crate::addresses::pool::{Address, Range};
use crate::id::{HostId, Mac, SegmentId};
use crate::time::Duration;

use super::record::{Epoch, Version};

/// One lease, as its owner (or, while that is out of reach, its keeper) tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseInfo {
    /// Where.
    pub segment: SegmentId,
    /// Which address.
    pub address: Address,
    /// The newest version wins; of the same version, the higher `told`.
    pub version: Version,
    /// Counts what the teller said of this version.
    pub told: u64,
    /// Whose; none when free or set aside.
    pub client: Option<Mac>,
    /// As the client gave it, or its reservation.
    pub hostname: String,
    /// The host that decides.
    pub owner: HostId,
    /// The host that may extend it, too.
    pub keeper: Option<HostId>,
    /// How many hosts have it on disk.
    pub copies: u32,
    /// What it is.
    pub state: LeaseState,
    /// The generation of the segment that the teller knew: *settled* counts for that and older ones.
    pub generation: u64,
    /// How long it runs from when this was told; none where it has no end (a reservation).
    pub expires_in: Option<Duration>,
}

/// What a lease is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LeaseState {
    /// A client has it.
    Held,
    /// Reserved for its client, and every gateway may acknowledge it.
    Settled,
    /// Reserved, but somebody else has it still, or not every member knows of it.
    Pending,
    /// Nobody has it, and somebody beyond asking may rely on it yet.
    Resting,
    /// A foreign user was seen.
    SetAside,
    /// Nobody has it: the entry may be forgotten.
    Free,
}

/// What one host owns of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareInfo {
    /// Where.
    pub segment: SegmentId,
    /// The owner.
    pub owner: HostId,
    /// Counts what the owner said.
    pub told: u64,
    /// Its runs, in order.
    pub ranges: Vec<SharedRange>,
}

/// A run of addresses of one owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedRange {
    /// Which.
    pub range: Range,
    /// The highest epoch in it.
    pub epoch: Epoch,
    /// Addresses that may be given.
    pub free: u64,
    /// Addresses that a client has.
    pub held: u64,
    /// Addresses that nobody has and that may not be given yet.
    pub resting: u64,
    /// Addresses that somebody foreign uses.
    pub set_aside: u64,
}
