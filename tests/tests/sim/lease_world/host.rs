//! A host of the simulation: the machine, its disk and its clock.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use super::core;
use core::addresses::{AddressState, JournalRecord, Leases, Part, Reach, Recovered, SegmentPool};
use core::id::{HostId, SegmentId};
use core::lease::Share;
use core::time::Instant;

/// Whether a host runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Running,
    /// Its disk is there; it may come back.
    Down,
    /// Off for good.
    Off,
    /// It left in good order.
    Left,
}

/// A clock that is off by up to a hundredth in rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    zero: u64,
    offset: u64,
    /// Parts of a million by which it runs fast.
    fast: i64,
}

impl Clock {
    pub(crate) fn new(zero: u64, offset: u64, fast: i64) -> Self {
        Self { zero, offset, fast }
    }

    pub(crate) fn read(&self, now: u64) -> Instant {
        let passed = (now - self.zero) as i64;
        Instant::from_millis(self.offset + (passed * (1_000_000 + self.fast) / 1_000_000) as u64)
    }

    /// The first moment at which it reads at least `at`.
    pub(crate) fn when(&self, at: Instant) -> u64 {
        let passed = at.as_millis().saturating_sub(self.offset) as i128;
        let mut now = self.zero + (passed * 1_000_000 / (1_000_000 + i128::from(self.fast))) as u64;
        while self.read(now) < at {
            now += 1;
        }
        now
    }
}

/// What is on disk, and what is on its way there.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    records: Vec<JournalRecord>,
    sequence: u64,
    pending: VecDeque<(u64, Vec<JournalRecord>)>,
    /// When the append before is synced.
    pub(crate) busy_until: u64,
    /// What the records say, address by address.
    pub(crate) state: BTreeMap<(SegmentId, IpAddr), AddressState>,
}

impl Disk {
    pub(crate) fn append(&mut self, sequence: u64, records: Vec<JournalRecord>) {
        self.pending.push_back((sequence, records));
    }

    pub(crate) fn sync(&mut self, sequence: u64) {
        while let Some((at, _)) = self.pending.front()
            && *at <= sequence
            && let Some((at, records)) = self.pending.pop_front()
        {
            self.keep(at, records);
        }
    }

    fn keep(&mut self, sequence: u64, records: Vec<JournalRecord>) {
        self.sequence = sequence;
        for record in &records {
            if let JournalRecord::Addresses { segment, range, state } = record {
                for address in range.addresses() {
                    self.state.insert((*segment, address.ip()), state.clone());
                }
            }
        }
        self.records.extend(records);
    }

    /// A crash: of what was on its way the first `kept` appends have reached the disk.
    pub(crate) fn crash(&mut self, kept: usize) {
        for (sequence, records) in std::mem::take(&mut self.pending).into_iter().take(kept) {
            self.keep(sequence, records);
        }
    }

    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    pub(crate) fn recover(&self) -> Recovered {
        Recovered {
            sequence: self.sequence,
            records: self.records.clone(),
        }
    }

    /// The journal is written anew.
    pub(crate) fn compact(&mut self, snapshot: Recovered) {
        self.records = snapshot.records;
    }
}

#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) id: HostId,
    pub(crate) machine: Leases,
    pub(crate) status: Status,
    pub(crate) incarnation: u64,
    pub(crate) clock: Clock,
    pub(crate) disk: Disk,
    pub(crate) wake: Option<u64>,
    pub(crate) reach: BTreeMap<usize, (Reach, u64)>,
    pub(crate) pool: Option<SegmentPool>,
    /// Appends take this long.
    pub(crate) fsync: (u64, u64),
    pub(crate) leaving: bool,
    /// What it last told everybody of its shares.
    pub(crate) told: BTreeMap<SegmentId, Share>,
}

impl Host {
    pub(crate) fn runs(&self) -> bool {
        self.status == Status::Running
    }

    pub(crate) fn takes_part(&self) -> bool {
        matches!(self.machine.part(), Part::Taking | Part::Leaving)
    }
}
