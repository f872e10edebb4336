//! Directed histories: what random ones meet too rarely.

mod deletion;
mod ending;
mod refusing;

use std::net::IpAddr;

use super::core;
use super::{Weather, World};
use crate::report::Violation;
use core::addresses::{Ask, Basis, Message};

/// A story: fails with what was violated.
pub(crate) struct Story {
    pub(crate) about: &'static str,
    pub(crate) tell: fn() -> Result<(), Violation>,
}

/// Says that a story did not come to its point.
pub(crate) const BEGINS: &str = "the story begins";

/// All stories.
pub(crate) const ALL: &[Story] = &[
    Story {
        about: "a release lingers in the network while its client takes the address again",
        tell: a_release_lingers,
    },
    Story {
        about: "a keeper extends with its last breath, and is removed",
        tell: a_keeper_extends_with_its_last_breath,
    },
    Story {
        about: "an owner that nobody hears binds an address, dies, and is inherited from",
        tell: an_owner_that_nobody_hears_binds,
    },
    Story {
        about: "a dead giver's word arrives after its heir took over",
        tell: a_dead_givers_word_arrives_late,
    },
    Story {
        about: "a keeper is given what it extended after its owner had ended it",
        tell: a_keeper_is_given_what_it_extended,
    },
    Story {
        about: "an heir hears that it is the owner before the giver's word arrives",
        tell: an_heir_hears_that_it_is_the_owner,
    },
    Story {
        about: "both founders are removed, and two joiners that never heard of each other are left",
        tell: two_joiners_that_never_met_are_left,
    },
    Story {
        about: "each of two joiners takes part by the word of a founder that is removed at the other",
        tell: two_joiners_take_part_by_different_words,
    },
    Story {
        about: "a host that leaves gives what it owns to one that dies before it hears of it",
        tell: a_leaver_gives_to_the_dead,
    },
    Story {
        about: "a joiner restarts that heard who owns what before it heard of any pool",
        tell: a_joiner_restarts_that_heard_of_owners_first,
    },
    Story {
        about: "a host that was down adds addresses of which one that it hears knows the owner",
        tell: a_host_adds_what_another_owns,
    },
    Story {
        about: "all that take part are lost, and the operator has one of two joiners recover",
        tell: one_of_two_joiners_recovers,
    },
    Story {
        about: "the operator has both joiners recover at once",
        tell: both_joiners_recover,
    },
    Story {
        about: "the report for an heir's first ballot arrives when another heir has finished",
        tell: a_report_arrives_late,
    },
    Story {
        about: "what an owner put first arrives again when another guest has the address",
        tell: a_put_arrives_twice,
    },
    Story {
        about: "a segment is deleted and another begins with its addresses, behind the back of a host that is cut off",
        tell: deletion::another_begins_behind_a_cut,
    },
    Story {
        about: "a host that has not heard that all know of a deletion has the segment back",
        tell: deletion::one_has_it_back,
    },
    Story {
        about: "a segment comes back that was over when another host left",
        tell: deletion::one_has_it_back_while_another_leaves,
    },
    Story {
        about: "a segment is applied again where it is known to be over",
        tell: deletion::it_is_applied_again_when_it_is_over,
    },
    Story {
        about: "a reserved guest goes on behind a cut while its segment is deleted and comes back without reservations",
        tell: deletion::a_reserved_guest_goes_on,
    },
    Story {
        about: "an operator ends a lease, and its guest asks the keeper behind a cut",
        tell: ending::a_keeper_does_not_extend_what_was_ended,
    },
    Story {
        about: "an operator ends a lease that its keeper has extended for longer than its owner",
        tell: ending::a_keeper_extended_for_longer,
    },
    Story {
        about: "a guest declines its address, and asks the keeper for it behind a cut",
        tell: ending::a_keeper_does_not_extend_what_was_declined,
    },
    Story {
        about: "a guest asks for more time while the address that is reserved for it is out of reach, and after",
        tell: refusing::its_reserved_address_is_out_of_reach,
    },
    LATE_PUT,
    LOWER_BALLOT,
    GIVER_BELOW_ITS_PROMISE,
];

/// A promise, and the removal, both keep a dead owner's late word from making a keeper.
pub(crate) const LATE_PUT: Story = Story {
    about: "what a dead owner put arrives when its heir has given the address to another guest",
    tell: a_dead_owners_put_arrives_late,
};

