//! Who is reachable: whose agent has said something, whose kernel answers. The one prober of this host.
//!
//! The election and membership say whose kernel they wait for ([`Reachability::set_pace`],
//! [`Reachability::set_suspects`]); one sequence of probes and one record per host serve both. What a row of unanswered
//! probes means to a vote is the election's to judge (`docs/protocol.md`, A2); whether a host still gets traffic is
//! told here ([`Reachability::is_gone`]).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::id::HostId;
use crate::time::{Duration, Instant};

/// How often the kernel of a suspect is probed.
const PROBE_SUSPECT: Duration = Duration::from_millis(100);
/// A host that has said nothing for so long is silent: everybody speaks at least once a second.
const SILENT_AFTER: Duration = Duration::from_millis(1200);
/// How long a word of an agent and an answer of a kernel count; membership needs longer to give a host up.
const FRESH: Duration = Duration::from_secs(3);
/// So many probes in a row without an answer, and a kernel that has answered before is gone ...
const GONE_PROBES: u32 = 6;
/// ... if the first of them was sent, and the agent last heard, so long ago.
const GONE_SPAN: Duration = Duration::from_millis(500);
/// More outcomes than this are not waited for: the edge reports within 50 ms.
const PENDING_AT_MOST: usize = 64;

/// What became of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The kernel answered.
    Answered,
    /// It did not within 50 ms, or the probe could not be sent.
    Unanswered,
}

/// How a host seems to the election.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Liveness {
    /// Its agent is heard.
    #[default]
    Heard,
    /// Its agent has been silent for 3 s; its kernel answers, or never has.
    Silent,
    /// Agent and kernel are silent.
    Dead,
}

/// One ICMP echo to a host's VTEP address, to be reported under its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Whose kernel is asked.
    pub host: HostId,
    /// No two probes of this agent have the same.
    pub number: u64,
}

/// What the last probes of a kernel have shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Row {
    /// Unanswered in a row.
    pub unanswered: u32,
    /// When the first of that row was sent.
    since: Option<Instant>,
    /// When the kernel last answered.
    pub answered: Option<Instant>,
}

impl Row {
    /// Whether so many in a row are unanswered, the first of them sent `span` ago.
    pub fn lasts(&self, probes: u32, span: Duration, now: Instant) -> bool {
        self.unanswered >= probes && self.since.is_some_and(|since| now.since(since) >= span)
    }
}

/// Whether an outcome was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeReport {
    /// The kernel answered for the first time since it was installed, as far as is known here.
    FirstAnswer,
    /// The kernel answered, as it has before.
    Answered,
    /// One more in the row.
    Unanswered,
    /// No such probe.
    Unknown,
}

/// Whether this host has found another one gone, beside what the election finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Found {
    #[default]
    Present,
    Gone,
}

/// What is known of one host.
#[derive(Clone, Debug, Default)]
struct Contact {
    /// When its agent last said anything, on whatever stream.
    said: Option<Instant>,
    /// Sent and not reported yet: number and time of sending.
    pending: VecDeque<(u64, Instant)>,
    /// When the last probe was sent.
    sent: Option<Instant>,
    row: Row,
    /// What was sent before this says nothing against the kernel: a later sign of life is known.
    row_from: Option<Instant>,
    /// How often the election wants the kernel probed.
    pace: Option<Duration>,
    found: Found,
    liveness: Liveness,
}

impl Contact {
    fn begin_row(&mut self, from: Instant) {
        self.row.unanswered = 0;
        self.row.since = None;
        self.row_from = self.row_from.max(Some(from));
    }

