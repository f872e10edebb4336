//! Hosts with leases, disks and clocks, guests that rely on addresses, and a network that loses, repeats, reorders,
//! delays and cuts; one clock above them all.
//!
//! This file and those below it are compiled twice: over the real core, and over the copy whose rules can be weakened
//! one by one. Times of the world are milliseconds.

mod faults;
pub(crate) mod guest;
pub(crate) mod history;
pub(crate) mod host;
mod predicates;
pub(crate) mod stories;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::fmt;
use std::net::IpAddr;

use super::core;
use crate::chance::Chance;
use crate::report::{Coverage, Violation};
use core::addresses::{
    Answer, Effect, GatewayStanding, Guest as Seen, LeaseEvent, Leases, Message, Reach, Recovered, Request, SegmentPool,
};
use core::id::{HostId, Mac, SegmentId};
use core::lease::{Lease, Share};
use core::range::Range;
use core::time::Duration;
use guest::Guest;
use host::{Clock, Disk, Host, Status};

/// How often the world looks at who reaches whom, and at the predicates.
const LOOK: u64 = 250;
/// What is due later than this is never due in a history.
const NEVER: Duration = Duration::from_secs(86_400);
/// How many of the last steps a failure shows.
const SHOWN: usize = 60;

/// The generation that the segment begins with.
const FIRST_BORN: u64 = 1;

/// The id of the segment that was born in that generation.
fn id_of(born: u64) -> SegmentId {
    SegmentId(6 + born)
}

/// How the network behaves between hosts that are connected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    pub(crate) loss_per_mille: u64,
    pub(crate) delay: (u64, u64),
    pub(crate) duplicates_per_mille: u64,
    /// So many messages come very late.
    pub(crate) lingering_per_mille: u64,
}

/// What happens at some time.
#[derive(Debug)]
pub(crate) enum What {
    Deliver {
        from: usize,
        to: usize,
        message: Box<Message>,
    },
    Wake {
        host: usize,
        incarnation: u64,
    },
    Synced {
        host: usize,
        incarnation: u64,
        sequence: u64,
    },
    Lease {
        to: usize,
        info: Box<Lease>,
    },
    Share {
        to: usize,
        info: Box<Share>,
    },
    Seen {
        host: usize,
        client: Mac,
        seen: Seen,
    },
    Request {
        server: usize,
        token: u64,
        request: Request,
    },
    ToGuest {
        guest: usize,
        token: u64,
        answer: Answer,
    },
    GuestActs {
        guest: usize,
    },
    Fault,
    Look,
}

#[derive(Debug)]
struct Event {
    at: u64,
    order: u64,
    what: What,
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Event {}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) chance: Chance,
    pub(crate) weather: Weather,
    pub(crate) hosts: Vec<Host>,
    pub(crate) guests: Vec<Guest>,
    /// The newest id of the one segment that there is.
    pub(crate) segment: SegmentId,
    /// Its generations that are tombstones.
    pub(crate) tombstones: BTreeSet<u64>,
    /// All ids that it ever had.
    pub(crate) ids: Vec<SegmentId>,
    /// The newest generation anywhere.
    pub(crate) pool: Option<SegmentPool>,
    /// Directed links that carry nothing.
    pub(crate) cut: BTreeSet<(usize, usize)>,
    pub(crate) coverage: Coverage,
    pub(crate) trace: u64,
    pub(crate) violation: Option<Violation>,
    /// Disks lost, and hosts taken for good with theirs.
    pub(crate) disks_lost: u32,
    /// How many disks this history loses at most.
    pub(crate) may_lose: u32,
    pub(crate) faults_over: bool,
    /// The operator has just added addresses.
    pub(crate) adding: bool,
    /// Faults and guests are so many times as quick, leases as short.
    pub(crate) pace: u64,
    /// The last address of the pool at first.
    pub(crate) last: u8,
    pub(crate) log: VecDeque<String>,
    /// Messages that a story keeps from arriving.
    pub(crate) hold: Option<fn(&Message) -> bool>,
    pub(crate) held_back: Vec<(usize, usize, Message)>,
    tokens: u64,
    askers: BTreeMap<u64, usize>,
    queue: BinaryHeap<Reverse<Event>>,
    pushed: u64,
}

