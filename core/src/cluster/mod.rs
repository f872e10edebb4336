//! What the hosts know of each other: the records that spread by gossip, the segments and guests that they tell of, who
//! is a member, and who is reachable.

pub mod catalogue;
pub mod crowds;
pub mod endpoints;
pub mod gossip;
pub mod learnt;
pub mod membership;
pub mod path_watch;
pub mod reachability;
