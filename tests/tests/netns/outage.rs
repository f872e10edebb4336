//! What breaks between and on hosts that serve: gateway hosts that die, agents that freeze, networks that are cut.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use overlayd_tests::dhcp_load::{Client, Load, Report, run};
use overlayd_tests::wait::{throughout, until, wait_for};
use overlayd_tests::wiring::SERVER;
use overlayd_tests::world::{BLUE, tell};
use overlayd_tests::{Guest, Plan, World};

use crate::gateway::{serving, with_blue};

const SOON: Duration = Duration::from_secs(10);

/// Four hosts, so that a cut leaves two on each side.
fn four() -> Plan {
    Plan {
        hosts: 4,
        ..Plan::default()
    }
}

/// The names of all hosts but one.
fn others<'world>(world: &'world World, one: &str) -> Vec<&'world str> {
    let names = world.hosts().iter().map(|host| host.name());
    names.filter(|name| *name != one).collect()
}

/// The one kernel among these that has the gateway address.
fn one_of(world: &World, among: &[&str]) -> Result<String> {
    let has: Vec<String> = serving(world)
        .into_iter()
        .filter(|name| among.contains(&name.as_str()))
        .collect();
    let [one] = &has[..] else {
        anyhow::bail!("{has:?} of {among:?} have the address");
    };
    Ok(one.clone())
}

/// Each kernel has answered a probe of each other host: only then is silence told from a firewall.
fn all_have_answered(world: &World) -> Result<()> {
    let expected = world.hosts().len() - 1;
    for host in world.hosts() {
        until("every kernel has answered", SOON, || {
            let answered = std::fs::read_to_string(host.state().join("answered"));
            Ok(answered.is_ok_and(|hosts| hosts.lines().count() == expected))
        })?;
    }
    Ok(())
}

