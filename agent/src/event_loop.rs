//! The one loop: whatever happens becomes an [`Event`], the node decides, [`crate::effects`] does.
//!
//! ```text
//!  grpc election ─┐ (first)
//!  threads, calls ┼─► Event ─► Node ─► Effect ─► threads, sockets, streams
//!  grpc, dhcp ────┤
//!  deadline ──────┘
//! ```
//! Nothing in here waits: what takes long has a thread or a task of its own. Deadlines are looked at before each event,
//! so that a holder of a gateway that was frozen steps down before it answers anybody.

use std::future::pending;
use std::net::SocketAddr;

use anyhow::{Context, Result};
use overlayd_core::election::{self, AddressEvent, GroupId};
use overlayd_core::node::{Call, Done, JoinRequest, Node, Refusal, Welcome};
use overlayd_core::time::Instant;
use overlayd_proto::convert::Bulk;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

use crate::clock;
use crate::effects::Agent;
use crate::grpc::{self, JoinError, JoinRefusal, JoinReply};
use crate::sockets::{dhcp, icmp};
use crate::workers::{disk, kernel};

/// Asked and answered within the loop.
pub type Question = Box<dyn FnOnce(&mut Agent, Instant) + Send>;

/// Something that a thread, a task or an operator brings.
pub enum Event {
    /// An operator's question: answered in the loop, with everything at hand.
    Ask(Question),
    /// The kernel's thread has looked.
    Kernel(kernel::Report),
    /// Gateway addresses are set or off.
    Address(GroupId, AddressEvent),
    /// VXLAN interfaces have heard guests.
    Far(kernel::RemoteMacs),
    /// The journal of this life of it has come further.
    Disk(u64, disk::Report),
    /// What cannot be written to the state directory for now; `None`: everything is on disk.
    Unsaved(Option<String>),
    /// What came of a call to join.
    Welcome(SocketAddr, Result<JoinReply, JoinError>),
    /// What came of an invitation.
    Invited(Call, SocketAddr, Result<(), JoinError>),
    /// All that was ours is out of the kernel.
    RemovedAll(kernel::Removed),
}

/// The receiving ends of everything.
pub struct Inboxes {
    /// Election messages; emptied first.
    pub election: mpsc::Receiver<grpc::Event>,
    /// What threads and operators bring.
    pub events: mpsc::UnboundedReceiver<Event>,
    /// Ends of probes.
    pub probes: mpsc::Receiver<icmp::Outcome>,
    /// Guests' DHCP messages.
    pub dhcp: mpsc::Receiver<dhcp::Received>,
    /// Everything else from other hosts.
    pub peers: mpsc::Receiver<grpc::Event>,
}

/// Why the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// A signal asked for it.
    Stopped,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// Runs until a signal ends it. What the agent made in the kernel stays.
///
/// # Errors
/// Something without which no agent can run has failed.
pub async fn run(mut agent: Agent, mut inboxes: Inboxes) -> Result<Ended> {
    let mut signals = Signals {
        terminate: signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?,
        interrupt: signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?,
        hangup: signal(SignalKind::hangup()).context("cannot wait for SIGHUP")?,
    };
    agent.perform_all();
    loop {
        agent.due(clock::now());
        agent.perform_all();
        if let Some(problem) = agent.fatal.take() {
            return Err(problem);
        }
        let deadline = agent.next_deadline();
        tokio::select! {
            biased;
            Some(event) = inboxes.election.recv() => agent.peer(event),
            () = at(deadline) => {}
            _ = signals.terminate.recv() => { info!("SIGTERM: stopping; the network stays as it is"); return Ok(Ended::Stopped) }
            _ = signals.interrupt.recv() => { info!("SIGINT: stopping; the network stays as it is"); return Ok(Ended::Stopped) }
            _ = signals.hangup.recv() => agent.reload(),
            Some(outcome) = inboxes.probes.recv() => agent.probed(outcome),
            Some(event) = inboxes.events.recv() => agent.happened(event),
            Some(received) = inboxes.dhcp.recv() => agent.asked_by_guest(received),
            Some(event) = inboxes.peers.recv() => agent.peer(event),
        }
        agent.perform_all();
    }
}

/// What operators ask before the kernel has said anything. Until then nobody knows whether this host has an underlay,
/// and what rests on that would be refused; so it waits, and is answered in its order.
pub(crate) struct Early<Q = Question> {
    kept: Option<Vec<Q>>,
}

impl<Q> Default for Early<Q> {
    fn default() -> Self {
        Self { kept: Some(Vec::new()) }
    }
}

impl<Q> Early<Q> {
    /// Keeps the question; or gives it back, to be answered now.
    fn keep(&mut self, question: Q) -> Option<Q> {
        match &mut self.kept {
            Some(kept) => {
                kept.push(question);
                None
            }
            None => Some(question),
        }
    }

