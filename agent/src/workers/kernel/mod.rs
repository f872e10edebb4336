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

mod cleanup;
mod facts;
mod tracking;
mod uplink_monitor;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use overlayd_core::config::HostConfig;
use overlayd_core::election::GroupId;
use overlayd_core::id::{IfName, Mac};
use overlayd_core::kernel::desired;
use overlayd_core::kernel::device::LinkKind;
use overlayd_core::kernel::inputs::Inputs;
use overlayd_core::kernel::observed::Observed;
use overlayd_core::kernel::plan::{self, Obstacle, Plan};
use overlayd_core::node::Facts;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, error, info, warn};

pub use cleanup::{clean, rehearse};
use uplink_monitor::{WayOut, Word};

use crate::netlink::{self, Failure, Netlink, News, Retry, Watch};
use crate::sysctl::Replaced;

/// What no event tells (a changed nftables table) is found after so long at the latest.
const LOOK_EVERY: Duration = Duration::from_millis(1500);
/// Events come in bursts: after the first one the rest is waited for so long.
const SETTLE: Duration = Duration::from_millis(3);
/// After a look so many times its length goes by before the next one that guests alone give reason for: among many
/// guests a look takes long.
const REST: u32 = 9;
/// A failed op that may succeed later is tried again after so long.
const RETRY: Duration = Duration::from_millis(500);
/// After so long of trying a plan counts as tried, even if what failed may still succeed. A holder waits for its successor
/// to be prepared for 3 s.
const TRIED: Duration = Duration::from_secs(2);
/// A plan that leaves another plan behind is followed at most so often without a pause.
const ROUNDS: u32 = 4;

/// What is to be done.
#[derive(Debug)]
pub enum Order {
    /// The host should be like this from now on; `None`: look, but change nothing.
    Desired(Option<Box<Inputs>>),
    /// Report once the host is as it should be, or nothing more can be done about it: this group is waited for. A host that
    /// lacks what a gateway is made of stays silent.
    Prepare(GroupId),
    /// Another configuration: the facts may be others.
    Config(Box<HostConfig>),
    /// Tell what is due.
    Plan(oneshot::Sender<Result<Plan, String>>),
    /// Tell the guest ports of our bridges as they are at this moment.
    Ports(oneshot::Sender<Result<BTreeMap<IfName, Vec<IfName>>, String>>),
    /// Remove everything of ours; with guests in the way only by force.
    RemoveAll {
        /// What becomes of bridges with guests.
        guests: Guests,
        /// What was done.
        done: oneshot::Sender<Removed>,
    },
}

/// What becomes of bridges that guests are attached to when all is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guests {
    /// They stay.
    Keep,
    /// They go.
    CutOff,
}

/// What was removed.
#[derive(Clone, Debug, Default)]
pub struct Removed {
    /// As `ip`, `bridge` and `nft` lines.
    pub lines: Vec<String>,
    /// What is still there, and why.
    pub kept: Vec<String>,
}

/// What was seen.
#[derive(Clone, Debug)]
pub enum Report {
    /// This host on its underlay; `None`: there is none.
    Facts(Option<Facts>),
    /// A look that ended with nothing left to do, or with what could not be done.
    Looked(Look),
    /// As [`Order::Prepare`] asked.
    Prepared(Vec<GroupId>),
    /// The kernel cannot be asked at all.
    KernelUnreadable(String),
}

/// The outcome of a look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Whether a desired state was there to be compared with.
    pub compared: bool,
    /// Ops that are still due.
    pub due: usize,
    /// What stands in the way.
    pub obstacles: Vec<Obstacle>,
    /// What the kernel refused.
    pub failures: Vec<String>,
    /// Whether what failed may succeed soon by itself.
    pub stage: Stage,
    /// The guest ports of our bridges.
    pub ports: BTreeMap<IfName, Vec<IfName>>,
    /// The guests that our bridges have heard on them.
    pub guests: BTreeMap<IfName, BTreeMap<Mac, IfName>>,
}

