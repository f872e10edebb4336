//! What a group remembers at this host: its role, the grant that it gave, what is under way. Data alone; the files
//! beside this one act on it.

use std::collections::BTreeSet;

use crate::election::Cause;
use crate::election::message::{Established, Lasting, Named};
use crate::id::{HostId, Term};
use crate::time::Instant;

/// Whether this host has a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vote {
    /// It is one of the first seven.
    Voter,
    /// It follows what it hears.
    Listener,
    /// It is in no such group, as far as it knows; others may think otherwise and ask it.
    Outsider,
}

/// The role, with what it needs.
#[derive(Clone, Debug)]
pub(super) enum State {
    Follower,
    Claimant(Claim),
    Holder(Hold),
    SteppingDown(SteppingDown),
}

impl State {
    /// The term held, or just given up.
    pub(super) fn term(&self) -> Option<Term> {
        match self {
            State::Follower | State::Claimant(_) => None,
            State::Holder(hold) => Some(hold.term),
            State::SteppingDown(down) => Some(down.term),
        }
    }
}

/// An attempt to become gateway.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) term: Term,
    pub(super) begun: Instant,
    /// When it last asked.
    pub(super) asked: Instant,
    pub(super) granted: BTreeSet<HostId>,
    /// Members that had failed when it began.
    pub(super) failed: BTreeSet<HostId>,
    pub(super) occasion: Occasion,
}

/// On whose account a claim is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    /// Nobody holds the group, and nobody better seems alive.
    Vacancy,
    /// The last holder named this host.
    Successor,
}

/// The gateway, for now.
#[derive(Clone, Debug)]
pub(super) struct Hold {
    pub(super) term: Term,
    /// The end of the hold; `None`: endless, as the address.
    pub(super) until: Option<Instant>,
    pub(super) round: Option<Round>,
    /// The number of the next round.
    pub(super) next_round: u64,
    /// Whether the address in the kernel may be without lifetime.
    pub(super) address: Lasting,
    /// When the lifetime was last written.
    pub(super) written: Option<Instant>,
    pub(super) hand_over: Option<HandOver>,
    /// Hosts that were to be successor and did not get ready: others come before them.
    pub(super) unready: BTreeSet<HostId>,
    /// No hand-over that nobody ordered begins before this.
    pub(super) next_hand_over: Option<Instant>,
}

/// Asking every member once.
#[derive(Clone, Debug)]
pub(super) struct Round {
    pub(super) number: u64,
    pub(super) begun: Instant,
    pub(super) lasting: Lasting,
    pub(super) granted: BTreeSet<HostId>,
}

impl Hold {
    /// Whether it must be renewed.
    pub(super) fn ends(&self) -> bool {
        self.until.is_some()
    }
}

/// A hand-over under way.
#[derive(Clone, Debug)]
pub(super) struct HandOver {
    pub(super) to: HostId,
    pub(super) begun: Instant,
    pub(super) cause: Cause,
}

/// The gateway is given up, its address is on its way off.
#[derive(Clone, Debug)]
pub(super) struct SteppingDown {
    pub(super) term: Term,
    pub(super) lasting: Lasting,
    pub(super) successor: Option<HostId>,
    /// When the removal was last asked for.
    pub(super) asked: Instant,
    /// When the kernel has dropped the address in any case.
    pub(super) gone: Option<Instant>,
}

/// A promise to let one host hold or claim the group, and nobody else.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    pub(super) to: HostId,
    pub(super) term: Term,
    /// `None`: endless.
    pub(super) until: Option<Instant>,
    pub(super) standing: Established,
}

impl Grant {
    /// Whether it still binds.
    pub(super) fn binds(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// Which of two to keep where only one can be.
    pub(super) fn outranks(&self, other: &Grant, now: Instant) -> bool {
        (self.binds(now), self.standing, self.term, self.to) > (other.binds(now), other.standing, other.term, other.to)
    }

    pub(super) fn named(&self) -> Named {
        Named {
            host: self.to,
            term: self.term,
            standing: self.standing,
        }
    }
}

/// This host prepares to be somebody's successor.
#[derive(Clone, Debug)]
pub(super) struct Preparation {
    pub(super) holder: HostId,
    pub(super) term: Term,
    pub(super) begun: Instant,
    pub(super) progress: Progress,
}

/// How far everything but the address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Asked,
    Done,
}

/// Whether a pass between beats has anything to do here: with a hundred groups most have not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attention {
    /// Something was said or is under way.
    Needed,
    /// Nothing but time can change anything before the next beat.
    Settled,
}

/// Whether it is the first view after the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::election) enum First {
    /// It is: the quiet time covers what is not known.
    Start,
    /// A change while the agent runs: a new voter is bound to the holder that gossip names.
    Later,
}
