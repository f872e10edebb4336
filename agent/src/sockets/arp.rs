//! Gratuitous ARP: tells guests and bridges where the gateway address is now.
//!
//! Both forms are sent (RFC 5227 section 3 discusses them): requests are what most stacks listen to, replies what some
//! switches and old guests want. Several times, because the first ones meet ports that are only just coming up.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use overlayd_core::id::{IfName, Mac, SegmentId};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

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
