//! What this host hears of another one: signs of life, echoes, the terms that it holds, its kernel.

use super::message::{Echo, GroupId, Header, Held};
use super::timing;
use crate::cluster::reachability::{Liveness, Row};
use crate::time::{Duration, Instant};

/// Another host of the cluster.
#[derive(Clone, Debug)]
pub(super) struct RemoteHost {
    /// Since when it is known here; it cannot have been silent for longer.
    known: Instant,
    /// (instance, sequence) of the last message.
    last: Option<(u64, u64)>,
    /// What to echo.
    pub(super) echo: Option<Echo>,
    /// When it last gave a fresh echo of this host's.
    heard: Option<Instant>,
    /// The latest time of this host's clock that it has echoed.
    echoed: Option<Instant>,
    /// When the last message came.
    received: Option<Instant>,
    /// The terms in its last header.
    held: Vec<Held>,
    /// Agent and kernel are silent.
    life: Life,
    /// Its kernel left a probe unanswered, and has not always done so.
    doubt: Doubt,
    /// Why its kernel is to be probed often.
    pub(super) watch: Watch,
    /// When it was last sent a `Ping`.
    pub(super) pinged: Option<Instant>,
    /// When it was last sent a `Hello`.
    pub(super) greeted: Option<Instant>,
}

/// How closely another kernel is watched; the strictest of all groups counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Watch {
    /// No vote is shared.
    Stranger,
    /// A fellow voter: now and then.
    Member,
    /// Something waits for it.
    Closely,
    /// It is a silent holder.
    SuspectedHolder,
}

/// Whether agent and kernel have been found dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Alive,
    Dead,
}

/// Whether a fellow voter is looked at more closely for the time being.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    None,
    Some,
}

/// Whether a message is news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Newer than all before.
    Fresh,
    /// It repeats, or was overtaken by, another one.
    Stale,
}

impl RemoteHost {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            known: now,
            last: None,
            echo: None,
            heard: None,
            echoed: None,
            received: None,
            held: Vec::new(),
            life: Life::Alive,
            doubt: Doubt::None,
            watch: Watch::Stranger,
            pinged: None,
            greeted: None,
        }
    }

    /// Takes a header in; `instance` is this host's own.
    pub(super) fn hear(&mut self, header: &Header, instance: u64, now: Instant) -> News {
        let this = (header.instance, header.sequence);
        if self.last.is_some_and(|last| this <= last) {
            return News::Stale;
        }
        self.last = Some(this);
        self.echo = Some(Echo {
            instance: header.instance,
            sent: header.sent,
        });
        self.received = Some(now);
        self.held.clone_from(&header.held);
        if !self.held.is_sorted_by_key(|held| held.group) {
            self.held.sort_by_key(|held| held.group);
        }
        // What answers a former instance of this host says nothing about now.
        if let Some(echo) = header.echo.filter(|echo| echo.instance == instance) {
            let sent = Instant::from_millis(echo.sent).min(now);
            self.echoed = self.echoed.max(Some(sent));
            if now.since(sent) <= timing::REACH {
                self.heard = Some(now);
                self.revive();
            }
        }
        News::Fresh
    }

    /// A sign of life, or a gap in this host's own running: what was thought of it is over.
    pub(super) fn revive(&mut self) {
        self.life = Life::Alive;
    }

    /// Its agent said something on any stream: where no vote is shared none of the election's will follow, and no probe.
    pub(super) fn heard_elsewhere(&mut self) {
        if self.watch == Watch::Stranger {
            self.revive();
        }
    }

    /// How long it has not been heard, counted from `listening` (this host's start or last gap) at the earliest.
    pub(super) fn silence(&self, listening: Instant, now: Instant) -> Duration {
        now.since(self.heard.unwrap_or(self.known).max(self.known).max(listening))
    }

    /// When it was last heard.
    pub(super) fn heard(&self) -> Option<Instant> {
        self.heard
    }

    /// Whether it has been heard within [`timing::REACH`].
    pub(super) fn reachable(&self, now: Instant) -> bool {
        self.heard.is_some_and(|heard| now.since(heard) <= timing::REACH)
    }

    /// Whether it has echoed something sent at `since` or later.
    pub(super) fn echoed_since(&self, since: Instant) -> bool {
        self.echoed.is_some_and(|echoed| echoed >= since)
    }

    /// Whether any message of it came within `span`.
    pub(super) fn received_within(&self, span: Duration, now: Instant) -> bool {
        self.received.is_some_and(|received| now.since(received) <= span)
    }

    /// Its term in the group, as its last header said.
    pub(super) fn held(&self, group: GroupId) -> Option<&Held> {
        let at = self.held.binary_search_by_key(&group, |held| held.group).ok()?;
        self.held.get(at)
    }

    /// Whether it has failed: not heard for [`timing::FAILED`].
    pub(super) fn failed(&self, listening: Instant, now: Instant) -> bool {
        self.silence(listening, now) >= timing::FAILED
    }

    /// Whether agent and kernel are dead.
    pub(super) fn dead(&self) -> bool {
        self.life == Life::Dead
    }

    /// Looks whether it is dead by now. `row`: what its kernel's probes have shown; `None`: it has never answered one.
    pub(super) fn judge(&mut self, row: Option<Row>, listening: Instant, now: Instant) {
        let span = match self.watch {
            Watch::SuspectedHolder => timing::DEAD_SPAN_HOLDER,
            Watch::Stranger | Watch::Member | Watch::Closely => timing::DEAD_SPAN,
        };
        let silent = self.silence(listening, now) >= timing::DEAD_SILENCE;
        self.doubt = Doubt::None;
        let Some(row) = row else { return };
        let voted = self.watch > Watch::Stranger;
        if voted && silent && is_kernel_silent(row, span, now) {
            self.life = Life::Dead;
        }
        // More than twice as many probes as decide tell no more.
        if self.life == Life::Alive && (1..2 * timing::DEAD_PROBES).contains(&row.unanswered) {
            self.doubt = Doubt::Some;
        }
    }

    /// Whether it is a voter that left a probe unanswered: its agent is asked, too.
    pub(super) fn doubted(&self) -> bool {
        self.watch >= Watch::Member && self.doubt == Doubt::Some
    }

    /// How often its kernel is to be probed: the election's whole policy.
    pub(super) fn pace(&self, listening: Instant, now: Instant) -> Option<Duration> {
        match self.watch {
            Watch::Stranger => None,
            Watch::Member if self.doubted() => Some(timing::PROBE),
            Watch::Member => Some(timing::PROBE_ANYWAY),
            Watch::Closely | Watch::SuspectedHolder => {
                if self.dead() || self.silence(listening, now) >= timing::SLOW_AFTER {
                    Some(timing::PROBE_SLOWLY)
                } else {
                    Some(timing::PROBE)
                }
            }
        }
    }

    /// How it seems.
    pub(super) fn liveness(&self, listening: Instant, now: Instant) -> Liveness {
        match self.life {
            Life::Dead => Liveness::Dead,
            Life::Alive if self.failed(listening, now) => Liveness::Silent,
            Life::Alive => Liveness::Heard,
        }
    }
}

/// Whether a long enough row over `span` is unanswered.
fn is_kernel_silent(row: Row, span: Duration, now: Instant) -> bool {
    row.lasts(timing::DEAD_PROBES, span, now)
        && row
            .answered
            .is_none_or(|answered| now.since(answered) >= timing::DEAD_SILENCE)
}
