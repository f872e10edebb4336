//! What follows from all that is known: who elects, who serves what, what the kernel should have, whom to dial.
//!
//! Everything is computed whole from the records and handed to the machines and the edge where it differs from the
//! last time. Nothing here is remembered but that.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use ipnet::{IpNet, Ipv4Net};

use super::effect::{Effect, Facts};
use super::member::Member;
use super::{Looked, Node, group_of};
use crate::addresses::{self, Reach, SegmentPool};
use crate::cluster::catalogue::Definition;
use crate::cluster::gossip::{self, HostRecord, Presence};
use crate::cluster::membership::{self, Peer, PeerState, Who};
use crate::config::{self, HostAddress, HostConfig, Mode, MtuBound, NetworkBoot, Segment};
use crate::election::{Candidacy, ElectionView, GroupId, GroupView, HostStanding, HostView, Role, Uplink};
use crate::gateway::dhcp::SegmentService;
use crate::gateway::uplink::Health;
use crate::health::events::{self, Event};
use crate::id::{HostId, IfName, Mac, SegmentId, SegmentName, Term};
use crate::kernel::inputs::{self, BridgeNetfilter, Inputs, SegmentInputs, ThisHost, Tracking};
use crate::kernel::mark;
use crate::mtu::{self, OverlayMtu};
use crate::range::Range;
use crate::time::{Duration, Instant};

/// How long a holder's word in gossip counts.
const CLAIM_FRESH: Duration = Duration::from_secs(5);

/// A hand-over that has not come about by then is looked at again: it may have been given up.
const PREPARED_FOR: Duration = Duration::from_millis(3500);

/// What was handed out last.
#[derive(Debug, Default)]
pub(super) struct Derived {
    segments: BTreeMap<SegmentId, Mine>,
    view: ElectionView,
    inputs: Option<Inputs>,
    listen: BTreeMap<SegmentId, IfName>,
    services: BTreeMap<SegmentId, SegmentService>,
    pools: BTreeMap<SegmentId, (u64, SegmentPool)>,
    announced: BTreeMap<GroupId, Term>,
    pub(super) peers: Vec<Peer>,
}

/// A segment that this host has.
#[derive(Clone, Debug)]
pub(super) struct Mine {
    pub(super) segment: Segment,
    pub(super) generation: u64,
    pub(super) introducer: HostId,
    pub(super) hosts: BTreeSet<HostId>,
    pub(super) mtu: OverlayMtu,
}

impl Derived {
    pub(super) fn groups(&self) -> Vec<GroupId> {
        self.segments.keys().map(|id| group_of(*id)).collect()
    }

    pub(super) fn segments_of(&self, group: GroupId) -> Vec<SegmentId> {
        self.segments
            .keys()
            .filter(|id| group_of(**id) == group)
            .copied()
            .collect()
    }

    pub(super) fn segment_names(&self, group: GroupId) -> Vec<SegmentName> {
        self.segments_of(group)
            .iter()
            .filter_map(|id| Some(self.segments.get(id)?.segment.name.clone()))
            .collect()
    }

    pub(super) fn gateway_addresses(&self, group: GroupId) -> BTreeMap<SegmentName, IpNet> {
        self.segments_of(group)
            .iter()
            .filter_map(|id| {
                let segment = &self.segments.get(id)?.segment;
                let ipv4 = segment.ipv4.as_ref()?;
                let address = Ipv4Net::new(ipv4.gateway, ipv4.subnet.prefix_len()).ok()?;
                Some((segment.name.clone(), IpNet::V4(address)))
            })
            .collect()
    }

    pub(super) fn has_inputs(&self) -> bool {
        self.inputs.is_some()
    }

    /// How many guests on other hosts were handed out.
    pub(super) fn remote_guests(&self) -> usize {
        let segments = self.inputs.iter().flat_map(|inputs| inputs.segments.values());
        segments.map(|segment| segment.endpoints.len()).sum()
    }

    /// The leases begin anew: all pools are told again.
    pub(super) fn forget_pools(&mut self) {
        self.pools.clear();
    }

    pub(super) fn mine(&self) -> &BTreeMap<SegmentId, Mine> {
        &self.segments
    }
}

