//! The gateway's side: whom to ask for a client, in which order, and for how long.
//!
//! ```text
//!  Bind ─► owner: this host, by a call ─► Ack when a copy is stored · another client has it: Nak
//!             └── another, 300 ms ── out of reach ─► keeper: this host, by a call, or another, 300 ms ─► silence
//!                                                       nobody told who that is: everybody is asked
//! ```
//! An answer counts for 5 s from the question.

use std::collections::BTreeSet;

use crate::id::{HostId, Mac};
use crate::range::Address;
use crate::time::{Duration, Instant};

use super::host::Host;
use super::message::{Ask, Claim, Message, Reply};
use super::request::{Answer, Silence};
use super::segment::{Segment, Timer};
use super::timing::{ANSWER_LIFE, ASK, NONCE_AFTER};

/// For whom something is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A request of the local DHCP server, by its token.
    Guest(u64),
    /// A lease that this host brought along from a cluster of its own.
    Brought,
}

/// Whoever claims an address of an owner or keeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// This host itself.
    Here(Origin),
    /// Another host, by the number of its question.
    There(HostId, u64),
}

/// A claim, who waits for its answer, and since when.
#[derive(Clone, Debug)]
pub(super) struct Waiter {
    pub(super) asker: Asker,
    pub(super) claim: Claim,
    pub(super) since: Instant,
}

impl Waiter {
    /// An answer counts for 5 s from the question.
    pub(super) fn is_late(&self, now: Instant) -> bool {
        now.since(self.since) >= ANSWER_LIFE
    }
}

/// What is wanted of the owner of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A lease; a keeper may extend it, too.
    Bind(Claim),
    /// This client gives its lease back.
    Release(Mac),
    /// This client found its address in use.
    Decline(Mac),
    /// A foreign user was seen at an address that nobody has.
    Conflict,
}

/// Where a question is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Owner,
    Keeper,
    /// All were asked; a late answer still counts.
    Late,
}

/// A question to other hosts.
#[derive(Debug)]
pub(super) struct Question {
    origin: Origin,
    address: Address,
    wanted: Wanted,
    stage: Stage,
    began: Instant,
    deadline: Instant,
    asked: BTreeSet<HostId>,
    said_no: BTreeSet<HostId>,
}

impl Question {
    fn new(origin: Origin, address: Address, wanted: Wanted, now: Instant) -> Self {
        Self {
            origin,
            address,
            wanted,
            stage: Stage::Owner,
            began: now,
            deadline: now,
            asked: BTreeSet::new(),
            said_no: BTreeSet::new(),
        }
    }
}

impl Segment {
    /// Asks for a client: this host by a call if it owns the address, others by a message.
    pub(super) fn ask(&mut self, host: &mut Host, origin: Origin, address: Address, wanted: Wanted, now: Instant) {
        match self.owner_of(address) {
            Some(owner) if owner == host.me => self.ask_here(host, origin, address, wanted, now),
            owner => self.ask_others(host, Question::new(origin, address, wanted, now), owner, now),
        }
    }

    fn ask_here(&mut self, host: &mut Host, origin: Origin, address: Address, wanted: Wanted, now: Instant) {
        let owns = self.owns(host, address);
        match wanted {
            Wanted::Bind(claim) => {
                let (asker, since) = (Asker::Here(origin), now);
                return self.claim(host, address, Waiter { asker, claim, since }, now);
            }
            Wanted::Release(client) if owns => self.release(address, client, now),
            Wanted::Decline(client) if owns => self.decline(host, address, Some(client), now),
            Wanted::Conflict if owns => self.decline(host, address, None, now),
            Wanted::Release(_) | Wanted::Decline(_) | Wanted::Conflict => {}
        }
        let answer = if owns { Answer::Done } else { Answer::TOO_LATE };
        let after = self.after(address);
        self.answer(host, (origin, address, None), answer, after, now);
    }

    /// Puts a question to other hosts, to the owner first if somebody knows it.
    fn ask_others(&mut self, host: &mut Host, question: Question, owner: Option<HostId>, now: Instant) {
        let id = host.random();
        self.at_time(question.began + ANSWER_LIFE, Timer::Question(id));
        self.questions.insert(id, question);
        match owner {
            Some(owner) => self.put_question(host, id, owner, now),
            None => self.ask_keeper(host, id, now),
        }
    }

