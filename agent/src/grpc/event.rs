//! What comes in from other hosts, and the two ways by which it reaches the event loop.

use std::net::SocketAddr;

use overlayd_core::addresses::Message as LeaseMessage;
use overlayd_core::cluster::gossip;
use overlayd_core::election::message::Message as ElectionMessage;
use overlayd_core::id::{ClusterId, HostId};
use overlayd_proto::convert::Bulk;
use tokio::sync::{mpsc, oneshot};

/// Something that came in from another host, or happened to a connection.
#[derive(Debug)]
pub enum Event {
    /// This host can send to that one from now on.
    Connected {
        /// Whom.
        host: HostId,
        /// The start of its agent that answers.
        instance: u64,
    },
    /// It cannot any more; it is dialled for ever.
    Disconnected {
        /// Whom.
        host: HostId,
    },
    /// A dialled host does not take this host's calls, or is another than was expected. Dialling goes on.
    Refused {
        /// Where it was dialled.
        address: SocketAddr,
        /// Why.
        why: Refusal,
        /// What it said.
        text: String,
    },
    /// A message on the election stream; comes through [`Inbox::election`].
    Election {
        /// The sender, as the message's header says, too.
        from: HostId,
        /// What it says.
        message: ElectionMessage,
    },
    /// A message on the bulk stream.
    Bulk {
        /// The sender.
        from: HostId,
        /// What it says.
        message: Bulk,
    },
    /// A message on the stream for leases.
    Leases {
        /// The sender.
        from: HostId,
        /// What it says.
        message: LeaseMessage,
    },
    /// A host asks to become a member; whoever drops `reply` refuses.
    Join {
        /// What it says of itself.
        request: Box<JoinRequest>,
        /// For the answer, within the caller's patience of some seconds.
        reply: oneshot::Sender<Result<JoinReply, JoinRefusal>>,
    },
    /// A member of a cluster asks this host to join it.
    Invite {
        /// Which, and how.
        invitation: Invitation,
        /// For the answer.
        reply: oneshot::Sender<Result<(), JoinRefusal>>,
    },
    /// The server listens.
    Listening {
        /// Where.
        address: SocketAddr,
    },
}

/// Why a host's calls are not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is in no cluster.
    Unformed,
    /// It is in another cluster.
    OtherCluster,
    /// It knows that this host was removed.
    Removed,
    /// The address is this host's own.
    Myself,
    /// That host is connected by another address already.
    Elsewhere(HostId),
}

/// What a newcomer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRequest {
    /// Its own record.
    pub host: gossip::HostRecord,
    /// Of the token, empty if none was given.
    pub token: String,
    /// The cluster that it expects or is alone in.
    pub cluster: Option<ClusterId>,
    /// The host that it was before `overlayd --cleanup`.
    pub former: Option<HostId>,
}

/// What a newcomer is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinReply {
    /// The cluster that it is in now.
    pub cluster: ClusterId,
    /// The host that answers.
    pub host: HostId,
    /// All that it knows.
    pub records: Vec<gossip::Record>,
    /// The members, for the leases.
    pub members: Vec<HostId>,
    /// The removed hosts, for the leases.
    pub removed: Vec<HostId>,
}

/// Why a newcomer is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinRefusal {
    /// It may be tried again: this host is in no cluster yet, or is not ready.
    #[error("{0}")]
    NotYet(String),
    /// It will not be taken as it is: its name or VTEP is taken, it is in another cluster, it was removed.
    #[error("{0}")]
    Never(String),
}

/// A call to join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// The cluster.
    pub cluster: ClusterId,
    /// Where the inviting host listens.
    pub address: SocketAddr,
    /// Of the token, empty if none was given.
    pub token: String,
}

/// The two ways into the event loop. The loop empties `election` first.
#[derive(Clone, Debug)]
pub struct Inbox {
    /// [`Event::Election`] alone.
    pub election: mpsc::Sender<Event>,
    /// Everything else.
    pub rest: mpsc::Sender<Event>,
}
