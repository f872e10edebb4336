//! One segment whose guests this host serves: whose questions are open, who was offered what, who got nothing.

use std::collections::BTreeMap;

use crate::addresses::Answer;
use crate::id::Mac;
use crate::time::{Duration, Instant};

use super::exchange::{SegmentService, Shortage};
use super::in_use::InUse;
use super::offers::{GuestPort, Offers};
use super::request::{GuestMessage, Kind};

/// An answer older than this is dropped: what it promises the guest is counted from before it was given.
pub(super) const OLDEST_ANSWER: Duration = Duration::from_secs(5);
/// How often at most the same shortage is told.
const TOLD_EVERY: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct ServedSegment {
    pub(super) service: SegmentService,
    /// At most one per guest: a guest that asks something new has given the old question up.
    pub(super) pending: BTreeMap<Mac, Pending>,
    /// What guests were offered and have not taken.
    pub(super) offers: Offers,
    pub(super) unserved: BTreeMap<Shortage, Unserved>,
    pub(super) in_use: InUse,
}

#[derive(Debug)]
pub(super) struct Pending {
    pub(super) stage: Stage,
    pub(super) since: Instant,
    pub(super) message: GuestMessage,
    /// Once its host has told of it since it asked.
    pub(super) port: Option<GuestPort>,
}

/// What a guest's question waits for.
#[derive(Debug)]
pub(super) enum Stage {
    /// The leases' answer; by the question's token.
    Asked(u64),
    /// To be asked again.
    Kept,
    /// Another guest that uses the address which the leases have found.
    Checked(Answer),
}

/// Guests that got no address, each time that they asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unserved {
    /// How often since this host serves the segment.
    pub times: u64,
    /// When last.
    pub last: Instant,
    /// The port that many offers were open to then, and how many.
    pub crowd: Option<(GuestPort, usize)>,
    told: Instant,
}

impl Pending {
    /// The token of the question that is open.
    pub(super) fn token(&self) -> Option<u64> {
        match self.stage {
            Stage::Asked(token) => Some(token),
            Stage::Kept | Stage::Checked(_) => None,
        }
    }

    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        now.since(self.since) <= OLDEST_ANSWER
    }
}

impl ServedSegment {
    pub(super) fn new(service: SegmentService) -> Self {
        Self {
            service,
            pending: BTreeMap::new(),
            offers: Offers::default(),
            unserved: BTreeMap::new(),
            in_use: InUse::default(),
        }
    }

    /// Whether a message counts: a DECLINE of a guest that is not believed does not.
    pub(super) fn believes(&mut self, message: &GuestMessage, now: Instant) -> bool {
        match message.kind {
            Kind::Decline { address, .. } => self.in_use.believes(message.client, address, now),
            Kind::Discover { .. }
            | Kind::Selecting { .. }
            | Kind::Rebooting { .. }
            | Kind::Extending { .. }
            | Kind::Release { .. }
            | Kind::Inform => true,
        }
    }

    /// Counts a guest that got no address; whether that has not been told lately.
    pub(super) fn is_news(&mut self, shortage: Shortage, now: Instant) -> bool {
        let known = self.unserved.get(&shortage).map(|known| (known.times, known.told));
        let told = known.map(|(_, told)| told).filter(|told| now.since(*told) < TOLD_EVERY);
        let unserved = Unserved {
            times: known.map_or(0, |(times, _)| times) + 1,
            last: now,
            crowd: self.offers.crowd(),
            told: told.unwrap_or(now),
        };
        self.unserved.insert(shortage, unserved);
        told.is_none()
    }
}

/// Whether a second message is the first one once more: whoever asks something else has given the first one up.
pub(super) fn same_question(first: &GuestMessage, second: &GuestMessage) -> bool {
    first.transaction == second.transaction && first.kind == second.kind && first.ciaddr == second.ciaddr
}