    /// Who owns an address, as far as is known here.
    pub(super) fn owner_of(&self, address: Address) -> Option<HostId> {
        let state = self.at(address);
        let told = || {
            self.shares
                .values()
                .flat_map(|share| share.ranges.iter().map(move |run| (run, share.owner)))
                .filter(|(run, _)| run.range.contains(address))
                .max_by_key(|(run, _)| run.epoch)
        };
        match state.owner {
            Some(owner) => Some(owner),
            None => told().map(|(_, owner)| owner),
        }
    }

    fn put_question(&mut self, host: &mut Host, id: u64, to: HostId, now: Instant) {
        let Some(question) = self.questions.get_mut(&id) else {
            return;
        };
        question.asked.insert(to);
        if !host.hears(to) {
            return self.next_stage(host, id, now);
        }
        let ask = match &question.wanted {
            Wanted::Bind(claim) => Ask::Bind(claim.clone()),
            &(Wanted::Release(client) | Wanted::Decline(client)) => Ask::Nonce { client },
            Wanted::Conflict => Ask::Conflict,
        };
        self.send_question(host, id, to, ask, now);
    }

    fn send_question(&mut self, host: &mut Host, id: u64, to: HostId, ask: Ask, now: Instant) {
        let Some(question) = self.questions.get_mut(&id) else {
            return;
        };
        question.deadline = now + ASK;
        let message = Message::Ask {
            id,
            segment: self.id,
            address: question.address,
            ask,
        };
        host.disk.send(to, message, 0, now);
        self.at_time(now + ASK, Timer::Question(id));
    }

    /// The one that was asked did not answer, or cannot say.
    fn next_stage(&mut self, host: &mut Host, id: u64, now: Instant) {
        match self.questions.get(&id).map(|question| question.stage) {
            Some(Stage::Owner) => self.ask_keeper(host, id, now),
            Some(Stage::Keeper | Stage::Late) => self.give_up(host, id, now),
            None => {}
        }
    }

    fn ask_keeper(&mut self, host: &mut Host, id: u64, now: Instant) {
        let Some(question) = self.questions.get_mut(&id) else {
            return;
        };
        question.stage = Stage::Keeper;
        let Wanted::Bind(claim) = &question.wanted else {
            return self.give_up(host, id, now);
        };
        let (address, client) = (question.address, claim.client);
        let (asked, denied) = (question.asked.clone(), !question.said_no.is_empty());
        if self.keeps_for(host, address, client) && self.allows(address, client) {
            return self.ask_keeper_here(host, id, now);
        }
        let told = self.known.get(&address).map(|(told, _)| told);
        let keeper = told
            .filter(|told| told.client == Some(client))
            .and_then(|told| told.keeper);
        if let Some(keeper) = keeper.filter(|&keeper| keeper != host.me) {
            return self.put_question(host, id, keeper, now);
        }
        // An owner that is out of reach may have died before it told anybody who keeps it: whoever does, knows.
        let others: Vec<HostId> = host
            .others()
            .filter(|other| !denied && host.can_keep(*other) && !asked.contains(other))
            .collect();
        if others.is_empty() {
            return self.give_up(host, id, now);
        }
        for other in others {
            self.put_question(host, id, other, now);
        }
    }

    fn ask_keeper_here(&mut self, host: &mut Host, id: u64, now: Instant) {
        let Some(question) = self.questions.remove(&id) else {
            return;
        };
        if let Wanted::Bind(claim) = question.wanted {
            let waiter = Waiter {
                asker: Asker::Here(question.origin),
                claim,
                since: question.began,
            };
            self.grant_as_keeper(host, question.address, waiter, now);
        }
    }

    /// Nobody is left to be asked. Those that were and said nothing may still answer.
    fn give_up(&mut self, host: &mut Host, id: u64, now: Instant) {
        let Some(question) = self.questions.get_mut(&id) else {
            return;
        };
        question.stage = Stage::Late;
        let silent = question
            .asked
            .iter()
            .any(|asked| !question.said_no.contains(asked) && host.hears(*asked));
        if !silent || now.since(question.began) >= ANSWER_LIFE {
            self.close(host, id, Answer::TOO_LATE, now);
        }
    }

