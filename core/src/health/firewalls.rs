//! Findings about what guests send and a firewall on this host keeps from its way, ours or another one.

use super::finding::{Finding, Id, Severity};
use super::vitals::{Rejected, Vitals};

/// As [`crate::kernel::firewall::REJECTED`] keeps them.
const MINUTES: u32 = 10;

pub(super) fn bridge_netfilter(vitals: &Vitals) -> Vec<Finding> {
    let Some(first) = vitals.filtered_bridges.first() else {
        return Vec::new();
    };
    vec![Finding {
        id: Id::BridgeNetfilter,
        severity: Severity::Warn,
        host: vitals.host.clone(),
        segment: None,
        subject: "net.bridge.bridge-nf-call-iptables".to_owned(),
        evidence: "bridge netfilter is on: the host's firewall rules see what guests send each other and may drop it, \
                   guests do not reach published ports from inside, and throughput is a fifth lower"
            .to_owned(),
        cause:
            "overlayd leaves it on where Docker, Kubernetes or a firewall for bridges may need it; the log says which"
                .to_owned(),
        fix: format!(
            "if nothing here needs it: `host.bridge_netfilter: off` in overlayd.yaml; with Docker instead, for each \
             bridge: `iptables -I DOCKER-USER -i {first} -o {first} -j ACCEPT`"
        ),
        verify: "sysctl net.bridge".to_owned(),
        depends_on: Vec::new(),
    }]
}

pub(super) fn way_rejected(vitals: &Vitals) -> Vec<Finding> {
    let finding = |Rejected { segment, link, packets }: &Rejected| Finding {
        id: Id::WayRejected,
        severity: Severity::Warn,
        host: vitals.host.clone(),
        segment: Some(segment.clone()),
        subject: link.to_string(),
        evidence: format!(
            "guests of segment {segment} sent {packets} packets or more that would have left by {link}; they were \
             rejected, the last within {MINUTES} minutes"
        ),
        cause: format!(
            "{link} is not in `host.gateway.uplink`, or (with `auto`) what they were sent to is connected to {link} \
             without a router in between"
        ),
        fix: format!(
            "if guests may go there, list {link} and the interfaces of the default routes in `host.gateway.uplink`, as \
             in `uplink: [ eth0, {link} ]`, and run `systemctl reload overlayd`; otherwise see which guest it is: \
             `tcpdump -ni {gateway}`",
            gateway = segment.gateway()
        ),
        verify: format!("nft list set inet overlayd {}", crate::kernel::firewall::REJECTED),
        depends_on: Vec::new(),
    };
    vitals.edge.rejected.iter().map(finding).collect()
}
