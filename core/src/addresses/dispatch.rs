//! Whose turn it is: messages, fsyncs and timeouts, each to the part that it is about.

use std::collections::BTreeSet;

use crate::id::{HostId, SegmentId};
use crate::range::RangeMap;
use crate::time::Instant;

use super::acknowledge::Acknowledgement;
use super::live::Timer;
use super::message::{Life, Message};
use super::participation::{Departure, Participation};
use super::request::{Effect, Reason, Timeout};
use super::segment::SegmentLeases;
use super::{Leases, configure, ending, grave, initial_owner, owner, replication, report, transfer};

impl Leases {
    /// A message of another host.
    pub fn handle_message(&mut self, from: HostId, message: Message, now: Instant) {
        if self.host.is_removed(from) {
            self.host.tell_removed(from, now);
        } else if let Message::Acknowledge {
            members,
            removed,
            part,
            generations,
            sequence,
            heard,
        } = message
        {
            let said = Acknowledgement {
                members: members.into_iter().collect(),
                removed: removed.into_iter().collect(),
                part,
                generations,
                sequence,
                heard,
            };
            self.handle_acknowledge(from, said, now);
        } else if self.host.serves() {
            self.handle_about_addresses(from, message, now);
        }
        self.end_turn(now);
    }

    fn handle_acknowledge(&mut self, from: HostId, said: Acknowledgement, now: Instant) {
        let generations = said.generations.clone();
        let news = self.host.handle_acknowledge(from, said, now);
        for told in generations {
            // Whoever hears of a deletion must say so, whatever it knows of the segment, and never begin with it later.
            if told.life == Life::Deleted {
                self.segment(told.segment, now);
            }
            if let Some(segment) = self.segments.get_mut(&told.segment) {
                grave::learn_death(&mut segment.store, &mut self.host, told, now);
                configure::learn_generation(&mut segment.store, &mut self.host, told);
            }
        }
        self.forget_removed(&news.removed, now);
        if news.parts_changed {
            for segment in self.segments.values_mut() {
                segment.reconsider(&mut self.host, now);
            }
        }
        self.depart(now);
    }

