//! What others do to our devices is put right; what is theirs stays; what we made can be found and taken away.

use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;
use overlayd_tests::wait::{throughout, until};
use overlayd_tests::world::{BLUE, tell};
use overlayd_tests::{Host, Plan, World};
use serde_json::json;

const SOON: Duration = Duration::from_secs(10);

/// How long drift may last: two seconds are promised, on a machine that does nothing else.
const REPAIRED: Duration = Duration::from_secs(6);

fn two_hosts_with_blue(world: &World) -> Result<&Host> {
    world.form()?;
    world.apply("hv1", BLUE)?;
    world.gateway("blue", SOON)?;
    let hv2 = world.host("hv2");
    until("nothing is due", SOON, || Ok(hv2.plan()?.is_empty()))?;
    Ok(hv2)
}

/// Everything about links, addresses, forwarding entries and rules that does not change by itself.
fn picture(host: &Host) -> Result<String> {
    host.namespace().sh("ip -d link show | sed 's/[a-z_]*_timer *[0-9.]*//g'
         ip addr show | grep inet | sed 's/dynamic//; s/ *tentative//; s/ *$//'
         bridge fdb show | grep -v 'extern_learn\\|52:54:00' | sort
         sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding
         nft list ruleset")
}

/// Panics with the lines that differ.
#[track_caller]
fn same(now: &str, before: &str) {
    let missing: Vec<&str> = before
        .lines()
        .filter(|line| !now.lines().any(|now| now == *line))
        .collect();
    let new: Vec<&str> = now
        .lines()
        .filter(|line| !before.lines().any(|before| before == *line))
        .collect();
    assert!(
        missing.is_empty() && new.is_empty(),
        "missing: {missing:#?}\nnew: {new:#?}"
    );
}

fn check_repair(damage: &str, is_whole: impl Fn(&Host) -> Result<bool> + Send + Sync) {
    let two = Plan {
        hosts: 2,
        ..Plan::default()
    };
    tell(&two, |world| {
        let hv2 = two_hosts_with_blue(world)?;
        let guest = world.guest("hv2", "br-blue")?;
        let other = world.guest("hv1", "br-blue")?;
        guest.by_hand(21)?;
        let address = other.by_hand(22)?;
        guest.ping(address)?;
        assert!(is_whole(hv2)?, "whole before it is damaged");
        hv2.namespace().sh(damage)?;
        until(&format!("repaired: {damage}"), REPAIRED, || is_whole(hv2))?;
        guest.ping(address)?;
        until("nothing is due", REPAIRED, || Ok(hv2.plan()?.is_empty()))?;
        Ok(())
    });
}

fn up_in_br_blue(host: &Host) -> bool {
    host.link("vx-blue").is_some_and(|link| {
        let up = link["flags"]
            .as_array()
            .is_some_and(|flags| flags.contains(&json!("UP")));
        link["master"] == "br-blue" && up
    })
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_deleted_vxlan_is_made_again() {
    check_repair("ip link del vx-blue", |host| {
        Ok(up_in_br_blue(host) && host.flood_list("vx-blue")? == ["172.31.0.11"])
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_deleted_bridge_comes_back_with_the_ports_that_it_had_then() {
    tell(&Plan::default(), |world| {
        world.form()?;
        world.apply("hv1", BLUE)?;
        world.gateway("blue", SOON)?;
        let [guest, other, taken_out] = [
            world.guest("hv2", "br-blue")?,
            world.guest("hv1", "br-blue")?,
            world.guest("hv2", "br-blue")?,
        ];
        let address = guest.by_hand(21)?;
        other.by_hand(22)?;
        other.ping(address)?;
        let hv2 = world.host("hv2");
        for plugged in [&guest, &taken_out] {
            crate::guests::knows_port(hv2, plugged)?;
        }
        // An operator's own doing stays as it is.
        hv2.namespace().ip(&format!("link set {} nomaster", taken_out.port()))?;
        until("it is known to be out", SOON, || {
            crate::guests::names_port(hv2, &taken_out).map(|named| !named)
        })?;
        hv2.namespace().ip("link del br-blue")?;
        until("the port is back", REPAIRED, || {
            Ok(hv2.link(guest.port()).is_some_and(|link| link["master"] == "br-blue"))
        })?;
        other.ping(address)?;
        until("nothing is due", REPAIRED, || Ok(hv2.plan()?.is_empty()))?;
        assert!(hv2.link(taken_out.port()).is_some_and(|link| link["master"].is_null()));
        let problems = hv2.json(&["status"])?["problems"].to_string();
        assert!(
            !problems.contains(taken_out.port()) && !problems.contains(guest.port()),
            "{problems}"
        );

        // Somebody else's bridge is in the way for longer than ports are waited for: they are the operator's then.
        // The agent would be quicker.
        hv2.signal_agent(Signal::SIGSTOP);
        let made = hv2
            .namespace()
            .sh("ip link del br-blue && ip link add br-blue type bridge");
        hv2.signal_agent(Signal::SIGCONT);
        made?;
        let named = || {
            Ok(hv2.json(&["status"])?["problems"]
                .to_string()
                .contains(&format!("{} was on br-blue", guest.port())))
        };
        until("the port is named", Duration::from_secs(20), named)?;
        hv2.namespace().ip("link del br-blue")?;
        until("the bridge is back", REPAIRED, || {
            Ok(hv2.plan()?.is_empty() && hv2.link("br-blue").is_some())
        })?;
        assert!(hv2.link(guest.port()).is_some_and(|link| link["master"].is_null()));
        hv2.namespace()
            .ip(&format!("link set {} master br-blue", guest.port()))?;
        until("the port is named no more", REPAIRED, || named().map(|named| !named))?;
        other.ping(address)
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_flushed_flood_list_is_filled_again() {
    check_repair("bridge fdb del 00:00:00:00:00:00 dev vx-blue dst 172.31.0.11", |host| {
        Ok(host.flood_list("vx-blue")? == ["172.31.0.11"])
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_vxlan_without_its_master_gets_it_back() {
    check_repair("ip link set vx-blue nomaster", |host| Ok(up_in_br_blue(host)));
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_bridge_that_was_set_down_is_set_up() {
    check_repair("ip link set br-blue down", |host| {
        let link = host.link("br-blue");
        Ok(link.is_some_and(|link| {
            link["flags"]
                .as_array()
                .is_some_and(|flags| flags.contains(&json!("UP")))
        }))
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn deleted_rules_are_loaded_again() {
    check_repair("nft delete table inet overlayd", |host| {
        Ok(host.namespace().sh("nft list tables")?.contains("table inet overlayd"))
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_stranger_in_the_flood_list_is_taken_out() {
    check_repair(
        "bridge fdb append 00:00:00:00:00:00 dev vx-blue dst 172.31.0.77; sleep 0.3",
        |host| Ok(host.flood_list("vx-blue")? == ["172.31.0.11"]),
    );
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_foreign_bridge_of_our_name_is_an_error_that_says_so_and_stays_as_it_is() {
    tell(&Plan::default(), |world| {
        world.form()?;
        let hv2 = world.host("hv2");
        hv2.namespace()
            .ip_batch("link add br-blue address 02:11:22:33:44:55 type bridge\nlink set br-blue up\n")?;
        let look = || {
            hv2.namespace()
                .sh("ip addr show br-blue; bridge link; sysctl net.ipv6.conf.br-blue.accept_ra")
        };
        let before = look()?;
        world.host("hv1").apply(BLUE)?;
        until("hv2 names the foreign bridge", SOON, || {
            let status = hv2.json(&["status"])?;
            Ok(status["problems"].to_string().contains("br-blue"))
        })?;
        throughout("the foreign bridge stays", Duration::from_secs(1), || {
            assert_eq!(look()?, before);
            Ok(())
        })?;
        assert!(world.host("hv1").link("br-blue").is_some(), "the others have theirs");
        // The way out: the operator removes it, and nothing else is needed.
        hv2.namespace().ip("link del br-blue")?;
        until("hv2 has its own", SOON, || Ok(up_in_br_blue(hv2)))?;
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_killed_agent_adopts_what_it_made_and_no_ping_is_lost() {
    tell(&Plan::default(), |world| {
        world.form()?;
        world.apply("hv1", BLUE)?;
        let gateway = world.gateway("blue", SOON)?;
        let (mut pings, mut guests) = (Vec::new(), Vec::new());
        for (number, host) in world.hosts().iter().enumerate() {
            let guest = world.guest(host.name(), "br-blue")?;
            guest.by_hand(21 + number as u8)?;
            guest.ping("192.168.124.1")?;
            guest.ping("203.0.113.1")?;
            guests.push(guest);
        }
        guests[0].ping("192.168.124.22")?;
        for guest in &guests {
            // To the outside; and the first one across to the second host, whose agents die, too.
            pings.push((guest.name().to_owned(), guest.keep_pinging("203.0.113.1")?));
        }
        pings.push(("across".to_owned(), guests[0].keep_pinging("192.168.124.22")?));
        for (_, ping) in &pings {
            until("it is answered", SOON, || Ok(ping.answers() > 20))?;
        }
        for host in world.hosts() {
            host.kill_agent();
            host.restart_agent()?;
            until("nothing is due", SOON, || Ok(host.plan()?.is_empty()))?;
            world.all_know_each_other(SOON)?;
        }
        assert_eq!(world.gateway("blue", SOON)?, gateway, "the gateway stayed where it was");
        for (who, ping) in pings {
            let before = ping.answers();
            until("it is answered on and on", SOON, || Ok(ping.answers() > before + 20))?;
            let told = ping.finish()?;
            assert_eq!(told.lost(), 0, "{who}: {told:?}");
        }
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_stopped_agent_leaves_the_data_plane_and_a_started_one_has_nothing_to_do() {
    tell(&Plan::default(), |world| {
        world.form()?;
        world.apply("hv1", BLUE)?;
        let gateway = world.gateway("blue", SOON)?;
        let standby = world.hosts().iter().find(|host| host.name() != gateway).unwrap();
        until("nothing is due", SOON, || Ok(standby.plan()?.is_empty()))?;
        let before = picture(standby)?;
        let status = standby.stop_agent()?;
        assert!(status.success(), "SIGTERM ends it well: {status}");
        same(&picture(standby)?, &before);
        standby.restart_agent()?;
        world.all_know_each_other(SOON)?;
        until("nothing is due", SOON, || Ok(standby.plan()?.is_empty()))?;
        same(&picture(standby)?, &before);
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn check_prints_the_plan_and_changes_nothing() {
    tell(&Plan::default(), |world| {
        let hv1 = world.host("hv1");
        hv1.configure(&json!({ "segments": [
            { "name": "blue", "vni": 10, "ipv4": { "subnet": "192.168.124.0/24" } }
        ] }))?;
        let before = picture(hv1)?;
        let output = hv1.overlayd(&["--check"])?;
        let (stdout, stderr) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert_eq!(output.status.code(), Some(0), "{stderr}");
        assert!(
            stdout
                .lines()
                .any(|line| line.starts_with("ip link add") && line.contains("br-blue")),
            "{stdout}"
        );
        assert!(stdout.contains("vx-blue") && stdout.contains("id 10"), "{stdout}");
        same(&picture(hv1)?, &before);
        assert!(!hv1.state().exists(), "not even a state directory");

        hv1.configure(&json!({ "segments": [{ "name": "blue", "vni": 16777216, "colour": "blue" }] }))?;
        let output = hv1.overlayd(&["--check"])?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(output.stdout.is_empty());
        assert!(
            stderr.contains("vni") && stderr.contains("colour"),
            "both at once: {stderr}"
        );
        assert!(stderr.contains("overlayd.yaml:"), "file, line and column: {stderr}");
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn cleanup_removes_all_that_the_agent_made_and_nothing_else() {
    tell(&Plan::default(), |world| {
        let hv1 = world.host("hv1");
        hv1.namespace()
            .ip_batch("link add br-other type bridge\nlink set br-other up\n")?;
        hv1.namespace().nft("add table inet mine\nadd chain inet mine c\n")?;
        let before = picture(hv1)?;
        hv1.start_agent(&json!({}))?;
        world.apply("hv1", BLUE)?;
        let guest = world.guest("hv1", "br-blue")?;
        hv1.stop_agent()?;

        let refused = hv1.overlayd(&["--cleanup"])?;
        let stderr = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(guest.port()) && stderr.contains("--force"), "{stderr}");
        assert!(hv1.link("br-blue").is_some());

        guest.unplug()?;
        let output = hv1.overlayd(&["--cleanup"])?;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        same(&picture(hv1)?, &before);
        Ok(())
    });
}
