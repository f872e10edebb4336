//! A random history: what is done to the hosts, and when.

use super::core::election::{ElectionCandidacy, GroupId};
use super::{MS, Power, Weather, What, World};
use crate::report::{Ended, Failure, Violation};

/// Virtual length of a history.
const LENGTH: u64 = 31_000 * MS;
/// When faults end.
const CALM: u64 = 18_500 * MS;

/// Runs the history of a seed.
pub(crate) fn run(seed: u64) -> Ended {
    let mut world = random_world(seed);
    let result = live(&mut world);
    let failure = result.err().map(|violation| Failure {
        seed,
        violation,
        last_steps: world.last_steps.iter().cloned().collect(),
    });
    Ended {
        trace: world.trace,
        coverage: world.coverage,
        failure,
    }
}

fn random_world(seed: u64) -> World {
    let mut chance = crate::chance::Chance::new(seed);
    let hosts = chance.pick(&[2, 2, 3, 3, 3, 3, 4, 4, 4, 5, 5, 6, 7, 8, 9]);
    let least = chance.between(100, 10 * MS);
    let weather = Weather {
        loss_per_mille: chance.pick(&[0, 0, 0, 10, 30, 100]),
        delay: (least, least + chance.pick(&[500, 5 * MS, 10 * MS, 30 * MS])),
        duplicates_per_mille: chance.pick(&[0, 10]),
    };
    let mut world = World::new(chance.next(), hosts, weather);
    let first = chance.between(1, u64::MAX / 2);
    for group in 0..chance.pick(&[1, 1, 1, 2, 3]) {
        world.add_group(first + group, 0..hosts);
    }
    if chance.per_mille(150) {
        let deaf = chance.below(hosts);
        world.machines[deaf].answers_icmp = false;
    }
    if chance.per_mille(250) {
        for machine in &mut world.machines {
            if chance.per_mille(400) {
                machine.candidacy = ElectionCandidacy::Never;
            }
        }
    }
    if chance.per_mille(200) {
        for machine in &mut world.machines {
            machine.priority = chance.pick(&[50, 100, 200]) as u32;
        }
    }
    let late = if hosts > 2 && chance.per_mille(200) { 1 } else { 0 };
    for index in 0..hosts {
        world.machines[index].known = index >= late;
    }
    if hosts > 7 {
        world.at(1000 * MS, What::Membership);
    }
    world
}

fn live(world: &mut World) -> Result<(), Violation> {
    for index in 0..world.machines.len() {
        if world.machines[index].known {
            world.machines[index].boot(0);
            world.start_agent(index);
        }
    }
    let mut next = world.chance.between(500, 4000) * MS;
    while next < CALM {
        world.run(next)?;
        if world.chance.per_mille(120) {
            world.rehearse()?;
        } else {
            world.fault();
        }
        // Some faults fall upon each other, some find the cluster settled.
        next = world.now
            + match world.chance.below(10) {
                0 | 1 => world.chance.between(5, 150),
                2..=5 => world.chance.between(150, 3000),
                6..=8 => world.chance.between(2600, 6000),
                _ => world.chance.between(8000, 12_000),
            } * MS;
    }
    world.run(CALM)?;
    world.calm();
    world.run(LENGTH)
}

impl World {
    /// One fault in a cluster that has settled: only then the bounds of a takeover and of a heal are promised.
    pub(super) fn rehearse(&mut self) -> Result<(), Violation> {
        self.heal();
        self.revive_all();
        let settling = self.chance.pick(&[3000, 3000, 9600]);
        self.run(self.now + settling * MS)?;
        let group = self.some_group();
        let target = self.some_host(group);
        match self.chance.below(4) {
            0 | 1 => self.die_together(target),
            2 => self.stop_agent(target),
            _ => {
                self.cut();
                self.run(self.now + 9600 * MS)?;
                self.heal();
                self.run(self.now + 2000 * MS)?;
            }
        }
        Ok(())
    }

    /// Something happens to somebody, the present gateway often.
    pub(super) fn fault(&mut self) {
        let group = self.some_group();
        let target = self.some_host(group);
        match self.chance.below(100) {
            0..=17 => self.die_together(target),
            18..=32 => self.kill_agent(target),
            33..=46 => self.stop_agent(target),
            47..=51 => self.pause(target),
            52..=59 => self.cut(),
            60..=63 => self.cut_one_way(),
            64..=67 => self.cut_side_one_way(),
            68..=72 => self.cut_pair(target),
            73..=82 => self.heal(),
            83..=84 => self.revive_all(),
            85..=88 => self.move_gateway(group),
            89 => self.change_fitness(target),
            90..=91 => self.drain_or_undrain(target),
            92..=93 => self.change_uplink(target),
            94 => self.change_candidacy(target),
            95..=96 => self.join(),
            97..=98 => self.remove(target),
            _ => self.regroup(),
        }
    }

    /// Most of what breaks is mended after a while: at once, within a lifetime, or after more than a grant.
    pub(super) fn mend_later(&mut self, host: usize) {
        let after = match self.chance.below(10) {
            0..=2 => self.chance.between(5, 300),
            3..=5 => self.chance.between(300, 2500),
            6..=7 => self.chance.between(2500, 9000),
            _ => return,
        };
        self.at(self.now + after * MS, What::Revive { host });
    }

    pub(super) fn some_group(&mut self) -> GroupId {
        let groups: Vec<GroupId> = self.groups.keys().copied().collect();
        self.chance.pick(&groups)
    }

    pub(super) fn some_host(&mut self, group: GroupId) -> usize {
        let holder = (0..self.machines.len()).find(|index| self.machines[*index].holds(group));
        let any = self.chance.below(self.machines.len());
        holder.filter(|_| self.chance.per_mille(600)).unwrap_or(any)
    }

    /// Faults end: everything runs, or stays dead, or stays cut in parts, to the end.
    pub(super) fn calm(&mut self) {
        if self.chance.per_mille(600) {
            self.up.iter_mut().flatten().for_each(|up| *up = true);
            self.note("heal for good".to_owned());
        }
        for index in 0..self.machines.len() {
            let stays_dead = self.machines[index].power == Power::Off && self.chance.per_mille(400);
            if !stays_dead {
                self.revive(index);
            }
        }
        self.links_changed();
    }
}
