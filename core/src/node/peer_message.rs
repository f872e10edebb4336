//! What hosts say to each other, members and those that are to be.

use super::listening::Listening;
use crate::addresses;
use crate::cluster::gossip::{self, HostRecord, Record};
use crate::cluster::path_watch;
use crate::election;
use crate::id::{ClusterId, HostId};

/// What one host says to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerMessage {
    /// About gateways, on the stream that nothing else delays.
    Election(election::Message),
    /// A membership packet.
    Membership(Vec<u8>),
    /// Records.
    Gossip(gossip::Message),
    /// About addresses.
    Lease(addresses::Message),
    /// About a host that is to be removed.
    Hearing(Hearing),
    /// About ports that are to be published.
    Listening(Listening),
    /// About a frame that watches a path.
    Path(path_watch::Message),
}

/// Between members: whether a host is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hearing {
    /// The sender wants to know.
    Asked(HostId),
    /// What the sender hears of it.
    Told(HostId, Sign),
}

/// What is heard of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// Its agent.
    Agent,
    /// Its kernel alone.
    Kernel,
    /// Nothing.
    Nothing,
}

/// A host asks to be let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRequest {
    /// What it says of itself.
    pub host: HostRecord,
    /// The cluster it is in already, if any: alone, or it would not ask.
    pub cluster: Option<ClusterId>,
    /// The host that it was until its operator had everything of it removed.
    pub former: Option<HostId>,
}

/// A host is let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The cluster.
    pub cluster: ClusterId,
    /// The member that speaks.
    pub via: HostId,
    /// Its name.
    pub via_name: String,
    /// All that is known.
    pub records: Vec<Record>,
    /// The members and the removed, as far as leases go.
    pub roster: addresses::Roster,
}
