//! Who gets which free addresses: each of the first hosts of the group has a share, the gateway the largest.
//!
//! ```text
//!  gateway (for a minute)  half of the free addresses
//!  the other six           the rest, even
//!  too few? ask the one that can spare most, at most once in 10 s; each second while there is none at all
//! ```
//! Nobody waits for the tick where something has happened: addresses are told once they are born, and asked for once they
//! are told of, or there is somebody new to share with.

use crate::id::HostId;
use crate::range::{Address, Range};
use crate::time::Instant;

use super::host::{Departure, Host};
use super::message::Message;
use super::record::{Holder, Record, Transfer};
use super::request::Effect;
use super::segment::Segment;
use super::timing::{BORROW_EVERY, GATEWAY_SETTLED, SHARE_RUNS, SHARERS, SPLINTERS, TICK};
use crate::lease::{Epoch, Version};
use crate::lease::{Share, SharedRange};

impl Segment {
    /// What the tick does about shares.
    pub(super) fn share(&mut self, host: &mut Host, now: Instant) {
        if self.standing.since + now.since(self.standing_at) >= GATEWAY_SETTLED {
            self.settled_gateway = self.standing.gateway;
        }
        if host.departure != Departure::None {
            return self.hand_all_over(host, now);
        }
        if self.free.entries() > SPLINTERS || self.free_entries() > SPLINTERS {
            self.join_splinters(host);
        }
        self.tell_share(host);
        self.ask_for_share(host, now);
    }

    /// How many free addresses are told of by others that can be asked, and by whom most.
    fn told_free(&self, host: &Host) -> Vec<(u64, HostId)> {
        let free = |share: &Share| share.ranges.iter().map(|run| run.free).sum();
        self.shares
            .values()
            .filter(|share| share.owner != host.me && host.can_keep(share.owner))
            .map(|share| (free(share), share.owner))
            .collect()
    }

    /// How many free addresses a host should have.
    fn target(&self, host: &Host, of: HostId, now: Instant) -> u64 {
        let takes = |other: &HostId| *other == host.me && host.takes_part() || host.can_keep(*other);
        let sharers: Vec<HostId> = self
            .standing
            .order
            .iter()
            .copied()
            .filter(takes)
            .take(SHARERS)
            .collect();
        if !sharers.contains(&of) {
            return 0;
        }
        let all = self.free_count + self.told_free(host).iter().map(|(free, _)| free).sum::<u64>();
        let served = self.standing.since + now.since(self.standing_at);
        let settled = if served >= GATEWAY_SETTLED {
            self.standing.gateway
        } else {
            self.settled_gateway
        };
        let gateway = settled
            .or(self.standing.gateway)
            .filter(|gateway| sharers.contains(gateway));
        match (gateway, sharers.len() as u64) {
            (_, 1) => all,
            (Some(gateway), _) if gateway == of => all.div_ceil(2),
            (Some(_), count) => all / 2 / (count - 1),
            (None, count) => all / count,
        }
    }

    pub(super) fn ask_for_share(&mut self, host: &mut Host, now: Instant) {
        // Whoever has none may have asked before its owner took it for one that takes part.
        let pause = if self.free_count == 0 { TICK } else { BORROW_EVERY };
        let asked = self.borrowed.is_some_and(|before| now.since(before) < pause);
        if !host.takes_part() || host.departure != Departure::None || asked || !self.is_current() {
            return;
        }
        let target = self.target(host, host.me, now);
        // The one with most may be owed all of it.
        let spares = |(free, owner): (u64, HostId)| (free.saturating_sub(self.target(host, owner, now)), owner);
        let most = self.told_free(host).into_iter().map(spares).max();
        if let Some((spare, owner)) = most.filter(|(spare, _)| *spare > 0)
            && self.free_count < target.div_ceil(2)
            && self.free.entries() < SHARE_RUNS
        {
            self.borrowed = Some(now);
            let count = (target - self.free_count).min(spare);
            host.disk.send(
                owner,
                Message::Borrow {
                    segment: self.id,
                    count,
                },
                0,
                now,
            );
        }
    }

    /// Another host has too few free addresses.
    pub(super) fn handle_borrow(&mut self, host: &mut Host, from: HostId, count: u64, now: Instant) {
        if !host.can_keep(from) || host.departure != Departure::None || !host.serves() {
            return;
        }
        let spare = match count {
            0 => self.free_count.div_ceil(2),
            count => count.min(self.free_count.saturating_sub(self.target(host, host.me, now))),
        };
        let ranges = self.choose_free(spare);
        if !ranges.is_empty() {
            self.give(host, &ranges, from, now);
        }
    }

    /// Free addresses to be given away: the largest runs first, from their ends.
    fn choose_free(&self, mut count: u64) -> Vec<Range> {
        let mut runs: Vec<Range> = self.free.iter().map(|(run, ())| run).collect();
        runs.sort_by_key(|run| (std::cmp::Reverse(run.size()), *run));
        let mut chosen = Vec::new();
        for run in runs.into_iter().take(SHARE_RUNS) {
            let Some(part) = run.take_last(count) else { break };
            count -= part.size();
            chosen.push(part);
        }
        chosen
    }

