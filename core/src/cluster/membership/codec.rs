//! How the membership's packets look: fixed-width numbers in network byte order, one tag byte per kind.

use bytes::{Buf, BufMut};
use foca::{Codec, Header, Member, Message, State};

use super::identity::Identity;
use crate::id::HostId;

/// A packet that is none of ours, or was cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    /// It ends before its fields do.
    #[error("the packet is cut short")]
    Short,
    /// A tag that stands for nothing.
    #[error("tag {0} stands for no message or state")]
    Tag(u8),
    /// No room to write.
    #[error("no room left in the packet")]
    Full,
}

const IDENTITY: usize = 8 + 8 + 4;

#[derive(Clone, Copy, Debug)]
pub(super) struct Wire;

fn put_identity(identity: &Identity, mut buf: impl BufMut) {
    buf.put_u64(identity.host.0);
    buf.put_u64(identity.instance);
    buf.put_u32(identity.renewal);
}

fn take_identity(mut buf: impl Buf) -> Result<Identity, Malformed> {
    need(&buf, IDENTITY)?;
    Ok(Identity {
        host: HostId(buf.get_u64()),
        instance: buf.get_u64(),
        renewal: buf.get_u32(),
    })
}

fn need(buf: &(impl Buf + ?Sized), bytes: usize) -> Result<(), Malformed> {
    if buf.remaining() < bytes {
        Err(Malformed::Short)
    } else {
        Ok(())
    }
}

fn room(buf: &impl BufMut, bytes: usize) -> Result<(), Malformed> {
    if buf.remaining_mut() < bytes {
        Err(Malformed::Full)
    } else {
        Ok(())
    }
}

impl Codec<Identity> for Wire {
    type Error = Malformed;

    fn encode_header(&mut self, header: &Header<Identity>, mut buf: impl BufMut) -> Result<(), Malformed> {
        // The longest: two identities, incarnation, tag, probe number, a third identity.
        room(&buf, 3 * IDENTITY + 4)?;
        put_identity(&header.src, &mut buf);
        buf.put_u16(header.src_incarnation);
        put_identity(&header.dst, &mut buf);
        let with_host = |mut buf: &mut dyn BufMut, tag: u8, number: u8, third: &Identity| {
            buf.put_u8(tag);
            buf.put_u8(number);
            put_identity(third, &mut buf);
        };
        match &header.message {
            Message::Ping(number) => buf.put_slice(&[1, *number]),
            Message::Ack(number) => buf.put_slice(&[2, *number]),
            Message::PingReq { target, probe_number } => with_host(&mut buf, 3, *probe_number, target),
            Message::IndirectPing { origin, probe_number } => with_host(&mut buf, 4, *probe_number, origin),
            Message::IndirectAck { target, probe_number } => with_host(&mut buf, 5, *probe_number, target),
            Message::ForwardedAck { origin, probe_number } => with_host(&mut buf, 6, *probe_number, origin),
            Message::Announce => buf.put_u8(7),
            Message::Feed => buf.put_u8(8),
            Message::Gossip => buf.put_u8(9),
            Message::Broadcast => buf.put_u8(10),
            Message::TurnUndead => buf.put_u8(11),
        }
        Ok(())
    }

    fn decode_header(&mut self, mut buf: impl Buf) -> Result<Header<Identity>, Malformed> {
        let src = take_identity(&mut buf)?;
        need(&buf, 2)?;
        let src_incarnation = buf.get_u16();
        let dst = take_identity(&mut buf)?;
        need(&buf, 1)?;
        let tag = buf.get_u8();
        let number = |buf: &mut dyn Buf| -> Result<u8, Malformed> {
            need(&*buf, 1)?;
            Ok(buf.get_u8())
        };
        let message = match tag {
            1 => Message::Ping(number(&mut buf)?),
            2 => Message::Ack(number(&mut buf)?),
            3..=6 => {
                let probe_number = number(&mut buf)?;
                let third = take_identity(&mut buf)?;
                match tag {
                    3 => Message::PingReq {
                        target: third,
                        probe_number,
                    },
                    4 => Message::IndirectPing {
                        origin: third,
                        probe_number,
                    },
                    5 => Message::IndirectAck {
                        target: third,
                        probe_number,
                    },
                    _ => Message::ForwardedAck {
                        origin: third,
                        probe_number,
                    },
                }
            }
            7 => Message::Announce,
            8 => Message::Feed,
            9 => Message::Gossip,
            10 => Message::Broadcast,
            11 => Message::TurnUndead,
            other => return Err(Malformed::Tag(other)),
        };
        Ok(Header {
            src,
            src_incarnation,
            dst,
            message,
        })
    }

    fn encode_member(&mut self, member: &Member<Identity>, mut buf: impl BufMut) -> Result<(), Malformed> {
        room(&buf, IDENTITY + 3)?;
        put_identity(member.id(), &mut buf);
        buf.put_u16(member.incarnation());
        buf.put_u8(match member.state() {
            State::Alive => 0,
            State::Suspect => 1,
            State::Down => 2,
        });
        Ok(())
    }

    fn decode_member(&mut self, mut buf: impl Buf) -> Result<Member<Identity>, Malformed> {
        let identity = take_identity(&mut buf)?;
        need(&buf, 3)?;
        let incarnation = buf.get_u16();
        let state = match buf.get_u8() {
            0 => State::Alive,
            1 => State::Suspect,
            2 => State::Down,
            other => return Err(Malformed::Tag(other)),
        };
        Ok(Member::new(identity, incarnation, state))
    }
}
