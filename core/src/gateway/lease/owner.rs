//! The owner's side of a lease: binding, waiting for the keeper, extending, ending.
//!
//! ```text
//!  Bind ─ write ─ fsync ─► Put to all in `may` ─► Stored by the keeper ─► the waiting are answered
//!                             │  300 ms without                               │
//!                             └─► the next keeper (three at most)             ▼
//!  relied_until past ─ write unbound ─ fsync ─► Put to all in `may` ─► all stored: free
//! ```

use std::collections::BTreeSet;

use crate::gateway::pool::{Address, Range};
use crate::id::{HostId, Mac};
use crate::time::{Duration, Instant};

use super::asking::Asker;
use super::host::Host;
use super::message::{Basis, Claim, Message, PutRefusal, Reply};
use super::record::{Epoch, Holder, Record, Rest, Transfer, Version};
use super::request::{Effect, Finding};
use super::segment::{Segment, fresh_version};
use super::show::LeaseState;
use super::timing::{self, ANSWER_LIFE, ASK, KEEPERS, MOVED, REPEAT_FIRST, REPEAT_LAST};

/// What an owner has to do about a record until every host in `may` has confirmed it.
#[derive(Debug)]
pub(super) struct Work {
    /// When the record is put again.
    due: Instant,
    /// How long to wait after that.
    wait: Duration,
    /// When the next keeper is taken.
    keeper_by: Option<Instant>,
    /// Keepers that were tried.
    tried: BTreeSet<HostId>,
    /// Who is to be answered.
    waiters: Vec<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    asker: Asker,
    lease_time: Duration,
    since: Instant,
}

