//! Whole hosts told as stories: nodes on a network and a clock that are made up, with kernels that do as they are told.

#![allow(clippy::unwrap_used)]

mod by_hand;
mod deleting;
mod first_lease;
mod giving;
mod giving_way;
mod joining;
mod losing;
mod moving;
mod networks;
mod recovering;
mod refusing;
mod reloading;
mod trying;
mod world;

use overlayd_core::cluster::membership::PeerState;
use overlayd_core::gateway::uplink::{Health, NextHop};
use overlayd_core::health::Id;
use overlayd_core::id::{IfName, SegmentName};
use overlayd_core::kernel::inputs::BridgeNetfilter;
use overlayd_core::node::{Done, Ended, Force, Formation, Run};
use overlayd_core::time::Duration;
use world::{ACK, World, blue};

#[test]
fn a_host_that_joins_through_any_member_is_known_to_all() {
    let mut world = World::formed(3);
    let newcomer = world.add("hv4");
    world.join(newcomer, 2).unwrap();
    world.run(2_000);
    for host in 0..4 {
        assert_eq!(world.states(host), [PeerState::Alive; 4], "as seen by host {host}");
        assert_eq!(world.dials(host).len(), 3);
    }
}

#[test]
fn a_segment_applied_anywhere_is_everywhere_with_one_gateway_and_a_full_flood_list() {
    let mut world = World::formed(3);
    world.apply(1, &blue());
    world.run(3_000);
    let gateways = world.gateways("blue");
    assert_eq!(gateways.len(), 1, "{gateways:?}");
    for host in 0..3 {
        let inputs = world.inputs(host).unwrap();
        let it = inputs.segments.values().next().unwrap();
        assert_eq!(it.peers.len(), 2);
        assert_eq!(it.mtu.bytes(), 1450);
        assert_eq!(
            world.node(host).gateway_lines(world.now)[0].host.as_deref(),
            Some(gateways[0].as_str())
        );
    }
}

/// Free addresses of its own, as a host says.
fn free(world: &World, host: usize) -> u64 {
    let name = format!("hv{}", host + 1);
    let lines = world.node(host).pool_lines(None, world.now);
    let own = lines.iter().filter(|line| line.owner.as_deref() == Some(&name));
    own.map(|line| line.line.free).sum()
}

#[test]
fn every_host_has_addresses_to_give_a_moment_after_a_segment_is_made() {
    // Whoever dies right then must not take all of them along.
    let mut world = World::formed(3);
    world.apply(1, &blue());
    world.run(100);
    world.kill_host(1);
    world.run(2_000);
    assert_eq!([free(&world, 0), free(&world, 2)], [79; 2]);
}

#[test]
fn a_host_that_comes_later_is_given_a_share_by_whoever_has_more_than_is_due_to_it() {
    // The gateway has most, and no more than is due to it; the other has twice that.
    let mut world = World::formed(2);
    world.apply(0, &blue());
    world.run(3_000);
    assert_eq!(world.gateways("blue"), ["hv1"]);
    let third = world.add("hv3");
    world.join(third, 0).unwrap();
    world.run(3_000);
    let shares = [0, 1, 2].map(|host| free(&world, host));
    assert!(shares.iter().all(|free| *free >= 59), "{shares:?}");
}

#[test]
fn a_host_whose_leave_is_refused_serves_on() {
    let address = std::net::Ipv4Addr::new(192, 168, 124, 20);
    // Nobody takes the gateway ...
    let mut world = World::formed(2);
    world.apply(0, &blue());
    world.run(9_000);
    let holder = world.index(&world.gateways("blue")[0]);
    let other = 1 - holder;
    world.never_candidate(other);
    world.run(1_000);
    let refusal = world.leave(holder, Force::No).unwrap_err();
    assert!(refusal.what.contains("a gateway"), "{refusal}");
    world.run(5_000);
    let lease = world.ask(holder, "52:54:00:00:00:01", address);
    assert_eq!(lease, Some((ACK, address)));
    // ... or its addresses.
    let standby = other;
    world.kill_agent(1 - standby);
    let refusal = world.leave(standby, Force::No).unwrap_err();
    assert!(refusal.what.contains("address"), "{refusal}");
    world.restart(1 - standby);
    world.run(20_000);
    let own = free(&world, standby);
    assert!(own > 0, "{:?}", world.node(standby).pool_lines(None, world.now));
    let problems = world.problems(standby);
    assert_eq!(problems, []);
}

