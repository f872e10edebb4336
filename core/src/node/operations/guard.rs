//! The one guard before what costs guests something: who uses a segment, and the refusal that lists it unless it is forced.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::catalogue::Definition;
use crate::cluster::gossip::{Endpoint, HostRecord, Presence};
use crate::cluster::membership::PeerState;
use crate::config::Segment;
use crate::id::{HostId, IfName, SegmentName};
use crate::lease::{Lease, LeaseState};
use crate::node::effect::{Force, Refusal};
use crate::node::loss::{Guest, GuestLease, InUse, Loss, Lost, Noun, Sighting};
use crate::node::member::Member;
use crate::time::{Duration, Instant};

/// Refuses what guests would lose by it, unless it is forced.
pub(super) fn guard(losses: &[Loss], force: Force, hint: &str) -> Result<(), Refusal> {
    if losses.is_empty() || force == Force::Yes {
        return Ok(());
    }
    let segments: BTreeSet<&SegmentName> = losses.iter().filter_map(|loss| loss.segment.as_ref()).collect();
    let names: Vec<&str> = segments.iter().map(|name| name.as_str()).collect();
    let subject = match names.as_slice() {
        [] => String::new(),
        [name] => format!("segment {name}: "),
        names => format!("segments {}: ", names.join(", ")),
    };
    Err(Refusal::new(format!("{subject}guests would lose {}", summary(losses)))
        .hint(hint)
        .because_of(losses)
        .until_changed())
}

/// How much of each, as an enumeration.
fn summary(losses: &[Loss]) -> String {
    let mut counted: Vec<(Noun, usize)> = Vec::new();
    for noun in losses.iter().map(|loss| loss.what.noun()) {
        match counted.iter_mut().find(|(known, _)| *known == noun) {
            Some((_, count)) => *count += 1,
            None => counted.push((noun, 1)),
        }
    }
    let mut parts: Vec<String> = counted
        .iter()
        .map(|(noun, count)| match count {
            1 => format!("1 {}", noun.one),
            count => format!("{count} {}", noun.many),
        })
        .collect();
    let last = parts.pop().unwrap_or_default();
    match parts.as_slice() {
        [] => last,
        first => format!("{} and {last}", first.join(", ")),
    }
}

impl Member {
    /// What is lost when a segment becomes `new`; without, it is deleted. `ports` are this host's.
    pub(super) fn losses(
        &self,
        old: &Definition,
        new: Option<&Segment>,
        ports: &BTreeMap<IfName, Vec<IfName>>,
        now: Instant,
    ) -> Vec<Loss> {
        let leaves =
            |host: &&HostRecord| old.segment.selects(&host.labels) && new.is_some_and(|new| !new.selects(&host.labels));
        let without = self.gossip.hosts().filter(leaves).map(|host| host.id).collect();
        self.in_use(old, ports, now).losses(&old.segment, new, &without)
    }

    /// What is lost when this host leaves: its guests' network, and with the last member everything.
    pub(super) fn losses_of_leaving(&self, ports: &BTreeMap<IfName, Vec<IfName>>, now: Instant) -> Vec<Loss> {
        let others = self.gossip.hosts().any(|host| host.id != self.me);
        let of_segment = |known: &Definition| {
            let stays = Some(&known.segment).filter(|_| others);
            let used = self.in_use(known, ports, now);
            used.losses(&known.segment, stays, &BTreeSet::from([self.me]))
        };
        let deleted = ports
            .iter()
            .filter(|(bridge, _)| self.catalogue.by_bridge(bridge).is_none());
        let kept = deleted.flat_map(|(_, ports)| ports).map(|port| Loss {
            segment: None,
            what: Lost::Port(self.guest(self.me, port.as_str(), Sighting::Current)),
        });
        self.catalogue.iter().flat_map(of_segment).chain(kept).collect()
    }

    /// What is at stake when this host gives its own cluster up for another one: its guests' network, and the segments that
    /// are not in its file, from which it introduces them there.
    pub(super) fn losses_of_joining(
        &self,
        file: &[Segment],
        ports: &BTreeMap<IfName, Vec<IfName>>,
        now: Instant,
    ) -> Vec<Loss> {
        let attached = self.losses_of_leaving(ports, now).into_iter();
        let attached = attached.filter(|loss| matches!(loss.what, Lost::Port(_)));
        let known = self.catalogue.iter().map(|known| &known.segment);
        let own = known.filter(|known| file.iter().all(|written| written.name != known.name));
        let segments = own.map(|known| Loss {
            segment: Some(known.name.clone()),
            what: Lost::Segment,
        });
        attached.chain(segments).collect()
    }

    fn in_use(&self, known: &Definition, ports: &BTreeMap<IfName, Vec<IfName>>, now: Instant) -> InUse {
        InUse {
            guests: self.guests_of(known, ports),
            leases: self.held_leases(known, now),
        }
    }

    /// The guests on all hosts: as the others said, and by the ports on this one.
    pub(super) fn guests_of(&self, known: &Definition, ports: &BTreeMap<IfName, Vec<IfName>>) -> Vec<Guest> {
        let states = self.states();
        let sighting = |host: HostId| match states.get(&host) {
            Some(PeerState::Alive) => Sighting::Current,
            Some(PeerState::Suspect | PeerState::Failed | PeerState::Left | PeerState::Static) | None => {
                Sighting::LastKnown
            }
        };
        let plugged = ports.get(&known.segment.bridge).map(Vec::as_slice).unwrap_or_default();
        // What this host said of a guest that has just been unplugged may still stand.
        let here = |endpoint: &&Endpoint| {
            let stays = || plugged.iter().any(|port| port.as_str() == endpoint.interface);
            endpoint.presence == Presence::Here && (endpoint.host != self.me || stays())
        };
        let heard = self.gossip.endpoints_in(known.id).filter(here).map(|endpoint| Guest {
            mac: Some(endpoint.mac),
            addresses: {
                let leased = self.leases.held_by(known.id, endpoint.mac);
                endpoint.addresses.iter().copied().chain(leased).collect()
            },
            ..self.guest(endpoint.host, &endpoint.interface, sighting(endpoint.host))
        });
        let mut guests: Vec<Guest> = heard.collect();
        let talking: BTreeSet<String> = guests
            .iter()
            .filter(|guest| guest.host == self.me)
            .map(|guest| guest.port.clone())
            .collect();
        let silent = plugged.iter().filter(|port| !talking.contains(port.as_str()));
        guests.extend(silent.map(|port| self.guest(self.me, port.as_str(), Sighting::Current)));
        guests.sort_by(|one, other| {
            (&one.host_name, &one.port, one.mac).cmp(&(&other.host_name, &other.port, other.mac))
        });
        guests
    }

    fn guest(&self, host: HostId, port: &str, sighting: Sighting) -> Guest {
        Guest {
            host,
            host_name: self.name_of(host),
            sighting,
            port: port.to_owned(),
            mac: None,
            addresses: BTreeSet::new(),
        }
    }

    fn held_leases(&self, known: &Definition, now: Instant) -> Vec<GuestLease> {
        let held = |lease: Lease| {
            let runs = lease.state == LeaseState::Held && lease.left.0 != Some(Duration::ZERO);
            Some(GuestLease {
                address: lease.address.ip(),
                mac: lease.client.filter(|_| runs)?,
                hostname: lease.hostname,
            })
        };
        self.leases
            .lease_list(known.id, now)
            .into_iter()
            .filter_map(held)
            .collect()
    }
}
