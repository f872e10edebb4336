//! What findings about guests rest on: their pools, and who uses what is not theirs.

use std::fmt;
use std::net::IpAddr;

use crate::gateway::dhcp::Shortage;
use crate::id::{Mac, SegmentName};
use crate::time::Duration;

/// How many addresses of a pool are in which state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolState {
    /// Whose pool.
    pub segment: SegmentName,
    /// Addresses that may be given.
    pub free: u64,
    /// Addresses that guests have.
    pub held: u64,
    /// Addresses that may not be given yet.
    pub quarantined: u64,
    /// For how long some of them may not, as far as this host decides it.
    pub quarantined_for: Option<Duration>,
    /// Addresses that guests found in use.
    pub declined: u64,
    /// How many guests may have at once.
    pub max_leases: Option<u64>,
    /// Guests that lately got none.
    pub refused: Option<RefusedGuests>,
}

/// Guests that got no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedGuests {
    /// What they lacked.
    pub shortage: Shortage,
    /// How often one asked in vain.
    pub times: u64,
    /// How long ago the last one did.
    pub ago: Duration,
    /// The port that many offers were open to then.
    pub crowd: Option<Crowd>,
}

/// A port that many offers are open to: its guests ask for addresses, and take none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crowd {
    /// The name of its host.
    pub host: String,
    /// Its name there.
    pub port: String,
    /// How many.
    pub offers: usize,
}

/// What a guest uses that is not its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misuse {
    /// The gateway's address.
    Gateway {
        /// The segment.
        segment: SegmentName,
        /// The gateway's address.
        address: IpAddr,
        /// The guest.
        guest: GuestPlace,
    },
    /// An address that another guest uses, too.
    Shared {
        /// The segment.
        segment: SegmentName,
        /// The address.
        address: IpAddr,
        /// All that use it.
        guests: Vec<GuestPlace>,
    },
    /// So many addresses that nothing it says of them counts.
    Everything {
        /// The segment.
        segment: SegmentName,
        /// The guest.
        guest: GuestPlace,
    },
}

/// A guest, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestPlace {
    /// Its MAC.
    pub mac: Mac,
    /// The name of its host, where that is known.
    pub host: Option<String>,
    /// Its port there, where that is known.
    pub port: String,
}

impl fmt::Display for GuestPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.host, self.port.as_str()) {
            (Some(host), "") => write!(f, "{} on {host}", self.mac),
            (Some(host), port) => write!(f, "{} on {host} ({port})", self.mac),
            (None, _) => self.mac.fmt(f),
        }
    }
}
