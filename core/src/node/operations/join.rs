//! `join`, and the `join:` list of the configuration: looking for a cluster that lets this host in.
//!
//! ```text
//!  ask the next address ─► CallJoin ─┬► welcome ─► member
//!          ▲                         └► refused ─┐
//!          └────────────── 500 ms ───────────────┘
//! ```
//! An operator's join gives up after 5 s, or when the operator does; a call that is on its way then is waited for, because
//! its host may have let this one in already. The list is tried until this host has others in its cluster. While an
//! operator joins, the list waits. This host itself is never asked.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use super::guard::guard;
use super::machine::Machine;
use super::pending::{Join, Operation, Pace, WantedBy};
use crate::cluster::gossip::{HostRecord, Message, Record};
use crate::health::events::Event;
use crate::id::SegmentName;
use crate::node::Node;
use crate::node::derive::host_record;
use crate::node::derived::group_of;
use crate::node::effect::{Call, Done, Effect, Facts, Force, Lasts, Refusal};
use crate::node::loss::Loss;
use crate::node::member::{Duty, Member};
use crate::node::peer_message::{JoinRequest, PeerMessage, Welcome};
use crate::node::start::Survived;
use crate::time::{Duration, Instant};

/// How long a host that is to join waits before it asks the next address.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// How long an operator's `join` may take.
const JOIN_WITHIN: Duration = Duration::from_secs(5);

/// Whether a host has others in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Company {
    Alone,
    Others,
}

impl Join {
    fn new(addresses: Vec<SocketAddr>, wanted_by: WantedBy) -> Self {
        Self {
            addresses,
            next: 0,
            asked: None,
            refused: None,
            wanted_by,
            given_up: None,
        }
    }
}

/// An address that is this host's own.
pub(super) fn itself(address: IpAddr) -> Refusal {
    Refusal::new(format!("{address} is this host itself"))
        .hint("run this on the other hosts")
        .until_changed()
}

impl Node {
    /// Joins the cluster of the host at `to`; the call is answered when this host is a member, or after 5 s.
    pub fn join(&mut self, call: Call, to: SocketAddr, force: Force, now: Instant) {
        if let Some(member) = self.other_at(to) {
            return self.answer(Some(call), Ok(member));
        }
        let begun = match self.why_not_join(to, force, now) {
            None => {
                // A late reply to the list is no answer to the operator.
                self.joins().for_each(|listed| listed.asked = None);
                Ok(Operation::Join(Join::new(vec![to], WantedBy::Operator)))
            }
            Some(refusal) => Err(refusal),
        };
        self.begin(call, begun, now);
    }

    /// Looks for a cluster at the addresses of the configuration.
    pub(in crate::node) fn join_listed(&mut self, now: Instant) {
        let addresses = self.config.cluster.join.clone();
        let join = Operation::Join(Join::new(addresses, WantedBy::Configuration));
        self.wait_for(None, join, now);
    }

    /// The operator gives an own join up; it ends unless a member has let this host in already.
    ///
    /// # Errors
    /// There is none.
    pub fn cancel_join(&mut self, now: Instant) -> Result<(), Refusal> {
        if !self.operator_joins() {
            return Err(Refusal::new("this host is not joining a cluster"));
        }
        for join in self.joins().filter(|join| join.wanted_by == WantedBy::Operator) {
            join.given_up = Some(Refusal::new("the join was cancelled; nothing was changed"));
        }
        self.settle(now);
        Ok(())
    }

    /// Nothing is looked for at the addresses of the configuration any more.
    pub(in crate::node) fn stop_listed(&mut self) {
        let listed = |operation: &Operation| matches!(operation, Operation::Join(join) if join.wanted_by == WantedBy::Configuration);
        self.take(listed);
    }

    fn why_not_join(&self, to: SocketAddr, force: Force, now: Instant) -> Option<Refusal> {
        if self.is_own(to) {
            return Some(itself(to.ip()));
        }
        if let Some(refusal) = self.no_underlay() {
            return Some(refusal);
        }
        if self.operator_joins() {
            return Some(Refusal::new("this host is already joining a cluster").hint("try again in 5 s"));
        }
        match self.company() {
            Some(Company::Others) => Some(
                Refusal::new("this host is in a cluster with other members")
                    .hint("run `overlayctl leave` first, then join again"),
            ),
            Some(Company::Alone) | None => guard(
                &self.losses_of_joining(now),
                force,
                "detach these guests, keep the segments (`overlayctl segment show NAME > NAME.yaml`), then run `overlayctl join \
                 --force` on the host that joins",
            )
            .err(),
        }
    }

