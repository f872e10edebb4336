//! What hosts tell each other about records and members.

mod findings;
mod host;
mod listening;
mod path_word;
mod record;

use overlayd_core::cluster::gossip as core;
use overlayd_core::cluster::path_watch;
use overlayd_core::id::HostId;
use overlayd_core::node::{Hearing, Listening, Sign};

use super::{Malformed, required, unknown};
use crate::gossip as wire;
use wire::bulk_message::Kind as BulkKind;

/// What travels on the stream for everything but elections and leases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bulk {
    /// A packet of `cluster::membership`.
    Membership(Vec<u8>),
    /// A message of `gossip::Gossip`.
    Gossip(core::Message),
    /// About a host that is to be removed.
    Hearing(Hearing),
    /// About ports that are to be published.
    Listening(Listening),
    /// About a frame that watches a path.
    Path(path_watch::Message),
}

impl From<Bulk> for wire::BulkMessage {
    fn from(bulk: Bulk) -> Self {
        let kind = match bulk {
            Bulk::Membership(packet) => BulkKind::Membership(packet),
            Bulk::Gossip(core::Message::Records(records)) => BulkKind::Records(wire::Records {
                records: records.into_iter().map(Into::into).collect(),
            }),
            Bulk::Gossip(core::Message::Digest(ranges)) => BulkKind::Digest(wire::Digest {
                ranges: ranges.to_vec(),
            }),
            Bulk::Gossip(core::Message::Summary { span, entries }) => {
                let (keys, contents) = entries.into_iter().unzip();
                BulkKind::Summary(wire::Summary {
                    first: span.first,
                    last: span.last,
                    keys,
                    contents,
                })
            }
            Bulk::Gossip(core::Message::Want(keys)) => BulkKind::Want(wire::Want { keys }),
            Bulk::Listening(listening) => listening::kind(listening),
            Bulk::Hearing(Hearing::Asked(host)) => BulkKind::HearsAsked(wire::HearsAsked { host: host.0 }),
            Bulk::Hearing(Hearing::Told(host, sign)) => {
                let sign = match sign {
                    Sign::Agent => wire::hears_told::Sign::Agent,
                    Sign::Kernel => wire::hears_told::Sign::Kernel,
                    Sign::Nothing => wire::hears_told::Sign::Nothing,
                };
                BulkKind::HearsTold(wire::HearsTold {
                    host: host.0,
                    sign: sign.into(),
                })
            }
            Bulk::Path(message) => BulkKind::Path(message.into()),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<wire::BulkMessage> for Bulk {
    type Error = Malformed;

    fn try_from(message: wire::BulkMessage) -> Result<Self, Malformed> {
        let message = match required(message.kind, "bulk.kind")? {
            BulkKind::Membership(packet) => return Ok(Bulk::Membership(packet)),
            BulkKind::Records(records) => {
                let records = records
                    .records
                    .into_iter()
                    .map(TryInto::try_into)
                    .collect::<Result<_, _>>()?;
                core::Message::Records(records)
            }
            BulkKind::Digest(digest) => {
                let length = digest.ranges.len();
                let ranges = digest.ranges.try_into().map_err(|_| Malformed::Length {
                    field: "digest.ranges",
                    length,
                })?;
                core::Message::Digest(Box::new(ranges))
            }
            BulkKind::Summary(summary) => {
                if summary.keys.len() != summary.contents.len() || summary.first > summary.last {
                    return Err(Malformed::Contradiction("summary"));
                }
                let entries = summary.keys.into_iter().zip(summary.contents).collect();
                core::Message::Summary {
                    span: core::Span {
                        first: summary.first,
                        last: summary.last,
                    },
                    entries,
                }
            }
            BulkKind::ListeningAsked(asked) => return Ok(Bulk::Listening(listening::asked(asked)?)),
            BulkKind::ListeningTold(told) => return Ok(Bulk::Listening(listening::told(told)?)),
            BulkKind::Want(want) => core::Message::Want(want.keys),
            BulkKind::HearsAsked(asked) => return Ok(Bulk::Hearing(Hearing::Asked(HostId(asked.host)))),
            BulkKind::HearsTold(told) => {
                let sign = match told.sign() {
                    wire::hears_told::Sign::Agent => Sign::Agent,
                    wire::hears_told::Sign::Kernel => Sign::Kernel,
                    wire::hears_told::Sign::Nothing => Sign::Nothing,
                    wire::hears_told::Sign::Unspecified => return Err(unknown(told.sign, "hears_told.sign")),
                };
                return Ok(Bulk::Hearing(Hearing::Told(HostId(told.host), sign)));
            }
            BulkKind::Path(word) => return Ok(Bulk::Path(word.try_into()?)),
        };
        Ok(Bulk::Gossip(message))
    }
}