    fn handle_about_addresses(&mut self, from: HostId, message: Message, now: Instant) {
        let host = &mut self.host;
        match message {
            Message::Ask {
                id,
                segment,
                address,
                ask,
            } => {
                if let Some(segment) = self.segments.get_mut(&segment) {
                    owner::handle_ask(&mut segment.store, host, (from, id), address, ask, now);
                }
            }
            Message::Reply { id, reply } => {
                if let Some(segment) = self.segments.values_mut().find(|s| s.requests.has_asked(id)) {
                    segment
                        .requests
                        .handle_reply(&mut segment.store, host, from, id, reply, now);
                }
            }
            Message::Put {
                segment,
                address,
                epoch,
                record,
                confirmed,
            } => {
                self.segment(segment, now);
                if let Some(segment) = self.segments.get_mut(&segment) {
                    segment.keeper.handle_put(
                        &mut segment.store,
                        &mut self.host,
                        from,
                        (address, epoch, record),
                        confirmed,
                        now,
                    );
                }
            }
            Message::Stored {
                segment,
                address,
                version,
            } => {
                if let Some(segment) = self.segments.get_mut(&segment) {
                    replication::handle_stored(&mut segment.store, host, from, address, version, now);
                }
            }
            Message::PutRefused {
                segment,
                address,
                version,
                why,
                promised,
                left,
            } => {
                if let Some(segment) = self.segments.get_mut(&segment) {
                    replication::handle_put_refused(
                        &mut segment.store,
                        host,
                        (from, address, version, why, promised, left),
                        now,
                    );
                }
            }
            Message::Borrow { segment, count } => {
                if let Some(segment) = self.segments.get_mut(&segment) {
                    segment
                        .sharing
                        .handle_borrow(&mut segment.store, host, from, count, now);
                }
            }
            Message::Give { segment, epoch, runs } => {
                self.segment(segment, now);
                if let Some(segment) = self.segments.get_mut(&segment) {
                    transfer::handle_give(&mut segment.store, &mut self.host, from, epoch, runs, now);
                    segment.requests.search_again(&mut segment.store, &mut self.host, now);
                }
            }
            Message::Taken { segment, epoch, ranges } => {
                if let Some(segment) = self.segments.get_mut(&segment) {
                    transfer::handle_taken(&mut segment.store, host, from, epoch, &ranges);
                }
            }
            Message::Prepare {
                segment,
                epoch,
                ranges,
                removed,
            } => {
                self.learn_removed(&removed.into_iter().collect(), now);
                self.segment(segment, now);
                if let Some(segment) = self.segments.get_mut(&segment) {
                    report::handle_prepare(&mut segment.store, &mut self.host, from, epoch, ranges, now);
                }
            }
            Message::Report {
                segment,
                epoch,
                ranges: _,
                runs,
                members,
            } => {
                if let Some(segment) = self.segments.get_mut(&segment) {
                    segment
                        .takeover
                        .handle_report(&mut segment.store, host, from, (epoch, runs, members), now);
                }
            }
            Message::PrepareRefused {
                segment,
                epoch,
                highest,
            } => {
                if let Some(segment) = self.segments.get_mut(&segment) {
                    segment
                        .takeover
                        .handle_prepare_refused(&mut segment.store, host, epoch, highest, now);
                }
            }
            Message::Birth {
                segment,
                epoch,
                ownership,
                ranges,
            } => {
                self.segment(segment, now);
                if let Some(segment) = self.segments.get_mut(&segment) {
                    initial_owner::handle_birth(
                        &mut segment.store,
                        &mut self.host,
                        from,
                        (epoch, ownership),
                        ranges,
                        now,
                    );
                }
            }
            Message::BirthKnown {
                segment,
                epoch,
                ranges,
                others,
            } => {
                if let Some(segment) = self.segments.get_mut(&segment) {
                    segment
                        .initial
                        .handle_birth_known(&mut segment.store, host, from, (epoch, ranges, others), now);
                }
            }
            Message::Acknowledge { .. } => {}
        }
    }

