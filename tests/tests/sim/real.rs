//! The simulation over the core as it is.

pub(crate) use overlayd_core as core;

#[path = "election_world/mod.rs"]
pub(crate) mod election_world;

#[path = "lease_world/mod.rs"]
pub(crate) mod lease_world;
