//! Where the guests are: on this host as its bridges report them, on others as those announce them, and, until they do,
//! as VXLAN interfaces have heard them.
//!
//! This host's own guests are announced by difference. What guests are there for is decided elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::catalogue::Catalogue;
use super::gossip::{Endpoint, Gossip, Key, Presence, Record};
use crate::id::{HostId, IfName, Mac, SegmentId};
use crate::time::Instant;

/// So many MACs that no host has announced are remembered at most.
const REMOTE_MACS: usize = 16_384;

/// The guests that this host itself has seen, of which gossip knows its own.
#[derive(Debug)]
pub struct Endpoints {
    me: HostId,
    /// The ports of this host's guests, as announced last.
    guests: BTreeMap<(SegmentId, Mac), IfName>,
    /// Where the frames of guests came from that no host has announced yet.
    remote_macs: BTreeMap<(SegmentId, Mac), HostId>,
}

impl Endpoints {
    /// Without any guest.
    pub fn new(me: HostId) -> Self {
        Self {
            me,
            guests: BTreeMap::new(),
            remote_macs: BTreeMap::new(),
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
                present.extend(macs.iter().map(|(mac, port)| ((segment, *mac), port.clone())));
            }
        }
        let mut announce = |(segment, mac): (SegmentId, Mac), port: Option<&IfName>| {
            let endpoint = Endpoint {
                sequence: 0,
                host: self.me,
                presence: if port.is_some() { Presence::Here } else { Presence::Gone },
                segment,
                mac,
                addresses: addresses(segment, mac),
                interface: port.map(|port| port.as_str().to_owned()).unwrap_or_default(),
            };
            gossip.put_endpoint(endpoint, now);
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

    /// Remembers MACs that VXLAN interfaces have heard, each with the VTEP it is behind.
    pub fn hear(&mut self, heard: &[(IfName, Mac, IpAddr)], catalogue: &Catalogue, gossip: &Gossip) {
        if self.remote_macs.len() > REMOTE_MACS {
            self.remote_macs.clear();
        }
        let hosts: BTreeMap<IpAddr, HostId> = gossip.hosts().map(|host| (host.vtep, host.id)).collect();
        for (vxlan, mac, vtep) in heard {
            if let (Some(segment), Some(host)) = (catalogue.by_vxlan(vxlan), hosts.get(vtep)) {
                self.remote_macs.insert((segment, *mac), *host);
            }
        }
    }

    /// A host has announced where a guest is: what was heard of it is out of date.
    pub fn handle_announcement(&mut self, segment: SegmentId, mac: Mac) {
        self.remote_macs.remove(&(segment, mac));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::gossip::{Candidacy, HostRecord, Message, Uplink};
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
                segments: BTreeMap::new(),
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
        it.endpoints.handle_announcement(BLUE, MAC);
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