/// What a keeper has promised, and what it knows, both keep an heir from owning below a dead owner's epoch.
pub(crate) const LOWER_BALLOT: Story = Story {
    about: "an heir that knows little asks a keeper that has stored a record of a later owner",
    tell: an_heir_asks_with_a_lower_ballot,
};

/// An epoch above the giver's promise, and one above what an owner is refused for, both let the taker's records be stored.
pub(crate) const GIVER_BELOW_ITS_PROMISE: Story = Story {
    about: "an owner that has promised an heir a much higher epoch gives its addresses away",
    tell: a_giver_has_promised_a_higher_epoch,
};

/// Hosts on a network without faults that all take part, and a pool that begins with 10.0.0.10; what `hold` picks does
/// not arrive.
fn calm(hosts: usize, last: u8, hold: Option<fn(&Message) -> bool>) -> World {
    let mut world = World::new(
        1,
        Weather {
            loss_per_mille: 0,
            delay: (1, 5),
            duplicates_per_mille: 0,
            lingering_per_mille: 0,
        },
    );
    world.last = last;
    world.hold = hold;
    world.begin(hosts, 0);
    world.wait(15_000);
    world
}

impl World {
    fn wait(&mut self, millis: u64) {
        let until = self.now + millis;
        self.run(until);
    }

    /// A guest asks a host until it has a lease, for some seconds at most.
    fn asks(&mut self, guest: usize, server: usize, seconds: u64) -> Option<IpAddr> {
        for _ in 0..seconds * 2 {
            if let Some(held) = self.relies(guest) {
                return Some(held.address);
            }
            self.discover(guest, server);
            self.wait(500);
        }
        None
    }

    /// A guest gets what the story is about.
    fn gets(&mut self, guest: usize, server: usize) -> IpAddr {
        let address = self.asks(guest, server, 10);
        if address.is_none() {
            self.broken(BEGINS, format!("guest {guest} gets no lease at {server}"));
        }
        address.unwrap_or(Self::address(10))
    }

    fn extends(&mut self, guest: usize, server: usize, address: IpAddr) {
        self.request(guest, server, address, Basis::Having);
        self.wait(500);
    }

    fn leaves(&mut self, host: usize) {
        self.hosts[host].leaving = true;
        self.with(host, |machine, now| machine.leave(now));
    }

    fn end(self) -> Result<(), Violation> {
        self.violation.map_or(Ok(()), Err)
    }

    /// The guests are gone: after that time nothing is bound any more.
    fn end_with_all_free(mut self, millis: u64) -> Result<(), Violation> {
        self.wait(millis);
        if self.violation.is_none() {
            self.check_end();
        }
        self.end()
    }
}

fn a_release_lingers() -> Result<(), Violation> {
    let mut world = calm(
        2,
        10,
        Some(|message| {
            matches!(
                message,
                Message::Ask {
                    ask: Ask::Release { .. },
                    ..
                }
            )
        }),
    );
    let [guest, other] = [1, 1].map(|home| world.guest(home));
    let address = world.gets(guest, 0);
    // What was granted a moment ago may be newer than the release.
    world.wait(6_000);
    world.release(guest, 1);
    world.wait(500);
    let Some((from, to, release)) = world.held_back.pop() else {
        world.broken(BEGINS, "no release is on its way".to_owned());
        return world.end();
    };
    // It extends what it was about to give back: the version stays the same.
    world.extends(guest, 0, address);
    world.deliver(from, to, release.clone());
    world.asks(other, 0, 5);
    // Given back at last, and taken again: another version.
    world.hold = None;
    world.wait(6_000);
    world.release(guest, 1);
    world.wait(2_000);
    world.gets(guest, 0);
    world.deliver(from, to, release);
    world.asks(other, 0, 5);
    world.end()
}

fn a_keeper_extends_with_its_last_breath() -> Result<(), Violation> {
    let mut world = calm(3, 10, None);
    let [guest, other] = [1, 2].map(|home| world.guest(home));
    let address = world.gets(guest, 0);
    world.cut(&[0], true);
    world.wait(18_000);
    world.extends(guest, 1, address);
    // Its owner's own time is over.
    world.wait(13_000);
    world.destroy(1);
    world.heal();
    world.wait(1_500);
    world.remove(1, 0);
    world.asks(other, 0, 4);
    world.end()
}

