//! Several ways out: whatever the gateway host's routes and rules lead outside by is for guests, and nothing else.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::Result;
use nix::sys::signal::Signal;
use overlayd_tests::wait::{throughout, until};
use overlayd_tests::wiring::{ROUTER2, SERVER, second};
use overlayd_tests::{Guest, Host, World};
use serde_json::json;

use crate::gateway::with_blue;
use crate::uplink::{SOON, problems, says};

/// A host with a gateway and a second router, a guest elsewhere, and the host's addresses on both networks.
fn with_two_routers(story: impl FnOnce(&World, &Host, &Guest, [IpAddr; 2]) -> Result<()>) {
    with_blue(|world, gateway| {
        world.switch.plug_second_router(&world.internet)?;
        let standby = world.hosts().iter().find(|host| host.name() != gateway).unwrap();
        let guest = world.guest(standby.name(), "br-blue")?;
        guest.dhcp()?;
        guest.ping(SERVER)?;
        let host = world.host(gateway);
        let index = gateway.trim_start_matches("hv").parse()?;
        story(world, host, &guest, [host.address(), second(index).into()])
    });
}

/// The addresses that the server sees in so many connections, all of which succeed.
fn seen(guest: &Guest, connections: usize) -> Result<BTreeSet<IpAddr>> {
    (0..connections).map(|_| guest.address_outside()).collect()
}

fn ways_by(guest: &Guest, expected: &[IpAddr]) -> Result<()> {
    let expected: BTreeSet<IpAddr> = expected.iter().copied().collect();
    until("guests leave by all ways", SOON, || Ok(seen(guest, 12)? == expected))?;
    // None is refused, now that the rules are there.
    assert_eq!(seen(guest, 24)?, expected);
    Ok(())
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn guests_leave_by_all_next_hops_and_the_uplink_works_while_any_of_them_does() {
    with_two_routers(|world, host, guest, [one, other]| {
        let ns = host.namespace();
        ns.sh("sysctl -qw net.ipv4.fib_multipath_hash_policy=1")?;
        ns.ip(&format!(
            "route replace default nexthop via 172.31.0.1 nexthop via {ROUTER2}"
        ))?;
        ways_by(guest, &[one, other])?;
        // A second route of the same metric: the kernel takes one of them, and the other when its router is silent.
        ns.ip("route replace default via 172.31.0.1")?;
        ns.ip(&format!("route append default via {ROUTER2}"))?;
        throughout("none is refused", std::time::Duration::from_secs(3), || {
            assert!(seen(guest, 4)?.is_subset(&[one, other].into()));
            Ok(())
        })?;
        assert_eq!(problems(host)?, [""; 0]);
        let silent = format!("uplink eth1: next hop {ROUTER2} does not respond");
        world.internet.namespace().ip("link set eth1 down")?;
        until("it says which", SOON, || says(host, &format!("{silent}; others work")))?;
        throughout("the gateway stays", std::time::Duration::from_secs(5), || {
            assert_eq!(world.gateway("blue", SOON)?, host.name());
            Ok(())
        })?;
        guest.ping(SERVER)?;
        world.switch.cut(host.name(), "wan")?;
        until("the gateway moves", SOON, || {
            Ok(world.gateway("blue", SOON)? != host.name())
        })?;
        guest.ping(SERVER)
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn guests_leave_by_the_halves_of_a_vpn_and_by_the_table_that_a_rule_names() {
    with_two_routers(|_, host, guest, [one, other]| {
        let ns = host.namespace();
        ns.ip_batch(&format!(
            "route add 0.0.0.0/1 via {ROUTER2}\nroute add 128.0.0.0/1 via {ROUTER2}\n"
        ))?;
        ways_by(guest, &[other])?;
        let leads_out = || Ok(ns.sh("nft list table inet overlayd")?.contains("eth1"));
        until("the other is a way out", SOON, leads_out)?;
        ns.ip_batch("route del 0.0.0.0/1\nroute del 128.0.0.0/1\n")?;
        ways_by(guest, &[one])?;
        // Else the rules of before let guests out by what comes next, until they are taken away.
        until("the other is no way out any more", SOON, || {
            leads_out().map(|leads| !leads)
        })?;
        ns.ip_batch(&format!(
            "route add default via {ROUTER2} table 100\nrule add from 192.168.124.0/24 lookup 100\n"
        ))?;
        ways_by(guest, &[other])?;
        // The operator's word is narrower than that.
        let only = json!({ "host": { "gateway": { "uplink": "eth0" } }, "cluster": { "join": ["172.31.0.99:7480"] } });
        host.configure(&only)?;
        host.signal_agent(Signal::SIGHUP);
        until("what would leave by the other way is rejected", SOON, || {
            Ok(guest.address_outside().is_err())
        })?;
        until("and that is said", SOON, || Ok(named(host)? == ["eth1"]))?;
        Ok(())
    });
}

/// The interfaces that guests were kept from leaving by.
fn named(host: &Host) -> Result<Vec<String>> {
    let status = host.json(&["status"])?;
    let all = status["problems"].as_array().into_iter().flatten();
    let ours = all.filter(|problem| problem["id"] == "O13");
    Ok(ours
        .map(|problem| overlayd_tests::host::text_of(&problem["subject"]))
        .collect())
}

fn reaches(guest: &Guest, address: &str) -> Result<bool> {
    Ok(guest.ping_once(address)?.status.success())
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_network_behind_a_second_nic_is_for_guests_by_its_router_and_what_is_connected_only_if_it_is_named() {
    with_two_routers(|world, host, guest, _| {
        let router = ROUTER2.to_string();
        world.internet.namespace().ip_batch(
            "addr add 10.77.0.1/32 dev lo
             addr add 169.254.7.7/32 dev lo\n",
        )?;
        // Connected: not for guests, and that is said.
        assert_eq!(named(host)?, [""; 0]);
        assert!(!reaches(guest, &router)?);
        until("it is named", SOON, || Ok(named(host)? == ["eth1"]))?;
        // By a router: for guests, but what is connected still is not.
        host.namespace().ip(&format!("route add 10.77.0.0/16 via {ROUTER2}"))?;
        guest.ping("10.77.0.1")?;
        assert!(!reaches(guest, &router)?);
        // Link-local never leaves, not even by a route of its own.
        host.namespace().ip("route add 169.254.7.7/32 via 172.31.0.1")?;
        assert!(!reaches(guest, "169.254.7.7")?);
        host.namespace().sh("ping -c 1 -W 1 169.254.7.7")?;
        // Named: for guests.
        let both = json!({ "host": { "gateway": { "uplink": ["eth0", "eth1"] } } });
        host.configure(&both)?;
        host.signal_agent(Signal::SIGHUP);
        guest.ping(&router)?;
        guest.ping(SERVER)?;
        assert!(!reaches(guest, "169.254.7.7")?);
        Ok(())
    });
}
