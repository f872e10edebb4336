//! Who is there: membership by gossip (SWIM, the `foca` library), and the peers as an operator sees them.
//!
//! Membership alone takes nothing away from anybody: a host that it gives up is *failed* only when its kernel does not
//! answer either, or when the election has found it dead ([`view()`]). Packets travel over any transport; nothing here
//! opens one.

mod codec;
mod identity;
mod swim;
#[cfg(test)]
mod tests;
mod view;

pub use swim::{EXPECTED_FOR, Effect, MAX_PACKET, MemberState, Membership, MembershipTimer};
pub use view::{Inputs, Peer, PeerState, Who, view};
