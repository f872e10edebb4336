//! What the hosts know of each other: the records that spread by gossip, the segments that they define, and who
//! is a member.

pub mod catalogue;
pub mod gossip;
pub mod membership;
