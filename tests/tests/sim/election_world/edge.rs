//! What stands for the agent's edge: effects are done, messages and probes travel, gossip tells who is there.

use std::collections::BTreeSet;

use super::core::cluster::reachability::{Outcome, Probe};
use super::core::election::{Effect, ElectionView, Fitness, GroupId, GroupView, HostStanding, HostView, Message};
use super::core::id::{HostId, Term};
use super::{MS, Power, What, World};

impl World {
    /// Does what the election wants done, and sets its timer.
    pub(crate) fn drain(&mut self, host: usize) {
        while let Some(effect) = self.machines[host]
            .election
            .as_mut()
            .and_then(|election| election.poll_effect())
        {
            self.effect(host, effect);
        }
        let Some((deadline, _)) = self.machines[host]
            .election
            .as_ref()
            .and_then(|election| election.poll_timeout())
        else {
            return;
        };
        let at = self.machines[host].real(deadline, self.now) + self.chance.between(0, MS);
        let machine = &mut self.machines[host];
        if machine
            .timer_at
            .is_none_or(|timer| at + 2 * MS < timer || timer <= self.now)
        {
            machine.timer_at = Some(at);
            machine.timer_serial += 1;
            let serial = machine.timer_serial;
            self.at(at, What::Timer { host, serial });
        }
    }

    pub(super) fn effect(&mut self, host: usize, effect: Effect) {
        let instance = self.machines[host].instance;
        match effect {
            Effect::Send { to, message } => self.send(host, to, message),
            Effect::Probe(Probe { host: to, number }) => self.probe(host, to, number),
            Effect::SetAddress { group, term, lifetime } => {
                let at = self.now + self.chance.between(100, 2 * MS);
                self.at(
                    at,
                    What::SetAddress {
                        host,
                        instance,
                        group,
                        term,
                        lifetime,
                    },
                );
            }
            Effect::RemoveAddress { group } => {
                let at = self.now + self.chance.between(100, 2 * MS);
                self.at(at, What::RemoveAddress { host, instance, group });
            }
            Effect::Prepare { .. } if !self.machines[host].prepares => {}
            Effect::Prepare { group, .. } => {
                let at = self.now + self.chance.between(MS, 20 * MS);
                self.at(at, What::Prepared { host, instance, group });
            }
            Effect::Role { group, role, cause } => {
                let id = self.machines[host].id;
                self.note(format!("{id} in {group}: {role:?} ({cause:?})"));
                self.role(host, group, role);
            }
            Effect::Liveness { .. } => {}
            Effect::Persist { kernel_answered } => self.machines[host].kernel_answered = kernel_answered,
        }
    }

    pub(super) fn send(&mut self, from: usize, to: HostId, message: Message) {
        let to = to.0 as usize - 1;
        if !self.up[from][to] || self.chance.per_mille(self.weather.loss_per_mille) {
            return;
        }
        let (least, most) = self.weather.delay;
        if self.chance.per_mille(self.weather.duplicates_per_mille) {
            let at = self.now + self.chance.between(least, most);
            self.at(
                at,
                What::Deliver {
                    from,
                    to,
                    message: Box::new(message.clone()),
                },
            );
        }
        let at = self.now + self.chance.between(least, most);
        self.at(
            at,
            What::Deliver {
                from,
                to,
                message: Box::new(message),
            },
        );
    }

    pub(super) fn probe(&mut self, from: usize, to: HostId, number: u64) {
        let to = to.0 as usize - 1;
        let instance = self.machines[from].instance;
        let lost =
            self.chance.per_mille(self.weather.loss_per_mille) || self.chance.per_mille(self.weather.loss_per_mille);
        let hopeless = self.machines[to].power != Power::On || !self.up[from][to] || !self.up[to][from];
        // A kernel answers at once: no agent stands in a queue for it.
        let round_trip = (self.chance.between(self.weather.delay.0, self.weather.delay.1)).min(49 * MS);
        if lost || hopeless {
            let outcome = Outcome::Unanswered;
            self.at(
                self.now + 50 * MS,
                What::ProbeReport {
                    host: from,
                    instance,
                    to,
                    number,
                    outcome,
                },
            );
        } else {
            self.at(
                self.now + round_trip,
                What::Echo {
                    from,
                    instance,
                    to,
                    number,
                    sent: self.now,
                },
            );
        }
    }

    /// What gossip says at a host.
    pub(super) fn view(&self, host: usize) -> ElectionView {
        let mut view = ElectionView::default();
        for (index, machine) in self.machines.iter().enumerate().filter(|(_, machine)| machine.known) {
            let standing = if machine.removed {
                HostStanding::Removed
            } else if self.machines[host].given_up.contains(&index) {
                HostStanding::Failed
            } else {
                HostStanding::Member
            };
            let seen = HostView {
                candidacy: machine.candidacy,
                priority: machine.priority,
                uplink: machine.uplink,
                standing,
            };
            view.hosts.insert(machine.id, seen);
        }
        for (&id, truth) in &self.groups {
            if truth.hosts.contains(&host) {
                let hosts = truth.hosts.iter().map(|index| self.machines[*index].id).collect();
                let known_holder = self.rumour(host, id);
                let lacks = |index: &&usize| self.machines[**index].fitness == Fitness::Lacking;
                let lacking = truth.hosts.iter().filter(lacks);
                view.groups.insert(
                    id,
                    GroupView {
                        segments: truth.segments.clone(),
                        hosts,
                        lacking: lacking.map(|index| self.machines[*index].id).collect(),
                        known_holder,
                    },
                );
            }
        }
        view
    }

    /// The holder that the hosts around speak of.
    pub(super) fn rumour(&self, host: usize, group: GroupId) -> Option<(HostId, Term)> {
        self.machines
            .iter()
            .enumerate()
            .filter(|(index, machine)| *index != host && machine.runs() && self.linked(host, *index))
            .filter_map(|(_, machine)| machine.election.as_ref()?.holder(group))
            .max_by_key(|(holder, term)| (*term, *holder))
    }

    /// Where there are more hosts than votes, membership's word on who has failed counts.
    pub(super) fn membership(&mut self) {
        for host in 0..self.machines.len() {
            let given_up: BTreeSet<usize> = (0..self.machines.len())
                .filter(|other| {
                    let machine = &self.machines[*other];
                    *other != host && machine.known && !(machine.runs() && self.linked(host, *other))
                })
                .collect();
            if given_up != self.machines[host].given_up {
                self.machines[host].given_up = given_up;
                self.hand(host, What::View { host });
            }
        }
    }
}
