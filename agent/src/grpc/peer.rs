//! The server side of service `Peer`: checks who calls, turns bytes into values, hands them to the event loop.
//!
//! It decides nothing: `Join` and `Invite` wait for the event loop's answer. A stream that says something malformed is
//! closed with the name of the field.

use std::net::SocketAddr;
use std::time::Duration;

use overlayd_core::id::{ClusterId, HostId};
use overlayd_proto::convert::{self, Malformed};
use overlayd_proto::peer::peer_server::{Peer, PeerServer};
use overlayd_proto::{election, gossip, lease, peer as wire};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status, Streaming};

use super::event::{Event, Inbox, Invitation, JoinRefusal, JoinReply, JoinRequest};
use super::identity::Identity;
use super::socket;

pub(super) const CLUSTER: &str = "cluster";
pub(super) const HOST: &str = "host";
pub(super) const INSTANCE: &str = "instance";
pub(super) const REFUSED: &str = "refused";
pub(super) const UNFORMED: &str = "unformed";
pub(super) const OTHER_CLUSTER: &str = "other-cluster";
pub(super) const REMOVED: &str = "removed";

const STOPPING: &str = "the agent is stopping";
/// How often an address that is not there yet is tried.
const BIND_AGAIN: Duration = Duration::from_millis(500);
/// So long nothing may come before a caller is asked whether it is still there. It pings and calls again by itself: this
/// only frees what the dead have left.
const ABANDONED_AFTER: Duration = Duration::from_secs(30);
/// A whole cluster's records come in one reply to `Join`.
pub(super) const MESSAGE_LIMIT: usize = 64 << 20;

/// The running server; dropping it ends it, and all that it serves.
#[derive(Debug)]
pub struct Server {
    task: JoinHandle<()>,
    /// Connections outlive the server's future; that this is gone ends their streams.
    _stop: watch::Sender<()>,
}

impl Server {
    /// Serves on `address` until dropped. An address that is on no interface yet is tried for ever; each time that it
    /// is found the event loop hears [`Event::Listening`].
    ///
    /// # Errors
    /// The address is in use, or cannot be listened on for another lasting reason.
    pub fn start(address: SocketAddr, identity: Identity, inbox: Inbox) -> Result<Self, socket::BindError> {
        let first = match socket::listen(address) {
            Ok(listener) => Some(listener),
            Err(socket::BindError::NotThere { .. }) => {
                tracing::warn!(%address, "the listen address is not on any interface yet; waiting for it");
                None
            }
            Err(error) => return Err(error),
        };
        let (stop_sender, stop) = watch::channel(());
        // Owns the listener: ending it closes that.
        let task = tokio::spawn(async move {
            let listener = match first {
                Some(listener) => listener,
                None => wait_for(address).await,
            };
            let at = listener.local_addr().unwrap_or(address);
            let _closed = inbox.rest.send(Event::Listening { address: at }).await;
            let service = PeerServer::new(Service { identity, inbox, stop }).max_decoding_message_size(MESSAGE_LIMIT);
            let served = tonic::transport::Server::builder()
                .http2_keepalive_interval(Some(ABANDONED_AFTER))
                .serve_with_incoming(service, TcpListenerStream::new(listener))
                .await;
            if let Err(error) = served {
                tracing::error!(%address, %error, "the server for other hosts has stopped");
            }
        });
        Ok(Self {
            task,
            _stop: stop_sender,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn wait_for(address: SocketAddr) -> tokio::net::TcpListener {
    let mut said = String::new();
    loop {
        tokio::time::sleep(BIND_AGAIN).await;
        match socket::listen(address) {
            Ok(listener) => return listener,
            Err(socket::BindError::NotThere { .. }) => {}
            Err(error) => {
                let text = error.to_string();
                if text != said {
                    tracing::error!(%address, "{text}");
                    said = text;
                }
            }
        }
    }
}

struct Service {
    identity: Identity,
    inbox: Inbox,
    stop: watch::Receiver<()>,
}

/// The caller of a stream, as its metadata says.
#[derive(Clone, Copy)]
struct Caller {
    cluster: ClusterId,
    host: HostId,
}

impl Service {
    fn caller(&self, metadata: &MetadataMap) -> Result<Caller, Status> {
        let text = |key| {
            metadata
                .get(key)
                .and_then(|value| value.to_str().ok())
                .ok_or_else(|| Status::invalid_argument(format!("`{key}` is missing from the call's metadata")))
        };
        let wrong = |error: overlayd_core::id::Invalid| Status::invalid_argument(error.to_string());
        let caller = Caller {
            cluster: text(CLUSTER)?.parse().map_err(wrong)?,
            host: text(HOST)?.parse().map_err(wrong)?,
        };
        text(INSTANCE)?
            .parse::<u64>()
            .map_err(|_| Status::invalid_argument("the call's `instance` is not a number"))?;
        self.admit(caller)?;
        Ok(caller)
    }

    /// Looked at again with each message: a removal counts from the moment that it is known.
    fn admit(&self, caller: Caller) -> Result<(), Status> {
        let refuse = |code, text: String, reason: &'static str| {
            let mut status = Status::new(code, text);
            status
                .metadata_mut()
                .insert(REFUSED, tonic::metadata::MetadataValue::from_static(reason));
            Err(status)
        };
        self.identity.read(|standing| match standing.cluster {
            None => refuse(
                Code::FailedPrecondition,
                format!("host {} is in no cluster", standing.host),
                UNFORMED,
            ),
            Some(ours) if ours != caller.cluster => refuse(
                Code::FailedPrecondition,
                format!(
                    "host {} is in cluster {ours}, the caller is in cluster {}",
                    standing.host, caller.cluster
                ),
                OTHER_CLUSTER,
            ),
            Some(ours) if standing.removed.contains(&caller.host) => refuse(
                Code::PermissionDenied,
                format!("host {} was removed from cluster {ours}", caller.host),
                REMOVED,
            ),
            Some(_) => Ok(()),
        })
    }

    async fn hand_over(&self, event: Event) -> Result<(), Status> {
        let queue = if let Event::Election { .. } = event {
            &self.inbox.election
        } else {
            &self.inbox.rest
        };
        queue.send(event).await.map_err(|_| Status::unavailable(STOPPING))
    }

    /// Asks the event loop.
    async fn ask<T>(&self, event: Event, answer: oneshot::Receiver<Result<T, JoinRefusal>>) -> Result<T, Status> {
        self.hand_over(event).await?;
        match answer.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(JoinRefusal::NotYet(text))) => Err(Status::unavailable(text)),
            Ok(Err(JoinRefusal::Never(text))) => Err(Status::failed_precondition(text)),
            Err(_) => Err(Status::unavailable(STOPPING)),
        }
    }

    async fn serve<M>(
        &self,
        request: Request<Streaming<M>>,
        read: impl Fn(Caller, M) -> Result<Event, Status>,
    ) -> Result<Response<wire::Closed>, Status> {
        let caller = self.caller(request.metadata())?;
        let mut stream = request.into_inner();
        let mut stop = self.stop.clone();
        loop {
            let message = tokio::select! {
                message = stream.message() => message?,
                _ = stop.changed() => return Err(Status::unavailable(STOPPING)),
            };
            let Some(message) = message else { break };
            self.admit(caller)?;
            self.hand_over(read(caller, message)?).await?;
        }
        Ok(Response::new(wire::Closed {}))
    }
}

fn refused(malformed: Malformed) -> Status {
    Status::invalid_argument(malformed.to_string())
}

#[tonic::async_trait]
impl Peer for Service {
    async fn join(&self, request: Request<wire::JoinRequest>) -> Result<Response<wire::JoinReply>, Status> {
        let request = request.into_inner();
        let host = request
            .host
            .ok_or_else(|| refused(Malformed::Missing("host")))?
            .try_into()
            .map_err(refused)?;
        let request = JoinRequest {
            host,
            token: request.token,
            cluster: request.cluster.map(ClusterId),
            former: request.former.map(HostId),
        };
        let (reply, answer) = oneshot::channel();
        let JoinReply {
            cluster,
            host,
            records,
            members,
            removed,
        } = self
            .ask(
                Event::Join {
                    request: Box::new(request),
                    reply,
                },
                answer,
            )
            .await?;
        Ok(Response::new(wire::JoinReply {
            cluster: cluster.0,
            host: host.0,
            records: records.into_iter().map(Into::into).collect(),
            members: members.into_iter().map(|host| host.0).collect(),
            removed: removed.into_iter().map(|host| host.0).collect(),
        }))
    }

