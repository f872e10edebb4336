//! Records.

use std::time::Duration;

use overlayd_core::cluster::gossip as core;
use overlayd_core::id::{HostId, SegmentId, SegmentName, Term};
use overlayd_core::lease::{Epoch, Lease, LeaseState, Left, Share, SharedRange, Version};
use overlayd_core::range::Range;

use crate::convert::{Malformed, address, address_bytes, mac, named, required, unknown};
use crate::gossip as wire;
use wire::record::Kind;

impl From<core::Record> for wire::Record {
    fn from(record: core::Record) -> Self {
        let kind = match record {
            core::Record::Host(host) => Kind::Host(host.into()),
            core::Record::Segment(segment) => Kind::Segment(segment.into()),
            core::Record::StaticPeer(peer) => Kind::StaticPeer(wire::StaticPeer {
                generation: peer.generation,
                introducer: peer.introducer.0,
                address: address_bytes(peer.address),
                segment: peer.segment.map(|segment| segment.0),
                presence: presence_out(peer.presence),
            }),
            core::Record::Removed(removed) => {
                let why = match removed.why {
                    core::Departure::Removed => wire::removed::Why::Removed,
                    core::Departure::Left => wire::removed::Why::Left,
                };
                Kind::Removed(wire::Removed {
                    host: removed.host.0,
                    why: why.into(),
                    name: removed.name,
                })
            }
            core::Record::Claim(claim) => Kind::Claim(wire::GatewayClaim {
                group: claim.group.0,
                holder: claim.holder.0,
                term: claim.term.0,
                beat: claim.beat,
                presence: presence_out(claim.presence),
                since: claim.since,
                reason: claim.reason,
            }),
            core::Record::Findings(findings) => Kind::Findings(findings.into()),
            core::Record::Endpoint(endpoint) => Kind::Endpoint(wire::Endpoint {
                segment: endpoint.segment.0,
                mac: endpoint.mac.0.to_vec(),
                host: endpoint.host.0,
                sequence: endpoint.sequence,
                presence: presence_out(endpoint.presence),
                addresses: endpoint.addresses.into_iter().map(address_bytes).collect(),
                interface: endpoint.interface,
            }),
            core::Record::Lease(lease) => Kind::Lease(lease_out(lease)),
            core::Record::Share(share) => Kind::Share(wire::Share {
                told: share.told,
                segment: share.segment.0,
                owner: share.owner.0,
                ranges: share.ranges.into_iter().map(share_range_out).collect(),
            }),
        };
        Self { kind: Some(kind) }
    }
}

impl From<core::SegmentRecord> for wire::Segment {
    fn from(segment: core::SegmentRecord) -> Self {
        let (definition, deleted) = match segment.content {
            core::Content::Definition(text) => (Some(text), String::new()),
            core::Content::Tombstone { of } => (None, of),
        };
        Self {
            generation: segment.generation,
            introducer: segment.introducer.0,
            name: segment.name.to_string(),
            id: segment.id.0,
            definition,
            deleted,
            born: segment.born,
            trial: segment
                .trial
                .map(|core::Trial { seconds, before }| wire::Trial { seconds, before }),
        }
    }
}

impl TryFrom<wire::Record> for core::Record {
    type Error = Malformed;

    fn try_from(record: wire::Record) -> Result<Self, Malformed> {
        Ok(match required(record.kind, "record.kind")? {
            Kind::Host(host) => core::Record::Host(host.try_into()?),
            Kind::Segment(segment) => core::Record::Segment(core::SegmentRecord {
                generation: segment.generation,
                introducer: HostId(segment.introducer),
                name: SegmentName::new(segment.name).map_err(|why| Malformed::Value {
                    field: "segment.name",
                    why,
                })?,
                id: SegmentId(segment.id),
                born: segment.born,
                content: segment.definition.map_or(
                    core::Content::Tombstone { of: segment.deleted },
                    core::Content::Definition,
                ),
                trial: segment
                    .trial
                    .map(|wire::Trial { seconds, before }| core::Trial { seconds, before }),
            }),
            Kind::StaticPeer(peer) => core::Record::StaticPeer(core::StaticPeer {
                generation: peer.generation,
                introducer: HostId(peer.introducer),
                address: address(&peer.address, "static_peer.address")?,
                segment: peer.segment.map(SegmentId),
                presence: presence_in(peer.presence)?,
            }),
            Kind::Removed(removed) => {
                let why = match removed.why() {
                    wire::removed::Why::Removed => core::Departure::Removed,
                    wire::removed::Why::Left => core::Departure::Left,
                    wire::removed::Why::Unspecified => return Err(unknown(removed.why, "removed.why")),
                };
                core::Record::Removed(core::Removed {
                    host: HostId(removed.host),
                    why,
                    name: removed.name,
                })
            }
            Kind::Claim(claim) => core::Record::Claim(core::GatewayClaim {
                term: Term(claim.term),
                beat: claim.beat,
                presence: presence_in(claim.presence)?,
                group: SegmentId(claim.group),
                holder: HostId(claim.holder),
                since: claim.since,
                reason: claim.reason,
            }),
            Kind::Findings(findings) => core::Record::Findings(findings.try_into()?),
            Kind::Endpoint(endpoint) => core::Record::Endpoint(core::Endpoint {
                sequence: endpoint.sequence,
                host: HostId(endpoint.host),
                presence: presence_in(endpoint.presence)?,
                segment: SegmentId(endpoint.segment),
                mac: mac(&endpoint.mac, "endpoint.mac")?,
                addresses: endpoint
                    .addresses
                    .iter()
                    .map(|bytes| address(bytes, "endpoint.addresses"))
                    .collect::<Result<_, _>>()?,
                interface: endpoint.interface,
            }),
            Kind::Lease(lease) => core::Record::Lease(lease_in(lease)?),
            Kind::Share(share) => core::Record::Share(Share {
                told: share.told,
                segment: SegmentId(share.segment),
                owner: HostId(share.owner),
                ranges: share.ranges.into_iter().map(share_range_in).collect::<Result<_, _>>()?,
            }),
        })
    }
}

