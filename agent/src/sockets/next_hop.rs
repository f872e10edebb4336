//! Asks the next hop of the default route, by ARP on a socket of its own, and hears it answer.
//!
//! The kernel's neighbour table is left alone: it is the host's, and it asks only when there is something to send.

use std::io;

use overlayd_core::gateway::uplink::{NextHop, Question};
use overlayd_core::id::Mac;
use socket2::SockFilter;

use super::arp;
use super::bpf::{self, ACCEPT, REJECT};
use super::packet::{Carries, PacketSocket};
use crate::netlink::Asker;

/// One next hop's socket; dropping it closes it.
pub struct Line {
    of: NextHop,
    socket: PacketSocket,
}

impl Line {
    /// A socket that hears what this next hop says by ARP.
    ///
    /// # Errors
    /// No such interface, or no `CAP_NET_RAW`.
    pub fn open(of: NextHop) -> io::Result<Self> {
        let socket = PacketSocket::receiving(&of.link, Carries::Arp, &said_by(&of))?;
        Ok(Self { of, socket })
    }

    /// Whose it is.
    pub fn of(&self) -> &NextHop {
        &self.of
    }

    /// Asks once.
    ///
    /// # Errors
    /// The interface is down or away, or its queue is full.
    pub fn ask(&self, question: &Question, asker: Asker) -> io::Result<()> {
        let packet = arp::request(asker.mac, asker.address, question.of.address);
        self.socket.send(question.to, &packet)
    }

    /// Waits until the next hop says something; its MAC. Cancelling loses nothing.
    ///
    /// # Errors
    /// The interface went down or away: open the line anew.
    pub async fn answer(&self) -> io::Result<Mac> {
        // The frame's source, not what stands in the packet: that is where questions are to go.
        self.socket.receive(&mut [0; arp::LENGTH]).await.map(|(_, from)| from)
    }

    /// What the next hop has said already, although nobody was told yet that it lies ready.
    pub fn answered(&self) -> Option<Mac> {
        self.socket
            .receive_now(&mut [0; arp::LENGTH])
            .ok()
            .map(|(_, from)| from)
    }
}

fn said_by(hop: &NextHop) -> [SockFilter; 4] {
    [
        bpf::load_word(arp::SENDER),
        bpf::jump_equal(hop.address.to_bits(), 0, 1),
        ACCEPT,
        REJECT,
    ]
}
