//! A change on trial is rolled back on every host unless somebody confirms it in time.

use overlayd_core::node::{Done, Force, Run};

use crate::world::{World, blue};

const TRIAL: Run = Run::OnTrial { seconds: 60 };

fn modes(world: &World, hosts: usize) -> Vec<&'static str> {
    let mode = |host| world.node(host).segment_lines().first().map(|line| line.mode());
    (0..hosts).map(|host| mode(host).unwrap_or("none")).collect()
}

fn routed() -> String {
    blue().replace("mode: nat", "mode: routed")
}

#[test]
fn a_change_that_nobody_confirms_is_rolled_back_everywhere_also_where_a_host_is_cut_off() {
    let mut world = World::formed(3);
    world.apply(0, &blue());
    world.run(2_000);
    world.apply_as(0, &routed(), TRIAL, Force::No).unwrap();
    world.run(2_000);
    assert_eq!(modes(&world, 3), ["routed"; 3]);
    world.cut(2);
    world.run(50_000);
    assert_eq!(modes(&world, 3), ["routed"; 3]);
    world.run(12_000);
    assert_eq!(modes(&world, 3), ["nat"; 3]);
    assert!(world.notes(2).contains("segment rolled back"), "{}", world.notes(2));
    world.heal(2);
    world.run(10_000);
    assert_eq!(modes(&world, 3), ["nat"; 3]);
}

#[test]
fn what_was_confirmed_stays_also_where_a_host_that_was_cut_off_has_rolled_it_back() {
    let mut world = World::formed(3);
    world.apply(0, &blue());
    world.run(2_000);
    world.apply_as(0, &routed(), TRIAL, Force::No).unwrap();
    world.run(2_000);
    world.cut(2);
    let now = world.now;
    let confirmed = world.node_mut(1).confirm(now).unwrap();
    assert_eq!(confirmed.len(), 1);
    assert!(
        world.node_mut(1).confirm(now).is_err(),
        "there is nothing left to confirm"
    );
    world.run(65_000);
    assert_eq!(modes(&world, 3), ["routed", "routed", "nat"]);
    world.heal(2);
    world.run(10_000);
    assert_eq!(modes(&world, 3), ["routed"; 3]);
}

#[test]
fn a_segment_that_was_new_goes_and_a_second_trial_goes_back_to_what_was_confirmed_last() {
    let mut world = World::formed(2);
    world.apply_as(0, &blue(), TRIAL, Force::No).unwrap();
    world.run(65_000);
    assert_eq!(modes(&world, 2), ["none"; 2]);
    world.apply(0, &blue());
    world.apply_as(0, &routed(), TRIAL, Force::No).unwrap();
    world.run(1_000);
    let isolated = blue().replace("mode: nat", "mode: isolated");
    world.apply_as(1, &isolated, TRIAL, Force::No).unwrap();
    world.run(1_000);
    assert_eq!(modes(&world, 2), ["isolated"; 2]);
    world.run(65_000);
    assert_eq!(modes(&world, 2), ["nat"; 2]);
}

#[test]
fn a_host_that_restarts_meanwhile_rolls_back_by_itself() {
    let mut world = World::formed(2);
    world.apply(0, &blue());
    world.run(2_000);
    world.apply_as(0, &routed(), TRIAL, Force::No).unwrap();
    world.run(2_000);
    world.cut(1);
    world.kill_agent(1);
    world.run(30_000);
    world.restart(1);
    world.run(59_000);
    assert_eq!(modes(&world, 2), ["nat", "routed"]);
    world.run(2_000);
    assert_eq!(modes(&world, 2), ["nat"; 2]);
}

#[test]
fn what_an_operator_writes_meanwhile_is_final_also_against_a_host_that_has_rolled_back() {
    for again in [routed(), blue().replace("mode: nat", "mode: isolated")] {
        let mut world = World::formed(3);
        world.apply(0, &blue());
        world.apply_as(0, &routed(), TRIAL, Force::No).unwrap();
        world.run(2_000);
        world.cut(2);
        world.run(40_000);
        world.apply(1, &again);
        world.run(25_000);
        assert_eq!(modes(&world, 3)[2], "nat", "it has rolled back alone");
        world.heal(2);
        world.run(10_000);
        let expected = if again == routed() { "routed" } else { "isolated" };
        assert_eq!(modes(&world, 3), [expected; 3]);
    }
}

#[test]
fn what_changes_nothing_is_not_on_trial() {
    let mut world = World::formed(2);
    world.apply(0, &blue());
    let Done::Applied { notes, .. } = world.apply_as(0, &blue(), TRIAL, Force::No).unwrap() else {
        panic!("it was applied");
    };
    assert_eq!(notes, [""; 0]);
    let now = world.now;
    assert!(world.node_mut(0).confirm(now).is_err());
}

#[test]
fn nothing_is_applied_that_does_not_fit_with_what_may_come_back() {
    let mut world = World::formed(1);
    world.apply(0, &blue());
    let moved = blue().replace("vni: 10", "vni: 11");
    world.apply_as(0, &moved, TRIAL, Force::No).unwrap();
    let red = "segments:\n  - { name: red, vni: 10 }\n";
    let refusal = world.apply_as(0, red, Run::Real, Force::No).unwrap_err();
    assert!(refusal.what.contains("segment blue is on trial"), "{refusal}");
    let now = world.now;
    world.node_mut(0).confirm(now).unwrap();
    world.apply(0, red);
}
