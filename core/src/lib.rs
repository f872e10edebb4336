//! Everything that decides in overlayd, and nothing that does IO.
//!
//! Time, randomness and identity come in as arguments; effects go out as values. Cargo keeps it so: this crate
//! depends on nothing that could open a socket, read a clock or start a thread (`core/clippy.toml` bans the rest).

pub mod addresses;
pub mod cluster;
pub mod config;
pub mod election;
pub mod gateway;
pub mod id;
pub mod kernel;
pub mod mtu;
pub mod node;
pub mod time;