#[test]
fn nobody_is_asked_for_addresses_that_a_smaller_pool_does_not_offer() {
    let mut world = World::formed(2);
    world.apply(0, &blue());
    world.run(3_000);
    // All of it is the gateway's; the other still owns what is left out.
    world.apply(0, &blue().replace("124.254", "124.100"));
    world.run(2_000);
    let third = world.add("hv3");
    world.join(third, 0).unwrap();
    world.run(3_000);
    let shares = [0, 1, 2].map(|host| free(&world, host));
    assert_eq!(shares.iter().sum::<u64>(), 85, "{shares:?}");
    assert!(shares.iter().all(|free| *free >= 21), "{shares:?}");
}

#[test]
fn a_lease_is_extended_though_its_owner_died_before_it_told_anybody_who_keeps_it() {
    let mac = "52:54:00:00:00:01";
    let mut elsewhere = 0;
    for step in [1, 2] {
        let mut world = World::formed(3);
        world.apply(0, &blue());
        world.run(9_000);
        let owner = world.index(&world.gateways("blue")[0]);
        let keeper = (owner + step) % 3;
        let lines = world.node(owner).pool_lines(None, world.now);
        let own = lines.iter().find(|line| line.owner == Some(format!("hv{}", owner + 1)));
        let std::net::IpAddr::V4(address) = own.unwrap().line.range.first().ip() else {
            panic!("IPv4 alone");
        };
        world.lag_gossip(owner);
        assert_eq!(world.ask(keeper, mac, address), Some((ACK, address)));
        world.kill_host(owner);
        world.run(3_000);
        let gateway = world.index(&world.gateways("blue")[0]);
        assert_eq!(world.holder_of(gateway, address), None, "nobody was told");
        assert_eq!(world.ask(keeper, mac, address), Some((ACK, address)));
        let other = world.ask(keeper, "52:54:00:00:00:02", address);
        assert_ne!(other, Some((ACK, address)));
        elsewhere += u32::from(gateway != keeper);
    }
    assert_eq!(elsewhere, 1, "once the next gateway keeps it itself");
}

#[test]
fn a_dead_host_leaves_the_flood_lists_within_a_second_and_its_gateway_moves() {
    let mut world = World::formed(3);
    world.apply(0, &blue());
    world.run(3_000);
    let holder = world.index(&world.gateways("blue")[0]);
    world.kill_host(holder);
    world.run(1_000);
    let survivors: Vec<usize> = (0..3).filter(|host| *host != holder).collect();
    assert_eq!(world.gateways("blue").len(), 1);
    for host in survivors {
        let inputs = world.inputs(host).unwrap();
        assert_eq!(inputs.segments.values().next().unwrap().peers.len(), 1, "host {host}");
    }
}

#[test]
fn every_survivor_finds_a_dead_standby_failed_within_a_second() {
    // Whenever it dies between two probes.
    for moment in (0..1_000).step_by(110) {
        let mut world = World::formed(3);
        world.apply(0, &blue());
        world.run(4_000 + moment);
        let standby = (0..3)
            .find(|host| world.gateways("blue")[0] != format!("hv{}", host + 1))
            .unwrap();
        world.kill_host(standby);
        world.run(1_000);
        for host in (0..3).filter(|host| *host != standby) {
            assert_eq!(
                world.state_of(host, standby),
                PeerState::Failed,
                "as seen by host {host}, dead {moment} ms later"
            );
        }
    }
}