/// How far a plan is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// It is being tried.
    #[default]
    Trying,
    /// All that could be done is done: what failed needs an operator, or has been tried for long.
    Tried,
}

/// Guests that VXLAN interfaces have just heard: the interface, the guest, and the VTEP that its frame came from.
pub type RemoteMacs = Vec<(IfName, Mac, IpAddr)>;

type Heard = Result<News, netlink::Error>;

/// Starts the threads; `report` and `hear` are called there.
///
/// # Errors
/// There is no netlink socket to be had, or no thread.
pub fn start(
    config: HostConfig,
    state_dir: PathBuf,
    report: impl Fn(Report) + Send + 'static,
    hear: impl Fn(RemoteMacs) + Send + 'static,
) -> Result<mpsc::UnboundedSender<Order>> {
    let (orders, inbox) = mpsc::unbounded_channel();
    let runtime = runtime()?;
    let events = listen(hear)?;
    let mut worker = Worker::new(config, &state_dir, report)?;
    std::thread::Builder::new()
        .name("kernel".into())
        .spawn(move || runtime.block_on(worker.run(inbox, events)))
        .context("cannot start a thread")?;
    Ok(orders)
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")
}

/// Listens to the kernel's events on a thread of its own: a look may take long, and a guest that was heard asks for its
/// address within a millisecond.
fn listen(hear: impl Fn(RemoteMacs) + Send + 'static) -> Result<mpsc::UnboundedReceiver<Heard>> {
    let (tell, events) = mpsc::unbounded_channel();
    let runtime = runtime()?;
    let mut watch = {
        let _guard = runtime.enter();
        Watch::open().context("cannot listen to the kernel's network events")?
    };
    let run = async move {
        loop {
            let heard = watch.next().await;
            let far = heard.as_ref().map(remote_macs).unwrap_or_default();
            if !far.is_empty() {
                hear(far);
            }
            let broken = heard.is_err();
            if tell.send(heard).is_err() {
                return;
            }
            if broken {
                tokio::time::sleep(RETRY).await;
            }
        }
    };
    std::thread::Builder::new()
        .name("events".into())
        .spawn(move || runtime.block_on(run))
        .context("cannot start a thread")?;
    Ok(events)
}

fn remote_macs(news: &News) -> RemoteMacs {
    let mut names: BTreeMap<u32, Option<IfName>> = BTreeMap::new();
    let mut named = |index: u32| names.entry(index).or_insert_with(|| link_name(index)).clone();
    let far = news.far.iter();
    far.filter_map(|(index, mac, vtep)| Some((named(*index)?, *mac, *vtep)))
        .collect()
}

struct Worker<R> {
    netlink: Netlink,
    config: HostConfig,
    desired: Option<Box<Inputs>>,
    facts: Option<Facts>,
    told_facts: bool,
    replaced: Replaced,
    told: Option<Look>,
    /// Failures that were logged since.
    logged: BTreeSet<String>,
    /// Whether the host turned out to lack what segments and gateways are made of.
    lacking: bool,
    /// The groups that are waited for.
    preparing: Vec<GroupId>,
    /// Since when ops fail that may succeed soon.
    trying_since: Option<Instant>,
    tracking: tracking::Question,
    way_out: WayOut,
    report: R,
}

impl<R> Worker<R> {
    fn new(config: HostConfig, state_dir: &Path, report: R) -> Result<Self> {
        Ok(Self {
            netlink: Netlink::open()?,
            config,
            desired: None,
            facts: None,
            told_facts: false,
            replaced: Replaced::open(state_dir.join("sysctls")),
            told: None,
            logged: BTreeSet::new(),
            lacking: false,
            preparing: Vec::new(),
            trying_since: None,
            tracking: tracking::Question::default(),
            way_out: WayOut::default(),
            report,
        })
    }
}

