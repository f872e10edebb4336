//! Owners, keepers and leases under random and directed histories.

use crate::real::lease_world::{history, stories};

#[test]
fn no_address_is_given_twice_and_no_lease_lost_in_any_history() {
    crate::seeds::run("leases", 2000, history::run);
}

#[test]
fn a_seed_of_leases_replays_to_the_same_trace() {
    for seed in [2, 5, 11] {
        assert_eq!(history::run(seed).trace, history::run(seed).trace, "seed {seed}");
    }
}

#[test]
fn every_story_of_leases_ends_well() {
    for stories::Story { about, tell } in stories::ALL {
        if let Err(violation) = tell() {
            panic!(
                "the story {about:?} violates \"{}\": {}",
                violation.predicate, violation.detail
            );
        }
    }
}