    async fn invite(&self, request: Request<wire::InviteRequest>) -> Result<Response<wire::InviteReply>, Status> {
        let request = request.into_inner();
        let ip = convert::address(&request.address, "address").map_err(refused)?;
        let port = u16::try_from(request.port).map_err(|_| Status::invalid_argument("port is above 65535"))?;
        let invitation = Invitation {
            cluster: ClusterId(request.cluster),
            address: SocketAddr::new(ip, port),
            token: request.token,
        };
        let (reply, answer) = oneshot::channel();
        self.ask(Event::Invite { invitation, reply }, answer).await?;
        Ok(Response::new(wire::InviteReply {}))
    }

    async fn hello(&self, request: Request<wire::HelloRequest>) -> Result<Response<wire::HelloReply>, Status> {
        self.caller(request.metadata())?;
        Ok(Response::new(self.identity.read(|standing| wire::HelloReply {
            host: standing.host.0,
            instance: standing.instance,
            path_words: true,
        })))
    }

    async fn election(
        &self,
        request: Request<Streaming<election::ElectionMessage>>,
    ) -> Result<Response<wire::Closed>, Status> {
        self.serve(request, |caller, message| {
            if message.sender != caller.host.0 {
                return Err(Status::invalid_argument(
                    "the sender in the message differs from the caller",
                ));
            }
            Ok(Event::Election {
                from: caller.host,
                message: message.try_into().map_err(refused)?,
            })
        })
        .await
    }

    async fn bulk(&self, request: Request<Streaming<gossip::BulkMessage>>) -> Result<Response<wire::Closed>, Status> {
        self.serve(request, |caller, message| {
            Ok(Event::Bulk {
                from: caller.host,
                message: message.try_into().map_err(refused)?,
            })
        })
        .await
    }

    async fn leases(&self, request: Request<Streaming<lease::LeaseMessage>>) -> Result<Response<wire::Closed>, Status> {
        self.serve(request, |caller, message| {
            Ok(Event::Leases {
                from: caller.host,
                message: message.try_into().map_err(refused)?,
            })
        })
        .await
    }
}
