//! Histories on virtual time, one per seed: `SIM_SEEDS=10000 SIM_FROM=1 cargo test --release --test sim`.
//!
//! `SIM_SEEDS` (how many histories), `SIM_FROM` (the first seed) and `SIM_FAILURES` (after how many failures to stop) are
//! optional.

#![allow(clippy::unwrap_used, reason = "a test")]
#![allow(clippy::print_stdout, reason = "what was covered is for whoever runs it")]
#![allow(
    clippy::duplicate_mod,
    reason = "the world is compiled over the core and over its weakened copy"
)]

mod chance;
mod election;
mod mutants;
mod real;
mod report;
mod seeds;
mod weaker;