/// Cuts every host of one side from every host of the other.
fn cut(world: &World, side: &[&str], other_side: &[&str]) -> Result<()> {
    for one in side {
        for other in other_side {
            world.switch.cut(one, other)?;
        }
    }
    Ok(())
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_gateway_host_is_replaced_whatever_it_died_of() {
    tell(&four(), |world| {
        world.form()?;
        world.apply("hv1", BLUE)?;
        let first = world.gateway("blue", SOON)?;
        all_have_answered(world)?;
        let mut alive = others(world, &first);
        // On the host that will be alive to the end.
        let observer = alive[0].to_owned();
        let guest = world.guest(&observer, "br-blue")?;
        let had = guest.dhcp()?;
        guest.ping(SERVER)?;

        let mut gateway = first;
        type Way = (&'static str, Duration, fn(&World, &str) -> Result<()>);
        let ways: [Way; 3] = [
            ("the cable is pulled", Duration::from_secs(2), |world, host| {
                world.switch.unplug(host)
            }),
            // The kernel goes on forwarding for as long as it has the address; then nobody does until the grants have
            // run out.
            ("all processes are gone", Duration::from_secs(4), |world, host| {
                world.host(host).kill_agent();
                Ok(())
            }),
            ("the namespace is gone", Duration::from_secs(2), |world, host| {
                world.host(host).kill_agent();
                world.host(host).namespace().remove()
            }),
        ];
        for (way, silence, die) in ways {
            if gateway == observer {
                // The observer stays: somebody else has to serve before the next death.
                let next = alive.iter().find(|name| **name != observer).context("two are left")?;
                world.host(&observer).ctl(&["gateway", "move", "blue", next])?;
                gateway = (*next).to_owned();
            }
            let ping = guest.keep_pinging(SERVER)?;
            until("it is answered", SOON, || Ok(ping.answers() > 20))?;
            die(world, &gateway)?;
            alive.retain(|name| *name != gateway);
            let (heir, _) = wait_for(way, Duration::from_secs(12), || one_of(world, &alive))?;
            let before = ping.answers();
            until("it is answered again", SOON, || Ok(ping.answers() > before + 50))?;
            let told = ping.finish()?;
            assert!(told.pause < silence, "{way}: {told:?}");
            assert_eq!(guest.address_outside()?, world.host(&heir).address(), "{way}");
            assert_eq!(guest.renew()?["address"], had.address.to_string(), "{way}");
            if way == "the cable is pulled" {
                // Back again, so that two are left at the end; what it served is over.
                world.switch.replug(&gateway)?;
                until("one serves", SOON, || Ok(serving(world) == [heir.as_str()]))?;
                world.all_know_each_other(SOON)?;
                alive = others(world, "none");
            }
            gateway = heir;
        }
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_frozen_gateway_agent_never_makes_two_and_guests_go_on() {
    with_blue(|world, gateway| {
        let standby = others(world, gateway)[0];
        let guest = world.guest(standby, "br-blue")?;
        guest.dhcp()?;
        guest.ping(SERVER)?;
        let ping = guest.keep_pinging(SERVER)?;
        until("it is answered", SOON, || Ok(ping.answers() > 20))?;

        let frozen = world.host(gateway);
        frozen.signal_agent(Signal::SIGSTOP);
        let stopped = Instant::now();
        let mut resumed = false;
        // From the first look that showed two to the last one in a row.
        let (mut since, mut two) = (None, Duration::ZERO);
        // A look may take seconds on a busy machine: the agent is resumed all the same.
        while !resumed || stopped.elapsed() < Duration::from_secs(9) {
            if !resumed && stopped.elapsed() >= Duration::from_secs(5) {
                frozen.signal_agent(Signal::SIGCONT);
                resumed = true;
            }
            match serving(world).len() {
                0 | 1 => since = None,
                _ => two = two.max(since.get_or_insert_with(Instant::now).elapsed()),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(two < Duration::from_millis(6500), "two for {two:?}");
        let one = world.gateway("blue", SOON)?;
        throughout("one serves", Duration::from_secs(1), || {
            assert_eq!(serving(world), [one.as_str()]);
            Ok(())
        })?;
        let before = ping.answers();
        until("it is answered", SOON, || Ok(ping.answers() > before + 50))?;
        let told = ping.finish()?;
        // The address is gone five seconds after its last renewal; the woken agent is quiet for a second or two.
        assert!(told.pause < Duration::from_secs(4), "{told:?}");
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn two_and_two_have_a_gateway_each_and_one_after_the_heal() {
    tell(&four(), |world| {
        world.form()?;
        world.apply("hv1", BLUE)?;
        let gateway = world.gateway("blue", SOON)?;
        all_have_answered(world)?;
        let rest = others(world, &gateway);
        let (ours, theirs) = ([gateway.as_str(), rest[0]], [rest[1], rest[2]]);
        // Each guest is on a host that does not serve, if its side has such a one.
        let [near, far] = [world.guest(rest[0], "br-blue")?, world.guest(rest[1], "br-blue")?];
        for guest in [&near, &far] {
            guest.dhcp()?;
            guest.ping(SERVER)?;
        }
        cut(world, &ours, &theirs)?;
        let (there, _) = wait_for("the other side has one", SOON, || one_of(world, &theirs))?;
        throughout("one on each side", Duration::from_secs(3), || {
            assert_eq!(one_of(world, &ours)?, gateway);
            assert_eq!(one_of(world, &theirs)?, there);
            Ok(())
        })?;
        for (guest, by) in [(&near, gateway.as_str()), (&far, there.as_str())] {
            guest.ping(SERVER)?;
            assert_eq!(guest.address_outside()?, world.host(by).address());
            guest.renew()?;
        }
        world.switch.heal()?;
        let all: Vec<&str> = world.hosts().iter().map(|host| host.name()).collect();
        world.all_know_each_other(SOON)?;
        let one = world.gateway("blue", SOON)?;
        until("one serves", SOON, || {
            Ok(one_of(world, &all).is_ok_and(|serves| serves == one))
        })?;
        for guest in [&near, &far] {
            guest.ping(SERVER)?;
            assert_eq!(guest.address_outside()?, world.host(&one).address());
            guest.renew()?;
        }
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_one_way_cut_deposes_nobody_while_a_third_host_hears_both() {
    with_blue(|world, gateway| {
        all_have_answered(world)?;
        let rest = others(world, gateway);
        let guest = world.guest(rest[1], "br-blue")?;
        guest.dhcp()?;
        for (from, to) in [(gateway, rest[0]), (rest[0], gateway)] {
            world.switch.cut_one_way(from, to)?;
            throughout("it serves, and nobody else", Duration::from_secs(3), || {
                assert_eq!(serving(world), [gateway], "cut from {from} to {to}");
                Ok(())
            })?;
            guest.ping(SERVER)?;
            world.switch.heal()?;
        }
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_gateway_that_hears_and_is_not_heard_is_replaced_and_gives_way() {
    with_blue(|world, gateway| {
        all_have_answered(world)?;
        let rest = others(world, gateway);
        let guest = world.guest(rest[0], "br-blue")?;
        guest.dhcp()?;
        for other in &rest {
            world.switch.cut_one_way(gateway, other)?;
        }
        let (heir, _) = wait_for("the others have one", SOON, || one_of(world, &rest))?;
        guest.ping(SERVER)?;
        assert_eq!(guest.address_outside()?, world.host(&heir).address());
        world.switch.heal()?;
        world.all_know_each_other(SOON)?;
        let one = world.gateway("blue", SOON)?;
        until("one serves", SOON, || Ok(serving(world) == [one.as_str()]))?;
        guest.ping(SERVER)
    });
}

/// The clients of a side ask for leases, one every 40 ms.
fn ask(guest: &Guest, clients: Vec<Client>) -> Result<Report> {
    let load = Load {
        interface: "eth0".to_owned(),
        tag: None,
        clients,
        spacing: Duration::from_millis(40),
        at_once: 100,
        retry: Duration::from_millis(250),
        patience: Duration::from_secs(15),
    };
    guest.namespace().within(|| run(&load))
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn cut_and_heal_under_two_hundred_clients_lose_no_lease_and_give_none_twice() {
    tell(&four(), |world| {
        world.form()?;
        let wide = BLUE
            .replace("192.168.124.0/24", "192.168.124.0/22")
            .replace("192.168.124.254", "192.168.127.254");
        world.apply("hv1", &wide)?;
        let gateway = world.gateway("blue", SOON)?;
        all_have_answered(world)?;
        // Every host has its share before the cut: a side without any gives nothing new.
        until("all have a share", SOON, || {
            let ranges = world.host("hv1").list(&["pool", "show", "blue"])?;
            let owners: std::collections::BTreeSet<String> =
                ranges.iter().map(|range| range["owner"].to_string()).collect();
            Ok(owners.len() == 4)
        })?;
        let rest = others(world, &gateway);
        let (ours, theirs) = ([gateway.as_str(), rest[0]], [rest[1], rest[2]]);
        let guests = [world.guest(ours[1], "br-blue")?, world.guest(theirs[0], "br-blue")?];
        let both = |clients: [Vec<Client>; 2], meanwhile: &dyn Fn() -> Result<()>| -> Result<Vec<Report>> {
            std::thread::scope(|scope| {
                let sides: Vec<_> = guests
                    .iter()
                    .zip(clients)
                    .map(|(guest, clients)| scope.spawn(move || ask(guest, clients)))
                    .collect();
                meanwhile()?;
                let reports = sides.into_iter().map(|side| {
                    let report = side.join().map_err(|_| anyhow::anyhow!("a side panicked"))?;
                    report.context("a side's clients")
                });
                reports.collect()
            })
        };
        let first = both([Client::fresh(1, 100), Client::fresh(2, 100)], &|| {
            let given = |leases: usize| {
                until("leases are given", SOON, || {
                    Ok(world.host(ours[1]).list(&["lease", "list"])?.len() >= leases)
                })
            };
            given(30)?;
            cut(world, &ours, &theirs)?;
            wait_for("the other side has one", SOON, || one_of(world, &theirs))?;
            given(70)?;
            world.switch.heal()
        })?;
        for report in &first {
            assert_eq!(report.failed(), 0, "{report:?}");
        }
        let together = |reports: &[Report]| Report {
            exchanges: reports.iter().flat_map(|report| report.exchanges.clone()).collect(),
            time: Duration::ZERO,
        };
        assert_eq!(
            together(&first).duplicates().len(),
            0,
            "{:?}",
            together(&first).duplicates()
        );
        world.all_know_each_other(SOON)?;
        world.gateway("blue", SOON)?;
        // Each asks for what it has: it is confirmed, and nobody is told another address.
        let again = both([first[0].rebooting(), first[1].rebooting()], &|| Ok(()))?;
        for (had, has) in first.iter().zip(&again) {
            for (before, now) in had.exchanges.iter().zip(&has.exchanges) {
                ensure!(
                    now.address == before.address && now.refused == 0,
                    "before {before:?}, now {now:?}"
                );
            }
        }
        Ok(())
    });
}
