//! The way out: the next hop is asked by ARP whether it is there.

use overlayd_core::gateway::uplink;
use overlayd_core::id::{IfName, Mac};
use tracing::debug;

use crate::clock;
use crate::netlink::Asker;
use crate::sockets::next_hop::Line;

/// The next hop that is asked, and how.
#[derive(Default)]
pub(super) struct UplinkMonitor {
    pub(super) watch: uplink::Watch,
    pub(super) asker: Option<Asker>,
    /// The uplink by which a default route was last seen to lead.
    pub(super) led_by: Option<IfName>,
    line: Option<Line>,
}

/// Whether the word on the next hop is another one now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Changed,
    Same,
}

impl UplinkMonitor {
    /// When the next hop is to be asked, or has been silent for long enough.
    pub(super) async fn due(&self) {
        match self.watch.poll_timeout() {
            Some(at) => tokio::time::sleep(at.since(clock::now())).await,
            None => std::future::pending().await,
        }
    }

    pub(super) async fn answer(&self) -> std::io::Result<Mac> {
        match &self.line {
            Some(line) => line.answer().await,
            None => std::future::pending().await,
        }
    }

    pub(super) fn heard(&mut self, answer: std::io::Result<Mac>) -> Word {
        let before = self.watch.silent().is_some();
        let ours = |line: &Line| Some(line.of()) == self.watch.hop();
        match answer {
            Ok(from) if self.line.as_ref().is_some_and(ours) => self.watch.handle_answer(from),
            Ok(_) => {}
            // The interface went down or away: the next question opens the line anew.
            Err(_) => self.line = None,
        }
        self.news(before)
    }

    pub(super) fn ask(&mut self) -> Word {
        let before = self.watch.silent().is_some();
        // An answer may lie ready already while this thread was at work: that is one.
        if let Some(from) = self.line.as_ref().and_then(Line::answered) {
            return self.heard(Ok(from));
        }
        if let Some(question) = self.watch.handle_timeout(clock::now()) {
            if self.line.as_ref().is_none_or(|line| *line.of() != question.of) {
                self.line = Line::open(question.of.clone())
                    .inspect_err(|problem| debug!(%problem, "cannot probe the next hop"))
                    .ok();
            }
            let asked = match (&self.line, self.asker) {
                (Some(line), Some(asker)) => line.ask(&question, asker).is_ok(),
                (None, _) | (_, None) => false,
            };
            if !asked {
                self.watch.handle_unsent();
            }
        }
        self.news(before)
    }

    fn news(&self, was_silent: bool) -> Word {
        if self.watch.silent().is_some() == was_silent {
            Word::Same
        } else {
            Word::Changed
        }
    }
}
