//! One rtnetlink socket and what may go wrong on it.
//!
//! The kernel works on an rtnetlink request inside `sendmsg`: when the call returns, everything in the datagram has
//! been done or refused and all answers lie in the receive queue. So a request here is a plain call: send, then read
//! what is already there. An asynchronous handle would block in the same place (on the kernel's rtnl lock), and an
//! answer lost to a full receive queue would leave it waiting for ever; here the loss shows as `ENOBUFS` at once.
//!
//! After a loss the socket is thrown away and the caller looks at the kernel again: nothing is remembered about it.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR,
    NetlinkDeserializable, NetlinkHeader, NetlinkSerializable,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::TimeVal;

use super::error::{Error, Refusal};

/// Requests per datagram. More are slower, not faster (measured from 512 on), and their refusals might not fit the
/// receive queue of a socket without forced buffers.
pub(super) const BATCH: usize = 64;

/// Most bytes of requests in one datagram: the default send buffer takes 212 992.
const BATCH_BYTES: usize = 64 * 1024;

/// Receive and send queue, forced above `net.core.rmem_max`: all refusals of a full batch with room to spare.
const QUEUE: usize = 4 << 20;

/// The kernel never makes a dump part larger than 32 KiB (`netlink_recvmsg`), nor an echo larger than its request.
const READ: usize = 256 * 1024;

/// How long an answer may take that should lie ready: only a bug in the kernel or here gets so far.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often a dump is begun anew when what it lists changes under it.
const DUMP_TRIES: u32 = 10;

const HEADER: usize = 16;
const FIRST_MESSAGE: u16 = 16;

/// A socket with requests being gathered for its next datagram.
pub(super) struct Connection {
    socket: Socket,
    /// Sequence number of the last request that was pushed.
    sequence: u32,
    /// Sequence number of the first request in `outgoing`.
    first: u32,
    outgoing: Vec<u8>,
    last_at: usize,
    incoming: Vec<u8>,
}

/// One answer, as it stands in the receive buffer.
struct Answer<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    payload: &'a [u8],
}

impl Connection {
    /// A socket in the network namespace of the calling thread.
    pub(super) fn open() -> Result<Self, Error> {
        Ok(Self {
            socket: open_socket().map_err(Error::Open)?,
            sequence: 0,
            first: 1,
            outgoing: Vec::with_capacity(BATCH_BYTES),
            last_at: 0,
            incoming: Vec::with_capacity(READ),
        })
    }

    /// How many requests wait for [`Self::flush`].
    pub(super) fn pending(&self) -> usize {
        (self.sequence + 1).wrapping_sub(self.first) as usize
    }

    /// Whether the next request should go into a new datagram.
    pub(super) fn is_full(&self) -> bool {
        self.pending() >= BATCH || self.outgoing.len() >= BATCH_BYTES
    }

    /// Adds a request to the next datagram.
    pub(super) fn push(&mut self, message: &RouteNetlinkMessage, flags: u16) {
        self.sequence = self.sequence.wrapping_add(1);
        let start = self.outgoing.len();
        let length = HEADER + message.buffer_len();
        self.outgoing.resize(start + length.next_multiple_of(4), 0);
        let out = &mut self.outgoing[start..];
        // The lengths here are far below 4 GiB: a request is a few hundred bytes.
        out[0..4].copy_from_slice(&(length as u32).to_ne_bytes());
        out[4..6].copy_from_slice(&message.message_type().to_ne_bytes());
        out[6..8].copy_from_slice(&(NLM_F_REQUEST | flags).to_ne_bytes());
        out[8..12].copy_from_slice(&self.sequence.to_ne_bytes());
        message.serialize(&mut out[HEADER..length]);
        self.last_at = start;
    }

    /// Sends what was pushed and returns the refused requests by their place in the datagram.
    ///
    /// Only the last request asks for an acknowledgement; a refusal is always told. A refused request does not stop
    /// those after it.
    pub(super) fn flush(&mut self) -> Result<Vec<(usize, Refusal)>, Error> {
        if self.outgoing.is_empty() {
            return Ok(Vec::new());
        }
        let flags = self.last_at + 6;
        self.outgoing[flags] |= NLM_F_ACK as u8;
        let (first, last) = (self.first, self.sequence);
        let mut refused = Vec::new();
        self.send_and_read(|answer| {
            let place = answer.sequence.wrapping_sub(first) as usize;
            if answer.kind == NLMSG_ERROR
                && let Some(refusal) = refusal(&answer)
            {
                refused.push((place, refusal));
            }
            answer.sequence == last && answer.kind == NLMSG_ERROR
        })?;
        Ok(refused)
    }

