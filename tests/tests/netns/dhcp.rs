//! The DHCP server, the gratuitous ARP and the echo probes, on real sockets and against real clients.
//!
//! ```text
//! guest: eth0 ─── veth ─── br-blue, above it gw-blue (192.168.124.1, virtual MAC): host
//! ```
//!
//! Who gets which address is decided by a plain table here: leases have suites of their own.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use overlayd::sockets::arp::Announcer;
use overlayd::sockets::dhcp::{Port, Received, Reply};
use overlayd::sockets::icmp::{Ended, Prober, Sources};
use overlayd_core::addresses::{Answer, Request};
use overlayd_core::cluster::reachability::Outcome;
use overlayd_core::config::{self, NetworkBoot};
use overlayd_core::gateway::dhcp::{Effect, Packet, SegmentService, Server};
use overlayd_core::id::{HostId, IfName, Mac, SegmentId};
use overlayd_core::time::Instant;
use overlayd_tests::dhcp_load::{Client, Load, run};
use tokio::sync::{mpsc, oneshot};

const BLUE: SegmentId = SegmentId(10);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 124, 1);
const VIRTUAL_MAC: Mac = Mac([2, 0xb1, 0, 0, 0, 1]);
const GUEST_MAC: &str = "52:54:00:aa:bb:cc";
const LEASE_TIME: Duration = Duration::from_secs(3600);

/// A host and a guest in namespaces of their own, gone when dropped.
struct Site {
    host: String,
    guest: String,
    folder: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let unique = format!(
            "ov-dhcp-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let site = Self {
            host: format!("{unique}-h"),
            guest: format!("{unique}-g"),
            folder: tempfile::tempdir().unwrap(),
        };
        let (host, guest) = (&site.host, &site.guest);
        let mac = VIRTUAL_MAC;
        for line in [
            format!("netns add {host}"),
            format!("netns add {guest}"),
            format!("-n {host} link set lo up"),
            format!("-n {host} link add br-blue type bridge mcast_snooping 0"),
            format!("-n {host} link set br-blue up"),
            format!("-n {host} link add tap0 type veth peer name eth0 address {GUEST_MAC} netns {guest}"),
            format!("-n {host} link set tap0 master br-blue up"),
            format!("-n {host} link add gw-blue link br-blue address {mac} type macvlan mode bridge"),
            format!("-n {host} addr add {GATEWAY}/24 dev gw-blue"),
            format!("-n {host} link set gw-blue up"),
            format!("-n {guest} link set lo up"),
            format!("-n {guest} link set eth0 up"),
        ] {
            let mut ip = Command::new("ip");
            succeeds(ip.args(line.split(' ')));
        }
        succeeds(Command::new("bridge").args([
            "-n",
            host,
            "fdb",
            "add",
            &mac.to_string(),
            "dev",
            "br-blue",
            "self",
            "local",
            "permanent",
        ]));
        // Otherwise the bridge answers ARP for the gateway address, too, and renewals go past gw-blue.
        let quiet = "echo 1 > /proc/sys/net/ipv4/conf/br-blue/arp_ignore";
        succeeds(Command::new("ip").args(["netns", "exec", host, "sh", "-c", quiet]));
        site
    }

    fn guest(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.guest, program]).args(arguments);
        command
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn script(&self, name: &str, text: &str) -> String {
        let path = self.file(name, &format!("#!/bin/sh\n{text}\n"));
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        path.display().to_string()
    }

    fn wrote(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for namespace in [&self.host, &self.guest] {
            let _ = Command::new("ip").args(["netns", "del", namespace]).status();
        }
    }
}

fn succeeds(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {said}{}",
        String::from_utf8_lossy(&output.stdout)
    );
    output
}

