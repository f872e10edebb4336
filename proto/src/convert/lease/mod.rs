//! Messages about addresses.

use std::time::Duration;

use overlayd_core::addresses as core;
use overlayd_core::addresses::pool::{Address, Range};
use overlayd_core::id::{HostId, SegmentId};

use super::{Malformed, host_numbers, hosts, mac, named, required, unknown};
use crate::lease as wire;
use wire::ask::Ask as AskKind;
use wire::lease_message::Kind;
use wire::reply::Reply as ReplyKind;

impl From<core::Message> for wire::LeaseMessage {
    fn from(message: core::Message) -> Self {
        Self {
            kind: Some(message_out(message)),
        }
    }
}

fn message_out(message: core::Message) -> Kind {
    match message {
        core::Message::Ask {
            id,
            segment,
            address,
            ask,
        } => {
            let ask = Some(ask_out(ask));
            Kind::Ask(wire::Ask {
                id,
                segment: segment.0,
                address: number_out(address),
                ask,
            })
        }
        core::Message::Reply { id, reply } => Kind::Reply(wire::Reply {
            id,
            reply: Some(reply_out(reply)),
        }),
        core::Message::Put {
            segment,
            address,
            epoch,
            record,
            confirmed,
        } => Kind::Put(wire::Put {
            segment: segment.0,
            address: number_out(address),
            epoch: Some(epoch_out(epoch)),
            record: Some(record_out(record)),
            confirmed,
        }),
        core::Message::Stored {
            segment,
            address,
            version,
        } => Kind::Stored(wire::Stored {
            segment: segment.0,
            address: number_out(address),
            version: Some(version_out(version)),
        }),
        core::Message::PutRefused {
            segment,
            address,
            version,
            why,
            promised,
            left,
        } => {
            let why = match why {
                core::PutRefusal::NoPart => wire::put_refused::Why::NoPart,
                core::PutRefusal::Promised => wire::put_refused::Why::Promised,
                core::PutRefusal::Older => wire::put_refused::Why::Older,
                core::PutRefusal::Owner => wire::put_refused::Why::Owner,
                core::PutRefusal::Keeps => wire::put_refused::Why::Keeps,
            };
            Kind::PutRefused(wire::PutRefused {
                segment: segment.0,
                address: number_out(address),
                version: Some(version_out(version)),
                why: why.into(),
                promised: Some(epoch_out(promised)),
                left: millis(left),
            })
        }
        core::Message::Borrow { segment, count } => Kind::Borrow(wire::Borrow {
            segment: segment.0,
            count,
        }),
        core::Message::Give { segment, epoch, runs } => Kind::Give(wire::Give {
            segment: segment.0,
            epoch: Some(epoch_out(epoch)),
            runs: runs
                .into_iter()
                .map(|run| wire::GivenRun {
                    range: Some(range_out(run.range)),
                    record: Some(record_out(run.record)),
                    may: host_numbers(&run.may),
                    rest: rest_out(run.rest),
                })
                .collect(),
        }),
        core::Message::Taken { segment, epoch, ranges } => Kind::Taken(wire::Taken {
            segment: segment.0,
            epoch: Some(epoch_out(epoch)),
            ranges: ranges_out(ranges),
        }),
        core::Message::Prepare {
            segment,
            epoch,
            ranges,
            removed,
        } => Kind::Prepare(wire::Prepare {
            segment: segment.0,
            epoch: Some(epoch_out(epoch)),
            ranges: ranges_out(ranges),
            removed: host_numbers(&removed),
        }),
        core::Message::Report {
            segment,
            epoch,
            ranges,
            runs,
            members,
        } => Kind::Report(wire::Report {
            segment: segment.0,
            epoch: Some(epoch_out(epoch)),
            ranges: ranges_out(ranges),
            runs: runs
                .into_iter()
                .map(|run| wire::ReportedRun {
                    range: Some(range_out(run.range)),
                    epoch: Some(epoch_out(run.epoch)),
                    owner: run.owner.map(|host| host.0),
                    record: Some(record_out(run.record)),
                })
                .collect(),
            members: host_numbers(&members),
        }),
        core::Message::PrepareRefused {
            segment,
            epoch,
            highest,
        } => Kind::PrepareRefused(wire::PrepareRefused {
            segment: segment.0,
            epoch: Some(epoch_out(epoch)),
            highest,
        }),
        core::Message::Birth {
            segment,
            epoch,
            ownership,
            ranges,
        } => Kind::Birth(wire::Birth {
            segment: segment.0,
            epoch: Some(epoch_out(epoch)),
            ranges: ranges_out(ranges),
            settled: match ownership {
                core::Ownership::ToBe => false,
                core::Ownership::Settled => true,
            },
        }),
        core::Message::BirthKnown {
            segment,
            epoch,
            ranges,
            others,
        } => Kind::BirthKnown(wire::BirthKnown {
            segment: segment.0,
            epoch: Some(epoch_out(epoch)),
            ranges: ranges_out(ranges),
            others: others
                .into_iter()
                .map(|run| wire::OwnedRun {
                    range: Some(range_out(run.range)),
                    epoch: Some(epoch_out(run.epoch)),
                    owner: run.owner.0,
                })
                .collect(),
        }),
        core::Message::Acknowledge {
            members,
            removed,
            part,
            generations,
            sequence,
            heard,
        } => {
            let part = match part {
                core::Part::Joining => wire::Part::Joining,
                core::Part::Taking => wire::Part::Taking,
                core::Part::Leaving => wire::Part::Leaving,
                core::Part::Lost => wire::Part::Lost,
            };
            Kind::Acknowledge(wire::Acknowledge {
                members: host_numbers(&members),
                removed: host_numbers(&removed),
                part: part.into(),
                generations: generations
                    .into_iter()
                    .map(|known| wire::Generation {
                        segment: known.segment.0,
                        generation: known.generation,
                        longest: millis(known.longest),
                        agreed: millis(known.agreed),
                    })
                    .collect(),
                sequence,
                heard,
            })
        }
    }
}

