//! What the machine is told from outside: pools, other hosts, guests.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::id::{HostId, Mac};
use crate::range::Range;
use crate::time::Duration;

/// The pool of a segment in one generation of its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentPool {
    /// Grows with each change.
    pub generation: u64,
    /// The generation that began with the segment's id.
    pub born: u64,
    /// The host on which this generation was applied: first owner of the addresses that it adds.
    pub introducer: HostId,
    /// What may be given to anybody; disjoint.
    pub ranges: Vec<Range>,
    /// What is kept for one client each; inside or outside `ranges`.
    pub reservations: Vec<ReservedAddress>,
    /// For how long an address is given.
    pub lease_time: Duration,
    /// How many addresses clients may hold at once; none: as many as there are.
    pub max_leases: Option<u64>,
}

/// An address kept for one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReservedAddress {
    /// The client.
    pub client: Mac,
    /// Its address.
    pub address: IpAddr,
    /// The host name that the client is told, if any.
    pub hostname: Option<String>,
}

/// How another host stands, as election and membership see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// It answers.
    Reachable,
    /// It does not answer now.
    Silent,
    /// It is taken for dead or cut off.
    Failed,
}

/// Who serves a segment, and in which order its hosts would.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GatewayStanding {
    /// The hosts of the segment's election group in gateway order.
    pub order: Vec<HostId>,
    /// The present gateway.
    pub gateway: Option<HostId>,
    /// How long it has been that.
    pub since: Duration,
}

/// A guest, as the endpoint table knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guest {
    /// The host that it is plugged in at; none for one behind a static peer.
    pub host: Option<HostId>,
    /// The addresses that were seen at it.
    pub addresses: BTreeSet<IpAddr>,
}

/// What a joiner copies from the host that it enters through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// All members.
    pub members: BTreeSet<HostId>,
    /// All that are off for good.
    pub removed: BTreeSet<HostId>,
}

/// Addresses of a segment that nobody may be given yet, because guests may rely on them in a deleted one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Which.
    pub range: Range,
    /// What is waited for.
    pub waits_for: WaitsFor,
}

/// What addresses of a deleted segment wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    /// These members have not said that they know that it is deleted.
    Members(Vec<HostId>),
    /// The last lease there may run so long.
    Time(Duration),
}

/// A line of `pool show`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeLine {
    /// Which addresses.
    pub range: Range,
    /// Their owner, as far as is known here.
    pub owner: Option<HostId>,
    /// Addresses that may be given.
    pub free: u64,
    /// Addresses that a client has.
    pub held: u64,
    /// Addresses that nobody has and that may not be given yet.
    pub quarantined: u64,
    /// Addresses that somebody foreign uses.
    pub declined: u64,
}
