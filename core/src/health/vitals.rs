//! All that findings rest on: this host and its cluster, as this host knows them. Assembled by the node, judged here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;

use super::guest_vitals::{Misuse, PoolState};
use crate::cluster::membership::PeerState;
use crate::gateway::uplink::Health;
use crate::id::{IfName, Mac, SegmentName};
use crate::kernel::foreign::ForeignChain;
use crate::kernel::plan::Obstacle;
use crate::mtu::{OverlayMtu, UnderlayMtu};
use crate::network::HostNetwork;
use crate::severity::Severity;

/// This host and its cluster. Of a host that is in no cluster only what the edge knows counts; the rest is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vitals {
    /// The name of this host.
    pub host: String,
    /// Where it is on its underlay.
    pub underlay: UnderlayState,
    /// Who refused to let this host join, last.
    pub refused_join: Option<RefusedJoin>,
    /// The other hosts, by name.
    pub peers: Vec<(String, PeerState)>,
    /// Subnets of segments here that are not theirs alone.
    pub conflicts: Vec<SubnetConflict>,
    /// Segments here whose guests are told less because of a few hosts.
    pub lowered: Vec<LoweredMtu>,
    /// Bridges here, while the kernel passes their frames through somebody else's firewall.
    pub filtered_bridges: Vec<IfName>,
    /// What candidates of segments that lead outside say of their uplinks, where it does not work.
    pub uplinks: Vec<FailingUplink>,
    /// Every host that may be gateway, by name, where all of them are drained.
    pub all_drained: Vec<String>,
    /// Segments without an active gateway, and why.
    pub without_gateway: Vec<(SegmentName, String)>,
    /// Segments that this host is the active gateway of, and that lead outside.
    pub led_out: Vec<SegmentName>,
    /// Segments that this host may be the gateway of, and knows no resolver for.
    pub without_resolver: Vec<SegmentName>,
    /// Segments of this host's file that are not what the cluster has.
    pub differing: Vec<SegmentName>,
    /// Segments here whose leases know a newer generation.
    pub lost_generations: Vec<(SegmentName, u64)>,
    /// Segments of which addresses wait for the end of a deleted segment.
    pub waiting: Vec<WaitingPool>,
    /// Members that have lost their journals, by name.
    pub lost_journals: Vec<String>,
    /// Ways from other hosts on which frames are lost.
    pub blocked_paths: Vec<BlockedPath>,
    /// MACs that two hosts say they have.
    pub duplicate_macs: Vec<DuplicateMac>,
    /// What leases rest on here.
    pub journal: JournalState,
    /// The pools of the segments that this host is the active gateway of.
    pub pools: Vec<PoolState>,
    /// Guests that use what is not theirs.
    pub misuses: Vec<Misuse>,
    /// Ports here that show more MACs than are told to the other hosts, and how many.
    pub crowded_ports: Vec<(SegmentName, IfName, usize)>,
    /// What only the edge knows.
    pub edge: EdgeState,
}

/// A refusal to let this host into a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedJoin {
    /// The addresses that were asked.
    pub at: String,
    /// One sentence.
    pub why: String,
    /// Worse where asking again does not help.
    pub severity: Severity,
    /// What this host is in meanwhile.
    pub meanwhile: Meanwhile,
}

/// What a host is in that its configuration wants in another cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meanwhile {
    /// In none.
    NoCluster,
    /// In one of its own.
    Alone,
}

/// A segment of which addresses wait for the end of a deleted one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingPool {
    /// Its name.
    pub segment: SegmentName,
    /// How many wait.
    pub addresses: u64,
    /// What for: "for hv3", or a time.
    pub waits: String,
    /// The members that are waited for, by name.
    pub members: Vec<String>,
}

/// Where a host is on its underlay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum UnderlayState {
    /// It has an interface and an address.
    #[default]
    Present,
    /// It lacks one of them.
    Missing(NoUnderlay),
}

/// Why a host is not on its underlay.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoUnderlay {
    /// The configuration names no interface, and no default route leads to one.
    #[error("there is no default route, and `host.underlay` names no interface")]
    NoDefaultRoute,
    /// There is no such interface.
    #[error("there is no interface {0}")]
    NoInterface(IfName),
    /// The interface has no global address that can be used.
    #[error("interface {0} has no global address")]
    NoAddress(IfName),
    /// No interface has the configured address.
    #[error("no interface has the address {0} (`host.address`)")]
    NotOwn(IpAddr),
}

impl NoUnderlay {
    /// What it is about.
    pub fn subject(&self) -> String {
        match self {
            Self::NoDefaultRoute => "underlay".to_owned(),
            Self::NoInterface(link) | Self::NoAddress(link) => link.to_string(),
            Self::NotOwn(address) => address.to_string(),
        }
    }

