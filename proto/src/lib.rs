//! The gRPC surfaces of overlayd: `control` for operators, `peer` between hosts; and the journal on disk.
//!
//! The code below `gen` is generated from the `.proto` files and committed; `tests/generated.rs` keeps the two equal.
//! [`convert`] is the only way from there to the values that core decides on, and refuses what is none.

/// What an operator asks of the agent on this host.
#[allow(missing_docs, unreachable_pub, clippy::all)]
#[rustfmt::skip]
#[path = "gen/overlayd.v1.control.rs"]
pub mod control;

/// What hosts call of each other.
#[allow(missing_docs, unreachable_pub, clippy::all)]
#[rustfmt::skip]
#[path = "gen/overlayd.v1.peer.rs"]
pub mod peer;

/// What hosts say to each other about gateways.
#[allow(missing_docs, unreachable_pub, clippy::all)]
#[rustfmt::skip]
#[path = "gen/overlayd.v1.election.rs"]
pub mod election;

/// What all hosts share.
#[allow(missing_docs, unreachable_pub, clippy::all)]
#[rustfmt::skip]
#[path = "gen/overlayd.v1.gossip.rs"]
pub mod gossip;

/// What hosts say to each other about addresses.
#[allow(missing_docs, unreachable_pub, clippy::all)]
#[rustfmt::skip]
#[path = "gen/overlayd.v1.lease.rs"]
pub mod lease;

/// What a host's journal of leases holds.
#[allow(missing_docs, unreachable_pub, clippy::all)]
#[rustfmt::skip]
#[path = "gen/overlayd.v1.journal.rs"]
pub mod journal;

pub mod convert;
