//! The owner's side of a lease: binding and extending. Its copies on other hosts are in `copies.rs`, its end in `ending.rs`.
//!
//! ```text
//!  Bind ─ write ─ fsync ─► Put to all in `may` ─► Stored by the keeper ─► the waiting are answered
//!                             │  300 ms without                               │
//!                             └─► the next keeper (three at most)             ▼
//!  relied_until past ─ write unbound ─ fsync ─► Put to all in `may` ─► all stored: free
//! ```

use std::collections::BTreeSet;

use crate::id::{HostId, Mac};
use crate::range::{Address, Range};
use crate::time::{Duration, Instant};

use super::host::Host;
use super::message::{Basis, Claim, Reply};
use super::record::{Holder, Record};
use super::replication::Replication;
use super::requests::Waiter;
use super::segment::{Segment, fresh_version};
use super::timing::{ANSWER_LIFE, ASK, KEEPERS, MOVED, REPEAT_FIRST};
use crate::lease::LeaseState;

impl Segment {
    /// A client wants an address, or more time.
    pub(super) fn claim(&mut self, host: &mut Host, address: Address, waiter: Waiter, now: Instant) {
        let state = self.at(address);
        let owner = state.owner.filter(|&owner| owner != host.me);
        let wants = waiter.claim.client;
        if !host.serves() || !self.allows(address, wants) {
            return self.reply(host, address, waiter, Reply::CannotSay { owner }, 0, now);
        }
        if self.owns(host, address) {
            match state.record.holder {
                Holder::Client(client) | Holder::Reserved(client) if client == wants => {
                    self.renew(host, address, waiter, now);
                }
                Holder::Client(_) | Holder::Reserved(_) | Holder::Declined => {
                    self.reply(host, address, waiter, Reply::Taken, self.after(address), now);
                }
                Holder::Free { .. } if state.is_free() && self.may_bind(address, wants) => {
                    self.bind(host, address, &waiter.claim.clone(), Some(waiter), now);
                }
                Holder::Free { last } if last == Some(wants) && state.is_ending() => {
                    self.revive(host, address, ANSWER_LIFE * 2, now);
                    self.renew(host, address, waiter, now);
                }
                Holder::Free { .. } => self.reply(host, address, waiter, Reply::CannotSay { owner: None }, 0, now),
            }
        } else if self.keeps_for(host, address, wants) {
            self.grant_as_keeper(host, address, waiter, now);
        } else {
            self.reply(host, address, waiter, Reply::CannotSay { owner }, 0, now);
        }
    }

    /// Whether this host keeps the lease that a client has.
    pub(super) fn keeps_for(&self, host: &Host, address: Address, client: Mac) -> bool {
        self.keeps(host, address) && self.at(address).record.client() == Some(client)
    }

    /// Extends the lease that this host keeps.
    pub(super) fn grant_as_keeper(&mut self, host: &mut Host, address: Address, waiter: Waiter, now: Instant) {
        let wanting = waiter.claim.basis == Basis::Wanting;
        if let Some(live) = self.live.get_mut(&address).filter(|_| wanting) {
            live.unsure = true;
        }
        self.grant(host, address, waiter, now);
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
    fn renew(&mut self, host: &mut Host, address: Address, waiter: Waiter, now: Instant) {
        if waiter.claim.basis == Basis::Having || self.is_confirmed(host, address) {
            self.grant(host, address, waiter, now);
            self.repair(host, address, now);
            return;
        }
        let Some(live) = self.live.get_mut(&address) else {
            return;
        };
        let work = live.work.get_or_insert_with(|| Replication::new(now));
        work.keeper_by.get_or_insert(now + ASK);
        work.waiters.push(waiter);
        self.look_at(address, now);
    }

    /// Writes a record that names a new client.
    fn bind(&mut self, host: &mut Host, address: Address, claim: &Claim, waiter: Option<Waiter>, now: Instant) {
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
        let mut work = Replication::new(now);
        work.keeper_by = keeper.map(|_| now + ASK);
        work.tried.extend(keeper);
        work.waiters.extend(waiter);
        live.work = Some(work);
        // The keeper's copy leaves with the fsync of this very turn.
        self.step(host, address, now);
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
            Holder::Client(_) | Holder::Reserved(_) | Holder::Declined | Holder::Free { .. } => {}
        }
    }

    /// Writes a newer version of a bound record: another keeper, or a longer time. `may` only grows by it.
    pub(super) fn rewrite(
        &mut self,
        host: &mut Host,
        address: Address,
        keeper: Option<HostId>,
        holder: Holder,
        now: Instant,
    ) {
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
        let work = live.work.get_or_insert_with(|| Replication::new(now));
        work.due = now;
        work.wait = REPEAT_FIRST;
        work.keeper_by = keeper.map(|_| now + ASK);
        work.tried.extend(keeper);
        self.look_at(address, now);
    }

    /// Gives a bound record the keeper and the time that it should have by now.
    pub(super) fn repair(&mut self, host: &mut Host, address: Address, now: Instant) {
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

    /// What the lease of an address is, in the words of `lease list`.
    pub(super) fn lease_state(&self, host: &Host, address: Address) -> LeaseState {
        let state = self.at(address);
        let reserved = self.configured.reserved.get(&address);
        match state.record.holder {
            Holder::Declined => LeaseState::Declined,
            Holder::Reserved(_) if !self.stands(address, &state.record) => LeaseState::Held,
            Holder::Reserved(_) if self.is_confirmed(host, address) => LeaseState::Settled,
            Holder::Reserved(_) => LeaseState::Pending,
            Holder::Client(client) if reserved.is_some_and(|reservation| reservation.client != client) => {
                LeaseState::Pending
            }
            Holder::Client(_) => LeaseState::Held,
            Holder::Free { .. } if state.is_free() => LeaseState::Free,
            Holder::Free { .. } => LeaseState::Quarantined,
        }
    }
}
