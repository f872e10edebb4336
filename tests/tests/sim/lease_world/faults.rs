//! What goes wrong, and what operators do.

use std::net::IpAddr;

use super::core;
use super::host::{Clock, Host, Status};
use super::{What, World};
use core::addresses::{Leases, ReservedAddress};
use core::time::Duration;

/// How long what an operator adds may take to be known to all.
const SPREADS: u64 = 4_000;

impl World {
    /// A host stops. Of the appends under way the first `kept` are on disk.
    pub(crate) fn crash(&mut self, host: usize, kept: usize) {
        self.note(format_args!("host {host} crashes, {kept} appends survive"));
        self.coverage.count("crashes");
        let Host {
            disk,
            status,
            incarnation,
            wake,
            ..
        } = &mut self.hosts[host];
        disk.crash(kept);
        disk.busy_until = 0;
        *status = Status::Down;
        *incarnation += 1;
        *wake = None;
    }

    /// A host starts with what is on its disk; its clock begins anew.
    pub(crate) fn restart(&mut self, host: usize) {
        self.note(format_args!("host {host} restarts"));
        self.coverage.count("restarts");
        let seed = self.chance.next();
        let offset = self.chance.between(0, 1_000_000);
        let fast = self.chance.between(0, 20_000) as i64 - 10_000;
        let compact = self.chance.per_mille(300);
        let now = self.now;
        let Host {
            id,
            disk,
            status,
            clock,
            machine,
            reach,
            pool,
            leaving,
            ..
        } = &mut self.hosts[host];
        *clock = Clock::new(now, offset, fast);
        *machine = Leases::new(*id, disk.recover(), seed, clock.read(now));
        if compact {
            disk.compact(machine.snapshot());
            *machine = Leases::new(*id, disk.recover(), seed, clock.read(now));
        }
        *status = Status::Running;
        reach.clear();
        *leaving = false;
        if let Some(pool) = pool.clone() {
            self.learn_pool(host, pool);
        }
        self.with(host, |machine, now| machine.handle_timeout(now));
    }

    /// A host is off for good, and its disk with it.
    pub(crate) fn destroy(&mut self, host: usize) {
        self.note(format_args!("host {host} is lost with its disk"));
        self.coverage.count("disks lost");
        self.disks_lost += 1;
        self.hosts[host].incarnation += 1;
        self.hosts[host].status = Status::Off;
        self.hosts[host].disk.state.clear();
    }

    /// The operator removes a host that is off.
    pub(crate) fn remove(&mut self, gone: usize, at: usize) {
        self.note(format_args!("host {gone} is removed at {at}"));
        self.coverage.count("removals");
        let id = self.hosts[gone].id;
        self.with(at, |machine, now| machine.remove(id, now));
    }

    /// The operator says at these hosts that nobody else serves, until each takes part.
    pub(crate) fn pool_recover(&mut self, at: &[usize]) {
        self.note(format_args!("the operator recovers the pool at {at:?}"));
        self.coverage.count("pools recovered");
        let until = self.now + 6_000;
        while self.violation.is_none() && at.iter().any(|&host| !self.hosts[host].takes_part()) {
            for &host in at {
                let known = self.neighbours(host).into_iter().map(|other| self.hosts[other].id);
                let known = known.collect();
                // Not yet, or it takes part by another's word meanwhile.
                self.with(host, |machine, now| drop(machine.recover(&known, now)));
            }
            if self.now >= until {
                return self.broken("a pool can be recovered", format!("hosts {at:?} do not take part"));
            }
            let soon = self.now + 200;
            self.run(soon);
        }
    }

    pub(crate) fn cut(&mut self, side: &[usize], both_ways: bool) {
        for a in 0..self.hosts.len() {
            for &b in side.iter().filter(|_| !side.contains(&a)) {
                self.cut.insert((a, b));
                if both_ways {
                    self.cut.insert((b, a));
                }
            }
        }
        self.note(format_args!("cut around {side:?}, both ways: {both_ways}"));
        self.coverage.count(if both_ways { "cuts" } else { "one-way cuts" });
    }

    pub(crate) fn heal(&mut self) {
        self.note(format_args!("the network is whole"));
        self.cut.clear();
    }

    fn running(&self) -> Vec<usize> {
        (0..self.hosts.len()).filter(|&host| self.hosts[host].runs()).collect()
    }

    fn any(&mut self, fits: impl Fn(&Host) -> bool) -> Option<usize> {
        let fit: Vec<usize> = (0..self.hosts.len()).filter(|&host| fits(&self.hosts[host])).collect();
        (!fit.is_empty()).then(|| self.chance.pick(&fit))
    }

