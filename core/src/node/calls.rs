//! Forming, joining, and what operators ask that is not about segments.

use std::net::{IpAddr, SocketAddr};

use rand::Rng;

use super::derive::host_record;
use super::effect::{Call, Company, Done, Effect, JoinRequest, Refusal, Welcome};
use super::member::{MOVE_AGAIN, Member, Move, Survived, is_lasting};
use super::{JOIN_AGAIN, JOIN_WITHIN, Joining, Membership, Node};
use crate::addresses;
use crate::cluster::gossip::{HostRecord, Presence, Record};
use crate::config::Trust;
use crate::election::Moving;
use crate::health::events::Event;
use crate::id::{ClusterId, HostId, SegmentId, SegmentName};
use crate::time::{Duration, Instant};

/// How long a planned hand-over may take before the operator hears that it did not happen.
const MOVE_WITHIN: Duration = Duration::from_secs(10);

/// Whether `init` made a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forming {
    /// It did.
    Now,
    /// There was one.
    Before,
}

impl Node {
    /// Makes this host the first of a new cluster, unless it is in one.
    ///
    /// # Errors
    /// It is about to join another host's.
    pub fn init(&mut self, now: Instant) -> Result<(ClusterId, Forming), Refusal> {
        if let Some(formed) = &self.formed {
            return Ok((formed.cluster, Forming::Before));
        }
        if self.facts.is_none() {
            return Err(
                Refusal::new("the underlay of this host is missing: it has no address to meet others at")
                    .hint("bring the interface up, or set `host.underlay` and `host.address`"),
            );
        }
        self.joining = None;
        self.form(now);
        self.settle(now);
        match &self.formed {
            Some(formed) => Ok((formed.cluster, Forming::Now)),
            None => Err(Refusal::new("the cluster could not be formed")),
        }
    }

    pub(super) fn form(&mut self, now: Instant) {
        let cluster = ClusterId(self.rng.next_u64());
        let mut formed = Member::new(&mut self.rng, self.me, self.instance, cluster, Survived::nothing(), now);
        formed.leases.form(now);
        self.enter(formed, now);
        self.introduce(now);
        self.report(Event::ClusterFormed { cluster });
    }

    /// The file's segments that the cluster has never heard of.
    pub(super) fn introduce(&mut self, now: Instant) {
        let Some(formed) = &mut self.formed else { return };
        for segment in &self.config.segments {
            formed
                .gossip
                .introduce(&segment.name, segment.to_yaml(), SegmentId(self.rng.next_u64()), now);
        }
        formed.touch_now(now);
    }

    fn enter(&mut self, mut formed: Member, now: Instant) {
        self.membership = Membership::Formed(formed.cluster);
        self.effects.push_back(Effect::SaveIdentity(self.membership));
        if let Some(facts) = &self.facts {
            formed.election.set_uplink(facts.uplink(), now);
        }
        formed.save_now(now);
        self.formed = Some(Box::new(formed));
    }

    /// Joins the cluster of the host at `to`; the call is answered when this host is a member, or after 5 s.
    pub fn join(&mut self, call: Call, to: SocketAddr, now: Instant) {
        if let Some(refusal) = self.why_not_join() {
            self.effects.push_back(Effect::Answer {
                call,
                result: Err(refusal),
            });
            return;
        }
        self.look_for(vec![to], Some((call, now + JOIN_WITHIN)), now);
        self.join_timeout(now);
        self.settle(now);
    }

    fn why_not_join(&self) -> Option<Refusal> {
        if self.facts.is_none() {
            return Some(Refusal::new(
                "the underlay of this host is missing: it has no address to meet others at",
            ));
        }
        if self.joining.as_ref().is_some_and(|joining| joining.call.is_some()) {
            return Some(
                Refusal::new("another join of this host is under way").hint("wait for it, it takes at most 5 s"),
            );
        }
        match self.company() {
            Some(Company::Others) => Some(
                Refusal::new("this host is in a cluster that has other members")
                    .hint("run `overlayctl leave` first, then join again"),
            ),
            Some(Company::Alone) | None => None,
        }
    }

