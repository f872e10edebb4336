//! Segments that are deleted while some host does not hear of it, and applied again.

use super::super::core;
use super::super::{World, id_of};
use super::{BEGINS, calm};
use crate::report::Violation;
use core::addresses::ReservedAddress;

/// A full time of these histories' leases, and the looks that it takes to notice.
const FULL_TIME: u64 = 33_000;

impl World {
    /// What is applied has the name and the addresses of a deleted segment, and is another.
    fn applies_another(&mut self, at: usize) {
        self.apply(at, |pool| pool.born = pool.generation + 1);
        self.segment = self.segment_at(at);
        self.ids.push(self.segment);
    }

    fn begins(&mut self, so: bool, what: &str) {
        if !so {
            self.broken(BEGINS, what.to_owned());
        }
    }
}

pub(super) fn another_begins_behind_a_cut() -> Result<(), Violation> {
    let mut world = calm(3, 10, None);
    let (one, other) = (world.guest(2), world.guest(0));
    let address = world.gets(one, 2);
    world.cut(&[2], true);
    world.wait(4_000);
    world.delete(0);
    world.wait(2_000);
    world.applies_another(0);
    for _ in 0..6 {
        // Its keeper, or owner, extends the lease: it knows nothing of all this.
        world.extends(one, 2, address);
        world.asks(other, 0, 10);
    }
    world.give_up(one);
    world.heal();
    world.wait(FULL_TIME + 10_000);
    world.gets(other, 0);
    world.give_up(other);
    world.end_with_all_free(60_000)
}

/// Hosts 0 and 1 know that all know of the deletion; host 2 does not hear them.
fn deleted_behind_one() -> World {
    let mut world = calm(3, 12, None);
    world.delete(0);
    for host in [1, 2] {
        if let Some(pool) = world.pool.clone() {
            world.learn_pool(host, pool);
        }
    }
    world.cut.extend([(0, 2), (1, 2)]);
    world.wait(FULL_TIME);
    world.cut(&[2], true);
    world
}

pub(super) fn one_has_it_back() -> Result<(), Violation> {
    let mut world = deleted_behind_one();
    let segment = world.segment;
    let over = |world: &World, host: usize| !world.hosts[host].machine.goes_on(segment);
    world.begins(over(&world, 0) && !over(&world, 2), "host 0 alone takes it for over");
    world.apply_again(2);
    world.wait(4_000);
    world.heal();
    world.end_with_all_free(60_000)
}

pub(super) fn one_has_it_back_while_another_leaves() -> Result<(), Violation> {
    let mut world = deleted_behind_one();
    let segment = world.segment;
    let over = |world: &World, host: usize| !world.hosts[host].machine.goes_on(segment);
    world.begins(over(&world, 0) && !over(&world, 2), "host 0 alone takes it for over");
    world.apply_again(2);
    // It has nothing to hand over. While it tells the others that it leaves, gossip tells it that the segment is back.
    world.hosts[0].leaving = true;
    world.with(0, |machine, now| machine.leave(now));
    if let Some(pool) = world.pool.clone() {
        world.learn_pool(0, pool);
    }
    world.heal();
    world.wait(4_000);
    world.end_with_all_free(60_000)
}

pub(super) fn it_is_applied_again_when_it_is_over() -> Result<(), Violation> {
    let mut world = calm(3, 12, None);
    world.delete(0);
    world.wait(FULL_TIME - 3_000);
    // Two hear from all that it is over, and forget it; the third has said so and hears nobody.
    let segment = world.segment;
    for _ in 0..80 {
        world.wait(100);
        if !world.hosts[2].machine.goes_on(segment) {
            break;
        }
    }
    world.cut.extend([(0, 2), (1, 2)]);
    world.wait(8_000);
    let forgotten = world.hosts[0].machine.newest_generation(segment) == 0;
    world.begins(forgotten, "host 0 has forgotten it");
    world.apply_again(2);
    world.wait(2_000);
    world.heal();
    world.end_with_all_free(90_000)
}

pub(super) fn a_reserved_guest_goes_on() -> Result<(), Violation> {
    let mut world = calm(3, 10, None);
    let (one, other) = (world.guest(2), world.guest(0));
    let client = world.guests[one].mac;
    let address = World::address(10);
    world.apply(0, |pool| {
        pool.reservations = vec![ReservedAddress {
            client,
            address,
            hostname: None,
        }];
    });
    world.wait(8_000);
    world.gets(one, 2);
    world.cut(&[2], true);
    world.wait(4_000);
    world.delete(0);
    for _ in 0..8 {
        world.extends(one, 2, address);
        world.wait(5_000);
    }
    world.apply(0, |pool| pool.reservations.clear());
    for _ in 0..3 {
        world.extends(one, 2, address);
        world.asks(other, 0, 10);
    }
    let born = world.pool.as_ref().map(|pool| id_of(pool.born));
    world.begins(born == Some(world.segment), "it is the same segment");
    world.give_up(one);
    world.heal();
    world.end_with_all_free(120_000)
}
