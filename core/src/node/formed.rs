//! A host in a cluster: its machines, and what flows between them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use rand::Rng;
use rand::rngs::Xoshiro256PlusPlus;

use super::derive::Derived;
use super::effect::{Call, Done, Effect, Level, Note, Refusal, Said};
use super::removing::Removal;
use super::told::{lease_info, lease_record, share_info, share_record};
use super::{Disk, Found, Reason, group_of};
use crate::config::Segment;
use crate::election::{self, AddressEvent, Election, FoundAddress, GroupId, Outcome, Role};
use crate::gateway::dhcp;
use crate::gateway::lease::{self, Answer, Finding, Leases, Recovered};
use crate::gossip::{self, Change, Endpoint, Gossip, Key, Origin, Presence, Record};
use crate::id::{ClusterId, HostId, IfName, Mac, SegmentId, SegmentName, Term};
use crate::peers::{self, Liveness, Membership};
use crate::time::{Duration, Instant};

/// What is derived is computed again at most so often, unless a role changes.
const DERIVE_EVERY: Duration = Duration::from_millis(50);
/// With each guest on another host this is longer, as far as new ones are concerned.
const DERIVE_PER_GUEST: Duration = Duration::from_micros(25);
/// How long a host's own word counts for its being there; membership needs longer to give one up.
const HEARD_FRESH: Duration = Duration::from_secs(3);
/// How long a kernel's answer to a probe counts.
const KERNEL_FRESH: Duration = Duration::from_secs(3);
/// How often the kernel of a host whose agent is silent is probed.
const KERNEL_EVERY: Duration = Duration::from_millis(100);
/// A host that has said nothing for so long is probed: everybody speaks at least once a second.
const SILENT_AFTER: Duration = Duration::from_millis(1200);
/// So many probes in a row without an answer, and a kernel that has answered before is gone.
const UNANSWERED: u32 = 6;
/// What gossip knows is written to disk this long after a change, so that a burst is written once.
const SAVE_AFTER: Duration = Duration::from_millis(20);
/// How often a holder repeats its claim in gossip: hosts that are no voters believe one for 5 s.
const CLAIM_EVERY: Duration = Duration::from_secs(2);
/// How often a move that was asked for and has not come about is asked for again.
pub(super) const MOVE_AGAIN: Duration = Duration::from_millis(500);
/// Numbers of the node's own probes; the election's are below.
const OWN_PROBES: u64 = 1 << 63;
/// Tokens of the operator's requests to the leases; the DHCP server's are below.
const OWN_TOKENS: u64 = 1 << 63;

/// What survived a restart.
#[derive(Debug)]
pub(super) struct Survived {
    pub(super) records: Vec<Record>,
    pub(super) leases: Recovered,
    pub(super) disk: Disk,
    pub(super) found: Vec<Found>,
    pub(super) answered: BTreeSet<HostId>,
}

impl Survived {
    /// Nothing, as in a new cluster.
    pub(super) fn nothing() -> Self {
        Self {
            records: Vec::new(),
            leases: Recovered::default(),
            disk: Disk::Whole,
            found: Vec::new(),
            answered: BTreeSet::new(),
        }
    }
}

/// A gateway move that an operator waits for.
#[derive(Debug)]
pub(super) struct Move {
    pub(super) call: Call,
    pub(super) from: Option<HostId>,
    pub(super) to: Option<HostId>,
    pub(super) until: Instant,
    /// When it is asked for again: the holder may not know yet that the receiver can take it.
    pub(super) again: Instant,
}