impl Node {
    /// Computes all that follows from what is known, and hands out what is different.
    pub(super) fn derive(&mut self, now: Instant) {
        let leave_announced = self.has_announced_leave();
        let Some(formed) = &mut self.formed else { return };
        formed.derived_at(now);
        formed.read_segments();
        let facts = self.facts.as_ref();
        if let Some(facts) = facts
            && !formed.left
            && !leave_announced
        {
            formed.tell_host(&self.config, facts, &self.version, now);
        }
        // Bridges come up from what was known last, before the underlay does.
        let remembered = match facts {
            None if self.looked == Looked::Once => formed.remembered_facts(&self.config),
            Some(_) | None => None,
        };
        let facts = facts.or(remembered.as_ref());
        formed.derived.segments = formed.my_segments(facts);
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
        let view = formed.election_view(now);
        if formed.derived.view != view {
            formed.derived.view = view.clone();
            formed.election.set_view(view, now);
        }
        formed.feed_leases(now);
        formed.feed_dhcp(facts);
        formed.announce(now);
        formed.look_whether_settled(now);
        formed.hand_out_inputs(facts, now);
        let dial = formed.dial();
        if self.dialled != dial {
            self.dialled.clone_from(&dial);
            formed.effects.push_back(Effect::Dial(dial));
        }
    }
}

impl Member {
    /// Reads definitions that are new.
    fn read_segments(&mut self) {
        for unreadable in self.catalogue.update(&self.gossip) {
            self.report(Event::SegmentUnreadable {
                segment: unreadable.name,
                generation: unreadable.generation,
            });
        }
    }

    /// Says what this host is.
    fn tell_host(&mut self, config: &HostConfig, facts: &Facts, version: &str, now: Instant) {
        let drained = self.drained || self.leases.has_lost_disk();
        let host = host_record(self.me, self.instance, config, facts, version, drained);
        let segments = self
            .catalogue
            .iter()
            .filter(|known| known.segment.selects(&config.host.labels))
            .map(|known| (known.id, known.generation))
            .collect();
        self.gossip.put_host(HostRecord { segments, ..host }, now);
    }

    /// What this host last told the others of itself, while its underlay is missing.
    fn remembered_facts(&self, config: &HostConfig) -> Option<Facts> {
        let me = self.gossip.host(self.me)?;
        Some(Facts {
            name: me.name.clone(),
            vtep: me.vtep,
            listen: me.listen,
            // Only a multicast segment without an interface of its own asks for it, and it has nowhere to send yet.
            underlay: config.host.underlay.clone().or_else(|| IfName::new("lo").ok())?,
            underlay_mtu: me.overlay_mtu.underlay(me.vtep),
            uplink: config.host.gateway.uplink.clone(),
            uplink_health: Health::NoRoute {
                link: config.host.gateway.uplink.clone(),
            },
            resolvers: Vec::new(),
            bridge_netfilter: BridgeNetfilter::LeftOff,
            tracking: Tracking::On,
        })
    }

    fn my_segments(&self, facts: Option<&Facts>) -> BTreeMap<SegmentId, Mine> {
        let Some(me) = self.gossip.host(self.me) else {
            return BTreeMap::new();
        };
        let hosts: Vec<&HostRecord> = self.gossip.hosts().collect();
        let mut mine = BTreeMap::new();
        for Definition {
            generation,
            introducer,
            id,
            segment,
        } in self.catalogue.iter()
        {
            if !segment.selects(&me.labels) {
                continue;
            }
            let members: BTreeMap<HostId, OverlayMtu> = hosts
                .iter()
                .filter(|host| segment.selects(&host.labels))
                .map(|host| (host.id, host.overlay_mtu))
                .collect();
            let bound = match segment.mtu {
                MtuBound::Auto => None,
                MtuBound::AtMost(bytes) => Some(OverlayMtu::new(u32::from(bytes))),
            };
            let own = facts.map(|facts| facts.underlay_mtu.overlay(facts.vtep));
            let Some(mtu) = mtu::segment(&members, &BTreeMap::new(), bound.into_iter().chain(own).min()) else {
                continue;
            };
            mine.insert(
                *id,
                Mine {
                    segment: segment.clone(),
                    generation: *generation,
                    introducer: *introducer,
                    hosts: members.into_keys().collect(),
                    mtu,
                },
            );
        }
        mine
    }

