//! ARP on `gw-<segment>`: gratuitous, to tell guests and bridges where the gateway address is now; and questions, whether
//! a guest uses an address that nobody gave it. ARP on each bridge: which guest uses which address.
//!
//! Of gratuitous ARP both forms are sent (RFC 5227 section 3 discusses them): requests are what most stacks listen to, replies
//! what some switches and old guests want. Several times, because the first ones meet ports that are only just coming up.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use overlayd_core::gateway::GatewayLink;
use overlayd_core::id::{IfName, Mac, SegmentId};
use overlayd_core::kernel::mark::gateway_mac;
use socket2::SockFilter;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, warn};

use super::bpf::{self, ACCEPT, REJECT};
use super::packet::{Carries, PacketSocket};
use super::task::Task;

/// When the announcements go out after a take-over.
pub const BURST: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(10),
];

/// The length of a packet, in bytes.
pub(super) const LENGTH: usize = 28;
const REQUEST: u8 = 1;
const REPLY: u8 = 2;

/// Questions that may wait for the task; an address that is not asked for is offered all the same.
const QUEUE: usize = 1024;
/// How long to wait before an interface that is missing is looked for again.
const REOPEN: Duration = Duration::from_millis(100);
/// The same for a bridge: a new one is there in a moment, and its guests may say their address once.
const BRIDGE_FIRST: Duration = Duration::from_millis(5);
/// And one that does not come; in between twice as long each time.
const BRIDGE_LAST: Duration = Duration::from_secs(1);
/// How soon an address of a guest is told again.
const TOLD_AGAIN: Duration = Duration::from_secs(60);
/// And where another guest uses it.
const OTHER_TOLD: Duration = Duration::from_secs(1);
/// So many addresses of guests are remembered on a bridge.
const TOLD: usize = 4096;
/// After so many packets the next ones wait: a guest can send more than the agent should ever read.
const AT_ONCE: u32 = 64;
/// So long.
const REST: Duration = Duration::from_millis(10);
/// Where a packet's operation stands, its sender's address, and the like in a filter.
const OPERATION: u32 = 6;
pub(super) const SENDER: u32 = 14;

/// The bursts that are under way, one per segment.
#[derive(Debug, Default)]
pub struct Announcer {
    bursts: BTreeMap<SegmentId, Task>,
}

impl Announcer {
    /// An announcer with nothing to say.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a burst for `address` at `mac` on `interface`; a burst of the same segment that runs already ends.
    pub fn announce(&mut self, segment: SegmentId, interface: IfName, mac: Mac, address: Ipv4Addr) {
        self.bursts.insert(segment, Task::spawn(burst(interface, mac, address)));
    }

    /// Ends the segment's burst: before anybody else announces the address.
    pub fn cancel(&mut self, segment: SegmentId) {
        self.bursts.remove(&segment);
    }
}

/// Owns its packet socket. Safe to cancel anywhere: each announcement is one system call.
async fn burst(interface: IfName, mac: Mac, address: Ipv4Addr) {
    let socket = match PacketSocket::sending(&interface, Carries::Arp) {
        Ok(socket) => socket,
        Err(error) => {
            warn!(%interface, %address, %error, "cannot announce the gateway address; guests learn it when they next ask");
            return;
        }
    };
    let begin = Instant::now();
    for after in BURST {
        sleep_until(begin + after).await;
        for operation in [REQUEST, REPLY] {
            if let Err(error) = socket.send(Mac::BROADCAST, &announcement(operation, mac, address)) {
                debug!(%interface, %address, %error, "gratuitous ARP not sent");
            }
        }
    }
}

/// An ARP packet in which sender and target are the same address (RFC 5227 section 3).
fn announcement(operation: u8, mac: Mac, address: Ipv4Addr) -> [u8; LENGTH] {
    let target = match operation {
        REPLY => mac,
        _ => Mac::ZERO,
    };
    packet(operation, (mac, address), (target, address))
}

/// The question who has `target`.
pub(super) fn request(mac: Mac, address: Ipv4Addr, target: Ipv4Addr) -> [u8; LENGTH] {
    packet(REQUEST, (mac, address), (Mac::ZERO, target))
}

