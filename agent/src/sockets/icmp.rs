//! Echo probes: does another host's kernel still answer?
//!
//! One raw socket per address family, filtered to echo replies with our identifier; a reply counts only if it repeats
//! number and random token of a probe that is still open, so neither other programs' pings nor guessed replies do.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use overlayd_core::checksum::checksum;
use overlayd_core::cluster::reachability::Outcome;
use overlayd_core::id::HostId;
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

use super::bpf::{self, ACCEPT, REJECT};
use super::task::Task;
use crate::system::watch_socket;

/// How long a kernel has to answer.
pub const PATIENCE: Duration = Duration::from_millis(50);
/// Probes that may wait for the task.
const QUEUE: usize = 1024;

/// The end of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Whose kernel was asked.
    pub host: HostId,
    /// The number that the probe was given.
    pub number: u64,
    /// At which address.
    pub address: IpAddr,
    /// Whether the kernel answered in time.
    pub outcome: Outcome,
}

/// The addresses that probes come from; the kernel chooses where none is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// For IPv4.
    pub v4: Option<Ipv4Addr>,
    /// For IPv6.
    pub v6: Option<Ipv6Addr>,
}

/// Sends probes and reports each one's end; dropping it closes its sockets.
#[derive(Debug)]
pub struct Prober {
    probes: mpsc::Sender<(HostId, u64, IpAddr)>,
    _task: Task,
}

impl Prober {
    /// Opens the sockets. A kernel without IPv6 makes every IPv6 probe silent.
    ///
    /// # Errors
    /// No permission for raw sockets (`CAP_NET_RAW`), or a source address that this host does not have.
    pub fn open(sources: Sources, ends: mpsc::Sender<Ended>) -> io::Result<Self> {
        let identifier = (getrandom::u32()? & 0xffff) as u16;
        let v4 = Echo::open(Family::V4, sources.v4.map(IpAddr::V4), identifier)?;
        let v6 = match Echo::open(Family::V6, sources.v6.map(IpAddr::V6), identifier) {
            Ok(echo) => Some(echo),
            Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) && sources.v6.is_none() => None,
            Err(error) => return Err(error),
        };
        let (probes, wanted) = mpsc::channel(QUEUE);
        let open = Open {
            identifier,
            number: 0,
            probes: BTreeMap::new(),
            deadlines: VecDeque::new(),
        };
        Ok(Self {
            probes,
            _task: Task::spawn(run(open, v4, v6, wanted, ends)),
        })
    }

    /// Asks a host's kernel once; its end, with that `number`, follows within `PATIENCE`.
    ///
    /// Where a thousand probes wait unsent, this one is dropped without outcome.
    pub fn probe(&self, host: HostId, number: u64, address: IpAddr) {
        if self.probes.try_send((host, number, address)).is_err() {
            warn!(%address, "echo probe dropped: queue full");
        }
    }
}

/// Probes that wait for their reply. All have the same patience, so the oldest ends first.
struct Open {
    identifier: u16,
    number: u64,
    probes: BTreeMap<u16, Probe>,
    deadlines: VecDeque<(Instant, u16, u64)>,
}

struct Probe {
    token: u64,
    host: HostId,
    number: u64,
    address: IpAddr,
}

/// Owns both sockets and the open probes. Safe to cancel anywhere: whoever drops the prober waits for no outcome.
async fn run(
    mut open: Open,
    v4: Echo,
    v6: Option<Echo>,
    mut wanted: mpsc::Receiver<(HostId, u64, IpAddr)>,
    ends: mpsc::Sender<Ended>,
) {
    loop {
        let deadline = open.deadlines.front().map(|(deadline, ..)| *deadline);
        let ended = tokio::select! {
            probe = wanted.recv() => {
                let Some((host, number, address)) = probe else { return };
                open.send(host, number, address, &v4, v6.as_ref());
                Vec::new()
            }
            () = v4.readable() => open.read(&v4),
            () = readable(v6.as_ref()) => v6.as_ref().map(|v6| open.read(v6)).unwrap_or_default(),
            () = until(deadline) => {
                // A reply may be here already while this task was kept from running: that is an answer.
                let mut ended = open.read(&v4);
                ended.extend(v6.as_ref().map(|v6| open.read(v6)).unwrap_or_default());
                ended.extend(open.expire(Instant::now()));
                ended
            }
        };
        for one in ended {
            if ends.send(one).await.is_err() {
                return;
            }
        }
    }
}

