//! The client side: one task per address, which dials for ever.
//!
//! ```text
//!  dial ─► two connections ─► Hello on both ─► three streams ─► Connected ─► (any of them ends) ─► Disconnected ─┐
//!   ▲                                                                                                            │
//!   └───────────────────────────── 100 ms … 1 s, and a little chance ◄──────────────────────────────────────────┘
//! ```
//! Elections have a connection of their own. Sending never waits: a full queue drops, and whoever needs more asks again.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use overlayd_core::addresses::Message as LeaseMessage;
use overlayd_core::cluster::gossip::Record;
use overlayd_core::election::message::Message as ElectionMessage;
use overlayd_core::id::{ClusterId, HostId};
use overlayd_proto::convert::{self, Bulk, Malformed};
use overlayd_proto::peer::peer_client::PeerClient;
use overlayd_proto::{election, gossip, lease, peer as wire};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request, Status};

use super::peer::{CLUSTER, HOST, INSTANCE, MESSAGE_LIMIT, OTHER_CLUSTER, REFUSED, REMOVED, UNFORMED};
use super::{Event, Identity, Inbox, Invitation, JoinReply, JoinRequest, Refusal, socket};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A newcomer is dialled before it hears that it was let in: that it is in no cluster is told only if it stays so.
const UNFORMED_TIMES: u32 = 3;
/// With a ping each second and two seconds of patience a peer whose packets vanish is noticed within four.
const PING_EVERY: Duration = Duration::from_secs(1);
const PING_PATIENCE: Duration = Duration::from_secs(2);
/// Renewals come every 50 ms: what does not leave at once is better lost.
const ELECTION_QUEUE: usize = 8;
const BULK_QUEUE: usize = 256;
const LEASE_QUEUE: usize = 4096;

/// What became of something that was to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It is in the queue of a connection.
    Queued,
    /// The queue is full: it is lost.
    Full,
    /// There is no connection to that host: it is lost.
    NotConnected,
}

/// All connections of this host to others.
#[derive(Debug)]
pub struct Transport {
    identity: Identity,
    inbox: Inbox,
    links: Links,
    dialling: BTreeMap<SocketAddr, JoinHandle<()>>,
}

impl Transport {
    /// Without any connection.
    pub fn new(identity: Identity, inbox: Inbox) -> Self {
        Self {
            identity,
            inbox,
            links: Links::default(),
            dialling: BTreeMap::new(),
        }
    }

    /// The addresses to be connected to, given whole: new ones are dialled, missing ones hung up.
    pub fn set_addresses(&mut self, wanted: &BTreeSet<SocketAddr>) {
        self.dialling.retain(|address, task| {
            let keep = wanted.contains(address);
            if !keep {
                task.abort();
            }
            keep
        });
        for address in wanted {
            self.dialling.entry(*address).or_insert_with(|| {
                let dialler = Dialler {
                    address: *address,
                    identity: self.identity.clone(),
                    inbox: self.inbox.clone(),
                    links: self.links.clone(),
                };
                // Owns the connections to one address; ending it closes them.
                tokio::spawn(dialler.run())
            });
        }
    }

    /// Hangs up everywhere and dials again: after a change of cluster.
    pub fn reconnect(&mut self) {
        let addresses = self.dialling.keys().copied().collect();
        self.set_addresses(&BTreeSet::new());
        self.set_addresses(&addresses);
    }

    /// On the election stream.
    pub fn send_election(&self, to: HostId, message: ElectionMessage) -> Sent {
        self.links.send(to, |link| &link.election, || message.into())
    }

    /// On the bulk stream.
    pub fn send_bulk(&self, to: HostId, message: Bulk) -> Sent {
        self.links.send(to, |link| &link.bulk, || message.into())
    }

    /// On the stream for leases.
    pub fn send_leases(&self, to: HostId, message: LeaseMessage) -> Sent {
        self.links.send(to, |link| &link.leases, || message.into())
    }

