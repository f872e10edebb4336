//! Addresses that go from one owner to another while their guests ask for them.

use std::net::Ipv4Addr;

use crate::world::{ACK, World, blue};

const GUEST: &str = "52:54:00:00:00:01";

/// Three hosts and a guest on the gateway, whose address another host owns that is asked to leave.
fn owner_leaves() -> (World, usize, Ipv4Addr) {
    let mut world = World::formed(3);
    world.apply(0, &blue());
    world.run(3_000);
    let gateway = world.index(&world.gateways("blue")[0]);
    for last in (16..=254).step_by(20) {
        let address = Ipv4Addr::new(192, 168, 124, last);
        assert_eq!(world.ask_at(gateway, gateway, GUEST, address), Some((ACK, address)));
        let (_, owner) = world.holder_of(gateway, address).unwrap();
        let owner = world.index(&owner);
        if owner != gateway {
            world.begin_leave(owner);
            return (world, gateway, address);
        }
    }
    panic!("the gateway owns all");
}

#[test]
fn a_guest_that_asks_while_its_address_is_given_to_its_gateway_is_answered() {
    let (mut world, gateway, address) = owner_leaves();
    let name = format!("hv{}", gateway + 1);
    let given = (0..5_000).find(|_| {
        world.run(1);
        world
            .holder_of(gateway, address)
            .is_some_and(|(_, owner)| owner == name)
    });
    let given = given.expect("the gateway is given it") + 1;
    for after in given - 6..given + 3 {
        let (mut world, ..) = owner_leaves();
        world.run(after);
        world.request(gateway, GUEST, address);
        world.run(100);
        let reply = world.reply(gateway, GUEST);
        assert_eq!(reply, Some((ACK, address)), "{after} ms, given after {given} ms");
    }
}
