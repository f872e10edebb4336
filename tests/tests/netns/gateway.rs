//! The gateway: one host has it; it moves when that host dies or an operator says so.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use overlayd_tests::wait::{throughout, until, wait_for};
use overlayd_tests::wiring::SERVER;
use overlayd_tests::world::{BLUE, tell};
use overlayd_tests::{Plan, World};

const SOON: Duration = Duration::from_secs(10);

/// The hosts whose kernel has the gateway address.
pub(crate) fn serving(world: &World) -> Vec<String> {
    let has = |host: &&overlayd_tests::Host| {
        let addresses = host.namespace().ip("-4 addr show dev gw-blue").unwrap_or_default();
        addresses.contains("192.168.124.1/")
    };
    world
        .hosts()
        .iter()
        .filter(has)
        .map(|host| host.name().to_owned())
        .collect()
}

pub(crate) fn with_blue(story: impl FnOnce(&World, &str) -> Result<()>) {
    tell(&Plan::default(), |world| {
        world.form()?;
        world.apply("hv1", BLUE)?;
        let gateway = world.gateway("blue", SOON)?;
        until("its kernel has the address", SOON, || {
            Ok(serving(world) == [gateway.as_str()])
        })?;
        story(world, &gateway)
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_standby_takes_over_when_the_gateway_host_dies_and_guests_go_on() {
    with_blue(|world, gateway| {
        let standby = world.hosts().iter().find(|host| host.name() != gateway).unwrap();
        let guest = world.guest(standby.name(), "br-blue")?;
        let had = guest.dhcp()?;
        guest.ping(SERVER)?;
        let ping = guest.keep_pinging(SERVER)?;
        until("it is answered", SOON, || Ok(ping.answers() > 20))?;
        let before = ping.answers();
        world.switch.unplug(gateway)?;
        world.host(gateway).kill_agent();
        let (heir, _) = wait_for("it moved", SOON, || {
            let heir = world.gateway("blue", SOON)?;
            ensure!(heir != gateway, "not yet");
            Ok(heir)
        })?;
        until("it is answered again", SOON, || Ok(ping.answers() > before + 50))?;
        let told = ping.finish()?;
        assert!(told.pause < Duration::from_secs(2), "{told:?}");
        let lease = guest.renew()?;
        assert_eq!(lease["address"], had.address.to_string());
        assert_eq!(guest.address_outside()?, world.host(&heir).address());

        // The dead host's kernel lost the address by itself; back again, it serves nothing.
        world.switch.replug(gateway)?;
        until("one serves", SOON, || Ok(serving(world) == [heir.as_str()]))?;
        world.host(gateway).restart_agent()?;
        world.all_know_each_other(SOON)?;
        throughout("one serves", Duration::from_secs(2), || {
            assert_eq!(serving(world), [heir.as_str()]);
            Ok(())
        })
    });
}

/// Whether this host's rules translate guests' addresses.
fn translates(host: &overlayd_tests::Host) -> Result<bool> {
    let rules = host.namespace().sh("nft list table inet overlayd")?;
    Ok(rules.contains("masquerade"))
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_moved_gateway_is_served_by_the_receiver_at_once() {
    with_blue(|world, gateway| {
        let receiver = world.hosts().iter().find(|host| host.name() != gateway).unwrap();
        let guest = world.guest(gateway, "br-blue")?;
        guest.dhcp()?;
        guest.ping(SERVER)?;
        let ping = guest.keep_pinging(SERVER)?;
        until("it is answered", SOON, || Ok(ping.answers() > 20))?;
        // NAT costs every packet of a host: only the gateway's has it.
        for host in world.hosts() {
            assert_eq!(translates(host)?, host.name() == gateway, "{}", host.name());
        }
        let moved = world.host("hv1").json(&["gateway", "move", "blue", receiver.name()])?;
        assert_eq!(moved["from"], gateway);
        assert_eq!(moved["gateways"][0]["host"], receiver.name());
        assert_eq!(serving(world), [receiver.name()]);
        assert!(translates(receiver)?, "it was prepared before it was handed over to");
        let before = ping.answers();
        until("it is answered on and on", SOON, || Ok(ping.answers() > before + 50))?;
        let told = ping.finish()?;
        assert!(told.pause < Duration::from_secs(1), "{told:?}");
        assert_eq!(guest.address_outside()?, receiver.address());
        throughout("it stays there", Duration::from_secs(2), || {
            assert_eq!(world.gateway("blue", SOON)?, receiver.name());
            Ok(())
        })?;
        until("the former gateway has no NAT", SOON, || {
            Ok(!translates(world.host(gateway))?)
        })?;
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_drained_host_takes_no_gateway_until_it_is_undrained() {
    with_blue(|world, gateway| {
        world.host(gateway).ctl(&["drain"])?;
        let (heir, _) = wait_for("the gateway moved", SOON, || {
            let now = world.gateway("blue", SOON)?;
            ensure!(now != gateway, "not yet");
            Ok(now)
        })?;
        // It is drained for every host, and over a restart.
        world.host(gateway).kill_agent();
        world.host(gateway).restart_agent()?;
        until("every host says that it is drained", SOON, || {
            let drained = |host: &overlayd_tests::Host| -> Result<bool> {
                let peers = host.list(&["peer", "list"])?;
                Ok(peers
                    .iter()
                    .any(|peer| peer["name"] == gateway && peer["drained"] == true))
            };
            let all = world.hosts().iter().map(drained).collect::<Result<Vec<_>>>()?;
            Ok(all.iter().all(|drained| *drained))
        })?;
        // With the heir gone the third host takes it, not the drained one.
        let third = world
            .hosts()
            .iter()
            .find(|host| host.name() != gateway && host.name() != heir)
            .unwrap();
        world.switch.unplug(&heir)?;
        world.host(&heir).kill_agent();
        until("the third host serves", SOON, || {
            Ok(world.host(gateway).gateway_of("blue")? == third.name())
        })?;
        world.host(gateway).ctl(&["undrain"])?;
        // The host that serves has to hear first that this one is a candidate again.
        wait_for("it moves back", Duration::from_secs(60), || {
            world.host(gateway).ctl(&["gateway", "move", "blue", gateway])
        })?;
        assert_eq!(third.gateway_of("blue")?, gateway);
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_cut_network_has_a_gateway_on_each_side_and_one_after_the_heal() {
    with_blue(|world, gateway| {
        let others: Vec<&str> = world
            .hosts()
            .iter()
            .map(|host| host.name())
            .filter(|name| *name != gateway)
            .collect();
        for other in &others {
            world.switch.cut(gateway, other)?;
        }
        until("the other side has one, too", Duration::from_secs(20), || {
            let serving = serving(world);
            Ok(serving.len() == 2 && serving.iter().any(|name| name == gateway))
        })?;
        world.switch.heal()?;
        until("one serves", SOON, || Ok(serving(world).len() == 1))?;
        world.all_know_each_other(SOON)?;
        let one = world.gateway("blue", SOON)?;
        until("it is the one that all name", SOON, || {
            Ok(serving(world) == [one.as_str()])
        })?;
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_dead_agent_on_a_live_kernel_is_replaced_when_its_address_has_run_out() {
    with_blue(|world, gateway| {
        let standby = world.hosts().iter().find(|host| host.name() != gateway).unwrap();
        let guest = world.guest(standby.name(), "br-blue")?;
        guest.by_hand(21)?;
        guest.ping(SERVER)?;
        world.host(gateway).kill_agent();
        // Never two kernels with the address at once.
        until("a standby serves", Duration::from_secs(20), || {
            let serving = serving(world);
            ensure!(serving.len() < 2, "two serve: {serving:?}");
            Ok(serving.len() == 1 && serving[0] != gateway)
        })?;
        guest.ping(SERVER)
    });
}

/// Stops a host's service as systemd does, by the line of the unit, with a manager in this state.
fn exec_stop(world: &World, host: &str, manager: &str) -> Result<String> {
    let unit = include_str!("../../../agent/overlayd.service");
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStop=-"));
    let line = line.context("the unit says what is done before a stop")?;
    let host = world.host(host);
    let path = |program: &std::path::Path| program.parent().map(|folder| folder.display().to_string());
    let operator = path(&world.programs().operator).context("overlayctl is in a folder")?;
    host.namespace().sh(&format!(
        "mkdir -p {folder}/bin; printf '#!/bin/sh\necho {manager}\n' > {folder}/bin/systemctl
         chmod +x {folder}/bin/systemctl
         export PATH={folder}/bin:{operator}:$PATH OVERLAYD_SOCKET={folder}/control.sock
         {line}",
        folder = host.folder().display(),
    ))
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_host_that_shuts_down_hands_over_and_a_restarted_service_does_not() {
    with_blue(|world, gateway| {
        let standby = world.hosts().iter().find(|host| host.name() != gateway).unwrap();
        let guest = world.guest(standby.name(), "br-blue")?;
        guest.dhcp()?;
        guest.ping(SERVER)?;
        let ping = guest.keep_pinging(SERVER)?;
        until("it is answered", SOON, || Ok(ping.answers() > 20))?;

        exec_stop(world, gateway, "running")?;
        world.host(gateway).stop_agent()?;
        world.host(gateway).restart_agent()?;
        world.all_know_each_other(SOON)?;
        assert_eq!(serving(world), [gateway]);
        assert_eq!(world.gateway("blue", SOON)?, gateway);
        let told = ping.finish()?;
        assert_eq!(told.sent, told.answered, "over the restart: {told:?}");

        let ping = guest.keep_pinging(SERVER)?;
        until("it is answered again", SOON, || Ok(ping.answers() > 20))?;
        exec_stop(world, gateway, "stopping")?;
        let heir = world.gateway("blue", SOON)?;
        ensure!(heir != gateway, "{heir} serves on");
        world.host(gateway).stop_agent()?;
        world.switch.unplug(gateway)?;
        let before = ping.answers();
        until("it is answered on and on", SOON, || Ok(ping.answers() > before + 100))?;
        let told = ping.finish()?;
        assert!(told.pause < Duration::from_millis(300), "over the hand-over: {told:?}");
        assert_eq!(serving(world), [heir.as_str()]);

        // Two are left, then one: nobody else can take it, and the shutdown ends all the same.
        let left = |host: &&overlayd_tests::Host| ![gateway, heir.as_str()].contains(&host.name());
        let last = world.hosts().iter().find(left).unwrap().name();
        exec_stop(world, &heir, "stopping")?;
        until("the last one serves", SOON, || Ok(serving(world) == [last]))?;
        world.host(&heir).stop_agent()?;
        world.switch.unplug(&heir)?;
        let begun = std::time::Instant::now();
        exec_stop(world, last, "stopping")?;
        assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
        Ok(())
    });
}