    /// The kernel has spoken: these are to be answered, and those that come from now on at once.
    fn release(&mut self) -> Vec<Q> {
        self.kept.take().unwrap_or_default()
    }
}

async fn at(deadline: Option<std::time::Duration>) {
    match deadline {
        Some(in_this_time) => tokio::time::sleep(in_this_time).await,
        None => pending().await,
    }
}

impl Agent {
    fn due(&mut self, now: Instant) {
        if self.node.poll_timeout().is_some_and(|(at, _)| at <= now) {
            self.node.handle_timeout(now);
        }
        self.edge.watchdog();
    }

    fn next_deadline(&self) -> Option<std::time::Duration> {
        let node = self.node.poll_timeout().map(|(at, _)| at.since(clock::now()));
        node.into_iter().chain(self.edge.next_watchdog()).min()
    }

    fn happened(&mut self, event: Event) {
        let now = clock::now();
        match event {
            Event::Ask(question) => {
                if let Some(question) = self.early.keep(question) {
                    question(self, now);
                }
            }
            Event::Kernel(report) => {
                self.kernel(report, now);
                for question in self.early.release() {
                    question(self, now);
                }
            }
            Event::Far(guests) => self.node.hear_remote_macs(&guests),
            Event::Address(group, event) => self.node.handle_address(group, event, now),
            Event::Disk(life, report) if life == self.edge.journal_life => self.disk(report, now),
            Event::Disk(..) => {}
            Event::Unsaved(problem) => self.edge.unsaved = problem,
            Event::Welcome(from, Ok(reply)) => match welcome(reply) {
                Some(welcome) => self.node.handle_welcome(from, Ok(welcome), now),
                None => self
                    .node
                    .handle_welcome(from, Err(Refusal::new("its answer makes no sense")), now),
            },
            Event::Welcome(from, Err(problem)) => {
                let refusal = Refusal::new(problem.to_string());
                match problem {
                    JoinError::Never(_) => self.node.handle_join_refused(from, refusal, now),
                    JoinError::Unreachable { .. } | JoinError::NotYet(_) | JoinError::Malformed { .. } => {
                        self.node.handle_welcome(from, Err(refusal), now);
                    }
                }
            }
            Event::Invited(call, address, result) => {
                let result = result
                    .map(|()| address)
                    .map_err(|problem| Refusal::new(problem.to_string()));
                self.node.handle_invited(call, result);
            }
            Event::RemovedAll(removed) => {
                self.edge.removed_lines = removed.lines;
                self.node.handle_removed_all(removed.kept);
            }
        }
    }

    fn kernel(&mut self, report: kernel::Report, now: Instant) {
        match report {
            kernel::Report::Facts(facts) => {
                if let Some(facts) = &facts
                    && let Err(problem) = self.edge.listen(facts)
                {
                    self.fatal = Some(problem);
                    return;
                }
                if facts.is_none() {
                    warn!(
                        "the underlay is missing (no default route, no such interface, or no address on it): waiting for it"
                    );
                }
                self.node.set_facts(facts, now);
            }
            kernel::Report::Looked(look) => {
                self.node.set_ports(look.ports.clone());
                self.node.set_guests(&look.guests, now);
                // Without an underlay, now or ever before, there is nothing to make.
                let ready = look.stage == kernel::Stage::Tried && (look.compared || !self.node.has_plan());
                self.edge.look = look;
                self.edge.blind = None;
                // A service that is never ready is killed and started again for ever: what needs an operator is told,
                // and the rest goes on.
                if ready {
                    self.edge.ready();
                }
            }
            kernel::Report::Prepared(groups) => {
                for group in groups {
                    self.node.handle_prepared(group, now);
                }
            }
            kernel::Report::KernelUnreadable(problem) => {
                if self.edge.blind.as_ref() != Some(&problem) {
                    error!(%problem, "the kernel cannot be asked");
                    self.edge.blind = Some(problem);
                }
            }
        }
    }

    fn disk(&mut self, report: disk::Report, now: Instant) {
        match report {
            disk::Report::Synced(sequence) => self.node.handle_synced(sequence, now),
            disk::Report::Grown => {
                let snapshot = self.node.snapshot();
                self.edge.compact(snapshot);
            }
            disk::Report::Lost(problem) => {
                error!(
                    %problem,
                    "this host owns and keeps no addresses any more: `overlayctl status` says what to do"
                );
                self.node.lost_disk(now);
            }
        }
    }

    fn probed(&mut self, outcome: icmp::Outcome) {
        let result = match outcome.verdict {
            icmp::Verdict::Answered => election::Outcome::Answered,
            icmp::Verdict::Silent => election::Outcome::Unanswered,
        };
        self.node.handle_probe(outcome.host, outcome.ask, result, clock::now());
    }

    fn asked_by_guest(&mut self, received: dhcp::Received) {
        self.node
            .handle_dhcp(received.segment, received.source, received.message, clock::now());
    }

