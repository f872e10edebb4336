//! What can happen to hosts, agents and links, and how it is mended.

use std::collections::BTreeSet;

use super::core::election::{ElectionUplink, GroupId};
use super::{Agent, MS, Power, What, World};

impl World {
    pub(crate) fn start_agent(&mut self, index: usize) {
        let seed = self.chance.next();
        self.machines[index].start(seed, self.now);
        self.machines[index].agent_gone = None;
        self.predicates.disturbed(self.now);
        self.note(format!("{} agent starts", self.machines[index].id));
        self.act(index, What::View { host: index });
        self.started(index);
    }

    /// One host dies, or several at once, or the next one's agent hangs at the same moment.
    pub(super) fn die_together(&mut self, target: usize) {
        let settled = self.settled_everywhere();
        let others: Vec<usize> = (0..self.machines.len())
            .filter(|other| *other != target && self.machines[*other].runs())
            .collect();
        let mut dead = vec![target];
        let mut hung = Vec::new();
        if others.len() > 1 {
            match self.chance.below(5) {
                0 => dead.push(self.chance.pick(&others)),
                1 => hung.push(self.chance.pick(&others)),
                _ => {}
            }
        }
        let known = dead
            .iter()
            .all(|index| self.machines[*index].answers_icmp && self.machines[*index].power == Power::On);
        let orphaned: Vec<GroupId> = (self.groups.keys().copied())
            .filter(|group| dead.iter().any(|index| self.machines[*index].holds(*group)))
            .collect();
        self.predicates.disturbed(self.now);
        for &index in &dead {
            self.power_off(index);
            self.mend_later(index);
        }
        for &index in &hung {
            self.hang(index);
            self.mend_later(index);
        }
        self.coverage.count("hosts dead");
        if !settled || !known {
            return;
        }
        let (bound, what, timed) = match (dead.len(), hung.len()) {
            (1, 0) => (
                600 * MS,
                "a dead gateway host is replaced soon",
                "replaced, its host alone dead",
            ),
            (_, 0) => (
                800 * MS,
                "of several dead hosts the gateway is replaced soon",
                "replaced, several dead",
            ),
            _ => (
                1700 * MS,
                "a dead gateway host is replaced although an agent hangs",
                "replaced, an agent hung",
            ),
        };
        let bound = if self.weather.loss_per_mille > 0 {
            bound * 3 / 2
        } else {
            bound
        };
        let part = BTreeSet::from_iter((0..self.machines.len()).filter(|index| self.machines[*index].runs()));
        for group in orphaned {
            self.promise(group, part.clone(), bound, what, timed);
        }
    }

    pub(super) fn settled_everywhere(&self) -> bool {
        self.groups.keys().all(|group| self.settled(*group).is_some())
            && self
                .machines
                .iter()
                .all(|machine| machine.power == Power::On && machine.uplink == ElectionUplink::Works)
    }

    pub(crate) fn power_off(&mut self, index: usize) {
        self.note(format!("{} host dies", self.machines[index].id));
        let machine = &mut self.machines[index];
        machine.kill();
        machine.power = Power::Off;
        machine.agent_gone = None;
        self.relink();
    }

    pub(crate) fn kill_agent(&mut self, index: usize) {
        if self.machines[index].agent != Agent::Down {
            self.kill_agent_for_good(index);
            self.coverage.count("agents killed");
            self.mend_later(index);
        }
    }

    /// The agent dies and does not come back by itself.
    pub(crate) fn kill_agent_for_good(&mut self, index: usize) {
        self.note(format!("{} agent killed", self.machines[index].id));
        self.guard(index);
        self.machines[index].kill();
        self.machines[index].agent_gone = Some(self.now);
        self.predicates.disturbed(self.now);
    }

    pub(crate) fn stop_agent(&mut self, index: usize) {
        if self.machines[index].agent == Agent::Running && self.machines[index].power == Power::On {
            self.guard(index);
            self.predicates.disturbed(self.now);
            self.coverage.count("agents stopped");
            self.hang(index);
            self.mend_later(index);
        }
    }

    pub(super) fn hang(&mut self, index: usize) {
        self.note(format!("{} agent stopped", self.machines[index].id));
        self.machines[index].agent = Agent::Stopped;
        self.machines[index].agent_gone = Some(self.now);
        self.predicates.dirty();
    }

    pub(crate) fn pause(&mut self, index: usize) {
        if self.machines[index].power == Power::On {
            self.note(format!("{} machine paused", self.machines[index].id));
            self.machines[index].power = Power::Paused;
            self.machines[index].paused_at = self.now;
            self.machines[index].agent_gone = None;
            self.predicates.disturbed(self.now);
            self.coverage.count("machines paused");
            self.mend_later(index);
            self.relink();
        }
    }

