//! The claimant's side: when to ask for the group, and when it is won or lost (rule 5 of `docs/protocol.md`).

use super::state::{Claim, Occasion};
use super::*;
use crate::election::message::{Named, VoteRefusal};

impl Group {
    /// Begins a claim when it is this host's turn.
    pub(super) fn consider_claim(&mut self, host: &mut LocalHost, now: Instant) {
        if !matches!(self.state, State::Follower) || self.vote != Vote::Voter || self.quiet() || now < self.resting {
            self.vacant = None;
            if matches!(self.state, State::Follower) && now < self.resting {
                host.schedule(self.resting, ElectionTimer::Watch);
            }
            return;
        }
        if self.bound(now).is_some() || self.somebody_holds(host, now) {
            self.vacant = None;
            return;
        }
        let Some(own) = self.own_key(host) else { return };
        let vacant = *self.vacant.get_or_insert(now);
        if let Some(last) = self.last_holder {
            self.watch_silent(last, host, now);
        }
        let mut better = 0;
        for &voter in &self.voters {
            let before = self
                .key(voter, host)
                .is_some_and(|key| key.rank.candidacy.is_eligible() && key < own);
            if before {
                self.watch_silent(voter, host, now);
                if !host.dead(voter) && !host.failed(voter, now) {
                    better += 1;
                }
            }
        }
        let turn = vacant + timing::STEP * better;
        if now >= turn {
            self.claim(Occasion::Vacancy, host, now);
        } else {
            host.schedule(turn.min(now + timing::PROBE), ElectionTimer::Watch);
        }
    }

    /// Whether anybody alive said lately that it holds the group.
    fn somebody_holds(&self, host: &LocalHost, now: Instant) -> bool {
        host.peers()
            .any(|(_, peer)| peer.held(self.id).is_some() && peer.reachable(now) && !peer.dead())
    }

    fn watch_silent(&self, other: HostId, host: &mut LocalHost, now: Instant) {
        if host.silence(other, now) >= timing::SUSPECT {
            host.watch(other, Watch::Closely);
        }
    }

    /// The last holder named this host its successor: it asks at once.
    pub(super) fn succeed(&mut self, host: &mut LocalHost, now: Instant) {
        let free =
            self.state.term().is_none() && self.vote == Vote::Voter && !self.quiet() && self.bound(now).is_none();
        if free && self.own_key(host).is_some() {
            self.drop_claim(host);
            self.claim(Occasion::Successor, host, now);
        }
    }

    fn claim(&mut self, occasion: Occasion, host: &mut LocalHost, now: Instant) {
        self.highest = Term(self.highest.0.saturating_add(1));
        self.vacant = None;
        self.grant = None;
        self.state = State::Claimant(Claim {
            term: self.highest,
            begun: now,
            asked: now,
            granted: BTreeSet::new(),
            failed: self
                .voters
                .iter()
                .copied()
                .filter(|voter| host.failed(*voter, now))
                .collect(),
            occasion,
        });
        self.cause = match (occasion, self.last_holder) {
            (Occasion::Successor, Some(by)) => Cause::HandedOver { by },
            (Occasion::Successor, None) | (Occasion::Vacancy, _) => Cause::FirstInOrder,
        };
        self.ask(host, now);
        self.on_tick_claim(host, now);
    }

    fn ask(&mut self, host: &mut LocalHost, now: Instant) {
        let Some(key) = self.own_key(host) else { return };
        let State::Claimant(claim) = &mut self.state else {
            return;
        };
        claim.asked = now;
        let says = Says::Ask {
            term: claim.term,
            sent: now.as_millis(),
            key,
        };
        self.tell_voters(host, says);
    }

    /// `ClaimGranted`.
    pub(in crate::election) fn hear_claim_granted(&mut self, from: HostId, term: Term, sent: u64) {
        let State::Claimant(claim) = &mut self.state else {
            return;
        };
        // An answer to a claim before this one, or from before a restart, says nothing.
        if claim.term == term && sent >= claim.begun.as_millis() {
            claim.granted.insert(from);
        }
    }

    /// `Refused`, to `Ask`.
    pub(super) fn hear_claim_refused(
        &mut self,
        from: HostId,
        (term, why, named): (Term, VoteRefusal, Option<Named>),
        host: &mut LocalHost,
        now: Instant,
    ) {
        let State::Claimant(claim) = &mut self.state else {
            return;
        };
        if claim.term != term {
            return;
        }
        claim.granted.remove(&from);
        let lost = match why {
            VoteRefusal::Holder | VoteRefusal::BetterClaimant => true,
            VoteRefusal::Bound | VoteRefusal::Quiet => named.is_some_and(|named| {
                named.standing == Established::Holder
                    && named.host != host.me
                    && !host.dead(named.host)
                    && !self.holds_nothing(named.host, named.term, host, now)
            }),
        };
        if lost {
            self.give_up_claim(Cause::ClaimRefused, host, now);
        }
    }

    /// Asks again, wins, or gives up.
    pub(super) fn on_tick_claim(&mut self, host: &mut LocalHost, now: Instant) {
        let State::Claimant(claim) = &self.state else { return };
        if self.own_key(host).is_none() {
            self.give_up_claim(Cause::NoCandidate, host, now);
            return;
        }
        let mut missing = false;
        for &voter in &self.voters {
            if claim.granted.contains(&voter) || host.dead(voter) {
                continue;
            }
            host.watch(voter, Watch::Closely);
            let heard = host.peer(voter).and_then(|peer| peer.heard());
            let silent = now.since(heard.unwrap_or(claim.begun).max(claim.begun));
            let gone = silent >= timing::CLAIM_SILENCE
                || (claim.failed.contains(&voter)
                    && heard.is_none_or(|heard| heard < claim.begun)
                    && silent >= timing::CLAIM_SILENCE_FAILED);
            missing |= !gone;
        }
        let lasted = now.since(claim.begun);
        let again = match claim.occasion {
            Occasion::Vacancy => timing::BEAT,
            Occasion::Successor => timing::SUCCESSOR_ASKS,
        };
        let due = claim.occasion == Occasion::Successor || lasted >= timing::CLAIM_AT_LEAST;
        if !missing && due {
            let (term, begun) = (claim.term, claim.begun);
            self.win(term, begun, host, now);
            return;
        }
        if lasted >= timing::CLAIM {
            self.give_up_claim(Cause::ClaimUnanswered, host, now);
            return;
        }
        if now.since(claim.asked) >= again {
            self.ask(host, now);
        }
        host.schedule(now + timing::PROBE, ElectionTimer::Watch);
    }

    /// Ends a claim: the grants for it are given back, and this host rests.
    pub(super) fn give_up_claim(&mut self, cause: Cause, host: &mut LocalHost, now: Instant) {
        if self.drop_claim(host) == Dropped::Claim {
            self.cause = cause;
            self.resting = now + host.rest();
        }
    }

    /// Ends a claim without a rest.
    pub(super) fn drop_claim(&mut self, host: &mut LocalHost) -> Dropped {
        let State::Claimant(claim) = &self.state else {
            return Dropped::Nothing;
        };
        let says = Says::Yield {
            term: claim.term,
            successor: None,
        };
        self.state = State::Follower;
        self.tell_voters(host, says);
        Dropped::Claim
    }
}

/// Whether there was a claim to drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dropped {
    Claim,
    Nothing,
}
