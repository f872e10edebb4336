//! How a lease ends at its owner: given back, run out, declined; and addresses that are quarantined for a full time before they
//! are given out again.

use crate::id::{HostId, Mac};
use crate::range::{Address, Range};
use crate::time::{Duration, Instant};

use super::host::Host;
use super::record::{Holder, Record, Reuse, Transfer};
use super::replication::Replication;
use super::request::{Effect, LeaseEvent};
use super::segment::{Segment, fresh_version};
use super::timing;
use crate::lease::Version;

impl Segment {
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
            live.work = Some(Replication::new(now));
            self.look_at(address, now);
        }
        self.tell(host, address, now);
    }

    /// Whether a client's lease is still what it was when the nonce was asked for.
    pub(super) fn is_lease(&self, address: Address, (client, version, nonce): (Mac, Version, u64)) -> bool {
        let record = &self.at(address).record;
        record.holder == Holder::Client(client)
            && record.version == version
            && self.live.get(&address).is_some_and(|live| live.nonce == nonce)
    }

    /// The client gives its lease back: nobody relies on it at this owner.
    pub(super) fn release(&mut self, address: Address, client: Mac, now: Instant) {
        if self.at(address).record.holder != Holder::Client(client) {
            return;
        }
        if let Some(live) = self.live.get_mut(&address) {
            live.relied_until = Some(now);
            self.look_at(address, now);
        }
    }

    /// A client found its address in use, or a foreign user was seen at one that nobody has.
    pub(super) fn decline(&mut self, host: &mut Host, address: Address, by: Option<Mac>, now: Instant) {
        let state = self.at(address);
        let fits = match (by, state.record.holder) {
            (Some(client), Holder::Client(holder)) => client == holder,
            (None, Holder::Free { .. }) => true,
            (Some(_), Holder::Free { .. } | Holder::Reserved(_) | Holder::Declined)
            | (None, Holder::Client(_) | Holder::Reserved(_) | Holder::Declined) => false,
        };
        if !self.owns(host, address) || !fits {
            return;
        }
        let time = timing::declined_for(state.record.strikes);
        self.withdraw_offer(address);
        self.update(host, Range::one(address), |_, state| {
            state.record = Record {
                version: fresh_version(state),
                holder: Holder::Declined,
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
            live.work = Some(Replication::new(now));
        }
        self.look_at(address, now);
        host.disk.effect(Effect::Event(LeaseEvent::Declined {
            segment: self.id,
            address,
            time,
        }));
        self.tell(host, address, now);
    }

    /// A host was removed: where it may have extended a lease with its last breath, the address is
    /// quarantined.
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
                state.reuse = Reuse::Quarantined;
            });
            self.quarantine(range, now);
            for address in range.addresses() {
                self.repair(host, address, now);
                self.look_at(address, now);
            }
        }
    }

    /// A full time begins for the quarantined addresses of a range.
    pub(super) fn quarantine(&mut self, range: Range, now: Instant) {
        let quarantined: Vec<(Range, Duration)> = self
            .state
            .within(range)
            .filter(|(_, state)| state.reuse == Reuse::Quarantined)
            .map(|(part, state)| (part, self.full_time(&state.record)))
            .collect();
        for (part, full) in quarantined {
            self.quarantined.set(part, now + full);
            self.at_time(now + full, super::segment::Timer::Quarantine);
        }
    }

    /// Addresses whose full time has passed leave quarantine.
    pub(super) fn end_quarantines(&mut self, host: &mut Host, now: Instant) {
        let over: Vec<Range> = self
            .quarantined
            .iter()
            .filter(|(_, until)| **until <= now)
            .map(|(range, _)| range)
            .collect();
        let me = host.me;
        for range in over {
            self.quarantined.clear(range);
            self.update(host, range, |_, state| {
                if state.owner == Some(me) && state.transfer == Transfer::Settled {
                    state.reuse = Reuse::Allowed;
                }
            });
        }
    }
}
