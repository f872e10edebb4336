//! What the hosts know of each other: the records that spread by gossip, the segments that they define, who is a
//! member, and who is reachable.

pub mod catalogue;
pub mod gossip;
pub mod membership;
pub mod reachability;
