//! A host in a cluster: its machines, and what flows between them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use rand::Rng;
use rand::rngs::Xoshiro256PlusPlus;

use super::derived::{Derived, group_of};
use super::effect::{Effect, PeerMessage};
use super::{Found, Reason};
use crate::addresses::{self, Leases, Recovered};
use crate::cluster::catalogue::Catalogue;
use crate::cluster::endpoints::Endpoints;
use crate::cluster::gossip::{self, Endpoint, Gossip, Key, Presence, Record};
use crate::cluster::membership::{MemberState, Membership};
use crate::cluster::reachability::{Outcome, Reachability};
use crate::election::{self, AddressEvent, Election, FoundAddress, GroupId, Role};
use crate::gateway::dhcp;
use crate::health::events::Event;
use crate::id::{ClusterId, HostId, IfName, Mac, SegmentId, SegmentName, Term};
use crate::time::{Duration, Instant};

/// How often it is looked whose agent is silent.
const SUSPECTS_EVERY: Duration = Duration::from_millis(100);
/// What gossip knows is written to disk this long after a change, so that a burst is written once.
pub(super) const SAVE_AFTER: Duration = Duration::from_millis(20);
/// How often a holder repeats its claim in gossip: hosts that are no voters believe one for 5 s.
const CLAIM_EVERY: Duration = Duration::from_secs(2);
/// Tokens of the operator's requests to the leases; the DHCP server's are below.
pub(super) const OWN_TOKENS: u64 = 1 << 63;

/// What survived a restart.
#[derive(Debug)]
pub(super) struct Survived {
    pub(super) records: Vec<Record>,
    pub(super) leases: Recovered,
    pub(super) found: Vec<Found>,
    pub(super) answered: BTreeSet<HostId>,
}

