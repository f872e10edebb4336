//! A changed configuration file, and segments that stand in one.

use overlayd_core::node::Refusal;

use crate::world::{World, blue};

fn names(world: &World, host: usize) -> Vec<String> {
    let lines = world.node(host).segment_lines();
    lines.iter().map(|line| line.segment.name.to_string()).collect()
}

/// Hosts of a file with `segments`, and everything else as it was.
fn with_blue(text: &str) -> String {
    format!("{text}{}", blue())
}

#[test]
fn a_segment_that_is_new_in_a_members_file_is_introduced_after_a_reload_and_after_a_restart() {
    let mut world = World::formed(2);
    world.reload(1, with_blue).unwrap();
    world.run(3_000);
    assert_eq!(names(&world, 0), ["blue"]);
    world.kill_agent(0);
    world.edit(0, |text| {
        with_blue(text)
            .replace("name: blue", "name: green")
            .replace("vni: 10", "vni: 11")
            .replace("124.", "125.")
    });
    world.restart(0);
    world.run(5_000);
    assert_eq!(names(&world, 1), ["blue", "green"]);
}

#[test]
fn a_members_file_introduces_nothing_before_it_has_heard_what_the_others_know() {
    let mut world = World::formed(2);
    world.part(0, 1);
    world.apply(0, &blue().replace("vni: 10", "vni: 12"));
    world.reload(1, with_blue).unwrap();
    world.run(5_000);
    assert!(names(&world, 1).is_empty(), "nobody can say whether the name is new");
    world.unite(0, 1);
    world.run(8_000);
    for host in 0..2 {
        assert_eq!(world.node(host).segment_lines()[0].vni().number(), 12);
    }
}

#[test]
fn a_deleted_segment_is_not_brought_back_by_a_file() {
    let mut world = World::formed(2);
    world.apply(0, &blue());
    world.run(2_000);
    world.delete(0, "blue");
    world.run(2_000);
    world.reload(1, with_blue).unwrap();
    world.run(3_000);
    assert!(names(&world, 0).is_empty());
}

#[test]
fn each_change_is_named_and_one_that_cannot_be_used_changes_nothing() {
    let mut world = World::formed(2);
    world
        .reload(1, |text| {
            text.replace("name: hv2", "name: hv2, gateway: { priority: 7 }")
        })
        .unwrap();
    world.run(100);
    assert!(
        world.notes(1).contains("host.gateway.priority") && world.notes(1).contains("applied"),
        "{}",
        world.notes(1)
    );
    assert_eq!(world.node(1).config().host.gateway.priority, 7);
    let refused = |result: Result<(), Refusal>| result.unwrap_err().what;
    let what = refused(world.reload(1, |text| text.replace("name: hv2", "name: hv1")));
    assert!(what.contains("has the name hv1"), "{what}");
    assert_eq!(world.node(1).config().host.name.as_deref(), Some("hv2"));
    let newcomer = world.add("hv3");
    world
        .reload(newcomer, |text| format!("{text}state_dir: /elsewhere\n"))
        .unwrap();
    assert_ne!(
        world.node(newcomer).config().state_dir.to_str(),
        Some("/elsewhere"),
        "it is read at a start alone"
    );
    assert!(
        world.notes(newcomer).contains("needs a restart"),
        "{}",
        world.notes(newcomer)
    );
}

#[test]
fn a_list_to_join_by_takes_hold_at_once() {
    let mut world = World::formed(1);
    let newcomer = world.add("hv2");
    world
        .reload(newcomer, |text| {
            text.replace("cluster: {", "cluster: { join: [ 172.31.0.11 ],")
        })
        .unwrap();
    world.run(2_000);
    assert_eq!(world.states(0).len(), 2);
}
