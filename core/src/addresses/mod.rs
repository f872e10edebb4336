//! Who may have an address: owners, keepers and leases, as a machine without clock, disk or socket.
//!
//! Each address has one **owner** host, which alone decides who may have it, and each lease one **keeper**, the guest's
//! own host, which may extend it for the same client when the owner is out of reach. Gossip serves to find and to show.
//! The rules, and what broke weaker ones, are in `docs/protocol.md`, part B.
//!
//! ```text
//!  DHCP server ─ Request ─►┌──────────────────────────────────┐─ Answer ─► DHCP server
//!  hosts ─────── Message ─►│ find, asking   (gateway's side)  │─ Send ───► hosts
//!  fsync done ── synced ──►│ owner ◄─► keeper   (records)     │─ Append ─► journal
//!  configuration, peers ──►│ transfer, share, birth, heir     │─ Gossip* ► everybody
//!  timeouts ──────────────►└──── segment · host · disk ───────┘
//! ```
//! What must follow an fsync waits in `disk` until the edge reports it; nothing here fails on any input.

mod configure;
mod disk;
mod dispatch;
mod ending;
mod find;
mod host;
mod initial_owner;
mod journal;
mod keeper;
mod listing;
mod message;
mod owner;
mod record;
mod replication;
mod request;
mod requests;
mod segment;
mod share;
mod start;
mod takeover;
mod timing;
mod transfer;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::id::{HostId, Mac, SegmentId};
use crate::lease::{Lease, Share};
use crate::time::{Duration, Instant};

use host::{Departure, Host};
use requests::{Origin, Wanted};
use segment::Segment;

pub use journal::{Introduced, JournalRecord, Membership, Recovered};
pub use message::{
    Ask, Basis, Claim, Generation, GivenRun, Message, OwnedRun, Ownership, Part, PutRefusal, Reply, ReportedRun,
};
pub use record::{AddressState, Holder, Record, Reuse, Transfer};
pub use request::{Answer, Effect, LeaseEvent, Reason, Request, Silence, Timeout, Unrecovered};
pub use view::{Guest, PoolLine, Reach, Reservation, Roster, SegmentPool, Standing};

