//! `peer remove`: the operator's word that a host is off for good, refused while any member hears that host.
//!
//! ```text
//!  remove ─► this host hears nothing ─► every live member is asked, again and again ─┬ none hears it ─► removed
//!                                                                                    └ one does, or is silent ─► refused
//! ```
//! A member that is itself out of reach cannot be asked; there the operator's word has to do.

use std::collections::{BTreeMap, BTreeSet};

use super::Node;
use super::effect::{Call, Done, Effect, PeerMessage, Refusal};
use super::member::Member;
use crate::cluster::gossip::{Departure, Presence, Written};
use crate::cluster::membership::{Peer, PeerState, Who};
use crate::id::{HostId, SegmentName};
use crate::time::{Duration, Instant};

/// How long members may hear a host, or say nothing, before its removal is refused: one that has just died is found out
/// by all within this time.
const ALL_SILENT_WITHIN: Duration = Duration::from_secs(4);
/// How often they are asked.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// How long it counts that an agent with another id has asked for entry from a host's VTEP.
const SUPERSEDED_FOR: Duration = Duration::from_secs(600);

/// Between members: whether a host is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hearing {
    /// The sender wants to know.
    Asked(HostId),
    /// What the sender hears of it.
    Told(HostId, Sign),
}

/// What is heard of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// Its agent.
    Agent,
    /// Its kernel alone.
    Kernel,
    /// Nothing.
    Nothing,
}

/// A removal that an operator waits for.
#[derive(Debug)]
pub(super) struct Removal {
    call: Call,
    name: String,
    /// Members that have not said that they hear nothing, and what they have said.
    open: BTreeMap<HostId, Option<Sign>>,
    again: Instant,
    until: Instant,
}

impl Removal {
    pub(super) fn timeout(&self) -> Instant {
        self.again.min(self.until)
    }
}

impl Node {
    /// Forgets a dead host, or a static peer, by name or address; answered when every live member has said that it
    /// does not hear the host, or refused.
    pub fn remove_peer(&mut self, call: Call, name: &str, now: Instant) {
        let begun = self.formed().and_then(|formed| formed.begin_removal(call, name, now));
        if let Err(refusal) = begun {
            self.effects.push_back(Effect::Answer {
                call,
                result: Err(refusal),
            });
        }
        self.settle(now);
    }
}

impl Member {
    fn begin_removal(&mut self, call: Call, name: &str, now: Instant) -> Result<(), Refusal> {
        let named = |peer: &&Peer| {
            peer.name == name
                || peer.address.is_some_and(|address| address.to_string() == name)
                || matches!(peer.who, Who::Host(id) if id.to_string() == name)
        };
        let matching: Vec<Peer> = self.derived.peers.iter().filter(named).cloned().collect();
        let mut statics = 0;
        let mut host = None;
        let mut left = 0;
        for peer in &matching {
            match peer.who {
                Who::Me(_) => {
                    return Err(Refusal::new("this host cannot remove itself").hint("use `overlayctl leave`"));
                }
                Who::Static(segment) => {
                    let Some(address) = peer.address else { continue };
                    self.gossip.put_static_peer(address, segment, Presence::Gone, now);
                    statics += 1;
                }
                Who::Host(_) if peer.state == PeerState::Left => left += 1,
                Who::Host(id) => host = Some((id, peer.state)),
            }
        }
        self.touch_now(now);
        let Some((host, state)) = host else {
            return match (statics, left) {
                (0, 0) => Err(Refusal::new(format!("no peer is called {name}")).hint("see `overlayctl peer list`")),
                (0, _) => Err(Refusal::new(format!(
                    "{name} has left by itself: nothing is left to remove"
                ))),
                (_, _) => {
                    self.answer_removal(call, Ok(Vec::new()));
                    Ok(())
                }
            };
        };
        if state == PeerState::Alive || self.counts(host, self.sign_of(host, now), now) {
            return Err(
                Refusal::new(format!("{name} is there: its agent or its kernel answers"))
                    .hint("run `overlayctl leave` on it; `peer remove` is for a host that is off for good"),
            );
        }
        if self.removals.contains_key(&host) {
            return Err(Refusal::new(format!("{name} is being removed already")));
        }
        let live = self.derived.peers.iter().filter(|peer| peer.state == PeerState::Alive);
        let open = live.filter_map(|peer| match peer.who {
            Who::Host(id) => Some((id, None)),
            Who::Me(_) | Who::Static(_) => None,
        });
        let removal = Removal {
            call,
            name: name.to_owned(),
            open: open.collect(),
            again: now,
            until: now + ALL_SILENT_WITHIN,
        };
        self.removals.insert(host, removal);
        self.retry_removals(now);
        Ok(())
    }

