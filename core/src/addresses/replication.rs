//! The copies of an owner's record: who must have it on disk before the client hears of it, and who is waiting for that.

use std::collections::BTreeSet;

use crate::id::HostId;
use crate::range::{Address, Range};
use crate::time::{Duration, Instant};

use super::host::Host;
use super::message::{Message, PutRefusal, Reply};
use super::record::Holder;
use super::requests::{Asker, Waiter};
use super::segment::Segment;
use super::timing::{self, ANSWER_LIFE, ASK, KEEPERS, REPEAT_FIRST, REPEAT_LAST};
use crate::lease::{Epoch, Version};

/// What an owner has to do about a record until every host in `may` has confirmed it.
#[derive(Debug)]
pub(super) struct Replication {
    /// When the record is put again.
    pub(super) due: Instant,
    /// How long to wait after that.
    pub(super) wait: Duration,
    /// When the next keeper is taken.
    pub(super) keeper_by: Option<Instant>,
    /// Keepers that were tried.
    pub(super) tried: BTreeSet<HostId>,
    /// Who is to be answered.
    pub(super) waiters: Vec<Waiter>,
}

impl Replication {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            due: now,
            wait: REPEAT_FIRST,
            keeper_by: None,
            tried: BTreeSet::new(),
            waiters: Vec::new(),
        }
    }
}

impl Segment {
    /// Whether owner and keeper have the record as it is now.
    pub(super) fn is_confirmed(&self, host: &Host, address: Address) -> bool {
        let Some(live) = self.live.get(&address) else {
            return false;
        };
        match self.at(address).record.keeper {
            Some(keeper) => live.confirmed.contains(&keeper),
            None => host.disk.has(self.after(address)),
        }
    }

    /// Acknowledges: the guest may rely on the address from now on.
    pub(super) fn grant(&mut self, host: &mut Host, address: Address, waiter: Waiter, now: Instant) {
        let record = &self.at(address).record;
        let lease_time = waiter.claim.lease_time.min(record.lease_time).min(self.lease_time());
        let until = now + timing::relied(lease_time);
        let nonce = host.random();
        let Some(live) = self.live.get_mut(&address) else {
            return;
        };
        live.relied_until = Some(live.relied_until.map_or(until, |before| before.max(until)));
        live.nonce = nonce;
        live.granted = now;
        let at = live.relied_until.unwrap_or(until);
        self.look_at(address, at);
        let copies = self.copies_behind(host, address);
        self.reply(
            host,
            address,
            waiter,
            Reply::Granted { lease_time, copies },
            self.after(address),
            now,
        );
        self.tell(host, address, now);
    }

    /// How many hosts have the lease on disk: a guest that shows its lease was told of it once two had it.
    pub(super) fn copies_behind(&self, host: &Host, address: Address) -> u32 {
        let alone = self.live.get(&address).is_none_or(|live| live.alone);
        match self.at(address).record.keeper {
            Some(keeper) if keeper != host.me && !alone => 2,
            Some(_) | None => self.copies(host, address),
        }
    }

    /// How many hosts are known to have the lease on disk.
    pub(super) fn copies(&self, host: &Host, address: Address) -> u32 {
        let record = &self.at(address).record;
        let confirmed = self.live.get(&address).is_some_and(|live| match record.keeper {
            Some(keeper) if keeper == host.me => !live.unsure,
            Some(keeper) => live.confirmed.contains(&keeper),
            None => false,
        });
        if confirmed { 2 } else { 1 }
    }

    /// A host has stored a record.
    pub(super) fn handle_stored(
        &mut self,
        host: &mut Host,
        from: HostId,
        address: Address,
        version: Version,
        now: Instant,
    ) {
        let state = self.at(address);
        if !self.owns(host, address) || state.record.version != version || !state.may.contains(&from) {
            return;
        }
        let keeper = state.record.keeper;
        if let Some(live) = self.live.get_mut(&address) {
            live.confirmed.insert(from);
            live.alone &= keeper != Some(from);
        }
        if keeper != Some(from) {
            self.update(host, Range::one(address), |_, state| {
                state.may.remove(&from);
            });
        }
        self.settle(host, address, now);
    }

