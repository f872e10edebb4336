//! Whether this host's way out works: carrier, default route, and a next hop that answers. Where several next hops lead
//! outside it works while any of them does.
//!
//! The next hop is asked by ARP, which every IPv4 router on a shared wire answers, whatever it thinks of ICMP.
//!
//! ```text
//!           first answer            3 questions in a row unanswered
//!  Unheard ─────────────► Answers ─────────────────────────────────► Silent
//!                            ▲                                         │
//!                            └──────── 3 in a row answered ────────────┘
//! ```
//! A next hop that has never answered says nothing against the uplink: it may be one that cannot be asked. Which hops
//! have answered is remembered for the life of the agent. Nothing here sends or waits.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use crate::id::{IfName, Mac};
use crate::time::{Duration, Instant};

/// A next hop that answers is asked once in this time.
pub const ASK_EVERY: Duration = Duration::from_millis(1000);
/// How long an answer may take: far more than any neighbour on one wire needs.
pub const PATIENCE: Duration = Duration::from_millis(500);
/// So many questions in a row must go unanswered, or be answered, before the word on a next hop changes.
pub const IN_A_ROW: u32 = 3;

/// Whether a NIC has a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// It is up and has one.
    Up,
    /// It is down or has none.
    Down,
}

/// The router that a default route goes through.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NextHop {
    /// The interface that it is behind.
    pub link: IfName,
    /// The address that ARP asks for.
    pub address: Ipv4Addr,
}

/// Whether the way out works, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// As far as this host can tell.
    Works,
    /// There is no default route.
    NoRoute {
        /// The interface that was to carry it, where one was named.
        link: Option<IfName>,
    },
    /// The interface is down, or has no signal.
    NoCarrier {
        /// The uplink, as configured or by the default route.
        link: IfName,
    },
    /// The next hop has answered before, and does not any more.
    Silent(NextHop),
    /// Some of the hops that packets take work. Of the others this is the first.
    Partly(Box<Health>),
    /// There is nothing to lead out, or no way to: this host lacks what segments are made of.
    Lacking,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Works => f.write_str("the uplink works"),
            Self::NoRoute { link: Some(link) } => write!(f, "uplink {link}: no default route"),
            Self::NoRoute { link: None } => f.write_str("no uplink: no default route"),
            Self::NoCarrier { link } => write!(f, "uplink {link}: no carrier"),
            Self::Silent(NextHop { link, address }) => {
                write!(f, "uplink {link}: next hop {address} does not respond")
            }
            Self::Partly(one) => write!(f, "{one}; others work"),
            Self::Lacking => f.write_str(
                "this host counts as one without an uplink: the kernel refuses what segments and gateways need",
            ),
        }
    }
}

/// An ARP request to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The next hop whose MAC is asked for.
    pub of: NextHop,
    /// To whom: where it last answered from, or everybody.
    pub to: Mac,
}

/// Asks the next hop and keeps count.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    hop: Option<NextHop>,
    /// Those that have ever answered, and from where.
    heard: BTreeMap<NextHop, Mac>,
    verdict: Verdict,
    open: Open,
    asked: Option<Instant>,
    /// Questions in a row whose outcome speaks against the verdict.
    against: u32,
    /// Questions in a row without an answer.
    unanswered: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Verdict {
    #[default]
    Answers,
    Silent,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Open {
    #[default]
    Nothing,
    Question,
}

impl Watch {
    /// Watches this one from now on; `None`: there is none that could be asked.
    pub fn set(&mut self, hop: Option<NextHop>) {
        if self.hop != hop {
            let heard = std::mem::take(&mut self.heard);
            *self = Self {
                hop,
                heard,
                ..Self::default()
            };
        }
    }

    /// The next hop that is watched now.
    pub fn hop(&self) -> Option<&NextHop> {
        self.hop.as_ref()
    }

    /// When [`Watch::handle_timeout`] is due; `None`: nobody is to be asked.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.hop.as_ref()?;
        let Some(asked) = self.asked else {
            return Some(Instant::default());
        };
        Some(match self.open {
            Open::Question => asked + PATIENCE,
            Open::Nothing => asked + ASK_EVERY,
        })
    }

    /// The open question has gone unanswered for long enough, or the next one is due.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Question> {
        if self.poll_timeout().is_none_or(|at| at > now) {
            return None;
        }
        if self.open == Open::Question {
            self.open = Open::Nothing;
            self.unanswered = self.unanswered.saturating_add(1);
            self.count(Verdict::Silent);
            // In doubt it is asked again at once.
            let in_doubt = self.verdict == Verdict::Answers && self.unanswered < IN_A_ROW;
            if !in_doubt && self.poll_timeout().is_none_or(|at| at > now) {
                return None;
            }
        }
        let of = self.hop.clone()?;
        self.open = Open::Question;
        self.asked = Some(now);
        let known = self.heard.get(&of).filter(|_| self.unanswered == 0);
        Some(Question {
            to: known.copied().unwrap_or(Mac::BROADCAST),
            of,
        })
    }

    /// The question could not be sent: that says nothing about the next hop.
    pub fn handle_unsent(&mut self) {
        self.open = Open::Nothing;
    }

    /// The next hop has spoken.
    pub fn handle_answer(&mut self, from: Mac) {
        let Some(hop) = &self.hop else { return };
        self.heard.insert(hop.clone(), from);
        self.unanswered = 0;
        // What it says of its own accord is a sign of life, but no more than one for each question.
        if self.open == Open::Question {
            self.open = Open::Nothing;
            self.count(Verdict::Answers);
        }
    }

    /// The next hop, if it has fallen silent.
    pub fn silent(&self) -> Option<&NextHop> {
        self.hop.as_ref().filter(|_| self.verdict == Verdict::Silent)
    }

    fn count(&mut self, outcome: Verdict) {
        let heard = self.hop.as_ref().is_some_and(|hop| self.heard.contains_key(hop));
        if outcome == self.verdict || !heard {
            self.against = 0;
            return;
        }
        self.against += 1;
        if self.against >= IN_A_ROW {
            self.verdict = outcome;
            self.against = 0;
        }
    }
}