    /// Whether this host has others in its cluster; `None`: it has no cluster.
    fn company(&self) -> Option<Company> {
        let formed = self.formed.as_ref()?;
        let others = formed.gossip.hosts().any(|host| host.id != self.me);
        Some(if others { Company::Others } else { Company::Alone })
    }

    pub(super) fn join_timeout(&mut self, now: Instant) {
        // A host that has a cluster with others needs nobody's list.
        let listed = self.joining.as_ref().is_some_and(|joining| joining.call.is_none());
        if listed && self.company() == Some(Company::Others) {
            self.joining = None;
        }
        let Some(joining) = &mut self.joining else { return };
        if let Some((call, until)) = joining.call
            && until <= now
        {
            let at = joining.at.first().map(ToString::to_string).unwrap_or_default();
            let refusal = joining.last.take().unwrap_or_else(|| {
                Refusal::new(format!("no agent answers at {at}"))
                    .hint("is overlayd running there, and does a firewall let its port through?")
            });
            self.joining = None;
            self.effects.push_back(Effect::Answer {
                call,
                result: Err(refusal),
            });
            return;
        }
        let (None, Some(facts)) = (joining.asked, &self.facts) else {
            return;
        };
        if joining.ask_at > now {
            return;
        }
        let Some(to) = joining.at.get(joining.next % joining.at.len().max(1)).copied() else {
            return;
        };
        joining.next += 1;
        joining.asked = Some(to);
        let host = host_record(self.me, self.instance, &self.config, facts, &self.version, false);
        let request = JoinRequest {
            host,
            // An operator's word gives this host's own cluster up; a list in a file does not.
            cluster: match joining.call {
                Some(_) => None,
                None => self.formed.as_ref().map(|formed| formed.cluster),
            },
        };
        self.effects.push_back(Effect::CallJoin {
            to,
            request: Box::new(request),
        });
    }

    /// What came of an [`Effect::CallJoin`].
    pub fn handle_welcome(&mut self, from: SocketAddr, result: Result<Welcome, Refusal>, now: Instant) {
        let Some(joining) = self.joining.as_mut().filter(|joining| joining.asked == Some(from)) else {
            return;
        };
        joining.asked = None;
        joining.ask_at = now + JOIN_AGAIN;
        match result {
            Ok(welcome) => self.welcomed(welcome, now),
            Err(refusal) => {
                if joining.call.is_none() && joining.last.as_ref() != Some(&refusal) {
                    let reason = refusal.to_string();
                    joining.last = Some(refusal);
                    self.report(Event::JoinRefused { at: from, reason });
                } else {
                    joining.last = Some(refusal);
                }
            }
        }
        self.settle(now);
    }

    /// A refusal that will not change by asking again ends an operator's call at once.
    pub fn handle_join_refused(&mut self, from: SocketAddr, refusal: Refusal, now: Instant) {
        let asked = self.joining.as_ref().is_some_and(|joining| joining.asked == Some(from));
        match self
            .joining
            .take_if(|joining| asked && joining.call.is_some())
            .and_then(|joining| joining.call)
        {
            Some((call, _)) => self.effects.push_back(Effect::Answer {
                call,
                result: Err(refusal),
            }),
            None => self.handle_welcome(from, Err(refusal), now),
        }
        self.settle(now);
    }

