//! How a host goes: by its own operator (`leave`), or by another's (`peer remove`).
//!
//! ```text
//!  leave ─► HandingOver ── gateways, then ranges are with others, or 10 s ──► Announcing ── 300 ms ──► Removing ─► done
//! ```
//! The ranges last: a host that goes on as gateway after all must have addresses to give.

use std::collections::{BTreeMap, BTreeSet};

use rand::Rng;

use super::guard::guard;
use super::machine::Machine;
use super::pending::{Leave, Operation, Pace, Stage};
use crate::cluster::gossip::Departure;
use crate::health::events::Event;
use crate::id::HostId;
use crate::node::Node;
use crate::node::effect::{Call, Done, Effect, Ended, Force, Refusal};
use crate::node::loss::Loss;
use crate::node::member::Departing;
use crate::node::start::Formation;
use crate::time::{Duration, Instant};

/// How long gateways and ranges may take to be handed over before the leave is refused (or forced).
const HAND_OVER_WITHIN: Duration = Duration::from_secs(10);
/// How long the news that this host leaves has to reach the others before its streams close.
const ANNOUNCE_FOR: Duration = Duration::from_millis(300);
/// How often progress is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

impl Node {
    /// Leaves the cluster: hands over, tells the others, and has everything of ours removed from the kernel.
    pub fn leave(&mut self, call: Call, force: Force, now: Instant) {
        let begun = self
            .may_leave(force, now)
            .map(|losses| self.begin_leave(force, losses, now));
        self.begin(call, begun.flatten(), now);
    }

    /// What that costs guests.
    fn may_leave(&self, force: Force, now: Instant) -> Result<Vec<Loss>, Refusal> {
        let Some(member) = &self.formed else {
            return Err(Refusal::new("this host is in no cluster"));
        };
        if self.has_pending(|operation| matches!(operation, Operation::Leave(_))) {
            return Err(Refusal::new("this host is already leaving"));
        }
        let losses = member.losses_of_leaving(&self.ports, now);
        guard(
            &losses,
            force,
            "detach these guests or shut them down, or use --force: they lose their network",
        )?;
        Ok(losses)
    }

    fn begin_leave(&mut self, force: Force, losses: Vec<Loss>, now: Instant) -> Result<Operation, Refusal> {
        let me = self.me;
        let member = self.member()?;
        let others = member.gossip.hosts().any(|host| host.id != me);
        member.departing = Departing::Yes;
        member.tell_duty(now);
        if !others {
            member.left = true;
        } else if force == Force::Yes {
            member.leases.leave(now);
        }
        Ok(Operation::Leave(Leave {
            force,
            stage: Stage::HandingOver,
            cluster: if others { Ended::LivesOn } else { Ended::Over },
            losses,
            notes: Vec::new(),
        }))
    }

    /// Whether the others have been told that this host leaves.
    pub(in crate::node) fn has_announced_leave(&self) -> bool {
        self.has_pending(|operation| matches!(operation, Operation::Leave(leave) if leave.stage != Stage::HandingOver))
    }

    /// A member refuses this host's calls because it was removed.
    pub fn handle_removed(&mut self) {
        let leaving = self.has_pending(|operation| matches!(operation, Operation::Leave(_)));
        if self.formed.is_none() || leaving {
            return;
        }
        self.report(Event::RemovedFromCluster);
        self.become_left(Force::No);
    }

    fn become_left(&mut self, force: Force) {
        let Some(member) = self.formed.take() else { return };
        self.stop_serving(&member);
        let next = HostId(self.rng.next_u64());
        self.formation = Formation::Left { next };
        self.me = next;
        self.dialled = BTreeMap::new();
        self.effects.push_back(Effect::Dial(BTreeMap::new()));
        self.effects.push_back(Effect::Cluster {
            id: None,
            removed: BTreeSet::new(),
        });
        self.announced_cluster = None;
        self.effects.push_back(Effect::SaveIdentity(self.formation));
        self.effects.push_back(Effect::RemoveAll(force));
        self.end(|_| true, &Err(Refusal::new("this host has left its cluster meanwhile")));
    }

    /// What came of an [`Effect::RemoveAll`]: the lines that did it, and what is left and why.
    pub fn handle_removed_all(&mut self, removed: Vec<String>, kept: Vec<String>) {
        let removing =
            |operation: &Operation| matches!(operation, Operation::Leave(leave) if leave.stage == Stage::Removing);
        for pending in self.take(removing) {
            if let Operation::Leave(leave) = pending.operation {
                let done = Done::Left {
                    cluster: leave.cluster,
                    removed: removed.clone(),
                    losses: leave.losses,
                    notes: leave.notes.into_iter().chain(kept.clone()).collect(),
                };
                self.answer(pending.call, Ok(done));
            }
        }
    }
}

impl Machine for Leave {
    fn patience(&self) -> Option<Duration> {
        Some(HAND_OVER_WITHIN)
    }

    fn pace(&self) -> Pace {
        Pace::Tries {
            first_in: Duration::ZERO,
            every: LOOK_EVERY,
        }
    }

    fn look(&mut self, node: &mut Node, _now: Instant) -> Option<Result<Done, Refusal>> {
        match self.stage {
            Stage::HandingOver => node.member().err().map(Err),
            Stage::Announcing { .. } | Stage::Removing => None,
        }
    }

    fn retry(&mut self, node: &mut Node, now: Instant) -> Option<Result<Done, Refusal>> {
        match self.stage {
            Stage::HandingOver => {
                let member = node.member().ok()?;
                let gateways_are_off = self.cluster == Ended::Over || member.election.held().is_empty();
                if member.left && gateways_are_off {
                    self.announce(node, now);
                } else if gateways_are_off {
                    member.leases.leave(now);
                }
            }
            Stage::Announcing { until } => {
                if now >= until || self.cluster == Ended::Over {
                    self.stage = Stage::Removing;
                    node.become_left(self.force);
                }
            }
            Stage::Removing => {}
        }
        None
    }

    fn expire(&mut self, node: &mut Node, now: Instant) -> Option<Result<Done, Refusal>> {
        if self.stage != Stage::HandingOver {
            return None;
        }
        let member = node.member().ok()?;
        let gateways = !member.election.held().is_empty();
        let what = if gateways { "a gateway" } else { "its address ranges" };
        if self.force == Force::No {
            if member.leases.stay(now) {
                // Everything goes on as before.
                member.departing = Departing::No;
                member.tell_duty(now);
                return Some(Err(Refusal::new(format!(
                    "{what} could not be handed over to another host within 10 s"
                ))
                .hint(
                    "see `overlayctl status`; --force leaves anyway; hosts that do not hear of it need `peer remove`",
                )));
            }
            if !gateways {
                // The others have it all, and are just being told.
                return None;
            }
        }
        let name = member.name_of(member.me);
        self.notes.push(format!(
            "{what} could not be handed over; where `overlayctl peer list` still has {name}, run `overlayctl peer remove \
             {name}`"
        ));
        self.announce(node, now);
        None
    }
}

impl Leave {
    fn announce(&mut self, node: &mut Node, now: Instant) {
        let until = now + ANNOUNCE_FOR;
        self.stage = Stage::Announcing { until };
        if let Ok(member) = node.member() {
            member.gossip.remove(member.me, Departure::Left, now);
            member.membership.leave(now);
        }
    }
}
