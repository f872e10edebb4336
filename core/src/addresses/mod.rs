//! Who may have an address: owners, keepers and leases, as a machine without clock, disk or socket.
//!
//! Each address has one **owner** host, which alone decides who may have it, and each lease one **keeper**, the guest's
//! own host, which may extend it for the same client when the owner is out of reach. Gossip serves to find and to show.
//! The rules, and what broke weaker ones, are in `docs/protocol.md`, part B.
//!
//! ```text
//!  DHCP server ─ Request ─►┌──────────────────────────────────┐─ Answer ─► DHCP server
//!  hosts ─────── Message ─►│ requests, find (gateway's side)  │─ Send ───► hosts
//!  fsync done ── synced ──►│ owner ◄─► keeper   (records)     │─ Append ─► journal
//!  configuration, peers ──►│ shares, first owners, takeover   │─ Gossip* ► everybody
//!  timeouts ──────────────►└──── store · journal · outbox ────┘
//! ```
//! What must follow an fsync waits in `outbox` until the edge reports it; nothing here fails on any input.

mod acknowledge;
mod brought;
mod configure;
mod configured;
mod copies;
mod dispatch;
mod ending;
mod facts;
mod find;
mod first_claim;
mod free_list;
mod grave;
mod inheritance;
mod initial_owner;
mod journal;
mod keeper;
mod keepers;
mod listing;
mod live;
mod message;
mod outbox;
mod owner;
mod participation;
mod record;
mod replication;
mod reply;
mod report;
mod request;
mod requests;
mod segment;
mod share;
mod start;
mod store;
mod takeover;
mod timing;
mod transfer;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::id::{HostId, Mac, SegmentId};
use crate::lease::{Lease, Share};
use crate::range::Address;
use crate::time::Instant;

use participation::{Departure, Participation};
use segment::SegmentLeases;

pub use journal::{Introduced, JournalRecord, Members, Recovered};
pub use message::{
    Ask, Basis, Claim, Generation, GivenRun, Life, Message, OwnedRun, Ownership, Part, PutRefusal, Reply, ReportedRun,
};
pub use record::{AddressState, Holder, LeaseRecord, Reuse, Transfer};
pub use request::{Answer, Effect, LeaseEvent, Reason, Request, Silence, Timeout, Unrecovered};
pub use view::{GatewayStanding, Guest, RangeLine, Reach, ReservedAddress, Roster, SegmentPool, Wait, WaitsFor};

/// The leases of all segments of this host.
#[derive(Debug)]
pub struct Leases {
    host: Participation,
    segments: BTreeMap<SegmentId, SegmentLeases>,
}

impl Leases {
    /// This host forms a cluster: it takes part at once.
    pub fn form(&mut self, now: Instant) {
        self.host.form(now);
        self.end_turn(now);
    }

    /// This host enters a cluster through one that takes part, whose roster this is.
    pub fn join(&mut self, roster: Roster, now: Instant) {
        self.host.join(roster, now);
        self.end_turn(now);
    }

    /// Another host enters through this one: it is a member from now on; what it is to copy.
    pub fn admit(&mut self, joiner: HostId, now: Instant) -> Roster {
        self.host.admit(joiner, now);
        self.end_turn(now);
        self.roster()
    }

    /// The operator's word that no other host serves: this one takes part from now on, and inherits what the removed
    /// owned. `known` are the hosts that gossip knows of.
    ///
    /// # Errors
    /// It does not, or not yet: those of `known` that it had not met are asked to acknowledge it.
    pub fn recover(&mut self, known: &BTreeSet<HostId>, now: Instant) -> Result<(), Unrecovered> {
        let recovered = self.host.recover(known, now);
        if recovered.is_ok() {
            for segment in self.segments.values_mut() {
                segment.store.due.orphans = true;
                segment.takeover.inherit(&mut segment.store, &mut self.host, now);
            }
        }
        self.end_turn(now);
        recovered
    }

    /// The same for a host whose journal is lost, where no other member is left: it begins with an empty one. What the
    /// guests of these pools rely on is unknown, so every address is quarantined. `above` is the highest number of any epoch that
    /// was told before.
    pub fn recover_lost(
        me: HostId,
        removed: &BTreeSet<HostId>,
        pools: BTreeMap<SegmentId, SegmentPool>,
        above: u64,
        (seed, now): (u64, Instant),
    ) -> Self {
        let mut leases = Self::new(me, Recovered::default(), seed, now);
        leases.host.form(now);
        leases.learn_removed(removed, now);
        for (id, pool) in pools {
            let mut segment = SegmentLeases::new(id, now);
            configure::set_forgotten_pool(&mut segment.store, &mut leases.host, pool, above, now);
            leases.segments.insert(id, segment);
        }
        leases.end_turn(now);
        leases
    }

    /// The operator's word that `host` is off for good. The edge has checked that nobody hears it.
    pub fn remove(&mut self, host: HostId, now: Instant) {
        self.learn_removed(&BTreeSet::from([host]), now);
        self.end_turn(now);
    }

    /// This host is to leave: it hands over all it has; `Effect::Left` says when that is done.
    pub fn leave(&mut self, now: Instant) {
        if self.host.departure == Departure::None {
            self.host.departure = Departure::HandingOver;
            self.host.tell_soon(now);
            self.depart(now);
        }
        self.end_turn(now);
    }

