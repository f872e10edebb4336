//! gRPC between hosts: what comes in becomes an [`Event`], what goes out goes through [`Transport`].
//!
//! ```text
//!  peer ── Hello, Election, Bulk, Leases ──► peer::Server ──► Inbox ──► event loop
//!  event loop ──► Transport ── one task per address, two connections ──► peer
//! ```
//! Each host dials every other one, and sends only on what it dialled. Elections have a TCP connection of their own, and
//! a queue of their own into the event loop, so that bulk never delays them.

mod dialler;
mod event;
mod identity;
mod join;
mod links;
pub mod peer;
mod socket;
mod transport;

pub use event::{Event, Inbox, Invitation, JoinRefusal, JoinReply, JoinRequest, Refusal};
pub use identity::{Identity, Standing};
pub use join::{JoinError, invite, join};
pub use links::Sent;
pub use socket::{BindError, MAXSEG};
pub use transport::Transport;

#[cfg(test)]
mod tests;
