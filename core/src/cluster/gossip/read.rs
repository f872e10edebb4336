//! What is known: the records by kind.

use std::net::Ipv4Addr;

use super::Gossip;
use super::record::{Endpoint, GatewayClaim, HostFindings, HostRecord, Key, Presence, Record, Removed, StaticPeer};
use super::segment_record::{SegmentRecord, Trial};
use super::store::aged;
use crate::id::{HostId, Mac, SegmentId, SegmentName};
use crate::lease::{Lease, Share};
use crate::time::Instant;

impl Gossip {
    /// One record.
    pub fn get(&self, key: &Key) -> Option<&Record> {
        self.store.get(key)
    }

    /// When the version known here was taken over, on this host's clock.
    pub fn taken_at(&self, key: &Key) -> Option<Instant> {
        self.store.taken_at(key)
    }

    /// All records, in the order of their keys.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.store.iter().map(|(_, record)| record)
    }

    /// All hosts that have said something of themselves and were not removed, this one included.
    pub fn hosts(&self) -> impl Iterator<Item = &HostRecord> {
        self.few().filter_map(|record| {
            let Record::Host(host) = record else { return None };
            Some(host)
        })
    }

    /// One host.
    pub fn host(&self, id: HostId) -> Option<&HostRecord> {
        match self.get(&Key::Host(id)) {
            Some(Record::Host(host)) => Some(host),
            _ => None,
        }
    }

    /// All segments, tombstones included.
    pub fn segments(&self) -> impl Iterator<Item = &SegmentRecord> {
        self.few().filter_map(|record| {
            let Record::Segment(segment) = record else { return None };
            Some(segment)
        })
    }

    /// One segment, or its tombstone.
    pub fn segment(&self, name: &SegmentName) -> Option<&SegmentRecord> {
        match self.get(&Key::Segment(name.clone())) {
            Some(Record::Segment(segment)) => Some(segment),
            _ => None,
        }
    }

    /// All segments whose newest generation is on trial.
    pub fn trials(&self) -> impl Iterator<Item = (&SegmentRecord, &Trial)> {
        self.segments()
            .filter_map(|segment| Some((segment, segment.trial.as_ref()?)))
    }

    /// All VTEPs without an agent that are there.
    pub fn static_peers(&self) -> impl Iterator<Item = &StaticPeer> {
        self.few().filter_map(|record| {
            let Record::StaticPeer(peer) = record else { return None };
            (peer.presence == Presence::Here).then_some(peer)
        })
    }

    /// All hosts that are out for good.
    pub fn removed(&self) -> impl Iterator<Item = &Removed> {
        self.few().filter_map(|record| {
            let Record::Removed(removed) = record else { return None };
            Some(removed)
        })
    }

    /// Whether a host is out for good.
    pub fn is_removed(&self, host: HostId) -> bool {
        self.removed.contains(&host)
    }

    /// All claims to a group, the withdrawn ones included, lowest (term, holder) first.
    pub fn claims(&self, group: SegmentId) -> Vec<&GatewayClaim> {
        let mut claims: Vec<_> = self
            .few()
            .filter_map(|record| {
                let Record::Claim(claim) = record else { return None };
                (claim.group == group).then_some(claim)
            })
            .collect();
        claims.sort_by_key(|claim| (claim.term, claim.holder));
        claims
    }

    /// What is wrong on each host, as it says.
    pub fn findings(&self) -> impl Iterator<Item = &HostFindings> {
        self.few().filter_map(|record| {
            let Record::Findings(findings) = record else {
                return None;
            };
            Some(findings)
        })
    }

    /// All network cards, the vanished ones included.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.store
            .range(first_endpoint()..first_lease())
            .filter_map(|(record, _)| {
                let Record::Endpoint(endpoint) = record else {
                    return None;
                };
                Some(endpoint)
            })
    }

    /// The network cards of one segment, likewise.
    pub fn endpoints_in(&self, segment: SegmentId) -> impl Iterator<Item = &Endpoint> {
        let cards = Key::Endpoint(segment, Mac([0; 6]))..=Key::Endpoint(segment, Mac([0xff; 6]));
        self.store.range(cards).filter_map(|(record, _)| {
            let Record::Endpoint(endpoint) = record else {
                return None;
            };
            Some(endpoint)
        })
    }

    /// All addresses that somebody has told of, with the time that is left of each.
    pub fn leases(&self, now: Instant) -> impl Iterator<Item = Lease> {
        let leases = self.store.range(first_lease()..first_share());
        leases.filter_map(move |(record, at)| {
            let Record::Lease(lease) = aged(record, at, now) else {
                return None;
            };
            Some(lease)
        })
    }

    /// All that hosts have told of what they own.
    pub fn shares(&self) -> impl Iterator<Item = &Share> {
        self.store.range(first_share()..).filter_map(|(record, _)| {
            let Record::Share(share) = record else { return None };
            Some(share)
        })
    }

    /// What there is little of: all but network cards, leases and shares, of which there may be a hundred thousand. Asked
    /// for at every turn.
    fn few(&self) -> impl Iterator<Item = &Record> {
        self.store.range(..first_endpoint()).map(|(record, _)| record)
    }
}

pub(super) fn first_endpoint() -> Key {
    Key::Endpoint(SegmentId(0), Mac([0; 6]))
}

fn first_lease() -> Key {
    Key::Lease(SegmentId(0), Ipv4Addr::UNSPECIFIED.into())
}

fn first_share() -> Key {
    Key::Share(SegmentId(0), HostId(0))
}
