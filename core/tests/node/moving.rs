//! Guests that move from host to host, and MACs that two guests have.

use std::collections::BTreeSet;

use overlayd_core::health::Id;
use overlayd_core::id::Mac;

use super::world::{World, blue};

const MAC: &str = "52:54:00:00:00:01";

/// The hosts that endpoint lists name, one per host.
fn listed(world: &World) -> Vec<Vec<String>> {
    let lines = |host| world.node(host).endpoint_lines(None, world.now).into_iter();
    (0..3).map(|host| lines(host).map(|line| line.host).collect()).collect()
}

fn moved_away(world: &World, host: usize) -> BTreeSet<Mac> {
    let segments = world.inputs(host).unwrap().segments.values();
    segments.flat_map(|it| it.moved_away.clone()).collect()
}

fn is_reached_elsewhere(world: &World, host: usize) -> bool {
    let mac: Mac = MAC.parse().unwrap();
    let mut segments = world.inputs(host).unwrap().segments.values();
    segments.any(|it| it.endpoints.contains_key(&mac))
}

fn with_a_guest_on(host: usize) -> World {
    let mut world = World::formed(3);
    world.apply(0, &blue());
    world.run(3_000);
    world.hear_guest(host, "br-blue", MAC, "vnet0");
    world.run(200);
    world
}

#[test]
fn a_guest_heard_on_another_host_is_there_for_all_and_the_port_that_it_had_is_out_of_date() {
    for (from, to) in [(0, 1), (1, 0)] {
        let mut world = with_a_guest_on(from);
        assert!(is_reached_elsewhere(&world, to));
        // Before anybody has agreed, what is heard on a port is new: nothing says that it moved away from there.
        assert!(moved_away(&world, to).is_empty());
        world.hear_guest(to, "br-blue", MAC, "vnet0");
        world.run(100);
        assert_eq!(listed(&world), vec![vec![format!("hv{}", to + 1)]; 3]);
        assert!(!is_reached_elsewhere(&world, to));
        // The old port is still up, and its host's bridge knows it for up to 300 s.
        assert_eq!(moved_away(&world, from), BTreeSet::from([MAC.parse().unwrap()]));
        world.hear_nobody(from);
        world.run(100);
        assert!(moved_away(&world, from).is_empty());
        assert_eq!(listed(&world), vec![vec![format!("hv{}", to + 1)]; 3]);
        // And it may come back at any time.
        world.hear_guest(from, "br-blue", MAC, "vnet0");
        world.run(100);
        assert_eq!(listed(&world), vec![vec![format!("hv{}", from + 1)]; 3]);
    }
}

#[test]
fn a_guest_that_one_host_misses_at_the_moment_at_which_another_hears_it_is_there() {
    // Both say so with the same sequence, and the tie goes to the higher host id, whichever that is.
    for (from, to) in [(0, 1), (1, 0)] {
        let mut world = with_a_guest_on(from);
        world.hear_guest(to, "br-blue", MAC, "vnet0");
        world.hear_nobody(from);
        world.run(200);
        assert_eq!(listed(&world), vec![vec![format!("hv{}", to + 1)]; 3]);
    }
}

#[test]
fn a_mac_that_two_guests_have_stays_after_five_moves_and_is_named() {
    let mut world = with_a_guest_on(0);
    for at in 1..8 {
        world.hear_nobody((at + 1) % 2);
        world.hear_guest(at % 2, "br-blue", MAC, "vnet0");
        world.run(200);
        let named: Vec<bool> = (0..3).map(|host| !world.problems(host).is_empty()).collect();
        assert_eq!(named, [at >= 5; 3], "after {at} moves");
    }
    assert_eq!(listed(&world), [["hv2"], ["hv2"], ["hv2"]]);
    assert_eq!(moved_away(&world, 0), BTreeSet::from([MAC.parse().unwrap()]));
    let problems = world.problems(2);
    assert_eq!(problems[0].id, Id::DuplicateMac);
    assert!(problems[0].evidence.contains("from hv1 to hv2"), "{problems:?}");
    // It is forgotten in the end.
    world.run(181_000);
    assert!(world.problems(2).is_empty());
    world.hear_guest(0, "br-blue", MAC, "vnet0");
    world.run(200);
    assert_eq!(listed(&world), [["hv1"], ["hv1"], ["hv1"]]);
}
