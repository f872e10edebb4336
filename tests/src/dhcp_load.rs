//! Many DHCP clients on one interface: whole exchanges at a given rate, each one timed.
//!
//! Frames are written and read raw, so that one guest interface can be as many guests as wanted, each with its own MAC.
//! One thread, bounded by the list of clients that it is given.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use overlayd_core::id::Mac;

/// One simulated guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its MAC.
    pub mac: Mac,
    /// The address that it had before: it asks for that one first (INIT-REBOOT); none: it discovers.
    pub known: Option<Ipv4Addr>,
}

impl Client {
    /// `count` new clients, told apart by `site` and number.
    pub fn fresh(site: u8, count: u32) -> Vec<Client> {
        let mac = |number: u32| {
            let [_, a, b, c] = number.to_be_bytes();
            Mac([0x52, 0x54, site, a, b, c])
        };
        (0..count)
            .map(|number| Client {
                mac: mac(number),
                known: None,
            })
            .collect()
    }
}

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Load {
    /// The interface, in the caller's network namespace.
    pub interface: String,
    /// The VLAN tag that every frame carries (TCI of IEEE 802.1Q); none: no tag.
    pub tag: Option<u16>,
    /// Who asks.
    pub clients: Vec<Client>,
    /// The time from one client's start to the next one's; zero starts as many as `at_once` allows.
    pub spacing: Duration,
    /// How many exchanges may be under way.
    pub at_once: usize,
    /// How long a client waits before it says the same again.
    pub retry: Duration,
    /// How long a client tries before it gives up, counted from its start.
    pub patience: Duration,
}

/// How one client fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Who.
    pub client: Client,
    /// The acknowledged address; none if it gave up.
    pub address: Option<Ipv4Addr>,
    /// From its first message to the ACK, or to giving up.
    pub time: Duration,
    /// Messages that it sent; two make an exchange without loss, one with a known address.
    pub sent: u32,
    /// How often it was told that it cannot have the address.
    pub refused: u32,
}

/// What came of it all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// One per client, in the order given.
    pub exchanges: Vec<Exchange>,
    /// From the first message to the last exchange's end.
    pub time: Duration,
}

impl Report {
    /// Clients that got no lease.
    pub fn failed(&self) -> usize {
        self.exchanges
            .iter()
            .filter(|exchange| exchange.address.is_none())
            .count()
    }

