//! Everything that decides in overlayd, and nothing that does IO.
//!
//! Time, randomness and identity come in as arguments; effects go out as values. Cargo keeps it so: this crate
//! depends on nothing that could open a socket, read a clock or start a thread (`core/clippy.toml` bans the rest).

pub mod config;
pub mod desired;
pub mod election;
pub mod gateway;
pub mod gossip;
pub mod id;
pub mod mtu;
pub mod node;
pub mod observed;
pub mod peers;
pub mod plan;
pub mod time;
pub mod uplink;