impl Work {
    fn new(now: Instant) -> Self {
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
    /// A client wants an address, or more time.
    pub(super) fn claim(&mut self, host: &mut Host, address: Address, claim: Claim, asker: Asker, now: Instant) {
        let state = self.at(address);
        let owner = state.owner.filter(|&owner| owner != host.me);
        if !host.serves() || !self.allows(address, claim.client) {
            return self.reply(host, asker, Reply::CannotSay { owner }, 0, now);
        }
        if self.owns(host, address) {
            match state.record.holder {
                Holder::Client(client) | Holder::Reserved(client) if client == claim.client => {
                    self.renew(host, address, claim, asker, now);
                }
                Holder::Client(_) | Holder::Reserved(_) | Holder::Aside => {
                    self.reply(host, asker, Reply::Taken, self.after(address), now);
                }
                Holder::Free { .. } if state.is_free() && self.may_bind(address, claim.client) => {
                    self.bind(host, address, &claim, Some(asker), now);
                }
                Holder::Free { last } if last == Some(claim.client) && state.is_ending() => {
                    self.revive(host, address, ANSWER_LIFE * 2, now);
                    self.renew(host, address, claim, asker, now);
                }
                Holder::Free { .. } => self.reply(host, asker, Reply::CannotSay { owner: None }, 0, now),
            }
        } else if self.keeps(host, address) && state.record.client() == Some(claim.client) {
            if let Some(live) = self.live.get_mut(&address).filter(|_| claim.basis == Basis::Wanting) {
                live.unsure = true;
            }
            self.grant(host, address, claim.lease_time, asker, now);
        } else {
            self.reply(host, asker, Reply::CannotSay { owner }, 0, now);
        }
    }

    /// Whether a free address may be bound to a client now.
    fn may_bind(&self, address: Address, client: Mac) -> bool {
        let offered_to_other = self.offers.get(&address).is_some_and(|offer| offer.client != client);
        let reserved = self.configured.reserved.contains_key(&address);
        !offered_to_other && (reserved || !self.is_full(client))
    }

    /// Whether `max_leases` are held.
    pub(super) fn is_full(&self, _client: Mac) -> bool {
        self.configured
            .pool
            .as_ref()
            .and_then(|pool| pool.max_leases)
            .is_some_and(|most| self.held >= most)
    }

    /// The client has the lease already, as far as this owner knows.
    fn renew(&mut self, host: &mut Host, address: Address, claim: Claim, asker: Asker, now: Instant) {
        if claim.basis == Basis::Having || self.is_confirmed(host, address) {
            self.grant(host, address, claim.lease_time, asker, now);
            self.mend(host, address, now);
            return;
        }
        let Some(live) = self.live.get_mut(&address) else {
            return;
        };
        let work = live.work.get_or_insert_with(|| Work::new(now));
        work.keeper_by.get_or_insert(now + ASK);
        work.waiters.push(Waiter {
            asker,
            lease_time: claim.lease_time,
            since: now,
        });
        self.look_at(address, now);
    }

    /// Writes a record that names a new client.
    fn bind(&mut self, host: &mut Host, address: Address, claim: &Claim, asker: Option<Asker>, now: Instant) {
        let keeper = self.choose_keeper(host, claim.guest_host, &BTreeSet::new());
        let lease_time = self.lease_time();
        let holder = if self.configured.reserved.contains_key(&address) {
            Holder::Reserved(claim.client)
        } else {
            Holder::Client(claim.client)
        };
        self.withdraw_offer(address);
        self.update(host, Range::one(address), |_, state| {
            state.record = Record {
                version: fresh_version(state),
                holder,
                lease_time,
                keeper,
                client_id: claim.client_id.clone(),
                hostname: claim.hostname.clone(),
                strikes: 0,
            };
            state.may.extend(keeper);
        });
        let nonce = host.random();
        let Some(live) = self.live.get_mut(&address) else {
            return;
        };
        live.relied_until = Some(now + ANSWER_LIFE * 2);
        live.nonce = nonce;
        live.confirmed.clear();
        live.alone = false;
        live.retire = None;
        let mut work = Work::new(now);
        work.keeper_by = keeper.map(|_| now + ASK);
        work.tried.extend(keeper);
        work.waiters.extend(asker.map(|asker| Waiter {
            asker,
            lease_time: claim.lease_time,
            since: now,
        }));
        live.work = Some(work);
        self.look_at(address, now);
    }

    /// Names the client again that the record named last, while a host may still extend its lease: nobody but that client
    /// can rely on the address.
    pub(super) fn revive(&mut self, host: &mut Host, address: Address, for_time: Duration, now: Instant) {
        let home = |client| self.guests.get(&client).and_then(|(guest, _)| guest.host);
        let Holder::Free { last: Some(client) } = self.at(address).record.holder else {
            return;
        };
        let keepers = self
            .at(address)
            .may
            .iter()
            .copied()
            .find(|&keeper| host.can_keep(keeper));
        let keeper = keepers.or_else(|| self.choose_keeper(host, home(client), &BTreeSet::new()));
        self.rewrite(host, address, keeper, Holder::Client(client), now);
        if let Some(live) = self.live.get_mut(&address) {
            live.relied_until = Some(now + for_time);
            live.granted = now;
        }
    }

    /// Binds a reserved address to its client.
    pub(super) fn bind_reserved(&mut self, host: &mut Host, address: Address, now: Instant) {
        let Some(reservation) = self.configured.reserved.get(&address) else {
            return;
        };
        let client = reservation.client;
        let state = self.at(address);
        let (client_id, hostname) = match state.record.client() {
            Some(_) => (state.record.client_id.clone(), state.record.hostname.clone()),
            None => (Vec::new(), reservation.hostname.clone().unwrap_or_default()),
        };
        match state.record.holder {
            Holder::Free { .. } if state.is_free() => {
                let claim = Claim {
                    client,
                    basis: Basis::Wanting,
                    guest_host: self.guests.get(&client).and_then(|(guest, _)| guest.host),
                    lease_time: self.lease_time(),
                    client_id,
                    hostname,
                };
                self.bind(host, address, &claim, None, now);
            }
            Holder::Client(holder) if holder == client => {
                let keeper = state.record.keeper;
                self.rewrite(host, address, keeper, Holder::Reserved(client), now);
            }
            Holder::Client(_) | Holder::Reserved(_) | Holder::Aside | Holder::Free { .. } => {}
        }
    }

    /// Writes a newer version of a bound record: another keeper, or a longer time. `may` only grows by it.
    fn rewrite(&mut self, host: &mut Host, address: Address, keeper: Option<HostId>, holder: Holder, now: Instant) {
        let lease_time = self.lease_time();
        let alone = self.at(address).record.keeper.is_none();
        self.update(host, Range::one(address), |_, state| {
            state.record.version = fresh_version(state);
            state.record.keeper = keeper;
            state.record.holder = holder;
            state.record.lease_time = state.record.lease_time.max(lease_time);
            state.may.extend(keeper);
        });
        let Some(live) = self.live.get_mut(&address) else {
            return;
        };
        live.confirmed.clear();
        live.alone |= alone;
        let work = live.work.get_or_insert_with(|| Work::new(now));
        work.due = now;
        work.wait = REPEAT_FIRST;
        work.keeper_by = keeper.map(|_| now + ASK);
        work.tried.extend(keeper);
        self.look_at(address, now);
    }

    /// Gives a bound record the keeper and the time that it should have by now.
    pub(super) fn mend(&mut self, host: &mut Host, address: Address, now: Instant) {
        if !self.owns(host, address) {
            return;
        }
        let state = self.at(address);
        let Some(client) = state.record.client() else { return };
        if self
            .live
            .get(&address)
            .is_some_and(|live| live.work.as_ref().is_some_and(|work| work.keeper_by.is_some()))
        {
            return;
        }
        let at_home = self
            .guests
            .get(&client)
            .and_then(|(guest, since)| Some((guest.host?, *since)));
        let keeper = match (state.record.keeper, at_home) {
            (Some(keeper), _) if host.is_removed(keeper) || host.retires(keeper) => {
                let next = self.choose_keeper(host, at_home.map(|(home, _)| home), &BTreeSet::from([keeper]));
                // Others may be back and keep it then; where all others leave, this host is as good as alone.
                if next.is_none() && !host.is_removed(keeper) && !host.is_left_alone() {
                    Some(keeper)
                } else {
                    next
                }
            }
            (Some(keeper), Some((home, since)))
                if home != keeper && home != host.me && now.since(since) >= MOVED && host.can_keep(home) =>
            {
                Some(home)
            }
            (Some(keeper), _) => Some(keeper),
            (None, at_home) => self.choose_keeper(host, at_home.map(|(home, _)| home), &BTreeSet::new()),
        };
        let longer = self.lease_time() > state.record.lease_time;
        let crowded = keeper.is_some_and(|keeper| !state.may.contains(&keeper)) && state.may.len() >= KEEPERS;
        if (keeper != state.record.keeper || longer) && !crowded {
            let holder = state.record.holder;
            self.rewrite(host, address, keeper, holder, now);
        }
    }

    /// The guest's own host, or the next in the group's order that can be asked and takes part.
    pub(super) fn choose_keeper(&self, host: &Host, home: Option<HostId>, but: &BTreeSet<HostId>) -> Option<HostId> {
        home.into_iter()
            .chain(self.standing.order.iter().copied())
            .find(|&candidate| host.can_keep(candidate) && !but.contains(&candidate))
    }

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
    pub(super) fn grant(&mut self, host: &mut Host, address: Address, wish: Duration, asker: Asker, now: Instant) {
        let record = &self.at(address).record;
        let lease_time = wish.min(record.lease_time).min(self.lease_time());
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
            asker,
            Reply::Granted { lease_time, copies },
            self.after(address),
            now,
        );
        self.tell(host, address, now);
    }

