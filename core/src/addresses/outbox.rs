//! The way out for everything: what rests on an append leaves when the append is on disk.
//!
//! ```text
//! send(after 7) ─► waits ── release(7) ─► leaves          effect, or `after` on disk already: leaves at once
//! ```
//! It knows nothing of what the journal holds.

use std::collections::{BTreeMap, VecDeque};

use crate::id::HostId;
use crate::time::Instant;

use super::message::Message;
use super::request::{Answer, Effect};
use super::timing::ANSWER_LIFE;

/// What is to be done, in order, and what still waits for the disk.
#[derive(Debug)]
pub(super) struct Outbox {
    /// All appends up to here are on disk.
    durable: u64,
    /// No append reaches the disk any more.
    abandoned: bool,
    effects: VecDeque<Effect>,
    waiting: BTreeMap<u64, Vec<(Instant, Effect)>>,
}

impl Outbox {
    pub(super) const fn new(durable: u64) -> Self {
        Self {
            durable,
            abandoned: false,
            effects: VecDeque::new(),
            waiting: BTreeMap::new(),
        }
    }

    /// Does this now.
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
        if after <= self.durable {
            self.effects.push_back(effect);
        } else if self.abandoned {
            self.give_up(effect);
        } else {
            self.waiting.entry(after).or_default().push((now, effect));
        }
    }

    /// All appends up to `durable` are on disk: what waited leaves, unless it is an answer that has grown old.
    pub(super) fn release(&mut self, durable: u64, now: Instant) {
        self.durable = durable;
        let rest = self.waiting.split_off(&(durable + 1));
        for (since, effect) in std::mem::replace(&mut self.waiting, rest).into_values().flatten() {
            let old = now.since(since) > ANSWER_LIFE;
            let is_reply = matches!(
                &effect,
                Effect::Send {
                    message: Message::Reply { .. },
                    ..
                }
            );
            let is_answer = matches!(&effect, Effect::Answer { .. });
            if old && (is_reply || is_answer) {
                self.give_up(effect);
            } else {
                self.effects.push_back(effect);
            }
        }
    }

    /// Nothing that waits will ever be on disk.
    pub(super) fn abandon(&mut self) {
        self.abandoned = true;
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