    fn election_view(&self, now: Instant) -> ElectionView {
        let states: BTreeMap<HostId, PeerState> = self.states();
        let mut hosts = BTreeMap::new();
        for host in self.gossip.hosts() {
            let (candidacy, priority) = match host.candidacy {
                gossip::Candidacy::None => (Candidacy::Never, 0),
                gossip::Candidacy::Candidate { priority } => (Candidacy::Candidate, priority),
                gossip::Candidacy::Drained { priority } => (Candidacy::Drained, priority),
            };
            let uplink = match host.uplink {
                gossip::Uplink::Works => Uplink::Works,
                gossip::Uplink::Fails => Uplink::Down,
            };
            // The word of the election itself does not come back to it: it counts its own silence.
            let standing = match states.get(&host.id) {
                Some(PeerState::Failed) if !self.reachability().is_gone(host.id) => HostStanding::Failed,
                Some(PeerState::Left) => HostStanding::Removed,
                Some(PeerState::Alive | PeerState::Suspect | PeerState::Failed | PeerState::Static) | None => {
                    HostStanding::Member
                }
            };
            hosts.insert(
                host.id,
                HostView {
                    candidacy,
                    priority,
                    uplink,
                    standing,
                },
            );
        }
        let groups = self
            .derived
            .segments
            .iter()
            .filter(|(_, mine)| serves(&mine.segment))
            .map(|(id, mine)| {
                let group = group_of(*id);
                let view = GroupView {
                    segments: BTreeSet::from([*id]),
                    hosts: mine.hosts.clone(),
                    known_holder: self.known_holder(group, now),
                };
                (group, view)
            })
            .collect();
        ElectionView { hosts, groups }
    }

    /// The holder that gossip last named: a host that is new in the election is bound to it for a while.
    fn known_holder(&self, group: GroupId, now: Instant) -> Option<(HostId, Term)> {
        let claims = self.gossip.claims(group.0);
        claims
            .into_iter()
            .rev()
            .find(|claim| {
                let key = gossip::Key::Claim(group.0, claim.holder);
                let fresh = self
                    .gossip
                    .taken_at(&key)
                    .is_some_and(|at| now.since(at) <= CLAIM_FRESH);
                claim.presence == Presence::Here && claim.holder != self.me && fresh
            })
            .map(|claim| (claim.holder, claim.term))
    }

    fn states(&self) -> BTreeMap<HostId, PeerState> {
        let of = |peer: &Peer| match peer.who {
            Who::Host(host) | Who::Me(host) => Some((host, peer.state)),
            Who::Static(_) => None,
        };
        self.derived.peers.iter().filter_map(of).collect()
    }

    fn feed_leases(&mut self, now: Instant) {
        let states = self.states();
        for (host, state) in &states {
            if *host == self.me {
                continue;
            }
            let reach = match state {
                PeerState::Alive if self.connected.contains(host) => Reach::Reachable,
                PeerState::Alive | PeerState::Suspect => Reach::Silent,
                PeerState::Failed | PeerState::Left | PeerState::Static => Reach::Failed,
            };
            self.leases.set_reach(*host, reach, now);
        }
        let mut gone = self.derived.pools.clone();
        for (id, mine) in &self.derived.segments {
            gone.remove(id);
            let Some(pool) = pool_of(mine) else { continue };
            let version = (mine.generation, pool);
            if self.derived.pools.get(id) != Some(&version) {
                self.leases.set_segment(*id, version.1.clone(), now);
                self.derived.pools.insert(*id, version);
            }
            let group = group_of(*id);
            let standing = addresses::Standing {
                order: self.election.order(group),
                gateway: self.election.holder(group).map(|(host, _)| host),
                since: self.election.since(group).map(|at| now.since(at)).unwrap_or_default(),
            };
            self.leases.set_standing(*id, standing, now);
        }
        for id in gone.into_keys() {
            self.derived.pools.remove(&id);
            self.leases.delete_segment(id, now);
        }
    }

    fn feed_dhcp(&mut self, facts: Option<&Facts>) {
        let mut services = BTreeMap::new();
        let mut listen = BTreeMap::new();
        for (id, mine) in &self.derived.segments {
            let group = group_of(*id);
            if self.held_term(group).is_none() || !self.addressed.contains(&group) {
                continue;
            }
            let Some(service) = service_of(*id, mine, facts) else {
                continue;
            };
            listen.insert(*id, mine.segment.name.gateway());
            services.insert(*id, service);
        }
        for id in self.derived.services.keys().filter(|id| !services.contains_key(id)) {
            self.dhcp.remove_segment(*id);
        }
        for (id, service) in &services {
            if self.derived.services.get(id) != Some(service) {
                self.dhcp.set_segment(service.clone());
            }
        }
        self.derived.services = services;
        if self.derived.listen != listen {
            self.derived.listen.clone_from(&listen);
            self.effects.push_back(Effect::Listen(listen));
        }
    }