impl TryFrom<wire::LeaseMessage> for core::Message {
    type Error = Malformed;

    fn try_from(message: wire::LeaseMessage) -> Result<Self, Malformed> {
        Ok(match required(message.kind, "lease.kind")? {
            Kind::Ask(ask) => core::Message::Ask {
                id: ask.id,
                segment: SegmentId(ask.segment),
                address: number_in(&ask.address, "ask.address")?,
                ask: ask_in(required(ask.ask, "ask.ask")?)?,
            },
            Kind::Reply(reply) => core::Message::Reply {
                id: reply.id,
                reply: reply_in(required(reply.reply, "reply.reply")?)?,
            },
            Kind::Put(put) => core::Message::Put {
                segment: SegmentId(put.segment),
                address: number_in(&put.address, "put.address")?,
                epoch: epoch_in(put.epoch)?,
                record: record_in(put.record)?,
                confirmed: put.confirmed,
            },
            Kind::Stored(stored) => core::Message::Stored {
                segment: SegmentId(stored.segment),
                address: number_in(&stored.address, "stored.address")?,
                version: version_in(stored.version)?,
            },
            Kind::PutRefused(refused) => {
                let why = match refused.why() {
                    wire::put_refused::Why::NoPart => core::PutRefusal::NoPart,
                    wire::put_refused::Why::Promised => core::PutRefusal::Promised,
                    wire::put_refused::Why::Older => core::PutRefusal::Older,
                    wire::put_refused::Why::Owner => core::PutRefusal::Owner,
                    wire::put_refused::Why::Keeps => core::PutRefusal::Keeps,
                    wire::put_refused::Why::Unspecified => return Err(unknown(refused.why, "put_refused.why")),
                };
                core::Message::PutRefused {
                    segment: SegmentId(refused.segment),
                    address: number_in(&refused.address, "put_refused.address")?,
                    version: version_in(refused.version)?,
                    why,
                    promised: epoch_in(refused.promised)?,
                    left: Duration::from_millis(refused.left),
                }
            }
            Kind::Borrow(borrow) => core::Message::Borrow {
                segment: SegmentId(borrow.segment),
                count: borrow.count,
            },
            Kind::Give(give) => core::Message::Give {
                segment: SegmentId(give.segment),
                epoch: epoch_in(give.epoch)?,
                runs: give.runs.into_iter().map(given_in).collect::<Result<_, _>>()?,
            },
            Kind::Taken(taken) => core::Message::Taken {
                segment: SegmentId(taken.segment),
                epoch: epoch_in(taken.epoch)?,
                ranges: ranges_in(taken.ranges)?,
            },
            Kind::Prepare(prepare) => core::Message::Prepare {
                segment: SegmentId(prepare.segment),
                epoch: epoch_in(prepare.epoch)?,
                ranges: ranges_in(prepare.ranges)?,
                removed: hosts(prepare.removed),
            },
            Kind::Report(report) => core::Message::Report {
                segment: SegmentId(report.segment),
                epoch: epoch_in(report.epoch)?,
                ranges: ranges_in(report.ranges)?,
                runs: report.runs.into_iter().map(reported_in).collect::<Result<_, _>>()?,
                members: hosts(report.members),
            },
            Kind::PrepareRefused(refused) => core::Message::PrepareRefused {
                segment: SegmentId(refused.segment),
                epoch: epoch_in(refused.epoch)?,
                highest: refused.highest,
            },
            Kind::Birth(birth) => core::Message::Birth {
                segment: SegmentId(birth.segment),
                epoch: epoch_in(birth.epoch)?,
                ownership: if birth.settled {
                    core::Ownership::Settled
                } else {
                    core::Ownership::ToBe
                },
                ranges: ranges_in(birth.ranges)?,
            },
            Kind::BirthKnown(known) => core::Message::BirthKnown {
                segment: SegmentId(known.segment),
                epoch: epoch_in(known.epoch)?,
                ranges: ranges_in(known.ranges)?,
                others: known.others.into_iter().map(owned_in).collect::<Result<_, _>>()?,
            },
            Kind::Acknowledge(acknowledge) => {
                let part = match acknowledge.part() {
                    wire::Part::Joining => core::Part::Joining,
                    wire::Part::Taking => core::Part::Taking,
                    wire::Part::Leaving => core::Part::Leaving,
                    wire::Part::Lost => core::Part::Lost,
                    wire::Part::Unspecified => return Err(unknown(acknowledge.part, "acknowledge.part")),
                };
                core::Message::Acknowledge {
                    members: hosts(acknowledge.members),
                    removed: hosts(acknowledge.removed),
                    part,
                    generations: acknowledge
                        .generations
                        .into_iter()
                        .map(|known| core::Generation {
                            segment: SegmentId(known.segment),
                            generation: known.generation,
                            longest: Duration::from_millis(known.longest),
                            agreed: Duration::from_millis(known.agreed),
                        })
                        .collect(),
                    sequence: acknowledge.sequence,
                    heard: acknowledge.heard,
                }
            }
        })
    }
}

