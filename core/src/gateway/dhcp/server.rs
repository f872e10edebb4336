//! The open questions of the segments that this host serves: each asked once, answered once, and forgotten in time.
//!
//! ```text
//!  message ─► Ask ─► answered: Reply
//!              ▲ └─► no address yet: kept ── 100 ms ─┐      a share may be on its way
//!              └──────────── up to 2 s ──────────────┘      then the guest counts as unserved
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};

use crate::addresses::{Answer, Request, Silence};
use crate::id::{Mac, SegmentId};
use crate::time::{Duration, Instant};

use super::exchange::{Effect, Ignored, Packet, SegmentService, Shortage};
use super::question::{self, Step};
use super::reply::{Saying, say, saying};
use super::request::{self, GuestMessage, Kind};

/// An answer older than this is dropped: what it promises the guest is counted from before it was given.
pub(super) const OLDEST_ANSWER: Duration = Duration::from_secs(5);
/// Questions that a segment may have open: guests beyond it ask again by themselves.
pub(super) const MOST_PENDING: usize = 1024;
/// How long a guest may take up an offer: as long as the leases hold a new address for it.
pub(super) const OFFER_LIFE: Duration = Duration::from_secs(30);
/// Offers that are remembered in a segment; a guest whose offer is not must say which address it takes.
const MOST_OFFERS: usize = 4096;
/// How long a DISCOVER is kept that cannot be answered yet: guests ask again after some seconds.
pub(super) const KEPT: Duration = Duration::from_secs(2);
/// How soon the leases are asked again for it.
pub(super) const AGAIN: Duration = Duration::from_millis(100);
/// How often at most the same shortage is told.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// The server for all segments whose gateway this host is.
#[derive(Debug, Default)]
pub struct Server {
    segments: BTreeMap<SegmentId, ServedSegment>,
    effects: VecDeque<Effect>,
    ignored: BTreeMap<Ignored, u64>,
    next_token: u64,
    /// Whose each open question is.
    asked: BTreeMap<u64, (SegmentId, Mac)>,
    /// When whose DISCOVER is asked again.
    kept: BTreeSet<(Instant, SegmentId, Mac)>,
}

/// Guests that got no address, each time that they asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unserved {
    /// How often since this host serves the segment.
    pub times: u64,
    /// When last.
    pub last: Instant,
    told: Instant,
}

#[derive(Debug)]
struct ServedSegment {
    service: SegmentService,
    /// At most one per guest: a guest that asks something new has given the old question up.
    pending: BTreeMap<Mac, Pending>,
    /// What guests were offered and have not taken, and when.
    offers: BTreeMap<Mac, (Ipv4Addr, Instant)>,
    unserved: BTreeMap<Shortage, Unserved>,
}

#[derive(Debug)]
struct Pending {
    /// Of the question, unless it waits to be asked again.
    token: Option<u64>,
    since: Instant,
    message: GuestMessage,
}

impl Server {
    /// A server without segments.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a segment, or changes what its guests get; pending requests stay.
    pub fn set_segment(&mut self, service: SegmentService) {
        match self.segments.get_mut(&service.segment) {
            Some(segment) => segment.service = service,
            None => {
                self.segments.insert(
                    service.segment,
                    ServedSegment {
                        service,
                        pending: BTreeMap::new(),
                        offers: BTreeMap::new(),
                        unserved: BTreeMap::new(),
                    },
                );
            }
        }
    }

    /// Removes a segment: its pending requests get no reply.
    pub fn remove_segment(&mut self, segment: SegmentId) {
        self.segments.remove(&segment);
        self.asked.retain(|_, (of, _)| *of != segment);
        self.effects.retain(|effect| match effect {
            Effect::Ask { .. } => true,
            Effect::Reply { segment: of, .. } | Effect::Unserved { segment: of, .. } => *of != segment,
        });
    }

    /// How many messages had no effect, by the reason.
    pub fn ignored(&self) -> &BTreeMap<Ignored, u64> {
        &self.ignored
    }

