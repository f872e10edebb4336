//! The gateway's side: whom to ask for a client, in which order, and for how long.
//!
//! ```text
//!  Bind ─► owner (itself, or 300 ms by message) ─ out of reach ─► keeper (itself, or 300 ms) ─► silence
//!             └ granted: Ack · another client has it: Nak             └ granted: Ack
//!                                                       nobody told who that is: everybody is asked
//! ```
//! An answer counts for 5 s from the question.

use std::collections::BTreeSet;

use crate::id::{HostId, Mac};
use crate::range::Address;
use crate::time::Instant;

use super::host::Host;
use super::message::{Ask, Claim, Message, Reply};
use super::request::{Answer, Silence};
use super::segment::{Segment, Timer};
use super::timing::{ANSWER_LIFE, ASK, NONCE_AFTER};

/// Whoever wants something of an owner or keeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// A question of this host's gateway.
    Here(u64),
    /// Another host's.
    There(HostId, u64),
}

/// Where a question is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Owner,
    Keeper,
    /// All were asked; a late answer still counts.
    Late,
}

/// For whom a question is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A request of the local DHCP server, by its token.
    Guest(u64),
    /// A lease that this host brought along from a cluster of its own.
    Brought,
}

/// What a nonce is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FollowUp {
    Nothing,
    Release,
    Decline,
}

/// A question under way.
#[derive(Debug)]
pub(super) struct Question {
    whom: Origin,
    address: Address,
    ask: Ask,
    then: FollowUp,
    stage: Stage,
    began: Instant,
    deadline: Instant,
    asked: BTreeSet<HostId>,
    said_no: BTreeSet<HostId>,
}

