//! Guests: a lease from any client, each other, the outside; and what they must not do.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, Result};
use overlayd_tests::client::Client;
use overlayd_tests::namespace::Namespace;
use overlayd_tests::wait::until;
use overlayd_tests::wiring::SERVER;
use overlayd_tests::world::{BLUE, tell};
use overlayd_tests::{Guest, Host, Plan, World};

const SOON: Duration = Duration::from_secs(10);

/// The agent has seen the guest's port, and its rules name it.
pub(crate) fn knows_port(host: &Host, guest: &Guest) -> Result<()> {
    until("the port is known", SOON, || names_port(host, guest))?;
    Ok(())
}

/// Whether its rules name the guest's port; `nft` quotes it where it is the only one.
pub(crate) fn names_port(host: &Host, guest: &Guest) -> Result<bool> {
    let rules = host.namespace().sh("nft list table netdev overlayd")?;
    let mut words = rules.split(|letter: char| !letter.is_alphanumeric());
    Ok(words.any(|word| word == guest.port()))
}

pub(crate) fn with_a_guest_on_each_host(story: impl FnOnce(&World, &[Guest]) -> Result<()>) {
    tell(&Plan::default(), |world| {
        world.form()?;
        world.apply("hv1", BLUE)?;
        world.gateway("blue", SOON)?;
        let guests = world
            .hosts()
            .iter()
            .map(|host| world.guest(host.name(), "br-blue"))
            .collect::<Result<Vec<_>>>()?;
        story(world, &guests)
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn guests_lease_ping_each_other_and_reach_the_outside_behind_nat() {
    with_a_guest_on_each_host(|world, guests| {
        let mut addresses = BTreeSet::new();
        for guest in guests {
            let has = guest.dhcp()?;
            let lease = guest.lease()?;
            assert_eq!(has.prefix, 24);
            assert_eq!(has.router.as_deref(), Some("192.168.124.1"));
            assert_eq!((has.mtu, lease["mtu"].as_str()), (1450, "1450"));
            assert_eq!(lease["server"], "192.168.124.1");
            assert_eq!(lease["domain"], "blue.internal");
            assert_eq!(lease["dns"], "203.0.113.1");
            assert_eq!(lease["lease"], "3600");
            assert!(addresses.insert(has.address), "each has its own");
        }
        for from in guests {
            for to in &addresses {
                from.ping(to)?;
                from.ping_whole(to, 1450)?;
            }
        }
        let gateway = world.host(&world.gateway("blue", SOON)?).address();
        for guest in guests {
            guest.ping("192.168.124.1")?;
            guest.ping(SERVER)?;
            assert_eq!(guest.address_outside()?, gateway, "the server sees the gateway host");
        }
        // Every host knows all leases.
        for host in world.hosts() {
            until("it lists all", SOON, || {
                let rows = host.list(&["lease", "list"])?;
                let listed: BTreeSet<IpAddr> = rows
                    .iter()
                    .filter_map(|row| row["address"].as_str()?.parse().ok())
                    .collect();
                Ok(listed == addresses)
            })?;
        }
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn the_first_keeper_of_a_lease_is_the_guests_own_host() {
    with_a_guest_on_each_host(|world, guests| {
        let gateway = world.gateway("blue", SOON)?;
        let server = world.host(&gateway);
        let far = world
            .hosts()
            .iter()
            .zip(guests)
            .filter(|(host, _)| host.name() != gateway);
        for (host, guest) in far {
            let address = guest.dhcp()?.address.to_string();
            let rows = server.list(&["lease", "list"])?;
            let row = rows.iter().find(|row| row["address"] == address);
            let row = row.with_context(|| format!("{rows:?}"))?;
            // Its bridge alone knows yet where the guest is.
            assert_eq!(
                (&row["keeper"], &row["copies"]),
                (&host.name().into(), &2.into()),
                "{row}"
            );
        }
        Ok(())
    });
}

fn check_client(client: Client) {
    with_a_guest_on_each_host(|_, guests| {
        for guest in guests {
            let has = guest.dhcp_by(client)?;
            assert_eq!(has.prefix, 24, "{client:?}");
            assert_eq!(has.router.as_deref(), Some("192.168.124.1"), "{client:?}");
            until("it uses the MTU that it was told", SOON, || match client {
                // It keeps the interface's and gives the routes the smaller one.
                Client::Dhcpcd => Ok(guest.namespace().ip("route show default")?.contains("mtu 1450")),
                Client::Udhcpc | Client::Dhclient | Client::Networkd | Client::NetworkManager => {
                    Ok(guest.configured()?.mtu == 1450)
                }
            })?;
            guest.ping(SERVER)?;
        }
        guests[0].ping_whole(guests[2].configured()?.address, 1450)
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn dhclient_gets_a_lease_on_every_host() {
    check_client(Client::Dhclient);
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn dhcpcd_gets_a_lease_on_every_host() {
    check_client(Client::Dhcpcd);
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn systemd_networkd_gets_a_lease_on_every_host() {
    check_client(Client::Networkd);
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn networkmanager_gets_a_lease_on_every_host() {
    check_client(Client::NetworkManager);
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn networkmanager_takes_the_dns_renews_by_itself_and_goes_on_after_a_failover() {
    tell(&Plan::default(), |world| {
        world.form()?;
        let lease = 20;
        world.apply(
            "hv1",
            &BLUE.replace("dhcp: {", &format!("dhcp: {{ lease_time: {lease}s,")),
        )?;
        let gateway = world.gateway("blue", SOON)?;
        let standby = world.hosts().iter().find(|host| host.name() != gateway);
        let guest = world.guest(standby.context("there are three")?.name(), "br-blue")?;
        let had = guest.dhcp_by(Client::NetworkManager)?;
        until("it has the name server", SOON, || {
            let said = guest.resolv_conf()?;
            Ok(said.contains("nameserver 203.0.113.1") && said.contains("search blue.internal"))
        })?;
        // Half of the lease goes by, then the other half begins anew: without an answer it would run out.
        let renews = |when: &str| {
            let half = Duration::from_secs(lease);
            until(&format!("it waits {when}"), half, || {
                Ok(guest.lifetime()? <= lease / 2 + 1)
            })?;
            until(&format!("it renews {when}"), SOON, || {
                Ok(guest.lifetime()? > lease / 2 + 2)
            })?;
            assert_eq!(guest.configured()?, had, "{when}");
            guest.ping(SERVER)
        };
        renews("at the gateway that gave it")?;
        world.switch.unplug(&gateway)?;
        world.host(&gateway).kill_agent();
        until("it moved", SOON, || Ok(world.gateway("blue", SOON)? != gateway))?;
        renews("at the one that took over")
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_guest_that_is_not_told_the_mtu_is_told_by_the_kernel() {
    with_a_guest_on_each_host(|_, guests| {
        let [one, other, ..] = guests else {
            unreachable!("three guests")
        };
        one.by_hand(21)?;
        let address = other.by_hand(22)?;
        one.ping(address)?;
        for guest in [one, other] {
            guest.namespace().ip("link set eth0 mtu 1500")?;
        }
        // Too large for the way: the answer is "fragmentation needed", and then the kernel knows.
        assert!(one.ping_whole(address, 1500).is_err());
        let route = one.namespace().ip(&format!("route get {address}"))?;
        assert!(route.contains("mtu 1450"), "{route}");
        // And so TCP gets through, whatever its first segments' size.
        let listener = other.namespace().within(|| Ok(TcpListener::bind((address, 9000))?))?;
        let sink = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept()?;
            std::io::copy(&mut stream, &mut std::io::sink())
        });
        one.namespace().within(|| {
            let mut stream = TcpStream::connect((address, 9000))?;
            stream.set_write_timeout(Some(SOON))?;
            std::io::Write::write_all(&mut stream, &vec![7; 2_000_000])?;
            Ok(())
        })?;
        let arrived = sink.join().map_err(|_| anyhow::anyhow!("the sink panicked"))??;
        assert_eq!(arrived, 2_000_000);
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_guest_port_is_raised_to_the_bridges_mtu_and_never_lowered() {
    with_a_guest_on_each_host(|world, guests| {
        let guest = &guests[0];
        let host = world.host(guest.host());
        let bridge = host.mtu_of("br-blue")?;
        host.namespace().ip(&format!("link set {} mtu 1400", guest.port()))?;
        until("raised", SOON, || Ok(host.mtu_of(guest.port())? == bridge))?;
        host.namespace().ip(&format!("link set {} mtu 9000", guest.port()))?;
        overlayd_tests::wait::throughout("not lowered", Duration::from_secs(1), || {
            assert_eq!(host.mtu_of(guest.port())?, 9000);
            Ok(())
        })
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_lease_that_is_given_back_is_listed_no_more() {
    with_a_guest_on_each_host(|world, guests| {
        let guest = &guests[1];
        let address = guest.dhcp()?.address.to_string();
        let listed = |host: &overlayd_tests::Host| {
            let rows = host.list(&["lease", "list", "blue"])?;
            Ok(rows
                .iter()
                .any(|row| row["address"] == address.as_str() && row["mac"] == guest.mac()))
        };
        for host in world.hosts() {
            until("listed", SOON, || listed(host))?;
        }
        // A release is said once: it must not wait for the gateway's MAC.
        guest.ping("192.168.124.1")?;
        guest.give_back()?;
        let gone = |host| {
            until("listed no more", Duration::from_secs(5), || {
                listed(host).map(|listed| !listed)
            })
        };
        // A release that meets a hand-over of its range is lost, and guests do not repeat it: the next one must do.
        if world.hosts().iter().any(|host| gone(host).is_err()) {
            assert_eq!(guest.dhcp()?.address.to_string(), address);
            guest.give_back()?;
        }
        for host in world.hosts() {
            gone(host)?;
        }
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_rogue_dhcp_server_on_a_guest_port_is_not_heard() {
    with_a_guest_on_each_host(|world, guests| {
        let [rogue, other, ..] = guests else {
            unreachable!("three guests")
        };
        rogue.by_hand(21)?;
        other.by_hand(22)?;
        knows_port(world.host(rogue.host()), rogue)?;
        let listener = other
            .namespace()
            .command("timeout")
            .args([
                "3",
                "tcpdump",
                "-n",
                "-l",
                "-i",
                "eth0",
                "-c",
                "1",
                "udp src port 67 or udp port 5555",
            ])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()?;
        // From port 67 it is dropped; the same from another port arrives, and ends the wait.
        let send = |port: u16, count: u32| {
            rogue.namespace().within(move || {
                let socket = std::net::UdpSocket::bind(("0.0.0.0", port))?;
                socket.set_broadcast(true)?;
                for _ in 0..count {
                    socket.send_to(b"offer", ("192.168.124.255", 5555))?;
                    std::thread::sleep(Duration::from_millis(50));
                }
                Ok(())
            })
        };
        std::thread::sleep(Duration::from_millis(300));
        send(67, 5)?;
        send(4444, 5)?;
        let output = listener.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains(".4444 >"), "{text}");
        assert!(!text.contains(".67 >"), "{text}");
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn guests_reach_no_hosts_services_but_dhcp_and_echo() {
    with_a_guest_on_each_host(|world, guests| {
        let gateway = world.gateway("blue", SOON)?;
        let host = world.host(&gateway);
        let listener = host.namespace().within(|| Ok(TcpListener::bind("0.0.0.0:2222")?))?;
        for guest in guests {
            guest.dhcp()?;
            guest.ping("192.168.124.1")?;
            for (service, what) in [
                ("192.168.124.1:2222", "its services"),
                ("192.168.124.1:7480", "its agent"),
            ] {
                let connected = guest
                    .namespace()
                    .within(|| Ok(TcpStream::connect_timeout(&service.parse()?, Duration::from_secs(1)).is_ok()))?;
                assert!(!connected, "{} reaches {what} at {service}", guest.name());
            }
            // No member's VXLAN or cluster port either, by whatever address.
            let member = format!("{}:7480", world.host("hv2").address());
            let connected = guest
                .namespace()
                .within(|| Ok(TcpStream::connect_timeout(&member.parse()?, Duration::from_secs(1)).is_ok()))?;
            assert!(!connected, "{} reaches {member}", guest.name());
        }
        drop(listener);
        // A VNI that nobody has tells what guests send from the hosts' own VXLAN.
        let count = "table inet heard { chain heard { type filter hook prerouting priority raw - 5; \
                     udp dport 4789 @th,96,24 0xabcdef counter; }; }";
        let seen = |namespace: &Namespace| {
            let rules = namespace.sh("nft list table inet heard")?;
            Ok(!rules.contains("packets 0 "))
        };
        let members = world.hosts().iter().filter(|host| host.name() != gateway);
        let outside = (world.internet.namespace(), IpAddr::V4(SERVER));
        let targets: Vec<(&Namespace, IpAddr)> = members
            .map(|host| (host.namespace(), host.address()))
            .chain([outside])
            .collect();
        for (namespace, address) in &targets {
            namespace.nft(count)?;
            for guest in guests {
                guest.namespace().within(|| {
                    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
                    let vxlan = [[8, 0, 0, 0, 0xab, 0xcd, 0xef, 0].as_slice(), &[0; 60]].concat();
                    socket.send_to(&vxlan, (*address, 4789))?;
                    Ok(())
                })?;
            }
        }
        // Sent last, and by the same way.
        until("what goes outside arrives", SOON, || seen(world.internet.namespace()))?;
        for (namespace, address) in targets.iter().filter(|(_, address)| *address != SERVER) {
            assert!(!seen(namespace)?, "guests' VXLAN reaches {address}");
        }
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn isolated_guests_have_addresses_and_each_other_and_nothing_else() {
    tell(&Plan::default(), |world| {
        world.form()?;
        world.apply("hv1", &BLUE.replace("vni: 10", "vni: 10\n    mode: isolated"))?;
        world.gateway("blue", SOON)?;
        let [one, other] = [world.guest("hv1", "br-blue")?, world.guest("hv2", "br-blue")?];
        for guest in [&one, &other] {
            let has = guest.dhcp()?;
            assert_eq!(has.router, None, "no router is told");
        }
        one.ping(other.configured()?.address)?;
        one.namespace().ip("route add default via 192.168.124.1")?;
        let out = one.ping_once(&SERVER.to_string())?;
        assert!(!out.status.success(), "not even with a route of its own");
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn routed_guests_keep_their_address_outside() {
    tell(&Plan::default(), |world| {
        world.form()?;
        world.apply("hv1", &BLUE.replace("vni: 10", "vni: 10\n    mode: routed"))?;
        let gateway = world.gateway("blue", SOON)?;
        let guest = world.guest("hv1", "br-blue")?;
        let address = guest.dhcp()?.address;
        let way = format!("route add 192.168.124.0/24 via {}", world.host(&gateway).address());
        world.internet.namespace().ip(&way)?;
        assert_eq!(guest.address_outside()?, address);
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn published_ports_lead_to_the_guest() {
    tell(&Plan::default(), |world| {
        world.form()?;
        let segment = BLUE.replace(
            "vni: 10",
            "vni: 10\n    ports: [ { protocol: tcp, listen: 8080, to: \"192.168.124.21:80\" } ]",
        );
        world.apply("hv1", &segment)?;
        let gateway = world.gateway("blue", SOON)?;
        let guest = world.guest("hv2", "br-blue")?;
        guest.by_hand(21)?;
        guest.ping("192.168.124.1")?;
        let listener = guest.namespace().within(|| Ok(TcpListener::bind("0.0.0.0:80")?))?;
        let accepted = std::thread::spawn(move || listener.accept().map(|(_, from)| from.ip()));
        let at = std::net::SocketAddr::new(world.host(&gateway).address(), 8080);
        world
            .internet
            .namespace()
            .within(|| TcpStream::connect_timeout(&at, SOON).context("no way in"))?;
        let from = accepted
            .join()
            .map_err(|_| anyhow::anyhow!("the listener panicked"))??;
        assert_eq!(from, IpAddr::from([172, 31, 0, 1]), "the guest sees who calls");
        Ok(())
    });
}