    /// The guests that got no address since this host serves their segment, by what they lacked.
    pub fn unserved(&self) -> impl Iterator<Item = (SegmentId, Shortage, Unserved)> + '_ {
        self.segments.iter().flat_map(|(id, segment)| {
            let all = segment.unserved.iter();
            all.map(|(shortage, unserved)| (*id, *shortage, *unserved))
        })
    }

    /// When [`Server::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.kept.first().map(|(at, ..)| *at)
    }

    /// Asks again for the guests whose DISCOVER could not be answered.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(at, id, client)) = self.kept.first()
            && at <= now
        {
            self.kept.pop_first();
            let Some(segment) = self.segments.get_mut(&id) else {
                continue;
            };
            if let Some(pending) = segment
                .pending
                .get_mut(&client)
                .filter(|pending| pending.token.is_none())
                && let Ok(Step::Ask(request)) = question::step(&segment.service, &pending.message, None, None)
            {
                self.next_token += 1;
                pending.token = Some(self.next_token);
                self.asked.insert(self.next_token, (id, client));
                let token = self.next_token;
                self.effects.push_back(Effect::Ask { token, request });
            }
        }
    }

    /// The next thing to do; drained after each `handle_*`.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Takes a message that came in on a segment.
    pub fn handle_packet(&mut self, segment: SegmentId, packet: &Packet, now: Instant) {
        if let Err(why) = self.take(segment, packet, now) {
            *self.ignored.entry(why).or_default() += 1;
        }
    }

    /// Takes the leases' answer; one to a question that nobody waits for any more is dropped.
    pub fn handle_answer(&mut self, token: u64, answer: Answer, now: Instant) {
        let Some((id, client)) = self.asked.remove(&token) else {
            return;
        };
        let Some(segment) = self.segments.get_mut(&id) else {
            return;
        };
        let Some(pending) = segment.pending.remove(&client) else {
            return;
        };
        if now.since(pending.since) > OLDEST_ANSWER {
            return;
        }
        match answer {
            Answer::Offer {
                address: IpAddr::V4(address),
                ..
            } => segment.note_offer(client, address, now),
            Answer::Ack { .. } => {
                segment.offers.remove(&client);
            }
            Answer::Silence(why) => return self.silent(id, pending, why, now),
            Answer::Offer { .. } | Answer::Nak | Answer::Done => {}
        }
        if let Some(saying) = saying(&answer, pending.message.kind) {
            let effect = say(&segment.service, &pending.message, saying);
            self.effects.push_back(effect);
        }
    }

    /// The leases have nothing to say. A DISCOVER may be answered yet; a guest with a REQUEST asks again by itself.
    fn silent(&mut self, id: SegmentId, mut pending: Pending, why: Silence, now: Instant) {
        let client = pending.message.client;
        let Some(segment) = self.segments.get_mut(&id) else {
            return;
        };
        if !matches!(pending.message.kind, Kind::Discover { .. }) {
            return;
        }
        let may_come = match why {
            Silence::NothingFree | Silence::NotOffered => true,
            Silence::MaxLeases | Silence::NoPool | Silence::OutOfReach | Silence::NoPart => false,
        };
        if may_come && now.since(pending.since) < KEPT {
            pending.token = None;
            segment.pending.insert(client, pending);
            self.kept.insert((now + AGAIN, id, client));
            return;
        }
        let shortage = match why {
            Silence::NothingFree => Shortage::Exhausted,
            Silence::MaxLeases => Shortage::MaxLeases,
            Silence::NoPool | Silence::OutOfReach | Silence::NotOffered | Silence::NoPart => return,
        };
        if segment.is_news(shortage, now) {
            self.effects.push_back(Effect::Unserved {
                segment: id,
                client,
                shortage,
            });
        }
    }

    fn take(&mut self, id: SegmentId, packet: &Packet, now: Instant) -> Result<(), Ignored> {
        let segment = self.segments.get_mut(&id).ok_or(Ignored::NotServed)?;
        let message = request::read(&packet.bytes)?;
        if message.client != packet.source {
            return Err(Ignored::ForeignHardwareAddress);
        }
        let offered = segment.offered(message.client, now);
        match question::step(&segment.service, &message, offered, packet.guest_host) {
            Ok(Step::Ask(request)) => self.ask(id, request, message, now)?,
            Ok(Step::Pass(requests)) => {
                self.give_up(id, message.client);
                for request in requests {
                    let token = self.token();
                    self.effects.push_back(Effect::Ask { token, request });
                }
            }
            Ok(Step::Refuse) => {
                let why = "this address is not of this network";
                let effect = say(&segment.service, &message, Saying::No { why });
                self.effects.push_back(effect);
            }
            Ok(Step::Inform) => {
                let effect = say(&segment.service, &message, Saying::Options);
                self.effects.push_back(effect);
            }
            Err(why) => {
                if why == Ignored::OtherServer {
                    self.give_up(id, message.client);
                }
                return Err(why);
            }
        }
        Ok(())
    }

    /// The guest has taken another server's offer, or gives its address back: whatever it asked here is void.
    fn give_up(&mut self, id: SegmentId, client: Mac) {
        let Some(segment) = self.segments.get_mut(&id) else {
            return;
        };
        segment.offers.remove(&client);
        if let Some(token) = segment.pending.remove(&client).and_then(|old| old.token) {
            self.asked.remove(&token);
        }
    }

    #[cfg(test)]
    pub(super) fn open_questions(&self) -> usize {
        self.asked.len()
    }

    fn token(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token
    }

    fn ask(&mut self, id: SegmentId, request: Request, message: GuestMessage, now: Instant) -> Result<(), Ignored> {
        let segment = self.segments.get_mut(&id).ok_or(Ignored::NotServed)?;
        let fresh = |pending: &Pending| now.since(pending.since) <= OLDEST_ANSWER;
        let mut since = now;
        match segment.pending.get(&message.client) {
            Some(open) if open.token.is_some() && fresh(open) && same_question(&open.message, &message) => {
                return Err(Ignored::Repeated);
            }
            // One that is kept is asked again at once, and waits since it was first asked.
            Some(open) if open.token.is_none() && same_question(&open.message, &message) => since = open.since,
            Some(open) => {
                if let Some(token) = open.token {
                    self.asked.remove(&token);
                }
            }
            None if segment.pending.len() >= MOST_PENDING => {
                // Those that are only kept give way: whoever has a lease is heard even where new guests get none.
                let waits = |pending: &Pending| pending.token.is_some() && fresh(pending);
                for (_, old) in segment.pending.extract_if(.., |_, pending| !waits(pending)) {
                    if let Some(token) = old.token {
                        self.asked.remove(&token);
                    }
                }
                if segment.pending.len() >= MOST_PENDING {
                    return Err(Ignored::Busy);
                }
            }
            None => {}
        }
        let client = message.client;
        let token = self.token();
        self.asked.insert(token, (id, client));
        if let Some(segment) = self.segments.get_mut(&id) {
            let pending = Pending {
                token: Some(token),
                since,
                message,
            };
            segment.pending.insert(client, pending);
        }
        self.effects.push_back(Effect::Ask { token, request });
        Ok(())
    }
}

