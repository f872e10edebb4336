//! `drain` and `undrain`: a drained host is the last that a gateway is given to, until `undrain`; one whose agent is about
//! to end hands over to drained hosts, too.
//!
//! A drain has ended when other hosts serve what this one served: an agent that is stopped before could take the news
//! along. What nobody else can serve stays here.

use super::machine::Machine;
use super::pending::{Drain, Operation, Pace};
use crate::cluster::gossip::{Candidacy, HostRecord};
use crate::election::GroupId;
use crate::id::SegmentName;
use crate::node::Node;
use crate::node::effect::{Call, Done, Effect, Refusal};
use crate::node::gateways::held_term;
use crate::node::member::{Departing, Duty, Member};
use crate::node::start::Drained;
use crate::time::{Duration, Instant};

/// How long a drain lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainUntil {
    /// Until `undrain`.
    Undrained,
    /// Until this agent ends: the machine shuts down.
    Restarted,
}

/// How long hand-overs may take.
const HAND_OVER_WITHIN: Duration = Duration::from_secs(10);

impl Node {
    /// This host takes no gateway while another can, and hands over those it has.
    pub fn drain(&mut self, call: Call, until: DrainUntil, now: Instant) {
        let begun = self.member().map(|member| {
            let had = member.own_gateways();
            match until {
                DrainUntil::Undrained => member.set_drained(Drained::Yes),
                DrainUntil::Restarted => member.departing = Departing::Yes,
            }
            member.tell_duty(now);
            Operation::Drain(Drain { had })
        });
        self.begin(call, begun, now);
    }

    /// This host takes gateways again.
    ///
    /// # Errors
    /// It is in no cluster.
    pub fn undrain(&mut self, now: Instant) -> Result<(), Refusal> {
        let member = self.member()?;
        member.set_drained(Drained::No);
        member.departing = Departing::No;
        member.tell_duty(now);
        let refusal = Refusal::new("this host was undrained before its gateways were handed over");
        self.end(|operation| matches!(operation, Operation::Drain(_)), &Err(refusal));
        self.settle(now);
        Ok(())
    }
}

impl Machine for Drain {
    fn patience(&self) -> Option<Duration> {
        Some(HAND_OVER_WITHIN)
    }

    fn pace(&self) -> Pace {
        Pace::Waits
    }

    fn look(&mut self, node: &mut Node, _now: Instant) -> Option<Result<Done, Refusal>> {
        let member = match node.member() {
            Ok(member) => member,
            Err(refusal) => return Some(Err(refusal)),
        };
        let open = self.had.iter().any(|(name, group)| {
            member.group(name) == Some(*group) && member.server(*group).is_none_or(|host| host == member.me)
        });
        (!open || !member.has_successors()).then(|| Ok(self.done(member)))
    }

    fn expire(&mut self, node: &mut Node, _now: Instant) -> Option<Result<Done, Refusal>> {
        Some(node.member().map(|member| self.done(member)))
    }
}

impl Drain {
    fn done(&self, member: &Member) -> Done {
        let kept: Vec<SegmentName> = member.own_gateways().into_iter().map(|(name, _)| name).collect();
        let had = self.had.iter().map(|(name, _)| name);
        Done::Drained {
            handed_over: had.filter(|name| !kept.contains(name)).cloned().collect(),
            kept,
        }
    }
}

impl Member {
    fn set_drained(&mut self, drained: Drained) {
        if self.drained != drained {
            self.drained = drained;
            self.effects.push_back(Effect::SaveDrained(drained));
        }
    }

    /// Whether another host could take a gateway from this one.
    fn has_successors(&self) -> bool {
        let takes = |host: &HostRecord| match host.candidacy {
            Candidacy::Candidate { .. } => true,
            Candidacy::Drained { .. } | Candidacy::JournalLost { .. } => self.duty() == Duty::Departing,
            Candidacy::Departing { .. } | Candidacy::None => false,
        };
        let mut others = self.gossip.hosts().filter(|host| host.id != self.me);
        others.any(|host| takes(host) && self.gossip.is_connected(host.id))
    }

    /// The segments that this host is the gateway of.
    fn own_gateways(&self) -> Vec<(SegmentName, GroupId)> {
        let groups = self.derived.groups().into_iter();
        let held = groups.filter(|group| held_term(*group, &self.election).is_some());
        held.flat_map(|group| {
            self.derived
                .segment_names(group)
                .into_iter()
                .map(move |name| (name, group))
        })
        .collect()
    }
}
