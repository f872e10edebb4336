//! What all groups of this host share: the other hosts, what is to be sent to them, the own uplink.
//!
//! Everything said during one call of the machine leaves in one message per receiver.

use std::collections::{BTreeMap, VecDeque};

use super::effect::{Effect, ElectionTimer, Start};
use super::message::{ElectionCandidacy, ElectionUplink, GroupId, Header, Held, Message, Part, Says};
use super::peer::{News, RemoteHost, Watch};
use super::timing;
use super::view::{ElectionView, HostStanding, HostView};
use crate::cluster::reachability::{Outcome, ProbeReport, Reachability};
use crate::id::HostId;
use crate::time::{Duration, Instant};

/// Whether a beat is due in a pass over all groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    /// Renewals, asks and pings leave.
    Beat,
    /// Something happened between beats.
    Between,
}

/// This host, as its groups share it.
#[derive(Debug)]
pub(super) struct LocalHost {
    pub(super) me: HostId,
    instance: u64,
    sequence: u64,
    rests: u64,
    hosts: BTreeMap<HostId, HostView>,
    peers: BTreeMap<HostId, RemoteHost>,
    pub(super) reachability: Reachability,
    uplink: ElectionUplink,
    /// Since when the own uplink has been what it is.
    own_uplink_since: Instant,
    /// What it gives way to, before gossip says so.
    own_candidacy: ElectionCandidacy,
    /// Since when each host's uplink has been what it is, and when membership gave a host up.
    uplink_since: BTreeMap<HostId, (ElectionUplink, Instant)>,
    given_up: BTreeMap<HostId, Instant>,
    /// This host's start, or its last gap.
    pub(super) listening: Instant,
    outbox: BTreeMap<HostId, Vec<Part>>,
    timer: Option<(Instant, ElectionTimer)>,
    pub(super) effects: VecDeque<Effect>,
}

impl LocalHost {
    pub(super) fn new(start: &Start, now: Instant) -> Self {
        Self {
            me: start.me,
            instance: start.instance,
            sequence: 0,
            rests: start.seed,
            hosts: BTreeMap::new(),
            peers: BTreeMap::new(),
            reachability: Reachability::new(start.kernel_answered.clone()),
            uplink: ElectionUplink::Works,
            own_uplink_since: now,
            own_candidacy: ElectionCandidacy::Candidate,
            uplink_since: BTreeMap::new(),
            given_up: BTreeMap::new(),
            listening: now,
            outbox: BTreeMap::new(),
            timer: None,
            effects: VecDeque::new(),
        }
    }

    /// Takes over who is there; hosts that left or were removed are forgotten at once.
    pub(super) fn set_hosts(&mut self, view: &ElectionView, now: Instant) {
        self.hosts = view.hosts.clone();
        let present = |hosts: &BTreeMap<HostId, HostView>, host| {
            hosts
                .get(&host)
                .is_some_and(|view| view.standing != HostStanding::Removed)
        };
        self.peers.retain(|host, _| present(&view.hosts, *host));
        self.outbox.retain(|host, _| present(&view.hosts, *host));
        self.reachability.retain(|host| present(&view.hosts, host));
        let known = self.reachability.ever_answered().len();
        self.reachability.forget_kernels(|host| {
            let seen = view.hosts.get(&host);
            seen.is_some_and(|view| view.standing == HostStanding::Removed)
        });
        if self.reachability.ever_answered().len() < known {
            self.persist();
        }
        self.uplink_since.retain(|host, _| view.hosts.contains_key(host));
        self.given_up.retain(|host, _| {
            view.hosts
                .get(host)
                .is_some_and(|view| view.standing == HostStanding::Failed)
        });
        for (&host, seen) in &view.hosts {
            if seen.standing == HostStanding::Failed {
                self.given_up.entry(host).or_insert(now);
            }
            let uplink = self.uplink_since.entry(host).or_insert((seen.uplink, now));
            if uplink.0 != seen.uplink {
                *uplink = (seen.uplink, now);
            }
            if host != self.me && seen.standing != HostStanding::Removed {
                self.peers.entry(host).or_insert_with(|| RemoteHost::new(now));
            }
        }
    }

    /// Whether this host itself has not been removed.
    pub(super) fn present(&self) -> bool {
        self.hosts
            .get(&self.me)
            .is_some_and(|view| view.standing != HostStanding::Removed)
    }

