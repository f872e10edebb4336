//! Where the guests are: on this host as its bridges report them, on others as those announce them, and, until they do,
//! as VXLAN interfaces have heard them.
//!
//! This host's own guests are announced by difference. What guests are there for is decided elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::catalogue::Catalogue;
use super::gossip::{Change, Endpoint, Gossip, Key, Presence, Record};
use crate::id::{HostId, IfName, Mac, SegmentId};
use crate::time::{Duration, Instant};

/// So many MACs that no host has announced are remembered at most.
const REMOTE_MACS: usize = 16_384;
/// A MAC that has moved so often ...
const MOVES: usize = 5;
/// ... within so long stays where it is: two guests have it. The numbers are those of RFC 7432, section 15.1.
pub const MOVES_WITHIN: Duration = Duration::from_secs(180);

/// The guests that this host itself has seen, of which gossip knows its own.
#[derive(Debug)]
pub struct Endpoints {
    me: HostId,
    /// The ports of this host's guests, as announced last.
    guests: BTreeMap<(SegmentId, Mac), IfName>,
    /// Where the frames of guests came from that no host has announced yet.
    remote_macs: BTreeMap<(SegmentId, Mac), HostId>,
    /// The moves of guests from host to host, none older than [`MOVES_WITHIN`].
    moves: BTreeMap<(SegmentId, Mac), Moves>,
}

/// How often a MAC has moved lately.
#[derive(Debug)]
struct Moves {
    times: Vec<Instant>,
    /// The last one.
    between: (HostId, HostId),
}

impl Moves {
    fn frozen_until(&self) -> Option<Instant> {
        let first = self.times.len().checked_sub(MOVES)?;
        Some(*self.times.get(first)? + MOVES_WITHIN)
    }
}

impl Endpoints {
    /// Without any guest.
    pub fn new(me: HostId) -> Self {
        Self {
            me,
            guests: BTreeMap::new(),
            remote_macs: BTreeMap::new(),
            moves: BTreeMap::new(),
        }
    }

    /// Takes over which MACs each bridge of this host has on which of its own ports, and announces what is different;
    /// `addresses` are those that a guest is known to use.
    pub fn set_guests(
        &mut self,
        reported: &BTreeMap<IfName, BTreeMap<Mac, IfName>>,
        catalogue: &Catalogue,
        gossip: &mut Gossip,
        addresses: impl Fn(SegmentId, Mac) -> BTreeSet<IpAddr>,
        now: Instant,
    ) {
        let mut present = BTreeMap::new();
        for (bridge, macs) in reported {
            if let Some(segment) = catalogue.by_bridge(bridge) {
                let here = macs.iter().map(|(mac, port)| ((segment, *mac), port.clone()));
                present
                    .extend(here.filter(|((segment, mac), _)| !self.is_frozen_elsewhere(*segment, *mac, gossip, now)));
            }
        }
        let mut announce = |(segment, mac): (SegmentId, Mac), port: Option<&IfName>| {
            gossip.put_endpoint(endpoint(self.me, segment, mac, port, addresses(segment, mac)), now);
        };
        for guest in self.guests.keys().filter(|guest| !present.contains_key(guest)) {
            announce(*guest, None);
        }
        for (guest, port) in &present {
            if self.guests.get(guest) != Some(port) {
                announce(*guest, Some(port));
            }
        }
        self.guests = present;
    }

    /// Announces a guest of this host once more: it uses other addresses than before. One that is elsewhere by now is not
    /// taken back by what is heard of it.
    pub fn announce_addresses(
        &self,
        (segment, mac): (SegmentId, Mac),
        addresses: BTreeSet<IpAddr>,
        gossip: &mut Gossip,
        now: Instant,
    ) {
        let is = announced(gossip.get(&Key::Endpoint(segment, mac)));
        if let (Some(port), Some((host, Presence::Here))) = (self.guests.get(&(segment, mac)), is)
            && host == self.me
        {
            gossip.put_endpoint(endpoint(self.me, segment, mac, Some(port), addresses), now);
        }
    }

    /// Whether this host has announced a guest as its own.
    pub fn has_announced(&self, segment: SegmentId, mac: Mac) -> bool {
        self.guests.contains_key(&(segment, mac))
    }

    /// Remembers MACs that VXLAN interfaces have heard, each with the VTEP it is behind.
    pub fn hear(&mut self, heard: &[(IfName, Mac, IpAddr)], catalogue: &Catalogue, gossip: &Gossip) {
        if self.remote_macs.len() > REMOTE_MACS {
            self.remote_macs.clear();
        }
        let vteps = gossip
            .hosts()
            .flat_map(|host| host.all_vteps().map(|vtep| (vtep, host.id)));
        let hosts: BTreeMap<IpAddr, HostId> = vteps.collect();
        for (vxlan, mac, vtep) in heard {
            if let (Some(segment), Some(host)) = (catalogue.by_vxlan(vxlan), hosts.get(vtep)) {
                self.remote_macs.insert((segment, *mac), *host);
            }
        }
    }