#[test]
fn a_host_whose_agent_alone_died_keeps_its_traffic_and_is_suspect() {
    let mut world = World::formed(3);
    world.apply(0, &blue());
    world.run(3_000);
    world.kill_agent(2);
    world.run(20_000);
    assert_eq!(world.state_of(0, 2), PeerState::Suspect);
    assert_eq!(
        world.inputs(0).unwrap().segments.values().next().unwrap().peers.len(),
        2
    );
}

#[test]
fn a_host_that_was_cut_off_is_back_within_ten_seconds_of_the_heal() {
    let mut world = World::formed(3);
    world.apply(0, &blue());
    world.run(3_000);
    world.cut(2);
    world.run(30_000);
    assert_eq!(world.gateways("blue").len(), 2, "one on each side");
    assert_eq!(world.state_of(0, 2), PeerState::Failed);
    world.heal(2);
    world.run(10_000);
    assert_eq!(world.gateways("blue").len(), 1);
    for host in 0..3 {
        assert_eq!(world.states(host), [PeerState::Alive; 3], "as seen by host {host}");
    }
}

#[test]
fn after_a_full_outage_everybody_finds_everybody_from_disk_alone() {
    let mut world = World::formed(3);
    world.apply(0, &blue());
    world.run(3_000);
    for host in 0..3 {
        world.kill_host(host);
    }
    world.run(5_000);
    for host in 0..3 {
        world.restart(host);
    }
    world.run(10_000);
    for host in 0..3 {
        assert_eq!(world.states(host), [PeerState::Alive; 3], "as seen by host {host}");
        assert_eq!(world.node(host).segment_lines().len(), 1);
    }
    assert_eq!(world.gateways("blue").len(), 1);
}

#[test]
fn a_host_whose_list_leads_to_hosts_that_refuse_it_says_so_formed_or_not() {
    let mut world = World::formed(2);
    let namesake = world.add("hv1");
    world.list(namesake, 1);
    let loner = world.add("loner");
    world.init(loner);
    world.list(loner, 1);
    world.run(9_000);
    for (host, why, meanwhile) in [
        (namesake, "the name hv1 is taken", "in no cluster"),
        (loner, "cluster", "alone in a cluster of its own"),
    ] {
        let problems = world.problems(host);
        let refused = problems.iter().find(|problem| problem.id == Id::JoinRefused).unwrap();
        assert!(
            refused.evidence.contains(why) && refused.cause.contains(meanwhile),
            "{refused:?}"
        );
    }
}

#[test]
fn a_taken_name_and_a_taken_vtep_are_refused_and_the_refusal_names_the_way_out() {
    let mut world = World::formed(2);
    let namesake = world.add("hv1");
    let refusal = world.join(namesake, 1).unwrap_err();
    assert!(refusal.what.contains("the name hv1 is taken"), "{refusal}");
    assert!(refusal.hint.unwrap().contains("peer remove hv1"));
    let twin = world.add_at("hv9", 1);
    let refusal = world.join(twin, 0).unwrap_err();
    assert!(refusal.what.contains("VTEP address 172.31.0.12 is taken"), "{refusal}");
}

#[test]
fn two_formed_clusters_never_merge() {
    let mut world = World::formed(2);
    let other = world.add("other");
    world.init(other);
    let third = world.add("third");
    world.join(third, other).unwrap();
    world.run(1_000);
    let refusal = world.join(other, 0).unwrap_err();
    assert!(refusal.what.contains("in a cluster with other members"), "{refusal}");
    assert_eq!(world.states(0).len(), 2);
}

#[test]
fn a_host_alone_in_its_cluster_adopts_the_other_and_says_what_gave_way() {
    let mut world = World::formed(2);
    world.apply(0, &blue());
    let loner = world.add("loner");
    world.init(loner);
    world.apply(loner, &blue().replace("vni: 10", "vni: 99"));
    world.run(2_000);
    let Done::Joined { gave_way, hosts, .. } = world.join_by_force(loner, 1).unwrap() else {
        panic!()
    };
    assert_eq!(hosts, 3);
    assert!(gave_way[0].contains("segment blue"), "{gave_way:?}");
    world.run(8_000);
    assert_eq!(world.node(loner).segment_lines()[0].vni().number(), 10);
    assert_eq!(world.gateways("blue").len(), 1);
}

