//! A packet socket on one interface, and the addresses that the kernel wants for it.
//!
//! `SOCK_DGRAM`: the kernel writes the Ethernet header, with the interface's own MAC as the source; on `gw-<segment>`
//! that is the gateway's virtual MAC.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::sys::socket::{LinkAddr, MsgFlags, bind, recvfrom, sendto, setsockopt, sockopt};
use overlayd_core::id::{IfName, Mac};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::io::unix::AsyncFd;

use crate::system::{link_address, watch_socket};

/// What waits to be read while the agent is busy: some thousand DHCP messages.
const RECEIVE_BUFFER: usize = 4 << 20;

/// IEEE 802, Local Experimental Ethertype 1.
const LOCAL_EXPERIMENTAL: i32 = 0x88b5;

/// What the socket carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carries {
    Ipv4,
    Arp,
    /// See [`super::path`].
    Path,
}

impl Carries {
    /// The EtherType in network byte order, as `socket(2)` and `sockaddr_ll` want it.
    fn protocol(self) -> u16 {
        let ethertype = match self {
            Self::Ipv4 => libc::ETH_P_IP,
            Self::Arp => libc::ETH_P_ARP,
            Self::Path => LOCAL_EXPERIMENTAL,
        };
        (ethertype as u16).to_be()
    }
}

pub(super) struct PacketSocket {
    socket: AsyncFd<Socket>,
    index: u32,
    carries: Carries,
}

impl PacketSocket {
    /// A socket that receives what `filter` lets through.
    ///
    /// # Errors
    /// No such interface, or no `CAP_NET_RAW`.
    pub(super) fn receiving(interface: &IfName, carries: Carries, filter: &[SockFilter]) -> io::Result<Self> {
        let this = Self::sending(interface, carries)?;
        let socket = this.socket.get_ref();
        // Filter before binding: until bound, nothing comes in.
        socket.attach_filter(filter)?;
        if setsockopt(socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
            // Without CAP_NET_ADMIN the machine's limit holds.
            socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        }
        bind(socket.as_raw_fd(), &this.address(Mac::ZERO)?)?;
        Ok(this)
    }

    /// A socket that receives what `filter` lets through, on whatever interface.
    ///
    /// # Errors
    /// No `CAP_NET_RAW`.
    pub(super) fn everywhere(carries: Carries, filter: &[SockFilter]) -> io::Result<Self> {
        let this = Self::on(0, carries)?;
        let socket = this.socket.get_ref();
        socket.attach_filter(filter)?;
        bind(socket.as_raw_fd(), &this.address(Mac::ZERO)?)?;
        Ok(this)
    }

    /// A socket that only sends: protocol 0 receives nothing (`packet(7)`).
    ///
    /// # Errors
    /// No such interface, or no `CAP_NET_RAW`.
    pub(super) fn sending(interface: &IfName, carries: Carries) -> io::Result<Self> {
        Self::on(index_of(interface)?, carries)
    }

    fn on(index: u32, carries: Carries) -> io::Result<Self> {
        let socket = Socket::new(
            Domain::PACKET,
            Type::DGRAM.nonblocking().cloexec(),
            Some(Protocol::from(0)),
        )?;
        Ok(Self {
            socket: watch_socket(socket, super::NEWS)?,
            index,
            carries,
        })
    }

    /// The next packet and the source of its frame. Cancelling loses nothing: a packet is taken only when returned.
    ///
    /// # Errors
    /// The interface went down or away: open the socket anew.
    pub(super) async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Mac)> {
        let (length, from) = self.socket.async_io(super::NEWS, |socket| read(socket, buffer)).await?;
        Ok((length, source(from)))
    }

    /// The next packet and the index of the interface that it came in by. Cancelling loses nothing.
    ///
    /// # Errors
    /// The socket broke.
    pub(super) async fn receive_at(&self, buffer: &mut [u8]) -> io::Result<(usize, u32)> {
        let (length, from) = self.socket.async_io(super::NEWS, |socket| read(socket, buffer)).await?;
        let index = from.and_then(|from| u32::try_from(from.ifindex()).ok());
        Ok((length, index.unwrap_or_default()))
    }

    /// The same, if there is one already.
    ///
    /// # Errors
    /// There is none; or as [`PacketSocket::receive`].
    pub(super) fn receive_now(&self, buffer: &mut [u8]) -> io::Result<(usize, Mac)> {
        let (length, from) = read(self.socket.get_ref(), buffer)?;
        Ok((length, source(from)))
    }

    /// Sends at once or not at all.
    ///
    /// # Errors
    /// The interface is down or away, or its queue is full.
    pub(super) fn send(&self, destination: Mac, packet: &[u8]) -> io::Result<()> {
        self.send_to(&self.address(destination)?, packet)
    }

    /// The same by an interface of choice.
    ///
    /// # Errors
    /// As [`PacketSocket::send`].
    pub(super) fn send_by(&self, interface: &IfName, destination: Mac, packet: &[u8]) -> io::Result<()> {
        let address = link_address(self.carries.protocol(), index_of(interface)?, destination)?;
        self.send_to(&address, packet)
    }

    fn send_to(&self, address: &LinkAddr, packet: &[u8]) -> io::Result<()> {
        let socket = self.socket.get_ref().as_fd();
        sendto(socket.as_raw_fd(), packet, address, MsgFlags::empty())?;
        Ok(())
    }

    fn address(&self, mac: Mac) -> io::Result<LinkAddr> {
        link_address(self.carries.protocol(), self.index, mac)
    }
}

fn index_of(interface: &IfName) -> io::Result<u32> {
    Ok(nix::net::if_::if_nametoindex(interface.as_str())?)
}

fn read(socket: &Socket, buffer: &mut [u8]) -> io::Result<(usize, Option<LinkAddr>)> {
    Ok(recvfrom::<LinkAddr>(socket.as_raw_fd(), buffer)?)
}

fn source(from: Option<LinkAddr>) -> Mac {
    from.and_then(|from| from.addr()).map_or(Mac::ZERO, Mac)
}
