//! First owners, and how everybody comes to know who owns what.
//!
//! ```text
//!  introducer: Unborn ── Birth to all ──► every member that is not failed knows it ──► Settled: it may give
//!                   └── another owner is named: that one stays, unless it gives way itself
//!  any owner, after each change of epoch: Birth to all, until each knows
//! ```
//! Knowing who owns an address gives nobody a right to it: a range is taken by `Give`, by inheritance or here.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::HostId;
use crate::lease::Epoch;
use crate::range::{Range, RangeMap};
use crate::time::Instant;

use super::first_claim::{ClaimVerdict, FirstClaim};
use super::message::{Message, OwnedRun, Ownership};
use super::participation::{Departure, Participation};
use super::record::{AddressState, Transfer};
use super::request::{Effect, LeaseEvent};
use super::store::AddressStore;
use super::timing::TICK;
use super::view::Reach;
use super::{replication, share, transfer};

/// What the others know of what this host owns.
#[derive(Debug, Default)]
pub(super) struct InitialOwners {
    known_by: BTreeMap<HostId, RangeMap<Epoch>>,
    /// The owners that a host has named of what this one is to own.
    named_by: BTreeMap<HostId, RangeMap<HostId>>,
    /// Hosts that know all.
    done: BTreeSet<HostId>,
    /// When each was told last.
    told: BTreeMap<HostId, Instant>,
}

impl InitialOwners {
    /// Whether a host knows all that this one owns.
    pub(super) fn knows(&self, host: HostId) -> bool {
        self.done.contains(&host)
    }

    /// This host owns something else, or under another epoch.
    pub(super) fn changed(&mut self) {
        self.done.clear();
        self.told.clear();
    }

    /// A host has named another owner.
    fn name(&mut self, by: HostId, part: Range, owner: HostId) {
        self.named_by.entry(by).or_default().set(part, owner);
    }

    /// Whether a host has named another owner of any part of a range. What it said outlasts its failing.
    fn has_named(&self, by: HostId, range: Range) -> bool {
        let named = self.named_by.get(&by);
        named.is_some_and(|named| named.within(range).next().is_some())
    }

    /// A named owner of a part of a range, such as is wanted.
    fn named(&self, range: Range, wanted: impl Fn(HostId) -> bool) -> Option<(Range, HostId)> {
        let all = self.named_by.values().flat_map(|named| named.within(range));
        let mut found = all.filter(|(_, owner)| wanted(**owner));
        found.next().map(|(part, owner)| (part, *owner))
    }

    /// What of a range a host does not know to be this one's under this epoch or a later one.
    fn unknown_to(&self, host: HostId, range: Range, epoch: Epoch) -> Vec<Range> {
        let Some(known) = self.known_by.get(&host) else {
            return vec![range];
        };
        let earlier = known.within(range).filter(|(_, known)| **known < epoch);
        let earlier = earlier.map(|(part, _)| part);
        earlier.chain(known.gaps(range)).collect()
    }

    /// Whether a host has nothing against this one's owning a range: it knows so, or has named others that know so.
    fn agrees(&self, host: HostId, range: Range, epoch: Epoch) -> bool {
        self.unknown_to(host, range, epoch).into_iter().all(|part| {
            let Some(named) = self.named_by.get(&host) else {
                return false;
            };
            named.gaps(part).is_empty()
                && named
                    .within(part)
                    .all(|(part, owner)| self.unknown_to(*owner, part, epoch).is_empty())
        })
    }

    /// What this host owns has changed: everybody hears of it anew.
    fn heed(&mut self, store: &mut AddressStore) {
        if std::mem::take(&mut store.due.owned) {
            self.changed();
        }
    }

