//! The only clock that decides anything: it also runs while the host is suspended.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use overlayd_core::time::Instant;

/// Milliseconds of `CLOCK_BOOTTIME`.
pub fn now() -> Instant {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("CLOCK_BOOTTIME exists since Linux 2.6.39");
    let millis = time.tv_sec() as u64 * 1000 + time.tv_nsec() as u64 / 1_000_000;
    Instant::from_millis(millis)
}

/// The processor time that this thread has used.
pub fn thread_time() -> Duration {
    let time =
        clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("CLOCK_THREAD_CPUTIME_ID exists since Linux 2.6.12");
    time.into()
}

/// Wall-clock milliseconds since 1970, for display only.
pub fn wall_millis() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}
