//! The election under random and directed histories.

use crate::real::election_world::{history, stories};

#[test]
fn every_connected_part_has_one_gateway_in_every_history() {
    crate::seeds::run("election", 2000, history::run);
}

#[test]
fn a_seed_replays_to_the_same_trace() {
    for seed in [1, 7, 23] {
        assert_eq!(history::run(seed).trace, history::run(seed).trace, "seed {seed}");
    }
}

#[test]
fn every_story_ends_well() {
    for stories::Story { about, tell } in stories::ALL {
        if let Err(violation) = tell() {
            panic!(
                "the story {about:?} violates \"{}\": {}",
                violation.predicate, violation.detail
            );
        }
    }
}
