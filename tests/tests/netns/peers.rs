//! Hosts that leave, die, come back, are invited, forgotten; and VTEPs without an agent.

use std::time::Duration;

use anyhow::Result;
use overlayd_tests::host::text_of;
use overlayd_tests::wait::{throughout, until};
use overlayd_tests::world::{BLUE, tell};
use overlayd_tests::{Host, Plan};
use serde_json::json;

use crate::guests::knows_port;

const SOON: Duration = Duration::from_secs(10);

fn state_of(host: &Host, peer: &str) -> Result<Option<String>> {
    let peers = host.list(&["peer", "list"])?;
    let found = peers.iter().find(|row| row["name"] == peer || row["address"] == peer);
    Ok(found.map(|row| text_of(&row["state"])))
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_dead_host_leaves_the_flood_lists_and_comes_back_by_itself() {
    tell(&Plan::default(), |world| {
        world.form()?;
        world.apply("hv1", BLUE)?;
        world.gateway("blue", SOON)?;
        let hv1 = world.host("hv1");
        // A kernel that never answered a probe is not taken for dead so soon.
        until("every kernel has answered", SOON, || {
            Ok(std::fs::read_to_string(hv1.state().join("answered")).is_ok_and(|hosts| hosts.lines().count() == 2))
        })?;
        world.switch.unplug("hv3")?;
        // One second is promised, on a machine that does nothing else.
        until("hv3 is failed", Duration::from_secs(5), || {
            Ok(state_of(hv1, "hv3")?.as_deref() == Some("failed"))
        })?;
        until("hv1 floods to hv2 alone", Duration::from_secs(5), || {
            Ok(hv1.flood_list("vx-blue")? == ["172.31.0.12"])
        })?;
        world.switch.replug("hv3")?;
        let took = world.all_know_each_other(SOON)?;
        assert!(took < SOON);
        until("hv1 floods to both", Duration::from_secs(5), || {
            Ok(hv1.flood_list("vx-blue")? == ["172.31.0.12", "172.31.0.13"])
        })?;
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_host_whose_agent_alone_is_silent_keeps_its_traffic() {
    tell(&Plan::default(), |world| {
        world.form()?;
        world.apply("hv1", BLUE)?;
        let gateway = world.gateway("blue", SOON)?;
        let standby = world.hosts().iter().find(|host| host.name() != gateway).unwrap();
        let (from, to) = (
            world.guest(&gateway, "br-blue")?,
            world.guest(standby.name(), "br-blue")?,
        );
        from.by_hand(21)?;
        let address = to.by_hand(22)?;
        from.ping(address)?;
        standby.kill_agent();
        let serving = world.host(&gateway);
        until("it is suspect", Duration::from_secs(15), || {
            Ok(state_of(serving, standby.name())?.as_deref() == Some("suspect"))
        })?;
        assert!(serving.flood_list("vx-blue")?.contains(&standby.address().to_string()));
        from.ping(address)?;
        standby.restart_agent()?;
        world.all_know_each_other(SOON).map(|_| ())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_leaving_host_is_refused_while_guests_are_attached_and_then_leaves_nothing_behind() {
    tell(&Plan::default(), |world| {
        world.form()?;
        world.apply("hv1", BLUE)?;
        world.gateway("blue", SOON)?;
        let hv2 = world.host("hv2");
        let guest = world.guest("hv2", "br-blue")?;
        knows_port(hv2, &guest)?;
        let said = hv2.refused(&["leave"])?;
        assert!(said.contains(guest.port()) && said.contains("--force"), "{said}");
        assert!(hv2.link("br-blue").is_some());

        hv2.ctl(&["leave", "--force"])?;
        for gone in ["br-blue", "vx-blue", "gw-blue"] {
            assert_eq!(hv2.link(gone), None);
        }
        assert_eq!(hv2.namespace().sh("nft list tables")?, "");
        until("the others know", SOON, || {
            let hv1 = world.host("hv1");
            Ok(!hv1.alive()?.contains(&"hv2".to_owned()) && hv1.flood_list("vx-blue")? == ["172.31.0.13"])
        })?;
        // It is remembered: its `join:` list does not bring it back.
        hv2.stop_agent()?;
        hv2.restart_agent()?;
        throughout("it stays outside", Duration::from_secs(2), || {
            assert!(hv2.json(&["status"])?["cluster"].is_null());
            Ok(())
        })?;
        // An operator does.
        hv2.ctl(&["join", "172.31.0.13"])?;
        world.all_know_each_other(SOON).map(|_| ())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn the_last_member_may_leave_and_says_that_its_cluster_ends() {
    let one = Plan {
        hosts: 1,
        ..Plan::default()
    };
    tell(&one, |world| {
        let hv1 = world.host("hv1");
        hv1.start_agent(&json!({}))?;
        world.apply("hv1", BLUE)?;
        let left = hv1.json(&["leave"])?;
        assert_eq!(left["cluster_ended"], true);
        assert_eq!(hv1.link("br-blue"), None);
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn peer_add_invites_an_agent_that_has_no_cluster() {
    let two = Plan {
        hosts: 2,
        ..Plan::default()
    };
    tell(&two, |world| {
        let [hv1, hv2] = ["hv1", "hv2"].map(|name| world.host(name));
        hv1.start_agent(&json!({}))?;
        // It waits for somebody who never comes.
        hv2.start_agent(&json!({ "cluster": { "join": ["172.31.0.200:7480"] } }))?;
        hv1.ctl(&["peer", "add", &hv2.address().to_string()])?;
        world.all_know_each_other(SOON).map(|_| ())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_static_peer_is_flooded_to_and_may_be_removed() {
    tell(&Plan::default(), |world| {
        world.form()?;
        world.apply("hv1", BLUE)?;
        world.gateway("blue", SOON)?;
        let added = world
            .host("hv2")
            .json(&["peer", "add", "172.31.0.60", "--static", "--segment", "blue"])?;
        assert!(added.to_string().contains("blue"), "{added}");
        for host in world.hosts() {
            until("it floods to the static peer", Duration::from_secs(2), || {
                Ok(host.flood_list("vx-blue")?.contains(&"172.31.0.60".to_owned()))
            })?;
            assert_eq!(state_of(host, "172.31.0.60")?.as_deref(), Some("static"));
        }
        world.host("hv3").ctl(&["peer", "remove", "172.31.0.60"])?;
        for host in world.hosts() {
            until("no more", Duration::from_secs(2), || {
                Ok(!host.flood_list("vx-blue")?.contains(&"172.31.0.60".to_owned()))
            })?;
        }
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_stranger_sends_into_no_segment_of_ours_and_is_left_alone_otherwise() {
    tell(&Plan::default(), |world| {
        let [hv1, hv2, stranger] = ["hv1", "hv2", "hv3"].map(|name| world.host(name));
        hv1.start_agent(&json!({}))?;
        hv2.start_agent(&json!({ "cluster": { "join": [hv1.listen()] } }))?;
        until("they are a cluster", SOON, || Ok(hv1.alive()? == ["hv1", "hv2"]))?;
        world.apply("hv1", BLUE)?;
        world.gateway("blue", SOON)?;
        let guest = world.guest("hv1", "br-blue")?.dhcp()?.address;
        let lay = |host: &Host, vni: u32, address: &str, to: &str| {
            host.namespace().sh(&format!(
                "ip link add vx{vni} type vxlan id {vni} local {} dstport 4789
                 ip addr add {address} dev vx{vni}
                 ip link set vx{vni} up
                 bridge fdb append 00:00:00:00:00:00 dev vx{vni} dst {to}",
                host.address()
            ))
        };
        lay(stranger, 10, "192.168.124.250/24", &hv1.address().to_string())?;
        lay(stranger, 99, "10.99.0.3/24", &hv1.address().to_string())?;
        lay(hv1, 99, "10.99.0.1/24", &stranger.address().to_string())?;
        let reaches = |to: &str| stranger.namespace().sh(&format!("ping -c 2 -W 1 {to}")).is_ok();
        assert!(
            reaches("10.99.0.1"),
            "a segment that is not ours is none of our business"
        );
        assert!(!reaches(&guest.to_string()), "a stranger has reached a guest");
        let vtep = stranger.address().to_string();
        hv2.ctl(&["peer", "add", &vtep, "--static"])?;
        until("a static peer reaches it", SOON, || Ok(reaches(&guest.to_string())))?;
        hv2.ctl(&["peer", "remove", &vtep])?;
        until("and does not any more", SOON, || Ok(!reaches(&guest.to_string())))?;
        assert!(reaches("10.99.0.1"));
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn only_a_dead_host_may_be_removed() {
    tell(&Plan::default(), |world| {
        world.form()?;
        world.apply("hv1", BLUE)?;
        world.gateway("blue", SOON)?;
        let hv1 = world.host("hv1");
        let said = hv1.refused(&["peer", "remove", "hv3"])?;
        assert!(said.contains("hv3") && said.contains("leave"), "{said}");
        // Cut off from this host alone: another one hears it.
        world.switch.cut("hv1", "hv3")?;
        until("hv3 is failed", Duration::from_secs(20), || {
            Ok(state_of(hv1, "hv3")?.as_deref() == Some("failed"))
        })?;
        let said = hv1.refused(&["peer", "remove", "hv3"])?;
        assert!(said.contains("hv2 hears"), "{said}");
        world.switch.unplug("hv3")?;
        world.switch.heal()?;
        until("hv3 is failed", Duration::from_secs(20), || {
            Ok(state_of(hv1, "hv3")?.as_deref() == Some("failed"))
        })?;
        hv1.ctl(&["peer", "remove", "hv3"])?;
        for name in ["hv1", "hv2"] {
            until("hv3 is forgotten", SOON, || {
                Ok(matches!(
                    state_of(world.host(name), "hv3")?.as_deref(),
                    None | Some("left")
                ))
            })?;
        }
        // A host that learns of its removal stops serving.
        world.switch.replug("hv3")?;
        until("hv3 knows", SOON, || {
            Ok(world.host("hv3").json(&["status"])?["cluster"].is_null())
        })?;
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_host_that_serves_the_gateway_hands_all_over_and_leaves() {
    tell(&Plan::default(), |world| {
        world.form()?;
        world.apply("hv1", BLUE)?;
        let gateway = world.gateway("blue", SOON)?;
        let guest = {
            let other = world.hosts().iter().find(|host| host.name() != gateway).unwrap();
            world.guest(other.name(), "br-blue")?
        };
        let had = guest.dhcp()?;
        let left = world.host(&gateway).json(&["leave"])?;
        assert_eq!(left["cluster_ended"], false);
        assert_eq!(left["notes"], json!([]));
        assert_eq!(world.host(&gateway).link("br-blue"), None);
        let lease = guest.renew()?;
        assert_eq!(lease["address"], had.address.to_string());
        guest.ping(overlayd_tests::wiring::SERVER)?;
        // Those that stay own all of the pool.
        let rest = world.hosts().iter().find(|host| host.name() != gateway).unwrap();
        let owners = rest.list(&["pool", "show", "blue"])?;
        assert!(!owners.is_empty());
        assert!(
            owners
                .iter()
                .all(|range| range["owner"] != gateway.as_str() && !range["owner"].is_null()),
            "{owners:?}"
        );
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_host_whose_guest_is_gone_hands_its_lease_over_and_leaves() {
    tell(&Plan::default(), |world| {
        world.form()?;
        world.apply("hv1", BLUE)?;
        let gateway = world.gateway("blue", SOON)?;
        let keeper = world.hosts().iter().find(|host| host.name() != gateway).unwrap();
        let guest = world.guest(keeper.name(), "br-blue")?;
        guest.dhcp()?;
        guest.unplug()?;
        keeper.ctl(&["leave"])?;
        assert_eq!(keeper.link("br-blue"), None);
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn the_second_of_two_hosts_hands_all_over_and_leaves() {
    let two = Plan {
        hosts: 2,
        ..Plan::default()
    };
    tell(&two, |world| {
        world.form()?;
        world.apply("hv1", BLUE)?;
        let gateway = world.gateway("blue", SOON)?;
        let keeper = world.hosts().iter().find(|host| host.name() != gateway).unwrap();
        let guest = world.guest(keeper.name(), "br-blue")?;
        guest.dhcp()?;
        guest.unplug()?;
        keeper.ctl(&["leave"])?;
        assert_eq!(keeper.link("br-blue"), None);
        Ok(())
    });
}