    fn peer(&mut self, event: grpc::Event) {
        use overlayd_core::node::PeerMessage;
        let now = clock::now();
        match event {
            grpc::Event::Connected { host, .. } => self.node.connected(host, now),
            grpc::Event::Disconnected { host } => self.node.disconnected(host, now),
            grpc::Event::Refused { address, why, text } => {
                warn!(%address, "a host does not take this one's calls: {text}");
                if why == grpc::Refusal::Removed {
                    self.node.handle_removed(now);
                }
            }
            grpc::Event::Election { from, message } => self.node.handle(from, PeerMessage::Election(message), now),
            grpc::Event::Bulk {
                from,
                message: Bulk::Membership(packet),
            } => {
                self.node.handle(from, PeerMessage::Membership(packet), now);
            }
            grpc::Event::Bulk {
                from,
                message: Bulk::Gossip(message),
            } => {
                self.node.handle(from, PeerMessage::Gossip(message), now);
            }
            grpc::Event::Bulk {
                from,
                message: Bulk::Hearing(hearing),
            } => {
                self.node.handle(from, PeerMessage::Hearing(hearing), now);
            }
            grpc::Event::Leases { from, message } => self.node.handle(from, PeerMessage::Lease(message), now),
            grpc::Event::Join { request, reply } => {
                let call = self.edge.next_call();
                self.edge.joins.insert(call, reply);
                let request = JoinRequest {
                    host: request.host,
                    cluster: request.cluster,
                };
                self.node.handle_join(call, request, now);
            }
            grpc::Event::Invite { invitation, reply } => {
                let call = self.edge.next_call();
                self.edge.invites.insert(call, reply);
                self.node.handle_invite(call, invitation.address, now);
            }
            grpc::Event::Listening { address } => info!(%address, "listening for other hosts"),
        }
    }

    /// Reads the configuration again.
    pub fn reload(&mut self) {
        match crate::read_config(&self.edge.config_path) {
            Ok(config) => {
                info!(file = %self.edge.config_path.display(), "configuration read again");
                self.edge.order_kernel(kernel::Order::Config(Box::new(config.clone())));
                self.node.set_config(config, clock::now());
            }
            Err(problem) => error!("the configuration stays as it was:\n{problem:#}"),
        }
    }

    /// Resolves once all that calls have changed so far is on disk, or was refused: `status` tells then.
    pub fn flushed(&mut self, now: Instant) -> oneshot::Receiver<()> {
        self.node.flush(now);
        self.perform_all();
        self.edge.files.flushed()
    }

    /// Begins a call that the node answers later.
    pub fn call(&mut self, begin: impl FnOnce(&mut Node, Call)) -> oneshot::Receiver<Result<Done, Refusal>> {
        let call = self.edge.next_call();
        let (reply, answer) = oneshot::channel();
        self.edge.calls.insert(call, reply);
        begin(&mut self.node, call);
        answer
    }
}

fn welcome(reply: JoinReply) -> Option<Welcome> {
    let via_name = reply.records.iter().find_map(|record| match record {
        overlayd_core::cluster::gossip::Record::Host(host) if host.id == reply.host => Some(host.name.clone()),
        _ => None,
    })?;
    Some(Welcome {
        cluster: reply.cluster,
        via: reply.host,
        via_name,
        records: reply.records,
        roster: overlayd_core::addresses::Roster {
            members: reply.members.into_iter().collect(),
            removed: reply.removed.into_iter().collect(),
        },
    })
}

/// What a newcomer is told.
pub fn join_reply(result: Result<Box<Welcome>, Refusal>) -> Result<JoinReply, JoinRefusal> {
    match result {
        Ok(welcome) => Ok(JoinReply {
            cluster: welcome.cluster,
            host: welcome.via,
            records: welcome.records,
            members: welcome.roster.members.into_iter().collect(),
            removed: welcome.roster.removed.into_iter().collect(),
        }),
        Err(refusal) => Err(refuse(&refusal)),
    }
}

/// A refusal as one sentence, with what to do.
pub fn refuse(refusal: &Refusal) -> JoinRefusal {
    let text = match &refusal.hint {
        Some(hint) => format!("{}; {hint}", refusal.what),
        None => refusal.what.clone(),
    };
    match refusal.lasts {
        overlayd_core::node::Lasts::ForNow => JoinRefusal::NotYet(text),
        overlayd_core::node::Lasts::UntilChanged => JoinRefusal::Never(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_before_the_kernel_has_spoken_is_answered_then_in_order_and_later_at_once() {
        let mut early = Early::default();
        assert_eq!(early.keep("join"), None);
        assert_eq!(early.keep("status"), None);
        assert_eq!(early.release(), ["join", "status"]);
        assert_eq!(early.keep("init"), Some("init"));
        assert!(early.release().is_empty());
    }
}
