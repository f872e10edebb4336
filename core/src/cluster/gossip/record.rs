//! The records that all hosts share, and which of two versions of one stands.
//!
//! [`Record::supersedes`] is a total order per key, the same on every host: whatever the order in which versions
//! arrive, and however often, the same one remains. Nothing here knows how records travel.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::segment_record::{Content, SegmentRecord};
use crate::id::{HostId, Mac, SegmentId, SegmentName, Term};
use crate::lease::{Lease, Share};
use crate::mtu::OverlayMtu;
use crate::network::HostNetwork;
use crate::severity::Severity;

/// What a host says of itself. Only that host writes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostRecord {
    /// Grows with each start of the host's agent, and is on its disk.
    pub instance: u64,
    /// Grows with each change within an instance.
    pub counter: u64,
    /// Who it is.
    pub id: HostId,
    /// Its name, unique in the cluster.
    pub name: String,
    /// Its VTEP address, unique in the cluster.
    pub vtep: IpAddr,
    /// Its VTEP address in segments that go by another NIC.
    pub vteps: BTreeMap<SegmentId, IpAddr>,
    /// Where its agent listens for the others.
    pub listen: SocketAddr,
    /// Labels that segments select hosts by.
    pub labels: BTreeMap<String, String>,
    /// The overlay MTU of its underlay.
    pub overlay_mtu: OverlayMtu,
    /// Whether it may be gateway.
    pub candidacy: Candidacy,
    /// Whether it reaches the outside.
    pub uplink: Uplink,
    /// What it lacks to be the gateway of a segment: it comes last there, and is not barred.
    pub lacks: BTreeSet<(SegmentId, Lack)>,
    /// The segments that it has bridges of, with the generation it has applied.
    pub segments: BTreeMap<SegmentId, u64>,
    /// The IPv4 networks that it has of its own; of many the largest.
    pub networks: BTreeSet<HostNetwork>,
    /// The sequence of its journal: a host that comes back with a lower one has lost its disk. Always 0: nothing sets it
    /// yet.
    pub journal: u64,
    /// The version of its agent, for the operator.
    pub agent_version: String,
}

impl HostRecord {
    /// Its VTEP address in a segment.
    pub fn vtep_in(&self, segment: SegmentId) -> IpAddr {
        self.vteps.get(&segment).copied().unwrap_or(self.vtep)
    }

    /// All its VTEP addresses.
    pub fn all_vteps(&self) -> impl Iterator<Item = IpAddr> {
        self.vteps.values().copied().chain([self.vtep])
    }
}

/// Whether a host may be gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Candidacy {
    /// Never: it votes, and that is all.
    None,
    /// It may; the higher priority goes first.
    Candidate {
        /// As the operator set it.
        priority: u32,
    },
    /// It may, but the operator has drained it.
    Drained {
        /// As the operator set it.
        priority: u32,
    },
    /// It may, but it has lost its journal, and so has no addresses to give.
    JournalLost {
        /// As the operator set it.
        priority: u32,
    },
    /// It may, but its agent is about to end: the machine shuts down, or it leaves.
    Departing {
        /// As the operator set it.
        priority: u32,
    },
}

/// What a host lacks to be the gateway of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lack {
    /// Device, port, bridge or rules could not be made there, although it was tried again and again.
    NotWhole,
    /// The segment's subnet is also a network of the host's own.
    SubnetConflict,
}

/// Whether a host reaches the outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Uplink {
    /// It has none, or it does not work.
    Fails,
    /// Carrier, route and next hop are there.
    Works,
}

/// Whether what a record tells of is there, or is there no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Presence {
    /// It is there.
    Here,
    /// It was there.
    Gone,
}

/// A VTEP without an agent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StaticPeer {
    /// Grows with each change.
    pub generation: u64,
    /// Who said so; the higher wins a tie.
    pub introducer: HostId,
    /// The VTEP's address.
    pub address: IpAddr,
    /// The segment it takes part in; `None`: all.
    pub segment: Option<SegmentId>,
    /// Whether it still does.
    pub presence: Presence,
}

