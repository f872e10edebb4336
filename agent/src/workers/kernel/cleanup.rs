//! What is done once: everything of ours is removed; and what the program does without an agent.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::{Result, anyhow, bail};
use overlayd_core::config::HostConfig;
use overlayd_core::id::IfName;
use overlayd_core::kernel::desired::Desired;
use overlayd_core::kernel::plan::{self, Op, Plan};
use overlayd_core::node::{self, Start};

use super::look::ROUNDS;
use super::order::{Guests, Removed};
use super::report::Report;
use super::worker::Worker;
use crate::clock;

impl<R> Worker<R> {
    pub(super) async fn remove_all(&mut self, guests: Guests) -> Removed {
        let mut removed = Removed::default();
        for _ in 0..ROUNDS {
            let mut seen = match self.netlink.observe([]).await {
                Ok(seen) => seen,
                Err(problem) => {
                    removed.kept.push(format!("cannot read kernel state: {problem}"));
                    return removed;
                }
            };
            if guests == Guests::CutOff {
                for link in seen.links.values_mut().filter(|link| link.mark().is_none()) {
                    link.master = None;
                }
            }
            let plan = plan::diff(&Desired::default(), &seen);
            if plan.ops.is_empty() {
                removed.kept.extend(plan.obstacles.iter().map(ToString::to_string));
                break;
            }
            let applied = self.netlink.apply(&plan.ops).await;
            let failed: BTreeSet<String> = applied.failures.iter().map(|failure| failure.op.to_string()).collect();
            removed
                .lines
                .extend(plan.ops.iter().map(Op::to_string).filter(|op| !failed.contains(op)));
            if !applied.failures.is_empty() {
                removed.kept.extend(applied.failures.iter().map(ToString::to_string));
                break;
            }
        }
        removed.lines.extend(self.replaced.put_back(|_| true));
        self.told = None;
        removed
    }
}

/// What is rehearsed.
pub enum Rehearsal {
    /// This host is alone in a new cluster, with the segments of its file.
    Formed,
    /// The agent starts again with what survived.
    Restart {
        /// That.
        start: Box<Start>,
        /// The VTEPs of the other members.
        members: BTreeSet<IpAddr>,
    },
}

/// What would be due on this host; nothing is changed.
///
/// # Errors
/// Kernel state cannot be read, or the underlay is missing.
pub async fn rehearse(config: &HostConfig, rehearsal: Rehearsal) -> Result<Plan> {
    let mut worker = idle(config)?;
    if let Rehearsal::Restart { members, .. } = &rehearsal {
        worker.members.clone_from(members);
    }
    let facts = worker
        .facts()
        .await?
        .map_err(|why| anyhow!("the underlay is missing: {why}\nhint: {}", why.fix()))?;
    let inputs = match rehearsal {
        Rehearsal::Formed => node::rehearse(config, facts),
        Rehearsal::Restart { start, .. } => node::rehearse_restart(*start, facts, clock::now()),
    };
    worker.desired = inputs.map(Box::new);
    Ok(worker.plan().await?.0)
}

/// Removes everything of ours without an agent.
///
/// # Errors
/// Guests are attached, and they are to be kept; nothing was changed.
pub async fn clean(config: &HostConfig, guests: Guests) -> Result<Removed> {
    let mut worker = idle(config)?;
    let occupied: Vec<String> = worker
        .netlink
        .observe([])
        .await?
        .guest_ports()
        .into_iter()
        .filter(|(_, ports)| !ports.is_empty())
        .map(|(bridge, ports)| {
            format!(
                "{bridge}: {}",
                ports.iter().map(IfName::as_str).collect::<Vec<_>>().join(", ")
            )
        })
        .collect();
    if guests == Guests::Keep && !occupied.is_empty() {
        bail!(
            "guests are attached to this host's bridges ({}); detach them, or use --force to cut them off",
            occupied.join("; ")
        );
    }
    Ok(worker.remove_all(guests).await)
}

/// A worker for one errand, on the caller's runtime.
fn idle(config: &HostConfig) -> Result<Worker<impl Fn(Report) + use<>>> {
    Worker::new(config.clone(), &config.state_dir, BTreeSet::new(), |_| {})
}
