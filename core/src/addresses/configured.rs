//! A segment's configuration, prepared for looking up.

use std::collections::BTreeMap;

use crate::id::{HostId, Mac};
use crate::range::{Address, Range, RangeMap};
use crate::time::{Duration, Instant};

use super::message::Life;
use super::view::{ReservedAddress, SegmentPool};

/// The configuration, prepared for looking up.
#[derive(Debug, Default)]
pub(super) struct Configured {
    pub(super) pool: Option<SegmentPool>,
    pub(super) reserved: BTreeMap<Address, ReservedAddress>,
    pub(super) reserved_for: BTreeMap<Mac, Address>,
    /// What anybody may be given: the ranges less the reserved addresses.
    pub(super) offered: RangeMap<()>,
    /// Newest generation ever known; on disk.
    pub(super) generation: u64,
    /// Whether that is the segment's last; on disk.
    pub(super) life: Life,
    /// Since when every member is known to know that.
    pub(super) dead_since: Option<Instant>,
    /// Longest lease time of any generation known; on disk.
    pub(super) longest: Duration,
    /// The lease time that every member knows; on disk.
    pub(super) agreed: Duration,
}

impl Configured {
    /// A pool is offered from now on. Whoever introduced its first generation need not wait for others to agree.
    pub(super) fn offer(&mut self, pool: &SegmentPool, me: HostId) {
        let reservations = &pool.reservations;
        self.life = Life::Stands;
        self.dead_since = None;
        self.reserved = reservations.iter().map(|r| (r.address.into(), r.clone())).collect();
        self.reserved_for = reservations.iter().map(|r| (r.client, r.address.into())).collect();
        self.offered = RangeMap::default();
        for &range in &pool.ranges {
            self.offered.set(range, ());
        }
        for &address in self.reserved.keys() {
            self.offered.clear(Range::one(address));
        }
        if self.generation == 0 && pool.introducer == me {
            self.agreed = pool.lease_time;
        }
        self.generation = self.generation.max(pool.generation);
        self.longest = self.longest.max(pool.lease_time);
    }
}