    /// Acknowledged exchanges per second.
    pub fn per_second(&self) -> f64 {
        (self.exchanges.len() - self.failed()) as f64 / self.time.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// The time that `percent` of the acknowledged exchanges took at most; none if there were none.
    pub fn percentile(&self, percent: usize) -> Option<Duration> {
        let mut times: Vec<Duration> = self
            .exchanges
            .iter()
            .filter(|exchange| exchange.address.is_some())
            .map(|exchange| exchange.time)
            .collect();
        times.sort();
        let rank = (times.len() * percent.min(100)).div_ceil(100).max(1);
        times.get(rank - 1).copied()
    }

    /// Addresses that more than one client was given, and to whom.
    pub fn duplicates(&self) -> BTreeMap<Ipv4Addr, BTreeSet<Mac>> {
        let mut users: BTreeMap<Ipv4Addr, BTreeSet<Mac>> = BTreeMap::new();
        for exchange in &self.exchanges {
            if let Some(address) = exchange.address {
                users.entry(address).or_default().insert(exchange.client.mac);
            }
        }
        users.retain(|_, macs| macs.len() > 1);
        users
    }

    /// The same clients as rebooting ones: each knows the address that it was given.
    pub fn rebooting(&self) -> Vec<Client> {
        self.exchanges
            .iter()
            .map(|exchange| Client {
                known: exchange.address,
                ..exchange.client
            })
            .collect()
    }
}

/// Lets all clients of a load get their lease.
///
/// # Errors
/// No such interface, or no permission for packet sockets.
pub fn run(load: &Load) -> Result<Report> {
    let wire = Wire::open(&load.interface, load.tag)?;
    let begin = Instant::now();
    let mut runs: Vec<Run> = load.clients.iter().map(|client| Run::new(*client)).collect();
    let by_mac: BTreeMap<Mac, usize> = runs.iter().enumerate().map(|(at, run)| (run.client.mac, at)).collect();
    let mut next = 0;
    let mut due: BTreeSet<(Instant, usize)> = BTreeSet::new();
    let mut under_way = 0;
    let start_of = |number: usize| begin + load.spacing * u32::try_from(number).unwrap_or(u32::MAX);

    while next < runs.len() || under_way > 0 {
        let now = Instant::now();
        while next < runs.len() && under_way < load.at_once && start_of(next) <= now {
            runs[next].begin = now;
            wire.send(&runs[next].message(next))?;
            runs[next].sent += 1;
            due.insert((now + load.retry, next));
            under_way += 1;
            next += 1;
        }
        while let Some(&(at, number)) = due.first()
            && at <= now
        {
            due.remove(&(at, number));
            let run = &mut runs[number];
            if run.end.is_some() {
                continue;
            }
            if now.duration_since(run.begin) >= load.patience {
                run.end = Some(now);
                under_way -= 1;
                continue;
            }
            wire.send(&run.message(number))?;
            run.sent += 1;
            due.insert((now + load.retry, number));
        }
        let mut wake = due.first().map_or(now + load.retry, |(at, _)| *at);
        if next < runs.len() && under_way < load.at_once {
            wake = wake.min(start_of(next));
        }
        let mut patience = wake.saturating_duration_since(Instant::now());
        while let Some(heard) = wire.receive(patience)? {
            patience = Duration::ZERO;
            let Some(&number) = by_mac.get(&heard.client) else {
                continue;
            };
            let run = &mut runs[number];
            if run.end.is_some() || heard.transaction != run.transaction(number) || !run.hear(&heard) {
                continue;
            }
            if run.end.is_some() {
                under_way -= 1;
            } else {
                wire.send(&run.message(number))?;
                run.sent += 1;
            }
        }
    }
    let end = runs.iter().filter_map(|run| run.end).max().unwrap_or(begin);
    Ok(Report {
        exchanges: runs.iter().map(Run::exchange).collect(),
        time: end.duration_since(begin),
    })
}

/// Lets each client say its DISCOVER once; what they are offered nobody takes.
///
/// # Errors
/// As [`run`].
pub fn discover(interface: &str, clients: &[Client]) -> Result<()> {
    let wire = Wire::open(interface, None)?;
    for (number, client) in clients.iter().enumerate() {
        wire.send(&Run::new(*client).message(number))?;
    }
    Ok(())
}

/// Shows each client's MAC to the bridges once; nobody is asked anything.
///
/// # Errors
/// As [`run`].
pub fn appear(interface: &str, clients: &[Client]) -> Result<()> {
    let wire = Wire::open(interface, None)?;
    for (number, client) in clients.iter().enumerate() {
        let mut frame = Run::new(*client).message(number);
        frame.truncate(60);
        // An EtherType for experiments (IEEE Std 802, local experimental).
        frame.splice(ADDRESSES..ADDRESSES + 2, [0x88, 0xb5]);
        wire.send(&frame)?;
    }
    Ok(())
}

/// What a client says next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Discover,
    Request {
        server: Option<Ipv4Addr>,
        address: Ipv4Addr,
    },
}

struct Run {
    client: Client,
    step: Step,
    /// Grows with each NAK, so that what comes late is told apart.
    attempt: u32,
    begin: Instant,
    end: Option<Instant>,
    address: Option<Ipv4Addr>,
    sent: u32,
}

const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACK: u8 = 5;
const NAK: u8 = 6;

impl Run {
    fn new(client: Client) -> Self {
        let step = match client.known {
            Some(address) => Step::Request { server: None, address },
            None => Step::Discover,
        };
        Self {
            client,
            step,
            attempt: 0,
            begin: Instant::now(),
            end: None,
            address: None,
            sent: 0,
        }
    }

    fn transaction(&self, number: usize) -> u32 {
        self.attempt << 24 | u32::try_from(number).unwrap_or(u32::MAX) & 0x00ff_ffff
    }

