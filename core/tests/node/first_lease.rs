//! The first guest of a new segment: how long it waits for its address, and how often it has to ask.

use crate::world::{OFFER, World, blue};

const GUEST: &str = "52:54:00:00:00:01";

/// Applies blue through a host, `settled` milliseconds after the cluster formed, and lets a guest ask the gateway once, as
/// soon as there is one that has its address; how long after `apply` the gateway serves, and the guest is offered an address.
fn first_offer(settled: u64, through: usize) -> (String, u64, u64) {
    let mut world = World::forming(3);
    world.run(settled);
    world.apply(through, &blue());
    let begin = world.now;
    let gateway = loop {
        world.run(1);
        if let Some(name) = world.gateways("blue").first() {
            break world.index(name);
        }
        assert!(world.now.since(begin).as_secs() < 10, "nobody serves");
    };
    // The address is there; the socket is opened for it.
    world.run(2);
    let serves = world.now.since(begin).as_millis();
    world.discover(gateway, GUEST);
    while world.reply(gateway, GUEST).is_none() && world.now.since(begin).as_secs() < 10 {
        world.run(1);
    }
    assert_eq!(
        world.reply(gateway, GUEST).map(|(kind, _)| kind),
        Some(OFFER),
        "after {settled} ms through {through}"
    );
    let offered = world.now.since(begin).as_millis();
    let millis = |millis: u128| u64::try_from(millis).unwrap();
    (format!("hv{}", gateway + 1), millis(serves), millis(offered))
}

#[test]
fn the_first_discover_of_a_new_segment_is_answered_within_half_a_second() {
    for settled in (0..2_000).step_by(100) {
        for through in 0..3 {
            let (gateway, serves, offered) = first_offer(settled, through);
            println!(
                "{settled} ms after forming, through hv{}: {gateway} serves after {serves} ms, offer after {offered} ms",
                through + 1
            );
        }
    }
}
