//! The suite bites: each weaker rule of `docs/protocol.md` is caught by a random history, or by a directed one.

pub(crate) mod tables;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::report::{Ended, Violation};
use crate::weaker::{election_world, lease_world};

thread_local! {
    static WEAK: Cell<&'static str> = const { Cell::new("") };
}

/// Whether that rule is weakened in this thread; what the copied core asks.
pub(crate) fn weak(id: &str) -> bool {
    WEAK.with(|weak| weak.get() == id)
}

/// Runs something with one rule weakened.
pub(crate) fn weakened<T>(id: &'static str, run: impl FnOnce() -> T) -> T {
    WEAK.with(|weak| weak.set(id));
    let done = run();
    WEAK.with(|weak| weak.set(""));
    done
}

/// The ids of a table with their rules in words.
fn rules(prefix: char) -> BTreeMap<&'static str, &'static str> {
    let all = tables::ALL.iter().copied().flatten();
    all.filter(|weaker| weaker.id.starts_with(prefix) && !weaker.rule.is_empty())
        .map(|weaker| (weaker.id, weaker.rule))
        .collect()
}

/// So many random histories are tried for each mutation.
const HISTORIES: u64 = 2_500;

/// How a weaker rule was caught: by the stories of its world first.
fn caught(id: &'static str) -> Option<String> {
    weakened(id, || match id.as_bytes() {
        [b'E', ..] => tried(
            election_world::stories::ALL
                .iter()
                .map(|story| (story.about, (story.tell)())),
            election_world::history::run,
        ),
        _ => tried(
            lease_world::stories::ALL
                .iter()
                .map(|story| (story.about, (story.tell)())),
            lease_world::history::run,
        ),
    })
}

fn tried(
    mut stories: impl Iterator<Item = (&'static str, Result<(), Violation>)>,
    history: impl Fn(u64) -> Ended,
) -> Option<String> {
    let told = stories.find_map(|(about, told)| {
        let violation = told
            .err()
            .filter(|violation| violation.predicate != lease_world::stories::BEGINS)?;
        Some(format!("by the story \"{about}\": {}", violation.predicate))
    });
    told.or_else(|| {
        (1..=HISTORIES).find_map(|seed| {
            let failure = history(seed).failure?;
            Some(format!("by seed {seed}: {}", failure.violation.predicate))
        })
    })
}

#[test]
fn every_mutation_changes_something_in_a_file_of_the_core() {
    for weaker in tables::ALL.iter().copied().flatten() {
        assert_ne!(weaker.from, weaker.to, "{}", weaker.id);
        let switch = format!("crate::mutants::weak(\"{}\")", weaker.id);
        assert!(
            tables::ALL
                .iter()
                .copied()
                .flatten()
                .any(|any| any.to.contains(&switch)),
            "nothing asks for {}",
            weaker.id
        );
        assert!(weaker.file.ends_with(".rs"), "{}", weaker.id);
    }
}

#[test]
fn every_weaker_rule_of_the_election_is_caught() {
    all_are_caught('E');
}

#[test]
fn every_weaker_rule_of_the_leases_is_caught() {
    all_are_caught('M');
}

fn all_are_caught(prefix: char) {
    let rules = rules(prefix);
    let only = std::env::var("SIM_ONLY").unwrap_or_default();
    let wanted = |id: &&'static str| only.is_empty() || only.split(',').any(|other| other == *id);
    let ids: Vec<&'static str> = rules.keys().copied().filter(wanted).collect();
    let next = AtomicUsize::new(0);
    let survivors = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(id) = ids.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match caught(id) {
                        Some(how) => println!("{id} ({}) is caught {how}", rules[id]),
                        None => survivors.lock().unwrap().push(format!("{id} ({})", rules[id])),
                    }
                }
            });
        }
    });
    let survivors = survivors.into_inner().unwrap();
    assert!(survivors.is_empty(), "not caught: {survivors:#?}");
}

#[test]
fn rules_that_cover_each_other_are_missed_only_together() {
    use lease_world::stories::{GIVER_BELOW_ITS_PROMISE, LATE_PUT, LOWER_BALLOT};
    for (story, whole, halves) in [
        (LOWER_BALLOT, "M26", ["M26: promise", "M26: known"]),
        (LATE_PUT, "M27", ["M27: promise", "M27: removed"]),
        (GIVER_BELOW_ITS_PROMISE, "M30", ["M30: giver", "M30: refused"]),
    ] {
        let told = weakened(whole, story.tell).err().map(|violation| violation.predicate);
        assert!(
            told.is_some_and(|predicate| predicate != lease_world::stories::BEGINS),
            "{whole} in the story {:?}: {told:?}",
            story.about
        );
        for half in halves {
            if let Err(violation) = weakened(half, story.tell) {
                panic!(
                    "{half}: the story {:?} violates \"{}\": {}",
                    story.about, violation.predicate, violation.detail
                );
            }
        }
    }
}

#[test]
fn the_copy_without_a_weakness_passes_what_catches_the_weak_ones() {
    for seed in 1..=50 {
        let (copy, core) = (
            election_world::history::run(seed),
            crate::real::election_world::history::run(seed),
        );
        assert_eq!(copy.trace, core.trace, "the copy is the core");
        let (copy, core) = (
            lease_world::history::run(seed),
            crate::real::lease_world::history::run(seed),
        );
        assert_eq!(copy.trace, core.trace, "the copy is the core");
    }
}