    /// Takes a reply; whether it changed anything.
    fn hear(&mut self, heard: &Heard) -> bool {
        match (self.step, heard.kind) {
            (Step::Discover, OFFER) => {
                self.step = Step::Request {
                    server: Some(heard.server),
                    address: heard.address,
                };
                true
            }
            (Step::Request { .. }, ACK) => {
                self.address = Some(heard.address);
                self.end = Some(Instant::now());
                true
            }
            (Step::Request { .. }, NAK) => {
                self.attempt += 1;
                self.step = Step::Discover;
                true
            }
            _ => false,
        }
    }

    /// The frame that says it.
    fn message(&self, number: usize) -> Vec<u8> {
        let mut dhcp = vec![0; 236];
        dhcp[..3].copy_from_slice(&[1, 1, 6]);
        dhcp[4..8].copy_from_slice(&self.transaction(number).to_be_bytes());
        dhcp[28..34].copy_from_slice(&self.client.mac.0);
        dhcp.extend([99, 130, 83, 99]);
        match self.step {
            Step::Discover => dhcp.extend([53, 1, DISCOVER]),
            Step::Request { server, address } => {
                dhcp.extend([53, 1, REQUEST, 50, 4]);
                dhcp.extend(address.octets());
                if let Some(server) = server {
                    dhcp.extend([54, 4]);
                    dhcp.extend(server.octets());
                }
            }
        }
        dhcp.extend([55, 4, 1, 3, 6, 26, 255]);
        dhcp.resize(300, 0);
        frame(self.client.mac, &dhcp)
    }

    fn exchange(&self) -> Exchange {
        let time = self.end.map_or(Duration::ZERO, |end| end.duration_since(self.begin));
        Exchange {
            client: self.client,
            address: self.address,
            time,
            sent: self.sent,
            refused: self.attempt,
        }
    }
}

const ETHERNET: usize = 14;
/// Destination and source of a frame: behind them a VLAN tag stands.
const ADDRESSES: usize = 12;
const IPV4: usize = 20;
const UDP: usize = 8;

