//! Election messages.

use std::cmp::Reverse;

use overlayd_core::election::message as core;
use overlayd_core::election::{ElectionCandidacy, ElectionUplink, Fitness, GroupId};
use overlayd_core::id::{HostId, SegmentId, Term};

use super::{Malformed, named, required, unknown};
use crate::election as wire;
use wire::part::Kind;

impl From<core::Message> for wire::ElectionMessage {
    fn from(message: core::Message) -> Self {
        let header = message.header;
        Self {
            sender: header.sender.0,
            instance: header.instance,
            sequence: header.sequence,
            sent: header.sent,
            echo: header.echo.map(|echo| wire::Echo {
                instance: echo.instance,
                sent: echo.sent,
            }),
            held: header
                .held
                .into_iter()
                .map(|held| wire::Held {
                    group: held.group.0.0,
                    term: held.term.0,
                    lasting: lasting_out(held.lasting).into(),
                })
                .collect(),
            parts: message.parts.into_iter().map(part_out).collect(),
        }
    }
}

impl TryFrom<wire::ElectionMessage> for core::Message {
    type Error = Malformed;

    fn try_from(message: wire::ElectionMessage) -> Result<Self, Malformed> {
        let held = message.held.into_iter().map(|held| {
            Ok(core::Held {
                group: group(held.group),
                term: Term(held.term),
                lasting: lasting_in(held.lasting)?,
            })
        });
        let header = core::Header {
            sender: HostId(message.sender),
            instance: message.instance,
            sequence: message.sequence,
            sent: message.sent,
            echo: message.echo.map(|echo| core::Echo {
                instance: echo.instance,
                sent: echo.sent,
            }),
            held: held.collect::<Result<_, Malformed>>()?,
        };
        let parts = message.parts.into_iter().map(part_in).collect::<Result<_, _>>()?;
        Ok(Self { header, parts })
    }
}

fn group(id: u64) -> GroupId {
    GroupId(SegmentId(id))
}

fn lasting_out(lasting: core::Lasting) -> wire::Lasting {
    match lasting {
        core::Lasting::Limited => wire::Lasting::Limited,
        core::Lasting::Endless => wire::Lasting::Endless,
    }
}

fn lasting_in(value: i32) -> Result<core::Lasting, Malformed> {
    match named(value, "lasting")? {
        wire::Lasting::Limited => Ok(core::Lasting::Limited),
        wire::Lasting::Endless => Ok(core::Lasting::Endless),
        wire::Lasting::Unspecified => Err(unknown(value, "lasting")),
    }
}

fn part_out(part: core::Part) -> wire::Part {
    let (group, kind) = match part {
        core::Part::Hello => (None, Kind::Hello(wire::Hello {})),
        core::Part::HelloAnswer { terms } => {
            let terms = terms
                .into_iter()
                .map(|(group, term)| wire::GroupTerm {
                    group: group.0.0,
                    term: term.0,
                })
                .collect();
            (None, Kind::HelloAnswer(wire::HelloAnswer { terms }))
        }
        core::Part::Ping => (None, Kind::Ping(wire::Ping {})),
        core::Part::Pong { turn } => {
            let turn = match turn {
                core::Turn::First => wire::pong::Turn::First,
                core::Turn::Last => wire::pong::Turn::Last,
            };
            (None, Kind::Pong(wire::Pong { turn: turn.into() }))
        }
        core::Part::Group { group, says } => (Some(group.0.0), says_out(says)),
    };
    wire::Part {
        group,
        kind: Some(kind),
    }
}

fn says_out(says: core::Says) -> Kind {
    match says {
        core::Says::Renew { term, round, lasting } => Kind::Renew(wire::Renew {
            term: term.0,
            round,
            lasting: lasting_out(lasting).into(),
        }),
        core::Says::RenewGranted { term, round } => Kind::RenewGranted(wire::RenewGranted { term: term.0, round }),
        core::Says::Heard => Kind::Heard(wire::Heard {}),
        core::Says::Ask { term, sent, key } => Kind::Ask(wire::Ask {
            term: term.0,
            sent,
            key: Some(key_out(key)),
        }),
        core::Says::ClaimGranted { term, sent } => Kind::ClaimGranted(wire::ClaimGranted { term: term.0, sent }),
        core::Says::Refused { term, why, named, key } => {
            let why = match why {
                core::VoteRefusal::Holder => wire::refused::Why::Holder,
                core::VoteRefusal::BetterClaimant => wire::refused::Why::BetterClaimant,
                core::VoteRefusal::Bound => wire::refused::Why::Bound,
                core::VoteRefusal::Quiet => wire::refused::Why::Quiet,
            };
            let named = named.map(|named| {
                let standing = match named.standing {
                    core::Established::Claim => wire::named::Standing::Claim,
                    core::Established::Holder => wire::named::Standing::Holder,
                };
                wire::Named {
                    host: named.host.0,
                    term: named.term.0,
                    standing: standing.into(),
                }
            });
            Kind::Refused(wire::Refused {
                term: term.0,
                why: why.into(),
                named,
                key: key.map(key_out),
            })
        }
        core::Says::Yield { term, successor } => Kind::Yield(wire::Yield {
            term: term.0,
            successor: successor.map(|host| host.0),
        }),
        core::Says::Prepare { term } => Kind::Prepare(wire::Prepare { term: term.0 }),
        core::Says::Prepared { term } => Kind::Prepared(wire::Prepared { term: term.0 }),
        core::Says::Move { to } => Kind::Move(wire::Move {
            to: to.map(|host| host.0),
        }),
    }
}