    /// All appends up to this sequence are on disk.
    pub fn handle_synced(&mut self, sequence: u64, now: Instant) {
        self.host.handle_synced(sequence, now);
        for segment in self.segments.values_mut() {
            for address in segment.store.synced(sequence) {
                if segment.store.at(address).record.keeper.is_none() && segment.store.live.contains_key(&address) {
                    replication::settle(&mut segment.store, &mut self.host, address, now);
                }
            }
        }
        self.end_turn(now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        for segment in self.segments.values_mut() {
            while let Some(timer) = segment.store.pop_timer(now) {
                segment.handle_timer(&mut self.host, timer, now);
            }
        }
        if self.segments.values().any(|segment| segment.store.due.grave) {
            self.block_graves();
        }
        self.forget_graves();
        self.depart(now);
        self.end_turn(now);
    }

    /// When `handle_timeout` is due, and why.
    pub fn poll_timeout(&self) -> Option<Timeout> {
        let segments = self
            .segments
            .values()
            .filter_map(|segment| segment.store.next_timer())
            .map(|(at, timer)| Timeout {
                at,
                reason: match timer {
                    Timer::Live(_) | Timer::Quarantine => Reason::End,
                    Timer::Give | Timer::Ballot => Reason::Repeat,
                    Timer::Offer(_) | Timer::Rest(_) | Timer::Question(_) | Timer::Search(_) => Reason::Wait,
                    Timer::Tick => Reason::Tick,
                },
            });
        let membership = self.host.next_acknowledge().map(|at| Timeout {
            at,
            reason: Reason::Repeat,
        });
        let departure = match self.host.departure {
            Departure::Telling(at) => Some(Timeout {
                at,
                reason: Reason::Wait,
            }),
            Departure::None | Departure::HandingOver | Departure::Gone => None,
        };
        segments
            .chain(membership)
            .chain(departure)
            .min_by_key(|timeout| timeout.at)
    }

    /// Says what is due, and ends the append of this turn.
    pub(super) fn end_turn(&mut self, now: Instant) {
        for segment in self.segments.values_mut() {
            segment.requests.take_back(&mut segment.store, &mut self.host, now);
        }
        let segments = &self.segments;
        let generations = || {
            segments
                .values()
                .map(|segment| segment.store.generation())
                .filter(|known| known.generation > 0)
                .collect()
        };
        let knows = |host| segments.values().all(|segment| segment.is_known_to(host));
        self.host.acknowledge(generations, knows, now);
        self.host.send_borrows(now);
        self.host.flush();
    }

    /// Forgets deleted segments that nobody has back any more.
    fn forget_graves(&mut self) {
        let host = &self.host;
        let forgotten = |segment: &SegmentLeases| grave::is_forgotten(&segment.store, host);
        let gone: Vec<SegmentId> = self
            .segments
            .iter()
            .filter(|(_, segment)| forgotten(segment))
            .map(|(&id, _)| id)
            .collect();
        for id in gone {
            if let Some(mut segment) = self.segments.remove(&id) {
                grave::forget(&mut segment.store, &mut self.host);
            }
        }
    }

    /// No other segment uses addresses that somebody may still rely on in a deleted one.
    pub(super) fn block_graves(&mut self) {
        let mut blocked = RangeMap::default();
        for SegmentLeases { store, .. } in self.segments.values_mut() {
            store.due.grave = false;
            if store.configured.life == Life::Deleted {
                for range in grave::known_ranges(store) {
                    blocked.set(range, store.id);
                }
            }
        }
        let me = self.host.me;
        for SegmentLeases { store, .. } in self.segments.values_mut() {
            if store.blocked != blocked {
                let before = std::mem::replace(&mut store.blocked, blocked.clone());
                for (range, _) in before.iter().chain(blocked.iter()) {
                    store.refresh_free(me, range);
                }
                store.due.share = true;
            }
        }
    }

    pub(super) fn segment(&mut self, id: SegmentId, now: Instant) -> &mut SegmentLeases {
        self.segments.entry(id).or_insert_with(|| SegmentLeases::new(id, now))
    }

    pub(super) fn learn_removed(&mut self, removed: &BTreeSet<HostId>, now: Instant) {
        let new = self.host.learn_removed(removed, now);
        self.forget_removed(&new, now);
    }

    fn forget_removed(&mut self, removed: &[HostId], now: Instant) {
        for segment in self.segments.values_mut().filter(|_| !removed.is_empty()) {
            for &gone in removed {
                segment.store.shares.remove(&gone);
                ending::forget_host(&mut segment.store, &mut self.host, gone, now);
            }
            segment.store.due.orphans = true;
            segment.store.due.keepers = true;
            segment.takeover.retry_ballot(&mut segment.store, &mut self.host, now);
            segment.takeover.inherit(&mut segment.store, &mut self.host, now);
        }
    }

    /// Goes on with leaving, if this host leaves.
    pub(super) fn depart(&mut self, now: Instant) {
        match self.host.departure {
            Departure::HandingOver => {
                let alone = self.host.others().next().is_none();
                if alone || self.segments.values().all(|segment| segment.is_handed_over(&self.host)) {
                    self.host.departure = Departure::Telling(Participation::told_until(now));
                    self.learn_removed(&BTreeSet::from([self.host.me]), now);
                    self.depart(now);
                }
            }
            Departure::Telling(until) if until <= now || self.host.departure_known() => {
                self.host.departure = Departure::Gone;
                let after = self.host.written();
                self.host.outbox.later(Effect::Left, after, now);
            }
            Departure::None | Departure::Telling(_) | Departure::Gone => {}
        }
    }
}
