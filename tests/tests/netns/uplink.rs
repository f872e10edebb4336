//! The gateway is where the way out works, as far as anyone's does.

use std::time::Duration;

use anyhow::{Result, ensure};
use overlayd_tests::wait::{throughout, until, wait_for};
use overlayd_tests::wiring::SERVER;
use overlayd_tests::{Host, World};
use serde_json::{Value, json};

use crate::gateway::{serving, with_blue};

pub(crate) const SOON: Duration = Duration::from_secs(10);

const SILENT: &str = "uplink eth0: next hop 172.31.0.1 does not respond";

/// What `status` says is wrong with uplinks.
pub(crate) fn problems(host: &Host) -> Result<Vec<String>> {
    let status = host.json(&["status"])?;
    let evidence = |problem: &Value| problem["evidence"].as_str().unwrap_or_default().to_owned();
    let all = status["problems"].as_array().into_iter().flatten().map(evidence);
    Ok(all.filter(|evidence| evidence.contains("uplink")).collect())
}

pub(crate) fn says(host: &Host, what: &str) -> Result<bool> {
    Ok(problems(host)?.iter().any(|problem| problem == what))
}

/// Each next hop has answered once, and the uplinks of all have worked for ten seconds.
fn steady(world: &World) -> Result<()> {
    throughout("all is well", Duration::from_secs(11), || {
        for host in world.hosts() {
            assert_eq!(problems(host)?, [""; 0]);
        }
        Ok(())
    })
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_gateway_whose_router_falls_silent_behind_a_cable_that_is_up_moves_to_one_whose_router_answers() {
    with_blue(|world, gateway| {
        let guest = world.guest(gateway, "br-blue")?;
        guest.dhcp()?;
        guest.ping(SERVER)?;
        steady(world)?;
        world.switch.cut(gateway, "wan")?;
        let was = world.host(gateway);
        until("it says so", SOON, || says(was, SILENT))?;
        let (heir, _) = wait_for("the gateway moves", SOON, || {
            let heir = world.gateway("blue", SOON)?;
            ensure!(heir != gateway, "not yet");
            Ok(heir)
        })?;
        until("it serves", SOON, || Ok(serving(world) == [heir.as_str()]))?;
        guest.ping(SERVER)?;
        assert_eq!(guest.address_outside()?, world.host(&heir).address());
        let other = world.host(&heir);
        until("the others know", SOON, || says(other, SILENT))?;
        // The router is back: all is well, and the gateway stays where it is.
        world.switch.heal()?;
        until("it works again", SOON, || Ok(problems(was)?.is_empty()))?;
        throughout("it stays", Duration::from_secs(12), || {
            assert_eq!(world.gateway("blue", SOON)?, heir);
            Ok(())
        })
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_router_that_answers_nothing_but_arp_and_that_only_every_second_time_is_not_taken_for_dead() {
    with_blue(|world, gateway| {
        world.switch.drop_where("ip daddr 172.31.0.1")?;
        for host in world.hosts() {
            world.switch.drop_where(&format!(
                "iifname {} oifname wan arp operation request numgen inc mod 2 == 0",
                host.name()
            ))?;
        }
        throughout("nothing is wrong", Duration::from_secs(20), || {
            for host in world.hosts() {
                assert!(!says(host, SILENT)?, "{}", host.name());
            }
            assert_eq!(world.gateway("blue", SOON)?, gateway);
            Ok(())
        })
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn where_nobodys_router_answers_there_is_a_gateway_for_what_is_inside() {
    with_blue(|world, gateway| {
        let standby = world.hosts().iter().find(|host| host.name() != gateway).unwrap();
        let guest = world.guest(standby.name(), "br-blue")?;
        guest.dhcp()?;
        steady(world)?;
        for host in world.hosts() {
            world.switch.cut(host.name(), "wan")?;
        }
        for host in world.hosts() {
            until("each says so", SOON, || says(host, SILENT))?;
        }
        throughout("it stays, and serves", Duration::from_secs(12), || {
            assert_eq!(serving(world), [gateway]);
            Ok(())
        })?;
        guest.renew()?;
        guest.ping("192.168.124.1")?;
        let reason = world.host(gateway).list(&["gateway", "list"])?[0]["reason"].clone();
        assert!(
            reason.as_str().is_some_and(|reason| reason.ends_with(SILENT)),
            "{reason}"
        );
        // Its host dies: another one takes it, although its router does not answer either.
        world.switch.unplug(gateway)?;
        world.host(gateway).kill_agent();
        until("another serves", SOON, || {
            Ok(serving(world).iter().any(|name| name != gateway))
        })?;
        guest.ping("192.168.124.1")
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_way_out_without_a_next_hop_and_one_that_never_answered_count_as_working() {
    with_blue(|world, _| {
        let [hv1, hv2, hv3] = ["hv1", "hv2", "hv3"].map(|name| world.host(name));
        hv1.namespace().ip_batch("route replace default dev eth0\n")?;
        hv2.namespace().ip_batch("route replace default via 172.31.0.77\n")?;
        throughout("nothing is wrong", Duration::from_secs(8), || {
            for host in [hv1, hv2] {
                assert_eq!(problems(host)?, [""; 0], "{}", host.name());
            }
            Ok(())
        })?;
        // Without a route there is no way out, and that is told.
        hv3.namespace()
            .ip_batch("route del default\nroute del default via fd31::1\n")?;
        until("it says so", SOON, || says(hv3, "no uplink: no default route"))?;
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn an_uplink_that_is_named_needs_a_default_route_of_its_own() {
    with_blue(|world, _| {
        let hv3 = world.host("hv3");
        hv3.kill_agent();
        hv3.start_agent(&json!({
            "host": { "gateway": { "uplink": "eth0" } },
            "cluster": { "join": [world.host("hv1").listen()] },
        }))?;
        // Another way out, of the operators.
        hv3.namespace()
            .ip_batch("route add default via 172.31.1.1 dev eth1 metric 500 onlink\n")?;
        throughout("nothing is wrong", Duration::from_secs(3), || {
            assert_eq!(problems(hv3)?, [""; 0]);
            Ok(())
        })?;
        hv3.namespace()
            .ip_batch("route del default dev eth0\nroute del default via fd31::1\n")?;
        until("it says so", SOON, || says(hv3, "uplink eth0: no default route"))?;
        hv3.namespace()
            .ip_batch("route add default via 172.31.0.1 dev eth0\n")?;
        until("it works again", SOON, || Ok(problems(hv3)?.is_empty()))?;
        Ok(())
    });
}
