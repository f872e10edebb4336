//! A host's word about itself.

use std::net::{IpAddr, SocketAddr};

use overlayd_core::cluster::gossip as core;
use overlayd_core::id::{HostId, IfName, SegmentId};
use overlayd_core::mtu::OverlayMtu;
use overlayd_core::network::HostNetwork;

use crate::convert::{Malformed, address, address_bytes, unknown};
use crate::gossip as wire;

impl From<core::HostRecord> for wire::Host {
    fn from(host: core::HostRecord) -> Self {
        let (candidacy, priority) = match host.candidacy {
            core::Candidacy::None => (wire::host::Candidacy::None, 0),
            core::Candidacy::Candidate { priority } => (wire::host::Candidacy::Candidate, priority),
            core::Candidacy::Drained { priority } => (wire::host::Candidacy::Drained, priority),
            core::Candidacy::JournalLost { priority } => (wire::host::Candidacy::JournalLost, priority),
            core::Candidacy::Departing { priority } => (wire::host::Candidacy::Departing, priority),
        };
        let uplink = match host.uplink {
            core::Uplink::Fails => wire::host::Uplink::Fails,
            core::Uplink::Works => wire::host::Uplink::Works,
        };
        Self {
            id: host.id.0,
            instance: host.instance,
            counter: host.counter,
            name: host.name,
            vtep: address_bytes(host.vtep),
            listen_address: address_bytes(host.listen.ip()),
            listen_port: host.listen.port().into(),
            labels: host.labels.into_iter().collect(),
            overlay_mtu: host.overlay_mtu.bytes(),
            candidacy: candidacy.into(),
            priority,
            uplink: uplink.into(),
            segments: host
                .segments
                .into_iter()
                .map(|(segment, generation)| wire::Generation {
                    segment: segment.0,
                    generation,
                })
                .collect(),
            journal: host.journal,
            agent_version: host.agent_version,
            lacks: host.lacks.into_iter().map(lack_out).collect(),
            networks: host.networks.into_iter().map(network_out).collect(),
            vteps: host
                .vteps
                .into_iter()
                .map(|(segment, vtep)| wire::SegmentVtep {
                    segment: segment.0,
                    address: address_bytes(vtep),
                })
                .collect(),
        }
    }
}

impl TryFrom<wire::Host> for core::HostRecord {
    type Error = Malformed;

    fn try_from(host: wire::Host) -> Result<Self, Malformed> {
        let candidacy = match host.candidacy() {
            wire::host::Candidacy::None => core::Candidacy::None,
            wire::host::Candidacy::Candidate => core::Candidacy::Candidate {
                priority: host.priority,
            },
            wire::host::Candidacy::Drained => core::Candidacy::Drained {
                priority: host.priority,
            },
            wire::host::Candidacy::JournalLost => core::Candidacy::JournalLost {
                priority: host.priority,
            },
            wire::host::Candidacy::Departing => core::Candidacy::Departing {
                priority: host.priority,
            },
            wire::host::Candidacy::Unspecified => return Err(unknown(host.candidacy, "host.candidacy")),
        };
        let uplink = match host.uplink() {
            wire::host::Uplink::Fails => core::Uplink::Fails,
            wire::host::Uplink::Works => core::Uplink::Works,
            wire::host::Uplink::Unspecified => return Err(unknown(host.uplink, "host.uplink")),
        };
        let port = u16::try_from(host.listen_port).map_err(|_| Malformed::Contradiction("host.listen_port"))?;
        Ok(Self {
            instance: host.instance,
            counter: host.counter,
            id: HostId(host.id),
            name: host.name,
            vtep: address(&host.vtep, "host.vtep")?,
            vteps: host
                .vteps
                .iter()
                .map(|it| Ok((SegmentId(it.segment), address(&it.address, "host.vteps")?)))
                .collect::<Result<_, Malformed>>()?,
            listen: SocketAddr::new(address(&host.listen_address, "host.listen_address")?, port),
            labels: host.labels.into_iter().collect(),
            overlay_mtu: OverlayMtu::new(host.overlay_mtu),
            candidacy,
            uplink,
            lacks: host.lacks.into_iter().map(lack_in).collect::<Result<_, _>>()?,
            segments: host
                .segments
                .into_iter()
                .map(|entry| (SegmentId(entry.segment), entry.generation))
                .collect(),
            networks: host.networks.into_iter().map(network_in).collect::<Result<_, _>>()?,
            journal: host.journal,
            agent_version: host.agent_version,
        })
    }
}

fn lack_out((segment, lack): (SegmentId, core::Lack)) -> wire::Lack {
    let what = match lack {
        core::Lack::NotWhole => wire::lack::What::NotWhole,
        core::Lack::SubnetConflict => wire::lack::What::SubnetConflict,
    };
    wire::Lack {
        segment: segment.0,
        what: what.into(),
    }
}

fn lack_in(lack: wire::Lack) -> Result<(SegmentId, core::Lack), Malformed> {
    let what = match lack.what() {
        wire::lack::What::NotWhole => core::Lack::NotWhole,
        wire::lack::What::SubnetConflict => core::Lack::SubnetConflict,
        wire::lack::What::Unspecified => return Err(unknown(lack.what, "host.lacks")),
    };
    Ok((SegmentId(lack.segment), what))
}

fn network_out(it: HostNetwork) -> wire::Network {
    wire::Network {
        address: address_bytes(it.network.addr().into()),
        length: it.network.prefix_len().into(),
        interface: it.link.to_string(),
    }
}

fn network_in(it: wire::Network) -> Result<HostNetwork, Malformed> {
    let IpAddr::V4(address) = address(&it.address, "network.address")? else {
        return Err(Malformed::Length {
            field: "network.address",
            length: it.address.len(),
        });
    };
    let link = IfName::new(it.interface).map_err(|why| Malformed::Value {
        field: "network.interface",
        why,
    })?;
    let length = u8::try_from(it.length).ok();
    let network = length.and_then(|length| HostNetwork::new(address, length, link));
    network.ok_or(Malformed::Contradiction("network.length"))
}
