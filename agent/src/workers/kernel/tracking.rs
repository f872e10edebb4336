//! Whether the kernel tracks connections: it says how many it knows, and one that was just made shows whether it counts.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use overlayd_core::kernel::inputs::Tracking;
use tokio::time::Instant;

use crate::sysctl;

/// The kernel keeps a connection that was made to ask for half a minute, and looks come in bursts.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Another connection may end just when ours is made.
const TRIES: usize = 3;

/// What is asked, and what the kernel last answered.
#[derive(Debug, Default)]
pub(super) struct Question {
    last: Option<(Instant, Tracking)>,
}

impl Question {
    pub(super) fn ask(&mut self) -> Tracking {
        if let Some((at, known)) = self.last
            && at.elapsed() < ASK_EVERY
        {
            return known;
        }
        let now = tracking();
        self.last = Some((Instant::now(), now));
        now
    }
}

fn tracking() -> Tracking {
    if (0..TRIES).any(|_| one_more_counts()) {
        Tracking::On
    } else {
        Tracking::Off
    }
}

fn one_more_counts() -> bool {
    // A kernel without connection tracking counts nothing.
    let Some(before) = count() else { return false };
    // Where none can be made it cannot be found out: rules that keep outer VXLAN out of it do no harm.
    connect_to_oneself().is_err() || count().is_none_or(|after| after > before)
}

fn count() -> Option<u64> {
    sysctl::read("net/netfilter/nf_conntrack_count").ok()??.parse().ok()
}

/// The kernel has counted it before `send_to` returns.
fn connect_to_oneself() -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.send_to(&[0], socket.local_addr()?)?;
    Ok(())
}
