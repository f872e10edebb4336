//! The holder's side: rounds, deadlines, stepping down, and finding one's own address after a restart (rules 1 and 8
//! of `docs/protocol.md`).

use super::state::{Hold, Round, SteppingDown};
use super::*;
use crate::election::effect::AddressEvent;
use crate::election::message::{Named, VoteRefusal};

impl Group {
    /// A claim is won: the address is set at once, the first round begins.
    pub(super) fn win(&mut self, term: Term, begun: Instant, host: &mut LocalHost, now: Instant) {
        self.grant = None;
        self.last_holder = None;
        self.state = State::Holder(Hold {
            term,
            until: Some(begun + timing::HOLD),
            round: None,
            next_round: now.as_millis(),
            address: Lasting::Limited,
            written: None,
            hand_over: None,
            unready: BTreeSet::new(),
            next_hand_over: None,
        });
        self.renew(host, now);
        self.complete_round(host, now);
        let State::Holder(hold) = &self.state else { return };
        if hold.written.is_none() {
            self.set_address(Lasting::Limited, host, now);
        }
    }

    /// Has the address set, or its lifetime renewed.
    fn set_address(&mut self, lasting: Lasting, host: &mut LocalHost, now: Instant) {
        let State::Holder(hold) = &mut self.state else { return };
        hold.address = lasting;
        hold.written = Some(now);
        let term = hold.term;
        let lifetime = match lasting {
            Lasting::Limited => Some(timing::LIFETIME),
            Lasting::Endless => None,
        };
        host.effects.push_back(Effect::SetAddress {
            group: self.id,
            term,
            lifetime,
        });
    }

