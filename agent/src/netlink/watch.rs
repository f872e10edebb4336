//! What the kernel tells of its own accord: reasons to look again, and guests that a bridge learnt.
//!
//! An event carries no state that anybody relies on: it names an interface to look at. A handful of operations makes
//! dozens of messages, so everything that lies ready is folded into one [`News`]. When messages were lost, the news
//! is that everything must be looked at.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use netlink_packet_route::link::LinkAttribute;
use netlink_packet_route::neighbour::{NeighbourFlags, NeighbourMessage, NeighbourState};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};
use overlayd_core::id::{IfName, Mac};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::connection::{decode_events, force_queues};
use super::error::Error;
use super::fdb::Entry;
use crate::system::watch_netlink;

/// `RTNLGRP_LINK`, `_NEIGH`, `_IPV4_IFADDR`, `_IPV4_ROUTE`, `_IPV6_IFADDR`, `_IPV6_ROUTE` (`linux/rtnetlink.h`).
const GROUPS: [u32; 6] = [1, 3, 5, 7, 9, 11];

/// Room for the messages of a hundred thousand forwarding entries that are set while nobody reads.
const QUEUE: usize = 32 << 20;

/// Most bytes of one datagram from a group: a link with all its statistics is a few kilobytes.
const READ: usize = 64 * 1024;

/// What happened since the last news.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Messages were lost: look at everything, guests too.
    pub overrun: bool,
    /// Interfaces by index that came, went or changed, or whose addresses or entries of ours did; the name where the
    /// message told it.
    pub interfaces: BTreeMap<u32, Option<IfName>>,
    /// One of them went, or left its bridge.
    pub gone: bool,
    /// A route came or went.
    pub routes: bool,
    /// What bridges learnt and forgot, in the order of its happening.
    pub guests: Vec<(Guest, Sighting)>,
    /// What VXLAN interfaces learnt: the interface's index, the guest, and the VTEP that its frame came from.
    pub far: Vec<(u32, Mac, IpAddr)>,
}

impl News {
    /// Whether there is a reason to look at the host again.
    pub fn asks_for_a_look(&self) -> bool {
        self.overrun || self.routes || !self.interfaces.is_empty()
    }
}

/// A MAC behind a port of a bridge, by the interfaces' indexes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Guest {
    /// The address that was seen as a source.
    pub mac: Mac,
    /// The port that it was seen on; this may be a VXLAN interface, whose guests are remote.
    pub port: u32,
    /// The bridge.
    pub bridge: u32,
}

/// What a bridge says about a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// It sent a frame, for the first time or from another port than before.
    Learned,
    /// It was silent for the ageing time, or its port went away.
    Forgotten,
}

/// The listening socket.
pub struct Watch {
    socket: AsyncFd<Socket>,
    buffer: Vec<u8>,
}

impl Watch {
    /// Listens in the network namespace of the calling thread. Must be called in a tokio runtime with IO.
    ///
    /// # Errors
    /// There is no socket to be had.
    pub fn open() -> Result<Self, Error> {
        Ok(Self {
            socket: open_socket().map_err(Error::Open)?,
            buffer: Vec::with_capacity(READ),
        })
    }

    /// Waits until there is news. Cancelling it loses nothing: messages stay in the socket until they are returned.
    ///
    /// # Errors
    /// The socket broke; it was replaced, and everything must be looked at.
    pub async fn next(&mut self) -> Result<News, Error> {
        loop {
            let mut ready = self.socket.readable().await.map_err(Error::Open)?;
            let mut news = News::default();
            loop {
                self.buffer.clear();
                match ready.get_inner().recv(&mut self.buffer, 0) {
                    Ok(_) => {
                        for message in decode_events(&self.buffer) {
                            news.add(&message);
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        ready.clear_ready();
                        break;
                    }
                    Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => news.overrun = true,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => {
                        drop(ready);
                        self.socket = open_socket().map_err(Error::Open)?;
                        return Err(Error::Lost(error));
                    }
                }
            }
            if news != News::default() {
                return Ok(news);
            }
        }
    }
}

impl News {
    fn add(&mut self, message: &RouteNetlinkMessage) {
        match message {
            RouteNetlinkMessage::NewLink(link) | RouteNetlinkMessage::DelLink(link) => {
                let name = link.attributes.iter().find_map(|attribute| match attribute {
                    LinkAttribute::IfName(name) => IfName::new(name.as_str()).ok(),
                    _ => None,
                });
                self.interfaces.insert(link.header.index, name);
                self.gone |= matches!(message, RouteNetlinkMessage::DelLink(_));
            }
            RouteNetlinkMessage::NewAddress(address) | RouteNetlinkMessage::DelAddress(address) => {
                self.interfaces.entry(address.header.index).or_default();
            }
            RouteNetlinkMessage::NewRoute(_) | RouteNetlinkMessage::DelRoute(_) => self.routes = true,
            RouteNetlinkMessage::NewNeighbour(entry) => self.add_neighbour(entry, Sighting::Learned),
            RouteNetlinkMessage::DelNeighbour(entry) => self.add_neighbour(entry, Sighting::Forgotten),
            _ => {}
        }
    }

    /// A bridge's own learning is a sighting and no reason to look; a lost entry that somebody had set is one.
    fn add_neighbour(&mut self, message: &NeighbourMessage, sighting: Sighting) {
        let header = &message.header;
        let entry = Entry::read(message);
        let set_by_hand = header.flags.contains(NeighbourFlags::ExtLearned)
            || matches!(header.state, NeighbourState::Permanent | NeighbourState::Noarp);
        let in_a_bridge = header.family == AddressFamily::Bridge && !header.flags.contains(NeighbourFlags::Own);
        if in_a_bridge && !set_by_hand {
            if let (Some(mac), Some(bridge)) = (entry.mac, entry.bridge) {
                self.guests.push((
                    Guest {
                        mac,
                        port: header.ifindex,
                        bridge,
                    },
                    sighting,
                ));
            }
        } else if let (AddressFamily::Bridge, false, Sighting::Learned) = (header.family, set_by_hand, sighting)
            && let (Some(mac), Some(vtep)) = (entry.mac, entry.destination)
        {
            self.far.push((header.ifindex, mac, vtep));
        } else if set_by_hand && (sighting == Sighting::Forgotten || entry.mac == Some(Mac::ZERO)) {
            self.interfaces.entry(header.ifindex).or_default();
        }
    }
}

fn open_socket() -> io::Result<AsyncFd<Socket>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    force_queues(&socket, QUEUE);
    for group in GROUPS {
        socket.add_membership(group)?;
    }
    socket.set_non_blocking(true)?;
    watch_netlink(socket, Interest::READABLE)
}
