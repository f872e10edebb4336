//! Messages about addresses.

mod ask;
mod record;

use std::time::Duration;

use overlayd_core::addresses as core;
use overlayd_core::id::SegmentId;

use super::{Malformed, host_numbers, hosts, required, unknown};
use crate::lease as wire;
use ask::{ask_in, ask_out, reply_in, reply_out};
pub(super) use record::{
    epoch_in, epoch_out, life_in, life_out, millis, range_in, range_out, record_in, record_out, reuse_in, reuse_out,
};
use record::{given_in, number_in, number_out, owned_in, ranges_in, ranges_out, reported_in, version_in, version_out};
use wire::lease_message::Kind;

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
                    reuse: reuse_out(run.reuse),
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
                        life: life_out(known.life),
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
                        .map(|known| {
                            Ok(core::Generation {
                                segment: SegmentId(known.segment),
                                generation: known.generation,
                                life: life_in(known.life)?,
                                longest: Duration::from_millis(known.longest),
                                agreed: Duration::from_millis(known.agreed),
                            })
                        })
                        .collect::<Result<_, Malformed>>()?,
                    sequence: acknowledge.sequence,
                    heard: acknowledge.heard,
                }
            }
        })
    }
}