/// A host that is out for good. These records only grow in number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Removed {
    /// Which.
    pub host: HostId,
    /// By whose word.
    pub why: Departure,
    /// The name that it had, for the operator.
    pub name: String,
}

/// By whose word a host is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Departure {
    /// The operator's (`peer remove`).
    Removed,
    /// Its own (`leave`).
    Left,
}

/// A host's word that it serves, or no longer serves, an election group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GatewayClaim {
    /// The term it holds or held.
    pub term: Term,
    /// Grows each time that it repeats or takes back its word.
    pub beat: u64,
    /// Whether it serves.
    pub presence: Presence,
    /// The group: its smallest segment id.
    pub group: SegmentId,
    /// Who.
    pub holder: HostId,
    /// Wall-clock milliseconds since 1970 when it began; for display.
    pub since: u64,
    /// Why it serves, in an operator's words.
    pub reason: String,
}

/// What is wrong on a host, as it says itself, in short.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostFindings {
    /// Grows with each change.
    pub told: u64,
    /// Which host.
    pub host: HostId,
    /// The worst of its findings, at most [`FINDINGS_AT_MOST`]; none: all is well there.
    pub findings: Vec<FindingNote>,
}

/// So many findings of a host are told of.
pub const FINDINGS_AT_MOST: usize = 16;

/// A finding in short, as text: the reader may be of another version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the fields are those of a finding")]
pub struct FindingNote {
    pub severity: Severity,
    pub id: String,
    pub segment: Option<String>,
    pub subject: String,
    pub evidence: String,
    pub cause: String,
    pub fix: String,
    pub verify: String,
    pub depends_on: Vec<String>,
}

/// A guest's network card, where one host has seen it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// Grows with each move: the new host takes one more than it knows.
    pub sequence: u64,
    /// The host it is on; the higher wins a tie.
    pub host: HostId,
    /// Whether it is still there.
    pub presence: Presence,
    /// The segment.
    pub segment: SegmentId,
    /// Its address on the wire.
    pub mac: Mac,
    /// What it is known to use.
    pub addresses: BTreeSet<IpAddr>,
    /// The interface on its host; for display.
    pub interface: String,
}

/// One fact that all hosts share.
///
/// In each kind the fields that decide which version stands come first, so that the derived order is the rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Record {
    /// A host's word about itself.
    Host(HostRecord),
    /// A segment, or its tombstone.
    Segment(SegmentRecord),
    /// A VTEP without an agent.
    StaticPeer(StaticPeer),
    /// A host that is out for good.
    Removed(Removed),
    /// Who serves.
    Claim(GatewayClaim),
    /// What is wrong on a host.
    Findings(HostFindings),
    /// A guest's network card.
    Endpoint(Endpoint),
    /// An address and who has it.
    Lease(Lease),
    /// What one host owns of a segment.
    Share(Share),
}

/// What a record is about. The order counts: what there is little of comes first, see `Gossip::hosts` and its like.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A host.
    Host(HostId),
    /// A segment, by name.
    Segment(SegmentName),
    /// A VTEP without an agent, in one segment or in all.
    StaticPeer(IpAddr, Option<SegmentId>),
    /// A host that is out for good.
    Removed(HostId),
    /// A group and who says that it serves it.
    Claim(SegmentId, HostId),
    /// What is wrong on a host.
    Findings(HostId),
    /// A network card.
    Endpoint(SegmentId, Mac),
    /// An address.
    Lease(SegmentId, IpAddr),
    /// What one host owns of a segment.
    Share(SegmentId, HostId),
}

