//! The gateway's side: whom to ask for a client, in which order, and for how long.
//!
//! ```text
//!  Bind ─► owner: this host, by a call ─► Ack when a copy is stored · another client has it: Nak
//!             └── another, 300 ms ── out of reach ─► keeper: this host, by a call, or another, 300 ms ─► silence
//!                                                       nobody told who that is: everybody is asked
//! ```
//! An answer counts for 5 s from the question.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{HostId, Mac};
use crate::range::Address;
use crate::time::Instant;

use super::live::{Asker, Origin, Timer, Waiter};
use super::message::{Ask, Claim, Message, Reply};
use super::participation::Participation;
use super::request::{Answer, Wanted};
use super::store::AddressStore;
use super::timing::{ANSWER_LIFE, ASK};
use super::{ending, listing, owner, reply};

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
    pub(super) origin: Origin,
    pub(super) address: Address,
    wanted: Wanted,
    stage: Stage,
    began: Instant,
    deadline: Instant,
    asked: BTreeSet<HostId>,
    said_no: BTreeSet<HostId>,
}

/// A guest waits until somebody lends addresses.
#[derive(Debug)]
pub(super) struct Search {
    pub(super) token: u64,
    pub(super) client: Mac,
    pub(super) wish: Option<Address>,
    pub(super) until: Instant,
}

/// What the gateway of this host has asked and not been answered.
#[derive(Debug, Default)]
pub(super) struct Requests {
    pub(super) questions: BTreeMap<u64, Question>,
    pub(super) searches: BTreeMap<u64, Search>,
    /// What a client declined here last, and when: it is not offered that again while its owner has not heard of it.
    pub(super) declined_by: BTreeMap<Mac, (Address, Instant)>,
    /// When this host last said that nothing is free.
    pub(super) complained: Option<Instant>,
    /// Leases that this host brought along and whose owners have not answered.
    pub(super) brought: BTreeMap<Address, Claim>,
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

impl Requests {
    /// Whether this is the number of a question that is open.
    pub(super) fn has_asked(&self, id: u64) -> bool {
        self.questions.contains_key(&id)
    }

    /// How many leases that this host brought wait for their owners' word.
    pub(super) fn brought(&self) -> usize {
        self.brought.len()
    }

    /// Asks for a client: this host by a call if it owns the address, others by a message.
    pub(super) fn ask(
        &mut self,
        store: &mut AddressStore,
        host: &mut Participation,
        origin: Origin,
        address: Address,
        wanted: Wanted,
        now: Instant,
    ) {
        let question = Question::new(origin, address, wanted, now);
        match listing::owner_of(store, address) {
            Some(owner) if owner == host.me => self.ask_here(store, host, question, now),
            owner => self.ask_others(store, host, question, owner, now),
        }
    }

    fn ask_here(&mut self, store: &mut AddressStore, host: &mut Participation, question: Question, now: Instant) {
        let (origin, address) = (question.origin, question.address);
        let owns = store.owns(host, address);
        match question.wanted {
            Wanted::Bind(claim) => {
                let (asker, since) = (Asker::Here(origin), question.began);
                return owner::claim(store, host, address, Waiter { asker, claim, since }, now);
            }
            Wanted::Release(client) if owns => ending::release(store, address, client, now),
            Wanted::Decline(client) if owns => ending::decline(store, host, address, Some(client), now),
            Wanted::Conflict if owns => ending::decline(store, host, address, None, now),
            Wanted::Revoke(client, version) if owns => {
                let said = ending::revoke(store, host, address, (client, version), now);
                let answer = if said == Reply::Done {
                    Answer::Done
                } else {
                    Answer::TOO_LATE
                };
                let after = store.after(address);
                return self.answer(store, host, (origin, address, None), answer, after, now);
            }
            Wanted::Release(_) | Wanted::Decline(_) | Wanted::Conflict | Wanted::Revoke(..) => {}
        }
        let answer = if owns { Answer::Done } else { Answer::TOO_LATE };
        let after = store.after(address);
        self.answer(store, host, (origin, address, None), answer, after, now);
    }

    /// Puts a question to other hosts, to the owner first if somebody knows it.
    fn ask_others(
        &mut self,
        store: &mut AddressStore,
        host: &mut Participation,
        question: Question,
        owner: Option<HostId>,
        now: Instant,
    ) {
        let id = host.random();
        store.at_time(question.began + ANSWER_LIFE, Timer::Question(id));
        self.questions.insert(id, question);
        match owner {
            Some(owner) => self.put_question(store, host, id, owner, now),
            None => self.ask_keeper(store, host, id, now),
        }
    }