    /// The address was still in the kernel at start, all of it or some.
    pub(super) fn found(&self, found: &[FoundAddress]) -> Option<FoundAddress> {
        let mut ours = found.iter().filter(|found| self.segments.contains(&found.segment));
        let mut all = *ours.next()?;
        for one in ours {
            all.term = all.term.max(one.term);
            all.remaining = match (all.remaining, one.remaining) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (limited, None) | (None, limited) => limited,
            };
        }
        Some(all)
    }

    /// Goes on holding after a restart, for what is left.
    pub(super) fn resume(&mut self, found: FoundAddress, host: &mut LocalHost, now: Instant) {
        self.highest = self.highest.max(found.term);
        self.grant = None;
        self.cause = Cause::Resumed;
        self.state = State::Holder(Hold {
            term: found.term,
            until: found
                .remaining
                .map(|remaining| now + remaining.saturating_sub(timing::KERNEL_SECOND)),
            round: None,
            next_round: now.as_millis(),
            address: if found.remaining.is_some() {
                Lasting::Limited
            } else {
                Lasting::Endless
            },
            written: None,
            hand_over: None,
            unready: BTreeSet::new(),
            next_hand_over: None,
        });
        self.check_hold(host, now);
    }

    /// Looks at the deadline: to be done before anything else.
    pub(in crate::election) fn check_hold(&mut self, host: &mut LocalHost, now: Instant) {
        let State::Holder(hold) = &self.state else { return };
        if hold.until.is_some_and(|until| until <= now) {
            self.step_down(None, Cause::Unconfirmed, host, now);
        }
    }

    /// Ends holding: address and services go off first; [`Group::address`] says the rest.
    pub(super) fn step_down(&mut self, successor: Option<HostId>, cause: Cause, host: &mut LocalHost, now: Instant) {
        let State::Holder(hold) = &self.state else { return };
        let gone = match hold.address {
            Lasting::Limited => Some(now + timing::LIFETIME + timing::KERNEL_SECOND),
            Lasting::Endless => None,
        };
        self.state = State::SteppingDown(SteppingDown {
            term: hold.term,
            lasting: hold.address,
            successor,
            asked: now,
            gone,
        });
        self.cause = cause;
        self.touch();
        host.effects.push_back(Effect::RemoveAddress { group: self.id });
    }

    /// What became of the address.
    pub(in crate::election) fn address(&mut self, event: AddressEvent, host: &mut LocalHost, now: Instant) {
        match (event, &self.state) {
            (AddressEvent::Failed, State::Holder(_)) => {
                self.step_down(None, Cause::AddressRefused, host, now);
                self.resting = now + timing::REST_UNABLE;
            }
            (AddressEvent::Removed, State::SteppingDown(_)) => self.stepped_down(host, now),
            (AddressEvent::Set | AddressEvent::Failed | AddressEvent::Removed, _) => {}
        }
    }

    /// The address is off: now the others may know.
    fn stepped_down(&mut self, host: &mut LocalHost, now: Instant) {
        let State::SteppingDown(down) = &self.state else { return };
        let (term, successor) = (down.term, down.successor);
        self.state = State::Follower;
        for rank in &self.order {
            host.tell(rank.host, self.id, Says::Yield { term, successor });
        }
        if let Some(successor) = successor.filter(|_| self.bound(now).is_none()) {
            self.keep_place(successor, term, now);
        }
    }

    /// `RenewGranted`.
    pub(in crate::election) fn hear_renew_granted(
        &mut self,
        from: HostId,
        (term, number): (Term, u64),
        host: &mut LocalHost,
        now: Instant,
    ) {
        let State::Holder(hold) = &mut self.state else { return };
        let Some(round) = hold
            .round
            .as_mut()
            .filter(|round| hold.term == term && round.number == number)
        else {
            return;
        };
        round.granted.insert(from);
        self.complete_round(host, now);
    }

    /// `Refused`, to `Ask` or `Renew`.
    pub(in crate::election) fn hear_refused(
        &mut self,
        from: HostId,
        (term, why, named): (Term, VoteRefusal, Option<Named>),
        host: &mut LocalHost,
        now: Instant,
    ) {
        if let Some(named) = named {
            self.highest = self.highest.max(named.term);
        }
        if let State::Holder(hold) = &self.state {
            let higher = named.filter(|named| {
                named.standing == Established::Holder
                    && named.host != host.me
                    && term == hold.term
                    && (named.term, named.host) > (hold.term, host.me)
            });
            if higher.is_some() {
                self.step_down(None, Cause::Outranked, host, now);
            }
            return;
        }
        self.hear_claim_refused(from, (term, why, named), host, now);
    }

    /// What the next grants are to be.
    fn wanted(&self, host: &LocalHost) -> Lasting {
        if self.contested(host) {
            Lasting::Limited
        } else {
            Lasting::Endless
        }
    }

    /// Sends `Renew` to every member, failed ones too, and to a rival; begins a round anew when it is complete or has taken too long.
    fn renew(&mut self, host: &mut LocalHost, now: Instant) {
        let wanted = self.wanted(host);
        let State::Holder(hold) = &mut self.state else { return };
        let over = hold
            .round
            .as_ref()
            .is_none_or(|round| now.since(round.begun) >= timing::ROUND || round.lasting != wanted);
        if over {
            let number = hold.next_round;
            hold.next_round += 1;
            hold.round = Some(Round {
                number,
                begun: now,
                lasting: wanted,
                granted: BTreeSet::new(),
            });
        }
        if wanted == Lasting::Limited && hold.until.is_none() {
            // Somebody may become candidate: from now on the address must be able to go by itself. Those that have
            // granted for ever are bound until they have heard this `Renew`, and 7 s from then.
            hold.until = Some(now + timing::HOLD);
            self.set_address(Lasting::Limited, host, now);
        }
        let State::Holder(hold) = &self.state else { return };
        let Some(round) = &hold.round else { return };
        let says = Says::Renew {
            term: hold.term,
            round: round.number,
            lasting: round.lasting,
        };
        self.tell_voters(host, says);
    }

    /// A round that every reachable member has granted extends the hold, from the round's beginning.
    fn complete_round(&mut self, host: &mut LocalHost, now: Instant) {
        let State::Holder(hold) = &mut self.state else { return };
        let Some(round) = &hold.round else { return };
        let complete = self
            .voters
            .iter()
            .all(|voter| round.granted.contains(voter) || !host.reachable(*voter, now) || host.dead(*voter));
        let early = self.quiet.is_some_and(|since| now.since(since) < timing::QUIET_HOLDER);
        if !complete || early {
            return;
        }
        let lasting = round.lasting;
        hold.until = match lasting {
            Lasting::Limited => hold.until.map(|until| until.max(round.begun + timing::HOLD)),
            Lasting::Endless => None,
        };
        hold.round = None;
        let due = match lasting {
            Lasting::Limited => hold.written.is_none_or(|written| now.since(written) >= timing::WRITE),
            Lasting::Endless => hold.written.is_none(),
        };
        if due || lasting != hold.address {
            self.set_address(lasting, host, now);
        }
    }

    /// Renews with each beat; asks again for a removal that is not reported.
    pub(super) fn on_tick_hold(&mut self, pass: Pass, host: &mut LocalHost, now: Instant) {
        match &mut self.state {
            State::Follower | State::Claimant(_) => {}
            State::Holder(hold) => {
                if let Some(until) = hold.until {
                    host.schedule(until, ElectionTimer::Hold);
                }
                if pass == Pass::Beat {
                    self.renew(host, now);
                }
                self.complete_round(host, now);
                for &voter in &self.voters {
                    if host.silence(voter, now) >= timing::DEAD_SILENCE {
                        host.watch(voter, Watch::Closely);
                    }
                }
            }
            State::SteppingDown(down) => {
                if down.gone.is_some_and(|gone| gone <= now) {
                    self.stepped_down(host, now);
                } else {
                    if now.since(down.asked) >= timing::REMOVE_AGAIN {
                        down.asked = now;
                        host.effects.push_back(Effect::RemoveAddress { group: self.id });
                    }
                    host.schedule(down.asked + timing::REMOVE_AGAIN, ElectionTimer::Hold);
                }
            }
        }
    }
}
