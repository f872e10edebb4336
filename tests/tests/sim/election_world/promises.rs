//! What is promised once the cluster has settled: takeovers in time, nothing taken from a live kernel, a healthy gateway
//! that stays.

use std::collections::BTreeSet;

use super::core::election::{ElectionCandidacy, ElectionUplink, Fitness, GroupId};
use super::predicates::{CONVERGED, Promise, violated};
use super::{Agent, MS, Power, World, class, is_candidate};
use crate::report::Violation;

/// The class of a host that gives way to nobody.
const BEST: (Fitness, ElectionCandidacy) = (Fitness::Whole, ElectionCandidacy::Candidate);

impl World {
    /// An agent has become gateway: from a live kernel that has the address nobody may take it.
    pub(super) fn took_over(&mut self, host: usize, group: GroupId) {
        self.coverage.count("gateways taken");
        // Whoever wakes or restarts with an address of its own goes on with that.
        let resumes = self.has_address(host, group, self.now);
        let live = (0..self.machines.len()).filter(|_| !resumes).find(|&other| {
            let machine = &self.machines[other];
            other != host
                && self.predicates.guarded.contains(&(group, other))
                && self.has_address(other, group, self.now)
                && machine.agent != Agent::Running
        });
        if let Some(other) = live {
            let silent = self.machines[other].agent_gone.map_or(0, |gone| (self.now - gone) / MS);
            let (host, other) = (self.machines[host].id, self.machines[other].id);
            self.predicates.wrong(
                "from a live kernel nobody takes the gateway",
                format!("{host} took {group} while {other} had the address, its agent silent for {silent} ms"),
            );
        }
        self.machines[host].holding_since.insert(group, self.now);
    }

    /// An agent is gateway no more: where only other hosts and agents had faults it must go on.
    pub(super) fn gave_up(&mut self, host: usize, group: GroupId) {
        let Some(since) = self.machines[host].holding_since.remove(&group) else {
            return;
        };
        let calm = since
            .max(self.predicates.last_upheaval)
            .max(self.machines[host].steady_since)
            + CONVERGED;
        let whole = self
            .groups
            .get(&group)
            .is_some_and(|truth| self.fully_connected(&truth.hosts));
        let machine = &self.machines[host];
        let fit = machine.uplink == ElectionUplink::Works && class(machine) == BEST;
        if self.now >= calm && whole && fit && self.weather.loss_per_mille < 100 {
            self.predicates.wrong(
                "a healthy gateway stays",
                format!(
                    "{} gave {group} up, {} ms after it was taken",
                    self.machines[host].id,
                    (self.now - since) / MS
                ),
            );
        }
    }

    /// An agent has started: it must go on where its kernel still has the address for a while.
    pub(crate) fn started(&mut self, host: usize) {
        let machine = &self.machines[host];
        let lost = self.groups.keys().find(|group| {
            self.has_address(host, **group, self.now + 1100 * MS)
                && !machine.holds(**group)
                && machine.runs()
                && is_candidate(machine)
        });
        if let Some(group) = lost {
            let detail = format!("{} has the address of {group} and does not hold it", machine.id);
            self.predicates.wrong("a restarted gateway goes on", detail);
        }
    }

    /// That host's agent dies or hangs now: what it alone holds must not be taken while its kernel has the address.
    pub(crate) fn guard(&mut self, host: usize) {
        let now = self.now;
        let steady =
            now >= self.predicates.last_upheaval + CONVERGED && now >= self.machines[host].steady_since + CONVERGED;
        let first = self.predicates.last_upheaval == 0 && now >= 3000 * MS;
        for group in self.groups.keys().copied().collect::<Vec<_>>() {
            let alone = self.those(|world, index| world.machines[index].holds(group)) == [host];
            let on: BTreeSet<usize> = self.groups[&group].hosts.clone();
            if (steady || first) && alone && self.fully_connected(&on) {
                self.predicates.guarded.insert((group, host));
            }
        }
    }

    /// Whether every running agent of a fully connected cluster agrees, nothing has happened for long, and all
    /// kernels can be asked: only then the bounds of a takeover are promised.
    pub(crate) fn settled(&self, group: GroupId) -> Option<usize> {
        let age = self.now.saturating_sub(self.predicates.last_disturbance);
        let all: Vec<usize> = self.groups[&group]
            .hosts
            .iter()
            .copied()
            .filter(|index| self.machines[*index].known && !self.machines[*index].removed)
            .collect();
        let whole = all.iter().all(|index| self.machines[*index].runs());
        if age < 2500 * MS || (!whole && age < 8000 * MS) {
            return None;
        }
        let [holder] = self.those(|world, index| world.machines[index].holds(group))[..] else {
            return None;
        };
        let agreed = all.iter().filter(|index| self.machines[**index].runs()).all(|index| {
            self.machines[*index].election.as_ref().is_some_and(|election| {
                election
                    .holder(group)
                    .is_some_and(|(known, _)| known == self.machines[holder].id)
            })
        });
        let part = BTreeSet::from_iter(
            all.iter()
                .copied()
                .filter(|index| self.machines[*index].power == Power::On),
        );
        (agreed && self.fully_connected(&part)).then_some(holder)
    }

    /// From now on somebody in the part must hold the group within `bound`.
    pub(crate) fn promise(
        &mut self,
        group: GroupId,
        part: BTreeSet<usize>,
        bound: u64,
        what: &'static str,
        timed: &'static str,
    ) {
        let contested = part
            .iter()
            .any(|index| is_candidate(&self.machines[*index]) && self.machines[*index].runs());
        if contested {
            self.predicates.promises.push(Promise {
                group,
                part,
                begun: self.now,
                bound,
                what,
                timed,
            });
        }
    }

    pub(super) fn promised(&mut self) -> Result<(), Violation> {
        if let Some(violation) = self.predicates.wrong.take() {
            return Err(violation);
        }
        let now = self.now;
        let mut kept = Vec::new();
        for promise in std::mem::take(&mut self.predicates.promises) {
            if promise
                .part
                .iter()
                .any(|index| self.machines[*index].holds(promise.group))
            {
                self.coverage.time(promise.timed, (now - promise.begun) / MS);
                self.coverage.count("takeovers");
            } else if now > promise.begun + promise.bound {
                return violated(
                    promise.what,
                    format!("{} after {} ms", promise.group, (now - promise.begun) / MS),
                );
            } else {
                kept.push(promise);
            }
        }
        self.predicates.promises = kept;
        Ok(())
    }

    /// A cut was healed, and nothing else: the gateway must not be gone for long.
    pub(crate) fn promise_gapless(&mut self, group: GroupId) {
        if self.machines.iter().any(|machine| machine.holds(group)) {
            self.predicates.healed.insert(group, None);
        }
    }

    pub(super) fn gapless(&mut self) -> Result<(), Violation> {
        let groups: Vec<GroupId> = self.predicates.healed.keys().copied().collect();
        for group in groups {
            let held = self.machines.iter().any(|machine| machine.holds(group));
            let since = self.predicates.healed.get(&group).copied().flatten();
            match (held, since) {
                (true, Some(since)) => {
                    self.coverage.time("gateway gone after a heal", (self.now - since) / MS);
                    self.predicates.healed.insert(group, None);
                }
                (true, None) => {}
                (false, None) => {
                    self.predicates.healed.insert(group, Some(self.now));
                }
                (false, Some(since)) if self.now - since > 1000 * MS => {
                    return violated(
                        "the gateway is back soon after a heal",
                        format!("{group} has none for {} ms", (self.now - since) / MS),
                    );
                }
                (false, Some(_)) => {}
            }
        }
        Ok(())
    }
}