#[derive(Debug)]
pub(super) struct Formed {
    pub(super) me: HostId,
    pub(super) instance: u64,
    pub(super) cluster: ClusterId,
    pub(super) gossip: Gossip,
    pub(super) membership: Membership,
    pub(super) election: Election,
    pub(super) leases: Leases,
    pub(super) dhcp: dhcp::Server,
    pub(super) effects: VecDeque<Effect>,
    pub(super) connected: BTreeSet<HostId>,
    /// Hosts that the election has found dead.
    pub(super) dead: BTreeSet<HostId>,
    /// When a host last said anything.
    heard: BTreeMap<HostId, Instant>,
    /// When the kernel of a host last answered.
    kernels: BTreeMap<HostId, Instant>,
    kernels_probed: Instant,
    /// Probes of this node in a row that a silent host's kernel has not answered.
    unanswered: BTreeMap<HostId, u32>,
    /// Definitions that were read once: id, generation, text to value.
    pub(super) read: BTreeMap<SegmentName, (u64, HostId, SegmentId, Segment)>,
    pub(super) derived: Derived,
    derive_at: Option<Instant>,
    derived_last: Instant,
    save_at: Option<Instant>,
    claim_at: Instant,
    pub(super) moves: BTreeMap<GroupId, Move>,
    pub(super) removals: BTreeMap<HostId, Removal>,
    pub(super) drained: bool,
    /// The groups whose gateway addresses are on this host's links: only there guests are listened to.
    pub(super) addressed: BTreeSet<GroupId>,
    pub(super) releases: BTreeMap<u64, Call>,
    next_token: u64,
    next_probe: u64,
    /// What this host's guests were said to be last.
    guests: BTreeMap<(SegmentId, Mac), IfName>,
    /// Leases that were brought along are being settled: until then at most, the bridges are not connected.
    pub(super) apart_until: Option<Instant>,
    pub(super) left: bool,
    removed: bool,
    /// Hosts at whose VTEP an agent with another id has asked to be let in, and when: their disk is lost.
    pub(super) superseded: BTreeMap<HostId, Instant>,
}

