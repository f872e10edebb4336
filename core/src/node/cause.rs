//! Why a segment has the gateway that it has, in the words of `gateway list` and the log.

use crate::cluster::gossip::{Candidacy, Gossip, Key, Lack, Presence, Record, Uplink};
use crate::election::{Cause, Election, GroupId};
use crate::id::HostId;

/// Why the holder of a group is its holder, as it says itself where that is known here; or why there is none.
pub(super) fn gateway_reason(group: GroupId, election: &Election, gossip: &Gossip) -> String {
    if let Some((holder, term)) = election.holder(group)
        && let Some(Record::Claim(claim)) = gossip.get(&Key::Claim(group.0, holder))
        && claim.presence == Presence::Here
        && claim.term == term
    {
        return claim.reason.clone();
    }
    words(group, election.cause(group), gossip)
}

/// What the election says, with names for ids.
pub(super) fn words(group: GroupId, cause: Cause, gossip: &Gossip) -> String {
    let words = match cause {
        Cause::NoneKnown => "no gateway known yet",
        Cause::HolderGone => "the last gateway is gone",
        Cause::Heard => "elected",
        Cause::FirstInOrder => "first in order; there was none",
        Cause::HandedOver { by } => return handed_over(group, by, gossip),
        Cause::Resumed => "kept over a restart of overlayd",
        Cause::Outranked => "another host has a newer term",
        Cause::Unconfirmed => "not confirmed by the other hosts in time",
        Cause::AddressRefused => "the kernel refused the gateway address",
        Cause::Moved => "moved by an operator",
        Cause::UplinkFails => "moved to a host whose uplink works",
        Cause::Lacking => "moved to a host that lacks nothing for the segment",
        Cause::Drained => "this host is drained or has lost its journal",
        Cause::Departing => "the agent of this host is stopping",
        Cause::NoCandidate => "this host is not a candidate",
        Cause::LeftGroup => "this host no longer has the segment",
        Cause::Removed => "this host was removed from the cluster",
        Cause::HeldByOther => "another host is the gateway",
        Cause::ClaimedByBetter => "another host comes first in order",
        Cause::KeptForSuccessor => "another host is the successor",
        Cause::ClaimRefused => "another host refused the claim",
        Cause::ClaimUnanswered => "not every host answered the claim",
    };
    words.to_owned()
}

/// Which host handed its gateway over, and why as far as its record tells.
fn handed_over(group: GroupId, by: HostId, gossip: &Gossip) -> String {
    let Some(host) = gossip.host(by) else {
        return format!("handed over by {by}");
    };
    let mut lacks = host.lacks.iter().filter(|(segment, _)| *segment == group.0);
    let lack = lacks.next().map(|(_, lack)| lack);
    let motive = match (host.candidacy, host.uplink) {
        (Candidacy::None, _) => "no candidate",
        (Candidacy::Drained { .. }, _) => "drain",
        (Candidacy::JournalLost { .. }, _) => "journal lost",
        (Candidacy::Departing { .. }, _) => "its agent stops",
        (Candidacy::Candidate { .. }, _) if lack == Some(&Lack::NotWhole) => "segment not whole",
        (Candidacy::Candidate { .. }, _) if lack == Some(&Lack::SubnetConflict) => "subnet conflict",
        (Candidacy::Candidate { .. }, Uplink::Fails) => "uplink",
        (Candidacy::Candidate { .. }, Uplink::Works) => "move",
    };
    format!("handed over by {} ({motive})", host.name)
}
