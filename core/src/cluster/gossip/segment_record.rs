//! The record of a segment: its definition, its tombstone, and a change that is on trial.

use crate::id::{HostId, SegmentId, SegmentName};

/// A segment under one name, from the first `apply` on, through all generations and its tombstone.
///
/// The key is the name, so that two segments of one name made on both sides of a cut are resolved like two
/// generations of one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentRecord {
    /// Grows with each change.
    pub generation: u64,
    /// The host that introduced this generation; the higher wins a tie.
    pub introducer: HostId,
    /// Its name.
    pub name: SegmentName,
    /// Random; another where the name is used again for something else.
    pub id: SegmentId,
    /// The generation that began with this id.
    pub born: u64,
    /// What it is, or that it was deleted.
    pub content: Content,
    /// `None`: it is final.
    pub trial: Option<Trial>,
}

impl SegmentRecord {
    /// Whether it was deleted.
    pub fn is_tombstone(&self) -> bool {
        matches!(self.content, Content::Tombstone { .. })
    }

    /// The highest generation that hosts may have written: one on trial may be rolled back anywhere at this moment, and what
    /// an operator writes stands above that.
    pub fn taken(&self) -> u64 {
        self.generation + u64::from(self.trial.is_some())
    }

    /// The definition that an operator means to keep, as far as is known.
    pub(super) fn confirmed(&self) -> Option<String> {
        match (&self.trial, &self.content) {
            (Some(trial), _) => trial.before.clone(),
            (None, Content::Definition(text)) => Some(text.clone()),
            (None, Content::Tombstone { .. }) => None,
        }
    }

    /// What every host writes when nobody has confirmed this generation in time: the same, so that it does not matter how
    /// many do. `None`: it is final.
    pub(super) fn rolled_back(&self) -> Option<Self> {
        let trial = self.trial.as_ref()?;
        let (Content::Definition(tried) | Content::Tombstone { of: tried }) = &self.content;
        Some(Self {
            generation: self.generation + 1,
            content: match &trial.before {
                Some(text) => Content::Definition(text.clone()),
                None => Content::Tombstone { of: tried.clone() },
            },
            trial: None,
            ..self.clone()
        })
    }
}

/// A generation that is rolled back unless an operator confirms it in time. Each host counts from when it heard of it, so that
/// one that is cut off rolls it back, too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Trial {
    /// How long it has.
    pub seconds: u32,
    /// The definition that comes back; `None`: there was none.
    pub before: Option<String>,
}

/// What a segment is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Content {
    /// The canonical YAML text of its definition.
    Definition(String),
    /// It was deleted, and no host's file brings it back.
    Tombstone {
        /// The definition that it had: what is applied to its name again may be the same segment.
        of: String,
    },
}
