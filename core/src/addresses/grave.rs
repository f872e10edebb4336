//! A deleted segment: for how long its addresses are kept, and who is waited for.
//!
//! ```text
//!            tombstone          every member knows, and a full time passes       every member says so
//!  Stands ─────────────► Deleted ─────────────────────────────────────► Over ─────────────────────► forgotten
//!     ▲                     │ applied again: owners, keepers and leases go on
//!     └─────────────────────┘
//! ```
//! Nobody extends a lease of a segment that it knows to be deleted: a full time after the last member knew, no guest
//! relies on one, and another segment may begin with its addresses. Who has said `Over` does not have the segment back, so
//! that nobody forgets what another still uses.

use crate::id::HostId;
use crate::range::Range;
use crate::time::{Duration, Instant};

use super::message::{Generation, Life};
use super::participation::Participation;
use super::record::AddressState;
use super::store::AddressStore;
use super::timing;
use super::view::WaitsFor;

/// The segment is deleted, in this generation at the latest.
pub(super) fn bury(store: &mut AddressStore, host: &mut Participation, generation: u64, now: Instant) {
    if generation < store.configured.generation || store.configured.life != Life::Stands {
        return;
    }
    store.configured.generation = generation;
    // Nobody waits for a host that never had it, so it must not have it back either.
    store.configured.life = match known_ranges(store).is_empty() {
        true => Life::Over,
        false => Life::Deleted,
    };
    store.write_configured(host);
    store.due.grave = true;
    store.withdraw_pool(host.me);
    for address in store.reserved_records.clone() {
        store.look_at(address, now);
    }
    host.tell_soon(now);
}

/// Another host says what it knows of a segment that has no pool here: that it was deleted, or that so late.
pub(super) fn learn_death(store: &mut AddressStore, host: &mut Participation, told: Generation, now: Instant) {
    if told.life == Life::Stands || store.configured.pool.is_some() || told.generation < store.configured.generation {
        return;
    }
    match store.configured.life {
        Life::Stands => bury(store, host, told.generation, now),
        Life::Deleted | Life::Over if told.generation > store.configured.generation => {
            store.configured.generation = told.generation;
            store.configured.life = Life::Deleted;
            store.due.grave = true;
            store.write_configured(host);
            host.tell_soon(now);
        }
        Life::Deleted | Life::Over => {}
    }
}

/// What the tick does about a deleted segment.
pub(super) fn grave_due(store: &mut AddressStore, host: &mut Participation, now: Instant) {
    if store.configured.life != Life::Deleted {
        return;
    }
    if !unaware(store, host).is_empty() {
        store.configured.dead_since = None;
        return;
    }
    let since = *store.configured.dead_since.get_or_insert(now);
    if since + grave_time(store) <= now {
        store.configured.life = Life::Over;
        store.due.grave = true;
        store.write_configured(host);
        host.tell_soon(now);
    }
}

/// The members that have not said that they know of the deletion. One that has lost its journal does nothing any more.
fn unaware(store: &AddressStore, host: &Participation) -> Vec<HostId> {
    let last = (store.configured.generation, Life::Deleted);
    let unaware = host.others().filter(|other| {
        let said = host.said_of(*other, store.id);
        said.is_none_or(|said| said < last) && !host.has_lost_its(*other)
    });
    unaware.collect()
}

/// Whether a member may still have the segment back. All knew that it was deleted: who has spoken and names no such
/// segment has forgotten it, or came later.
fn is_wanted(store: &AddressStore, host: &Participation) -> bool {
    host.others().any(|other| {
        let wanted = match host.said_of(other, store.id) {
            // Where it was applied again before it was over, that one has it back.
            Some((generation, life)) => life != Life::Over || generation < store.configured.generation,
            None => !host.has_spoken(other),
        };
        wanted && !host.has_lost_its(other)
    })
}

/// Whether every member knows as much of the newest generation as this host: that it is there, or that it is the last.
pub(super) fn everybody_knows(store: &AddressStore, host: &Participation) -> bool {
    match store.configured.life {
        Life::Stands => host.all_know(store.id, store.configured.generation),
        Life::Deleted => unaware(store, host).is_empty(),
        Life::Over => true,
    }
}

fn grave_time(store: &AddressStore) -> Duration {
    timing::relied(store.configured.longest)
}

/// Whether nobody needs what this host knows of a segment any more.
pub(super) fn is_forgotten(store: &AddressStore, host: &Participation) -> bool {
    store.configured.life == Life::Over && host.serves() && !is_wanted(store, host)
}

pub(super) fn forget(store: &mut AddressStore, host: &mut Participation) {
    for range in known_ranges(store) {
        store.update(host, range, |_, state| *state = AddressState::UNKNOWN);
    }
    store.configured.generation = 0;
    store.configured.longest = Duration::ZERO;
    store.configured.agreed = Duration::ZERO;
    store.write_configured(host);
    host.forget_segment(store.id);
}

pub(super) fn known_ranges(store: &AddressStore) -> Vec<Range> {
    store.state().iter().map(|(range, _)| range).collect()
}

/// What keeps the addresses of a deleted segment from being used in another.
pub(super) fn waits_for(store: &AddressStore, host: &Participation, now: Instant) -> WaitsFor {
    let members = unaware(store, host);
    if members.is_empty() {
        let since = store.configured.dead_since.unwrap_or(now);
        WaitsFor::Time((since + grave_time(store)).since(now))
    } else {
        WaitsFor::Members(members)
    }
}
