//! Hosts that give way: drained, about to stop, or with a segment that is not whole.

use overlayd_core::health::Id;

use super::world::{World, blue};

/// Three hosts with a segment, and the index of its gateway.
fn three() -> (World, usize) {
    let mut world = World::formed(3);
    world.apply(0, &blue());
    world.run(9_000);
    let gateway = gateway(&world);
    (world, gateway)
}

fn gateway(world: &World) -> usize {
    let gateways = world.gateways("blue");
    assert_eq!(gateways.len(), 1, "{gateways:?}");
    world.index(&gateways[0])
}

#[test]
fn a_drain_outlives_the_agent_and_a_hand_over_for_a_shutdown_ends_with_it() {
    let (mut world, before) = three();
    world.drain(before);
    world.run(1_000);
    assert_ne!(gateway(&world), before);
    world.kill_agent(before);
    world.restart(before);
    world.run(1_000);
    assert!(world.is_drained(before), "drained over a restart");
    world.undrain(before);
    world.kill_agent(before);
    world.restart(before);
    world.run(9_000);
    assert!(!world.is_drained(before), "undrained over a restart");

    let after = gateway(&world);
    world.depart(after);
    world.run(1_000);
    assert_ne!(gateway(&world), after);
    world.kill_host(after);
    world.restart(after);
    world.run(1_000);
    assert!(!world.is_drained(after), "a shutdown drains nobody");
}

#[test]
fn an_operators_drain_is_not_undone_by_a_shutdown_nor_by_a_leave_that_is_refused() {
    let (mut world, gateway) = three();
    let drained = (gateway + 1) % 3;
    world.drain(drained);
    world.run(1_000);
    world.depart(drained);
    world.run(1_000);
    world.kill_host(drained);
    world.restart(drained);
    world.run(9_000);
    assert!(world.is_drained(drained));
}

#[test]
fn where_all_hosts_are_drained_one_serves_over_a_power_cut_and_says_so() {
    let (mut world, _) = three();
    for host in 0..3 {
        world.drain(host);
        world.run(1_000);
    }
    gateway(&world);
    for host in 0..3 {
        world.kill_host(host);
    }
    world.run(1_000);
    for host in 0..3 {
        world.restart(host);
    }
    world.run(9_000);
    let serves = gateway(&world);
    for host in 0..3 {
        let problems = world.problems(host);
        assert!(
            problems.iter().any(|problem| problem.id == Id::AllDrained),
            "{problems:?}"
        );
    }
    world.undrain((serves + 1) % 3);
    world.run(2_000);
    assert_eq!(
        gateway(&world),
        (serves + 1) % 3,
        "one that is not drained takes it at once"
    );
}

#[test]
fn a_shutdown_hands_over_to_a_drained_host_where_no_other_is_left() {
    let (mut world, before) = three();
    let (drained, dead) = ((before + 1) % 3, (before + 2) % 3);
    world.drain(drained);
    world.kill_host(dead);
    world.run(9_000);
    world.depart(before);
    world.run(1_000);
    assert_eq!(gateway(&world), drained);
}

#[test]
fn a_segment_that_is_not_whole_moves_its_gateway_and_a_move_back_is_refused_by_name() {
    let (mut world, before) = three();
    world.run(5_000);
    world.set_lacking(before, &["blue"]);
    world.run(1_000);
    assert_eq!(gateway(&world), before, "the others may lack the same");
    world.run(3_000);
    let after = gateway(&world);
    assert_ne!(after, before);
    let name = format!("hv{}", before + 1);
    for asked in 0..3 {
        let refusal = world.move_refusal(asked, "blue", &name);
        assert_eq!(
            refusal,
            format!("host {name} cannot do the job: segment blue is not whole there")
        );
    }
    // Where it is so everywhere the gateway stays.
    for host in 0..3 {
        world.set_lacking(host, &["blue"]);
    }
    world.run(15_000);
    assert_eq!(gateway(&world), after);
}

#[test]
fn what_is_wrong_on_a_host_is_read_on_every_other_until_it_is_not_wrong_any_more() {
    let (mut world, _) = three();
    world.refuse_changes(1, &["`ip link set vx-blue up` failed: EADDRINUSE"]);
    world.run(2_000);
    let said = [(
        "hv2".to_owned(),
        "`ip link set vx-blue up` failed: EADDRINUSE".to_owned(),
    )];
    assert_eq!(world.reported(0), said);
    assert_eq!(world.reported(2), said);
    assert_eq!(world.reported(1), [], "its own it says at first hand");
    // What was said before a restart is taken back by the first look after it.
    world.kill_agent(1);
    world.restart(1);
    world.run(5_000);
    for host in 0..3 {
        assert_eq!(world.reported(host), []);
    }
}
