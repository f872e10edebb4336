//! Handing addresses from one owner to another: on disk at the giver before the receiver hears of it.
//!
//! ```text
//!  giver:    owner := receiver, fresh epoch, HandingOver ─ fsync ─► Give … Give … ◄─ Taken: Settled
//!  receiver: epoch above its own? ─► newer record, `may`, reuse ─ fsync ─► owner ─► Taken
//! ```

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{HostId, Mac};
use crate::lease::{Epoch, Version};
use crate::range::{Address, Range};
use crate::time::{Duration, Instant};

use super::live::Timer;
use super::message::{GivenRun, Message};
use super::participation::Participation;
use super::record::{AddressState, Holder, LeaseRecord, Reuse, Transfer};
use super::store::AddressStore;
use super::timing::{REPEAT_FIRST, REPEAT_LAST, RUNS_PER_MESSAGE};
use super::{ending, keepers, replication};

/// What this host gave and nobody has taken yet.
#[derive(Debug, Default)]
pub(super) struct Gives {
    under_way: BTreeMap<(HostId, Epoch), Given>,
}

#[derive(Debug)]
struct Given {
    ranges: Vec<Range>,
    due: Instant,
    wait: Duration,
}

impl Gives {
    /// Notes what was given, to be said (again) from `now` on.
    pub(super) fn note(&mut self, to: HostId, epoch: Epoch, range: Range, now: Instant) {
        let fresh = || Given {
            ranges: Vec::new(),
            due: now,
            wait: REPEAT_FIRST,
        };
        self.under_way
            .entry((to, epoch))
            .or_insert_with(fresh)
            .ranges
            .push(range);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Gives addresses that this host owns to another, which takes part, can be reached and does not leave.
    pub(super) fn give(
        &mut self,
        store: &mut AddressStore,
        host: &mut Participation,
        ranges: &[Range],
        to: HostId,
        now: Instant,
    ) {
        let runs: Vec<Range> = ranges
            .iter()
            .flat_map(|&range| store.parts(range))
            .map(|(part, _)| part)
            .collect();
        for chunk in runs.chunks(RUNS_PER_MESSAGE) {
            let highest = chunk.iter().map(|&range| store.fresh_epoch(host.me, range)).max();
            let Some(epoch) = highest else { continue };
            for &range in chunk {
                let live: Vec<Address> = store
                    .live
                    .range(range.first()..=range.last())
                    .map(|(&a, _)| a)
                    .collect();
                for address in live {
                    replication::drop_waiters(store, host, address, now);
                }
                store.update(host, range, |_, state| {
                    if state.is_free() {
                        state.record = LeaseRecord::unused(Version { epoch, counter: 0 });
                    }
                    state.owner = Some(to);
                    state.epoch = epoch;
                    state.transfer = Transfer::HandingOver;
                });
                store.quarantined.clear(range);
                self.note(to, epoch, range, now);
            }
        }
        store.due.owned = true;
        self.say_gives(store, host, now);
    }

    /// Says again what was given and not taken.
    pub(super) fn say_gives(&mut self, store: &mut AddressStore, host: &mut Participation, now: Instant) {
        let due: Vec<(HostId, Epoch)> = self
            .under_way
            .iter()
            .filter(|(_, given)| given.due <= now)
            .map(|(&key, _)| key)
            .collect();
        for (to, epoch) in due {
            let Some(given) = self.under_way.get_mut(&(to, epoch)) else {
                continue;
            };
            given.due = now + given.wait;
            given.wait = (given.wait * 2).min(REPEAT_LAST);
            let ranges = given.ranges.clone();
            let after = ranges.iter().map(|&range| store.after_all(range)).max().unwrap_or(0);
            let waits = |state: &AddressState| {
                state.transfer == Transfer::HandingOver && state.owner == Some(to) && state.epoch == epoch
            };
            let mut runs: Vec<GivenRun> = Vec::new();
            for (range, state) in ranges.into_iter().flat_map(|range| store.state().within(range)) {
                if waits(state) {
                    runs.push(GivenRun {
                        range,
                        record: state.record.clone(),
                        may: state.may.iter().copied().collect(),
                        reuse: state.reuse,
                    });
                }
            }
            if runs.is_empty() || host.is_removed(to) {
                self.under_way.remove(&(to, epoch));
            } else if host.hears(to) {
                host.outbox.send(
                    to,
                    Message::Give {
                        segment: store.id,
                        epoch,
                        runs: join_equal(runs),
                    },
                    after,
                    now,
                );
            }
        }
        if let Some(next) = self.under_way.values().map(|given| given.due).min() {
            store.at_time(next, Timer::Give);
        }
    }
}

/// Another owner gives addresses to this host.
pub(super) fn handle_give(
    store: &mut AddressStore,
    host: &mut Participation,
    from: HostId,
    epoch: Epoch,
    runs: Vec<GivenRun>,
    now: Instant,
) {
    if !host.takes_part() {
        return;
    }
    let mut taken = Vec::new();
    for run in &runs {
        for (part, state) in store.parts(run.range) {
            if epoch > state.epoch {
                take(store, host, epoch, part, run, now);
            }
            // Whoever gives bound addresses is about to go: a second copy comes first.
            if !run.record.is_bound() || part.addresses().all(|address| is_safe(store, host, address)) {
                taken.push(part);
            }
        }
    }
    let after = taken.iter().map(|&range| store.after_all(range)).max().unwrap_or(0);
    host.outbox.send(
        from,
        Message::Taken {
            segment: store.id,
            epoch,
            ranges: taken,
        },
        after,
        now,
    );
}

/// Whether what was given here no longer needs the giver's copy.
fn is_safe(store: &AddressStore, host: &Participation, address: Address) -> bool {
    let record = &store.at(address).record;
    let has_keeper = record.keeper.is_some() || keepers::choose_keeper(store, host, None, &BTreeSet::new()).is_none();
    !store.owns(host, address) || record.client().is_none() || has_keeper && store.is_confirmed(host, address)
}

/// This host becomes the owner of a part of what was given.
fn take(store: &mut AddressStore, host: &mut Participation, epoch: Epoch, part: Range, run: &GivenRun, now: Instant) {
    let me = host.me;
    let may: BTreeSet<HostId> = run
        .may
        .iter()
        .copied()
        .filter(|&other| other != me && !host.is_removed(other))
        .collect();
    let unasked = run.may.iter().any(|&other| other == me || host.is_removed(other));
    let extended: Vec<(Address, Mac)> = store
        .live
        .range(part.first()..=part.last())
        .filter(|(address, _)| store.relied_here(host, **address, now) > Duration::ZERO)
        .filter_map(|(&address, _)| Some((address, store.at(address).record.client()?)))
        .collect();
    store.update(host, part, |_, state| {
        let kept = state.record.is_bound() && state.record.keeper == Some(me);
        if state.record.version < run.record.version {
            state.record = run.record.clone();
        }
        if state.record.keeper == Some(me) {
            state.record.keeper = None;
        }
        state.may.clone_from(&may);
        state.reuse = if run.reuse == Reuse::Quarantined || kept || unasked {
            Reuse::Quarantined
        } else {
            Reuse::Allowed
        };
        state.owner = Some(me);
        state.epoch = epoch;
        state.transfer = Transfer::Settled;
    });
    take_over(store, host, part, now);
    // The giver had ended what this host, as keeper, went on extending: two copies of it again.
    for (address, client) in extended {
        if store.at(address).record.holder == (Holder::Free { last: Some(client) }) {
            let full = store.full_time(&store.at(address).record);
            keepers::revive(store, host, address, full, now);
        }
    }
}

/// What a new owner does: nothing that it took counts as over before a full time has passed.
pub(super) fn take_over(store: &mut AddressStore, host: &mut Participation, part: Range, now: Instant) {
    store.taken.push(part);
    let live: Vec<Address> = store
        .live
        .range(part.first()..=part.last())
        .map(|(&address, _)| address)
        .collect();
    for address in live {
        let full = store.full_time(&store.at(address).record);
        let nonce = host.random();
        if let Some(live) = store.live.get_mut(&address) {
            live.relied_until = Some(now + full);
            live.nonce = nonce;
            live.granted = now;
            live.alone = true;
            live.confirmed.clear();
            live.retire = None;
        }
        replication::resume(store, host, address, now);
    }
    ending::quarantine(store, part, now);
    store.due.owned = true;
    store.due.keepers = true;
}

/// The receiver has what was given.
pub(super) fn handle_taken(
    store: &mut AddressStore,
    host: &mut Participation,
    from: HostId,
    epoch: Epoch,
    ranges: &[Range],
) {
    for &range in ranges {
        finish_give(store, host, from, range, epoch);
    }
}

/// The receiver's epoch was seen.
pub(super) fn finish_give(
    store: &mut AddressStore,
    host: &mut Participation,
    from: HostId,
    range: Range,
    epoch: Epoch,
) {
    store.update(host, range, |_, state| {
        if state.transfer == Transfer::HandingOver && state.owner == Some(from) && state.epoch <= epoch {
            state.transfer = Transfer::Settled;
        }
    });
}

/// Joins neighbours that say the same.
fn join_equal(runs: Vec<GivenRun>) -> Vec<GivenRun> {
    let mut joined: Vec<GivenRun> = Vec::new();
    for run in runs {
        match joined.last_mut() {
            Some(last) if last.record == run.record && last.may == run.may && last.reuse == run.reuse => {
                match last.range.joined(run.range) {
                    Some(range) => last.range = range,
                    None => joined.push(run),
                }
            }
            _ => joined.push(run),
        }
    }
    joined
}
