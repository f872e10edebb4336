//! What costs guests something for good is refused with the list of it, unless it is forced.

use overlayd_core::id::SegmentName;
use overlayd_core::node::{Applied, Done, Force, Refusal, Run};

use crate::world::{ACK, World, blue};

const MAC: &str = "52:54:00:aa:bb:01";

/// Two hosts and segment blue, with a guest on the second that has leased .20.
fn in_use() -> World {
    let mut world = World::formed(2);
    world.apply(0, &blue());
    world.run(3_000);
    let answer = world.ask(1, MAC, [192, 168, 124, 20].into()).unwrap();
    assert_eq!(answer.0, ACK);
    world.plug(1, "br-blue", "vnet0");
    world.run(1_000);
    world
}

fn apply(world: &mut World, text: &str, run: Run, force: Force) -> Result<Vec<Applied>, Refusal> {
    match world.apply_as(0, text, run, force)? {
        Done::Applied { segments, .. } => Ok(segments),
        other => panic!("{other:?}"),
    }
}

fn delete(world: &mut World, force: Force) -> Result<Vec<String>, Refusal> {
    let (now, name) = (world.now, SegmentName::new("blue").unwrap());
    let deleted = world.node_mut(0).delete_segment(&name, force, now)?;
    Ok(deleted.losses.iter().map(ToString::to_string).collect())
}

fn listed(refusal: &Refusal) -> Vec<String> {
    refusal.losses.iter().map(ToString::to_string).collect()
}

const PORT: &str = "blue: port vnet0 on hv2, guest 52:54:00:aa:bb:01 (192.168.124.20)";
const GATEWAY: &str = "blue: gateway address 192.168.124.1/24";

#[test]
fn a_segment_with_guests_on_any_host_is_deleted_by_force_alone() {
    let mut world = in_use();
    let refusal = delete(&mut world, Force::No).unwrap_err();
    assert_eq!(
        refusal.what,
        "segment blue: guests would lose 1 attached port and 1 gateway address"
    );
    assert_eq!(listed(&refusal), [PORT, GATEWAY]);
    assert!(refusal.hint.unwrap().contains("--force"));
    assert_eq!(world.node(0).segment_lines().len(), 1);
    assert_eq!(delete(&mut world, Force::Yes).unwrap(), [PORT, GATEWAY]);
    assert!(world.node(0).segment_lines().is_empty());
}

#[test]
fn guests_of_a_host_that_is_out_of_reach_count_as_they_were_known_last() {
    let mut world = in_use();
    world.kill_host(1);
    world.run(20_000);
    let refusal = delete(&mut world, Force::No).unwrap_err();
    let last_known = PORT.replace("hv2,", "hv2 (out of reach, last known),");
    assert_eq!(listed(&refusal)[0], last_known);
}

#[test]
fn a_smaller_range_or_another_gateway_is_refused_with_the_leases_outside() {
    let mut world = in_use();
    let smaller = blue().replace("124.16-", "124.100-");
    let refusal = apply(&mut world, &smaller, Run::Real, Force::No).unwrap_err();
    assert_eq!(listed(&refusal), [format!("blue: lease 192.168.124.20 of {MAC}")]);
    assert!(refusal.hint.unwrap().contains("renew"));
    let elsewhere = blue().replace(
        "subnet: 192.168.124.0/24",
        "subnet: 192.168.124.0/24\n      gateway: 192.168.124.2",
    );
    let dry = apply(&mut world, &elsewhere, Run::Dry, Force::No).unwrap();
    assert_eq!(dry[0].losses.len(), 1, "a rehearsal says it and refuses nothing");
    let refusal = apply(&mut world, &elsewhere, Run::Real, Force::No).unwrap_err();
    assert_eq!(listed(&refusal), [GATEWAY]);
    let done = apply(&mut world, &elsewhere, Run::Real, Force::Yes).unwrap();
    assert_eq!(done[0].losses.len(), 1);
}

