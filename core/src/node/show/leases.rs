//! `lease list` and `pool show`.

use crate::addresses::{RangeLine, WaitsFor};
use crate::cluster::catalogue::Definition;
use crate::health::WaitingPool;
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
    /// What its addresses wait for before guests may be given any: members by name, or a time.
    pub waits: Option<String>,
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
    pub fn pool_lines(&self, segment: Option<&SegmentName>, now: Instant) -> Vec<PoolLine> {
        let Some(formed) = &self.formed else { return Vec::new() };
        let mut lines = Vec::new();
        for Definition { id, segment, .. } in formed.named(segment) {
            let waits = formed.leases.waits(*id, now);
            lines.extend(formed.leases.pool_show(*id).into_iter().map(|line| {
                let wait = waits.iter().find(|wait| wait.range.common(line.range).is_some());
                PoolLine {
                    segment: segment.name.clone(),
                    owner: line.owner.map(|host| formed.name_of(host)),
                    waits: wait.map(|wait| formed.spell(&wait.waits_for)),
                    line,
                }
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

    /// How many addresses of each segment wait for the end of a deleted one, and what for.
    pub(super) fn waiting(&self, now: Instant) -> Vec<WaitingPool> {
        let mut waiting = Vec::new();
        for known in self.catalogue.iter() {
            let waits = self.leases.waits(known.id, now);
            let Some(first) = waits.first() else { continue };
            waiting.push(WaitingPool {
                segment: known.segment.name.clone(),
                addresses: waits.iter().map(|wait| wait.range.size()).sum(),
                waits: self.spell(&first.waits_for),
                members: match &first.waits_for {
                    WaitsFor::Members(hosts) => hosts.iter().map(|host| self.name_of(*host)).collect(),
                    WaitsFor::Time(_) => Vec::new(),
                },
            });
        }
        waiting
    }

    fn spell(&self, waits: &WaitsFor) -> String {
        match waits {
            WaitsFor::Members(hosts) => {
                let names: Vec<String> = hosts.iter().map(|host| self.name_of(*host)).collect();
                format!("for {}", names.join(", "))
            }
            WaitsFor::Time(left) => format!("{} min {} s", left.as_secs() / 60, left.as_secs() % 60),
        }
    }
}