    /// How many hosts have the lease on disk: a guest that shows its lease was told of it once two had it.
    fn copies_behind(&self, host: &Host, address: Address) -> u32 {
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
            for waiter in waiters
                .into_iter()
                .filter(|waiter| now.since(waiter.since) <= ANSWER_LIFE)
            {
                self.grant(host, address, waiter.lease_time, waiter.asker, now);
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
    fn unconfirmed(&self, address: Address) -> Vec<HostId> {
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
            // The refuser's guest has it: that is the client named last, whatever else the address rests for.
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
            let work = live.work.get_or_insert_with(|| Work::new(now));
            work.due = now;
        }
        self.look_at(address, now);
        self.births.changed();
    }

    /// Looks at a bound or unconfirmed address: what is over ends, what is due is put.
    pub(super) fn step(&mut self, host: &mut Host, address: Address, now: Instant) {
        if !self.owns(host, address) {
            self.drop_waiters(host, address, now);
            return;
        }
        let state = self.at(address);
        let full = self.full_time(&state.record);
        if state.record.is_bound() {
            let stands = self.stands(address, &state.record);
            let is_reserved = matches!(state.record.holder, Holder::Reserved(_));
            let everybody = host.all_know(self.id, self.configured.generation) || self.configured.deleted.is_some();
            let Some(live) = self.live.get_mut(&address) else {
                return;
            };
            let mut over = *live.relied_until.get_or_insert(now + full);
            if is_reserved && !stands {
                match live.retire {
                    Some(retire) => over = over.max(retire),
                    None if everybody => over = over.max(*live.retire.insert(now + full)),
                    None => over = Instant::from_millis(u64::MAX),
                }
            } else if is_reserved {
                live.retire = None;
                over = Instant::from_millis(u64::MAX);
            }
            if over <= now {
                self.end(host, address, now);
            } else {
                self.look_at(address, over);
            }
        }
        self.work(host, address, now);
    }

    /// Nobody relies on it any more: nobody has it.
    pub(super) fn end(&mut self, host: &mut Host, address: Address, now: Instant) {
        self.drop_waiters(host, address, now);
        self.update(host, Range::one(address), |_, state| {
            let last = state.record.client();
            state.record.version = fresh_version(state);
            state.record.holder = Holder::Free { last };
            state.record.keeper = None;
        });
        if let Some(live) = self.live.get_mut(&address) {
            live.relied_until = None;
            live.retire = None;
            live.confirmed.clear();
            live.work = Some(Work::new(now));
            self.look_at(address, now);
        }
        self.tell(host, address, now);
    }

    /// Puts what is due, and looks for another keeper if the chosen one is silent.
    fn work(&mut self, host: &mut Host, address: Address, now: Instant) {
        let Some(work) = self.live.get_mut(&address).and_then(|live| live.work.as_mut()) else {
            return;
        };
        work.waiters.retain(|waiter| now.since(waiter.since) <= ANSWER_LIFE);
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
        let next = work.keeper_by.map_or(work.due, |by| by.min(work.due));
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
            self.reply(host, waiter.asker, Reply::CannotSay { owner }, self.after(address), now);
        }
    }

