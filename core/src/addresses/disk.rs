//! The journal as the machine sees it: what was written, what is on disk, and what must wait for that.
//!
//! ```text
//! write(a) write(b) ── flush ─► Append #7 ─► edge ── synced(7) ─► what waited for #7 leaves
//! ```
//! All writes of one `handle_*` are one append. Nothing here knows what the records mean.

use std::collections::{BTreeMap, VecDeque};

use crate::id::HostId;
use crate::time::Instant;

use super::journal::JournalRecord;
use super::message::Message;
use super::request::{Answer, Effect};
use super::timing::ANSWER_LIFE;

/// The way out for everything.
#[derive(Debug)]
pub(super) struct Disk {
    /// Of the last append, or of the one that is being put together.
    sequence: u64,
    /// All up to here is on disk.
    synced: u64,
    /// Nothing more is written.
    lost: bool,
    batch: Vec<JournalRecord>,
    effects: VecDeque<Effect>,
    waiting: BTreeMap<u64, Vec<(Instant, Effect)>>,
}

impl Disk {
    pub(super) fn new(sequence: u64) -> Self {
        Self {
            sequence,
            synced: sequence,
            lost: false,
            batch: Vec::new(),
            effects: VecDeque::new(),
            waiting: BTreeMap::new(),
        }
    }

    /// Adds a record to the append of this turn; its sequence.
    ///
    /// A lost journal stays as it is: what a host learns later is no reason to take it for whole after a restart.
    pub(super) fn write(&mut self, record: JournalRecord) -> u64 {
        if self.lost {
            return self.synced;
        }
        if self.batch.is_empty() {
            self.sequence += 1;
        }
        self.batch.push(record);
        self.sequence
    }

    /// Ends the turn.
    pub(super) fn flush(&mut self) {
        if !self.batch.is_empty() {
            let records = std::mem::take(&mut self.batch);
            self.effects.push_back(Effect::Append {
                sequence: self.sequence,
                records,
            });
        }
    }

    /// Whether everything up to `sequence` is on disk.
    pub(super) const fn has(&self, sequence: u64) -> bool {
        sequence <= self.synced
    }

    /// Of the last fsync.
    pub(super) const fn synced_sequence(&self) -> u64 {
        self.synced
    }

    /// Of the last append.
    pub(super) const fn sequence(&self) -> u64 {
        self.sequence
    }

    pub(super) fn effect(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    /// Sends once everything up to `after` is on disk.
    pub(super) fn send(&mut self, to: HostId, message: Message, after: u64, now: Instant) {
        self.later(Effect::Send { to, message }, after, now);
    }

    /// Answers the local DHCP server once everything up to `after` is on disk.
    pub(super) fn answer(&mut self, token: u64, answer: Answer, after: u64, now: Instant) {
        self.later(Effect::Answer { token, answer }, after, now);
    }

    /// Does this once everything up to `after` is on disk.
    pub(super) fn later(&mut self, effect: Effect, after: u64, now: Instant) {
        if self.has(after) {
            self.effects.push_back(effect);
        } else if self.lost {
            self.give_up(effect);
        } else {
            self.waiting.entry(after).or_default().push((now, effect));
        }
    }

    /// The edge has synced; what waited leaves, unless it is an answer that has grown old.
    pub(super) fn synced(&mut self, sequence: u64, now: Instant) {
        self.synced = self.synced.max(sequence.min(self.sequence));
        let rest = self.waiting.split_off(&(self.synced + 1));
        for (since, effect) in std::mem::replace(&mut self.waiting, rest).into_values().flatten() {
            let old = now.since(since) > ANSWER_LIFE;
            let effect = match effect {
                Effect::Send {
                    message: Message::Reply { .. },
                    ..
                } if old => continue,
                Effect::Answer { token, .. } if old => Effect::Answer {
                    token,
                    answer: Answer::TOO_LATE,
                },
                whole @ (Effect::Send { .. }
                | Effect::Append { .. }
                | Effect::Answer { .. }
                | Effect::GossipLease(_)
                | Effect::GossipShare(_)
                | Effect::Event(_)
                | Effect::Left) => whole,
            };
            self.effects.push_back(effect);
        }
    }

    /// Nothing that waits will ever be on disk.
    pub(super) fn lost(&mut self) {
        self.lost = true;
        self.batch.clear();
        for (_, effect) in std::mem::take(&mut self.waiting).into_values().flatten() {
            self.give_up(effect);
        }
    }

    fn give_up(&mut self, effect: Effect) {
        if let Effect::Answer { token, .. } = effect {
            self.effects.push_back(Effect::Answer {
                token,
                answer: Answer::TOO_LATE,
            });
        }
    }

    pub(super) fn poll(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }
}
