//! Leases and shares between the machine that decides about them and the records that all hosts see.

use crate::addresses::pool::Range;
use crate::addresses::{self, LeaseInfo, ShareInfo, SharedRange};
use crate::cluster::gossip::{self, ShareRange};

pub(super) fn lease_record(info: &LeaseInfo) -> gossip::Lease {
    gossip::Lease {
        version: gossip::LeaseVersion {
            epoch: info.version.epoch.number,
            epoch_host: info.version.epoch.host,
            counter: info.version.counter,
            told: info.told,
        },
        segment: info.segment,
        address: info.address.ip(),
        mac: info.client,
        hostname: (!info.hostname.is_empty()).then(|| info.hostname.clone()),
        owner: info.owner,
        keeper: info.keeper,
        copies: info.copies,
        state: match info.state {
            addresses::LeaseState::Held => gossip::LeaseState::Held,
            addresses::LeaseState::Settled => gossip::LeaseState::Settled,
            addresses::LeaseState::Pending => gossip::LeaseState::Pending,
            addresses::LeaseState::Resting => gossip::LeaseState::Resting,
            addresses::LeaseState::SetAside => gossip::LeaseState::SetAside,
            addresses::LeaseState::Free => gossip::LeaseState::Free,
        },
        generation: info.generation,
        left: gossip::Left(info.expires_in),
    }
}

pub(super) fn lease_info(record: &gossip::Lease) -> LeaseInfo {
    LeaseInfo {
        segment: record.segment,
        address: record.address.into(),
        version: addresses::Version {
            epoch: addresses::Epoch {
                number: record.version.epoch,
                host: record.version.epoch_host,
            },
            counter: record.version.counter,
        },
        told: record.version.told,
        client: record.mac,
        hostname: record.hostname.clone().unwrap_or_default(),
        owner: record.owner,
        keeper: record.keeper,
        copies: record.copies,
        state: match record.state {
            gossip::LeaseState::Held => addresses::LeaseState::Held,
            gossip::LeaseState::Settled => addresses::LeaseState::Settled,
            gossip::LeaseState::Pending => addresses::LeaseState::Pending,
            gossip::LeaseState::Resting => addresses::LeaseState::Resting,
            gossip::LeaseState::SetAside => addresses::LeaseState::SetAside,
            gossip::LeaseState::Free => addresses::LeaseState::Free,
        },
        generation: record.generation,
        expires_in: record.left.0,
    }
}

pub(super) fn share_record(info: &ShareInfo) -> gossip::Share {
    let range = |shared: &SharedRange| ShareRange {
        first: shared.range.first().ip(),
        last: shared.range.last().ip(),
        epoch: shared.epoch.number,
        epoch_host: shared.epoch.host,
        free: shared.free,
        held: shared.held,
        resting: shared.resting,
        set_aside: shared.set_aside,
    };
    gossip::Share {
        told: info.told,
        segment: info.segment,
        owner: info.owner,
        ranges: info.ranges.iter().map(range).collect(),
    }
}

/// `None`: a range is the wrong way round.
pub(super) fn share_info(record: &gossip::Share) -> Option<ShareInfo> {
    let range = |shared: &ShareRange| {
        Some(SharedRange {
            range: Range::new(shared.first, shared.last)?,
            epoch: addresses::Epoch {
                number: shared.epoch,
                host: shared.epoch_host,
            },
            free: shared.free,
            held: shared.held,
            resting: shared.resting,
            set_aside: shared.set_aside,
        })
    };
    Some(ShareInfo {
        segment: record.segment,
        owner: record.owner,
        told: record.told,
        ranges: record.ranges.iter().map(range).collect::<Option<_>>()?,
    })
}