    /// A term that is new here is announced on its segments: the guests' neighbour tables and all bridges learn.
    fn announce(&mut self, _now: Instant) {
        let mut announced = BTreeMap::new();
        for group in self.derived.groups() {
            let Some(term) = self.held_term(group).filter(|_| self.addressed.contains(&group)) else {
                continue;
            };
            announced.insert(group, term);
            if self.derived.announced.get(&group) == Some(&term) {
                continue;
            }
            for id in self.derived.segments_of(group) {
                let Some(mine) = self.derived.segments.get(&id) else {
                    continue;
                };
                let Some(address) = mine.segment.gateway_v4() else {
                    continue;
                };
                self.effects.push_back(Effect::Announce {
                    segment: id,
                    link: mine.segment.name.gateway(),
                    mac: mark::gateway_mac(id),
                    address,
                });
            }
        }
        self.derived.announced = announced;
    }

    fn hand_out_inputs(&mut self, facts: Option<&Facts>, now: Instant) {
        let inputs = facts.map(|facts| self.inputs(facts, now));
        let Some(inputs) = inputs else { return };
        if inputs.segments.values().any(|it| it.role == inputs::Role::Preparing) {
            self.touch_at(now + PREPARED_FOR);
        }
        if self.derived.inputs.as_ref() != Some(&inputs) {
            self.derived.inputs = Some(inputs.clone());
            self.effects.push_back(Effect::Desired(Box::new(inputs)));
        }
    }