    /// What this host itself hears of another one.
    fn sign_of(&self, host: HostId, now: Instant) -> Sign {
        let gone = self.gone().contains(&host);
        if host == self.me || !gone && self.heard(now).contains(&host) {
            Sign::Agent
        } else if !gone && self.kernels(now).contains(&host) {
            Sign::Kernel
        } else {
            Sign::Nothing
        }
    }

    /// Whether a sign stands against a removal: a kernel that answers is that of a live host, unless another agent runs
    /// on it by now.
    fn counts(&self, host: HostId, sign: Sign, now: Instant) -> bool {
        let superseded = |at: &Instant| now.since(*at) <= SUPERSEDED_FOR;
        match sign {
            Sign::Agent => true,
            Sign::Kernel => !self.superseded.get(&host).is_some_and(superseded),
            Sign::Nothing => false,
        }
    }

    pub(super) fn handle_hearing(&mut self, from: HostId, hearing: Hearing, now: Instant) {
        match hearing {
            Hearing::Asked(host) => {
                let sign = self.sign_of(host, now);
                self.send(from, PeerMessage::Hearing(Hearing::Told(host, sign)));
            }
            Hearing::Told(host, sign) => {
                let counts = self.counts(host, sign, now);
                let Some(removal) = self.removals.get_mut(&host) else {
                    return;
                };
                if counts {
                    removal.open.entry(from).and_modify(|said| *said = Some(sign));
                } else {
                    removal.open.remove(&from);
                }
                self.retry_removals(now);
            }
        }
    }

    /// Asks again, and ends what is settled.
    pub(super) fn retry_removals(&mut self, now: Instant) {
        let all: Vec<HostId> = self.removals.keys().copied().collect();
        for host in all {
            let gone: BTreeSet<HostId> = self.gone();
            let Some(removal) = self.removals.get_mut(&host) else {
                continue;
            };
            // A member that dies meanwhile hears nothing.
            removal.open.retain(|member, _| !gone.contains(member));
            if removal.open.is_empty() {
                if let Some(removal) = self.removals.remove(&host) {
                    let result = self.forget(host, &removal.name, now);
                    self.answer_removal(removal.call, result);
                }
            } else if now >= removal.until {
                if let Some(removal) = self.removals.remove(&host) {
                    let refusal = self.why_not_removed(&removal);
                    self.answer_removal(removal.call, Err(refusal));
                }
            } else if now >= removal.again {
                removal.again = now + ASK_EVERY;
                let open: Vec<HostId> = removal.open.keys().copied().collect();
                for member in open {
                    self.send(member, PeerMessage::Hearing(Hearing::Asked(host)));
                }
            }
        }
    }

    fn why_not_removed(&self, removal: &Removal) -> Refusal {
        let name = &removal.name;
        let of = |wanted: fn(&Option<Sign>) -> bool| {
            let members = removal.open.iter().filter(|(_, said)| wanted(said));
            let names: Vec<String> = members.map(|(member, _)| self.name_of(*member)).collect();
            names.join(", ")
        };
        let heard_by = of(Option::is_some);
        if heard_by.is_empty() {
            let silent = of(Option::is_none);
            return Refusal::new(format!("{silent} did not say whether it hears {name}"))
                .hint("see `overlayctl peer list`, and try again");
        }
        Refusal::new(format!("{name} is there: {heard_by} hears its agent or its kernel"))
            .hint("run `overlayctl leave` on it; `peer remove` is for a host that is off for good")
    }

    /// The segments whose ranges others inherit.
    fn forget(&mut self, host: HostId, name: &str, now: Instant) -> Result<Vec<SegmentName>, Refusal> {
        let owns = |line: &crate::addresses::PoolLine| line.owner == Some(host);
        let owned = self.derived.mine().iter();
        let owned = owned.filter(|(id, _)| self.leases.pool_show(**id).iter().any(owns));
        let inheriting = owned.map(|(_, mine)| mine.segment.name.clone()).collect();
        if self.gossip.remove(host, Departure::Removed, now) == Written::Refused {
            return Err(Refusal::new(format!("{name} could not be removed")));
        }
        self.touch_now(now);
        Ok(inheriting)
    }

    fn answer_removal(&mut self, call: Call, result: Result<Vec<SegmentName>, Refusal>) {
        let result = result.map(|inheriting| Done::PeerRemoved { inheriting });
        self.effects.push_back(Effect::Answer { call, result });
    }
}
