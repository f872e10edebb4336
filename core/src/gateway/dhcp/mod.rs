//! A DHCPv4 server that owns no socket: what a guest asks becomes a question to the leases, their answer a reply.
//!
//! ```text
//! guest ── message ──► read ──► Ask ──► leases          who may have which address is decided there
//!   ◄────── Reply ──── write ◄─ Answer ──┘              NAK only for a wrong subnet, or when they say so
//! ```
//!
//! A guest gets a reply only if it is certain: a server that stays silent leaves the guest the lease it has. Not done on purpose:
//! - *Relays*: a segment is one link, nothing on it relays; what claims to come from a relay is dropped and counted.
//! - *Rapid commit* (option 80): an offer costs no disk, its acknowledgement does; guests fall back to the four steps.
//! - *A lease time asked for* (option 51): the segment's own is what can be promised.

mod answer;
mod boot;
pub mod datagram;
mod exchange;
mod in_use;
mod names;
mod offers;
mod question;
mod reply;
mod request;
mod served;
mod server;
#[cfg(test)]
mod tests;

pub use exchange::{Effect, Ignored, Packet, SegmentService, Shortage};
pub use in_use::AHEAD;
pub use offers::GuestPort;
pub use served::Unserved;
pub use server::Server;
