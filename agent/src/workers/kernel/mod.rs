//! The kernel's thread: it looks at the host, makes it as it should be, and tells what it saw.
//!
//! ```text
//!  Order::Desired ─┐                             ┌─► Report::Facts      who this host is on its underlay
//!  netlink events ─┼─► look ─► derive ─► diff ─► apply ─► look again ─► Report::Looked
//!  slow tick ──────┘
//! ```
//! It owns the netlink socket for plans; a thread beside it reads the events. A plan is always made from what was just observed;
//! nothing is remembered about the kernel but the values that sysctls had before, which lie on disk until this host
//! leaves. It ends when its sender is dropped; what it made stays.

mod bridge_netfilter;
mod cleanup;
mod events;
mod facts;
mod firewalls;
mod look;
mod order;
mod ports;
mod report;
mod resolvers;
mod tracking;
mod underlay;
mod uplink_monitor;
mod ways_out;
mod worker;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use overlayd_core::config::HostConfig;
use tokio::sync::mpsc;

pub use cleanup::{Rehearsal, clean, rehearse};
use events::runtime;
pub use order::{Guests, Order, Removed};
pub use report::{Look, RemoteMacs, Report, Stage};
use worker::Worker;

/// Starts the threads; `members` are the VTEPs of the others that were known last, `report` and `hear` are called there.
///
/// # Errors
/// There is no netlink socket to be had, or no thread.
pub fn start(
    config: HostConfig,
    state_dir: PathBuf,
    members: BTreeSet<IpAddr>,
    report: impl Fn(Report) + Send + 'static,
    hear: impl Fn(RemoteMacs) + Send + 'static,
) -> Result<mpsc::UnboundedSender<Order>> {
    let (orders, inbox) = mpsc::unbounded_channel();
    let runtime = runtime()?;
    let events = events::listen(hear)?;
    let mut worker = Worker::new(config, &state_dir, members, report)?;
    std::thread::Builder::new()
        .name("kernel".into())
        .spawn(move || runtime.block_on(worker.run(inbox, events)))
        .context("cannot start a thread")?;
    Ok(orders)
}