fn an_owner_that_nobody_hears_binds() -> Result<(), Violation> {
    let mut world = calm(3, 10, None);
    let [guest, other] = [0, 2].map(|home| world.guest(home));
    world.cut(&[0], true);
    world.wait(4_000);
    world.gets(guest, 0);
    world.destroy(0);
    world.heal();
    world.remove(0, 1);
    world.wait(3_000);
    world.crash(1, 0);
    world.restart(1);
    world.wait(1_500);
    world.asks(other, 1, 8);
    world.end()
}

fn a_dead_givers_word_arrives_late() -> Result<(), Violation> {
    let mut world = calm(3, 15, Some(|message| matches!(message, Message::Give { .. })));
    world.destroy(0);
    let gives = std::mem::take(&mut world.held_back);
    world.hold = Some(|message| matches!(message, Message::Birth { .. } | Message::Acknowledge { .. }));
    world.remove(0, 1);
    world.wait(1_500);
    let late: Vec<_> = gives.into_iter().filter(|(_, to, _)| *to == 2).collect();
    if late.is_empty() {
        world.broken(BEGINS, "host 2 was given nothing".to_owned());
    }
    for (from, to, give) in late {
        world.deliver(from, to, give);
    }
    world.wait(1_000);
    world.end()
}

fn a_keeper_is_given_what_it_extended() -> Result<(), Violation> {
    let mut world = calm(2, 10, None);
    let [guest, other] = [1, 1].map(|home| world.guest(home));
    let address = world.gets(guest, 0);
    world.cut(&[0], true);
    world.wait(18_000);
    world.extends(guest, 1, address);
    world.wait(13_000);
    world.hold = Some(|message| matches!(message, Message::Put { .. }));
    world.leaves(0);
    world.heal();
    world.wait(2_000);
    world.asks(other, 1, 4);
    world.end()
}

fn an_heir_hears_that_it_is_the_owner() -> Result<(), Violation> {
    let mut world = calm(4, 10, None);
    let [guest, other] = [3, 2].map(|home| world.guest(home));
    // The heir to be does not hear that host 0 has gone, and host 1 owns its address.
    world.cut(&[2], true);
    world.leaves(0);
    world.wait(4_000);
    world.gets(guest, 1);
    world.hold = Some(|message| matches!(message, Message::Give { .. } | Message::Birth { .. }));
    world.heal();
    world.wait(750);
    world.leaves(1);
    world.wait(4_000);
    if !world
        .held_back
        .iter()
        .any(|(_, to, message)| *to == 2 && matches!(message, Message::Give { .. }))
    {
        world.broken(BEGINS, "nothing is given to host 2".to_owned());
    }
    world.asks(other, 2, 5);
    world.hold = None;
    world.wait(12_000);
    world.asks(other, 2, 2);
    world.end_with_all_free(90_000)
}

/// Two founders that do not hear each other, and a joiner with each; the founders die.
fn two_joiners_of_founders_that_die(mut world: World) -> World {
    let [first, second] = [world.host(), world.host()];
    world.cut(&[1, second], true);
    world.wait(4_000);
    world.join(first, 0);
    world.join(second, 1);
    world.wait(4_000);
    for founder in [0, 1] {
        world.destroy(founder);
    }
    world.heal();
    world.wait(4_000);
    world
}

fn two_joiners_that_never_met_are_left() -> Result<(), Violation> {
    let mut world = two_joiners_of_founders_that_die(calm(2, 10, None));
    for (gone, at) in [(0, 2), (1, 2), (0, 3), (1, 3)] {
        world.remove(gone, at);
    }
    world.wait(10_000);
    world.end()
}

fn two_joiners_take_part_by_different_words() -> Result<(), Violation> {
    let mut world = two_joiners_of_founders_that_die(calm(2, 10, None));
    for (gone, at) in [(1, 2), (0, 3), (0, 2), (1, 3)] {
        world.remove(gone, at);
    }
    world.wait(10_000);
    world.end()
}

/// The same with a guest that has a lease, and the founders removed: nobody takes part any more.
fn two_joiners_of_founders_that_are_removed() -> World {
    let mut world = calm(2, 10, None);
    let guest = world.guest(0);
    world.gets(guest, 0);
    let mut world = two_joiners_of_founders_that_die(world);
    for (gone, at) in [(0, 2), (1, 2), (0, 3), (1, 3)] {
        world.remove(gone, at);
    }
    world.wait(1_000);
    if [2, 3].iter().any(|host| world.hosts[*host].takes_part()) {
        world.broken(BEGINS, "a joiner takes part".to_owned());
    }
    world
}

