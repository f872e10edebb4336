//! Guests: they ask for leases, rely on what they were given for as long as their own clock says, and move about.

use std::net::IpAddr;

use super::core;
use super::{What, World};
use core::addresses::{Answer, Basis, Claim, Guest as Seen, Request};
use core::id::Mac;
use core::time::Duration;

/// What a guest waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waits {
    Nothing,
    Offer(u64),
    Ack(u64),
}

/// A lease as the guest sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) address: IpAddr,
    /// By the guest's own clock, as a time of the world.
    pub(crate) until: u64,
    pub(crate) copies: u32,
}

#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) mac: Mac,
    pub(crate) home: usize,
    /// Parts of a million by which its clock runs fast.
    pub(crate) fast: i64,
    pub(crate) held: Option<Held>,
    pub(crate) waits: Waits,
    pub(crate) remembers: Option<IpAddr>,
    pub(crate) gone: bool,
    /// Somebody else uses it, as the guest found: it does not take that again.
    pub(crate) avoids: Option<IpAddr>,
}

impl World {
    pub(crate) fn guest(&mut self, home: usize) -> usize {
        let number = self.guests.len();
        let fast = self.chance.between(0, 20_000) as i64 - 10_000;
        self.guests.push(Guest {
            mac: Mac([2, 0, 0, 0, 0, number as u8 + 1]),
            home,
            fast,
            held: None,
            waits: Waits::Nothing,
            remembers: None,
            gone: false,
            avoids: None,
        });
        number
    }

    /// The lease that a guest relies on now.
    pub(crate) fn relies(&self, guest: usize) -> Option<Held> {
        self.guests[guest].held.filter(|held| held.until > self.now)
    }

    fn token(&mut self) -> u64 {
        self.tokens += 1;
        self.tokens
    }

    fn claim(&self, guest: usize, basis: Basis) -> Claim {
        let guest = &self.guests[guest];
        let home = Some(self.hosts[guest.home].id).filter(|_| self.hosts[guest.home].runs());
        Claim {
            client: guest.mac,
            basis,
            guest_host: home,
            lease_time: Duration::from_secs(86_400),
            client_id: vec![1, 2],
            hostname: "guest".to_owned(),
        }
    }

    pub(crate) fn discover(&mut self, guest: usize, server: usize) {
        let token = self.token();
        let client = self.guests[guest].mac;
        let wish = self.guests[guest].remembers;
        self.guests[guest].waits = Waits::Offer(token);
        let request = Request::Find {
            segment: self.segment_at(server),
            client,
            wish,
        };
        self.ask(guest, server, token, request);
    }

    pub(crate) fn request(&mut self, guest: usize, server: usize, address: IpAddr, basis: Basis) {
        let token = self.token();
        let claim = self.claim(guest, basis);
        self.guests[guest].waits = Waits::Ack(token);
        self.ask(
            guest,
            server,
            token,
            Request::Bind {
                segment: self.segment_at(server),
                address,
                claim,
            },
        );
    }

    /// The guest stops relying on its lease and says so.
    pub(crate) fn release(&mut self, guest: usize, server: usize) {
        if let Some(held) = self.give_up(guest) {
            let (token, client) = (self.token(), self.guests[guest].mac);
            let request = Request::Release {
                segment: self.segment_at(server),
                address: held.address,
                client,
            };
            self.ask(guest, server, token, request);
            self.coverage.count("releases");
        }
    }

    pub(crate) fn decline(&mut self, guest: usize, server: usize) {
        if let Some(held) = self.give_up(guest) {
            let (token, client) = (self.token(), self.guests[guest].mac);
            self.guests[guest].avoids = Some(held.address);
            self.guests[guest].remembers = None;
            let request = Request::Decline {
                segment: self.segment_at(server),
                address: held.address,
                client,
            };
            self.ask(guest, server, token, request);
            self.coverage.count("declines");
        }
    }

    /// An operator ends the guest's lease, which goes on relying on it until it hears no.
    pub(crate) fn revoke(&mut self, guest: usize, at: usize) {
        if let Some(held) = self.relies(guest) {
            let (token, client) = (self.token(), self.guests[guest].mac);
            let request = Request::Revoke {
                segment: self.segment_at(at),
                address: held.address,
                client,
            };
            self.note(format_args!("host {at} ends the lease of guest {guest}"));
            self.with(at, |machine, now| machine.handle_request(token, request, now));
            self.coverage.count("leases ended");
        }
    }

    pub(crate) fn give_up(&mut self, guest: usize) -> Option<Held> {
        self.guests[guest].waits = Waits::Nothing;
        let held = self.relies(guest);
        self.guests[guest].held = None;
        held
    }

