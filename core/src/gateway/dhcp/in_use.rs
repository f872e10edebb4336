//! Which addresses guests use that nobody gave them: who was asked for by ARP, and what came back. Nothing is asked here.
//!
//! ```text
//!  offered next ──► asked ahead ── 20 ms ──► nobody has it: offered at once, asked once more meanwhile
//!  offered now  ──► asked       ── 20 ms ──┘ a crowd does not wait for that
//!                     └─ answer of another MAC ──► it rests: another is found; taken already: NAK
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;

use crate::id::Mac;
use crate::time::{Duration, Instant};

/// How long a guest has to answer before an address is offered.
pub(super) const PATIENCE: Duration = Duration::from_millis(20);
/// So many addresses are asked ahead.
pub const AHEAD: usize = 8;
/// For how long what was asked counts.
const FRESH: Duration = Duration::from_secs(60);
/// So many questions are remembered, and so many guests that have answered one.
const REMEMBERED: usize = 1024;
/// So many addresses one guest may say that it uses, by answers or by DECLINE.
const BELIEVED: usize = 4;
/// When a guest that has said nothing more of the kind is believed again.
const FORGIVEN: Duration = Duration::from_secs(3600);

/// What is known of guests' own use of addresses, in memory.
#[derive(Debug, Default)]
pub(super) struct InUse {
    /// When an address was asked for last.
    asked: BTreeMap<Ipv4Addr, Instant>,
    order: VecDeque<(Instant, Ipv4Addr)>,
    claimants: BTreeMap<Mac, Claimant>,
}

#[derive(Debug)]
struct Claimant {
    /// The first few; one more than is believed shows that it is not.
    addresses: BTreeSet<Ipv4Addr>,
    last: Instant,
}

/// Whether guests were asked for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// Lately, and they had time to answer.
    Over,
    /// They may still answer until then.
    Open(Instant),
    /// Not lately.
    NotAsked,
}

impl InUse {
    pub(super) fn question(&self, address: Ipv4Addr, now: Instant) -> Question {
        match self.asked.get(&address) {
            Some(at) if now.since(*at) >= FRESH => Question::NotAsked,
            Some(at) if now.since(*at) >= PATIENCE => Question::Over,
            Some(at) => Question::Open(*at + PATIENCE),
            None => Question::NotAsked,
        }
    }

    /// Whether so many questions are open that another guest does not wait for one.
    pub(super) fn is_crowded(&self, now: Instant) -> bool {
        // One more than are asked ahead: the gateway's own goes with them.
        let before = self.order.iter().rev().nth(AHEAD);
        before.is_some_and(|(at, _)| now.since(*at) < PATIENCE)
    }

    pub(super) fn note_asked(&mut self, address: Ipv4Addr, now: Instant) {
        // Asked once more, it is not waited for again.
        if self.question(address, now) == Question::NotAsked {
            self.asked.insert(address, now);
        }
        self.order.push_back((now, address));
        while let Some(&(at, oldest)) = self.order.front()
            && (now.since(at) >= FRESH || self.order.len() > REMEMBERED)
        {
            self.order.pop_front();
            if self.asked.get(&oldest) == Some(&at) {
                self.asked.remove(&oldest);
            }
        }
    }

    /// The address is leased: whoever has it answers for it.
    pub(super) fn forget(&mut self, address: Ipv4Addr) {
        self.asked.remove(&address);
    }

    /// Whether it counts that a guest says it uses an address. One that says so of many is not believed at all: it could
    /// take the whole pool.
    pub(super) fn believes(&mut self, guest: Mac, address: Ipv4Addr, now: Instant) -> bool {
        if self.claimants.len() >= REMEMBERED && !self.claimants.contains_key(&guest) {
            let oldest = self.claimants.iter().min_by_key(|(_, it)| it.last);
            if let Some(oldest) = oldest.map(|(guest, _)| *guest) {
                self.claimants.remove(&oldest);
            }
        }
        let claimant = self.claimants.entry(guest).or_insert_with(|| Claimant {
            addresses: BTreeSet::new(),
            last: now,
        });
        if now.since(claimant.last) >= FORGIVEN {
            claimant.addresses.clear();
        }
        claimant.last = now;
        if claimant.addresses.len() <= BELIEVED {
            claimant.addresses.insert(address);
        }
        claimant.addresses.len() <= BELIEVED
    }

    /// The guests that are not believed.
    pub(super) fn disbelieved(&self, now: Instant) -> impl Iterator<Item = Mac> {
        let fresh = self
            .claimants
            .iter()
            .filter(move |(_, it)| now.since(it.last) < FORGIVEN);
        fresh
            .filter(|(_, it)| it.addresses.len() > BELIEVED)
            .map(|(guest, _)| *guest)
    }
}
