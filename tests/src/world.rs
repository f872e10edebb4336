//! A whole laboratory: wired, and taken down with all that is in it.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::install::Programs;
use crate::ledger::{self, Ledger};
use crate::namespace::{self, Namespace};
use crate::process::Running;
use crate::wait::{until, wait_for};
use crate::wiring::{Internet, Switch, underlay, underlay6};
use crate::{Guest, Host};

/// Counts the laboratories of this process, so that each has a name.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// How long hosts may take to know each other.
const FORMS: Duration = Duration::from_secs(10);

/// The segment that laboratories begin with.
pub const BLUE: &str = "\
segments:
  - name: blue
    vni: 10
    ipv4:
      subnet: 192.168.124.0/24
      dhcp: { range: 192.168.124.16-192.168.124.254 }
    dns: { domain: blue.internal, upstream: [ 203.0.113.1 ] }
";

/// The same over a multicast group on the hosts' second NIC.
pub const BLUE_MULTICAST: &str = "\
segments:
  - name: blue
    vni: 10
    transport: { multicast: 239.0.0.10, interface: eth1 }
    ipv4:
      subnet: 192.168.124.0/24
      dhcp: { range: 192.168.124.16-192.168.124.254 }
    dns: { domain: blue.internal, upstream: [ 203.0.113.1 ] }
";

/// Which addresses the hosts' VTEPs have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Underlay {
    /// 172.31.0.0/24.
    V4,
    /// fd31::/64; the way out is IPv4 all the same.
    V6,
}

/// What to build.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many hosts.
    pub hosts: u8,
    /// What they reach each other over.
    pub underlay: Underlay,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            hosts: 3,
            underlay: Underlay::V4,
        }
    }
}

/// A laboratory.
#[derive(Debug)]
pub struct World {
    prefix: String,
    /// Between the hosts.
    pub switch: Switch,
    /// Behind the switch.
    pub internet: Internet,
    hosts: Vec<Host>,
    guests: Mutex<u8>,
    programs: Programs,
    ledger: Arc<Ledger>,
    stays: bool,
}

impl World {
    /// Wires a laboratory of its own for a test; its agents do not run yet.
    ///
    /// # Errors
    /// The machine cannot do it: not root, a missing tool, a kernel without something.
    pub fn new(plan: &Plan) -> Result<Self> {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let instance = format!("t{}-{count}", std::process::id());
        Self::named(&instance, &format!("ov-{instance}-"), plan, &Programs::built()?)
    }

    /// Wires the laboratory `instance`, whose namespaces begin with `prefix`.
    ///
    /// # Errors
    /// As [`World::new`], or one of that name is in use.
    pub fn named(instance: &str, prefix: &str, plan: &Plan, programs: &Programs) -> Result<Self> {
        ledger::sweep();
        let ledger = Arc::new(Ledger::begin(instance)?);
        let built = Self::build(prefix, plan, programs, &ledger);
        if built.is_err() {
            // What failed first is worth telling; what is left is swept by the next laboratory.
            let _ = ledger::clean(ledger.folder());
        }
        built
    }

    fn build(prefix: &str, plan: &Plan, programs: &Programs, ledger: &Arc<Ledger>) -> Result<Self> {
        let indices: Vec<u8> = (1..=plan.hosts).collect();
        let hosts: Vec<Namespace> = indices
            .iter()
            .map(|i| Namespace::named(format!("{prefix}hv{i}")))
            .collect();
        let switch = Namespace::named(format!("{prefix}switch"));
        let internet = Namespace::named(format!("{prefix}internet"));
        let all: Vec<&Namespace> = hosts.iter().chain([&switch, &internet]).collect();
        for namespace in &all {
            ledger.namespace(namespace)?;
        }
        namespace::make(&all)?;
        let switch = Switch::build(switch, &internet)?;
        let mut built = Vec::new();
        for (namespace, index) in hosts.into_iter().zip(indices) {
            let name = format!("hv{index}");
            switch.plug(&name, index, &namespace)?;
            let address: IpAddr = match plan.underlay {
                Underlay::V4 => underlay(index).into(),
                Underlay::V6 => underlay6(index).into(),
            };
            built.push(Host::new(&name, namespace, address, programs, ledger)?);
        }
        Ok(Self {
            prefix: prefix.to_owned(),
            switch,
            internet: Internet::serve(internet)?,
            hosts: built,
            guests: Mutex::new(0),
            programs: programs.clone(),
            ledger: Arc::clone(ledger),
            stays: false,
        })
    }

    /// All hosts.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The host `name`.
    ///
    /// # Panics
    /// There is none of that name.
    pub fn host(&self, name: &str) -> &Host {
        let found = self.hosts.iter().find(|host| host.name() == name);
        found.unwrap_or_else(|| panic!("the laboratory has no host {name}"))
    }

    /// The programs under test.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// Starts an agent on every host: the first forms a cluster, the others join through it; all know each other then.
    ///
    /// # Errors
    /// One does not start, or they do not find each other.
    pub fn form(&self) -> Result<()> {
        self.form_with(&json!({}))
    }

    /// As [`World::form`], with `change` in every host's configuration.
    ///
    /// # Errors
    /// As [`World::form`].
    pub fn form_with(&self, change: &Value) -> Result<()> {
        let first = self.hosts.first().context("a laboratory has hosts")?;
        for host in &self.hosts {
            let mut change = change.clone();
            if host.name() != first.name() {
                change["cluster"]["join"] = json!([first.listen()]);
            }
            host.configure(&change)?;
            host.launch_agent()?;
        }
        self.all_know_each_other(FORMS).map(|_| ())
    }

