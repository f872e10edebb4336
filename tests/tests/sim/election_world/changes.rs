//! What operators and configuration change: moves, drains, candidacy, members, groups.

use super::core::election::{ElectionCandidacy, Fitness, GroupId};
use super::core::id::SegmentId;
use super::{Agent, GroupTruth, MS, Power, What, World, other_uplink};

impl World {
    pub(super) fn move_gateway(&mut self, group: GroupId) {
        self.predicates.upheaval(self.now);
        let (by, to) = (
            self.chance.below(self.machines.len()),
            self.chance.below(self.machines.len()),
        );
        let to = self.chance.per_mille(500).then(|| self.machines[to].id);
        if self.machines[by].power != Power::On || self.machines[by].agent != Agent::Running {
            return;
        }
        let now = self.machines[by].clock(self.now);
        if let Some(Ok(_)) = self.machines[by]
            .election
            .as_mut()
            .map(|election| election.move_gateway(group, to, now))
        {
            self.note(format!("move {group} to {to:?}, asked at {}", self.machines[by].id));
            self.coverage.count("hand-overs");
        }
        self.predicates.upheaval(self.now);
        self.drain(by);
    }

    pub(super) fn drain_or_undrain(&mut self, index: usize) {
        self.predicates.upheaval(self.now);
        if self.machines[index].power != Power::On || self.machines[index].agent != Agent::Running {
            return;
        }
        let now = self.machines[index].clock(self.now);
        let machine = &mut self.machines[index];
        let Some(election) = &mut machine.election else { return };
        match machine.candidacy {
            ElectionCandidacy::Candidate if self.chance.per_mille(250) => {
                machine.candidacy = ElectionCandidacy::Departing;
            }
            ElectionCandidacy::Candidate => machine.candidacy = ElectionCandidacy::Drained,
            ElectionCandidacy::Drained | ElectionCandidacy::Departing => {
                machine.candidacy = ElectionCandidacy::Candidate;
            }
            ElectionCandidacy::Never => return,
        }
        election.set_candidacy(machine.candidacy, now);
        self.note(format!(
            "{} is now {:?}",
            self.machines[index].id, self.machines[index].candidacy
        ));
        self.coverage.count("drains and undrains");
        self.drain(index);
        self.gossip();
    }

    pub(super) fn change_uplink(&mut self, index: usize) {
        self.predicates.upheaval(self.now);
        let now = self.machines[index].clock(self.now);
        let machine = &mut self.machines[index];
        machine.uplink = other_uplink(machine.uplink);
        let uplink = machine.uplink;
        self.note(format!("{} uplink {uplink:?}", self.machines[index].id));
        if self.machines[index].power == Power::On && self.machines[index].agent == Agent::Running {
            if let Some(election) = &mut self.machines[index].election {
                election.set_uplink(uplink, now);
            }
            self.drain(index);
        }
        self.coverage.count("uplink changes");
        self.gossip();
        // A holder without uplink waits until another's has worked for 10 s.
        self.predicates.last_disturbance = self.now + 12_000 * MS;
    }

    pub(super) fn change_fitness(&mut self, index: usize) {
        let machine = &mut self.machines[index];
        machine.fitness = match machine.fitness {
            Fitness::Whole => Fitness::Lacking,
            Fitness::Lacking => Fitness::Whole,
        };
        self.note(format!(
            "{} is {:?}",
            self.machines[index].id, self.machines[index].fitness
        ));
        self.coverage.count("segments broken and mended");
        self.gossip();
        // A holder that lacks something waits until another has been whole for 10 s.
        self.predicates.last_disturbance = self.now + 12_000 * MS;
    }

    pub(super) fn change_candidacy(&mut self, index: usize) {
        let machine = &mut self.machines[index];
        machine.candidacy = match machine.candidacy {
            ElectionCandidacy::Never => ElectionCandidacy::Candidate,
            ElectionCandidacy::Candidate => ElectionCandidacy::Never,
            ElectionCandidacy::Drained | ElectionCandidacy::Departing => return,
        };
        self.note(format!(
            "{} is now {:?}",
            self.machines[index].id, self.machines[index].candidacy
        ));
        self.coverage.count("candidacies changed");
        self.gossip();
    }

    /// A host that was not there yet joins.
    pub(super) fn join(&mut self) {
        let Some(index) = (0..self.machines.len()).find(|index| !self.machines[*index].known) else {
            return;
        };
        self.machines[index].known = true;
        self.note(format!("{} joins", self.machines[index].id));
        let now = self.now;
        self.machines[index].boot(now);
        self.relink();
        self.start_agent(index);
        self.coverage.count("joins");
        self.gossip();
    }

    /// A host leaves for good: it knows first.
    pub(super) fn remove(&mut self, index: usize) {
        self.predicates.upheaval(self.now);
        let remaining = self
            .machines
            .iter()
            .filter(|machine| machine.known && !machine.removed)
            .count();
        if remaining < 3 || !self.machines[index].known || self.machines[index].removed {
            return;
        }
        self.note(format!("{} is removed", self.machines[index].id));
        self.machines[index].removed = true;
        self.coverage.count("removals");
        if self.machines[index].agent == Agent::Running && self.machines[index].power == Power::On {
            self.act(index, What::View { host: index });
        } else {
            self.power_off(index);
        }
        self.gossip();
    }

    /// Groups join or split.
    pub(super) fn regroup(&mut self) {
        if self.groups.len() > 1 {
            let mut all = std::mem::take(&mut self.groups).into_values();
            let Some(mut merged) = all.next() else { return };
            merged.segments.extend(all.flat_map(|truth| truth.segments));
            let Some(first) = merged.segments.first().copied() else {
                return;
            };
            self.groups.insert(GroupId(first), merged);
            self.coverage.count("groups merged");
        } else if let Some((_, truth)) = self.groups.pop_first() {
            let segments: Vec<SegmentId> = truth.segments.iter().copied().collect();
            for segment in segments {
                self.groups.insert(
                    GroupId(segment),
                    GroupTruth {
                        segments: [segment].into(),
                        hosts: truth.hosts.clone(),
                    },
                );
            }
            self.coverage.count("groups split");
        }
        self.note(format!("groups are now {:?}", self.groups.keys().collect::<Vec<_>>()));
        self.gossip();
    }

    /// What changed reaches everybody within a while.
    pub(super) fn gossip(&mut self) {
        self.predicates.upheaval(self.now);
        for host in 0..self.machines.len() {
            let at = self.now + self.chance.between(20, 1500) * MS;
            self.at(at, What::View { host });
        }
    }
}
