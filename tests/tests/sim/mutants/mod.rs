//! The suite bites: each weaker rule of `docs/protocol.md` is caught by a random history, or by a directed one.

pub(crate) mod tables;

use std::cell::Cell;
use std::collections::BTreeMap;

use crate::weaker::election_world::{history, stories};

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
const HISTORIES: u64 = 800;

/// How a mutation was caught.
fn caught(id: &'static str) -> Option<String> {
    weakened(id, || {
        for stories::Story { about, tell } in stories::ALL {
            if let Err(violation) = tell() {
                return Some(format!("by the story \"{about}\": {}", violation.predicate));
            }
        }
        (1..=HISTORIES).find_map(|seed| {
            let failure = history::run(seed).failure?;
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
    let rules = rules('E');
    let ids: Vec<&'static str> = rules.keys().copied().collect();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let survivors = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(id) = ids.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
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
fn the_copy_without_a_weakness_passes_what_catches_the_weak_ones() {
    for stories::Story { about, tell } in stories::ALL {
        if let Err(violation) = tell() {
            panic!(
                "the story {about:?} violates {}: {}",
                violation.predicate, violation.detail
            );
        }
    }
    for seed in 1..=50 {
        let ended = history::run(seed);
        if let Some(failure) = ended.failure {
            panic!("{failure}");
        }
        assert_eq!(
            ended.trace,
            crate::real::election_world::history::run(seed).trace,
            "the copy is the core"
        );
    }
}
