//! What an operator asked, or another host, and does not get: what is wrong, and what to do.

use super::loss::Loss;
use crate::id::SegmentName;

/// A request that was refused: what is wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Refusal {
    /// One sentence.
    pub what: String,
    /// What to do, where that is known.
    pub hint: Option<String>,
    /// Whether asking again can help.
    pub lasts: Lasts,
    /// What guests would lose, where that is why.
    pub losses: Vec<Loss>,
}

/// How long a refusal stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasts {
    /// The same request may be granted later.
    ForNow,
    /// Something must be changed first.
    UntilChanged,
}

impl Refusal {
    /// Without a hint; asking again may help.
    pub fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            hint: None,
            lasts: Lasts::ForNow,
            losses: Vec::new(),
        }
    }

    /// A name that no segment of the cluster has.
    pub fn no_segment(name: &SegmentName) -> Self {
        Self::new(format!("segment {name} not found")).hint("see `overlayctl segment list`")
    }

    /// Asking again does not help until something is changed.
    #[must_use]
    pub fn until_changed(self) -> Self {
        Self {
            lasts: Lasts::UntilChanged,
            ..self
        }
    }

    /// With what to do about it.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// Because of what guests would lose.
    #[must_use]
    pub fn because_of(self, losses: &[Loss]) -> Self {
        Self {
            losses: losses.to_vec(),
            ..self
        }
    }
}
