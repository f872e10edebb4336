//! What a host's kernel should have, what it has, and the changes that are due.
//!
//! ```text
//!  inputs ──► desired (with its firewall) ──┐
//!                                           ├──► plan ──► ops
//!  observed ────────────────────────────────┘
//! ```
//! Both states speak of `device`, `sysctl`, `table` and `mark`.

pub mod desired;
pub mod device;
pub mod firewall;
pub mod foreign;
pub mod inputs;
pub mod mark;
pub mod observed;
pub mod orphans;
pub mod plan;
pub mod sysctl;
pub mod table;
pub mod vtep;
pub mod wholeness;
