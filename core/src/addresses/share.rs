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
use crate::lease::{Epoch, Share, SharedRange, Version};
use crate::range::Range;
use crate::time::Instant;

use super::message::Life;
use super::participation::{Departure, Participation};
use super::record::{Holder, LeaseRecord, Transfer};
use super::request::Effect;
use super::store::AddressStore;
use super::timing::{ASK, BORROW_EVERY, GATEWAY_SETTLED, SHARE_RUNS, SHARERS, SPLINTERS, TICK};
use super::transfer::Gives;

/// How this host comes by free addresses, and gives them away.
#[derive(Debug, Default)]
pub(super) struct Sharing {
    pub(super) gives: Gives,
    /// When it last asked for addresses.
    borrowed: Option<Instant>,
}

impl Sharing {
    /// Asks every reachable owner for half of what it has free; whether anybody was asked.
    pub(super) fn borrow(&mut self, store: &mut AddressStore, host: &mut Participation, now: Instant) -> bool {
        let owners: Vec<_> = host.others().filter(|&other| host.can_keep(other)).collect();
        if !host.takes_part() || owners.is_empty() {
            return false;
        }
        if self.borrowed.is_none_or(|before| now.since(before) >= ASK) {
            self.borrowed = Some(now);
            for to in owners {
                host.borrow(to, store.id, 0);
            }
        }
        true
    }

    /// What the tick does about shares.
    pub(super) fn share(&mut self, store: &mut AddressStore, host: &mut Participation, now: Instant) {
        if store.standing.since + now.since(store.standing_at) >= GATEWAY_SETTLED {
            store.settled_gateway = store.standing.gateway;
        }
        if host.departure != Departure::None {
            return self.hand_all_over(store, host, now);
        }
        if store.free.entries() > SPLINTERS || free_entries(store) > SPLINTERS {
            join_splinters(store, host);
        }
        tell_share(store, host);
        self.ask_for_share(store, host, now);
    }

    pub(super) fn ask_for_share(&mut self, store: &mut AddressStore, host: &mut Participation, now: Instant) {
        // Whoever has none may have asked before its owner took it for one that takes part.
        let pause = if store.free_count == 0 { TICK } else { BORROW_EVERY };
        let asked = self.borrowed.is_some_and(|before| now.since(before) < pause);
        if !host.takes_part() || host.departure != Departure::None || asked || !store.is_current() {
            return;
        }
        let mine = target(store, host, host.me, now);
        // The one with most may be owed all of it.
        let spares = |(free, owner): (u64, HostId)| (free.saturating_sub(target(store, host, owner, now)), owner);
        let most = told_free(store, host).into_iter().map(spares).max();
        if let Some((spare, owner)) = most.filter(|(spare, _)| *spare > 0)
            && store.free_count < mine.div_ceil(2)
            && store.free.entries() < SHARE_RUNS
        {
            self.borrowed = Some(now);
            let count = (mine - store.free_count).min(spare);
            host.borrow(owner, store.id, count);
        }
    }

    /// Another host has too few free addresses.
    pub(super) fn handle_borrow(
        &mut self,
        store: &mut AddressStore,
        host: &mut Participation,
        from: HostId,
        count: u64,
        now: Instant,
    ) {
        if !host.can_keep(from) || host.departure != Departure::None || !host.serves() {
            return;
        }
        let spare = match count {
            0 => store.free_count.div_ceil(2),
            count => count.min(store.free_count.saturating_sub(target(store, host, host.me, now))),
        };
        let ranges = choose_free(store, spare);
        if !ranges.is_empty() {
            self.gives.give(store, host, &ranges, from, now);
        }
    }

    /// This host leaves: whatever it owns goes to the first that can take it.
    fn hand_all_over(&mut self, store: &mut AddressStore, host: &mut Participation, now: Instant) {
        if store.configured.life == Life::Over {
            return;
        }
        let order = store.standing.order.iter().copied();
        let others: Vec<HostId> = host.others().collect();
        let Some(to) = order.chain(others).find(|&to| host.can_keep(to)) else {
            return;
        };
        let me = host.me;
        let mine: Vec<Range> = store
            .state()
            .iter()
            .filter(|(_, state)| state.owner == Some(me) && state.transfer == Transfer::Settled)
            .map(|(range, _)| range)
            .collect();
        if !mine.is_empty() {
            self.gives.give(store, host, &mine, to, now);
        }
    }

    /// What another host told about its share.
    pub(super) fn handle_share(
        &mut self,
        store: &mut AddressStore,
        host: &mut Participation,
        share: Share,
        now: Instant,
    ) {
        if share.owner == host.me {
            if share.told > store.told {
                // Told before the last start.
                store.told = share.told;
                store.shares.remove(&host.me);
                store.due.share = true;
            }
            return;
        }
        if store
            .shares
            .get(&share.owner)
            .is_none_or(|before| before.told < share.told)
        {
            store.shares.insert(share.owner, share);
            self.ask_for_share(store, host, now);
        }
    }
}

