//! What this host's kernel should have.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::Ipv4Net;

use crate::cluster::gossip::{HostRecord, Presence};
use crate::cluster::membership::{Peer, Who};
use crate::config::{HostAddress, Segment};
use crate::election::GroupId;
use crate::id::{HostId, IfName, Mac, SegmentId};
use crate::kernel::inputs::{self, Inputs, SegmentInputs, ThisHost};
use crate::kernel::mark;
use crate::node::derived::{LocalSegment, group_of};
use crate::node::effect::{Effect, Facts};
use crate::node::gateways::held_term;
use crate::node::member::Member;
use crate::time::{Duration, Instant};

/// A hand-over that has not come about by then is looked at again: it may have been given up.
const PREPARED_FOR: Duration = Duration::from_millis(3500);

impl Member {
    pub(super) fn derive_kernel(&mut self, facts: Option<&Facts>, now: Instant) {
        let inputs = facts.map(|facts| self.inputs(facts, now));
        let Some(inputs) = inputs else { return };
        if inputs
            .segments
            .values()
            .any(|it| it.role == inputs::SegmentRole::Preparing)
        {
            self.touch_at(now + PREPARED_FOR);
        }
        if let Some(until) = self.endpoints.frozen(now).map(|(.., until)| until).min() {
            self.touch_at(until);
        }
        if self.derived.kernel.as_ref() != Some(&inputs) {
            self.derived.kernel = Some(inputs.clone());
            self.effects.push_back(Effect::Desired(Box::new(inputs)));
        }
    }

    pub(in crate::node) fn inputs(&self, facts: &Facts, now: Instant) -> Inputs {
        let segments = self
            .derived
            .segments
            .iter()
            .map(|(id, local)| (*id, self.segment_inputs(*id, local, facts, now)))
            .collect();
        let hosts: Vec<&HostRecord> = self.gossip.hosts().collect();
        let statics = self.gossip.static_peers().map(|peer| peer.address);
        let others = hosts.iter().flat_map(|host| host.all_vteps()).chain(statics);
        Inputs {
            host: ThisHost {
                id: self.me,
                vtep: facts.vtep,
                underlay: facts.underlay.clone(),
                underlay_mtu: facts.underlay_mtu,
                uplinks: facts.uplinks.clone(),
            },
            segments,
            members: others
                .filter(|_| self.isolated_until.is_none())
                .chain([facts.vtep])
                .collect(),
            cluster_ports: hosts
                .iter()
                .map(|host| host.listen.port())
                .chain([facts.listen.port()])
                .collect(),
            bridge_netfilter: facts.bridge_netfilter,
            tracking: facts.tracking,
        }
    }

    fn segment_inputs(&self, id: SegmentId, local: &LocalSegment, facts: &Facts, now: Instant) -> SegmentInputs {
        let mut peers = BTreeSet::new();
        let mut static_peers = BTreeSet::new();
        let connected = |peer: &&Peer| peer.state.is_flooded() && self.isolated_until.is_none();
        for peer in self.derived.peers.iter().filter(connected) {
            let Some(address) = peer.address else { continue };
            match peer.who {
                Who::Host(host) if local.hosts.contains(&host) => {
                    peers.insert(self.gossip.host(host).map_or(address, |host| host.vtep_in(id)));
                }
                Who::Static(segment) if segment.is_none_or(|segment| segment == id) => {
                    static_peers.insert(address);
                }
                Who::Me(_) | Who::Host(_) | Who::Static(_) => {}
            }
        }
        let endpoints = self.remote_endpoints(id, &peers);
        let has_left = |mac: &&Mac| self.endpoints.has_left(id, **mac, &self.gossip, now);
        let moved_away = endpoints.keys().filter(has_left).copied().collect();
        let group = group_of(id);
        let role = match held_term(group, &self.election) {
            Some(term) => inputs::SegmentRole::Gateway { term },
            None if !self.is_candidate(group) => inputs::SegmentRole::Standby,
            None if self.election.is_about_to_hold(group, now) => inputs::SegmentRole::Preparing,
            None => inputs::SegmentRole::Candidate,
        };
        SegmentInputs {
            segment: local.definition.segment.clone(),
            vtep: self.vtep_of(&local.definition, facts),
            mtu: local.mtu,
            peers,
            static_peers,
            endpoints,
            moved_away,
            role,
            guest_ports: BTreeSet::new(),
            host_address: self
                .host_address(&local.definition.segment)
                .filter(|_| !self.derived.held.contains_key(&id)),
            twins: twins(&local.definition.segment, facts),
        }
    }

    /// Where the guests and the VXLAN devices of other hosts are, and the gateway's own MAC where another host serves: its
    /// term's announcement switches it everywhere, whatever the kernel has learnt.
    fn remote_endpoints(&self, id: SegmentId, peers: &BTreeSet<IpAddr>) -> BTreeMap<Mac, IpAddr> {
        let vtep = |host: HostId| {
            self.gossip
                .host(host)
                .map(|host| host.vtep_in(id))
                .filter(|vtep| host != self.me && peers.contains(vtep))
        };
        let endpoints = self.gossip.endpoints_in(id);
        let guests = endpoints.filter(|endpoint| endpoint.presence == Presence::Here && endpoint.host != self.me);
        let holder = self.election.holder(group_of(id)).and_then(|(host, _)| vtep(host));
        // By these the other hosts' VXLAN devices are reached themselves, by the frames that watch the way.
        let hosts = self.gossip.hosts();
        let devices = hosts.filter_map(|host| Some((mark::vxlan_mac(id, host.id), vtep(host.id)?)));
        guests
            .filter_map(|endpoint| Some((endpoint.mac, vtep(endpoint.host)?)))
            .chain(devices)
            .chain(holder.map(|vtep| (mark::gateway_mac(id), vtep)))
            .collect()
    }

    fn is_candidate(&self, group: GroupId) -> bool {
        self.derived.election.groups.contains_key(&group)
            && self
                .derived
                .election
                .hosts
                .get(&self.me)
                .is_some_and(|host| host.candidacy.is_eligible())
    }

    fn host_address(&self, segment: &Segment) -> Option<Ipv4Net> {
        let ipv4 = segment.ipv4.as_ref()?;
        let name = self.gossip.host(self.me).map(|host| host.name.clone())?;
        match &segment.host_address {
            HostAddress::Named(addresses) => match addresses.get(&name)? {
                IpAddr::V4(address) => Ipv4Net::new(*address, ipv4.subnet.prefix_len()).ok(),
                IpAddr::V6(_) => None,
            },
            HostAddress::None | HostAddress::Auto => None,
        }
    }
}

/// The interfaces outside of a segment that have its gateway's address, too.
fn twins(segment: &Segment, facts: &Facts) -> BTreeSet<IfName> {
    let Some(ipv4) = &segment.ipv4 else {
        return BTreeSet::new();
    };
    let gateway = Ipv4Net::from(ipv4.gateway);
    let twins = facts.networks.iter().filter(|it| it.network == gateway);
    twins.map(|it| it.link.clone()).collect()
}
