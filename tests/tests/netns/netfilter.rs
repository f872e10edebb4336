//! What somebody else on the host asks of the kernel's netfilter: bridge netfilter as Docker, connection tracking as libvirt.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result};
use overlayd_tests::wait::until;
use overlayd_tests::wiring::SERVER;
use overlayd_tests::world::{BLUE, tell};
use overlayd_tests::{Host, Plan};

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

fn is_named(host: &Host) -> Result<bool> {
    Ok(host.json(&["status"])?["problems"]
        .to_string()
        .contains("bridge netfilter is on"))
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
