//! The laboratory: hosts with real agents and guests with real DHCP clients, in network namespaces of one machine.
//!
//! ```text
//!                 internet   203.0.113.1, 2001:db8:cafe::1; knows no way to the guests' subnets
//!                    │ 172.31.0.1
//!   ┌────────────────┴───────────────┐
//!   │ switch: a bridge, `cut`, `loss`│   underlay 172.31.0.0/24 and fd31::/64
//!   └──┬────────────┬────────────┬───┘
//!     hv1          hv2          hv3      eth0 172.31.0.11, .12, .13; one agent each
//!      │ port1      │ port2      │ port3
//!    guest1       guest2       guest3    eth0 52:54:00:00:00:01, …
//! ```
//!
//! Everything is inside namespaces of its own: the machine's network is never touched. What a laboratory makes is
//! written to its ledger first, so that the next one can clean up after a crash. Each laboratory has unique names and
//! many can run at once.
//!
//! Modules, from the kernel up: [`namespace`], [`process`], [`ledger`], [`wiring`], [`host`], [`guest`], [`world`];
//! beside them [`wait`], [`ping`], [`client`] and [`dhcp_load`] (many clients at once); for the command `lab`, [`install`] and [`story`].

pub mod client;
pub mod dhcp_load;
pub mod guest;
pub mod host;
pub mod install;
pub mod ledger;
pub mod namespace;
pub mod ping;
pub mod process;
pub mod story;
pub mod wait;
pub mod wiring;
pub mod world;

pub use guest::Guest;
pub use host::Host;
pub use wait::{until, wait_for};
pub use world::{Plan, World};
