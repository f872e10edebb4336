//! Gossip as stories: hosts, a network that loses, repeats and reorders, one clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use proptest::prelude::*;
use rand::RngExt;

use super::*;
use crate::id::{Mac, SegmentId, Term};
use crate::lease::{Epoch, Lease, LeaseState, Left, Version};
use crate::mtu::OverlayMtu;
use crate::severity::Severity;

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn name(text: &str) -> SegmentName {
    SegmentName::new(text).unwrap()
}

fn address(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

fn host(id: u64, mtu: u32) -> HostRecord {
    HostRecord {
        instance: 1,
        counter: 0,
        id: HostId(id),
        name: format!("hv{id}"),
        vtep: address(u8::try_from(id).unwrap()),
        listen: SocketAddr::new(address(1), 7480),
        labels: BTreeMap::new(),
        overlay_mtu: OverlayMtu::new(mtu),
        candidacy: Candidacy::Candidate { priority: 100 },
        uplink: Uplink::Works,
        lacks: BTreeSet::new(),
        segments: BTreeMap::new(),
        vteps: BTreeMap::new(),
        networks: BTreeSet::new(),
        journal: 0,
        agent_version: "0.1.0".to_owned(),
    }
}

fn claim(group: u64, term: u64) -> GatewayClaim {
    GatewayClaim {
        term: Term(term),
        beat: 0,
        presence: Presence::Here,
        group: SegmentId(group),
        holder: HostId(0),
        since: 0,
        reason: "first of the order".to_owned(),
    }
}

fn endpoint(last: u8, presence: Presence) -> Endpoint {
    Endpoint {
        sequence: 0,
        host: HostId(0),
        presence,
        segment: SegmentId(1),
        mac: Mac([2, 0, 0, 0, 0, last]),
        addresses: BTreeSet::from([address(last)]),
        interface: "vnet0".to_owned(),
    }
}

fn finding(which: u8) -> FindingNote {
    FindingNote {
        severity: Severity::Warn,
        id: format!("O{which}"),
        segment: None,
        subject: "kernel".to_owned(),
        evidence: "it refuses".to_owned(),
        cause: String::new(),
        fix: String::new(),
        verify: String::new(),
        depends_on: Vec::new(),
    }
}

fn lease(last: u8, counter: u64, left: u64) -> Lease {
    Lease {
        version: Version {
            epoch: Epoch {
                number: 1,
                host: HostId(1),
            },
            counter,
        },
        told: 0,
        segment: SegmentId(1),
        address: address(last).into(),
        client: Some(Mac([2, 0, 0, 0, 0, last])),
        hostname: String::new(),
        owner: HostId(1),
        keeper: None,
        copies: 1,
        state: LeaseState::Held,
        generation: 1,
        left: Left(Some(Duration::from_millis(left))),
    }
}

/// Hosts 1 to n and everything on its way between them.
struct World {
    hosts: BTreeMap<HostId, Gossip>,
    wire: VecDeque<(HostId, HostId, Message)>,
    events: Vec<(HostId, Effect)>,
    now: u64,
    sent: usize,
}

impl World {
    fn new(count: u64) -> Self {
        let hosts = (1..=count)
            .map(|id| (HostId(id), Gossip::new(HostId(id), id, Vec::new(), at(0))))
            .collect();
        Self {
            hosts,
            wire: VecDeque::new(),
            events: Vec::new(),
            now: 0,
            sent: 0,
        }
    }

    fn meshed(count: u64) -> Self {
        let mut world = Self::new(count);
        let all: Vec<u64> = (1..=count).collect();
        world.connect(&all);
        world.settle();
        world
    }

    fn on(&mut self, id: u64) -> &mut Gossip {
        self.hosts.get_mut(&HostId(id)).unwrap()
    }

    fn connect(&mut self, part: &[u64]) {
        let now = at(self.now);
        for one in part {
            for other in part {
                self.on(*one).connected(HostId(*other), now);
            }
        }
    }

    fn cut(&mut self, part: &[u64]) {
        let ids: Vec<u64> = self.hosts.keys().map(|id| id.0).collect();
        for one in &ids {
            for other in &ids {
                if part.contains(one) != part.contains(other) {
                    self.on(*one).disconnected(HostId(*other));
                }
            }
        }
    }

    fn collect(&mut self) {
        for (from, gossip) in &mut self.hosts {
            while let Some(effect) = gossip.poll_effect() {
                match effect {
                    Effect::Send { to, message } => {
                        self.sent += 1;
                        self.wire.push_back((*from, to, message));
                    }
                    event @ (Effect::Changed(_)
                    | Effect::Save(_)
                    | Effect::SegmentLost { .. }
                    | Effect::Remembered(_)) => {
                        self.events.push((*from, event));
                    }
                }
            }
        }
    }

    /// Delivers everything in order, answers included.
    fn settle(&mut self) {
        self.collect();
        let mut steps = 0;
        while let Some((from, to, message)) = self.wire.pop_front() {
            steps += 1;
            assert!(steps < 100_000, "the exchange does not end");
            let now = at(self.now);
            self.hosts.get_mut(&to).unwrap().handle(from, message, now);
            self.collect();
        }
    }

    fn second(&mut self) {
        self.now += 1000;
        let now = at(self.now);
        for gossip in self.hosts.values_mut() {
            gossip.handle_timeout(now);
        }
        self.settle();
    }

    fn all_equal(&self) -> bool {
        let mut states = self
            .hosts
            .values()
            .map(|gossip| gossip.records().cloned().collect::<Vec<_>>());
        let first = states.next().unwrap();
        states.all(|state| state == first)
    }
}

#[test]
fn a_change_reaches_every_connected_host_at_once() {
    let mut world = World::meshed(5);
    world.on(3).put_host(host(3, 1450), at(1));
    world.settle();
    for gossip in world.hosts.values() {
        assert_eq!(
            gossip.host(HostId(3)).map(|host| host.overlay_mtu),
            Some(OverlayMtu::new(1450))
        );
    }
}

#[test]
fn what_a_host_said_was_wrong_before_its_restart_is_taken_back_and_being_well_costs_no_word() {
    let mut world = World::meshed(3);
    assert_eq!(world.on(1).put_findings(Vec::new(), at(1)), Written::Unchanged);
    assert_eq!(world.on(2).put_findings(vec![finding(1)], at(1)), Written::Changed);
    assert_eq!(world.on(2).put_findings(vec![finding(1)], at(2)), Written::Unchanged);
    world.settle();
    assert_eq!(world.on(3).findings().count(), 1);
    world
        .hosts
        .insert(HostId(2), Gossip::new(HostId(2), 2, Vec::new(), at(3)));
    world.connect(&[1, 2, 3]);
    world.settle();
    world.on(2).put_findings(Vec::new(), at(4));
    world.settle();
    for id in 1..=3 {
        assert!(world.on(id).findings().all(|known| known.findings.is_empty()));
    }
}

#[test]
fn of_a_crowd_of_cards_the_first_is_told_at_once_and_the_rest_together() {
    let mut world = World::meshed(3);
    world.second();
    world.sent = 0;
    for card in 1..=100 {
        world.on(1).put_endpoint(endpoint(card, Presence::Here), at(1001));
    }
    world.settle();
    assert_eq!(
        world.sent, 2,
        "the first card, to each of two; nobody says on what it heard"
    );
    assert!(
        world
            .on(1)
            .poll_timeout()
            .is_some_and(|(due, reason)| due == at(1021) && reason == Reason::Flush)
    );
    // What there are few of does not wait, and takes along what does.
    world.on(1).put_host(host(1, 1450), at(1005));
    world.settle();
    assert!(world.on(3).host(HostId(1)).is_some());
    assert_eq!(world.on(3).endpoints().count(), 100);
    world.sent = 0;
    world.on(1).put_endpoint(endpoint(200, Presence::Here), at(1010));
    world.settle();
    assert_eq!(world.sent, 0);
    world.on(1).handle_timeout(at(1025));
    world.settle();
    assert_eq!(world.on(2).endpoints().count(), 101);
}

#[test]
fn a_newcomer_learns_all_from_one_member_and_all_learn_of_it() {
    let mut world = World::meshed(3);
    world
        .hosts
        .insert(HostId(4), Gossip::new(HostId(4), 4, Vec::new(), at(0)));
    world.on(1).apply(&name("blue"), "blue".to_owned(), SegmentId(7), at(1));
    world.on(4).put_host(host(4, 1450), at(1));
    world.settle();
    world.connect(&[2, 4]);
    world.settle();
    assert!(world.all_equal());
    assert!(world.hosts[&HostId(1)].host(HostId(4)).is_some());
}

#[test]
fn what_was_lost_on_the_way_is_made_good_within_two_seconds() {
    let mut world = World::meshed(3);
    world.on(1).apply(&name("blue"), "blue".to_owned(), SegmentId(7), at(1));
    world.collect();
    world.wire.clear();
    world.second();
    world.second();
    assert!(world.all_equal());
    assert!(world.hosts[&HostId(3)].segment(&name("blue")).is_some());
}

#[test]
fn two_sides_of_a_cut_agree_after_the_heal_and_the_loser_is_named() {
    let mut world = World::meshed(4);
    world.on(1).apply(&name("blue"), "old".to_owned(), SegmentId(7), at(1));
    world.settle();
    world.cut(&[1, 2]);
    world
        .on(1)
        .apply(&name("blue"), "from one".to_owned(), SegmentId(8), at(2));
    world
        .on(4)
        .apply(&name("blue"), "from four".to_owned(), SegmentId(9), at(2));
    world.settle();
    world.events.clear();
    world.connect(&[1, 2, 3, 4]);
    world.settle();
    assert!(world.all_equal());
    let blue = world.hosts[&HostId(2)].segment(&name("blue")).unwrap();
    assert_eq!((blue.introducer, blue.id), (HostId(4), SegmentId(7)));
    assert_eq!(blue.content, Content::Definition("from four".to_owned()));
    let told: BTreeSet<HostId> = world
        .events
        .iter()
        .filter(|(_, effect)| {
            matches!(effect, Effect::SegmentLost { loser, winner }
                if loser.introducer == HostId(1) && winner.introducer == HostId(4))
        })
        .map(|(on, _)| *on)
        .collect();
    assert!(told.is_superset(&BTreeSet::from([HostId(1), HostId(2)])), "{told:?}");
}

#[test]
fn a_tombstone_is_not_undone_by_a_host_file_and_a_new_segment_gets_a_new_id() {
    let mut gossip = Gossip::new(HostId(1), 1, Vec::new(), at(0));
    let blue = name("blue");
    assert_eq!(gossip.delete(&blue, at(0)), Written::Refused);
    assert_eq!(
        gossip.introduce(&blue, "a".to_owned(), SegmentId(7), at(0)),
        Written::Changed
    );
    assert_eq!(
        gossip.introduce(&blue, "b".to_owned(), SegmentId(8), at(0)),
        Written::Refused
    );
    assert_eq!(
        gossip.apply(&blue, "a".to_owned(), SegmentId(8), at(0)),
        Written::Unchanged
    );
    assert_eq!(gossip.delete(&blue, at(0)), Written::Changed);
    assert_eq!(gossip.delete(&blue, at(0)), Written::Unchanged);
    assert_eq!(
        gossip.introduce(&blue, "a".to_owned(), SegmentId(8), at(0)),
        Written::Refused
    );
    assert_eq!(
        gossip.apply(&blue, "a".to_owned(), SegmentId(8), at(0)),
        Written::Changed
    );
    let segment = gossip.segment(&blue).unwrap();
    assert_eq!((segment.generation, segment.id), (3, SegmentId(8)));
}

#[test]
fn a_removed_host_takes_its_records_along_and_its_words_do_not_count() {
    let mut world = World::meshed(3);
    world.on(3).put_host(host(3, 1450), at(1));
    world.on(3).put_claim(claim(7, 4), at(1));
    world.on(3).put_endpoint(endpoint(9, Presence::Here), at(1));
    world.settle();
    world.cut(&[3]);
    world.on(1).remove(HostId(3), Departure::Removed, at(2));
    world.settle();
    let one = &world.hosts[&HostId(2)];
    assert!(one.is_removed(HostId(3)) && one.host(HostId(3)).is_none());
    assert!(one.claims(SegmentId(7)).is_empty() && one.endpoints().next().is_none());
    assert_eq!(one.removed().next().map(|removed| removed.name.as_str()), Some("hv3"));

    world.on(3).put_host(host(3, 9000), at(3));
    let word = world.hosts[&HostId(3)].snapshot(at(3));
    world.on(2).handle(HostId(3), Message::Records(word.clone()), at(3));
    assert!(world.hosts[&HostId(2)].host(HostId(3)).is_none());
    // Told on by somebody who does not know of the removal yet.
    world.on(2).handle(HostId(1), Message::Records(word), at(3));
    assert!(world.hosts[&HostId(2)].host(HostId(3)).is_none());
    world
        .on(2)
        .handle(HostId(3), Message::Digest(Box::new([0; RANGES])), at(4));
    world.settle();
    assert!(world.hosts[&HostId(3)].is_removed(HostId(3)), "it was not told");
}

#[test]
fn a_host_that_lost_its_disk_hears_what_others_remember_and_speaks_anew() {
    let mut world = World::meshed(2);
    let mut before = host(1, 1450);
    (before.instance, before.journal) = (5, 40);
    world.on(1).put_host(before, at(1));
    world.on(1).put_claim(claim(7, 3), at(1));
    world.settle();
    world
        .hosts
        .insert(HostId(1), Gossip::new(HostId(1), 9, Vec::new(), at(2)));
    world.on(2).disconnected(HostId(1));
    world.on(1).put_host(host(1, 9000), at(2));
    world.connect(&[1, 2]);
    world.settle();
    assert!(world.all_equal());
    let known = world.hosts[&HostId(2)].host(HostId(1)).unwrap();
    assert_eq!((known.overlay_mtu, known.instance), (OverlayMtu::new(9000), 5));
    let remembered = |(on, effect): &(HostId, Effect)| {
        *on == HostId(1) && matches!(effect, Effect::Remembered(host) if host.journal == 40)
    };
    assert!(world.events.iter().any(remembered));
    let claims = world.hosts[&HostId(2)].claims(SegmentId(7));
    assert_eq!(
        claims.iter().map(|claim| claim.presence).collect::<Vec<_>>(),
        [Presence::Gone]
    );
}

#[test]
fn a_card_that_moved_is_taken_from_its_new_host_and_only_that_one_ends_it() {
    let mut world = World::meshed(2);
    world.on(1).put_endpoint(endpoint(9, Presence::Here), at(1));
    world.settle();
    world.on(2).put_endpoint(endpoint(9, Presence::Here), at(2));
    world.settle();
    assert_eq!(
        world.on(1).put_endpoint(endpoint(9, Presence::Gone), at(3)),
        Written::Refused
    );
    let known = world.hosts[&HostId(1)].endpoints().next().unwrap();
    assert_eq!(
        (known.host, known.sequence, known.presence),
        (HostId(2), 2, Presence::Here)
    );
    assert_eq!(
        world.on(2).put_endpoint(endpoint(9, Presence::Here), at(4)),
        Written::Unchanged
    );
}

#[test]
fn a_lease_shows_what_is_left_of_it_wherever_it_is_told() {
    let mut world = World::meshed(2);
    world.on(1).put_lease(lease(20, 1, 60_000), at(0));
    world.now = 10_000;
    // It reaches the second host only ten seconds later.
    world.collect();
    world.wire.clear();
    let told = world.hosts[&HostId(1)].snapshot(at(10_000));
    world.on(2).handle(HostId(1), Message::Records(told), at(10_000));
    let left: Vec<_> = world.hosts[&HostId(2)]
        .leases(at(15_000))
        .map(|lease| lease.left.0)
        .collect();
    assert_eq!(left, [Some(Duration::from_millis(45_000))]);
    // An extension changes no version, and is told all the same.
    world.now = 15_000;
    world.on(1).put_lease(lease(20, 1, 90_000), at(15_000));
    world.settle();
    let lease = world.hosts[&HostId(2)].leases(at(15_000)).next().unwrap();
    assert_eq!((lease.told, lease.left.0), (1, Some(Duration::from_millis(90_000))));
}

#[test]
fn a_snapshot_brings_all_back_without_a_word() {
    let mut world = World::meshed(2);
    world.on(1).apply(&name("blue"), "blue".to_owned(), SegmentId(7), at(1));
    world.on(1).put_static_peer(address(99), None, Presence::Here, at(1));
    world.on(1).remove(HostId(8), Departure::Left, at(1));
    let snapshot = world.hosts[&HostId(1)].snapshot(at(2));
    let mut restored = Gossip::new(HostId(1), 3, snapshot.clone(), at(0));
    assert_eq!(restored.snapshot(at(0)), snapshot);
    assert_eq!(restored.poll_effect(), None);
    assert!(restored.is_removed(HostId(8)));
    assert_eq!(restored.static_peers().count(), 1);
}

#[test]
fn what_lasts_is_saved_once_after_a_burst_and_what_passes_is_not() {
    let mut gossip = Gossip::new(HostId(1), 1, Vec::new(), at(0));
    let saved = |gossip: &mut Gossip, now| {
        gossip.handle_timeout(at(now));
        let effects = std::iter::from_fn(|| gossip.poll_effect());
        effects
            .filter_map(|effect| match effect {
                Effect::Save(records) => Some(records.len()),
                Effect::Send { .. } | Effect::Changed(_) | Effect::SegmentLost { .. } | Effect::Remembered(_) => None,
            })
            .collect::<Vec<_>>()
    };
    gossip.put_endpoint(endpoint(1, Presence::Here), at(0));
    assert_eq!(saved(&mut gossip, 20), [0; 0]);
    gossip.put_host(host(1, 1450), at(30));
    gossip.remove(HostId(2), Departure::Removed, at(40));
    assert_eq!(gossip.poll_timeout(), Some((at(50), Reason::Save)));
    assert_eq!(saved(&mut gossip, 50), [2]);
    assert_eq!(saved(&mut gossip, 70), [0; 0]);
}

#[test]
fn a_large_store_is_told_in_messages_of_bounded_size() {
    let mut world = World::new(2);
    for index in 0..20_000_u32 {
        let mut lease = lease(1, 1, 60_000);
        lease.address = Ipv4Addr::from(0x0a00_0000 + index).into();
        world.on(1).put_lease(lease, at(0));
    }
    world.connect(&[1, 2]);
    world.collect();
    let mut largest = 0;
    while let Some((from, to, message)) = world.wire.pop_front() {
        match &message {
            Message::Records(records) => {
                largest = largest.max(records.iter().map(Record::weight).sum());
            }
            Message::Summary { entries, .. } => assert!(entries.len() <= SUMMARY_ENTRIES),
            Message::Digest(_) | Message::Want(_) => {}
        }
        world.hosts.get_mut(&to).unwrap().handle(from, message, at(1));
        world.collect();
    }
    assert!(world.all_equal());
    assert!(largest <= MESSAGE_BYTES && largest > MESSAGE_BYTES / 2, "{largest}");
}

#[test]
fn hosts_that_agree_exchange_digests_and_nothing_else() {
    let mut world = World::meshed(3);
    world.on(1).apply(&name("blue"), "blue".to_owned(), SegmentId(7), at(1));
    world.settle();
    world.sent = 0;
    world.second();
    assert_eq!(world.sent, 6);
}

#[test]
fn nonsense_from_outside_does_no_harm() {
    let mut gossip = Gossip::new(HostId(1), 1, Vec::new(), at(0));
    gossip.handle(
        HostId(2),
        Message::Summary {
            span: Span { first: 9, last: 3 },
            entries: vec![(1, 1), (1, 2)],
        },
        at(0),
    );
    gossip.handle(HostId(2), Message::Want(vec![0, u64::MAX]), at(0));
    gossip.handle(HostId(2), Message::Digest(Box::new([7; RANGES])), at(0));
    gossip.handle(HostId(1), Message::Want(vec![1]), at(0));
    assert_eq!(gossip.records().count(), 0);
}

/// What happens to the hosts of a history, and to what they send.
#[derive(Clone, Debug)]
enum Step {
    Apply { on: u64, name: u8, text: u8 },
    Delete { on: u64, name: u8 },
    Try { on: u64, name: u8, text: u8 },
    RollBack { on: u64, name: u8 },
    Host { on: u64, mtu: u32 },
    Claim { on: u64, term: u64 },
    Findings { on: u64, count: u8 },
    Endpoint { on: u64, card: u8, presence: Presence },
    Lease { on: u64, address: u8, counter: u64 },
    Remove { on: u64, host: u64 },
    Deliver { which: usize, again: bool },
    Lose { which: usize },
    Cut { host: u64 },
    Heal,
    Second,
}

fn step() -> impl Strategy<Value = Step> {
    let on = 1..=4_u64;
    prop_oneof![
        (on.clone(), 0..3_u8, 0..4_u8).prop_map(|(on, name, text)| Step::Apply { on, name, text }),
        (on.clone(), 0..3_u8).prop_map(|(on, name)| Step::Delete { on, name }),
        (on.clone(), 0..3_u8, 0..4_u8).prop_map(|(on, name, text)| Step::Try { on, name, text }),
        (on.clone(), 0..3_u8).prop_map(|(on, name)| Step::RollBack { on, name }),
        (on.clone(), 1400..1404_u32).prop_map(|(on, mtu)| Step::Host { on, mtu }),
        (on.clone(), 1..4_u64).prop_map(|(on, term)| Step::Claim { on, term }),
        (on.clone(), 0..3_u8).prop_map(|(on, count)| Step::Findings { on, count }),
        (
            on.clone(),
            0..3_u8,
            prop_oneof![Just(Presence::Here), Just(Presence::Gone)]
        )
            .prop_map(|(on, card, presence)| Step::Endpoint { on, card, presence }),
        (on.clone(), 0..3_u8, 1..4_u64).prop_map(|(on, address, counter)| Step::Lease { on, address, counter }),
        // Rarely, and never the first host: somebody must be left.
        (on.clone(), 3..=40_u64).prop_map(|(on, host)| Step::Remove { on, host }),
        (any::<usize>(), any::<bool>()).prop_map(|(which, again)| Step::Deliver { which, again }),
        (any::<usize>(), any::<bool>()).prop_map(|(which, again)| Step::Deliver { which, again }),
        any::<usize>().prop_map(|which| Step::Lose { which }),
        on.prop_map(|host| Step::Cut { host }),
        Just(Step::Heal),
        Just(Step::Second),
    ]
}

impl World {
    fn act(&mut self, step: &Step) {
        let now = at(self.now);
        match *step {
            Step::Apply { on, name: which, text } => {
                let fresh = SegmentId(u64::from(which) * 100 + on);
                self.on(on)
                    .apply(&name(&format!("s{which}")), text.to_string(), fresh, now);
            }
            Step::Delete { on, name: which } => {
                self.on(on).delete(&name(&format!("s{which}")), now);
            }
            Step::Try { on, name: which, text } => {
                let fresh = SegmentId(u64::from(which) * 100 + on);
                self.on(on)
                    .apply_above(0, &name(&format!("s{which}")), text.to_string(), fresh, Some(60), now);
            }
            Step::RollBack { on, name: which } => {
                self.on(on).roll_back(&name(&format!("s{which}")), now);
            }
            Step::Host { on, mtu } => {
                self.on(on).put_host(host(on, mtu), now);
            }
            Step::Claim { on, term } => {
                self.on(on).put_claim(claim(7, term), now);
            }
            Step::Findings { on, count } => {
                self.on(on).put_findings((0..count).map(finding).collect(), now);
            }
            Step::Endpoint { on, card, presence } => {
                self.on(on).put_endpoint(endpoint(card, presence), now);
            }
            Step::Lease { on, address, counter } => {
                let mut lease = lease(address, counter, 1000);
                lease.copies = u32::try_from(on).unwrap();
                self.on(on).put_lease(lease, now);
            }
            Step::Remove { on, host } => {
                if host <= 4 && host != on {
                    self.on(on).remove(HostId(host), Departure::Removed, now);
                }
            }
            Step::Deliver { which, again } => {
                if self.wire.is_empty() {
                    return;
                }
                let which = which % self.wire.len();
                let (from, to, message) = if again {
                    self.wire[which].clone()
                } else {
                    self.wire.remove(which).unwrap()
                };
                self.hosts.get_mut(&to).unwrap().handle(from, message, now);
            }
            Step::Lose { which } => {
                if !self.wire.is_empty() {
                    self.wire.remove(which % self.wire.len());
                }
            }
            Step::Cut { host } => self.cut(&[host]),
            Step::Heal => self.connect(&[1, 2, 3, 4]),
            Step::Second => {
                self.now += 1000;
                let now = at(self.now);
                for gossip in self.hosts.values_mut() {
                    gossip.handle_timeout(now);
                }
            }
        }
        self.collect();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_order_duplication_and_loss_ends_in_one_state(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::new(4);
        world.connect(&[1, 2, 3, 4]);
        world.collect();
        for step in &steps {
            world.act(step);
        }
        world.connect(&[1, 2, 3, 4]);
        for _ in 0..4 {
            world.second();
        }
        // What the first host knows counts: it is never removed, and the word of a removed host is nobody's but its own.
        let removed: BTreeSet<HostId> = world.hosts[&HostId(1)].removed().map(|removed| removed.host).collect();
        for host in &removed {
            prop_assert!(world.hosts[host].is_removed(*host), "{host} does not know that it was removed");
        }
        world.hosts.retain(|host, _| !removed.contains(host));
        prop_assert!(world.all_equal(), "the hosts do not agree");
        for gossip in world.hosts.values() {
            prop_assert!(gossip.records().all(|record| record.depends_on().is_none_or(|host| !removed.contains(&host))));
        }
    }

    #[test]
    fn the_digest_is_that_of_the_records_alone(seed in any::<u64>()) {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut store = Store::new();
        for _ in 0..60 {
            let lease = lease(rng.random_range(0..8), rng.random_range(0..4), 5);
            if rng.random_bool(0.3) {
                store.remove(&Record::Lease(lease).key());
            } else {
                store.insert(Record::Lease(lease), at(rng.random_range(0..9)));
            }
        }
        let mut fresh = Store::new();
        for (_, record) in store.iter() {
            fresh.insert(record.clone(), at(0));
        }
        prop_assert_eq!(store.digest(), fresh.digest());
    }
}
