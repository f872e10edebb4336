//! DHCP by a crowd of guests: three hosts whose leases are replicated and on disk, beside dnsmasq with its lease file.
//!
//! Each round is a fresh laboratory for each way; the crowd is one guest interface on a host that is not the gateway.
//! At the end of our round the gateway host dies: who is given an address that somebody had before?

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Parser;
use overlayd_benches::{Crowd, LIMIT, PingCheck, WIDE, another, dnsmasq, formed, lay_by_hand, median, ms};
use overlayd_tests::dhcp_load::{Client, Report};
use overlayd_tests::{Guest, Plan, World};

/// DHCP by a crowd of guests, beside dnsmasq.
#[derive(Parser)]
struct Args {
    /// How many rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// So many new guests in the rush against our servers; a tenth of it against dnsmasq.
    #[arg(long, default_value_t = 10_000)]
    rush: u32,
    /// So many of them at once.
    #[arg(long, default_value_t = 128)]
    at_once: usize,
    /// Only our rush, for a profile.
    #[arg(long)]
    rush_only: bool,
}

/// What one server did.
#[derive(Debug, Default)]
struct Told {
    idle: Vec<Duration>,
    p50: Vec<Duration>,
    p99: Vec<Duration>,
    failed: Vec<usize>,
    rate: Vec<f64>,
}

#[allow(clippy::print_stdout)]
fn main() -> Result<()> {
    let args = Args::parse();
    let (mut ours, mut plain, mut shipped) = (Told::default(), Told::default(), Told::default());
    let mut failover = Vec::new();
    for round in 0..args.rounds {
        if !args.rush_only {
            beside(&mut plain, PingCheck::Off, args.rush / 10, args.at_once)?;
        }
        // Three seconds an address: once shows it.
        if !args.rush_only && round == 0 {
            beside(&mut shipped, PingCheck::On, 0, args.at_once)?;
        }
        let world = formed("wide", WIDE)?;
        let gateway = world.gateway("wide", LIMIT)?;
        let crowd = world.guest(another(&world, &gateway)?.name(), "br-wide")?;
        if args.rush_only {
            rush(&mut ours, &crowd, args.rush, args.at_once)?;
            println!("{:.0}/s", ours.rate.last().copied().unwrap_or_default());
            continue;
        }
        quiet(&mut ours, &crowd)?;
        rush(&mut ours, &crowd, args.rush, args.at_once)?;
        failover.push(survived(&world, &gateway, &crowd)?);
    }
    print("dnsmasq as shipped", shipped);
    print("dnsmasq --no-ping", plain);
    print("overlayd", ours);
    for (duplicates, lost) in failover {
        println!("1000 old and 1000 new guests over a failover: {duplicates} duplicates, {lost} leases lost");
    }
    Ok(())
}

#[allow(clippy::print_stdout)]
fn print(who: &str, told: Told) {
    println!(
        "{who:20} idle {}   500 at 100/s: failed {:?}, p50 {}, p99 {}   rush {:.0}/s {:?}",
        ms(median(told.idle)),
        told.failed,
        ms(median(told.p50)),
        ms(median(told.p99)),
        median(told.rate.clone()),
        told.rate.iter().map(|rate| rate.round()).collect::<Vec<_>>()
    );
}

fn beside(told: &mut Told, check: PingCheck, rushing: u32, at_once: usize) -> Result<()> {
    let world = World::new(&Plan::default())?;
    lay_by_hand(&world)?;
    let mut server = dnsmasq(&world, "10.64", check)?;
    let crowd = world.guest("hv2", "br-blue")?;
    quiet(told, &crowd)?;
    if rushing > 0 {
        rush(told, &crowd, rushing, at_once)?;
    }
    server.kill();
    Ok(())
}

/// Five guests one by one, then five hundred at 100/s.
fn quiet(told: &mut Told, crowd: &Guest) -> Result<()> {
    let idle = Crowd::idle(Client::fresh(1, 5)).ask(crowd)?;
    told.idle.push(idle.percentile(50).unwrap_or(LIMIT));
    let booting = Crowd::booting(Client::fresh(2, 500)).ask(crowd)?;
    told.failed.push(booting.failed());
    told.p50.push(booting.percentile(50).unwrap_or(LIMIT));
    told.p99.push(booting.percentile(99).unwrap_or(LIMIT));
    Ok(())
}

fn rush(told: &mut Told, crowd: &Guest, guests: u32, at_once: usize) -> Result<()> {
    let report = Crowd::rushing(Client::fresh(3, guests), at_once).ask(crowd)?;
    ensure!(
        report.failed() == 0,
        "{} of {guests} got no lease in the rush",
        report.failed()
    );
    told.rate.push(report.per_second());
    Ok(())
}

/// Addresses that two of a thousand old and a thousand new guests were given, and leases of the old ones that are gone.
fn survived(world: &World, gateway: &str, crowd: &Guest) -> Result<(usize, usize)> {
    let old = Crowd::rushing(Client::fresh(4, 1000), 32).ask(crowd)?;
    ensure!(old.failed() == 0, "{} old guests got no lease", old.failed());
    world.switch.unplug(gateway)?;
    world.host(gateway).kill_agent();
    let new = Crowd {
        retry: Duration::from_millis(250),
        ..Crowd::rushing(Client::fresh(5, 1000), 32)
    }
    .ask(crowd)?;
    ensure!(new.failed() == 0, "{} new guests got no lease", new.failed());
    let again = Crowd::rushing(old.rebooting(), 32).ask(crowd)?;
    let kept = again
        .exchanges
        .iter()
        .zip(&old.exchanges)
        .filter(|(now, before)| now.address == before.address);
    let lost = old.exchanges.len() - kept.count();
    let duplicates = Report {
        exchanges: [old.exchanges, new.exchanges].concat(),
        time: new.time,
    }
    .duplicates()
    .len();
    Ok((duplicates, lost))
}
