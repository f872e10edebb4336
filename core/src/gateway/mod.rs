//! What the gateway host does for its guests.

pub mod dhcp;
pub mod routes;
pub mod uplink;

use std::net::Ipv4Addr;

use crate::id::IfName;

/// Where guests of a segment are listened to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayLink {
    /// The gateway's link.
    pub link: IfName,
    /// The gateway's address.
    pub address: Ipv4Addr,
}
