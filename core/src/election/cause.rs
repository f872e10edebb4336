//! Why a group has the gateway that it has, or none: a closed set, which the node puts into words.

use crate::id::HostId;

/// Why a host's role in a group is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Nothing was heard of a holder since this host is in the group.
    NoneKnown,
    /// The last holder is dead, or out of reach.
    HolderGone,
    /// This host granted the holder's term, or heard of it.
    Heard,
    /// Nobody held the group, and this host comes first of those alive.
    FirstInOrder,
    /// The last holder named this host its successor.
    HandedOver {
        /// The last holder.
        by: HostId,
    },
    /// The kernel still had the address when the agent started.
    Resumed,
    /// Another host has a higher term.
    Outranked,
    /// The voters did not confirm the term in time.
    Unconfirmed,
    /// The kernel refused the address.
    AddressRefused,
    /// An operator moved the gateway away.
    Moved,
    /// Its uplink fails, and the successor's works.
    UplinkFails,
    /// A segment is not whole on its host, and is on the successor's.
    Lacking,
    /// This host is drained, or its journal is lost.
    Drained,
    /// Its agent is about to end.
    Departing,
    /// This host is not a candidate any more.
    NoCandidate,
    /// This host has not the group's segments any more.
    LeftGroup,
    /// This host was removed from the cluster.
    Removed,
    /// A claim ended because another host holds the group.
    HeldByOther,
    /// A claim ended because a host that comes before this one claims the group, too.
    ClaimedByBetter,
    /// A claim ended because the last holder named another host its successor.
    KeptForSuccessor,
    /// A claim ended because a voter refused it.
    ClaimRefused,
    /// A claim ended because not every voter replied.
    ClaimUnanswered,
}