    /// What the view says of a host that is neither removed nor unknown; an own drain counts already.
    pub(super) fn host(&self, host: HostId) -> Option<HostView> {
        let mut view = *self
            .hosts
            .get(&host)
            .filter(|view| view.standing != HostStanding::Removed)?;
        if host == self.me {
            view.candidacy = view.candidacy.max(self.own_candidacy);
            view.uplink = self.uplink;
        }
        Some(view)
    }

    pub(super) fn set_uplink(&mut self, uplink: ElectionUplink, now: Instant) {
        if self.uplink != uplink {
            self.uplink = uplink;
            self.own_uplink_since = now;
        }
    }

    /// Whether the own uplink has been lost for [`timing::FAULT_LASTS`].
    pub(super) fn uplink_lost(&self, now: Instant) -> bool {
        self.uplink == ElectionUplink::Down && now.since(self.own_uplink_since) >= timing::FAULT_LASTS
    }

    pub(super) fn set_candidacy(&mut self, own: ElectionCandidacy) {
        self.own_candidacy = own;
    }

    /// Whether another host's uplink has worked for [`timing::STEADY`].
    pub(super) fn uplink_steady(&self, host: HostId, now: Instant) -> bool {
        self.uplink_since
            .get(&host)
            .is_some_and(|(uplink, since)| *uplink == ElectionUplink::Works && now.since(*since) >= timing::STEADY)
    }

    /// Whether a voter's place goes to the next host: given up by membership for long, and not heard from here.
    pub(super) fn lost(&self, host: HostId, now: Instant) -> bool {
        self.given_up
            .get(&host)
            .is_some_and(|since| now.since(*since) >= timing::REPLACED)
            && self
                .peers
                .get(&host)
                .is_none_or(|peer| peer.silence(self.listening, now) >= timing::REPLACED)
    }

    pub(super) fn peer(&self, host: HostId) -> Option<&RemoteHost> {
        self.peers.get(&host)
    }

    pub(super) fn peers(&self) -> impl Iterator<Item = (HostId, &RemoteHost)> {
        self.peers.iter().map(|(host, peer)| (*host, peer))
    }

    /// Whether that host's agent and kernel are dead; one that is unknown or removed is.
    pub(super) fn dead(&self, host: HostId) -> bool {
        self.peers.get(&host).is_none_or(RemoteHost::dead)
    }

    pub(super) fn failed(&self, host: HostId, now: Instant) -> bool {
        self.peers
            .get(&host)
            .is_none_or(|peer| peer.failed(self.listening, now))
    }

    pub(super) fn reachable(&self, host: HostId, now: Instant) -> bool {
        self.peers.get(&host).is_some_and(|peer| peer.reachable(now))
    }

    pub(super) fn silence(&self, host: HostId, now: Instant) -> Duration {
        self.peers
            .get(&host)
            .map_or(timing::FAILED, |peer| peer.silence(self.listening, now))
    }

    /// Takes a header in; `None`: whatever else the message says does not count.
    pub(super) fn hear(&mut self, from: HostId, header: &Header, now: Instant) -> Option<News> {
        (from == header.sender).then_some(())?;
        let peer = self.peers.get_mut(&from)?;
        let news = peer.hear(header, self.instance, now);
        if peer.heard() == Some(now) {
            self.reachability.begin_row(from, now);
        }
        Some(news)
    }

    /// Its agent said something, on whatever stream.
    pub(super) fn heard(&mut self, host: HostId, now: Instant) {
        self.reachability.hear(host, now);
        if let Some(peer) = self.peers.get_mut(&host) {
            peer.heard_elsewhere();
        }
    }

    /// A gap in this host's own running: nothing that it thinks of others counts any more.
    pub(super) fn gap(&mut self, now: Instant) {
        self.listening = now;
        self.peers.values_mut().for_each(RemoteHost::revive);
        self.reachability.begin_rows(now);
    }

    /// What became of a probe.
    pub(super) fn report(&mut self, host: HostId, number: u64, outcome: Outcome, now: Instant) {
        let report = self.reachability.handle_probe(host, number, outcome, now);
        match report {
            ProbeReport::FirstAnswer | ProbeReport::Answered => {
                self.peers.entry(host).and_modify(RemoteHost::revive);
                if report == ProbeReport::FirstAnswer {
                    self.persist();
                }
            }
            ProbeReport::Unanswered | ProbeReport::Unknown => {}
        }
    }

    fn persist(&mut self) {
        self.effects.push_back(Effect::Persist {
            kernel_answered: self.reachability.ever_answered().clone(),
        });
    }

