//! What the kernel's thread is asked to do.

use std::collections::BTreeMap;

use overlayd_core::config::HostConfig;
use overlayd_core::election::GroupId;
use overlayd_core::id::IfName;
use overlayd_core::kernel::inputs::Inputs;
use overlayd_core::kernel::plan::Plan;
use tokio::sync::oneshot;

/// What is to be done.
#[derive(Debug)]
pub enum Order {
    /// The host should be like this from now on.
    Desired(Box<Inputs>),
    /// Report once the host is as it should be, or nothing more can be done about it: this group is waited for. A host that
    /// lacks what a gateway is made of stays silent.
    Prepare(GroupId),
    /// Another configuration: the facts may be others.
    Config(Box<HostConfig>),
    /// Tell what is due.
    Plan(oneshot::Sender<Result<Plan, String>>),
    /// Tell the guest ports of our bridges as they are at this moment.
    Ports(oneshot::Sender<Result<BTreeMap<IfName, Vec<IfName>>, String>>),
    /// Remove everything of ours; with guests in the way only by force.
    RemoveAll {
        /// What becomes of bridges with guests.
        guests: Guests,
        /// What was done.
        done: oneshot::Sender<Removed>,
    },
}

/// What becomes of bridges that guests are attached to when all is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guests {
    /// They stay.
    Keep,
    /// They go.
    CutOff,
}

/// What was removed.
#[derive(Clone, Debug, Default)]
pub struct Removed {
    /// As `ip`, `bridge` and `nft` lines.
    pub lines: Vec<String>,
    /// What is still there, and why.
    pub kept: Vec<String>,
}