/// One of the hops that lead outside, as it is now.
pub fn of_hop(link: &IfName, carrier: Carrier, watch: Option<&Watch>) -> Health {
    match (carrier, watch.and_then(Watch::silent)) {
        (Carrier::Down, _) => Health::NoCarrier { link: link.clone() },
        (Carrier::Up, Some(hop)) => Health::Silent(hop.clone()),
        (Carrier::Up, None) => Health::Works,
    }
}

/// The way out by any of these hops; without one there is no route, which the interface that is `named` was to carry.
pub fn health(hops: &[Health], named: Option<&IfName>) -> Health {
    let mut failing = hops.iter().filter(|hop| **hop != Health::Works);
    match (hops, failing.next(), failing.count() + 1) {
        ([], ..) => Health::NoRoute { link: named.cloned() },
        (_, None, _) => Health::Works,
        (_, Some(one), count) if count == hops.len() => one.clone(),
        (_, Some(one), _) => Health::Partly(Box::new(one.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTER: Mac = Mac([2, 0, 0, 0, 0, 1]);

    fn hop(last: u8) -> NextHop {
        NextHop {
            link: IfName::new("eth0").unwrap(),
            address: Ipv4Addr::new(192, 0, 2, last),
        }
    }

    /// A watch, its clock, and a router that answers or not.
    struct Story {
        watch: Watch,
        now: Instant,
        questions: Vec<(Instant, Mac)>,
    }

    impl Story {
        fn new() -> Self {
            let mut watch = Watch::default();
            watch.set(Some(hop(1)));
            Self {
                watch,
                now: Instant::from_millis(5000),
                questions: Vec::new(),
            }
        }

        /// Lets time pass until `until` says so, with a router that answers each question of which `answers` says so;
        /// how long that took.
        fn run(&mut self, answers: impl Fn(usize) -> bool, until: impl Fn(&Self) -> bool) -> Duration {
            let (begun, first) = (self.now, self.questions.len());
            while !until(self) {
                assert!(
                    self.now.since(begun) < Duration::from_secs(60),
                    "it never comes to that"
                );
                let at = self.watch.poll_timeout().unwrap().max(self.now);
                self.now = at;
                if let Some(question) = self.watch.handle_timeout(self.now) {
                    self.questions.push((self.now, question.to));
                    if answers(self.questions.len() - 1 - first) {
                        self.watch.handle_answer(ROUTER);
                    }
                }
            }
            self.now.since(begun)
        }

        fn silent(&self) -> bool {
            self.watch.silent().is_some()
        }

        fn rounds(&mut self, count: usize, answers: impl Fn(usize) -> bool) {
            let goal = self.questions.len() + count;
            self.run(answers, |story| story.questions.len() == goal);
        }
    }

    #[test]
    fn a_router_that_falls_silent_is_found_within_three_seconds_and_so_is_its_return() {
        let mut story = Story::new();
        story.rounds(5, |_| true);
        let took = story.run(|_| false, Story::silent);
        assert!(took <= Duration::from_millis(2500), "{took:?}");
        assert_eq!(story.watch.silent(), Some(&hop(1)));
        let took = story.run(|_| true, |story| !story.silent());
        assert!(took <= Duration::from_millis(3000), "{took:?}");
    }

    #[test]
    fn one_that_answers_is_asked_once_a_second_where_it_is() {
        let mut story = Story::new();
        story.rounds(10, |_| true);
        let gaps: Vec<_> = story
            .questions
            .windows(2)
            .map(|pair| pair[1].0.since(pair[0].0))
            .collect();
        assert_eq!(gaps, [ASK_EVERY; 9]);
        assert_eq!(story.questions[0].1, Mac::BROADCAST);
        assert!(story.questions[1..].iter().all(|(_, to)| *to == ROUTER));
    }

    #[test]
    fn two_lost_answers_in_a_row_change_nothing_and_everybody_is_asked_meanwhile() {
        let mut story = Story::new();
        story.rounds(1, |_| true);
        story.rounds(60, |n| n % 3 == 2);
        assert!(!story.silent());
        // A router may have moved to another MAC.
        let broadcast = story.questions.iter().filter(|(_, to)| *to == Mac::BROADCAST).count();
        assert_eq!(broadcast, 1 + 40);
    }

    #[test]
    fn two_answers_of_a_silent_one_do_not_make_it_well_again() {
        let mut story = Story::new();
        story.rounds(1, |_| true);
        story.run(|_| false, Story::silent);
        story.rounds(30, |n| n % 3 != 2);
        assert!(story.silent());
    }

    #[test]
    fn a_silent_one_is_asked_once_a_second_too() {
        let mut story = Story::new();
        story.rounds(1, |_| true);
        story.run(|_| false, Story::silent);
        story.questions.clear();
        story.rounds(10, |_| false);
        assert!(
            story
                .questions
                .windows(2)
                .all(|pair| pair[1].0.since(pair[0].0) >= ASK_EVERY),
            "{:?}",
            story.questions
        );
    }

    #[test]
    fn one_that_has_never_answered_says_nothing_against_the_uplink() {
        let mut story = Story::new();
        story.rounds(50, |_| false);
        assert!(!story.silent());
        // Once it has, it does.
        story.rounds(1, |_| true);
        story.run(|_| false, Story::silent);
    }

    #[test]
    fn one_that_has_answered_before_is_known_again_when_its_route_comes_back() {
        let mut story = Story::new();
        story.rounds(1, |_| true);
        story.watch.set(None);
        assert_eq!(story.watch.poll_timeout(), None);
        story.watch.set(Some(hop(1)));
        assert!(!story.silent());
        story.run(|_| false, Story::silent);
        story.watch.set(Some(hop(2)));
        story.rounds(50, |_| false);
        assert!(!story.silent(), "another one has never answered");
    }

    #[test]
    fn what_could_not_be_sent_and_what_it_says_by_itself_count_for_nothing_more() {
        let mut story = Story::new();
        story.rounds(1, |_| true);
        for _ in 0..20 {
            story.now = story.watch.poll_timeout().unwrap().max(story.now);
            if story.watch.handle_timeout(story.now).is_some() {
                story.watch.handle_unsent();
            }
        }
        assert!(!story.silent());
        story.run(|_| false, Story::silent);
        for _ in 0..10 {
            story.watch.handle_answer(ROUTER);
        }
        assert!(story.silent());
    }

    #[test]
    fn it_works_while_any_hop_does_and_what_is_missing_first_is_named() {
        let eth0 = IfName::new("eth0").unwrap();
        let mut story = Story::new();
        story.rounds(1, |_| true);
        let up = of_hop(&eth0, Carrier::Up, Some(&story.watch));
        let down = of_hop(&eth0, Carrier::Down, Some(&story.watch));
        story.run(|_| false, Story::silent);
        let silent = of_hop(&eth0, Carrier::Up, Some(&story.watch));
        assert_eq!(of_hop(&eth0, Carrier::Up, None), up, "nobody can be asked");
        for (hops, named, said) in [
            (vec![], None, "no uplink: no default route"),
            (vec![], Some(&eth0), "uplink eth0: no default route"),
            (vec![up.clone()], None, "the uplink works"),
            (vec![down.clone()], None, "uplink eth0: no carrier"),
            (
                vec![silent.clone()],
                None,
                "uplink eth0: next hop 192.0.2.1 does not respond",
            ),
            (vec![up.clone(), up.clone()], None, "the uplink works"),
            (vec![down.clone(), silent.clone()], None, "uplink eth0: no carrier"),
            (
                vec![up.clone(), down.clone()],
                None,
                "uplink eth0: no carrier; others work",
            ),
            (
                vec![silent, up, down],
                None,
                "uplink eth0: next hop 192.0.2.1 does not respond; others work",
            ),
        ] {
            assert_eq!(health(&hops, named).to_string(), said);
        }
    }
}
