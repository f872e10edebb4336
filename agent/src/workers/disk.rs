//! The journal's thread: many appends share one fsync, and each is reported once it is on disk.
//!
//! It owns the open journal. It ends when its sender is dropped, after the last append.

use std::sync::mpsc::Receiver;
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use overlayd_core::addresses::JournalRecord;
use prost::Message;
use tokio::sync::oneshot;
use tracing::{error, info};

use crate::journal::Journal;

/// A journal that has grown by this many bytes since it was last written anew is written anew.
const COMPACT_AFTER: u64 = 8 << 20;

/// What is to be done.
#[derive(Debug)]
pub enum Order {
    /// Append.
    Append {
        /// Reported when it is on disk.
        sequence: u64,
        /// What.
        records: Vec<JournalRecord>,
    },
    /// Replace all by this, which is what all appends so far amount to.
    Compact {
        /// Of the last append.
        sequence: u64,
        /// All.
        records: Vec<JournalRecord>,
    },
    /// Resolves once all that was ordered before is on disk; closed if that was refused.
    Flush(oneshot::Sender<()>),
}

/// What the thread tells.
#[derive(Debug)]
pub enum Report {
    /// All appends up to this one are on disk.
    Synced(u64),
    /// The journal has grown: a snapshot would be welcome.
    Grown,
    /// The disk refused: the journal counts as lost, and nothing more is written.
    Lost(String),
}

/// One record as it stands in the journal: the sequence of its append, then its bytes.
pub fn encode(sequence: u64, record: JournalRecord) -> Vec<u8> {
    let mut bytes = sequence.to_le_bytes().to_vec();
    let record = overlayd_proto::journal::JournalRecord::from(record);
    // A vector always has room.
    let _ = record.encode(&mut bytes);
    bytes
}

/// Reads one record back; `None`: it is none.
pub fn decode(bytes: &[u8]) -> Option<(u64, JournalRecord)> {
    let (sequence, record) = bytes.split_first_chunk()?;
    let record = overlayd_proto::journal::JournalRecord::decode(record).ok()?;
    Some((u64::from_le_bytes(*sequence), record.try_into().ok()?))
}

/// Starts the thread; `report` is called there.
///
/// # Errors
/// There is no thread to be had.
pub fn start(
    journal: Journal,
    inbox: Receiver<Order>,
    report: impl Fn(Report) + Send + 'static,
) -> Result<JoinHandle<()>> {
    thread::Builder::new()
        .name("journal".into())
        .spawn(move || run(journal, &inbox, &report))
        .context("cannot start a thread")
}

fn run(mut journal: Journal, inbox: &Receiver<Order>, report: &impl Fn(Report)) {
    let mut compacted = journal.length();
    let mut asked = false;
    while let Ok(first) = inbox.recv() {
        // Whatever has gathered while the last fsync ran shares the next one.
        let mut orders = vec![first];
        orders.extend(inbox.try_iter());
        let mut bytes = Vec::new();
        let mut last = None;
        let mut failed = None;
        let mut waiting = Vec::new();
        for order in orders {
            match order {
                Order::Append { sequence, records } => {
                    bytes.extend(records.into_iter().map(|record| encode(sequence, record)));
                    last = Some(sequence);
                }
                Order::Compact { sequence, records } => {
                    let all: Vec<_> = records.into_iter().map(|record| encode(sequence, record)).collect();
                    bytes.clear();
                    match journal.compact(all.iter().map(Vec::as_slice)) {
                        Ok(()) => {
                            info!(bytes = journal.length(), "journal compacted");
                            (compacted, asked, last) = (journal.length(), false, Some(sequence));
                        }
                        Err(problem) => failed = Some(problem),
                    }
                }
                Order::Flush(done) => waiting.push(done),
            }
        }
        if failed.is_none() && !bytes.is_empty() {
            failed = journal.append(bytes.iter().map(Vec::as_slice)).err();
        }
        if let Some(problem) = failed {
            error!(%problem, "cannot write the journal");
            report(Report::Lost(problem.to_string()));
            return;
        }
        if let Some(sequence) = last {
            report(Report::Synced(sequence));
        }
        for done in waiting {
            // Whoever asked may have gone.
            let _ = done.send(());
        }
        if !asked && journal.length() > compacted.saturating_mul(2).max(compacted + COMPACT_AFTER) {
            asked = true;
            report(Report::Grown);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::journal::Found;
    use overlayd_core::addresses::Members;
    use overlayd_core::id::HostId;

    fn record(host: u64) -> JournalRecord {
        JournalRecord::Membership(Members {
            members: [HostId(host)].into(),
            ..Members::default()
        })
    }

    #[test]
    fn what_was_reported_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (journal, _) = Journal::open(&path).unwrap();
        let (tell, told) = mpsc::channel();
        let (orders, inbox) = mpsc::channel();
        start(journal, inbox, move |report| drop(tell.send(report))).unwrap();
        for sequence in 1..=50 {
            orders
                .send(Order::Append {
                    sequence,
                    records: vec![record(sequence)],
                })
                .unwrap();
        }
        orders
            .send(Order::Compact {
                sequence: 50,
                records: vec![record(99)],
            })
            .unwrap();
        orders
            .send(Order::Append {
                sequence: 51,
                records: vec![record(51)],
            })
            .unwrap();
        drop(orders);
        let synced = told.iter().filter_map(|report| match report {
            Report::Synced(sequence) => Some(sequence),
            Report::Grown | Report::Lost(_) => None,
        });
        assert_eq!(synced.last(), Some(51));
        let (_, found) = Journal::open(&path).unwrap();
        let Found::Whole { records, cut: 0 } = found else {
            panic!("{found:?}")
        };
        let read: Vec<_> = records.iter().map(|bytes| decode(bytes).unwrap()).collect();
        assert_eq!(read, [(50, record(99)), (51, record(51))]);
    }
}
