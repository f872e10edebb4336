//! What the node wants done, and what it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net};

use super::applied::Applied;
use super::listening::PublishedPorts;
use super::loss::Loss;
use super::peer_message::{JoinRequest, PeerMessage, Welcome};
pub use super::refusal::{Lasts, Refusal};
use crate::addresses::JournalRecord;
use crate::cluster::gossip::Record;
use crate::cluster::path_watch;
use crate::election;
use crate::gateway::GatewayLink;
use crate::gateway::uplink::Health;
use crate::health::events::Event;
use crate::id::{ClusterId, HostId, IfName, Mac, SegmentId, SegmentName, Term};
use crate::kernel::inputs;
use crate::kernel::inputs::{BridgeNetfilter, Tracking};
use crate::mtu::UnderlayMtu;
use crate::network::HostNetwork;
use crate::time::Duration;

/// What the edge has found out about this host; told again whenever it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its name.
    pub name: String,
    /// Its VTEP address.
    pub vtep: IpAddr,
    /// From which address it sends to a multicast group by an interface that segments name.
    pub sources: BTreeMap<(IpAddr, IfName), IpAddr>,
    /// Where its agent listens for the others.
    pub listen: SocketAddr,
    /// The interface that carries VXLAN.
    pub underlay: IfName,
    /// The MTU of the route to the peers.
    pub underlay_mtu: UnderlayMtu,
    /// The interfaces that guests may leave by, each with the networks connected there that are not for them.
    pub uplinks: BTreeMap<IfName, BTreeSet<Ipv4Net>>,
    /// Whether they work.
    pub uplink_health: Health,
    /// The IPv4 networks that it has of its own.
    pub networks: BTreeSet<HostNetwork>,
    /// The next hops of its ways out.
    pub next_hops: BTreeSet<Ipv4Addr>,
    /// The name servers that this host itself uses and that guests can reach.
    pub resolvers: Vec<Ipv4Addr>,
    /// Whether somebody else on the host needs bridged frames to pass the IP firewall.
    pub bridge_netfilter: BridgeNetfilter,
    /// Whether the kernel tracks connections, for whomever.
    pub tracking: Tracking,
}

impl Facts {
    /// What the election goes by.
    pub(super) fn uplink(&self) -> election::ElectionUplink {
        match self.uplink_health {
            Health::Works | Health::Partly(_) => election::ElectionUplink::Works,
            Health::NoRoute { .. } | Health::NoCarrier { .. } | Health::Silent(_) | Health::Lacking => {
                election::ElectionUplink::Down
            }
        }
    }
}

/// The number of a call that is answered later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Call(pub u64);

/// Whether guests, their leases or ranges may be left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// They may not.
    No,
    /// The operator says so.
    Yes,
}

/// How a call of an operator ended that took a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// This host is a member.
    Joined {
        /// Of this cluster.
        cluster: ClusterId,
        /// The member that let it in.
        via: String,
        /// Hosts in it, this one included.
        hosts: u32,
        /// What this host gave up, one sentence each.
        gave_way: Vec<String>,
        /// What that cost guests.
        losses: Vec<Loss>,
    },
    /// Nothing was to be done: the agent that was named is in this host's cluster.
    AlreadyMember {
        /// The cluster.
        cluster: ClusterId,
        /// The host's name.
        host: String,
        /// Hosts in it, this one included.
        hosts: u32,
    },
    /// This host is out, and the kernel is as it was.
    Left {
        /// It was the last one.
        cluster: Ended,
        /// What was taken out of the kernel, as `ip`, `bridge` and `nft` lines.
        removed: Vec<String>,
        /// What that cost guests.
        losses: Vec<Loss>,
        /// What the operator has to do now.
        notes: Vec<String>,
    },
    /// The invited host, which listens there, is a member.
    Invited(SocketAddr),
    /// The gateway is where it should be, by host.
    Moved {
        /// The host that was the gateway before.
        from: Option<String>,
    },
    /// Other hosts are the gateways that this one was, where they can be.
    Drained {
        /// Segments that another host is the gateway of now.
        handed_over: Vec<SegmentName>,
        /// Segments that this host is still the gateway of.
        kept: Vec<SegmentName>,
    },
    /// The segments are written, or it was a rehearsal.
    Applied {
        /// What became of each.
        segments: Vec<Applied>,
        /// What the operator should know besides, one sentence each.
        notes: Vec<String>,
    },
    /// The lease has ended.
    Released,
    /// This host takes part, and owns what nobody else does.
    Recovered {
        /// How long, at most, until its addresses go to new guests.
        quarantine: Duration,
    },
    /// The peer is forgotten.
    PeerRemoved {
        /// Segments in which others inherit its ranges.
        inheriting: Vec<SegmentName>,
    },
}

/// Whether a cluster lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It does.
    LivesOn,
    /// The last member left.
    Over,
}