fn one_of_two_joiners_recovers() -> Result<(), Violation> {
    let mut world = two_joiners_of_founders_that_are_removed();
    let other = world.guest(3);
    world.pool_recover(&[2]);
    if world.relies(0).is_none() {
        world.broken(BEGINS, "the lease is over".to_owned());
    }
    world.asks(other, 3, 4);
    world.wait(22_000);
    world.gets(other, 3);
    world.end_with_all_free(90_000)
}

fn both_joiners_recover() -> Result<(), Violation> {
    let mut world = two_joiners_of_founders_that_are_removed();
    world.pool_recover(&[2, 3]);
    world.wait(10_000);
    world.end_with_all_free(60_000)
}

fn a_leaver_gives_to_the_dead() -> Result<(), Violation> {
    let mut world = calm(4, 10, Some(|message| matches!(message, Message::Give { .. })));
    let guest = world.guest(2);
    let address = world.gets(guest, 0);
    world.leaves(0);
    world.wait(2_000);
    world.destroy(1);
    world.wait(4_000);
    world.hold = None;
    world.remove(1, 2);
    world.wait(10_000);
    world.extends(guest, 3, address);
    world.end_with_all_free(120_000)
}

fn an_heir_asks_with_a_lower_ballot() -> Result<(), Violation> {
    let mut world = calm(5, 10, None);
    let guest = world.guest(4);
    // The heir to be knows only the first of three owners.
    world.cut(&[2], true);
    for leaver in [0, 1] {
        world.leaves(leaver);
        world.wait(5_000);
    }
    world.gets(guest, 3);
    world.destroy(3);
    world.hold = Some(|message| matches!(message, Message::Birth { .. }));
    world.remove(3, 2);
    world.heal();
    // Behind the heir comes the keeper, which knows the last owner.
    world.wait(12_000);
    world.hold = None;
    world.end_with_all_free(120_000)
}

fn a_giver_has_promised_a_higher_epoch() -> Result<(), Violation> {
    let mut world = calm(4, 10, None);
    let guest = world.guest(3);
    world.cut(&[2], true);
    world.leaves(0);
    world.wait(5_000);
    // Host 2 takes the address for an orphan, and asks host 1, which owns it, again and again; host 3 does not hear it.
    world.hold = Some(|message| matches!(message, Message::Birth { .. }));
    world.heal();
    world.cut.extend([(2, 3), (3, 2)]);
    world.wait(5_000);
    for _ in 0..3 {
        let pending = world.hosts[2].disk.pending();
        world.crash(2, pending);
        world.restart(2);
        world.wait(5_000);
    }
    world.heal();
    world.wait(3_000);
    let state = world.hosts[1].machine.state(world.segment, World::address(10));
    if state.promised.number < state.epoch.number + 2 {
        world.broken(BEGINS, format!("host 1 has promised nothing: {state:?}"));
    }
    world.leaves(1);
    world.hold = None;
    world.wait(5_000);
    world.asks(guest, 2, 5);
    world.end_with_all_free(120_000)
}

fn a_joiner_restarts_that_heard_of_owners_first() -> Result<(), Violation> {
    let mut world = calm(2, 15, None);
    let joiner = world.host();
    // What the world takes for known it does not tell.
    world.hosts[joiner].pool = world.pool.clone();
    world.join(joiner, 0);
    world.wait(2_000);
    world.apply(0, |pool| pool.ranges = vec![World::range(10, 11)]);
    world.hosts[joiner].pool = None;
    let pending = world.hosts[joiner].disk.pending();
    world.crash(joiner, pending);
    world.restart(joiner);
    world.wait(3_000);
    // On its own it adds what another owns, as it had heard before.
    world.cut(&[joiner], true);
    world.wait(4_000);
    world.apply(joiner, |pool| pool.ranges = vec![World::range(10, 15)]);
    world.wait(4_000);
    world.heal();
    world.end_with_all_free(20_000)
}

