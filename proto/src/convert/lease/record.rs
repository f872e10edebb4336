//! Records of addresses, and what they consist of.

use std::time::Duration;

use overlayd_core::addresses as core;
use overlayd_core::id::HostId;
use overlayd_core::lease::{Epoch, Version};
use overlayd_core::range::{Address, Range};

use crate::convert::{Malformed, hosts, mac, named, required, unknown};
use crate::lease as wire;

pub(in crate::convert) fn given_in(run: wire::GivenRun) -> Result<core::GivenRun, Malformed> {
    Ok(core::GivenRun {
        range: range_in(run.range)?,
        record: record_in(run.record)?,
        may: hosts(run.may),
        reuse: reuse_in(run.reuse)?,
    })
}

pub(in crate::convert) fn reported_in(run: wire::ReportedRun) -> Result<core::ReportedRun, Malformed> {
    Ok(core::ReportedRun {
        range: range_in(run.range)?,
        epoch: epoch_in(run.epoch)?,
        owner: run.owner.map(HostId),
        record: record_in(run.record)?,
    })
}

pub(in crate::convert) fn owned_in(run: wire::OwnedRun) -> Result<core::OwnedRun, Malformed> {
    Ok(core::OwnedRun {
        range: range_in(run.range)?,
        epoch: epoch_in(run.epoch)?,
        owner: HostId(run.owner),
    })
}

pub(in crate::convert) fn record_out(record: core::LeaseRecord) -> wire::Record {
    let (holder, mac) = match record.holder {
        core::Holder::Free { last } => (wire::record::Holder::Free, last),
        core::Holder::Client(mac) => (wire::record::Holder::Client, Some(mac)),
        core::Holder::Reserved(mac) => (wire::record::Holder::Reserved, Some(mac)),
        core::Holder::Released(mac) => (wire::record::Holder::Released, Some(mac)),
        core::Holder::Declined => (wire::record::Holder::Declined, None),
    };
    wire::Record {
        version: Some(version_out(record.version)),
        holder: holder.into(),
        mac: mac.map(|mac| mac.0.to_vec()),
        lease_time: millis(record.lease_time),
        keeper: record.keeper.map(|host| host.0),
        client_id: record.client_id,
        hostname: record.hostname,
        strikes: record.strikes,
    }
}

pub(in crate::convert) fn record_in(record: Option<wire::Record>) -> Result<core::LeaseRecord, Malformed> {
    let record = required(record, "record")?;
    let client = record
        .mac
        .as_deref()
        .map(|bytes| mac(bytes, "record.mac"))
        .transpose()?;
    let holder = match record.holder() {
        wire::record::Holder::Free => core::Holder::Free { last: client },
        wire::record::Holder::Client => core::Holder::Client(required(client, "record.mac")?),
        wire::record::Holder::Reserved => core::Holder::Reserved(required(client, "record.mac")?),
        wire::record::Holder::Released => core::Holder::Released(required(client, "record.mac")?),
        wire::record::Holder::Declined => core::Holder::Declined,
        wire::record::Holder::Unspecified => return Err(unknown(record.holder, "record.holder")),
    };
    Ok(core::LeaseRecord {
        version: version_in(record.version)?,
        holder,
        lease_time: Duration::from_millis(record.lease_time),
        keeper: record.keeper.map(HostId),
        client_id: record.client_id,
        hostname: record.hostname,
        strikes: record.strikes,
    })
}

pub(in crate::convert) fn epoch_out(epoch: Epoch) -> wire::Epoch {
    wire::Epoch {
        number: epoch.number,
        host: epoch.host.0,
    }
}

pub(in crate::convert) fn epoch_in(epoch: Option<wire::Epoch>) -> Result<Epoch, Malformed> {
    required(epoch, "epoch").map(|epoch| Epoch {
        number: epoch.number,
        host: HostId(epoch.host),
    })
}

pub(in crate::convert) fn version_out(version: Version) -> wire::Version {
    wire::Version {
        epoch: Some(epoch_out(version.epoch)),
        counter: version.counter,
    }
}

pub(in crate::convert) fn version_in(version: Option<wire::Version>) -> Result<Version, Malformed> {
    let version = required(version, "version")?;
    Ok(Version {
        epoch: epoch_in(version.epoch)?,
        counter: version.counter,
    })
}

pub(in crate::convert) fn reuse_out(reuse: core::Reuse) -> i32 {
    match reuse {
        core::Reuse::Allowed => wire::Reuse::Allowed.into(),
        core::Reuse::Quarantined => wire::Reuse::Quarantined.into(),
    }
}

pub(in crate::convert) fn reuse_in(value: i32) -> Result<core::Reuse, Malformed> {
    match named(value, "reuse")? {
        wire::Reuse::Allowed => Ok(core::Reuse::Allowed),
        wire::Reuse::Quarantined => Ok(core::Reuse::Quarantined),
        wire::Reuse::Unspecified => Err(unknown(value, "reuse")),
    }
}

pub(in crate::convert) fn life_out(life: core::Life) -> i32 {
    match life {
        core::Life::Stands => wire::Life::Stands.into(),
        core::Life::Deleted => wire::Life::Deleted.into(),
        core::Life::Over => wire::Life::Over.into(),
    }
}

pub(in crate::convert) fn life_in(value: i32) -> Result<core::Life, Malformed> {
    match named(value, "life")? {
        wire::Life::Stands => Ok(core::Life::Stands),
        wire::Life::Deleted => Ok(core::Life::Deleted),
        wire::Life::Over => Ok(core::Life::Over),
        wire::Life::Unspecified => Err(unknown(value, "life")),
    }
}

pub(in crate::convert) fn range_out(range: Range) -> wire::Range {
    wire::Range {
        first: number_out(range.first()),
        last: number_out(range.last()),
    }
}

pub(in crate::convert) fn range_in(range: Option<wire::Range>) -> Result<Range, Malformed> {
    let range = required(range, "range")?;
    let (first, last) = (
        number_in(&range.first, "range.first")?,
        number_in(&range.last, "range.last")?,
    );
    Range::new(first, last).ok_or(Malformed::Contradiction("range"))
}

pub(in crate::convert) fn ranges_out(ranges: Vec<Range>) -> Vec<wire::Range> {
    ranges.into_iter().map(range_out).collect()
}

pub(in crate::convert) fn ranges_in(ranges: Vec<wire::Range>) -> Result<Vec<Range>, Malformed> {
    ranges.into_iter().map(|range| range_in(Some(range))).collect()
}

pub(in crate::convert) fn number_out(address: Address) -> Vec<u8> {
    address.bits().to_be_bytes().to_vec()
}

pub(in crate::convert) fn number_in(bytes: &[u8], field: &'static str) -> Result<Address, Malformed> {
    let bytes = <[u8; 16]>::try_from(bytes).map_err(|_| Malformed::Length {
        field,
        length: bytes.len(),
    })?;
    Ok(Address::from_bits(u128::from_be_bytes(bytes)))
}

pub(in crate::convert) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