    /// Tells those that do not know yet what this host owns.
    pub(super) fn tell_owned(&mut self, store: &mut AddressStore, host: &mut Participation, now: Instant) {
        self.heed(store);
        let due: Vec<HostId> = host
            .others()
            .filter(|other| host.hears(*other) && !self.done.contains(other))
            .filter(|other| self.told.get(other).is_none_or(|told| now.since(*told) >= TICK))
            .collect();
        if due.is_empty() {
            return;
        }
        let mine = owned(store, host.me);
        for to in due {
            let mut missing: BTreeMap<(Epoch, Ownership), Vec<Range>> = BTreeMap::new();
            for (range, owned) in mine.iter() {
                let parts = self.unknown_to(to, range, owned.0);
                if !parts.is_empty() {
                    missing.entry(*owned).or_default().extend(parts);
                }
            }
            if missing.is_empty() {
                self.done.insert(to);
                host.tell_soon_to(to, now);
            }
            self.told.insert(to, now);
            for ((epoch, ownership), ranges) in missing {
                let after = ranges.iter().map(|&range| store.after_all(range)).max().unwrap_or(0);
                host.outbox.send(
                    to,
                    Message::Birth {
                        segment: store.id,
                        epoch,
                        ownership,
                        ranges,
                    },
                    after,
                    now,
                );
            }
        }
    }

    /// Another host knows what this one owns, or names other owners.
    pub(super) fn handle_birth_known(
        &mut self,
        store: &mut AddressStore,
        host: &mut Participation,
        from: HostId,
        (epoch, ranges, others): (Epoch, Vec<Range>, Vec<OwnedRun>),
        now: Instant,
    ) {
        self.heed(store);
        // The rest is told at once; what was answered with another owner, a tick later.
        if !ranges.is_empty() {
            self.told.remove(&from);
        }
        let known = self.known_by.entry(from).or_default();
        let named = self.named_by.entry(from).or_default();
        for range in ranges {
            known.set(range, epoch);
            named.clear(range);
        }
        for run in others {
            for (part, state) in store.parts(run.range) {
                if state.owner != Some(host.me) || run.owner == host.me {
                    continue;
                }
                match state.transfer {
                    Transfer::Unborn if run.owner == from || run.epoch > state.epoch || host.is_removed(run.owner) => {
                        yield_to(store, host, part, run.epoch, run.owner);
                    }
                    Transfer::Unborn => self.name(from, part, run.owner),
                    Transfer::Settled if run.owner != from && run.epoch > state.epoch => {
                        rise_range(store, host, part, run.epoch, now);
                    }
                    Transfer::Settled | Transfer::HandingOver => {}
                }
            }
        }
        self.tell_owned(store, host, now);
        self.bear(store, host);
    }

    /// The introducer may use what every member that is not failed knows to be its own.
    pub(super) fn bear(&mut self, store: &mut AddressStore, host: &mut Participation) {
        self.heed(store);
        if !host.takes_part() {
            return;
        }
        let me = host.me;
        let unborn: Vec<(Range, Epoch)> = store
            .state()
            .iter()
            .filter(|(_, state)| state.owner == Some(me) && state.transfer == Transfer::Unborn)
            .filter(|(_, state)| state.epoch > Epoch::NONE)
            .map(|(range, state)| (range, state.epoch))
            .collect();
        let mut born = false;
        for (range, epoch) in unborn {
            if let Some((part, owner)) = self.named(range, |owner| host.is_removed(owner)) {
                // It is inherited, and quarantined.
                yield_to(store, host, part, Epoch::NONE, owner);
                continue;
            }
            let known = host.others().all(|other| {
                // Who has lost its journal knows of nothing, and says nothing.
                let silent = host.reach(other) == Reach::Failed || host.has_lost_its(other);
                let asked = !silent || self.has_named(other, range);
                !asked || self.agrees(other, range, epoch)
            });
            let usable = if known { store.blocked.gaps(range) } else { Vec::new() };
            for &part in &usable {
                store.update(host, part, |_, state| state.transfer = Transfer::Settled);
            }
            if !usable.is_empty() {
                if self.named(range, |_| true).is_some() {
                    // Whoever named another hears that it was wrong.
                    self.changed();
                }
                born = true;
            }
        }
        if born {
            share::tell_share(store, host);
        }
    }
}

/// Addresses that this host never heard of get their first owner.
///
/// If this host is that, and may only have forgotten them in a crash, it asks all members as an heir would.
pub(super) fn first_owner(
    store: &mut AddressStore,
    host: &mut Participation,
    range: Range,
    introducer: HostId,
    birth: Option<Epoch>,
) {
    let me = host.me;
    let parts = store.parts(range).into_iter();
    for (part, known) in parts.filter(|(_, state)| state.owner.is_none()) {
        // Who has promised an heir something knows that there was an owner.
        let birth = birth.filter(|_| known.promised == Epoch::NONE);
        store.update(host, part, |_, state| {
            state.owner = Some(introducer);
            if introducer == me {
                state.epoch = birth.unwrap_or(Epoch::NONE);
                state.transfer = Transfer::Unborn;
            }
        });
        store.due.owned = true;
    }
}