    /// The hosts that can be sent to.
    pub fn connected(&self) -> BTreeSet<HostId> {
        self.links.lock().keys().copied().collect()
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        for task in self.dialling.values() {
            task.abort();
        }
    }
}

#[derive(Debug)]
struct Link {
    election: mpsc::Sender<election::ElectionMessage>,
    bulk: mpsc::Sender<gossip::BulkMessage>,
    leases: mpsc::Sender<lease::LeaseMessage>,
}

#[derive(Clone, Debug, Default)]
struct Links(Arc<Mutex<BTreeMap<HostId, Link>>>);

impl Links {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<HostId, Link>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send<M>(&self, to: HostId, queue: impl Fn(&Link) -> &mpsc::Sender<M>, message: impl FnOnce() -> M) -> Sent {
        let links = self.lock();
        let Some(link) = links.get(&to) else {
            return Sent::NotConnected;
        };
        match queue(link).try_send(message()) {
            Ok(()) => Sent::Queued,
            Err(mpsc::error::TrySendError::Full(_)) => Sent::Full,
            Err(mpsc::error::TrySendError::Closed(_)) => Sent::NotConnected,
        }
    }
}

/// A place in [`Links`], given back however the session ends: also when its task is aborted.
struct Registered {
    host: HostId,
    links: Links,
    inbox: Inbox,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.links.lock().remove(&self.host);
        let event = Event::Disconnected { host: self.host };
        if let Err(mpsc::error::TrySendError::Full(event)) = self.inbox.rest.try_send(event) {
            let queue = self.inbox.rest.clone();
            // Waits for room in the event loop's queue and for nothing else; the loop's end ends it.
            tokio::spawn(async move { queue.send(event).await });
        }
    }
}

/// Why a session did not come about, or ended.
enum Ended {
    /// The connection failed, or the peer closed it.
    Broken(Status),
    /// The peer answers and does not want us, or is the wrong one.
    Refused(Refusal, String),
    /// There is nobody to hand events to.
    Stopping,
}

impl From<Status> for Ended {
    fn from(status: Status) -> Self {
        let reason = status.metadata().get(REFUSED).and_then(|value| value.to_str().ok());
        let why = match reason {
            Some(UNFORMED) => Refusal::Unformed,
            Some(OTHER_CLUSTER) => Refusal::OtherCluster,
            Some(REMOVED) => Refusal::Removed,
            Some(_) | None => return Ended::Broken(status),
        };
        Ended::Refused(why, status.message().to_owned())
    }
}

impl From<tonic::transport::Error> for Ended {
    fn from(error: tonic::transport::Error) -> Self {
        Ended::Broken(Status::from_error(Box::new(error)))
    }
}

struct Dialler {
    address: SocketAddr,
    identity: Identity,
    inbox: Inbox,
    links: Links,
}

