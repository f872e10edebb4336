//! What must hold after every step, with its bounds (`docs/protocol.md`, A4).

use std::collections::{BTreeMap, BTreeSet};

use super::core::election::{ElectionCandidacy, GroupId};
use super::core::id::HostId;
use super::{Agent, MS, Power, World, class, is_candidate};
use crate::report::Violation;

/// Two agents both hold while connected both ways.
const TWO_HOLDERS: u64 = 700 * MS;
/// Two agents both hold with a common reachable neighbour.
const TWO_HOLDERS_WITH_NEIGHBOUR: u64 = 900 * MS;
/// The same with more than seven hosts: the two may have different voters, and ping each other twice a second.
const TWO_HOLDERS_OF_MANY: u64 = 1500 * MS;
/// Two kernels have the address while linked.
const TWO_KERNELS: u64 = 6500 * MS;
/// A stable part has its holder so long after the last disturbance.
pub(super) const CONVERGED: u64 = 9500 * MS;

/// Up to so many hosts all vote, so that a neighbour's vote binds both.
const VOTERS: usize = 7;

/// A pair of hosts and what is wrong between them.
type Pair = (GroupId, usize, usize);

/// Somebody must hold the group by then.
#[derive(Clone, Debug)]
pub(super) struct Promise {
    pub(super) group: GroupId,
    pub(super) part: BTreeSet<usize>,
    pub(super) begun: u64,
    pub(super) bound: u64,
    pub(super) what: &'static str,
    pub(super) timed: &'static str,
}

/// What is watched from step to step.
#[derive(Default)]
pub(crate) struct Predicates {
    pub(super) dirty: bool,
    pub(crate) last_disturbance: u64,
    pub(super) holders: BTreeMap<Pair, u64>,
    pub(super) neighbours: BTreeMap<Pair, u64>,
    pub(super) kernels: BTreeMap<Pair, u64>,
    /// The holder of each converged part, by group and smallest member.
    pub(super) kept: BTreeMap<(GroupId, usize), usize>,
    pub(super) promises: Vec<Promise>,
    /// Settled gateways whose agents died or hang while their kernels go on: nobody may take these.
    pub(super) guarded: BTreeSet<(GroupId, usize)>,
    /// What was seen to be wrong while something was done; told with the next check.
    pub(super) wrong: Option<Violation>,
    /// When links, groups, members or uplinks last changed, or a gateway was moved.
    pub(crate) last_upheaval: u64,
    /// Groups that must not be without gateway for long after a heal, and since when they are.
    pub(super) healed: BTreeMap<GroupId, Option<u64>>,
}

impl Predicates {
    pub(crate) fn dirty(&mut self) {
        self.dirty = true;
    }

    /// Something was done to the world: what was promised or had converged is open again.
    pub(crate) fn disturbed(&mut self, now: u64) {
        self.dirty = true;
        self.last_disturbance = self.last_disturbance.max(now);
        self.kept.clear();
        self.promises.clear();
        self.healed.clear();
    }
}

impl Predicates {
    /// More than hosts and agents changes: a gateway may go for other reasons.
    pub(crate) fn upheaval(&mut self, now: u64) {
        self.guarded.clear();
        self.last_upheaval = self.last_upheaval.max(now);
        self.disturbed(now);
    }

    pub(super) fn wrong(&mut self, predicate: &'static str, detail: String) {
        self.wrong.get_or_insert(Violation { predicate, detail });
    }
}

pub(super) fn violated(predicate: &'static str, detail: String) -> Result<(), Violation> {
    Err(Violation { predicate, detail })
}

impl World {
    /// To be called after each step.
    pub(crate) fn check(&mut self) -> Result<(), Violation> {
        if let Some(violation) = self.predicates.wrong.take() {
            return Err(violation);
        }
        let quiet_pairs = self.predicates.holders.is_empty() && self.predicates.kernels.is_empty();
        let converging = self.now >= self.predicates.last_disturbance + CONVERGED && self.predicates.kept.is_empty();
        if !self.predicates.dirty
            && quiet_pairs
            && !converging
            && self.predicates.promises.is_empty()
            && self.predicates.healed.is_empty()
        {
            return Ok(());
        }
        if self.predicates.dirty || !self.predicates.kernels.is_empty() {
            self.pairs();
        }
        self.predicates.dirty = false;
        self.too_long()?;
        self.promised()?;
        self.gapless()?;
        if self.now >= self.predicates.last_disturbance + CONVERGED {
            self.converged()?;
        }
        Ok(())
    }

    /// Looks which pairs are in conflict now.
    pub(super) fn pairs(&mut self) {
        let now = self.now;
        let mut holders = BTreeMap::new();
        let mut neighbours = BTreeMap::new();
        let mut kernels = BTreeMap::new();
        for &group in self.groups.keys() {
            let holding: Vec<usize> = self.those(|world, index| world.machines[index].holds(group));
            let addressed: Vec<usize> = self.those(|world, index| world.has_address(index, group, now));
            for (a, b) in pairs_of(&holding) {
                let pair = (group, a, b);
                if self.linked(a, b) {
                    holders.insert(pair, self.predicates.holders.get(&pair).copied().unwrap_or(now));
                }
                if self.machines.len() <= VOTERS && self.common_neighbour(group, a, b) {
                    neighbours.insert(pair, self.predicates.neighbours.get(&pair).copied().unwrap_or(now));
                }
            }
            // An uncontested gateway's address lives without its agent. Whoever was made candidate while it was cut off
            // from there could not wait for it (`docs/protocol.md`, what is not guaranteed).
            let abandoned =
                |index: usize| self.machines[index].agent != Agent::Running && self.lifetime(index, group).is_none();
            let addressed: Vec<usize> = addressed.into_iter().filter(|index| !abandoned(*index)).collect();
            for (a, b) in pairs_of(&addressed) {
                if self.linked(a, b) {
                    let pair = (group, a, b);
                    kernels.insert(pair, self.predicates.kernels.get(&pair).copied().unwrap_or(now));
                }
            }
        }
        self.predicates.holders = holders;
        self.predicates.neighbours = neighbours;
        self.predicates.kernels = kernels;
    }

