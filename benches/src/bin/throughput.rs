//! Guest to guest over two hosts: our segment beside one laid by hand, TCP, small packets and request/response.
//!
//! Laboratories of the same wiring stand side by side and are measured in turns: by hand, by hand on hosts with NAT rules,
//! the same with bridge netfilter (a switch of the network namespace) off, and ours, which has the switch off, and such rules
//! where the gateway is: on a third host, or on one of the two.

use std::fs::File;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use overlayd_benches::{LIMIT, formed, lay_by_hand, median};
use overlayd_tests::namespace::said;
use overlayd_tests::wait::until;
use overlayd_tests::world::BLUE;
use overlayd_tests::{Guest, Plan, World};
use serde_json::Value;

/// Guest to guest over two hosts, beside a segment laid by hand.
#[derive(Parser)]
struct Args {
    /// How many rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each TCP and UDP run.
    #[arg(long, default_value_t = 2)]
    seconds: u32,
}

/// Requests and responses of one run.
const TRIPS: u32 = 20_000;

/// A laboratory and what was measured in it.
struct Lane {
    name: &'static str,
    from: Guest,
    to: Guest,
    target: IpAddr,
    tcp: Vec<f64>,
    packets: Vec<f64>,
    trip: Vec<f64>,
    /// Dropped last: it takes everything with it.
    world: World,
}

#[allow(clippy::print_stdout)]
fn main() -> Result<()> {
    let args = Args::parse();
    let _awake = awake()?;
    let mut lanes = [
        lane("by hand", laid("")?)?,
        lane("by hand, NAT rules", laid(NAT)?)?,
        lane("the same, netfilter off", laid(&format!("{NAT}{NETFILTER_OFF}"))?)?,
        lane("overlayd, gateway on a third", ours("hv3")?)?,
        lane("overlayd, gateway on one", ours("hv2")?)?,
    ];
    for _ in 0..args.rounds {
        // What drifts within a round falls on the last as on the first.
        lanes.reverse();
        for lane in &mut lanes {
            lane.tcp.push(lane.iperf(args.seconds, &[])?.tcp()?);
            let small = ["-u", "-b", "0", "-l", "64"];
            lane.packets.push(lane.iperf(args.seconds, &small)?.packets()?);
            lane.trip.push(lane.trip()?.as_secs_f64() * 1e6);
        }
    }
    if !args.rounds.is_multiple_of(2) {
        lanes.reverse();
    }
    for lane in &lanes {
        let netfilter = lane
            .world
            .host("hv1")
            .namespace()
            .sh("cat /proc/sys/net/bridge/bridge-nf-call-iptables")?;
        println!(
            "{:28} TCP {:.2} Gbit/s   64-byte UDP {:.0} k/s   round trip {:.1} us   bridge netfilter {}",
            lane.name,
            median(lane.tcp.clone()) / 1e9,
            median(lane.packets.clone()) / 1e3,
            median(lane.trip.clone()),
            netfilter.trim()
        );
    }
    let [plain, nat, _, ours @ ..] = &lanes;
    for lane in ours {
        for yardstick in [plain, nat] {
            println!(
                "{} to {}: TCP {:.2}   64-byte UDP {:.2}   request/response {:.2}",
                lane.name,
                yardstick.name,
                ratio(&lane.tcp, &yardstick.tcp),
                ratio(&lane.packets, &yardstick.packets),
                ratio(&yardstick.trip, &lane.trip),
            );
        }
    }
    Ok(())
}

/// Keeps idle processors from sleeping while it is held, as `cyclictest` does: on a virtual machine to wake one takes longer
/// than all else of a round trip, and how long depends on what was before.
fn awake() -> Result<File> {
    let path = "/dev/cpu_dma_latency";
    let mut file = File::options()
        .write(true)
        .open(path)
        .with_context(|| format!("cannot open {path}"))?;
    let microseconds = 0_i32;
    file.write_all(&microseconds.to_ne_bytes())
        .with_context(|| format!("cannot write {path}"))?;
    Ok(file)
}

/// Of the same round each: what disturbs one lane lasts longer than a round.
fn ratio(of: &[f64], to: &[f64]) -> f64 {
    median(of.iter().zip(to).map(|(of, to)| of / to).collect())
}

