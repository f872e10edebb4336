//! The gateway's DHCP socket on `gw-<segment>`.
//!
//! Both ways through one packet socket: a guest without an address cannot be sent to through the host's IP stack, and
//! only the frame tells which station really sent a message. The macvlan sees broadcasts of guests as well as what
//! they send to the gateway's virtual MAC when they renew; on the bridge only the former would arrive.
//!
//! A UDP socket on port 67 of the same interface stands by without ever being read: without it the kernel would
//! answer each renewal with "port unreachable".

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use overlayd_core::gateway::dhcp::datagram::{self, SERVER_PORT};
use overlayd_core::id::{IfName, Mac, SegmentId};
use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket, Type};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tracing::{debug, warn};

use super::bpf::{self, ACCEPT, REJECT};
use super::packet::{Carries, PacketSocket};
use super::task::Task;

/// Replies that may wait for the task; guests ask again for what is dropped beyond it.
const QUEUE: usize = 1024;
/// How long to wait before an interface that is missing is looked for again.
const REOPEN: Duration = Duration::from_millis(100);
/// No guest may send more than its MTU; ours goes up to jumbo frames.
const LARGEST_PACKET: usize = 16 * 1024;

/// A DHCP message from a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The segment it came in on.
    pub segment: SegmentId,
    /// The frame's source.
    pub source: Mac,
    /// The UDP payload.
    pub message: Vec<u8>,
}

/// A DHCP message to a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The frame's destination.
    pub destination_mac: Mac,
    /// The gateway address.
    pub source: Ipv4Addr,
    /// The guest's address, or the limited broadcast.
    pub destination: Ipv4Addr,
    /// The UDP payload.
    pub message: Vec<u8>,
}

/// The socket of one segment; dropping it closes it.
#[derive(Debug)]
pub struct Port {
    segment: SegmentId,
    replies: mpsc::Sender<Reply>,
    _task: Task,
}

impl Port {
    /// Begins to receive on `interface` (`gw-<segment>`), now or as soon as it is there, and whenever it comes back.
    ///
    /// While `received` is full nothing is read, and the kernel's own bounded buffer drops what comes beyond it.
    pub fn open(segment: SegmentId, interface: IfName, received: mpsc::Sender<Received>) -> Self {
        let (replies, outgoing) = mpsc::channel(QUEUE);
        let task = Task::spawn(serve(segment, interface, received, outgoing));
        Self {
            segment,
            replies,
            _task: task,
        }
    }

    /// Sends a reply, or drops it if too many wait.
    pub fn send(&self, reply: Reply) {
        if self.replies.try_send(reply).is_err() {
            debug!(segment = %self.segment, "DHCP reply dropped: queue full");
        }
    }
}

/// Owns both sockets. Safe to cancel anywhere: a message that is lost then is one that its guest repeats.
async fn serve(
    segment: SegmentId,
    interface: IfName,
    received: mpsc::Sender<Received>,
    mut outgoing: mpsc::Receiver<Reply>,
) {
    // Each reason is said once: while the interface is missing or down, this is tried ten times a second.
    let mut said = String::new();
    loop {
        let ended = match open(&interface) {
            Ok((socket, _holder)) => {
                debug!(%segment, %interface, "DHCP socket open");
                relay(segment, &socket, &received, &mut outgoing).await
            }
            Err(error) => Err(error),
        };
        let Err(error) = ended else { return };
        if error.to_string() != said {
            warn!(%interface, %error, "cannot open a DHCP socket on the gateway interface; retrying");
            said = error.to_string();
        }
        // What waited for the old socket is too old when there is a new one.
        while outgoing.try_recv().is_ok() {}
        sleep(REOPEN).await;
    }
}

/// Until nobody listens or sends any more.
async fn relay(
    segment: SegmentId,
    socket: &PacketSocket,
    received: &mpsc::Sender<Received>,
    outgoing: &mut mpsc::Receiver<Reply>,
) -> io::Result<()> {
    let mut buffer = vec![0; LARGEST_PACKET];
    loop {
        let (room, length, source) = tokio::select! {
            biased;
            reply = outgoing.recv() => {
                let Some(reply) = reply else { return Ok(()) };
                send(segment, socket, &reply);
                continue;
            }
            packet = receive(socket, received, &mut buffer) => match packet? {
                Some(packet) => packet,
                None => return Ok(()),
            },
        };
        match buffer.get(..length).and_then(datagram::unwrap) {
            Some(datagram) => room.send(Received {
                segment,
                source,
                message: datagram.payload.to_vec(),
            }),
            None => debug!(%segment, %source, length, "not a DHCP message"),
        }
    }
}

/// A packet, once there is room for its message; none when nobody listens any more.
async fn receive<'a>(
    socket: &PacketSocket,
    received: &'a mpsc::Sender<Received>,
    buffer: &mut [u8],
) -> io::Result<Option<(mpsc::Permit<'a, Received>, usize, Mac)>> {
    let Ok(room) = received.reserve().await else {
        return Ok(None);
    };
    let (length, source) = socket.receive(buffer).await?;
    Ok(Some((room, length, source)))
}

fn send(segment: SegmentId, socket: &PacketSocket, reply: &Reply) {
    let Some(packet) = datagram::wrap(reply.source, reply.destination, &reply.message) else {
        warn!(%segment, length = reply.message.len(), "DHCP reply too long for a packet");
        return;
    };
    if let Err(error) = socket.send(reply.destination_mac, &packet) {
        debug!(%segment, destination = %reply.destination_mac, %error, "DHCP reply not sent");
    }
}

fn open(interface: &IfName) -> io::Result<(PacketSocket, Option<Socket>)> {
    let socket = PacketSocket::receiving(interface, Carries::Ipv4, &UDP_TO_SERVER)?;
    let holder = match hold_port(interface) {
        Ok(holder) => Some(holder),
        Err(error) => {
            warn!(%interface, %error, "UDP port {SERVER_PORT} is taken: another DHCP server may also answer these guests");
            None
        }
    };
    Ok((socket, holder))
}

/// Port 67 on this interface, so that the kernel knows it as open; its filter throws all away.
fn hold_port(interface: &IfName) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM.cloexec(), Some(Protocol::UDP))?;
    socket.attach_filter(&[REJECT])?;
    socket.bind_device(Some(interface.as_str().as_bytes()))?;
    socket.bind(&SockAddr::from(std::net::SocketAddrV4::new(
        Ipv4Addr::UNSPECIFIED,
        SERVER_PORT,
    )))?;
    Ok(socket)
}

/// UDP, not a later fragment, to port 67, and for this link: not in a VLAN. The packet socket strips the Ethernet header.
const UDP_TO_SERVER: [SockFilter; 11] = [
    bpf::load_word(bpf::PACKET_TYPE),
    bpf::jump_equal(libc::PACKET_OTHERHOST as u32, 7, 0),
    bpf::load_byte(9),
    bpf::jump_equal(libc::IPPROTO_UDP as u32, 0, 5),
    bpf::load_half(6),
    bpf::jump_any_bit(0x1fff, 3, 0),
    bpf::index_header_length(0),
    bpf::load_half_after_header(2),
    bpf::jump_equal(SERVER_PORT as u32, 1, 0),
    REJECT,
    ACCEPT,
];