    /// A question's time is over, or the asked one's.
    pub(super) fn question_due(&mut self, host: &mut Host, id: u64, now: Instant) {
        let Some(question) = self.questions.get(&id) else {
            return;
        };
        if now.since(question.began) >= ANSWER_LIFE {
            self.close(host, id, Answer::TOO_LATE, now);
        } else if question.deadline <= now && question.stage != Stage::Late {
            self.next_stage(host, id, now);
        }
    }

    fn close(&mut self, host: &mut Host, id: u64, answer: Answer, now: Instant) {
        let Some(question) = self.questions.remove(&id) else {
            return;
        };
        let client = match question.wanted {
            Wanted::Bind(claim) => Some(claim.client),
            Wanted::Release(_) | Wanted::Decline(_) | Wanted::Conflict => None,
        };
        self.answer(host, (question.origin, question.address, client), answer, 0, now);
    }

    /// Answers whoever asked this host, once everything up to `after` is on disk. `client` is whose claim it was.
    fn answer(
        &mut self,
        host: &mut Host,
        (origin, address, client): (Origin, Address, Option<Mac>),
        answer: Answer,
        after: u64,
        now: Instant,
    ) {
        match (origin, client) {
            (Origin::Guest(token), _) => host.disk.answer(token, answer, after, now),
            (Origin::Brought, Some(client)) => self.brought(host, address, client, &answer),
            (Origin::Brought, None) => {}
        }
    }

    /// An owner or keeper says something to whoever claimed an address.
    ///
    /// What this host has to follow up waits for the end of the turn: the owner is in the middle of its own work.
    pub(super) fn reply(
        &mut self,
        host: &mut Host,
        address: Address,
        waiter: Waiter,
        reply: Reply,
        after: u64,
        now: Instant,
    ) {
        let token = match waiter.asker {
            Asker::There(to, id) => return host.disk.send(to, Message::Reply { id, reply }, after, now),
            Asker::Here(Origin::Brought) => return self.returned.push((address, waiter, reply)),
            Asker::Here(Origin::Guest(token)) => token,
        };
        let answer = match reply {
            Reply::Granted { lease_time, copies } => self.acknowledged(address, lease_time, copies),
            Reply::Taken => Answer::Nak,
            Reply::CannotSay { .. } => return self.returned.push((address, waiter, reply)),
            Reply::Nonce { .. } | Reply::Done => Answer::Done,
        };
        host.disk.answer(token, answer, after, now);
    }

    /// Follows up what this host, asked by itself, has answered.
    pub(super) fn take_back(&mut self, host: &mut Host, now: Instant) {
        while let Some((address, waiter, reply)) = self.returned.pop() {
            let late = waiter.is_late(now);
            let Waiter { asker, claim, since } = waiter;
            let Asker::Here(origin) = asker else { continue };
            match reply {
                Reply::CannotSay { owner } if !late => {
                    // Others are asked, who must not send it back here.
                    let mut question = Question::new(origin, address, Wanted::Bind(claim), since);
                    question.asked.insert(host.me);
                    question.said_no.insert(host.me);
                    self.ask_others(host, question, owner, now);
                }
                Reply::CannotSay { .. } => {
                    self.answer(host, (origin, address, Some(claim.client)), Answer::TOO_LATE, 0, now);
                }
                Reply::Granted { .. } => {
                    self.brought.remove(&address);
                }
                Reply::Taken => self.bring_in_vain(host, address, claim.client),
                Reply::Nonce { .. } | Reply::Done => {}
            }
        }
    }

    fn acknowledged(&self, address: Address, lease_time: Duration, copies: u32) -> Answer {
        Answer::Ack {
            address: address.ip(),
            lease_time,
            hostname: self.configured.reserved.get(&address).and_then(|r| r.hostname.clone()),
            copies,
        }
    }

