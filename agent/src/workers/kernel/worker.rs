//! The kernel's thread itself: what makes it look again, and when.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use overlayd_core::config::HostConfig;
use overlayd_core::election::GroupId;
use overlayd_core::health::NoUnderlay;
use overlayd_core::kernel::inputs::Inputs;
use overlayd_core::kernel::orphans::Orphans;
use overlayd_core::kernel::wholeness::Wholeness;
use overlayd_core::node::Facts;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::events::Heard;
use super::firewalls::Firewalls;
use super::order::Order;
use super::report::{Look, Report};
use super::uplink_monitor::{UplinkMonitor, Word};
use super::{bridge_netfilter, tracking};
use crate::clock::thread_time;
use crate::netlink::Netlink;
use crate::sysctl::Replaced;

/// What no event tells (a changed nftables table) is found after so long at the latest, unless looks take long.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(1500);
/// Events come in bursts: after the first one the rest is waited for so long.
const SETTLE: Duration = Duration::from_millis(3);
/// After a look so many times its length goes by before the next one that guests alone give reason for: among many
/// guests a look takes long.
const REST: u32 = 9;
/// So many times the processor time that a look took go by before the next one without a cause, so that tens of thousands of
/// MACs do not take the host's time; but no more than this.
const REST_AT_MOST: Duration = Duration::from_secs(10);

/// What the next plan follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DueTo {
    /// Something else is wanted than before.
    Desired,
    /// The kernel was as wanted, and is no longer.
    Kernel,
}

pub(super) struct Worker<R> {
    pub(super) netlink: Netlink,
    pub(super) config: HostConfig,
    pub(super) desired: Option<Box<Inputs>>,
    /// The VTEPs of the other members, as last known.
    pub(super) members: BTreeSet<IpAddr>,
    /// As told last.
    pub(super) facts: Option<Result<Facts, NoUnderlay>>,
    pub(super) replaced: Replaced,
    pub(super) told: Option<Look>,
    pub(super) due_to: DueTo,
    /// Failures that were logged since.
    pub(super) logged: BTreeSet<String>,
    /// Whether the host turned out to lack what segments and gateways are made of.
    pub(super) lacking: bool,
    /// The groups that are waited for.
    pub(super) preparing: Vec<GroupId>,
    /// Since when ops fail that may succeed soon.
    pub(super) trying_since: Option<Instant>,
    pub(super) tracking: tracking::Question,
    pub(super) bridge_netfilter: bridge_netfilter::Question,
    pub(super) firewalls: Firewalls,
    pub(super) uplink: UplinkMonitor,
    pub(super) wholeness: Wholeness,
    pub(super) orphans: Orphans,
    pub(super) report: R,
}

impl<R> Worker<R> {
    pub(super) fn new(config: HostConfig, state_dir: &Path, members: BTreeSet<IpAddr>, report: R) -> Result<Self> {
        Ok(Self {
            netlink: Netlink::open()?,
            config,
            desired: None,
            members,
            facts: None,
            replaced: Replaced::open(state_dir.join("sysctls")),
            told: None,
            due_to: DueTo::Desired,
            logged: BTreeSet::new(),
            lacking: false,
            preparing: Vec::new(),
            trying_since: None,
            tracking: tracking::Question::default(),
            bridge_netfilter: bridge_netfilter::Question::default(),
            firewalls: Firewalls::default(),
            uplink: UplinkMonitor::default(),
            wholeness: Wholeness::default(),
            orphans: Orphans::default(),
            report,
        })
    }
}

impl<R: Fn(Report)> Worker<R> {
    pub(super) async fn run(
        &mut self,
        mut inbox: mpsc::UnboundedReceiver<Order>,
        mut events: mpsc::UnboundedReceiver<Heard>,
    ) {
        let mut look_at = Instant::now();
        let mut rested = look_at;
        loop {
            tokio::select! {
                biased;
                order = inbox.recv() => match order {
                    Some(order) => {
                        let patient = self.adds_only_guests(&order);
                        self.take(order).await;
                        let now = Instant::now();
                        look_at = if patient { look_at.min(now.max(rested)) } else { now };
                    }
                    None => return,
                },
                (hop, answer) = self.uplink.answer() => {
                    if self.uplink.heard(&hop, answer) == Word::Changed {
                        look_at = Instant::now();
                    }
                }
                () = self.uplink.due() => {
                    if self.uplink.ask() == Word::Changed {
                        look_at = Instant::now();
                    }
                }
                () = self.firewalls.read() => look_at = Instant::now(),
                () = sleep_until(look_at) => {
                    let (begun, used) = (Instant::now(), thread_time());
                    let again = self.look(&mut inbox).await;
                    (look_at, rested) = after_a_look(begun, again, thread_time().saturating_sub(used));
                }
                Some(news) = events.recv() => match news {
                    Ok(news) if news.asks_for_a_look() => {
                        if news.gone || news.overrun {
                            self.netlink.read_tables_anew().await;
                        }
                        look_at = look_at.min(Instant::now() + SETTLE);
                    }
                    Ok(news) if !news.guests.is_empty() => {
                        look_at = look_at.min((Instant::now() + SETTLE).max(rested));
                    }
                    Ok(_) => {}
                    Err(problem) => {
                        warn!(%problem, "cannot read kernel events; rescanning");
                        look_at = Instant::now();
                    }
                },
            }
        }
    }

    /// Whether an order can wait: the guests that it adds are reached without, only by way of all hosts.
    fn adds_only_guests(&self, order: &Order) -> bool {
        match (order, &self.desired) {
            (Order::Desired(inputs), Some(before)) => inputs.adds_only_guests(before),
            _ => false,
        }
    }

    pub(super) async fn take(&mut self, order: Order) {
        match order {
            Order::Desired(inputs) => {
                let others: BTreeSet<IpAddr> = inputs.others().collect();
                // A host that has just joined is kept apart for a moment, and still is a member.
                if !others.is_empty() {
                    self.members = others;
                }
                self.desired = Some(inputs);
                self.due_to = DueTo::Desired;
            }
            Order::Prepare(group) => self.preparing.push(group),
            Order::Config(config) => self.config = *config,
            Order::Plan(reply) => {
                let plan = self
                    .plan()
                    .await
                    .map(|(plan, _)| plan)
                    .map_err(|problem| format!("{problem:#}"));
                // Nobody waits any more: nothing was changed.
                let _ = reply.send(plan);
            }
            Order::Ports(reply) => {
                let seen = self.netlink.observe([]).await;
                // As above.
                let _ = reply.send(
                    seen.map(|seen| seen.guest_ports())
                        .map_err(|problem| problem.to_string()),
                );
            }
            Order::RemoveAll { guests, done } => {
                self.desired = None;
                self.members.clear();
                self.orphans = Orphans::default();
                let removed = self.remove_all(guests).await;
                let _ = done.send(removed);
            }
        }
    }
}

/// When to look again, and from when on guests alone are a reason to; `used` is the processor time that the look took.
fn after_a_look(begun: Instant, again: Duration, used: Duration) -> (Instant, Instant) {
    let now = Instant::now();
    let paid = now + (used * REST).min(REST_AT_MOST);
    let rested = paid.max(now + (begun.elapsed() * REST).min(LOOK_EVERY));
    let next = begun + again;
    // What has failed is tried again as soon as it was said.
    let next = if again < LOOK_EVERY { next } else { next.max(paid) };
    (next, rested)
}
