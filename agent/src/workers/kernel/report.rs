//! What the kernel's thread and the one for its events tell.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use overlayd_core::election::GroupId;
use overlayd_core::health::{NoUnderlay, Rejected};
use overlayd_core::id::{IfName, Mac, SegmentName};
use overlayd_core::kernel::foreign::ForeignChain;
use overlayd_core::kernel::plan::Obstacle;
use overlayd_core::node::Facts;

/// What was seen.
#[derive(Clone, Debug)]
pub enum Report {
    /// This host on its underlay, or why it is not there.
    Facts(Result<Facts, NoUnderlay>),
    /// A look that ended with nothing left to do, or with what could not be done.
    Looked(Look),
    /// As [`Order::Prepare`](super::Order::Prepare) asked.
    Prepared(Vec<GroupId>),
    /// Kernel state cannot be read.
    KernelUnreadable(String),
}

/// The outcome of a look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Whether a desired state was there to be compared with.
    pub compared: bool,
    /// Ops that are still due.
    pub due: usize,
    /// What stands in the way.
    pub obstacles: Vec<Obstacle>,
    /// The segments that are to be served elsewhere: they are not whole here, although it was tried again and again.
    pub lacking: BTreeSet<SegmentName>,
    /// What the kernel refused.
    pub failures: Vec<String>,
    /// Whether what failed may succeed soon by itself.
    pub stage: Stage,
    /// What guests sent by no way out.
    pub rejected: Vec<Rejected>,
    /// Other people's chains that drop what guests need, as far as that shows.
    pub firewalls: Vec<ForeignChain>,
    /// The guest ports of our bridges.
    pub ports: BTreeMap<IfName, Vec<IfName>>,
    /// Ports that left a bridge when it was deleted and are on none, each with that bridge.
    pub left_out: BTreeMap<IfName, IfName>,
    /// The guests that our bridges have heard on them.
    pub guests: BTreeMap<IfName, BTreeMap<Mac, IfName>>,
}

/// How far a plan is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// It is being tried.
    #[default]
    Trying,
    /// All that could be done is done: what failed needs an operator, or has been tried for long.
    Tried,
}

/// Guests that VXLAN interfaces have just heard: the interface, the guest, and the VTEP that its frame came from.
pub type RemoteMacs = Vec<(IfName, Mac, IpAddr)>;
