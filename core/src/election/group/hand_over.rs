//! The planned end of a hold: `gateway move`, `drain`, a lost uplink, something lacking (rule 9 of `docs/protocol.md`).
//!
//! ```text
//! holder                     successor                      others
//!   │ Prepare ──────────────────► │ all but the address        │
//!   │ ◄────────────────── Prepared│                            │
//!   │ address and services off    │                            │
//!   │ Yield{successor} ─────────► │ Ask ──────────────────────►│ keep the place for 1 s
//!   │ ◄──────────────────────── Ask                            │
//!   │ ClaimGranted ─────────────► │ ◄──────────── ClaimGranted │
//!   │                             │ address on                 │
//! ```

use super::state::{HandOver, Progress};
use super::*;
use crate::election::effect::{MoveError, Moving};
use crate::election::message::ElectionUplink;

impl Group {
    /// `gateway move`, on whichever host.
    pub(in crate::election) fn move_to(
        &mut self,
        to: Option<HostId>,
        host: &mut LocalHost,
        now: Instant,
    ) -> Result<Moving, MoveError> {
        if !matches!(self.state, State::Holder(_)) {
            let (holder, _) = self.holder(host, now).ok_or(MoveError::NoHolder)?;
            if to == Some(holder) {
                return Err(MoveError::AlreadyThere);
            }
            if let Some(to) = to {
                self.may_take(to, host)?;
            }
            host.tell(holder, self.id, Says::Move { to });
            return Ok(Moving::AskedOf(holder));
        }
        let to = match to {
            Some(to) if to == host.me => return Err(MoveError::AlreadyThere),
            Some(to) => {
                self.may_take(to, host)?;
                if !Self::could_win(to, host, now) {
                    return Err(MoveError::Unreachable(to));
                }
                to
            }
            None => self
                .best_successor(host, now, |key| self.may_take(key.rank.host, host).is_ok())
                .ok_or(MoveError::NoSuccessor)?,
        };
        self.begin_hand_over(to, Cause::Moved, host, now);
        Ok(Moving::To(to))
    }

    /// `Move`, from a host where an operator wants it; one that cannot be followed is dropped.
    pub(in crate::election) fn hear_move(&mut self, to: Option<HostId>, host: &mut LocalHost, now: Instant) {
        if let State::Holder(_) = self.state {
            // Whoever asked sees by the gateway that it did not move.
            let _: Result<Moving, MoveError> = self.move_to(to, host, now);
        }
    }

    /// Whether that host is one that gateways are moved to, heard or not.
    fn may_take(&self, other: HostId, host: &LocalHost) -> Result<(), MoveError> {
        let votes = other == host.me || self.voters.contains(&other);
        let key = self.key(other, host).filter(|_| votes);
        match key.map(|key| key.class()) {
            Some((Fitness::Whole, ElectionCandidacy::Candidate)) => Ok(()),
            Some((Fitness::Lacking, ElectionCandidacy::Candidate)) => Err(MoveError::Lacking(other)),
            Some((_, ElectionCandidacy::Drained | ElectionCandidacy::Departing)) => Err(MoveError::Drained(other)),
            Some((_, ElectionCandidacy::Never)) => Err(MoveError::NotCandidate(other)),
            None => Err(MoveError::NoVoter(other)),
        }
    }

    /// Whether that voter could win a claim right away.
    fn could_win(other: HostId, host: &LocalHost, now: Instant) -> bool {
        host.reachable(other, now) && !host.dead(other) && host.silence(other, now) < timing::DEAD_SILENCE
    }

    fn best_successor(&self, host: &LocalHost, now: Instant, also: impl Fn(&Key) -> bool) -> Option<HostId> {
        let unready = |voter| matches!(&self.state, State::Holder(hold) if hold.unready.contains(&voter));
        self.voters
            .iter()
            .filter(|voter| Self::could_win(**voter, host, now))
            .filter_map(|voter| self.key(*voter, host).filter(&also))
            .min_by_key(|key| (unready(key.rank.host), *key))
            .map(|key| key.rank.host)
    }

