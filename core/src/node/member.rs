//! A host in a cluster: its machines, and what each is told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use rand::Rng;
use rand::rngs::Xoshiro256PlusPlus;

use super::derived::{Derived, group_of};
use super::effect::{Effect, Reason};
use super::gateways::Gateways;
use super::peer_message::PeerMessage;
use super::start::{Drained, Survived};
use crate::addresses::{self, Leases};
use crate::cluster::catalogue::Catalogue;
use crate::cluster::crowds::Crowds;
use crate::cluster::endpoints::Endpoints;
use crate::cluster::gossip::{Endpoint, Gossip, Presence};
use crate::cluster::learnt::Learnt;
use crate::cluster::membership::{MemberState, Membership};
use crate::cluster::path_watch::PathWatch;
use crate::cluster::reachability::{Outcome, Reachability};
use crate::election::{self, AddressEvent, Election, ElectionCandidacy, FoundAddress, GroupId};
use crate::gateway::dhcp;
use crate::health::events::Event;
use crate::id::{ClusterId, HostId, IfName, Mac, SegmentId, SegmentName};
use crate::time::{Duration, Instant};

/// How often it is looked whose agent is silent.
const SUSPECTS_EVERY: Duration = Duration::from_millis(100);
/// Tokens of the operator's requests to the leases; the DHCP server's are below.
pub(super) const OWN_TOKENS: u64 = 1 << 63;

#[derive(Debug)]
pub(super) struct Member {
    pub(super) me: HostId,
    pub(super) instance: u64,
    pub(super) cluster: ClusterId,

    // The machines, from those that know to those that decide.
    pub(super) gossip: Gossip,
    pub(super) membership: Membership,
    pub(super) catalogue: Catalogue,
    pub(super) crowds: Crowds,
    pub(super) learnt: Learnt,
    pub(super) endpoints: Endpoints,
    pub(super) paths: PathWatch,
    pub(super) election: Election,
    pub(super) gateways: Gateways,
    pub(super) leases: Leases,
    pub(super) dhcp: dhcp::Server,
    pub(super) derived: Derived,
    pub(super) effects: VecDeque<Effect>,
    /// When it was last looked whose agent is silent.
    suspects_at: Instant,

    // How far this host takes part.
    /// The journal was lost when the agent started; else a write failed, and what is on disk may be whole.
    pub(super) lost_at_start: bool,
    pub(super) drained: Drained,
    pub(super) departing: Departing,
    pub(super) left: bool,
    pub(super) removed: bool,
    /// Leases that were brought along are being settled: until then at most, the bridges are not connected.
    pub(super) isolated_until: Option<Instant>,

    /// When it is looked again what is wrong here, for the others.
    pub(super) findings_at: Option<Instant>,

    // For the operations.
    /// The leases' answers to the node's own requests, by token.
    pub(super) own_answers: BTreeMap<u64, addresses::Answer>,
    next_token: u64,
    /// Hosts at whose VTEP an agent with another id has asked to be let in, and when: their disk is lost.
    pub(super) superseded: BTreeMap<HostId, Instant>,
}

/// Whether this agent is about to end: its gateways go to others, drained or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Departing {
    No,
    Yes,
}

/// What keeps this host from taking gateways in its turn; the later outweighs the earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Duty {
    Regular,
    JournalLost,
    Drained,
    Departing,
}

impl Member {
    pub(super) fn new(
        rng: &mut Xoshiro256PlusPlus,
        me: HostId,
        instance: u64,
        cluster: ClusterId,
        survived: Survived,
        now: Instant,
    ) -> Self {
        let gossip = Gossip::new(me, rng.next_u64(), survived.records, now);
        let ids: BTreeMap<_, _> = gossip.segments().map(|segment| (&segment.name, segment.id)).collect();
        let kernel = survived.found.iter().filter_map(|found| {
            let segment = *ids.get(&found.segment)?;
            Some(FoundAddress {
                segment,
                term: found.term,
                remaining: found.remaining,
            })
        });
        let start = election::Start {
            me,
            instance,
            seed: rng.next_u64(),
            kernel: kernel.collect(),
            kernel_answered: survived.answered,
        };
        let leases = Leases::new(me, survived.leases, rng.next_u64(), now);
        let mut membership = Membership::new(me, instance, rng.next_u64());
        for host in gossip.hosts().map(|host| host.id).filter(|host| *host != me) {
            membership.expect(host, now);
        }
        Self {
            me,
            instance,
            cluster,
            membership,
            election: Election::new(start, now),
            leases,
            dhcp: dhcp::Server::new(),
            effects: VecDeque::new(),
            suspects_at: now,
            catalogue: Catalogue::default(),
            crowds: Crowds::new(),
            learnt: Learnt::new(),
            endpoints: Endpoints::new(me),
            paths: PathWatch::new(rng.next_u64()),
            gateways: Gateways::new(me, now),
            derived: Derived::new(now),
            lost_at_start: false,
            drained: Drained::No,
            departing: Departing::No,
            findings_at: None,
            own_answers: BTreeMap::new(),
            next_token: OWN_TOKENS,
            isolated_until: None,
            left: false,
            removed: gossip.is_removed(me),
            superseded: BTreeMap::new(),
            gossip,
        }
    }