    /// Something happens at random.
    pub(crate) fn fault(&mut self) {
        match self.chance.below(100) {
            0..14 => {
                let running = self.running();
                let side: Vec<usize> = running.into_iter().filter(|_| self.chance.per_mille(400)).collect();
                let both_ways = self.chance.per_mille(700);
                self.cut(&side, both_ways);
            }
            14..34 => self.heal(),
            34..46 => {
                if let Some(host) = self.any(Host::runs) {
                    let pending = self.hosts[host].disk.pending();
                    let kept = self.chance.below(pending + 1);
                    self.crash(host, kept);
                }
            }
            46..64 => {
                if let Some(host) = self.any(|host| host.status == Status::Down) {
                    self.restart(host);
                }
            }
            64..70 => self.lose_a_host(),
            70..78 => self.remove_a_host(),
            78..84 => self.join_a_host(),
            84..87 => {
                let stay = self
                    .hosts
                    .iter()
                    .filter(|host| host.runs() && host.takes_part() && !host.leaving)
                    .count();
                if stay > 2
                    && let Some(host) = self.any(|host| host.runs() && host.takes_part() && !host.leaving)
                {
                    self.note(format_args!("host {host} is to leave"));
                    self.hosts[host].leaving = true;
                    self.with(host, |machine, now| machine.leave(now));
                }
            }
            87..89 => {
                if let Some(at) = self.any(Host::runs) {
                    let guest = self.chance.below(self.guests.len());
                    self.revoke(guest, at);
                }
            }
            89..91 => {
                if let Some(host) = self.any(Host::runs) {
                    let slow = self.chance.per_mille(500);
                    self.hosts[host].fsync = if slow { (50, 3000) } else { (1, 8) };
                }
            }
            _ => self.change_pool(),
        }
        let mut delay = self.chance.between(300, 6_000) / self.pace;
        if self.adding {
            delay += SPREADS;
            self.adding = false;
        }
        self.push(delay, What::Fault);
    }

    fn lose_a_host(&mut self) {
        let staying =
            |host: &Host| !host.leaving && matches!(host.status, Status::Running | Status::Down) && host.takes_part();
        let others = self.hosts.iter().filter(|host| staying(host)).count();
        // Now and then all that take part: what is left must be recovered.
        let few = if self.trace.is_multiple_of(8) { 1 } else { 3 };
        if let Some(host) = self.any(|host| matches!(host.status, Status::Running | Status::Down))
            && others >= if staying(&self.hosts[host]) { few } else { 1 }
            && self.disks_lost < self.may_lose
        {
            self.destroy(host);
        }
    }

    fn remove_a_host(&mut self) {
        let off = self.any(|host| host.status == Status::Off);
        let at = self.any(|host| host.runs() && host.takes_part() && !host.leaving);
        if let (Some(off), Some(at)) = (off, at) {
            self.remove(off, at);
        }
    }

    fn join_a_host(&mut self) {
        let there = self
            .hosts
            .iter()
            .filter(|host| matches!(host.status, Status::Running | Status::Down))
            .count();
        let through = self.any(|host| host.runs() && host.takes_part() && !host.leaving);
        if let Some(through) = through.filter(|_| there < 6 && self.hosts.len() < 9) {
            let joiner = self.host();
            self.coverage.count("joins");
            self.join(joiner, through);
        }
    }

    /// Whether an address has an owner of which nobody knows that a host reaches.
    fn is_owned_unheard(&self, at: usize, address: IpAddr) -> bool {
        let there = |host: &&Host| matches!(host.status, Status::Running | Status::Down);
        let key = (self.segment, address);
        let owner = |host: &Host| host.disk.state.get(&key).and_then(|state| state.owner);
        let owned = self.hosts.iter().filter(there).any(|host| owner(host) == Some(host.id));
        let heard = (0..self.hosts.len()).any(|host| self.connected(at, host) && owner(&self.hosts[host]).is_some());
        owned && !heard
    }

    /// A new generation is applied where the newest is known.
    fn change_pool(&mut self) {
        let newest = self.pool.as_ref().map_or(0, |pool| pool.generation);
        let knows = |host: &Host| {
            host.runs() && host.takes_part() && host.pool.as_ref().is_some_and(|pool| pool.generation == newest)
        };
        let Some(at) = self.any(knows) else { return };
        if self.is_deleted() {
            return self.apply_again(at);
        }
        if self.chance.per_mille(150) {
            return self.delete(at);
        }
        self.coverage.count("generations");
        // Addresses that were added where this host did not hear of it (docs/protocol.md, B4).
        let unheard = (10..=30)
            .map(Self::address)
            .any(|address| self.is_owned_unheard(at, address));
        let dice = if unheard {
            self.chance.pick(&[0, 2])
        } else {
            self.chance.below(4)
        };
        self.adding = matches!(dice, 1 | 3);
        let time = Duration::from_millis(self.chance.between(8_000, 30_000) / self.pace);
        let narrow = self.last;
        let wide = self.chance.per_mille(500);
        let guest = self.chance.below(self.guests.len());
        let client = self.guests[guest].mac;
        let last = self.chance.pick(&[10u8, 13, 18, 30]);
        self.apply(at, |pool| match dice {
            0 => pool.lease_time = time,
            1 => pool.ranges = vec![Self::range(10, if wide { narrow + 4 } else { narrow })],
            2 => pool.reservations.clear(),
            _ => {
                let address = Self::address(last);
                pool.reservations
                    .retain(|other| other.address != address && other.client != client);
                pool.reservations.push(ReservedAddress {
                    client,
                    address,
                    hostname: None,
                });
            }
        });
    }
}
