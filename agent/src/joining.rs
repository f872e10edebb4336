//! How a host is let in, between what the node says of it and what is sent.

use overlayd_core::addresses::Roster;
use overlayd_core::cluster::gossip::Record;
use overlayd_core::node::{Lasts, Refusal, Welcome};

use crate::grpc::{JoinError, JoinRefusal, JoinReply};

/// What a member replied to this host.
pub(crate) fn welcome(result: Result<JoinReply, JoinError>) -> Result<Welcome, Refusal> {
    let reply = result.map_err(|problem| {
        let refusal = Refusal::new(problem.to_string());
        match problem {
            JoinError::Never(_) => refusal.until_changed(),
            JoinError::Unreachable { .. } | JoinError::NotYet(_) | JoinError::Malformed { .. } => refusal,
        }
    })?;
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
