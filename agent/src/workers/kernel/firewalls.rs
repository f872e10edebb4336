//! Other people's firewall chains that guests' packets pass: read again when any rule has changed, beside the looks.
//!
//! Most hosts have none, which the kernel tells by itself. Where there are some, `nft` lists their tables: what that takes
//! decides how soon it may be done again.

use std::collections::BTreeSet;
use std::future::pending;
use std::time::Duration;

use overlayd_core::kernel::foreign::{ForeignChain, Hook, Needs, dropping};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::{nfnetlink, nft};

/// Rules may change in bursts.
const REST: Duration = Duration::from_secs(5);
/// A reading may take one part in so many of the time.
const SHARE: u32 = 50;

/// What is known of them.
#[derive(Default)]
pub(super) struct Firewalls {
    found: Vec<ForeignChain>,
    /// What was asked last, and the generation of the rules.
    asked: Option<(BTreeSet<Hook>, Needs, Option<u32>)>,
    not_before: Option<Instant>,
    reading: Option<JoinHandle<(Vec<ForeignChain>, Duration)>>,
}

impl Firewalls {
    /// Those that drop what guests need, as they were read last.
    pub(super) fn dropping(&self) -> &[ForeignChain] {
        &self.found
    }

    /// Reads the chains at `hooks` again if something has changed.
    pub(super) fn look(&mut self, hooks: BTreeSet<Hook>, needs: Needs) {
        let rests = self.not_before.is_some_and(|at| Instant::now() < at);
        if self.reading.is_some() || rests {
            return;
        }
        let now = (hooks, needs, nfnetlink::generation());
        if self.asked.as_ref() == Some(&now) {
            return;
        }
        let tables = nfnetlink::foreign_tables(&now.0);
        if tables.is_empty() {
            self.found.clear();
        } else {
            self.reading = Some(tokio::spawn(read(tables, now.0.clone(), now.1.clone())));
        }
        self.asked = Some(now);
    }

    /// Waits until they have been read. Cancelling loses nothing.
    pub(super) async fn read(&mut self) {
        let Some(reading) = &mut self.reading else {
            return pending().await;
        };
        let done = reading.await;
        self.reading = None;
        if let Ok((found, took)) = done {
            self.found = found;
            self.not_before = Some(Instant::now() + (took * SHARE).max(REST));
        }
    }
}

/// A table that goes meanwhile drops nothing any more.
async fn read(tables: BTreeSet<String>, hooks: BTreeSet<Hook>, needs: Needs) -> (Vec<ForeignChain>, Duration) {
    let begun = Instant::now();
    let mut found = Vec::new();
    for table in tables {
        if let Ok(listing) = nft::list(&table).await {
            let chains = dropping(&table, &listing, &needs);
            found.extend(chains.into_iter().filter(|chain| hooks.contains(&chain.hook)));
        }
    }
    (found, begun.elapsed())
}
