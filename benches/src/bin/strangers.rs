//! A guest that makes up MACs: how long others wait for a lease beside it, and what it costs the agents.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use overlayd_benches::{Crowd, LIMIT, formed, ms};
use overlayd_tests::World;
use overlayd_tests::dhcp_load::{Client, appear, discover};
use overlayd_tests::wait::until;
use overlayd_tests::world::BLUE;

/// The kernel's clock ticks in a second, as `/proc` counts them (`USER_HZ`).
const TICKS: f64 = 100.0;

/// A guest that makes up MACs.
#[derive(Parser)]
struct Args {
    /// How many rounds.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// So many MACs ask for an address once, of a pool of 239.
    #[arg(long, default_value_t = 600)]
    asking: u32,
    /// So many MACs appear on one port.
    #[arg(long, default_value_t = 20_000)]
    macs: u32,
    /// For so many seconds the agents' work is counted from then on.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
}

#[allow(clippy::print_stdout)]
fn main() -> Result<()> {
    let args = Args::parse();
    for _ in 0..args.rounds {
        let world = formed("blue", BLUE)?;
        let (stranger, guest) = (world.guest("hv2", "br-blue")?, world.guest("hv3", "br-blue")?);
        until("every host has addresses", LIMIT, || {
            let pool = world.host("hv1").list(&["pool", "show"])?;
            Ok(pool.iter().filter(|line| line["free"].as_u64() > Some(0)).count() >= 3)
        })?;
        let made_up = Client::fresh(7, args.asking);
        stranger.namespace().within(|| discover("eth0", &made_up))?;
        let real = Crowd {
            retry: Duration::from_millis(250),
            ..Crowd::idle(Client::fresh(8, 1))
        };
        let report = real.ask(&guest)?;
        let lease = match report.percentile(50).filter(|_| report.failed() == 0) {
            Some(time) => ms(time),
            None => format!("none in {} s", LIMIT.as_secs()),
        };
        println!(
            "{} DISCOVERs with made-up MACs, then a real guest: lease after {lease}",
            args.asking
        );

        let world = formed("blue", BLUE)?;
        let stranger = world.guest("hv2", "br-blue")?;
        let before = work(&world)?;
        let made_up = Client::fresh(7, args.macs);
        stranger.namespace().within(|| appear("eth0", &made_up))?;
        std::thread::sleep(Duration::from_secs(args.seconds));
        let after = work(&world)?;
        let spent = before.iter().zip(&after).map(|(before, after)| after - before);
        let shares: Vec<String> = spent
            .map(|ticks| format!("{:.1} %", ticks / TICKS / args.seconds as f64 * 100.0))
            .collect();
        println!(
            "{} MACs on one port, {} s: of a core, each agent {shares:?}",
            args.macs, args.seconds
        );
    }
    Ok(())
}

/// The clock ticks that each agent and its children have used.
fn work(world: &World) -> Result<Vec<f64>> {
    let agents = world.hosts().iter().map(|host| {
        let pid = host.agent_pid().context("the agent runs")?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let (_, fields) = stat.rsplit_once(')').context("a name")?;
        let times = fields.split_whitespace().skip(11).take(4);
        let ticks: Vec<f64> = times.map(str::parse).collect::<Result<_, _>>()?;
        Ok(ticks.iter().sum())
    });
    agents.collect()
}
