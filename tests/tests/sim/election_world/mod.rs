//! Hosts with the election, a kernel and a clock each, on a network that loses, delays, repeats and cuts; one clock
//! above them all.
//!
//! This file and those below it are compiled twice: over the real core, and over the copy whose rules can be weakened
//! one by one. Times of the world are microseconds.

mod changes;
mod edge;
mod faults;
mod givers;
pub(crate) mod history;
mod machine;
mod plans;
pub(crate) mod predicates;
mod promises;
mod reigns;
mod stage;
pub(crate) mod stories;

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};

use super::core;
use crate::chance::Chance;
use crate::report::{Coverage, Violation};
use core::cluster::reachability::Outcome;
use core::election::{AddressEvent, ElectionCandidacy, ElectionUplink, Fitness, GroupId, Message, Role};
use core::id::{SegmentId, Term};
use core::time::Duration;
pub(crate) use machine::{Agent, Machine, Power};
use predicates::Predicates;

pub(crate) const MS: u64 = 1000;

/// How the network behaves between hosts that are connected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    pub(crate) loss_per_mille: u64,
    pub(crate) delay: (u64, u64),
    pub(crate) duplicates_per_mille: u64,
}

/// What happens at some time.
#[derive(Clone, Debug)]
pub(crate) enum What {
    Deliver {
        from: usize,
        to: usize,
        message: Box<Message>,
    },
    Echo {
        from: usize,
        instance: u64,
        to: usize,
        number: u64,
        sent: u64,
    },
    ProbeReport {
        host: usize,
        instance: u64,
        to: usize,
        number: u64,
        outcome: Outcome,
    },
    SetAddress {
        host: usize,
        instance: u64,
        group: GroupId,
        term: Term,
        lifetime: Option<Duration>,
    },
    RemoveAddress {
        host: usize,
        instance: u64,
        group: GroupId,
    },
    Prepared {
        host: usize,
        instance: u64,
        group: GroupId,
    },
    Timer {
        host: usize,
        serial: u64,
    },
    View {
        host: usize,
    },
    Membership,
    /// Whatever is wrong with that machine ends.
    Revive {
        host: usize,
    },
}

#[derive(Debug)]
struct Queued {
    at: u64,
    serial: u64,
    what: What,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.serial) == (other.at, other.serial)
    }
}
impl Eq for Queued {}
impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Queued {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.serial).cmp(&(other.at, other.serial))
    }
}

/// A group as the cluster's state has it.
#[derive(Clone, Debug)]
pub(crate) struct GroupTruth {
    pub(crate) segments: BTreeSet<SegmentId>,
    pub(crate) hosts: BTreeSet<usize>,
}

/// Everything.
pub(crate) struct World {
    pub(crate) now: u64,
    queue: BinaryHeap<Reverse<Queued>>,
    serial: u64,
    pub(crate) chance: Chance,
    pub(crate) weather: Weather,
    pub(crate) machines: Vec<Machine>,
    /// Whether `up[from][to]`.
    pub(crate) up: Vec<Vec<bool>>,
    /// Since when each pair has been linked both ways, steadily.
    pub(crate) linked_since: Vec<Vec<Option<u64>>>,
    pub(crate) groups: BTreeMap<GroupId, GroupTruth>,
    pub(crate) predicates: Predicates,
    pub(crate) coverage: Coverage,
    pub(crate) trace: u64,
    pub(crate) last_steps: VecDeque<String>,
}

impl World {
    pub(crate) fn new(seed: u64, hosts: usize, weather: Weather) -> Self {
        let mut chance = Chance::new(seed);
        let machines = (0..hosts).map(|index| Machine::new(index, &mut chance)).collect();
        Self {
            now: 0,
            queue: BinaryHeap::new(),
            serial: 0,
            chance,
            weather,
            machines,
            up: vec![vec![true; hosts]; hosts],
            linked_since: vec![vec![Some(0); hosts]; hosts],
            groups: BTreeMap::new(),
            predicates: Predicates::default(),
            coverage: Coverage::default(),
            trace: 0xcbf2_9ce4_8422_2325,
            last_steps: VecDeque::new(),
        }
    }

