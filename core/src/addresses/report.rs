//! A member's side of a ballot: it promises to serve no lower epoch, and says all that it knows.

use crate::id::HostId;
use crate::lease::Epoch;
use crate::range::Range;
use crate::time::Instant;

use super::message::{Message, ReportedRun};
use super::participation::Participation;
use super::record::AddressState;
use super::store::AddressStore;

/// Another host wants to inherit. What it has removed was taken over before this is called.
pub(super) fn handle_prepare(
    store: &mut AddressStore,
    host: &mut Participation,
    from: HostId,
    epoch: Epoch,
    ranges: Vec<Range>,
    now: Instant,
) {
    if !host.serves() {
        return;
    }
    let segment = store.id;
    let low =
        |state: &AddressState| epoch < state.promised || epoch <= state.epoch || epoch <= state.record.version.epoch;
    let parts: Vec<(Range, AddressState)> = ranges.iter().flat_map(|&range| store.parts(range)).collect();
    if parts.iter().any(|(_, state)| low(state)) {
        let highest = parts.iter().map(|(_, state)| state.highest()).max().unwrap_or(0);
        let after = ranges.iter().map(|&range| store.after_all(range)).max().unwrap_or(0);
        let refused = Message::PrepareRefused {
            segment,
            epoch,
            highest,
        };
        return host.outbox.send(from, refused, after, now);
    }
    let runs = parts
        .into_iter()
        .filter(|(_, state)| *state != AddressState::UNKNOWN)
        .map(|(range, state)| ReportedRun {
            range,
            epoch: state.epoch,
            owner: state.owner,
            record: state.record,
        })
        .collect();
    for &range in &ranges {
        store.update(host, range, |_, state| state.promised = epoch);
    }
    let after = ranges
        .iter()
        .map(|&range| store.after_all(range))
        .max()
        .unwrap_or(0)
        .max(host.written());
    let members = host.others().chain([host.me]).collect();
    let report = Message::Report {
        segment,
        epoch,
        ranges,
        runs,
        members,
    };
    host.outbox.send(from, report, after, now);
}
