//! A hundred thousand guests programmed (VXLAN table, bridge table): our netlink module beside `bridge -batch`,
//! alternating in one run, each round in a fresh network namespace.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use nix::sched::{CloneFlags, unshare};
use overlayd::netlink::{GatewayAddress, Netlink};
use overlayd_benches::median;
use overlayd_core::id::{IfName, Mac, SegmentName, Term};
use overlayd_core::kernel::plan::Op;

/// The kernel takes a namespace down after its last thread has gone, and holds the lock that the next measurement wants:
/// with a hundred thousand guests for 0.2 s.
const TAKEN_DOWN: Duration = Duration::from_secs(1);

/// What is measured.
#[derive(Parser)]
struct Arguments {
    /// How many guests.
    #[arg(long, default_value_t = 100_000)]
    macs: u32,
    /// How many rounds of each.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

fn main() -> Result<()> {
    let Arguments { macs, rounds } = Arguments::parse();
    let mut out = std::io::stdout();
    let (mut batch, mut ours, mut address) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=rounds {
        batch.push(in_namespace(move || by_batch(macs))?);
        ours.push(in_namespace(move || by_netlink(macs))?);
        address.push(in_namespace(gateway_address)?);
        let (batch, ours) = (batch[round - 1], ours[round - 1]);
        writeln!(
            out,
            "round {round}: batch {:.3} s, ours {:.3} s",
            batch.as_secs_f64(),
            ours.as_secs_f64()
        )?;
    }
    let (batch, ours) = (median(batch), median(ours));
    let ratio = ours.as_secs_f64() / batch.as_secs_f64();
    writeln!(
        out,
        "{macs} MACs, medians of {rounds}: batch {batch:.3?}, ours {ours:.3?}, ratio {ratio:.2}"
    )?;
    for (at, what) in ["set", "renewed", "removed"].into_iter().enumerate() {
        let times: Vec<Duration> = address.iter().map(|times: &[Duration; 3]| times[at]).collect();
        writeln!(
            out,
            "gateway address {what}, mean of 50, median of {rounds}: {:.3?}",
            median(times)
        )?;
    }
    Ok(())
}

/// Runs one measurement on a thread of its own, in a network namespace with `br-blue`, `vx-blue` and `gw-blue`.
fn in_namespace<T: Send + 'static>(measure: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).context("a network namespace; this needs root")?;
        let links = "link add br-blue type bridge\n\
                     link add vx-blue type vxlan id 10 dstport 4789 local 127.0.0.1\n\
                     link set vx-blue master br-blue up\n\
                     link set br-blue up\n\
                     link add gw-blue link br-blue type macvlan mode bridge\n\
                     link set gw-blue alias overlayd:blue\n";
        batch("ip", links)?;
        measure()
    });
    let measured = thread.join().map_err(|_| anyhow::anyhow!("a measurement panicked"))?;
    std::thread::sleep(TAKEN_DOWN);
    measured
}

fn mac(number: u32) -> Mac {
    let [a, b, c, d] = number.to_be_bytes();
    Mac([0x52, 0x54, a, b, c, d])
}

fn vtep(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(0xac1f_0000 + 2 + number % 100).into()
}

/// The script is written before the clock starts, and so are our ops.
fn by_batch(macs: u32) -> Result<Duration> {
    let mut fdb = String::new();
    for number in 0..macs {
        let (mac, vtep) = (mac(number), vtep(number));
        writeln!(
            fdb,
            "fdb replace {mac} dev vx-blue dst {vtep} self master dynamic extern_learn"
        )?;
    }
    let begun = Instant::now();
    batch("bridge", &fdb)?;
    let taken = begun.elapsed();
    count(macs)?;
    Ok(taken)
}

fn by_netlink(macs: u32) -> Result<Duration> {
    let link = IfName::new("vx-blue")?;
    let remote = |number| Op::ReplaceRemote {
        link: link.clone(),
        mac: mac(number),
        vtep: vtep(number),
    };
    let ops: Vec<Op> = (0..macs).map(remote).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let taken = runtime.block_on(async {
        let begun = Instant::now();
        let netlink = Netlink::open()?;
        let applied = netlink.apply(&ops).await;
        ensure!(applied.failures.is_empty(), "{}", applied.failures[0]);
        Ok(begun.elapsed())
    })?;
    count(macs)?;
    Ok(taken)
}

/// Both ways must have programmed everything: two forwarding entries for each guest.
fn count(macs: u32) -> Result<()> {
    let output = Command::new("bridge")
        .args(["fdb", "show", "dev", "vx-blue"])
        .output()?;
    let shown = String::from_utf8_lossy(&output.stdout);
    let fdb = shown.lines().filter(|line| line.contains("extern_learn")).count();
    ensure!(fdb == 2 * usize::try_from(macs)?, "{fdb} forwarding entries");
    Ok(())
}

fn batch(program: &str, script: &str) -> Result<()> {
    let mut child = Command::new(program)
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()?;
    child
        .stdin
        .take()
        .context("a pipe to the program")?
        .write_all(script.as_bytes())?;
    let status = child.wait()?;
    ensure!(status.success(), "{program} -batch: {status}");
    Ok(())
}

/// The mean times of taking, prolonging and giving up a gateway address. The interface goes down off the clock, as the
/// plan does it.
fn gateway_address() -> Result<[Duration; 3]> {
    const TIMES: u32 = 50;
    let segment = SegmentName::new("blue")?;
    let address = "192.168.124.1/24".parse()?;
    let lifetime = Some(Duration::from_secs(5));
    let mut gateway = GatewayAddress::open()?;
    let mut taken = [Duration::ZERO; 3];
    for term in 1..=TIMES {
        let begun = Instant::now();
        gateway.set(&segment, address, Term(term.into()), lifetime)?;
        let set = Instant::now();
        gateway.renew(&segment, address, lifetime)?;
        let renewed = Instant::now();
        gateway.remove(&segment, address)?;
        for (sum, time) in taken.iter_mut().zip([set - begun, renewed - set, renewed.elapsed()]) {
            *sum += time;
        }
        batch("ip", "link set gw-blue down\n")?;
    }
    Ok(taken.map(|sum| sum / TIMES))
}