/// ARP for IPv4 on Ethernet (RFC 826).
fn packet(operation: u8, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> [u8; LENGTH] {
    let mut packet = [0; LENGTH];
    packet[..8].copy_from_slice(&[0, 1, 8, 0, 6, 4, 0, operation]);
    packet[8..14].copy_from_slice(&sender.0.0);
    packet[14..18].copy_from_slice(&sender.1.octets());
    packet[18..24].copy_from_slice(&target.0.0);
    packet[24..].copy_from_slice(&target.1.octets());
    packet
}

/// A guest said that it has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The segment it said so on.
    pub segment: SegmentId,
    /// The frame's source.
    pub guest: Mac,
    /// The sender's address.
    pub address: Ipv4Addr,
}

/// Asks the guests of one segment; dropping it closes its socket.
#[derive(Debug)]
pub struct Inquirer {
    questions: mpsc::Sender<Ipv4Addr>,
    _task: Task,
}

impl Inquirer {
    /// Begins to ask on `gw-<segment>`, now or as soon as it is there, and to hear what guests answer.
    pub fn open(segment: SegmentId, at: GatewayLink, heard: mpsc::Sender<Heard>) -> Self {
        let (questions, asked) = mpsc::channel(QUEUE);
        Self {
            questions,
            _task: Task::spawn(inquire(segment, at, asked, heard)),
        }
    }

    /// Asks who has these addresses, or nobody if too many questions wait.
    pub fn ask(&self, addresses: &[Ipv4Addr]) {
        for address in addresses {
            if self.questions.try_send(*address).is_err() {
                debug!(%address, "not asked by ARP: queue full");
            }
        }
    }
}

/// Owns its packet socket. Safe to cancel anywhere: what is lost then is a question, or an answer that counted for a
/// gateway which is no longer here.
async fn inquire(segment: SegmentId, at: GatewayLink, mut asked: mpsc::Receiver<Ipv4Addr>, heard: mpsc::Sender<Heard>) {
    let filter = answers(at.address);
    // Said once: while the interface is missing or down, this is tried ten times a second.
    let mut said = String::new();
    loop {
        let ended = match PacketSocket::receiving(&at.link, Carries::Arp, &filter) {
            Ok(socket) => relay(segment, &socket, &mut asked, &heard).await,
            Err(error) => Err(error),
        };
        let Err(error) = ended else { return };
        if error.to_string() != said {
            debug!(%segment, interface = %at.link, %error, "cannot ask guests by ARP; retrying");
            said = error.to_string();
        }
        sleep(REOPEN).await;
    }
}

/// Until nobody listens or asks any more.
async fn relay(
    segment: SegmentId,
    socket: &PacketSocket,
    asked: &mut mpsc::Receiver<Ipv4Addr>,
    heard: &mpsc::Sender<Heard>,
) -> io::Result<()> {
    let mut buffer = [0; LENGTH];
    let mut pace = Pace::default();
    loop {
        let (length, guest) = tokio::select! {
            biased;
            address = asked.recv() => {
                let Some(address) = address else { return Ok(()) };
                // From no address: guests' neighbour tables learn nothing by it (RFC 5227 section 2.1.1).
                let question = request(gateway_mac(segment), Ipv4Addr::UNSPECIFIED, address);
                if let Err(error) = socket.send(Mac::BROADCAST, &question) {
                    debug!(%segment, %address, %error, "not asked by ARP");
                }
                continue;
            }
            packet = pace.receive(socket, &mut buffer) => packet?,
        };
        let Some(address) = buffer.get(..length).and_then(sender) else {
            continue;
        };
        if heard
            .send(Heard {
                segment,
                guest,
                address,
            })
            .await
            .is_err()
        {
            return Ok(());
        }
    }
}

/// A guest uses an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    /// The bridge that it is on.
    pub bridge: IfName,
    /// The frame's source.
    pub guest: Mac,
    /// The sender's address.
    pub address: Ipv4Addr,
}

/// Hears on one bridge which addresses guests use; dropping it closes its socket.
#[derive(Debug)]
pub struct Ear {
    _task: Task,
}

impl Ear {
    /// Begins to hear, now or as soon as the bridge is there. Each guest's address is told once a minute at most.
    pub fn open(bridge: IfName, used: mpsc::Sender<Used>) -> Self {
        Self {
            _task: Task::spawn(listen(bridge, used)),
        }
    }
}

