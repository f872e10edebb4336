//! How a host is let in, between what the node says of it and what is sent.

use std::net::SocketAddr;

use overlayd_core::addresses::Roster;
use overlayd_core::cluster::gossip::Record;
use overlayd_core::node::{Lasts, Refusal, Welcome};

use crate::grpc::{JoinError, JoinRefusal, JoinReply};

/// A call to the agent at `address` that came to nothing. What that host says of itself is told as its word.
pub(crate) fn refused(address: SocketAddr, problem: JoinError) -> Refusal {
    match problem {
        JoinError::Never(text) => Refusal::new(format!("{} refuses: {text}", address.ip())).until_changed(),
        JoinError::NotYet(text) => Refusal::new(format!("{} refuses: {text}", address.ip())),
        JoinError::Unreachable { .. } | JoinError::Malformed { .. } => Refusal::new(problem.to_string()),
    }
}

/// What the member at `address` replied to this host.
pub(crate) fn welcome(address: SocketAddr, result: Result<JoinReply, JoinError>) -> Result<Welcome, Refusal> {
    let reply = result.map_err(|problem| refused(address, problem))?;
    let named = |record: &Record| match record {
        Record::Host(host) if host.id == reply.host => Some(host.name.clone()),
        Record::Host(_)
        | Record::Segment(_)
        | Record::StaticPeer(_)
        | Record::Endpoint(_)
        | Record::Claim(_)
        | Record::Findings(_)
        | Record::Lease(_)
        | Record::Share(_)
        | Record::Removed(_) => None,
    };
    let via_name = reply.records.iter().find_map(named);
    Ok(Welcome {
        cluster: reply.cluster,
        via: reply.host,
        via_name: via_name.ok_or_else(|| Refusal::new("invalid join reply"))?,
        records: reply.records,
        roster: Roster {
            members: reply.members.into_iter().collect(),
            removed: reply.removed.into_iter().collect(),
        },
    })
}

/// What a newcomer is told.
pub(crate) fn join_reply(result: Result<Box<Welcome>, Refusal>) -> Result<JoinReply, JoinRefusal> {
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

/// A refusal as one sentence, with what would be lost and what to do.
pub(crate) fn refuse(refusal: &Refusal) -> JoinRefusal {
    let losses: Vec<String> = refusal.losses.iter().map(ToString::to_string).collect();
    let mut text = refusal.what.clone();
    if !losses.is_empty() {
        text.push_str(&format!(" ({})", losses.join("; ")));
    }
    if let Some(hint) = &refusal.hint {
        text.push_str(&format!("; {hint}"));
    }
    match refusal.lasts {
        Lasts::ForNow => JoinRefusal::NotYet(text),
        Lasts::UntilChanged => JoinRefusal::Never(text),
    }
}
