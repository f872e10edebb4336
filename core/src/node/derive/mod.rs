//! What follows from all that is known, by receiver: what the others hear of this host, who elects, who owns addresses,
//! what guests are offered, what the kernel should have, whom to dial.
//!
//! Each receiver's values are computed whole from the records and handed out where they differ from the last time.
//! Nothing here is remembered but that.

mod election;
mod kernel;
mod leases;
mod own_record;
mod paths;
mod services;
mod subnets;
mod trials;

use std::collections::BTreeMap;
use std::net::SocketAddr;

pub(super) use leases::pool_of;
pub(super) use own_record::host_record;

use super::derived::LocalSegment;
use super::effect::{Effect, Facts};
use super::member::Member;
use super::{Looked, Node};
use crate::cluster::gossip::HostRecord;
use crate::cluster::membership::{self, Peer, PeerState, Who};
use crate::health::events::{self, Event};
use crate::id::{HostId, SegmentId};
use crate::mtu::{self, OverlayMtu};
use crate::time::{Duration, Instant};

/// What is derived is computed again at most so often, unless a role changes.
const DERIVE_EVERY: Duration = Duration::from_millis(50);
/// With each guest on another host this is longer, as far as new ones are concerned.
const DERIVE_PER_GUEST: Duration = Duration::from_micros(25);

impl Node {
    /// Computes all that follows from what is known, and hands out what is different.
    pub(super) fn derive(&mut self, now: Instant) {
        let leave_announced = self.has_announced_leave();
        let Some(formed) = &mut self.formed else { return };
        formed.look_for_findings(now);
        formed.derived.due = None;
        formed.derived.last = now;
        formed.look_after_trials(now);
        formed.read_segments(now);
        let facts = self.facts.as_ref();
        if let Some(facts) = facts
            && !formed.left
            && !leave_announced
        {
            formed.tell_host(&self.config, facts, &self.version, &self.edge.lacking, now);
        }
        // Bridges come up from what was known last, before the underlay does.
        let remembered = match facts {
            None if self.looked == Looked::Once => formed.remembered_facts(&self.config),
            Some(_) | None => None,
        };
        let facts = facts.or(remembered.as_ref());
        formed.derived.segments = formed.local_segments(facts);
        formed.derived.held = formed.held_subnets(facts);
        let peers = membership::view(&membership::Inputs {
            me: formed.me,
            gossip: &formed.gossip,
            membership: &formed.membership,
            reachability: formed.reachability(),
            now,
        });
        if formed.derived.peers != peers {
            for event in events::of_peers(&formed.derived.peers, &peers) {
                formed.report(event);
            }
            formed.derived.peers = peers;
        }
        formed.derive_election(now);
        formed.derive_leases(now);
        formed.derive_dhcp(facts);
        formed.derive_bridges();
        formed.announce_gateways();
        formed.look_whether_settled(now);
        formed.derive_kernel(facts, now);
        formed.derive_paths(facts, now);
        let dial = formed.dial();
        if self.dialled != dial {
            self.dialled.clone_from(&dial);
            formed.effects.push_back(Effect::Dial(dial));
        }
    }
}

impl Member {
    /// Something that the derived values rest on has changed.
    pub(super) fn touch(&mut self, now: Instant) {
        self.touch_at(now.max(self.derived.last + DERIVE_EVERY));
    }

    /// A guest is new on another host. It is reached without, only by way of all hosts, and to derive takes the longer the
    /// more guests there are: of a crowd that comes within seconds not each one is worth it.
    pub(super) fn touch_for_guest(&mut self, now: Instant) {
        let wait = DERIVE_EVERY + DERIVE_PER_GUEST * u32::try_from(self.derived.remote_guests()).unwrap_or(u32::MAX);
        self.touch_at(now.max(self.derived.last + wait));
    }

    /// The same, and it cannot wait.
    pub(super) fn touch_now(&mut self, now: Instant) {
        self.derived.due = Some(now);
    }

    pub(super) fn touch_at(&mut self, at: Instant) {
        self.derived.due = Some(self.derived.due.map_or(at, |known| known.min(at)));
    }

    pub(super) fn derive_due(&self, now: Instant) -> bool {
        self.derived.due.is_some_and(|at| at <= now)
    }

    /// Reads definitions that are new, and has the leases know of those that are no more.
    fn read_segments(&mut self, now: Instant) {
        let before: Vec<(SegmentId, u64)> = self
            .catalogue
            .iter()
            .map(|known| (known.id, known.generation))
            .collect();
        for unreadable in self.catalogue.update(&self.gossip) {
            self.report(Event::SegmentUnreadable {
                segment: unreadable.name,
                generation: unreadable.generation,
            });
        }
        let replaced = before.into_iter().filter(|(id, _)| self.catalogue.name(*id).is_none());
        let replaced: Vec<(SegmentId, u64)> = replaced.collect();
        let tombstones = self.gossip.segments().filter(|record| record.is_tombstone());
        let deleted: Vec<(SegmentId, u64)> = tombstones
            .map(|record| (record.id, record.generation))
            .filter(|(id, _)| self.leases.stands(*id) || replaced.iter().any(|(gone, _)| gone == id))
            .collect();
        for (id, generation) in deleted.into_iter().chain(replaced) {
            let newest = self.leases.newest_generation(id);
            self.leases.delete_segment(id, generation.max(newest), now);
        }
    }

    fn local_segments(&self, facts: Option<&Facts>) -> BTreeMap<SegmentId, LocalSegment> {
        let Some(me) = self.gossip.host(self.me) else {
            return BTreeMap::new();
        };
        let hosts: Vec<&HostRecord> = self.gossip.hosts().collect();
        let mut local = BTreeMap::new();
        for definition in self.catalogue.iter() {
            let segment = &definition.segment;
            if !segment.selects(&me.labels) {
                continue;
            }
            let members: BTreeMap<HostId, OverlayMtu> = hosts
                .iter()
                .filter(|host| segment.selects(&host.labels))
                .map(|host| (host.id, host.overlay_mtu))
                .collect();
            let bound = segment.mtu.bytes().into_iter();
            let own = facts.map(|facts| facts.underlay_mtu.overlay(facts.vtep));
            let Some(mtu) = mtu::segment(&members, &BTreeMap::new(), bound.chain(own).min()) else {
                continue;
            };
            let hosts = members.into_keys().collect();
            let definition = definition.clone();
            local.insert(definition.id, LocalSegment { definition, hosts, mtu });
        }
        local
    }

    pub(super) fn states(&self) -> BTreeMap<HostId, PeerState> {
        let of = |peer: &Peer| match peer.who {
            Who::Host(host) | Who::Me(host) => Some((host, peer.state)),
            Who::Static(_) => None,
        };
        self.derived.peers.iter().filter_map(of).collect()
    }

    /// Every host that is known and not this one: whoever was cut off is found again by whichever side is back first.
    fn dial(&self) -> BTreeMap<HostId, SocketAddr> {
        self.gossip
            .hosts()
            .filter(|host| host.id != self.me)
            .map(|host| (host.id, host.listen))
            .collect()
    }
}
