//! What can happen to the agent: a closed set, and the inboxes it comes in by. The loop decides nothing about it but the
//! order.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use overlayd_core::cluster::path_watch::Frame;
use overlayd_core::config::Segment;
use overlayd_core::election::{AddressEvent, GroupId};
use overlayd_core::health::Unsaved;
use overlayd_core::id::{HostId, IfName, SegmentName};
use overlayd_core::kernel::plan::Plan;
use overlayd_core::node::{
    Call, Deleted, Done, DrainUntil, EndpointLine, Force, GatewayLine, InitReply, LeaseLine, Listener, PeerLine,
    PoolLine, Refusal, Run, SegmentLine,
};
use overlayd_proto::control::StatusResponse;
use tokio::sync::{mpsc, oneshot};

use crate::grpc::{self, JoinError, JoinReply};
use crate::sockets::{arp, dhcp, icmp};
use crate::workers::{disk, kernel};

/// Something that a thread, a task or an operator brings.
#[derive(Debug)]
pub enum Event {
    /// An operator asks something of this host.
    Ask(Ask),
    /// The kernel's thread has looked.
    Kernel(kernel::Report),
    /// Gateway addresses are set or off.
    Address(GroupId, AddressEvent),
    /// VXLAN interfaces have heard guests.
    RemoteMacs(kernel::RemoteMacs),
    /// A frame that watches the way to a peer is out.
    PathSent(HostId, Frame),
    /// One of another host has come to this bridge.
    PathFrame(IfName, Frame),
    /// A report about a journal, and which one: this host begins a new one when it changes its cluster.
    Disk(u64, disk::Report),
    /// What cannot be written to the state directory for now; `None`: everything is on disk.
    Unsaved(Option<Unsaved>),
    /// The host at this address replied to a call to join.
    Welcome(SocketAddr, Result<JoinReply, JoinError>),
    /// The host at this address replied to an invitation.
    Invited(Call, SocketAddr, Result<(), JoinError>),
    /// What listens on the ports that this host asks about under this number.
    Listeners(HostId, u64, Vec<Listener>),
    /// All that was ours is out of the kernel.
    RemovedAll(kernel::Removed),
}

/// Where the answer to an operator goes. An operator that has hung up needs none.
pub type ReplyTo<T> = oneshot::Sender<T>;

