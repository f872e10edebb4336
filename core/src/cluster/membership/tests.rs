//! Membership as stories: hosts on one virtual clock, packets that take a millisecond or are lost.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::cluster::gossip::Gossip;
use crate::id::HostId;
use crate::time::{Duration, Instant};

struct World {
    hosts: BTreeMap<HostId, Membership>,
    wire: BTreeMap<(Instant, u64), (HostId, HostId, Vec<u8>)>,
    sequence: u64,
    now: Instant,
    /// Hosts that are off the network.
    silent: BTreeSet<HostId>,
    events: Vec<(Instant, HostId, Effect)>,
}

impl World {
    fn new(count: u64) -> Self {
        let hosts = (1..=count)
            .map(|id| (HostId(id), Membership::new(HostId(id), 1, id)))
            .collect();
        let now = Instant::from_millis(1000);
        let silent = BTreeSet::new();
        let mut world = Self {
            hosts,
            wire: BTreeMap::new(),
            sequence: 0,
            now,
            silent,
            events: Vec::new(),
        };
        for id in 2..=count {
            world.hosts.get_mut(&HostId(id)).unwrap().announce(HostId(1), now);
        }
        world.run(Duration::from_secs(3));
        world
    }

    fn collect(&mut self) {
        for (from, membership) in &mut self.hosts {
            while let Some(effect) = membership.poll_effect() {
                if let Effect::Send { to, packet } = effect {
                    self.sequence += 1;
                    self.wire.insert(
                        (self.now + Duration::from_millis(1), self.sequence),
                        (*from, to, packet),
                    );
                } else {
                    self.events.push((self.now, *from, effect));
                }
            }
        }
    }

    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            self.collect();
            let timer = self
                .hosts
                .values()
                .filter_map(|host| host.poll_timeout().map(|(at, _)| at))
                .min();
            let packet = self.wire.first_key_value().map(|((at, _), _)| *at);
            let Some(next) = timer.into_iter().chain(packet).min().filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            while let Some(entry) = self.wire.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let (from, to, packet) = entry.remove();
                let reached = !self.silent.contains(&from) && !self.silent.contains(&to);
                if let Some(host) = self.hosts.get_mut(&to).filter(|_| reached) {
                    host.handle_packet(from, &packet, self.now);
                }
            }
            for host in self.hosts.values_mut() {
                host.handle_timeout(self.now);
            }
        }
        self.now = end;
    }

    fn sees(&self, who: u64, whom: u64) -> Option<MemberState> {
        self.hosts[&HostId(who)].state(HostId(whom))
    }

    fn all_see_all(&self) -> bool {
        let ids: Vec<u64> = self.hosts.keys().map(|id| id.0).collect();
        ids.iter().all(|one| {
            ids.iter()
                .all(|other| one == other || self.sees(*one, *other) == Some(MemberState::Alive))
        })
    }
}

#[test]
fn whoever_announces_itself_to_one_is_known_to_all() {
    for count in [2, 3, 9, 30] {
        assert!(World::new(count).all_see_all(), "{count} hosts");
    }
}

#[test]
fn a_dead_host_is_given_up_by_all_within_fifteen_seconds_and_no_other_is() {
    for count in [2, 3, 9, 30] {
        let mut world = World::new(count);
        world.silent.insert(HostId(count));
        world.events.clear();
        world.run(Duration::from_secs(15));
        for id in 1..count {
            assert_eq!(world.sees(id, count), Some(MemberState::Down), "host {id} of {count}");
        }
        let wrong = world.events.iter().find(|(_, on, effect)| {
            *on != HostId(count) && matches!(effect, Effect::Down(host) if *host != HostId(count))
        });
        assert_eq!(wrong, None);
    }
}

#[test]
fn a_host_that_was_cut_off_is_back_within_ten_seconds_of_the_heal() {
    for count in [2, 3, 9] {
        let mut world = World::new(count);
        world.silent.insert(HostId(1));
        world.run(Duration::from_secs(60));
        assert_eq!(world.sees(1, 2), Some(MemberState::Down));
        world.silent.clear();
        world.run(Duration::from_secs(10));
        assert!(world.all_see_all(), "{count} hosts");
    }
}

#[test]
fn new_connections_bring_a_host_back_within_three_seconds() {
    let mut world = World::new(3);
    world.silent.insert(HostId(1));
    world.run(Duration::from_secs(60));
    world.silent.clear();
    let now = world.now;
    for (from, to) in [(1, 2), (2, 1), (1, 3), (3, 1)] {
        world.hosts.get_mut(&HostId(from)).unwrap().announce(HostId(to), now);
    }
    world.run(Duration::from_secs(3));
    assert!(world.all_see_all());
}

#[test]
fn a_restarted_host_is_known_in_its_new_life_at_once() {
    let mut world = World::new(3);
    let now = world.now;
    let mut again = Membership::new(HostId(3), 2, 33);
    again.announce(HostId(1), now);
    world.hosts.insert(HostId(3), again);
    world.events.clear();
    world.run(Duration::from_secs(2));
    assert!(world.all_see_all());
    let restarts: BTreeSet<HostId> = world
        .events
        .iter()
        .filter(|(_, _, effect)| *effect == Effect::Restarted(HostId(3)))
        .map(|(_, on, _)| *on)
        .collect();
    assert_eq!(restarts, BTreeSet::from([HostId(1), HostId(2)]));
}

