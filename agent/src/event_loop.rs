//! The one loop: an [`Event`] comes in, the node decides, [`crate::effects`] does.
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

use anyhow::{Context, Result};
use overlayd_core::config::host_changes;
use overlayd_core::node::{JoinRequest, Node, PeerMessage};
use overlayd_core::time::Instant;
use overlayd_proto::convert::Bulk;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

use crate::effects::Edge;
use crate::event::{Ask, Event, Inboxes};
use crate::grpc;
use crate::joining::{refused, welcome};
use crate::sockets::{arp, dhcp, icmp};
use crate::workers::{disk, kernel};
use crate::{clock, control};

/// The agent: what decides, and what does.
pub struct Agent {
    node: Node,
    edge: Edge,
    early: Early,
    /// Something without which it cannot go on.
    fatal: Option<anyhow::Error>,
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
            Some(heard) = inboxes.arp.recv() => agent.answered_by_guest(heard),
            Some(received) = inboxes.dhcp.recv() => agent.asked_by_guest(received),
            Some(event) = inboxes.peers.recv() => agent.peer(event),
            Some(used) = inboxes.used.recv() => agent.uses_address(&used),
        }
        agent.perform_all();
    }
}

/// What operators ask before the kernel has said anything. Until then nobody knows whether this host has an underlay,
/// and what rests on that would be refused; so it waits, and is answered in its order.
struct Early<Q = Ask> {
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
    /// An agent that starts.
    pub fn new(node: Node, edge: Edge) -> Self {
        Self {
            node,
            edge,
            early: Early::default(),
            fatal: None,
        }
    }

    fn perform_all(&mut self) {
        self.edge.perform_all(&mut self.node);
    }

    fn due(&mut self, now: Instant) {
        if self.node.poll_timeout().is_some_and(|(at, _)| at <= now) {
            self.node.handle_timeout(now);
        }
        self.edge.systemd.beat();
    }

    fn next_deadline(&self) -> Option<std::time::Duration> {
        let node = self.node.poll_timeout().map(|(at, _)| at.since(clock::now()));
        node.into_iter().chain(self.edge.systemd.next_beat()).min()
    }

    fn happened(&mut self, event: Event) {
        let now = clock::now();
        match event {
            Event::Ask(ask) => {
                if let Some(ask) = self.early.keep(ask) {
                    control::answer(&mut self.node, &mut self.edge, ask, now);
                }
            }
            Event::Kernel(report) => {
                self.kernel(report, now);
                for ask in self.early.release() {
                    control::answer(&mut self.node, &mut self.edge, ask, now);
                }
            }
            Event::RemoteMacs(guests) => self.node.hear_remote_macs(&guests),
            Event::PathSent(peer, frame) => self.node.handle_path_sent(peer, frame, now),
            Event::PathFrame(bridge, frame) => self.node.handle_path_frame(&bridge, frame, now),
            Event::Address(group, event) => self.node.handle_address(group, event, now),
            Event::Disk(life, report) if life == self.edge.journal_life => self.disk(report, now),
            Event::Disk(..) => {}
            Event::Unsaved(problem) => {
                self.edge.unsaved = problem;
                self.node.set_edge(self.edge.health(), now);
            }
            Event::Welcome(from, result) => self.node.handle_welcome(from, welcome(from, result), now),
            Event::Invited(call, address, result) => {
                let result = result.map(|()| address).map_err(|problem| refused(address, problem));
                self.node.handle_invited(call, result);
            }
            Event::Listeners(asker, number, found) => self.node.handle_listeners(asker, number, found, now),
            Event::RemovedAll(removed) => self.node.handle_removed_all(removed.lines, removed.kept),
        }
    }

    fn kernel(&mut self, report: kernel::Report, now: Instant) {
        match report {
            kernel::Report::Facts(facts) => {
                match &facts {
                    Ok(facts) => {
                        if let Err(problem) = self.edge.listen(facts) {
                            self.fatal = Some(problem);
                            return;
                        }
                    }
                    Err(why) => warn!("the underlay is missing: {why}; {}", why.fix()),
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
                self.node.set_edge(self.edge.health(), now);
                // A service that is never ready is killed and started again for ever: what needs an operator is told,
                // and the rest goes on.
                if ready {
                    self.edge.systemd.ready();
                }
            }
            kernel::Report::Prepared(groups) => {
                for group in groups {
                    self.node.handle_prepared(group, now);
                }
            }
            kernel::Report::KernelUnreadable(problem) => {
                if self.edge.blind.as_ref() != Some(&problem) {
                    error!(%problem, "cannot read kernel state");
                    self.edge.blind = Some(problem);
                    self.node.set_edge(self.edge.health(), now);
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

    fn probed(&mut self, probe: icmp::Ended) {
        self.node
            .handle_probe(probe.host, probe.number, probe.outcome, clock::now());
    }

    fn asked_by_guest(&mut self, received: dhcp::Received) {
        self.node
            .handle_dhcp(received.segment, received.source, received.message, clock::now());
    }

    fn answered_by_guest(&mut self, heard: arp::Heard) {
        self.node
            .handle_arp(heard.segment, heard.guest, heard.address, clock::now());
    }

    fn uses_address(&mut self, used: &arp::Used) {
        self.node
            .hear_address(&used.bridge, used.guest, used.address, clock::now());
    }

    fn peer(&mut self, event: grpc::Event) {
        let now = clock::now();
        match event {
            grpc::Event::Connected { host, .. } => self.node.connected(host, now),
            grpc::Event::Disconnected { host } => self.node.disconnected(host, now),
            grpc::Event::Refused { address, why, text } => {
                warn!(%address, "a host does not take this one's calls: {text}");
                if why == grpc::Refusal::Removed {
                    self.node.handle_removed();
                }
            }
            grpc::Event::Election { from, message } => self.node.handle(from, PeerMessage::Election(message), now),
            grpc::Event::Bulk { from, message } => {
                let message = match message {
                    Bulk::Membership(packet) => PeerMessage::Membership(packet),
                    Bulk::Gossip(message) => PeerMessage::Gossip(message),
                    Bulk::Hearing(hearing) => PeerMessage::Hearing(hearing),
                    Bulk::Listening(listening) => PeerMessage::Listening(listening),
                    // Without ears this host cannot say that a frame was lost.
                    Bulk::Path(_) if self.edge.paths.is_none() => return,
                    Bulk::Path(message) => PeerMessage::Path(message),
                };
                self.node.handle(from, message, now);
            }
            grpc::Event::Leases { from, message } => self.node.handle(from, PeerMessage::Lease(message), now),
            grpc::Event::Join { request, reply } => {
                let call = self.edge.next_call();
                self.edge.joins.insert(call, reply);
                let request = JoinRequest {
                    host: request.host,
                    cluster: request.cluster,
                    former: request.former,
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
    fn reload(&mut self) {
        let (path, before) = &self.edge.config_file;
        let (config, text) = match crate::read_config(path) {
            Ok(read) => read,
            Err(problem) => return error!("the configuration stays as it was:\n{problem:#}"),
        };
        let changes = host_changes((before, self.node.config()), (&text, &config));
        if let Err(refusal) = self.node.reload(config, changes, clock::now()) {
            let hint = refusal.hint.unwrap_or_default();
            return error!("the configuration stays as it was: {}; {hint}", refusal.what);
        }
        self.edge.config_file.1 = text;
        let config = Box::new(self.node.config().clone());
        self.edge.order_kernel(kernel::Order::Config(config));
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
