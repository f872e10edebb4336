//! Segments that are deleted and applied again, with guests that never heard of it.

use std::net::Ipv4Addr;

use overlayd_core::health::Id;

use crate::world::{ACK, OFFER, World, blue};

const GUEST: &str = "52:54:00:00:00:01";
const OTHER: &str = "52:54:00:00:00:02";
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 124, 20);
/// A full time of blue, in milliseconds: 1.03 times ten minutes, and 10 s.
const FULL_TIME: u64 = 628_000;

fn short() -> String {
    blue().replace("dhcp: { ", "dhcp: { lease_time: 10m, ")
}

/// The same subnet under another VNI: not the same segment.
fn elsewhere() -> String {
    short().replace("vni: 10", "vni: 11")
}

/// Three hosts, and a guest on the first that has its address.
fn leased() -> World {
    let mut world = World::formed(3);
    world.apply(0, &short());
    world.run(3_000);
    assert_eq!(world.ask(0, GUEST, ADDRESS), Some((ACK, ADDRESS)));
    world
}

/// What a guest hears that never had an address, from the gateway that there is by now.
fn new_guest(world: &mut World) -> Option<u8> {
    let gateway = world.index(&world.gateways("blue")[0]);
    world.discover(gateway, OTHER);
    world.run(1_000);
    world.reply(gateway, OTHER).map(|(kind, _)| kind)
}

#[test]
fn a_segment_that_is_applied_again_goes_on_and_its_guests_keep_their_addresses() {
    for again in [100, 5_000, 120_000] {
        let mut world = leased();
        world.delete(1, "blue");
        world.run(again);
        world.apply(2, &short());
        world.run(3_000);
        assert_eq!(new_guest(&mut world), Some(OFFER), "after {again} ms");
        assert_eq!(world.ask(0, GUEST, ADDRESS), Some((ACK, ADDRESS)), "after {again} ms");
        assert_ne!(world.ask(1, OTHER, ADDRESS), Some((ACK, ADDRESS)), "after {again} ms");
    }
}

#[test]
fn it_goes_on_while_a_member_is_down_and_over_restarts_of_all() {
    let mut world = leased();
    world.kill_host(2);
    world.run(4_000);
    world.delete(0, "blue");
    world.run(2_000);
    for host in [0, 1] {
        world.kill_agent(host);
        world.restart(host);
    }
    world.run(10_000);
    world.apply(1, &short());
    world.run(5_000);
    assert_eq!(new_guest(&mut world), Some(OFFER), "{:?}", world.problems(0));
    assert_eq!(world.ask(0, GUEST, ADDRESS), Some((ACK, ADDRESS)),);
    world.restart(2);
    world.run(10_000);
    assert_eq!(world.ask(2, GUEST, ADDRESS), Some((ACK, ADDRESS)),);
    assert!(world.problems(0).is_empty(), "{:?}", world.problems(0));
}

#[test]
fn another_segment_waits_for_the_guests_of_the_deleted_one_and_says_so() {
    let mut world = leased();
    world.delete(0, "blue");
    world.run(2_000);
    world.apply(0, &elsewhere());
    world.run(3_000);
    assert_ne!(new_guest(&mut world), Some(OFFER));
    let waits = |world: &World| world.problems(0).iter().any(|problem| problem.id == Id::AddressesWait);
    assert!(waits(&world), "{:?}", world.problems(0));
    let lines = world.node(0).pool_lines(None, world.now);
    assert!(lines.iter().any(|line| line.waits.is_some()), "{lines:?}");

    world.kill_agent(0);
    world.restart(0);
    world.run(2_000);
    assert!(waits(&world), "{:?}", world.problems(0));
    // A restarted host inherits what it had introduced: it is quarantined from then on.
    world.run(FULL_TIME + 30_000);
    assert_eq!(new_guest(&mut world), Some(OFFER), "{:?}", world.problems(0));
    assert!(!waits(&world), "{:?}", world.problems(0));
}

#[test]
fn a_member_that_does_not_know_of_the_deletion_is_waited_for_by_name_until_it_is_removed() {
    let mut world = leased();
    world.kill_host(2);
    world.run(4_000);
    world.delete(0, "blue");
    world.run(2_000);
    world.apply(0, &elsewhere());
    world.run(FULL_TIME + 10_000);
    assert_ne!(new_guest(&mut world), Some(OFFER));
    let problems = world.problems(0);
    let waits = problems.iter().find(|problem| problem.id == Id::AddressesWait);
    let waits = waits.unwrap_or_else(|| panic!("{problems:?}"));
    assert!(waits.evidence.contains("for hv3"), "{waits:?}");
    assert!(waits.fix.contains("peer remove hv3"), "{waits:?}");

    world.remove(0, "hv3").unwrap();
    world.run(FULL_TIME + 10_000);
    assert_eq!(new_guest(&mut world), Some(OFFER), "{:?}", world.problems(0));
    assert_eq!(world.problems(0), []);
}
