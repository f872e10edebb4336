//! Guests that have set an address of the pool by hand, and what others are given beside them.

use std::net::Ipv4Addr;

use overlayd_core::id::Mac;

use crate::world::{ACK, NAK, OFFER, World, blue};

const STATIC: Mac = Mac([0x52, 0x54, 0, 0, 0, 0x99]);

/// One host with a segment, in which guests have these addresses by hand from before the gateway is there.
fn beside(addresses: &[u8]) -> World {
    let mut world = World::formed(1);
    world.by_hand = addresses.iter().map(|last| (blues(*last), STATIC)).collect();
    world.apply(0, &blue());
    world.run(2_000);
    world
}

fn blues(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 124, last)
}

fn guest(number: u8) -> String {
    format!("52:54:00:00:01:{number:02x}")
}

/// What a new guest is offered by this gateway, and after how many milliseconds.
fn offered(world: &mut World, gateway: usize, guest: &str) -> (Ipv4Addr, u64) {
    world.discover(gateway, guest);
    let mut waited = 0;
    loop {
        match world.reply(gateway, guest) {
            Some((OFFER, address)) => return (address, waited),
            Some(other) => panic!("{other:?}"),
            None => assert!(waited < 3_000, "no offer"),
        }
        world.run(1);
        waited += 1;
    }
}

#[test]
fn an_address_that_a_guest_has_set_by_hand_is_offered_to_nobody_else() {
    let mut world = beside(&[16, 18]);
    let mut given = Vec::new();
    for number in 0..10 {
        let (address, waited) = offered(&mut world, 0, &guest(number));
        assert_eq!(waited, 0, "asked ahead");
        world.request(0, &guest(number), address);
        world.run(100);
        assert_eq!(world.reply(0, &guest(number)), Some((ACK, address)));
        given.push(address.octets()[3]);
    }
    assert_eq!(given, [17, 19, 20, 21, 22, 23, 24, 25, 26, 27]);
}

#[test]
fn one_that_was_set_after_it_was_asked_for_is_found_before_the_offer_or_refused_at_the_request() {
    let mut world = beside(&[]);
    world.run(120_000);
    world.by_hand.insert(blues(16), STATIC);
    let (address, waited) = offered(&mut world, 0, &guest(1));
    assert_ne!(address, blues(16));
    assert!(waited <= 20, "{waited} ms");
    world.request(0, &guest(2), blues(16));
    world.run(100);
    assert_eq!(world.reply(0, &guest(2)).map(|(kind, _)| kind), Some(NAK));
    world.request(0, &STATIC.to_string(), blues(16));
    world.run(100);
    assert_eq!(
        world.reply(0, &STATIC.to_string()),
        Some((ACK, blues(16))),
        "its user may lease it"
    );
}

#[test]
fn one_that_was_set_just_before_the_offer_is_refused_at_the_request() {
    let mut world = beside(&[]);
    world.run(5_000);
    world.by_hand.insert(blues(16), STATIC);
    assert_eq!(
        offered(&mut world, 0, &guest(1)),
        (blues(16), 0),
        "asked ahead, and once more"
    );
    world.run(5);
    world.request(0, &guest(1), blues(16));
    world.run(100);
    assert_eq!(world.reply(0, &guest(1)).map(|(kind, _)| kind), Some(NAK));
    assert_ne!(offered(&mut world, 0, &guest(1)).0, blues(16));
}

#[test]
fn an_address_rests_a_minute_and_is_asked_for_again_before_it_is_offered() {
    let mut world = beside(&[16]);
    world.by_hand.clear();
    world.run(61_000);
    let mut offers = (0..239).map(|number| offered(&mut world, 0, &guest(number)).0);
    assert!(offers.any(|address| address == blues(16)));
}

#[test]
fn one_guest_that_answers_for_all_addresses_does_not_empty_the_pool() {
    let all: Vec<u8> = (16..=254).collect();
    let mut world = beside(&all);
    let (address, _) = offered(&mut world, 0, &guest(1));
    world.request(0, &guest(1), address);
    world.run(100);
    assert_eq!(world.reply(0, &guest(1)), Some((ACK, address)));
}