impl Dialler {
    async fn run(self) {
        let mut pause = FIRST_PAUSE;
        let mut refused: Option<(Refusal, u32)> = None;
        loop {
            let began = tokio::time::Instant::now();
            match self.session().await {
                Ended::Stopping => return,
                Ended::Broken(status) => {
                    tracing::debug!(address = %self.address, %status, "no connection");
                    refused = None;
                }
                Ended::Refused(why, text) => {
                    let times = refused
                        .filter(|(before, _)| *before == why)
                        .map_or(1, |(_, times)| times + 1);
                    refused = Some((why, times));
                    let told_at = if why == Refusal::Unformed { UNFORMED_TIMES } else { 1 };
                    if times == told_at {
                        let event = Event::Refused {
                            address: self.address,
                            why,
                            text,
                        };
                        if self.inbox.rest.send(event).await.is_err() {
                            return;
                        }
                    }
                }
            }
            if began.elapsed() > 2 * LONGEST_PAUSE {
                // It had been a session, not a failed attempt: the peer may be back at once.
                pause = FIRST_PAUSE;
            }
            tokio::time::sleep(pause + pause / 4 * chance() / 255).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn session(&self) -> Ended {
        match self.connected_session().await {
            Ok(ended) => ended,
            Err(ended) => ended,
        }
    }

    async fn connected_session(&self) -> Result<Ended, Ended> {
        let (mut fast, mut bulk) = tokio::try_join!(self.greeted(), self.greeted())?;
        let (host, instance) = fast.1;
        if bulk.1 != (host, instance) {
            return Err(Ended::Broken(Status::unavailable("two agents answer at one address")));
        }
        if host == self.identity.read(|standing| standing.host) {
            return Err(Ended::Refused(
                Refusal::Myself,
                format!("{} is this host's own address", self.address),
            ));
        }
        let (election_queue, election) = mpsc::channel(ELECTION_QUEUE);
        let (bulk_queue, bulk_messages) = mpsc::channel(BULK_QUEUE);
        let (lease_queue, leases) = mpsc::channel(LEASE_QUEUE);
        {
            let mut links = self.links.lock();
            if links.contains_key(&host) {
                let text = format!("host {host} is connected by another address than {}", self.address);
                return Err(Ended::Refused(Refusal::Elsewhere(host), text));
            }
            links.insert(
                host,
                Link {
                    election: election_queue,
                    bulk: bulk_queue,
                    leases: lease_queue,
                },
            );
        }
        let _registered = Registered {
            host,
            links: self.links.clone(),
            inbox: self.inbox.clone(),
        };
        if self.inbox.rest.send(Event::Connected { host, instance }).await.is_err() {
            return Err(Ended::Stopping);
        }
        let mut leases_client = bulk.0.clone();
        let election = self.with_identity(ReceiverStream::new(election))?;
        let bulk_messages = self.with_identity(ReceiverStream::new(bulk_messages))?;
        let leases = self.with_identity(ReceiverStream::new(leases))?;
        let ended = tokio::select! {
            ended = fast.0.election(election) => ended,
            ended = bulk.0.bulk(bulk_messages) => ended,
            ended = leases_client.leases(leases) => ended,
        };
        Ok(ended.map_or_else(Ended::from, |_| {
            Ended::Broken(Status::cancelled("the peer closed a stream"))
        }))
    }

    /// A connection, and who answers on it.
    async fn greeted(&self) -> Result<(PeerClient<Channel>, (HostId, u64)), Ended> {
        let mut client = PeerClient::new(dial(self.address).await?);
        let hello = client.hello(self.with_identity(wire::HelloRequest {})?);
        let reply = tokio::time::timeout(CONNECT_TIMEOUT, hello)
            .await
            .map_err(|_| Ended::Broken(Status::deadline_exceeded("no answer to Hello")))??
            .into_inner();
        Ok((client, (HostId(reply.host), reply.instance)))
    }

    fn with_identity<T>(&self, message: T) -> Result<Request<T>, Ended> {
        let (cluster, host, instance) = self
            .identity
            .read(|standing| (standing.cluster, standing.host, standing.instance));
        let Some(cluster) = cluster else {
            return Err(Ended::Broken(Status::failed_precondition("this host is in no cluster")));
        };
        let mut request = Request::new(message);
        for (key, text) in [
            (CLUSTER, cluster.to_string()),
            (HOST, host.to_string()),
            (INSTANCE, instance.to_string()),
        ] {
            let value =
                MetadataValue::try_from(text).map_err(|error| Ended::Broken(Status::internal(error.to_string())))?;
            request.metadata_mut().insert(key, value);
        }
        Ok(request)
    }
}

/// 0 to 255, so that hosts that lost each other at one moment do not dial at one moment.
fn chance() -> u32 {
    u32::try_from(RandomState::new().build_hasher().finish() & 0xff).unwrap_or_default()
}

async fn dial(address: SocketAddr) -> Result<Channel, tonic::transport::Error> {
    let connector = tower::service_fn(move |_: Uri| async move {
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, socket::connect(address)).await;
        connected.map_err(std::io::Error::from).flatten().map(TokioIo::new)
    });
    Endpoint::try_from(format!("http://{address}"))?
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_PATIENCE)
        .keep_alive_while_idle(true)
        .connect_with_connector(connector)
        .await
}

