//! What operators see: one value per line of a table, nothing that changes anything.

mod endpoints;
mod gateways;
mod guests;
mod leases;
mod peers;
mod segments;
mod status;
mod vitals;

pub use endpoints::EndpointLine;
pub use gateways::{GatewayLine, Serves};
pub use leases::{LeaseLine, PoolLine};
pub use peers::PeerLine;
pub use segments::SegmentLine;
