//! What happened, as a closed set of kinds. Log lines are made from these, in one place of the agent.
//!
//! Hosts and segments stand by their names: operators know no ids. Nothing here decides whether something happened,
//! but for the changes between two views of the peers.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::cluster::membership::{Peer, PeerState, Who};
use crate::config::{Consequence, HostChange};
use crate::gateway::uplink::Health;
use crate::id::{ClusterId, Mac, SegmentName, Term};
use crate::time::Duration;

/// Something that happened on this host, or that it has learned of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// This host is the first of a new cluster.
    ClusterFormed {
        /// The new cluster.
        cluster: ClusterId,
    },
    /// This host became a member.
    ClusterJoined {
        /// The cluster that it joined.
        cluster: ClusterId,
        /// The member that let it in.
        via: String,
    },
    /// A member that the configuration names did not let this host in; it is asked again.
    JoinRefused {
        /// Where that member listens.
        at: SocketAddr,
        /// What it said.
        reason: String,
    },
    /// This host learned that it was removed from its cluster.
    RemovedFromCluster,
    /// The members had removed this host from the owners of addresses.
    AddressesRevoked,
    /// The other members had declared this host down, and know better now.
    DeclaredDown,
    /// A host is new in the cluster.
    HostJoined {
        /// The newcomer.
        host: String,
    },
    /// A host left on its own.
    HostLeft {
        /// The former member.
        host: String,
    },
    /// An operator removed a host.
    HostRemoved {
        /// The former member.
        host: String,
    },
    /// The state of a peer is another than before.
    Peer {
        /// Its name.
        peer: String,
        /// The new state, as in `peer list`.
        state: PeerState,
    },
    /// A gateway changed hands, or its host began a new term.
    Gateway {
        /// The segments of its group.
        segments: Vec<SegmentName>,
        /// What became of it.
        change: GatewayChange,
        /// Why.
        reason: String,
    },
    /// A segment was applied, on whichever host.
    SegmentApplied {
        /// Its name.
        segment: SegmentName,
        /// The generation that this made.
        generation: u64,
        /// The host on which it was applied.
        host: String,
    },
    /// A segment was deleted, on whichever host.
    SegmentDeleted {
        /// Its name.
        segment: SegmentName,
        /// The host on which it was deleted.
        host: String,
    },
    /// A generation on trial was not confirmed in time, and this host has brought back what was before.
    SegmentRolledBack {
        /// Its name.
        segment: SegmentName,
        /// The generation that was on trial.
        generation: u64,
    },
    /// Two hosts wrote different definitions of one segment, and one of them lost.
    SegmentSuperseded {
        /// Its name.
        segment: SegmentName,
        /// The generation that does not count.
        generation: u64,
        /// The host that wrote it.
        host: String,
        /// What counts instead: generation and the host that wrote it.
        by: (u64, String),
    },
    /// A definition has keys that this version of the agent does not know.
    SegmentUnreadable {
        /// Its name.
        segment: SegmentName,
        /// The generation.
        generation: u64,
    },
    /// A guest has a lease that it did not have, by this host's word as its owner or keeper.
    LeaseBound {
        /// The segment, by name.
        segment: String,
        /// The address.
        address: String,
        /// The guest.
        client: Mac,
        /// Its name, if it has one.
        hostname: String,
    },
    /// A guest has no lease any more, by this host's word.
    LeaseEnded {
        /// The segment, by name.
        segment: String,
        /// The address.
        address: String,
        /// The guest.
        client: Mac,
    },
    /// A guest asked for an address, and none was free.
    PoolExhausted {
        /// The segment, by name.
        segment: String,
        /// The guest.
        client: Mac,
    },
    /// A guest asked for an address, and as many were leased as the segment allows.
    LeaseLimitReached {
        /// The segment, by name.
        segment: String,
        /// The guest.
        client: Mac,
    },
    /// A guest declined an address, or somebody without a lease uses it.
    AddressDeclined {
        /// The segment, by name.
        segment: String,
        /// The address.
        address: String,
        /// How long nobody gets it.
        time: Duration,
    },
    /// Another host introduced the same addresses at the same time, and owns them.
    OwnershipLost {
        /// The segment, by name.
        segment: String,
        /// The owner.
        host: String,
    },
    /// A lease from before this host joined is void: the address is another guest's, or not in the pool.
    LeaseVoid {
        /// The segment, by name.
        segment: String,
        /// The address.
        address: String,
        /// The guest that will get another one.
        client: Mac,
    },
    /// Leases from before this host joined are not confirmed by their owners yet.
    LeasesUnconfirmed {
        /// How many.
        leases: usize,
    },
    /// The journal of this host is lost, or cannot be written.
    JournalLost,
    /// An operator had this host begin with an empty journal.
    JournalRestarted,
    /// The file was read again, and a key of it is another.
    ConfigurationChanged(HostChange),
    /// The file was read again, and says what it said.
    ConfigurationUnchanged,
    /// This host's uplink works again.
    UplinkWorks,
    /// This host's uplink does not work.
    UplinkFails {
        /// What is wrong.
        health: Health,
    },
    /// One of the hops by which this host leads outside does not work; others do.
    UplinkPartly {
        /// What is wrong with it.
        health: Health,
    },
}

