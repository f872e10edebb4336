//! `apply --confirm`: a change on trial, and how it ends.

use std::time::Duration;

use anyhow::{Result, ensure};
use overlayd_tests::wait::until;
use overlayd_tests::world::{BLUE, tell};
use overlayd_tests::{Host, Plan, World};

const SOON: Duration = Duration::from_secs(10);
const HOSTS: [&str; 3] = ["hv1", "hv2", "hv3"];

fn mode(host: &Host) -> Result<String> {
    let shown = host.json(&["segment", "show", "blue"])?;
    Ok(shown["mode"].as_str().unwrap_or_default().to_owned())
}

fn all_are(world: &World, expected: &str, within: Duration) -> Result<()> {
    until(&format!("blue is {expected} on every host"), within, || {
        for name in HOSTS {
            if mode(world.host(name))? != expected {
                return Ok(false);
            }
        }
        Ok(true)
    })?;
    Ok(())
}

fn masquerades(host: &Host) -> Result<bool> {
    Ok(host.namespace().sh("nft list ruleset")?.contains("masquerade"))
}

/// With `blue` as NAT on all hosts, and a file that routes it.
fn with_blue(story: impl FnOnce(&World, &str) -> Result<()>) {
    tell(&Plan::default(), |world| {
        world.form()?;
        world.apply("hv1", BLUE)?;
        world.gateway("blue", SOON)?;
        all_are(world, "nat", SOON)?;
        let file = world.host("hv1").folder().join("routed.yaml");
        std::fs::write(&file, format!("{BLUE}    mode: routed\n"))?;
        story(world, &file.to_string_lossy())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_change_that_nobody_confirms_is_rolled_back_also_on_a_host_that_is_cut_off_and_one_that_restarts() {
    with_blue(|world, file| {
        let hv1 = world.host("hv1");
        let applied = hv1.json(&["apply", "-f", file, "--confirm", "10s"])?;
        ensure!(applied["notes"].to_string().contains("in 10 s"), "{applied}");
        all_are(world, "routed", SOON)?;
        let gateway = world.host(&world.gateway("blue", SOON)?);
        until("nothing is masqueraded", SOON, || Ok(!masquerades(gateway)?))?;
        let status = hv1.ctl(&["status"])?;
        ensure!(
            status.contains("On trial") && status.contains("apply confirm"),
            "{status}"
        );
        for other in ["hv1", "hv2"] {
            world.switch.cut("hv3", other)?;
        }
        world.host("hv2").kill_agent();
        world.host("hv2").restart_agent()?;
        all_are(world, "nat", SOON + SOON)?;
        let rolled_back = world.host("hv3").log();
        ensure!(rolled_back.contains("segment rolled back"), "{rolled_back}");
        until("it is masqueraded again", SOON, || masquerades(gateway))?;
        world.switch.heal()?;
        world.all_know_each_other(SOON + SOON)?;
        let status = hv1.ctl(&["status"])?;
        ensure!(!status.contains("On trial"), "{status}");
        all_are(world, "nat", SOON)
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_change_that_is_confirmed_on_another_host_stays() {
    with_blue(|world, file| {
        let (hv1, hv2) = (world.host("hv1"), world.host("hv2"));
        hv1.ctl(&["apply", "-f", file, "--confirm", "5s"])?;
        all_are(world, "routed", SOON)?;
        let confirmed = hv2.json(&["apply", "confirm"])?;
        assert_eq!(confirmed["segments"], serde_json::json!(["blue"]));
        let nothing = hv1.refused(&["apply", "confirm"])?;
        ensure!(nothing.contains("no change is on trial"), "{nothing}");
        // Another trial, which ends later, has come to its end.
        let red = hv1.folder().join("red.yaml");
        std::fs::write(&red, "segments: [ { name: red, vni: 11 } ]\n")?;
        hv1.ctl(&["apply", "-f", &red.to_string_lossy(), "--confirm", "5s"])?;
        until("red is gone", SOON + SOON, || {
            Ok(hv2.list(&["segment", "list"])?.len() == 1)
        })?;
        all_are(world, "routed", SOON)
    });
}
