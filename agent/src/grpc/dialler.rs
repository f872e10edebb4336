//! One address, dialled for ever: two connections, who answers on them, and the three streams.
//!
//! ```text
//!  dial ─► two connections ─► Hello on both ─► three streams ─► Connected ─► (any of them ends) ─► Disconnected ─┐
//!   ▲                                                                                                            │
//!   └───────────────────────────── 100 ms … 1 s, and a little chance ◄──────────────────────────────────────────┘
//! ```

use std::net::SocketAddr;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use overlayd_core::id::HostId;
use overlayd_proto::peer as wire;
use overlayd_proto::peer::peer_client::PeerClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Status};

use super::event::{Event, Inbox, Refusal};
use super::identity::Identity;
use super::links::{Link, Links, PathWords, Registered};
use super::peer::{CLUSTER, HOST, INSTANCE, OTHER_CLUSTER, REFUSED, REMOVED, UNFORMED};
use super::socket;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A newcomer is dialled before it hears that it was let in: that it is in no cluster is told only if it stays so.
const UNFORMED_TIMES: u32 = 3;
/// With a ping in each silent second and two seconds of patience a peer whose packets vanish is noticed within four.
const PING_EVERY: Duration = Duration::from_secs(1);
const PING_PATIENCE: Duration = Duration::from_secs(2);
/// Renewals come every 50 ms: what does not leave at once is better lost.
const ELECTION_QUEUE: usize = 8;
const BULK_QUEUE: usize = 256;
const LEASE_QUEUE: usize = 4096;

/// Whether a connection is pinged while nothing comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pings {
    Sent,
    /// Another one goes the same way and is.
    Spared,
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

/// Dials one address for ever.
pub(super) struct Dialler {
    pub(super) address: SocketAddr,
    pub(super) identity: Identity,
    pub(super) inbox: Inbox,
    pub(super) links: Links,
}

impl Dialler {
    pub(super) async fn run(self) {
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
        let (mut fast, mut bulk) = tokio::try_join!(self.greeted(Pings::Sent), self.greeted(Pings::Spared))?;
        let host = HostId(fast.1.host);
        if bulk.1 != fast.1 {
            return Err(Ended::Broken(Status::unavailable("two agents respond at one address")));
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
                let text = format!(
                    "host {host} is already connected at another address than {}",
                    self.address
                );
                return Err(Ended::Refused(Refusal::Elsewhere(host), text));
            }
            links.insert(
                host,
                Link {
                    election: election_queue,
                    bulk: bulk_queue,
                    leases: lease_queue,
                    path_words: if fast.1.path_words {
                        PathWords::Understood
                    } else {
                        PathWords::Unknown
                    },
                },
            );
        }
        let _registered = Registered {
            host,
            links: self.links.clone(),
            inbox: self.inbox.clone(),
        };
        let instance = fast.1.instance;
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
    async fn greeted(&self, pings: Pings) -> Result<(PeerClient<Channel>, wire::HelloReply), Ended> {
        let mut client = PeerClient::new(dial(self.address, pings).await?);
        let hello = client.hello(self.with_identity(wire::HelloRequest {})?);
        let reply = tokio::time::timeout(CONNECT_TIMEOUT, hello)
            .await
            .map_err(|_| Ended::Broken(Status::deadline_exceeded("no reply to Hello")))??;
        Ok((client, reply.into_inner()))
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
    getrandom::u32().unwrap_or_default() & 0xff
}

/// A connection to whoever listens at an address.
pub(super) async fn dial(address: SocketAddr, pings: Pings) -> Result<Channel, tonic::transport::Error> {
    let connector = tower::service_fn(move |_: Uri| async move {
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, socket::connect(address)).await;
        connected.map_err(std::io::Error::from).flatten().map(TokioIo::new)
    });
    let endpoint = Endpoint::try_from(format!("http://{address}"))?;
    let endpoint = match pings {
        Pings::Sent => endpoint
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_PATIENCE)
            .keep_alive_while_idle(true),
        Pings::Spared => endpoint,
    };
    endpoint.connect_with_connector(connector).await
}
