//! What becomes of the leases' answers: said at once, held until no guest has answered for the address, or asked for again.

use std::net::{IpAddr, Ipv4Addr};

use crate::addresses::{Answer, Request, Silence};
use crate::id::{Mac, SegmentId};
use crate::time::{Duration, Instant};

use super::exchange::{Effect, Shortage};
use super::in_use::{PATIENCE, Question};
use super::question::{self, Step};
use super::reply::{say, saying};
use super::request::{GuestMessage, Kind};
use super::served::{Pending, Stage};
use super::server::Server;

/// How long a DISCOVER is kept that cannot be answered yet: guests ask again after some seconds.
pub(super) const KEPT: Duration = Duration::from_secs(2);
/// How soon the leases are asked again for it.
pub(super) const AGAIN: Duration = Duration::from_millis(100);

impl Server {
    /// The addresses that guests of a segment are offered next.
    pub fn handle_ahead(&mut self, id: SegmentId, next: &[IpAddr], now: Instant) {
        let Some(segment) = self.segments.get_mut(&id) else {
            return;
        };
        let next = next.iter().filter_map(|address| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        });
        let mut addresses = Vec::new();
        for address in [segment.service.gateway].into_iter().chain(next) {
            if segment.in_use.question(address, now) == Question::NotAsked && !segment.in_use.is_crowded(now) {
                segment.in_use.note_asked(address, now);
                addresses.push(address);
            }
        }
        if !addresses.is_empty() {
            self.effects.push_back(Effect::AskGuests { segment: id, addresses });
        }
    }

    /// A guest says by ARP that it has an address.
    pub fn handle_arp(&mut self, id: SegmentId, guest: Mac, address: Ipv4Addr, now: Instant) {
        let Some(segment) = self.segments.get_mut(&id) else {
            return;
        };
        // What nobody asked for proves nothing, and whom an address was offered to may have it already.
        if address == segment.service.gateway
            || segment.in_use.question(address, now) == Question::NotAsked
            || segment.offers.to(guest, now) == Some(address)
        {
            return;
        }
        if !segment.in_use.believes(guest, address, now) {
            return self.effects.push_back(Effect::Disbelieved { segment: id });
        }
        self.effects.push_back(Effect::InUse {
            segment: id,
            address,
            by: guest,
        });
        let found = |pending: &Pending| match &pending.stage {
            Stage::Checked(Answer::Offer { address: found, .. }) => *found == IpAddr::V4(address),
            Stage::Checked(_) | Stage::Asked(_) | Stage::Kept => false,
        };
        let waiting: Vec<Pending> = segment
            .pending
            .extract_if(.., |client, pending| *client != guest && found(pending))
            .map(|(_, pending)| pending)
            .collect();
        for pending in waiting {
            self.find_again(id, pending);
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
        if !pending.is_fresh(now) {
            return;
        }
        match answer {
            Answer::Offer {
                address: IpAddr::V4(address),
                ..
            } if matches!(pending.message.kind, Kind::Discover { .. }) => {
                segment.offers.note(client, address, now);
                self.check(id, pending, (address, answer), now);
            }
            Answer::Ack { address, .. } => {
                segment.offers.remove(client);
                if let IpAddr::V4(address) = address {
                    segment.in_use.forget(address);
                }
                self.offer(id, &pending.message, &answer);
            }
            Answer::Silence(why) => self.silent(id, pending, why, now),
            Answer::Offer { .. } | Answer::Nak | Answer::Done => self.offer(id, &pending.message, &answer),
        }
    }

    /// Says what the leases have answered.
    pub(super) fn offer(&mut self, id: SegmentId, message: &GuestMessage, answer: &Answer) {
        if let Some(segment) = self.segments.get(&id)
            && let Some(saying) = saying(answer, message.kind)
        {
            let effect = say(&segment.service, message, saying);
            self.effects.push_back(effect);
        }
    }

    /// Offers an address once no guest uses it: at once where that was asked ahead, and for a crowd. What is answered after
    /// the offer is told at the REQUEST.
    fn check(&mut self, id: SegmentId, pending: Pending, (address, answer): (Ipv4Addr, Answer), now: Instant) {
        let Some(segment) = self.segments.get_mut(&id) else {
            return;
        };
        let crowded = segment.in_use.is_crowded(now);
        let question = segment.in_use.question(address, now);
        let until = match question {
            Question::Over => None,
            Question::Open(until) => Some(until),
            Question::NotAsked => Some(now + PATIENCE),
        };
        // Also where it was asked ahead: a guest may have come up meanwhile.
        if matches!(question, Question::Over | Question::NotAsked) {
            segment.in_use.note_asked(address, now);
            self.effects.push_back(Effect::AskGuests {
                segment: id,
                addresses: vec![address],
            });
        }
        match until.filter(|_| !crowded) {
            Some(until) => {
                let client = pending.message.client;
                let stage = Stage::Checked(answer);
                segment.pending.insert(client, Pending { stage, ..pending });
                self.due.insert((until, id, client));
            }
            None => self.offer(id, &pending.message, &answer),
        }
        self.effects.push_back(Effect::LookAhead { segment: id });
    }

    /// Asks the leases once more for a guest that waits.
    pub(super) fn find_again(&mut self, id: SegmentId, pending: Pending) {
        let token = self.token();
        let Some(segment) = self.segments.get_mut(&id) else {
            return;
        };
        let client = pending.message.client;
        if let Ok(Step::Ask(request)) = question::step(&segment.service, &pending.message, None, None) {
            let stage = Stage::Asked(token);
            segment.pending.insert(client, Pending { stage, ..pending });
            self.asked.insert(token, (id, client));
            self.effects.push_back(Effect::Ask { token, request });
        }
    }

    /// The leases have nothing to say. A DISCOVER may be answered yet; a guest with a REQUEST asks again by itself.
    fn silent(&mut self, id: SegmentId, pending: Pending, why: Silence, now: Instant) {
        let client = pending.message.client;
        let Some(segment) = self.segments.get_mut(&id) else {
            return;
        };
        if !matches!(pending.message.kind, Kind::Discover { .. }) {
            return;
        }
        if why == Silence::NothingFree
            && let Some((other, address)) = segment.offers.take_oldest(pending.port.as_ref(), now)
        {
            let token = self.token();
            let request = Request::Withdraw {
                segment: id,
                address: address.into(),
                client: other,
            };
            self.effects.push_back(Effect::Ask { token, request });
            return self.find_again(id, pending);
        }
        let may_come = match why {
            Silence::NothingFree | Silence::NotOffered => true,
            Silence::MaxLeases | Silence::NoPool | Silence::OutOfReach | Silence::NoPart => false,
        };
        if may_come && now.since(pending.since) < KEPT {
            let stage = Stage::Kept;
            segment.pending.insert(client, Pending { stage, ..pending });
            self.due.insert((now + AGAIN, id, client));
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
}