async fn readable(echo: Option<&Echo>) {
    match echo {
        Some(echo) => echo.readable().await,
        None => std::future::pending().await,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

impl Open {
    fn send(&mut self, host: HostId, number: u64, address: IpAddr, v4: &Echo, v6: Option<&Echo>) {
        self.number += 1;
        let sequence = (self.number & 0xffff) as u16;
        // `open` has drawn from it before: it does not fail any more.
        let token = getrandom::u64().unwrap_or(self.number);
        let echo = match address {
            IpAddr::V4(_) => Some(v4),
            IpAddr::V6(_) => v6,
        };
        match echo.map(|echo| echo.send(address, self.identifier, sequence, token)) {
            Some(Ok(())) => {}
            Some(Err(error)) => debug!(%host, %address, %error, "echo probe not sent"),
            None => debug!(%host, %address, "echo probe not sent: IPv6 is not available"),
        }
        self.probes.insert(
            sequence,
            Probe {
                token,
                host,
                number,
                address,
            },
        );
        self.deadlines.push_back((Instant::now() + PATIENCE, sequence, token));
    }

    fn read(&mut self, echo: &Echo) -> Vec<Ended> {
        let mut answered = Vec::new();
        while let Some(reply) = echo.receive() {
            let fits = reply.identifier == self.identifier
                && self
                    .probes
                    .get(&reply.sequence)
                    .is_some_and(|probe| probe.token == reply.token);
            if fits
                && let Some(Probe {
                    host, number, address, ..
                }) = self.probes.remove(&reply.sequence)
            {
                answered.push(Ended {
                    host,
                    number,
                    address,
                    outcome: Outcome::Answered,
                });
            }
        }
        answered
    }

    fn expire(&mut self, now: Instant) -> Vec<Ended> {
        let mut silent = Vec::new();
        while let Some(&(deadline, sequence, token)) = self.deadlines.front()
            && deadline <= now
        {
            self.deadlines.pop_front();
            if self.probes.get(&sequence).is_some_and(|probe| probe.token == token)
                && let Some(Probe {
                    host, number, address, ..
                }) = self.probes.remove(&sequence)
            {
                silent.push(Ended {
                    host,
                    number,
                    address,
                    outcome: Outcome::Unanswered,
                });
            }
        }
        silent
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

/// A raw socket that hears echo replies with our identifier.
struct Echo {
    family: Family,
    socket: AsyncFd<Socket>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct EchoReply {
    identifier: u16,
    sequence: u16,
    token: u64,
}

const ECHO_HEADER: usize = 8;
const ECHO_LENGTH: usize = ECHO_HEADER + 8;

impl Echo {
    fn open(family: Family, source: Option<IpAddr>, identifier: u16) -> io::Result<Self> {
        let (domain, protocol) = match family {
            Family::V4 => (Domain::IPV4, Protocol::ICMPV4),
            Family::V6 => (Domain::IPV6, Protocol::ICMPV6),
        };
        let socket = Socket::new(domain, Type::RAW.nonblocking().cloexec(), Some(protocol))?;
        socket.attach_filter(&filter(family, identifier))?;
        if let Some(source) = source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        Ok(Self {
            family,
            socket: watch_socket(socket, super::NEWS)?,
        })
    }

    /// Returns when a reply may be there; the readiness is cleared, so `receive` must be called until it has none.
    async fn readable(&self) {
        match self.socket.readable().await {
            Ok(mut guard) => guard.clear_ready(),
            // The runtime is shutting down, and this task with it.
            Err(_) => std::future::pending().await,
        }
    }

    fn send(&self, to: IpAddr, identifier: u16, sequence: u16, token: u64) -> io::Result<()> {
        let echo = request(self.family, identifier, sequence, token);
        self.socket
            .get_ref()
            .send_to(&echo, &SocketAddr::new(to, 0).into())
            .map(|_| ())
    }

    fn receive(&self) -> Option<EchoReply> {
        let mut buffer = [0; 128];
        loop {
            match self.socket.get_ref().read(&mut buffer) {
                Ok(length) => {
                    if let Some(reply) = buffer.get(..length).and_then(|packet| reply(self.family, packet)) {
                        return Some(reply);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                // "Unreachable" and the like from earlier probes: the next one may be a reply.
                Err(error) => debug!(%error, "echo socket error"),
            }
        }
    }
}

/// An echo request (RFC 792, RFC 4443 section 4.1). The kernel fills in the checksum of ICMPv6 only.
fn request(family: Family, identifier: u16, sequence: u16, token: u64) -> [u8; ECHO_LENGTH] {
    let mut echo = [0; ECHO_LENGTH];
    echo[0] = match family {
        Family::V4 => 8,
        Family::V6 => 128,
    };
    echo[4..6].copy_from_slice(&identifier.to_be_bytes());
    echo[6..8].copy_from_slice(&sequence.to_be_bytes());
    echo[8..].copy_from_slice(&token.to_be_bytes());
    if family == Family::V4 {
        let checksum = checksum(&echo);
        echo[2..4].copy_from_slice(&checksum.to_be_bytes());
    }
    echo
}

/// The echo reply in what a raw socket hands out: IPv4 with its header, ICMPv6 without.
fn reply(family: Family, packet: &[u8]) -> Option<EchoReply> {
    let (echo, kind) = match family {
        Family::V4 => (packet.get(usize::from(packet.first()? & 0x0f) * 4..)?, ECHO_REPLY_V4),
        Family::V6 => (packet, ECHO_REPLY_V6),
    };
    let echo: &[u8; ECHO_LENGTH] = echo.try_into().ok()?;
    let [of, _, _, _, id0, id1, seq0, seq1, token @ ..] = echo;
    (u32::from(*of) == kind).then(|| EchoReply {
        identifier: u16::from_be_bytes([*id0, *id1]),
        sequence: u16::from_be_bytes([*seq0, *seq1]),
        token: u64::from_be_bytes(*token),
    })
}

const ECHO_REPLY_V4: u32 = 0;
const ECHO_REPLY_V6: u32 = 129;

/// Each raw socket of the machine gets a copy of all ICMP.
fn filter(family: Family, identifier: u16) -> [SockFilter; 7] {
    let (header, kind) = match family {
        Family::V4 => (bpf::index_header_length(0), ECHO_REPLY_V4),
        Family::V6 => (bpf::index(0), ECHO_REPLY_V6),
    };
    [
        header,
        bpf::load_byte_after_header(0),
        bpf::jump_equal(kind, 0, 3),
        bpf::load_half_after_header(4),
        bpf::jump_equal(identifier.into(), 0, 1),
        ACCEPT,
        REJECT,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use overlayd_core::checksum::{fold, sum};

    #[test]
    fn only_whole_echo_replies_are_read() {
        let mut echo = request(Family::V6, 7, 9, 0x0102_0304_0506_0708).to_vec();
        assert_eq!(reply(Family::V6, &echo), None, "a request is no reply");
        echo[0] = 129;
        let expected = EchoReply {
            identifier: 7,
            sequence: 9,
            token: 0x0102_0304_0506_0708,
        };
        assert_eq!(reply(Family::V6, &echo), Some(expected));
        assert_eq!(reply(Family::V6, &echo[..15]), None);

        let mut packet = vec![0x46; 24];
        packet.extend(request(Family::V4, 7, 9, 0x0102_0304_0506_0708));
        packet[24] = 0;
        assert_eq!(reply(Family::V4, &packet), Some(expected), "with IP options");
        assert_eq!(reply(Family::V4, &[]), None);
        assert_eq!(reply(Family::V4, &packet[..30]), None);
    }

    #[test]
    fn a_request_carries_a_checksum_that_sums_up() {
        let echo = request(Family::V4, 0xffff, 0xfffe, u64::MAX);
        assert_eq!(fold(sum(&echo)), 0xffff);
    }
}