impl Record {
    /// What it is about.
    pub fn key(&self) -> Key {
        match self {
            Record::Host(host) => Key::Host(host.id),
            Record::Segment(segment) => Key::Segment(segment.name.clone()),
            Record::StaticPeer(peer) => Key::StaticPeer(peer.address, peer.segment),
            Record::Removed(removed) => Key::Removed(removed.host),
            Record::Claim(claim) => Key::Claim(claim.group, claim.holder),
            Record::Findings(findings) => Key::Findings(findings.host),
            Record::Endpoint(endpoint) => Key::Endpoint(endpoint.segment, endpoint.mac),
            Record::Lease(lease) => Key::Lease(lease.segment, lease.address.ip()),
            Record::Share(share) => Key::Share(share.segment, share.owner),
        }
    }

    /// Whether it takes the place of `other`, a record of the same key.
    pub fn supersedes(&self, other: &Record) -> bool {
        self > other
    }

    /// Whether it is worth a place on disk: the rest is told again by whoever knows it.
    pub fn is_lasting(&self) -> bool {
        match self {
            Record::Host(_) | Record::Segment(_) | Record::StaticPeer(_) | Record::Removed(_) => true,
            Record::Claim(_) | Record::Findings(_) | Record::Endpoint(_) | Record::Lease(_) | Record::Share(_) => false,
        }
    }

    /// The host whose removal takes this record away.
    pub fn depends_on(&self) -> Option<HostId> {
        match self {
            Record::Host(host) => Some(host.id),
            Record::Claim(claim) => Some(claim.holder),
            Record::Findings(findings) => Some(findings.host),
            Record::Endpoint(endpoint) => Some(endpoint.host),
            Record::Share(share) => Some(share.owner),
            Record::Segment(_) | Record::StaticPeer(_) | Record::Removed(_) | Record::Lease(_) => None,
        }
    }

    /// About how many bytes it takes on the wire.
    pub(crate) fn weight(&self) -> usize {
        const FIXED: usize = 96;
        FIXED
            + match self {
                Record::Host(host) => {
                    let labels: usize = host.labels.iter().map(|(key, value)| key.len() + value.len() + 8).sum();
                    host.name.len()
                        + labels
                        + (host.segments.len() + host.lacks.len()) * 20
                        + host.networks.len() * 32
                        + host.vteps.len() * 28
                        + host.agent_version.len()
                }
                Record::Segment(segment) => {
                    let (Content::Definition(text) | Content::Tombstone { of: text }) = &segment.content;
                    let before = segment.trial.as_ref().and_then(|trial| trial.before.as_ref());
                    text.len() + before.map_or(0, String::len)
                }
                Record::StaticPeer(_) => 0,
                Record::Removed(removed) => removed.name.len(),
                Record::Claim(claim) => claim.reason.len(),
                Record::Findings(findings) => {
                    let texts = |note: &FindingNote| {
                        note.subject.len() + note.evidence.len() + note.cause.len() + note.fix.len() + note.verify.len()
                    };
                    findings.findings.iter().map(|note| texts(note) + 40).sum()
                }
                Record::Endpoint(endpoint) => endpoint.addresses.len() * 20 + endpoint.interface.len(),
                Record::Share(share) => share.ranges.len() * 100,
                Record::Lease(lease) => lease.hostname.len(),
            }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Host(host) => write!(f, "host {host}"),
            Key::Segment(name) => write!(f, "segment {name}"),
            Key::StaticPeer(address, None) => write!(f, "static peer {address}"),
            Key::StaticPeer(address, Some(segment)) => write!(f, "static peer {address} in segment {segment}"),
            Key::Removed(host) => write!(f, "removed host {host}"),
            Key::Claim(group, holder) => write!(f, "gateway of {group} by {holder}"),
            Key::Findings(host) => write!(f, "findings of {host}"),
            Key::Endpoint(segment, mac) => write!(f, "endpoint {mac} in segment {segment}"),
            Key::Share(segment, owner) => write!(f, "share of {owner} in segment {segment}"),
            Key::Lease(segment, address) => write!(f, "lease {address} in segment {segment}"),
        }
    }
}