    /// Adds a group of one segment that every host has.
    pub(crate) fn add_group(&mut self, segment: u64, hosts: impl IntoIterator<Item = usize>) -> GroupId {
        let segment = SegmentId(segment);
        let id = GroupId(segment);
        self.groups.insert(
            id,
            GroupTruth {
                segments: [segment].into(),
                hosts: hosts.into_iter().collect(),
            },
        );
        id
    }

    pub(crate) fn at(&mut self, at: u64, what: What) {
        self.serial += 1;
        self.queue.push(Reverse(Queued {
            at,
            serial: self.serial,
            what,
        }));
    }

    /// Writes a line of the history down.
    pub(crate) fn note(&mut self, line: String) {
        for byte in line.bytes() {
            self.mix(u64::from(byte));
        }
        if self.last_steps.len() == 80 {
            self.last_steps.pop_front();
        }
        self.last_steps
            .push_back(format!("{:>9.3}  {line}", self.now as f64 / 1_000_000.0));
    }

    fn mix(&mut self, value: u64) {
        self.trace = (self.trace ^ value).wrapping_mul(0x100_0000_01b3);
    }

    /// Runs until `until`, or until a predicate is violated.
    pub(crate) fn run(&mut self, until: u64) -> Result<(), Violation> {
        while let Some(Reverse(next)) = self.queue.peek() {
            if next.at > until {
                break;
            }
            let Some(Reverse(next)) = self.queue.pop() else { break };
            self.now = next.at;
            self.mix(next.at);
            self.happen(next.what);
            self.check()?;
        }
        self.now = self.now.max(until);
        self.check()
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Deliver { from, to, message } => {
                if self.up[from][to] && self.machines[to].power != Power::Off {
                    self.hand(to, What::Deliver { from, to, message });
                }
            }
            What::Echo {
                from,
                instance,
                to,
                number,
                sent,
            } => {
                let answers = self.machines[to].power == Power::On && self.machines[to].answers_icmp;
                let through = self.up[from][to] && self.up[to][from];
                let (outcome, at) = if answers && through {
                    (Outcome::Answered, self.now)
                } else {
                    (Outcome::Unanswered, sent + 50 * MS)
                };
                let report = What::ProbeReport {
                    host: from,
                    instance,
                    to,
                    number,
                    outcome,
                };
                if at <= self.now {
                    self.happen(report)
                } else {
                    self.at(at, report)
                }
            }
            What::Timer { host, serial } => {
                if self.machines[host].timer_serial == serial {
                    self.machines[host].timer_at = None;
                    self.hand(host, What::Timer { host, serial });
                }
            }
            What::View { host } => self.hand(host, What::View { host }),
            What::Membership => {
                self.membership();
                self.at(self.now + 1000 * MS, What::Membership);
            }
            What::Revive { host } => self.revive(host),
            What::ProbeReport { host, instance, .. }
            | What::SetAddress { host, instance, .. }
            | What::RemoveAddress { host, instance, .. }
            | What::Prepared { host, instance, .. } => {
                if self.machines[host].instance == instance {
                    self.hand(host, what);
                }
            }
        }
    }

    /// Gives it to the agent, or keeps it until the agent runs again.
    fn hand(&mut self, host: usize, what: What) {
        let machine = &mut self.machines[host];
        match (machine.power, machine.agent) {
            (Power::On, Agent::Running) => self.act(host, what),
            (Power::Off, _) | (_, Agent::Down) => {}
            (Power::On | Power::Paused, Agent::Running | Agent::Stopped) => {
                if machine.backlog.len() < 4000 {
                    machine.backlog.push(what);
                }
            }
        }
    }

    /// The agent does something.
    pub(crate) fn act(&mut self, host: usize, what: What) {
        let now = self.machines[host].clock(self.now);
        let id = self.machines[host].id;
        match what {
            What::Deliver { from, message, .. } => {
                let from = self.machines[from].id;
                if let Some(election) = &mut self.machines[host].election {
                    election.handle_message(from, *message, now);
                }
            }
            What::ProbeReport {
                to, number, outcome, ..
            } => {
                let to = self.machines[to].id;
                if let Some(election) = &mut self.machines[host].election {
                    election.handle_probe(to, number, outcome, now);
                }
            }
            What::SetAddress {
                group, term, lifetime, ..
            } => {
                for segment in self.segments(group) {
                    self.machines[host].set_address(segment, term, lifetime, self.now);
                }
                self.predicates.dirty();
                self.address_event(host, group, AddressEvent::Set);
            }
            What::RemoveAddress { group, .. } => {
                for segment in self.segments(group) {
                    self.machines[host].addresses.remove(&segment);
                }
                self.predicates.dirty();
                self.note(format!("{id} address off in {group}"));
                self.address_event(host, group, AddressEvent::Removed);
            }
            What::Prepared { group, .. } => {
                if let Some(election) = &mut self.machines[host].election {
                    election.handle_prepared(group, now);
                }
            }
            What::Timer { .. } => {
                if let Some(election) = &mut self.machines[host].election {
                    election.handle_timeout(now);
                }
            }
            What::View { .. } => {
                let view = self.view(host);
                if let Some(election) = &mut self.machines[host].election {
                    election.set_view(view, now);
                }
                self.predicates.disturbed(self.now);
            }
            What::Echo { .. } | What::Membership | What::Revive { .. } => {}
        }
        self.drain(host);
    }

    /// The segments of a group; one that is no more was named by one of them.
    fn segments(&self, group: GroupId) -> BTreeSet<SegmentId> {
        self.groups
            .get(&group)
            .map_or_else(|| [group.0].into(), |truth| truth.segments.clone())
    }

    /// Whether a kernel has any address of the group.
    pub(crate) fn has_address(&self, host: usize, group: GroupId, at: u64) -> bool {
        self.segments(group)
            .iter()
            .any(|segment| self.machines[host].has_address(*segment, at))
    }

    /// When the lifetime of a group's address ends, on its host's clock; `None`: never.
    pub(crate) fn lifetime(&self, host: usize, group: GroupId) -> Option<u64> {
        self.segments(group)
            .iter()
            .find_map(|segment| self.machines[host].lifetime(*segment))
    }

    fn address_event(&mut self, host: usize, group: GroupId, event: AddressEvent) {
        let now = self.machines[host].clock(self.now);
        if let Some(election) = &mut self.machines[host].election {
            election.handle_address(group, event, now);
        }
    }

    /// Whether both hear each other.
    pub(crate) fn linked(&self, a: usize, b: usize) -> bool {
        self.up[a][b] && self.up[b][a]
    }

    fn role(&mut self, host: usize, group: GroupId, role: Role) {
        if let Role::Holder { .. } = role {
            self.took_over(host, group);
        } else {
            self.gave_up(host, group);
        }
        self.machines[host].roles.insert(group, role);
        self.predicates.dirty();
    }
}

/// Whether an uplink works, at random.
pub(crate) fn other_uplink(uplink: ElectionUplink) -> ElectionUplink {
    match uplink {
        ElectionUplink::Works => ElectionUplink::Down,
        ElectionUplink::Down => ElectionUplink::Works,
    }
}

/// Whether a host may be gateway, be it as the last.
pub(crate) fn is_candidate(machine: &Machine) -> bool {
    machine.candidacy.is_eligible()
}

/// What decides before uplink, priority and place.
pub(crate) fn class(machine: &Machine) -> (Fitness, ElectionCandidacy) {
    (machine.fitness, machine.candidacy)
}