/// Owns its packet socket. Safe to cancel anywhere: guests say again what is lost then.
async fn listen(bridge: IfName, used: mpsc::Sender<Used>) {
    let (mut told, mut wait) = (BTreeMap::new(), BRIDGE_FIRST);
    loop {
        match PacketSocket::receiving(&bridge, Carries::Arp, &FROM_AN_ADDRESS) {
            Ok(socket) => {
                wait = BRIDGE_FIRST;
                if let Err(error) = hear(&bridge, &socket, &used, &mut told).await {
                    debug!(%bridge, %error, "cannot hear ARP; retrying");
                }
            }
            Err(error) => debug!(%bridge, %error, "cannot hear ARP yet"),
        }
        if used.is_closed() {
            return;
        }
        sleep(wait).await;
        wait = BRIDGE_LAST.min(wait * 2);
    }
}

/// Until the bridge is gone, or nobody listens any more.
async fn hear(
    bridge: &IfName,
    socket: &PacketSocket,
    used: &mpsc::Sender<Used>,
    told: &mut BTreeMap<Ipv4Addr, (Mac, Instant)>,
) -> io::Result<()> {
    let mut buffer = [0; LENGTH];
    let (mut pace, mut forgot) = (Pace::default(), Instant::now());
    loop {
        let (length, guest) = pace.receive(socket, &mut buffer).await?;
        let Some(address) = buffer.get(..length).and_then(sender) else {
            continue;
        };
        let now = Instant::now();
        let fresh = |(by, at): &(Mac, Instant)| {
            let again = if *by == guest { TOLD_AGAIN } else { OTHER_TOLD };
            now.duration_since(*at) < again
        };
        if told.get(&address).is_some_and(fresh) {
            continue;
        }
        if told.len() >= TOLD && now.duration_since(forgot) >= OTHER_TOLD {
            told.retain(|_, (_, at)| now.duration_since(*at) < TOLD_AGAIN);
            forgot = now;
        }
        let bridge = bridge.clone();
        // More guests than this, or a loop that is busy: the guest will be heard again.
        if told.len() < TOLD && used.try_send(Used { bridge, guest, address }).is_ok() {
            told.insert(address, (guest, now));
        }
    }
}

/// Whatever has a sender's address: questions whether an address is free have none (RFC 5227). What comes in a VLAN is not of
/// this network.
const FROM_AN_ADDRESS: [SockFilter; 6] = [
    bpf::load_word(bpf::PACKET_TYPE),
    bpf::jump_equal(libc::PACKET_OTHERHOST as u32, 3, 0),
    bpf::load_word(SENDER),
    bpf::jump_equal(0, 1, 0),
    ACCEPT,
    REJECT,
];

/// Answers, and whatever comes from the gateway's own address; the same way.
fn answers(gateway: Ipv4Addr) -> [SockFilter; 8] {
    [
        bpf::load_word(bpf::PACKET_TYPE),
        bpf::jump_equal(libc::PACKET_OTHERHOST as u32, 5, 0),
        bpf::load_half(OPERATION),
        bpf::jump_equal(u32::from(REPLY), 2, 0),
        bpf::load_word(SENDER),
        bpf::jump_equal(gateway.to_bits(), 0, 1),
        ACCEPT,
        REJECT,
    ]
}

/// How fast packets are read; what comes faster the kernel's bounded buffer drops.
#[derive(Debug, Default)]
struct Pace {
    read: u32,
    /// Kept over a cancelled wait: whoever is asked all the time reads all the same.
    waits_until: Option<Instant>,
}

impl Pace {
    /// The next packet; as [`PacketSocket::receive`].
    async fn receive(&mut self, socket: &PacketSocket, buffer: &mut [u8]) -> io::Result<(usize, Mac)> {
        if self.read >= AT_ONCE {
            sleep_until(*self.waits_until.get_or_insert(Instant::now() + REST)).await;
            *self = Self::default();
        }
        let packet = socket.receive(buffer).await?;
        self.read += 1;
        Ok(packet)
    }
}

/// The sender's address of an ARP packet for IPv4 on Ethernet.
fn sender(packet: &[u8]) -> Option<Ipv4Addr> {
    let header = packet.first_chunk::<LENGTH>()?;
    let [a, b, c, d] = *header.get(14..18)?.first_chunk::<4>()?;
    (header[..6] == [0, 1, 8, 0, 6, 4]).then(|| Ipv4Addr::new(a, b, c, d))
}
