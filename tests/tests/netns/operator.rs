//! What an operator does by the agent's own command line, its file and its signals, and what is told of it.

use std::process::Output;
use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;
use overlayd_tests::wait::{throughout, until};
use overlayd_tests::world::{BLUE, tell};
use overlayd_tests::{Host, Plan};
use serde_json::json;

const SOON: Duration = Duration::from_secs(10);

const TWO: Plan = Plan {
    hosts: 2,
    underlay: overlayd_tests::world::Underlay::V4,
};

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn names(host: &Host) -> Result<Vec<String>> {
    let segments = host.list(&["segment", "list"])?;
    let names = segments.iter().filter_map(|segment| segment["name"].as_str());
    Ok(names.map(str::to_owned).collect())
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_host_that_is_told_to_join_itself_says_so_and_goes_on_as_it_was() {
    tell(&TWO, |world| {
        world.form()?;
        world.apply("hv1", BLUE)?;
        world.gateway("blue", SOON)?;
        let [hv1, hv2] = ["hv1", "hv2"].map(|name| world.host(name));
        for arguments in [["join", "172.31.0.11"], ["join", "127.0.0.1:7480"]] {
            let refused = hv1.refused(&arguments)?;
            assert!(refused.contains("is this host itself"), "{refused}");
            assert!(refused.contains("run this on the other hosts"), "{refused}");
        }
        assert!(
            hv1.refused(&["peer", "add", "172.31.0.11"])?
                .contains("is this host itself")
        );
        let again = hv1.json(&["join", &hv2.address().to_string()])?;
        assert_eq!((&again["already_member"], &again["via"]), (&json!(true), &json!("hv2")));
        assert_eq!(hv1.json(&["peer", "add", "172.31.0.12"])?["already_member"], true);
        for name in ["hv1", "hv2"] {
            world.guest(name, "br-blue")?.dhcp()?;
        }
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_host_that_was_cleaned_up_is_told_what_it_forgets_and_joins_again_by_itself() {
    tell(&Plan::default(), |world| {
        world.form()?;
        world.apply("hv1", BLUE)?;
        let [hv1, hv3] = ["hv1", "hv3"].map(|name| world.host(name));
        hv3.stop_agent()?;
        let cleaned = hv3.overlayd(&["--cleanup"])?;
        assert!(cleaned.status.success(), "{}", said(&cleaned));
        for words in [
            "has forgotten that it is a member",
            "overlayctl join",
            "overlayctl peer remove",
        ] {
            assert!(said(&cleaned).contains(words), "{}", said(&cleaned));
        }
        // Its `join:` list leads it in again.
        hv3.restart_agent()?;
        world.all_know_each_other(SOON)?;
        until("it has its segment again", SOON, || Ok(hv3.link("br-blue").is_some()))?;
        until("what it was before is gone", SOON, || {
            Ok(hv1.list(&["peer", "list"])?.len() == 3)
        })?;
        world.guest("hv3", "br-blue")?.dhcp()?;
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn check_refuses_what_a_start_refuses_and_shows_what_a_restart_would_do() {
    tell(&TWO, |world| {
        let [hv1, hv2] = ["hv1", "hv2"].map(|name| world.host(name));
        for (change, code, words) in [
            (
                json!({ "cluster": { "insecure": false } }),
                2,
                "`cluster.insecure` is false",
            ),
            (
                json!({ "host": { "address": "172.31.0.99" } }),
                1,
                "no interface has the address 172.31.0.99",
            ),
            (
                json!({ "host": { "underlay": "eth9" } }),
                1,
                "there is no interface eth9",
            ),
        ] {
            hv1.configure(&change)?;
            let checked = hv1.overlayd(&["--check"])?;
            assert_eq!(checked.status.code(), Some(code), "{}", said(&checked));
            assert!(said(&checked).contains(words), "{}", said(&checked));
            assert!(!said(&checked).contains("configuration is valid"));
        }
        std::fs::write(hv1.file(), "")?;
        assert_eq!(
            hv1.overlayd(&["--check"])?.status.code(),
            Some(2),
            "an empty file is not secure"
        );

        let segments = json!({ "segments": [{ "name": "blue", "vni": 10, "ipv4": { "subnet": "192.168.124.0/24" } }] });
        hv1.configure(&segments)?;
        let checked = hv1.overlayd(&["--check"])?;
        let stdout = String::from_utf8_lossy(&checked.stdout).into_owned();
        assert!(
            stdout.contains("table inet overlayd {") && stdout.contains("chain"),
            "{stdout}"
        );
        assert!(
            said(&checked).ends_with("configuration is valid\n"),
            "{}",
            said(&checked)
        );

        // In a cluster: nothing while all is well, and what is missing otherwise; an agent runs or not.
        hv1.start_agent(&json!({}))?;
        hv2.start_agent(&json!({ "cluster": { "join": [hv1.listen()] } }))?;
        world.all_know_each_other(SOON)?;
        world.apply("hv1", BLUE)?;
        world.gateway("blue", SOON)?;
        for host in [hv1, hv2] {
            until("a restart would do nothing", SOON, || {
                let checked = host.overlayd(&["--check"])?;
                anyhow::ensure!(checked.status.success(), "{}", said(&checked));
                Ok(checked.stdout.is_empty())
            })?;
        }
        hv2.kill_agent();
        hv2.namespace().ip("link del vx-blue")?;
        let checked = hv2.overlayd(&["--check"])?;
        let stdout = String::from_utf8_lossy(&checked.stdout).into_owned();
        assert!(
            stdout.contains("ip link add vx-blue") && stdout.contains("id 10"),
            "{stdout}"
        );
        assert!(!stdout.contains("ip link add br-blue"), "{stdout}");
        hv2.restart_agent()?;
        world.all_know_each_other(SOON)?;
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_reload_names_what_changed_and_introduces_new_segments() {
    tell(&TWO, |world| {
        world.form()?;
        let [hv1, hv2] = ["hv1", "hv2"].map(|name| world.host(name));
        let join = json!([hv1.listen()]);
        hv2.configure(&json!({
            "host": { "labels": { "rack": "b" } },
            "cluster": { "join": join },
            "state_dir": "/elsewhere",
            "segments": [{ "name": "green", "vni": 11, "ipv4": { "subnet": "192.168.125.0/24" } }],
        }))?;
        hv2.signal_agent(Signal::SIGHUP);
        until("the cluster has the segment", SOON, || Ok(names(hv1)? == ["green"]))?;
        let log = hv2.log();
        for words in ["host.labels.rack", "segments.green", "state_dir", "needs a restart"] {
            assert!(log.contains(words), "{words}: {log}");
        }
        hv2.configure(&json!({ "cluster": { "join": join, "insecure": false } }))?;
        hv2.signal_agent(Signal::SIGHUP);
        until("it is refused", SOON, || {
            Ok(hv2.log().contains("the configuration stays as it was"))
        })?;
        throughout("it goes on", Duration::from_secs(1), || {
            assert_eq!(hv1.alive()?, ["hv1", "hv2"]);
            Ok(())
        })
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn the_log_says_who_had_what_done_what_was_repaired_and_who_got_a_lease() {
    tell(&TWO, |world| {
        world.form()?;
        world.apply("hv1", BLUE)?;
        let gateway = world.gateway("blue", SOON)?;
        let hv1 = world.host("hv1");
        let applied = hv1.log();
        let command = applied.lines().find(|line| line.contains("an operator's command"));
        let command = command.unwrap_or_default();
        assert!(command.contains("uid=0") && command.contains("apply -f"), "{applied}");
        let guest = world.guest(&gateway, "br-blue")?;
        guest.dhcp()?;
        let told = |host: &Host, words: &[&str]| {
            let log = host.log();
            log.lines().any(|line| words.iter().all(|word| line.contains(word)))
        };
        until("the lease is told", SOON, || {
            let words = ["lease given to a guest", "segment=\"blue\"", guest.mac()];
            Ok(world.hosts().iter().any(|host| told(host, &words)))
        })?;
        until("nothing is due", SOON, || Ok(hv1.plan()?.is_empty()))?;
        // What is put back in one plan with something new, like the guest that was just seen, is no repair to the log.
        until("the repair is told", SOON, || {
            hv1.namespace().ip("link set vx-blue mtu 1300")?;
            until("it is put back", SOON, || Ok(hv1.plan()?.is_empty()))?;
            Ok(told(hv1, &["repaired", "segment=\"blue\"", "ip link set vx-blue mtu"]))
        })?;
        Ok(())
    });
}
