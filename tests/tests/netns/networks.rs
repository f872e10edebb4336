//! The networks that hosts have of their own, beside those of the segments.

use anyhow::Result;
use overlayd_tests::Host;

use crate::gateway::with_blue;

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
