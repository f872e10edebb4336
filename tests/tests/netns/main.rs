//! Suites against the real kernel, each test in a network namespace of its own. They need root: `cargo netns`.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod conflicts;
mod dhcp;
mod drift;
mod faults;
mod forming;
mod gateway;
mod guards;
mod guests;
mod laboratory;
mod lacking;
mod leases;
mod moves;
mod netfilter;
mod netlink;
mod networks;
mod operator;
mod outage;
mod passage;
mod paths;
mod peers;
mod trials;
mod underlay;
mod uplink;
mod ways;
