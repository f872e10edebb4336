//! What costs guests something for good is refused with the list of it, unless it is forced.

use overlayd_core::id::SegmentName;
use overlayd_core::node::{Applied, Done, Force, Refusal, Run};

use crate::world::{ACK, World, blue, segments};

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
    let now = world.now;
    world.node_mut(0).apply(&segments(text), run, force, now)
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
