//! The main job in figures: from nothing to the first ping, a guest's lease, an idle agent's memory, a restart.
//!
//! Each figure is the median of rounds in fresh laboratories. The yardstick for the first one is what people do by
//! hand, in the same namespaces and alternating with it: `ip` and `bridge` lines on each host, with no cluster behind.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use overlayd_benches::{LIMIT, PingCheck, dnsmasq, lay_by_hand, median, ms, timed};
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

#[allow(clippy::print_stdout)]
fn main() -> Result<()> {
    let args = Args::parse();
    let (mut hand, mut hand_leases) = (Vec::new(), Vec::new());
    let mut ours = Vec::new();
    let mut leases = Vec::new();
    let mut memory = Vec::new();
    let mut lost = Vec::new();
    for _ in 0..args.rounds {
        let (ping, lease) = by_hand()?;
        hand.push(ping);
        hand_leases.push(lease);
        let world = World::new(&Plan::default())?;
        ours.push(first_ping(&world)?);
        world.gateway("blue", LIMIT)?;
        for host in world.hosts() {
            let guest = world.guest(host.name(), "br-blue")?;
            leases.push(timed(|| guest.dhcp())?.1);
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
        ms(median(hand)),
        ms(median(ours))
    );
    println!(
        "a guest's lease by udhcpc            dnsmasq --no-ping {}   overlayd {}",
        ms(median(hand_leases)),
        ms(median(leases))
    );
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

/// The same with `ip` and `bridge` on each host; then a lease from dnsmasq without its ping check.
fn by_hand() -> Result<(Duration, Duration)> {
    let world = World::new(&Plan::default())?;
    let begun = Instant::now();
    lay_by_hand(&world)?;
    let (one, other) = (world.guest("hv1", "br-blue")?, world.guest("hv3", "br-blue")?);
    one.by_hand(201)?;
    let target = other.by_hand(203)?.to_string();
    until("the first ping is answered", LIMIT, || {
        Ok(one.ping_once(&target)?.status.success())
    })?;
    let ping = begun.elapsed();
    let mut server = dnsmasq(&world, "10.64", PingCheck::Off)?;
    let guest = world.guest("hv2", "br-blue")?;
    let (_, lease) = timed(|| guest.dhcp())?;
    server.kill();
    Ok((ping, lease))
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
