//! What the benches share: laboratories by hand and with agents, dnsmasq as a yardstick, medians.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use overlayd_tests::dhcp_load::{self, Client, Load, Report};
use overlayd_tests::process::Running;
use overlayd_tests::wait::until;
use overlayd_tests::{Guest, Host, Plan, World};

/// How long anything may take that is not measured.
pub const LIMIT: Duration = Duration::from_secs(20);

/// The segment of the DHCP benches: room for many guests.
pub const WIDE: &str = "\
segments:
  - name: wide
    vni: 20
    ipv4:
      subnet: 10.64.0.0/16
      dhcp: { range: 10.64.1.0-10.64.250.255 }
    dns: { upstream: [ 203.0.113.1 ] }
";

/// The middle one, the later of two; zero of none.
pub fn median<T: PartialOrd + Copy + Default>(values: Vec<T>) -> T {
    quantile(values, 50)
}

/// The value that `percent` of them do not exceed, none left out by rounding; zero of none.
pub fn quantile<T: PartialOrd + Copy + Default>(mut values: Vec<T>, percent: usize) -> T {
    values.sort_by(|one, other| one.partial_cmp(other).unwrap_or(std::cmp::Ordering::Equal));
    let at = (values.len() * percent / 100).min(values.len().saturating_sub(1));
    values.get(at).copied().unwrap_or_default()
}

/// In milliseconds.
pub fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

/// A laboratory whose agents serve a segment.
///
/// # Errors
/// They do not come to do so.
pub fn formed(segment: &str, yaml: &str) -> Result<World> {
    let world = World::new(&Plan::default())?;
    world.form()?;
    world.apply("hv1", yaml)?;
    let gateway = world.gateway(segment, LIMIT)?;
    until("its kernel has the address", LIMIT, || {
        let addresses = world.host(&gateway).namespace();
        Ok(addresses
            .ip(&format!("-4 addr show dev gw-{segment}"))?
            .contains("inet "))
    })?;
    Ok(world)
}

/// A host that is not `other`.
///
/// # Errors
/// There is none.
pub fn another<'a>(world: &'a World, other: &str) -> Result<&'a Host> {
    let found = world.hosts().iter().find(|host| host.name() != other);
    found.context("a laboratory has several hosts")
}

/// Lays the segment `br-blue` with `ip` and `bridge` on each host of a laboratory without agents.
///
/// # Errors
/// The kernel refuses it.
pub fn lay_by_hand(world: &World) -> Result<()> {
    for host in world.hosts() {
        let mut lines = format!(
            "ip link add br-blue type bridge mcast_snooping 0\nip link set br-blue up\n\
             ip link add vx-blue type vxlan id 10 dstport 4789 local {}\nip link set vx-blue master br-blue up\n",
            host.address()
        );
        for peer in world.hosts().iter().filter(|peer| peer.name() != host.name()) {
            lines += &format!(
                "bridge fdb append 00:00:00:00:00:00 dev vx-blue dst {}\n",
                peer.address()
            );
        }
        host.namespace().sh(&lines)?;
    }
    Ok(())
}

/// Whether dnsmasq asks by ping, for three seconds, who has an address before it offers it; it does as shipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PingCheck {
    /// As shipped.
    On,
    /// `--no-ping`.
    Off,
}

/// Starts dnsmasq on the bridge of a laboratory's first host, with its lease file on disk; `subnet` is the beginning
/// of a /16.
///
/// # Errors
/// It cannot be started, or ends.
pub fn dnsmasq(world: &World, subnet: &str, check: PingCheck) -> Result<Running> {
    let host = world.hosts().first().context("a laboratory has hosts")?;
    host.namespace().ip(&format!("addr add {subnet}.0.1/16 dev br-blue"))?;
    let mut command: Command = host.namespace().command("dnsmasq");
    command
        .args([
            "--no-daemon",
            "--conf-file=/dev/null",
            "--port=0",
            "--interface=br-blue",
            "--bind-interfaces",
        ])
        .args([
            "--user=root",
            "--pid-file=",
            "--dhcp-authoritative",
            "--dhcp-lease-max=100000",
        ])
        .arg(format!("--dhcp-leasefile={}", world.folder().join("leases").display()))
        .arg(format!("--dhcp-range={subnet}.1.0,{subnet}.250.255,255.255.0.0,1h"));
    if check == PingCheck::Off {
        command.arg("--no-ping");
    }
    let mut running = world.launch(&mut command, "dnsmasq")?;
    until("dnsmasq listens", LIMIT, || {
        ensure!(running.ended().is_none(), "dnsmasq ended");
        Ok(host.namespace().sh("ss -Hlun sport = :67")?.contains(":67"))
    })?;
    Ok(running)
}

/// As many clients as wanted on one guest's interface.
#[derive(Clone, Debug)]
pub struct Crowd {
    /// Who.
    pub clients: Vec<Client>,
    /// From one's start to the next one's.
    pub spacing: Duration,
    /// So many under way at most.
    pub at_once: usize,
    /// What is unanswered for so long is said again.
    pub retry: Duration,
}

impl Crowd {
    /// Lets them all ask from inside `guest`; each for twenty seconds at most.
    ///
    /// # Errors
    /// The guest has no interface.
    pub fn ask(self, guest: &Guest) -> Result<Report> {
        let load = Load {
            interface: "eth0".to_owned(),
            tag: None,
            clients: self.clients,
            spacing: self.spacing,
            at_once: self.at_once,
            retry: self.retry,
            patience: LIMIT,
        };
        guest.namespace().within(|| dhcp_load::run(&load))
    }

    /// A hundred starting each second.
    pub fn booting(clients: Vec<Client>) -> Self {
        Self {
            at_once: clients.len(),
            clients,
            spacing: Duration::from_millis(10),
            retry: Duration::from_secs(1),
        }
    }

    /// As fast as they are answered, this many at once.
    pub fn rushing(clients: Vec<Client>, at_once: usize) -> Self {
        Self {
            clients,
            spacing: Duration::ZERO,
            at_once,
            retry: Duration::from_secs(1),
        }
    }

    /// One at a time, with a pause between them.
    pub fn idle(clients: Vec<Client>) -> Self {
        Self {
            clients,
            spacing: Duration::from_millis(200),
            at_once: 1,
            retry: Duration::from_secs(5),
        }
    }
}

/// How long something took.
///
/// # Errors
/// It fails.
pub fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let begun = Instant::now();
    let value = work()?;
    Ok((value, begun.elapsed()))
}
