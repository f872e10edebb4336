//! What all operations have in common: they are looked at, try again, run out of time and are answered.

use std::collections::VecDeque;

use super::pending::{Operation, Pace, Pending};
use crate::cluster::gossip::HostRecord;
use crate::id::{HostId, SegmentId, SegmentName};
use crate::node::Node;
use crate::node::effect::{Call, Done, Effect, Refusal};
use crate::node::member::Member;
use crate::time::{Duration, Instant};

/// An operation between its call and its end. While one of these methods runs, the operation is not among the node's
/// pending ones. Each returns the answer once there is one.
pub(super) trait Machine {
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
            Self::Apply(machine) => machine,
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
    pub(super) fn begin(&mut self, call: Call, begun: Result<Operation, Refusal>, now: Instant) {
        match begun {
            Ok(operation) => self.wait_for(Some(call), operation, now),
            Err(refusal) => self.answer(Some(call), Err(refusal)),
        }
        self.settle(now);
    }

    pub(super) fn wait_for(&mut self, call: Option<Call>, operation: Operation, now: Instant) {
        self.pending.push_back(Pending::new(call, operation, now));
    }

    pub(super) fn answer(&mut self, call: Option<Call>, result: Result<Done, Refusal>) {
        if let Some(call) = call {
            self.effects.push_back(Effect::Answer { call, result });
        }
    }

    /// Looks at every pending operation; whether one did something.
    pub(in crate::node) fn advance_operations(&mut self, now: Instant) -> bool {
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

    pub(super) fn has_pending(&self, which: impl Fn(&Operation) -> bool) -> bool {
        self.pending.iter().any(|pending| which(&pending.operation))
    }

    /// Takes the operations that `which` picks out of the pending ones.
    pub(super) fn take(&mut self, which: impl Fn(&Operation) -> bool) -> VecDeque<Pending> {
        let (taken, left) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|pending| which(&pending.operation));
        self.pending = left;
        taken
    }

    /// Ends the operations that `which` picks.
    pub(super) fn end(&mut self, which: impl Fn(&Operation) -> bool, result: &Result<Done, Refusal>) {
        for pending in self.take(which) {
            self.answer(pending.call, result.clone());
        }
    }

    pub(super) fn member(&mut self) -> Result<&mut Member, Refusal> {
        self.formed.as_deref_mut().ok_or_else(|| {
            Refusal::new("this host is in no cluster")
                .hint("run `overlayctl init` here, or `overlayctl join ADDR` with the address of a member")
        })
    }
}

impl Member {
    pub(super) fn segment_id(&self, name: &SegmentName) -> Result<SegmentId, Refusal> {
        self.catalogue
            .get(name)
            .map(|known| known.id)
            .ok_or_else(|| Refusal::no_segment(name))
    }

    pub(super) fn host_named(&self, name: &str) -> Result<HostId, Refusal> {
        let named = |host: &&HostRecord| host.name == name || host.id.to_string() == name;
        self.gossip
            .hosts()
            .find(named)
            .map(|host| host.id)
            .ok_or_else(|| Refusal::new(format!("host {name} not found")).hint("see `overlayctl peer list`"))
    }
}