#[test]
fn a_host_that_leaves_is_in_no_flood_list_and_comes_back_as_a_new_one() {
    let mut world = World::formed(3);
    world.apply(0, &blue());
    world.run(3_000);
    let holder = world.index(&world.gateways("blue")[0]);
    let Done::Left { cluster, notes, .. } = world.leave(holder, Force::No).unwrap() else {
        panic!()
    };
    assert_eq!((cluster, notes.len()), (Ended::LivesOn, 0));
    world.run(2_000);
    assert_eq!(world.gateways("blue").len(), 1);
    let other = (holder + 1) % 3;
    assert_eq!(
        world
            .inputs(other)
            .unwrap()
            .segments
            .values()
            .next()
            .unwrap()
            .peers
            .len(),
        1
    );
    assert!(matches!(world.node(holder).formation(), Formation::Left { .. }));
    world.join(holder, other).unwrap();
    world.run(3_000);
    assert_eq!(
        world
            .states(other)
            .iter()
            .filter(|state| **state == PeerState::Alive)
            .count(),
        3
    );
}

#[test]
fn leaving_with_guests_attached_is_refused_with_their_ports() {
    let mut world = World::formed(2);
    world.apply(0, &blue());
    world.run(2_000);
    world.plug(0, "br-blue", "vnet0");
    let refusal = world.leave(0, Force::No).unwrap_err();
    assert_eq!(refusal.losses[0].to_string(), "blue: port vnet0 on hv1");
    assert!(world.leave(0, Force::Yes).is_ok());
}

#[test]
fn the_last_member_may_leave_and_its_cluster_ends() {
    let mut world = World::formed(1);
    let Done::Left { cluster, .. } = world.leave(0, Force::No).unwrap() else {
        panic!()
    };
    assert_eq!(cluster, Ended::Over);
}

#[test]
fn only_a_host_that_is_off_can_be_removed_and_one_that_was_not_stops_when_it_hears() {
    let mut world = World::formed(3);
    world.apply(0, &blue());
    world.run(3_000);
    let refusal = world.remove(0, "hv3").unwrap_err();
    assert!(refusal.what.contains("hv3 is still alive"), "{refusal}");
    world.cut(2);
    world.run(25_000);
    world.remove(0, "hv3").unwrap();
    world.run(2_000);
    assert_eq!(world.states(0).len(), 2);
    world.heal(2);
    world.run(10_000);
    assert!(
        matches!(world.node(2).formation(), Formation::Left { .. }),
        "{:?}",
        world.node(2).formation()
    );
    assert!(!world.gateways("blue").contains(&"hv3".to_owned()));
}

#[test]
fn a_host_that_another_member_hears_is_not_removed() {
    let mut world = World::formed(4);
    world.apply(0, &blue());
    world.run(3_000);
    world.part(0, 2);
    world.run(10_000);
    assert_eq!(world.state_of(0, 2), PeerState::Failed, "as far as hv1 itself can tell");
    let refusal = world.remove(0, "hv3").unwrap_err();
    assert!(
        refusal.what.contains("hv2") && refusal.what.contains("hv4"),
        "{refusal}"
    );
    assert_eq!(world.states(0).len(), 4);
    // Its agent dead and its kernel alive: still there.
    world.kill_agent(2);
    world.run(10_000);
    assert!(world.remove(0, "hv3").is_err());
    world.kill_host(2);
    world.run(1_000);
    world.remove(0, "hv3").unwrap();
    world.run(2_000);
    for host in [0, 1, 3] {
        assert_eq!(world.states(host), [PeerState::Alive; 3], "as seen by host {host}");
    }
}

