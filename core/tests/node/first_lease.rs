//! The first guest of a new segment: how long it waits for its address, and how often it has to ask.

use overlayd_core::time::Duration;

use crate::world::{OFFER, World, blue};

const GUEST: &str = "52:54:00:00:00:01";

/// Applies blue through a host, `settled` milliseconds after the cluster formed, and lets a guest ask once, as soon as a
/// gateway has its address; how long after `apply` it is offered one.
fn first_offer(settled: u64, through: usize) -> Duration {
    let mut world = World::forming(3);
    world.run(settled);
    world.apply(through, &blue());
    let begin = world.now;
    let gateway = loop {
        world.run(1);
        if let Some(name) = world.gateways("blue").first() {
            break world.index(name);
        }
        assert!(world.now.since(begin).as_secs() < 10, "no gateway");
    };
    // The socket is opened once the address is there.
    world.run(2);
    world.discover(gateway, GUEST);
    while world.reply(gateway, GUEST).is_none() && world.now.since(begin).as_secs() < 10 {
        world.run(1);
    }
    let kind = world.reply(gateway, GUEST).map(|(kind, _)| kind);
    assert_eq!(kind, Some(OFFER), "{settled} ms, through hv{}", through + 1);
    world.now.since(begin)
}

#[test]
fn the_first_discover_of_a_new_segment_is_answered_within_a_tenth_of_a_second() {
    for settled in (100..1_500).step_by(100) {
        for through in 0..3 {
            let took = first_offer(settled, through);
            assert!(
                took.as_millis() <= 100,
                "{settled} ms, through hv{}: {took:?}",
                through + 1
            );
        }
    }
}

#[test]
fn one_discover_is_enough_where_the_gateway_has_only_just_joined() {
    for settled in (0..100).step_by(5) {
        for through in 0..3 {
            let took = first_offer(settled, through);
            assert!(
                took.as_millis() <= 120,
                "{settled} ms, through hv{}: {took:?}",
                through + 1
            );
        }
    }
}