#[test]
fn made_up_guests_do_not_keep_a_real_one_from_its_address() {
    let mut world = beside(&[]);
    for number in 0..600 {
        world.discover(0, &format!("52:54:00:00:{:02x}:{:02x}", 2 + number / 256, number % 256));
        world.run(1);
    }
    let (address, waited) = offered(&mut world, 0, &guest(1));
    assert!(waited <= 1_000, "{waited} ms");
    world.request(0, &guest(1), address);
    world.run(100);
    assert_eq!(world.reply(0, &guest(1)), Some((ACK, address)));
}

#[test]
fn an_address_whose_lease_was_ended_is_free_for_others_though_it_was_heard() {
    let mut world = World::formed(2);
    let one = blue().replace("192.168.124.254", "192.168.124.16");
    world.apply(0, &one);
    world.run(3_000);
    let gateway = world.index(&world.gateways("blue")[0]);
    let (before, after) = (guest(1), guest(2));
    world.hear_guest(1, "br-blue", &before, "vnet0");
    let (address, _) = offered(&mut world, gateway, &before);
    world.request(gateway, &before, address);
    world.run(200);
    world.hear_address(1, &before, address);
    world.run(200);
    world.give_back(gateway, &before, address);
    world.run(1_000);
    let listed = |world: &World| world.node(0).endpoint_lines(None, world.now)[0].addresses.clone();
    assert!(listed(&world).is_empty(), "its lease has ended");
    assert_eq!(offered(&mut world, gateway, &after).0, address);
    // Whoever goes on using it is heard, and keeps it from others.
    world.run(20_000);
    world.hear_address(1, &before, address);
    world.run(200);
    assert_eq!(listed(&world), [address]);
    world.discover(gateway, &guest(3));
    world.run(3_000);
    assert_eq!(world.reply(gateway, &guest(3)), None);
}

#[test]
fn a_guest_that_has_moved_is_not_taken_back_by_what_is_heard_of_it() {
    let mut world = World::formed(2);
    world.apply(0, &blue());
    world.run(3_000);
    world.hear_guest(0, "br-blue", &guest(1), "vnet0");
    world.run(500);
    world.hear_guest(1, "br-blue", &guest(1), "vnet0");
    world.run(500);
    // Its old port is up still, and its broadcasts come by VXLAN.
    world.hear_address(0, &guest(1), blues(16));
    world.hear_address(1, &guest(1), blues(16));
    world.run(500);
    let lines = world.node(0).endpoint_lines(None, world.now);
    assert_eq!(
        (lines[0].host.as_str(), lines[0].addresses.as_slice()),
        ("hv2", [blues(16).into()].as_slice())
    );
}

#[test]
fn an_address_that_arp_has_shown_is_listed_everywhere_and_given_to_nobody_else() {
    let mut world = World::formed(2);
    world.apply(0, &blue());
    world.run(3_000);
    for host in 0..2 {
        world.hear_guest(host, "br-blue", &guest(host as u8), "vnet0");
        world.hear_address(host, &guest(host as u8), blues(16 + host as u8));
    }
    // Broadcasts of other hosts' guests are heard, too.
    world.hear_address(0, &guest(1), blues(17));
    world.hear_address(0, &guest(0), Ipv4Addr::new(10, 0, 0, 1));
    world.run(1_000);
    for host in 0..2 {
        let lines = world.node(host).endpoint_lines(None, world.now);
        let addresses: Vec<_> = lines.iter().map(|line| line.addresses.as_slice()).collect();
        assert_eq!(addresses, [[blues(16)], [blues(17)]]);
    }
    let gateway = world.index(&world.gateways("blue")[0]);
    for number in 2..40 {
        world.discover(gateway, &guest(number));
        world.run(30);
        let (_, address) = world.reply(gateway, &guest(number)).unwrap();
        assert!(![blues(16), blues(17)].contains(&address));
    }
}
