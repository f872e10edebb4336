//! What the hosts know of each other: the records that spread by gossip, and who is a member.

pub mod gossip;
pub mod membership;