    fn put_question(&mut self, store: &mut AddressStore, host: &mut Participation, id: u64, to: HostId, now: Instant) {
        let Some(question) = self.questions.get_mut(&id) else {
            return;
        };
        question.asked.insert(to);
        if !host.hears(to) {
            return self.next_stage(store, host, id, now);
        }
        let ask = match &question.wanted {
            Wanted::Bind(claim) => Ask::Bind(claim.clone()),
            &(Wanted::Release(client) | Wanted::Decline(client)) => Ask::Nonce { client },
            Wanted::Conflict => Ask::Conflict,
            &Wanted::Revoke(client, version) => Ask::Revoke { client, version },
        };
        self.send_question(store, host, id, to, ask, now);
    }

    fn send_question(
        &mut self,
        store: &mut AddressStore,
        host: &mut Participation,
        id: u64,
        to: HostId,
        ask: Ask,
        now: Instant,
    ) {
        let Some(question) = self.questions.get_mut(&id) else {
            return;
        };
        question.deadline = now + ASK;
        let message = Message::Ask {
            id,
            segment: store.id,
            address: question.address,
            ask,
        };
        host.outbox.send(to, message, 0, now);
        store.at_time(now + ASK, Timer::Question(id));
    }

    /// The one that was asked did not answer, or cannot say.
    fn next_stage(&mut self, store: &mut AddressStore, host: &mut Participation, id: u64, now: Instant) {
        match self.questions.get(&id).map(|question| question.stage) {
            Some(Stage::Owner) => self.ask_keeper(store, host, id, now),
            Some(Stage::Keeper | Stage::Late) => self.give_up(store, host, id, now),
            None => {}
        }
    }

    fn ask_keeper(&mut self, store: &mut AddressStore, host: &mut Participation, id: u64, now: Instant) {
        let Some(question) = self.questions.get_mut(&id) else {
            return;
        };
        question.stage = Stage::Keeper;
        let Wanted::Bind(claim) = &question.wanted else {
            return self.give_up(store, host, id, now);
        };
        let (address, client) = (question.address, claim.client);
        let (asked, denied) = (question.asked.clone(), !question.said_no.is_empty());
        if owner::keeps_for(store, host, address, client) && store.allows(address, client) {
            return self.ask_keeper_here(store, host, id, now);
        }
        let told = store.known.get(&address).map(|(told, _)| told);
        let keeper = told
            .filter(|told| told.client == Some(client))
            .and_then(|told| told.keeper);
        if let Some(keeper) = keeper.filter(|&keeper| keeper != host.me) {
            return self.put_question(store, host, id, keeper, now);
        }
        // An owner that is out of reach may have died before it told anybody who keeps it: whoever does, knows.
        let others: Vec<HostId> = host
            .others()
            .filter(|other| !denied && host.can_keep(*other) && !asked.contains(other))
            .collect();
        if others.is_empty() {
            return self.give_up(store, host, id, now);
        }
        for other in others {
            self.put_question(store, host, id, other, now);
        }
    }

    fn ask_keeper_here(&mut self, store: &mut AddressStore, host: &mut Participation, id: u64, now: Instant) {
        let Some(question) = self.questions.remove(&id) else {
            return;
        };
        if let Wanted::Bind(claim) = question.wanted {
            let waiter = Waiter {
                asker: Asker::Here(question.origin),
                claim,
                since: question.began,
            };
            owner::grant_as_keeper(store, host, question.address, waiter, now);
        }
    }

    /// Nobody is left to be asked. Those that were and said nothing may still answer.
    fn give_up(&mut self, store: &mut AddressStore, host: &mut Participation, id: u64, now: Instant) {
        let Some(question) = self.questions.get_mut(&id) else {
            return;
        };
        question.stage = Stage::Late;
        let silent = question
            .asked
            .iter()
            .any(|asked| !question.said_no.contains(asked) && host.hears(*asked));
        if !silent || now.since(question.began) >= ANSWER_LIFE {
            self.close(store, host, id, Answer::TOO_LATE, now);
        }
    }

    /// A question's time is over, or the asked one's.
    pub(super) fn question_due(&mut self, store: &mut AddressStore, host: &mut Participation, id: u64, now: Instant) {
        let Some(question) = self.questions.get(&id) else {
            return;
        };
        if now.since(question.began) >= ANSWER_LIFE {
            self.close(store, host, id, Answer::TOO_LATE, now);
        } else if question.deadline <= now && question.stage != Stage::Late {
            self.next_stage(store, host, id, now);
        }
    }

