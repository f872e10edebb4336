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

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use overlayd_core::config::{CLUSTER_PORT, HostConfig};
use overlayd_core::desired::{self, BridgeNetfilter, Desired, Inputs};
use overlayd_core::election::GroupId;
use overlayd_core::id::{IfName, Mac};
use overlayd_core::mtu::UnderlayMtu;
use overlayd_core::node::Facts;
use overlayd_core::observed::{Host, LinkKind, Sysctl};
use overlayd_core::plan::{self, Finding, Op, Plan};
use overlayd_core::uplink::{self, Carrier, Health, NextHop, Route};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, error, info, warn};

use super::tracking;
use super::way_out::{WayOut, Word};
use crate::netlink::{self, Netlink, News, Outlook, Watch};
use crate::sysctl::{self, Replaced};

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
    /// Report once the host is as it should be, or nothing more can be done about it: this group is waited for.
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
    Blind(String),
}

/// The outcome of a look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Whether a desired state was there to be compared with.
    pub compared: bool,
    /// Ops that are still due.
    pub due: usize,
    /// What stands in the way.
    pub findings: Vec<Finding>,
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
pub type FarGuests = Vec<(IfName, Mac, IpAddr)>;

type Heard = Result<News, netlink::Error>;

/// Starts the threads; `report` and `hear` are called there.
///
/// # Errors
/// There is no netlink socket to be had, or no thread.
pub fn start(
    config: HostConfig,
    state_dir: PathBuf,
    report: impl Fn(Report) + Send + 'static,
    hear: impl Fn(FarGuests) + Send + 'static,
) -> Result<mpsc::UnboundedSender<Order>> {
    let (orders, inbox) = mpsc::unbounded_channel();
    let netlink = Netlink::open()?;
    let runtime = runtime()?;
    let events = listen(hear)?;
    let mut worker = Worker {
        netlink,
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
    };
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
fn listen(hear: impl Fn(FarGuests) + Send + 'static) -> Result<mpsc::UnboundedReceiver<Heard>> {
    let (tell, events) = mpsc::unbounded_channel();
    let runtime = runtime()?;
    let mut watch = {
        let _guard = runtime.enter();
        Watch::open().context("cannot listen to the kernel's network events")?
    };
    let run = async move {
        loop {
            let heard = watch.next().await;
            let far = heard.as_ref().map(far_guests).unwrap_or_default();
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

fn far_guests(news: &News) -> FarGuests {
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
            (self.report)(Report::Blind(format!("{problem:#}")));
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
                    (self.report)(Report::Blind(format!("{problem:#}")));
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
            self.lacking = applied.failures.iter().any(|failure| failure.error.is_lack());
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
            match applied.outlook() {
                Some(Outlook::Retry) => again = RETRY,
                Some(Outlook::Skip | Outlook::Fatal) | None => {}
            }
            if applied
                .failures
                .iter()
                .any(|failure| failure.outlook() == Outlook::Retry)
            {
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

    async fn plan(&self) -> Result<(Plan, Host)> {
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

    fn tell(&mut self, plan: &Plan, seen: Host, failures: Vec<String>, stage: Stage) {
        if stage == Stage::Tried && !self.preparing.is_empty() {
            (self.report)(Report::Prepared(std::mem::take(&mut self.preparing)));
        }
        self.logged.clear();
        let ports = ports(&seen);
        let look = Look {
            compared: self.desired.is_some(),
            due: plan.ops.len(),
            findings: plan.findings.clone(),
            failures,
            stage,
            guests: guests(seen, &ports),
            ports,
        };
        if self.told.as_ref() != Some(&look) {
            for finding in &look.findings {
                if self.told.as_ref().is_none_or(|told| !told.findings.contains(finding)) {
                    warn!("{finding}");
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

    async fn facts(&mut self) -> Result<Option<Facts>> {
        let routes = self.netlink.default_routes().await?;
        let route = routes.first().map(|route| route.link.clone());
        let host = &self.config.host;
        let uplink = host.gateway.uplink.clone().or_else(|| route.clone());
        let own = routes.iter().find(|route| Some(&route.link) == uplink.as_ref());
        if own.is_some() {
            self.way_out.led_by.clone_from(&uplink);
        }
        // Where no default route ever led by the uplink, policy routing may see to that.
        let there = own.is_some() || !routes.is_empty() && self.way_out.led_by != uplink;
        let hop = own
            .and_then(|route| Some((route.link.clone(), route.via?)))
            .map(|(link, address)| NextHop { link, address });
        self.way_out.asker = match &hop {
            Some(hop) => self.netlink.asker(hop).await?,
            None => None,
        };
        self.way_out.watch.set(hop.filter(|_| self.way_out.asker.is_some()));
        let way = if there { Route::There } else { Route::Missing };
        let uplink_health = self.uplink_health(uplink.as_ref(), way).await?;
        let Some(underlay) = host.underlay.clone().or_else(|| route.clone()) else {
            return Ok(None);
        };
        let found = self.netlink.first_global_address(&underlay).await?;
        let Some(vtep) = host.address.filter(|_| found.is_some()).or(found) else {
            return Ok(None);
        };
        let Some(underlay_mtu) = self.underlay_mtu(vtep, &underlay).await? else {
            return Ok(None);
        };
        Ok(Some(Facts {
            name: host.name.clone().map_or_else(host_name, Ok)?,
            vtep,
            listen: self
                .config
                .cluster
                .listen
                .unwrap_or(SocketAddr::new(vtep, CLUSTER_PORT)),
            underlay,
            underlay_mtu,
            uplink,
            uplink_health,
            resolvers: resolvers(&std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default()),
            bridge_netfilter: bridge_netfilter(),
            tracking: self.tracking.ask(),
        }))
    }

    async fn uplink_health(&self, uplink: Option<&IfName>, route: Route) -> Result<Health> {
        // A host that cannot connect its segments, or cannot lead out of them, is the last that should be their gateway.
        if self.lacking {
            return Ok(Health::Lacking);
        }
        let carrier = match uplink {
            Some(uplink) => self.netlink.carrier(uplink).await?,
            None => Carrier::Down,
        };
        Ok(uplink::health(uplink, route, carrier, &self.way_out.watch))
    }

    /// The least of the routes to all peers, and of the underlay itself where there are none.
    async fn underlay_mtu(&self, vtep: IpAddr, underlay: &IfName) -> Result<Option<UnderlayMtu>> {
        let mut least = self.netlink.link_mtu(underlay).await?;
        let peers = self
            .desired
            .iter()
            .flat_map(|inputs| inputs.members.iter())
            .filter(|peer| **peer != vtep);
        for peer in peers {
            if let Some(mtu) = self.netlink.route_mtu(*peer).await? {
                least = Some(least.map_or(mtu, |least| least.min(mtu)));
            }
        }
        Ok(least)
    }

    async fn remove_all(&mut self, guests: Guests) -> Removed {
        let mut removed = Removed::default();
        for _ in 0..ROUNDS {
            let mut seen = match self.netlink.observe([]).await {
                Ok(seen) => seen,
                Err(problem) => {
                    removed.kept.push(format!("the kernel cannot be asked: {problem}"));
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
                removed.kept.extend(plan.findings.iter().map(ToString::to_string));
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
        removed.lines.extend(self.replaced.put_back());
        self.told = None;
        removed
    }
}

/// What would be due on this host were it formed alone with the segments of its file; nothing is changed.
///
/// # Errors
/// The kernel cannot be asked, or the underlay is missing.
pub async fn rehearse(config: &HostConfig) -> Result<Plan> {
    let mut worker = idle(config)?;
    let Some(facts) = worker.facts().await? else {
        bail!("the underlay is missing: no default route, no such interface, or no address on it");
    };
    worker.desired = overlayd_core::node::rehearse(config, facts).map(Box::new);
    Ok(worker.plan().await?.0)
}

/// Removes everything of ours without an agent.
///
/// # Errors
/// Guests are attached, and they are to be kept; nothing was changed.
pub async fn clean(config: &HostConfig, guests: Guests) -> Result<Removed> {
    let mut worker = idle(config)?;
    let occupied: Vec<String> = ports(&worker.netlink.observe([]).await?)
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
            "guests are attached to this host's bridges ({}); detach them, or use --force: they lose their network",
            occupied.join("; ")
        );
    }
    Ok(worker.remove_all(guests).await)
}

/// A worker for one errand, on the caller's runtime.
fn idle(config: &HostConfig) -> Result<Worker<impl Fn(Report) + use<>>> {
    Ok(Worker {
        netlink: Netlink::open()?,
        config: config.clone(),
        desired: None,
        facts: None,
        told_facts: false,
        replaced: Replaced::open(config.state_dir.join("sysctls")),
        told: None,
        logged: BTreeSet::new(),
        lacking: false,
        preparing: Vec::new(),
        trying_since: None,
        tracking: tracking::Question::default(),
        way_out: WayOut::default(),
        report: |_| {},
    })
}

/// The same inputs with the guest ports that were seen.
fn with_ports(inputs: &Inputs, seen: &Host) -> Inputs {
    let mut inputs = inputs.clone();
    let ports = ports(seen);
    for it in inputs.segments.values_mut() {
        it.guest_ports = ports.get(&it.segment.bridge).into_iter().flatten().cloned().collect();
    }
    inputs
}

/// The ports of our bridges that are not ours.
fn ports(seen: &Host) -> BTreeMap<IfName, Vec<IfName>> {
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
fn guests(seen: Host, ports: &BTreeMap<IfName, Vec<IfName>>) -> BTreeMap<IfName, BTreeMap<Mac, IfName>> {
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

fn host_name() -> Result<String> {
    let name = nix::unistd::gethostname().context("cannot read this host's name")?;
    Ok(name.to_string_lossy().into_owned())
}

/// The name servers in a resolver's file that guests can reach, too.
fn resolvers(text: &str) -> Vec<Ipv4Addr> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver")?.trim().parse::<Ipv4Addr>().ok())
        .filter(|address| !address.is_loopback() && !address.is_unspecified())
        .collect()
}

/// Docker and Kubernetes pass bridged frames through the IP firewall on purpose; their bridges give them away.
fn bridge_netfilter() -> BridgeNetfilter {
    let others = ["docker0", "cni0", "kube-bridge", "cilium_host", "flannel.1", "weave"];
    if !others.iter().any(|name| nix::net::if_::if_nametoindex(*name).is_ok()) {
        return BridgeNetfilter::SwitchOff;
    }
    let calls = [
        Sysctl::BridgeNetfilter4,
        Sysctl::BridgeNetfilter6,
        Sysctl::BridgeNetfilterArp,
    ];
    // Where the module is not loaded there are no such sysctls, and nothing is on.
    let on =
        |call: &Sysctl| sysctl::read(&call.path()).is_ok_and(|value| value.is_some_and(|value| value.trim() != "0"));
    if calls.iter().any(on) {
        BridgeNetfilter::LeftOn
    } else {
        BridgeNetfilter::LeftOff
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_name_servers_that_guests_can_reach_are_handed_on() {
        let text = "# local\nsearch x\nnameserver 127.0.0.53\nnameserver 9.9.9.9\n nameserver ::1\nnameserver 0.0.0.0\nnameserver 10.0.0.1\n";
        assert_eq!(
            resolvers(text),
            ["9.9.9.9".parse::<Ipv4Addr>().unwrap(), "10.0.0.1".parse().unwrap()]
        );
    }
}
