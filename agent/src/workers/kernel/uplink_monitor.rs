//! The way out: each next hop is asked by ARP whether it is there.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::task::Poll;

use overlayd_core::config::UplinkSetting;
use overlayd_core::gateway::uplink::{self, NextHop};
use overlayd_core::id::Mac;
use tracing::debug;

use crate::clock;
use crate::netlink::Asker;
use crate::sockets::next_hop::Line;

/// The next hops that are asked, and those that were.
#[derive(Default)]
pub(super) struct UplinkMonitor {
    hops: BTreeMap<NextHop, Watched>,
    /// The setting under which a route was last seen to lead outside.
    pub(super) led_by: Option<UplinkSetting>,
}

#[derive(Default)]
struct Watched {
    watch: uplink::Watch,
    asker: Option<Asker>,
    line: Option<Line>,
}

/// Whether the word on a next hop is another one now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Changed,
    Same,
}

impl UplinkMonitor {
    /// Asks these from now on, and no other.
    pub(super) fn set(&mut self, asked: BTreeMap<NextHop, Asker>) {
        for (hop, it) in self.hops.iter_mut().filter(|(hop, _)| !asked.contains_key(hop)) {
            debug!(?hop, "no longer asked");
            it.watch.set(None);
            (it.asker, it.line) = (None, None);
        }
        for (hop, asker) in asked {
            let it = self.hops.entry(hop.clone()).or_default();
            it.watch.set(Some(hop));
            it.asker = Some(asker);
        }
    }

    /// What is known of a next hop that is asked.
    pub(super) fn watch(&self, hop: &NextHop) -> Option<&uplink::Watch> {
        self.hops.get(hop).map(|it| &it.watch)
    }

    /// When a next hop is to be asked, or has been silent for long enough.
    pub(super) async fn due(&self) {
        let next = self.hops.values().filter_map(|it| it.watch.poll_timeout()).min();
        match next {
            Some(at) => tokio::time::sleep(at.since(clock::now())).await,
            None => std::future::pending().await,
        }
    }

    /// Waits until one of them says something. Cancelling loses nothing.
    pub(super) async fn answer(&self) -> (NextHop, io::Result<Mac>) {
        let lines = self.hops.values().filter_map(|it| it.line.as_ref());
        let mut answers: Vec<_> = lines
            .map(|line| Box::pin(async move { (line.of().clone(), line.answer().await) }))
            .collect();
        poll_fn(move |context| {
            let mut ready = answers.iter_mut().map(|answer| answer.as_mut().poll(context));
            ready.find(Poll::is_ready).unwrap_or(Poll::Pending)
        })
        .await
    }

    pub(super) fn heard(&mut self, hop: &NextHop, answer: io::Result<Mac>) -> Word {
        self.hops.get_mut(hop).map_or(Word::Same, |it| it.heard(answer))
    }

    /// Asks those that are due.
    pub(super) fn ask(&mut self) -> Word {
        let words: Vec<Word> = self.hops.values_mut().map(Watched::ask).collect();
        if words.contains(&Word::Changed) {
            Word::Changed
        } else {
            Word::Same
        }
    }
}

impl Watched {
    fn heard(&mut self, answer: io::Result<Mac>) -> Word {
        let before = self.watch.silent().is_some();
        match answer {
            Ok(from) => self.watch.handle_answer(from),
            // The interface went down or away: the next question opens the line anew.
            Err(_) => self.line = None,
        }
        self.news(before)
    }

    fn ask(&mut self) -> Word {
        let before = self.watch.silent().is_some();
        if self.watch.poll_timeout().is_none_or(|at| at > clock::now()) {
            return Word::Same;
        }
        // An answer may lie ready already while this thread was at work: that is one.
        if let Some(from) = self.line.as_ref().and_then(Line::answered) {
            return self.heard(Ok(from));
        }
        if let Some(question) = self.watch.handle_timeout(clock::now()) {
            if self.line.is_none() {
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
