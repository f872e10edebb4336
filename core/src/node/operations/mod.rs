//! Operations that take a while: each is a small machine that says when it has ended, and all share one way to wait, to
//! try again, to run out of time and to be answered.
//!
//! ```text
//!  call ─┬► refused
//!        └► Pending ─┬ look    after everything that happens: has it ended?
//!                    ├ retry   at its pace
//!                    └ expire  at its deadline ─────────────────────────────► Effect::Answer
//! ```
//! Operations that end at once are plain methods of [`Node`], in files of their own beside these.

mod admit;
mod apply;
mod drain;
mod init;
mod invite;
mod join;
mod leave;
mod move_gateway;
mod recover;
mod release;
mod remove_peer;

pub use apply::{Applied, Change, Run};
pub use init::{Forming, InitReply};
pub use remove_peer::{Hearing, Sign};

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::Node;
use super::effect::{Call, Done, Effect, Refusal};
use super::member::Member;
use crate::cluster::gossip::HostRecord;
use crate::id::{HostId, SegmentId, SegmentName};
use crate::time::{Duration, Instant};

/// An operation that has begun.
#[derive(Debug)]
pub(super) struct Pending {
    /// Whom to answer; `None`: nobody, the configuration asked for it.
    call: Option<Call>,
    operation: Operation,
    retry_at: Option<Instant>,
    deadline: Option<Instant>,
}

/// The operations that take a while.
#[derive(Debug)]
enum Operation {
    Drain(drain::Drain),
    Join(join::Join),
    Leave(leave::Leave),
    MoveGateway(move_gateway::MoveGateway),
    Recover(recover::Recover),
    Release(release::Release),
    RemovePeer(remove_peer::RemovePeer),
}

/// An operation between its call and its end. While one of these methods runs, the operation is not among the node's
/// pending ones. Each returns the answer once there is one.
trait Machine {
    /// How long it may take; `None`: whatever it waits for always ends.
    fn patience(&self) -> Option<Duration>;

    /// When it is to try again.
    fn pace(&self) -> Pace;

    /// Whether it has ended.
    fn look(&mut self, node: &mut Node, now: Instant) -> Option<Result<Done, Refusal>>;

    /// Asks again for what has not come about.
    fn retry(&mut self, _node: &mut Node, _now: Instant) -> Option<Result<Done, Refusal>> {
        None
    }

    /// Its time is up. If that is not its end, it is asked again at its next try.
    fn expire(&mut self, node: &mut Node, now: Instant) -> Option<Result<Done, Refusal>>;
}

/// How an operation spends its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// It only waits.
    Waits,
    /// It tries again and again.
    Tries { first_in: Duration, every: Duration },
}

/// What became of an operation when it was looked at.
enum Step {
    /// It goes on waiting.
    Waited,
    /// It did something that others may have to react to.
    Acted,
    /// This is the answer.
    Ended(Result<Done, Refusal>),
}

impl Operation {
    fn machine(&mut self) -> &mut dyn Machine {
        match self {
            Self::Drain(machine) => machine,
            Self::Join(machine) => machine,
            Self::Leave(machine) => machine,
            Self::MoveGateway(machine) => machine,
            Self::Recover(machine) => machine,
            Self::Release(machine) => machine,
            Self::RemovePeer(machine) => machine,
        }
    }
}

impl Pending {
    fn new(call: Option<Call>, mut operation: Operation, now: Instant) -> Self {
        let machine = operation.machine();
        Self {
            call,
            retry_at: match machine.pace() {
                Pace::Waits => None,
                Pace::Tries { first_in, .. } => Some(now + first_in),
            },
            deadline: machine.patience().map(|patience| now + patience),
            operation,
        }
    }

    /// When it is due without anything happening.
    pub(super) fn timeout(&self) -> Option<Instant> {
        self.retry_at.into_iter().chain(self.deadline).min()
    }

