//! What must hold after every step, and at the end.

use std::net::IpAddr;

use super::core;
use super::host::{Host, Status};
use super::{World, id_of};
use crate::report::Violation;
use core::addresses::{Holder, Part, SegmentPool, Transfer};
use core::id::SegmentId;

/// So many hosts have a share.
const SHARERS: usize = 7;

impl World {
    pub(crate) fn broken(&mut self, predicate: &'static str, detail: String) {
        if self.violation.is_none() {
            self.violation = Some(Violation { predicate, detail });
        }
    }

    /// G2: called when a guest begins to rely on an address.
    pub(crate) fn nobody_else_relies(&mut self, guest: usize, address: IpAddr) {
        let other = (0..self.guests.len())
            .find(|&other| other != guest && self.relies(other).is_some_and(|held| held.address == address));
        if let Some(other) = other {
            let now = self.now;
            self.broken(
                "no two guests rely on one address",
                format!("guests {other} and {guest} rely on {address} at {now}"),
            );
        }
    }

    /// Called when a host has left: while there is anybody to take it, what it owned has been taken.
    pub(super) fn nothing_is_left_behind(&mut self, host: usize) {
        let machine = &self.hosts[host].machine;
        let roster = machine.roster();
        let others = roster
            .members
            .iter()
            .any(|other| *other != self.hosts[host].id && !roster.removed.contains(other));
        let segment = self.segment_at(host);
        // Of what is over nobody needs anything.
        if !machine.goes_on(segment) {
            return;
        }
        let left = (10..=30).map(Self::address).find(|&address| {
            let state = machine.state(segment, address);
            state.transfer == Transfer::HandingOver
                || state.owner == Some(self.hosts[host].id) && state.transfer == Transfer::Settled
        });
        if let Some(address) = left.filter(|_| others) {
            let state = machine.state(segment, address);
            self.broken(
                "what a host owned is taken before it has left",
                format!("host {host} left with {address}: {state:?}"),
            );
        }
    }

    /// What must hold at all times.
    pub(crate) fn check(&mut self) {
        self.every_lease_survives_a_disk();
        self.every_address_has_one_owner();
    }

    /// G3: as many disks know a lease as one may lose, and one more.
    fn every_lease_survives_a_disk(&mut self) {
        let needed = 2u32.saturating_sub(self.disks_lost);
        for guest in 0..self.guests.len() {
            let Some(held) = self.relies(guest).filter(|held| held.copies >= 2) else {
                continue;
            };
            let mac = self.guests[guest].mac;
            let knows = |host: &&Host| {
                self.ids.iter().any(|id| {
                    host.disk.state.get(&(*id, held.address)).is_some_and(|state| {
                        let last = state.record.holder == (Holder::Free { last: Some(mac) });
                        let released = state.record.holder == Holder::Released(mac);
                        state.record.client() == Some(mac) || released || last && !state.is_free()
                    })
                })
            };
            // Nobody extends what an operator ended.
            let ended = |host: &Host| {
                let on_disk = host.disk.state.iter().filter(|((_, at), _)| *at == held.address);
                on_disk
                    .map(|(_, state)| state.record.holder)
                    .any(|holder| holder == Holder::Released(mac))
            };
            if self.hosts.iter().any(ended) {
                continue;
            }
            // Its owner found no keeper, and says so.
            let flagged = |host: &Host| {
                self.ids.iter().any(|id| {
                    let state = host.machine.state(*id, held.address);
                    let record = &state.record;
                    state.owner == Some(host.id) && record.client() == Some(mac) && record.keeper.is_none()
                })
            };
            if self.hosts.iter().any(flagged) {
                self.guests[guest].held = Some(super::guest::Held { copies: 1, ..held });
                continue;
            }
            let on_disk = self
                .hosts
                .iter()
                .filter(|host| host.status != Status::Left)
                .filter(knows)
                .count();
            if (on_disk as u32) < needed {
                self.broken(
                    "a lease survives the loss of one disk",
                    format!("guest {guest} relies on {}, which {on_disk} disks know", held.address),
                );
            }
        }
    }

    /// Nobody but the removed ever believes to own what another owns.
    fn every_address_has_one_owner(&mut self) {
        for last in 10..=30 {
            let address = Self::address(last);
            let owners = self.owners(address);
            if owners.len() > 1 {
                self.broken(
                    "an address has one owner",
                    format!("{address} is owned by hosts {owners:?}"),
                );
            }
        }
    }

