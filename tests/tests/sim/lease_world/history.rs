//! A random history of one seed.

use super::core;
use super::host::Status;
use super::{Weather, What, World};
use crate::report::{Ended, Failure};
use core::time::Duration;

/// How long faults go on, and how long the network is whole afterwards.
const FAULTS: u64 = 120_000;

pub(crate) fn run(seed: u64) -> Ended {
    let mut world = World::new(
        seed,
        Weather {
            loss_per_mille: 0,
            delay: (1, 20),
            duplicates_per_mille: 0,
            lingering_per_mille: 0,
        },
    );
    world.weather.loss_per_mille = world.chance.pick(&[0, 10, 50, 150]);
    world.weather.duplicates_per_mille = world.chance.pick(&[0, 20, 100]);
    world.weather.lingering_per_mille = world.chance.pick(&[0, 5, 50]);
    world.weather.delay = world.chance.pick(&[(1, 5), (1, 40), (20, 250)]);
    world.may_lose = world.chance.pick(&[0, 1, 1, 3]);
    if world.chance.per_mille(500) {
        (world.pace, world.last) = (world.chance.between(3, 8), world.chance.pick(&[10, 11]));
    }
    let hosts = world.chance.between(2, 5) as usize;
    let guests = world.chance.between(2, if world.pace > 1 { 3 } else { 7 }) as usize;
    world.begin(hosts, guests);
    world.push(3_000, What::Fault);
    world.run(FAULTS);
    if world.violation.is_none() {
        world.recover();
        let quiet = world.now + 260_000;
        world.run(quiet);
    }
    if world.violation.is_none() {
        world.check_end();
    }
    ended(seed, world)
}

/// What a history ends with.
pub(crate) fn ended(seed: u64, mut world: World) -> Ended {
    let failure = world.violation.take().map(|violation| Failure {
        seed,
        violation,
        last_steps: world.log.iter().cloned().collect(),
    });
    Ended {
        trace: world.trace,
        coverage: world.coverage,
        failure,
    }
}

impl World {
    /// Hosts that have joined each other, a pool of six addresses, guests that ask.
    pub(crate) fn begin(&mut self, hosts: usize, guests: usize) {
        let first = self.host();
        self.form(first);
        let (last, pace) = (self.last, self.pace);
        self.apply(first, |pool| {
            pool.ranges = vec![Self::range(10, last)];
            pool.lease_time = Duration::from_millis(20_000 / pace);
        });
        for _ in 1..hosts {
            let joiner = self.host();
            self.join(joiner, first);
        }
        for _ in 0..guests {
            let home = self.chance.below(hosts);
            let guest = self.guest(home);
            let delay = self.chance.between(500, 5_000);
            self.push(delay, What::GuestActs { guest });
        }
    }

    /// Everything is mended: the network, the hosts whose disks are there, the members that are off.
    pub(crate) fn recover(&mut self) {
        self.note(format_args!("everything is mended"));
        self.weather = Weather {
            loss_per_mille: 0,
            delay: (1, 20),
            duplicates_per_mille: 0,
            lingering_per_mille: 0,
        };
        self.faults_over = true;
        self.heal();
        for guest in &mut self.guests {
            guest.gone = true;
        }
        for host in 0..self.hosts.len() {
            self.hosts[host].fsync = (1, 8);
            if self.hosts[host].status == Status::Down {
                self.restart(host);
            }
        }
        // The dead are removed once everybody hears everybody.
        let soon = self.now + 3_000;
        self.run(soon);
        // Gossip finds what was told during a cut that nobody noticed.
        for host in 0..self.hosts.len() {
            for other in (0..self.hosts.len()).filter(|&other| other != host) {
                self.compare_shares(host, other);
            }
        }
        let part = |world: &Self| {
            (0..world.hosts.len()).find(|&host| world.hosts[host].runs() && world.hosts[host].takes_part())
        };
        let Some(at) = part(self).or_else(|| self.recover_the_pool()) else {
            return;
        };
        for gone in 0..self.hosts.len() {
            // Who left while it was cut off is not known to have left.
            if matches!(self.hosts[gone].status, Status::Off | Status::Left) {
                self.remove(gone, at);
            }
        }
    }
    /// Nobody takes part: the operator removes the lost, and says so at one host.
    fn recover_the_pool(&mut self) -> Option<usize> {
        let at = (0..self.hosts.len()).find(|&host| self.hosts[host].runs())?;
        for gone in 0..self.hosts.len() {
            if matches!(self.hosts[gone].status, Status::Off | Status::Left) {
                self.remove(gone, at);
            }
        }
        self.pool_recover(&[at]);
        Some(at)
    }
}