/// A broadcast from port 68 to port 67; without UDP checksum, which RFC 768 allows.
fn frame(source: Mac, dhcp: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(ETHERNET + IPV4 + UDP + dhcp.len());
    frame.extend(Mac::BROADCAST.0);
    frame.extend(source.0);
    frame.extend([8, 0]);
    let udp_length = (UDP + dhcp.len()) as u16;
    let [high, low] = (udp_length + IPV4 as u16).to_be_bytes();
    let mut header = [
        0x45, 0, high, low, 0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff,
    ];
    let mut sum: u32 = header
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
        .sum();
    sum = (sum & 0xffff) + (sum >> 16);
    header[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    frame.extend(header);
    frame.extend([0, 68, 0, 67]);
    frame.extend(udp_length.to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(dhcp);
    frame
}

/// A server's reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Heard {
    client: Mac,
    transaction: u32,
    kind: u8,
    address: Ipv4Addr,
    server: Ipv4Addr,
}

fn parse(frame: &[u8]) -> Option<Heard> {
    let ip = frame.get(ETHERNET..)?;
    let header = usize::from(ip.first()? & 0x0f) * 4;
    let udp = ip.get(header..)?;
    if *ip.get(9)? != 17 || udp.get(..4)? != [0, 67, 0, 68] {
        return None;
    }
    let dhcp = udp.get(UDP..)?;
    let mut options = dhcp.get(240..)?;
    let (mut kind, mut server) = (None, Ipv4Addr::UNSPECIFIED);
    while let [code, length, rest @ ..] = options
        && *code != 255
    {
        let (data, after) = rest.split_at_checked(usize::from(*length))?;
        match (*code, data) {
            (53, [one]) => kind = Some(*one),
            (54, [a, b, c, d]) => server = Ipv4Addr::new(*a, *b, *c, *d),
            _ => {}
        }
        options = after;
    }
    Some(Heard {
        client: Mac(dhcp.get(28..34)?.try_into().ok()?),
        transaction: u32::from_be_bytes(dhcp.get(4..8)?.try_into().ok()?),
        kind: kind?,
        address: Ipv4Addr::from(<[u8; 4]>::try_from(dhcp.get(16..20)?).ok()?),
        server,
    })
}

struct Wire {
    socket: OwnedFd,
    tag: Option<u16>,
}

impl Wire {
    fn open(interface: &str, tag: Option<u16>) -> Result<Self> {
        let address = nix::ifaddrs::getifaddrs()?
            .filter(|found| found.interface_name == interface)
            .find_map(|found| found.address.and_then(|address| address.as_link_addr().copied()))
            .with_context(|| format!("no interface {interface} in this network namespace"))?;
        let socket = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::EthIp,
        )
        .context("cannot open a packet socket: CAP_NET_RAW is needed")?;
        setsockopt(&socket, sockopt::RcvBufForce, &(16 << 20))?;
        // Frames that came from other interfaces before this line are no replies to us: their MACs are not ours.
        bind(socket.as_raw_fd(), &address)?;
        Ok(Self { socket, tag })
    }

    /// Sends a frame; one that finds the queue full counts as lost on the way.
    fn send(&self, frame: &[u8]) -> Result<()> {
        let mut frame = frame.to_vec();
        if let Some(tag) = self.tag {
            let [high, low] = tag.to_be_bytes();
            frame.splice(ADDRESSES..ADDRESSES, [0x81, 0, high, low]);
        }
        match send(self.socket.as_raw_fd(), &frame, MsgFlags::empty()) {
            Ok(_) | Err(Errno::ENOBUFS) => Ok(()),
            Err(error) => Err(error).context("cannot send on the guest interface"),
        }
    }

    /// The next reply, waiting at most this long; none if there was none.
    fn receive(&self, patience: Duration) -> Result<Option<Heard>> {
        let mut buffer = [0; 2048];
        let flags = if patience.is_zero() {
            MsgFlags::MSG_DONTWAIT
        } else {
            let micros = i64::try_from(patience.as_micros())
                .unwrap_or(i64::MAX)
                .clamp(1, 1_000_000);
            setsockopt(&self.socket, sockopt::ReceiveTimeout, &TimeVal::microseconds(micros))?;
            MsgFlags::empty()
        };
        loop {
            match recv(self.socket.as_raw_fd(), &mut buffer, flags) {
                Ok(length) => match buffer.get(..length).and_then(parse) {
                    Some(heard) => return Ok(Some(heard)),
                    None if patience.is_zero() => {}
                    None => return Ok(None),
                },
                Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
                Err(error) => return Err(error).context("cannot receive on the guest interface"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(number: u8, address: Option<u8>, millis: u64) -> Exchange {
        Exchange {
            client: Client {
                mac: Mac([2, 0, 0, 0, 0, number]),
                known: None,
            },
            address: address.map(|last| Ipv4Addr::new(10, 0, 0, last)),
            time: Duration::from_millis(millis),
            sent: 2,
            refused: 0,
        }
    }

    #[test]
    fn a_report_counts_failures_times_and_duplicates() {
        let exchanges = vec![
            exchange(1, Some(7), 1),
            exchange(2, Some(8), 9),
            exchange(3, Some(7), 3),
            exchange(4, None, 99),
        ];
        let report = Report {
            exchanges,
            time: Duration::from_secs(2),
        };
        assert_eq!((report.failed(), report.per_second()), (1, 1.5));
        assert_eq!(report.percentile(50), Some(Duration::from_millis(3)));
        assert_eq!(report.percentile(99), Some(Duration::from_millis(9)));
        let twice = BTreeSet::from([Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 3])]);
        assert_eq!(
            report.duplicates(),
            BTreeMap::from([(Ipv4Addr::new(10, 0, 0, 7), twice)])
        );
    }

    #[test]
    fn a_frame_is_what_a_server_reads() {
        let mut run = Run::new(Client::fresh(1, 1)[0]);
        let bytes = run.message(5);
        let datagram = overlayd_core::gateway::dhcp::datagram::unwrap(&bytes[ETHERNET..]).unwrap();
        assert_eq!((datagram.payload.len(), datagram.payload[0]), (300, 1));
        let reply = Heard {
            client: run.client.mac,
            transaction: 5,
            kind: OFFER,
            address: Ipv4Addr::new(10, 0, 0, 9),
            server: Ipv4Addr::new(10, 0, 0, 1),
        };
        assert!(run.hear(&reply) && !run.hear(&reply), "an offer counts once");
        assert!(run.hear(&Heard { kind: NAK, ..reply }) && run.transaction(5) == 0x0100_0005);
    }
}
