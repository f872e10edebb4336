//! Guests that are refused the address that they have, because another waits for them.

use super::super::World;
use super::super::core;
use super::calm;
use crate::report::Violation;
use core::addresses::{Basis, ReservedAddress};

pub(super) fn its_reserved_address_is_out_of_reach() -> Result<(), Violation> {
    let mut world = calm(2, 11, None);
    let guest = world.guest(0);
    let address = world.gets(guest, 0);
    let client = world.guests[guest].mac;
    // What the guest does not have, of the other's share.
    let own = |host: usize, world: &World| {
        let all = [10, 11].map(World::address);
        all.into_iter()
            .find(|other| world.owns(host, *other) && *other != address)
    };
    let (far, reserved) = match (own(1, &world), own(0, &world)) {
        (Some(reserved), _) => (1, reserved),
        (None, Some(reserved)) => (0, reserved),
        (None, None) => return world.end(),
    };
    let near = 1 - far;
    world.apply(0, |pool| {
        pool.reservations = vec![ReservedAddress {
            client,
            address: reserved,
            hostname: None,
        }];
    });
    world.wait(4_000);
    world.cut(&[far], true);
    world.wait(4_000);
    world.guests[guest].home = near;
    let before = world.relies(guest).is_some();
    world.request(guest, near, address, Basis::Having);
    world.wait(1_000);
    if before && world.relies(guest).is_none() {
        world.broken(
            "a guest is refused only where it gets its reserved address",
            format!("guest {guest} at host {near} hears no, and host {far} is out of reach"),
        );
    }
    world.heal();
    world.wait(2_000);
    world.request(guest, near, address, Basis::Having);
    world.wait(1_000);
    if world.relies(guest).is_some() {
        world.broken(
            "a settled reservation takes hold",
            format!("guest {guest} keeps {address}"),
        );
    }
    world.gets(guest, near);
    if world.relies(guest).is_none_or(|held| held.address != reserved) {
        world.broken(
            "a settled reservation takes hold",
            format!("guest {guest} has not got {reserved}"),
        );
    }
    world.end()
}