/// Something for the edge to do, in the order in which it was polled.
#[derive(Debug)]
pub enum Effect {
    /// Keep connections to these hosts, and to no others.
    Dial(BTreeMap<HostId, SocketAddr>),
    /// Send; no stream, or a full one: drop it.
    Send {
        /// To whom.
        to: HostId,
        /// What.
        said: PeerMessage,
    },
    /// Accept and make streams of this cluster, or of none.
    Cluster {
        /// Which.
        id: Option<ClusterId>,
        /// Hosts whose streams are refused.
        removed: BTreeSet<HostId>,
    },
    /// Call `Join` there and report with [`super::Node::handle_welcome`].
    CallJoin {
        /// Where.
        to: SocketAddr,
        /// With what.
        request: Box<JoinRequest>,
    },
    /// Call `Invite` there; report with [`super::Node::handle_invited`].
    CallInvite {
        /// The call it is for.
        call: Call,
        /// Where.
        to: SocketAddr,
    },
    /// One ICMP echo; report with [`super::Node::handle_probe`].
    Probe {
        /// Whose kernel.
        host: HostId,
        /// Its VTEP.
        address: IpAddr,
        /// Comes back.
        number: u64,
    },
    /// Send a frame that watches a path, and once it is out report with [`super::Node::handle_path_sent`].
    PathFrame {
        /// The segment's VXLAN device.
        link: IfName,
        /// The MAC of the peer's.
        to: Mac,
        /// What the frame says.
        frame: path_watch::Frame,
        /// For whom it is.
        peer: HostId,
    },
    /// This is what the kernel should have from now on.
    Desired(Box<inputs::Inputs>),
    /// Take everything of ours out of the kernel and report with [`super::Node::handle_removed_all`]; bridges with guests
    /// only by force.
    RemoveAll(Force),
    /// This host is to be a group's gateway soon: report with [`super::Node::handle_prepared`] once the kernel is as it
    /// should be by the latest [`Effect::Desired`], or nothing more can be done about it.
    Prepare(election::GroupId),
    /// Take these gateway addresses, or renew them; report with [`super::Node::handle_address`].
    SetAddress {
        /// The group.
        group: election::GroupId,
        /// By segment, with the subnet's prefix length.
        addresses: BTreeMap<SegmentName, IpNet>,
        /// The term.
        term: Term,
        /// `valid_lft`; `None`: for ever.
        lifetime: Option<Duration>,
    },
    /// Give the gateway addresses of these segments up; report.
    RemoveAddress {
        /// The group.
        group: election::GroupId,
        /// Its segments.
        segments: Vec<SegmentName>,
    },
    /// Listen for DHCP and ARP on these links, and on no others.
    Listen(BTreeMap<SegmentId, GatewayLink>),
    /// Hear on these bridges which addresses guests use, and on no others: [`super::Node::hear_address`].
    HearAddresses(BTreeSet<IfName>),
    /// Ask by ARP who has these addresses; report answers with [`super::Node::handle_arp`].
    AskGuests {
        /// On the gateway's link of this segment.
        segment: SegmentId,
        /// One question each.
        addresses: Vec<Ipv4Addr>,
    },
    /// Tell everybody on the segment who has the gateway address.
    Announce {
        /// The segment.
        segment: SegmentId,
        /// The link to send on.
        link: IfName,
        /// The virtual MAC.
        mac: Mac,
        /// The gateway address.
        address: Ipv4Addr,
    },
    /// Stop telling.
    StopAnnouncing(SegmentId),
    /// Send a DHCP reply.
    Dhcp {
        /// On the gateway's link of this segment.
        segment: SegmentId,
        /// The frame's destination.
        destination_mac: Mac,
        /// The gateway address.
        source: Ipv4Addr,
        /// The guest's address, or the limited broadcast.
        destination: Ipv4Addr,
        /// The UDP payload.
        bytes: Vec<u8>,
    },
    /// Append and sync, then [`super::Node::handle_synced`].
    Append {
        /// Comes back.
        sequence: u64,
        /// What.
        records: Vec<JournalRecord>,
    },
    /// Begin an empty journal; what there was is of no use any more.
    NewJournal,
    /// Look what listens on these ports of this host, and report with [`super::Node::handle_listeners`].
    FindListeners {
        /// Who asks.
        asker: HostId,
        /// Comes back.
        number: u64,
        /// Which.
        ports: Vec<PublishedPorts>,
    },
    /// Put this on disk: who this host is now.
    SaveIdentity(super::start::Formation),
    /// Put this on disk: whether this host is drained.
    SaveDrained(super::start::Drained),
    /// Put this on disk: what the cluster knows.
    SaveCluster(Vec<Record>),
    /// Put this on disk: whose kernel ever answered.
    SaveAnswered(BTreeSet<HostId>),
    /// A call has ended.
    Answer {
        /// Which.
        call: Call,
        /// How.
        result: Result<Done, Refusal>,
    },
    /// Answer a host that asked to be let in.
    AnswerJoin {
        /// Its call.
        call: Call,
        /// How.
        result: Result<Box<Welcome>, Refusal>,
    },
    /// Tell operators that this happened.
    Event(Event),
}

/// What a deadline of the node is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// An operation tries again, or has taken too long.
    Operation,
    /// What is derived from everything.
    Derive,
    /// One of the machines.
    Machine(&'static str),
}
