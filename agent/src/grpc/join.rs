//! Calls between hosts that are not in one cluster yet: a request to join, and an invitation.

use std::net::SocketAddr;
use std::time::Duration;

use overlayd_core::cluster::gossip::Record;
use overlayd_core::id::{ClusterId, HostId};
use overlayd_proto::convert::{self, Malformed};
use overlayd_proto::peer as wire;
use overlayd_proto::peer::peer_client::PeerClient;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::dialler::{Pings, dial};
use super::event::{Invitation, JoinReply, JoinRequest};
use super::peer::MESSAGE_LIMIT;

/// Why this host did not become a member.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// Nobody answers there; it may be tried again.
    #[error("no agent responds at {address}: {text}")]
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
    #[error("invalid reply from the agent at {address}: {malformed}")]
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
    match dial(address, Pings::Sent).await {
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
        former: request.former.map(|former| former.0),
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
            text: format!("no reply within {} s", patience.as_secs()),
        })
    })
}
