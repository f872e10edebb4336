//! What is known of an address: who owns it, what was promised, and the record of its lease.
//!
//! ```text
//!                  Bind (owner, fsync, Put to all in `may`)
//!   Free ────────────────────────────────────────────────► Client
//!    ▲  `may` empty, no quarantine      relied_until past     │
//!    └────────── Free, `may` unchanged ◄──────────────────────┘
//! ```

use std::collections::BTreeSet;

use crate::id::{HostId, Mac};
use crate::lease::{Epoch, Version};
use crate::time::Duration;

/// Whom a record names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holder {
    /// Nobody; `last` had it and is offered it again.
    Free {
        /// The client that had it before.
        last: Option<Mac>,
    },
    /// A client has it.
    Client(Mac),
    /// It is bound to this client for as long as a reservation stands, and a full time after everybody knows of its end.
    Reserved(Mac),
    /// An operator ended this client's lease: nobody extends it, and it is bound until the client's time is over.
    Released(Mac),
    /// Somebody foreign uses it, or a client declined it: bound to nobody until the record's time is over.
    Declined,
}

/// The lease of one address, as owner and keeper store it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRecord {
    /// The newest version wins.
    pub version: Version,
    /// Whom it names.
    pub holder: Holder,
    /// The longest lease time since the address was last free; what an ACK says is never more.
    pub lease_time: Duration,
    /// The host that may extend the lease beside the owner.
    pub keeper: Option<HostId>,
    /// DHCP option 61 as the client sent it, empty if it sent none.
    pub client_id: Vec<u8>,
    /// DHCP option 12, empty if none.
    pub hostname: String,
    /// How often in a row the address was declined; doubles the time.
    pub strikes: u32,
}

impl LeaseRecord {
    /// Of an address that was never used.
    pub const fn unused(version: Version) -> Self {
        Self {
            version,
            holder: Holder::Free { last: None },
            lease_time: Duration::ZERO,
            keeper: None,
            client_id: Vec::new(),
            hostname: String::new(),
            strikes: 0,
        }
    }

    /// Whether it names anybody (a client, or the foreign user that it is declined for).
    pub const fn is_bound(&self) -> bool {
        !matches!(self.holder, Holder::Free { .. })
    }

    /// The client that has the address.
    pub const fn client(&self) -> Option<Mac> {
        match self.holder {
            Holder::Client(mac) | Holder::Reserved(mac) => Some(mac),
            Holder::Free { .. } | Holder::Released(_) | Holder::Declined => None,
        }
    }

    /// The client that may rely on the address yet.
    const fn relier(&self) -> Option<Mac> {
        match self.holder {
            Holder::Client(mac) | Holder::Reserved(mac) | Holder::Released(mac) => Some(mac),
            Holder::Free { .. } | Holder::Declined => None,
        }
    }

    /// Whether a keeper of `before` goes on counting for its client: nothing else is named, or the client itself
    /// declined the address.
    pub fn goes_on_from(&self, before: &LeaseRecord) -> bool {
        self.relier() == before.relier() || self.holder == Holder::Declined
    }
}

/// Whether an owner may use what it owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transfer {
    /// Nothing is under way.
    Settled,
    /// This host introduced the addresses and waits until every member has acknowledged that.
    Unborn,
    /// This host gave them to the `owner`, which has not yet said that it took them.
    HandingOver,
}

/// Whether a host that can no longer be asked may have extended a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reuse {
    /// No such host.
    Allowed,
    /// There may be one: a full time must pass at this owner before the address is free.
    Quarantined,
}

/// All that one host has on disk about an address. Equal neighbours are one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressState {
    /// Of the owner named here.
    pub epoch: Epoch,
    /// Who owns it, as far as this host took part in deciding that; none if it never did.
    pub owner: Option<HostId>,
    /// Whether the owner may use it.
    pub transfer: Transfer,
    /// No lower epoch is served here.
    pub promised: Epoch,
    /// The lease.
    pub record: LeaseRecord,
    /// At the owner: the hosts that may still extend this or an older version of the record.
    pub may: BTreeSet<HostId>,
    /// At the owner: whether a host beyond asking may have extended it.
    pub reuse: Reuse,
}

impl AddressState {
    /// What a host knows of an address that it never heard of. An owner with epoch `NONE` is only presumed: it
    /// introduced the generation in which this host first met the address.
    pub const UNKNOWN: AddressState = AddressState {
        epoch: Epoch::NONE,
        owner: None,
        transfer: Transfer::Settled,
        promised: Epoch::NONE,
        record: LeaseRecord::unused(Version::NONE),
        may: BTreeSet::new(),
        reuse: Reuse::Allowed,
    };

    /// The highest epoch number in it: a fresh epoch is above.
    pub fn highest(&self) -> u64 {
        self.epoch
            .number
            .max(self.promised.number)
            .max(self.record.version.epoch.number)
    }

    /// Whether nobody has it any more as far as the owner can say, and only the client that had it last may still rely
    /// on it: hosts that may have extended the lease have not answered.
    pub fn is_ending(&self) -> bool {
        matches!(self.record.holder, Holder::Free { last: Some(_) })
            && !self.may.is_empty()
            && self.reuse == Reuse::Allowed
    }

    /// Whether an owner may name a new client in the record.
    pub fn is_free(&self) -> bool {
        !self.record.is_bound() && self.may.is_empty() && self.reuse == Reuse::Allowed
    }
}
