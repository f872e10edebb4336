//! An event as a line of the log: a message that is the same for all events of a kind, and fields.
//!
//! Nothing is decided here; the agent writes the line.

use super::events::{Event, GatewayChange};
use crate::cluster::membership::PeerState;
use crate::config::HostChange;
use crate::id::{Mac, SegmentName, Term};

/// What an event is about; absent where it is about no such thing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// Name of the segment; several of one gateway are separated by commas.
    pub segment: Option<String>,
    /// Name of a host.
    pub host: Option<String>,
    /// Name of a peer, where the event is about how this host sees it.
    pub peer: Option<String>,
    /// An address of a guest or an agent.
    pub address: Option<String>,
    /// The guest's MAC.
    pub mac: Option<String>,
    /// The term of a gateway.
    pub term: Option<u64>,
    /// The generation of a definition.
    pub generation: Option<u64>,
    /// A key of the configuration.
    pub key: Option<String>,
    /// What was there before.
    pub old: Option<String>,
    /// What is there now.
    pub new: Option<String>,
    /// Why, or what else there is to say.
    pub reason: Option<String>,
}

impl Event {
    /// What happened, the same for all events of a kind.
    pub fn message(&self) -> &'static str {
        match self {
            Self::ClusterFormed { .. } => "formed a new cluster",
            Self::ClusterJoined { .. } => "joined the cluster",
            Self::JoinRefused { .. } => "cannot join yet; trying again",
            Self::RemovedFromCluster => {
                "this host was removed from the cluster and takes its network down, except bridges with guests; \
                 run `overlayctl join` to join again"
            }
            Self::AddressesRevoked => "this host was removed from the cluster and assigns no more addresses",
            Self::DeclaredDown => "the other hosts had declared this host down; it is alive again",
            Self::HostJoined { .. } => "host joined the cluster",
            Self::HostLeft { .. } => "host left the cluster",
            Self::HostRemoved { .. } => "host was removed from the cluster",
            Self::Peer { state, .. } => match state {
                PeerState::Alive => "peer is alive",
                PeerState::Suspect => "peer is suspect: its agent does not respond",
                PeerState::Failed => "peer has failed: neither its agent nor its kernel responds",
                PeerState::Left => "peer has left",
                PeerState::Static => "peer is static",
            },
            Self::Gateway { change, .. } => match change {
                GatewayChange::Claimed(_) => "claiming the gateway",
                GatewayChange::Taken(_) => "this host is now the active gateway",
                GatewayChange::Elsewhere { .. } => "the active gateway is on another host",
                GatewayChange::None => "no active gateway is known",
            },
            Self::SegmentApplied { .. } => "segment applied",
            Self::SegmentDeleted { .. } => "segment deleted",
            Self::SegmentRolledBack { .. } => "segment rolled back: its change was not confirmed in time",
            Self::SegmentSuperseded { .. } => {
                "conflicting definitions of a segment: this one lost; apply it again if needed"
            }
            Self::SegmentUnreadable { .. } => {
                "cannot read this generation of the segment; upgrade overlayd on this host"
            }
            Self::LeaseBound { .. } => "lease given to a guest",
            Self::LeaseEnded { .. } => "lease ended",
            Self::PoolExhausted { .. } => "no free address for a guest; see `overlayctl pool show`",
            Self::LeaseLimitReached { .. } => {
                "`max_leases` reached, no address for a guest; see `overlayctl lease list`"
            }
            Self::AddressDeclined { .. } => "address declined: a guest found it in use",
            Self::OwnershipLost { .. } => "another host introduced the same addresses and owns them",
            Self::LeaseVoid { .. } => {
                "lease from before the join is void: the address is another guest's, or not in the pool; the guest will \
                 get another address"
            }
            Self::LeasesUnconfirmed { .. } => {
                "leases from before the join are not confirmed by their owners yet, and other guests may get their \
                 addresses; see `overlayctl lease list`"
            }
            Self::JournalLost => {
                "the journal is lost or cannot be written: this host owns and keeps no addresses; see `overlayctl status`"
            }
            Self::JournalRestarted => {
                "starting with an empty journal: no new guest gets an address before a full lease time has passed"
            }
            Self::ConfigurationChanged(_) => "configuration changed",
            Self::ConfigurationUnchanged => "configuration read again: nothing has changed",
            Self::UplinkWorks => "the uplink works",
            Self::UplinkFails { .. } => "the uplink does not work",
            Self::UplinkPartly { .. } => "one of the next hops does not work; others do",
        }
    }

    /// What it is about.
    pub fn fields(&self) -> Fields {
        let none = Fields::default();
        match self {
            Self::ClusterFormed { cluster } => none.reason(format!("cluster {cluster}")),
            Self::ClusterJoined { cluster, via } => none.peer(via).reason(format!("cluster {cluster}")),
            Self::JoinRefused { at, reason } => none.address(at).reason(reason),
            Self::HostJoined { host } | Self::HostLeft { host } | Self::HostRemoved { host } => none.host(host),
            Self::Peer { peer, .. } => none.peer(peer),
            Self::Gateway {
                segments,
                change,
                reason,
            } => none.gateway(segments, change).reason(reason),
            Self::SegmentApplied {
                segment,
                generation,
                host,
            } => none.segment(segment).generation(*generation).host(host),
            Self::SegmentDeleted { segment, host } => none.segment(segment).host(host),
            Self::SegmentSuperseded {
                segment,
                generation,
                host,
                by: (newer, other),
            } => none
                .segment(segment)
                .generation(*generation)
                .host(host)
                .reason(format!("generation {newer} of {other} counts")),
            Self::SegmentUnreadable { segment, generation } | Self::SegmentRolledBack { segment, generation } => {
                none.segment(segment).generation(*generation)
            }
            Self::LeaseBound {
                segment,
                address,
                client,
                hostname,
            } => {
                let fields = none.segment(segment).address(address).mac(*client);
                match hostname.as_str() {
                    "" => fields,
                    name => fields.reason(name),
                }
            }
            Self::LeaseEnded {
                segment,
                address,
                client,
            } => none.segment(segment).address(address).mac(*client),
            Self::PoolExhausted { segment, client } | Self::LeaseLimitReached { segment, client } => {
                none.segment(segment).mac(*client)
            }
            Self::AddressDeclined { segment, address, time } => none
                .segment(segment)
                .address(address)
                .reason(format!("not assigned for {} s", time.as_secs())),
            Self::OwnershipLost { segment, host } => none.segment(segment).host(host),
            Self::LeaseVoid {
                segment,
                address,
                client,
            } => none.segment(segment).address(address).mac(*client),
            Self::LeasesUnconfirmed { leases } => none.reason(format!("{leases} leases")),
            Self::UplinkFails { health } | Self::UplinkPartly { health } => none.reason(health),
            Self::ConfigurationChanged(HostChange {
                key,
                old,
                new,
                consequence,
            }) => Fields {
                key: Some(key.clone()),
                old: old.clone(),
                new: new.clone(),
                ..none
            }
            .reason(consequence),
            Self::ConfigurationUnchanged
            | Self::RemovedFromCluster
            | Self::AddressesRevoked
            | Self::DeclaredDown
            | Self::JournalLost
            | Self::JournalRestarted
            | Self::UplinkWorks => none,
        }
    }
}

