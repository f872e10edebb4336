//! The paths between hosts that are watched: to every live member that has a segment of this host, too.

use std::collections::BTreeMap;

use crate::cluster::gossip::{HostRecord, Lack};
use crate::cluster::membership::{PeerState, Who};
use crate::cluster::path_watch::Path;
use crate::config::Stp;
use crate::id::SegmentId;
use crate::node::effect::Facts;
use crate::node::member::Member;
use crate::time::{Duration, Instant};

/// A bridge is made within less than that, on both hosts, even slow ones.
const SETTLES: Duration = Duration::from_secs(5);
/// With spanning tree a port forwards after about 5 s.
const STP_SETTLES: Duration = Duration::from_secs(10);

/// Where a segment cannot be made frames are lost, too; that has a finding of its own.
fn has(host: &HostRecord, segment: SegmentId) -> bool {
    host.segments.contains_key(&segment) && !host.lacks.contains(&(segment, Lack::NotWhole))
}

impl Member {
    pub(super) fn derive_paths(&mut self, facts: Option<&Facts>, now: Instant) {
        let is_apart = facts.is_none() || self.isolated_until.is_some();
        let me = self.gossip.host(self.me).filter(|_| !is_apart);
        let paths = me.map(|me| self.watched(me)).unwrap_or_default();
        self.paths.set_paths(&paths, now);
    }

    /// Each with how long it takes to settle where it is new.
    fn watched(&self, me: &HostRecord) -> BTreeMap<Path, Duration> {
        let alive = self.derived.peers.iter().filter(|peer| peer.state == PeerState::Alive);
        let alive = alive.filter_map(|peer| match peer.who {
            Who::Host(host) => self.gossip.host(host),
            Who::Me(_) | Who::Static(_) => None,
        });
        let here = || self.derived.segments.iter().filter(|(id, _)| has(me, **id));
        // One device carries one address family.
        let alike = |peer: &HostRecord, id| peer.vtep_in(id).is_ipv4() == me.vtep_in(id).is_ipv4();
        let paths = alive.flat_map(|peer| {
            let both = here().filter(move |(id, _)| has(peer, **id) && alike(peer, **id));
            both.map(move |(id, local)| {
                let settles = match local.definition.segment.stp {
                    Stp::On => STP_SETTLES,
                    Stp::Off => SETTLES,
                };
                ((peer.id, *id), settles)
            })
        });
        paths.collect()
    }
}