    fn losses_of_joining(&self, now: Instant) -> Vec<Loss> {
        let of_member = |member: &Member| member.losses_of_joining(&self.config.segments, &self.ports, now);
        self.formed.as_deref().map(of_member).unwrap_or_default()
    }

    pub(super) fn is_own(&self, address: SocketAddr) -> bool {
        let ip = address.ip();
        let own = |facts: &Facts| address == facts.listen || ip == facts.vtep;
        ip.is_loopback() || ip.is_unspecified() || self.facts.as_ref().is_some_and(own)
    }

    /// The other member of this host's cluster whose agent listens there.
    pub(super) fn other_at(&self, address: SocketAddr) -> Option<Done> {
        let member = self.formed.as_ref()?;
        let there = |host: &&HostRecord| host.id != self.me && host.listen == address;
        let other = member.gossip.hosts().find(there)?;
        Some(Done::AlreadyMember {
            cluster: member.cluster,
            host: other.name.clone(),
            hosts: member.count(),
        })
    }

    fn operator_joins(&self) -> bool {
        let joins = |operation: &Operation| {
            matches!(
                operation,
                Operation::Join(Join {
                    wanted_by: WantedBy::Operator,
                    ..
                })
            )
        };
        self.pending.iter().any(|pending| joins(&pending.operation))
    }

    fn joins(&mut self) -> impl Iterator<Item = &mut Join> {
        self.pending.iter_mut().filter_map(|pending| {
            if let Operation::Join(join) = &mut pending.operation {
                Some(join)
            } else {
                None
            }
        })
    }

    /// Where this host looks for a cluster, and what it was told last.
    pub(in crate::node) fn join_search(&self) -> Option<(&[SocketAddr], Option<&Refusal>)> {
        self.pending.iter().find_map(|pending| {
            if let Operation::Join(join) = &pending.operation {
                Some((join.addresses.as_slice(), join.refused.as_ref()))
            } else {
                None
            }
        })
    }

    /// `None`: it has no cluster.
    fn company(&self) -> Option<Company> {
        let member = self.formed.as_ref()?;
        let others = member.gossip.hosts().any(|host| host.id != self.me);
        Some(if others { Company::Others } else { Company::Alone })
    }

    /// What came of an [`Effect::CallJoin`].
    pub fn handle_welcome(&mut self, from: SocketAddr, result: Result<Welcome, Refusal>, now: Instant) {
        let Some(join) = self.joins().find(|join| join.asked == Some(from)) else {
            return;
        };
        join.asked = None;
        let wanted_by = join.wanted_by;
        let of_this = |operation: &Operation| matches!(operation, Operation::Join(join) if join.wanted_by == wanted_by);
        match result {
            Ok(welcome) => {
                // First: it must not ask again meanwhile.
                let joins = self.take(of_this);
                let done = self.welcomed(welcome, now);
                joins
                    .into_iter()
                    .for_each(|join| self.answer(join.call, Ok(done.clone())));
            }
            Err(refusal) if wanted_by == WantedBy::Operator && refusal.lasts == Lasts::UntilChanged => {
                self.end(of_this, &Err(refusal));
            }
            Err(refusal) => {
                let news = join.refused.as_ref() != Some(&refusal);
                join.refused = Some(refusal.clone());
                if news && wanted_by == WantedBy::Configuration {
                    self.report(Event::JoinRefused {
                        at: from,
                        reason: refusal.to_string(),
                    });
                }
            }
        }
        self.settle(now);
    }

    fn welcomed(&mut self, welcome: Welcome, now: Instant) -> Done {
        let mut gave_way = Vec::new();
        let mut losses = self.losses_of_joining(now);
        match self.formed.take() {
            // A host that had forgotten the others has nothing to give up.
            Some(mut own) if own.cluster == welcome.cluster => {
                let records = Message::Records(welcome.records);
                own.handle(welcome.via, PeerMessage::Gossip(records), now);
                own.leases.join(welcome.roster, now);
                self.formed = Some(own);
                losses.clear();
            }
            own => {
                let mut brought = Vec::new();
                if let Some(own) = own {
                    // What they wait for goes with the membership.
                    let refusal = Refusal::new("this host has joined another cluster meanwhile");
                    self.end(|operation| !matches!(operation, Operation::Join(_)), &Err(refusal));
                    gave_way = own.what_gives_way(&welcome.records);
                    // What the cluster has as well goes on there.
                    losses.retain(|loss| loss.segment.as_ref().is_none_or(|name| !has(&welcome.records, name)));
                    brought = own.own_leases(now);
                    self.stop_serving(&own);
                }
                // What does not last is heard like any other word: claims bind, leases and guests are learnt.
                let (records, passing) = welcome.records.into_iter().partition(Record::is_lasting);
                let survived = Survived {
                    records,
                    ..Survived::nothing()
                };
                let mut member = Member::new(&mut self.rng, self.me, self.instance, welcome.cluster, survived, now);
                member.leases.join(welcome.roster, now);
                member.handle(welcome.via, PeerMessage::Gossip(Message::Records(passing)), now);
                member.bring(brought, now);
                self.dialled.clear();
                self.enter(member, now);
                self.introduce(now);
                self.report(Event::ClusterJoined {
                    cluster: welcome.cluster,
                    via: welcome.via_name.clone(),
                });
            }
        }
        self.settle(now);
        Done::Joined {
            cluster: welcome.cluster,
            via: welcome.via_name,
            hosts: self.formed.as_ref().map_or(0, |member| member.count()),
            gave_way,
            losses,
        }
    }

