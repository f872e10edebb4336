//! Small frames from VXLAN device to VXLAN device, by which hosts watch whether guests' frames get through.
//!
//! One goes out by a segment's device to the MAC of one peer's device. There that MAC is the bridge's own: the frame is handed
//! to the host and to no guest. One socket sends and hears those of all segments, and nothing else wakes it: closing one
//! would take the kernel some 20 ms.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use overlayd_core::cluster::path_watch::Frame;
use overlayd_core::id::{HostId, IfName, Mac, SegmentId};
use socket2::SockFilter;
use tracing::warn;

use super::bpf::{self, ACCEPT, REJECT};
use super::packet::{Carries, PacketSocket};
use super::task::Task;
use crate::netlink::link_name;

/// What a frame begins with.
const MAGIC: u32 = u32::from_be_bytes(*b"ovp1");
const LENGTH: usize = 28;
/// A guest may send such frames to its bridge's MAC, as many as it likes: no more than so many are looked at ...
const AT_ONCE: usize = 8;
/// ... in this time.
const REST: Duration = Duration::from_millis(20);

/// Sends frames and hears those of others; dropping it closes its socket.
pub struct Watcher {
    socket: Arc<PacketSocket>,
    _task: Task,
}

impl Watcher {
    /// Opens the socket; `hear` is told each frame and the bridge that it came to.
    ///
    /// # Errors
    /// No `CAP_NET_RAW`.
    pub fn open(hear: impl Fn(IfName, Frame) + Send + 'static) -> io::Result<Self> {
        // What guests send to all is not for this host alone.
        let filter: [SockFilter; 6] = [
            bpf::LOAD_PACKET_TYPE,
            bpf::jump_equal(u32::from(libc::PACKET_HOST), 0, 3),
            bpf::load_word(0),
            bpf::jump_equal(MAGIC, 0, 1),
            ACCEPT,
            REJECT,
        ];
        let socket = Arc::new(PacketSocket::everywhere(Carries::Path, &filter)?);
        Ok(Self {
            // Owns nothing but its share of the socket.
            _task: Task::spawn(run(Arc::clone(&socket), hear)),
            socket,
        })
    }

    /// Sends one frame.
    ///
    /// # Errors
    /// The device is down or away.
    pub fn send(&self, link: &IfName, to: Mac, frame: Frame) -> io::Result<()> {
        self.socket.send_by(link, to, &encode(frame))
    }
}

/// Safe to cancel anywhere: a frame that was not told is one that was lost.
async fn run(socket: Arc<PacketSocket>, hear: impl Fn(IfName, Frame) + Send) {
    let mut buffer = [0; LENGTH];
    loop {
        for _ in 0..AT_ONCE {
            match socket.receive_at(&mut buffer).await {
                Ok((length, index)) => {
                    if let (Some(frame), Some(bridge)) = (decode(&buffer[..length]), link_name(index)) {
                        hear(bridge, frame);
                    }
                }
                Err(error) => warn!(%error, "cannot receive a frame that watches the way between hosts"),
            }
        }
        tokio::time::sleep(REST).await;
    }
}

fn encode(frame: Frame) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    bytes[..4].copy_from_slice(&MAGIC.to_be_bytes());
    bytes[4..12].copy_from_slice(&frame.from.0.to_be_bytes());
    bytes[12..20].copy_from_slice(&frame.segment.0.to_be_bytes());
    bytes[20..].copy_from_slice(&frame.number.to_be_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Frame> {
    let (magic, rest) = bytes.split_first_chunk::<4>()?;
    let (from, rest) = rest.split_first_chunk::<8>()?;
    let (segment, rest) = rest.split_first_chunk::<8>()?;
    let (number, _) = rest.split_first_chunk::<8>()?;
    (u32::from_be_bytes(*magic) == MAGIC).then(|| Frame {
        from: HostId(u64::from_be_bytes(*from)),
        segment: SegmentId(u64::from_be_bytes(*segment)),
        number: u64::from_be_bytes(*number),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_as_it_was_written_and_nothing_else_is_one() {
        let frame = Frame {
            from: HostId(1),
            segment: SegmentId(u64::MAX),
            number: 3,
        };
        let bytes = encode(frame);
        assert_eq!(decode(&bytes), Some(frame));
        assert_eq!(decode(&bytes[..LENGTH - 1]), None);
        assert_eq!(decode(&[0; LENGTH]), None);
    }
}
