//! What operators see: one value per line of a table, nothing that changes anything.

mod endpoints;
mod gateways;
mod leases;
mod peers;
mod problems;
mod segments;
mod status;

pub use endpoints::EndpointLine;
pub use gateways::{GatewayLine, Serves};
pub use leases::{LeaseLine, PoolLine};
pub use peers::PeerLine;
pub use problems::{Problem, Severity};
pub use segments::SegmentLine;
