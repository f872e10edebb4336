//! Does what the node says. One `match`; everything that may wait is handed to a thread or a task.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use anyhow::Result;
use overlayd_core::addresses::{JournalRecord, Recovered};
use overlayd_core::health::{EdgeState, Unsaved};
use overlayd_core::id::HostId;
use overlayd_core::node::{
    Call, Done, Drained, Effect, Facts, Force, Formation, JoinRequest, Node, PeerMessage, PublishedPorts, Refusal,
};
use overlayd_proto::convert::Bulk;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::{debug, error};

use crate::event::{Event, ReplyTo};
use crate::grpc::peer::Server;
use crate::grpc::{Identity, Inbox, Invitation, JoinRefusal, JoinReply, Transport, invite, join};
use crate::joining::{join_reply, refuse};
use crate::listeners;
use crate::log;
use crate::sockets::arp::Announcer;
use crate::sockets::dhcp::Reply;
use crate::sockets::guests::GuestSockets;
use crate::sockets::icmp::{Ended, Prober};
use crate::sockets::path;
use crate::state_dir;
use crate::systemd::Systemd;
use crate::workers::state_files::{Begin, Cluster, StateFiles};
use crate::workers::{address, disk, kernel};

/// How long a host that is asked to take this one in may think about it.
const JOIN_PATIENCE: Duration = Duration::from_secs(2);
/// An invited host joins within this, and has it on disk.
const INVITE_PATIENCE: Duration = Duration::from_secs(15);

/// Everything outside of the node.
pub struct Edge {
    /// Where the configuration is, and the text that is in force.
    pub(crate) config_file: (PathBuf, String),
    /// Above `files`, which waits at its end for the thread that this keeps going.
    pub(crate) journal: Option<Sender<disk::Order>>,
    pub(crate) files: StateFiles,
    pub(crate) identity: state_dir::Identity,
    pub(crate) standing: Identity,
    pub(crate) inbox: Inbox,
    pub(crate) transport: Transport,
    pub(crate) server: Option<(SocketAddr, Server)>,
    pub(crate) prober: Option<(IpAddr, Prober)>,
    pub(crate) probes: mpsc::Sender<Ended>,
    /// Sends and hears the frames that watch paths, once there is an underlay.
    pub(crate) paths: Option<path::Watcher>,
    pub(crate) announcer: Announcer,
    pub(crate) guests: GuestSockets,
    pub(crate) addresses: Sender<address::Order>,
    pub(crate) kernel: mpsc::UnboundedSender<kernel::Order>,
    /// Which journal it is: reports of a former one do not count.
    pub(crate) journal_life: u64,
    pub(crate) events: mpsc::UnboundedSender<Event>,
    pub(crate) tasks: JoinSet<()>,
    pub(crate) calls: BTreeMap<Call, oneshot::Sender<Result<Done, Refusal>>>,
    pub(crate) joins: BTreeMap<Call, oneshot::Sender<Result<JoinReply, JoinRefusal>>>,
    pub(crate) invites: BTreeMap<Call, oneshot::Sender<Result<(), JoinRefusal>>>,
    pub(crate) last_call: u64,
    pub(crate) look: kernel::Look,
    pub(crate) blind: Option<String>,
    /// What cannot be written to the state directory for now.
    pub(crate) unsaved: Option<Unsaved>,
    pub(crate) facts: Option<Facts>,
    pub(crate) started_wall: u64,
    pub(crate) systemd: Systemd,
}

impl Edge {
    /// What findings rest on that only the edge knows.
    pub(crate) fn health(&self) -> EdgeState {
        EdgeState {
            unreadable: self.blind.clone(),
            obstacles: self.look.obstacles.clone(),
            lacking: self.look.lacking.clone(),
            left_out: self.look.left_out.clone(),
            refused: self.look.failures.clone(),
            unsaved: self.unsaved.clone(),
            rejected: self.look.rejected.clone(),
            firewalls: self.look.firewalls.clone(),
        }
    }

