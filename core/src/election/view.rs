//! Who is there and what is to be elected, as configuration and membership see it.

use std::collections::{BTreeMap, BTreeSet};

use super::message::{ElectionCandidacy, ElectionUplink, GroupId};
use crate::id::{HostId, SegmentId, Term};

/// All hosts and groups, given whole whenever something changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ElectionView {
    /// Every host of the cluster that takes part in elections, this one included; static peers do not.
    pub hosts: BTreeMap<HostId, HostView>,
    /// Every group that this host is in.
    pub groups: BTreeMap<GroupId, GroupView>,
}

/// One host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostView {
    /// Whether it may become gateway.
    pub candidacy: ElectionCandidacy,
    /// `gateway.priority`; the highest comes first.
    pub priority: u32,
    /// Its uplink as gossip last said; for this host itself [`super::Election::set_uplink`] counts instead.
    pub uplink: ElectionUplink,
    /// What membership says.
    pub standing: HostStanding,
}

/// What membership says of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostStanding {
    /// A member, heard of or suspected.
    Member,
    /// Membership has given it up for now.
    Failed,
    /// It left or was removed, for good.
    Removed,
}

/// One group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupView {
    /// Its segments; the group bears the name of the smallest.
    pub segments: BTreeSet<SegmentId>,
    /// The hosts that have all of them, this one included.
    pub hosts: BTreeSet<HostId>,
    /// Those of them that lack something which the gateway of the group needs.
    pub lacking: BTreeSet<HostId>,
    /// The holder that gossip last named; a host that becomes voter here is bound to it for a while.
    pub known_holder: Option<(HostId, Term)>,
}
