//! The voter's side: whom this host lets hold or claim the group (rules 2, 3, 4 and 6 of `docs/protocol.md`).

use super::*;
use crate::election::message::{Named, VoteRefusal};

impl Group {
    /// The grant to another than `host`, while it binds.
    fn grant_beside(&self, host: HostId, now: Instant) -> Option<&Grant> {
        self.grant.as_ref().filter(|grant| grant.to != host && grant.binds(now))
    }

    /// The grant that binds, to whomever.
    pub(super) fn bound(&self, now: Instant) -> Option<&Grant> {
        self.grant.as_ref().filter(|grant| grant.binds(now))
    }

    /// Each message binds to the terms in its header, and frees from those that are not there any more.
    pub(in crate::election) fn hear_header(&mut self, from: HostId, host: &mut LocalHost, now: Instant) {
        let Some(peer) = host.peer(from) else { return };
        match peer.held(self.id).copied() {
            Some(held) => {
                self.highest = self.highest.max(held.term);
                if peer.reachable(now) && self.state.term().is_none() {
                    if self.bound(now).is_none_or(|grant| grant.to != from) {
                        self.touch();
                    }
                    self.give_up_claim(Cause::HeldByOther, host, now);
                    self.grant_holder(from, held.term, held.lasting, now);
                }
            }
            None => {
                if self
                    .grant
                    .as_ref()
                    .is_some_and(|grant| grant.to == from && grant.standing == Established::Holder)
                {
                    self.grant = None;
                    self.last_holder = Some(from);
                    self.touch();
                }
            }
        }
    }

    /// `Renew`: the holder asks for its next 5 s.
    pub(in crate::election) fn hear_renew(
        &mut self,
        from: HostId,
        (term, round, lasting): (Term, u64, Lasting),
        host: &mut LocalHost,
        now: Instant,
    ) {
        self.highest = self.highest.max(term);
        if !host.reachable(from, now) {
            host.tell(from, self.id, Says::Heard);
            return;
        }
        if let State::Holder(hold) = &self.state {
            let mine = Named {
                host: host.me,
                term: hold.term,
                standing: Established::Holder,
            };
            if (term, from) > (mine.term, mine.host) {
                self.step_down(None, Cause::Outranked, host, now);
            } else {
                self.refuse(from, term, VoteRefusal::Holder, Some(mine), host);
            }
            return;
        }
        self.give_up_claim(Cause::HeldByOther, host, now);
        match self.grant_holder(from, term, lasting, now) {
            None => host.tell(from, self.id, Says::RenewGranted { term, round }),
            Some(named) => self.refuse(from, term, VoteRefusal::Bound, Some(named), host),
        }
    }

    /// Binds to a holder, unless a grant to another has the higher (term, host): that one is the answer.
    fn grant_holder(&mut self, to: HostId, term: Term, lasting: Lasting, now: Instant) -> Option<Named> {
        if let Some(other) = self
            .grant_beside(to, now)
            .filter(|other| (other.term, other.to) > (term, to))
        {
            return Some(other.named());
        }
        let until = match lasting {
            Lasting::Limited => Some(now + timing::GRANT),
            Lasting::Endless => None,
        };
        self.grant = Some(Grant {
            to,
            term,
            until,
            standing: Established::Holder,
        });
        self.last_holder = Some(to);
        self.vacant = None;
        None
    }

    /// A new voter may not know of the holder yet: it is bound as if it had just granted.
    pub(super) fn bind_new_voter(&mut self, holder: HostId, term: Term, host: &LocalHost, now: Instant) {
        self.highest = self.highest.max(term);
        if self.state.term().is_none() && self.bound(now).is_none() && self.in_order(holder) && !host.dead(holder) {
            let until = Some(now + timing::QUIET);
            self.grant = Some(Grant {
                to: holder,
                term,
                until,
                standing: Established::Holder,
            });
            self.last_holder = Some(holder);
        }
    }