    fn advance(&mut self, node: &mut Node, now: Instant) -> Step {
        let machine = self.operation.machine();
        if let Some(answer) = machine.look(node, now) {
            return Step::Ended(answer);
        }
        let next = match machine.pace() {
            Pace::Waits => None,
            Pace::Tries { every, .. } => Some(now + every),
        };
        let answer = if self.deadline.is_some_and(|at| at <= now) {
            self.deadline = next;
            machine.expire(node, now)
        } else if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = next;
            machine.retry(node, now)
        } else {
            return Step::Waited;
        };
        answer.map_or(Step::Acted, Step::Ended)
    }
}

impl Node {
    /// Waits for an operation that has begun, or answers that it has not.
    fn begin(&mut self, call: Call, begun: Result<Operation, Refusal>, now: Instant) {
        match begun {
            Ok(operation) => self.wait_for(Some(call), operation, now),
            Err(refusal) => self.answer(Some(call), Err(refusal)),
        }
        self.settle(now);
    }

    fn wait_for(&mut self, call: Option<Call>, operation: Operation, now: Instant) {
        self.pending.push_back(Pending::new(call, operation, now));
    }

    fn answer(&mut self, call: Option<Call>, result: Result<Done, Refusal>) {
        if let Some(call) = call {
            self.effects.push_back(Effect::Answer { call, result });
        }
    }

    /// Looks at every pending operation; whether one did something.
    pub(super) fn advance_operations(&mut self, now: Instant) -> bool {
        let mut acted = false;
        for _ in 0..self.pending.len() {
            // One may have ended others.
            let Some(mut pending) = self.pending.pop_front() else {
                break;
            };
            match pending.advance(self, now) {
                Step::Waited => self.pending.push_back(pending),
                Step::Acted => {
                    acted = true;
                    self.pending.push_back(pending);
                }
                Step::Ended(answer) => {
                    acted = true;
                    self.answer(pending.call, answer);
                }
            }
        }
        acted
    }

    fn has_pending(&self, which: impl Fn(&Operation) -> bool) -> bool {
        self.pending.iter().any(|pending| which(&pending.operation))
    }

    /// Takes the operations that `which` picks out of the pending ones.
    fn take(&mut self, which: impl Fn(&Operation) -> bool) -> VecDeque<Pending> {
        let (taken, left) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|pending| which(&pending.operation));
        self.pending = left;
        taken
    }

    /// Ends the operations that `which` picks.
    fn end(&mut self, which: impl Fn(&Operation) -> bool, result: &Result<Done, Refusal>) {
        for pending in self.take(which) {
            self.answer(pending.call, result.clone());
        }
    }

    fn member(&mut self) -> Result<&mut Member, Refusal> {
        self.formed.as_deref_mut().ok_or_else(|| {
            Refusal::new("this host is in no cluster")
                .hint("run `overlayctl init` here, or `overlayctl join ADDR` with the address of a member")
        })
    }

    /// Where this host looks for a cluster, and what it was told last.
    pub(super) fn join_search(&self) -> Option<(&[SocketAddr], Option<&Refusal>)> {
        self.pending.iter().find_map(|pending| {
            if let Operation::Join(join) = &pending.operation {
                Some((join.addresses.as_slice(), join.refused.as_ref()))
            } else {
                None
            }
        })
    }
}

impl Member {
    fn segment_id(&self, name: &SegmentName) -> Result<SegmentId, Refusal> {
        self.catalogue
            .get(name)
            .map(|known| known.id)
            .ok_or_else(|| Refusal::no_segment(name))
    }

    fn host_named(&self, name: &str) -> Result<HostId, Refusal> {
        let named = |host: &&HostRecord| host.name == name || host.id.to_string() == name;
        self.gossip
            .hosts()
            .find(named)
            .map(|host| host.id)
            .ok_or_else(|| Refusal::new(format!("host {name} not found")).hint("see `overlayctl peer list`"))
    }
}
