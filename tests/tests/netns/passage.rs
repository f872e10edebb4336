//! Guests that do nothing wrong get through: what they may fragment, whom they may ask, what they do for each other.

use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, Result};
use overlayd_tests::wait::until;
use overlayd_tests::wiring::SERVER;
use overlayd_tests::world::{BLUE, Underlay, tell};
use overlayd_tests::{Guest, Host, Plan, World};
use serde_json::json;

use crate::guests::knows_port;

const SOON: Duration = Duration::from_secs(10);

const TWO: Plan = Plan {
    hosts: 2,
    underlay: Underlay::V4,
};

/// Four pings of `size` bytes, headers included; how many were answered, and what was said.
fn pings(from: &Guest, to: impl ToString, fragments: &str, size: usize) -> Result<(usize, String)> {
    let to: IpAddr = to.to_string().parse()?;
    let headers = if to.is_ipv4() { 28 } else { 48 };
    let line = format!(
        "ping -n -M {fragments} -s {} -c 4 -i 0.2 -W 1 {to} 2>&1 || :",
        size - headers
    );
    let said = from.namespace().sh(&line)?;
    Ok((said.matches(" bytes from ").count(), said))
}

/// Two guests that were not told the MTU, on two hosts; the first is not on the gateway's.
fn untold_guests(world: &World) -> Result<[Guest; 2]> {
    world.form()?;
    world.apply("hv1", BLUE)?;
    let gateway = world.gateway("blue", SOON)?;
    let mut hosts: Vec<&str> = world.hosts().iter().map(Host::name).collect();
    hosts.sort_by_key(|host| *host == gateway);
    let [far, near] = [world.guest(hosts[0], "br-blue")?, world.guest(hosts[1], "br-blue")?];
    for (guest, last) in [(&far, 21), (&near, 22)] {
        guest.by_hand(last)?;
        let untold = format!("ip link set eth0 mtu 1500; ip addr add fd10::{last}/64 dev eth0 nodad");
        guest.namespace().sh(&untold)?;
        knows_port(world.host(guest.host()), guest)?;
    }
    far.ping("192.168.124.22")?;
    Ok([far, near])
}

