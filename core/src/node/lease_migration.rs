//! The leases that a host gave while it was alone in a cluster of its own come along when it joins another one: their
//! owners there bind them to the same clients, and only then its bridges are connected.

use std::net::IpAddr;

use super::member::Member;
use crate::addresses::{Basis, Claim};
use crate::cluster::gossip::Content;
use crate::health::events::Event;
use crate::id::{Mac, SegmentName};
use crate::lease::LeaseState;
use crate::time::{Duration, Instant};

/// How long the owners may take; guests without a gateway cannot wait for ever.
const SETTLED_WITHIN: Duration = Duration::from_secs(5);

/// A lease of a guest of this host, as it was in the cluster that is given up.
#[derive(Debug)]
pub(super) struct Brought {
    segment: SegmentName,
    address: IpAddr,
    client: Mac,
    hostname: String,
    left: Duration,
}

impl Member {
    /// What guests still hold of this host, the only one of its cluster.
    pub(super) fn own_leases(&self, now: Instant) -> Vec<Brought> {
        let mut own = Vec::new();
        for known in self.catalogue.iter() {
            let leases = self.leases.lease_list(known.id, now).into_iter();
            own.extend(leases.filter_map(|lease| {
                let address = lease.address.ip();
                let left = self.leases.relied_for(known.id, address, now)?;
                (lease.state == LeaseState::Held && left > Duration::ZERO).then_some(Brought {
                    segment: known.segment.name.clone(),
                    address,
                    client: lease.client?,
                    hostname: lease.hostname,
                    left,
                })
            }));
        }
        own
    }

    /// Asks the owners of this cluster for them, and keeps the bridges apart meanwhile.
    pub(super) fn bring(&mut self, brought: Vec<Brought>, now: Instant) {
        for lease in brought {
            let segment = self
                .gossip
                .segments()
                .find(|known| known.name == lease.segment && matches!(known.content, Content::Definition(_)))
                .map(|known| known.id);
            let Some(segment) = segment else { continue };
            let claim = Claim {
                client: lease.client,
                basis: Basis::Having,
                guest_host: Some(self.me),
                lease_time: lease.left,
                client_id: Vec::new(),
                hostname: lease.hostname,
            };
            self.leases.bring(segment, lease.address, claim, now);
            self.isolated_until = Some(now + SETTLED_WITHIN);
        }
    }

    /// Connects the bridges when all is settled, or at the latest after five seconds.
    pub(super) fn look_whether_settled(&mut self, now: Instant) {
        let Some(until) = self.isolated_until else { return };
        let open = self.leases.brought();
        if open > 0 && now < until {
            self.touch(now);
            return;
        }
        self.isolated_until = None;
        if open > 0 {
            self.report(Event::LeasesUnconfirmed { leases: open });
        }
    }
}
