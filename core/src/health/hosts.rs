//! Findings about hosts: this one on its underlay, and its peers.

use super::finding::{Finding, Id, Severity};
use super::vitals::{LoweredMtu, UnderlayState, Vitals};
use crate::cluster::membership::PeerState;
use crate::id::SegmentName;

pub(super) fn underlay_missing(vitals: &Vitals) -> Vec<Finding> {
    let UnderlayState::Missing { named } = &vitals.underlay else {
        return Vec::new();
    };
    let (subject, evidence, cause) = match named {
        Some(underlay) => (
            underlay.to_string(),
            format!("the underlay is missing: no interface {underlay}, or no global address on it"),
            "the interface is down, renamed or gone, or its DHCP lease has ended",
        ),
        None => (
            "underlay".to_owned(),
            "the underlay is missing: no default route, or no global address on its interface".to_owned(),
            "the network of this host is not up",
        ),
    };
    vec![Finding {
        id: Id::UnderlayMissing,
        severity: Severity::Fail,
        host: vitals.host.clone(),
        segment: None,
        subject,
        evidence,
        cause: cause.to_owned(),
        fix: "bring the interface up, or set `host.underlay` and `host.address` and run `systemctl reload overlayd`"
            .to_owned(),
        verify: "ip address".to_owned(),
        depends_on: Vec::new(),
    }]
}

pub(super) fn peer_failed(vitals: &Vitals) -> Vec<Finding> {
    let failed = |host: &str| Finding {
        id: Id::PeerFailed,
        severity: Severity::Warn,
        host: host.to_owned(),
        segment: None,
        subject: host.to_owned(),
        evidence: format!("{host} has failed: neither its agent nor its kernel responds"),
        cause: "the host is off, or the network between the hosts is cut".to_owned(),
        fix: format!("start {host}; if it is gone for good: `overlayctl peer remove {host}`"),
        verify: "overlayctl peer list".to_owned(),
        depends_on: explained_by_underlay(vitals),
    };
    of_state(vitals, PeerState::Failed).map(failed).collect()
}

pub(super) fn peer_suspect(vitals: &Vitals) -> Vec<Finding> {
    let suspect = |host: &str| Finding {
        id: Id::PeerSuspect,
        severity: Severity::Warn,
        host: host.to_owned(),
        segment: None,
        subject: host.to_owned(),
        evidence: format!("the agent of {host} does not respond; its kernel goes on forwarding"),
        cause: format!("overlayd is stopped on {host}, or its cluster port is blocked"),
        fix: format!("on {host}: `systemctl restart overlayd`"),
        verify: "overlayctl peer list".to_owned(),
        depends_on: explained_by_underlay(vitals),
    };
    of_state(vitals, PeerState::Suspect).map(suspect).collect()
}

pub(super) fn mtu_lowered(vitals: &Vitals) -> Vec<Finding> {
    /// More hosts are not listed by name.
    const LISTED: usize = 5;
    let lowered = |it: &LoweredMtu| {
        let mut hosts = it.hosts.iter().take(LISTED).cloned().collect::<Vec<_>>().join(", ");
        if it.hosts.len() > LISTED {
            hosts = format!("{hosts} and {} more", it.hosts.len() - LISTED);
        }
        let segments = it
            .segments
            .iter()
            .map(SegmentName::as_str)
            .collect::<Vec<_>>()
            .join(", ");
        Finding {
            id: Id::MtuLowered,
            severity: Severity::Warn,
            host: it.hosts.first().cloned().unwrap_or_default(),
            segment: None,
            subject: hosts.clone(),
            evidence: format!(
                "{hosts}: the underlay carries {} bytes, less than on the other hosts, so guests of {segments} are told \
                 an MTU of {} instead of {}",
                it.underlay, it.told, it.instead
            ),
            cause: "the underlay interface, or the route to the other hosts, has a smaller MTU there".to_owned(),
            fix: format!(
                "on {hosts}: `ip link set dev UNDERLAY mtu {}`; if the small MTU is intended, set `mtu: {}` in the segment",
                u64::from(it.underlay.bytes()) + u64::from(it.instead.bytes().saturating_sub(it.told.bytes())),
                it.told
            ),
            verify: "overlayctl peer list".to_owned(),
            depends_on: Vec::new(),
        }
    };
    vitals.lowered.iter().map(lowered).collect()
}

fn of_state(vitals: &Vitals, state: PeerState) -> impl Iterator<Item = &str> {
    let peers = vitals.peers.iter().filter(move |(_, is)| *is == state);
    peers.map(|(name, _)| name.as_str())
}

/// A host without an underlay hears nobody.
fn explained_by_underlay(vitals: &Vitals) -> Vec<Id> {
    match vitals.underlay {
        UnderlayState::Present => Vec::new(),
        UnderlayState::Missing { .. } => vec![Id::UnderlayMissing],
    }
}
