//! The underlay: IPv4, IPv6, multicast; its MTU and addresses change, and it may come late.

use std::time::Duration;

use anyhow::{Context as _, Result};
use overlayd_tests::wait::{throughout, until};
use overlayd_tests::wiring::SERVER;
use overlayd_tests::world::{BLUE, BLUE_MULTICAST, Underlay, tell};
use overlayd_tests::{Host, Plan, World};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(10);

const TWO: Plan = Plan {
    hosts: 2,
    underlay: Underlay::V4,
};

fn two_guests_meet(world: &World, bridge: &str, mtu: u64) -> Result<()> {
    let [one, other] = [world.guest("hv1", bridge)?, world.guest("hv2", bridge)?];
    assert_eq!(one.dhcp()?.mtu, mtu);
    let has = other.dhcp()?;
    assert_eq!(has.mtu, mtu);
    one.ping(has.address)?;
    one.ping_whole(has.address, mtu as usize)?;
    one.ping(SERVER)
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn over_ipv6_the_overhead_is_70() {
    let v6 = Plan {
        underlay: Underlay::V6,
        ..TWO
    };
    tell(&v6, |world| {
        world.form()?;
        world.apply("hv1", BLUE)?;
        world.gateway("blue", SOON)?;
        assert_eq!(world.host("hv1").flood_list("vx-blue")?, ["fd31::12"]);
        two_guests_meet(world, "br-blue", 1430)
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn two_segments_by_multicast_on_the_second_nic() {
    tell(&TWO, |world| {
        world.form()?;
        let green = BLUE_MULTICAST
            .replace("segments:\n", "")
            .replace("blue", "green")
            .replace("vni: 10", "vni: 11")
            .replace("239.0.0.10", "239.0.0.11")
            .replace("192.168.124", "192.168.125");
        world.apply("hv1", &format!("{BLUE_MULTICAST}{green}"))?;
        for segment in ["blue", "green"] {
            world.gateway(segment, SOON)?;
            two_guests_meet(world, &format!("br-{segment}"), 1450)?;
        }
        // What the guests broadcast went to the groups, on the second NIC.
        for host in world.hosts() {
            let groups = host.namespace().sh("ip maddr show dev eth1")?;
            assert!(
                groups.contains("239.0.0.10") && groups.contains("239.0.0.11"),
                "{groups}"
            );
            assert!(!host.namespace().sh("ip maddr show dev eth0")?.contains("239.0.0."));
        }
        Ok(())
    });
}

/// What a host has sent by an interface so far, in bytes.
fn sent(host: &Host, interface: &str) -> Result<u64> {
    let said = host.namespace().ip(&format!("-s -json link show dev {interface}"))?;
    let links: Vec<Value> = serde_json::from_str(&said)?;
    links[0]["stats64"]["tx"]["bytes"].as_u64().context("a number of bytes")
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn what_is_for_one_guest_of_a_multicast_segment_leaves_by_the_segments_nic() {
    tell(&TWO, |world| {
        world.form()?;
        world.apply("hv1", BLUE_MULTICAST)?;
        world.gateway("blue", SOON)?;
        let guests = [world.guest("hv1", "br-blue")?, world.guest("hv2", "br-blue")?];
        guests[0].dhcp()?;
        let other = guests[1].dhcp()?.address;
        guests[0].ping(other)?;
        let hosts = ["hv1", "hv2"].map(|name| world.host(name));
        for (number, host) in (1..).zip(hosts) {
            until("the VXLAN has the address of its NIC", SOON, || {
                let vxlan = host.link("vx-blue").context("it is there")?;
                Ok(vxlan["linkinfo"]["info_data"]["local"] == format!("172.30.0.1{number}"))
            })?;
        }
        let before = hosts.map(|host| ["eth0", "eth1"].map(|nic| sent(host, nic).unwrap()));
        guests[0]
            .namespace()
            .sh(&format!("ping -q -c 300 -i 0.005 -s 1300 {other}"))?;
        for (host, [eth0, eth1]) in hosts.into_iter().zip(before) {
            let by = [sent(host, "eth0")? - eth0, sent(host, "eth1")? - eth1];
            assert!(by[1] > 300 * 1300 && by[0] < by[1] / 2, "{}: {by:?}", host.name());
        }
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_changed_underlay_mtu_is_followed() {
    tell(&TWO, |world| {
        world.form()?;
        world.apply("hv1", BLUE)?;
        world.gateway("blue", SOON)?;
        // One second is promised, on a machine that does nothing else.
        let mtu_is = |mtu: u64| {
            for host in world.hosts() {
                until(&format!("{} tells {mtu}", host.name()), Duration::from_secs(4), || {
                    Ok(host.list(&["segment", "list"])?[0]["mtu"] == mtu)
                })?;
            }
            anyhow::Ok(())
        };
        mtu_is(1450)?;
        // One host's link carries less: the segment's guests everywhere are told.
        world.host("hv2").namespace().ip("link set eth0 mtu 1400")?;
        mtu_is(1350)?;
        let guest = world.guest("hv1", "br-blue")?;
        assert_eq!(guest.dhcp()?.mtu, 1350);
        world.host("hv2").namespace().ip("link set eth0 mtu 1500")?;
        mtu_is(1450)?;
        assert_eq!(guest.renew()?["mtu"], "1450");
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn an_underlay_that_is_missing_at_the_start_may_come_later() {
    tell(&TWO, |world| {
        world.form()?;
        world.apply("hv1", BLUE)?;
        let hv2 = world.host("hv2");
        hv2.kill_agent();
        hv2.namespace()
            .ip_batch("link set eth0 name late0\nlink set late0 down\n")
            .or_else(|_| {
                // A kernel that renames no interface that is up.
                hv2.namespace()
                    .ip_batch("link set eth0 down\nlink set eth0 name late0\n")
            })?;
        hv2.namespace().ip("link del br-blue")?;
        hv2.namespace().ip("link del vx-blue")?;
        hv2.restart_agent()?;
        until("the bridge comes up without it", SOON, || {
            Ok(hv2.link("br-blue").is_some())
        })?;
        let status = hv2.json(&["status"])?;
        assert!(status["problems"].to_string().contains("eth0"), "{status}");
        hv2.namespace().ip_batch(
            "link set late0 name eth0
             link set eth0 up
             addr replace 172.31.0.12/24 dev eth0
             route replace default via 172.31.0.1\n",
        )?;
        world.all_know_each_other(SOON)?;
        until("the VXLAN is there", SOON, || {
            Ok(hv2.flood_list("vx-blue")? == ["172.31.0.11"])
        })?;
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_host_that_never_had_an_underlay_keeps_no_manager_waiting() {
    tell(&TWO, |world| {
        let hv1 = world.host("hv1");
        hv1.namespace()
            .ip_batch("link set eth0 down\nlink set eth0 name late0\n")?;
        hv1.configure(&json!({}))?;
        hv1.launch_managed(&[], SOON)?;
        hv1.namespace().ip_batch(
            "link set late0 name eth0
             link set eth0 up
             addr replace 172.31.0.11/24 dev eth0
             route replace default via 172.31.0.1\n",
        )?;
        until("it has found its underlay", SOON, || {
            Ok(hv1.json(&["status"])?["problems"] == json!([]))
        })?;
        world.apply("hv1", BLUE)?;
        until("the bridge is there", SOON, || Ok(hv1.link("br-blue").is_some()))?;
        Ok(())
    });
}

/// As operators have it who name no address.
fn form_without_addresses(world: &World) -> Result<()> {
    for host in world.hosts() {
        let join = match host.name() {
            "hv1" => json!([]),
            _ => json!([world.host("hv1").listen()]),
        };
        host.configure(&json!({ "host": { "address": null }, "cluster": { "listen": null, "join": join } }))?;
        let file = std::fs::read_to_string(host.file())?;
        let kept: Vec<&str> = file.lines().filter(|line| !line.ends_with("null")).collect();
        std::fs::write(host.file(), kept.join("\n"))?;
        host.restart_agent()?;
    }
    world.all_know_each_other(SOON).map(|_| ())
}

/// Where a host sees another one.
fn seen_at(by: &Host, peer: &str) -> Result<Value> {
    let peers = by.list(&["peer", "list"])?;
    let seen = peers.into_iter().find(|line| line["name"] == peer);
    Ok(seen.map(|line| line["address"].clone()).unwrap_or_default())
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_virtual_address_that_stands_first_on_the_underlay_is_not_taken_for_the_vtep() {
    tell(&TWO, |world| {
        let hv2 = world.host("hv2");
        hv2.namespace().ip_batch(
            "addr del 172.31.0.12/24 dev eth0
             addr add 172.31.0.5/32 dev eth0
             addr add 172.31.0.12/24 dev eth0
             route replace default via 172.31.0.1\n",
        )?;
        form_without_addresses(world)?;
        world.apply("hv1", BLUE)?;
        world.gateway("blue", SOON)?;
        assert_eq!(seen_at(world.host("hv1"), "hv2")?, "172.31.0.12");
        until("VXLAN goes there", SOON, || {
            Ok(world.host("hv1").flood_list("vx-blue")? == ["172.31.0.12"])
        })?;
        two_guests_meet(world, "br-blue", 1450)?;
        // One that comes later changes nothing either.
        hv2.namespace().ip("addr add 172.31.0.6/24 dev eth0")?;
        throughout("it stays", Duration::from_secs(3), || {
            assert_eq!(seen_at(world.host("hv1"), "hv2")?, "172.31.0.12");
            Ok(())
        })
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn while_its_ipv4_address_is_away_a_host_does_not_go_over_to_ipv6() {
    tell(&TWO, |world| {
        form_without_addresses(world)?;
        world.apply("hv1", BLUE)?;
        world.gateway("blue", SOON)?;
        let (hv1, hv2) = (world.host("hv1"), world.host("hv2"));
        let guest = world.guest("hv2", "br-blue")?;
        guest.dhcp()?;
        let away = |restart: bool| {
            hv2.namespace().ip("-4 addr flush dev eth0")?;
            if restart {
                hv2.kill_agent();
                hv2.launch_agent()?;
            }
            throughout("IPv4 is away", Duration::from_secs(4), || {
                assert_eq!(seen_at(hv1, "hv2")?, "172.31.0.12");
                let vxlan = hv2.link("vx-blue").context("the VXLAN stays")?;
                assert_eq!(vxlan["linkinfo"]["info_data"]["local"], "172.31.0.12", "{vxlan}");
                Ok(())
            })?;
            hv2.namespace().ip_batch(
                "addr add 172.31.0.12/24 dev eth0
                 route replace default via 172.31.0.1\n",
            )?;
            world.all_know_each_other(Duration::from_secs(60))?;
            until("frames go to it again", SOON, || {
                Ok(hv1.flood_list("vx-blue")? == ["172.31.0.12"])
            })?;
            guest.ping(SERVER)
        };
        away(false)?;
        away(true)
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_changed_underlay_address_is_followed() {
    tell(&Plan::default(), |world| {
        form_without_addresses(world)?;
        world.apply("hv1", BLUE)?;
        let hv3 = world.host("hv3").namespace();
        hv3.ip_batch(
            "addr del 172.31.0.13/24 dev eth0
             addr add 172.31.0.33/24 dev eth0
             route replace default via 172.31.0.1\n",
        )?;
        until("the others flood to the new address", Duration::from_secs(20), || {
            Ok(world.host("hv1").flood_list("vx-blue")? == ["172.31.0.12", "172.31.0.33"])
        })?;
        // Each side gave the other up meanwhile, and membership takes its time to take that back.
        world.all_know_each_other(Duration::from_secs(60)).map(|_| ())
    });
}