    /// What each running host has of an address.
    fn views(&self, address: IpAddr) -> String {
        let running = (0..self.hosts.len()).filter(|&host| self.hosts[host].runs());
        let view = |host: usize| {
            let state = self.hosts[host].machine.state(self.segment, address);
            let part = self.hosts[host].machine.part();
            format!(
                "\n  {host} ({part:?}): {} of {:?}, {:?}, {:?}",
                state.epoch, state.owner, state.transfer, state.record
            )
        };
        running.map(view).collect()
    }

    /// Whether a host believes to own an address.
    pub(crate) fn owns(&self, host: usize, address: IpAddr) -> bool {
        let host = &self.hosts[host];
        let state = host.machine.state(self.segment, address);
        state.owner == Some(host.id) && state.transfer == Transfer::Settled
    }

    fn owners(&self, address: IpAddr) -> Vec<usize> {
        (0..self.hosts.len())
            .filter(|&host| self.hosts[host].runs() && self.owns(host, address))
            .collect()
    }

    /// With the network whole, the guests gone and the dead removed, every address is free.
    pub(crate) fn check_end(&mut self) {
        // What only the lost knew is lost.
        let known = self
            .hosts
            .iter()
            .filter(|host| host.runs())
            .filter_map(|host| host.pool.clone());
        let Some(pool) = known.max_by_key(|pool| pool.generation) else {
            return;
        };
        self.check_forgotten(&pool);
        if self.tombstones.contains(&pool.generation) {
            return;
        }
        for address in pool.ranges.iter().flat_map(|range| range.addresses()) {
            let address = address.ip();
            let owners = self.owners(address);
            let [owner] = owners[..] else {
                let detail = format!("{address} is owned by hosts {owners:?}:{}", self.views(address));
                return self.broken("every address has an owner in the end", detail);
            };
            let state = self.hosts[owner].machine.state(self.segment, address);
            let accounted = state.is_free() || matches!(state.record.holder, Holder::Declined | Holder::Reserved(_));
            if !accounted {
                return self.broken("every address is free in the end", format!("{address}: {state:?}"));
            }
            let reserved = pool
                .reservations
                .iter()
                .find(|reservation| reservation.address == address);
            if let Holder::Reserved(mac) = state.record.holder
                && reserved.is_none_or(|reserved| reserved.client != mac)
            {
                return self.broken(
                    "a reservation that ended is over in the end",
                    format!("{address}: {state:?}"),
                );
            }
        }
        self.check_shares();
    }

    /// What was deleted and did not come back is forgotten everywhere.
    fn check_forgotten(&mut self, newest: &SegmentPool) {
        let deleted = self.tombstones.contains(&newest.generation);
        let living = id_of(newest.born);
        let gone: Vec<SegmentId> = self.ids.iter().copied().filter(|id| deleted || *id != living).collect();
        for id in gone {
            let serves = |host: &&Host| host.runs() && host.takes_part();
            let known = |host: &Host| host.machine.newest_generation(id);
            if let Some(host) = self.hosts.iter().filter(serves).find(|host| known(host) > 0) {
                let detail = format!("{id} is known to host {} in generation {}", host.id, known(host));
                return self.broken("a deleted segment is forgotten in the end", detail);
            }
        }
    }

    /// All that take part have free addresses, if there are enough.
    fn check_shares(&mut self) {
        let takes = |host: &Host| host.runs() && host.machine.part() == Part::Taking;
        let takers: Vec<&Host> = self.hosts.iter().filter(|host| takes(host)).take(SHARERS).collect();
        let free_of = |host: &Host| -> u64 {
            let lines = host.machine.pool_show(self.segment);
            let own = lines.iter().filter(|line| line.owner == Some(host.id));
            own.map(|line| line.free).sum()
        };
        let free: Vec<u64> = takers.iter().map(|host| free_of(host)).collect();
        // Half is the gateway's.
        let others = takers.len().saturating_sub(1).max(1) as u64;
        let due = free.iter().sum::<u64>() / 2 / others;
        if free.iter().any(|free| *free < due.div_ceil(2)) {
            self.broken(
                "every host has its share in the end",
                format!("{due} are due, not {free:?}"),
            );
        }
    }
}
