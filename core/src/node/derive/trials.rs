//! Generations on trial: what this host rolls back when nobody has confirmed a change in time. Every host does, each by its own
//! clock: one that the change has cut off, too.

use std::collections::BTreeMap;

use crate::health::events::Event;
use crate::id::SegmentName;
use crate::node::member::Member;
use crate::time::{Duration, Instant};

impl Member {
    /// Counts from when this host heard of a change, or from its agent's start.
    pub(super) fn look_after_trials(&mut self, now: Instant) {
        let before = std::mem::take(&mut self.derived.trials);
        let open = self.gossip.trials().map(|(segment, trial)| {
            let key = (segment.name.clone(), segment.generation);
            let end = now + Duration::from_secs(trial.seconds.into());
            (key.clone(), before.get(&key).copied().unwrap_or(end))
        });
        let (open, over): (BTreeMap<_, _>, BTreeMap<_, _>) = open.partition(|(_, end)| now < *end);
        for (segment, generation) in over.into_keys() {
            self.gossip.roll_back(&segment, now);
            self.gossip.save_now(now);
            self.report(Event::SegmentRolledBack { segment, generation });
        }
        if let Some(next) = open.values().min() {
            self.touch_at(*next);
        }
        self.derived.trials = open;
    }

    /// When this host rolls a segment's newest generation back.
    pub(in crate::node) fn trial_end(&self, name: &SegmentName) -> Option<Instant> {
        let mut trials = self.derived.trials.iter();
        trials.find(|((tried, _), _)| tried == name).map(|(_, end)| *end)
    }
}