impl Segment {
    /// Asks for a client.
    pub(super) fn ask(
        &mut self,
        host: &mut Host,
        whom: Origin,
        address: Address,
        (ask, then): (Ask, FollowUp),
        now: Instant,
    ) {
        let id = host.random();
        let question = Question {
            whom,
            address,
            ask,
            then,
            stage: Stage::Owner,
            began: now,
            deadline: now + ASK,
            asked: BTreeSet::new(),
            said_no: BTreeSet::new(),
        };
        self.questions.insert(id, question);
        self.at_time(now + ANSWER_LIFE, Timer::Question(id));
        match self.owner_of(address) {
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
        question.deadline = now + ASK;
        let (address, ask) = (question.address, question.ask.clone());
        if to == host.me {
            self.handle_ask(host, Asker::Here(id), address, ask, now);
        } else if host.hears(to) {
            host.disk.send(
                to,
                Message::Ask {
                    id,
                    segment: self.id,
                    address,
                    ask,
                },
                0,
                now,
            );
        } else {
            return self.next_stage(host, id, now);
        }
        if let Some(question) = self.questions.get(&id) {
            self.at_time(question.deadline, Timer::Question(id));
        }
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
        let (address, client) = match &question.ask {
            Ask::Bind(claim) => (question.address, claim.client),
            Ask::Nonce { .. } | Ask::Release { .. } | Ask::Decline { .. } | Ask::Conflict => {
                return self.give_up(host, id, now);
            }
        };
        let (asked, denied) = (question.asked.clone(), !question.said_no.is_empty());
        if let Some(keeper) = self.keeper_of(host, address, client) {
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

    fn keeper_of(&self, host: &Host, address: Address, client: Mac) -> Option<HostId> {
        if self.keeps(host, address) && self.at(address).record.client() == Some(client) {
            return Some(host.me);
        }
        let (told, _) = self.known.get(&address)?;
        told.keeper
            .filter(|&keeper| told.client == Some(client) && keeper != host.me)
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
            .any(|asked| !question.said_no.contains(asked) && host.hears(*asked))
            || question.asked.contains(&host.me) && !question.said_no.contains(&host.me);
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
        match question.whom {
            Origin::Guest(token) => host.disk.answer(token, answer, 0, now),
            Origin::Brought => self.brought(host, question.address, &question.ask, &answer, now),
        }
    }

    /// An owner or keeper says something to whoever asked.
    pub(super) fn reply(&mut self, host: &mut Host, asker: Asker, reply: Reply, after: u64, now: Instant) {
        match asker {
            Asker::There(to, id) => host.disk.send(to, Message::Reply { id, reply }, after, now),
            Asker::Here(id) => {
                let me = host.me;
                self.handle_reply(host, me, id, reply, after, now);
            }
        }
    }

    /// The answer to a question of this host.
    pub(super) fn handle_reply(
        &mut self,
        host: &mut Host,
        from: HostId,
        id: u64,
        reply: Reply,
        after: u64,
        now: Instant,
    ) {
        let Some(question) = self.questions.get_mut(&id) else {
            return;
        };
        if !question.asked.contains(&from) || now.since(question.began) > ANSWER_LIFE {
            return;
        }
        let address = question.address;
        match (reply, &question.ask) {
            (Reply::Granted { lease_time, copies }, Ask::Bind(_)) => {
                let hostname = self.configured.reserved.get(&address).and_then(|r| r.hostname.clone());
                let answer = Answer::Ack {
                    address: address.ip(),
                    lease_time,
                    hostname,
                    copies,
                };
                if let Origin::Guest(token) = question.whom {
                    self.questions.remove(&id);
                    host.disk.answer(token, answer, after, now);
                } else {
                    self.close(host, id, answer, now);
                }
            }
            (Reply::Taken, Ask::Bind(_)) => self.close(host, id, Answer::Nak, now),
            (Reply::CannotSay { owner }, _) => {
                question.said_no.insert(from);
                let next = owner.filter(|owner| !question.asked.contains(owner) && question.stage == Stage::Owner);
                match next {
                    Some(owner) => self.put_question(host, id, owner, now),
                    None => self.next_stage(host, id, now),
                }
            }
            (Reply::Nonce { version, nonce }, &Ask::Nonce { client }) => {
                question.ask = match question.then {
                    FollowUp::Release => Ask::Release { client, version, nonce },
                    FollowUp::Decline => Ask::Decline { client, version, nonce },
                    FollowUp::Nothing => return,
                };
                self.put_question(host, id, from, now);
            }
            (Reply::Done, Ask::Nonce { .. } | Ask::Release { .. } | Ask::Decline { .. } | Ask::Conflict) => {
                self.close(host, id, Answer::Done, now);
            }
            (Reply::Granted { .. } | Reply::Taken | Reply::Nonce { .. } | Reply::Done, _) => {}
        }
    }

    /// Somebody asks this host as owner or keeper.
    pub(super) fn handle_ask(&mut self, host: &mut Host, asker: Asker, address: Address, ask: Ask, now: Instant) {
        let reply = match ask {
            Ask::Bind(claim) => return self.claim(host, address, claim, asker, now),
            _ if !self.owns(host, address) => Reply::CannotSay {
                owner: self.at(address).owner.filter(|&owner| owner != host.me),
            },
            Ask::Nonce { client } => {
                let since = match asker {
                    Asker::Here(id) => self.questions.get(&id).map_or(now, |question| question.began),
                    Asker::There(..) => now - NONCE_AFTER,
                };
                self.nonce(host, address, client, since)
            }
            Ask::Release { client, version, nonce } => {
                self.release(host, address, (client, version, nonce), now);
                Reply::Done
            }
            Ask::Decline { client, version, nonce } => {
                if self.is_lease(host, address, (client, version, nonce)) {
                    self.decline(host, address, Some(client), now);
                }
                Reply::Done
            }
            Ask::Conflict => {
                self.decline(host, address, None, now);
                Reply::Done
            }
        };
        self.reply(host, asker, reply, self.after(address), now);
    }

    /// Whether a question about a lease that was brought along is open.
    pub(super) fn asks_brought(&self, address: Address) -> bool {
        self.questions
            .values()
            .any(|question| question.whom == Origin::Brought && question.address == address)
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