/// The leases of all segments of this host.
#[derive(Debug)]
pub struct Leases {
    host: Host,
    segments: BTreeMap<SegmentId, Segment>,
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
                segment.orphans_due = true;
                segment.inherit(&mut self.host, now);
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
            let mut segment = Segment::new(id, now);
            segment.set_forgotten_pool(&mut leases.host, pool, above, now);
            leases.segments.insert(id, segment);
        }
        leases.end_turn(now);
        leases
    }

    /// The last append about this host's membership.
    pub fn written(&self) -> u64 {
        self.host.written()
    }

    /// Whether this host waits for one that takes part, and every member that is left waits, too.
    pub fn waits_for_nobody(&self) -> bool {
        self.host.waits_for_nobody()
    }

    /// How long addresses are quarantined at most whose former owners cannot be asked.
    pub fn longest_quarantine(&self) -> Duration {
        let segments = self.segments.values();
        let longest = segments.map(|segment| segment.configured.longest).max();
        timing::relied(longest.unwrap_or_default())
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

    /// Whether this host owns and keeps nothing any more, because its journal is lost.
    pub fn has_lost_disk(&self) -> bool {
        self.host.has_lost_disk()
    }

    /// A lease that this host gave in a cluster of its own, before it joined: its new owner is asked to bind it.
    pub fn bring(&mut self, segment: SegmentId, address: IpAddr, claim: Claim, now: Instant) {
        self.segment(segment, now).bring(address, claim, now);
        self.end_turn(now);
    }

    /// How many leases that this host brought wait for their owners' word.
    pub fn brought(&self) -> usize {
        self.segments.values().map(|segment| segment.brought.len()).sum()
    }

    /// A segment's pool, new or in a new generation.
    pub fn set_segment(&mut self, id: SegmentId, pool: SegmentPool, now: Instant) {
        let graves: Vec<_> = self.segments.values().filter_map(Segment::grave).collect();
        self.segment(id, now);
        if let Some(segment) = self.segments.get_mut(&id) {
            for (ranges, until) in graves {
                ranges.into_iter().for_each(|range| segment.blocked.set(range, until));
            }
            segment.set_pool(&mut self.host, pool, now);
        }
        self.end_turn(now);
    }

    /// The segment has a tombstone, or has no pool here any more. Its addresses wait before another segment may use them.
    pub fn delete_segment(&mut self, id: SegmentId, now: Instant) {
        if let Some(segment) = self.segments.get_mut(&id) {
            segment.set_deleted(&self.host, now);
        }
        self.end_turn(now);
    }

    /// How another host stands now. Hosts never named count as silent.
    pub fn set_reach(&mut self, host: HostId, reach: Reach, now: Instant) {
        if !self.host.set_reach(host, reach, now) {
            return;
        }
        for segment in self.segments.values_mut() {
            segment.keepers_due = true;
            segment.bear(&mut self.host, now);
            segment.ask_for_share(&mut self.host, now);
        }
        self.end_turn(now);
    }

    /// Who serves a segment.
    pub fn set_standing(&mut self, segment: SegmentId, standing: Standing, now: Instant) {
        if let Some(segment) = self.segments.get_mut(&segment) {
            segment.set_standing(&mut self.host, standing, now);
        }
        self.end_turn(now);
    }

    /// Where a guest is and which addresses it uses; none when it is gone.
    pub fn set_guest(&mut self, segment: SegmentId, client: Mac, guest: Option<Guest>, now: Instant) {
        if let Some(segment) = self.segments.get_mut(&segment) {
            segment.set_guest(self.host.me, client, guest, now);
        }
    }

    /// A question of the local DHCP server; `token` comes back with the answer.
    pub fn handle_request(&mut self, token: u64, request: Request, now: Instant) {
        let host = &mut self.host;
        let silence = |why| Answer::Silence(why);
        match request {
            Request::Find { segment, client, wish } => match self.segments.get_mut(&segment) {
                Some(segment) => segment.find(host, token, client, wish.map(Into::into), now),
                None => host.disk.answer(token, silence(Silence::NoPool), 0, now),
            },
            Request::Bind {
                segment,
                address,
                claim,
            } => match self.segments.get_mut(&segment) {
                Some(segment) => {
                    let address = address.into();
                    if let Some(why) = segment.barred(host, address, &claim) {
                        host.disk.answer(token, silence(why), 0, now);
                    } else if let Some(answer) = segment.settled(address, &claim) {
                        host.disk.answer(token, answer, 0, now);
                    } else {
                        segment.ask(host, Origin::Guest(token), address, Wanted::Bind(claim), now);
                    }
                }
                None => host.disk.answer(token, silence(Silence::NoPool), 0, now),
            },
            Request::Release {
                segment,
                address,
                client,
            } => {
                self.pass_on(token, segment, address, Wanted::Release(client), now);
            }
            Request::Decline {
                segment,
                address,
                client,
            } => {
                if let Some(segment) = self.segments.get_mut(&segment) {
                    segment
                        .declined_by
                        .retain(|_, (_, at)| now.since(*at) < timing::DECLINED);
                    segment.declined_by.insert(client, (address.into(), now));
                }
                self.pass_on(token, segment, address, Wanted::Decline(client), now);
            }
            Request::Conflict { segment, address } => {
                self.pass_on(token, segment, address, Wanted::Conflict, now);
            }
        }
        self.end_turn(now);
    }

    fn pass_on(&mut self, token: u64, segment: SegmentId, address: IpAddr, wanted: Wanted, now: Instant) {
        match self.segments.get_mut(&segment) {
            Some(segment) => segment.ask(&mut self.host, Origin::Guest(token), address.into(), wanted, now),
            None => self.host.disk.answer(token, Answer::Silence(Silence::NoPool), 0, now),
        }
    }

    /// What another host told everybody about a lease.
    pub fn handle_gossip_lease(&mut self, info: Lease, now: Instant) {
        self.segment(info.segment, now).learn_lease(info, now);
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
            segment.handle_share(&mut self.host, info, now);
        }
        self.end_turn(now);
    }

    /// The next effect; drained after each `handle_*` or `set_*`.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.host.disk.poll()
    }

    /// Whether this host takes part.
    pub fn part(&self) -> Part {
        self.host.part()
    }

    /// The members and the removed, as on this host.
    pub fn roster(&self) -> Roster {
        let membership = self.host.membership();
        Roster {
            members: membership.members.clone(),
            removed: membership.removed.clone(),
        }
    }

    /// The other members that said that their journal is lost.
    pub fn lost_members(&self) -> Vec<HostId> {
        self.host
            .others()
            .filter(|&host| self.host.has_lost_its(host))
            .collect()
    }

    /// The members whose acknowledgement this host still waits for before it takes part.
    pub fn awaited(&self) -> Vec<HostId> {
        self.host.awaited()
    }

    /// All leases of a segment that this host knows, its own and those told by others, by address.
    pub fn lease_list(&self, segment: SegmentId, now: Instant) -> Vec<Lease> {
        self.segments
            .get(&segment)
            .map(|segment| segment.lease_list(now))
            .unwrap_or_default()
    }

    /// The addresses of a segment that a client holds, as far as this host knows.
    pub fn held_by(&self, segment: SegmentId, client: Mac) -> BTreeSet<IpAddr> {
        let segment = self.segments.get(&segment).into_iter();
        segment
            .flat_map(|segment| segment.held_by(client).map(|address| address.ip()))
            .collect()
    }

    /// All ranges of a segment.
    pub fn pool_show(&self, segment: SegmentId) -> Vec<PoolLine> {
        self.segments.get(&segment).map(Segment::pool_show).unwrap_or_default()
    }

    /// The newest generation of a segment that this host ever knew. While it knows only an older one it gives nothing.
    pub fn newest_generation(&self, segment: SegmentId) -> u64 {
        self.segments
            .get(&segment)
            .map_or(0, |segment| segment.configured.generation)
    }

    /// How long a lease of this segment is given for now.
    pub fn lease_time(&self, segment: SegmentId) -> Option<Duration> {
        self.segments
            .get(&segment)
            .filter(|segment| segment.configured.pool.is_some())
            .map(Segment::lease_time)
    }

    /// What this host has on disk about an address.
    pub fn state(&self, segment: SegmentId, address: IpAddr) -> AddressState {
        self.segments
            .get(&segment)
            .map_or(AddressState::UNKNOWN, |segment| segment.at(address.into()).clone())
    }

    /// How long a guest may still rely on what this host said of an address; none if it neither owns nor keeps it.
    pub fn relied_for(&self, segment: SegmentId, address: IpAddr, now: Instant) -> Option<Duration> {
        self.segments
            .get(&segment)?
            .relied_for(self.host.me, address.into(), now)
    }

    /// This host.
    pub fn me(&self) -> HostId {
        self.host.me
    }
}