/// What operators can ask. What takes a while ends as a [`Done`]; everything else is answered within the loop.
#[derive(Debug)]
pub enum Ask {
    /// `init`.
    Init(ReplyTo<Result<InitReply, Refusal>>),
    /// `join`.
    Join {
        /// A member's agent.
        to: SocketAddr,
        /// Whether guests may lose something.
        force: Force,
        /// What [`Ask::Ports`] has just found.
        ports: BTreeMap<IfName, Vec<IfName>>,
        /// When this host is a member.
        reply: ReplyTo<Result<Done, Refusal>>,
    },
    /// Ctrl-C during `join`.
    CancelJoin(ReplyTo<Result<(), Refusal>>),
    /// The guest ports of this host as the kernel has them at this moment.
    Ports(ReplyTo<Result<BTreeMap<IfName, Vec<IfName>>, String>>),
    /// `leave`.
    Leave {
        /// Whether guests and ranges may be left behind.
        force: Force,
        /// What [`Ask::Ports`] has just found.
        ports: BTreeMap<IfName, Vec<IfName>>,
        /// When this host has left.
        reply: ReplyTo<Result<Done, Refusal>>,
    },
    /// `status`.
    Status(ReplyTo<Box<StatusResponse>>),
    /// `peer list`.
    Peers(ReplyTo<Vec<PeerLine>>),
    /// `peer add`.
    Invite {
        /// The agent that is invited.
        to: SocketAddr,
        /// When it is a member.
        reply: ReplyTo<Result<Done, Refusal>>,
    },
    /// `peer add --static`.
    AddStaticPeer {
        /// Its VTEP.
        address: IpAddr,
        /// The only segment it is in; `None`: all.
        segment: Option<SegmentName>,
        /// The segments it is in.
        reply: ReplyTo<Result<Vec<SegmentName>, Refusal>>,
    },
    /// `peer remove`.
    RemovePeer {
        /// A host, or the address of a static peer.
        name: String,
        /// When no member hears it.
        reply: ReplyTo<Result<Done, Refusal>>,
    },
    /// `segment list`.
    Segments(ReplyTo<Vec<SegmentLine>>),
    /// `apply`.
    Apply {
        /// The definitions.
        segments: Vec<Segment>,
        /// Whether it is only rehearsed.
        run: Run,
        /// Whether guests may lose something.
        force: Force,
        /// When the candidates have said what listens on the ports.
        reply: ReplyTo<Result<Done, Refusal>>,
    },
    /// `apply confirm`.
    ConfirmApply(ReplyTo<Result<Vec<SegmentName>, Refusal>>),
    /// `segment delete`.
    DeleteSegment {
        /// Which.
        name: SegmentName,
        /// Whether guests may lose something.
        force: Force,
        /// What that left, and what it cost.
        reply: ReplyTo<Result<Deleted, Refusal>>,
    },
    /// `gateway list`.
    Gateways(ReplyTo<Vec<GatewayLine>>),
    /// `gateway move`.
    MoveGateway {
        /// Whose gateway.
        segment: SegmentName,
        /// The host that is to be it; `None`: any other.
        to: Option<String>,
        /// When it is.
        reply: ReplyTo<Result<Done, Refusal>>,
    },
    /// `drain`.
    Drain {
        /// How long.
        until: DrainUntil,
        /// When other hosts are the gateways.
        reply: ReplyTo<Result<Done, Refusal>>,
    },
    /// `undrain`.
    Undrain(ReplyTo<Result<(), Refusal>>),
    /// `lease list`.
    Leases {
        /// Of this segment only.
        segment: Option<SegmentName>,
        /// The leases.
        reply: ReplyTo<Vec<LeaseLine>>,
    },
    /// `lease release`.
    Release {
        /// In this segment only.
        segment: Option<SegmentName>,
        /// The leased address.
        address: IpAddr,
        /// Whether its guest may be attached.
        force: Force,
        /// When its owner has ended the lease.
        reply: ReplyTo<Result<Done, Refusal>>,
    },
    /// `pool show`.
    Pools {
        /// Of this segment only.
        segment: Option<SegmentName>,
        /// The ranges.
        reply: ReplyTo<Vec<PoolLine>>,
    },
    /// `pool recover`.
    Recover(ReplyTo<Result<Done, Refusal>>),
    /// `endpoint list`.
    Endpoints {
        /// Of this segment only.
        segment: Option<SegmentName>,
        /// The guests.
        reply: ReplyTo<Vec<EndpointLine>>,
    },
    /// Asked after what changes something: answered once that is on disk, or was refused, which `status` tells then.
    Flush(ReplyTo<()>),
    /// `plan`.
    Plan(ReplyTo<Result<Plan, String>>),
}

/// The receiving ends of everything.
#[derive(Debug)]
pub struct Inboxes {
    /// Election messages; emptied first.
    pub election: mpsc::Receiver<grpc::Event>,
    /// What threads and operators bring.
    pub events: mpsc::UnboundedReceiver<Event>,
    /// Ends of probes.
    pub probes: mpsc::Receiver<icmp::Ended>,
    /// Guests' answers by ARP: one that has come before a REQUEST is looked at before it.
    pub arp: mpsc::Receiver<arp::Heard>,
    /// Guests' DHCP messages.
    pub dhcp: mpsc::Receiver<dhcp::Received>,
    /// Everything else from other hosts.
    pub peers: mpsc::Receiver<grpc::Event>,
    /// Addresses that guests use.
    pub used: mpsc::Receiver<arp::Used>,
}