impl Survived {
    /// Nothing, as in a new cluster.
    pub(super) fn nothing() -> Self {
        Self {
            records: Vec::new(),
            leases: Recovered::default(),
            found: Vec::new(),
            answered: BTreeSet::new(),
        }
    }
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) me: HostId,
    pub(super) instance: u64,
    pub(super) cluster: ClusterId,
    pub(super) gossip: Gossip,
    pub(super) membership: Membership,
    pub(super) election: Election,
    pub(super) leases: Leases,
    pub(super) dhcp: dhcp::Server,
    pub(super) effects: VecDeque<Effect>,
    /// Addresses to be set, by group: handed out after all else, so that no plan is made any more that takes a gateway
    /// away which it does not know of yet.
    pub(super) deferred_addresses: BTreeMap<GroupId, Effect>,
    /// Groups that are to be prepared: likewise.
    pub(super) preparing: BTreeSet<GroupId>,
    pub(super) connected: BTreeSet<HostId>,
    /// When it was last looked whose agent is silent.
    suspects_at: Instant,
    pub(super) catalogue: Catalogue,
    pub(super) endpoints: Endpoints,
    pub(super) derived: Derived,
    pub(super) save_at: Option<Instant>,
    claim_at: Instant,
    /// The journal was lost when the agent started; else a write failed, and what is on disk may be whole.
    pub(super) lost_at_start: bool,
    pub(super) drained: bool,
    /// The groups whose gateway addresses are on this host's links: only there guests are listened to.
    pub(super) addressed: BTreeSet<GroupId>,
    /// The leases' answers to the node's own requests, by token.
    pub(super) own_answers: BTreeMap<u64, addresses::Answer>,
    next_token: u64,
    /// Leases that were brought along are being settled: until then at most, the bridges are not connected.
    pub(super) isolated_until: Option<Instant>,
    pub(super) left: bool,
    pub(super) removed: bool,
    /// Hosts at whose VTEP an agent with another id has asked to be let in, and when: their disk is lost.
    pub(super) superseded: BTreeMap<HostId, Instant>,
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
        let ids: BTreeMap<&SegmentName, SegmentId> =
            gossip.segments().map(|segment| (&segment.name, segment.id)).collect();
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
        let election = Election::new(start, now);
        Self {
            me,
            instance,
            cluster,
            membership,
            election,
            leases,
            dhcp: dhcp::Server::new(),
            effects: VecDeque::new(),
            deferred_addresses: BTreeMap::new(),
            preparing: BTreeSet::new(),
            connected: BTreeSet::new(),
            suspects_at: now,
            catalogue: Catalogue::default(),
            endpoints: Endpoints::new(me),
            derived: Derived::new(now),
            save_at: None,
            claim_at: now,
            lost_at_start: false,
            drained: false,
            addressed: BTreeSet::new(),
            own_answers: BTreeMap::new(),
            next_token: OWN_TOKENS,
            isolated_until: None,
            left: false,
            removed: gossip.is_removed(me),
            superseded: BTreeMap::new(),
            gossip,
        }
    }

    pub(super) fn was_removed(&self) -> bool {
        self.removed
    }

    pub(super) fn connected(&mut self, host: HostId, now: Instant) {
        self.connected.insert(host);
        self.gossip.connected(host, now);
        self.membership.announce(host, now);
        self.touch(now);
    }

    pub(super) fn disconnected(&mut self, host: HostId) {
        self.connected.remove(&host);
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
            // The node's operations know what it is about.
            PeerMessage::Hearing(_) => {}
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
        let changed = match event {
            AddressEvent::Set => self.addressed.insert(group),
            AddressEvent::Failed | AddressEvent::Removed => self.addressed.remove(&group),
        };
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
        if !self.addressed.is_empty() {
            self.endpoints.hear(heard, &self.catalogue, &self.gossip);
        }
    }

    pub(super) fn set_guests(&mut self, reported: &BTreeMap<IfName, BTreeMap<Mac, IfName>>, now: Instant) {
        let held_by = |segment, mac| self.leases.held_by(segment, mac);
        self.endpoints
            .set_guests(reported, &self.catalogue, &mut self.gossip, held_by, now);
    }

    /// A number for a request of an operator to the leases.
    pub(super) fn token(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token
    }

    pub(super) fn timeouts(&self) -> Vec<(Instant, Reason)> {
        let mut all = vec![
            (self.claim_at, Reason::Machine("claim")),
            (self.suspects_at + SUSPECTS_EVERY, Reason::Machine("suspects")),
        ];
        all.extend(self.derived.due.map(|at| (at, Reason::Derive)));
        all.extend(self.save_at.map(|at| (at, Reason::Machine("save"))));
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
        all
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        // The election's deadlines come before everything else: a holder that is late must not speak first.
        self.election.handle_timeout(now);
        self.leases.handle_timeout(now);
        self.dhcp.handle_timeout(now);
        self.membership.handle_timeout(now);
        self.gossip.handle_timeout(now);
        if now >= self.claim_at {
            self.claim_at = now + CLAIM_EVERY;
            for group in self.derived.groups() {
                self.tell_claim(group, now);
            }
        }
        if now >= self.suspects_at + SUSPECTS_EVERY {
            self.suspects_at = now;
            self.look_for_suspects(now);
        }
        if self.save_at.is_some_and(|at| at <= now) {
            self.flush(now);
        }
    }

    /// What is to be saved soon is saved now.
    pub(super) fn flush(&mut self, now: Instant) {
        if self.save_at.take().is_some() {
            let lasting = self.gossip.snapshot(now).into_iter().filter(is_lasting);
            self.effects.push_back(Effect::SaveCluster(lasting.collect()));
        }
    }

    /// What is known goes to disk at once: a crash must not forget the others of a cluster that was just entered.
    pub(super) fn save_now(&mut self, now: Instant) {
        self.save_at = Some(now);
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

    /// Says in gossip what this host is for a group: the gateway from when its kernel has the address.
    pub(super) fn tell_claim(&mut self, group: GroupId, now: Instant) {
        let held = self.held_term(group);
        if held.is_some() && !self.addressed.contains(&group) {
            return;
        }
        let known = match self.gossip.get(&Key::Claim(group.0, self.me)) {
            Some(Record::Claim(claim)) => Some(claim.clone()),
            _ => None,
        };
        let (term, presence) = match (held, &known) {
            (Some(term), _) => (term, Presence::Here),
            (None, Some(claim)) if claim.presence == Presence::Here => (claim.term, Presence::Gone),
            (None, _) => return,
        };
        let since = match &known {
            Some(claim) if claim.term == term && claim.presence == presence => claim.since,
            _ => 0,
        };
        let reason = self.election.reason(group).to_owned();
        self.gossip.put_claim(
            gossip::GatewayClaim {
                term,
                beat: 0,
                presence,
                group: group.0,
                holder: self.me,
                since,
                reason,
            },
            now,
        );
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

    /// The term of a group, where this host serves it.
    pub(super) fn held_term(&self, group: GroupId) -> Option<Term> {
        match self.election.role(group) {
            Some(Role::Holder { term }) => Some(term),
            Some(Role::Follower { .. } | Role::Claimant { .. }) | None => None,
        }
    }
}

/// A guest as the leases know it; `None`: it is gone.
pub(super) fn guest_at(endpoint: &Endpoint) -> Option<addresses::Guest> {
    (endpoint.presence == Presence::Here).then(|| addresses::Guest {
        host: Some(endpoint.host),
        addresses: endpoint.addresses.clone(),
    })
}

/// What is worth a place on disk: the rest is told again by whoever knows it.
pub(super) fn is_lasting(record: &Record) -> bool {
    match record {
        Record::Host(_) | Record::Segment(_) | Record::StaticPeer(_) | Record::Removed(_) => true,
        Record::Claim(_) | Record::Endpoint(_) | Record::Lease(_) | Record::Share(_) => false,
    }
}
