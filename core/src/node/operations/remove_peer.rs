//! `peer remove`: the operator's word that a host is off for good, refused while any member hears that host.
//!
//! ```text
//!  remove ─► this host hears nothing ─► every live member is asked, again and again ─┬ none hears it ─► removed
//!                                                                                    └ one does, or is silent ─► refused
//! ```
//! A member that is itself out of reach cannot be asked; there the operator's word has to do.

use super::machine::Machine;
use super::pending::{Operation, Pace, RemovePeer};
use crate::cluster::gossip::{Departure, Presence, Written};
use crate::cluster::membership::{Peer, PeerState, Who};
use crate::id::{HostId, SegmentName};
use crate::node::Node;
use crate::node::effect::{Call, Done, Refusal};
use crate::node::member::Member;
use crate::node::peer_message::{Hearing, PeerMessage, Sign};
use crate::time::{Duration, Instant};

/// How long members may hear a host, or say nothing, before its removal is refused: one that has just died is found out
/// by all within this time.
const ALL_SILENT_WITHIN: Duration = Duration::from_secs(4);
/// How often they are asked.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// How long it counts that an agent with another id has asked for entry from a host's VTEP.
const SUPERSEDED_FOR: Duration = Duration::from_secs(600);

impl Node {
    /// Forgets a dead host, or a static peer, by name or address; answered when every live member has said that it
    /// does not hear the host, or refused.
    pub fn remove_peer(&mut self, call: Call, name: &str, now: Instant) {
        let begun = match self.member().and_then(|member| member.begin_removal(name, now)) {
            Ok(Some(removal)) if self.removal(removal.host).is_some() => {
                Err(Refusal::new(format!("{name} is already being removed")))
            }
            Ok(Some(removal)) => Ok(Operation::RemovePeer(removal)),
            Ok(None) => {
                self.answer(Some(call), Ok(Done::PeerRemoved { inheriting: Vec::new() }));
                self.settle(now);
                return;
            }
            Err(refusal) => Err(refusal),
        };
        self.begin(call, begun, now);
    }

    /// Forgets what a newcomer was before its operator had everything of it removed there, which is the word that it is
    /// off for good. While somebody hears it the newcomer has to ask again.
    pub(super) fn remove_former(&mut self, host: HostId, now: Instant) {
        if self.removal(host).is_some() {
            return;
        }
        if let Ok(Ok(Some(removal))) = self.member().map(|member| member.begin_removal(&host.to_string(), now)) {
            self.wait_for(None, Operation::RemovePeer(removal), now);
        }
    }

    fn removal(&mut self, host: HostId) -> Option<&mut RemovePeer> {
        self.pending.iter_mut().find_map(|pending| {
            if let Operation::RemovePeer(removal) = &mut pending.operation
                && removal.host == host
            {
                Some(removal)
            } else {
                None
            }
        })
    }

    pub(in crate::node) fn handle_hearing(&mut self, from: HostId, hearing: Hearing, now: Instant) {
        let Ok(member) = self.member() else { return };
        if member.gossip.is_removed(from) {
            return;
        }
        match hearing {
            Hearing::Asked(host) => {
                let sign = member.sign_of(host, now);
                member.send(from, PeerMessage::Hearing(Hearing::Told(host, sign)));
            }
            Hearing::Told(host, sign) => {
                let counts = member.counts(host, sign, now);
                let Some(removal) = self.removal(host) else { return };
                if counts {
                    removal.open.entry(from).and_modify(|said| *said = Some(sign));
                } else {
                    removal.open.remove(&from);
                }
            }
        }
    }
}

impl Machine for RemovePeer {
    fn patience(&self) -> Option<Duration> {
        Some(ALL_SILENT_WITHIN)
    }

    fn pace(&self) -> Pace {
        Pace::Tries {
            first_in: Duration::ZERO,
            every: ASK_EVERY,
        }
    }

    fn look(&mut self, node: &mut Node, now: Instant) -> Option<Result<Done, Refusal>> {
        let member = match node.member() {
            Ok(member) => member,
            Err(refusal) => return Some(Err(refusal)),
        };
        // A member that dies meanwhile hears nothing.
        let reachability = member.reachability();
        self.open.retain(|asked, _| !reachability.is_gone(*asked));
        if !self.open.is_empty() {
            return None;
        }
        let forgotten = member.forget(self.host, &self.name, now);
        Some(forgotten.map(|inheriting| Done::PeerRemoved { inheriting }))
    }

    fn retry(&mut self, node: &mut Node, _now: Instant) -> Option<Result<Done, Refusal>> {
        if let Ok(member) = node.member() {
            for asked in self.open.keys() {
                member.send(*asked, PeerMessage::Hearing(Hearing::Asked(self.host)));
            }
        }
        None
    }

