//! Histories on virtual time, one per seed: `SIM_SEEDS=10000 SIM_FROM=1 cargo test --release --test sim`.
//!
//! Optional: `SIM_SEEDS` (how many histories), `SIM_FROM` (the first seed), `SIM_FAILURES` (after how many failures to
//! stop), `SIM_ONLY` (weaker rules to try, as `M1,M4`).

#![allow(clippy::unwrap_used, reason = "a test")]
#![allow(clippy::print_stdout, reason = "what was covered is for whoever runs it")]
#![allow(
    clippy::duplicate_mod,
    reason = "the world is compiled over the core and over its weakened copy"
)]

mod chance;
mod election;
mod leases;
mod mutants;
mod real;
mod report;
mod seeds;
mod weaker;
