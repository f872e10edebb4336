//! What a history has shown: a violated predicate with the steps before it, and what was covered.

use std::collections::BTreeMap;
use std::fmt;

/// A predicate did not hold.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) predicate: &'static str,
    pub(crate) detail: String,
}

/// A history that failed.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) seed: u64,
    pub(crate) violation: Violation,
    pub(crate) last_steps: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {} violates \"{}\": {}",
            self.seed, self.violation.predicate, self.violation.detail
        )?;
        writeln!(f, "last steps:")?;
        self.last_steps.iter().try_for_each(|step| writeln!(f, "  {step}"))
    }
}

/// What a history ended with.
pub(crate) struct Ended {
    /// Equal on every run of the seed.
    pub(crate) trace: u64,
    pub(crate) coverage: Coverage,
    pub(crate) failure: Option<Failure>,
}

/// How often something happened, and how long it took.
#[derive(Clone, Debug, Default)]
pub(crate) struct Coverage {
    counts: BTreeMap<&'static str, u64>,
    times: BTreeMap<&'static str, Vec<u64>>,
}

impl Coverage {
    pub(crate) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// Milliseconds that something took.
    pub(crate) fn time(&mut self, what: &'static str, millis: u64) {
        self.times.entry(what).or_default().push(millis);
    }

    pub(crate) fn add(&mut self, other: Coverage) {
        for (what, count) in other.counts {
            *self.counts.entry(what).or_default() += count;
        }
        for (what, times) in other.times {
            self.times.entry(what).or_default().extend(times);
        }
    }

    /// Counts per thousand histories, and percentiles of times.
    pub(crate) fn show(&self, histories: u64) -> String {
        let mut lines: Vec<String> = self
            .counts
            .iter()
            .map(|(what, count)| format!("  {what}: {} per thousand histories", count * 1000 / histories.max(1)))
            .collect();
        for (what, times) in &self.times {
            let mut times = times.clone();
            times.sort_unstable();
            let at = |percent: usize| times[(times.len() - 1) * percent / 100];
            lines.push(format!(
                "  {what}: p50 {} ms, p95 {} ms, longest {} ms",
                at(50),
                at(95),
                at(100)
            ));
        }
        lines.join("\n")
    }
}