    /// Sends one request by itself.
    pub(super) fn request(&mut self, message: &RouteNetlinkMessage, flags: u16) -> Result<(), Error> {
        debug_assert!(self.outgoing.is_empty(), "requests of a batch were not flushed");
        self.push(message, flags);
        match self.flush()?.pop() {
            Some((_, refusal)) => Err(Error::Refused(refusal)),
            None => Ok(()),
        }
    }

    /// Sends one question and returns its answer, if the kernel gives one.
    pub(super) fn ask(&mut self, message: &RouteNetlinkMessage) -> Result<Option<RouteNetlinkMessage>, Error> {
        self.push(message, NLM_F_ACK);
        let mut found = None;
        let mut refused = None;
        self.send_and_read(|answer| {
            if answer.kind >= FIRST_MESSAGE {
                found = decode(&answer);
                return false;
            }
            refused = refusal(&answer);
            answer.kind == NLMSG_ERROR
        })?;
        match refused {
            Some(refusal) => Err(Error::Refused(refusal)),
            None => Ok(found),
        }
    }

    /// Lists everything that fits `message`, begun anew when the list changed while it was read.
    pub(super) fn dump(&mut self, message: &RouteNetlinkMessage) -> Result<Vec<RouteNetlinkMessage>, Error> {
        for _ in 0..DUMP_TRIES {
            let mut found = Vec::new();
            let mut interrupted = false;
            let mut refused = None;
            self.push(message, NLM_F_DUMP);
            self.send_and_read(|answer| {
                interrupted |= answer.flags & NLM_F_DUMP_INTR != 0;
                match answer.kind {
                    NLMSG_DONE | NLMSG_ERROR => {
                        refused = refusal(&answer);
                        true
                    }
                    _ => {
                        found.extend(decode(&answer));
                        false
                    }
                }
            })?;
            match refused {
                Some(refusal) => return Err(Error::Refused(refusal)),
                None if !interrupted => return Ok(found),
                None => {}
            }
        }
        Err(Error::DumpInterrupted { tries: DUMP_TRIES })
    }