    fn welcomed(&mut self, welcome: Welcome, now: Instant) {
        let Some(Joining { call, .. }) = self.joining.take() else {
            return;
        };
        let mut gave_way = Vec::new();
        let mut brought = Vec::new();
        if let Some(own) = self.formed.take() {
            if own.cluster == welcome.cluster {
                // A restart that had forgotten the others: nothing to give up.
                self.formed = Some(own);
                if let Some(formed) = &mut self.formed {
                    formed.handle(
                        welcome.via,
                        super::PeerMessage::Gossip(crate::cluster::gossip::Message::Records(welcome.records)),
                        now,
                    );
                    formed.leases.join(welcome.roster, now);
                }
                return;
            }
            gave_way = own.what_gives_way(&welcome.records);
            brought = own.own_leases(now);
            for (id, names) in own
                .derived
                .mine()
                .iter()
                .map(|(id, mine)| (*id, mine.segment.name.clone()))
            {
                let group = super::group_of(id);
                self.effects.push_back(Effect::StopAnnouncing(id));
                self.effects.push_back(Effect::RemoveAddress {
                    group,
                    segments: vec![names],
                });
            }
            self.effects
                .push_back(Effect::Listen(std::collections::BTreeMap::new()));
        }
        // What does not last is heard like any other word: claims bind, leases and guests are learnt.
        let (records, passing) = welcome.records.into_iter().partition(is_lasting);
        let survived = Survived {
            records,
            ..Survived::nothing()
        };
        let mut formed = Member::new(&mut self.rng, self.me, self.instance, welcome.cluster, survived, now);
        formed.leases.join(welcome.roster, now);
        let passing = crate::cluster::gossip::Message::Records(passing);
        formed.handle(welcome.via, super::PeerMessage::Gossip(passing), now);
        formed.bring(brought, now);
        self.dialled.clear();
        self.enter(formed, now);
        self.introduce(now);
        self.report(Event::ClusterJoined {
            cluster: welcome.cluster,
            via: welcome.via_name.clone(),
        });
        self.settle(now);
        let hosts = self.formed.as_ref().map_or(0, |formed| formed.gossip.hosts().count());
        if let Some((call, _)) = call {
            let done = Done::Joined {
                cluster: welcome.cluster,
                via: welcome.via_name,
                hosts: u32::try_from(hosts).unwrap_or(u32::MAX),
                gave_way,
            };
            self.effects.push_back(Effect::Answer { call, result: Ok(done) });
        }
    }

    /// Another host asks to be let in; answered by [`Effect::AnswerJoin`].
    pub fn handle_join(&mut self, call: Call, request: JoinRequest, now: Instant) {
        let result = self.admit(request, now).map(Box::new);
        self.effects.push_back(Effect::AnswerJoin { call, result });
        self.settle(now);
    }

    fn admit(&mut self, request: JoinRequest, now: Instant) -> Result<Welcome, Refusal> {
        let Some(formed) = &mut self.formed else {
            return Err(Refusal::new("this host is in no cluster yet").hint("run `overlayctl init` on one host first"));
        };
        if formed.left || self.leaving.is_some() {
            return Err(Refusal::new("this host is leaving its cluster").hint("ask another member"));
        }
        let JoinRequest { host, cluster } = request;
        if let Some(expected) = cluster.filter(|cluster| *cluster != formed.cluster) {
            return Err(Refusal::new(format!(
                "{} is in cluster {expected}, and this host in {}: two clusters never merge",
                host.name, formed.cluster
            ))
            .hint(format!(
                "take this address out of the `join:` list there, or run `overlayctl leave` on {} and then `overlayctl join`",
                host.name
            ))
            .until_changed());
        }
        if formed.gossip.is_removed(host.id) {
            return Err(Refusal::new(format!("{} was removed from this cluster", host.name))
                .hint(format!(
                    "run `overlayctl leave --force` on {} and join again: it comes back as a new host",
                    host.name
                ))
                .until_changed());
        }
        // What this host's own record says may be a moment older than what it is.
        let own = self.facts.iter().map(|facts| (self.me, facts.name.clone(), facts.vtep));
        let known = formed
            .gossip
            .hosts()
            .map(|known| (known.id, known.name.clone(), known.vtep));
        let taken = own
            .chain(known)
            .find(|(id, name, vtep)| *id != host.id && (*name == host.name || *vtep == host.vtep));
        if let Some((id, name, vtep)) = taken {
            if vtep == host.vtep {
                formed.superseded.insert(id, now);
            }
            let what = if name == host.name {
                format!("the name {name} is taken")
            } else {
                format!("the VTEP address {} is taken", host.vtep)
            };
            return Err(Refusal::new(format!("{what} by host {name} ({id})"))
                .hint(format!(
                    "give this host another, or, if {name} is gone for good, run `overlayctl peer remove {name}` there"
                ))
                .until_changed());
        }
        let id = host.id;
        // As if it had told by itself, so that it is dialled and elected with at once.
        let record = crate::cluster::gossip::Message::Records(vec![Record::Host(host)]);
        formed.gossip.handle(id, record, now);
        let roster = formed.leases.admit(id, now);
        formed.touch_now(now);
        self.settle(now);
        let Some(formed) = &self.formed else {
            return Err(Refusal::new("this host has just left its cluster"));
        };
        let me = formed.gossip.host(self.me);
        Ok(Welcome {
            cluster: formed.cluster,
            via: self.me,
            via_name: me.map_or_else(|| self.me.to_string(), |me| me.name.clone()),
            records: formed.gossip.snapshot(now),
            roster,
        })
    }