fn ask_out(ask: core::Ask) -> AskKind {
    match ask {
        core::Ask::Bind(claim) => {
            let basis = match claim.basis {
                core::Basis::Wanting => wire::claim::Basis::Wanting,
                core::Basis::Having => wire::claim::Basis::Having,
            };
            AskKind::Bind(wire::Claim {
                client: claim.client.0.to_vec(),
                basis: basis.into(),
                guest_host: claim.guest_host.map(|host| host.0),
                lease_time: millis(claim.lease_time),
                client_id: claim.client_id,
                hostname: claim.hostname,
            })
        }
        core::Ask::Nonce { client } => AskKind::Nonce(wire::AskNonce {
            client: client.0.to_vec(),
        }),
        core::Ask::Release { client, version, nonce } => AskKind::Release(wire::Release {
            client: client.0.to_vec(),
            version: Some(version_out(version)),
            nonce,
        }),
        core::Ask::Decline { client, version, nonce } => AskKind::Decline(wire::Decline {
            client: client.0.to_vec(),
            version: Some(version_out(version)),
            nonce,
        }),
        core::Ask::SetAside => AskKind::SetAside(wire::SetAside {}),
    }
}

fn ask_in(ask: AskKind) -> Result<core::Ask, Malformed> {
    Ok(match ask {
        AskKind::Bind(claim) => {
            let basis = match claim.basis() {
                wire::claim::Basis::Wanting => core::Basis::Wanting,
                wire::claim::Basis::Having => core::Basis::Having,
                wire::claim::Basis::Unspecified => return Err(unknown(claim.basis, "claim.basis")),
            };
            core::Ask::Bind(core::Claim {
                client: mac(&claim.client, "claim.client")?,
                basis,
                guest_host: claim.guest_host.map(HostId),
                lease_time: Duration::from_millis(claim.lease_time),
                client_id: claim.client_id,
                hostname: claim.hostname,
            })
        }
        AskKind::Nonce(nonce) => core::Ask::Nonce {
            client: mac(&nonce.client, "nonce.client")?,
        },
        AskKind::Release(release) => core::Ask::Release {
            client: mac(&release.client, "release.client")?,
            version: version_in(release.version)?,
            nonce: release.nonce,
        },
        AskKind::Decline(decline) => core::Ask::Decline {
            client: mac(&decline.client, "decline.client")?,
            version: version_in(decline.version)?,
            nonce: decline.nonce,
        },
        AskKind::SetAside(_) => core::Ask::SetAside,
    })
}