#[test]
fn a_member_that_does_not_answer_stands_against_a_removal_until_it_is_known_to_be_dead() {
    let mut world = World::formed(3);
    world.apply(0, &blue());
    world.run(3_000);
    world.kill_host(2);
    world.run(2_000);
    world.kill_agent(1);
    let refusal = world.remove(0, "hv3").unwrap_err();
    assert!(refusal.what.contains("hv2 did not reply"), "{refusal}");
    world.kill_host(1);
    world.run(2_000);
    world.remove(0, "hv3").unwrap();
}

#[test]
fn a_host_that_lost_its_disk_is_let_in_again_once_its_former_life_is_removed() {
    let mut world = World::formed(3);
    world.apply(0, &blue());
    world.run(3_000);
    world.kill_agent(2);
    world.run(20_000);
    let refusal = world.remove(0, "hv3").unwrap_err();
    assert!(refusal.what.contains("its agent (or kernel) responds"), "{refusal}");
    world.lose_disk(2);
    let refusal = world.join(2, 0).unwrap_err();
    assert!(refusal.hint.unwrap().contains("peer remove hv3"));
    world.remove(0, "hv3").unwrap();
    world.join(2, 0).unwrap();
    world.run(3_000);
    for host in 0..3 {
        assert_eq!(world.states(host), [PeerState::Alive; 3], "as seen by host {host}");
    }
}

#[test]
fn a_tombstone_stays_and_the_name_can_be_used_again_only_by_apply() {
    let mut world = World::formed(2);
    world.apply(0, &blue());
    world.run(2_000);
    world.delete(1, "blue");
    world.run(2_000);
    assert!(world.node(0).segment_lines().is_empty());
    assert!(world.inputs(0).unwrap().segments.is_empty());
    world.restart_with(0, &blue());
    world.run(3_000);
    assert!(
        world.node(0).segment_lines().is_empty(),
        "a host's file brought a deleted segment back"
    );
    world.apply(0, &blue());
    world.run(2_000);
    assert_eq!(world.node(1).segment_lines().len(), 1);
}

#[test]
fn segments_that_cannot_stand_together_are_refused_and_nothing_changes() {
    let mut world = World::formed(1);
    world.apply(0, &blue());
    let green = blue().replace("blue", "green");
    let refusal = world.apply_as(0, &green, Run::Real, Force::No).unwrap_err();
    assert!(refusal.what.contains("VNI 10"), "{refusal}");
    assert_eq!(world.node(0).segment_lines().len(), 1);
    let routed = blue().replace("mode: nat", "mode: routed");
    let Done::Applied { segments, .. } = world.apply_as(0, &routed, Run::Dry, Force::No).unwrap() else {
        panic!("it was applied");
    };
    let field = segments[0].fields.iter().find(|field| field.key == "mode").unwrap();
    assert_eq!(
        (field.old.as_deref(), field.new.as_deref()),
        (Some("nat"), Some("routed"))
    );
    assert_eq!(world.node(0).segment_lines()[0].mode(), "nat");
}

#[test]
fn a_smaller_underlay_anywhere_makes_the_segment_smaller_everywhere() {
    let mut world = World::formed(3);
    world.apply(0, &blue());
    world.run(2_000);
    world.set_underlay_mtu(1, 1400);
    world.run(500);
    for host in 0..3 {
        assert_eq!(
            world
                .inputs(host)
                .unwrap()
                .segments
                .values()
                .next()
                .unwrap()
                .mtu
                .bytes(),
            1350,
            "host {host}"
        );
    }
    // Whoever is asked names the host; an operator who wants it so is told nothing.
    let told = |world: &World| {
        let lowered = world
            .problems(0)
            .into_iter()
            .find(|finding| finding.id == Id::MtuLowered);
        lowered.map(|finding| (finding.host, finding.evidence))
    };
    let evidence = "hv2: the underlay carries 1400 bytes, less than on the other hosts, so guests of blue are told an MTU \
                    of 1350 instead of 1450";
    assert_eq!(told(&world), Some(("hv2".to_owned(), evidence.to_owned())));
    world.apply(0, &blue().replace("vni: 10", "vni: 10\n    mtu: 1350"));
    world.run(500);
    assert_eq!(told(&world), None);
}