    /// Another host's operator invites this one to its cluster; answered like [`Node::join`].
    pub fn handle_invite(&mut self, call: Call, from: SocketAddr, now: Instant) {
        if self.config.cluster.trust == Trust::MutualTls {
            let refusal = Refusal::new("this host takes no invitation without a token").hint("use the join line there");
            self.effects.push_back(Effect::Answer {
                call,
                result: Err(refusal),
            });
            return;
        }
        self.join(call, from, now);
    }

    /// Invites the agent at `to` into this host's cluster.
    pub fn invite(&mut self, call: Call, to: SocketAddr) {
        match &self.formed {
            Some(_) => self.effects.push_back(Effect::CallInvite { call, to }),
            None => {
                let refusal = Refusal::new("this host is in no cluster, so there is nothing to invite to")
                    .hint("run `overlayctl init` first");
                self.effects.push_back(Effect::Answer {
                    call,
                    result: Err(refusal),
                });
            }
        }
    }

    /// What came of an [`Effect::CallInvite`].
    pub fn handle_invited(&mut self, call: Call, result: Result<SocketAddr, Refusal>) {
        self.effects.push_back(Effect::Answer {
            call,
            result: result.map(Done::Invited),
        });
    }

    /// Adds a VTEP that runs no agent; the names of the segments that now flood to it.
    ///
    /// # Errors
    /// Nothing was changed.
    pub fn add_static_peer(
        &mut self,
        address: IpAddr,
        segment: Option<&SegmentName>,
        now: Instant,
    ) -> Result<Vec<SegmentName>, Refusal> {
        let formed = self.formed()?;
        let id = segment.map(|name| formed.segment_id(name)).transpose()?;
        if let Some(host) = formed.gossip.hosts().find(|host| host.vtep == address) {
            return Err(Refusal::new(format!(
                "{address} is the VTEP of host {}, which runs an agent",
                host.name
            )));
        }
        formed.gossip.put_static_peer(address, id, Presence::Here, now);
        formed.touch_now(now);
        let names = formed
            .catalogue
            .iter()
            .filter(|known| id.is_none_or(|id| id == known.id))
            .map(|known| known.segment.name.clone())
            .collect();
        self.settle(now);
        Ok(names)
    }

    /// Hands a segment's gateway to another host; answered when that serves.
    pub fn move_gateway(&mut self, call: Call, segment: &SegmentName, to: Option<&str>, now: Instant) {
        if let Err(refusal) = self.begin_move(call, segment, to, now) {
            self.effects.push_back(Effect::Answer {
                call,
                result: Err(refusal),
            });
        }
        self.settle(now);
    }

    fn begin_move(&mut self, call: Call, segment: &SegmentName, to: Option<&str>, now: Instant) -> Result<(), Refusal> {
        let formed = self.formed()?;
        formed.segment_id(segment)?;
        let Some(group) = formed.group(segment) else {
            return Err(no_gateway_here(segment));
        };
        let to = match to {
            None => None,
            Some(name) => Some(formed.host_named(name)?),
        };
        let from = formed.election.holder(group).map(|(host, _)| host);
        formed
            .election
            .move_gateway(group, to, now)
            .map(|moving| match moving {
                Moving::To(_) | Moving::AskedOf(_) => {}
            })
            .map_err(|error| {
                Refusal::new(error.to_string()).hint("see `overlayctl gateway list` and `overlayctl peer list`")
            })?;
        if let Some(earlier) = formed.moves.insert(
            group,
            Move {
                call,
                from,
                to,
                until: now + MOVE_WITHIN,
                again: now + MOVE_AGAIN,
            },
        ) {
            let refusal = Refusal::new("another move of the same gateway was asked for meanwhile");
            self.effects.push_back(Effect::Answer {
                call: earlier.call,
                result: Err(refusal),
            });
        }
        Ok(())
    }

