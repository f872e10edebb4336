//! Hosts become a cluster, whichever member lets them in, and find each other again after anything.

use std::time::Duration;

use anyhow::Result;
use overlayd_tests::wait::{throughout, until, wait_for};
use overlayd_tests::world::{BLUE, tell};
use overlayd_tests::{Host, Plan};
use serde_json::json;

const SOON: Duration = Duration::from_secs(10);

fn hosts(count: u8) -> Plan {
    Plan {
        hosts: count,
        ..Plan::default()
    }
}

/// Everyone but itself.
fn others(all: &[Host], of: &Host) -> Vec<String> {
    let mut others: Vec<String> = all
        .iter()
        .filter(|host| host.name() != of.name())
        .map(|host| host.address().to_string())
        .collect();
    others.sort_unstable();
    others
}

fn everyone_floods_to_everyone(hosts: &[Host], limit: Duration) -> Result<()> {
    for host in hosts {
        let expected = others(hosts, host);
        until(&format!("{} floods to {expected:?}", host.name()), limit, || {
            Ok(host.flood_list("vx-blue")? == expected)
        })?;
    }
    Ok(())
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_host_that_joins_through_any_member_is_in_every_flood_list() {
    tell(&hosts(4), |world| {
        let [hv1, hv2, hv3, hv4] = ["hv1", "hv2", "hv3", "hv4"].map(|name| world.host(name));
        hv1.start_agent(&json!({}))?;
        hv2.start_agent(&json!({ "cluster": { "join": [hv1.listen()] } }))?;
        world.all_know_each_other(SOON)?;
        world.apply("hv1", BLUE)?;
        // By its own file, through the second; by an operator's word, through the third.
        hv3.start_agent(&json!({ "cluster": { "join": [hv2.listen()] } }))?;
        world.all_know_each_other(SOON)?;
        hv4.start_agent(&json!({}))?;
        hv4.ctl(&["join", &hv3.address().to_string()])?;
        everyone_floods_to_everyone(world.hosts(), SOON)?;
        for host in world.hosts() {
            assert_eq!(host.alive()?, ["hv1", "hv2", "hv3", "hv4"]);
        }
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn an_unformed_host_answers_waits_and_makes_nothing() {
    tell(&hosts(2), |world| {
        let [hv1, hv2] = ["hv1", "hv2"].map(|name| world.host(name));
        hv2.start_agent(&json!({ "cluster": { "join": [hv1.listen()] }, "segments": [
            { "name": "blue", "vni": 10, "ipv4": { "subnet": "192.168.124.0/24" } }
        ] }))?;
        throughout("hv2 waits and makes nothing", Duration::from_secs(1), || {
            let status = hv2.json(&["status"])?;
            assert!(status["cluster"].is_null(), "{status}");
            assert!(
                status["waiting"]
                    .as_str()
                    .is_some_and(|waits| waits.contains("172.31.0.11")),
                "{status}"
            );
            assert_eq!(hv2.link("br-blue"), None);
            Ok(())
        })?;
        // The one it waits for comes up at last.
        hv1.start_agent(&json!({}))?;
        world.all_know_each_other(SOON)?;
        until("hv2's file has introduced its segment", SOON, || {
            Ok(hv1.link("br-blue").is_some())
        })?;
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn init_forms_one_cluster_and_tells_the_join_line_again() {
    tell(&hosts(2), |world| {
        let [hv1, hv2] = ["hv1", "hv2"].map(|name| world.host(name));
        hv1.start_agent(&json!({ "cluster": { "join": [hv2.listen()] } }))?;
        let first = hv1.json(&["init"])?;
        let again = hv1.json(&["init"])?;
        assert_eq!(first["already_formed"], false);
        assert_eq!(again["already_formed"], true);
        assert_eq!(first["cluster_id"], again["cluster_id"]);
        assert_eq!(first["join_line"], "overlayctl join 172.31.0.11");
        hv2.start_agent(&json!({}))?;
        let line: Vec<&str> = first["join_line"].as_str().unwrap().split(' ').skip(1).collect();
        let joined: serde_json::Value = hv2.json(&line)?;
        assert_eq!(joined["cluster_id"], first["cluster_id"]);
        world.all_know_each_other(SOON).map(|_| ())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_taken_name_is_refused_and_the_refusal_tells_the_way_out() {
    tell(&hosts(2), |world| {
        let [hv1, hv2] = ["hv1", "hv2"].map(|name| world.host(name));
        hv1.start_agent(&json!({}))?;
        hv2.start_agent(&json!({ "host": { "name": "hv1" } }))?;
        let said = hv2.refused(&["join", &hv1.address().to_string()])?;
        assert!(said.contains("hv1") && said.contains("peer remove"), "{said}");
        until("hv1 is alone", SOON, || Ok(hv1.alive()? == ["hv1"]))?;
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_taken_vtep_address_is_refused() {
    tell(&hosts(2), |world| {
        let [hv1, hv2] = ["hv1", "hv2"].map(|name| world.host(name));
        hv1.start_agent(&json!({}))?;
        // An address that both have, as after a cloned disk; the agents reach each other by their own ones.
        let cloned = json!({ "host": { "address": "172.31.0.99" }, "cluster": { "listen": hv2.listen() } });
        for host in [hv1, hv2] {
            host.namespace().ip("addr add 172.31.0.99/32 dev lo")?;
        }
        hv1.stop_agent()?;
        hv1.start_agent(&json!({ "host": { "address": "172.31.0.99" }, "cluster": { "listen": hv1.listen() } }))?;
        hv2.start_agent(&cloned)?;
        let said = hv2.refused(&["join", &hv1.address().to_string()])?;
        assert!(said.contains("172.31.0.99") && said.contains("hv1"), "{said}");
        until("hv1 is alone", SOON, || Ok(hv1.alive()? == ["hv1"]))?;
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn two_formed_clusters_never_merge() {
    tell(&hosts(4), |world| {
        let [hv1, hv2, hv3, hv4] = ["hv1", "hv2", "hv3", "hv4"].map(|name| world.host(name));
        hv1.start_agent(&json!({}))?;
        hv2.start_agent(&json!({ "cluster": { "join": [hv1.listen()] } }))?;
        hv3.start_agent(&json!({}))?;
        hv4.start_agent(&json!({ "cluster": { "join": [hv3.listen()] } }))?;
        wait_for("both clusters have two hosts", SOON, || {
            anyhow::ensure!(
                hv1.alive()? == ["hv1", "hv2"] && hv3.alive()? == ["hv3", "hv4"],
                "not yet"
            );
            Ok(())
        })?;
        let said = hv3.refused(&["join", &hv1.address().to_string()])?;
        assert!(said.contains("leave"), "{said}");
        // Each by its own file is refused as well, and says which cluster it is.
        let id = |host: &Host| Ok::<_, anyhow::Error>(host.json(&["status"])?["cluster"]["id"].clone());
        let (one, other) = (id(hv1)?, id(hv3)?);
        assert_ne!(one, other);
        hv3.stop_agent()?;
        hv3.start_agent(&json!({ "cluster": { "join": [hv1.listen()] } }))?;
        throughout("the clusters stay apart", Duration::from_secs(2), || {
            assert_eq!((id(hv1)?, id(hv3)?), (one.clone(), other.clone()));
            assert_eq!(hv1.alive()?, ["hv1", "hv2"]);
            Ok(())
        })
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn after_a_full_outage_everyone_finds_everyone_again() {
    tell(&hosts(3), |world| {
        world.form()?;
        world.apply("hv1", BLUE)?;
        for host in world.hosts() {
            host.kill_agent();
        }
        // Not in the order in which they joined, and hv1, whom the others' files name, last and late.
        for name in ["hv3", "hv2"] {
            world.host(name).restart_agent()?;
        }
        let took = world.all_know_each_other(SOON)?;
        assert!(took < SOON);
        world.host("hv1").restart_agent()?;
        world.all_know_each_other(SOON)?;
        everyone_floods_to_everyone(world.hosts(), SOON)
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_restart_needs_neither_join_nor_init() {
    tell(&hosts(2), |world| {
        world.form()?;
        world.apply("hv2", BLUE)?;
        let hv2 = world.host("hv2");
        hv2.stop_agent()?;
        // Its file names nobody any more: what it knew last is enough.
        hv2.start_agent(&json!({}))?;
        world.all_know_each_other(SOON)?;
        assert_eq!(hv2.list(&["segment", "list"])?[0]["name"], "blue");
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn segments_reach_all_hosts_and_a_deleted_one_is_gone() {
    tell(&hosts(3), |world| {
        world.form()?;
        world.host("hv2").apply(BLUE)?;
        // Two seconds are promised, on a machine that does nothing else.
        let limit = Duration::from_secs(6);
        for host in world.hosts() {
            until("it has blue", limit, || Ok(host.link("br-blue").is_some()))?;
        }
        world.host("hv3").ctl(&["segment", "delete", "blue"])?;
        for host in world.hosts() {
            until("it has blue no more", SOON, || {
                Ok(host.link("br-blue").is_none() && host.link("vx-blue").is_none())
            })?;
        }
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_loner_that_joins_brings_its_guests_leases() {
    tell(&hosts(2), |world| {
        let [hv1, loner] = ["hv1", "hv2"].map(|name| world.host(name));
        for host in [hv1, loner] {
            host.start_agent(&json!({}))?;
            host.apply(BLUE)?;
            until("it serves", SOON, || Ok(host.gateway_of("blue").is_ok()))?;
            until("its bridge is there", SOON, || Ok(host.link("br-blue").is_some()))?;
        }
        let guest = world.guest("hv2", "br-blue")?;
        let had = guest.dhcp()?;
        let to = hv1.address().to_string();
        for refused in [
            loner.refused(&["join", &to])?,
            hv1.refused(&["peer", "add", "172.31.0.12"])?,
        ] {
            assert!(
                refused.contains(guest.port()) && refused.contains("--force"),
                "{refused}"
            );
        }
        assert_eq!(loner.alive()?, ["hv2"]);
        loner.ctl(&["join", &to, "--force"])?;
        world.all_know_each_other(SOON)?;
        until("hv1 knows the lease", SOON, || {
            let leases = hv1.list(&["lease", "list", "blue"])?;
            Ok(leases
                .iter()
                .any(|lease| lease["address"] == had.address.to_string() && lease["mac"] == guest.mac()))
        })?;
        // The first address of the pool is the first that each alone gives: nobody else gets it here.
        let other = world.guest("hv1", "br-blue")?;
        assert_ne!(other.dhcp()?.address, had.address);
        assert_eq!(guest.renew()?["address"], had.address.to_string());
        until("the bridges are connected", SOON, || {
            Ok(guest.ping(other.configured()?.address).is_ok())
        })?;
        guest.ping(overlayd_tests::wiring::SERVER)
    });
}