#[test]
fn a_planned_move_ends_where_it_was_meant_to() {
    let mut world = World::formed(3);
    world.apply(0, &blue());
    world.run(9_000);
    let from = world.gateways("blue")[0].clone();
    let to = ["hv1", "hv2", "hv3"].into_iter().find(|name| *name != from).unwrap();
    let done = world.move_gateway(0, "blue", Some(to)).unwrap();
    assert!(matches!(done, Done::Moved { .. }), "{done:?}");
    assert_eq!(world.gateways("blue"), [to]);
}

#[test]
fn a_move_is_answered_when_the_receivers_kernel_has_the_address_whichever_host_was_asked() {
    for asked in 0..3 {
        let mut world = World::formed(3);
        world.apply(0, &blue());
        world.run(9_000);
        world.address_takes = Duration::from_millis(400);
        let from = world.gateways("blue")[0].clone();
        for to in ["hv1", "hv2", "hv3"].into_iter().filter(|name| *name != from) {
            world.move_gateway(asked, "blue", Some(to)).unwrap();
            assert_eq!(world.gateways("blue"), [to], "asked hv{}", asked + 1);
            world.run(2_000);
        }
    }
}

#[test]
fn a_move_to_a_drained_host_is_refused_at_once_and_by_name_whichever_host_was_asked() {
    let mut world = World::formed(3);
    world.apply(0, &blue());
    world.run(9_000);
    let holder = world.index(&world.gateways("blue")[0].clone());
    let drained = (holder + 1) % 3;
    world.drain(drained);
    world.run(1_000);
    for asked in 0..3 {
        let refusal = world.move_refusal(asked, "blue", &format!("hv{}", drained + 1));
        assert_eq!(
            refusal,
            format!("host hv{} is drained", drained + 1),
            "asked hv{}",
            asked + 1
        );
    }
}

#[test]
fn a_move_to_a_host_that_is_just_back_waits_for_it_and_one_to_a_dead_host_does_not() {
    let mut world = World::formed(3);
    world.apply(0, &blue());
    world.run(9_000);
    let holder = world.index(&world.gateways("blue")[0].clone());
    let to = (holder + 1) % 3;
    let name = format!("hv{}", to + 1);
    world.cut(to);
    world.run(2_000);
    world.heal(to);
    while world.state_of(holder, to) != PeerState::Alive {
        world.run(1);
    }
    world.move_gateway(holder, "blue", Some(&name)).unwrap();
    assert_eq!(world.gateways("blue"), [name]);

    world.kill_host(holder);
    world.run(9_000);
    let refusal = world.move_refusal(to, "blue", &format!("hv{}", holder + 1));
    assert_eq!(
        refusal,
        format!("host hv{} does not respond to the gateway host", holder + 1)
    );
}

#[test]
fn a_gateway_whose_journal_is_lost_goes_where_addresses_can_be_given_if_there_is_such_a_host() {
    let mut world = World::formed(2);
    world.apply(0, &blue());
    world.run(9_000);
    let before = world.gateways("blue")[0].clone();
    let holder = world.index(&before);
    world.lose_journal(holder);
    world.undrain(holder);
    world.run(3_000);
    let after = world.gateways("blue");
    assert!(after.len() == 1 && after != [before.as_str()], "{after:?}");
    let problems = world.problems(holder);
    assert!(
        problems[0].evidence.contains("owns and keeps no addresses"),
        "{problems:?}"
    );
    let hint = |world: &World| world.problems(holder)[0].fix.clone();
    assert!(hint(&world).contains("restart overlayd"), "{}", hint(&world));
    world.lose_journal(1 - holder);
    world.run(9_000);
    assert_eq!(world.gateways("blue"), after, "nobody else is better");
    world.forget_journal(holder);
    world.run(9_000);
    assert!(hint(&world).contains("overlayctl leave --force"), "{}", hint(&world));
}