/// What a host that gives guests a way out by hand has.
const NAT: &str = "\
sysctl -qw net.ipv4.ip_forward=1
nft 'table ip nat { chain postrouting { type nat hook postrouting priority srcnat; \
     ip saddr 192.168.124.0/24 oifname \"eth0\" masquerade; }; }'
";

/// Bridged frames pass the IP firewall no more.
const NETFILTER_OFF: &str = "\
for family in ip ip6 arp; do sysctl -qw net.bridge.bridge-nf-call-${family}tables=0; done
";

/// Ours, with the gateway on this host.
fn ours(gateway: &str) -> Result<World> {
    let world = formed("blue", BLUE)?;
    if world.gateway("blue", LIMIT)? != gateway {
        world.host("hv1").ctl(&["gateway", "move", "blue", gateway])?;
    }
    Ok(world)
}

fn laid(script: &str) -> Result<World> {
    let world = World::new(&Plan::default())?;
    lay_by_hand(&world)?;
    for host in world.hosts() {
        host.namespace().sh(script)?;
    }
    Ok(world)
}

fn lane(name: &'static str, world: World) -> Result<Lane> {
    let (from, to) = (world.guest("hv1", "br-blue")?, world.guest("hv2", "br-blue")?);
    from.by_hand(201)?;
    let target = to.by_hand(202)?;
    from.ping(target)?;
    let mut server: Command = to.namespace().command("iperf3");
    server.arg("--server");
    world.launch(&mut server, "iperf3")?;
    until("iperf3 listens", LIMIT, || {
        Ok(to.namespace().sh("ss -Hltn sport = :5201")?.contains(":5201"))
    })?;
    Ok(Lane {
        name,
        from,
        to,
        target,
        tcp: Vec::new(),
        packets: Vec::new(),
        trip: Vec::new(),
        world,
    })
}

/// What iperf3 printed.
struct Told(Value);

impl Told {
    /// Bits per second that arrived.
    fn tcp(&self) -> Result<f64> {
        let found = &self.0["end"]["sum_received"]["bits_per_second"];
        found.as_f64().context("iperf3 told no rate")
    }

    /// Packets per second that arrived.
    fn packets(&self) -> Result<f64> {
        let sum = &self.0["end"]["sum"];
        let number = |key: &str| sum[key].as_f64().with_context(|| format!("iperf3 told no {key}"));
        Ok((number("packets")? - number("lost_packets")?) / number("seconds")?)
    }
}

impl Lane {
    fn iperf(&self, seconds: u32, more: &[&str]) -> Result<Told> {
        let mut command = self.from.namespace().command("iperf3");
        command
            .args(["--json", "--client", &self.target.to_string(), "--time"])
            .arg(seconds.to_string())
            .args(more);
        Ok(Told(serde_json::from_str(&said(&mut command, "iperf3")?)?))
    }

    /// The mean time of one small request and its response.
    fn trip(&self) -> Result<Duration> {
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let open = || {
            let socket = UdpSocket::bind(any)?;
            socket.set_read_timeout(Some(Duration::from_secs(2)))?;
            Ok(socket)
        };
        let responder = self.to.namespace().within(open)?;
        let asker = self.from.namespace().within(open)?;
        asker.connect((self.target, responder.local_addr()?.port()))?;
        std::thread::scope(|scope| {
            let answers = scope.spawn(move || -> Result<()> {
                let mut buffer = [0; 64];
                for _ in 0..TRIPS {
                    let (length, from) = responder.recv_from(&mut buffer)?;
                    responder.send_to(buffer.get(..length).unwrap_or_default(), from)?;
                }
                Ok(())
            });
            let mut buffer = [0; 64];
            let begun = Instant::now();
            for _ in 0..TRIPS {
                asker.send(&[1])?;
                ensure!(asker.recv(&mut buffer)? == 1, "another answer");
            }
            let taken = begun.elapsed();
            answers
                .join()
                .map_err(|_| anyhow::anyhow!("the responder panicked"))??;
            Ok(taken / TRIPS)
        })
    }
}