impl<R: Fn(Report)> Worker<R> {
    async fn run(&mut self, mut inbox: mpsc::UnboundedReceiver<Order>, mut events: mpsc::UnboundedReceiver<Heard>) {
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
                answer = self.way_out.answer() => {
                    if self.way_out.heard(answer) == Word::Changed {
                        look_at = Instant::now();
                    }
                }
                () = self.way_out.due() => {
                    if self.way_out.ask() == Word::Changed {
                        look_at = Instant::now();
                    }
                }
                () = sleep_until(look_at) => {
                    let begun = Instant::now();
                    look_at = begun + self.look(&mut inbox).await;
                    rested = Instant::now() + (begun.elapsed() * REST).min(LOOK_EVERY);
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
                        warn!(%problem, "the kernel's events cannot be read; looking at everything");
                        look_at = Instant::now();
                    }
                },
            }
        }
    }

    /// Whether an order can wait: the guests that it adds are reached without, only by way of all hosts.
    fn adds_only_guests(&self, order: &Order) -> bool {
        match (order, &self.desired) {
            (Order::Desired(Some(inputs)), Some(before)) => inputs.adds_only_guests(before),
            _ => false,
        }
    }

    async fn take(&mut self, order: Order) {
        match order {
            Order::Desired(inputs) => self.desired = inputs,
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
                let _ = reply.send(seen.map(|seen| ports(&seen)).map_err(|problem| problem.to_string()));
            }
            Order::RemoveAll { guests, done } => {
                self.desired = None;
                let removed = self.remove_all(guests).await;
                let _ = done.send(removed);
            }
        }
    }

    /// One look, with all that follows from it; how long until the next.
    async fn look(&mut self, inbox: &mut mpsc::UnboundedReceiver<Order>) -> Duration {
        if let Err(problem) = self.tell_facts().await {
            (self.report)(Report::KernelUnreadable(format!("{problem:#}")));
            return RETRY;
        }
        let mut failures = Vec::new();
        let mut stage = Stage::Tried;
        let mut again = LOOK_EVERY;
        let mut newer = false;
        for _ in 0..ROUNDS {
            let (plan, seen) = match self.plan().await {
                Ok(found) => found,
                Err(problem) => {
                    (self.report)(Report::KernelUnreadable(format!("{problem:#}")));
                    return RETRY;
                }
            };
            // Something newer has come meanwhile: what would be done now is out of date, and so is what failed.
            newer = false;
            while let Ok(order) = inbox.try_recv() {
                self.take(order).await;
                newer = true;
            }
            if newer {
                (failures, stage, again) = (Vec::new(), Stage::Tried, LOOK_EVERY);
                continue;
            }
            if plan.ops.is_empty() {
                self.lacking = false;
            }
            if plan.ops.is_empty() || !failures.is_empty() {
                let stage = self.stage(stage);
                self.tell(&plan, seen, failures, stage);
                return again;
            }
            for op in &plan.ops {
                debug!(%op, "due");
            }
            let applied = self.netlink.apply(&plan.ops).await;
            self.replaced.remember(&applied.replaced);
            self.lacking = applied.failures.iter().any(Failure::is_lack);
            if applied.done > 0 {
                info!(ops = applied.done, "plan applied");
            }
            for failure in &applied.failures {
                let text = failure.to_string();
                // It is tried again and again; said once is enough.
                let told = self.told.as_ref().is_some_and(|told| told.failures.contains(&text));
                if self.logged.insert(text.clone()) && !told {
                    error!("{text}");
                }
                failures.push(text);
            }
            match applied.retry() {
                Some(Retry::Again) => again = RETRY,
                Some(Retry::Skip | Retry::Fatal) | None => {}
            }
            if applied.failures.iter().any(|failure| failure.retry() == Retry::Again) {
                stage = Stage::Trying;
            }
        }
        if newer { Duration::ZERO } else { RETRY }
    }

    fn stage(&mut self, stage: Stage) -> Stage {
        match stage {
            Stage::Tried => {
                self.trying_since = None;
                Stage::Tried
            }
            Stage::Trying => {
                let since = *self.trying_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= TRIED {
                    Stage::Tried
                } else {
                    Stage::Trying
                }
            }
        }
    }

    async fn plan(&self) -> Result<(Plan, Observed)> {
        let Some(inputs) = &self.desired else {
            return Ok((Plan::default(), self.netlink.observe([]).await?));
        };
        // Guest ports are in what is desired only because rules name them: they are as they were just seen.
        let sysctls = desired::derive(inputs).sysctls;
        let seen = self.netlink.observe(sysctls.keys()).await?;
        let desired = desired::derive(&with_ports(inputs, &seen));
        let missing: Vec<_> = desired
            .sysctls
            .keys()
            .filter(|sysctl| !sysctls.contains_key(sysctl))
            .collect();
        let seen = if missing.is_empty() {
            seen
        } else {
            self.netlink.observe(desired.sysctls.keys()).await?
        };
        Ok((plan::diff(&desired, &seen), seen))
    }

    fn tell(&mut self, plan: &Plan, seen: Observed, failures: Vec<String>, stage: Stage) {
        if stage == Stage::Tried {
            let groups = std::mem::take(&mut self.preparing);
            if !groups.is_empty() && !self.lacking {
                (self.report)(Report::Prepared(groups));
            }
        }
        self.logged.clear();
        let ports = ports(&seen);
        let look = Look {
            compared: self.desired.is_some(),
            due: plan.ops.len(),
            obstacles: plan.obstacles.clone(),
            failures,
            stage,
            guests: guests(seen, &ports),
            ports,
        };
        if self.told.as_ref() != Some(&look) {
            for obstacle in &look.obstacles {
                if self.told.as_ref().is_none_or(|told| !told.obstacles.contains(obstacle)) {
                    warn!("{obstacle}");
                }
            }
            self.told = Some(look.clone());
            (self.report)(Report::Looked(look));
        }
    }

    async fn tell_facts(&mut self) -> Result<()> {
        let facts = self.facts().await?;
        if !self.told_facts || self.facts != facts {
            self.told_facts = true;
            self.facts.clone_from(&facts);
            (self.report)(Report::Facts(facts));
        }
        Ok(())
    }
}