#[test]
fn a_host_that_leaves_is_gone_within_two_seconds() {
    let mut world = World::new(5);
    let now = world.now;
    world.hosts.get_mut(&HostId(5)).unwrap().leave(now);
    world.run(Duration::from_secs(2));
    for id in 1..5 {
        assert_eq!(world.sees(id, 5), Some(MemberState::Down), "host {id}");
    }
}

#[test]
fn a_known_host_that_never_speaks_is_waited_for_and_then_given_up() {
    let mut world = World::new(2);
    let now = world.now;
    let one = world.hosts.get_mut(&HostId(1)).unwrap();
    one.expect(HostId(2), now);
    one.expect(HostId(7), now);
    assert_eq!(one.state(HostId(7)), Some(MemberState::Suspect));
    world.run(EXPECTED_FOR);
    assert_eq!(world.sees(1, 7), Some(MemberState::Down));
    assert_eq!(world.sees(1, 2), Some(MemberState::Alive));
    assert!(
        world
            .events
            .iter()
            .any(|(_, on, effect)| (*on, effect) == (HostId(1), &Effect::Down(HostId(7))))
    );

    let now = world.now;
    let mut seven = Membership::new(HostId(7), 1, 7);
    seven.announce(HostId(1), now);
    world.hosts.insert(HostId(7), seven);
    world.run(Duration::from_secs(1));
    assert_eq!(world.sees(1, 7), Some(MemberState::Alive));
}

#[test]
fn a_packet_for_another_sender_or_cut_short_at_any_byte_changes_nothing() {
    let mut sender = Membership::new(HostId(2), 1, 2);
    sender.announce(HostId(1), Instant::from_millis(0));
    let Some(Effect::Send { packet, .. }) = sender.poll_effect() else {
        panic!("nothing was sent")
    };
    for length in 0..packet.len() {
        let mut one = Membership::new(HostId(1), 1, 1);
        one.handle_packet(HostId(2), &packet[..length], Instant::from_millis(1));
        assert_eq!(one.state(HostId(2)), None, "{length} bytes");
    }
    let mut one = Membership::new(HostId(1), 1, 1);
    one.handle_packet(HostId(3), &packet, Instant::from_millis(1));
    assert_eq!(one.state(HostId(2)), None);
    one.handle_packet(HostId(2), &packet, Instant::from_millis(1));
    assert_eq!(one.state(HostId(2)), Some(MemberState::Alive));
}

#[test]
fn one_word_per_peer_from_all_that_is_known() {
    use crate::cluster::gossip::{Candidacy, Departure, HostRecord, Message, Presence, Record, Uplink};
    use crate::cluster::reachability::{Liveness, Outcome, Reachability};
    use crate::mtu::OverlayMtu;

    let mut world = World::new(4);
    world.silent.extend([HostId(3), HostId(4)]);
    world.run(Duration::from_secs(15));
    let now = world.now;
    let mut gossip = Gossip::new(HostId(1), 1, Vec::new(), now);
    let records = [1, 2, 3, 4, 5].map(|id: u8| {
        let address = std::net::IpAddr::from([192, 0, 2, id]);
        Record::Host(HostRecord {
            instance: 1,
            counter: 1,
            id: HostId(id.into()),
            name: format!("hv{id}"),
            vtep: address,
            listen: (address, 7480).into(),
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
        })
    });
    gossip.handle(HostId(2), Message::Records(records.to_vec()), now);
    gossip.remove(HostId(5), Departure::Left, now);
    gossip.put_static_peer([192, 0, 2, 99].into(), None, Presence::Here, now);
    let membership = &world.hosts[&HostId(1)];
    let check = |dead: &[u64], kernels: &[u64], heard: &[u64], expected: &[(&str, PeerState)]| {
        let mut reachability = Reachability::new(std::collections::BTreeSet::new());
        for host in kernels.iter().copied().map(HostId) {
            reachability.set_pace(host, Some(Duration::ZERO));
            for probe in reachability.send_due(now) {
                reachability.handle_probe(probe.host, probe.number, Outcome::Answered, now);
            }
        }
        for host in heard.iter().copied().map(HostId) {
            reachability.hear(host, now);
        }
        for host in dead.iter().copied().map(HostId) {
            reachability.set_liveness(host, Liveness::Dead);
        }
        let inputs = Inputs {
            me: HostId(1),
            gossip: &gossip,
            membership,
            reachability: &reachability,
            now,
        };
        let seen = view(&inputs);
        let seen: Vec<_> = seen.iter().map(|peer| (peer.name.as_str(), peer.state)).collect();
        assert_eq!(seen, expected);
    };
    use PeerState::{Alive, Failed, Left, Static, Suspect};
    let rest = [("192.0.2.99", Static), ("hv5", Left)];
    let hosts = |two, three, four| {
        [("hv1", Alive), ("hv2", two), ("hv3", three), ("hv4", four)]
            .into_iter()
            .chain(rest)
            .collect::<Vec<_>>()
    };
    check(&[], &[3], &[], &hosts(Alive, Suspect, Failed));
    check(&[2, 3], &[3], &[], &hosts(Failed, Failed, Failed));
    check(&[2], &[3], &[2, 3, 4], &hosts(Failed, Alive, Alive));
}