fn reply_out(reply: core::Reply) -> ReplyKind {
    match reply {
        core::Reply::Granted { lease_time, copies } => ReplyKind::Granted(wire::Granted {
            lease_time: millis(lease_time),
            copies,
        }),
        core::Reply::Taken => ReplyKind::Taken(wire::ReplyTaken {}),
        core::Reply::CannotSay { owner } => ReplyKind::CannotSay(wire::CannotSay {
            owner: owner.map(|host| host.0),
        }),
        core::Reply::Nonce { version, nonce } => ReplyKind::Nonce(wire::ReplyNonce {
            version: Some(version_out(version)),
            nonce,
        }),
        core::Reply::Done => ReplyKind::Done(wire::Done {}),
    }
}

fn reply_in(reply: ReplyKind) -> Result<core::Reply, Malformed> {
    Ok(match reply {
        ReplyKind::Granted(granted) => core::Reply::Granted {
            lease_time: Duration::from_millis(granted.lease_time),
            copies: granted.copies,
        },
        ReplyKind::Taken(_) => core::Reply::Taken,
        ReplyKind::CannotSay(cannot) => core::Reply::CannotSay {
            owner: cannot.owner.map(HostId),
        },
        ReplyKind::Nonce(nonce) => core::Reply::Nonce {
            version: version_in(nonce.version)?,
            nonce: nonce.nonce,
        },
        ReplyKind::Done(_) => core::Reply::Done,
    })
}

fn given_in(run: wire::GivenRun) -> Result<core::GivenRun, Malformed> {
    Ok(core::GivenRun {
        range: range_in(run.range)?,
        record: record_in(run.record)?,
        may: hosts(run.may),
        rest: rest_in(run.rest)?,
    })
}

fn reported_in(run: wire::ReportedRun) -> Result<core::ReportedRun, Malformed> {
    Ok(core::ReportedRun {
        range: range_in(run.range)?,
        epoch: epoch_in(run.epoch)?,
        owner: run.owner.map(HostId),
        record: record_in(run.record)?,
    })
}