    /// A host has announced where a guest is: what was heard of it is out of date. Where a guest that is on a port here is
    /// announced as gone by the host that it came from, this host says again that it is here.
    pub fn handle_announcement(
        &mut self,
        segment: SegmentId,
        mac: Mac,
        change: &Change,
        gossip: &mut Gossip,
        addresses: impl Fn(SegmentId, Mac) -> BTreeSet<IpAddr>,
        now: Instant,
    ) {
        let guest = (segment, mac);
        self.remote_macs.remove(&guest);
        let is = announced(change.new.as_deref());
        if let (Some((before, _)), Some((host, Presence::Here))) = (announced(change.old.as_deref()), is)
            && host != before
        {
            self.count_move(guest, (before, host), now);
        }
        if let (Some(port), Some((host, Presence::Gone))) = (self.guests.get(&guest), is)
            && host != self.me
        {
            gossip.put_endpoint(
                endpoint(self.me, segment, mac, Some(port), addresses(segment, mac)),
                now,
            );
        }
    }

    fn count_move(&mut self, guest: (SegmentId, Mac), between: (HostId, HostId), now: Instant) {
        self.moves.retain(|_, moves| {
            moves.times.retain(|at| now.since(*at) < MOVES_WITHIN);
            !moves.times.is_empty()
        });
        let moves = self.moves.entry(guest).or_insert_with(|| Moves {
            times: Vec::new(),
            between,
        });
        // The host that it came from may have said once more that it is gone.
        if moves.times.is_empty() || moves.between.1 != between.1 {
            moves.times.push(now);
            moves.between = between;
        }
    }

    /// Whether this host takes no notice of a MAC on its ports: it moves too often, and is on another host at present.
    fn is_frozen_elsewhere(&self, segment: SegmentId, mac: Mac, gossip: &Gossip, now: Instant) -> bool {
        let frozen = |moves: &Moves| moves.frozen_until().is_some_and(|until| now < until);
        let elsewhere = || match gossip.get(&Key::Endpoint(segment, mac)) {
            Some(Record::Endpoint(endpoint)) => endpoint.presence == Presence::Here && endpoint.host != self.me,
            _ => false,
        };
        self.moves.get(&(segment, mac)).is_some_and(frozen) && elsewhere()
    }

    /// Whether a guest that another host has announced is no longer on the port that it had here, whatever the kernel still
    /// knows: this host has told the others of it before that. What this host has not told yet is newer.
    pub fn has_left(&self, segment: SegmentId, mac: Mac, gossip: &Gossip, now: Instant) -> bool {
        self.guests.contains_key(&(segment, mac)) || self.is_frozen_elsewhere(segment, mac, gossip, now)
    }

    /// The MACs that move too often, with the hosts between which they moved last, and when that is forgotten.
    pub fn frozen(&self, now: Instant) -> impl Iterator<Item = (SegmentId, Mac, (HostId, HostId), Instant)> {
        self.moves.iter().filter_map(move |((segment, mac), moves)| {
            let until = moves.frozen_until().filter(|until| now < *until)?;
            Some((*segment, *mac, moves.between, until))
        })
    }

    /// The host that a MAC is on, as far as anybody knows.
    pub fn host_of(&self, segment: SegmentId, mac: Mac, gossip: &Gossip) -> Option<HostId> {
        match gossip.get(&Key::Endpoint(segment, mac)) {
            Some(Record::Endpoint(endpoint)) if endpoint.presence == Presence::Here => Some(endpoint.host),
            _ if self.guests.contains_key(&(segment, mac)) => Some(self.me),
            _ => self.remote_macs.get(&(segment, mac)).copied(),
        }
    }
}

fn announced(record: Option<&Record>) -> Option<(HostId, Presence)> {
    match record {
        Some(Record::Endpoint(endpoint)) => Some((endpoint.host, endpoint.presence)),
        _ => None,
    }
}

