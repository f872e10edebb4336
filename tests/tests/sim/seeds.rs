//! Runs one history per seed, on all cores.

use std::io::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::report::{Coverage, Ended, Failure};

/// A number from the environment, or what is run without it.
fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}"))
    })
}

/// Runs `SIM_SEEDS` histories (`default` without it) from seed `SIM_FROM` on, and says what they covered.
///
/// # Panics
/// With the first history that failed: seed, predicate, last steps.
pub(crate) fn run(what: &str, default: u64, history: impl Fn(u64) -> Ended + Sync) {
    let (from, count) = (number("SIM_FROM", 1), number("SIM_SEEDS", default));
    let enough = number("SIM_FAILURES", 1);
    let next = AtomicU64::new(from);
    let gathered: Mutex<(Coverage, Vec<Failure>)> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + count || gathered.lock().unwrap().1.len() as u64 >= enough {
                        break;
                    }
                    let ended = history(seed);
                    let mut gathered = gathered.lock().unwrap();
                    gathered.0.add(ended.coverage);
                    gathered.1.extend(ended.failure);
                }
            });
        }
    });
    let (coverage, failures) = gathered.into_inner().unwrap();
    // Not by `println!`, which the harness keeps to itself while a test passes.
    let covered = format!(
        "{what}: seeds {from} to {}\n{}\n",
        from + count - 1,
        coverage.show(count)
    );
    let _ = std::io::stdout().lock().write_all(covered.as_bytes());
    if let Some(failure) = failures.iter().min_by_key(|failure| failure.seed) {
        let all: Vec<_> = failures
            .iter()
            .map(|failure| (failure.seed, failure.violation.predicate))
            .collect();
        panic!("{failure}\nfailed: {all:?}");
    }
}
