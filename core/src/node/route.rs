//! What the machines of a host want done goes to another machine, or out.

use super::cause::words;
use super::effect::{Effect, PeerMessage};
use super::member::{Member, OWN_TOKENS, guest_at};
use crate::addresses::{self, LeaseEvent};
use crate::cluster::gossip::{self, Change, Content, Departure, Key, Origin, Record};
use crate::cluster::membership;
use crate::cluster::reachability::{Outcome, Probe};
use crate::election::{self, Cause, GroupId, Role};
use crate::gateway::dhcp::{self, Shortage};
use crate::health::events::{Event, GatewayChange};
use crate::id::{HostId, Mac, SegmentId};
use crate::time::Instant;

impl Member {
    /// Carries effects between the machines until none has any left.
    pub(super) fn pump(&mut self, now: Instant) {
        loop {
            let mut moved = false;
            while let Some(effect) = self.election.poll_effect() {
                moved = true;
                self.carry_election(effect, now);
            }
            while let Some(effect) = self.dhcp.poll_effect() {
                moved = true;
                match effect {
                    dhcp::Effect::Ask { token, request } => self.leases.handle_request(token, request, now),
                    dhcp::Effect::Unserved {
                        segment,
                        client,
                        shortage,
                    } => self.report_unserved(segment, client, shortage),
                    dhcp::Effect::Reply {
                        segment,
                        destination_mac,
                        source,
                        destination,
                        bytes,
                    } => {
                        self.effects.push_back(Effect::Dhcp {
                            segment,
                            destination_mac,
                            source,
                            destination,
                            bytes,
                        });
                    }
                }
            }
            while let Some(effect) = self.leases.poll_effect() {
                moved = true;
                self.carry_leases(effect, now);
            }
            while let Some(effect) = self.membership.poll_effect() {
                moved = true;
                self.carry_membership(effect, now);
            }
            while let Some(effect) = self.gossip.poll_effect() {
                moved = true;
                self.carry_gossip(effect, now);
            }
            if !moved {
                return;
            }
        }
    }

    fn carry_election(&mut self, effect: election::Effect, now: Instant) {
        match effect {
            election::Effect::Send { to, message } => self.send(to, PeerMessage::Election(message)),
            election::Effect::Probe(Probe { host, number }) => match self.gossip.host(host) {
                Some(known) => {
                    let address = known.vtep;
                    self.effects.push_back(Effect::Probe { host, address, number });
                }
                None => self.election.handle_probe(host, number, Outcome::Unanswered, now),
            },
            election::Effect::SetAddress { group, term, lifetime } => {
                let addresses = self.derived.gateway_addresses(group);
                let set = Effect::SetAddress {
                    group,
                    addresses,
                    term,
                    lifetime,
                };
                self.gateways.defer(group, set);
            }
            election::Effect::RemoveAddress { group } => {
                let segments = self.derived.segment_names(group);
                self.stop_serving(group);
                self.gateways.give_up(group);
                self.effects.push_back(Effect::RemoveAddress { group, segments });
            }
            election::Effect::Prepare { group, .. } => {
                self.gateways.prepare(group);
                self.touch_now(now);
            }
            election::Effect::Role { group, role, cause } => self.role_changed(group, role, cause, now),
            election::Effect::Liveness { .. } => self.touch_now(now),
            election::Effect::Persist { kernel_answered } => {
                self.effects.push_back(Effect::SaveAnswered(kernel_answered));
            }
        }
    }

    fn role_changed(&mut self, group: GroupId, role: Role, cause: Cause, now: Instant) {
        let change = match role {
            Role::Holder { term } => GatewayChange::Taken(term),
            Role::Claimant { term } => GatewayChange::Claimed(term),
            Role::Follower {
                holder: Some((host, term)),
            } => GatewayChange::Elsewhere {
                host: self.name_of(host),
                term,
            },
            Role::Follower { holder: None } => GatewayChange::None,
        };
        self.report(Event::Gateway {
            segments: self.derived.segment_names(group),
            change,
            reason: words(cause, &self.gossip),
        });
        self.tell_claim(group, now);
        self.touch_now(now);
    }

    /// The host that serves a group, as far as is known here: it holds the term, and its kernel has the address.
    pub(super) fn server(&self, group: GroupId) -> Option<HostId> {
        self.gateways.server(group, &self.election, &self.gossip)
    }

    /// Services off, before the address.
    fn stop_serving(&mut self, group: GroupId) {
        for segment in self.derived.segments_of(group) {
            self.dhcp.remove_segment(segment);
            self.effects.push_back(Effect::StopAnnouncing(segment));
        }
    }

    fn carry_leases(&mut self, effect: addresses::Effect, now: Instant) {
        match effect {
            addresses::Effect::Send { to, message } => self.send(to, PeerMessage::Lease(message)),
            addresses::Effect::Append { sequence, records } => {
                self.effects.push_back(Effect::Append { sequence, records });
            }
            addresses::Effect::Answer { token, answer } if token < OWN_TOKENS => {
                self.dhcp.handle_answer(token, answer, now);
            }
            addresses::Effect::Answer { token, answer } => {
                self.own_answers.insert(token, answer);
            }
            addresses::Effect::GossipLease(lease) => {
                self.gossip.put_lease(lease, now);
            }
            addresses::Effect::GossipShare(share) => {
                self.gossip.put_share(share, now);
            }
            addresses::Effect::Event(event) => {
                if event == LeaseEvent::DiskLost {
                    // It has no address to give: whoever has should serve, where there is somebody.
                    self.election.drain(now);
                    self.touch_now(now);
                }
                self.lease_event(event);
            }
            addresses::Effect::Left => self.left = true,
        }
    }

