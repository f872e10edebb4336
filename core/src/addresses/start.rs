//! Start and compaction: from the journal to the machine and back.

use std::collections::BTreeMap;

use crate::id::{HostId, SegmentId};
use crate::lease::Epoch;
use crate::range::{Address, Range};
use crate::time::{Duration, Instant};

use super::journal::{JournalRecord, Members, Recovered};
use super::live::Timer;
use super::participation::Participation;
use super::record::{AddressState, Transfer};
use super::segment::SegmentLeases;
use super::{Leases, ending, replication};

/// How long after a start records are first put again, and how far apart.
const RESUME_AFTER: Duration = Duration::from_secs(1);
const RESUME_APART: Duration = Duration::from_millis(2);

impl Leases {
    /// The machine of host `me` after a start; every lease that it owns or keeps counts as just renewed.
    ///
    /// `seed` makes nonces and question numbers differ from those of earlier starts.
    pub fn new(me: HostId, recovered: Recovered, seed: u64, now: Instant) -> Self {
        let mut membership = Members::default();
        let mut segments: BTreeMap<SegmentId, SegmentLeases> = BTreeMap::new();
        for record in recovered.records {
            match record {
                JournalRecord::Membership(read) => membership = read,
                JournalRecord::Addresses { segment, range, state } => {
                    segments
                        .entry(segment)
                        .or_insert_with(|| SegmentLeases::new(segment, now))
                        .store
                        .recover(me, range, state);
                }
                // A joiner may hear of addresses and lease times before it hears of the pool: nothing of that is forgotten.
                JournalRecord::Segment {
                    segment,
                    generation: 0,
                    life: _,
                    longest: Duration::ZERO,
                    agreed: Duration::ZERO,
                } => {
                    segments.remove(&segment);
                }
                JournalRecord::Segment {
                    segment,
                    generation,
                    life,
                    longest,
                    agreed,
                } => {
                    let segment = segments
                        .entry(segment)
                        .or_insert_with(|| SegmentLeases::new(segment, now));
                    segment.store.configured.generation = generation;
                    segment.store.configured.life = life;
                    segment.store.configured.longest = longest;
                    segment.store.configured.agreed = agreed;
                }
            }
        }
        let mut host = Participation::new(me, membership, recovered.sequence, seed);
        for segment in segments.values_mut() {
            segment.restart(&mut host, now);
        }
        host.tell_soon(now);
        Self { host, segments }
    }

    /// The whole state as a new journal, of the sequence of the last append.
    pub fn snapshot(&self) -> Recovered {
        let mut records = vec![JournalRecord::Membership(self.host.membership().clone())];
        for segment in self.segments.values() {
            records.push(JournalRecord::Segment {
                segment: segment.store.id,
                generation: segment.store.configured.generation,
                life: segment.store.configured.life,
                longest: segment.store.configured.longest,
                agreed: segment.store.configured.agreed,
            });
            records.extend(
                segment
                    .store
                    .state()
                    .iter()
                    .map(|(range, state)| JournalRecord::Addresses {
                        segment: segment.store.id,
                        range,
                        state: state.clone(),
                    }),
            );
        }
        Recovered {
            sequence: self.host.journal.sequence(),
            records,
        }
    }
}

impl SegmentLeases {
    /// Every lease that this host owns or keeps counts as just renewed; what was under way goes on.
    fn restart(&mut self, host: &mut Participation, now: Instant) {
        let store = &mut self.store;
        let addresses: Vec<Address> = store.live.keys().copied().collect();
        let mut at = now + RESUME_AFTER;
        for address in addresses {
            let record = &store.at(address).record;
            let relied_until = record.is_bound().then(|| now + store.full_time(record));
            let nonce = host.random();
            if let Some(live) = store.live.get_mut(&address) {
                live.relied_until = relied_until;
                live.nonce = nonce;
                live.granted = now;
                live.unsure = true;
                live.alone = true;
            }
            replication::resume(store, host, address, at);
            at = at + RESUME_APART;
        }
        let me: HostId = host.me;
        // What others have said of them is forgotten: all members are asked, as an heir would.
        let unborn = |state: &AddressState| state.owner == Some(me) && state.transfer == Transfer::Unborn;
        let to_be: Vec<Range> = store
            .state()
            .iter()
            .filter(|(_, state)| unborn(state))
            .map(|(range, _)| range)
            .collect();
        for range in to_be {
            store.update(host, range, |_, state| state.epoch = Epoch::NONE);
        }
        let mine: Vec<Range> = store
            .state()
            .iter()
            .filter(|(_, state)| state.owner == Some(me))
            .map(|(range, _)| range)
            .collect();
        for range in mine {
            ending::quarantine(store, range, now);
        }
        let given: Vec<_> = store
            .state()
            .iter()
            .filter(|(_, state)| state.transfer == Transfer::HandingOver)
            .filter_map(|(range, state)| Some((state.owner?, state.epoch, range)))
            .collect();
        for (to, epoch, range) in given {
            self.sharing.gives.note(to, epoch, range, now);
        }
        if !self.sharing.gives.is_empty() {
            store.at_time(now, Timer::Give);
        }
    }
}
