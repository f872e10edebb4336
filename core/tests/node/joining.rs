//! What a host brings along, and learns, when it joins.

use std::net::Ipv4Addr;

use overlayd_core::cluster::membership::PeerState;
use overlayd_core::node::Done;

use crate::world::{ACK, NAK, World, blue};

const ONE: &str = "52:54:00:00:00:01";
const OTHER: &str = "52:54:00:00:00:02";

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 124, last)
}

/// Three hosts: two in a cluster with blue, and a loner with a blue of its own.
fn two_and_a_loner() -> (World, usize) {
    let mut world = World::formed(2);
    world.apply(0, &blue());
    let loner = world.add("loner");
    world.init(loner);
    world.apply(loner, &blue());
    world.run(3_000);
    (world, loner)
}

#[test]
fn a_newcomer_learns_the_leases_that_were_given_before_it_came() {
    let mut world = World::formed(2);
    world.apply(0, &blue());
    world.run(3_000);
    assert_eq!(world.ask(0, ONE, address(50)), Some((ACK, address(50))));
    let newcomer = world.add("hv3");
    world.join(newcomer, 1).unwrap();
    world.run(3_000);
    let (client, _) = world.holder_of(newcomer, address(50)).unwrap();
    assert_eq!(client, ONE);
}

#[test]
fn a_loner_that_joins_brings_its_leases() {
    let (mut world, loner) = two_and_a_loner();
    assert_eq!(world.ask_at(loner, loner, ONE, address(50)), Some((ACK, address(50))));
    world.join_by_force(loner, 0).unwrap();
    world.run(5_000);
    for host in 0..3 {
        let (client, owner) = world.holder_of(host, address(50)).unwrap();
        assert_eq!(client, ONE, "as seen by host {host}");
        assert_ne!(owner, "");
    }
    // Somebody else asks for it in vain, its guest goes on.
    assert_eq!(world.ask(1, OTHER, address(50)).map(|(kind, _)| kind), Some(NAK));
    assert_eq!(world.ask(loner, ONE, address(50)), Some((ACK, address(50))));
}

#[test]
fn a_call_that_waits_for_the_cluster_that_is_given_up_is_refused() {
    let (mut world, loner) = two_and_a_loner();
    world.forget_journal(loner);
    world.fill_disk(loner);
    let call = world.begin_recover(loner);
    world.run(10);
    assert_eq!(world.answer(loner, call), None, "it waits for the disk");
    world.join_by_force(loner, 0).unwrap();
    let refusal = world.answer(loner, call).unwrap().clone().unwrap_err();
    assert_eq!(refusal.what, "this host has joined another cluster meanwhile");
}

#[test]
fn a_lease_that_is_taken_where_a_loner_joins_is_named_and_its_guest_hears_nak() {
    let (mut world, loner) = two_and_a_loner();
    let gateway = (0..2)
        .find(|host| world.gateways("blue").contains(&format!("hv{}", host + 1)))
        .unwrap();
    assert_eq!(world.ask_at(gateway, 0, OTHER, address(50)), Some((ACK, address(50))));
    assert_eq!(world.ask_at(loner, loner, ONE, address(50)), Some((ACK, address(50))));
    world.join_by_force(loner, 0).unwrap();
    world.run(5_000);
    let notes = world.notes(loner);
    assert!(notes.contains(ONE) && notes.contains("192.168.124.50"), "{notes}");
    assert_eq!(world.ask(loner, ONE, address(50)).map(|(kind, _)| kind), Some(NAK));
    assert_eq!(world.ask(0, OTHER, address(50)), Some((ACK, address(50))));
}

#[test]
fn a_loners_bridges_are_connected_when_its_leases_are_settled() {
    let (mut world, loner) = two_and_a_loner();
    assert_eq!(world.ask_at(loner, loner, ONE, address(50)), Some((ACK, address(50))));
    world.join_by_force(loner, 0).unwrap();
    let mut settled = false;
    for _ in 0..6_000 {
        world.run(1);
        let inputs = world.inputs(loner).unwrap();
        let connected = inputs.members.len() > 1 || inputs.segments.values().any(|it| !it.peers.is_empty());
        let told = world.holder_of(0, address(50)).is_some() || world.holder_of(1, address(50)).is_some();
        settled |= told;
        assert!(settled || !connected, "connected before its lease was bound");
        if connected {
            return;
        }
    }
    panic!("it was never connected");
}

#[test]
fn a_loner_whose_leases_cannot_be_settled_is_connected_all_the_same() {
    let (mut world, loner) = two_and_a_loner();
    assert_eq!(world.ask_at(loner, loner, ONE, address(50)), Some((ACK, address(50))));
    // The cluster's pool has no such address.
    world.apply(0, &blue().replace("124.16-", "124.100-"));
    world.run(1_000);
    world.join_by_force(loner, 0).unwrap();
    world.run(6_000);
    let inputs = world.inputs(loner).unwrap();
    assert_eq!(inputs.segments.values().next().unwrap().peers.len(), 2);
    let notes = world.notes(loner);
    assert!(notes.contains(ONE) && notes.contains("192.168.124.50"), "{notes}");
}