/// What this host owns or is to own.
fn owned(store: &AddressStore, me: HostId) -> RangeMap<(Epoch, Ownership)> {
    let mut mine = RangeMap::default();
    let known = |state: &AddressState| state.owner == Some(me) && state.epoch > Epoch::NONE;
    for (range, state) in store.state().iter().filter(|(_, state)| known(state)) {
        let ownership = match state.transfer {
            Transfer::Unborn => Ownership::ToBe,
            Transfer::Settled | Transfer::HandingOver => Ownership::Settled,
        };
        mine.set(range, (state.epoch, ownership));
    }
    mine
}

/// Another host says what it owns.
pub(super) fn handle_birth(
    store: &mut AddressStore,
    host: &mut Participation,
    from: HostId,
    (epoch, ownership): (Epoch, Ownership),
    ranges: Vec<Range>,
    now: Instant,
) {
    let claim = FirstClaim { from, epoch, ownership };
    let mut known = Vec::new();
    let mut others = Vec::new();
    let parts: Vec<_> = ranges.into_iter().flat_map(|range| store.parts(range)).collect();
    for (part, state) in parts {
        match answer_birth(store, host, claim, (part, &state), now) {
            None => known.push(part),
            Some(owner) => others.push(owner),
        }
    }
    let after = known
        .iter()
        .chain(others.iter().map(|run| &run.range))
        .map(|&range| store.after_all(range))
        .max();
    let message = Message::BirthKnown {
        segment: store.id,
        epoch,
        ranges: known,
        others,
    };
    host.outbox.send(from, message, after.unwrap_or(0), now);
}

/// Takes over that `from` owns a part; or the other owner, if this host knows one.
fn answer_birth(
    store: &mut AddressStore,
    host: &mut Participation,
    claim: FirstClaim,
    (part, state): (Range, &AddressState),
    now: Instant,
) -> Option<OwnedRun> {
    let FirstClaim { from, epoch, .. } = claim;
    let stays = host.departure == Departure::None;
    let owner = match claim.verdict(host.me, state) {
        ClaimVerdict::Accepted => {
            yield_to(store, host, part, epoch, from);
            return None;
        }
        // A leaver waits for the receiver's own word.
        ClaimVerdict::Taken | ClaimVerdict::PassedOn if !stays => return None,
        ClaimVerdict::Taken => {
            transfer::finish_give(store, host, from, part, epoch);
            return None;
        }
        ClaimVerdict::PassedOn => {
            yield_to(store, host, part, epoch, from);
            return None;
        }
        ClaimVerdict::Outbid => {
            rise_range(store, host, part, epoch, now);
            host.me
        }
        ClaimVerdict::Denied(owner) => owner,
    };
    Some(OwnedRun {
        range: part,
        epoch: store.at(part.first()).epoch,
        owner,
    })
}

/// Notes another owner; if this host was to be the first, it gives way.
fn yield_to(store: &mut AddressStore, host: &mut Participation, part: Range, epoch: Epoch, owner: HostId) {
    let me = host.me;
    let mut lost = false;
    store.update(host, part, |_, state| {
        lost |= state.owner == Some(me);
        state.owner = Some(owner);
        state.epoch = epoch;
        state.transfer = Transfer::Settled;
    });
    if lost {
        host.outbox.effect(Effect::Event(LeaseEvent::BirthLost {
            segment: store.id,
            owner,
        }));
    }
}

fn rise_range(store: &mut AddressStore, host: &mut Participation, range: Range, above: Epoch, now: Instant) {
    let mut epoch = store.fresh_epoch(host.me, range);
    epoch.number = epoch.number.max(above.number + 1);
    store.update(host, range, |_, state| state.epoch = epoch);
    let live: Vec<_> = store
        .live
        .range(range.first()..=range.last())
        .map(|(&address, _)| address)
        .collect();
    for address in live {
        replication::resume(store, host, address, now);
    }
    store.due.owned = true;
}