    /// Whatever is down, stopped or paused goes on.
    pub(crate) fn revive_all(&mut self) {
        for index in 0..self.machines.len() {
            self.revive(index);
        }
    }

    pub(crate) fn revive(&mut self, index: usize) {
        let machine = &mut self.machines[index];
        if !machine.known || machine.removed {
            return;
        }
        match (machine.power, machine.agent) {
            (Power::On, Agent::Running) => return,
            (Power::Off, _) => {
                machine.boot(self.now);
                self.start_agent(index);
                self.coverage.count("hosts rebooted");
            }
            (Power::On, Agent::Down) => {
                self.start_agent(index);
                self.coverage.count("agents restarted");
            }
            (Power::On, Agent::Stopped) => self.go_on(index),
            (Power::Paused, Agent::Running | Agent::Stopped) => {
                let aware = self.chance.per_mille(500);
                self.machines[index].wake(self.now, aware);
                self.go_on(index);
            }
            (Power::Paused, Agent::Down) => {
                machine.wake(self.now, true);
                self.start_agent(index);
            }
        }
        self.relink();
    }

    /// A stopped agent goes on with what has waited for it.
    pub(super) fn go_on(&mut self, index: usize) {
        self.note(format!("{} goes on", self.machines[index].id));
        self.predicates.disturbed(self.now);
        let machine = &mut self.machines[index];
        machine.agent = Agent::Running;
        machine.agent_gone = None;
        machine.steady_since = self.now;
        let mut waiting = std::mem::take(&mut machine.backlog);
        let timer = What::Timer { host: index, serial: 0 };
        if self.chance.per_mille(500) {
            waiting.insert(0, timer)
        } else {
            waiting.push(timer)
        }
        for what in waiting {
            self.act(index, what);
        }
    }

    /// The hosts fall into two parts.
    pub(super) fn cut(&mut self) {
        let side: Vec<bool> = (0..self.machines.len()).map(|_| self.chance.per_mille(500)).collect();
        self.note(format!("cut: {side:?}"));
        for a in 0..side.len() {
            for b in 0..side.len() {
                self.up[a][b] &= side[a] == side[b];
            }
        }
        self.coverage.count("cuts");
        self.links_changed();
    }

    pub(super) fn cut_one_way(&mut self) {
        let (from, to) = (
            self.chance.below(self.machines.len()),
            self.chance.below(self.machines.len()),
        );
        self.note(format!(
            "one-way cut: {} not to {}",
            self.machines[from].id, self.machines[to].id
        ));
        self.up[from][to] = from == to;
        self.coverage.count("one-way cuts");
        self.links_changed();
    }

    /// One part does not reach the other, which still reaches it.
    pub(super) fn cut_side_one_way(&mut self) {
        let side: Vec<bool> = (0..self.machines.len()).map(|_| self.chance.per_mille(500)).collect();
        self.note(format!("one-way cut from those marked: {side:?}"));
        for a in 0..side.len() {
            for b in 0..side.len() {
                self.up[a][b] &= !side[a] || side[b];
            }
        }
        self.coverage.count("one-way cuts");
        self.links_changed();
    }

    pub(super) fn cut_pair(&mut self, a: usize) {
        let b = self.chance.below(self.machines.len());
        if a != b {
            self.note(format!(
                "cut between {} and {}",
                self.machines[a].id, self.machines[b].id
            ));
            self.up[a][b] = false;
            self.up[b][a] = false;
            self.coverage.count("pairwise cuts");
            self.links_changed();
        }
    }

    pub(crate) fn links_changed(&mut self) {
        self.predicates.upheaval(self.now);
        self.relink();
    }

    /// Keeps [`World::linked_since`] up to date.
    pub(crate) fn relink(&mut self) {
        for a in 0..self.machines.len() {
            for b in 0..self.machines.len() {
                let linked =
                    self.linked(a, b) && self.machines[a].power == Power::On && self.machines[b].power == Power::On;
                let since = self.linked_since[a][b].unwrap_or(self.now);
                self.linked_since[a][b] = linked.then_some(since);
            }
        }
        self.predicates.dirty();
    }

    pub(crate) fn heal(&mut self) {
        if self.up.iter().flatten().all(|up| *up) {
            return;
        }
        let calm = self.now.saturating_sub(self.predicates.last_disturbance) >= 9500 * MS;
        let whole = self.machines.iter().all(|machine| machine.runs());
        self.note("heal".to_owned());
        self.up.iter_mut().flatten().for_each(|up| *up = true);
        self.coverage.count("heals");
        self.links_changed();
        if calm && whole && self.weather.loss_per_mille == 0 {
            for group in self.groups.keys().copied().collect::<Vec<_>>() {
                self.promise_gapless(group);
            }
        }
    }
}