fn part_in(part: wire::Part) -> Result<core::Part, Malformed> {
    let about = |says| {
        Ok(core::Part::Group {
            group: group(required(part.group, "part.group")?),
            says,
        })
    };
    match required(part.kind, "part.kind")? {
        Kind::Hello(_) => Ok(core::Part::Hello),
        Kind::HelloAnswer(answer) => Ok(core::Part::HelloAnswer {
            terms: answer
                .terms
                .into_iter()
                .map(|entry| (group(entry.group), Term(entry.term)))
                .collect(),
        }),
        Kind::Ping(_) => Ok(core::Part::Ping),
        Kind::Pong(pong) => match pong.turn() {
            wire::pong::Turn::First => Ok(core::Part::Pong {
                turn: core::Turn::First,
            }),
            wire::pong::Turn::Last => Ok(core::Part::Pong { turn: core::Turn::Last }),
            wire::pong::Turn::Unspecified => Err(unknown(pong.turn, "pong.turn")),
        },
        Kind::Renew(renew) => about(core::Says::Renew {
            term: Term(renew.term),
            round: renew.round,
            lasting: lasting_in(renew.lasting)?,
        }),
        Kind::RenewGranted(granted) => about(core::Says::RenewGranted {
            term: Term(granted.term),
            round: granted.round,
        }),
        Kind::Heard(_) => about(core::Says::Heard),
        Kind::Ask(ask) => {
            let key = key_in(required(ask.key, "ask.key")?)?;
            about(core::Says::Ask {
                term: Term(ask.term),
                sent: ask.sent,
                key,
            })
        }
        Kind::ClaimGranted(granted) => about(core::Says::ClaimGranted {
            term: Term(granted.term),
            sent: granted.sent,
        }),
        Kind::Refused(refused) => about(refused_in(refused)?),
        Kind::Yield(yielded) => about(core::Says::Yield {
            term: Term(yielded.term),
            successor: yielded.successor.map(HostId),
        }),
        Kind::Prepare(prepare) => about(core::Says::Prepare {
            term: Term(prepare.term),
        }),
        Kind::Prepared(prepared) => about(core::Says::Prepared {
            term: Term(prepared.term),
        }),
        Kind::Move(moved) => about(core::Says::Move {
            to: moved.to.map(HostId),
        }),
    }
}

fn refused_in(refused: wire::Refused) -> Result<core::Says, Malformed> {
    let why = match refused.why() {
        wire::refused::Why::Holder => core::VoteRefusal::Holder,
        wire::refused::Why::BetterClaimant => core::VoteRefusal::BetterClaimant,
        wire::refused::Why::Bound => core::VoteRefusal::Bound,
        wire::refused::Why::Quiet => core::VoteRefusal::Quiet,
        wire::refused::Why::Unspecified => return Err(unknown(refused.why, "refused.why")),
    };
    let named = refused.named.map(|named| {
        let standing = match named.standing() {
            wire::named::Standing::Claim => core::Established::Claim,
            wire::named::Standing::Holder => core::Established::Holder,
            wire::named::Standing::Unspecified => return Err(unknown(named.standing, "named.standing")),
        };
        Ok(core::Named {
            host: HostId(named.host),
            term: Term(named.term),
            standing,
        })
    });
    Ok(core::Says::Refused {
        term: Term(refused.term),
        why,
        named: named.transpose()?,
        key: refused.key.map(key_in).transpose()?,
    })
}

fn key_out(key: core::Key) -> wire::Key {
    let uplink = match key.uplink {
        ElectionUplink::Works => wire::key::Uplink::Works,
        ElectionUplink::Down => wire::key::Uplink::Down,
    };
    let candidacy = match key.rank.candidacy {
        ElectionCandidacy::Candidate => wire::key::Candidacy::Candidate,
        ElectionCandidacy::Drained => wire::key::Candidacy::Drained,
        ElectionCandidacy::Departing => wire::key::Candidacy::Departing,
        ElectionCandidacy::Never => wire::key::Candidacy::Never,
    };
    let fitness = match key.fitness {
        Fitness::Whole => wire::key::Fitness::Whole,
        Fitness::Lacking => wire::key::Fitness::Lacking,
    };
    wire::Key {
        uplink: uplink.into(),
        candidacy: candidacy.into(),
        priority: key.rank.priority.0,
        weight: key.rank.weight.0,
        host: key.rank.host.0,
        fitness: fitness.into(),
    }
}

fn key_in(key: wire::Key) -> Result<core::Key, Malformed> {
    let uplink = match key.uplink() {
        wire::key::Uplink::Works => ElectionUplink::Works,
        wire::key::Uplink::Down => ElectionUplink::Down,
        wire::key::Uplink::Unspecified => return Err(unknown(key.uplink, "key.uplink")),
    };
    let candidacy = match key.candidacy() {
        wire::key::Candidacy::Candidate => ElectionCandidacy::Candidate,
        wire::key::Candidacy::Drained => ElectionCandidacy::Drained,
        wire::key::Candidacy::Departing => ElectionCandidacy::Departing,
        wire::key::Candidacy::Never => ElectionCandidacy::Never,
        wire::key::Candidacy::Unspecified => return Err(unknown(key.candidacy, "key.candidacy")),
    };
    let fitness = match key.fitness() {
        wire::key::Fitness::Whole => Fitness::Whole,
        wire::key::Fitness::Lacking => Fitness::Lacking,
        wire::key::Fitness::Unspecified => return Err(unknown(key.fitness, "key.fitness")),
    };
    let rank = core::Rank {
        candidacy,
        priority: Reverse(key.priority),
        weight: Reverse(key.weight),
        host: HostId(key.host),
    };
    Ok(core::Key { fitness, uplink, rank })
}