    /// The answer to a question of this host.
    pub(super) fn handle_reply(&mut self, host: &mut Host, from: HostId, id: u64, reply: Reply, now: Instant) {
        let Some(question) = self.questions.get_mut(&id) else {
            return;
        };
        if !question.asked.contains(&from) || now.since(question.began) > ANSWER_LIFE {
            return;
        }
        match (reply, &question.wanted) {
            (Reply::Granted { lease_time, copies }, Wanted::Bind(_)) => {
                let address = question.address;
                let answer = self.acknowledged(address, lease_time, copies);
                self.close(host, id, answer, now);
            }
            (Reply::Taken, Wanted::Bind(_)) => self.close(host, id, Answer::Nak, now),
            (Reply::CannotSay { owner }, _) => {
                question.said_no.insert(from);
                let next = owner.filter(|owner| !question.asked.contains(owner) && question.stage == Stage::Owner);
                match next.filter(|&owner| owner != host.me) {
                    Some(owner) => self.put_question(host, id, owner, now),
                    None => self.next_stage(host, id, now),
                }
            }
            (Reply::Nonce { version, nonce }, &Wanted::Release(client)) => {
                self.send_question(host, id, from, Ask::Release { client, version, nonce }, now);
            }
            (Reply::Nonce { version, nonce }, &Wanted::Decline(client)) => {
                self.send_question(host, id, from, Ask::Decline { client, version, nonce }, now);
            }
            (Reply::Done, Wanted::Release(_) | Wanted::Decline(_) | Wanted::Conflict) => {
                self.close(host, id, Answer::Done, now);
            }
            (Reply::Granted { .. } | Reply::Taken | Reply::Nonce { .. } | Reply::Done, _) => {}
        }
    }

    /// Another host asks this one as owner or keeper.
    pub(super) fn handle_ask(
        &mut self,
        host: &mut Host,
        (from, id): (HostId, u64),
        address: Address,
        ask: Ask,
        now: Instant,
    ) {
        let reply = match ask {
            Ask::Bind(claim) => {
                let (asker, since) = (Asker::There(from, id), now);
                return self.claim(host, address, Waiter { asker, claim, since }, now);
            }
            _ if !self.owns(host, address) => Reply::CannotSay {
                owner: self.at(address).owner.filter(|&owner| owner != host.me),
            },
            Ask::Nonce { client } => self.nonce(host, address, client, now - NONCE_AFTER),
            Ask::Release { client, version, nonce } => {
                if self.is_lease(address, (client, version, nonce)) {
                    self.release(address, client, now);
                }
                Reply::Done
            }
            Ask::Decline { client, version, nonce } => {
                if self.is_lease(address, (client, version, nonce)) {
                    self.decline(host, address, Some(client), now);
                }
                Reply::Done
            }
            Ask::Conflict => {
                self.decline(host, address, None, now);
                Reply::Done
            }
        };
        host.disk
            .send(from, Message::Reply { id, reply }, self.after(address), now);
    }

    /// Whether a claim for a lease that was brought along is open, here or elsewhere.
    pub(super) fn asks_brought(&self, address: Address) -> bool {
        let work = self.live.get(&address).and_then(|live| live.work.as_ref());
        work.is_some_and(|work| {
            work.waiters
                .iter()
                .any(|waiter| waiter.asker == Asker::Here(Origin::Brought))
        }) || self
            .questions
            .values()
            .any(|question| question.origin == Origin::Brought && question.address == address)
    }

    /// A reservation that is settled is acknowledged without asking anybody.
    pub(super) fn settled(&self, address: Address, claim: &Claim) -> Option<Answer> {
        use crate::lease::LeaseState;
        let reservation = self
            .configured
            .reserved
            .get(&address)
            .filter(|r| r.client == claim.client)?;
        let (told, _) = self.known.get(&address)?;
        let pool = self.configured.pool.as_ref().filter(|_| self.is_current())?;
        let settled = told.state == LeaseState::Settled
            && told.client == Some(claim.client)
            && told.generation >= pool.generation;
        settled.then(|| Answer::Ack {
            address: address.ip(),
            lease_time: claim.lease_time.min(self.lease_time()),
            hostname: reservation.hostname.clone(),
            copies: told.copies,
        })
    }

    /// Why a client may not even ask for an address.
    pub(super) fn barred(&self, host: &Host, address: Address, claim: &Claim) -> Option<Silence> {
        if !host.serves() {
            return Some(Silence::NoPart);
        }
        if self.configured.pool.is_none() {
            return Some(Silence::NoPool);
        }
        (!self.allows(address, claim.client)).then_some(Silence::NotOffered)
    }
}