    pub(super) fn duty(&self) -> Duty {
        match (self.departing, self.drained) {
            (Departing::Yes, _) => Duty::Departing,
            (Departing::No, Drained::Yes) => Duty::Drained,
            (Departing::No, Drained::No) if self.leases.has_lost_disk() => Duty::JournalLost,
            (Departing::No, Drained::No) => Duty::Regular,
        }
    }

    /// Has the election and the others know of it.
    pub(super) fn tell_duty(&mut self, now: Instant) {
        let own = match self.duty() {
            Duty::Regular => ElectionCandidacy::Candidate,
            Duty::JournalLost | Duty::Drained => ElectionCandidacy::Drained,
            Duty::Departing => ElectionCandidacy::Departing,
        };
        self.election.set_candidacy(own, now);
        self.touch_now(now);
    }

    pub(super) fn was_removed(&self) -> bool {
        self.removed
    }

    pub(super) fn connected(&mut self, host: HostId, now: Instant) {
        self.gossip.connected(host, now);
        self.membership.announce(host, now);
        self.touch(now);
    }

    pub(super) fn disconnected(&mut self, host: HostId) {
        self.gossip.disconnected(host);
    }

    pub(super) fn handle(&mut self, from: HostId, said: PeerMessage, now: Instant) {
        if !self.gossip.is_removed(from) {
            let gone = self.reachability().is_gone(from);
            self.election.handle_heard(from, now);
            if gone && !self.reachability().is_gone(from) {
                self.touch_now(now);
            }
        }
        match said {
            PeerMessage::Election(message) => self.election.handle_message(from, message, now),
            PeerMessage::Membership(packet) => self.membership.handle_packet(from, &packet, now),
            PeerMessage::Gossip(message) => self.gossip.handle(from, message, now),
            PeerMessage::Lease(message) => self.leases.handle_message(from, message, now),
            PeerMessage::Path(message) => self.paths.handle_message(from, message, now),
            // The node's operations know what it is about.
            PeerMessage::Hearing(_) | PeerMessage::Listening(_) => {}
        }
    }

    pub(super) fn handle_probe(&mut self, host: HostId, number: u64, outcome: Outcome, now: Instant) {
        let seen =
            |reachability: &Reachability| (reachability.is_gone(host), reachability.is_kernel_answering(host, now));
        let (gone, answering) = seen(self.reachability());
        self.election.handle_probe(host, number, outcome, now);
        let after = seen(self.reachability());
        if after.0 != gone {
            self.touch_now(now);
        } else if after.1 != answering {
            self.touch(now);
        }
    }

    /// Whose agent and kernel answer, for all who ask.
    pub(super) fn reachability(&self) -> &Reachability {
        self.election.reachability()
    }

    pub(super) fn handle_address(&mut self, group: GroupId, event: AddressEvent, now: Instant) {
        let changed = self.gateways.handle_address(group, &event);
        self.election.handle_address(group, event, now);
        if changed {
            self.touch_now(now);
            self.tell_claim(group, now);
        }
    }

    pub(super) fn handle_dhcp(&mut self, segment: SegmentId, source: Mac, bytes: Vec<u8>, now: Instant) {
        let guest_host = self.endpoints.host_of(segment, source, &self.gossip);
        self.dhcp.handle_packet(
            segment,
            &dhcp::Packet {
                bytes,
                source,
                guest_host,
            },
            now,
        );
    }

