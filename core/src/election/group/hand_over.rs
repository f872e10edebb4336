//! The planned end of a hold: `gateway move`, `drain`, a lost uplink (rule 9 of `docs/protocol.md`).
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
                if !self.fit(to, host, now) {
                    return Err(MoveError::Unreachable(to));
                }
                to
            }
            None => self.best_successor(host, now, |_| true).ok_or(MoveError::NoSuccessor)?,
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
        match key.map(|key| key.rank.candidacy) {
            Some(ElectionCandidacy::Candidate) => Ok(()),
            Some(ElectionCandidacy::Drained) => Err(MoveError::Drained(other)),
            Some(ElectionCandidacy::Never) => Err(MoveError::NotCandidate(other)),
            None => Err(MoveError::NoVoter(other)),
        }
    }

    /// Whether that host could win a claim right away.
    fn fit(&self, other: HostId, host: &LocalHost, now: Instant) -> bool {
        self.may_take(other, host).is_ok()
            && host.reachable(other, now)
            && !host.dead(other)
            && host.silence(other, now) < timing::DEAD_SILENCE
    }

    fn best_successor(&self, host: &LocalHost, now: Instant, also: impl Fn(HostId) -> bool) -> Option<HostId> {
        let unready = |voter| matches!(&self.state, State::Holder(hold) if hold.unready.contains(&voter));
        self.voters
            .iter()
            .copied()
            .filter(|voter| self.fit(*voter, host, now) && also(*voter))
            .min_by_key(|voter| (unready(*voter), self.key(*voter, host)))
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
        let candidacy = host.host(host.me).map_or(ElectionCandidacy::Never, |own| own.candidacy);
        match candidacy {
            ElectionCandidacy::Candidate => {
                if !host.uplink_lost(now) {
                    return;
                }
                let steady = |other: HostId| {
                    host.uplink_steady(other, now)
                        && host
                            .host(other)
                            .is_some_and(|seen| seen.uplink == ElectionUplink::Works)
                };
                if let Some(to) = self.best_successor(host, now, steady) {
                    hold_next(&mut self.state, now + timing::UPLINK_MOVE);
                    self.begin_hand_over(to, Cause::UplinkFails, host, now);
                }
            }
            ElectionCandidacy::Drained => {
                if let Some(to) = self.best_successor(host, now, |_| true) {
                    self.begin_hand_over(to, Cause::Drained, host, now);
                }
            }
            ElectionCandidacy::Never => match self.best_successor(host, now, |_| true) {
                Some(to) => self.begin_hand_over(to, Cause::NoCandidate, host, now),
                None => self.step_down(None, Cause::NoCandidate, host, now),
            },
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

fn hold_next(state: &mut State, at: Instant) {
    if let State::Holder(hold) = state {
        hold.next_hand_over = Some(at);
    }
}
