//! What was derived last, by receiver, and when that is done again.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::{IpNet, Ipv4Net};

use crate::addresses::SegmentPool;
use crate::cluster::catalogue::Definition;
use crate::cluster::membership::Peer;
use crate::election::{ElectionView, GroupId};
use crate::gateway::GatewayLink;
use crate::gateway::dhcp::SegmentService;
use crate::health::Held;
use crate::id::{HostId, IfName, SegmentId, SegmentName, Term};
use crate::kernel::inputs::Inputs;
use crate::mtu::OverlayMtu;
use crate::time::Instant;

/// What was handed out last, and when that is computed again.
#[derive(Debug)]
pub(super) struct Derived {
    pub(super) due: Option<Instant>,
    pub(super) last: Instant,
    pub(super) segments: BTreeMap<SegmentId, LocalSegment>,
    /// What bars this host from being their gateway, by segment.
    pub(super) held: BTreeMap<SegmentId, Held>,
    pub(super) peers: Vec<Peer>,
    pub(super) election: ElectionView,
    pub(super) pools: BTreeMap<SegmentId, SegmentPool>,
    pub(super) services: Services,
    pub(super) kernel: Option<Inputs>,
    /// When this host rolls the generations on trial back.
    pub(super) trials: BTreeMap<(SegmentName, u64), Instant>,
}

/// A segment that this host has.
#[derive(Clone, Debug)]
pub(super) struct LocalSegment {
    pub(super) definition: Definition,
    /// All hosts that have it.
    pub(super) hosts: BTreeSet<HostId>,
    /// As guests are told.
    pub(super) mtu: OverlayMtu,
}

impl Derived {
    /// Nothing yet, and due.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            due: Some(now),
            last: now,
            segments: BTreeMap::new(),
            held: BTreeMap::new(),
            peers: Vec::new(),
            election: ElectionView::default(),
            pools: BTreeMap::new(),
            services: Services::default(),
            kernel: None,
            trials: BTreeMap::new(),
        }
    }

    pub(super) fn groups(&self) -> Vec<GroupId> {
        self.segments.keys().map(|id| group_of(*id)).collect()
    }

    pub(super) fn segments_of(&self, group: GroupId) -> Vec<SegmentId> {
        self.segments
            .keys()
            .filter(|id| group_of(**id) == group)
            .copied()
            .collect()
    }

    pub(super) fn segment_names(&self, group: GroupId) -> Vec<SegmentName> {
        self.segments_of(group)
            .iter()
            .filter_map(|id| Some(self.segments.get(id)?.definition.segment.name.clone()))
            .collect()
    }

    pub(super) fn gateway_addresses(&self, group: GroupId) -> BTreeMap<SegmentName, IpNet> {
        self.segments_of(group)
            .iter()
            .filter_map(|id| {
                let segment = &self.segments.get(id)?.definition.segment;
                let ipv4 = segment.ipv4.as_ref()?;
                let address = Ipv4Net::new(ipv4.gateway, ipv4.subnet.prefix_len()).ok()?;
                Some((segment.name.clone(), IpNet::V4(address)))
            })
            .collect()
    }

    pub(super) fn has_inputs(&self) -> bool {
        self.kernel.is_some()
    }

    pub(super) fn last_inputs(self) -> Option<Inputs> {
        self.kernel
    }

    /// How many guests on other hosts were handed out.
    pub(super) fn remote_guests(&self) -> usize {
        let segments = self.kernel.iter().flat_map(|inputs| inputs.segments.values());
        segments.map(|segment| segment.endpoints.len()).sum()
    }

    /// Whether the kernel was told to let guests go that have moved away.
    pub(super) fn waits_for_guests_to_go(&self) -> bool {
        let mut segments = self.kernel.iter().flat_map(|inputs| inputs.segments.values());
        segments.any(|segment| !segment.moved_away.is_empty())
    }

    /// The leases begin anew: all pools are told again.
    pub(super) fn forget_pools(&mut self) {
        self.pools.clear();
    }
}

/// What guests are offered, as handed out last.
#[derive(Debug, Default)]
pub(super) struct Services {
    pub(super) dhcp: BTreeMap<SegmentId, SegmentService>,
    pub(super) listen: BTreeMap<SegmentId, GatewayLink>,
    pub(super) bridges: BTreeSet<IfName>,
    pub(super) announced: BTreeMap<GroupId, Term>,
}

/// The id of a group made of one segment.
pub(super) fn group_of(segment: SegmentId) -> GroupId {
    GroupId(segment)
}