    /// What to do about it, in the imperative.
    pub fn fix(&self) -> String {
        match self {
            Self::NoDefaultRoute => "add a default route, or name the interface in `host.underlay`".to_owned(),
            Self::NoInterface(link) => format!("create {link}, or name another interface in `host.underlay`"),
            Self::NoAddress(link) => {
                format!("`ip address add ADDRESS/LENGTH dev {link}`, or name another interface in `host.underlay`")
            }
            Self::NotOwn(_) => "add it to the underlay, or correct `host.address`".to_owned(),
        }
    }
}

/// A way from another host to this one on which frames of guests are lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockedPath {
    /// The name of the host that sends.
    pub from: String,
    /// The segments whose frames are lost.
    pub segments: Vec<SegmentName>,
    /// The VTEP of that host in the first of them.
    pub source: IpAddr,
    /// The VTEP of this host there.
    pub destination: IpAddr,
    /// The UDP port there.
    pub port: u16,
}

/// A MAC that moves between hosts all the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DuplicateMac {
    /// The segment.
    pub segment: SegmentName,
    /// The MAC.
    pub mac: Mac,
    /// The hosts between which it moved last, by name.
    pub hosts: [String; 2],
}

/// A segment's subnet that is not its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubnetConflict {
    /// The segment.
    pub segment: SegmentName,
    /// Its subnet.
    pub subnet: Ipv4Net,
    /// What else is there.
    pub with: Conflict,
}

/// What else is in a segment's subnet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// A network of this host.
    Network(HostNetwork),
    /// What must not be there: with the gateway's address this host would lose its way.
    Held(Held),
}

/// What makes a subnet unfit for the gateway's address: who has that sends what is for the subnet into the segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// The VTEP of a member.
    Vtep {
        /// Its address.
        address: Ipv4Addr,
        /// The member, by name.
        host: String,
    },
    /// The next hop of this host's uplink.
    NextHop(Ipv4Addr),
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vtep { address, host } => write!(f, "{address}, the VTEP of {host}"),
            Self::NextHop(address) => write!(f, "{address}, the next hop of this host's uplink"),
        }
    }
}

/// An underlay that carries less than the other hosts' lowers the MTU of segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoweredMtu {
    /// The hosts with the smallest underlay, by name.
    pub hosts: Vec<String>,
    /// What it carries.
    pub underlay: UnderlayMtu,
    /// What guests are told for that.
    pub told: OverlayMtu,
    /// What they would be told without those hosts.
    pub instead: OverlayMtu,
    /// The segments.
    pub segments: Vec<SegmentName>,
}

/// An uplink that does not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailingUplink {
    /// This host's.
    Own(Health),
    /// That of the host with this name.
    Of(String),
}

impl fmt::Display for FailingUplink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(health) => health.fmt(f),
            Self::Of(host) => write!(f, "the uplink of {host} does not work"),
        }
    }
}

/// Whether this host owns and keeps addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum JournalState {
    /// It does, or is in no cluster.
    #[default]
    Kept,
    /// A write was refused.
    Unwritable,
    /// It was lost at a start, and other hosts are in the cluster.
    Lost,
    /// It was lost at a start, and this host is alone.
    LostAlone,
    /// These members have not acknowledged this host yet.
    Waiting(Vec<String>),
    /// Every host that could acknowledge this one is gone.
    NobodyLeft,
}

/// What only the edge knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EdgeState {
    /// Why the state of the kernel cannot be read.
    pub unreadable: Option<String>,
    /// What stands in the way of the latest plan.
    pub obstacles: Vec<Obstacle>,
    /// The segments that are not whole here, although it was tried again and again.
    pub lacking: BTreeSet<SegmentName>,
    /// Guest ports that left a bridge when it was deleted and are on none, each with that bridge.
    pub left_out: BTreeMap<IfName, IfName>,
    /// Changes that the kernel refused, each with the reason.
    pub refused: Vec<String>,
    /// The first file that could not be written.
    pub unsaved: Option<Unsaved>,
    /// What guests sent a while ago at most, and this host rejected for where it would have left by.
    pub rejected: Vec<Rejected>,
    /// Other people's chains that drop what guests need, as far as that shows.
    pub firewalls: Vec<ForeignChain>,
}

/// Packets of guests that were rejected for where they would have left by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The guests' segment.
    pub segment: SegmentName,
    /// Where they would have left by.
    pub link: IfName,
    /// So many at least.
    pub packets: u64,
}

/// A file of the state directory that could not be written, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsaved {
    /// Who this host is, and in which cluster.
    Identity(String),
    /// The first journal of its cluster.
    Journal(String),
    /// What its peers know, too.
    Shared(String),
}

impl Vitals {
    /// Whether this host is barred from being the gateway of a segment.
    pub(super) fn is_held(&self, segment: &SegmentName) -> bool {
        let held = |with: &Conflict| match with {
            Conflict::Held(_) => true,
            Conflict::Network(_) => false,
        };
        self.conflicts.iter().any(|it| it.segment == *segment && held(&it.with))
    }

    /// The state of the peer with this name.
    pub(super) fn peer(&self, name: &str) -> Option<PeerState> {
        self.peers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, state)| *state)
    }
}