    fn report(&mut self, sent: Instant, outcome: Outcome, now: Instant) {
        match outcome {
            Outcome::Answered => {
                self.row.answered = Some(now);
                self.found = Found::Present;
                self.begin_row(sent);
            }
            Outcome::Unanswered => {
                // Reports overtake each other: what was lost before a later answer says nothing any more.
                if self.row_from.is_none_or(|from| from < sent) {
                    self.row.unanswered += 1;
                    self.row.since = Some(self.row.since.map_or(sent, |since| since.min(sent)));
                }
                let said_lately = self.said.is_some_and(|said| now.since(said) < GONE_SPAN);
                if self.row.answered.is_some() && !said_lately && self.row.lasts(GONE_PROBES, GONE_SPAN, now) {
                    self.found = Found::Gone;
                }
            }
        }
    }

    /// When the next probe is due: the whole policy of who is probed, and how often, beside what the election asks for.
    fn due(&self, suspected: Option<Duration>, now: Instant) -> Option<Instant> {
        let every = self.pace.into_iter().chain(suspected).min()?;
        Some(self.sent.map_or(now, |sent| sent + every))
    }
}

/// Whose agent and kernel answer.
#[derive(Clone, Debug)]
pub struct Reachability {
    hosts: BTreeMap<HostId, Contact>,
    /// Hosts whose kernel membership waits for.
    suspects: BTreeSet<HostId>,
    /// Hosts whose kernels have ever answered; survives restarts.
    ever_answered: BTreeSet<HostId>,
    /// The number of the last probe.
    number: u64,
}

impl Reachability {
    /// Knows nobody yet but, from the disk, whose kernels have ever answered.
    pub fn new(ever_answered: BTreeSet<HostId>) -> Self {
        Self {
            hosts: BTreeMap::new(),
            suspects: BTreeSet::new(),
            ever_answered,
            number: 0,
        }
    }

    /// Forgets what it knows of all hosts but these.
    pub fn retain(&mut self, known: impl Fn(HostId) -> bool) {
        self.hosts.retain(|host, _| known(*host));
    }

    /// Forgets that the kernels of these hosts have ever answered: they were removed for good.
    pub fn forget_kernels(&mut self, removed: impl Fn(HostId) -> bool) {
        self.ever_answered.retain(|host| !removed(*host));
    }

    /// A host's agent said something, on whatever stream.
    pub fn hear(&mut self, host: HostId, now: Instant) {
        let contact = self.hosts.entry(host).or_default();
        contact.said = Some(now);
        contact.found = Found::Present;
        // Where the election probes, it alone judges what ends a row.
        if contact.pace.is_none() {
            contact.begin_row(now);
        }
    }

    /// A sign of life that counts in the election: what was sent before says nothing against that kernel.
    pub fn begin_row(&mut self, host: HostId, now: Instant) {
        self.hosts.entry(host).or_default().begin_row(now);
    }

    /// A gap in this host's own running: the same for all.
    pub fn begin_rows(&mut self, now: Instant) {
        self.hosts.values_mut().for_each(|contact| contact.begin_row(now));
    }

    /// How often the election wants that kernel probed.
    pub fn set_pace(&mut self, host: HostId, pace: Option<Duration>) {
        self.hosts.entry(host).or_default().pace = pace;
    }

    /// Whose kernels membership waits for: their agents are silent, or given up.
    pub fn set_suspects(&mut self, suspects: BTreeSet<HostId>) {
        for host in &suspects {
            self.hosts.entry(*host).or_default();
        }
        self.suspects = suspects;
    }

    /// Whose kernels membership waits for.
    pub fn suspects(&self) -> &BTreeSet<HostId> {
        &self.suspects
    }

    /// How the host seems to the election; whether that is new.
    pub fn set_liveness(&mut self, host: HostId, liveness: Liveness) -> bool {
        let contact = self.hosts.entry(host).or_default();
        std::mem::replace(&mut contact.liveness, liveness) != liveness
    }

    /// Counts the probes that are due as sent.
    pub fn send_due(&mut self, now: Instant) -> Vec<Probe> {
        let mut probes = Vec::new();
        for (&host, contact) in &mut self.hosts {
            let suspected = self.suspects.contains(&host).then_some(PROBE_SUSPECT);
            if contact.due(suspected, now).is_none_or(|due| due > now) {
                continue;
            }
            self.number += 1;
            if contact.pending.len() == PENDING_AT_MOST {
                contact.pending.pop_front();
            }
            contact.pending.push_back((self.number, now));
            contact.sent = Some(now);
            probes.push(Probe {
                host,
                number: self.number,
            });
        }
        probes
    }