    pub(super) fn those(&self, which: impl Fn(&World, usize) -> bool) -> Vec<usize> {
        (0..self.machines.len()).filter(|index| which(self, *index)).collect()
    }

    /// A third host that both reach and know of: one that joins is told of by gossip, which takes its time.
    pub(super) fn common_neighbour(&self, group: GroupId, a: usize, b: usize) -> bool {
        let knows = |index: usize, other: HostId| {
            let election = self.machines[index].election.as_ref();
            election.is_some_and(|election| election.order(group).contains(&other))
        };
        self.groups[&group].hosts.iter().any(|&other| {
            let neighbour = &self.machines[other];
            let near = |index: usize| self.linked(index, other) && knows(index, neighbour.id);
            other != a && other != b && neighbour.runs() && near(a) && near(b)
        })
    }

    pub(super) fn too_long(&self) -> Result<(), Violation> {
        let two_holders = if self.machines.len() > VOTERS {
            TWO_HOLDERS_OF_MANY
        } else {
            TWO_HOLDERS
        };
        let table = [
            (&self.predicates.holders, two_holders, "two connected agents hold"),
            (
                &self.predicates.neighbours,
                TWO_HOLDERS_WITH_NEIGHBOUR,
                "two agents with a common neighbour hold",
            ),
            (
                &self.predicates.kernels,
                TWO_KERNELS,
                "two linked kernels have the address",
            ),
        ];
        for (pairs, bound, predicate) in table {
            for ((group, a, b), since) in pairs {
                if self.now - since > bound {
                    let (a, b) = (self.machines[*a].id, self.machines[*b].id);
                    return violated(
                        predicate,
                        format!("{a} and {b} in {group} for {} ms", (self.now - since) / MS),
                    );
                }
            }
        }
        Ok(())
    }

    /// The parts among machines that are on, connected both ways.
    pub(crate) fn parts(&self, group: GroupId) -> Vec<BTreeSet<usize>> {
        let mut open: BTreeSet<usize> = self.groups[&group]
            .hosts
            .iter()
            .copied()
            .filter(|index| {
                let machine = &self.machines[*index];
                machine.power == Power::On && machine.known && !machine.removed
            })
            .collect();
        let mut parts = Vec::new();
        while let Some(first) = open.pop_first() {
            let mut part = BTreeSet::from([first]);
            let mut edge = vec![first];
            while let Some(at) = edge.pop() {
                let near: Vec<usize> = open.iter().copied().filter(|other| self.linked(at, *other)).collect();
                for other in near {
                    open.remove(&other);
                    part.insert(other);
                    edge.push(other);
                }
            }
            parts.push(part);
        }
        parts
    }

    pub(crate) fn fully_connected(&self, part: &BTreeSet<usize>) -> bool {
        part.iter().all(|a| part.iter().all(|b| a == b || self.linked(*a, *b)))
    }

    /// Whether a running host of the part may become gateway, and all votes that count are in the part or gone.
    pub(super) fn can_have_holder(&self, part: &BTreeSet<usize>) -> bool {
        part.iter()
            .any(|index| self.machines[*index].runs() && is_candidate(&self.machines[*index]))
    }

    pub(super) fn converged(&mut self) -> Result<(), Violation> {
        let groups: Vec<GroupId> = self.groups.keys().copied().collect();
        for group in groups {
            for part in self.parts(group) {
                if !self.fully_connected(&part) || !self.can_have_holder(&part) {
                    continue;
                }
                let holding: Vec<usize> = part
                    .iter()
                    .copied()
                    .filter(|index| self.machines[*index].holds(group))
                    .collect();
                let [holder] = holding[..] else {
                    let ids: Vec<String> = holding
                        .iter()
                        .map(|index| self.machines[*index].id.to_string())
                        .collect();
                    return violated(
                        "a stable, fully connected part has exactly one holder",
                        format!("{group} has {} holders {ids:?} in the part {part:?}", ids.len()),
                    );
                };
                let best = part.iter().filter(|index| self.machines[**index].runs());
                let best = best.map(|index| class(&self.machines[*index])).min();
                let steps_back = self.machines[holder].candidacy == ElectionCandidacy::Drained;
                if steps_back && best.is_some_and(|best| best < class(&self.machines[holder])) {
                    let id = self.machines[holder].id;
                    return violated(
                        "a drained host is gateway only where no other can",
                        format!("{id} holds {group} beside a host of class {best:?}"),
                    );
                }
                let key = (group, part.first().copied().unwrap_or(0));
                let kept = *self.predicates.kept.entry(key).or_insert(holder);
                if kept != holder {
                    let (before, after) = (self.machines[kept].id, self.machines[holder].id);
                    return violated(
                        "a stable part keeps its holder",
                        format!("{group} went from {before} to {after}"),
                    );
                }
            }
        }
        Ok(())
    }
}

fn pairs_of(of: &[usize]) -> impl Iterator<Item = (usize, usize)> {
    of.iter()
        .enumerate()
        .flat_map(|(at, a)| of[at + 1..].iter().map(|b| (*a, *b)))
}
