//! Findings about hosts: this one on its underlay, and its peers.

use super::finding::{Finding, Id, Severity};
use super::vitals::{UnderlayState, Vitals};
use crate::cluster::membership::PeerState;

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