/// Why this host did not become a member.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// Nobody answers there; it may be tried again.
    #[error("no agent answers at {address}: {text}")]
    Unreachable {
        /// Where.
        address: SocketAddr,
        /// What happened.
        text: String,
    },
    /// That host cannot take newcomers now; it may be tried again.
    #[error("{0}")]
    NotYet(String),
    /// It does not take this host as it is.
    #[error("{0}")]
    Never(String),
    /// It answers with something that cannot be understood.
    #[error("the agent at {address} answers with nonsense: {malformed}")]
    Malformed {
        /// Where.
        address: SocketAddr,
        /// What is wrong.
        malformed: Malformed,
    },
}

impl JoinError {
    fn from_status(address: SocketAddr, status: &Status) -> Self {
        let text = status.message().to_owned();
        match status.code() {
            Code::FailedPrecondition | Code::PermissionDenied | Code::InvalidArgument => JoinError::Never(text),
            // A transport's own failure has a source, an answer has none.
            Code::Unavailable if std::error::Error::source(status).is_none() => JoinError::NotYet(text),
            _ => JoinError::Unreachable { address, text },
        }
    }
}

async fn client(address: SocketAddr) -> Result<PeerClient<Channel>, JoinError> {
    match dial(address).await {
        Ok(channel) => Ok(PeerClient::new(channel).max_decoding_message_size(MESSAGE_LIMIT)),
        Err(error) => {
            let source = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            Err(JoinError::Unreachable { address, text: source })
        }
    }
}

/// Asks the host at `address` to take this one in; gives up after `patience`.
///
/// # Errors
/// This host is no member: see [`JoinError`].
pub async fn join(address: SocketAddr, request: JoinRequest, patience: Duration) -> Result<JoinReply, JoinError> {
    let request = wire::JoinRequest {
        host: Some(request.host.into()),
        token: request.token,
        cluster: request.cluster.map(|cluster| cluster.0),
    };
    let call = async {
        client(address)
            .await?
            .join(request)
            .await
            .map_err(|s| JoinError::from_status(address, &s))
    };
    let reply = within(address, patience, call).await?.into_inner();
    let records: Result<Vec<Record>, Malformed> = reply.records.into_iter().map(TryInto::try_into).collect();
    Ok(JoinReply {
        cluster: ClusterId(reply.cluster),
        host: HostId(reply.host),
        records: records.map_err(|malformed| JoinError::Malformed { address, malformed })?,
        members: reply.members.into_iter().map(HostId).collect(),
        removed: reply.removed.into_iter().map(HostId).collect(),
    })
}

/// Asks the agent at `address` to join this host's cluster; gives up after `patience`.
///
/// # Errors
/// It will not: see [`JoinError`].
pub async fn invite(address: SocketAddr, invitation: Invitation, patience: Duration) -> Result<(), JoinError> {
    let request = wire::InviteRequest {
        cluster: invitation.cluster.0,
        address: convert::address_bytes(invitation.address.ip()),
        port: invitation.address.port().into(),
        token: invitation.token,
    };
    let call = async {
        client(address)
            .await?
            .invite(request)
            .await
            .map_err(|s| JoinError::from_status(address, &s))
    };
    within(address, patience, call).await.map(|_| ())
}

async fn within<T>(
    address: SocketAddr,
    patience: Duration,
    call: impl Future<Output = Result<T, JoinError>>,
) -> Result<T, JoinError> {
    tokio::time::timeout(patience, call).await.unwrap_or_else(|_| {
        Err(JoinError::Unreachable {
            address,
            text: format!("no answer within {} s", patience.as_secs()),
        })
    })
}
