//! `pool recover`.

use std::net::Ipv4Addr;

use overlayd_core::node::Done;
use overlayd_core::time::Duration;

use crate::world::{World, blue};

const ACK: u8 = 5;

fn short() -> String {
    blue().replace(".254 }", ".254, lease_time: 1m }")
}

/// The relied-on time of a lease of a minute.
const FULL: Duration = Duration::from_millis(71_800);

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 124, last)
}

fn hint(world: &World, host: usize) -> String {
    let problems = world.problems(host);
    let hints = problems.into_iter().map(|problem| problem.fix);
    hints.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_only_host_left_begins_with_an_empty_journal_and_gives_no_address_twice() {
    let mut world = World::formed(2);
    world.apply(0, &short());
    world.run(9_000);
    assert!(world.recover(0).unwrap_err().what.contains("nothing to recover"));
    let (kind, held) = world.ask(0, "52:54:00:00:00:01", address(20)).unwrap();
    assert_eq!((kind, held), (ACK, address(20)));
    world.kill_host(1);
    world.run(25_000);
    world.lose_journal(0);
    let refusal = world.recover(0).unwrap_err();
    assert!(refusal.what.contains("may be whole"), "{refusal}");
    world.forget_journal(0);
    let refusal = world.recover(0).unwrap_err();
    assert!(refusal.what.contains("not the only member: hv2"), "{refusal}");
    assert!(refusal.hint.unwrap().contains("overlayctl peer remove"));
    world.remove(0, "hv2").unwrap();
    world.run(2_000);
    assert!(
        hint(&world, 0).contains("overlayctl pool recover"),
        "{}",
        hint(&world, 0)
    );
    assert_eq!(world.recover(0), Ok(Done::Recovered { quarantine: FULL }));
    // Nobody knows what its guests rely on: no address is given, nor taken away.
    assert!(
        hint(&world, 0).starts_with("wait (`overlayctl pool show blue`)"),
        "{}",
        hint(&world, 0)
    );
    world.run(55_000);
    assert_eq!(world.ask(0, "52:54:00:00:00:02", address(20)), None);
    assert_eq!(world.ask(0, "52:54:00:00:00:01", address(20)), None);
    world.restart(0);
    world.run(80_000);
    let again = world.ask(0, "52:54:00:00:00:02", address(20));
    assert_eq!(
        again,
        Some((ACK, address(20))),
        "{:?}",
        world.node(0).pool_lines(None, world.now)
    );
}

#[test]
fn a_joiner_whose_way_in_is_gone_takes_part_by_the_operators_word() {
    let mut world = World::formed(1);
    world.apply(0, &short());
    world.run(5_000);
    let joiner = world.add("hv2");
    world.join(joiner, 0).unwrap();
    world.kill_host(0);
    world.run(25_000);
    let refusal = world.recover(joiner).unwrap_err();
    assert!(refusal.what.contains("hv1"), "{refusal}");
    world.remove(joiner, "hv1").unwrap();
    world.run(2_000);
    assert!(
        hint(&world, joiner).contains("overlayctl pool recover"),
        "{}",
        hint(&world, joiner)
    );
    let another = world.add("hv3");
    world.join(another, joiner).unwrap();
    assert_eq!(world.recover(joiner), Ok(Done::Recovered { quarantine: FULL }));
    world.run(3_000);
    assert_eq!(world.ask(another, "52:54:00:00:00:02", address(20)), None);
    world.run(80_000);
    assert_eq!(
        world.ask(another, "52:54:00:00:00:02", address(20)),
        Some((ACK, address(20)))
    );
    assert_eq!(hint(&world, another), "");
}

#[test]
fn a_segment_that_is_older_than_its_leases_is_named_and_serves_once_it_is_applied_again() {
    let mut world = World::formed(1);
    world.apply(0, &blue());
    world.run(5_000);
    world.crash_unsaved(0, |world| {
        world.apply(0, &short());
        world.run(1_000);
    });
    world.run(9_000);
    let problems = world.problems(0);
    assert!(
        problems[0].evidence.contains("generation 2 is lost on this host"),
        "{problems:?}"
    );
    assert_eq!(world.ask(0, "52:54:00:00:00:01", address(20)), None);
    // What it has, and what was lost: either will do.
    for text in [blue(), short()] {
        world.apply(0, &text);
        world.run(1_000);
        assert_eq!(world.ask(0, "52:54:00:00:00:01", address(20)), Some((ACK, address(20))));
        assert_eq!(world.problems(0), []);
    }
}

#[test]
fn a_lost_journal_is_not_forgotten_by_a_restart() {
    let mut world = World::formed(1);
    world.apply(0, &short());
    world.run(5_000);
    assert_eq!(world.ask(0, "52:54:00:00:00:01", address(20)), Some((ACK, address(20))));
    world.forget_journal(0);
    for _ in 0..2 {
        world.run(9_000);
        assert!(
            hint(&world, 0).contains("overlayctl pool recover"),
            "{:?}",
            world.problems(0)
        );
        world.kill_agent(0);
        world.restart(0);
    }
    world.run(2_000);
    assert_eq!(world.recover(0), Ok(Done::Recovered { quarantine: FULL }));
    world.restart(0);
    world.run(80_000);
    assert_eq!(hint(&world, 0), "");
    assert_eq!(world.ask(0, "52:54:00:00:00:02", address(20)), Some((ACK, address(20))));
}

#[test]
fn a_host_that_lost_its_journal_does_not_take_part_again_by_what_it_hears_from_others() {
    let mut world = World::formed(3);
    world.apply(0, &short());
    world.run(9_000);
    world.forget_journal(1);
    world.run(9_000);
    // The others forget what they had heard from it.
    for host in [0, 2, 1] {
        world.kill_agent(host);
    }
    for host in 0..3 {
        world.restart(host);
    }
    world.run(20_000);
    let problems = world.problems(1);
    assert!(
        problems.iter().any(|problem| problem.evidence.contains("journal")),
        "{problems:?}"
    );
}

#[test]
fn a_host_whose_disk_refuses_is_no_keeper_from_then_on() {
    let mut world = World::formed(2);
    world.apply(0, &blue());
    world.run(9_000);
    let gateway = world.index(&world.gateways("blue")[0]);
    let other = 1 - gateway;
    // What it could not write is about the segment and its members, and so is what it would say of itself.
    world.fill_disk(other);
    world.apply(gateway, &blue().replace(".254 }", ".250 }"));
    world.run(50);
    world.lose_journal(other);
    world.run(3_000);
    let lease = world.ask(other, "52:54:00:00:00:01", address(20));
    assert_eq!(lease, Some((ACK, address(20))));
}

#[test]
fn a_host_that_lost_its_journal_holds_up_neither_new_addresses_nor_leases() {
    let mut world = World::formed(3);
    world.apply(0, &blue().replace(".254 }", ".100 }"));
    world.run(9_000);
    let gateway = world.index(&world.gateways("blue")[0]);
    let lost = (gateway + 1) % 3;
    world.forget_journal(lost);
    world.run(9_000);
    let problems = world.problems(gateway);
    let named = format!("the journal of hv{} is lost", lost + 1);
    assert!(
        problems.iter().any(|problem| problem.evidence.contains(&named)),
        "{problems:?}"
    );
    world.apply(gateway, &blue());
    world.run(3_000);
    let lease = world.ask(lost, "52:54:00:00:00:01", address(200));
    assert_eq!(lease, Some((ACK, address(200))));
    let joiner = world.add("hv4");
    world.join(joiner, gateway).unwrap();
    world.run(3_000);
    let refusal = world.recover(joiner).unwrap_err();
    assert!(refusal.what.contains("nothing is lost"), "{refusal}");
}