#[test]
fn bridge_netfilter_that_is_left_on_is_a_problem_of_the_host_concerned() {
    let mut world = World::formed(2);
    world.apply(0, &blue());
    world.run(3_000);
    world.set_bridge_netfilter(1, BridgeNetfilter::LeftOn);
    assert_eq!(world.problems(0), []);
    let problems = world.problems(1);
    assert!(problems[0].evidence.contains("bridge netfilter is on"), "{problems:?}");
    let hint = problems[0].fix.as_str();
    assert!(hint.contains("host.bridge_netfilter: off"), "{hint}");
    world.set_bridge_netfilter(1, BridgeNetfilter::LeftOff);
    assert_eq!(world.problems(1), []);
}

#[test]
fn guests_are_told_to_all_and_programmed_behind_their_host() {
    let mut world = World::formed(2);
    world.apply(0, &blue());
    world.run(2_000);
    world.hear_guest(1, "br-blue", "52:54:00:00:00:01", "vnet0");
    world.run(500);
    let id = *world.inputs(0).unwrap().segments.keys().next().unwrap();
    let endpoints = &world.inputs(0).unwrap().segments[&id].endpoints;
    assert_eq!(
        endpoints.get(&"52:54:00:00:00:01".parse().unwrap()),
        Some(&"172.31.0.12".parse().unwrap())
    );
    let blue = SegmentName::new("blue").unwrap();
    let line = &world.node(0).endpoint_lines(Some(&blue), world.now)[0];
    assert_eq!((line.host.as_str(), line.interface.as_deref()), ("hv2", Some("vnet0")));
}

#[test]
fn the_ranges_of_a_removed_host_are_inherited() {
    let mut world = World::formed(3);
    world.apply(1, &blue());
    world.run(5_000);
    world.kill_host(1);
    world.run(25_000);
    world.remove(0, "hv2").unwrap();
    world.run(10_000);
    for host in [0, 2] {
        let owners: Vec<_> = world
            .node(host)
            .pool_lines(None, world.now)
            .into_iter()
            .map(|line| line.owner)
            .collect();
        let orphaned = owners
            .iter()
            .any(|owner| !matches!(owner.as_deref(), Some("hv1" | "hv3")));
        assert!(!orphaned, "as seen by host {host}: {owners:?}");
    }
}

fn silent() -> Health {
    Health::Silent(NextHop {
        link: IfName::new("eth0").unwrap(),
        address: "192.0.2.1".parse().unwrap(),
    })
}

/// What `status` says is wrong on a host, and its line of `gateway list`.
fn told(world: &World, host: usize) -> (Vec<String>, String) {
    let problems = world.problems(host).into_iter().map(|problem| problem.evidence);
    (
        problems.collect(),
        world.node(host).gateway_lines(world.now)[0].reason.clone(),
    )
}

#[test]
fn a_gateway_whose_next_hop_falls_silent_moves_and_both_hosts_say_why() {
    let mut world = World::formed(3);
    world.apply(0, &blue());
    world.run(15_000);
    let before = world.gateways("blue")[0].clone();
    let holder = world.index(&before);
    let other = (holder + 1) % 3;
    assert_eq!(told(&world, holder).0, [""; 0]);
    world.set_uplink(holder, silent());
    let why = "uplink eth0: next hop 192.0.2.1 does not respond";
    let (problems, reason) = told(&world, holder);
    assert_eq!(problems, [why]);
    assert!(
        reason.ends_with(why) || world.gateways("blue") != [before.as_str()],
        "{reason}"
    );
    assert!(world.notes(holder).contains(why), "{}", world.notes(holder));
    world.run(4_000);
    let after = world.gateways("blue");
    assert_eq!(after.len(), 1);
    assert_ne!(after, [before.as_str()]);
    assert_eq!(told(&world, other).0, [""; 0], "it says itself what is wrong");
    assert_eq!(world.reported(other), [(before.clone(), why.to_owned())]);
    world.set_uplink(holder, Health::Works);
    world.run(2_000);
    assert_eq!(world.gateways("blue"), after, "an incumbent stays");
    for host in 0..3 {
        assert_eq!(told(&world, host).0, [""; 0]);
        assert_eq!(world.reported(host), []);
    }
    assert!(world.notes(holder).contains("the uplink works"));
}

