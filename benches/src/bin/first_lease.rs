//! From `apply` on a formed cluster to the first guest's ACK, with the gateway on whichever host is elected.
//!
//! The guest asks from the moment that its port is in the bridge, again and again: what it waits for is the segment.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Parser;
use overlayd_benches::{Crowd, LIMIT, median, ms};
use overlayd_tests::dhcp_load::Client;
use overlayd_tests::wait::until;
use overlayd_tests::{Plan, World};

/// From `apply` to the first guest's lease.
#[derive(Parser)]
struct Args {
    /// How many segments, each with its first guest.
    #[arg(long, default_value_t = 20)]
    rounds: u8,
    /// How long the guest waits before it asks again, in milliseconds.
    #[arg(long, default_value_t = 50)]
    retry: u64,
}

#[allow(clippy::print_stdout)]
fn main() -> Result<()> {
    let args = Args::parse();
    let world = World::new(&Plan::default())?;
    world.form()?;
    let mut took = Vec::new();
    for round in 0..args.rounds {
        let [through, at] = [round, round / 3].map(|number| format!("hv{}", number % 3 + 1));
        let (name, bridge) = (format!("s{round}"), format!("br-s{round}"));
        let segment = format!(
            "segments:\n  - name: {name}\n    vni: {}\n    ipv4:\n      subnet: 10.0.{round}.0/24\n      dhcp: {{}}\n",
            100 + u16::from(round)
        );
        let begin = Instant::now();
        world.host(&through).apply(&segment)?;
        let applied = begin.elapsed();
        until("the bridge is there", LIMIT, || {
            Ok(world.host(&at).link(&bridge).is_some())
        })?;
        let guest = world.guest(&at, &bridge)?;
        let plugged = begin.elapsed();
        let crowd = Crowd {
            clients: Client::fresh(round, 1),
            spacing: Duration::ZERO,
            at_once: 1,
            retry: Duration::from_millis(args.retry),
        };
        let report = crowd.ask(&guest)?;
        let all = begin.elapsed();
        let exchange = report.exchanges.first().context("one guest asked")?;
        let gateway = world.gateway(&name, LIMIT)?;
        println!(
            "{name}: applied on {through} after {}, guest on {at} plugged in after {}, gateway {gateway}, ACK after {} \
             and {} messages{}",
            ms(applied),
            ms(plugged),
            ms(all),
            exchange.sent,
            if exchange.address.is_none() { ": NONE" } else { "" }
        );
        took.push(all);
    }
    let longest = took.iter().max().copied().unwrap_or_default();
    println!(
        "from apply to the first ACK: median {}, longest {}",
        ms(median(took)),
        ms(longest)
    );
    Ok(())
}