    pub(super) fn inputs(&self, facts: &Facts, now: Instant) -> Inputs {
        let segments = self
            .derived
            .segments
            .iter()
            .map(|(id, mine)| (*id, self.segment_inputs(*id, mine, now)))
            .collect();
        let hosts: Vec<&HostRecord> = self.gossip.hosts().collect();
        let statics = self.gossip.static_peers().map(|peer| peer.address);
        let others = hosts.iter().map(|host| host.vtep).chain(statics);
        Inputs {
            host: ThisHost {
                id: self.me,
                vtep: facts.vtep,
                underlay: facts.underlay.clone(),
                underlay_mtu: facts.underlay_mtu,
                uplink: facts.uplink.clone(),
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

    fn segment_inputs(&self, id: SegmentId, mine: &Mine, now: Instant) -> SegmentInputs {
        let mut peers = BTreeSet::new();
        let mut static_peers = BTreeSet::new();
        let connected = |peer: &&Peer| peer.state.is_flooded() && self.isolated_until.is_none();
        for peer in self.derived.peers.iter().filter(connected) {
            let Some(address) = peer.address else { continue };
            match peer.who {
                Who::Host(host) if mine.hosts.contains(&host) => {
                    peers.insert(address);
                }
                Who::Static(segment) if segment.is_none_or(|segment| segment == id) => {
                    static_peers.insert(address);
                }
                Who::Me(_) | Who::Host(_) | Who::Static(_) => {}
            }
        }
        let endpoints = self.remote_endpoints(id, &peers);
        let group = group_of(id);
        let role = match self.held_term(group) {
            Some(term) => inputs::Role::Gateway { term },
            None if !self.is_candidate(group) => inputs::Role::Standby,
            None if self.election.is_about_to_hold(group, now) => inputs::Role::Preparing,
            None => inputs::Role::Candidate,
        };
        SegmentInputs {
            segment: mine.segment.clone(),
            mtu: mine.mtu,
            peers,
            static_peers,
            endpoints,
            role,
            guest_ports: BTreeSet::new(),
            host_address: self.host_address(&mine.segment),
        }
    }

    /// Where the guests of other hosts are, and the gateway's own MAC where another host serves: its term's
    /// announcement switches it everywhere, whatever the kernel has learnt.
    fn remote_endpoints(&self, id: SegmentId, peers: &BTreeSet<IpAddr>) -> BTreeMap<Mac, IpAddr> {
        let vtep = |host: HostId| {
            self.gossip
                .host(host)
                .map(|host| host.vtep)
                .filter(|vtep| host != self.me && peers.contains(vtep))
        };
        let guests = self.gossip.endpoints().filter(|endpoint| {
            endpoint.segment == id && endpoint.presence == Presence::Here && endpoint.host != self.me
        });
        let holder = self.election.holder(group_of(id)).and_then(|(host, _)| vtep(host));
        guests
            .filter_map(|endpoint| Some((endpoint.mac, vtep(endpoint.host)?)))
            .chain(holder.map(|vtep| (mark::gateway_mac(id), vtep)))
            .collect()
    }

    fn is_candidate(&self, group: GroupId) -> bool {
        self.derived.view.groups.contains_key(&group)
            && self
                .derived
                .view
                .hosts
                .get(&self.me)
                .is_some_and(|host| host.candidacy == Candidacy::Candidate)
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

    /// Every host that is known and not this one: whoever was cut off is found again by whichever side is back first.
    fn dial(&self) -> BTreeMap<HostId, SocketAddr> {
        self.gossip
            .hosts()
            .filter(|host| host.id != self.me)
            .map(|host| (host.id, host.listen))
            .collect()
    }
}

/// Whether somebody serves the segment: it has a subnet to serve in.
fn serves(segment: &Segment) -> bool {
    segment.ipv4.is_some() && !matches!(segment.mode, Mode::Bridged(_))
}

/// What a host says of itself, but for its segments.
pub(super) fn host_record(
    me: HostId,
    instance: u64,
    config: &HostConfig,
    facts: &Facts,
    version: &str,
    drained: bool,
) -> HostRecord {
    let priority = u32::from(config.host.gateway.priority);
    HostRecord {
        instance,
        counter: 0,
        id: me,
        name: facts.name.clone(),
        vtep: facts.vtep,
        listen: facts.listen,
        labels: config.host.labels.clone(),
        overlay_mtu: facts.underlay_mtu.overlay(facts.vtep),
        candidacy: match config.host.gateway.candidate {
            config::Candidacy::Never => gossip::Candidacy::None,
            config::Candidacy::Candidate if drained => gossip::Candidacy::Drained { priority },
            config::Candidacy::Candidate => gossip::Candidacy::Candidate { priority },
        },
        uplink: match facts.uplink() {
            Uplink::Works => gossip::Uplink::Works,
            Uplink::Down => gossip::Uplink::Fails,
        },
        segments: BTreeMap::new(),
        journal: 0,
        agent_version: version.to_owned(),
    }
}

pub(super) fn pool_of(mine: &Mine) -> Option<SegmentPool> {
    let dhcp = mine.segment.ipv4.as_ref()?.dhcp.as_ref()?;
    let ranges = mine.segment.pool_v4().into_iter();
    Some(SegmentPool {
        generation: mine.generation,
        introducer: mine.introducer,
        ranges: ranges.filter_map(|range| Range::new(range.first, range.last)).collect(),
        reservations: dhcp
            .reservations
            .iter()
            .map(|reservation| addresses::Reservation {
                client: reservation.mac,
                address: IpAddr::V4(reservation.address),
                hostname: reservation.hostname.clone(),
            })
            .collect(),
        lease_time: dhcp.lease_time,
        max_leases: dhcp.max_leases.map(u64::from),
    })
}

fn service_of(id: SegmentId, mine: &Mine, facts: Option<&Facts>) -> Option<SegmentService> {
    let segment = &mine.segment;
    let ipv4 = segment.ipv4.as_ref()?;
    let dhcp = ipv4.dhcp.as_ref()?;
    let upstream: Vec<_> = segment
        .dns
        .upstream
        .iter()
        .filter_map(|address| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        })
        .collect();
    let dns = if upstream.is_empty() {
        facts.map(|facts| facts.resolvers.clone()).unwrap_or_default()
    } else {
        upstream
    };
    let reserved = dhcp.reservations.iter();
    Some(SegmentService {
        segment: id,
        subnet: ipv4.subnet,
        gateway: ipv4.gateway,
        router: match segment.mode {
            Mode::Nat | Mode::Routed => Some(ipv4.gateway),
            Mode::Isolated | Mode::Bridged(_) => None,
        },
        mtu: u16::try_from(mine.mtu.bytes()).unwrap_or(u16::MAX),
        dns,
        domain: segment.dns.domain.clone(),
        options: dhcp
            .options
            .iter()
            .map(|(code, option)| (*code, option.bytes()))
            .collect(),
        boot: dhcp.boot.clone(),
        reserved_boot: reserved
            .filter(|reservation| reservation.boot != NetworkBoot::default())
            .map(|reservation| (reservation.mac, reservation.boot.clone()))
            .collect(),
        lease_time: dhcp.lease_time,
    })
}

/// The role of this host in a group, for those who ask by segment.
pub(super) fn role_of(formed: &Member, id: SegmentId) -> Option<Role> {
    formed.election.role(group_of(id))
}