    /// Waits until every host with an agent sees all of them alive; how long that took.
    ///
    /// # Errors
    /// Not within `limit`: what one of them sees.
    pub fn all_know_each_other(&self, limit: Duration) -> Result<Duration> {
        let running: Vec<&Host> = self.hosts.iter().filter(|host| host.agent_pid().is_some()).collect();
        let mut names: Vec<&str> = running.iter().map(|host| host.name()).collect();
        names.sort_unstable();
        let ((), took) = wait_for(&format!("{names:?} know each other"), limit, || {
            for host in &running {
                if let Some(status) = host.agent_ended() {
                    bail!("the agent of {} ended ({status})", host.name());
                }
                let alive = host.alive()?;
                ensure!(alive == names, "{} sees {alive:?}", host.name());
            }
            Ok(())
        })?;
        Ok(took)
    }

    /// Applies segments through a host and waits until each host with an agent has every bridge and has nothing to do.
    ///
    /// # Errors
    /// The agent refuses them, or a host does not get there within five seconds.
    pub fn apply(&self, through: &str, segments: &str) -> Result<()> {
        let host = self.host(through);
        host.apply(segments)?;
        let list = host.list(&["segment", "list"])?;
        let bridges: Vec<&str> = list.iter().filter_map(|segment| segment["bridge"].as_str()).collect();
        for host in self.hosts.iter().filter(|host| host.agent_pid().is_some()) {
            until(
                &format!("{} has {bridges:?}, and nothing to do", host.name()),
                Duration::from_secs(5),
                || Ok(bridges.iter().all(|bridge| host.link(bridge).is_some()) && host.plan()?.is_empty()),
            )?;
        }
        Ok(())
    }

    /// Waits until all hosts with an agent name the same gateway of a segment; its name.
    ///
    /// # Errors
    /// Not within `limit`.
    pub fn gateway(&self, segment: &str, limit: Duration) -> Result<String> {
        let running: Vec<&Host> = self.hosts.iter().filter(|host| host.agent_pid().is_some()).collect();
        let (gateway, _) = wait_for(&format!("{segment} has one gateway"), limit, || {
            let mut named = running
                .iter()
                .map(|host| host.gateway_of(segment))
                .collect::<Result<Vec<_>>>()?;
            named.dedup();
            match &named[..] {
                [one] => Ok(one.clone()),
                several => bail!("the hosts name {several:?}"),
            }
        })?;
        Ok(gateway)
    }

    /// Plugs the next guest into a bridge of a host.
    ///
    /// # Errors
    /// The kernel refuses something.
    pub fn guest(&self, host: &str, bridge: &str) -> Result<Guest> {
        let index = {
            let mut count = self.guests.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            *count += 1;
            *count
        };
        let name = format!("guest{index}");
        let namespace = Namespace::named(format!("{}{name}", self.prefix));
        self.ledger.namespace(&namespace)?;
        namespace::make(&[&namespace])?;
        Guest::plug(&name, index, namespace, self.host(host), bridge, &self.ledger)
    }

    /// Starts a program that is neither agent nor client, and that ends with the laboratory.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn launch(&self, command: &mut Command, what: &str) -> Result<Running> {
        Running::start(command, what, &self.folder().join(format!("{what}.log")), &self.ledger)
    }

    /// The folder for what its programs write; it goes with the laboratory.
    pub fn folder(&self) -> &Path {
        self.ledger.folder()
    }

    /// Lets the laboratory outlive this process.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn leave_up(mut self) -> Result<()> {
        self.ledger.stays()?;
        self.stays = true;
        Ok(())
    }

    /// What the agents said last and how they see the world: for a person who looks for a fault.
    pub fn report(&self, lines: usize) -> String {
        let mut report = String::new();
        for host in &self.hosts {
            let _ = writeln!(report, "--- {}: overlayctl status", host.name());
            let status = host.overlayctl(&["status"]);
            let _ = match status {
                Ok(output) => writeln!(
                    report,
                    "{}{}",
                    String::from_utf8_lossy(&output.stdout),
                    String::from_utf8_lossy(&output.stderr)
                ),
                Err(error) => writeln!(report, "{error}"),
            };
            let _ = writeln!(
                report,
                "--- {}: the last of its log\n{}",
                host.name(),
                host.last_log(lines)
            );
        }
        report
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !self.stays {
            // Children first, so that none is left as a zombie.
            for host in &self.hosts {
                host.kill_agent();
            }
            // The next laboratory sweeps what cannot be removed now.
            let _ = ledger::clean(self.ledger.folder());
        }
    }
}

/// Tells a story in a laboratory of its own.
///
/// # Panics
/// A step fails: with what the agents said last.
pub fn tell(plan: &Plan, story: impl FnOnce(&World) -> Result<()>) {
    let world = World::new(plan).unwrap_or_else(|error| panic!("no laboratory: {error:#}"));
    // A panic in the story is told like an error, after the report.
    match catch_unwind(AssertUnwindSafe(|| story(&world))) {
        Ok(Ok(())) => {}
        Ok(Err(error)) => panic!("{error:#}\n{}", world.report(40)),
        Err(panic) => {
            println_to_test(&world.report(40));
            resume_unwind(panic);
        }
    }
}

/// Where the test harness shows it, if the test fails.
#[expect(
    clippy::print_stdout,
    reason = "the harness captures this and shows it with a failed test"
)]
fn println_to_test(text: &str) {
    println!("{text}");
}
