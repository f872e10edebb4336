//! The open questions of the segments that this host serves: each asked once, answered once, and forgotten in time.
//!
//! ```text
//!  message ─► Ask ─► found an address ─► does a guest use it? ─ 20 ms ─► Reply      once asked for: at once
//!              ▲ └─► no address yet: kept ── 100 ms ─┐      a share may be on its way
//!              └──────────── up to 2 s ──────────────┘      then the guest counts as unserved
//! ```

use crate::addresses::Request;
use crate::id::{Mac, SegmentId};
use crate::time::Instant;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::exchange::{Effect, Ignored, Packet, SegmentService, Shortage};
use super::offers::GuestPort;
use super::question::{self, Step};
use super::reply::{Saying, say};
use super::request::{self, GuestMessage};
use super::served::{Pending, ServedSegment, Stage, Unserved, same_question};

/// Questions that a segment may have open: guests beyond it ask again by themselves.
pub(super) const MOST_PENDING: usize = 1024;

/// The server for all segments whose gateway this host is.
#[derive(Debug, Default)]
pub struct Server {
    pub(super) segments: BTreeMap<SegmentId, ServedSegment>,
    pub(super) effects: VecDeque<Effect>,
    ignored: BTreeMap<Ignored, u64>,
    next_token: u64,
    /// Whose each open question is.
    pub(super) asked: BTreeMap<u64, (SegmentId, Mac)>,
    /// When whose DISCOVER is looked at again.
    pub(super) due: BTreeSet<(Instant, SegmentId, Mac)>,
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
                let segment = service.segment;
                self.segments.insert(segment, ServedSegment::new(service));
                self.effects.push_back(Effect::LookAhead { segment });
            }
        }
    }

    /// Removes a segment: its pending requests get no reply.
    pub fn remove_segment(&mut self, segment: SegmentId) {
        self.segments.remove(&segment);
        self.asked.retain(|_, (of, _)| *of != segment);
        self.effects.retain(|effect| match effect {
            Effect::Ask { .. } => true,
            Effect::Reply { segment: of, .. }
            | Effect::AskGuests { segment: of, .. }
            | Effect::LookAhead { segment: of }
            | Effect::InUse { segment: of, .. }
            | Effect::Disbelieved { segment: of }
            | Effect::Unserved { segment: of, .. } => *of != segment,
        });
    }

    /// How many messages had no effect, by the reason.
    pub fn ignored(&self) -> &BTreeMap<Ignored, u64> {
        &self.ignored
    }

    /// The guests that got no address since this host serves their segment, by what they lacked.
    pub fn unserved(&self) -> impl Iterator<Item = (SegmentId, Shortage, &Unserved)> {
        self.segments.iter().flat_map(|(id, segment)| {
            let all = segment.unserved.iter();
            all.map(|(shortage, unserved)| (*id, *shortage, unserved))
        })
    }

    /// Guests that are not believed any more: they said of too many addresses that they were in use.
    pub fn disbelieved(&self, now: Instant) -> impl Iterator<Item = (SegmentId, Mac)> {
        let segments = self.segments.iter();
        segments.flat_map(move |(id, segment)| segment.in_use.disbelieved(now).map(|guest| (*id, guest)))
    }

    /// This host has addresses to give that it did not have before, or others than before.
    pub fn look_ahead(&mut self, segment: SegmentId) {
        if self.segments.contains_key(&segment) {
            self.effects.push_back(Effect::LookAhead { segment });
        }
    }

    /// A guest is on this port now.
    pub fn set_port(&mut self, segment: SegmentId, client: Mac, port: GuestPort) {
        if let Some(segment) = self.segments.get_mut(&segment) {
            if let Some(pending) = segment.pending.get_mut(&client) {
                pending.port = Some(port.clone());
            }
            segment.offers.set_port(client, port);
        }
    }

    /// When [`Server::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due.first().map(|(at, ..)| *at)
    }

    /// Offers what no other guest has answered for, and asks again for the guests whose DISCOVER could not be answered.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(at, id, client)) = self.due.first()
            && at <= now
        {
            self.due.pop_first();
            let Some(segment) = self.segments.get_mut(&id) else {
                continue;
            };
            // A guest that waits for an answer waits from when its first address was asked for.
            match segment.pending.remove(&client) {
                Some(Pending {
                    stage: Stage::Checked(answer),
                    message,
                    ..
                }) => self.offer(id, &message, &answer),
                Some(pending) if matches!(pending.stage, Stage::Kept) => self.find_again(id, pending),
                Some(pending) => {
                    segment.pending.insert(client, pending);
                }
                None => {}
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

    fn take(&mut self, id: SegmentId, packet: &Packet, now: Instant) -> Result<(), Ignored> {
        let segment = self.segments.get_mut(&id).ok_or(Ignored::NotServed)?;
        let message = request::read(&packet.bytes)?;
        if message.client != packet.source {
            return Err(Ignored::ForeignHardwareAddress);
        }
        let offered = segment.offers.to(message.client, now);
        match question::step(&segment.service, &message, offered, packet.guest_host) {
            Ok(Step::Ask(request)) => self.ask(id, request, message, now)?,
            Ok(Step::Pass(_)) if !segment.believes(&message, now) => {
                self.effects.push_back(Effect::Disbelieved { segment: id });
                return Err(Ignored::Disbelieved);
            }
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
        segment.offers.remove(client);
        if let Some(token) = segment.pending.remove(&client).and_then(|old| old.token()) {
            self.asked.remove(&token);
        }
    }

    #[cfg(test)]
    pub(super) fn open_questions(&self) -> usize {
        self.asked.len()
    }

    pub(super) fn token(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token
    }

    fn ask(&mut self, id: SegmentId, request: Request, message: GuestMessage, now: Instant) -> Result<(), Ignored> {
        let segment = self.segments.get_mut(&id).ok_or(Ignored::NotServed)?;
        let (mut since, mut port) = (now, None);
        match segment.pending.get(&message.client) {
            Some(open) if same_question(&open.message, &message) => match open.stage {
                Stage::Asked(_) if !open.is_fresh(now) => {}
                Stage::Asked(_) | Stage::Checked(_) => return Err(Ignored::Repeated),
                // One that is kept is asked again at once, and waits since it was first asked.
                Stage::Kept => (since, port) = (open.since, open.port.clone()),
            },
            Some(_) => {}
            None if segment.pending.len() >= MOST_PENDING => {
                // Those that are only kept give way: whoever has a lease is heard even where new guests get none.
                let waits = |pending: &Pending| !matches!(pending.stage, Stage::Kept) && pending.is_fresh(now);
                for (_, old) in segment.pending.extract_if(.., |_, pending| !waits(pending)) {
                    if let Some(token) = old.token() {
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
                stage: Stage::Asked(token),
                since,
                message,
                port,
            };
            if let Some(before) = segment.pending.insert(client, pending).and_then(|old| old.token()) {
                self.asked.remove(&before);
            }
        }
        self.effects.push_back(Effect::Ask { token, request });
        Ok(())
    }
}