    /// This host does not leave after all. False where it is too late: all it had is with others.
    pub fn stay(&mut self, now: Instant) -> bool {
        let stays = match self.host.departure {
            Departure::None | Departure::HandingOver => true,
            Departure::Telling(_) | Departure::Gone => false,
        };
        if stays {
            self.host.departure = Departure::None;
            self.host.tell_soon(now);
            self.end_turn(now);
        }
        stays
    }

    /// The journal is damaged or an fsync failed: this host stops owning and keeping.
    pub fn lost_disk(&mut self, now: Instant) {
        self.host.lose(now);
        self.end_turn(now);
    }

    /// A lease that this host gave in a cluster of its own, before it joined: its new owner is asked to bind it.
    pub fn bring(&mut self, segment: SegmentId, address: IpAddr, claim: Claim, now: Instant) {
        let segment = self.segment(segment, now);
        segment.requests.bring(&mut segment.store, address, claim, now);
        self.end_turn(now);
    }

    /// A segment's pool, new or in a new generation.
    pub fn set_segment(&mut self, id: SegmentId, pool: SegmentPool, now: Instant) {
        self.segment(id, now);
        if let Some(segment) = self.segments.get_mut(&id) {
            configure::set_pool(&mut segment.store, &mut self.host, pool, now);
        }
        self.block_graves();
        self.end_turn(now);
    }

    /// The segment has no pool here for now.
    pub fn withdraw_pool(&mut self, id: SegmentId, now: Instant) {
        if let Some(segment) = self.segments.get_mut(&id) {
            segment.store.withdraw_pool(self.host.me);
        }
        self.end_turn(now);
    }

    /// The segment is deleted, in this generation at the latest. Until all members have known that for a full time it
    /// may come back, and no other begins with its addresses.
    pub fn delete_segment(&mut self, id: SegmentId, generation: u64, now: Instant) {
        self.segment(id, now);
        if let Some(segment) = self.segments.get_mut(&id) {
            grave::bury(&mut segment.store, &mut self.host, generation, now);
        }
        self.block_graves();
        self.end_turn(now);
    }

    /// How another host stands now. Hosts never named count as silent.
    pub fn set_reach(&mut self, host: HostId, reach: Reach, now: Instant) {
        if !self.host.set_reach(host, reach, now) {
            return;
        }
        for segment in self.segments.values_mut() {
            segment.store.due.keepers = true;
            segment.initial.bear(&mut segment.store, &mut self.host);
            segment.initial.tell_owned(&mut segment.store, &mut self.host, now);
            segment.sharing.ask_for_share(&mut segment.store, &mut self.host, now);
        }
        self.end_turn(now);
    }

    /// Who serves a segment.
    pub fn set_standing(&mut self, segment: SegmentId, standing: GatewayStanding, now: Instant) {
        if let Some(segment) = self.segments.get_mut(&segment) {
            segment.set_standing(&mut self.host, standing, now);
        }
        self.end_turn(now);
    }

    /// Where a guest is and which addresses it uses; none when it is gone.
    pub fn set_guest(&mut self, segment: SegmentId, client: Mac, guest: Option<Guest>, now: Instant) {
        if let Some(segment) = self.segments.get_mut(&segment) {
            configure::set_guest(&mut segment.store, self.host.me, client, guest, now);
        }
    }

    /// A question of the local DHCP server; `token` comes back with the answer.
    pub fn handle_request(&mut self, token: u64, request: Request, now: Instant) {
        match self.segments.get_mut(&request.segment()) {
            Some(segment) => segment.handle_request(&mut self.host, token, request, now),
            None => {
                let answer = Answer::Silence(Silence::NoPool);
                self.host.outbox.answer(token, answer, 0, now);
            }
        }
        self.end_turn(now);
    }

    /// The addresses that guests of this host are offered next.
    pub fn free_ahead(&self, segment: SegmentId, count: usize) -> Vec<IpAddr> {
        let ahead = self
            .segments
            .get(&segment)
            .map(|segment| segment.store.free_ahead(count));
        ahead.into_iter().flatten().map(Address::ip).collect()
    }

    /// A guest has answered for an address: nobody else is given it for a minute, unless it is leased.
    pub fn rest(&mut self, segment: SegmentId, address: IpAddr, by: Mac, now: Instant) {
        if let Some(segment) = self.segments.get_mut(&segment) {
            segment.store.rest(address.into(), by, now);
        }
    }

    /// What another host told everybody about a lease.
    pub fn handle_gossip_lease(&mut self, info: Lease, now: Instant) {
        let segment = self.segment(info.segment, now);
        listing::learn_lease(&mut segment.store, info, now);
    }

    /// What another host told everybody about its share.
    pub fn handle_gossip_share(&mut self, info: Share, now: Instant) {
        // A word of a removed host may still go round: what it had is with its heir.
        if self.host.is_removed(info.owner) {
            return;
        }
        let id = info.segment;
        self.segment(id, now);
        if let Some(segment) = self.segments.get_mut(&id) {
            segment
                .sharing
                .handle_share(&mut segment.store, &mut self.host, info, now);
        }
        self.end_turn(now);
    }

    /// The next effect; drained after each `handle_*` or `set_*`.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.host.outbox.poll()
    }
}
