//! Guests that use addresses which nobody gave them, and what the others get beside them.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use overlayd_tests::dhcp_load::{self, Client};
use overlayd_tests::wait::until;
use overlayd_tests::world::{BLUE, tell};
use overlayd_tests::{Guest, Plan, World};

const SOON: Duration = Duration::from_secs(10);

/// Three hosts, a gateway that has addresses to give, and a guest on each host.
fn with_a_guest_on_each_host(story: impl FnOnce(&World, &[Guest]) -> Result<()>) {
    tell(&Plan::default(), |world| {
        world.form()?;
        world.apply("hv1", BLUE)?;
        world.gateway("blue", SOON)?;
        let hosts = world.hosts().iter();
        let guests = hosts.map(|host| world.guest(host.name(), "br-blue"));
        story(world, &guests.collect::<Result<Vec<_>>>()?)
    });
}

fn last(address: IpAddr) -> Result<u8> {
    match address {
        IpAddr::V4(v4) => Ok(v4.octets()[3]),
        IpAddr::V6(v6) => anyhow::bail!("{v6} is no address of blue"),
    }
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn an_address_that_a_guest_has_set_by_hand_is_leased_to_nobody_else() {
    with_a_guest_on_each_host(|world, guests| {
        let [by_hand, first, second] = guests else {
            anyhow::bail!("three guests")
        };
        // Addresses are given in turn: the next one of the gateway's share is known beforehand.
        let given = last(first.dhcp()?.address)?;
        let taken = by_hand.by_hand(given + 1)?;
        let got = second.dhcp()?.address;
        assert_ne!(got, taken, "a guest uses it, wherever it is");
        // And where a guest asks for that very address.
        let third = world.guest(by_hand.host(), "br-blue")?;
        let asked = format!(
            "udhcpc -i eth0 -f -q -n -t 20 -T 1 -r {taken} -s /bin/true 2>&1 | grep -o 'lease of [0-9.]* obtained'"
        );
        let got = third.namespace().sh(&asked).context("a lease")?;
        ensure!(!got.contains(&format!("lease of {taken} obtained")), "{got}");
        Ok(())
    });
}

/// What a host says of the finding with this id, once it does.
fn found(world: &World, host: &str, id: &str) -> Result<String> {
    let mut evidence = String::new();
    until(&format!("{host} says {id}"), Duration::from_secs(20), || {
        let problems = world.host(host).json(&["status"])?["problems"].clone();
        let found = problems.as_array().into_iter().flatten().find(|it| it["id"] == id);
        evidence = found.map(|it| it["evidence"].to_string()).unwrap_or_default();
        Ok(found.is_some())
    })?;
    Ok(evidence)
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_guest_that_has_the_gateways_address_is_named() {
    with_a_guest_on_each_host(|world, guests| {
        let gateway = world.gateway("blue", SOON)?;
        let elsewhere = guests.iter().find(|guest| guest.host() != gateway);
        let guest = elsewhere.context("two hosts are not the gateway's")?;
        guest.namespace().ip("addr add 192.168.124.1/24 dev eth0")?;
        // It asks for a neighbour: nobody has asked it anything.
        guest.ping_once("192.168.124.200")?;
        let evidence = found(world, &gateway, "G6")?;
        for part in [guest.mac(), guest.host(), "192.168.124.1"] {
            assert!(evidence.contains(part), "{evidence}");
        }
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn made_up_guests_neither_empty_the_pool_nor_go_unnamed() {
    with_a_guest_on_each_host(|world, guests| {
        let [bad, real, another] = guests else {
            anyhow::bail!("three guests")
        };
        let flood = |count| {
            let made_up = Client::fresh(7, count);
            bad.namespace().within(|| dhcp_load::discover("eth0", &made_up))
        };
        flood(600)?;
        real.dhcp()?;
        flood(3_000)?;
        another.dhcp()?;
        let evidence = found(world, bad.host(), "O32")?;
        assert!(evidence.contains(bad.port()), "{evidence}");
        let listed = world.host(bad.host()).list(&["endpoint", "list"])?;
        assert!(listed.len() < 1_200, "{} endpoints", listed.len());
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn an_exhausted_pool_is_named_with_its_numbers() {
    tell(&Plan::default(), |world| {
        world.form()?;
        world.apply("hv1", &BLUE.replace("192.168.124.254", "192.168.124.17"))?;
        let gateway = world.gateway("blue", SOON)?;
        for host in world.hosts().iter().take(2) {
            world.guest(host.name(), "br-blue")?.dhcp()?;
        }
        let third = world.guest("hv3", "br-blue")?;
        let made_up = Client::fresh(7, 1);
        third.namespace().within(|| dhcp_load::discover("eth0", &made_up))?;
        until("its numbers are told", SOON, || {
            Ok(found(world, &gateway, "G8")?.contains("0 free, 2 leased"))
        })?;
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn an_address_set_by_hand_is_listed_on_every_host_and_one_that_two_guests_use_is_named() {
    with_a_guest_on_each_host(|world, guests| {
        let [first, second, _] = guests else {
            anyhow::bail!("three guests")
        };
        let address = first.by_hand(50)?.to_string();
        first.ping_once("192.168.124.1")?;
        for host in world.hosts() {
            until(&format!("{} lists it", host.name()), SOON, || {
                let listed = host.list(&["endpoint", "list"])?;
                let guest = listed.iter().find(|row| row["mac"] == first.mac());
                Ok(guest.is_some_and(|row| row["addresses"].to_string().contains(&address)))
            })?;
        }
        second.by_hand(50)?;
        // Each asks for neighbours in turn, as guests do when they talk to each other.
        for last in 201..205 {
            for guest in [second, first] {
                guest.ping_once(&format!("192.168.124.{last}"))?;
            }
        }
        for guest in [first, second] {
            let evidence = found(world, guest.host(), "G6")?;
            for part in [first.mac(), second.mac(), &address] {
                assert!(evidence.contains(part), "{evidence}");
            }
        }
        Ok(())
    });
}