    /// After a start, or a taking over: what was under way goes on, `after` so long.
    pub(super) fn resume(&mut self, host: &Host, address: Address, at: Instant) {
        if self.at(address).owner == Some(host.me)
            && !self.at(address).may.is_empty()
            && let Some(live) = self.live.get_mut(&address)
        {
            live.work.get_or_insert_with(|| Work::new(at));
        }
        self.look_at(address, at);
    }

    /// The version and nonce that a release must repeat; none if the lease was extended after `since`, when the client
    /// may already have said that it gives it back.
    pub(super) fn nonce(&self, host: &Host, address: Address, client: Mac, since: Instant) -> Reply {
        let record = &self.at(address).record;
        match self.live.get(&address) {
            Some(live)
                if self.owns(host, address) && record.holder == Holder::Client(client) && live.granted <= since =>
            {
                Reply::Nonce {
                    version: record.version,
                    nonce: live.nonce,
                }
            }
            _ => Reply::Done,
        }
    }

    /// Whether a client's lease is still what it was when the nonce was asked for.
    pub(super) fn is_lease(
        &self,
        host: &Host,
        address: Address,
        (client, version, nonce): (Mac, Version, u64),
    ) -> bool {
        let record = &self.at(address).record;
        self.owns(host, address)
            && record.holder == Holder::Client(client)
            && record.version == version
            && self.live.get(&address).is_some_and(|live| live.nonce == nonce)
    }

    /// The client gives its lease back: nobody relies on it at this owner.
    pub(super) fn release(&mut self, host: &Host, address: Address, lease: (Mac, Version, u64), now: Instant) {
        if !self.is_lease(host, address, lease) {
            return;
        }
        if let Some(live) = self.live.get_mut(&address) {
            live.relied_until = Some(now);
            self.look_at(address, now);
        }
    }

