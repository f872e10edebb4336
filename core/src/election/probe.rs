//! What the probes of one kernel have shown.

use std::collections::VecDeque;

use super::effect::Outcome;
use super::timing;
use crate::time::{Duration, Instant};

/// The probes of one host's kernel.
#[derive(Clone, Debug, Default)]
pub(super) struct Probes {
    /// Sent and not reported yet: number and time of sending.
    pending: VecDeque<(u64, Instant)>,
    /// When the last probe was sent.
    sent: Option<Instant>,
    /// When the kernel last answered.
    answered: Option<Instant>,
    /// What was sent before this says nothing against it: a later sign of life is known.
    row_from: Option<Instant>,
    /// Unanswered in a row.
    run: u32,
    /// When the first of that row was sent.
    run_since: Option<Instant>,
}

/// More reports than this are not waited for: the edge reports within 50 ms.
const PENDING_AT_MOST: usize = 64;

impl Probes {
    /// A probe is on its way.
    pub(super) fn send(&mut self, number: u64, now: Instant) {
        if self.pending.len() == PENDING_AT_MOST {
            self.pending.pop_front();
        }
        self.pending.push_back((number, now));
        self.sent = Some(now);
    }

    /// When the last one was sent.
    pub(super) fn sent(&self) -> Option<Instant> {
        self.sent
    }

    /// Takes a report; one for a probe that was never sent says nothing.
    pub(super) fn report(&mut self, number: u64, outcome: Outcome, now: Instant) -> Report {
        let Some(at) = self.pending.iter().position(|(pending, _)| *pending == number) else {
            return Report::Unknown;
        };
        let Some((_, sent)) = self.pending.remove(at) else {
            return Report::Unknown;
        };
        match outcome {
            Outcome::Answered => {
                self.answered = Some(now);
                self.begin_row(sent);
                Report::Answered
            }
            Outcome::Unanswered => {
                // Reports overtake each other: what was lost before a later answer says nothing any more.
                if self.row_from.is_none_or(|from| from < sent) {
                    self.run += 1;
                    self.run_since = Some(self.run_since.map_or(sent, |since| since.min(sent)));
                }
                Report::Unanswered
            }
        }
    }

    /// Begins a new row at `from`: a sign of life, or a gap in this host's own running.
    pub(super) fn begin_row(&mut self, from: Instant) {
        self.run = 0;
        self.run_since = None;
        self.row_from = self.row_from.max(Some(from));
    }

    /// Whether the last probe was unanswered and more of them can tell why: more than twice as many as decide tell no more.
    pub(super) fn doubtful(&self) -> bool {
        (1..2 * timing::DEAD_PROBES).contains(&self.run)
    }

    /// Whether a long enough row over `span` is unanswered.
    pub(super) fn unanswered(&self, span: Duration, now: Instant) -> bool {
        self.run >= timing::DEAD_PROBES
            && self.run_since.is_some_and(|since| now.since(since) >= span)
            && self
                .answered
                .is_none_or(|answered| now.since(answered) >= timing::DEAD_SILENCE)
    }
}

/// What a report was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// The kernel is alive.
    Answered,
    /// One more in the row.
    Unanswered,
    /// No such probe.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(probes: &mut Probes, number: u64, sent: u64, outcome: Outcome, at: u64) {
        probes.send(number, Instant::from_millis(sent));
        probes.report(number, outcome, Instant::from_millis(at));
    }

    #[test]
    fn eight_in_a_row_over_the_span_are_needed() {
        let mut probes = Probes::default();
        let span = timing::DEAD_SPAN_HOLDER;
        for number in 0..7 {
            probe(
                &mut probes,
                number,
                1000 + 10 * number,
                Outcome::Unanswered,
                1050 + 10 * number,
            );
        }
        assert!(!probes.unanswered(span, Instant::from_millis(1200)));
        probe(&mut probes, 7, 1070, Outcome::Unanswered, 1120);
        assert!(!probes.unanswered(span, Instant::from_millis(1099)));
        assert!(probes.unanswered(span, Instant::from_millis(1120)));
        probe(&mut probes, 8, 1130, Outcome::Answered, 1140);
        assert!(!probes.unanswered(span, Instant::from_millis(9999)));
    }

    #[test]
    fn a_loss_from_before_an_answer_does_not_count() {
        let mut probes = Probes::default();
        probes.send(1, Instant::from_millis(0));
        probe(&mut probes, 2, 10, Outcome::Answered, 12);
        probes.report(1, Outcome::Unanswered, Instant::from_millis(50));
        assert_eq!(probes.run, 0);
        assert_eq!(
            probes.report(99, Outcome::Answered, Instant::from_millis(60)),
            Report::Unknown
        );
    }
}