    /// Answers those that waited, if the record is confirmed; and tells of it.
    pub(super) fn settle(&mut self, host: &mut Host, address: Address, now: Instant) {
        if !self.owns(host, address) {
            return;
        }
        let bound = self.at(address).record.is_bound();
        if bound && self.is_confirmed(host, address) {
            let waiters = self
                .live
                .get_mut(&address)
                .and_then(|live| live.work.as_mut())
                .map(|work| {
                    work.keeper_by = None;
                    std::mem::take(&mut work.waiters)
                });
            let waiters = waiters.unwrap_or_default();
            if waiters.is_empty() {
                self.tell(host, address, now);
            }
            for waiter in waiters {
                self.grant(host, address, waiter, now);
            }
        }
        if self.unconfirmed(address).is_empty()
            && let Some(live) = self.live.get_mut(&address)
            && live.work.as_ref().is_some_and(|work| work.waiters.is_empty())
        {
            live.work = None;
        }
        if !bound {
            self.tell(host, address, now);
        }
    }

    /// The hosts that have still to store the record.
    pub(super) fn unconfirmed(&self, address: Address) -> Vec<HostId> {
        let confirmed = self.live.get(&address).map(|live| &live.confirmed);
        let missing = |host: &&HostId| confirmed.is_none_or(|confirmed| !confirmed.contains(host));
        self.at(address).may.iter().filter(missing).copied().collect()
    }

    /// A host did not store a record.
    pub(super) fn handle_put_refused(
        &mut self,
        host: &mut Host,
        refusal: (HostId, Address, Version, PutRefusal, Epoch, Duration),
        now: Instant,
    ) {
        let (from, address, version, why, promised, left) = refusal;
        let state = self.at(address);
        if !self.owns(host, address) || state.record.version != version || !state.may.contains(&from) {
            return;
        }
        match why {
            PutRefusal::Promised if promised > state.epoch => self.rise_above(host, address, promised, now),
            // The refuser's guest has it: that is the client named last, whatever else it is quarantined for.
            PutRefusal::Keeps if matches!(state.record.holder, Holder::Free { last: Some(_) }) => {
                self.revive(host, address, timing::relied(left), now);
            }
            PutRefusal::Keeps => {
                let at = now + left.clamp(REPEAT_FIRST, REPEAT_LAST);
                if let Some(work) = self.live.get_mut(&address).and_then(|live| live.work.as_mut()) {
                    work.due = work.due.max(at);
                }
                self.look_at(address, at);
            }
            PutRefusal::NoPart => {
                if self.at(address).record.keeper == Some(from)
                    && let Some(by) = self
                        .live
                        .get_mut(&address)
                        .and_then(|live| live.work.as_mut()?.keeper_by.as_mut())
                {
                    *by = now;
                }
                self.look_at(address, now);
            }
            PutRefusal::Promised | PutRefusal::Older | PutRefusal::Owner => {}
        }
    }

    /// Takes a fresh epoch above a promise and puts the same version again.
    pub(super) fn rise_above(&mut self, host: &mut Host, address: Address, promised: Epoch, now: Instant) {
        let me = host.me;
        let mut epoch = self.fresh_epoch(me, Range::one(address));
        epoch.number = epoch.number.max(promised.number + 1);
        self.update(host, Range::one(address), |_, state| {
            state.epoch = epoch;
        });
        if let Some(live) = self.live.get_mut(&address) {
            live.confirmed.clear();
            let work = live.work.get_or_insert_with(|| Replication::new(now));
            work.due = now;
        }
        self.look_at(address, now);
        self.births.changed();
    }

