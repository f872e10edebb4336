//! Findings about what a gateway does for its guests: whether there is one, its uplink, its resolvers.

use super::finding::{Finding, Id, Severity};
use super::vitals::{FailingUplink, UnderlayState, Vitals};
use crate::cluster::membership::PeerState;
use crate::gateway::uplink::Health;
use crate::id::SegmentName;

pub(super) fn no_gateway(vitals: &Vitals) -> Vec<Finding> {
    let missing = |(segment, reason): &(SegmentName, String)| Finding {
        id: Id::NoGateway,
        severity: Severity::Fail,
        host: vitals.host.clone(),
        segment: Some(segment.clone()),
        subject: segment.to_string(),
        evidence: format!("no active gateway for segment {segment} is known: {reason}"),
        cause: "no candidate is alive, or this host does not reach it".to_owned(),
        fix: "start a host with `host.gateway.candidate: true` that has the segment".to_owned(),
        verify: "overlayctl gateway list".to_owned(),
        depends_on: match vitals.underlay {
            UnderlayState::Present if vitals.is_held(segment) => vec![Id::SubnetConflict],
            UnderlayState::Present => Vec::new(),
            UnderlayState::Missing(_) => vec![Id::UnderlayMissing],
        },
    };
    vitals.without_gateway.iter().map(missing).collect()
}

pub(super) fn all_drained(vitals: &Vitals) -> Vec<Finding> {
    if vitals.all_drained.is_empty() {
        return Vec::new();
    }
    let names = vitals.all_drained.join(", ");
    vec![Finding {
        id: Id::AllDrained,
        severity: Severity::Warn,
        host: vitals.host.clone(),
        segment: None,
        subject: "drain".to_owned(),
        evidence: format!("every host that may be gateway is drained ({names}): a drained host is the active gateway"),
        cause: "a drain lasts until `overlayctl undrain`, over reboots, too".to_owned(),
        fix: "run `overlayctl undrain` on the hosts whose maintenance is over".to_owned(),
        verify: "overlayctl peer list".to_owned(),
        depends_on: Vec::new(),
    }]
}

pub(super) fn uplink_fails(vitals: &Vitals) -> Vec<Finding> {
    let finding = |uplink: &FailingUplink| match uplink {
        FailingUplink::Own(health) => own_uplink(vitals, health),
        FailingUplink::Of(host) => uplink_of(vitals, host, uplink.to_string()),
    };
    vitals.uplinks.iter().map(finding).collect()
}

fn own_uplink(vitals: &Vitals, health: &Health) -> Finding {
    let failing = match health {
        Health::Partly(one) => one.as_ref(),
        Health::Works | Health::NoRoute { .. } | Health::NoCarrier { .. } | Health::Silent(_) | Health::Lacking => {
            health
        }
    };
    let (subject, cause, fix, verify) = match failing {
        Health::NoRoute { link } => (
            link.as_ref(),
            "the default route is gone, or leads through another interface",
            "restore the default route, or name another interface in `host.gateway.uplink`",
            "ip route",
        ),
        Health::NoCarrier { link } => (
            Some(link),
            "the cable is unplugged, or the interface is down",
            "check the cable, and bring the interface up",
            "ip link",
        ),
        Health::Silent(hop) => (
            Some(&hop.link),
            "the router is down, or the network in between is cut",
            "check that router and the switches in between",
            "ip neigh",
        ),
        Health::Lacking | Health::Works | Health::Partly(_) => (
            None,
            "a module or program that gateways need is missing",
            "fix what the kernel refuses; it is listed as well",
            "overlayctl plan",
        ),
    };
    Finding {
        id: Id::NoGateway,
        severity: Severity::Warn,
        host: vitals.host.clone(),
        segment: None,
        subject: subject.map_or_else(|| "uplink".to_owned(), ToString::to_string),
        evidence: health.to_string(),
        cause: cause.to_owned(),
        fix: fix.to_owned(),
        verify: verify.to_owned(),
        depends_on: match health {
            Health::Lacking if !vitals.edge.refused.is_empty() => vec![Id::ChangeRefused],
            Health::Lacking
            | Health::Works
            | Health::Partly(_)
            | Health::NoRoute { .. }
            | Health::NoCarrier { .. }
            | Health::Silent(_) => Vec::new(),
        },
    }
}

/// What a host that responds no more said of its uplink is out of date.
fn uplink_of(vitals: &Vitals, host: &str, evidence: String) -> Finding {
    let (severity, depends_on) = match vitals.peer(host) {
        Some(PeerState::Failed) => (Severity::Unknown, vec![Id::PeerFailed]),
        Some(PeerState::Suspect) => (Severity::Unknown, vec![Id::PeerSuspect]),
        Some(PeerState::Alive | PeerState::Left | PeerState::Static) | None => (Severity::Warn, Vec::new()),
    };
    Finding {
        id: Id::NoGateway,
        severity,
        host: host.to_owned(),
        segment: None,
        subject: "uplink".to_owned(),
        evidence,
        cause: format!("{host} knows the cause"),
        fix: format!("run `overlayctl status` on {host}"),
        verify: "overlayctl status".to_owned(),
        depends_on,
    }
}

pub(super) fn no_resolver(vitals: &Vitals) -> Vec<Finding> {
    let finding = |segment: &SegmentName| Finding {
        id: Id::NoResolver,
        severity: Severity::Warn,
        host: vitals.host.clone(),
        segment: Some(segment.clone()),
        subject: segment.to_string(),
        evidence: format!(
            "segment {segment} has no IPv4 address in `dns.upstream`, and this host knows no resolver that guests can \
             reach: while it is the gateway, guests are given none"
        ),
        cause:
            "/etc/resolv.conf names only resolvers on this host itself, such as 127.0.0.53, link-local ones, or none"
                .to_owned(),
        fix: format!(
            "`overlayctl apply` the segment {segment} with `dns: {{ upstream: [ ADDRESS ] }}`, or give this host a \
             resolver that guests can reach"
        ),
        verify: "cat /etc/resolv.conf /run/systemd/resolve/resolv.conf".to_owned(),
        depends_on: Vec::new(),
    };
    vitals.without_resolver.iter().map(finding).collect()
}