    /// Only a gateway wants to know, and only until the guest's host has told.
    pub(super) fn hear_remote_macs(&mut self, heard: &[(IfName, Mac, IpAddr)]) {
        if self.gateways.has_any() {
            self.endpoints.hear(heard, &self.catalogue, &self.gossip);
        }
    }

    /// A number for a request of an operator to the leases.
    pub(super) fn token(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token
    }

    pub(super) fn timeouts(&self) -> Vec<(Instant, Reason)> {
        let mut all = vec![
            (self.gateways.timeout(), Reason::Machine("claim")),
            (self.suspects_at + SUSPECTS_EVERY, Reason::Machine("suspects")),
        ];
        all.extend(self.derived.due.map(|at| (at, Reason::Derive)));
        all.extend(self.findings_at.map(|at| (at, Reason::Machine("findings"))));
        all.extend(
            self.gossip
                .poll_timeout()
                .map(|(at, _)| (at, Reason::Machine("gossip"))),
        );
        all.extend(
            self.membership
                .poll_timeout()
                .map(|(at, _)| (at, Reason::Machine("membership"))),
        );
        all.extend(
            self.election
                .poll_timeout()
                .map(|(at, _)| (at, Reason::Machine("election"))),
        );
        all.extend(
            self.leases
                .poll_timeout()
                .map(|timeout| (timeout.at, Reason::Machine("leases"))),
        );
        all.extend(self.dhcp.poll_timeout().map(|at| (at, Reason::Machine("dhcp"))));
        all.extend(self.paths.poll_timeout().map(|at| (at, Reason::Machine("paths"))));
        all
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        // The election's deadlines come before everything else: a holder that is late must not speak first.
        self.election.handle_timeout(now);
        self.leases.handle_timeout(now);
        self.dhcp.handle_timeout(now);
        self.membership.handle_timeout(now);
        self.gossip.handle_timeout(now);
        self.paths.handle_timeout(now);
        self.gateways
            .handle_timeout(&self.derived, &self.election, &mut self.gossip, now);
        if now >= self.suspects_at + SUSPECTS_EVERY {
            self.suspects_at = now;
            self.look_for_suspects(now);
        }
    }

    /// A host whose agent is silent, or that membership does not see alive, keeps its traffic while its kernel answers.
    fn look_for_suspects(&mut self, now: Instant) {
        let others = self.gossip.hosts().map(|host| host.id).filter(|id| *id != self.me);
        let suspects: BTreeSet<HostId> = others
            .filter(|id| {
                self.reachability().is_silent(*id, now) || self.membership.state(*id) != Some(MemberState::Alive)
            })
            .collect();
        if !suspects.is_empty() || self.reachability().has_turned_stale(SUSPECTS_EVERY * 2, now) {
            self.touch(now);
        }
        self.election.set_suspects(suspects, now);
    }

    /// Says in gossip what this host is for a group.
    pub(super) fn tell_claim(&mut self, group: GroupId, now: Instant) {
        self.gateways.tell_claim(group, &self.election, &mut self.gossip, now);
    }

    /// The host that serves a group, as far as is known here: it holds the term, and its kernel has the address.
    pub(super) fn server(&self, group: GroupId) -> Option<HostId> {
        self.gateways.server(group, &self.election, &self.gossip)
    }

    pub(super) fn send(&mut self, to: HostId, said: PeerMessage) {
        self.effects.push_back(Effect::Send { to, said });
    }

    pub(super) fn report(&mut self, event: Event) {
        self.effects.push_back(Effect::Event(event));
    }

    /// A host's name, or its id where nobody has told.
    pub(super) fn name_of(&self, host: HostId) -> String {
        self.gossip
            .host(host)
            .map_or_else(|| host.to_string(), |known| known.name.clone())
    }

    /// The group of a segment by name.
    pub(super) fn group(&self, name: &SegmentName) -> Option<GroupId> {
        self.catalogue.get(name).map(|known| group_of(known.id))
    }
}

/// A guest as the leases know it; `None`: it is gone.
pub(super) fn guest_at(endpoint: &Endpoint) -> Option<addresses::Guest> {
    (endpoint.presence == Presence::Here).then(|| addresses::Guest {
        host: Some(endpoint.host),
        addresses: endpoint.addresses.clone(),
    })
}
