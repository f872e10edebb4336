//! The answers of the node as the messages that operators' programs read.

use std::time::Duration;

use overlayd_core::cluster::membership::PeerState;
use overlayd_core::config;
use overlayd_core::lease::LeaseState;
use overlayd_core::node::{
    Applied, Change, EndpointLine, GatewayLine, LeaseLine, Loss, Lost, PeerLine, PoolLine, SegmentLine, Sighting,
};
use overlayd_proto::control as wire;

use crate::clock;

pub(super) fn peer(line: PeerLine) -> wire::Peer {
    wire::Peer {
        name: line.name,
        id: line.id.map(|id| id.to_string()),
        address: line.address.map(|address| address.to_string()).unwrap_or_default(),
        state: match line.state {
            PeerState::Alive => wire::PeerState::Alive,
            PeerState::Suspect => wire::PeerState::Suspect,
            PeerState::Failed => wire::PeerState::Failed,
            PeerState::Left => wire::PeerState::Left,
            PeerState::Static => wire::PeerState::Static,
        }
        .into(),
        self_: line.me,
        drained: line.drained,
        mtu: line.mtu.map(|mtu| mtu.bytes()),
    }
}

pub(super) fn segment(line: &SegmentLine) -> wire::Segment {
    wire::Segment {
        name: line.segment.name.to_string(),
        vni: line.vni().number(),
        bridge: line.segment.bridge.to_string(),
        mode: line.mode().to_owned(),
        mtu: line.mtu.map_or(0, |mtu| mtu.bytes()),
        gateway: line.gateway.clone(),
        hosts: line.hosts.clone(),
        rolled_back_in: line
            .rolled_back_at
            .map(|at| u32::try_from(at.since(clock::now()).as_secs()).unwrap_or(u32::MAX)),
    }
}

pub(super) fn gateway(line: GatewayLine) -> wire::Gateway {
    let ago = |since: Duration| clock::wall_millis().saturating_sub(u64::try_from(since.as_millis()).unwrap_or(0));
    wire::Gateway {
        segment: line.segment.to_string(),
        host: line.host,
        term: line.term.0,
        since_unix_ms: line.since.map(|since| i64::try_from(ago(since)).unwrap_or(i64::MAX)),
        self_: line.me,
        reason: line.reason,
    }
}

pub(super) fn applied(segments: Vec<Applied>, notes: Vec<String>) -> wire::ApplyResponse {
    wire::ApplyResponse {
        segments: segments.into_iter().map(change).collect(),
        notes,
        ..wire::ApplyResponse::default()
    }
}

fn change(applied: Applied) -> wire::SegmentChange {
    wire::SegmentChange {
        name: applied.name.to_string(),
        kind: match applied.change {
            Change::Added => wire::ChangeKind::Added,
            Change::Changed => wire::ChangeKind::Changed,
            Change::Unchanged => wire::ChangeKind::Unchanged,
        }
        .into(),
        fields: applied
            .fields
            .into_iter()
            .map(|field| wire::FieldChange {
                key: field.key,
                old: field.old,
                new: field.new,
            })
            .collect(),
        generation: applied.generation,
        losses: applied.losses.iter().map(loss).collect(),
        unchecked: applied.unchecked,
    }
}

pub(super) fn loss(loss: &Loss) -> wire::Loss {
    let of = |kind: wire::LossKind| wire::Loss {
        segment: loss.segment.as_ref().map(ToString::to_string),
        kind: kind.into(),
        text: loss.to_string(),
        ..wire::Loss::default()
    };
    match &loss.what {
        Lost::Port(guest) => wire::Loss {
            host: Some(guest.host_name.clone()),
            port: (!guest.port.is_empty()).then(|| guest.port.clone()),
            mac: guest.mac.map(|mac| mac.to_string()),
            addresses: guest.addresses.iter().map(ToString::to_string).collect(),
            out_of_reach: guest.sighting == Sighting::LastKnown,
            ..of(wire::LossKind::Port)
        },
        Lost::Lease(lease) => wire::Loss {
            mac: Some(lease.mac.to_string()),
            addresses: vec![lease.address.to_string()],
            ..of(wire::LossKind::Lease)
        },
        Lost::Published(port) => wire::Loss {
            port: Some(format!("{}/{}", port.protocol, port.listen)),
            addresses: vec![port.to.ip().to_string()],
            ..of(wire::LossKind::PublishedPort)
        },
        Lost::Gateway(address) => wire::Loss {
            addresses: vec![address.to_string()],
            ..of(wire::LossKind::GatewayAddress)
        },
        Lost::Segment => wire::Loss {
            ..of(wire::LossKind::Segment)
        },
    }
}

/// `None`: nothing is known of the address any more.
pub(super) fn lease(line: LeaseLine) -> Option<wire::Lease> {
    let state = match line.lease.state {
        LeaseState::Held => wire::LeaseState::Bound,
        LeaseState::Settled => wire::LeaseState::Reserved,
        LeaseState::Pending => wire::LeaseState::Pending,
        LeaseState::Quarantined if line.lease.left.0.is_some() => wire::LeaseState::Ending,
        LeaseState::Quarantined => wire::LeaseState::Quarantined,
        LeaseState::Declined => wire::LeaseState::Declined,
        LeaseState::Free => return None,
    };
    let end = |left: Duration| {
        i64::try_from(clock::wall_millis().saturating_add(u64::try_from(left.as_millis()).unwrap_or(u64::MAX)))
            .unwrap_or(i64::MAX)
    };
    Some(wire::Lease {
        segment: line.segment.to_string(),
        address: line.lease.address.ip().to_string(),
        mac: line.lease.client.map(|mac| mac.to_string()),
        hostname: (!line.lease.hostname.is_empty()).then_some(line.lease.hostname),
        expires_unix_ms: line.lease.left.0.map(end),
        owner: Some(line.owner),
        keeper: line.keeper,
        copies: line.lease.copies,
        state: state.into(),
    })
}

pub(super) fn range(line: PoolLine) -> wire::PoolRange {
    let (first, last) = (line.line.range.first().ip(), line.line.range.last().ip());
    wire::PoolRange {
        segment: line.segment.to_string(),
        range: if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        },
        owner: line.owner,
        free: line.line.free,
        held: line.line.held,
        quarantined: line.line.quarantined,
        declined: line.line.declined,
        waits: line.waits,
    }
}

pub(super) fn endpoint(line: EndpointLine) -> wire::Endpoint {
    wire::Endpoint {
        segment: line.segment.to_string(),
        mac: line.mac.to_string(),
        addresses: line.addresses.iter().map(ToString::to_string).collect(),
        host: line.host,
        interface: line.interface,
    }
}

/// Every mistake of the file, each with its place.
pub(super) fn misconfigured(errors: &config::Errors) -> wire::ApplyResponse {
    let errors = errors.iter().map(|error| wire::ConfigError {
        line: u32::try_from(error.line).unwrap_or(0),
        column: u32::try_from(error.column).unwrap_or(0),
        key: error.key.clone(),
        message: error.message.clone(),
        hint: (!error.hint.is_empty()).then(|| error.hint.clone()),
    });
    wire::ApplyResponse {
        errors: errors.collect(),
        ..Default::default()
    }
}
