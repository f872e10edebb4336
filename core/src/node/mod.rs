//! One host's whole mind: it holds the machines, feeds each with what the others found out, and says what is to be
//! done.
//!
//! ```text
//!            ┌──────────────────────── Member ───────────────────────┐
//!  Facts ───►│ gossip ─► derive ─► election ─► roles ─► desired      │─► Effect
//!  messages ►│ membership ──┘         │                   ▲          │
//!  calls ───►│                        └─► leases ◄─► dhcp ┘          │
//!            └───────────────────────────────────────────────────────┘
//!  Unformed ── init │ welcome ──► Member ── leave │ removed ──► Left
//! ```
//! Each `handle_*` ends in `settle`: the machines' effects are carried from one to the next until nothing moves.
//! What is derived from everything (views, the desired state, whom to dial) is computed whole and handed out only when
//! it differs from what was handed out before.

mod applied;
mod cause;
mod derive;
mod derived;
mod effect;
mod findings;
mod gateways;
mod guests;
mod lease_migration;
mod listening;
mod loss;
mod member;
mod operations;
mod paths;
mod peer_message;
mod refusal;
mod rehearsal;
mod reload;
mod report;
mod route;
mod show;
mod start;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};

pub use applied::{Applied, Change, Deleted, Run};
pub use effect::{Call, Done, Effect, Ended, Facts, Force, Lasts, Reason, Refusal};
pub use findings::Reported;
pub use listening::{Listener, Listening, PublishedPorts};
pub use loss::{Guest, GuestLease, Loss, Lost, Sighting};
use member::Member;
pub use operations::{DrainUntil, Forming, InitReply};
pub use peer_message::{Hearing, JoinRequest, PeerMessage, Sign, Welcome};
pub use rehearsal::{rehearse, rehearse_restart};
pub use show::{EndpointLine, GatewayLine, LeaseLine, PeerLine, PoolLine, SegmentLine, Serves};
pub use start::{Disk, Drained, Formation, Found, Start};

use crate::addresses::Recovered;
use crate::cluster::reachability::Outcome;
use crate::config::{HostConfig, Trust};
use crate::election::{AddressEvent, GroupId};
use crate::gateway::uplink::Health;
use crate::health::events::Event;
use crate::health::{EdgeState, NoUnderlay};
use crate::id::{ClusterId, HostId, IfName, Mac, SegmentId};
use crate::time::Instant;

/// One host.
#[derive(Debug)]
pub struct Node {
    me: HostId,
    instance: u64,
    config: HostConfig,
    version: String,
    rng: Xoshiro256PlusPlus,
    facts: Option<Facts>,
    /// Why there are no facts; `None` as well while the edge has not looked yet.
    no_underlay: Option<NoUnderlay>,
    looked: Looked,
    formation: Formation,
    /// The host that this one was before `overlayd --cleanup`.
    former: Option<HostId>,
    formed: Option<Box<Member>>,
    effects: VecDeque<Effect>,
    /// What guests' ports are on which bridge, as last observed.
    ports: BTreeMap<IfName, Vec<IfName>>,
    /// Calls of other hosts, to tell them from the edge's own numbers.
    dialled: BTreeMap<HostId, SocketAddr>,
    /// What only the edge knows of this host's health, as last told.
    edge: EdgeState,
    announced_cluster: Option<(Option<ClusterId>, BTreeSet<HostId>)>,
    pending: VecDeque<operations::Pending>,
}

/// Whether the edge has looked for the underlay since the start: before, what is missing is only not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Looked {
    NotYet,
    Once,
}

