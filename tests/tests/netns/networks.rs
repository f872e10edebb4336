//! The networks that hosts have of their own, beside those of the segments.

use std::time::Duration;

use anyhow::Result;
use overlayd_tests::wait::until;
use overlayd_tests::wiring::SERVER;
use overlayd_tests::world::{BLUE, tell};
use overlayd_tests::{Host, Plan};
use serde_json::Value;

use crate::gateway::with_blue;

const SOON: Duration = Duration::from_secs(10);

/// As libvirt makes its `default` network.
const VIRBR0: &str = "link add virbr0 type bridge
                      addr add 192.168.124.1/24 dev virbr0
                      link set virbr0 up\n";

/// Whether anybody answers ARP for an address on a host's underlay.
fn is_answered(asker: &Host, address: &str) -> Result<bool> {
    let mut arping = asker.namespace().command("busybox");
    let arping = arping.args(["arping", "-q", "-f", "-c", "2", "-w", "3", "-I", "eth0", address]);
    Ok(arping.status()?.success())
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_gateways_address_is_not_found_on_the_underlay_whatever_the_host_answers_there() {
    with_blue(|world, gateway| {
        for host in world.hosts() {
            host.namespace().sh("for link in all eth0; do
                   sysctl -q -w net.ipv4.conf.$link.arp_ignore=0 net.ipv4.conf.$link.arp_filter=0 \
                                net.ipv4.conf.$link.proxy_arp=1
                 done")?;
        }
        let asker = world.hosts().iter().find(|host| host.name() != gateway).unwrap();
        let number = gateway.trim_start_matches("hv");
        assert!(
            is_answered(asker, &format!("172.30.0.1{number}"))?,
            "it answers there for an address that it has elsewhere"
        );
        assert!(!is_answered(asker, "192.168.124.1")?);
        let guest = world.guest(asker.name(), "br-blue")?;
        guest.dhcp()?;
        guest.ping("192.168.124.1")
    });
}

/// What `status` says is wrong with subnets.
fn conflicts(host: &Host) -> Result<Vec<String>> {
    let status = host.json(&["status"])?;
    let problems = status["problems"].as_array().cloned().unwrap_or_default();
    let conflicts = problems.iter().filter(|problem| problem["id"] == "U11");
    Ok(conflicts.map(|it: &Value| it["evidence"].to_string()).collect())
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_network_that_a_host_has_already_is_refused_and_one_that_comes_later_is_named() {
    tell(&Plan::default(), |world| {
        world.form()?;
        let [hv1, hv2] = ["hv1", "hv2"].map(|name| world.host(name));
        let file = world.folder().join("segments.yaml");
        let apply = |text: &str, run: &[&str]| {
            std::fs::write(&file, text)?;
            let file = file.to_string_lossy();
            hv1.overlayctl(&[&["apply", "-f", &*file][..], run].concat())
        };
        hv2.namespace().ip_batch(VIRBR0)?;
        until("it is refused", SOON, || {
            let output = apply(BLUE, &["--dry-run"])?;
            let said = String::from_utf8_lossy(&output.stderr);
            Ok(said.contains("192.168.124.0/24 overlaps 192.168.124.0/24 on virbr0 of hv2"))
        })?;
        assert!(!apply(BLUE, &[])?.status.success());
        let output = apply(&BLUE.replace("192.168.124", "172.31.0"), &["--force"])?;
        let said = String::from_utf8_lossy(&output.stderr);
        // It holds all of them; the first by id is named.
        let named = |host: &Host| format!("172.31.0.0/24 holds {}, the VTEP of {}", host.address(), host.name());
        assert!(world.hosts().iter().any(|host| said.contains(&named(host))), "{said}");
        hv2.namespace().ip("link del virbr0")?;
        until("it is accepted", SOON, || Ok(apply(BLUE, &[])?.status.success()))?;
        let gateway = world.gateway("blue", SOON)?;
        let guest = world.guest("hv1", "br-blue")?;
        guest.dhcp()?;
        guest.ping(SERVER)?;
        let was = world.host(&gateway);
        was.namespace().ip_batch(VIRBR0)?;
        until("it is named", SOON, || {
            let told = conflicts(was)?;
            Ok(told.len() == 1 && told[0].contains("192.168.124.0/24 on virbr0"))
        })?;
        until("the gateway goes elsewhere", Duration::from_secs(25), || {
            Ok(world.gateway("blue", SOON)? != gateway)
        })?;
        guest.ping(SERVER)?;
        was.namespace().ip("link del virbr0")?;
        until("all is well again", SOON, || Ok(conflicts(was)?.is_empty()))?;
        guest.ping(SERVER)
    });
}