    /// Whom the gateway should go to although nobody ordered it, and why.
    fn due_successor(&self, own: &Key, host: &LocalHost, now: Instant) -> Option<(HostId, Cause)> {
        let eligible = |key: &Key| key.rank.candidacy < ElectionCandidacy::Departing;
        let steady = |key: &Key| self.has_been(Fitness::Whole, key.rank.host, timing::STEADY, now);
        let to = |also: &dyn Fn(&Key) -> bool| self.best_successor(host, now, |key| eligible(key) && also(key));
        let works = |key: &Key| {
            key.class() <= own.class() && key.uplink == ElectionUplink::Works && host.uplink_steady(key.rank.host, now)
        };
        let lacks = self.has_been(Fitness::Lacking, host.me, timing::FAULT_LASTS, now);
        let whole = lacks.then(|| to(&steady)).flatten();
        match (own.rank.candidacy, whole) {
            (ElectionCandidacy::Never, _) => Some((to(&|_| true)?, Cause::NoCandidate)),
            (ElectionCandidacy::Departing, _) => Some((to(&|_| true)?, Cause::Departing)),
            (ElectionCandidacy::Candidate | ElectionCandidacy::Drained, Some(to)) => Some((to, Cause::Lacking)),
            (ElectionCandidacy::Drained, None) => Some((to(&|key| key.class() < own.class())?, Cause::Drained)),
            (ElectionCandidacy::Candidate, None) if host.uplink_lost(now) => Some((to(&works)?, Cause::UplinkFails)),
            (ElectionCandidacy::Candidate, None) => None,
        }
    }

    fn begin_hand_over(&mut self, to: HostId, cause: Cause, host: &mut LocalHost, now: Instant) {
        let State::Holder(hold) = &mut self.state else { return };
        if hold.hand_over.as_ref().is_some_and(|under_way| under_way.to == to) {
            return;
        }
        hold.hand_over = Some(HandOver { to, begun: now, cause });
        let term = hold.term;
        host.tell(to, self.id, Says::Prepare { term });
    }

    /// Begins what is due by itself, asks again, gives up.
    pub(super) fn on_tick_hand_over(&mut self, pass: Pass, host: &mut LocalHost, now: Instant) {
        if self
            .preparation
            .as_ref()
            .is_some_and(|preparation| now.since(preparation.begun) >= timing::PREPARE)
        {
            self.preparation = None;
        }
        let State::Holder(hold) = &mut self.state else { return };
        if let Some(under_way) = &hold.hand_over {
            if now.since(under_way.begun) >= timing::PREPARE {
                hold.unready.insert(under_way.to);
                hold.hand_over = None;
                hold.next_hand_over = Some(now + timing::HAND_OVER_AGAIN);
            } else if pass == Pass::Beat {
                let (to, term) = (under_way.to, hold.term);
                host.tell(to, self.id, Says::Prepare { term });
            }
            return;
        }
        if pass == Pass::Between || hold.next_hand_over.is_some_and(|next| now < next) {
            return;
        }
        let Some(own) = self.key(host.me, host) else { return };
        match self.due_successor(&own, host, now) {
            Some((to, cause)) => {
                if let State::Holder(hold) = &mut self.state
                    && matches!(cause, Cause::UplinkFails | Cause::Lacking)
                {
                    hold.next_hand_over = Some(now + timing::FAULT_MOVE);
                }
                self.begin_hand_over(to, cause, host, now);
            }
            None if own.rank.candidacy == ElectionCandidacy::Never => {
                self.step_down(None, Cause::NoCandidate, host, now);
            }
            None => {}
        }
    }

    /// `Prepare`, from the holder.
    pub(in crate::election) fn hear_prepare(&mut self, from: HostId, term: Term, host: &mut LocalHost, now: Instant) {
        let known = self
            .preparation
            .as_ref()
            .filter(|known| known.holder == from && known.term == term);
        match known.map(|known| known.progress) {
            Some(Progress::Done) => host.tell(from, self.id, Says::Prepared { term }),
            Some(Progress::Asked) => {}
            None if self.vote == Vote::Voter && self.state.term().is_none() && self.own_key(host).is_some() => {
                self.preparation = Some(Preparation {
                    holder: from,
                    term,
                    begun: now,
                    progress: Progress::Asked,
                });
                host.effects.push_back(Effect::Prepare {
                    group: self.id,
                    holder: from,
                });
            }
            None => {}
        }
    }

    /// A rest between two claims counts, too: what a claim needs is not to come and go with each.
    pub(in crate::election) fn is_about_to_hold(&self, now: Instant) -> bool {
        let between_claims = now < self.resting && self.bound(now).is_none();
        self.preparation.is_some() || matches!(self.state, State::Claimant(_)) || between_claims
    }

    /// The edge has prepared everything but the address.
    pub(in crate::election) fn prepared(&mut self, host: &mut LocalHost) {
        if let Some(preparation) = &mut self.preparation {
            preparation.progress = Progress::Done;
            let (holder, term) = (preparation.holder, preparation.term);
            host.tell(holder, self.id, Says::Prepared { term });
        }
    }

    /// `Prepared`, from the successor: the address goes off, then it is told.
    pub(in crate::election) fn hear_prepared(&mut self, from: HostId, term: Term, host: &mut LocalHost, now: Instant) {
        let State::Holder(hold) = &self.state else { return };
        let Some(under_way) = hold
            .hand_over
            .as_ref()
            .filter(|under_way| under_way.to == from && hold.term == term)
        else {
            return;
        };
        let cause = under_way.cause;
        self.step_down(Some(from), cause, host, now);
    }
}