    /// Does all that the node wants done.
    pub(crate) fn perform_all(&mut self, node: &mut Node) {
        while let Some(effect) = node.poll_effect() {
            self.perform(effect);
        }
        while self.tasks.try_join_next().is_some() {}
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Send { to, said } => self.send(to, said),
            Effect::Probe { host, address, number } => match &self.prober {
                Some((_, prober)) => prober.probe(host, number, address),
                None => debug!(%host, "no probe yet: the underlay is missing"),
            },
            Effect::PathFrame { link, to, frame, peer } => {
                match self.paths.as_ref().map(|watcher| watcher.send(&link, to, frame)) {
                    Some(Ok(())) => drop(self.events.send(Event::PathSent(peer, frame))),
                    Some(Err(error)) => debug!(%link, %error, "no frame to watch the way to a peer"),
                    None => {}
                }
            }
            Effect::SetAddress {
                group,
                addresses,
                term,
                lifetime,
            } => {
                self.order_address(address::Order::Set {
                    group,
                    addresses,
                    term,
                    lifetime,
                    asked: Instant::now(),
                });
            }
            Effect::RemoveAddress { group, segments } => {
                self.order_address(address::Order::Remove { group, segments });
            }
            Effect::Append { sequence, records } => self.append(sequence, records),
            Effect::Dhcp {
                segment,
                destination_mac,
                source,
                destination,
                bytes,
            } => {
                let reply = Reply {
                    destination_mac,
                    source,
                    destination,
                    message: bytes,
                };
                self.guests.reply(segment, reply);
            }
            Effect::AskGuests { segment, addresses } => self.guests.ask(segment, &addresses),
            Effect::HearAddresses(bridges) => self.guests.hear(bridges),
            Effect::Dial(hosts) => self.transport.set_addresses(&hosts.into_values().collect()),
            Effect::Cluster { id, removed } => {
                self.standing.update(|standing| {
                    standing.cluster = id;
                    standing.removed = removed;
                });
                self.transport.reconnect();
            }
            Effect::CallJoin { to, request } => self.call_join(to, *request),
            Effect::CallInvite { call, to } => self.call_invite(call, to),
            Effect::Desired(inputs) => self.order_kernel(kernel::Order::Desired(inputs)),
            Effect::RemoveAll(force) => self.remove_all(force),
            Effect::Prepare(group) => self.order_kernel(kernel::Order::Prepare(group)),
            Effect::Listen(links) => self.guests.listen(links),
            Effect::Announce {
                segment,
                link,
                mac,
                address,
            } => self.announcer.announce(segment, link, mac, address),
            Effect::StopAnnouncing(segment) => self.announcer.cancel(segment),
            Effect::NewJournal => self.begin_journal(Begin::Anew),
            Effect::FindListeners { asker, number, ports } => self.find_listeners(asker, number, ports),
            Effect::SaveIdentity(formation) => self.save_identity(formation),
            Effect::SaveDrained(drained) => {
                self.identity.drained = drained;
                self.files.save_identity(self.identity, Cluster::Same);
            }
            Effect::SaveCluster(records) => self.files.save_records(records),
            Effect::SaveAnswered(hosts) => self.files.save_answered(hosts),
            Effect::Answer { call, result } => self.answer(call, result),
            Effect::AnswerJoin { call, result } => {
                if let Some(reply) = self.joins.remove(&call) {
                    // Nobody waits any more: the newcomer will ask again.
                    let _ = reply.send(join_reply(result));
                }
            }
            Effect::Event(event) => log::event(&event),
        }
    }

    fn send(&self, to: HostId, said: PeerMessage) {
        // What cannot be sent is lost; every machine says again what matters.
        let _ = match said {
            PeerMessage::Election(message) => self.transport.send_election(to, message),
            PeerMessage::Membership(packet) => self.transport.send_bulk(to, Bulk::Membership(packet)),
            PeerMessage::Gossip(message) => self.transport.send_bulk(to, Bulk::Gossip(message)),
            PeerMessage::Hearing(hearing) => self.transport.send_bulk(to, Bulk::Hearing(hearing)),
            PeerMessage::Listening(listening) => self.transport.send_bulk(to, Bulk::Listening(listening)),
            PeerMessage::Path(message) => self.transport.send_bulk(to, Bulk::Path(message)),
            PeerMessage::Lease(message) => self.transport.send_leases(to, message),
        };
    }

    /// All processes are looked through for the one whose socket it is: not in the loop.
    fn find_listeners(&mut self, asker: HostId, number: u64, ports: Vec<PublishedPorts>) {
        let events = self.events.clone();
        // Owns nothing but the answer; ends by itself.
        self.tasks.spawn_blocking(move || {
            let _ = events.send(Event::Listeners(asker, number, listeners::find(&ports)));
        });
    }

    fn order_address(&self, order: address::Order) {
        if self.addresses.send(order).is_err() {
            error!("the thread for gateway addresses is gone");
        }
    }

    pub(crate) fn order_kernel(&self, order: kernel::Order) {
        if self.kernel.send(order).is_err() {
            error!("the kernel's thread is gone");
        }
    }

    fn append(&self, sequence: u64, records: Vec<JournalRecord>) {
        match &self.journal {
            Some(journal) if journal.send(disk::Order::Append { sequence, records }).is_ok() => {}
            _ => debug!(sequence, "not written: there is no journal"),
        }
    }

    pub(crate) fn compact(&self, snapshot: Recovered) {
        if let Some(journal) = &self.journal {
            let order = disk::Order::Compact {
                sequence: snapshot.sequence,
                records: snapshot.records,
            };
            // A thread that is gone has told why.
            let _ = journal.send(order);
        }
    }

    fn call_join(&mut self, to: SocketAddr, request: JoinRequest) {
        let events = self.events.clone();
        let request = crate::grpc::JoinRequest {
            host: request.host,
            token: String::new(),
            cluster: request.cluster,
            former: request.former,
        };
        // Owns nothing but the call; cancelled when the agent ends.
        self.tasks.spawn(async move {
            let result = join(to, request, JOIN_PATIENCE).await;
            let _ = events.send(Event::Welcome(to, result));
        });
    }

    fn call_invite(&mut self, call: Call, to: SocketAddr) {
        let events = self.events.clone();
        let cluster = match self.identity.formation {
            Formation::Formed(cluster) => cluster,
            Formation::Unformed | Formation::Left { .. } => {
                return self.answer(call, Err(Refusal::new("this host is in no cluster")));
            }
        };
        let Some(listen) = self.facts.as_ref().map(|facts| facts.listen) else {
            let refusal = Refusal::new("the underlay of this host is missing")
                .hint("bring the interface up, or set `host.underlay` and `host.address`");
            return self.answer(call, Err(refusal));
        };
        let invitation = Invitation {
            cluster,
            address: listen,
            token: String::new(),
        };
        // Owns nothing but the call; cancelled when the agent ends.
        self.tasks.spawn(async move {
            let result = invite(to, invitation, INVITE_PATIENCE).await;
            let _ = events.send(Event::Invited(call, to, result));
        });
    }

    fn answer(&mut self, call: Call, result: Result<Done, Refusal>) {
        if let Some(reply) = self.invites.remove(&call) {
            let flushed = self.flushed();
            // Owns nothing but the answer; cancelled when the agent ends.
            self.tasks.spawn(async move {
                flushed.await;
                let _ = reply.send(result.map(|_| ()).map_err(|refusal| refuse(&refusal)));
            });
        } else if let Some(reply) = self.calls.remove(&call) {
            // The operator has gone away; what was done is done.
            let _ = reply.send(result);
        }
    }

    fn flushed(&self) -> impl Future<Output = ()> + Send + use<> {
        self.files.flushed(self.journal.as_ref())
    }

    /// Answers once all that was ordered before is on disk, or was refused and reported.
    pub(crate) fn flush(&mut self, reply: ReplyTo<()>) {
        let flushed = self.flushed();
        // Owns nothing but the answer; cancelled when the agent ends.
        self.tasks.spawn(async move {
            flushed.await;
            let _ = reply.send(());
        });
    }

    fn remove_all(&mut self, force: Force) {
        let (done, answer) = oneshot::channel();
        let events = self.events.clone();
        let guests = match force {
            Force::No => kernel::Guests::Keep,
            Force::Yes => kernel::Guests::CutOff,
        };
        self.order_kernel(kernel::Order::RemoveAll { guests, done });
        // Owns nothing but the answer; cancelled when the agent ends.
        self.tasks.spawn(async move {
            if let Ok(removed) = answer.await {
                let _ = events.send(Event::RemovedAll(removed));
            }
        });
    }

    fn save_identity(&mut self, formation: Formation) {
        let before = self.identity.formation;
        self.identity.formation = formation;
        self.identity.former = None;
        if let Formation::Left { next } = formation {
            self.identity.host = next;
        }
        let cluster = if before == formation {
            Cluster::Same
        } else {
            self.journal = None;
            self.identity.drained = Drained::No;
            Cluster::Another
        };
        self.files.save_identity(self.identity, cluster);
        self.standing.update(|standing| standing.host = self.identity.host);
        match formation {
            Formation::Formed(_) if cluster == Cluster::Another => self.begin_journal(Begin::AsFound),
            Formation::Formed(_) | Formation::Unformed | Formation::Left { .. } => {}
        }
    }

    /// Another journal in the place of the one before, which takes no more.
    pub(crate) fn begin_journal(&mut self, begin: Begin) {
        self.journal = None;
        self.journal_life += 1;
        self.journal = Some(self.files.begin_journal(self.journal_life, begin));
    }

    pub(crate) fn next_call(&mut self) -> Call {
        self.last_call += 1;
        Call(self.last_call)
    }

    /// The number of an operator's call that the node answers later.
    pub(crate) fn call(&mut self, reply: ReplyTo<Result<Done, Refusal>>) -> Call {
        let call = self.next_call();
        self.calls.insert(call, reply);
        call
    }
}