/// What must not be fragmented, and IPv6, is answered with the size that fits.
fn are_told(guest: &Guest, carried: usize) -> Result<()> {
    let (answered, said) = pings(guest, "192.168.124.22", "do", 1500)?;
    assert_eq!(answered, 0, "{said}");
    assert!(said.contains(&format!("mtu = {carried}")), "{said}");
    // Once on the way there, once on the way back; from then on each end fragments by itself.
    let (answered, said) = pings(guest, "fd10::22", "dont", 1500)?;
    assert!(answered >= 2 && said.contains(&format!("mtu={carried}")), "{said}");
    Ok(())
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn what_may_be_fragmented_arrives_from_a_guest_that_was_not_told_the_mtu() {
    tell(&TWO, |world| {
        let [far, near] = untold_guests(world)?;
        let server = SERVER.to_string();
        let ways = [
            (&far, "192.168.124.22"),
            (&near, "192.168.124.21"),
            (&far, "192.168.124.1"),
            (&near, "192.168.124.1"),
            (&far, &*server),
            (&near, &*server),
        ];
        for (from, to) in ways {
            let (answered, said) = pings(from, to, "dont", 1500)?;
            assert_eq!(answered, 4, "{} to {to}: {said}", from.name());
        }
        // UDP, as an application sends it that asks for nothing special.
        let receiver = near
            .namespace()
            .within(|| Ok(UdpSocket::bind("192.168.124.22:5000")?))?;
        receiver.set_read_timeout(Some(SOON))?;
        far.namespace().within(|| {
            let socket = UdpSocket::bind("192.168.124.21:0")?;
            socket.send_to(&[7; 4000], "192.168.124.22:5000")?;
            Ok(())
        })?;
        let mut heard = [0; 5000];
        let length = receiver.recv(&mut heard).context("the datagram arrives")?;
        assert_eq!(length, 4000);
        are_told(&far, 1450)
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn over_an_ipv6_underlay_a_guest_that_was_not_told_the_mtu_is_told_by_its_host() {
    let v6 = Plan {
        underlay: Underlay::V6,
        ..TWO
    };
    tell(&v6, |world| {
        let [far, near] = untold_guests(world)?;
        // Also what might be fragmented: each end learns it by a first packet that is lost.
        for (from, to) in [
            (&far, "192.168.124.22"),
            (&far, "192.168.124.1"),
            (&near, &*SERVER.to_string()),
        ] {
            let (answered, said) = pings(from, to, "dont", 1500)?;
            assert!(answered >= 2, "{} to {to}: {said}", from.name());
        }
        // What it has learned since is forgotten.
        far.namespace().sh("ip route flush cache")?;
        are_told(&far, 1430)
    });
}

/// The agent of a host sees these files in place of the machine's.
fn start_with_resolvers(host: &Host, stub: &str) -> Result<()> {
    let folder = host.folder();
    std::fs::create_dir_all(folder.join("systemd/resolve"))?;
    std::fs::write(folder.join("resolv.conf"), stub)?;
    host.configure(&json!({}))?;
    let mounts = format!(
        "mount --bind {0}/resolv.conf /etc/resolv.conf; mkdir -p /run/systemd; mount --bind {0}/systemd /run/systemd; exec \"$@\"",
        folder.display()
    );
    host.launch_agent_by(&["sh", "-ec", &mounts, "sh"])
}

fn lacks_a_resolver(host: &Host) -> Result<bool> {
    let problems = host.json(&["status"])?["problems"].to_string();
    Ok(problems.contains("no resolver that guests can reach"))
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn behind_a_stub_resolver_guests_are_told_the_servers_that_it_asks_and_that_there_are_none_is_named() {
    tell(&Plan { hosts: 1, ..TWO }, |world| {
        let host = world.host("hv1");
        start_with_resolvers(host, "# stub\nnameserver 127.0.0.53\noptions edns0 trust-ad\n")?;
        world.all_know_each_other(SOON)?;
        world.apply("hv1", &BLUE.replace(", upstream: [ 203.0.113.1 ]", ""))?;
        world.gateway("blue", SOON)?;
        until("that there is none is named", SOON, || lacks_a_resolver(host))?;
        let guest = world.guest("hv1", "br-blue")?;
        guest.dhcp()?;
        assert_eq!(guest.lease()?["dns"], "");
        // Replaced whole, as systemd-resolved does it.
        let behind = |text: &str| -> Result<()> {
            let folder = host.folder().join("systemd/resolve");
            std::fs::write(folder.join("new"), text)?;
            Ok(std::fs::rename(folder.join("new"), folder.join("resolv.conf"))?)
        };
        for (text, told) in [
            ("nameserver 203.0.113.1\nnameserver 2001:db8::1\n", "203.0.113.1"),
            (
                "nameserver 203.0.113.2\nnameserver 203.0.113.3\n",
                "203.0.113.2 203.0.113.3",
            ),
        ] {
            behind(text)?;
            until("guests are told", SOON, || Ok(guest.renew()?["dns"] == told))?;
            assert!(!lacks_a_resolver(host)?);
        }
        behind("nameserver 127.0.0.1\n")?;
        until("that there is none is named", SOON, || lacks_a_resolver(host)).map(|_| ())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn where_a_segment_has_no_dhcp_and_no_router_of_its_own_a_guests_are_heard() {
    tell(&TWO, |world| {
        world.form()?;
        // Without `dhcp` and `ipv6`.
        let (without, _) = BLUE.split_once("      dhcp:").context("it has a line for that")?;
        world.apply("hv1", without)?;
        let [server, client] = [world.guest("hv1", "br-blue")?, world.guest("hv2", "br-blue")?];
        server.by_hand(2)?;
        let mut dnsmasq = server.namespace().command("dnsmasq");
        dnsmasq.args([
            "--no-daemon",
            "--conf-file=/dev/null",
            "--port=0",
            "--interface=eth0",
            "--dhcp-range=192.168.124.100,192.168.124.150,1h",
            "--dhcp-option=option:router,192.168.124.1",
            "--dhcp-range=fd10::,ra-only,64",
            "--enable-ra",
        ]);
        dnsmasq.arg(format!("--dhcp-leasefile={}", world.folder().join("leases").display()));
        server.namespace().ip("addr add fd10::2/64 dev eth0 nodad")?;
        let _dnsmasq = world.launch(&mut dnsmasq, "dnsmasq")?;
        let leased = client.dhcp()?.address;
        let IpAddr::V4(address) = leased else {
            unreachable!("IPv4")
        };
        assert!((100..=150).contains(&address.octets()[3]), "{address}");
        until(
            "it has an address by router advertisement",
            Duration::from_secs(20),
            || Ok(client.namespace().ip("-6 addr show dev eth0")?.contains("fd10:")),
        )?;
        Ok(())
    });
}
