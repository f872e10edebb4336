//! Who is in the group: joining, leaving, voters, and groups that merge or split.

use super::*;

impl Group {
    /// Takes over who is in the group. `found`: addresses in the kernel at start, with the first view only.
    pub(in crate::election) fn set_view(
        &mut self,
        view: &GroupView,
        found: &[FoundAddress],
        first: First,
        host: &mut LocalHost,
        now: Instant,
    ) {
        self.segments.clone_from(&view.segments);
        self.order = view
            .hosts
            .iter()
            .filter_map(|&other| host.host(other).map(|seen| order::rank(self.id, other, &seen)))
            .collect();
        self.order.sort();
        self.fitness = view
            .hosts
            .iter()
            .map(|&other| {
                let is = if view.lacking.contains(&other) {
                    Fitness::Lacking
                } else {
                    Fitness::Whole
                };
                let known = self.fitness.get(&other).filter(|(was, _)| *was == is);
                (other, known.copied().unwrap_or((is, now)))
            })
            .collect();
        if self.vote == Vote::Outsider {
            self.quiet = Some(now);
        }
        let before = self.vote;
        self.choose_voters(host, now);
        let bound = first == First::Later && before != Vote::Voter && self.vote == Vote::Voter;
        if let Some((holder, term)) = view.known_holder.filter(|(holder, _)| bound && *holder != host.me) {
            self.bind_new_voter(holder, term, host, now);
        }
        if let Some(found) = self.found(found) {
            self.resume(found, host, now);
        }
    }

    /// Leaves the group: its segments are gone, or this host is not meant any more, or was removed.
    pub(in crate::election) fn leave(&mut self, host: &mut LocalHost, now: Instant) {
        if self.vote == Vote::Outsider {
            return;
        }
        self.drop_claim(host);
        let cause = if host.present() {
            Cause::LeftGroup
        } else {
            Cause::Removed
        };
        self.step_down(None, cause, host, now);
        self.vote = Vote::Outsider;
        self.voters.clear();
    }

    /// Who votes may change with time alone, where there are more than seven.
    pub(super) fn choose_voters(&mut self, host: &mut LocalHost, now: Instant) {
        let voters = order::voters(&self.order, |other| host.lost(other, now));
        let before = self.vote;
        self.vote = if voters.contains(&host.me) {
            Vote::Voter
        } else {
            Vote::Listener
        };
        self.voters = voters.into_iter().filter(|voter| *voter != host.me).collect();
        if before == Vote::Voter && self.vote == Vote::Listener {
            self.drop_claim(host);
        }
        if before == Vote::Listener
            && self.vote == Vote::Voter
            && let Some((holder, term)) = self.heard_holder(host, now)
        {
            self.bind_new_voter(holder, term, host, now);
        }
    }

    /// Takes what another group knew, of which this one now has segments (`forward_to` changed). Terms and grants go
    /// along; between two holders the higher term decides as soon as one hears the other.
    pub(in crate::election) fn absorb(&mut self, other: &Group, now: Instant) {
        self.highest = self.highest.max(other.highest);
        for (&host, &term) in &other.yielded {
            let known = self.yielded.entry(host).or_insert(term);
            *known = (*known).max(term);
        }
        self.grant = match (self.grant.take(), other.grant.clone()) {
            (Some(mine), Some(theirs)) => Some(if theirs.outranks(&mine, now) { theirs } else { mine }),
            (mine, theirs) => mine.or(theirs),
        };
        self.last_holder = self.last_holder.or(other.last_holder);
        self.quiet = self.quiet.max(other.quiet);
        if other.state.term() > self.state.term() {
            self.state = other.state.clone();
        }
        if let State::Claimant(_) = self.state {
            self.state = State::Follower;
        }
        if self.state.term().is_some() {
            self.grant = None;
        }
    }
}
