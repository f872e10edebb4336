//! What findings about guests rest on: pools of the segments that this host serves, and who uses what is not theirs.

use crate::cluster::gossip::{Key, Presence, Record};
use crate::health::{Crowd, GuestPlace, Misuse, PoolState, RefusedGuests};
use crate::id::{IfName, Mac, SegmentId, SegmentName};
use crate::node::derived::group_of;
use crate::node::member::Member;
use crate::time::{Duration, Instant};

/// For how long a guest that got no address, or has used the gateway's, is told of.
const TOLD: Duration = Duration::from_secs(300);

impl Member {
    /// Of the segments that this host serves.
    pub(super) fn pool_states(&self, now: Instant) -> Vec<PoolState> {
        let served = self.derived.services.dhcp.keys();
        served.filter_map(|id| self.pool_state(*id, now)).collect()
    }

    fn pool_state(&self, id: SegmentId, now: Instant) -> Option<PoolState> {
        let refused = self.dhcp.unserved().filter(|(segment, ..)| *segment == id);
        let lately = refused.filter(|(.., unserved)| now.since(unserved.last) < TOLD);
        let mut pool = PoolState {
            segment: self.catalogue.name(id)?.clone(),
            free: 0,
            held: 0,
            quarantined: 0,
            quarantined_for: self
                .leases
                .quarantined_until(id)
                .map(|until| until.since(now))
                .filter(|left| !left.is_zero()),
            declined: 0,
            max_leases: self.derived.pools.get(&id).and_then(|pool| pool.max_leases),
            refused: lately
                .max_by_key(|(.., unserved)| unserved.last)
                .map(|(_, shortage, unserved)| RefusedGuests {
                    shortage,
                    times: unserved.times,
                    ago: now.since(unserved.last),
                    crowd: unserved.crowd.clone().map(|((host, port), offers)| Crowd {
                        host: self.name_of(host),
                        port,
                        offers,
                    }),
                }),
        };
        for line in self.leases.pool_show(id) {
            pool.free += line.free;
            pool.held += line.held;
            pool.quarantined += line.quarantined;
            pool.declined += line.declined;
        }
        Some(pool)
    }

    /// Ports here with more MACs than are told, by segment.
    pub(super) fn crowded_ports(&self) -> Vec<(SegmentName, IfName, usize)> {
        let named = |bridge| self.catalogue.name(self.catalogue.by_bridge(bridge)?);
        let ports = self.crowds.ports();
        ports
            .filter_map(|(bridge, port, count)| Some((named(bridge)?.clone(), port.clone(), count)))
            .collect()
    }

    /// Guests that use what is not theirs, as this host knows it.
    pub(super) fn misuses(&self, now: Instant) -> Vec<Misuse> {
        let mut misuses = Vec::new();
        for (id, local) in &self.derived.segments {
            let segment = &local.definition.segment;
            let serves = self.gateways.served_term(group_of(*id), &self.election).is_some();
            if let Some(address) = segment.gateway_v4().filter(|_| serves)
                && let Some(guest) = self.learnt.user(*id, address, now - TOLD)
            {
                misuses.push(Misuse::Gateway {
                    segment: segment.name.clone(),
                    address: address.into(),
                    guest: self.place_of(*id, guest),
                });
            }
        }
        for (id, guest) in self.dhcp.disbelieved(now) {
            if let Some(segment) = self.catalogue.name(id) {
                misuses.push(Misuse::Everything {
                    segment: segment.clone(),
                    guest: self.place_of(id, guest),
                });
            }
        }
        misuses.extend(self.shared_addresses(now));
        misuses
    }

    /// Addresses that two guests use in turns, at least one of them here: each is told of where it is.
    fn shared_addresses(&self, now: Instant) -> Vec<Misuse> {
        let here = |segment, guests: [Mac; 2]| guests.iter().any(|mac| self.endpoints.has_announced(segment, *mac));
        let contested = self.learnt.contested(now);
        contested
            .filter(|(segment, _, guests)| here(*segment, *guests))
            .filter_map(|(id, address, guests)| {
                Some(Misuse::Shared {
                    segment: self.catalogue.name(id)?.clone(),
                    address: address.into(),
                    guests: guests.iter().map(|mac| self.place_of(id, *mac)).collect(),
                })
            })
            .collect()
    }

    fn place_of(&self, segment: SegmentId, mac: Mac) -> GuestPlace {
        match self.gossip.get(&Key::Endpoint(segment, mac)) {
            Some(Record::Endpoint(endpoint)) if endpoint.presence == Presence::Here => GuestPlace {
                mac,
                host: Some(self.name_of(endpoint.host)),
                port: endpoint.interface.clone(),
            },
            _ => GuestPlace {
                mac,
                host: None,
                port: String::new(),
            },
        }
    }
}