    /// Takes the gateway addresses and the services of a membership off that ends.
    pub(super) fn stop_serving(&mut self, member: &Member) {
        for (id, local) in &member.derived.segments {
            self.effects.push_back(Effect::StopAnnouncing(*id));
            self.effects.push_back(Effect::RemoveAddress {
                group: group_of(*id),
                segments: vec![local.definition.segment.name.clone()],
            });
        }
        self.effects.push_back(Effect::Listen(BTreeMap::new()));
        self.effects.push_back(Effect::HearAddresses(BTreeSet::new()));
    }
}

impl Machine for Join {
    fn patience(&self) -> Option<Duration> {
        match self.wanted_by {
            WantedBy::Operator => Some(JOIN_WITHIN),
            WantedBy::Configuration => None,
        }
    }

    fn pace(&self) -> Pace {
        Pace::Tries {
            first_in: Duration::ZERO,
            every: ASK_EVERY,
        }
    }

    fn look(&mut self, node: &mut Node, _now: Instant) -> Option<Result<Done, Refusal>> {
        if self.asked.is_none()
            && let Some(given_up) = self.given_up.take()
        {
            return Some(Err(given_up));
        }
        let found = self.wanted_by == WantedBy::Configuration && node.company() == Some(Company::Others);
        found.then(|| Err(Refusal::new("this host is in a cluster with other members")))
    }

    fn retry(&mut self, node: &mut Node, _now: Instant) -> Option<Result<Done, Refusal>> {
        let cluster = match self.wanted_by {
            // An operator's word gives this host's own cluster up; a list in a file does not.
            WantedBy::Operator => None,
            WantedBy::Configuration if node.operator_joins() => return None,
            WantedBy::Configuration => node.formed.as_ref().map(|member| member.cluster),
        };
        let facts = node.facts.as_ref().filter(|_| self.asked.is_none())?;
        let others: Vec<SocketAddr> = self.addresses.iter().copied().filter(|at| !node.is_own(*at)).collect();
        let Some(&to) = others.get(self.next % others.len().max(1)) else {
            self.refused = self.addresses.first().map(|own| itself(own.ip()));
            return None;
        };
        self.next += 1;
        self.asked = Some(to);
        let host = host_record(
            node.me,
            node.instance,
            &node.config,
            facts,
            &node.version,
            Duty::Regular,
        );
        node.effects.push_back(Effect::CallJoin {
            to,
            request: Box::new(JoinRequest {
                host,
                cluster,
                former: node.former,
            }),
        });
        None
    }

    fn expire(&mut self, _node: &mut Node, _now: Instant) -> Option<Result<Done, Refusal>> {
        let at = self.addresses.first().map(ToString::to_string).unwrap_or_default();
        let refusal = self.refused.take().unwrap_or_else(|| {
            Refusal::new(format!("no reply from {at}"))
                .hint("check that overlayd runs there and that a firewall lets its port through")
        });
        if self.asked.is_none() {
            return Some(Err(refusal));
        }
        self.given_up.get_or_insert(refusal);
        None
    }
}

impl Member {
    fn count(&self) -> u32 {
        u32::try_from(self.gossip.hosts().count()).unwrap_or(u32::MAX)
    }

    /// What of this cluster of one is not in the other, one sentence each.
    fn what_gives_way(&self, theirs: &[Record]) -> Vec<String> {
        let names = self.catalogue.iter().map(|definition| &definition.segment.name);
        names
            .filter(|name| has(theirs, name))
            .map(|name| format!("segment {name}: replaced by the cluster's definition"))
            .collect()
    }
}

fn has(records: &[Record], name: &SegmentName) -> bool {
    let named = |record: &Record| matches!(record, Record::Segment(segment) if segment.name == *name);
    records.iter().any(named)
}