impl Fields {
    fn gateway(self, segments: &[SegmentName], change: &GatewayChange) -> Self {
        let names: Vec<&str> = segments.iter().map(SegmentName::as_str).collect();
        let fields = self.segment(names.join(","));
        match change {
            GatewayChange::Claimed(term) | GatewayChange::Taken(term) => fields.term(*term),
            GatewayChange::Elsewhere { host, term } => fields.host(host).term(*term),
            GatewayChange::None => fields,
        }
    }

    fn segment(self, segment: impl ToString) -> Self {
        Self {
            segment: Some(segment.to_string()),
            ..self
        }
    }

    fn host(self, host: &str) -> Self {
        Self {
            host: Some(host.to_owned()),
            ..self
        }
    }

    fn peer(self, peer: &str) -> Self {
        Self {
            peer: Some(peer.to_owned()),
            ..self
        }
    }

    fn address(self, address: impl ToString) -> Self {
        Self {
            address: Some(address.to_string()),
            ..self
        }
    }

    fn mac(self, mac: Mac) -> Self {
        Self {
            mac: Some(mac.to_string()),
            ..self
        }
    }

    fn term(self, term: Term) -> Self {
        Self {
            term: Some(term.0),
            ..self
        }
    }

    fn generation(self, generation: u64) -> Self {
        Self {
            generation: Some(generation),
            ..self
        }
    }

    fn reason(self, reason: impl ToString) -> Self {
        Self {
            reason: Some(reason.to_string()),
            ..self
        }
    }
}