    fn ask(&mut self, guest: usize, server: usize, token: u64, request: Request) {
        self.askers.insert(token, guest);
        let delay = self.chance.between(0, 3);
        self.push(delay, What::Request { server, token, request });
    }

    /// The DHCP server of a host answers; the packet may be late, but not by much.
    pub(crate) fn answered(&mut self, server: usize, token: u64, answer: Answer) {
        let Some(guest) = self.askers.remove(&token) else {
            return;
        };
        if self.connected(server, self.guests[guest].home) {
            let delay = if self.chance.per_mille(50) {
                self.chance.between(3, 2000)
            } else {
                self.chance.between(0, 3)
            };
            self.push(delay, What::ToGuest { guest, token, answer });
        }
    }

    pub(crate) fn hears(&mut self, guest: usize, token: u64, answer: Answer) {
        match (self.guests[guest].waits, answer) {
            (Waits::Offer(_), Answer::Offer { address, .. }) if self.guests[guest].avoids == Some(address) => {}
            (Waits::Offer(waits), Answer::Offer { address, .. }) if waits == token => {
                if let Some(server) = self.server(guest) {
                    self.request(guest, server, address, Basis::Wanting);
                }
            }
            (
                Waits::Ack(waits),
                Answer::Ack {
                    address,
                    lease_time,
                    copies,
                    ..
                },
            ) if waits == token => {
                let by_clock = lease_time.as_millis() as i64 * 1_000_000 / (1_000_000 + self.guests[guest].fast);
                let until = self.now + by_clock as u64;
                self.guests[guest].waits = Waits::Nothing;
                self.guests[guest].remembers = Some(address);
                self.note(format_args!(
                    "guest {guest} has {address} until {until} in {copies} copies"
                ));
                self.nobody_else_relies(guest, address);
                let first = self.relies(guest).is_none();
                self.coverage
                    .count(if first { "leases bound" } else { "leases extended" });
                self.guests[guest].held = Some(Held { address, until, copies });
            }
            (Waits::Ack(waits), Answer::Nak) if waits == token => {
                self.coverage.count("leases refused");
                self.note(format_args!("guest {guest} hears no"));
                self.give_up(guest);
            }
            _ => {}
        }
    }

    /// A host that the guest's packets reach, and that reaches the guest.
    pub(crate) fn server(&mut self, guest: usize) -> Option<usize> {
        let home = self.guests[guest].home;
        let fit: Vec<usize> = (0..self.hosts.len())
            .filter(|&host| self.connected(home, host))
            .collect();
        (!fit.is_empty()).then(|| self.chance.pick(&fit))
    }

    /// What a guest does by itself now and then.
    pub(crate) fn guest_acts(&mut self, guest: usize) {
        if self.guests[guest].gone {
            return;
        }
        let dice = self.chance.below(100);
        let server = self.server(guest);
        match (self.relies(guest), server) {
            (Some(held), Some(server)) => match dice {
                0..50 => self.request(guest, server, held.address, Basis::Having),
                50..62 => self.request(guest, server, held.address, Basis::Wanting),
                62..72 => self.release(guest, server),
                72..74 => self.decline(guest, server),
                74..80 => self.move_guest(guest),
                _ => {}
            },
            (None, Some(server)) => match (dice, self.guests[guest].remembers) {
                (0..20, Some(address)) => self.request(guest, server, address, Basis::Wanting),
                (0..92, _) => self.discover(guest, server),
                _ => self.move_guest(guest),
            },
            (_, None) => {}
        }
        let pause = if self.chance.per_mille(100) {
            (5_000, 40_000)
        } else {
            (200, 4_000)
        };
        let delay = self.chance.between(pause.0, pause.1) / self.pace;
        self.push(delay, What::GuestActs { guest });
    }

    pub(crate) fn move_guest(&mut self, guest: usize) {
        let running: Vec<usize> = (0..self.hosts.len()).filter(|&host| self.hosts[host].runs()).collect();
        if running.is_empty() {
            return;
        }
        let home = self.chance.pick(&running);
        self.moves(guest, home);
    }

    /// A guest moves to a host, which tells those that it reaches.
    pub(crate) fn moves(&mut self, guest: usize, home: usize) {
        self.guests[guest].home = home;
        self.coverage.count("guests moved");
        let running: Vec<usize> = (0..self.hosts.len()).filter(|&host| self.hosts[host].runs()).collect();
        for host in running {
            let seen = Seen {
                host: Some(self.hosts[home].id),
                addresses: Default::default(),
            };
            if self.connected(home, host) {
                let delay = self.chance.between(0, 500);
                self.push(
                    delay,
                    What::Seen {
                        host,
                        client: self.guests[guest].mac,
                        seen,
                    },
                );
            }
        }
    }
}
