//! The data plane is watched: a host whose firewall drops VXLAN is named with the direction, and no guest sees how.

use std::time::Duration;

use anyhow::Result;
use overlayd_tests::wait::{throughout, until};
use overlayd_tests::world::{BLUE, Underlay, tell};
use overlayd_tests::{Host, Plan, World};

const SOON: Duration = Duration::from_secs(10);
/// Two rounds of 5 s, and what a slow machine needs.
const NOTICED: Duration = Duration::from_secs(25);

/// The ways between hosts that a host finds blocked.
fn blocked(host: &Host) -> Result<Vec<String>> {
    let status = host.json(&["status"])?;
    let problems = status["problems"].as_array().cloned().unwrap_or_default();
    let found = problems.iter().filter(|it| it["id"] == "U1");
    let mut ways: Vec<String> = found
        .map(|it| it["subject"].as_str().unwrap_or_default().to_owned())
        .collect();
    ways.sort_unstable();
    Ok(ways)
}

/// What guests and hosts have counted: frames of the kind that hosts send each other.
const COUNT: &str = "ether type 0x88b5 counter";

fn counted(namespace: &overlayd_tests::namespace::Namespace) -> Result<bool> {
    let rules = namespace.sh("nft list table netdev seen")?;
    Ok(!rules.contains("packets 0 "))
}

fn finds_what_drops(plan: &Plan, segments: &str, static_peer: &str) {
    tell(plan, |world| {
        world.form()?;
        world.apply("hv1", segments)?;
        world.gateway("blue", SOON)?;
        // Nobody is there, so nobody answers.
        world.host("hv1").ctl(&["peer", "add", static_peer, "--static"])?;
        let guests: Vec<_> = (1..=3)
            .map(|at| world.guest(&format!("hv{at}"), "br-blue"))
            .collect::<Result<_>>()?;
        for guest in &guests {
            guest.namespace().nft(&format!(
                "table netdev seen {{ chain from_host {{ type filter hook ingress device eth0 priority 0; {COUNT}; }}; }}"
            ))?;
        }
        for host in world.hosts() {
            host.namespace().nft(&format!(
                "table netdev seen {{ chain from_peer {{ type filter hook ingress device vx-blue priority 0; {COUNT}; }}; }}"
            ))?;
        }
        for host in world.hosts() {
            until("frames of its peers arrive", NOTICED, || counted(host.namespace()))?;
        }
        throughout("all is well", Duration::from_secs(6), || {
            for host in world.hosts() {
                assert_eq!(blocked(host)?, [""; 0], "as {} sees it", host.name());
            }
            Ok(())
        })?;

        let faulty = world.host("hv2");
        faulty.namespace().nft(&strict("input", STRICT_INPUT))?;
        all_see(world, &["hv1 to hv2", "hv3 to hv2"])?;
        let status = world.host("hv1").json(&["status"])?["problems"].to_string();
        assert!(status.contains("chain input of table inet strict on hv2"), "{status}");
        faulty.namespace().sh("nft delete table inet strict")?;
        all_see(world, &[])?;

        faulty.namespace().nft(&strict("output", "udp dport 4789 drop"))?;
        all_see(world, &["hv2 to hv1", "hv2 to hv3"])?;
        faulty.namespace().sh("nft delete table inet strict")?;
        all_see(world, &[])?;
        for guest in &guests {
            assert!(!counted(guest.namespace())?, "{} sees the frames", guest.name());
        }
        Ok(())
    });
}

/// What every host shows, in the end.
fn all_see(world: &World, expected: &[&str]) -> Result<()> {
    for host in world.hosts() {
        until(&format!("{} sees {expected:?} blocked", host.name()), NOTICED, || {
            Ok(blocked(host)? == expected)
        })?;
    }
    Ok(())
}

fn strict(hook: &str, rules: &str) -> String {
    format!("table inet strict {{ chain {hook} {{ type filter hook {hook} priority 0; {rules}; }}; }}")
}

/// All but VXLAN comes in, as with a host firewall that nobody told of it.
const STRICT_INPUT: &str = "policy drop; iif lo accept; tcp dport 7480 accept; ct state established,related accept; \
                            meta l4proto { icmp, icmpv6 } accept";

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_firewall_that_drops_vxlan_is_found_with_host_and_direction_and_no_guest_sees_how() {
    finds_what_drops(&Plan::default(), BLUE, "172.31.0.60");
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_firewall_that_drops_vxlan_is_found_over_ipv6() {
    let plan = Plan {
        underlay: Underlay::V6,
        ..Plan::default()
    };
    finds_what_drops(&plan, BLUE, "fd31::60");
}