impl World {
    pub(crate) fn new(seed: u64, weather: Weather) -> Self {
        let mut world = Self {
            now: 0,
            chance: Chance::new(seed),
            weather,
            hosts: Vec::new(),
            guests: Vec::new(),
            segment: id_of(FIRST_BORN),
            tombstones: BTreeSet::new(),
            ids: vec![id_of(FIRST_BORN)],
            pool: None,
            cut: BTreeSet::new(),
            coverage: Coverage::default(),
            trace: 0xcbf2_9ce4_8422_2325,
            violation: None,
            disks_lost: 0,
            may_lose: 0,
            faults_over: false,
            adding: false,
            pace: 1,
            last: 15,
            log: VecDeque::new(),
            hold: None,
            held_back: Vec::new(),
            tokens: 0,
            askers: BTreeMap::new(),
            queue: BinaryHeap::new(),
            pushed: 0,
        };
        world.push(LOOK, What::Look);
        world
    }

    pub(crate) fn push(&mut self, delay: u64, what: What) {
        self.pushed += 1;
        self.queue.push(Reverse(Event {
            at: self.now + delay,
            order: self.pushed,
            what,
        }));
    }

    /// Notes a step for the trace, and for whoever reads of a failure.
    pub(crate) fn note(&mut self, step: fmt::Arguments<'_>) {
        let line = format!("{:>8} {step}", self.now);
        for byte in line.bytes() {
            self.trace = (self.trace ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        if std::env::var_os("SIM_TRACE").is_some() {
            println!("{line}");
        }
        if self.log.len() == SHOWN {
            self.log.pop_front();
        }
        self.log.push_back(line);
    }

    /// Lets time pass until `until`, or to the first violation.
    pub(crate) fn run(&mut self, until: u64) {
        while self.violation.is_none()
            && let Some(Reverse(next)) = self.queue.peek()
            && next.at <= until
        {
            let Some(Reverse(event)) = self.queue.pop() else { return };
            self.now = event.at;
            self.happen(event.what);
        }
        self.now = self.now.max(until);
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Deliver { from, to, message } => self.deliver(from, to, *message),
            What::Wake { host, incarnation } => {
                if self.hosts[host].incarnation == incarnation && self.hosts[host].wake == Some(self.now) {
                    self.hosts[host].wake = None;
                    self.with(host, |machine, now| machine.handle_timeout(now));
                }
            }
            What::Synced {
                host,
                incarnation,
                sequence,
            } => {
                if self.hosts[host].incarnation == incarnation && self.hosts[host].runs() {
                    self.hosts[host].disk.sync(sequence);
                    self.with(host, |machine, now| machine.handle_synced(sequence, now));
                }
            }
            What::Lease { to, info } => self.with(to, |machine, now| machine.handle_gossip_lease(*info, now)),
            What::Share { to, info } => self.with(to, |machine, now| machine.handle_gossip_share(*info, now)),
            What::Seen { host, client, seen } => {
                let segment = self.segment_at(host);
                self.with(host, |machine, now| machine.set_guest(segment, client, Some(seen), now));
            }
            What::Request { server, token, request } => {
                self.with(server, |machine, now| machine.handle_request(token, request, now));
            }
            What::ToGuest { guest, token, answer } => self.hears(guest, token, answer),
            What::GuestActs { guest } => self.guest_acts(guest),
            What::Fault if self.faults_over => {}
            What::Fault => self.fault(),
            What::Look => {
                self.look();
                self.push(LOOK, What::Look);
            }
        }
    }

    /// Hosts that know each other start up: the first forms, the others have joined it.
    pub(crate) fn host(&mut self) -> usize {
        let index = self.hosts.len();
        let id = HostId(index as u64 + 1);
        let fast = self.chance.between(0, 20_000) as i64 - 10_000;
        let clock = Clock::new(self.now, self.chance.between(0, 1_000_000), fast);
        let machine = Leases::new(id, Recovered::default(), self.chance.next(), clock.read(self.now));
        self.hosts.push(Host {
            id,
            machine,
            status: Status::Running,
            incarnation: 0,
            clock,
            disk: Disk::default(),
            wake: None,
            reach: BTreeMap::new(),
            pool: None,
            fsync: (1, 8),
            leaving: false,
            told: BTreeMap::new(),
        });
        index
    }

    pub(crate) fn form(&mut self, host: usize) {
        self.with(host, |machine, now| machine.form(now));
    }

    pub(crate) fn join(&mut self, joiner: usize, through: usize) {
        let id = self.hosts[joiner].id;
        let mut roster = None;
        self.with(through, |machine, now| roster = Some(machine.admit(id, now)));
        let Some(roster) = roster else { return };
        self.note(format_args!("host {joiner} joins through {through}"));
        self.with(joiner, |machine, now| machine.join(roster, now));
    }

    /// A new generation, applied at a host.
    pub(crate) fn apply(&mut self, at: usize, change: impl FnOnce(&mut SegmentPool)) {
        let mut pool = self.pool.clone().unwrap_or_else(|| SegmentPool {
            generation: 0,
            born: FIRST_BORN,
            introducer: HostId(0),
            ranges: Vec::new(),
            reservations: Vec::new(),
            lease_time: Duration::from_secs(20),
            max_leases: None,
        });
        change(&mut pool);
        pool.generation += 1;
        pool.introducer = self.hosts[at].id;
        self.note(format_args!("host {at} applies {pool:?}"));
        self.pool = Some(pool.clone());
        self.learn_pool(at, pool);
    }

    pub(crate) fn learn_pool(&mut self, host: usize, pool: SegmentPool) {
        let before = self.hosts[host].pool.replace(pool.clone());
        let segment = id_of(pool.born);
        if let Some(before) = before.filter(|before| before.born != pool.born) {
            self.learn_death(host, id_of(before.born), before.generation);
        }
        if self.tombstones.contains(&pool.generation) {
            self.learn_death(host, segment, pool.generation);
        } else {
            self.with(host, |machine, now| machine.set_segment(segment, pool, now));
        }
    }

    fn learn_death(&mut self, host: usize, segment: SegmentId, generation: u64) {
        self.with(host, |machine, now| {
            let newest = machine.newest_generation(segment);
            machine.delete_segment(segment, generation.max(newest), now);
        });
    }

    /// The segment as a host knows it.
    pub(crate) fn segment_at(&self, host: usize) -> SegmentId {
        self.hosts[host]
            .pool
            .as_ref()
            .map_or(self.segment, |pool| id_of(pool.born))
    }

    /// The segment is deleted at a host.
    pub(crate) fn delete(&mut self, at: usize) {
        let Some(mut pool) = self.pool.clone() else { return };
        pool.generation += 1;
        pool.introducer = self.hosts[at].id;
        self.note(format_args!(
            "host {at} deletes the segment in generation {}",
            pool.generation
        ));
        self.coverage.count("segments deleted");
        self.tombstones.insert(pool.generation);
        self.pool = Some(pool.clone());
        self.learn_pool(at, pool);
    }

    /// The same is applied again: it goes on, or begins anew under another id.
    pub(crate) fn apply_again(&mut self, at: usize) {
        let segment = self.segment;
        let goes_on = self.hosts[at].machine.goes_on(segment);
        self.coverage.count(if goes_on {
            "segments gone on"
        } else {
            "segments born again"
        });
        self.apply(at, |pool| {
            if !goes_on {
                pool.born = pool.generation + 1;
            }
        });
        self.segment = self.segment_at(at);
        if !goes_on {
            self.ids.push(self.segment);
        }
    }

    /// Whether the newest generation is a tombstone.
    pub(crate) fn is_deleted(&self) -> bool {
        self.pool
            .as_ref()
            .is_some_and(|pool| self.tombstones.contains(&pool.generation))
    }

    /// Lets a running host's machine do something, and carries out what it wants.
    pub(crate) fn with(&mut self, host: usize, act: impl FnOnce(&mut Leases, core::time::Instant)) {
        if !self.hosts[host].runs() {
            return;
        }
        let now = self.hosts[host].clock.read(self.now);
        act(&mut self.hosts[host].machine, now);
        while let Some(effect) = self.hosts[host].machine.poll_effect() {
            self.carry_out(host, effect);
        }
        let timeout = self.hosts[host].machine.poll_timeout();
        let Some(timeout) = timeout.filter(|timeout| timeout.at < now + NEVER) else {
            return;
        };
        let at = self.hosts[host].clock.when(timeout.at).max(self.now);
        if self.hosts[host].runs() && self.hosts[host].wake.is_none_or(|wake| at < wake) {
            self.hosts[host].wake = Some(at);
            let incarnation = self.hosts[host].incarnation;
            self.push(at - self.now, What::Wake { host, incarnation });
        }
    }

    fn carry_out(&mut self, host: usize, effect: Effect) {
        match effect {
            Effect::Send { to, message } => {
                let to = to.0 as usize - 1;
                self.cover(&message);
                self.send(host, to, message);
            }
            Effect::Append { sequence, records } => {
                let (low, high) = self.hosts[host].fsync;
                let takes = self.chance.between(low, high);
                let disk = &mut self.hosts[host].disk;
                disk.append(sequence, records);
                disk.busy_until = disk.busy_until.max(self.now) + takes;
                let (delay, incarnation) = (disk.busy_until - self.now, self.hosts[host].incarnation);
                self.push(
                    delay,
                    What::Synced {
                        host,
                        incarnation,
                        sequence,
                    },
                );
            }
            Effect::Answer { token, answer } => self.answered(host, token, answer),
            Effect::GossipLease(info) => {
                for to in self.neighbours(host) {
                    let delay = self.chance.between(1, 300);
                    self.push(
                        delay,
                        What::Lease {
                            to,
                            info: Box::new(info.clone()),
                        },
                    );
                }
            }
            Effect::GossipShare(mut info) => {
                // Gossip counts on across restarts.
                let before = self.hosts[host].told.get(&info.segment);
                info.told = before.map_or(1, |before| before.told + 1);
                self.hosts[host].told.insert(info.segment, info.clone());
                for to in self.neighbours(host) {
                    let delay = self.chance.between(1, 300);
                    self.push(
                        delay,
                        What::Share {
                            to,
                            info: Box::new(info.clone()),
                        },
                    );
                }
            }
            Effect::Event(event) => {
                self.note(format_args!("host {host} finds {event:?}"));
                if event == LeaseEvent::DiskLost {
                    self.broken("no false alarm", format!("host {host} believes that its disk is lost"));
                }
            }
            Effect::Left => {
                self.note(format_args!("host {host} has left"));
                self.coverage.count("leaves");
                self.nothing_is_left_behind(host);
                self.hosts[host].status = Status::Left;
            }
        }
    }

    fn cover(&mut self, message: &Message) {
        match message {
            Message::Give { .. } => self.coverage.count("gives sent"),
            Message::Prepare { .. } => self.coverage.count("ballots asked"),
            Message::PutRefused { .. } => self.coverage.count("puts refused"),
            _ => {}
        }
    }

    pub(crate) fn neighbours(&self, host: usize) -> Vec<usize> {
        (0..self.hosts.len())
            .filter(|&to| to != host && self.connected(host, to))
            .collect()
    }

    /// Whether two running hosts reach each other both ways.
    pub(crate) fn connected(&self, a: usize, b: usize) -> bool {
        self.hosts[a].runs() && self.hosts[b].runs() && (a == b || self.carries(a, b) && self.carries(b, a))
    }

    fn carries(&self, from: usize, to: usize) -> bool {
        !self.cut.contains(&(from, to))
    }

    fn send(&mut self, from: usize, to: usize, message: Message) {
        if to >= self.hosts.len() || !self.carries(from, to) || self.chance.per_mille(self.weather.loss_per_mille) {
            return;
        }
        if self.hold.is_some_and(|hold| hold(&message)) {
            return self.held_back.push((from, to, message));
        }
        if self.chance.per_mille(self.weather.duplicates_per_mille) {
            self.on_its_way(from, to, message.clone());
        }
        self.on_its_way(from, to, message);
    }

    fn on_its_way(&mut self, from: usize, to: usize, message: Message) {
        let late = self.chance.per_mille(self.weather.lingering_per_mille);
        let (low, high) = if late { (500, 40_000) } else { self.weather.delay };
        let delay = self.chance.between(low, high);
        self.push(
            delay,
            What::Deliver {
                from,
                to,
                message: Box::new(message),
            },
        );
    }

    /// A message arrives, however old it is.
    pub(crate) fn deliver(&mut self, from: usize, to: usize, message: Message) {
        if self.carries(from, to) && self.hosts[to].runs() {
            if !matches!(message, Message::Acknowledge { .. }) {
                self.note(format_args!("{from} -> {to} {message:?}"));
            }
            let from = self.hosts[from].id;
            self.with(to, |machine, now| machine.handle_message(from, message, now));
        }
    }

    /// Tells machines who reaches whom and who serves, spreads configuration, and looks at the predicates.
    fn look(&mut self) {
        for host in 0..self.hosts.len() {
            if self.hosts[host].runs() {
                self.look_around(host);
            }
        }
        self.check();
    }

    /// Gossip finds what one does not know of the other.
    pub(crate) fn compare_shares(&mut self, host: usize, other: usize) {
        let told: Vec<Share> = self.hosts[other].told.values().cloned().collect();
        for info in told.into_iter().map(Box::new) {
            self.push(50, What::Share { to: host, info });
        }
    }

    fn look_around(&mut self, host: usize) {
        for other in (0..self.hosts.len()).filter(|&other| other != host) {
            let since = match self.hosts[host].reach.get(&other) {
                _ if self.connected(host, other) => self.now,
                Some((_, since)) => *since,
                // Counted from its start.
                None => self.now,
            };
            let reach = match self.now - since {
                0..1000 => Reach::Reachable,
                1000..3000 => Reach::Silent,
                _ => Reach::Failed,
            };
            let before = self.hosts[host].reach.insert(other, (reach, since));
            if reach == Reach::Reachable && before.is_none_or(|(before, _)| before != reach) {
                self.compare_shares(host, other);
            }
            let id = self.hosts[other].id;
            self.with(host, |machine, now| machine.set_reach(id, reach, now));
        }
        let newest = self
            .neighbours(host)
            .into_iter()
            .filter_map(|other| self.hosts[other].pool.clone())
            .max_by_key(|pool| pool.generation);
        let known = self.hosts[host].pool.as_ref().map_or(0, |pool| pool.generation);
        if let Some(newest) = newest.filter(|newest| newest.generation > known)
            && self.chance.per_mille(700)
        {
            self.learn_pool(host, newest);
        }
        let order: Vec<HostId> = self.hosts.iter().map(|host| host.id).collect();
        let gateway = self
            .neighbours(host)
            .into_iter()
            .chain([host])
            .min()
            .map(|host| self.hosts[host].id);
        let standing = GatewayStanding {
            order,
            gateway,
            since: Duration::from_secs(100),
        };
        let segment = self.segment_at(host);
        self.with(host, |machine, now| machine.set_standing(segment, standing, now));
    }

    /// The addresses of the widest pool that a history has.
    pub(crate) fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    pub(crate) fn range(first: u8, last: u8) -> Range {
        Range::new(Self::address(first), Self::address(last)).unwrap()
    }
}
