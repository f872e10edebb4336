//! The simulation over the copy of the core whose rules can be weakened ([`crate::mutants::weak`]).

/// The copy that `build.rs` made.
#[allow(warnings, clippy::all, clippy::unwrap_used)]
pub(crate) mod core {
    include!(concat!(env!("OUT_DIR"), "/core/mod.rs"));
}

#[path = "election_world/mod.rs"]
pub(crate) mod election_world;

#[path = "lease_world/mod.rs"]
pub(crate) mod lease_world;
