//! What hosts ask an address' owner, and its replies.

use std::time::Duration;

use overlayd_core::addresses as core;
use overlayd_core::id::HostId;

use super::record::{millis, version_in, version_out};
use crate::convert::{Malformed, mac, unknown};
use crate::lease as wire;
use wire::ask::Ask as AskKind;
use wire::reply::Reply as ReplyKind;

pub(super) fn ask_out(ask: core::Ask) -> AskKind {
    match ask {
        core::Ask::Bind(claim) => {
            let basis = match claim.basis {
                core::Basis::Wanting => wire::claim::Basis::Wanting,
                core::Basis::Having => wire::claim::Basis::Having,
            };
            AskKind::Bind(wire::Claim {
                client: claim.client.0.to_vec(),
                basis: basis.into(),
                guest_host: claim.guest_host.map(|host| host.0),
                lease_time: millis(claim.lease_time),
                client_id: claim.client_id,
                hostname: claim.hostname,
            })
        }
        core::Ask::Nonce { client } => AskKind::Nonce(wire::AskNonce {
            client: client.0.to_vec(),
        }),
        core::Ask::Release { client, version, nonce } => AskKind::Release(wire::Release {
            client: client.0.to_vec(),
            version: Some(version_out(version)),
            nonce,
        }),
        core::Ask::Decline { client, version, nonce } => AskKind::Decline(wire::Decline {
            client: client.0.to_vec(),
            version: Some(version_out(version)),
            nonce,
        }),
        core::Ask::Conflict => AskKind::Conflict(wire::Conflict {}),
        core::Ask::Revoke { client, version } => AskKind::Revoke(wire::Revoke {
            client: client.0.to_vec(),
            version: Some(version_out(version)),
        }),
    }
}

pub(super) fn ask_in(ask: AskKind) -> Result<core::Ask, Malformed> {
    Ok(match ask {
        AskKind::Bind(claim) => {
            let basis = match claim.basis() {
                wire::claim::Basis::Wanting => core::Basis::Wanting,
                wire::claim::Basis::Having => core::Basis::Having,
                wire::claim::Basis::Unspecified => return Err(unknown(claim.basis, "claim.basis")),
            };
            core::Ask::Bind(core::Claim {
                client: mac(&claim.client, "claim.client")?,
                basis,
                guest_host: claim.guest_host.map(HostId),
                lease_time: Duration::from_millis(claim.lease_time),
                client_id: claim.client_id,
                hostname: claim.hostname,
            })
        }
        AskKind::Nonce(nonce) => core::Ask::Nonce {
            client: mac(&nonce.client, "nonce.client")?,
        },
        AskKind::Release(release) => core::Ask::Release {
            client: mac(&release.client, "release.client")?,
            version: version_in(release.version)?,
            nonce: release.nonce,
        },
        AskKind::Decline(decline) => core::Ask::Decline {
            client: mac(&decline.client, "decline.client")?,
            version: version_in(decline.version)?,
            nonce: decline.nonce,
        },
        AskKind::Conflict(_) => core::Ask::Conflict,
        AskKind::Revoke(revoke) => core::Ask::Revoke {
            client: mac(&revoke.client, "revoke.client")?,
            version: version_in(revoke.version)?,
        },
    })
}

pub(super) fn reply_out(reply: core::Reply) -> ReplyKind {
    match reply {
        core::Reply::Granted { lease_time, copies } => ReplyKind::Granted(wire::Granted {
            lease_time: millis(lease_time),
            copies,
        }),
        core::Reply::Taken => ReplyKind::Taken(wire::ReplyTaken {}),
        core::Reply::CannotSay { owner } => ReplyKind::CannotSay(wire::CannotSay {
            owner: owner.map(|host| host.0),
        }),
        core::Reply::Nonce { version, nonce } => ReplyKind::Nonce(wire::ReplyNonce {
            version: Some(version_out(version)),
            nonce,
        }),
        core::Reply::Done => ReplyKind::Done(wire::Done {}),
    }
}

pub(super) fn reply_in(reply: ReplyKind) -> Result<core::Reply, Malformed> {
    Ok(match reply {
        ReplyKind::Granted(granted) => core::Reply::Granted {
            lease_time: Duration::from_millis(granted.lease_time),
            copies: granted.copies,
        },
        ReplyKind::Taken(_) => core::Reply::Taken,
        ReplyKind::CannotSay(cannot) => core::Reply::CannotSay {
            owner: cannot.owner.map(HostId),
        },
        ReplyKind::Nonce(nonce) => core::Reply::Nonce {
            version: version_in(nonce.version)?,
            nonce: nonce.nonce,
        },
        ReplyKind::Done(_) => core::Reply::Done,
    })
}
