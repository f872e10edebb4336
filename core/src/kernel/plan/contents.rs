//! What a plan consists of: the ops, and what stands in the way of more.

use super::op::Op;
use crate::id::{IfName, Vni};
use std::fmt;

/// What is due on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The changes, in the order in which they must be made.
    pub ops: Vec<Op>,
    /// What stands in the way, and what was left alone.
    pub obstacles: Vec<Obstacle>,
}

/// Something that a plan cannot or must not change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// A link has the name of one of ours but not our mark: nothing is done to it, nor to what needs it.
    Foreign {
        /// The link in the way.
        link: IfName,
    },
    /// Another VXLAN device has the VNI and port of one of ours, which the kernel allows only once.
    SameVni {
        /// Ours, which cannot be made.
        link: IfName,
        /// The one in the way.
        other: IfName,
        /// The VNI of both.
        vni: Vni,
    },
    /// A bridge of ours is no longer wanted, but guests are still on it.
    Occupied {
        /// Left over from a deleted segment.
        bridge: IfName,
        /// The guest ports on it, and what else of somebody else's would go with it.
        ports: Vec<IfName>,
    },
    /// An interface that the configuration names is not there.
    Missing {
        /// As the configuration names it.
        link: IfName,
    },
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign { link } => write!(
                f,
                "{link} is not managed by overlayd and was left unchanged: rename or delete it, or choose another name or bridge for the segment"
            ),
            Self::SameVni { link, other, vni } => write!(
                f,
                "cannot create {link}: {other}, which is not managed by overlayd, uses VNI {vni} on the same port: delete it or choose another VNI"
            ),
            Self::Occupied { bridge, ports } => {
                let ports: Vec<&str> = ports.iter().map(IfName::as_str).collect();
                write!(
                    f,
                    "{bridge} is kept until its last guest port is detached: {}",
                    ports.join(", ")
                )
            }
            Self::Missing { link } => write!(
                f,
                "interface {link} not found: what needs it is configured once it appears"
            ),
        }
    }
}
