//! What systemd is told: once that the agent is ready, and again and again that it still runs. Without systemd nobody
//! listens, and nothing is missed.

use std::time::{Duration, Instant};

use tracing::info;

/// What was told so far.
#[derive(Debug)]
pub(crate) struct Systemd {
    readiness: Readiness,
    /// How often the watchdog wants to hear, and when it last did.
    watchdog: Option<(Duration, Instant)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readiness {
    Starting,
    Ready,
}

impl Systemd {
    pub(crate) fn new() -> Self {
        Self {
            readiness: Readiness::Starting,
            // A third of what would be too late, so that two beats may be lost.
            watchdog: sd_notify::watchdog_enabled().map(|patience| (patience / 3, Instant::now())),
        }
    }

    pub(crate) fn ready(&mut self) {
        if self.readiness == Readiness::Starting {
            self.readiness = Readiness::Ready;
            info!("ready");
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        }
    }

    /// Reassures the watchdog when that is due.
    pub(crate) fn beat(&mut self) {
        if let Some((every, last)) = &mut self.watchdog
            && last.elapsed() >= *every
        {
            *last = Instant::now();
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
        }
    }

    /// How long until [`Systemd::beat`] is due.
    pub(crate) fn next_beat(&self) -> Option<Duration> {
        self.watchdog.map(|(every, last)| every.saturating_sub(last.elapsed()))
    }
}
