//! Leases that their owner ends before their time, and keepers that may think otherwise.

use std::net::IpAddr;

use super::super::World;
use super::super::core;
use super::{BEGINS, calm};
use crate::report::Violation;
use core::addresses::Basis;

/// A guest of host 1 has an address that host 0 owns.
fn kept_elsewhere() -> (World, usize, IpAddr) {
    let mut world = calm(2, 10, None);
    let guest = world.guest(1);
    let owner = if world.owns(0, World::address(10)) { 0 } else { 1 };
    world.guests[guest].home = 1 - owner;
    let address = world.gets(guest, owner);
    world.wait(500);
    (world, guest, address)
}

impl World {
    fn owner_of(&self, address: IpAddr) -> usize {
        usize::from(!self.owns(0, address))
    }

    /// The guest's claim behind the cut comes to nothing.
    fn is_not_extended(&mut self, guest: usize, keeper: usize, address: IpAddr, basis: Basis) {
        let before = self.guests[guest].held.map(|held| held.until);
        self.request(guest, keeper, address, basis);
        self.wait(1_000);
        let after = self.guests[guest].held.map(|held| held.until);
        if after > before {
            self.broken(
                "nobody extends a lease that was ended",
                format!("host {keeper} extends that of {address} from {before:?} to {after:?}"),
            );
        }
    }
}

pub(super) fn a_keeper_does_not_extend_what_was_ended() -> Result<(), Violation> {
    let (mut world, guest, address) = kept_elsewhere();
    let owner = world.owner_of(address);
    let keeper = 1 - owner;
    world.revoke(guest, owner);
    world.wait(1_000);
    world.cut(&[owner], true);
    world.wait(4_000);
    world.is_not_extended(guest, keeper, address, Basis::Having);
    world.heal();
    world.wait(2_000);
    // Its owner says no.
    world.request(guest, owner, address, Basis::Having);
    world.wait(500);
    if world.guests[guest].held.is_some() {
        world.broken("a renewal of a lease that was ended hears no", format!("{address}"));
    }
    world.end_with_all_free(60_000)
}

pub(super) fn a_keeper_extended_for_longer() -> Result<(), Violation> {
    let (mut world, guest, address) = kept_elsewhere();
    let owner = world.owner_of(address);
    let keeper = 1 - owner;
    let other = world.guest(owner);
    world.cut(&[owner], true);
    world.wait(14_000);
    world.extends(guest, keeper, address);
    world.heal();
    world.wait(1_500);
    world.revoke(guest, owner);
    world.wait(500);
    if world.relies(guest).is_none_or(|held| held.until <= world.now + 15_000) {
        world.broken(BEGINS, "the keeper has extended the lease".to_owned());
    }
    // It goes on relying on it, and another waits for the address.
    world.asks(other, owner, 40);
    world.give_up(other);
    world.end_with_all_free(60_000)
}

pub(super) fn a_keeper_does_not_extend_what_was_declined() -> Result<(), Violation> {
    let (mut world, guest, address) = kept_elsewhere();
    let owner = world.owner_of(address);
    let keeper = 1 - owner;
    world.decline(guest, owner);
    world.wait(1_000);
    world.cut(&[owner], true);
    world.wait(4_000);
    world.is_not_extended(guest, keeper, address, Basis::Wanting);
    world.heal();
    world.end_with_all_free(60_000)
}