    fn report_unserved(&mut self, segment: SegmentId, client: Mac, shortage: Shortage) {
        let segment = self.name_or_id(segment);
        self.report(match shortage {
            Shortage::Exhausted => Event::PoolExhausted { segment, client },
            Shortage::MaxLeases => Event::LeaseLimitReached { segment, client },
        });
    }

    fn name_or_id(&self, segment: SegmentId) -> String {
        let name = self.catalogue.name(segment);
        name.map_or_else(|| segment.to_string(), ToString::to_string)
    }

    fn lease_event(&mut self, event: LeaseEvent) {
        let name = |id: SegmentId| self.name_or_id(id);
        let event = match event {
            // A share may only be on its way: the DHCP server says what came of it.
            LeaseEvent::NothingFree { .. } => return,
            LeaseEvent::Declined { segment, address, time } => Event::AddressDeclined {
                segment: name(segment),
                address: address.to_string(),
                time,
            },
            LeaseEvent::BirthLost { segment, owner } => Event::OwnershipLost {
                segment: name(segment),
                host: self.name_of(owner),
            },
            LeaseEvent::BroughtTaken {
                segment,
                address,
                client,
            } => Event::LeaseVoid {
                segment: name(segment),
                address: address.to_string(),
                client,
            },
            LeaseEvent::Removed => Event::AddressesRevoked,
            LeaseEvent::DiskLost => Event::JournalLost,
        };
        self.report(event);
    }

    fn carry_membership(&mut self, effect: membership::Effect, now: Instant) {
        match effect {
            membership::Effect::Send { to, packet } => self.send(to, PeerMessage::Membership(packet)),
            membership::Effect::Up(_) | membership::Effect::Restarted(_) | membership::Effect::Down(_) => {
                self.touch_now(now);
            }
            membership::Effect::Rejoined => self.report(Event::DeclaredDown),
        }
    }

    fn carry_gossip(&mut self, effect: gossip::Effect, now: Instant) {
        match effect {
            gossip::Effect::Send { to, message } => self.send(to, PeerMessage::Gossip(message)),
            gossip::Effect::Save(records) => self.effects.push_back(Effect::SaveCluster(records)),
            gossip::Effect::Changed(change) => self.record_changed(change, now),
            gossip::Effect::SegmentLost { loser, winner } => {
                self.report(Event::SegmentSuperseded {
                    segment: loser.name.clone(),
                    generation: loser.generation,
                    host: self.name_of(loser.introducer),
                    by: (winner.generation, self.name_of(winner.introducer)),
                });
            }
            gossip::Effect::Remembered(_) => {}
        }
    }

    /// Hosts that come or go, and segments that change, are events.
    fn report_record(&mut self, change: &Change) {
        let Some(new) = change.new.as_deref() else { return };
        let event = match new {
            Record::Host(host) if change.old.is_none() && host.id != self.me => Event::HostJoined {
                host: host.name.clone(),
            },
            Record::Removed(removed) if removed.host != self.me => {
                let host = removed.name.clone();
                match removed.why {
                    Departure::Left => Event::HostLeft { host },
                    Departure::Removed => Event::HostRemoved { host },
                }
            }
            Record::Segment(segment) => {
                let (name, host) = (segment.name.clone(), self.name_of(segment.introducer));
                match &segment.content {
                    Content::Definition(_) => Event::SegmentApplied {
                        segment: name,
                        generation: segment.generation,
                        host,
                    },
                    Content::Tombstone => Event::SegmentDeleted { segment: name, host },
                }
            }
            Record::Host(_)
            | Record::Removed(_)
            | Record::StaticPeer(_)
            | Record::Claim(_)
            | Record::Endpoint(_)
            | Record::Lease(_)
            | Record::Share(_) => return,
        };
        self.report(event);
    }

    fn record_changed(&mut self, change: Change, now: Instant) {
        self.report_record(&change);
        match &change.key {
            Key::Lease(..) => {
                if let (Origin::Peer(_), Some(Record::Lease(lease))) = (change.origin, change.new.as_deref()) {
                    self.leases.handle_gossip_lease(lease.clone(), now);
                }
                return;
            }
            Key::Share(..) => {
                if let (Origin::Peer(_), Some(Record::Share(share))) = (change.origin, change.new.as_deref()) {
                    self.leases.handle_gossip_share(share.clone(), now);
                }
                return;
            }
            Key::Claim(..) => {
                // Only the word that somebody serves or no longer serves matters; the beat is for those who wait for it.
                let served = |record: &Option<Box<Record>>| match record.as_deref() {
                    Some(Record::Claim(claim)) => Some((claim.term, claim.presence)),
                    _ => None,
                };
                if served(&change.old) != served(&change.new) {
                    self.touch(now);
                }
                return;
            }
            Key::Removed(host) => {
                if *host == self.me {
                    self.removed = true;
                } else {
                    self.leases.remove(*host, now);
                    self.membership.forget(*host, now);
                }
            }
            Key::Host(host) => {
                if *host != self.me {
                    self.membership.expect(*host, now);
                }
            }
            Key::Segment(_) | Key::StaticPeer(..) => {}
            Key::Endpoint(segment, mac) => {
                let guest = match change.new.as_deref() {
                    Some(Record::Endpoint(endpoint)) => guest_at(endpoint),
                    _ => None,
                };
                self.endpoints.handle_announcement(*segment, *mac);
                let host = guest.as_ref().and_then(|guest| guest.host);
                self.leases.set_guest(*segment, *mac, guest, now);
                match (host, &change.old) {
                    // Nothing that is derived speaks of this host's own guests.
                    (Some(host), None) if host == self.me => {}
                    (Some(_), None) => self.touch_for_guest(now),
                    (Some(_) | None, _) => self.touch(now),
                }
                return;
            }
        }
        self.touch(now);
    }
}
