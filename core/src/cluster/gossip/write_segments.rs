//! How segments change: by an operator's word, and when a change on trial is rolled back.

use super::Gossip;
use super::message::{Effect, Written};
use super::record::{Key, Record};
use super::segment_record::{Content, SegmentRecord, Trial};
use super::store::{self, RANGES};
use crate::id::{SegmentId, SegmentName};
use crate::time::Instant;

impl Gossip {
    /// Gives a segment a definition: the next generation, by this host. `fresh` becomes its id if the name is new or
    /// stands under a tombstone; that of the tombstone itself if the segment goes on.
    pub fn apply(&mut self, name: &SegmentName, definition: String, fresh: SegmentId, now: Instant) -> Written {
        self.apply_above(0, name, definition, fresh, None, now)
    }

    /// The same where generations up to `above` were known before, of which the records have been lost. With `trial` the
    /// definition that was confirmed last comes back after so many seconds.
    pub fn apply_above(
        &mut self,
        above: u64,
        name: &SegmentName,
        definition: String,
        fresh: SegmentId,
        trial: Option<u32>,
        now: Instant,
    ) -> Written {
        let known = self.segment(name);
        let content = Content::Definition(definition);
        if known.is_some_and(|known| known.content == content && known.trial.is_none() && known.generation >= above) {
            return Written::Unchanged;
        }
        let generation = known.map_or(0, SegmentRecord::taken).max(above) + 1;
        let standing = known.filter(|known| !known.is_tombstone());
        let id = standing.map_or(fresh, |known| known.id);
        let born = known
            .filter(|known| known.id == id)
            .map_or(generation, |known| known.born);
        let segment = SegmentRecord {
            generation,
            introducer: self.me,
            name: name.clone(),
            id,
            born,
            content,
            trial: trial.map(|seconds| Trial {
                seconds,
                before: known.and_then(SegmentRecord::confirmed),
            }),
        };
        self.write(Record::Segment(segment), now)
    }

    /// Gives a segment a definition if the cluster has never heard of its name.
    pub fn introduce(&mut self, name: &SegmentName, definition: String, fresh: SegmentId, now: Instant) -> Written {
        if self.segment(name).is_some() {
            return Written::Refused;
        }
        self.apply(name, definition, fresh, now)
    }

    /// As soon as a member's digest shows that it has never heard of the name either: leases of a second id are orphans.
    pub fn introduce_later(&mut self, name: &SegmentName, definition: String, fresh: SegmentId) {
        self.introductions.insert(name.clone(), (definition, fresh));
    }

    pub(super) fn introduce_unknown_to(&mut self, theirs: &[u64; RANGES], now: Instant) {
        if self.introductions.is_empty() {
            return;
        }
        let ours = self.store.digest();
        for (name, (definition, fresh)) in std::mem::take(&mut self.introductions) {
            let range = store::range_of_key(&Key::Segment(name.clone()));
            if ours[range] != theirs[range] {
                self.introductions.insert(name, (definition, fresh));
                continue;
            }
            self.introduce(&name, definition, fresh, now);
        }
    }

    /// Deletes a segment. [`Written::Refused`]: there is none of that name.
    pub fn delete(&mut self, name: &SegmentName, now: Instant) -> Written {
        let Some(known) = self.segment(name) else {
            return Written::Refused;
        };
        let Content::Definition(of) = &known.content else {
            return Written::Unchanged;
        };
        let segment = SegmentRecord {
            generation: known.taken() + 1,
            introducer: self.me,
            content: Content::Tombstone { of: of.clone() },
            trial: None,
            ..known.clone()
        };
        self.write(Record::Segment(segment), now)
    }

    /// Brings back what stood before a generation on trial.
    pub fn roll_back(&mut self, name: &SegmentName, now: Instant) -> Written {
        match self.segment(name).and_then(SegmentRecord::rolled_back) {
            Some(before) => self.write(Record::Segment(before), now),
            None => Written::Unchanged,
        }
    }

    pub(super) fn report_loser(&mut self, incoming: &Record) {
        let Record::Segment(incoming) = incoming else { return };
        let Some(known) = self.segment(&incoming.name) else {
            return;
        };
        let same_generation = known.generation == incoming.generation && known.introducer != incoming.introducer;
        let live = !known.is_tombstone() && !incoming.is_tombstone();
        let two_segments = live && known.id != incoming.id;
        if known.content == incoming.content || !(same_generation || two_segments) {
            return;
        }
        let (loser, winner) = if incoming > known {
            (known.clone(), incoming.clone())
        } else {
            (incoming.clone(), known.clone())
        };
        if self
            .lost
            .insert((loser.name.clone(), loser.generation, loser.introducer))
        {
            self.effects.push_back(Effect::SegmentLost {
                loser: Box::new(loser),
                winner: Box::new(winner),
            });
        }
    }
}
