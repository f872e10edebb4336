//! What `apply` and `segment delete` make of segments, in words.

use super::loss::Loss;
use crate::config::FieldChange;
use crate::id::{IfName, SegmentName};

/// What `apply` makes of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Its name.
    pub name: SegmentName,
    /// What becomes of it.
    pub change: Change,
    /// The generation that is in force then.
    pub generation: u64,
    /// What differs.
    pub fields: Vec<FieldChange>,
    /// What that costs guests.
    pub losses: Vec<Loss>,
    /// Hosts out of reach, by name: whether a subnet that is new overlaps their networks is not known.
    pub unchecked: Vec<String>,
}

/// What `segment delete` did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// The guest ports on this host that keep the bridge for now.
    pub ports: Vec<IfName>,
    /// What that cost guests.
    pub losses: Vec<Loss>,
}

/// What becomes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The cluster did not have it.
    Added,
    /// It is another now.
    Changed,
    /// It is as it was.
    Unchanged,
}

/// Whether a call changes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// It only says what would change.
    Dry,
    /// It changes it.
    Real,
    /// It changes it, and what was before comes back unless that is confirmed in time.
    OnTrial {
        /// How long it has.
        seconds: u32,
    },
}

impl Run {
    /// For how many seconds what is written is on trial; `None`: it is final.
    pub(super) fn trial(self) -> Option<u32> {
        match self {
            Self::OnTrial { seconds } => Some(seconds),
            Self::Dry | Self::Real => None,
        }
    }
}
