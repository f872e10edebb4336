//! What somebody else on the host asks of the kernel's netfilter: bridge netfilter as Docker, connection tracking as libvirt.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;
use overlayd_tests::wait::until;
use overlayd_tests::wiring::SERVER;
use overlayd_tests::world::{BLUE, tell};
use overlayd_tests::{Host, Plan};
use serde_json::{Value, json};

use crate::gateway::serving;

const SOON: Duration = Duration::from_secs(10);

const CALLS: &str = "net.bridge.bridge-nf-call-iptables net.bridge.bridge-nf-call-ip6tables \
                     net.bridge.bridge-nf-call-arptables";

/// Docker's bridge, and what Docker sets.
fn docker(host: &Host) -> Result<()> {
    let on: String = CALLS.split_whitespace().map(|call| format!("{call}=1 ")).collect();
    host.namespace()
        .sh(&format!("ip link add docker0 type bridge; sysctl -qw {on}"))?;
    Ok(())
}

/// Of the host itself: `status` shows what others have found, too.
fn is_named(host: &Host) -> Result<bool> {
    let status = host.json(&["status"])?;
    let mut own = own_problems(host, &status);
    Ok(own.any(|problem| problem.to_string().contains("bridge netfilter is on")))
}

fn own_problems<'a>(host: &'a Host, status: &'a Value) -> impl Iterator<Item = &'a Value> {
    let all = status["problems"].as_array().into_iter().flatten();
    all.filter(|problem| problem["host"] == host.name())
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn with_bridge_netfilter_left_on_guests_reach_the_outside_and_are_reached_and_it_is_named() {
    tell(
        &Plan {
            hosts: 2,
            ..Plan::default()
        },
        |world| {
            for host in world.hosts() {
                docker(host)?;
            }
            world.form()?;
            world.apply("hv1", BLUE)?;
            let first = world.gateway("blue", SOON)?;
            let guests = [world.guest("hv1", "br-blue")?, world.guest("hv2", "br-blue")?];
            let leases = [guests[0].dhcp()?, guests[1].dhcp()?];
            let listen = |i: usize| {
                guests[i]
                    .namespace()
                    .within(|| Ok(TcpListener::bind((Ipv4Addr::UNSPECIFIED, 80))?))
            };
            for (i, _) in guests.iter().enumerate() {
                let listener = listen(i)?;
                std::thread::spawn(move || {
                    for caller in listener.incoming().flatten() {
                        // A caller that went away wants no answer.
                        let _ = writeln!(&caller, "{i}");
                    }
                });
            }
            world.apply(
            "hv1",
            &format!(
                "{BLUE}    ports: [ {{ protocol: tcp, listen: 8080, to: \"{}:80\" }}, {{ protocol: tcp, listen: 8081, to: \"{}:80\" }} ]\n",
                leases[0].address, leases[1].address
            ),
        )?;
            let second = world.hosts().iter().map(Host::name).find(|name| *name != first);
            for gateway in [first.as_str(), second.context("there are two hosts")?] {
                if gateway != first {
                    world.host("hv1").ctl(&["gateway", "move", "blue", gateway])?;
                }
                until("it serves", SOON, || Ok(serving(world) == [gateway]))?;
                let outside = world.host(gateway).address();
                for (i, guest) in guests.iter().enumerate() {
                    guest.ping(SERVER)?;
                    assert_eq!(guest.address_outside()?, outside, "by {gateway}");
                    guest.ping(leases[1 - i].address)?;
                    let published = SocketAddr::new(outside, 8080 + u16::try_from(i)?);
                    let answer = world.internet.namespace().within(|| {
                        let stream = TcpStream::connect_timeout(&published, Duration::from_secs(5))?;
                        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
                        Ok(std::io::read_to_string(stream)?)
                    })?;
                    assert_eq!(answer, format!("{i}\n"), "by {gateway}");
                }
            }
            for host in world.hosts() {
                until("it is named", SOON, || is_named(host))?;
                assert_eq!(
                    host.namespace().sh(&format!("sysctl -n {CALLS}"))?,
                    "1\n1\n1\n",
                    "left alone"
                );
            }
            // The operator's own hand ends it.
            let off: String = CALLS.split_whitespace().map(|call| format!("{call}=0 ")).collect();
            world.host("hv1").namespace().sh(&format!("sysctl -qw {off}"))?;
            until("it is no longer named", SOON, || Ok(!is_named(world.host("hv1"))?))?;
            until("nothing is due", SOON, || Ok(world.host("hv1").plan()?.is_empty()))?;
            assert!(is_named(world.host("hv2"))?);
            guests[0].ping(SERVER)
        },
    );
}

fn finding(host: &Host, id: &str) -> Result<Option<Value>> {
    let status = host.json(&["status"])?;
    let mut own = own_problems(host, &status);
    Ok(own.find(|problem| problem["id"] == id).cloned())
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn bridge_netfilter_is_left_where_somebody_may_need_it_and_given_back() {
    let plan = Plan {
        hosts: 3,
        ..Plan::default()
    };
    tell(&plan, |world| {
        let [hv1, hv2, hv3] = ["hv1", "hv2", "hv3"].map(|name| world.host(name));
        // A new namespace has them at 1.
        let calls = |host: &Host| host.namespace().sh(&format!("sysctl -n {CALLS}"));
        let become_of = |host: &Host, value: u8| {
            let what = format!("bridge netfilter of {} is {value}", host.name());
            until(&what, Duration::from_secs(20), || {
                Ok(calls(host)? == format!("{value}\n").repeat(3))
            })
        };
        hv1.namespace().ip("link add fwbr100i0 type bridge")?;
        let physdev = |program: &str, change: &str| {
            format!("{program} {change} FORWARD -m physdev --physdev-is-bridged -j ACCEPT")
        };
        hv2.namespace().sh(&physdev("iptables-nft", "-A"))?;
        world.form()?;
        world.apply("hv1", BLUE)?;
        become_of(hv3, 0)?;
        for (host, why) in [(hv1, "there is fwbr100i0"), (hv2, "rules that match physdev")] {
            become_of(host, 1)?;
            assert!(host.log().contains(why), "{}", host.log());
        }
        assert!(hv3.log().contains("nothing on this host needs bridge netfilter"));
        until("it is named", SOON, || is_named(hv1))?;
        assert!(!is_named(hv3)?);
        // Who needed it goes, and comes.
        hv1.namespace().ip("link del fwbr100i0")?;
        become_of(hv1, 0)?;
        until("it is no longer named", SOON, || Ok(!is_named(hv1)?))?;
        hv2.namespace().sh(&physdev("iptables-nft", "-D"))?;
        become_of(hv2, 0)?;
        hv3.namespace().sh(&physdev("iptables-legacy", "-A"))?;
        become_of(hv3, 1)?;
        // The operator's word.
        for (setting, value) in [("off", 0), ("keep", 1), ("off", 0)] {
            hv3.configure(&json!({ "host": { "bridge_netfilter": setting } }))?;
            hv3.signal_agent(Signal::SIGHUP);
            become_of(hv3, value)?;
        }
        until("nothing is due", SOON, || Ok(hv3.plan()?.is_empty()))?;
        hv3.ctl(&["leave", "--force"])?;
        become_of(hv3, 1).map(|_| ())
    });
}

/// The chains that Docker 28 makes, and its policy, for a bridge that nothing is attached to.
fn docker_chains(host: &Host) -> Result<()> {
    host.namespace().sh("ip link add docker0 type bridge
         sysctl -qw net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0 \
             net.bridge.bridge-nf-call-arptables=0
         i() { iptables-nft \"$@\"; }
         for chain in DOCKER DOCKER-USER DOCKER-FORWARD DOCKER-BRIDGE DOCKER-CT DOCKER-ISOLATION-STAGE-1 \
             DOCKER-ISOLATION-STAGE-2; do i -N $chain; done
         i -P FORWARD DROP
         i -A FORWARD -j DOCKER-USER
         i -A FORWARD -j DOCKER-FORWARD
         i -A DOCKER-FORWARD -j DOCKER-CT
         i -A DOCKER-FORWARD -j DOCKER-ISOLATION-STAGE-1
         i -A DOCKER-FORWARD -j DOCKER-BRIDGE
         i -A DOCKER-FORWARD -i docker0 -j ACCEPT
         i -A DOCKER-CT -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
         i -A DOCKER-BRIDGE -o docker0 -j DOCKER
         i -A DOCKER ! -i docker0 -o docker0 -j DROP
         i -A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
         i -A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP")?;
    Ok(())
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn with_dockers_chains_the_pair_of_rules_that_docs_advise_lets_guests_through_and_one_of_it_does_not() {
    let plan = Plan {
        hosts: 2,
        ..Plan::default()
    };
    tell(&plan, |world| {
        for host in world.hosts() {
            docker_chains(host)?;
        }
        world.form()?;
        let published = "vni: 10\n    ports: [ { protocol: tcp, listen: 8080, to: \"192.168.124.21:80\" } ]";
        world.apply("hv1", &BLUE.replace("vni: 10", published))?;
        let gateway = world.host(&world.gateway("blue", SOON)?);
        let other = world.hosts().iter().find(|host| host.name() != gateway.name());
        let guest = world.guest(other.context("there are two hosts")?.name(), "br-blue")?;
        guest.by_hand(21)?;
        guest.ping("192.168.124.1")?;
        let listener = guest.namespace().within(|| Ok(TcpListener::bind("0.0.0.0:80")?))?;
        std::thread::spawn(move || listener.incoming().count());
        let inward = || {
            let at = SocketAddr::new(gateway.address(), 8080);
            let called = world.internet.namespace();
            called.within(|| Ok(TcpStream::connect_timeout(&at, Duration::from_secs(1)).is_ok()))
        };
        let outward = || Ok::<bool, anyhow::Error>(guest.ping_once(&SERVER.to_string())?.status.success());
        let named = |host: &Host, severity: &str| {
            until("the chain is named", SOON, || {
                let found = finding(host, "G12")?;
                Ok(found
                    .is_some_and(|it| it["severity"] == severity && it["subject"] == "table ip filter, chain FORWARD"))
            })
        };
        for host in world.hosts() {
            named(host, if host.name() == gateway.name() { "fail" } else { "warn" })?;
        }
        let rule = |change: &str, side: &str| {
            let line = format!("iptables-nft {change} DOCKER-USER {side} gw-+ -j ACCEPT");
            gateway.namespace().sh(&line)
        };
        let fits = || until("it is no longer named", SOON, || Ok(finding(gateway, "G12")?.is_none()));
        rule("-I", "-i")?;
        assert!(!outward()? && !inward()?, "one rule does not do");
        rule("-I", "-o")?;
        assert!(outward()? && inward()?, "both do");
        fits()?;
        for side in ["-i", "-o"] {
            rule("-D", side)?;
        }
        assert!(!outward()? && !inward()?);
        named(gateway, "fail")?;
        gateway
            .namespace()
            .sh("nft insert rule ip filter DOCKER-USER iifname '\"gw-*\"' accept
             nft insert rule ip filter DOCKER-USER oifname '\"gw-*\"' accept")?;
        assert!(outward()? && inward()?, "so do those of nft");
        fits()?;
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_firewall_that_drops_what_comes_in_is_named_until_it_lets_vxlan_in() {
    tell(
        &Plan {
            hosts: 2,
            ..Plan::default()
        },
        |world| {
            world.form()?;
            world.apply("hv1", BLUE)?;
            let host = world.host("hv2");
            assert_eq!(finding(host, "G12")?, None);
            // gRPC and ICMP pass, VXLAN does not.
            host.namespace().nft(
                "table inet closed { chain in { type filter hook input priority filter; policy drop;
             iif \"lo\" accept; ct state established,related accept; tcp dport { 22, 7480 } accept;
             meta l4proto { icmp, ipv6-icmp } accept; }; }\n",
            )?;
            until("it is named", SOON, || {
                let found = finding(host, "G12")?;
                Ok(found.is_some_and(|it| it["subject"] == "table inet closed, chain in"))
            })?;
            host.namespace()
                .sh("nft insert rule inet closed in udp dport 4789 accept")?;
            until("it is no longer named", SOON, || Ok(finding(host, "G12")?.is_none()))?;
            Ok(())
        },
    );
}

/// How many chains of ours keep outer VXLAN out of connection tracking.
fn raw_chains(host: &Host) -> Result<usize> {
    let rules = host.namespace().sh("nft list table inet overlayd")?;
    Ok(rules.matches("priority raw").count())
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn outer_vxlan_is_tracked_nowhere_and_only_where_somebody_tracks_are_there_rules_for_that() {
    tell(&Plan::default(), |world| {
        world.form()?;
        world.apply("hv1", BLUE)?;
        let first = world.host(&world.gateway("blue", SOON)?);
        let mut others = world.hosts().iter().filter(|host| host.name() != first.name());
        let [second, third] = [others.next(), others.next()].map(|host| host.context("there are three hosts"));
        let (second, third) = (second?, third?);
        let keeps_out = |host: &Host, chains: usize| {
            let what = format!("{} has {chains} chains for that", host.name());
            until(&what, SOON, || Ok(raw_chains(host)? == chains))
        };
        keeps_out(first, 2)?;
        keeps_out(second, 0)?;
        let by_hand =
            "ip outside { chain out { type nat hook postrouting priority srcnat; oifname \"eth0\" masquerade; }; }";
        second.namespace().nft(&format!("table {by_hand}"))?;
        keeps_out(second, 2)?;
        keeps_out(third, 0)?;

        // By its source port, which is another for each of the guests' flows.
        let tracked = |host: &Host| -> Result<BTreeSet<String>> {
            let known = host.namespace().sh("cat /proc/net/nf_conntrack")?;
            let outer = known.lines().filter(|line| line.contains(" dport=4789 "));
            let ports = outer.filter_map(|line| line.split(' ').find(|word| word.starts_with("sport=")));
            Ok(ports.map(str::to_owned).collect())
        };
        let before = [tracked(first)?, tracked(second)?];
        let guests = [second, first].map(|host| world.guest(host.name(), "br-blue"));
        let [here, there] = guests;
        let (here, there) = (here?, there?);
        here.dhcp()?;
        here.ping(there.dhcp()?.address)?;
        here.ping(SERVER)?;
        for (host, before) in [first, second].into_iter().zip(before) {
            let now = tracked(host)?;
            assert!(now.is_subset(&before), "{}: {now:?}, before {before:?}", host.name());
        }

        // What a gateway has asked for itself goes with it, though the kernel keeps its connections for days.
        first.ctl(&["gateway", "move", "blue", third.name()])?;
        keeps_out(third, 2)?;
        keeps_out(first, 0)?;
        second.namespace().sh("nft delete table ip outside")?;
        keeps_out(second, 0)?;
        here.ping(there.configured()?.address)?;
        here.ping(SERVER)
    });
}