#[test]
fn where_nobody_has_an_uplink_there_is_a_gateway_and_its_line_says_what_is_missing() {
    let mut world = World::formed(2);
    world.apply(0, &blue());
    world.run(15_000);
    let before = world.gateways("blue");
    // The router that serves both dies; the holder is the first to notice.
    let holder = world.index(&before[0]);
    world.set_uplink(holder, silent());
    world.run(1_200);
    world.set_uplink(1 - holder, silent());
    world.run(40_000);
    assert_eq!(world.gateways("blue"), before);
    assert!(told(&world, holder).1.ends_with("next hop 192.0.2.1 does not respond"));
    let reason = told(&world, 1 - holder).1;
    assert!(
        reason.ends_with(&format!("the uplink of {} does not work", before[0])),
        "{reason}"
    );
    world.kill_host(holder);
    world.run(3_000);
    assert_eq!(world.gateways("blue").len(), 1, "the other one takes it all the same");
}

#[test]
fn a_segment_whose_guests_would_be_told_no_resolver_is_named_where_they_need_one() {
    let mut world = World::formed(1);
    world.set_resolvers(0, &[]);
    let own = "    dns: { upstream: [ 203.0.113.1 ] }\n";
    let ipv6 = "    dns: { upstream: [ \"2001:db8::53\" ] }\n";
    for (segment, missing) in [
        (blue(), true),
        (format!("{}{ipv6}", blue()), true),
        (format!("{}{own}", blue()), false),
        (blue().replace("mode: nat", "mode: isolated"), false),
    ] {
        world.apply(0, &segment);
        world.run(5_000);
        let problems = told(&world, 0).0.join("\n");
        assert_eq!(
            problems.contains("no resolver that guests can reach"),
            missing,
            "{segment}: {problems}"
        );
    }
    world.apply(0, &blue());
    world.set_resolvers(0, &["192.0.2.53".parse().unwrap()]);
    assert_eq!(told(&world, 0).0, [""; 0]);
}

#[test]
fn a_segment_that_leads_nowhere_misses_no_uplink() {
    let mut world = World::formed(2);
    world.apply(0, &blue().replace("mode: nat", "mode: isolated"));
    world.run(5_000);
    world.set_uplink(0, silent());
    world.set_uplink(1, silent());
    world.run(2_000);
    let (problems, reason) = told(&world, 0);
    assert_eq!(problems, [""; 0]);
    assert!(!reason.contains("uplink"), "{reason}");
}

#[test]
fn a_firewall_that_drops_vxlan_on_one_of_ten_hosts_is_named_on_all_within_ten_seconds() {
    let mut world = World::formed(10);
    world.apply(0, &blue());
    world.run(20_000);
    assert!((0..10).all(|host| world.blocked(host).is_empty()), "all is well");
    world.filter_vxlan(1, true);
    world.run(10_000);
    let others = (1..=10).filter(|host| *host != 2);
    let mut blocked: Vec<String> = others.map(|host| format!("hv{host} to hv2")).collect();
    blocked.sort_unstable();
    for host in 0..10 {
        assert_eq!(world.blocked(host), blocked, "as host {host} sees it");
    }
    world.filter_vxlan(1, false);
    world.run(8_000);
    assert!((0..10).all(|host| world.blocked(host).is_empty()), "all is well again");
}
