//! The records known here, ordered by key, and by the fingerprints that digests are made of.
//!
//! Space of fingerprints: 64 ranges of equal size. A digest is one number per range, the sum (exclusive or) of the
//! fingerprints of the records whose key falls into it; two hosts whose digests are equal know the same.

use std::collections::BTreeMap;
use std::ops::RangeBounds;

use super::fingerprint;
use super::record::{Key, Record};
use crate::lease::Left;
use crate::time::Instant;

/// The number of ranges of a digest.
pub const RANGES: usize = 64;

/// A run of key fingerprints, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

impl Span {
    pub(super) fn of_range(range: usize) -> Self {
        let width = u64::MAX / RANGES as u64 + 1;
        let first = range as u64 * width;
        Self {
            first,
            last: first + (width - 1),
        }
    }
}

fn range_of(point: u64) -> usize {
    // The top bits: below `RANGES` by the shift.
    (point >> (64 - RANGES.ilog2())) as usize
}

/// The range of a digest that a key counts in.
pub(super) fn range_of_key(key: &Key) -> usize {
    range_of(fingerprint::of_key(key))
}

#[derive(Clone, Debug)]
struct Entry {
    record: Record,
    content: u64,
    at: Instant,
}

#[derive(Clone, Debug)]
pub(super) struct Store {
    entries: BTreeMap<Key, Entry>,
    points: BTreeMap<u64, Key>,
    ranges: [u64; RANGES],
}

impl Store {
    pub(super) fn new() -> Self {
        Self {
            entries: BTreeMap::new(),
            points: BTreeMap::new(),
            ranges: [0; RANGES],
        }
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Record> {
        self.entries.get(key).map(|entry| &entry.record)
    }

    pub(super) fn taken_at(&self, key: &Key) -> Option<Instant> {
        self.entries.get(key).map(|entry| entry.at)
    }

    /// The record with what is left of its time at `now`.
    pub(super) fn get_at(&self, key: &Key, now: Instant) -> Option<Record> {
        self.entries.get(key).map(|entry| aged(&entry.record, entry.at, now))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, &Record)> {
        self.entries.iter().map(|(key, entry)| (key, &entry.record))
    }

    /// The records whose keys lie in `keys`.
    pub(super) fn range(&self, keys: impl RangeBounds<Key>) -> impl Iterator<Item = (&Record, Instant)> {
        self.entries.range(keys).map(|(_, entry)| (&entry.record, entry.at))
    }

    pub(super) fn iter_at(&self, now: Instant) -> impl Iterator<Item = Record> {
        self.entries
            .values()
            .map(move |entry| aged(&entry.record, entry.at, now))
    }

    pub(super) fn insert(&mut self, record: Record, now: Instant) -> Option<Record> {
        let key = record.key();
        let point = fingerprint::of_key(&key);
        let content = fingerprint::of_record(&record);
        let old = self.entries.insert(
            key.clone(),
            Entry {
                record,
                content,
                at: now,
            },
        );
        self.points.insert(point, key);
        self.ranges[range_of(point)] ^= content ^ old.as_ref().map_or(0, |old| old.content);
        old.map(|old| old.record)
    }

    pub(super) fn remove(&mut self, key: &Key) -> Option<Record> {
        let old = self.entries.remove(key)?;
        let point = fingerprint::of_key(key);
        self.points.remove(&point);
        self.ranges[range_of(point)] ^= old.content;
        Some(old.record)
    }

    pub(super) fn digest(&self) -> [u64; RANGES] {
        self.ranges
    }

    /// Key fingerprint and content fingerprint of what is known in a span, in order.
    pub(super) fn summary(&self, span: Span) -> impl Iterator<Item = (u64, u64)> {
        self.within(span)
            .filter_map(|(point, key)| Some((point, self.entries.get(key)?.content)))
    }

    pub(super) fn within(&self, span: Span) -> impl Iterator<Item = (u64, &Key)> {
        // An empty range that is written the wrong way round would make `BTreeMap::range` panic.
        let last = span.last.max(span.first);
        let wanted = span.first <= span.last;
        self.points
            .range(span.first..=last)
            .filter(move |_| wanted)
            .map(|(point, key)| (*point, key))
    }

    pub(super) fn at_point(&self, point: u64) -> Option<&Key> {
        self.points.get(&point)
    }
}

pub(super) fn aged(record: &Record, at: Instant, now: Instant) -> Record {
    let mut record = record.clone();
    if let Record::Lease(lease) = &mut record {
        lease.left = Left(lease.left.0.map(|left| left.saturating_sub(now.since(at))));
    }
    record
}