impl Node {
    /// A host that starts, with whatever survived.
    pub fn new(start: Start, now: Instant) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(start.seed);
        let mut node = Self {
            me: start.host,
            instance: start.instance,
            config: start.config,
            version: start.version,
            facts: None,
            no_underlay: None,
            looked: Looked::NotYet,
            formation: start.formation,
            former: start.former,
            formed: None,
            effects: VecDeque::new(),
            ports: BTreeMap::new(),
            dialled: BTreeMap::new(),
            edge: EdgeState::default(),
            announced_cluster: None,
            pending: VecDeque::new(),
            rng: Xoshiro256PlusPlus::seed_from_u64(rng.next_u64()),
        };
        match start.formation {
            Formation::Formed(cluster) => {
                let survived = start::Survived {
                    records: start.records,
                    leases: start.leases,
                    found: start.found,
                    answered: start.answered,
                };
                let mut formed = Member::new(&mut node.rng, start.host, start.instance, cluster, survived, now);
                // Whoever is in a cluster wrote so: that journal is gone, or an earlier start found it damaged.
                formed.drained = start.drained;
                if start.disk == Disk::Lost || !formed.leases.roster().members.contains(&start.host) {
                    formed.lost_at_start = true;
                    formed.leases.lost_disk(now);
                }
                formed.tell_duty(now);
                node.formed = Some(Box::new(formed));
                node.introduce_again(now);
                if !node.config.cluster.join.is_empty() {
                    node.join_listed(now);
                }
            }
            Formation::Unformed => match (node.config.cluster.trust, node.config.cluster.join.is_empty()) {
                (Trust::Insecure, true) => {
                    node.form(now);
                }
                (Trust::Insecure | Trust::MutualTls, false) => {
                    node.join_listed(now);
                }
                (Trust::MutualTls, true) => {}
            },
            Formation::Left { .. } => {}
        }
        node.settle(now);
        node
    }

    /// This host.
    pub fn me(&self) -> HostId {
        self.me
    }

    /// Whether it is in a cluster.
    pub fn formation(&self) -> Formation {
        self.formation
    }

    /// What the edge has found out about this host, or why it is not on its underlay.
    pub fn set_facts(&mut self, facts: Result<Facts, NoUnderlay>, now: Instant) {
        let (facts, no_underlay) = match facts {
            Ok(facts) => (Some(facts), None),
            Err(why) => (None, Some(why)),
        };
        self.no_underlay = no_underlay;
        if self.facts == facts && self.looked == Looked::Once {
            return;
        }
        self.looked = Looked::Once;
        self.report_uplink(facts.as_ref());
        self.facts = facts;
        if let Some(formed) = &mut self.formed {
            if let Some(facts) = &self.facts {
                formed.election.set_uplink(facts.uplink(), now);
            }
            formed.touch_now(now);
        }
        self.settle(now);
    }

    /// Streams to a host are there.
    pub fn connected(&mut self, host: HostId, now: Instant) {
        if let Some(formed) = &mut self.formed {
            formed.connected(host, now);
        }
        self.settle(now);
    }

    /// Streams to a host are gone.
    pub fn disconnected(&mut self, host: HostId, now: Instant) {
        if let Some(formed) = &mut self.formed {
            formed.disconnected(host);
        }
        self.settle(now);
    }

    /// What became of a probe.
    pub fn handle_probe(&mut self, host: HostId, number: u64, outcome: Outcome, now: Instant) {
        if let Some(formed) = &mut self.formed {
            formed.handle_probe(host, number, outcome, now);
        }
        self.settle(now);
    }

    /// What became of the gateway addresses of a group.
    pub fn handle_address(&mut self, group: GroupId, event: AddressEvent, now: Instant) {
        if let Some(formed) = &mut self.formed {
            formed.handle_address(group, event, now);
        }
        self.settle(now);
    }

    /// An [`Effect::Prepare`] is done.
    pub fn handle_prepared(&mut self, group: GroupId, now: Instant) {
        if let Some(formed) = &mut self.formed {
            formed.election.handle_prepared(group, now);
        }
        self.settle(now);
    }

    /// All appends up to `sequence` are on disk.
    pub fn handle_synced(&mut self, sequence: u64, now: Instant) {
        if let Some(formed) = &mut self.formed {
            formed.leases.handle_synced(sequence, now);
        }
        self.finish_recovery(sequence);
        self.settle(now);
    }

    /// The journal cannot be written any more.
    pub fn lost_disk(&mut self, now: Instant) {
        if let Some(formed) = &mut self.formed {
            formed.leases.lost_disk(now);
        }
        self.fail_recovery();
        self.settle(now);
    }

    /// A guest's DHCP message came in on a gateway link.
    pub fn handle_dhcp(&mut self, segment: SegmentId, source: Mac, bytes: Vec<u8>, now: Instant) {
        if let Some(formed) = &mut self.formed {
            formed.handle_dhcp(segment, source, bytes, now);
        }
        self.settle(now);
    }

    /// The guests that the bridges of this host have heard on their own ports, by bridge: MAC and port.
    pub fn set_guests(&mut self, guests: &BTreeMap<IfName, BTreeMap<Mac, IfName>>, now: Instant) {
        if let Some(formed) = &mut self.formed {
            formed.set_guests(guests, now);
        }
        self.settle(now);
    }

    /// Guests that VXLAN interfaces of this host have just heard, and from which VTEP: they may be asking for an address
    /// before their hosts have told of them.
    pub fn hear_remote_macs(&mut self, guests: &[(IfName, Mac, IpAddr)]) {
        if let Some(formed) = &mut self.formed {
            formed.hear_remote_macs(guests);
        }
    }

    /// Whether anything was handed out yet that the kernel should have.
    pub fn has_plan(&self) -> bool {
        self.formed.as_ref().is_some_and(|formed| formed.derived.has_inputs())
    }

    /// The guest ports of each bridge of this host, as last observed.
    pub fn set_ports(&mut self, ports: BTreeMap<IfName, Vec<IfName>>) {
        self.ports = ports;
    }

    /// All that is to be on disk of the leases, for a new journal.
    pub fn snapshot(&self) -> Recovered {
        self.formed
            .as_ref()
            .map(|formed| formed.leases.snapshot())
            .unwrap_or_default()
    }

    /// The next thing to do, until there is none.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Has what is to be saved soon saved now: somebody waits for it.
    pub fn flush(&mut self, now: Instant) {
        if let Some(formed) = &mut self.formed {
            formed.gossip.save_pending(now);
        }
        self.settle(now);
    }

    /// When [`Node::handle_timeout`] is due, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        let pending = self.pending.iter().filter_map(operations::Pending::timeout);
        let pending = pending.map(|at| (at, Reason::Operation));
        let member = self.formed.iter().flat_map(|member| member.timeouts());
        pending.chain(member).min_by_key(|(at, _)| *at)
    }

    /// To be called when the time of [`Node::poll_timeout`] has come; earlier calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(formed) = &mut self.formed {
            formed.handle_timeout(now);
        }
        self.settle(now);
    }

    fn report_uplink(&mut self, facts: Option<&Facts>) {
        let before = self.facts.as_ref().map(|facts| &facts.uplink_health);
        let Some(health) = facts
            .map(|facts| &facts.uplink_health)
            .filter(|now| before != Some(*now))
        else {
            return;
        };
        match (health, before) {
            (Health::Works, None) => {}
            (Health::Works, Some(_)) => self.report(Event::UplinkWorks),
            (Health::Partly(one), _) => {
                let health = one.as_ref().clone();
                self.report(Event::UplinkPartly { health });
            }
            (Health::NoRoute { .. } | Health::NoCarrier { .. } | Health::Silent(_) | Health::Lacking, _) => {
                let health = health.clone();
                self.report(Event::UplinkFails { health });
            }
        }
    }

    fn report(&mut self, event: Event) {
        self.effects.push_back(Effect::Event(event));
    }

    /// Lets machines and operations react to each other until nothing moves, then hands out what has changed.
    fn settle(&mut self, now: Instant) {
        self.tell_findings(now);
        self.settle_machines(now);
        while self.advance_operations(now) {
            self.settle_machines(now);
        }
        self.tell_cluster();
        if self.formed.as_ref().is_some_and(|formed| formed.was_removed()) {
            self.handle_removed();
        }
    }

    fn settle_machines(&mut self, now: Instant) {
        // A role that changes asks for another round, and so may what that brings about; in the end nothing is due.
        loop {
            if self.formed.as_ref().is_some_and(|formed| formed.derive_due(now)) {
                self.derive(now);
            }
            let Some(formed) = &mut self.formed else { break };
            formed.pump(now);
            self.effects.append(&mut formed.effects);
            if !formed.derive_due(now) {
                self.effects.extend(formed.gateways.take_deferred());
                break;
            }
        }
    }

    /// Which cluster's streams the edge takes.
    fn tell_cluster(&mut self) {
        let now = match &self.formed {
            Some(formed) => (
                Some(formed.cluster),
                formed.gossip.removed().map(|removed| removed.host).collect(),
            ),
            None => (None, BTreeSet::new()),
        };
        if self.announced_cluster.as_ref() != Some(&now) {
            self.effects.push_back(Effect::Cluster {
                id: now.0,
                removed: now.1.clone(),
            });
            self.announced_cluster = Some(now);
        }
    }
}