fn a_host_adds_what_another_owns() -> Result<(), Violation> {
    let mut world = calm(3, 10, None);
    world.crash(2, 0);
    world.wait(4_000);
    world.apply(1, |pool| pool.ranges = vec![World::range(10, 13)]);
    world.wait(5_000);
    if !world.owns(1, World::address(13)) {
        world.broken(BEGINS, "host 1 does not own what it added".to_owned());
    }
    world.apply(1, |pool| pool.ranges = vec![World::range(10, 10)]);
    world.wait(2_000);
    world.cut(&[1], true);
    world.restart(2);
    world.wait(5_000);
    world.apply(2, |pool| pool.ranges = vec![World::range(10, 13)]);
    world.wait(5_000);
    world.heal();
    world.end_with_all_free(20_000)
}

fn a_dead_owners_put_arrives_late() -> Result<(), Violation> {
    let mut world = calm(4, 10, Some(|message| matches!(message, Message::Put { .. })));
    let [guest, other] = [2, 3].map(|home| world.guest(home));
    world.discover(guest, 0);
    world.wait(2_000);
    let late = world.held_back.iter().find(|(_, to, _)| *to == 2).cloned();
    let Some((from, to, put)) = late else {
        world.broken(BEGINS, "nothing is put to host 2".to_owned());
        return world.end();
    };
    world.destroy(0);
    world.hold = None;
    world.wait(4_000);
    world.remove(0, 1);
    // Until nobody can rely on what the dead one may have said.
    world.wait(40_000);
    let address = world.gets(other, 1);
    world.deliver(from, to, put);
    world.cut(&[1], true);
    world.wait(4_000);
    world.request(guest, 2, address, Basis::Wanting);
    world.wait(2_000);
    world.end()
}

fn a_put_arrives_twice() -> Result<(), Violation> {
    let put = |message: &Message| matches!(message, Message::Put { .. });
    let mut world = calm(3, 10, Some(put));
    let [guest, other] = [1, 2].map(|home| world.guest(home));
    world.discover(guest, 0);
    world.wait(2_000);
    world.hold = None;
    let Some(first) = held(&mut world, 0, 1, put) else {
        world.broken(BEGINS, "nothing is put to host 1".to_owned());
        return world.end();
    };
    let address = world.gets(guest, 0);
    world.wait(6_000);
    world.release(guest, 1);
    world.wait(2_000);
    let again = world.gets(other, 0);
    if again != address {
        world.broken(BEGINS, format!("{address} is not given again, but {again}"));
    }
    world.deliver(0, 1, first);
    world.cut(&[0], true);
    world.wait(4_000);
    world.request(guest, 1, address, Basis::Wanting);
    world.wait(2_000);
    world.end()
}

/// Takes the last message of a kind that is held back from one host to another.
fn held(world: &mut World, from: usize, to: usize, kind: fn(&Message) -> bool) -> Option<Message> {
    let fits = |(a, b, message): &(usize, usize, Message)| (*a, *b) == (from, to) && kind(message);
    let at = world.held_back.iter().rposition(fits)?;
    Some(world.held_back.remove(at).2)
}

fn a_report_arrives_late() -> Result<(), Violation> {
    let prepare = |message: &Message| matches!(message, Message::Prepare { .. });
    let report = |message: &Message| matches!(message, Message::Report { .. });
    let refused = |message: &Message| matches!(message, Message::PrepareRefused { .. });
    let mut world = calm(3, 10, Some(report));
    world.destroy(0);
    world.remove(0, 1);
    world.wait(300);
    let first = held(&mut world, 2, 1, report);
    // From now on nothing about ballots or owners arrives by itself.
    world.hold = Some(|message| {
        matches!(
            message,
            Message::Prepare { .. } | Message::Report { .. } | Message::PrepareRefused { .. } | Message::Birth { .. }
        )
    });
    world.wait(4_000);
    for (from, to, kind) in [
        // Host 2 inherits,
        (2, 1, prepare as fn(&Message) -> bool),
        (1, 2, report),
        // and host 1 begins a second ballot.
        (1, 2, prepare),
        (2, 1, refused),
    ] {
        match held(&mut world, from, to, kind) {
            Some(message) => world.deliver(from, to, message),
            None => world.broken(BEGINS, format!("nothing is held back from {from} to {to}")),
        }
        world.wait(20);
    }
    if !world.owns(2, World::address(10)) {
        world.broken(BEGINS, "host 2 has not inherited".to_owned());
    }
    match first {
        Some(report) => world.deliver(2, 1, report),
        None => world.broken(BEGINS, "host 2 reports nothing".to_owned()),
    }
    world.wait(1_000);
    world.hold = None;
    world.wait(2_000);
    world.end_with_all_free(60_000)
}