#[test]
fn a_host_does_not_join_itself_whoever_asks() {
    let mut world = World::formed(1);
    world.apply(0, &blue());
    world.run(3_000);
    let refusal = world.join(0, 0).unwrap_err();
    assert_eq!(refusal.what, "172.31.0.11 is this host itself");
    assert_eq!(refusal.hint.unwrap(), "run this on the other hosts");
    let refusal = world.invite(0, 0).unwrap_err();
    assert_eq!(refusal.what, "172.31.0.11 is this host itself");
    // By an address that it did not know as its own.
    let refusal = world.let_itself_in(0).unwrap_err();
    assert_eq!(refusal.what, "172.31.0.11 is this host itself");
    world.run(3_000);
    assert_eq!(
        world.ask(0, ONE, address(50)),
        Some((ACK, address(50))),
        "it owns addresses"
    );
}

#[test]
fn a_list_that_names_the_host_itself_is_searched_without_it() {
    let mut world = World::formed(1);
    let newcomer = world.add("hv2");
    world.join_by_list(newcomer, &[newcomer, 0]);
    world.run(2_000);
    assert_eq!(world.states(0).len(), 2);
    let hermit = world.add("hv3");
    world.join_by_list(hermit, &[hermit]);
    world.run(2_000);
    let waiting = world.node(hermit).waiting().unwrap();
    assert!(waiting.contains("172.31.0.13 is this host itself"), "{waiting}");
}

#[test]
fn a_member_that_is_joined_or_invited_again_is_no_failure() {
    let mut world = World::formed(2);
    for done in [world.join(0, 1).unwrap(), world.invite(0, 1).unwrap()] {
        let Done::AlreadyMember { host, hosts, .. } = done else {
            panic!("{done:?}")
        };
        assert_eq!((host.as_str(), hosts), ("hv2", 2));
    }
}

#[test]
fn a_join_that_is_given_up_ends_at_once_unless_the_host_has_been_let_in() {
    let mut world = World::formed(1);
    let [early, late] = ["hv2", "hv3"].map(|name| world.add(name));
    // Nobody was asked yet: the underlay is still looked for.
    let call = world.begin_join(early, 0);
    world.cancel_join(early).unwrap();
    let refusal = world.answer(early, call);
    assert!(refusal.is_none(), "its call is on its way");
    world.run(100);
    assert!(matches!(world.answer(early, call), Some(Ok(Done::Joined { .. }))));
    assert_eq!(world.states(0).len(), 2, "both sides think the same");

    world.cut(0);
    let call = world.begin_join(late, 0);
    world.run(3_000);
    world.cancel_join(late).unwrap();
    world.run(5_000);
    let refusal = world.answer(late, call).unwrap().clone().unwrap_err();
    assert_eq!(refusal.what, "the join was cancelled; nothing was changed");
    assert_eq!(world.states(0).len(), 2);
    assert!(world.cancel_join(late).is_err(), "there is none any more");
}

#[test]
fn a_host_that_was_cleaned_up_joins_again_without_anybodys_help() {
    let mut world = World::formed(3);
    world.apply(0, &blue());
    world.run(3_000);
    world.clean_up(2);
    world.join(2, 0).unwrap();
    world.run(3_000);
    for host in 0..3 {
        assert_eq!(world.states(host), [PeerState::Alive; 3], "as seen by host {host}");
    }
    assert!(world.notes(0).contains("host was removed from the cluster"));
}

#[test]
fn what_a_newcomer_was_is_not_removed_while_it_is_heard() {
    let mut world = World::formed(2);
    let newcomer = world.add("hv3");
    // As if a state directory had been copied before it was cleaned up.
    world.claim_to_have_been(newcomer, 1);
    let refusal = world.join(newcomer, 0).unwrap_err();
    assert!(refusal.what.contains("the former host hv2"), "{refusal}");
    assert_eq!(world.states(0), [PeerState::Alive; 2]);
}

#[test]
fn a_loner_with_guests_or_segments_of_its_own_gives_them_up_only_by_force_and_only_there() {
    let (mut world, loner) = two_and_a_loner();
    world.apply(
        loner,
        &blue()
            .replace("blue", "red")
            .replace("vni: 10", "vni: 20")
            .replace("124.", "125."),
    );
    world.plug(loner, "br-blue", "tap0");
    let refusal = world.join(loner, 0).unwrap_err();
    let losses: Vec<String> = refusal.losses.iter().map(ToString::to_string).collect();
    assert_eq!(
        losses,
        ["blue: port tap0 on loner", "blue: the segment", "red: the segment"]
    );
    assert!(refusal.hint.unwrap().contains("join --force"));
    world.allow_plain_text(loner);
    let refusal = world.be_invited(loner, 0).unwrap_err();
    assert_eq!(refusal.losses.len(), 3, "{refusal}");
    assert_eq!(world.states(loner).len(), 1, "nothing was changed");

    let Done::Joined { losses, gave_way, .. } = world.join_by_force(loner, 0).unwrap() else {
        panic!()
    };
    let losses: Vec<String> = losses.iter().map(ToString::to_string).collect();
    assert_eq!(losses, ["red: the segment"], "blue goes on");
    assert_eq!(gave_way.len(), 1, "{gave_way:?}");
}

#[test]
fn what_stands_in_a_loners_file_is_introduced_where_it_joins_and_is_no_loss() {
    let mut world = World::formed(2);
    let loner = world.add("loner");
    world.reload(loner, |text| format!("{text}{}", blue())).unwrap();
    world.init(loner);
    world.join(loner, 0).unwrap();
    world.run(3_000);
    assert_eq!(world.node(0).segment_lines().len(), 1);
}