    /// Sends the datagram and hands each of its answers to `each` until that returns true.
    fn send_and_read(&mut self, mut each: impl FnMut(Answer<'_>) -> bool) -> Result<(), Error> {
        let first = self.first;
        let span = self.pending();
        let sent = self.socket.send(&self.outgoing, 0);
        self.outgoing.clear();
        self.first = self.sequence.wrapping_add(1);
        let outcome = sent.and_then(|_| self.read(first, span, &mut each));
        outcome.map_err(|source| {
            // Answers may be missing, others may still come: only a new socket is known to be empty.
            match open_socket() {
                Ok(socket) => {
                    self.socket = socket;
                    Error::Lost(source)
                }
                Err(again) => Error::Open(again),
            }
        })
    }

    fn read(&mut self, first: u32, span: usize, each: &mut impl FnMut(Answer<'_>) -> bool) -> io::Result<()> {
        loop {
            self.incoming.clear();
            let length = match self.socket.recv(&mut self.incoming, libc::MSG_TRUNC) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if length > self.incoming.len() {
                return Err(io::Error::other(format!(
                    "a reply of {length} bytes exceeds the buffer of {READ}"
                )));
            }
            let mut rest = &self.incoming[..];
            while let Some((answer, after)) = split_answer(rest) {
                rest = after;
                if (answer.sequence.wrapping_sub(first) as usize) < span && each(answer) {
                    return Ok(());
                }
            }
        }
    }
}

fn open_socket() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.set_ext_ack(true)?;
    // A refusal need not echo the request: it is known by its sequence number.
    socket.set_cap_ack(true)?;
    socket.set_netlink_get_strict_chk(true)?;
    force_queues(&socket, QUEUE);
    let patience = TimeVal::new(PATIENCE.as_secs() as libc::time_t, 0);
    setsockopt(&socket.as_fd(), sockopt::ReceiveTimeout, &patience)?;
    Ok(socket)
}

/// Makes the socket's queues large; without CAP_NET_ADMIN they stay as they are, which a full batch still fits.
pub(super) fn force_queues(socket: &Socket, bytes: usize) {
    let fd = socket.as_fd();
    for forced in [
        setsockopt(&fd, sockopt::RcvBufForce, &bytes),
        setsockopt(&fd, sockopt::SndBufForce, &bytes),
    ] {
        if let Err(error) = forced {
            tracing::debug!(%error, bytes, "netlink queue left at its default size");
        }
    }
}

fn split_answer(bytes: &[u8]) -> Option<(Answer<'_>, &[u8])> {
    let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
    let message = bytes.get(..length).filter(|message| message.len() >= HEADER)?;
    let answer = Answer {
        kind: u16_at(message, 4)?,
        flags: u16_at(message, 6)?,
        sequence: u32_at(message, 8)?,
        payload: &message[HEADER..],
    };
    Some((answer, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// The typed message, or nothing where a newer kernel says what the parser cannot read: such an object is not ours.
fn decode(answer: &Answer<'_>) -> Option<RouteNetlinkMessage> {
    decode_message(answer.kind, answer.payload)
}

fn decode_message(kind: u16, payload: &[u8]) -> Option<RouteNetlinkMessage> {
    let mut header = NetlinkHeader::default();
    header.message_type = kind;
    RouteNetlinkMessage::deserialize(&header, payload)
        .inspect_err(|error| tracing::debug!(kind, %error, "skipping unreadable netlink message"))
        .ok()
}

/// The messages of one datagram from a multicast group.
pub(super) fn decode_events(mut bytes: &[u8]) -> Vec<RouteNetlinkMessage> {
    let mut found = Vec::new();
    while let Some((answer, rest)) = split_answer(bytes) {
        bytes = rest;
        if answer.kind >= FIRST_MESSAGE {
            found.extend(decode(&answer));
        }
    }
    found
}

/// What an `NLMSG_ERROR` or `NLMSG_DONE` says, if it is a refusal, with the kernel's own words where it gave some.
fn refusal(answer: &Answer<'_>) -> Option<Refusal> {
    const NLMSGERR_ATTR_MSG: u16 = 1;
    let code = u32_at(answer.payload, 0)? as i32;
    if code >= 0 {
        return None;
    }
    let mut text = None;
    if answer.flags & NLM_F_ACK_TLVS != 0 {
        // The code, then (in an error) the request's header, then the request itself unless it was capped.
        let start = match answer.kind {
            NLMSG_DONE => 4,
            _ if answer.flags & NLM_F_CAPPED != 0 => 4 + HEADER,
            _ => 4 + (u32_at(answer.payload, 4)? as usize).next_multiple_of(4),
        };
        let mut rest = answer.payload.get(start..).unwrap_or_default();
        while let (Some(length), Some(kind)) = (u16_at(rest, 0), u16_at(rest, 2)) {
            let Some(value) = rest.get(4..usize::from(length)) else {
                break;
            };
            if kind & 0x3fff == NLMSGERR_ATTR_MSG {
                let value = value.strip_suffix(&[0]).unwrap_or(value);
                text = Some(String::from_utf8_lossy(value).into_owned());
            }
            rest = rest.get(usize::from(length).next_multiple_of(4)..).unwrap_or_default();
        }
    }
    Some(Refusal {
        errno: nix::errno::Errno::from_raw(-code),
        text,
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_message(code: i32, flags: u16, echoed: &[u8], text: &str) -> Vec<u8> {
        let mut payload = code.to_ne_bytes().to_vec();
        payload.extend((16 + echoed.len() as u32).to_ne_bytes());
        payload.extend([0; 12]);
        payload.extend(echoed);
        payload.extend((4 + text.len() as u16 + 1).to_ne_bytes());
        payload.extend(1u16.to_ne_bytes());
        payload.extend(text.as_bytes());
        payload.push(0);
        let mut message = (16 + payload.len() as u32).to_ne_bytes().to_vec();
        message.extend(NLMSG_ERROR.to_ne_bytes());
        message.extend(flags.to_ne_bytes());
        message.extend(7u32.to_ne_bytes());
        message.extend([0; 4]);
        message.extend(payload);
        message
    }

    #[test]
    fn a_refusal_carries_the_kernels_words_whether_the_request_is_echoed_or_not() {
        for (flags, echoed) in [(0x300, &[][..]), (0x200, &[1, 2, 3, 4, 5, 6, 7, 8][..])] {
            let bytes = error_message(-17, flags, echoed, "already there");
            let (answer, rest) = split_answer(&bytes).unwrap();
            assert!(rest.is_empty());
            assert_eq!(answer.sequence, 7);
            let refusal = refusal(&answer).unwrap();
            assert_eq!(refusal.errno, nix::errno::Errno::EEXIST);
            assert_eq!(refusal.text.as_deref(), Some("already there"));
        }
    }

    #[test]
    fn an_acknowledgement_is_no_refusal_and_a_cut_message_is_none() {
        let bytes = error_message(0, 0x300, &[], "");
        let (answer, _) = split_answer(&bytes).unwrap();
        assert!(refusal(&answer).is_none());
        for cut in 0..bytes.len() {
            assert!(split_answer(&bytes[..cut]).is_none(), "cut at {cut}");
        }
    }
}
