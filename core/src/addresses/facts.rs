//! What the rest of this host may know of its leases: questions that change nothing.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::id::{HostId, Mac, SegmentId};
use crate::lease::Lease;
use crate::range::Range;
use crate::time::{Duration, Instant};

use super::message::{Life, Part};
use super::record::AddressState;
use super::segment::SegmentLeases;
use super::view::{RangeLine, Roster, Wait};
use super::{Leases, grave, listing, timing};

impl Leases {
    /// The last append about this host's membership.
    pub fn written(&self) -> u64 {
        self.host.written()
    }

    /// Whether this host waits for one that takes part, and every member that is left waits, too.
    pub fn waits_for_nobody(&self) -> bool {
        self.host.waits_for_nobody()
    }

    /// How long addresses are quarantined at most whose former owners cannot be asked.
    pub fn longest_quarantine(&self) -> Duration {
        let segments = self.segments.values();
        let longest = segments.map(|segment| segment.store.configured.longest).max();
        timing::relied(longest.unwrap_or_default())
    }

    /// Whether this host owns and keeps nothing any more, because its journal is lost.
    pub fn has_lost_disk(&self) -> bool {
        self.host.has_lost_disk()
    }

    /// How many leases that this host brought wait for their owners' word.
    pub fn brought(&self) -> usize {
        self.segments.values().map(|segment| segment.requests.brought()).sum()
    }

    /// Whether this host takes part.
    pub fn part(&self) -> Part {
        self.host.part()
    }

    /// The members and the removed, as on this host.
    pub fn roster(&self) -> Roster {
        let membership = self.host.membership();
        Roster {
            members: membership.members.clone(),
            removed: membership.removed.clone(),
        }
    }

    /// The other members that said that their journal is lost.
    pub fn lost_members(&self) -> Vec<HostId> {
        self.host
            .others()
            .filter(|&host| self.host.has_lost_its(host))
            .collect()
    }

    /// The members whose acknowledgement this host still waits for before it takes part.
    pub fn awaited(&self) -> Vec<HostId> {
        self.host.awaited()
    }

    /// All leases of a segment that this host knows, its own and those told by others, by address.
    pub fn lease_list(&self, segment: SegmentId, now: Instant) -> Vec<Lease> {
        self.segments
            .get(&segment)
            .map(|segment| listing::lease_list(&segment.store, now))
            .unwrap_or_default()
    }

    /// The addresses of a segment that a client holds, as far as this host knows.
    pub fn held_by(&self, segment: SegmentId, client: Mac) -> BTreeSet<IpAddr> {
        let segment = self.segments.get(&segment).into_iter();
        segment
            .flat_map(|segment| listing::held_by(&segment.store, client).map(|address| address.ip()))
            .collect()
    }

    /// All ranges of a segment.
    pub fn pool_show(&self, segment: SegmentId) -> Vec<RangeLine> {
        self.segments
            .get(&segment)
            .map(|segment| listing::pool_show(&segment.store))
            .unwrap_or_default()
    }

    /// Until when addresses that this host owns may not be given, because a former holder may still rely on them.
    pub fn quarantined_until(&self, segment: SegmentId) -> Option<Instant> {
        let quarantined = &self.segments.get(&segment)?.store.quarantined;
        quarantined.iter().map(|(_, until)| *until).max()
    }

    /// The newest generation of a segment that this host ever knew. While it knows only an older one it gives nothing.
    pub fn newest_generation(&self, segment: SegmentId) -> u64 {
        self.segments
            .get(&segment)
            .map_or(0, |segment| segment.store.configured.generation)
    }

    /// Whether a deleted segment can be had back: then owners, keepers and leases go on.
    pub fn goes_on(&self, segment: SegmentId) -> bool {
        // A late message about a segment that was forgotten brings no generation of it back.
        let known = self.segments.get(&segment).map(|segment| &segment.store.configured);
        known.is_some_and(|known| known.life != Life::Over && known.generation > 0)
    }

    /// The addresses of a segment that wait for the end of a deleted one.
    pub fn waits(&self, segment: SegmentId, now: Instant) -> Vec<Wait> {
        let Some(SegmentLeases { store, .. }) = self.segments.get(&segment) else {
            return Vec::new();
        };
        let blocked = store.state().iter().flat_map(|(range, _)| store.blocked.within(range));
        let wait = |(range, grave): (Range, &SegmentId)| {
            let waits_for = grave::waits_for(&self.segments.get(grave)?.store, &self.host, now);
            Some(Wait { range, waits_for })
        };
        blocked.filter_map(wait).collect()
    }

    /// Whether this host knows a segment, and does not know it deleted.
    pub fn stands(&self, segment: SegmentId) -> bool {
        let known = self.segments.get(&segment);
        known.is_some_and(|segment| segment.store.configured.life == Life::Stands)
    }

    /// How long a lease of this segment is given for now.
    pub fn lease_time(&self, segment: SegmentId) -> Option<Duration> {
        self.segments
            .get(&segment)
            .filter(|segment| segment.store.configured.pool.is_some())
            .map(|segment| segment.store.lease_time())
    }

    /// What this host has on disk about an address.
    pub fn state(&self, segment: SegmentId, address: IpAddr) -> AddressState {
        self.segments.get(&segment).map_or(AddressState::UNKNOWN, |segment| {
            segment.store.at(address.into()).clone()
        })
    }

    /// How long a guest may still rely on what this host said of an address; none if it neither owns nor keeps it.
    pub fn relied_for(&self, segment: SegmentId, address: IpAddr, now: Instant) -> Option<Duration> {
        let store = &self.segments.get(&segment)?.store;
        listing::relied_for(store, self.host.me, address.into(), now)
    }

    /// This host.
    pub fn me(&self) -> HostId {
        self.host.me
    }
}
