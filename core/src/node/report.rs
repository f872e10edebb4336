//! What the machines found out, as the events that operators are told of: ids become names here.

use super::cause::words;
use super::member::Member;
use crate::addresses::LeaseEvent;
use crate::cluster::gossip::{Change, ChangeOrigin, Content, Departure, Record, SegmentRecord};
use crate::election::{Cause, GroupId, Role};
use crate::gateway::dhcp::Shortage;
use crate::health::events::{Event, GatewayChange};
use crate::id::{Mac, SegmentId};
use crate::lease::{Lease, LeaseState};

impl Member {
    pub(super) fn report_role(&mut self, group: GroupId, role: Role, cause: Cause) {
        let change = match role {
            Role::Holder { term } => GatewayChange::Taken(term),
            Role::Claimant { term } => GatewayChange::Claimed(term),
            Role::Follower {
                holder: Some((host, term)),
            } => GatewayChange::Elsewhere {
                host: self.name_of(host),
                term,
            },
            Role::Follower { holder: None } => GatewayChange::None,
        };
        self.report(Event::Gateway {
            segments: self.derived.segment_names(group),
            change,
            reason: words(group, cause, &self.gossip),
        });
    }

    pub(super) fn report_unserved(&mut self, segment: SegmentId, client: Mac, shortage: Shortage) {
        let segment = self.name_or_id(segment);
        self.report(match shortage {
            Shortage::Exhausted => Event::PoolExhausted { segment, client },
            Shortage::MaxLeases => Event::LeaseLimitReached { segment, client },
        });
    }

    pub(super) fn report_lease_event(&mut self, event: LeaseEvent) {
        let name = |id: SegmentId| self.name_or_id(id);
        let event = match event {
            // A share may only be on its way: the DHCP server says what came of it.
            LeaseEvent::NothingFree { .. } => return,
            LeaseEvent::Declined { segment, address, time } => Event::AddressDeclined {
                segment: name(segment),
                address: address.to_string(),
                time,
            },
            LeaseEvent::BirthLost { segment, owner } => Event::OwnershipLost {
                segment: name(segment),
                host: self.name_of(owner),
            },
            LeaseEvent::BroughtTaken {
                segment,
                address,
                client,
            } => Event::LeaseVoid {
                segment: name(segment),
                address: address.to_string(),
                client,
            },
            LeaseEvent::Removed => Event::AddressesRevoked,
            LeaseEvent::DiskLost => Event::JournalLost,
        };
        self.report(event);
    }

    /// A definition gave way to another of the same segment.
    pub(super) fn report_superseded(&mut self, loser: &SegmentRecord, winner: &SegmentRecord) {
        self.report(Event::SegmentSuperseded {
            segment: loser.name.clone(),
            generation: loser.generation,
            host: self.name_of(loser.introducer),
            by: (winner.generation, self.name_of(winner.introducer)),
        });
    }

    /// Leases that begin or end by this host's word.
    fn report_lease(&mut self, old: Option<&Record>, new: &Lease) {
        let held = |lease: &Lease| lease.client.filter(|_| lease.state == LeaseState::Held);
        let before = match old {
            Some(Record::Lease(lease)) => held(lease),
            _ => None,
        };
        let after = held(new);
        if before == after {
            return;
        }
        let (segment, address) = (self.name_or_id(new.segment), new.address.ip().to_string());
        match (before, after) {
            (_, Some(client)) => self.report(Event::LeaseBound {
                segment,
                address,
                client,
                hostname: new.hostname.clone(),
            }),
            (Some(client), None) => self.report(Event::LeaseEnded {
                segment,
                address,
                client,
            }),
            (None, None) => {}
        }
    }

    /// Hosts that come or go, segments that change, and leases that this host speaks of are events.
    pub(super) fn report_record(&mut self, change: &Change) {
        let Some(new) = change.new.as_deref() else { return };
        if let (Record::Lease(lease), ChangeOrigin::Own) = (new, change.origin) {
            return self.report_lease(change.old.as_deref(), lease);
        }
        let event = match new {
            Record::Host(host) if change.old.is_none() && host.id != self.me => Event::HostJoined {
                host: host.name.clone(),
            },
            Record::Removed(removed) if removed.host != self.me => {
                let host = removed.name.clone();
                match removed.why {
                    Departure::Left => Event::HostLeft { host },
                    Departure::Removed => Event::HostRemoved { host },
                }
            }
            Record::Segment(segment) => {
                let (name, host) = (segment.name.clone(), self.name_of(segment.introducer));
                match &segment.content {
                    Content::Definition(_) => Event::SegmentApplied {
                        segment: name,
                        generation: segment.generation,
                        host,
                    },
                    Content::Tombstone { .. } => Event::SegmentDeleted { segment: name, host },
                }
            }
            Record::Host(_)
            | Record::Removed(_)
            | Record::StaticPeer(_)
            | Record::Claim(_)
            | Record::Findings(_)
            | Record::Endpoint(_)
            | Record::Lease(_)
            | Record::Share(_) => return,
        };
        self.report(event);
    }

    fn name_or_id(&self, segment: SegmentId) -> String {
        let name = self.catalogue.name(segment);
        name.map_or_else(|| segment.to_string(), ToString::to_string)
    }
}
