//! Sockets that speak to guests and to other hosts' kernels: bytes in, bytes out, nothing decided.
//!
//! ```text
//! guests ─► gw-<segment> ─► dhcp ──► channel ─► event loop        one task per segment, gateway host only
//!        ◄───────────────── dhcp ◄── send
//! guests ◄─ gw-<segment> ◄─ arp                                   one task per burst
//!        ─► bridge ───────► arp ───► channel ─► event loop        one task per segment with IPv4
//!        ─► gw-<segment> ─► arp ───► channel ─► event loop        one task per segment, gateway host only
//! hosts  ◄─ underlay ─────► icmp ──► channel ─► event loop        one task
//! router ◄─ uplink ───────► next_hop ─────────► kernel's thread   no task
//! hosts  ◄─ vx-<segment> ◄─ path ◄── send
//! hosts  ─► its bridge ───► path ──► channel ─► event loop        one task
//! ```
//!
//! Dropping the handle ends the task and closes its sockets.

use tokio::io::Interest;

pub mod arp;
mod bpf;
pub mod dhcp;
pub mod guests;
pub mod icmp;
pub mod next_hop;
mod packet;
pub mod path;
mod task;

/// What wakes a reader: data, or an error such as "the interface is down", which alone would not count as readable.
const NEWS: Interest = Interest::READABLE.add(Interest::ERROR);
