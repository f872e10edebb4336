//! `segment list` and `segment show`.

use std::collections::BTreeSet;

use crate::cluster::catalogue::Definition;
use crate::config::{Mode, Segment};
use crate::id::Vni;
use crate::mtu::OverlayMtu;
use crate::node::Node;
use crate::time::Instant;

/// A line of `segment list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentLine {
    /// What it is.
    pub segment: Segment,
    /// Its generation.
    pub generation: u64,
    /// The host that wrote that.
    pub written_by: String,
    /// As guests are told; `None`: this host does not have it.
    pub mtu: Option<OverlayMtu>,
    /// The host that serves it.
    pub gateway: Option<String>,
    /// The hosts that have it.
    pub hosts: Vec<String>,
    /// When this host rolls its newest generation back; `None`: that is final.
    pub rolled_back_at: Option<Instant>,
}

impl SegmentLine {
    /// Its VNI.
    pub fn vni(&self) -> Vni {
        self.segment.vni
    }

    /// Its mode as the operator writes it.
    pub fn mode(&self) -> &'static str {
        match self.segment.mode {
            Mode::Nat => "nat",
            Mode::Routed => "routed",
            Mode::Isolated => "isolated",
            Mode::Bridged(_) => "bridged",
        }
    }
}

impl Node {
    /// All segments of the cluster, by name.
    pub fn segment_lines(&self) -> Vec<SegmentLine> {
        let Some(formed) = &self.formed else { return Vec::new() };
        let line = |known: &Definition| {
            let segment = &known.segment;
            let hosts = formed
                .gossip
                .hosts()
                .filter(|host| segment.selects(&host.labels))
                .map(|host| host.name.clone());
            SegmentLine {
                segment: segment.clone(),
                generation: known.generation,
                written_by: formed.name_of(known.introducer),
                mtu: formed.derived.segments.get(&known.id).map(|mine| mine.mtu),
                gateway: self.gateway_of(&segment.name).and_then(|line| line.host),
                hosts: hosts.collect::<BTreeSet<_>>().into_iter().collect(),
                rolled_back_at: formed.trial_end(&segment.name),
            }
        };
        formed.catalogue.iter().map(line).collect()
    }
}
