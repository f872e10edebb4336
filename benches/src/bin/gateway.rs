//! What guests notice of a gateway that moves, loses its agent, or dies with its host.
//!
//! Each round is a fresh laboratory of three hosts; a guest on a standby pings the outside every 10 ms. When the gateway
//! host dies (cable pulled, agent killed at once), a new guest asks for a lease at that moment and again every 50 ms.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use overlayd_benches::{Crowd, LIMIT, another, formed, median, ms, quantile};
use overlayd_tests::dhcp_load::Client;
use overlayd_tests::wait::until;
use overlayd_tests::wiring::SERVER;
use overlayd_tests::world::BLUE;
use overlayd_tests::{Guest, Host, World};

/// What guests notice of a gateway that moves, loses its agent, or dies.
#[derive(Parser)]
struct Args {
    /// How many rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Hosts die in every round; moves and killed agents are left out.
    #[arg(long)]
    deaths_only: bool,
    /// Nothing happens for so many seconds but that every core is busy with other work: take-overs are false.
    #[arg(long, value_name = "SECONDS")]
    loaded: Option<u64>,
}

#[allow(clippy::print_stdout)]
fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(seconds) = args.loaded {
        let takeovers = under_load(Duration::from_secs(seconds))?;
        println!("{takeovers} false take-overs in {seconds} s, two busy loops for each core");
        return Ok(());
    }
    let (mut moved, mut killed, mut died, mut leases) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        let world = formed("blue", BLUE)?;
        if !args.deaths_only {
            moved.push(planned(&world)?);
            killed.push(agent_killed(&world)?);
        }
        let (outage, lease) = host_died(&world)?;
        println!("host dead: outage {}, first lease {}", ms(outage), ms(lease));
        died.push(outage);
        leases.push(lease);
    }
    for (what, times) in [
        ("planned move, pause", moved),
        ("agent killed for good, pause", killed),
        ("host dead, outage", died),
        ("host dead, first lease", leases),
    ] {
        if !times.is_empty() {
            println!(
                "{what:30} median {}   p95 {}   worst {}",
                ms(median(times.clone())),
                ms(quantile(times.clone(), 95)),
                ms(quantile(times, 100))
            );
        }
    }
    Ok(())
}

/// How often the gateway changed while nothing happened but that the cores had no time: each take-over is a term.
fn under_load(time: Duration) -> Result<u64> {
    let world = formed("blue", BLUE)?;
    let term = || -> Result<u64> {
        let gateways = world.host("hv1").json(&["gateway", "list"])?;
        gateways[0]["term"].as_u64().context("the gateway has a term")
    };
    let before = term()?;
    let over = AtomicBool::new(false);
    let cores = std::thread::available_parallelism()?.get();
    std::thread::scope(|scope| {
        for _ in 0..cores * 2 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        std::thread::sleep(time);
        over.store(true, Ordering::Relaxed);
    });
    Ok(term()? - before)
}

/// A guest on a host that is not the gateway, with a lease and a way out.
fn standby_guest(world: &World, gateway: &str) -> Result<Guest> {
    let guest = world.guest(another(world, gateway)?.name(), "br-blue")?;
    guest.dhcp()?;
    guest.ping(SERVER)?;
    Ok(guest)
}

/// The longest time without an answer while `event` happens and until a new gateway has answered for a while.
fn pause(guest: &Guest, event: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let ping = guest.keep_pinging(SERVER)?;
    until("pings are answered", LIMIT, || Ok(ping.answers() > 30))?;
    event()?;
    let before = ping.answers();
    until("pings are answered again", LIMIT, || Ok(ping.answers() > before + 100))?;
    Ok(ping.finish()?.pause)
}

fn planned(world: &World) -> Result<Duration> {
    let gateway = world.gateway("blue", LIMIT)?;
    let guest = standby_guest(world, &gateway)?;
    pause(&guest, || {
        world
            .host("hv1")
            .ctl(&["gateway", "move", "blue", another(world, &gateway)?.name()])?;
        Ok(())
    })
}

/// The agent stays dead: its gateway address goes by its lifetime, and only then is it replaced.
fn agent_killed(world: &World) -> Result<Duration> {
    let gateway = world.gateway("blue", LIMIT)?;
    let guest = standby_guest(world, &gateway)?;
    let told = pause(&guest, || {
        world.host(&gateway).kill_agent();
        until("another serves", LIMIT, || Ok(world.gateway("blue", LIMIT)? != gateway))?;
        Ok(())
    });
    world.host(&gateway).restart_agent()?;
    world.all_know_each_other(LIMIT)?;
    told
}

/// The outage of a guest that was there, and the time until one that comes at that moment has a lease.
fn host_died(world: &World) -> Result<(Duration, Duration)> {
    let gateway = world.gateway("blue", LIMIT)?;
    let guest = standby_guest(world, &gateway)?;
    let newcomer = world.guest(guest.host(), "br-blue")?;
    // A host that dies in the first seconds of a segment may still own all of its addresses.
    until("each host has addresses to give", LIMIT, || {
        let pool = world.host(&gateway).list(&["pool", "show"])?;
        let gives = |host: &Host| pool.iter().any(|row| row["owner"] == host.name() && row["free"] != 0);
        Ok(world.hosts().iter().all(gives))
    })?;
    let mut lease = None;
    let outage = pause(&guest, || {
        world.switch.unplug(&gateway)?;
        world.host(&gateway).kill_agent();
        let report = Crowd {
            clients: Client::fresh(9, 1),
            spacing: Duration::ZERO,
            at_once: 1,
            retry: Duration::from_millis(50),
        }
        .ask(&newcomer)?;
        ensure!(report.failed() == 0, "the new guest got no lease");
        lease = report.percentile(100);
        Ok(())
    })?;
    Ok((outage, lease.context("a lease takes a time")?))
}
