//! What all hosts know: records, versions, and how they spread.
//!
//! ```text
//!  put, apply ──► store ──► Changed ──► node          eager: a changed record goes to every connected peer at once,
//!  handle ──────►   │                                 those of which there are many 50 times a second; one that was
//!                   │                                 learned goes on to three, unless there are many of its kind
//!                   └─► Records, Digest, Summary, Want ──► peers
//!
//!  anti-entropy     A: Digest ─► B: Summary of the spans that differ ─► A: Records that B lacks, Want ─► B: Records
//! ```
//! Every second with three peers, and at once on a new connection. Nothing here decides anything about the kernel, and
//! nothing that a peer sends can fail: bytes were checked where they were read.

mod fingerprint;
mod message;
mod read;
mod record;
mod segment_record;
mod store;
mod write;
mod write_segments;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::IteratorRandom;

pub use message::{Change, ChangeOrigin, Effect, Message, Reason, Written};
pub use record::{
    Candidacy, Departure, Endpoint, FINDINGS_AT_MOST, FindingNote, GatewayClaim, HostFindings, HostRecord, Key, Lack,
    Presence, Record, Removed, StaticPeer, Uplink,
};
pub use segment_record::{Content, SegmentRecord, Trial};
pub use store::{RANGES, Span};

use store::Store;

use crate::id::{HostId, SegmentId, SegmentName};
use crate::time::{Duration, Instant};

/// How often digests are compared: with convergence promised within 2 s, one lost exchange may be made good.
const DIGEST_EVERY: Duration = Duration::from_secs(1);
/// With how many peers digests are compared, and to how many a record that was learned goes on.
const FAN_OUT: usize = 3;
/// Changes of which there may be thousands in a second are told at once, and then so often.
const GATHER: Duration = Duration::from_millis(20);
/// What lasts is to be on disk so long after a change, so that a burst is written once.
const SAVE_AFTER: Duration = Duration::from_millis(20);
/// Bytes of records in one message, about. A single larger record travels alone.
const MESSAGE_BYTES: usize = 48 * 1024;
/// Entries of one summary: 16 bytes each.
const SUMMARY_ENTRIES: usize = 2048;

/// The records of one host, and their spreading.
///
/// ```
/// use overlayd_core::cluster::gossip::Gossip;
/// use overlayd_core::id::{HostId, SegmentName};
/// use overlayd_core::time::Instant;
///
/// let mut gossip = Gossip::new(HostId(1), 42, Vec::new(), Instant::from_millis(0));
/// let blue = SegmentName::new("blue").unwrap();
/// gossip.apply(&blue, "name: blue".to_owned(), overlayd_core::id::SegmentId(7), Instant::from_millis(5));
/// assert_eq!(gossip.segment(&blue).map(|segment| segment.generation), Some(1));
/// ```
#[derive(Debug)]
pub struct Gossip {
    me: HostId,
    store: Store,
    removed: BTreeSet<HostId>,
    connected: BTreeSet<HostId>,
    lost: BTreeSet<(SegmentName, u64, HostId)>,
    /// Segments that wait for a member's word that their names are new.
    introductions: BTreeMap<SegmentName, (String, SegmentId)>,
    rng: Xoshiro256PlusPlus,
    next_digest: Instant,
    outbox: BTreeMap<HostId, BTreeSet<Key>>,
    flush_at: Option<Instant>,
    /// What there is much of is not sent before.
    gathers_until: Instant,
    save_at: Option<Instant>,
    effects: VecDeque<Effect>,
}

impl Gossip {
    /// A store with the records of an earlier [`Gossip::snapshot`] (or none); `seed` decides whom it talks to.
    pub fn new(me: HostId, seed: u64, records: Vec<Record>, now: Instant) -> Self {
        let mut gossip = Self {
            me,
            store: Store::new(),
            removed: BTreeSet::new(),
            connected: BTreeSet::new(),
            lost: BTreeSet::new(),
            introductions: BTreeMap::new(),
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            next_digest: now + DIGEST_EVERY,
            outbox: BTreeMap::new(),
            flush_at: None,
            gathers_until: now,
            save_at: None,
            effects: VecDeque::new(),
        };
        for record in records {
            gossip.merge(record, ChangeOrigin::Own, now);
        }
        gossip.effects.clear();
        gossip.outbox.clear();
        gossip.flush_at = None;
        gossip.save_at = None;
        gossip
    }

    /// All records, with what is left of their times: for the disk, and for a newcomer.
    pub fn snapshot(&self, now: Instant) -> Vec<Record> {
        self.store.iter_at(now).collect()
    }

    /// What is to be saved soon is saved now.
    pub fn save_pending(&mut self, now: Instant) {
        if self.save_at.take().is_some() {
            let lasting = self.snapshot(now).into_iter().filter(Record::is_lasting).collect();
            self.effects.push_back(Effect::Save(lasting));
        }
    }

    /// What is known goes to disk at once: a crash must not forget it.
    pub fn save_now(&mut self, now: Instant) {
        self.save_at = Some(now);
    }

    /// A peer can be sent to from now on.
    pub fn connected(&mut self, peer: HostId, now: Instant) {
        if peer == self.me || !self.connected.insert(peer) {
            return;
        }
        // What is known here of the peer itself goes first: it may have lost its disk, and must hear how far it was. With
        // it, who this host is: the peer can answer a digest only when it knows where to dial.
        let known = [Key::Host(peer), Key::Host(self.me)];
        let known: Vec<Record> = known.iter().filter_map(|key| self.store.get_at(key, now)).collect();
        if !known.is_empty() {
            self.send(peer, Message::Records(known));
        }
        self.send_digest(peer);
    }