#[test]
fn a_host_leaves_with_its_guests_by_force_alone_and_the_last_one_with_any_lease() {
    let mut world = in_use();
    let refusal = world.leave(1, Force::No).unwrap_err();
    assert_eq!(listed(&refusal), [PORT]);
    let Done::Left { losses, .. } = world.leave(1, Force::Yes).unwrap() else {
        panic!("it left")
    };
    assert_eq!(losses.len(), 1);
    world.run(2_000);
    let refusal = world.leave(0, Force::No).unwrap_err();
    assert_eq!(listed(&refusal)[0], format!("blue: lease 192.168.124.20 of {MAC}"));
}

fn published(port: &str) -> String {
    format!(
        "{}    ports: [ {{ protocol: tcp, listen: {port}, to: '192.168.124.20:80' }} ]\n",
        blue()
    )
}

#[test]
fn a_port_that_something_listens_on_at_any_candidate_is_published_by_force_alone() {
    let mut world = World::formed(3);
    world.apply(0, &blue());
    world.listens(1, "sshd", 22);
    world.listens(2, "", 22);
    let refusal = world
        .apply_as(0, &published("20-22"), Run::Real, Force::No)
        .unwrap_err();
    assert_eq!(
        refusal.what,
        "published port tcp/22 is in use by a program on hv3, sshd on hv2"
    );
    assert!(world.node(0).segment_lines()[0].segment.ports.is_empty());
    let notes = |done: Done| match done {
        Done::Applied { notes, .. } => notes,
        other => panic!("{other:?}"),
    };
    let done = world.apply_as(0, &published("8080"), Run::Real, Force::No).unwrap();
    assert_eq!(notes(done), [""; 0]);
    let done = world.apply_as(0, &published("22"), Run::Real, Force::Yes).unwrap();
    assert_eq!(notes(done).len(), 1);
    // What is published already is not asked about again: it has long been taken.
    let done = world.apply_as(0, &published("22"), Run::Real, Force::No).unwrap();
    assert_eq!(notes(done), [""; 0]);
}

#[test]
fn hosts_that_do_not_respond_are_named_as_unknown_and_stop_nothing() {
    let mut world = World::formed(3);
    world.apply(0, &blue());
    world.cut(2);
    let before = world.now;
    let Done::Applied { notes, .. } = world.apply_as(0, &published("22"), Run::Real, Force::No).unwrap() else {
        panic!("it was applied");
    };
    assert!(world.now.since(before).as_millis() < 2_500);
    assert_eq!(
        notes,
        ["hv3 does not respond: whether something listens on tcp/22 there is unknown"]
    );
}

#[test]
fn a_static_peer_of_another_family_or_in_a_multicast_segment_is_refused_by_name() {
    let mut world = World::formed(1);
    let red = blue()
        .replace("blue", "red")
        .replace("vni: 10", "vni: 11\n    transport: { multicast: 239.0.0.10 }")
        .replace("192.168.124", "192.168.125");
    world.apply(0, &format!("{}{}", blue(), red.replace("segments:\n", "")));
    let now = world.now;
    let name = |name: &str| SegmentName::new(name).unwrap();
    let mut add = |address: &str, segment: Option<&str>| {
        let segment = segment.map(name);
        world
            .node_mut(0)
            .add_static_peer(address.parse().unwrap(), segment.as_ref(), now)
    };
    let refused = add("2001:db8::60", None).unwrap_err();
    assert!(
        refused.what.contains("IPv6") && refused.what.contains("172.31.0.11"),
        "{refused}"
    );
    let refused = add("192.0.2.60", Some("red")).unwrap_err();
    assert!(refused.what.contains("segment red is multicast"), "{refused}");
    assert!(refused.hint.unwrap().contains("239.0.0.10"));
    assert!(add("224.0.0.1", None).is_err() && add("127.0.0.1", None).is_err());
    assert_eq!(add("192.0.2.60", None).unwrap(), [name("blue")]);
}