    fn close(&mut self, store: &mut AddressStore, host: &mut Participation, id: u64, answer: Answer, now: Instant) {
        let Some(question) = self.questions.remove(&id) else {
            return;
        };
        let client = match question.wanted {
            Wanted::Bind(claim) => Some(claim.client),
            Wanted::Release(_) | Wanted::Decline(_) | Wanted::Conflict | Wanted::Revoke(..) => None,
        };
        self.answer(store, host, (question.origin, question.address, client), answer, 0, now);
    }

    /// Answers whoever asked this host, once everything up to `after` is on disk. `client` is whose claim it was.
    fn answer(
        &mut self,
        store: &mut AddressStore,
        host: &mut Participation,
        (origin, address, client): (Origin, Address, Option<Mac>),
        answer: Answer,
        after: u64,
        now: Instant,
    ) {
        match (origin, client) {
            (Origin::Guest(token), _) => host.outbox.answer(token, answer, after, now),
            (Origin::Brought, Some(client)) => self.handle_brought(store, host, address, client, &answer),
            (Origin::Brought, None) => {}
        }
    }

    /// Follows up what this host, asked by itself, has answered.
    pub(super) fn take_back(&mut self, store: &mut AddressStore, host: &mut Participation, now: Instant) {
        while let Some((address, waiter, reply)) = store.returned.pop() {
            let late = waiter.is_late(now);
            let Waiter { asker, claim, since } = waiter;
            let Asker::Here(origin) = asker else { continue };
            match reply {
                Reply::CannotSay { owner } if !late => {
                    // Others are asked, who must not send it back here.
                    let mut question = Question::new(origin, address, Wanted::Bind(claim), since);
                    question.asked.insert(host.me);
                    question.said_no.insert(host.me);
                    self.ask_others(store, host, question, owner, now);
                }
                Reply::CannotSay { .. } => {
                    self.answer(
                        store,
                        host,
                        (origin, address, Some(claim.client)),
                        Answer::TOO_LATE,
                        0,
                        now,
                    );
                }
                Reply::Granted { .. } => {
                    self.brought.remove(&address);
                }
                Reply::Taken => self.bring_in_vain(store, host, address, claim.client),
                Reply::Nonce { .. } | Reply::Done => {}
            }
        }
    }

    /// The answer to a question of this host.
    pub(super) fn handle_reply(
        &mut self,
        store: &mut AddressStore,
        host: &mut Participation,
        from: HostId,
        id: u64,
        reply: Reply,
        now: Instant,
    ) {
        let Some(question) = self.questions.get_mut(&id) else {
            return;
        };
        if !question.asked.contains(&from) || now.since(question.began) > ANSWER_LIFE {
            return;
        }
        match (reply, &question.wanted) {
            (Reply::Granted { lease_time, copies }, Wanted::Bind(_)) => {
                let address = question.address;
                let answer = reply::acknowledged(store, address, lease_time, copies);
                self.close(store, host, id, answer, now);
            }
            (Reply::Taken, Wanted::Bind(_)) => self.close(store, host, id, Answer::Nak, now),
            (Reply::CannotSay { owner }, _)
                if owner == Some(host.me)
                    && store.owns(host, question.address)
                    && !question.said_no.contains(&host.me) =>
            {
                // The question crossed the giving of the address to this host.
                if let Some(question) = self.questions.remove(&id) {
                    self.ask_here(store, host, question, now);
                }
            }
            (Reply::CannotSay { owner }, _) => {
                question.said_no.insert(from);
                let next = owner.filter(|owner| !question.asked.contains(owner) && question.stage == Stage::Owner);
                match next.filter(|&owner| owner != host.me) {
                    Some(owner) => self.put_question(store, host, id, owner, now),
                    None => self.next_stage(store, host, id, now),
                }
            }
            (Reply::Nonce { version, nonce }, &Wanted::Release(client)) => {
                self.send_question(store, host, id, from, Ask::Release { client, version, nonce }, now);
            }
            (Reply::Nonce { version, nonce }, &Wanted::Decline(client)) => {
                self.send_question(store, host, id, from, Ask::Decline { client, version, nonce }, now);
            }
            (Reply::Done, Wanted::Release(_) | Wanted::Decline(_) | Wanted::Conflict | Wanted::Revoke(..)) => {
                self.close(store, host, id, Answer::Done, now);
            }
            (Reply::Granted { .. } | Reply::Taken | Reply::Nonce { .. } | Reply::Done, _) => {}
        }
    }
}