    /// This host leaves: whatever it owns goes to the first that can take it.
    fn hand_all_over(&mut self, host: &mut Host, now: Instant) {
        let order = self.standing.order.iter().copied();
        let others: Vec<HostId> = host.others().collect();
        let Some(to) = order.chain(others).find(|&to| host.can_keep(to)) else {
            return;
        };
        let me = host.me;
        let mine: Vec<Range> = self
            .state
            .iter()
            .filter(|(_, state)| state.owner == Some(me) && state.transfer == Transfer::Settled)
            .map(|(range, _)| range)
            .collect();
        if !mine.is_empty() {
            self.give(host, &mine, to, now);
        }
    }

    /// Whether nothing is left here that a leaver must hand on. What it gave to a host that was removed before it took
    /// it is still here: nobody else knows of it, so this host inherits it, or hears of an heir.
    pub(super) fn is_handed_over(&self, host: &Host) -> bool {
        let owns = self.state.iter().any(|(_, state)| {
            state.owner == Some(host.me) && state.transfer == Transfer::Settled
                || state.transfer == Transfer::HandingOver
        });
        !owns && self.kept(host) == 0
    }

    fn free_entries(&self) -> usize {
        self.free.iter().map(|(run, ())| self.state.within(run).count()).sum()
    }

    /// Joins free neighbours under one fresh epoch.
    fn join_splinters(&mut self, host: &mut Host) {
        let runs: Vec<Range> = self.free.iter().map(|(run, ())| run).collect();
        for run in runs
            .into_iter()
            .filter(|&run| self.state.within(run).nth(1).is_some())
            .collect::<Vec<_>>()
        {
            let epoch: Epoch = self.fresh_epoch(host.me, run);
            self.update(host, run, |_, state| {
                state.epoch = epoch;
                state.promised = state.promised.max(epoch);
                state.record = Record::unused(Version { epoch, counter: 0 });
            });
            self.births.changed();
        }
    }

    /// Tells everybody what this host owns, if that has changed.
    pub(super) fn tell_share(&mut self, host: &mut Host) {
        if !std::mem::take(&mut self.share_due) {
            return;
        }
        let ranges = self.my_share(host);
        let before = self.shares.get(&host.me);
        // The first word after a start is said even if it is "nothing": the others may remember more.
        if before.is_some_and(|before| before.ranges == ranges) {
            return;
        }
        self.told = self.told.max(before.map_or(0, |before| before.told)) + 1;
        let share = Share {
            segment: self.id,
            owner: host.me,
            told: self.told,
            ranges,
        };
        self.shares.insert(host.me, share.clone());
        host.disk.effect(Effect::GossipShare(share));
    }

    /// What this host owns, neighbours joined.
    fn my_share(&self, host: &Host) -> Vec<SharedRange> {
        let mut mine: Vec<SharedRange> = Vec::new();
        for (range, state) in self.state.iter().filter(|(_, state)| state.owner == Some(host.me)) {
            let mut run = SharedRange {
                range,
                epoch: state.epoch,
                free: 0,
                held: 0,
                quarantined: 0,
                declined: 0,
            };
            let size = range.size();
            match state.record.holder {
                Holder::Client(_) | Holder::Reserved(_) => run.held = size,
                Holder::Declined => run.declined = size,
                Holder::Free { .. } if state.is_free() && state.transfer == Transfer::Settled => {
                    // What the pool does not offer any more is nothing to ask for.
                    let offered = self.configured.offered.within(range);
                    run.free = offered.map(|(part, ())| part.size()).sum();
                    run.quarantined = size - run.free;
                }
                Holder::Free { .. } => run.quarantined = size,
            }
            match mine.last_mut().and_then(|last| Some((last.range.joined(range)?, last))) {
                Some((joined, last)) => {
                    last.range = joined;
                    last.epoch = last.epoch.max(run.epoch);
                    last.free += run.free;
                    last.held += run.held;
                    last.quarantined += run.quarantined;
                    last.declined += run.declined;
                }
                None => mine.push(run),
            }
        }
        mine
    }

    /// What another host told about its share.
    pub(super) fn handle_share(&mut self, host: &mut Host, share: Share, now: Instant) {
        if share.owner == host.me {
            if share.told > self.told {
                // Told before the last start.
                self.told = share.told;
                self.shares.remove(&host.me);
                self.share_due = true;
            }
            return;
        }
        if self
            .shares
            .get(&share.owner)
            .is_none_or(|before| before.told < share.told)
        {
            self.shares.insert(share.owner, share);
            self.ask_for_share(host, now);
        }
    }

    /// Takes an address out of those that may be given.
    pub(super) fn block(&mut self, address: Address) {
        if self.free.at(address).is_some() {
            self.free.clear(Range::one(address));
            self.free_count -= 1;
        }
    }
}
