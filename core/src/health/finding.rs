//! What a finding is: something wrong on a host, with what shows it, what may be behind it, and what to do.

use crate::id::SegmentName;
pub use crate::severity::Severity;

/// What kind of thing is wrong. The ids are stable: operators, scripts and docs/troubleshooting.md go by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Id {
    /// Frames of guests do not get from one host to another.
    PathBlocked,
    /// This host has no underlay interface, or no address on it.
    UnderlayMissing,
    /// A segment's subnet is also a network of the host, or holds what its hosts reach each other by.
    SubnetConflict,
    /// An interface that the configuration names does not exist.
    InterfaceMissing,
    /// Guests on two hosts have one MAC.
    DuplicateMac,
    /// The underlays of a segment's hosts carry different sizes, and its guests are told the least.
    MtuLowered,
    /// A segment has no active gateway, or a candidate no working uplink.
    NoGateway,
    /// The kernel passes bridged frames through the firewall of somebody else.
    BridgeNetfilter,
    /// A chain of somebody else's drops what guests send or are sent.
    ForeignChain,
    /// A chain of firewalld's does.
    Firewalld,
    /// The kernel refused a change, so that it is not as configured.
    ChangeRefused,
    /// An object that is not overlayd's has the name or the VNI of one of ours.
    Leftover,
    /// Neither agent nor kernel of a peer responds.
    PeerFailed,
    /// The agent of a peer does not respond.
    PeerSuspect,
    /// A segment in this host's file is not what the cluster has.
    FileDiffers,
    /// Leases know a newer generation of a segment than any host that responds.
    GenerationLost,
    /// A peer has lost its journal.
    PeerJournalLost,
    /// This host has lost its journal, or cannot write it.
    JournalLost,
    /// Members have not acknowledged this host yet: it keeps no leases.
    NotAcknowledged,
    /// No host is left that could acknowledge this one.
    NobodyKeepsLeases,
    /// The agent cannot read the state of the kernel.
    KernelUnreadable,
    /// The agent cannot write what it knows of the cluster.
    StateUnsaved,
    /// A bridge that is no longer wanted still has guests.
    BridgeOccupied,
    /// Guests are told no resolver.
    NoResolver,
    /// Guests send packets that would leave by an interface that is none of their ways out.
    WayRejected,
    /// A guest port left its bridge when that was deleted, and is on none.
    PortLeftOut,
    /// This host reaches no peer.
    CutOff,
    /// No host lets this one into its cluster.
    JoinRefused,
    /// Every host that may be gateway is drained.
    AllDrained,
    /// Addresses of a segment wait for the end of a deleted one.
    AddressesWait,
    /// Guests of a segment get no address, or the next one would get none.
    PoolExhausted,
    /// A guest uses the gateway's address, or two use one.
    DuplicateAddress,
    /// A guest says of too many addresses that it uses them.
    GuestDisbelieved,
    /// A port shows more MACs than are told to the other hosts.
    PortCrowded,
}

impl Id {
    /// As operators read it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PathBlocked => "U1",
            Self::UnderlayMissing => "U4",
            Self::SubnetConflict => "U11",
            Self::InterfaceMissing => "U13",
            Self::DuplicateMac => "F4",
            Self::MtuLowered => "M4",
            Self::NoGateway => "G2",
            Self::BridgeNetfilter | Self::ForeignChain => "G12",
            Self::Firewalld => "G13",
            Self::ChangeRefused => "C8",
            Self::Leftover => "C10",
            Self::PeerFailed => "O1",
            Self::PeerSuspect => "O2",
            Self::FileDiffers => "O3",
            Self::GenerationLost => "O4",
            Self::PeerJournalLost => "O5",
            Self::JournalLost => "O6",
            Self::NotAcknowledged => "O7",
            Self::NobodyKeepsLeases => "O8",
            Self::KernelUnreadable => "O9",
            Self::StateUnsaved => "O10",
            Self::BridgeOccupied => "O11",
            Self::NoResolver => "O12",
            Self::WayRejected => "O13",
            Self::PortLeftOut => "O15",
            Self::CutOff => "O20",
            Self::JoinRefused => "O21",
            Self::AllDrained => "O22",
            Self::AddressesWait => "O30",
            Self::PoolExhausted => "G8",
            Self::DuplicateAddress => "G6",
            Self::GuestDisbelieved => "O31",
            Self::PortCrowded => "O32",
        }
    }
}

/// Something wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind of thing.
    pub id: Id,
    /// How bad it is.
    pub severity: Severity,
    /// The host concerned, by name.
    pub host: String,
    /// The segment concerned, if it is about one.
    pub segment: Option<SegmentName>,
    /// What is wrong: an interface, a host, a segment, a file, by name.
    pub subject: String,
    /// What shows it, with numbers where there are any.
    pub evidence: String,
    /// What is, or may be, behind it.
    pub cause: String,
    /// What to do, as a command where there is one.
    pub fix: String,
    /// The command that shows whether it is fixed.
    pub verify: String,
    /// The findings that explain this one.
    pub depends_on: Vec<Id>,
}
