//! Bridge netfilter that somebody else on the host has switched on, as Docker does.

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