    /// Puts what is due, and looks for another keeper if the chosen one is silent.
    pub(super) fn work(&mut self, host: &mut Host, address: Address, now: Instant) {
        let Some(work) = self.live.get_mut(&address).and_then(|live| live.work.as_mut()) else {
            return;
        };
        for late in work
            .waiters
            .extract_if(.., |waiter| waiter.is_late(now))
            .collect::<Vec<_>>()
        {
            // Another host has long stopped waiting.
            if let Asker::Here(_) = late.asker {
                self.reply(host, address, late, Reply::CannotSay { owner: None }, 0, now);
            }
        }
        if self.at(address).record.is_bound() && !self.is_confirmed(host, address) {
            self.next_keeper(host, address, now);
        }
        let missing = self.unconfirmed(address);
        let state = self.at(address).clone();
        let after = self.after(address);
        let confirmed = self.is_confirmed(host, address);
        let Some(work) = self.live.get_mut(&address).and_then(|live| live.work.as_mut()) else {
            return;
        };
        if work.due <= now {
            work.due = now + work.wait;
            work.wait = (work.wait * 2).min(REPEAT_LAST);
            for to in missing {
                let waits = host.retires(to) && state.record.keeper.is_some_and(|keeper| keeper != to) && !confirmed;
                if host.hears(to) && !waits {
                    let record = state.record.clone();
                    let message = Message::Put {
                        segment: self.id,
                        address,
                        epoch: state.epoch,
                        record,
                        confirmed,
                    };
                    host.disk.send(to, message, after, now);
                }
            }
        }
        let late = work.waiters.first().map(|waiter| waiter.since + ANSWER_LIFE);
        let next = work.keeper_by.into_iter().chain(late).fold(work.due, Instant::min);
        self.look_at(address, next);
        self.settle(host, address, now);
    }

    /// The chosen keeper has not stored the record in time: the next one, or none where this host is alone.
    fn next_keeper(&mut self, host: &mut Host, address: Address, now: Instant) {
        let state = self.at(address);
        let (holder, crowded) = (state.record.holder, state.may.len() >= KEEPERS);
        let Some(work) = self.live.get(&address).and_then(|live| live.work.as_ref()) else {
            return;
        };
        if work.keeper_by.is_none_or(|by| by > now) {
            return;
        }
        let any = self.choose_keeper(host, None, &BTreeSet::new());
        let gone = state.record.keeper.is_none_or(|keeper| !host.can_keep(keeper));
        let next = self
            .choose_keeper(host, None, &work.tried)
            .or(any.filter(|_| gone))
            .filter(|next| !crowded || state.may.contains(next));
        if next.is_some() || any.is_none() {
            self.rewrite(host, address, next, holder, now);
        } else if let Some(work) = self.live.get_mut(&address).and_then(|live| live.work.as_mut()) {
            work.keeper_by = Some(now + ASK);
        }
    }

    /// Those that waited for an address hear that this host cannot say.
    pub(super) fn drop_waiters(&mut self, host: &mut Host, address: Address, now: Instant) {
        let waiters = self
            .live
            .get_mut(&address)
            .and_then(|live| live.work.take())
            .map(|work| work.waiters);
        let owner = self.at(address).owner.filter(|&owner| owner != host.me);
        for waiter in waiters.unwrap_or_default() {
            let after = self.after(address);
            self.reply(host, address, waiter, Reply::CannotSay { owner }, after, now);
        }
    }

    /// After a start, or a taking over: what was under way goes on, `after` so long.
    pub(super) fn resume(&mut self, host: &Host, address: Address, at: Instant) {
        if self.at(address).owner == Some(host.me)
            && !self.at(address).may.is_empty()
            && let Some(live) = self.live.get_mut(&address)
        {
            live.work.get_or_insert_with(|| Replication::new(at));
        }
        self.look_at(address, at);
    }
}