    /// `Ask`: a claimant wants the group.
    pub(in crate::election) fn hear_ask(
        &mut self,
        from: HostId,
        (term, sent, key): (Term, u64, Key),
        host: &mut LocalHost,
        now: Instant,
    ) {
        self.highest = self.highest.max(term);
        if let Some(mine) = self.state.term() {
            let named = Named {
                host: host.me,
                term: mine,
                standing: Established::Holder,
            };
            self.refuse(from, term, VoteRefusal::Holder, Some(named), host);
            return;
        }
        if self.quiet() {
            let named = self.grant_beside(from, now).map(Grant::named);
            self.refuse(from, term, VoteRefusal::Quiet, named, host);
            return;
        }
        if let State::Claimant(claim) = &self.state {
            let named = Named {
                host: host.me,
                term: claim.term,
                standing: Established::Claim,
            };
            if self.own_key(host).is_some_and(|own| own < key) {
                self.refuse(from, term, VoteRefusal::BetterClaimant, Some(named), host);
                return;
            }
            self.give_up_claim(Cause::ClaimedByBetter, host, now);
        }
        if let Some(named) = self.grant_beside(from, now).map(Grant::named) {
            self.refuse(from, term, VoteRefusal::Bound, Some(named), host);
            return;
        }
        let until = Some(now + timing::CLAIM_GRANT);
        self.grant = Some(Grant {
            to: from,
            term,
            until,
            standing: Established::Claim,
        });
        host.tell(from, self.id, Says::ClaimGranted { term, sent });
    }

    /// `Yield`: every grant to its sender of that term or lower ends; a successor's place is kept.
    pub(in crate::election) fn hear_yield(
        &mut self,
        from: HostId,
        (term, successor): (Term, Option<HostId>),
        host: &mut LocalHost,
        now: Instant,
    ) {
        let known = self.yielded.entry(from).or_insert(term);
        *known = (*known).max(term);
        if self
            .grant
            .as_ref()
            .is_some_and(|grant| grant.to == from && grant.term <= term)
        {
            self.grant = None;
        }
        let Some(successor) = successor else { return };
        self.last_holder = Some(from);
        if successor == host.me {
            self.succeed(host, now);
        } else if self.state.term().is_none() && self.bound(now).is_none() {
            self.give_up_claim(Cause::KeptForSuccessor, host, now);
            self.keep_place(successor, term, now);
        }
    }

    /// Keeps the group free for a successor.
    pub(super) fn keep_place(&mut self, successor: HostId, term: Term, now: Instant) {
        let until = Some(now + timing::CLAIM_GRANT);
        self.grant = Some(Grant {
            to: successor,
            term,
            until,
            standing: Established::Claim,
        });
    }

    /// Whether a host is known to hold nothing of `term` or lower: it said so, and has not been silent since.
    pub(super) fn holds_nothing(&self, of: HostId, term: Term, host: &LocalHost, now: Instant) -> bool {
        self.yielded.get(&of).is_some_and(|yielded| *yielded >= term)
            || host
                .peer(of)
                .is_some_and(|peer| peer.reachable(now) && peer.held(self.id).is_none())
    }

    fn refuse(&self, to: HostId, term: Term, why: VoteRefusal, named: Option<Named>, host: &mut LocalHost) {
        let key = self.own_key(host);
        host.tell(to, self.id, Says::Refused { term, why, named, key });
    }

    /// A silent holder is pinged and probed; the grant to a dead one ends at once.
    pub(super) fn on_tick_grant(&mut self, pass: Pass, host: &mut LocalHost, now: Instant) {
        let Some(grant) = &self.grant else { return };
        let to = grant.to;
        if !grant.binds(now) || host.dead(to) {
            self.grant = None;
            return;
        }
        if grant.standing == Established::Claim {
            return;
        }
        let silence = host.silence(to, now);
        if silence < timing::SUSPECT {
            let left = timing::SUSPECT.saturating_sub(silence);
            host.schedule(now + left, ElectionTimer::Watch);
            return;
        }
        host.watch(to, Watch::SuspectedHolder);
        if pass == Pass::Beat {
            host.ping(to, now);
        }
    }
}
