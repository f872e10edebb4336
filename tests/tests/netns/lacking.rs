//! A host whose kernel cannot make a segment does not keep its gateway, and every host's `status` says what is wrong.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use overlayd_tests::wait::{until, wait_for};
use overlayd_tests::world::{BLUE, tell};
use overlayd_tests::{Host, Plan, World};
use serde_json::{Value, json};

use crate::gateway::serving;

const SOON: Duration = Duration::from_secs(10);
/// Five seconds to be sure, two to wait for the others, and they must have been whole for ten.
const MOVES: Duration = Duration::from_secs(40);

/// The first host comes first in the order, whatever the segment's id.
fn form(world: &World) -> Result<&Host> {
    let first = world.hosts().first().context("a laboratory has hosts")?;
    for host in world.hosts() {
        let change = if host.name() == first.name() {
            json!({ "host": { "gateway": { "priority": 200 } } })
        } else {
            json!({ "cluster": { "join": [first.listen()] } })
        };
        host.configure(&change)?;
        host.launch_agent()?;
    }
    world.all_know_each_other(SOON)?;
    Ok(first)
}

/// What a host's `status` says of another one: id and evidence.
fn told(host: &Host, of: &str) -> Result<Vec<(String, String)>> {
    let status = host.json(&["status"])?;
    let problems = status["problems"].as_array().into_iter().flatten();
    let text = |problem: &Value, key: &str| problem[key].as_str().unwrap_or_default().to_owned();
    Ok(problems
        .filter(|problem| problem["host"] == of)
        .map(|problem| (text(problem, "id"), text(problem, "evidence")))
        .collect())
}

/// `breaks` keeps the first host from making its VXLAN device, `names` is in what every host says of it, `mends` ends it.
fn check(breaks: &str, names: &[&str], mends: &str) {
    tell(&Plan::default(), |world| {
        let elsewhere = world.internet.namespace().name();
        let first = world.hosts().first().context("a laboratory has hosts")?;
        first.namespace().sh(&breaks.replace("ELSEWHERE", elsewhere))?;
        form(world)?;
        first.apply(BLUE)?;
        until("the first host takes the gateway", SOON, || {
            Ok(serving(world) == [first.name()])
        })?;
        let (heir, _) = wait_for("the gateway moves", MOVES, || {
            let now = world.gateway("blue", SOON)?;
            ensure!(now != first.name(), "not yet");
            Ok(now)
        })?;
        let heir = world.host(&heir);
        let guest = world.guest(heir.name(), "br-blue")?;
        guest.dhcp()?;
        for host in world.hosts() {
            until(&format!("{} says what is wrong", host.name()), SOON, || {
                let told = told(host, first.name())?;
                Ok(told
                    .iter()
                    .any(|(id, evidence)| id == "C8" && names.iter().all(|name| evidence.contains(name))))
            })?;
        }
        let reason = heir.list(&["gateway", "list"])?[0]["reason"].clone();
        ensure!(
            reason == format!("handed over by {} (segment not whole)", first.name()),
            "{reason}"
        );
        let refused = heir.refused(&["gateway", "move", "blue", first.name()])?;
        ensure!(refused.contains("segment blue is not whole there"), "{refused}");

        let mender = if mends.starts_with("ELSEWHERE ") {
            world.internet.namespace()
        } else {
            first.namespace()
        };
        mender.sh(mends.trim_start_matches("ELSEWHERE "))?;
        until("it is whole again", SOON, || Ok(first.plan()?.is_empty()))?;
        until("nothing is wrong any more", SOON, || {
            Ok(told(heir, first.name())?.is_empty())
        })?;
        until("it is given the gateway again", SOON, || {
            Ok(heir.ctl(&["gateway", "move", "blue", first.name()]).is_ok())
        })?;
        guest.dhcp()?;
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_host_whose_vxlan_port_another_device_holds_gives_the_gateway_away() {
    check(
        "ip link add ext0 type vxlan external dstport 4789 && ip link set ext0 up",
        &["ip link set vx-blue up", "`port:`"],
        "ip link del ext0",
    );
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_host_whose_vni_is_hidden_in_another_namespace_gives_the_gateway_away() {
    check(
        "ip link add hid0 type vxlan id 10 dstport 4789 local 172.31.0.11 && ip link set hid0 netns ELSEWHERE",
        &["ip link add vx-blue", "another network namespace", "`port:`"],
        "ELSEWHERE ip link del hid0",
    );
}