fn owned_in(run: wire::OwnedRun) -> Result<core::OwnedRun, Malformed> {
    Ok(core::OwnedRun {
        range: range_in(run.range)?,
        epoch: epoch_in(run.epoch)?,
        owner: HostId(run.owner),
    })
}

pub(super) fn record_out(record: core::Record) -> wire::Record {
    let (holder, mac) = match record.holder {
        core::Holder::Free { last } => (wire::record::Holder::Free, last),
        core::Holder::Client(mac) => (wire::record::Holder::Client, Some(mac)),
        core::Holder::Reserved(mac) => (wire::record::Holder::Reserved, Some(mac)),
        core::Holder::Aside => (wire::record::Holder::Aside, None),
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

pub(super) fn record_in(record: Option<wire::Record>) -> Result<core::Record, Malformed> {
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
        wire::record::Holder::Aside => core::Holder::Aside,
        wire::record::Holder::Unspecified => return Err(unknown(record.holder, "record.holder")),
    };
    Ok(core::Record {
        version: version_in(record.version)?,
        holder,
        lease_time: Duration::from_millis(record.lease_time),
        keeper: record.keeper.map(HostId),
        client_id: record.client_id,
        hostname: record.hostname,
        strikes: record.strikes,
    })
}

pub(super) fn epoch_out(epoch: core::Epoch) -> wire::Epoch {
    wire::Epoch {
        number: epoch.number,
        host: epoch.host.0,
    }
}

pub(super) fn epoch_in(epoch: Option<wire::Epoch>) -> Result<core::Epoch, Malformed> {
    required(epoch, "epoch").map(|epoch| core::Epoch {
        number: epoch.number,
        host: HostId(epoch.host),
    })
}

fn version_out(version: core::Version) -> wire::Version {
    wire::Version {
        epoch: Some(epoch_out(version.epoch)),
        counter: version.counter,
    }
}

fn version_in(version: Option<wire::Version>) -> Result<core::Version, Malformed> {
    let version = required(version, "version")?;
    Ok(core::Version {
        epoch: epoch_in(version.epoch)?,
        counter: version.counter,
    })
}

pub(super) fn rest_out(rest: core::Rest) -> i32 {
    match rest {
        core::Rest::Awake => wire::Rest::Awake.into(),
        core::Rest::Resting => wire::Rest::Resting.into(),
    }
}

pub(super) fn rest_in(value: i32) -> Result<core::Rest, Malformed> {
    match named(value, "rest")? {
        wire::Rest::Awake => Ok(core::Rest::Awake),
        wire::Rest::Resting => Ok(core::Rest::Resting),
        wire::Rest::Unspecified => Err(unknown(value, "rest")),
    }
}

pub(super) fn range_out(range: Range) -> wire::Range {
    wire::Range {
        first: number_out(range.first()),
        last: number_out(range.last()),
    }
}

pub(super) fn range_in(range: Option<wire::Range>) -> Result<Range, Malformed> {
    let range = required(range, "range")?;
    let (first, last) = (
        number_in(&range.first, "range.first")?,
        number_in(&range.last, "range.last")?,
    );
    Range::new(first, last).ok_or(Malformed::Contradiction("range"))
}

fn ranges_out(ranges: Vec<Range>) -> Vec<wire::Range> {
    ranges.into_iter().map(range_out).collect()
}

fn ranges_in(ranges: Vec<wire::Range>) -> Result<Vec<Range>, Malformed> {
    ranges.into_iter().map(|range| range_in(Some(range))).collect()
}

fn number_out(address: Address) -> Vec<u8> {
    address.bits().to_be_bytes().to_vec()
}

fn number_in(bytes: &[u8], field: &'static str) -> Result<Address, Malformed> {
    let bytes = <[u8; 16]>::try_from(bytes).map_err(|_| Malformed::Length {
        field,
        length: bytes.len(),
    })?;
    Ok(Address::from_bits(u128::from_be_bytes(bytes)))
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