    /// This host takes no gateway any more and hands over those it has. Returns the segments that it goes on serving
    /// because nobody else can.
    ///
    /// # Errors
    /// It is in no cluster.
    pub fn drain(&mut self, now: Instant) -> Result<(), Refusal> {
        let formed = self.formed()?;
        formed.drained = true;
        formed.election.drain(now);
        formed.touch_now(now);
        self.settle(now);
        Ok(())
    }

    /// Ends [`Node::drain`].
    ///
    /// # Errors
    /// It is in no cluster.
    pub fn undrain(&mut self, now: Instant) -> Result<(), Refusal> {
        let formed = self.formed()?;
        formed.drained = false;
        if !formed.leases.has_lost_disk() {
            formed.election.undrain(now);
        }
        formed.touch_now(now);
        self.settle(now);
        Ok(())
    }

    /// Ends a lease at its owner, for the guest that has it.
    pub fn release(&mut self, call: Call, segment: Option<&SegmentName>, address: IpAddr, now: Instant) {
        let found = self
            .formed()
            .and_then(|formed| formed.find_lease(segment, address, now));
        match found {
            Ok((segment, client)) => {
                if let Some(formed) = &mut self.formed {
                    let token = formed.token();
                    formed.releases.insert(token, call);
                    let request = addresses::Request::Release {
                        segment,
                        address,
                        client,
                    };
                    formed.leases.handle_request(token, request, now);
                }
            }
            Err(refusal) => self.effects.push_back(Effect::Answer {
                call,
                result: Err(refusal),
            }),
        }
        self.settle(now);
    }

    pub(super) fn formed(&mut self) -> Result<&mut Member, Refusal> {
        self.formed.as_deref_mut().ok_or_else(|| {
            Refusal::new("this host is in no cluster")
                .hint("run `overlayctl init` here, or `overlayctl join ADDR` with the address of a member")
        })
    }
}

impl Member {
    /// What of this cluster of one is not in the other, one sentence each.
    fn what_gives_way(&self, theirs: &[Record]) -> Vec<String> {
        let names = |record: &Record| {
            let Record::Segment(segment) = record else { return None };
            Some(segment.name.clone())
        };
        let theirs: Vec<SegmentName> = theirs.iter().filter_map(names).collect();
        self.catalogue
            .iter()
            .map(|known| &known.segment.name)
            .filter(|name| theirs.contains(name))
            .map(|name| format!("segment {name}: the cluster's definition replaces this host's"))
            .collect()
    }

    pub(super) fn segment_id(&self, name: &SegmentName) -> Result<SegmentId, Refusal> {
        self.catalogue
            .get(name)
            .map(|known| known.id)
            .ok_or_else(|| no_segment(name))
    }

    pub(super) fn host_named(&self, name: &str) -> Result<HostId, Refusal> {
        let named = |host: &&HostRecord| host.name == name || host.id.to_string() == name;
        self.gossip
            .hosts()
            .find(named)
            .map(|host| host.id)
            .ok_or_else(|| Refusal::new(format!("no host is called {name}")).hint("see `overlayctl peer list`"))
    }

    fn find_lease(
        &self,
        segment: Option<&SegmentName>,
        address: IpAddr,
        now: Instant,
    ) -> Result<(SegmentId, crate::id::Mac), Refusal> {
        let only = segment.map(|name| self.segment_id(name)).transpose()?;
        self.derived
            .mine()
            .keys()
            .filter(|id| only.is_none_or(|only| only == **id))
            .find_map(|id| {
                let leases = self.leases.lease_list(*id, now);
                let lease = leases.into_iter().find(|lease| lease.address.ip() == address)?;
                Some((*id, lease.client?))
            })
            .ok_or_else(|| Refusal::new(format!("no guest holds {address}")).hint("see `overlayctl lease list`"))
    }
}

pub(super) fn no_segment(name: &SegmentName) -> Refusal {
    Refusal::new(format!("no segment is called {name}")).hint("see `overlayctl segment list`")
}

fn no_gateway_here(name: &SegmentName) -> Refusal {
    Refusal::new(format!("segment {name} has no gateway: it has no subnet"))
}