    /// A client found its address in use, or a foreign user was seen at one that nobody has.
    pub(super) fn set_aside(&mut self, host: &mut Host, address: Address, by: Option<Mac>, now: Instant) {
        let state = self.at(address);
        let fits = match (by, state.record.holder) {
            (Some(client), Holder::Client(holder)) => client == holder,
            (None, Holder::Free { .. }) => true,
            (Some(_), Holder::Free { .. } | Holder::Reserved(_) | Holder::Aside)
            | (None, Holder::Client(_) | Holder::Reserved(_) | Holder::Aside) => false,
        };
        if !self.owns(host, address) || !fits {
            return;
        }
        let time = timing::aside(state.record.strikes);
        self.withdraw_offer(address);
        self.update(host, Range::one(address), |_, state| {
            state.record = Record {
                version: fresh_version(state),
                holder: Holder::Aside,
                lease_time: time.max(state.record.lease_time),
                keeper: None,
                client_id: Vec::new(),
                hostname: String::new(),
                strikes: state.record.strikes + 1,
            };
        });
        self.drop_waiters(host, address, now);
        if let Some(live) = self.live.get_mut(&address) {
            live.relied_until = Some(now + time);
            live.confirmed.clear();
            live.work = Some(Work::new(now));
        }
        self.look_at(address, now);
        host.disk.effect(Effect::Finding(Finding::SetAside {
            segment: self.id,
            address,
            time,
        }));
        self.tell(host, address, now);
    }

    /// A host was removed: where it may have extended a lease with its last breath, the address rests.
    pub(super) fn forget_host(&mut self, host: &mut Host, gone: HostId, now: Instant) {
        let me = host.me;
        let touched: Vec<Range> = self
            .state
            .iter()
            .filter(|(_, state)| state.owner == Some(me) && state.may.contains(&gone))
            .map(|(range, _)| range)
            .collect();
        for range in touched {
            for address in range.addresses() {
                let full = self.full_time(&self.at(address).record);
                if self.at(address).is_ending() {
                    self.revive(host, address, full, now);
                } else if let Some(live) = self.live.get_mut(&address) {
                    let until = now + full;
                    live.relied_until = Some(live.relied_until.map_or(until, |before| before.max(until)));
                }
            }
            self.update(host, range, |_, state| {
                state.may.remove(&gone);
                state.rest = Rest::Resting;
            });
            self.rest(range, now);
            for address in range.addresses() {
                self.mend(host, address, now);
                self.look_at(address, now);
            }
        }
    }

    /// A full time begins for the resting addresses of a range.
    pub(super) fn rest(&mut self, range: Range, now: Instant) {
        let resting: Vec<(Range, Duration)> = self
            .state
            .within(range)
            .filter(|(_, state)| state.rest == Rest::Resting)
            .map(|(part, state)| (part, self.full_time(&state.record)))
            .collect();
        for (part, full) in resting {
            self.rests.set(part, now + full);
            self.at_time(now + full, super::segment::Timer::Rest);
        }
    }

    /// Addresses whose full time has passed rest no more.
    pub(super) fn wake(&mut self, host: &mut Host, now: Instant) {
        let over: Vec<Range> = self
            .rests
            .iter()
            .filter(|(_, until)| **until <= now)
            .map(|(range, _)| range)
            .collect();
        let me = host.me;
        for range in over {
            self.rests.clear(range);
            self.update(host, range, |_, state| {
                if state.owner == Some(me) && state.transfer == Transfer::Settled {
                    state.rest = Rest::Awake;
                }
            });
        }
    }

    /// What the lease of an address is, in the words of `lease list`.
    pub(super) fn lease_state(&self, host: &Host, address: Address) -> LeaseState {
        let state = self.at(address);
        let reserved = self.configured.reserved.get(&address);
        match state.record.holder {
            Holder::Aside => LeaseState::SetAside,
            Holder::Reserved(_) if !self.stands(address, &state.record) => LeaseState::Held,
            Holder::Reserved(_) if self.is_confirmed(host, address) => LeaseState::Settled,
            Holder::Reserved(_) => LeaseState::Pending,
            Holder::Client(client) if reserved.is_some_and(|reservation| reservation.client != client) => {
                LeaseState::Pending
            }
            Holder::Client(_) => LeaseState::Held,
            Holder::Free { .. } if state.is_free() => LeaseState::Free,
            Holder::Free { .. } => LeaseState::Resting,
        }
    }
}
