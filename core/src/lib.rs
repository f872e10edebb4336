//! Everything that decides in overlayd, and nothing that does IO.
//!
//! Time, randomness and identity come in as arguments; effects go out as values. Cargo keeps it so: this crate
//! depends on nothing that could open a socket, read a clock or start a thread (`core/clippy.toml` bans the rest).

#![forbid(unsafe_code)]
// A new case of an enum must ask every place that decides by it.
#![deny(clippy::wildcard_enum_match_arm)]

pub mod addresses;
pub mod checksum;
pub mod cluster;
pub mod config;
pub mod election;
pub mod gateway;
pub mod health;
pub mod id;
pub mod kernel;
pub mod lease;
pub mod mtu;
pub mod network;
pub mod node;
pub mod range;
pub mod severity;
pub mod time;