    /// When the next probe is due.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let due = |(host, contact): (&HostId, &Contact)| {
            contact.due(self.suspects.contains(host).then_some(PROBE_SUSPECT), now)
        };
        self.hosts.iter().filter_map(due).min()
    }

    /// What became of a probe; one that was never sent says nothing.
    pub fn handle_probe(&mut self, host: HostId, number: u64, outcome: Outcome, now: Instant) -> ProbeReport {
        let Some(contact) = self.hosts.get_mut(&host) else {
            return ProbeReport::Unknown;
        };
        let at = contact.pending.iter().position(|(pending, _)| *pending == number);
        let Some((_, sent)) = at.and_then(|at| contact.pending.remove(at)) else {
            return ProbeReport::Unknown;
        };
        contact.report(sent, outcome, now);
        match outcome {
            Outcome::Answered if self.ever_answered.insert(host) => ProbeReport::FirstAnswer,
            Outcome::Answered => ProbeReport::Answered,
            Outcome::Unanswered => ProbeReport::Unanswered,
        }
    }

    /// What the last probes of a kernel have shown.
    pub fn row(&self, host: HostId) -> Row {
        self.hosts.get(&host).map(|contact| contact.row).unwrap_or_default()
    }

    /// Hosts whose kernels have ever answered a probe.
    pub fn ever_answered(&self) -> &BTreeSet<HostId> {
        &self.ever_answered
    }

    /// Whether agent and kernel are silent, as this host itself has found or its election.
    pub fn is_gone(&self, host: HostId) -> bool {
        self.hosts
            .get(&host)
            .is_some_and(|contact| contact.found == Found::Gone || contact.liveness == Liveness::Dead)
    }

    /// Whether its agent has said something, and nothing of late.
    pub fn is_silent(&self, host: HostId, now: Instant) -> bool {
        self.said(host).is_some_and(|said| now.since(said) > SILENT_AFTER)
    }

    /// Whether its agent has said anything of late: what membership thinks of it is out of date.
    pub fn is_agent_heard(&self, host: HostId, now: Instant) -> bool {
        self.said(host).is_some_and(|said| now.since(said) <= FRESH)
    }

    /// Whether its kernel has answered a probe of late.
    pub fn is_kernel_answering(&self, host: HostId, now: Instant) -> bool {
        self.row(host).answered.is_some_and(|at| now.since(at) <= FRESH)
    }

    /// Whether the last answer of any kernel has ceased to count within `span`.
    pub fn has_turned_stale(&self, span: Duration, now: Instant) -> bool {
        let answers = self.hosts.values().filter_map(|contact| contact.row.answered);
        answers
            .map(|at| now.since(at))
            .any(|age| age > FRESH && age <= FRESH + span)
    }

    fn said(&self, host: HostId) -> Option<Instant> {
        self.hosts.get(&host)?.said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: HostId = HostId(2);

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    /// A probe that is sent at one time and reported at another.
    fn probe(reachability: &mut Reachability, sent: u64, outcome: Outcome, reported: u64) {
        reachability.set_pace(HOST, Some(Duration::ZERO));
        let [probe] = reachability.send_due(at(sent))[..] else {
            panic!("one host, one probe")
        };
        reachability.handle_probe(HOST, probe.number, outcome, at(reported));
    }

    #[test]
    fn a_row_lasts_from_its_first_unanswered_probe_to_the_next_answer() {
        let mut reachability = Reachability::new(BTreeSet::new());
        let span = Duration::from_millis(100);
        for number in 0..7 {
            probe(
                &mut reachability,
                1000 + 10 * number,
                Outcome::Unanswered,
                1050 + 10 * number,
            );
        }
        assert!(!reachability.row(HOST).lasts(8, span, at(1200)));
        probe(&mut reachability, 1070, Outcome::Unanswered, 1120);
        assert!(!reachability.row(HOST).lasts(8, span, at(1099)));
        assert!(reachability.row(HOST).lasts(8, span, at(1120)));
        probe(&mut reachability, 1130, Outcome::Answered, 1140);
        assert!(!reachability.row(HOST).lasts(8, span, at(9999)));
    }

    #[test]
    fn a_loss_from_before_an_answer_does_not_count() {
        let mut reachability = Reachability::new(BTreeSet::new());
        reachability.set_pace(HOST, Some(Duration::ZERO));
        let lost = reachability.send_due(at(0))[0].number;
        probe(&mut reachability, 10, Outcome::Answered, 12);
        reachability.handle_probe(HOST, lost, Outcome::Unanswered, at(50));
        assert_eq!(reachability.row(HOST).unanswered, 0);
        assert_eq!(
            reachability.handle_probe(HOST, 99, Outcome::Answered, at(60)),
            ProbeReport::Unknown
        );
    }

    #[test]
    fn who_waits_for_a_kernel_shares_its_probes_and_the_shortest_pace_counts() {
        let mut reachability = Reachability::new(BTreeSet::new());
        reachability.set_suspects([HOST].into());
        let mut sent = Vec::new();
        for now in 0..600 {
            let pace = (now >= 300).then_some(Duration::from_millis(50));
            reachability.set_pace(HOST, pace);
            sent.extend(reachability.send_due(at(now)).iter().map(|_| now));
        }
        assert_eq!(sent, [0, 100, 200, 300, 350, 400, 450, 500, 550]);
    }

    #[test]
    fn a_host_is_gone_when_agent_and_kernel_are_silent_for_half_a_second() {
        let mut reachability = Reachability::new(BTreeSet::new());
        probe(&mut reachability, 0, Outcome::Answered, 1);
        for sent in (100..500).step_by(10) {
            probe(&mut reachability, sent, Outcome::Unanswered, sent + 50);
        }
        assert!(!reachability.is_gone(HOST), "too soon, however often it was asked");
        reachability.hear(HOST, at(550));
        probe(&mut reachability, 551, Outcome::Unanswered, 601);
        assert!(!reachability.is_gone(HOST), "its agent has just spoken");
        probe(&mut reachability, 1001, Outcome::Unanswered, 1051);
        assert!(reachability.is_gone(HOST));
        reachability.hear(HOST, at(1052));
        assert!(!reachability.is_gone(HOST));
    }

    #[test]
    fn a_word_ends_the_row_of_a_host_that_membership_alone_probes() {
        let mut reachability = Reachability::new(BTreeSet::new());
        probe(&mut reachability, 0, Outcome::Answered, 1);
        reachability.set_pace(HOST, None);
        reachability.set_suspects([HOST].into());
        let lose = |reachability: &mut Reachability, sent| {
            let [probe] = reachability.send_due(at(sent))[..] else {
                panic!("one host, one probe")
            };
            reachability.handle_probe(HOST, probe.number, Outcome::Unanswered, at(sent + 50));
        };
        for sent in (100..1000).step_by(100) {
            lose(&mut reachability, sent);
        }
        assert!(reachability.is_gone(HOST));
        reachability.hear(HOST, at(1000));
        assert_eq!(reachability.row(HOST).unanswered, 0);
        // It falls silent again, and answers a probe only now and then: what was lost before it spoke does not count.
        lose(&mut reachability, 1600);
        assert!(!reachability.is_gone(HOST));
    }

    #[test]
    fn a_kernel_that_never_answered_is_not_gone() {
        let mut reachability = Reachability::new(BTreeSet::new());
        for sent in (0..2000).step_by(100) {
            probe(&mut reachability, sent, Outcome::Unanswered, sent + 50);
        }
        assert!(!reachability.is_gone(HOST));
    }
}
