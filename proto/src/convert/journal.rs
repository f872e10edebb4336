//! What stands on disk: the journal of leases.

use std::time::Duration;

use overlayd_core::addresses as core;
use overlayd_core::id::{HostId, SegmentId};

use super::lease::{
    epoch_in, epoch_out, life_in, life_out, millis, range_in, range_out, record_in, record_out, reuse_in, reuse_out,
};
use super::{Malformed, host_numbers, hosts, required, unknown};
use crate::journal as wire;
use wire::journal_record::Kind;

impl From<core::JournalRecord> for wire::JournalRecord {
    fn from(record: core::JournalRecord) -> Self {
        let kind = match record {
            core::JournalRecord::Membership(membership) => {
                let introduced = match membership.introduced {
                    core::Introduced::Not => wire::membership::Introduced::Not,
                    core::Introduced::ByMember => wire::membership::Introduced::ByMember,
                    core::Introduced::Fully => wire::membership::Introduced::Fully,
                };
                Kind::Membership(wire::Membership {
                    members: host_numbers(&membership.members),
                    acknowledged: host_numbers(&membership.acknowledged),
                    introduced: introduced.into(),
                    removed: host_numbers(&membership.removed),
                })
            }
            core::JournalRecord::Addresses { segment, range, state } => Kind::Addresses(wire::Addresses {
                segment: segment.0,
                range: Some(range_out(range)),
                state: Some(state_out(state)),
            }),
            core::JournalRecord::Segment {
                segment,
                generation,
                life,
                longest,
                agreed,
            } => Kind::Segment(wire::Segment {
                segment: segment.0,
                generation,
                longest: millis(longest),
                agreed: millis(agreed),
                life: life_out(life),
            }),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<wire::JournalRecord> for core::JournalRecord {
    type Error = Malformed;

    fn try_from(record: wire::JournalRecord) -> Result<Self, Malformed> {
        Ok(match required(record.kind, "journal.kind")? {
            Kind::Membership(membership) => {
                let introduced = match membership.introduced() {
                    wire::membership::Introduced::Not => core::Introduced::Not,
                    wire::membership::Introduced::ByMember => core::Introduced::ByMember,
                    wire::membership::Introduced::Fully => core::Introduced::Fully,
                    wire::membership::Introduced::Unspecified => {
                        return Err(unknown(membership.introduced, "membership.introduced"));
                    }
                };
                core::JournalRecord::Membership(core::Members {
                    members: hosts(membership.members),
                    acknowledged: hosts(membership.acknowledged),
                    introduced,
                    removed: hosts(membership.removed),
                })
            }
            Kind::Addresses(addresses) => core::JournalRecord::Addresses {
                segment: SegmentId(addresses.segment),
                range: range_in(addresses.range)?,
                state: state_in(required(addresses.state, "addresses.state")?)?,
            },
            Kind::Segment(segment) => core::JournalRecord::Segment {
                segment: SegmentId(segment.segment),
                generation: segment.generation,
                life: life_in(segment.life)?,
                longest: Duration::from_millis(segment.longest),
                agreed: Duration::from_millis(segment.agreed),
            },
        })
    }
}

fn state_out(state: core::AddressState) -> wire::AddressState {
    let transfer = match state.transfer {
        core::Transfer::Settled => wire::address_state::Transfer::Settled,
        core::Transfer::Unborn => wire::address_state::Transfer::Unborn,
        core::Transfer::HandingOver => wire::address_state::Transfer::HandingOver,
    };
    wire::AddressState {
        epoch: Some(epoch_out(state.epoch)),
        owner: state.owner.map(|host| host.0),
        transfer: transfer.into(),
        promised: Some(epoch_out(state.promised)),
        record: Some(record_out(state.record)),
        may: host_numbers(&state.may),
        reuse: reuse_out(state.reuse),
    }
}

fn state_in(state: wire::AddressState) -> Result<core::AddressState, Malformed> {
    let transfer = match state.transfer() {
        wire::address_state::Transfer::Settled => core::Transfer::Settled,
        wire::address_state::Transfer::Unborn => core::Transfer::Unborn,
        wire::address_state::Transfer::HandingOver => core::Transfer::HandingOver,
        wire::address_state::Transfer::Unspecified => return Err(unknown(state.transfer, "state.transfer")),
    };
    Ok(core::AddressState {
        epoch: epoch_in(state.epoch)?,
        owner: state.owner.map(HostId),
        transfer,
        promised: epoch_in(state.promised)?,
        record: record_in(state.record)?,
        may: hosts(state.may),
        reuse: reuse_in(state.reuse)?,
    })
}