/// What became of a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GatewayChange {
    /// This host asks the others for it.
    Claimed(Term),
    /// This host is the active gateway.
    Taken(Term),
    /// Another host is.
    Elsewhere {
        /// Its name.
        host: String,
        /// Its term.
        term: Term,
    },
    /// No host is known to be.
    None,
}

/// How much an event matters to an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Somebody should look.
    Warn,
    /// A change that a user may notice.
    Info,
    /// A step on the way to one.
    Debug,
}

impl Event {
    /// How much it matters.
    pub fn level(&self) -> Level {
        match self {
            Self::JoinRefused { .. }
            | Self::RemovedFromCluster
            | Self::AddressesRevoked
            | Self::SegmentSuperseded { .. }
            | Self::SegmentRolledBack { .. }
            | Self::SegmentUnreadable { .. }
            | Self::PoolExhausted { .. }
            | Self::LeaseLimitReached { .. }
            | Self::AddressDeclined { .. }
            | Self::OwnershipLost { .. }
            | Self::LeaseVoid { .. }
            | Self::LeasesUnconfirmed { .. }
            | Self::JournalLost
            | Self::JournalRestarted
            | Self::UplinkFails { .. }
            | Self::UplinkPartly { .. } => Level::Warn,
            Self::Peer { state, .. } => match state {
                PeerState::Suspect | PeerState::Failed => Level::Warn,
                PeerState::Alive | PeerState::Left | PeerState::Static => Level::Info,
            },
            Self::Gateway { change, .. } => match change {
                GatewayChange::Taken(_) | GatewayChange::Elsewhere { .. } => Level::Info,
                GatewayChange::Claimed(_) | GatewayChange::None => Level::Debug,
            },
            Self::ConfigurationChanged(change) => match change.consequence {
                Consequence::AtRestart | Consequence::Differs | Consequence::Stays => Level::Warn,
                Consequence::Applied | Consequence::Introduced => Level::Info,
            },
            Self::ConfigurationUnchanged
            | Self::ClusterFormed { .. }
            | Self::ClusterJoined { .. }
            | Self::DeclaredDown
            | Self::LeaseBound { .. }
            | Self::LeaseEnded { .. }
            | Self::HostJoined { .. }
            | Self::HostLeft { .. }
            | Self::HostRemoved { .. }
            | Self::SegmentApplied { .. }
            | Self::SegmentDeleted { .. }
            | Self::UplinkWorks => Level::Info,
        }
    }
}

/// What has changed between two views of the peers. A peer that was never heard is no news until it is heard or has failed,
/// and what left or was removed is told by its record.
pub fn of_peers(before: &[Peer], after: &[Peer]) -> Vec<Event> {
    let before: BTreeMap<&Who, PeerState> = before.iter().map(|peer| (&peer.who, peer.state)).collect();
    let news = |peer: &&Peer| match (before.get(&peer.who), peer.state) {
        (_, PeerState::Left | PeerState::Static) | (None, PeerState::Suspect | PeerState::Failed) => false,
        (was, is) => was != Some(&is),
    };
    let others = after.iter().filter(|peer| matches!(peer.who, Who::Host(_)));
    others
        .filter(news)
        .map(|peer| Event::Peer {
            peer: peer.name.clone(),
            state: peer.state,
        })
        .collect()
}