impl Formed {
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
        let mut leases = Leases::new(me, survived.leases, rng.next_u64(), now);
        if survived.disk == Disk::Lost {
            leases.lost_disk(now);
        }
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
            connected: BTreeSet::new(),
            dead: BTreeSet::new(),
            heard: BTreeMap::new(),
            kernels: BTreeMap::new(),
            kernels_probed: now,
            unanswered: BTreeMap::new(),
            read: BTreeMap::new(),
            derived: Derived::default(),
            derive_at: Some(now),
            derived_last: now,
            save_at: None,
            claim_at: now,
            moves: BTreeMap::new(),
            removals: BTreeMap::new(),
            drained: false,
            addressed: BTreeSet::new(),
            releases: BTreeMap::new(),
            next_token: OWN_TOKENS,
            next_probe: OWN_PROBES,
            guests: BTreeMap::new(),
            apart_until: None,
            left: false,
            removed: gossip.is_removed(me),
            superseded: BTreeMap::new(),
            gossip,
        }
    }

    /// Something that the derived values rest on has changed.
    pub(super) fn touch(&mut self, now: Instant) {
        let at = now.max(self.derived_last + DERIVE_EVERY);
        self.derive_at = Some(self.derive_at.map_or(at, |known| known.min(at)));
    }

    /// A guest is new on another host. It is reached without, only by way of all hosts, and to derive takes the longer the
    /// more guests there are: of a crowd that comes within seconds not each one is worth it.
    fn touch_for_guest(&mut self, now: Instant) {
        let wait = DERIVE_EVERY + DERIVE_PER_GUEST * u32::try_from(self.derived.remote_guests()).unwrap_or(u32::MAX);
        let at = now.max(self.derived_last + wait);
        self.derive_at.get_or_insert(at);
    }

    /// The same, and it cannot wait.
    pub(super) fn touch_now(&mut self, now: Instant) {
        self.derive_at = Some(now);
    }

    pub(super) fn derive_due(&self, now: Instant) -> bool {
        self.derive_at.is_some_and(|at| at <= now)
    }

    pub(super) fn derived_at(&mut self, now: Instant) {
        self.derive_at = None;
        self.derived_last = now;
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

    pub(super) fn handle(&mut self, from: HostId, said: Said, now: Instant) {
        if !self.gossip.is_removed(from) {
            self.heard.insert(from, now);
            if self.unanswered.remove(&from).is_some_and(|count| count >= UNANSWERED) {
                self.touch_now(now);
            }
        }
        match said {
            Said::Election(message) => self.election.handle_message(from, message, now),
            Said::Membership(packet) => self.membership.handle_packet(from, &packet, now),
            Said::Gossip(message) => self.gossip.handle(from, message, now),
            Said::Lease(message) => self.leases.handle_message(from, message, now),
            Said::Hearing(hearing) if !self.gossip.is_removed(from) => self.handle_hearing(from, hearing, now),
            Said::Hearing(_) => {}
        }
    }

    pub(super) fn handle_probe(&mut self, host: HostId, number: u64, outcome: Outcome, now: Instant) {
        if outcome == Outcome::Answered {
            let before = self.kernels.insert(host, now);
            if before.is_none_or(|before| now.since(before) > KERNEL_FRESH) {
                self.touch(now);
            }
        }
        if number >= OWN_PROBES {
            let count = self.unanswered.entry(host).or_insert(0);
            let before = *count;
            *count = if outcome == Outcome::Answered {
                0
            } else {
                before.saturating_add(1)
            };
            if (before < UNANSWERED) != (*count < UNANSWERED) {
                self.touch_now(now);
            }
        }
        if number < OWN_PROBES {
            self.election.handle_probe(host, number, outcome, now);
        }
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
            self.finish_move(group);
        }
    }

    pub(super) fn handle_dhcp(&mut self, segment: SegmentId, source: Mac, bytes: Vec<u8>, now: Instant) {
        let guest_host = match self.gossip.get(&Key::Endpoint(segment, source)) {
            Some(Record::Endpoint(endpoint)) if endpoint.presence == Presence::Here => Some(endpoint.host),
            _ => self.guests.contains_key(&(segment, source)).then_some(self.me),
        };
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

    pub(super) fn set_guests(&mut self, guests: &BTreeMap<IfName, BTreeMap<Mac, IfName>>, now: Instant) {
        let bridges: BTreeMap<&IfName, SegmentId> = self
            .read
            .values()
            .map(|(_, _, id, segment)| (&segment.bridge, *id))
            .collect();
        let mut present = BTreeMap::new();
        for (bridge, macs) in guests {
            if let Some(segment) = bridges.get(bridge) {
                present.extend(macs.iter().map(|(mac, port)| ((*segment, *mac), port.clone())));
            }
        }
        let gone: Vec<_> = self
            .guests
            .keys()
            .filter(|guest| !present.contains_key(guest))
            .copied()
            .collect();
        for (segment, mac) in gone {
            self.tell_endpoint(segment, mac, None, now);
        }
        for ((segment, mac), port) in &present {
            if self.guests.get(&(*segment, *mac)) != Some(port) {
                self.tell_endpoint(*segment, *mac, Some(port), now);
            }
        }
        self.guests = present;
    }

    fn tell_endpoint(&mut self, segment: SegmentId, mac: Mac, port: Option<&IfName>, now: Instant) {
        let addresses = self.leases.held_by(segment, mac);
        self.gossip.put_endpoint(
            Endpoint {
                sequence: 0,
                host: self.me,
                presence: if port.is_some() { Presence::Here } else { Presence::Gone },
                segment,
                mac,
                addresses,
                interface: port.map(|port| port.as_str().to_owned()).unwrap_or_default(),
            },
            now,
        );
    }

    /// A number for a request of an operator to the leases.
    pub(super) fn token(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token
    }

    pub(super) fn timeouts(&self) -> Vec<(Instant, Reason)> {
        let mut all = vec![
            (self.claim_at, Reason::Machine("claim")),
            (self.kernels_probed + KERNEL_EVERY, Reason::Machine("kernels")),
        ];
        all.extend(self.derive_at.map(|at| (at, Reason::Derive)));
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
        all.extend(
            self.moves
                .values()
                .map(|waits| (waits.until.min(waits.again), Reason::Call)),
        );
        all.extend(self.removals.values().map(|removal| (removal.timeout(), Reason::Call)));
        all
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        // The election's deadlines come before everything else: a holder that is late must not speak first.
        self.election.handle_timeout(now);
        self.leases.handle_timeout(now);
        self.membership.handle_timeout(now);
        self.gossip.handle_timeout(now);
        if now >= self.claim_at {
            self.claim_at = now + CLAIM_EVERY;
            for group in self.derived.groups() {
                self.tell_claim(group, now);
            }
        }
        if now >= self.kernels_probed + KERNEL_EVERY {
            self.kernels_probed = now;
            self.probe_silent(now);
        }
        if self.save_at.is_some_and(|at| at <= now) {
            self.save_at = None;
            let lasting = self.gossip.snapshot(now).into_iter().filter(is_lasting);
            self.effects.push_back(Effect::SaveCluster(lasting.collect()));
        }
        self.press_moves(now);
        self.press_removals(now);
        let late: Vec<_> = self
            .moves
            .iter()
            .filter(|(_, waits)| waits.until <= now)
            .map(|(group, _)| *group)
            .collect();
        for group in late {
            if let Some(waits) = self.moves.remove(&group) {
                let refusal = Refusal::new("the gateway did not move within the time given")
                    .hint("look at `overlayctl gateway list` and at the log of the host that serves");
                self.effects.push_back(Effect::Answer {
                    call: waits.call,
                    result: Err(refusal),
                });
            }
        }
    }

    fn press_moves(&mut self, now: Instant) {
        for (group, waits) in &mut self.moves {
            let holder = self.election.holder(*group).map(|(host, _)| host);
            let there = holder.is_none() || holder == waits.to || (waits.to.is_none() && holder != waits.from);
            if waits.again > now {
                continue;
            }
            waits.again = now + MOVE_AGAIN;
            if !there {
                // What stands against it may be gone the next time; the call ends by itself.
                let _ = self.election.move_gateway(*group, waits.to, now);
            }
        }
    }

    /// What is known goes to disk at once: a crash must not forget the others of a cluster that was just entered.
    pub(super) fn save_now(&mut self, now: Instant) {
        self.save_at = Some(now);
    }

    /// Hosts that membership has given up keep their traffic while their kernel answers.
    fn probe_silent(&mut self, now: Instant) {
        let silent: Vec<(HostId, IpAddr)> = self
            .gossip
            .hosts()
            .filter(|host| host.id != self.me)
            .filter(|host| {
                let quiet = self.heard.get(&host.id).is_some_and(|at| now.since(*at) > SILENT_AFTER);
                quiet || self.membership.liveness(host.id) != Some(Liveness::Alive)
            })
            .map(|host| (host.id, host.vtep))
            .collect();
        for (host, address) in &silent {
            self.next_probe += 1;
            self.effects.push_back(Effect::Probe {
                host: *host,
                address: *address,
                number: self.next_probe,
            });
        }
        let stale = self.kernels.values().any(|at| {
            let age = now.since(*at);
            age > KERNEL_FRESH && age <= KERNEL_FRESH + KERNEL_EVERY * 2
        });
        if stale || !silent.is_empty() {
            self.touch(now);
        }
    }

    /// Hosts whose agent and kernel are silent, as this node itself has found or the election.
    pub(super) fn gone(&self) -> BTreeSet<HostId> {
        let silent = |(host, count): &(&HostId, &u32)| **count >= UNANSWERED && self.kernels.contains_key(host);
        let own = self.unanswered.iter().filter(silent).map(|(host, _)| *host);
        own.chain(self.dead.iter().copied()).collect()
    }

    /// Hosts that have said anything of late.
    pub(super) fn heard(&self, now: Instant) -> BTreeSet<HostId> {
        let fresh = |(_, at): &(&HostId, &Instant)| now.since(**at) <= HEARD_FRESH;
        self.heard.iter().filter(fresh).map(|(host, _)| *host).collect()
    }

    /// Hosts whose kernel has answered of late.
    pub(super) fn kernels(&self, now: Instant) -> BTreeSet<HostId> {
        self.kernels
            .iter()
            .filter(|(_, at)| now.since(**at) <= KERNEL_FRESH)
            .map(|(host, _)| *host)
            .collect()
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

    /// Carries effects between the machines until none has any left.
    pub(super) fn pump(&mut self, now: Instant) {
        loop {
            let mut moved = false;
            while let Some(effect) = self.election.poll_effect() {
                moved = true;
                self.carry_election(effect, now);
            }
            while let Some(effect) = self.dhcp.poll_effect() {
                moved = true;
                match effect {
                    dhcp::Effect::Ask { token, request } => self.leases.handle_request(token, request, now),
                    dhcp::Effect::Reply {
                        segment,
                        destination_mac,
                        source,
                        destination,
                        bytes,
                    } => {
                        self.effects.push_back(Effect::Dhcp {
                            segment,
                            destination_mac,
                            source,
                            destination,
                            bytes,
                        });
                    }
                }
            }
            while let Some(effect) = self.leases.poll_effect() {
                moved = true;
                self.carry_leases(effect, now);
            }
            while let Some(effect) = self.membership.poll_effect() {
                moved = true;
                self.carry_membership(effect, now);
            }
            while let Some(effect) = self.gossip.poll_effect() {
                moved = true;
                self.carry_gossip(effect, now);
            }
            if !moved {
                return;
            }
        }
    }

    fn carry_election(&mut self, effect: election::Effect, now: Instant) {
        match effect {
            election::Effect::Send { to, message } => self.send(to, Said::Election(message)),
            election::Effect::Probe { host, number } => match self.gossip.host(host) {
                Some(known) => {
                    let address = known.vtep;
                    self.effects.push_back(Effect::Probe { host, address, number });
                }
                None => self.election.handle_probe(host, number, Outcome::Unanswered, now),
            },
            election::Effect::SetAddress { group, term, lifetime } => {
                let addresses = self.derived.gateway_addresses(group);
                self.effects.push_back(Effect::SetAddress {
                    group,
                    addresses,
                    term,
                    lifetime,
                });
            }
            election::Effect::RemoveAddress { group } => {
                let segments = self.derived.segment_names(group);
                self.stop_serving(group);
                self.effects.push_back(Effect::RemoveAddress { group, segments });
            }
            election::Effect::Prepare { group, .. } => {
                // Every candidate has all but the address made ready at all times.
                self.election.handle_prepared(group, now);
            }
            election::Effect::Role { group, role, reason } => self.role_changed(group, role, &reason, now),
            election::Effect::Liveness { host, liveness } => {
                match liveness {
                    election::Liveness::Dead => self.dead.insert(host),
                    election::Liveness::Heard | election::Liveness::Silent => self.dead.remove(&host),
                };
                self.touch_now(now);
            }
            election::Effect::Persist { kernel_answered } => {
                self.effects.push_back(Effect::SaveAnswered(kernel_answered));
            }
        }
    }

    fn role_changed(&mut self, group: GroupId, role: Role, reason: &str, now: Instant) {
        let names = self.derived.segment_names(group);
        let names = names.iter().map(SegmentName::as_str).collect::<Vec<_>>().join(", ");
        match role {
            Role::Holder { term } => {
                self.note(
                    Level::Info,
                    format!("this host is the gateway of {names} (term {term}): {reason}"),
                );
            }
            Role::Claimant { term } => self.note(Level::Debug, format!("claiming {names} (term {term})")),
            Role::Follower {
                holder: Some((host, term)),
            } => {
                let host = self.name_of(host);
                self.note(
                    Level::Info,
                    format!("the gateway of {names} is {host} (term {term}): {reason}"),
                );
            }
            Role::Follower { holder: None } => self.note(Level::Debug, format!("{names} has no gateway: {reason}")),
        }
        self.tell_claim(group, now);
        self.finish_move(group);
        self.touch_now(now);
    }

    /// The host that serves a group, as far as is known here: it holds the term, and its kernel has the address.
    pub(super) fn server(&self, group: GroupId) -> Option<HostId> {
        let (holder, term) = self.election.holder(group)?;
        let serves = if holder == self.me {
            self.addressed.contains(&group)
        } else {
            match self.gossip.get(&Key::Claim(group.0, holder)) {
                Some(Record::Claim(claim)) => claim.presence == Presence::Here && claim.term == term,
                _ => false,
            }
        };
        serves.then_some(holder)
    }

    fn finish_move(&mut self, group: GroupId) {
        let Some(holder) = self.server(group) else { return };
        let arrived = self.moves.get(&group).is_some_and(|waits| match waits.to {
            Some(to) => to == holder,
            None => waits.from != Some(holder),
        });
        if arrived && let Some(waits) = self.moves.remove(&group) {
            let result = Ok(Done::Moved { from: waits.from });
            self.effects.push_back(Effect::Answer {
                call: waits.call,
                result,
            });
        }
    }

    /// Services off, before the address.
    fn stop_serving(&mut self, group: GroupId) {
        for segment in self.derived.segments_of(group) {
            self.dhcp.remove_segment(segment);
            self.effects.push_back(Effect::Hush(segment));
        }
    }

    fn carry_leases(&mut self, effect: lease::Effect, now: Instant) {
        match effect {
            lease::Effect::Send { to, message } => self.send(to, Said::Lease(message)),
            lease::Effect::Append { sequence, records } => {
                self.effects.push_back(Effect::Append { sequence, records });
            }
            lease::Effect::Answer { token, answer } if token < OWN_TOKENS => {
                self.dhcp.handle_answer(token, answer, now);
            }
            lease::Effect::Answer { token, answer } => {
                if let Some(call) = self.releases.remove(&token) {
                    let result = match answer {
                        Answer::Done => Ok(Done::Released),
                        Answer::Offer { .. } | Answer::Ack { .. } | Answer::Nak | Answer::Silence(_) => Err(
                            Refusal::new("the owner of the address could not be reached, or holds no such lease")
                                .hint("see `overlayctl lease list` for the owner, and try again when it is alive"),
                        ),
                    };
                    self.effects.push_back(Effect::Answer { call, result });
                }
            }
            lease::Effect::GossipLease(info) => {
                self.gossip.put_lease(lease_record(&info), now);
            }
            lease::Effect::GossipShare(info) => {
                self.gossip.put_share(share_record(&info), now);
            }
            lease::Effect::Finding(finding) => {
                if finding == Finding::DiskLost {
                    // It has no address to give: whoever has should serve, where there is somebody.
                    self.election.drain(now);
                    self.touch_now(now);
                }
                self.finding(&finding);
            }
            lease::Effect::Left => self.left = true,
        }
    }

    fn finding(&mut self, finding: &Finding) {
        let name = |id: &SegmentId| {
            self.read
                .values()
                .find(|(_, _, known, _)| known == id)
                .map_or_else(|| id.to_string(), |(.., s)| s.name.to_string())
        };
        let text = match finding {
            Finding::NothingFree { segment } => {
                format!(
                    "segment {}: no address is free; see `overlayctl pool show`",
                    name(segment)
                )
            }
            Finding::SetAside { segment, address, time } => format!(
                "segment {}: {} is set aside for {} s: a guest declined it or somebody uses it without a lease",
                name(segment),
                address,
                time.as_secs()
            ),
            Finding::BirthLost { segment, owner } => {
                format!(
                    "segment {}: {} introduced the same addresses and owns them",
                    name(segment),
                    self.name_of(*owner)
                )
            }
            Finding::BroughtTaken {
                segment,
                address,
                client,
            } => format!(
                "segment {}: {client} brought a lease on {}, which is another guest's here or not in the pool: it will \
                 get another address",
                name(segment),
                address
            ),
            Finding::Removed => "this host was removed from the cluster: it serves no more".to_owned(),
            Finding::DiskLost => "the journal of this host is lost: it owns and keeps no addresses any more; \
                                  run `overlayctl leave --force` here, then join again"
                .to_owned(),
        };
        self.note(Level::Warn, text);
    }

    fn carry_membership(&mut self, effect: peers::Effect, now: Instant) {
        match effect {
            peers::Effect::Send { to, packet } => self.send(to, Said::Membership(packet)),
            peers::Effect::Up(host) | peers::Effect::Restarted(host) => {
                let name = self.name_of(host);
                self.note(Level::Info, format!("peer {name} is alive"));
                self.touch_now(now);
            }
            peers::Effect::Down(host) => {
                let name = self.name_of(host);
                self.note(Level::Warn, format!("peer {name} does not answer"));
                self.touch_now(now);
            }
            peers::Effect::Rejoined => self.note(Level::Info, "the others had given this host up; it is back"),
        }
    }

    fn carry_gossip(&mut self, effect: gossip::Effect, now: Instant) {
        match effect {
            gossip::Effect::Send { to, message } => self.send(to, Said::Gossip(message)),
            gossip::Effect::Changed(change) => self.record_changed(change, now),
            gossip::Effect::SegmentLost { loser, winner } => {
                let (lost, won) = (self.name_of(loser.introducer), self.name_of(winner.introducer));
                self.note(
                    Level::Warn,
                    format!(
                        "segment {}: generation {} of {lost} gives way to generation {} of {won}; apply it again if it \
                         was meant",
                        loser.name, loser.generation, winner.generation
                    ),
                );
            }
            gossip::Effect::Remembered(_) => {}
        }
    }

    fn record_changed(&mut self, change: Change, now: Instant) {
        match &change.key {
            Key::Lease(..) => {
                if let (Origin::Peer(_), Some(Record::Lease(lease))) = (change.origin, change.new.as_deref()) {
                    self.leases.handle_gossip_lease(lease_info(lease), now);
                }
                return;
            }
            Key::Share(..) => {
                if let (Origin::Peer(_), Some(Record::Share(share))) = (change.origin, change.new.as_deref())
                    && let Some(share) = share_info(share)
                {
                    self.leases.handle_gossip_share(share, now);
                }
                return;
            }
            Key::Claim(segment, _) => {
                self.finish_move(group_of(*segment));
                // Only the word that somebody serves or no longer serves matters; the beat is for those who wait for it.
                let served = |record: &Option<Box<Record>>| match record.as_deref() {
                    Some(Record::Claim(claim)) => Some((claim.term, claim.presence)),
                    _ => None,
                };
                if served(&change.old) != served(&change.new) {
                    self.touch(now);
                }
                return;
            }
            Key::Removed(host) => {
                if *host == self.me {
                    self.removed = true;
                } else {
                    self.leases.remove(*host, now);
                    self.membership.forget(*host, now);
                }
            }
            Key::Host(host) => {
                if *host != self.me {
                    self.membership.expect(*host, now);
                }
            }
            Key::Segment(_) | Key::StaticPeer(..) => {}
            Key::Endpoint(segment, mac) => {
                let guest = match change.new.as_deref() {
                    Some(Record::Endpoint(endpoint)) if endpoint.presence == Presence::Here => Some(lease::Guest {
                        host: Some(endpoint.host),
                        addresses: endpoint.addresses.clone(),
                    }),
                    _ => None,
                };
                let host = guest.as_ref().and_then(|guest| guest.host);
                self.leases.set_guest(*segment, *mac, guest, now);
                match (host, &change.old) {
                    // Nothing that is derived speaks of this host's own guests.
                    (Some(host), None) if host == self.me => {}
                    (Some(_), None) => self.touch_for_guest(now),
                    (Some(_) | None, _) => self.touch(now),
                }
                return;
            }
        }
        self.save_at.get_or_insert(now + SAVE_AFTER);
        self.touch(now);
    }

    pub(super) fn send(&mut self, to: HostId, said: Said) {
        self.effects.push_back(Effect::Send { to, said });
    }

    pub(super) fn note(&mut self, level: Level, text: impl Into<String>) {
        self.effects.push_back(Effect::Note(Note {
            level,
            text: text.into(),
        }));
    }

    /// A host's name, or its id where nobody has told.
    pub(super) fn name_of(&self, host: HostId) -> String {
        self.gossip
            .host(host)
            .map_or_else(|| host.to_string(), |known| known.name.clone())
    }

    /// The group of a segment by name.
    pub(super) fn group(&self, name: &SegmentName) -> Option<GroupId> {
        self.read.get(name).map(|(_, _, id, _)| group_of(*id))
    }

    /// The term of a group, where this host serves it.
    pub(super) fn held_term(&self, group: GroupId) -> Option<Term> {
        match self.election.role(group) {
            Some(Role::Holder { term }) => Some(term),
            Some(Role::Follower { .. } | Role::Claimant { .. }) | None => None,
        }
    }
}

/// What is worth a place on disk: the rest is told again by whoever knows it.
pub(super) fn is_lasting(record: &Record) -> bool {
    match record {
        Record::Host(_) | Record::Segment(_) | Record::StaticPeer(_) | Record::Removed(_) => true,
        Record::Claim(_) | Record::Endpoint(_) | Record::Lease(_) | Record::Share(_) => false,
    }
}