    /// Whether a peer can be sent to.
    pub fn is_connected(&self, peer: HostId) -> bool {
        self.connected.contains(&peer)
    }

    /// A peer cannot be sent to any more.
    pub fn disconnected(&mut self, peer: HostId) {
        self.connected.remove(&peer);
        self.outbox.remove(&peer);
    }

    /// What a peer has sent.
    pub fn handle(&mut self, from: HostId, message: Message, now: Instant) {
        if from == self.me {
            return;
        }
        if self.removed.contains(&from) {
            // Its words do not count; but it must hear why. Only its digest is answered, which comes each second: two
            // hosts that are both removed would answer each other's answers for ever.
            if let (Message::Digest(_), Some(removed)) = (message, self.store.get(&Key::Removed(from)).cloned()) {
                self.send(from, Message::Records(vec![removed]));
            }
            return;
        }
        match message {
            Message::Records(records) => {
                for record in records {
                    self.merge(record, ChangeOrigin::Peer(from), now);
                }
                self.flush_if_due(now);
            }
            Message::Digest(theirs) => {
                self.introduce_unknown_to(&theirs, now);
                self.compare(from, &theirs);
            }
            Message::Summary { span, entries } => self.answer(from, span, &entries, now),
            Message::Want(points) => {
                let keys: Vec<Key> = points
                    .iter()
                    .filter_map(|point| self.store.at_point(*point).cloned())
                    .collect();
                self.send_records(from, keys, now);
            }
        }
    }

    /// The next thing to do, until there is none.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`Gossip::handle_timeout`] is due, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        let flush = self.flush_at.map(|at| (at, Reason::Flush));
        let save = self.save_at.map(|at| (at, Reason::Save));
        flush
            .into_iter()
            .chain(save)
            .chain([(self.next_digest, Reason::Digest)])
            .min_by_key(|(at, _)| *at)
    }

    /// To be called when the time of [`Gossip::poll_timeout`] has come; earlier calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.flush_at.is_some_and(|at| at <= now) {
            self.flush(now);
        }
        if self.save_at.is_some_and(|at| at <= now) {
            self.save_pending(now);
        }
        if now < self.next_digest {
            return;
        }
        self.next_digest = now + DIGEST_EVERY;
        for peer in self.some_peers(None) {
            self.send_digest(peer);
        }
    }

    fn some_peers(&mut self, except: Option<HostId>) -> Vec<HostId> {
        let others = self.connected.iter().copied().filter(|peer| Some(*peer) != except);
        others.sample(&mut self.rng, FAN_OUT)
    }

    fn send(&mut self, to: HostId, message: Message) {
        self.effects.push_back(Effect::Send { to, message });
    }

    fn send_digest(&mut self, to: HostId) {
        let digest = Message::Digest(Box::new(self.store.digest()));
        self.send(to, digest);
    }

    fn compare(&mut self, from: HostId, theirs: &[u64; RANGES]) {
        let ours = self.store.digest();
        for range in (0..RANGES).filter(|range| ours[*range] != theirs[*range]) {
            let mut span = Span::of_range(range);
            let mut entries: Vec<_> = self.store.summary(span).collect();
            while entries.len() > SUMMARY_ENTRIES {
                let rest = entries.split_off(SUMMARY_ENTRIES);
                let last = entries.last().map_or(span.last, |(point, _)| *point);
                self.send(
                    from,
                    Message::Summary {
                        span: Span {
                            first: span.first,
                            last,
                        },
                        entries,
                    },
                );
                // Not past the end: `rest` has an entry, and its point is higher.
                span.first = last + 1;
                entries = rest;
            }
            self.send(from, Message::Summary { span, entries });
        }
    }

    fn answer(&mut self, from: HostId, span: Span, theirs: &[(u64, u64)], now: Instant) {
        let theirs: BTreeMap<u64, u64> = theirs.iter().copied().collect();
        let ours: BTreeMap<u64, u64> = self.store.summary(span).collect();
        let differs = |one: &BTreeMap<u64, u64>, other: &BTreeMap<u64, u64>| -> Vec<u64> {
            one.iter()
                .filter(|(point, content)| other.get(*point) != Some(content))
                .map(|(point, _)| *point)
                .collect()
        };
        let give: Vec<Key> = differs(&ours, &theirs)
            .iter()
            .filter_map(|point| self.store.at_point(*point).cloned())
            .collect();
        let want = differs(&theirs, &ours);
        self.send_records(from, give, now);
        if !want.is_empty() {
            self.send(from, Message::Want(want));
        }
    }

    fn send_records(&mut self, to: HostId, keys: impl IntoIterator<Item = Key>, now: Instant) {
        let mut batch = Vec::new();
        let mut weight = 0;
        for key in keys {
            let Some(record) = self.store.get_at(&key, now) else {
                continue;
            };
            if !batch.is_empty() && weight + record.weight() > MESSAGE_BYTES {
                self.send(to, Message::Records(std::mem::take(&mut batch)));
                weight = 0;
            }
            weight += record.weight();
            batch.push(record);
        }
        if !batch.is_empty() {
            self.send(to, Message::Records(batch));
        }
    }
}

#[cfg(test)]
mod tests;
