//! What the leases go by: whom this host reaches, each segment's pool, and who its gateway is.

use std::net::IpAddr;

use crate::addresses::{self, Reach, SegmentPool};
use crate::cluster::membership::PeerState;
use crate::node::derived::{LocalSegment, group_of};
use crate::node::member::Member;
use crate::range::Range;
use crate::time::Instant;

impl Member {
    pub(super) fn derive_leases(&mut self, now: Instant) {
        self.derive_reach(now);
        let mut gone = self.derived.pools.clone();
        for (id, local) in &self.derived.segments {
            gone.remove(id);
            let Some(pool) = pool_of(local) else { continue };
            if self.derived.pools.get(id) != Some(&pool) {
                self.leases.set_segment(*id, pool.clone(), now);
                self.derived.pools.insert(*id, pool);
            }
            let group = group_of(*id);
            let standing = addresses::GatewayStanding {
                order: self.election.order(group),
                gateway: self.election.holder(group).map(|(host, _)| host),
                since: self.election.since(group).map(|at| now.since(at)).unwrap_or_default(),
            };
            self.leases.set_standing(*id, standing, now);
        }
        for id in gone.into_keys() {
            self.derived.pools.remove(&id);
            self.leases.withdraw_pool(id, now);
        }
    }

    fn derive_reach(&mut self, now: Instant) {
        let states = self.states();
        for (host, state) in &states {
            if *host == self.me {
                continue;
            }
            let reach = match state {
                PeerState::Alive if self.gossip.is_connected(*host) => Reach::Reachable,
                PeerState::Alive | PeerState::Suspect => Reach::Silent,
                PeerState::Failed | PeerState::Left | PeerState::Static => Reach::Failed,
            };
            self.leases.set_reach(*host, reach, now);
        }
    }
}

pub(in crate::node) fn pool_of(local: &LocalSegment) -> Option<SegmentPool> {
    let dhcp = local.definition.segment.ipv4.as_ref()?.dhcp.as_ref()?;
    let ranges = local.definition.segment.pool_v4().into_iter();
    Some(SegmentPool {
        generation: local.definition.generation,
        born: local.definition.born,
        introducer: local.definition.introducer,
        ranges: ranges.filter_map(|range| Range::new(range.first, range.last)).collect(),
        reservations: dhcp
            .reservations
            .iter()
            .map(|reservation| addresses::ReservedAddress {
                client: reservation.mac,
                address: IpAddr::V4(reservation.address),
                hostname: reservation.hostname.clone(),
            })
            .collect(),
        lease_time: dhcp.lease_time,
        max_leases: dhcp.max_leases.map(u64::from),
    })
}