impl ServedSegment {
    /// What the guest was offered and may still take.
    fn offered(&self, client: Mac, now: Instant) -> Option<Ipv4Addr> {
        let (address, since) = self.offers.get(&client)?;
        (now.since(*since) <= OFFER_LIFE).then_some(*address)
    }

    fn note_offer(&mut self, client: Mac, address: Ipv4Addr, now: Instant) {
        if self.offers.len() >= MOST_OFFERS {
            self.offers.retain(|_, (_, since)| now.since(*since) <= OFFER_LIFE);
        }
        if self.offers.len() < MOST_OFFERS {
            self.offers.insert(client, (address, now));
        }
    }

    /// Counts a guest that got no address; whether that has not been told lately.
    fn is_news(&mut self, shortage: Shortage, now: Instant) -> bool {
        let known = self.unserved.get(&shortage).copied();
        let quiet = known.is_some_and(|known| now.since(known.told) < TOLD_EVERY);
        let unserved = Unserved {
            times: known.map_or(0, |known| known.times) + 1,
            last: now,
            told: known.filter(|_| quiet).map_or(now, |known| known.told),
        };
        self.unserved.insert(shortage, unserved);
        !quiet
    }
}

/// Whether a second message is the first one once more: whoever asks something else has given the first one up.
fn same_question(first: &GuestMessage, second: &GuestMessage) -> bool {
    first.transaction == second.transaction && first.kind == second.kind && first.ciaddr == second.ciaddr
}
