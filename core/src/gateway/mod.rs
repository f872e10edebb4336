//! What the gateway host does for its guests.

pub mod dhcp;
pub mod routes;
pub mod uplink;
