//! `lease list` and `pool show`.

use crate::addresses::RangeLine;
use crate::cluster::catalogue::Definition;
use crate::id::SegmentName;
use crate::lease::Lease;
use crate::node::Node;
use crate::node::member::Member;
use crate::time::Instant;

/// A line of `lease list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseLine {
    /// The segment.
    pub segment: SegmentName,
    /// The lease.
    pub lease: Lease,
    /// Its owner's name.
    pub owner: String,
    /// Its keeper's name.
    pub keeper: Option<String>,
}

/// A line of `pool show`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolLine {
    /// The segment.
    pub segment: SegmentName,
    /// The range.
    pub line: RangeLine,
    /// Its owner's name.
    pub owner: Option<String>,
}

impl Node {
    /// All leases that this host knows of, by segment and address.
    pub fn lease_lines(&self, segment: Option<&SegmentName>, now: Instant) -> Vec<LeaseLine> {
        let Some(formed) = &self.formed else { return Vec::new() };
        let mut lines = Vec::new();
        for Definition { id, segment, .. } in formed.named(segment) {
            lines.extend(formed.leases.lease_list(*id, now).into_iter().map(|lease| LeaseLine {
                segment: segment.name.clone(),
                owner: formed.name_of(lease.owner),
                keeper: lease.keeper.map(|host| formed.name_of(host)),
                lease,
            }));
        }
        lines
    }

    /// All ranges, by segment.
    pub fn pool_lines(&self, segment: Option<&SegmentName>) -> Vec<PoolLine> {
        let Some(formed) = &self.formed else { return Vec::new() };
        let mut lines = Vec::new();
        for Definition { id, segment, .. } in formed.named(segment) {
            lines.extend(formed.leases.pool_show(*id).into_iter().map(|line| PoolLine {
                segment: segment.name.clone(),
                owner: line.owner.map(|host| formed.name_of(host)),
                line,
            }));
        }
        lines
    }
}

impl Member {
    /// The definition of this name, or all.
    fn named(&self, only: Option<&SegmentName>) -> impl Iterator<Item = &Definition> {
        let wanted = move |known: &&Definition| only.is_none_or(|only| *only == known.segment.name);
        self.catalogue.iter().filter(wanted)
    }
}