/// How many free addresses are told of by others that can be asked, and by whom most.
fn told_free(store: &AddressStore, host: &Participation) -> Vec<(u64, HostId)> {
    let free = |share: &Share| share.ranges.iter().map(|run| run.free).sum();
    store
        .shares
        .values()
        .filter(|share| share.owner != host.me && host.can_keep(share.owner))
        .map(|share| (free(share), share.owner))
        .collect()
}

/// How many free addresses a host should have.
fn target(store: &AddressStore, host: &Participation, of: HostId, now: Instant) -> u64 {
    let takes = |other: &HostId| *other == host.me && host.takes_part() || host.can_keep(*other);
    let sharers: Vec<HostId> = store
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
    let all = store.free_count + told_free(store, host).iter().map(|(free, _)| free).sum::<u64>();
    let served = store.standing.since + now.since(store.standing_at);
    let settled = if served >= GATEWAY_SETTLED {
        store.standing.gateway
    } else {
        store.settled_gateway
    };
    let gateway = settled
        .or(store.standing.gateway)
        .filter(|gateway| sharers.contains(gateway));
    match (gateway, sharers.len() as u64) {
        (_, 1) => all,
        (Some(gateway), _) if gateway == of => all.div_ceil(2),
        (Some(_), count) => all / 2 / (count - 1),
        (None, count) => all / count,
    }
}

/// Free addresses to be given away: the largest runs first, from their ends.
fn choose_free(store: &AddressStore, mut count: u64) -> Vec<Range> {
    let mut runs: Vec<Range> = store.free.iter().map(|(run, ())| run).collect();
    runs.sort_by_key(|run| (std::cmp::Reverse(run.size()), *run));
    let mut chosen = Vec::new();
    for run in runs.into_iter().take(SHARE_RUNS) {
        let Some(part) = run.take_last(count) else { break };
        count -= part.size();
        chosen.push(part);
    }
    chosen
}

fn free_entries(store: &AddressStore) -> usize {
    store
        .free
        .iter()
        .map(|(run, ())| store.state().within(run).count())
        .sum()
}

/// Joins free neighbours under one fresh epoch.
fn join_splinters(store: &mut AddressStore, host: &mut Participation) {
    let runs: Vec<Range> = store.free.iter().map(|(run, ())| run).collect();
    for run in runs
        .into_iter()
        .filter(|&run| store.state().within(run).nth(1).is_some())
        .collect::<Vec<_>>()
    {
        let epoch: Epoch = store.fresh_epoch(host.me, run);
        store.update(host, run, |_, state| {
            state.epoch = epoch;
            state.promised = state.promised.max(epoch);
            state.record = LeaseRecord::unused(Version { epoch, counter: 0 });
        });
        store.due.owned = true;
    }
}

/// Tells everybody what this host owns, if that has changed.
pub(super) fn tell_share(store: &mut AddressStore, host: &mut Participation) {
    if !std::mem::take(&mut store.due.share) {
        return;
    }
    let ranges = my_share(store, host);
    let before = store.shares.get(&host.me);
    // The first word after a start is said even if it is "nothing": the others may remember more.
    if before.is_some_and(|before| before.ranges == ranges) {
        return;
    }
    store.told = store.told.max(before.map_or(0, |before| before.told)) + 1;
    let share = Share {
        segment: store.id,
        owner: host.me,
        told: store.told,
        ranges,
    };
    store.shares.insert(host.me, share.clone());
    host.outbox.effect(Effect::GossipShare(share));
}

/// What this host owns, neighbours joined.
fn my_share(store: &AddressStore, host: &Participation) -> Vec<SharedRange> {
    let mut mine: Vec<SharedRange> = Vec::new();
    for (range, state) in store.state().iter().filter(|(_, state)| state.owner == Some(host.me)) {
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
                // What the pool does not offer any more, or not yet, is nothing to ask for.
                let offered = store.configured.offered.within(range);
                let usable = offered.flat_map(|(part, ())| store.blocked.gaps(part));
                run.free = usable.map(|part| part.size()).sum();
                run.quarantined = size - run.free;
            }
            Holder::Released(_) | Holder::Free { .. } => run.quarantined = size,
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

/// Whether this host owns anything, or gave away what nobody has taken yet.
pub(super) fn owns_something(store: &AddressStore, host: &Participation) -> bool {
    store.state().iter().any(|(_, state)| {
        state.owner == Some(host.me) && state.transfer == Transfer::Settled || state.transfer == Transfer::HandingOver
    })
}