fn endpoint(
    host: HostId,
    segment: SegmentId,
    mac: Mac,
    port: Option<&IfName>,
    addresses: BTreeSet<IpAddr>,
) -> Endpoint {
    Endpoint {
        sequence: 0,
        host,
        presence: if port.is_some() { Presence::Here } else { Presence::Gone },
        segment,
        mac,
        addresses,
        interface: port.map(|port| port.as_str().to_owned()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::gossip::{Candidacy, ChangeOrigin, HostRecord, Message, Uplink};
    use crate::id::SegmentName;
    use crate::mtu::OverlayMtu;

    const ME: HostId = HostId(1);
    const OTHER: HostId = HostId(2);
    const BLUE: SegmentId = SegmentId(7);
    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const NOW: Instant = Instant::from_millis(0);

    struct Fixture {
        endpoints: Endpoints,
        catalogue: Catalogue,
        gossip: Gossip,
    }

    impl Fixture {
        /// One segment, and another host at 192.0.2.2.
        fn new() -> Self {
            let mut gossip = Gossip::new(ME, 1, Vec::new(), NOW);
            let blue = "segments:\n  - name: blue\n    vni: 100\n".to_owned();
            gossip.apply(&name(), blue, BLUE, NOW);
            let other = HostRecord {
                instance: 1,
                counter: 0,
                id: OTHER,
                name: "other".to_owned(),
                vtep: [192, 0, 2, 2].into(),
                listen: ([192, 0, 2, 2], 7946).into(),
                labels: BTreeMap::new(),
                overlay_mtu: OverlayMtu::new(1450),
                candidacy: Candidacy::None,
                uplink: Uplink::Fails,
                lacks: BTreeSet::new(),
                segments: BTreeMap::new(),
                vteps: BTreeMap::new(),
                networks: BTreeSet::new(),
                journal: 0,
                agent_version: String::new(),
            };
            gossip.handle(OTHER, Message::Records(vec![Record::Host(other)]), NOW);
            let mut catalogue = Catalogue::default();
            catalogue.update(&gossip);
            Self {
                endpoints: Endpoints::new(ME),
                catalogue,
                gossip,
            }
        }

        fn report(&mut self, ports: &[(Mac, &str)]) {
            let ports = ports.iter().map(|(mac, port)| (*mac, link(port))).collect();
            let bridge = self.catalogue.get(&name()).map(|blue| blue.segment.bridge.clone());
            let reported = BTreeMap::from([(bridge.expect("it was read"), ports)]);
            let none = |_, _| BTreeSet::new();
            self.endpoints
                .set_guests(&reported, &self.catalogue, &mut self.gossip, none, NOW);
        }

        fn announced(&self) -> Vec<(u64, Presence, String)> {
            let endpoints = self.gossip.endpoints();
            endpoints
                .map(|it| (it.sequence, it.presence, it.interface.clone()))
                .collect()
        }

        fn host_of(&self) -> Option<HostId> {
            self.endpoints.host_of(BLUE, MAC, &self.gossip)
        }
    }

    fn name() -> SegmentName {
        SegmentName::new("blue").expect("a name")
    }

    fn link(name: &str) -> IfName {
        IfName::new(name).expect("a name")
    }

    #[test]
    fn guests_of_this_host_are_announced_when_they_come_change_their_port_and_go() {
        let mut it = Fixture::new();
        for (ports, expected) in [
            (&[(MAC, "tap1")][..], (1, Presence::Here, "tap1".to_owned())),
            (&[(MAC, "tap1")], (1, Presence::Here, "tap1".to_owned())),
            (&[(MAC, "tap2")], (2, Presence::Here, "tap2".to_owned())),
            (&[], (3, Presence::Gone, String::new())),
        ] {
            it.report(ports);
            assert_eq!(it.announced(), [expected]);
        }
    }

    #[test]
    fn a_mac_is_where_a_host_announces_it_before_where_it_was_heard() {
        let mut it = Fixture::new();
        assert_eq!(it.host_of(), None);
        let heard = [(name().vxlan(), MAC, IpAddr::from([192, 0, 2, 2]))];
        it.endpoints.hear(&heard, &it.catalogue, &it.gossip);
        assert_eq!(it.host_of(), Some(OTHER));
        it.report(&[(MAC, "tap1")]);
        assert_eq!(it.host_of(), Some(ME));
        let change = Change {
            key: Key::Endpoint(BLUE, MAC),
            old: None,
            new: None,
            origin: ChangeOrigin::Own,
        };
        let none = |_, _| BTreeSet::new();
        it.endpoints
            .handle_announcement(BLUE, MAC, &change, &mut it.gossip, none, NOW);
        it.report(&[]);
        assert_eq!(it.host_of(), None);
    }

    #[test]
    fn what_was_heard_from_no_member_or_on_no_segment_is_not_remembered() {
        let mut it = Fixture::new();
        let heard = [
            (name().vxlan(), MAC, IpAddr::from([192, 0, 2, 9])),
            (link("vx-red"), MAC, IpAddr::from([192, 0, 2, 2])),
        ];
        it.endpoints.hear(&heard, &it.catalogue, &it.gossip);
        assert_eq!(it.host_of(), None);
    }
}