fn presence_out(presence: core::Presence) -> i32 {
    match presence {
        core::Presence::Here => wire::Presence::Here.into(),
        core::Presence::Gone => wire::Presence::Gone.into(),
    }
}

fn presence_in(value: i32) -> Result<core::Presence, Malformed> {
    match named(value, "presence")? {
        wire::Presence::Here => Ok(core::Presence::Here),
        wire::Presence::Gone => Ok(core::Presence::Gone),
        wire::Presence::Unspecified => Err(unknown(value, "presence")),
    }
}

fn lease_out(lease: Lease) -> wire::Lease {
    let state = match lease.state {
        LeaseState::Held => wire::lease::State::Held,
        LeaseState::Free => wire::lease::State::Free,
        LeaseState::Quarantined => wire::lease::State::Quarantined,
        LeaseState::Declined => wire::lease::State::Declined,
        LeaseState::Pending => wire::lease::State::Pending,
        LeaseState::Settled => wire::lease::State::Settled,
    };
    wire::Lease {
        epoch: lease.version.epoch.number,
        epoch_host: lease.version.epoch.host.0,
        counter: lease.version.counter,
        told: lease.told,
        segment: lease.segment.0,
        address: address_bytes(lease.address.ip()),
        mac: lease.client.map(|mac| mac.0.to_vec()),
        hostname: (!lease.hostname.is_empty()).then_some(lease.hostname),
        owner: lease.owner.0,
        keeper: lease.keeper.map(|host| host.0),
        copies: lease.copies,
        state: state.into(),
        generation: lease.generation,
        left: lease
            .left
            .0
            .map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
    }
}

fn lease_in(lease: wire::Lease) -> Result<Lease, Malformed> {
    let state = match lease.state() {
        wire::lease::State::Held => LeaseState::Held,
        wire::lease::State::Free => LeaseState::Free,
        wire::lease::State::Quarantined => LeaseState::Quarantined,
        wire::lease::State::Declined => LeaseState::Declined,
        wire::lease::State::Pending => LeaseState::Pending,
        wire::lease::State::Settled => LeaseState::Settled,
        wire::lease::State::Unspecified => return Err(unknown(lease.state, "lease.state")),
    };
    Ok(Lease {
        version: Version {
            epoch: Epoch {
                number: lease.epoch,
                host: HostId(lease.epoch_host),
            },
            counter: lease.counter,
        },
        told: lease.told,
        segment: SegmentId(lease.segment),
        address: address(&lease.address, "lease.address")?.into(),
        client: lease.mac.map(|bytes| mac(&bytes, "lease.mac")).transpose()?,
        hostname: lease.hostname.unwrap_or_default(),
        owner: HostId(lease.owner),
        keeper: lease.keeper.map(HostId),
        copies: lease.copies,
        state,
        generation: lease.generation,
        left: Left(lease.left.map(Duration::from_millis)),
    })
}

fn share_range_out(range: SharedRange) -> wire::ShareRange {
    wire::ShareRange {
        first: address_bytes(range.range.first().ip()),
        last: address_bytes(range.range.last().ip()),
        epoch: range.epoch.number,
        epoch_host: range.epoch.host.0,
        free: range.free,
        held: range.held,
        quarantined: range.quarantined,
        declined: range.declined,
    }
}

fn share_range_in(range: wire::ShareRange) -> Result<SharedRange, Malformed> {
    let first = address(&range.first, "share.first")?;
    let last = address(&range.last, "share.last")?;
    Ok(SharedRange {
        range: Range::new(first, last).ok_or(Malformed::Contradiction("share"))?,
        epoch: Epoch {
            number: range.epoch,
            host: HostId(range.epoch_host),
        },
        free: range.free,
        held: range.held,
        quarantined: range.quarantined,
        declined: range.declined,
    })
}
