//! What the machines of a host want done goes to another machine, or out.

use super::Node;
use super::effect::Effect;
use super::guests::used_by;
use super::member::{Member, OWN_TOKENS, guest_at};
use super::peer_message::PeerMessage;
use crate::addresses::{self, LeaseEvent};
use crate::cluster::gossip::{self, Change, ChangeOrigin, Key, Record};
use crate::cluster::membership;
use crate::cluster::path_watch;
use crate::cluster::reachability::{Outcome, Probe};
use crate::election::{self, GroupId};
use crate::gateway::dhcp;
use crate::health::events::Event;
use crate::id::{HostId, Mac, SegmentId};
use crate::kernel::mark::vxlan_mac;
use crate::time::Instant;

impl Node {
    /// Another host has said something. The edge has checked that it is of this cluster.
    pub fn handle(&mut self, from: HostId, said: PeerMessage, now: Instant) {
        match &said {
            PeerMessage::Hearing(hearing) => self.handle_hearing(from, *hearing, now),
            PeerMessage::Listening(listening) => self.handle_listening(from, listening.clone()),
            PeerMessage::Election(_)
            | PeerMessage::Membership(_)
            | PeerMessage::Gossip(_)
            | PeerMessage::Lease(_)
            | PeerMessage::Path(_) => {}
        }
        if let Some(formed) = &mut self.formed {
            formed.handle(from, said, now);
        }
        self.settle(now);
    }
}

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
                self.carry_dhcp(effect, now);
            }
            while let Some(effect) = self.leases.poll_effect() {
                moved = true;
                self.carry_leases(effect, now);
            }
            while let Some(effect) = self.membership.poll_effect() {
                moved = true;
                self.carry_membership(effect, now);
            }
            while let Some(effect) = self.paths.poll_effect() {
                moved = true;
                self.carry_paths(effect, now);
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
            election::Effect::Role { group, role, cause } => {
                self.report_role(group, role, cause);
                self.tell_claim(group, now);
                self.touch_now(now);
            }
            election::Effect::Liveness { .. } => self.touch_now(now),
            election::Effect::Persist { kernel_answered } => {
                self.effects.push_back(Effect::SaveAnswered(kernel_answered));
            }
        }
    }

    /// Services off, before the address.
    fn stop_serving(&mut self, group: GroupId) {
        for segment in self.derived.segments_of(group) {
            self.dhcp.remove_segment(segment);
            self.effects.push_back(Effect::StopAnnouncing(segment));
        }
    }

    fn carry_dhcp(&mut self, effect: dhcp::Effect, now: Instant) {
        match effect {
            dhcp::Effect::Ask { token, request } => self.leases.handle_request(token, request, now),
            dhcp::Effect::AskGuests { segment, addresses } => {
                self.effects.push_back(Effect::AskGuests { segment, addresses });
            }
            dhcp::Effect::LookAhead { segment } => {
                let next = self.leases.free_ahead(segment, dhcp::AHEAD);
                self.dhcp.handle_ahead(segment, &next, now);
            }
            dhcp::Effect::InUse { segment, address, by } => self.leases.rest(segment, address.into(), by, now),
            dhcp::Effect::Disbelieved { .. } => self.look_for_findings(now),
            dhcp::Effect::Unserved {
                segment,
                client,
                shortage,
            } => {
                self.report_unserved(segment, client, shortage);
                self.look_for_findings(now);
            }
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
                self.dhcp.look_ahead(share.segment);
                self.gossip.put_share(share, now);
                self.look_for_findings(now);
            }
            addresses::Effect::Event(event) => {
                if event == LeaseEvent::DiskLost {
                    // It has no address to give: whoever has should serve, where there is somebody.
                    self.tell_duty(now);
                }
                self.report_lease_event(event);
            }
            addresses::Effect::Left => self.left = true,
        }
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

    fn carry_paths(&mut self, effect: path_watch::Effect, now: Instant) {
        match effect {
            path_watch::Effect::Changed => self.look_for_findings(now),
            path_watch::Effect::Say { to, message } => self.send(to, PeerMessage::Path(message)),
            path_watch::Effect::Frame {
                path: (peer, segment),
                number,
            } => {
                let Some(local) = self.derived.segments.get(&segment) else {
                    return;
                };
                self.effects.push_back(Effect::PathFrame {
                    link: local.definition.segment.name.vxlan(),
                    to: vxlan_mac(segment, peer),
                    frame: path_watch::Frame {
                        from: self.me,
                        segment,
                        number,
                    },
                    peer,
                });
            }
        }
    }

    fn carry_gossip(&mut self, effect: gossip::Effect, now: Instant) {
        match effect {
            gossip::Effect::Send { to, message } => self.send(to, PeerMessage::Gossip(message)),
            gossip::Effect::Save(records) => self.effects.push_back(Effect::SaveCluster(records)),
            gossip::Effect::Changed(change) => self.record_changed(change, now),
            gossip::Effect::SegmentLost { loser, winner } => self.report_superseded(&loser, &winner),
            gossip::Effect::Remembered(_) => {}
        }
    }

    fn record_changed(&mut self, change: Change, now: Instant) {
        self.report_record(&change);
        match &change.key {
            Key::Lease(..) => {
                if let (ChangeOrigin::Peer(_), Some(Record::Lease(lease))) = (change.origin, change.new.as_deref()) {
                    self.leases.handle_gossip_lease(lease.clone(), now);
                }
                self.lease_changed(&change, now);
            }
            Key::Share(..) => {
                if let (ChangeOrigin::Peer(_), Some(Record::Share(share))) = (change.origin, change.new.as_deref()) {
                    self.leases.handle_gossip_share(share.clone(), now);
                }
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
            }
            Key::Findings(host) => self.findings_changed(*host, now),
            Key::Removed(host) => {
                if *host == self.me {
                    self.removed = true;
                } else {
                    self.leases.remove(*host, now);
                    self.membership.forget(*host, now);
                }
                self.touch(now);
            }
            Key::Host(host) => {
                if *host != self.me {
                    self.membership.expect(*host, now);
                }
                self.touch(now);
            }
            Key::Segment(_) | Key::StaticPeer(..) => self.touch(now),
            Key::Endpoint(segment, mac) => self.endpoint_changed(*segment, *mac, &change, now),
        }
    }

    fn endpoint_changed(&mut self, segment: SegmentId, mac: Mac, change: &Change, now: Instant) {
        let guest = match change.new.as_deref() {
            Some(Record::Endpoint(endpoint)) => guest_at(endpoint),
            _ => None,
        };
        let addresses = |segment, mac| used_by(&self.leases, &self.learnt, segment, mac);
        self.endpoints
            .handle_announcement(segment, mac, change, &mut self.gossip, addresses, now);
        if let Some(Record::Endpoint(endpoint)) = change.new.as_deref() {
            let port = (endpoint.host, endpoint.interface.clone());
            self.dhcp.set_port(segment, mac, port);
        }
        let host = guest.as_ref().and_then(|guest| guest.host);
        self.leases.set_guest(segment, mac, guest, now);
        match (host, &change.old) {
            // Nothing that is derived speaks of this host's own guests.
            (Some(host), None) if host == self.me => {}
            (Some(_), None) => self.touch_for_guest(now),
            (Some(_) | None, _) => self.touch(now),
        }
    }
}
