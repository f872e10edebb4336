//! What this host hears of guests: where they are, and which addresses they use.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use super::Node;
use super::member::Member;
use crate::addresses::Leases;
use crate::cluster::gossip::{Change, Record};
use crate::cluster::learnt::{Hearing, Learnt};
use crate::id::{IfName, Mac, SegmentId};
use crate::kernel::mark::gateway_mac;
use crate::time::Instant;

impl Node {
    /// A guest has said by ARP on a gateway link that it has an address.
    pub fn handle_arp(&mut self, segment: SegmentId, guest: Mac, address: Ipv4Addr, now: Instant) {
        if let Some(formed) = self.formed.as_mut().filter(|_| guest != gateway_mac(segment)) {
            formed.handle_arp(segment, guest, address, now);
        }
        self.settle(now);
    }

    /// ARP on a bridge of this host has shown which address a guest uses.
    pub fn hear_address(&mut self, bridge: &IfName, guest: Mac, address: Ipv4Addr, now: Instant) {
        if let Some(formed) = &mut self.formed {
            formed.hear_address(bridge, guest, address, now);
        }
        self.settle(now);
    }
}

impl Member {
    pub(super) fn set_guests(&mut self, reported: &BTreeMap<IfName, BTreeMap<Mac, IfName>>, now: Instant) {
        let addresses = |segment, mac| used_by(&self.leases, &self.learnt, segment, mac);
        let (catalogue, endpoints) = (&self.catalogue, &self.endpoints);
        let is_told = |bridge: &IfName, mac| {
            let segment = catalogue.by_bridge(bridge);
            segment.is_some_and(|segment| endpoints.has_announced(segment, mac))
        };
        let admitted = self.crowds.admit(reported, is_told);
        self.endpoints
            .set_guests(&admitted, &self.catalogue, &mut self.gossip, addresses, now);
        let endpoints = &self.endpoints;
        self.learnt
            .retain(|segment, mac| endpoints.has_announced(segment, mac), now);
        if self.crowds.ports().next().is_some() {
            self.look_for_findings(now);
        }
        // Once the kernel has let a guest go that moved away, it may come back at any time.
        if self.derived.waits_for_guests_to_go() {
            self.touch_now(now);
        }
    }

    pub(super) fn handle_arp(&mut self, segment: SegmentId, guest: Mac, address: Ipv4Addr, now: Instant) {
        self.learn(segment, guest, address, now);
        self.dhcp.handle_arp(segment, guest, address, now);
    }

    /// A guest on a bridge of this host, or of another one, uses an address.
    pub(super) fn hear_address(&mut self, bridge: &IfName, guest: Mac, address: Ipv4Addr, now: Instant) {
        if let Some(segment) = self.catalogue.by_bridge(bridge)
            && guest != gateway_mac(segment)
        {
            self.learn(segment, guest, address, now);
        }
    }

    fn learn(&mut self, segment: SegmentId, guest: Mac, address: Ipv4Addr, now: Instant) {
        let local = self.derived.segments.get(&segment);
        let ipv4 = local.and_then(|local| local.definition.segment.ipv4.as_ref());
        let Some(ipv4) = ipv4.filter(|ipv4| ipv4.subnet.contains(&address)) else {
            return;
        };
        let of_gateway = ipv4.gateway == address;
        match self.learnt.hear(segment, guest, address, now) {
            Hearing::Known => {}
            Hearing::Taken => self.look_for_findings(now),
            Hearing::News => self.announce_addresses(segment, guest, now),
        }
        if of_gateway {
            self.look_for_findings(now);
        }
    }

    fn announce_addresses(&mut self, segment: SegmentId, guest: Mac, now: Instant) {
        let addresses = used_by(&self.leases, &self.learnt, segment, guest);
        self.endpoints
            .announce_addresses((segment, guest), addresses, &mut self.gossip, now);
    }

    /// Whoever had a lease that has ended is no reason any more to give the address to nobody else.
    pub(super) fn lease_changed(&mut self, change: &Change, now: Instant) {
        let held = |record: &Option<Box<Record>>| match record.as_deref() {
            Some(Record::Lease(lease)) if lease.is_held() => Some((lease.segment, lease.address.ip(), lease.client?)),
            _ => None,
        };
        if let Some((segment, address, client)) = held(&change.old).filter(|old| held(&change.new) != Some(*old)) {
            if let IpAddr::V4(address) = address {
                self.learnt.forget(segment, client, address);
            }
            self.announce_addresses(segment, client, now);
        }
    }
}

/// The addresses that a guest has leased, or was heard to use.
pub(super) fn used_by(leases: &Leases, learnt: &Learnt, segment: SegmentId, mac: Mac) -> BTreeSet<IpAddr> {
    let mut addresses = leases.held_by(segment, mac);
    addresses.extend(learnt.of(segment, mac).map(IpAddr::V4));
    addresses
}