    /// Looks who is dead, and with each beat begins to collect anew who is watched.
    pub(super) fn judge(&mut self, pass: Pass, now: Instant) {
        let mut doubted = Vec::new();
        for (host, peer) in &mut self.peers {
            let known = self.reachability.ever_answered().contains(host);
            peer.judge(known.then_some(self.reachability.row(*host)), self.listening, now);
            if pass == Pass::Beat {
                doubted.extend(peer.doubted().then_some(*host));
                peer.watch = Watch::Stranger;
            }
        }
        for host in doubted {
            self.ping(host, now);
        }
    }

    /// Something waits for that host's kernel.
    pub(super) fn watch(&mut self, host: HostId, watch: Watch) {
        if let Some(peer) = self.peers.get_mut(&host) {
            peer.watch = peer.watch.max(watch);
        }
    }

    /// Sends the probes that are due and tells the edge who seems how.
    pub(super) fn probe(&mut self, now: Instant) {
        for (&host, peer) in &self.peers {
            self.reachability.set_pace(host, peer.pace(self.listening, now));
            let liveness = peer.liveness(self.listening, now);
            if self.reachability.set_liveness(host, liveness) {
                self.effects.push_back(Effect::Liveness { host, liveness });
            }
        }
        let due = self.reachability.send_due(now);
        self.effects.extend(due.into_iter().map(Effect::Probe));
        if let Some(next) = self.reachability.poll_timeout(now) {
            self.schedule(next, ElectionTimer::Probe);
        }
    }

    /// Keeps an exchange with `host` going; of two hosts the one with the lower id begins.
    pub(super) fn ping_sometimes(&mut self, host: HostId, every: Duration, now: Instant) {
        let me = self.me;
        let Some(peer) = self.peers.get_mut(&host) else { return };
        let every = if me < host { every } else { every + timing::PING_DEFER };
        let last = peer.heard().max(peer.pinged);
        if last.is_none_or(|last| now.since(last) >= every) {
            self.ping(host, now);
        }
    }

    /// Pings at once, one time per beat.
    pub(super) fn ping(&mut self, host: HostId, now: Instant) {
        let Some(peer) = self.peers.get_mut(&host) else { return };
        if peer.pinged != Some(now) {
            peer.pinged = Some(now);
            self.say(host, Part::Ping);
        }
    }

    /// Says hello, unless that was done within [`timing::HELLO`].
    pub(super) fn greet(&mut self, host: HostId, now: Instant) {
        let Some(peer) = self.peers.get_mut(&host) else { return };
        if peer.greeted.is_none_or(|greeted| now.since(greeted) >= timing::HELLO) {
            peer.greeted = Some(now);
            self.say(host, Part::Hello);
        }
    }

    /// Puts a part into the next message to that host.
    pub(super) fn say(&mut self, to: HostId, part: Part) {
        if self.peers.contains_key(&to) {
            self.outbox.entry(to).or_default().push(part);
        }
    }

    /// The same about a group.
    pub(super) fn tell(&mut self, to: HostId, group: GroupId, says: Says) {
        self.say(to, Part::Group { group, says });
    }

    /// Turns what was said into one message per receiver.
    pub(super) fn flush(&mut self, held: &[Held], now: Instant) {
        for (to, parts) in std::mem::take(&mut self.outbox) {
            self.sequence += 1;
            let header = Header {
                sender: self.me,
                instance: self.instance,
                sequence: self.sequence,
                sent: now.as_millis(),
                echo: self.peers.get(&to).and_then(|peer| peer.echo),
                held: held.to_vec(),
            };
            self.effects.push_back(Effect::Send {
                to,
                message: Message { header, parts },
            });
        }
    }

    /// Whether something waits to be sent.
    pub(super) fn talks(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Wants to be called at `at`, or before.
    pub(super) fn schedule(&mut self, at: Instant, reason: ElectionTimer) {
        if self.timer.is_none_or(|(timer, _)| at < timer) {
            self.timer = Some((at, reason));
        }
    }

    /// What was wanted since this was last asked.
    pub(super) fn take_timer(&mut self) -> Option<(Instant, ElectionTimer)> {
        self.timer.take()
    }

    /// When to be called.
    pub(super) fn timer(&self) -> Option<(Instant, ElectionTimer)> {
        self.timer
    }

    /// A random rest after a lost claim (splitmix64: rests need to differ, not to be secret).
    pub(super) fn rest(&mut self) -> Duration {
        self.rests = self.rests.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.rests;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        timing::REST + Duration::from_millis((z ^ (z >> 31)) % (timing::REST_SPREAD + 1))
    }
}
