//! One host: its power, kernel, clock, disk and agent.

use std::collections::{BTreeMap, BTreeSet};

use super::core::election::{Election, ElectionCandidacy, ElectionUplink, Fitness, FoundAddress, GroupId, Role, Start};
use super::core::id::{HostId, SegmentId, Term};
use super::core::time::{Duration, Instant};
use super::{MS, What};
use crate::chance::Chance;

/// Whether the machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Power {
    On,
    Off,
    /// A paused virtual machine: nothing runs, nothing is lost.
    Paused,
}

/// Whether the agent runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Agent {
    Running,
    Stopped,
    Down,
}

/// The gateway address of a group in a kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address {
    pub(crate) term: Term,
    /// Milliseconds on this machine's clock.
    until: Option<u64>,
}

/// One host.
pub(crate) struct Machine {
    pub(crate) id: HostId,
    pub(crate) power: Power,
    pub(crate) agent: Agent,
    pub(crate) election: Option<Election>,
    pub(crate) instance: u64,
    pub(crate) kernel_answered: BTreeSet<HostId>,
    pub(crate) answers_icmp: bool,
    /// Whether its kernel's thread comes to an end with what it is to prepare.
    pub(crate) prepares: bool,
    pub(crate) addresses: BTreeMap<SegmentId, Address>,
    pub(crate) backlog: Vec<What>,
    pub(crate) roles: BTreeMap<GroupId, Role>,
    /// Since when it has acted as gateway of each group, without interruption of its agent.
    pub(crate) holding_since: BTreeMap<GroupId, u64>,
    pub(crate) timer_at: Option<u64>,
    pub(crate) timer_serial: u64,
    pub(crate) candidacy: ElectionCandidacy,
    pub(crate) priority: u32,
    pub(crate) uplink: ElectionUplink,
    /// Whether its segments are whole.
    pub(crate) fitness: Fitness,
    /// Whether it has joined.
    pub(crate) known: bool,
    pub(crate) removed: bool,
    pub(crate) given_up: BTreeSet<usize>,
    /// Since when it has run without interruption, agent and all.
    pub(crate) steady_since: u64,
    /// When its agent died or was stopped, its kernel going on.
    pub(crate) agent_gone: Option<u64>,
    /// Parts per million that its clock is fast.
    drift: i64,
    /// Its clock at `booted`, and world time that its clock has missed.
    offset: u64,
    booted: u64,
    missed: u64,
    pub(crate) paused_at: u64,
}

impl Machine {
    pub(crate) fn new(index: usize, chance: &mut Chance) -> Self {
        Self {
            id: HostId(index as u64 + 1),
            power: Power::Off,
            agent: Agent::Down,
            election: None,
            instance: 0,
            kernel_answered: BTreeSet::new(),
            answers_icmp: true,
            prepares: true,
            addresses: BTreeMap::new(),
            backlog: Vec::new(),
            roles: BTreeMap::new(),
            holding_since: BTreeMap::new(),
            timer_at: None,
            timer_serial: 0,
            candidacy: ElectionCandidacy::Candidate,
            priority: 100,
            uplink: ElectionUplink::Works,
            fitness: Fitness::Whole,
            known: false,
            removed: false,
            given_up: BTreeSet::new(),
            steady_since: 0,
            agent_gone: None,
            drift: i64::try_from(chance.between(0, 20_000)).unwrap() - 10_000,
            offset: chance.between(5_000, 10_000_000),
            booted: 0,
            missed: 0,
            paused_at: 0,
        }
    }

    /// Whether agent and kernel run.
    pub(crate) fn runs(&self) -> bool {
        self.power == Power::On && self.agent == Agent::Running && self.known && !self.removed
    }

    /// The machine's clock at a time of the world.
    pub(crate) fn clock(&self, world: u64) -> Instant {
        Instant::from_millis(self.millis(world))
    }

    fn millis(&self, world: u64) -> u64 {
        let lived = (world - self.booted - self.missed) as i64;
        let own = lived + lived / 1_000_000 * self.drift + lived % 1_000_000 * self.drift / 1_000_000;
        self.offset + own as u64 / MS
    }

    /// When this machine's clock shows `instant`, if it goes on.
    pub(crate) fn real(&self, instant: Instant, world: u64) -> u64 {
        let ahead = instant.as_millis().saturating_sub(self.millis(world)) as i64 * 1000;
        let world_ahead = ahead - ahead * self.drift / 1_000_000;
        let mut at = world + world_ahead as u64;
        while self.millis(at) < instant.as_millis() {
            at += 200;
        }
        at
    }

    /// The kernel starts; its clock begins anew.
    pub(crate) fn boot(&mut self, world: u64) {
        self.power = Power::On;
        self.addresses.clear();
        self.offset = 5_000;
        self.booted = world;
        self.missed = 0;
    }

    /// A pause ends; `aware`: the clock counts the time of the pause.
    pub(crate) fn wake(&mut self, world: u64, aware: bool) {
        self.power = Power::On;
        if !aware {
            self.missed += world - self.paused_at;
        }
    }

    /// The agent starts.
    pub(crate) fn start(&mut self, seed: u64, world: u64) {
        self.agent = Agent::Running;
        self.instance += 1;
        self.backlog.clear();
        self.roles.clear();
        self.holding_since.clear();
        self.timer_at = None;
        self.timer_serial += 1;
        self.steady_since = world;
        let clock = self.millis(world);
        let kernel = self
            .addresses
            .iter()
            .filter(|(_, address)| address.until.is_none_or(|until| until > clock))
            .map(|(segment, address)| FoundAddress {
                segment: *segment,
                term: address.term,
                // The kernel counts whole seconds.
                remaining: address
                    .until
                    .map(|until| Duration::from_millis((until - clock).div_ceil(1000) * 1000)),
            })
            .collect();
        let start = Start {
            me: self.id,
            instance: self.instance,
            seed,
            kernel,
            kernel_answered: self.kernel_answered.clone(),
        };
        self.election = Some(Election::new(start, self.clock(world)));
    }

    /// The agent is gone; its kernel may go on.
    pub(crate) fn kill(&mut self) {
        self.agent = Agent::Down;
        self.election = None;
        self.backlog.clear();
        self.roles.clear();
        self.holding_since.clear();
        self.timer_at = None;
        self.timer_serial += 1;
    }

    pub(crate) fn set_address(&mut self, segment: SegmentId, term: Term, lifetime: Option<Duration>, world: u64) {
        let clock = self.millis(world);
        let until = lifetime.map(|lifetime| clock + u64::try_from(lifetime.as_millis()).unwrap());
        self.addresses.insert(segment, Address { term, until });
    }

    /// Whether the kernel answers for the segment's address.
    pub(crate) fn has_address(&self, segment: SegmentId, world: u64) -> bool {
        self.power == Power::On
            && self
                .addresses
                .get(&segment)
                .is_some_and(|address| address.until.is_none_or(|until| until > self.millis(world)))
    }

    /// When the segment's address goes by itself.
    pub(crate) fn lifetime(&self, segment: SegmentId) -> Option<u64> {
        self.addresses.get(&segment)?.until
    }

    /// Whether its running agent acts as gateway.
    pub(crate) fn holds(&self, group: GroupId) -> bool {
        self.power == Power::On
            && self.agent == Agent::Running
            && matches!(self.roles.get(&group), Some(Role::Holder { .. }))
    }
}
