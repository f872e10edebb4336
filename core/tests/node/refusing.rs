//! Guests that ask for more time and are told no, so that they ask anew: their address is not in the range any more, is
//! reserved for another, or they have a reservation elsewhere. Who cannot have another address yet keeps its own.

use std::net::Ipv4Addr;

use overlayd_core::lease::LeaseState;
use overlayd_core::node::{Done, Force};

use crate::world::{ACK, NAK, OFFER, World, blue};

const GUEST: &str = "52:54:00:00:00:01";
const OTHER: &str = "52:54:00:00:00:02";
const OLD: Ipv4Addr = Ipv4Addr::new(192, 168, 124, 200);
const NEW: Ipv4Addr = Ipv4Addr::new(192, 168, 124, 20);

fn with(reservation: &str) -> String {
    let dhcp = format!("192.168.124.16-192.168.124.254, reservations: [{reservation}] }}");
    blue().replace("192.168.124.16-192.168.124.254 }", &dhcp)
}

fn reserved(mac: &str, address: Ipv4Addr) -> String {
    with(&format!("{{ mac: \"{mac}\", address: {address} }}"))
}

/// Hosts with blue, and a guest on the first that has an address.
fn leased(hosts: usize) -> World {
    let mut world = World::formed(hosts);
    world.apply(0, &blue());
    world.run(3_000);
    assert_eq!(world.ask(0, GUEST, OLD), Some((ACK, OLD)));
    world
}

fn renew(world: &mut World, mac: &str, address: Ipv4Addr) -> Option<(u8, Ipv4Addr)> {
    let gateway = world.index(&world.gateways("blue")[0]);
    world.request(gateway, mac, address);
    world.run(1_500);
    world.reply(gateway, mac)
}

fn discover(world: &mut World, mac: &str) -> Option<(u8, Ipv4Addr)> {
    let gateway = world.index(&world.gateways("blue")[0]);
    world.discover(gateway, mac);
    world.run(3_000);
    world.reply(gateway, mac)
}

#[test]
fn a_guest_outside_a_shrunk_range_is_refused_and_gets_another_address() {
    let mut world = leased(3);
    let smaller = blue().replace("192.168.124.254", "192.168.124.100");
    world.try_apply(1, &smaller, Force::Yes).unwrap();
    world.run(2_000);
    assert_eq!(renew(&mut world, GUEST, OLD).map(|(kind, _)| kind), Some(NAK));
    let (kind, address) = discover(&mut world, GUEST).unwrap();
    assert_eq!(kind, OFFER);
    assert!(address.octets()[3] <= 100, "{address}");
    assert_eq!(renew(&mut world, GUEST, address), Some((ACK, address)));
}

#[test]
fn a_reservation_takes_hold_when_its_guest_asks_for_more_time() {
    let mut world = leased(3);
    world.apply(1, &reserved(GUEST, NEW));
    world.run(2_000);
    assert_eq!(renew(&mut world, GUEST, OLD).map(|(kind, _)| kind), Some(NAK));
    assert_eq!(discover(&mut world, GUEST), Some((OFFER, NEW)));
    let held = |world: &World| {
        let lines = world.node(2).lease_lines(None, world.now);
        let mine = lines.into_iter().find(|line| line.lease.address.ip() == NEW);
        mine.is_some_and(|line| line.lease.state == LeaseState::Settled && line.lease.is_held())
    };
    assert!(!held(&world), "nobody was there yet");
    assert_eq!(renew(&mut world, GUEST, NEW), Some((ACK, NEW)));
    world.run(1_000);
    assert!(held(&world), "{:?}", world.node(2).lease_lines(None, world.now));
}

#[test]
fn a_guest_whose_address_is_reserved_for_another_is_refused() {
    let mut world = leased(3);
    world.apply(1, &reserved(OTHER, OLD));
    world.run(2_000);
    // The other one does not wait for it.
    assert_eq!(discover(&mut world, OTHER).map(|(kind, _)| kind), Some(OFFER));
    assert_eq!(renew(&mut world, GUEST, OLD).map(|(kind, _)| kind), Some(NAK));
}

#[test]
fn a_guest_keeps_its_address_while_the_one_that_is_reserved_for_it_is_out_of_reach_or_held() {
    let mut world = leased(3);
    // Held by another.
    assert_eq!(world.ask(1, OTHER, NEW), Some((ACK, NEW)));
    world.apply(1, &reserved(GUEST, NEW));
    world.run(2_000);
    assert_eq!(renew(&mut world, GUEST, OLD), Some((ACK, OLD)));

    let mut world = leased(3);
    world.apply(1, &reserved(GUEST, NEW));
    world.run(2_000);
    let lines = world.node(0).lease_lines(None, world.now);
    let of_new = lines.into_iter().find(|line| line.lease.address.ip() == NEW).unwrap();
    let of_old = world.holder_of(0, OLD).unwrap().1;
    if of_new.owner != of_old {
        let owner = world.index(&of_new.owner);
        world.kill_host(owner);
        world.run(5_000);
        assert_eq!(renew(&mut world, GUEST, OLD), Some((ACK, OLD)));
    }
}

#[test]
fn a_lease_is_released_while_its_guest_is_attached_only_by_force_and_then_nobody_extends_it() {
    let mut world = leased(3);
    world.plug(0, "br-blue", "vnet0");
    let refusal = world.release(2, OLD, Force::No).unwrap_err();
    assert!(refusal.to_string().contains("1 lease"), "{refusal}");
    assert!(
        refusal.hint.as_ref().is_some_and(|hint| hint.contains("hv1 (vnet0)")),
        "{refusal:?}"
    );
    assert_eq!(renew(&mut world, GUEST, OLD), Some((ACK, OLD)));
    assert_eq!(world.release(2, OLD, Force::Yes), Ok(Done::Released));
    world.run(500);
    assert_eq!(renew(&mut world, GUEST, OLD).map(|(kind, _)| kind), Some(NAK));
    let (kind, address) = discover(&mut world, GUEST).unwrap();
    assert_eq!(kind, OFFER);
    assert_ne!(address, OLD);
    assert_ne!(
        renew(&mut world, OTHER, OLD),
        Some((ACK, OLD)),
        "its guest may use it yet"
    );
    let again = world.release(1, OLD, Force::Yes).unwrap_err();
    assert!(again.to_string().contains("no lease"), "{again}");
}