/// Runs in a namespace on a thread of its own, inside a runtime.
fn inside<T: Send + 'static, F: Future<Output = T>>(
    namespace: &str,
    work: impl FnOnce() -> F + Send + 'static,
) -> std::thread::JoinHandle<T> {
    let path = Path::new("/run/netns").join(namespace);
    std::thread::spawn(move || {
        setns(fs::File::open(path).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(work())
    })
}

fn gw_blue() -> IfName {
    IfName::new("gw-blue").unwrap()
}

/// The table that stands for the leases: each MAC its own address, the first one .16.
#[derive(Default)]
struct Table {
    given: BTreeMap<Mac, Ipv4Addr>,
    asked: Vec<Request>,
}

impl Table {
    fn answer(&mut self, request: Request) -> Answer {
        let count = u32::try_from(self.given.len()).unwrap();
        let mut address_of = |mac| {
            let next = Ipv4Addr::from_bits(Ipv4Addr::new(192, 168, 124, 16).to_bits() + count);
            IpAddr::V4(*self.given.entry(mac).or_insert(next))
        };
        let hostname = Some("web".to_owned());
        let answer = match &request {
            Request::Find { client, .. } => Answer::Offer {
                address: address_of(*client),
                lease_time: LEASE_TIME,
                hostname,
            },
            Request::Bind { address, claim, .. } if *address == address_of(claim.client) => Answer::Ack {
                address: *address,
                lease_time: LEASE_TIME,
                hostname,
                copies: 1,
            },
            Request::Bind { .. } => Answer::Nak,
            Request::Release { .. }
            | Request::Revoke { .. }
            | Request::Decline { .. }
            | Request::Conflict { .. }
            | Request::Withdraw { .. } => Answer::Done,
        };
        self.asked.push(request);
        answer
    }
}

fn service() -> SegmentService {
    SegmentService {
        segment: BLUE,
        subnet: "192.168.0.0/16".parse().unwrap(),
        gateway: GATEWAY,
        router: Some(GATEWAY),
        mtu: 1400,
        dns: vec![Ipv4Addr::new(9, 9, 9, 9)],
        domain: Some("blue.internal".to_owned()),
        options: BTreeMap::new(),
        boot: NetworkBoot::default(),
        reserved_boot: BTreeMap::new(),
        lease_time: LEASE_TIME,
    }
}

/// The gateway's side, serving until stopped.
struct Gateway {
    stop: oneshot::Sender<()>,
    thread: std::thread::JoinHandle<Table>,
}

impl Gateway {
    fn start(site: &Site) -> Self {
        Self::start_with(site, service())
    }

    fn start_with(site: &Site, service: SegmentService) -> Self {
        let (stop, stopped) = oneshot::channel();
        Self {
            stop,
            thread: inside(&site.host, move || serve(service, stopped)),
        }
    }

    fn stop(self) -> Table {
        self.stop.send(()).unwrap();
        self.thread.join().unwrap()
    }
}

async fn serve(service: SegmentService, mut stopped: oneshot::Receiver<()>) -> Table {
    let mut table = Table::default();
    let mut server = Server::new();
    server.set_segment(service);
    let (sender, mut received) = mpsc::channel(256);
    let port = Port::open(BLUE, gw_blue(), sender);
    let now = Instant::from_millis(0);
    loop {
        let Received {
            segment,
            source,
            message,
        } = tokio::select! {
            received = received.recv() => received.unwrap(),
            _ = &mut stopped => return table,
        };
        server.handle_packet(
            segment,
            &Packet {
                bytes: message,
                source,
                guest_host: None,
            },
            now,
        );
        while let Some(effect) = server.poll_effect() {
            match effect {
                Effect::Ask { token, request } => server.handle_answer(token, table.answer(request), now),
                // No guest answers: what waits for that is offered when its time is over.
                Effect::AskGuests { .. } => server.handle_timeout(Instant::from_millis(20)),
                Effect::LookAhead { .. }
                | Effect::InUse { .. }
                | Effect::Disbelieved { .. }
                | Effect::Unserved { .. } => {}
                Effect::Reply {
                    destination_mac,
                    source,
                    destination,
                    bytes,
                    ..
                } => {
                    port.send(Reply {
                        destination_mac,
                        source,
                        destination,
                        message: bytes,
                    });
                }
            }
        }
    }
}

fn address_of_guest(site: &Site) -> String {
    let output = succeeds(
        site.guest("ip", &["-4", "-o", "addr", "show", "dev", "eth0"])
            .stdin(std::process::Stdio::null()),
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[ignore = "needs root: cargo netns"]
fn udhcpc_leases_renews_and_releases() {
    let site = Site::new();
    let gateway = Gateway::start(&site);
    let log = site.folder.path().join("env");
    let script = site.script(
        "script",
        &format!(
            "echo \"$1 $ip $router $dns $mtu $domain $hostname $serverid $lease\" >> {}\n\
             [ -n \"$ip\" ] && ip addr replace $ip/24 dev eth0",
            log.display()
        ),
    );
    for broadcast in [&["-B"][..], &[][..]] {
        let mut arguments = vec![
            "-i", "eth0", "-f", "-q", "-n", "-t", "10", "-T", "1", "-O", "mtu", "-s", &script,
        ];
        arguments.extend(broadcast);
        succeeds(&mut site.guest("udhcpc", &arguments));
    }
    let wrote = site.wrote("env");
    let bound = "bound 192.168.124.16 192.168.124.1 9.9.9.9 1400 blue.internal web 192.168.124.1 3600";
    assert_eq!(wrote.lines().filter(|line| *line == bound).count(), 2, "{wrote}");

    // Renewing by unicast, then releasing: SIGUSR1 and SIGUSR2 make udhcpc do so.
    let renew = format!(
        "udhcpc -i eth0 -f -n -t 10 -T 1 -O mtu -s {script} & client=$!; \
         for i in $(seq 100); do [ $(grep -c bound {env}) = 3 ] && break; sleep 0.05; done; \
         kill -USR1 $client; \
         for i in $(seq 100); do grep -q renew {env} && break; sleep 0.05; done; \
         before=$(grep -c deconfig {env}); kill -USR2 $client; \
         for i in $(seq 100); do [ $(grep -c deconfig {env}) -gt $before ] && break; sleep 0.05; done; \
         kill $client; wait",
        env = log.display()
    );
    site.guest("sh", &["-c", &renew]).output().unwrap();
    let table = gateway.stop();
    let wrote = site.wrote("env");
    assert!(wrote.contains("renew 192.168.124.16"), "{wrote}");
    let released = |request: &Request| matches!(request, Request::Release { address, .. } if address.to_string() == "192.168.124.16");
    assert!(table.asked.iter().any(released), "{:?}", table.asked);
}

#[test]
#[ignore = "needs root: cargo netns"]
fn udhcpc_understands_the_boot_file_and_each_option_that_was_configured() {
    let text = "\
segments:
  - name: blue
    vni: 10
    ipv4:
      subnet: 192.168.0.0/16
      dhcp:
        next_server: 192.168.124.5
        boot_file: { 0: undionly.kpxe, 7: ipxe.efi, ipxe: \"http://192.168.124.5/boot.ipxe\" }
        options:
          2: -3600
          33: [\"10.9.0.1 via 192.168.124.254\"]
          119: [blue.internal, example.com]
          121: [\"10.0.0.0/8 via 192.168.124.254\", \"0.0.0.0/0 via 192.168.124.1\"]
";
    let configured = config::segments(text, "test.yaml").unwrap().remove(0);
    let dhcp = configured.ipv4.unwrap().dhcp.unwrap();
    let site = Site::new();
    let gateway = Gateway::start_with(
        &site,
        SegmentService {
            options: dhcp
                .options
                .iter()
                .map(|(code, option)| (*code, option.bytes()))
                .collect(),
            boot: dhcp.boot,
            ..service()
        },
    );
    let log = site.folder.path().join("env");
    let script = site.script(
        "script",
        &format!(
            "echo \"$1|$siaddr|$boot_file|$tftp|$bootfile|$timezone|$routes|$search|$staticroutes\" >> {}",
            log.display()
        ),
    );
    let asks = "-i eth0 -f -q -n -t 10 -T 1 -O tftp -O bootfile -O timezone -O routes -O search -O staticroutes -x 0x5d:0007 -s";
    let mut arguments: Vec<&str> = asks.split(' ').collect();
    arguments.push(&script);
    succeeds(&mut site.guest("udhcpc", &arguments));
    gateway.stop();
    let wrote = site.wrote("env");
    // It shows a time offset without its sign.
    let told = "bound|192.168.124.5|ipxe.efi|192.168.124.5|ipxe.efi|4294963696|10.9.0.1/192.168.124.254|blue.internal example.com|\
                10.0.0.0/8 192.168.124.254 0.0.0.0/0 192.168.124.1";
    assert!(wrote.lines().any(|line| line == told), "{wrote}");
}

#[test]
#[ignore = "needs root: cargo netns"]
fn dhclient_gets_a_lease() {
    let site = Site::new();
    let gateway = Gateway::start(&site);
    let log = site.folder.path().join("env");
    let script = site.script(
        "script",
        &format!(
            "echo \"$reason $new_ip_address $new_routers $new_interface_mtu $new_domain_name\" >> {}",
            log.display()
        ),
    );
    let lease = site.file("leases", "").display().to_string();
    let pid = site.folder.path().join("pid").display().to_string();
    let line = format!(
        "dhclient -4 -1 -d -sf {script} -lf {lease} -pf {pid} eth0 & client=$!; \
         for i in $(seq 100); do grep -q BOUND {env} && break; sleep 0.1; done; kill $client; wait $client; true",
        env = log.display()
    );
    succeeds(&mut site.guest("sh", &["-c", &line]));
    gateway.stop();
    let wrote = site.wrote("env");
    assert!(
        wrote.contains("BOUND 192.168.124.16 192.168.124.1 1400 blue.internal"),
        "{wrote}"
    );
}

#[test]
#[ignore = "needs root: cargo netns"]
fn dhcpcd_gets_a_lease() {
    let site = Site::new();
    let gateway = Gateway::start(&site);
    let configuration = site.file(
        "dhcpcd.conf",
        "duid\noption interface_mtu, routers, domain_name\nnoarp\nscript /bin/true\n",
    );
    // Its state must not end up in the machine's own folders.
    let line = format!(
        "mkdir -p /var/lib/dhcpcd /run/dhcpcd && mount -t tmpfs none /var/lib/dhcpcd && mount -t tmpfs none /run/dhcpcd && \
         dhcpcd --oneshot --nobackground --ipv4only --waitip=4 --persistent --timeout 10 --config {} eth0",
        configuration.display()
    );
    succeeds(&mut site.guest("sh", &["-c", &line]));
    gateway.stop();
    assert!(
        address_of_guest(&site).contains("192.168.124.16/16"),
        "{}",
        address_of_guest(&site)
    );
    let route = succeeds(&mut site.guest("ip", &["-4", "route", "show", "default"]));
    let route = String::from_utf8(route.stdout).unwrap();
    assert!(
        route.contains("via 192.168.124.1") && route.contains("mtu 1400"),
        "{route}"
    );
}

#[test]
#[ignore = "needs root: cargo netns"]
fn systemd_networkd_gets_a_lease_and_the_mtu_where_it_is_told_to_take_it() {
    let site = Site::new();
    let gateway = Gateway::start(&site);
    let network = site.file(
        "eth0.network",
        "[Match]\nName=eth0\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n[DHCPv4]\nUseMTU=yes\n",
    );
    let file = network.display();
    // With /sys read-only it waits for no udev; folders of its own keep the machine's networkd out of it.
    let line = format!(
        "mount -t tmpfs -o mode=755 none /run/systemd && mkdir -p /run/systemd/network && cp {file} /run/systemd/network/ && \
         chmod 644 /run/systemd/network/* && install -d -o systemd-network -g systemd-network /run/systemd/netif && \
         install -d -o systemd-network -g systemd-network /run/systemd/netif/links /run/systemd/netif/leases && \
         mount -o remount,ro /sys && {{ /lib/systemd/systemd-networkd & client=$!; }} && \
         for i in $(seq 100); do ip -4 addr show dev eth0 | grep -q inet && break; sleep 0.1; done; \
         ip addr show dev eth0; kill $client; wait $client; true"
    );
    let said = site
        .guest("sh", &["-c", &line])
        .env_remove("NOTIFY_SOCKET")
        .output()
        .unwrap();
    gateway.stop();
    let shown = String::from_utf8_lossy(&said.stdout);
    let complaint = String::from_utf8_lossy(&said.stderr);
    assert!(
        shown.contains("192.168.124.16/16") && shown.contains("mtu 1400"),
        "{shown}{complaint}"
    );
}

#[test]
#[ignore = "needs root: cargo netns"]
fn a_thousand_clients_get_a_lease_each_and_keep_it() {
    let site = Site::new();
    let gateway = Gateway::start(&site);
    let load = Load {
        interface: "eth0".to_owned(),
        tag: None,
        clients: Client::fresh(1, 1000),
        spacing: Duration::ZERO,
        at_once: 32,
        retry: Duration::from_millis(250),
        patience: Duration::from_secs(20),
    };
    let (first, second) = inside(&site.guest, move || async move {
        let first = run(&load).unwrap();
        let again = Load {
            clients: first.rebooting(),
            ..load
        };
        (first, run(&again).unwrap())
    })
    .join()
    .unwrap();
    gateway.stop();
    assert_eq!((first.failed(), second.failed()), (0, 0));
    assert_eq!(first.duplicates(), BTreeMap::new());
    let addresses =
        |report: &overlayd_tests::dhcp_load::Report| report.exchanges.iter().map(|one| one.address).collect::<Vec<_>>();
    assert_eq!(addresses(&first), addresses(&second));
}

#[test]
#[ignore = "needs root: cargo netns"]
fn a_guest_in_a_vlan_is_not_answered_and_a_priority_tag_is_no_vlan() {
    let site = Site::new();
    let gateway = Gateway::start(&site);
    let failed_in = |tag: Option<u16>, seed: u8| {
        let load = Load {
            interface: "eth0".to_owned(),
            tag,
            clients: Client::fresh(seed, 1),
            spacing: Duration::ZERO,
            at_once: 1,
            retry: Duration::from_millis(50),
            patience: Duration::from_secs(1),
        };
        inside(&site.guest, move || async move { run(&load).unwrap().failed() })
            .join()
            .unwrap()
    };
    let (priority, vlan) = (Some(0x6000), Some(5));
    assert_eq!(failed_in(None, 1), 0);
    assert_eq!(failed_in(priority, 2), 0);
    assert_eq!(failed_in(vlan, 3), 1);
    assert_eq!(gateway.stop().given.len(), 2, "nobody was asked for the third");
}

#[test]
#[ignore = "needs root: cargo netns"]
fn the_dhcp_socket_comes_back_with_its_interface() {
    let site = Site::new();
    let gateway = Gateway::start(&site);
    let one = |site: &Site, seed: u8| {
        let load = Load {
            interface: "eth0".to_owned(),
            tag: None,
            clients: Client::fresh(seed, 1),
            spacing: Duration::ZERO,
            at_once: 1,
            retry: Duration::from_millis(50),
            patience: Duration::from_secs(5),
        };
        inside(&site.guest, move || async move { run(&load).unwrap().failed() })
            .join()
            .unwrap()
    };
    assert_eq!(one(&site, 1), 0);
    let ip = |line: String| succeeds(Command::new("ip").args(line.split(' ')));
    ip(format!("-n {} link del gw-blue", site.host));
    ip(format!(
        "-n {} link add gw-blue link br-blue address {VIRTUAL_MAC} type macvlan mode bridge",
        site.host
    ));
    ip(format!("-n {} link set gw-blue up", site.host));
    ip(format!("-n {} addr add {GATEWAY}/24 dev gw-blue", site.host));
    assert_eq!(one(&site, 2), 0);
    gateway.stop();
}

#[test]
#[ignore = "needs root: cargo netns"]
fn gratuitous_arp_moves_the_guests_neighbour_entry_until_cancelled() {
    let site = Site::new();
    for line in [
        format!("-n {} addr add 192.168.124.16/24 dev eth0", site.guest),
        format!(
            "-n {} neigh replace {GATEWAY} lladdr 02:00:00:00:00:99 nud stale dev eth0",
            site.guest
        ),
    ] {
        succeeds(Command::new("ip").args(line.split(' ')));
    }
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = inside(&site.host, move || async move {
        let mut announcer = Announcer::new();
        announcer.announce(BLUE, gw_blue(), VIRTUAL_MAC, GATEWAY);
        let _ = stopped.await;
        announcer.cancel(BLUE);
    });
    let shown = || {
        let output = succeeds(Command::new("ip").args(["-n", &site.guest, "neigh", "show", "dev", "eth0"]));
        String::from_utf8(output.stdout).unwrap()
    };
    let moved = (0..60).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        shown().contains(&VIRTUAL_MAC.to_string())
    });
    stop.send(()).unwrap();
    thread.join().unwrap();
    assert!(moved, "{}", shown());
}

#[test]
#[ignore = "needs root: cargo netns"]
fn echo_probes_tell_a_live_kernel_from_a_silent_one() {
    let site = Site::new();
    for line in [
        format!("-n {} addr add 192.168.124.16/24 dev eth0", site.guest),
        format!("-n {} addr add fd10::16/64 dev eth0 nodad", site.guest),
        format!("-n {} addr add fd10::1/64 dev gw-blue nodad", site.host),
    ] {
        succeeds(Command::new("ip").args(line.split(' ')));
    }
    let outcomes = inside(&site.host, || async {
        let (sender, mut outcomes) = mpsc::channel(16);
        let sources = Sources {
            v4: Some(GATEWAY),
            v6: Some("fd10::1".parse().unwrap()),
        };
        let prober = Prober::open(sources, sender).unwrap();
        let asked: [(u64, &str); 6] = [
            (1, "192.168.124.16"),
            (2, "fd10::16"),
            (3, "192.168.124.77"),
            (4, "fd10::77"),
            (5, "203.0.113.1"),
            (1, "192.168.124.16"),
        ];
        let mut ended: Vec<Ended> = Vec::new();
        for (host, address) in asked {
            prober.probe(HostId(host), host, address.parse().unwrap());
        }
        for _ in asked {
            let outcome = tokio::time::timeout(Duration::from_secs(5), outcomes.recv())
                .await
                .unwrap()
                .unwrap();
            ended.push(outcome);
        }
        ended
    })
    .join()
    .unwrap();
    let of = |host| {
        outcomes
            .iter()
            .filter(|one| one.host == HostId(host))
            .map(|one| one.outcome)
            .collect::<Vec<_>>()
    };
    assert_eq!(of(1), [Outcome::Answered; 2]);
    assert_eq!(of(2), [Outcome::Answered]);
    for silent in [3, 4, 5] {
        assert_eq!(of(silent), [Outcome::Unanswered]);
    }
}