/// The same inputs with the guest ports that were seen.
fn with_ports(inputs: &Inputs, seen: &Observed) -> Inputs {
    let mut inputs = inputs.clone();
    let ports = ports(seen);
    for it in inputs.segments.values_mut() {
        it.guest_ports = ports.get(&it.segment.bridge).into_iter().flatten().cloned().collect();
    }
    inputs
}

/// The ports of our bridges that are not ours.
fn ports(seen: &Observed) -> BTreeMap<IfName, Vec<IfName>> {
    let ours = seen
        .links
        .iter()
        .filter(|(_, link)| matches!(link.kind, LinkKind::Bridge(_)) && link.mark().is_some());
    ours.map(|(bridge, _)| {
        let guests = seen.ports(bridge).filter(|(_, link)| link.mark().is_none());
        (bridge.clone(), guests.map(|(name, _)| name.clone()).collect())
    })
    .collect()
}

/// Those guests that are on ports of our bridges which are not ours.
fn guests(seen: Observed, ports: &BTreeMap<IfName, Vec<IfName>>) -> BTreeMap<IfName, BTreeMap<Mac, IfName>> {
    let mut guests = seen.guests;
    guests.retain(|bridge, macs| {
        let ports = ports.get(bridge).map(Vec::as_slice).unwrap_or_default();
        macs.retain(|_, port| ports.contains(port));
        !macs.is_empty()
    });
    guests
}

fn link_name(index: u32) -> Option<IfName> {
    let name = nix::net::if_::if_indextoname(index).ok()?;
    IfName::new(name.to_str().ok()?).ok()
}
