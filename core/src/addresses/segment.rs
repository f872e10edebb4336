//! The leases of one segment: its address store, and the machines over it, each with what it alone remembers.
//!
//! ```text
//!  requests ──► owner ──► replication ──► keeper (another host's)       sharing · initial owners · takeover
//!      └──────────┴────────────┴──────────────┴──────── store ────────────┴───────────┴──────────────┘
//! ```

use crate::id::{HostId, SegmentId};
use crate::time::Instant;

use super::initial_owner::InitialOwners;
use super::keeper::Keeper;
use super::live::{Origin, Timer};
use super::message::Life;
use super::participation::Participation;
use super::request::{Answer, Request, Wanted};
use super::requests::Requests;
use super::share::Sharing;
use super::store::AddressStore;
use super::takeover::Takeover;
use super::view::GatewayStanding;
use super::{configure, ending, find, grave, keepers, listing, owner, share};

/// A segment's store and its machines.
#[derive(Debug)]
pub(super) struct SegmentLeases {
    pub(super) store: AddressStore,
    pub(super) requests: Requests,
    pub(super) keeper: Keeper,
    pub(super) sharing: Sharing,
    pub(super) initial: InitialOwners,
    pub(super) takeover: Takeover,
}

impl SegmentLeases {
    pub(super) fn new(id: SegmentId, now: Instant) -> Self {
        Self {
            store: AddressStore::new(id, now),
            requests: Requests::default(),
            keeper: Keeper::default(),
            sharing: Sharing::default(),
            initial: InitialOwners::default(),
            takeover: Takeover::default(),
        }
    }

    /// Whether another host knows all that this one owns here.
    pub(super) fn is_known_to(&self, host: HostId) -> bool {
        !self.store.due.owned && self.initial.knows(host)
    }

    /// Whether nothing is left here that a leaver must hand on. What it gave to a host that was removed before it took
    /// it is still here: nobody else knows of it, so this host inherits it, or hears of an heir.
    pub(super) fn is_handed_over(&self, host: &Participation) -> bool {
        self.store.configured.life == Life::Over
            || !share::owns_something(&self.store, host) && self.keeper.kept(&self.store, host) == 0
    }

    /// Who is gateway.
    pub(super) fn set_standing(&mut self, host: &mut Participation, standing: GatewayStanding, now: Instant) {
        let ordered_anew = self.store.standing.order != standing.order;
        self.store.due.keepers |= ordered_anew;
        self.store.standing = standing;
        self.store.standing_at = now;
        if ordered_anew {
            self.sharing.ask_for_share(&mut self.store, host, now);
        }
    }

    /// What others can do for this host, or it for them, may have changed.
    pub(super) fn reconsider(&mut self, host: &mut Participation, now: Instant) {
        self.store.due.keepers = true;
        keepers::replace_keepers(&mut self.store, host, now);
        self.initial.bear(&mut self.store, host);
        self.initial.tell_owned(&mut self.store, host, now);
        self.sharing.ask_for_share(&mut self.store, host, now);
    }

    /// A question of the local DHCP server.
    pub(super) fn handle_request(&mut self, host: &mut Participation, token: u64, request: Request, now: Instant) {
        let Self {
            store,
            requests,
            sharing,
            ..
        } = self;
        let (address, wanted) = match request {
            Request::Find { client, wish, .. } => {
                return requests.find(store, sharing, host, token, (client, wish.map(Into::into)), now);
            }
            Request::Bind { address, claim, .. } => {
                let address = address.into();
                if let Some(why) = find::barred(store, host, address, &claim) {
                    return host.outbox.answer(token, Answer::Silence(why), 0, now);
                }
                if let Some(answer) = find::settled(store, host, address, &claim, now) {
                    return host.outbox.answer(token, answer, 0, now);
                }
                if store.is_used_by_other(host, address, claim.client) {
                    return host.outbox.answer(token, Answer::Nak, 0, now);
                }
                (address, Wanted::Bind(claim))
            }
            Request::Release { address, client, .. } => (address.into(), Wanted::Release(client)),
            Request::Decline { address, client, .. } => {
                requests.note_declined(client, address.into(), now);
                (address.into(), Wanted::Decline(client))
            }
            Request::Conflict { address, .. } => (address.into(), Wanted::Conflict),
            Request::Revoke { address, client, .. } => {
                let address = address.into();
                (address, Wanted::Revoke(client, listing::version_of(store, address)))
            }
            Request::Withdraw { address, client, .. } => {
                store.withdraw_offer_to(host, address.into(), client);
                return host.outbox.answer(token, Answer::Done, 0, now);
            }
        };
        requests.ask(store, host, Origin::Guest(token), address, wanted, now);
    }

    pub(super) fn handle_timer(&mut self, host: &mut Participation, timer: Timer, now: Instant) {
        let store = &mut self.store;
        match timer {
            Timer::Live(address) => {
                keepers::repair(store, host, address, now);
                owner::step(store, host, address, now);
            }
            Timer::Quarantine => ending::end_quarantines(store, host, now),
            Timer::Offer(address) => store.offer_due(host, address, now),
            Timer::Rest(address) => store.rest_due(host, address, now),
            Timer::Question(id) => self.requests.question_due(store, host, id, now),
            Timer::Search(_) => self.requests.search_again(store, host, now),
            Timer::Give => self.sharing.gives.say_gives(store, host, now),
            Timer::Ballot => self.takeover.retry_ballot(store, host, now),
            Timer::Tick => {
                self.tick(host, now);
                self.store.tick_again(now);
            }
        }
    }

    fn tick(&mut self, host: &mut Participation, now: Instant) {
        if !host.serves() {
            return;
        }
        let store = &mut self.store;
        self.initial.tell_owned(store, host, now);
        self.initial.bear(store, host);
        configure::configured_due(store, host, now);
        grave::grave_due(store, host, now);
        keepers::replace_keepers(store, host, now);
        self.takeover.inherit(store, host, now);
        self.sharing.share(store, host, now);
        self.requests.ask_brought(store, host, now);
    }
}
