//! The main job in figures: from nothing to the first ping, a guest's lease, an idle agent's memory, a restart.
//!
//! Each figure is the median of rounds in fresh laboratories. The yardstick for the first one is what people do by
//! hand, in the same namespaces and alternating with it: `ip` and `bridge` lines on each host, with no cluster behind.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use overlayd_tests::wait::{until, wait_for};
use overlayd_tests::world::{BLUE, Plan, World};
use serde_json::json;

/// The main job in figures.
#[derive(Parser)]
struct Args {
    /// How many rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

const LIMIT: Duration = Duration::from_secs(20);

#[allow(clippy::print_stdout)]
fn main() -> Result<()> {
    let args = Args::parse();
    let mut hand = Vec::new();
    let mut ours = Vec::new();
    let mut leases = Vec::new();
    let mut memory = Vec::new();
    let mut lost = Vec::new();
    for _ in 0..args.rounds {
        hand.push(by_hand()?);
        let world = World::new(&Plan::default())?;
        ours.push(first_ping(&world)?);
        world.gateway("blue", LIMIT)?;
        for host in world.hosts() {
            let guest = world.guest(host.name(), "br-blue")?;
            let begun = Instant::now();
            guest.dhcp()?;
            leases.push(begun.elapsed());
        }
        for host in world.hosts() {
            memory.push(resident(host.agent_pid().context("the agent runs")?)?);
        }
        for host in world.hosts() {
            let guest = world.guest(host.name(), "br-blue")?;
            guest.dhcp()?;
            let pings = guest.keep_pinging("203.0.113.1")?;
            until("pings are under way", LIMIT, || Ok(pings.answers() > 20))?;
            host.kill_agent();
            host.restart_agent()?;
            let answers = pings.answers();
            until("pings go on", LIMIT, || Ok(pings.answers() > answers + 50))?;
            lost.push(pings.finish()?.lost());
        }
    }
    println!(
        "start to first guest-to-guest ping   by hand {}   overlayd {}",
        median(hand),
        median(ours)
    );
    println!("a guest's lease by udhcpc            {}", median(leases));
    memory.sort_unstable();
    println!(
        "resident memory of an idle agent     {} kB (largest {} kB)",
        memory[memory.len() / 2],
        memory[memory.len() - 1]
    );
    println!("packets lost over kill -9 and restart of each agent: {lost:?}");
    Ok(())
}

/// Agents are started and find each other; the segment is in the first one's file; guests are plugged as soon as
/// there is a bridge.
fn first_ping(world: &World) -> Result<Duration> {
    let [first, others @ ..] = world.hosts() else {
        anyhow::bail!("there are hosts")
    };
    let segments: serde_json::Value = serde_yaml_value(BLUE)?;
    first.configure(&json!({ "segments": segments["segments"] }))?;
    for host in others {
        host.configure(&json!({ "cluster": { "join": [first.listen()] } }))?;
    }
    let begun = Instant::now();
    for host in world.hosts() {
        host.launch_agent()?;
    }
    for host in world.hosts() {
        wait_for("the bridge is there", LIMIT, || {
            host.link("br-blue").context("no bridge yet")
        })?;
    }
    let (one, other) = (world.guest("hv1", "br-blue")?, world.guest("hv3", "br-blue")?);
    one.by_hand(201)?;
    let target = other.by_hand(203)?.to_string();
    until("the first ping is answered", LIMIT, || {
        Ok(one.ping_once(&target)?.status.success())
    })?;
    Ok(begun.elapsed())
}

/// The same with `ip` and `bridge` on each host.
fn by_hand() -> Result<Duration> {
    let world = World::new(&Plan::default())?;
    let begun = Instant::now();
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
    let (one, other) = (world.guest("hv1", "br-blue")?, world.guest("hv3", "br-blue")?);
    one.by_hand(201)?;
    let target = other.by_hand(203)?.to_string();
    until("the first ping is answered", LIMIT, || {
        Ok(one.ping_once(&target)?.status.success())
    })?;
    Ok(begun.elapsed())
}

fn serde_yaml_value(text: &str) -> Result<serde_json::Value> {
    serde_yaml::from_str(text).context("the laboratory's segment is YAML")
}

/// In kB.
fn resident(pid: i32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no VmRSS")?;
    line.trim()
        .trim_end_matches(" kB")
        .trim()
        .parse()
        .context("VmRSS is a number")
}

fn median(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    match times.as_slice() {
        [] => "-".to_owned(),
        sorted => format!("{:.3} s", sorted[sorted.len() / 2].as_secs_f64()),
    }
}
