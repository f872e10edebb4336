//! What a host's kernel should have, what it has, and the changes that are due.

pub mod desired;
pub mod firewall;
pub mod observed;
pub mod plan;