    fn expire(&mut self, node: &mut Node, _now: Instant) -> Option<Result<Done, Refusal>> {
        let name = &self.name;
        let member = match node.member() {
            Ok(member) => member,
            Err(refusal) => return Some(Err(refusal)),
        };
        let of = |wanted: fn(&Option<Sign>) -> bool| {
            let members = self.open.iter().filter(|(_, said)| wanted(said));
            let names: Vec<String> = members.map(|(asked, _)| member.name_of(*asked)).collect();
            names.join(", ")
        };
        let heard_by = of(Option::is_some);
        Some(Err(if heard_by.is_empty() {
            Refusal::new(format!(
                "{} did not reply whether {name} is still alive",
                of(Option::is_none)
            ))
            .hint("see `overlayctl peer list`, and try again")
        } else {
            alive(format!("{name} is still alive: {heard_by} hears its agent (or kernel)"))
        }))
    }
}

impl Member {
    /// Removes static peers of that name at once; `None`: there was only that to do.
    fn begin_removal(&mut self, name: &str, now: Instant) -> Result<Option<RemovePeer>, Refusal> {
        let named = |peer: &&Peer| {
            peer.name == name
                || peer.address.is_some_and(|address| address.to_string() == name)
                || matches!(peer.who, Who::Host(id) if id.to_string() == name)
        };
        let matching: Vec<Peer> = self.derived.peers.iter().filter(named).cloned().collect();
        let not_found = Refusal::new(format!("peer {name} not found")).hint("see `overlayctl peer list`");
        let mut otherwise = Err(not_found);
        let mut host = None;
        for peer in matching {
            match peer.who {
                Who::Me(_) => {
                    return Err(Refusal::new("this host cannot remove itself").hint("use `overlayctl leave`"));
                }
                Who::Static(segment) => {
                    let Some(address) = peer.address else { continue };
                    self.gossip.put_static_peer(address, segment, Presence::Gone, now);
                    otherwise = Ok(None);
                }
                Who::Host(_) if peer.state == PeerState::Left => {
                    let left = Refusal::new(format!("{name} has already left the cluster"));
                    otherwise = otherwise.or(Err(left));
                }
                Who::Host(id) => host = Some((id, peer.state)),
            }
        }
        self.touch_now(now);
        let Some((host, state)) = host else {
            return otherwise;
        };
        if state == PeerState::Alive || self.counts(host, self.sign_of(host, now), now) {
            return Err(alive(format!("{name} is still alive: its agent (or kernel) responds")));
        }
        let live = self.derived.peers.iter().filter(|peer| peer.state == PeerState::Alive);
        let open = live.filter_map(|peer| match peer.who {
            Who::Host(id) => Some((id, None)),
            Who::Me(_) | Who::Static(_) => None,
        });
        Ok(Some(RemovePeer {
            host,
            name: name.to_owned(),
            open: open.collect(),
        }))
    }

    /// What this host itself hears of another one.
    fn sign_of(&self, host: HostId, now: Instant) -> Sign {
        let gone = self.reachability().is_gone(host);
        if host == self.me || !gone && self.reachability().is_agent_heard(host, now) {
            Sign::Agent
        } else if !gone && self.reachability().is_kernel_answering(host, now) {
            Sign::Kernel
        } else {
            Sign::Nothing
        }
    }

    /// Whether a sign stands against a removal: a kernel that responds is that of a live host, unless another agent runs
    /// on it by now.
    fn counts(&self, host: HostId, sign: Sign, now: Instant) -> bool {
        let superseded = |at: &Instant| now.since(*at) <= SUPERSEDED_FOR;
        match sign {
            Sign::Agent => true,
            Sign::Kernel => !self.superseded.get(&host).is_some_and(superseded),
            Sign::Nothing => false,
        }
    }

    /// The segments whose ranges others inherit.
    fn forget(&mut self, host: HostId, name: &str, now: Instant) -> Result<Vec<SegmentName>, Refusal> {
        let owns = |line: &crate::addresses::RangeLine| line.owner == Some(host);
        let owned = self.derived.segments.iter();
        let owned = owned.filter(|(id, _)| self.leases.pool_show(**id).iter().any(owns));
        let inheriting = owned.map(|(_, mine)| mine.definition.segment.name.clone()).collect();
        if self.gossip.remove(host, Departure::Removed, now) == Written::Refused {
            return Err(Refusal::new(format!("{name} was already removed")));
        }
        self.touch_now(now);
        Ok(inheriting)
    }
}

fn alive(what: String) -> Refusal {
    Refusal::new(what).hint("run `overlayctl leave` on it; `peer remove` is for a host that is off for good")
}
