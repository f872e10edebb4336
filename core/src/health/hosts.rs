//! Findings about hosts: this one on its underlay, and its peers.

use super::finding::{Finding, Id, Severity};
use super::vitals::{LoweredMtu, Meanwhile, NoUnderlay, RefusedJoin, UnderlayState, Vitals};
use crate::cluster::membership::PeerState;
use crate::id::SegmentName;

pub(super) fn underlay_missing(vitals: &Vitals) -> Vec<Finding> {
    let UnderlayState::Missing(why) = &vitals.underlay else {
        return Vec::new();
    };
    let cause = match why {
        NoUnderlay::NoDefaultRoute => "the network of this host is not up",
        NoUnderlay::NoInterface(_) => "the interface was renamed or is gone",
        NoUnderlay::NoAddress(_) => "the interface is not configured, or its DHCP lease has ended",
        NoUnderlay::NotOwn(_) => "the address was removed, or the configuration is wrong",
    };
    vec![Finding {
        id: Id::UnderlayMissing,
        severity: Severity::Fail,
        host: vitals.host.clone(),
        segment: None,
        subject: why.subject(),
        evidence: format!("the underlay is missing: {why}"),
        cause: cause.to_owned(),
        fix: format!("{}; after a change of the file `systemctl reload overlayd`", why.fix()),
        verify: "ip address".to_owned(),
        depends_on: Vec::new(),
    }]
}

pub(super) fn cut_off(vitals: &Vitals) -> Vec<Finding> {
    let Some(peers) = unreached(vitals) else {
        return Vec::new();
    };
    vec![Finding {
        id: Id::CutOff,
        severity: Severity::Fail,
        host: vitals.host.clone(),
        segment: None,
        subject: "network".to_owned(),
        evidence: format!(
            "{} reaches none of {} peers ({}): check this host's network first",
            vitals.host,
            peers.len(),
            peers.join(", ")
        ),
        cause: "the network of this host, or its firewall, cuts it off; or all other hosts are off".to_owned(),
        fix: "`ip link` and `ping` a peer's address from here; TCP 7480 and ICMP must pass; then start hosts that are off"
            .to_owned(),
        verify: "overlayctl peer list".to_owned(),
        depends_on: explained_by_underlay(vitals),
    }]
}

/// The peers, where there are some and this host reaches none of them. Of two hosts nobody can tell which is cut off.
fn unreached(vitals: &Vitals) -> Option<Vec<&str>> {
    let reached = vitals.peers.iter().any(|(_, state)| match state {
        PeerState::Alive => true,
        PeerState::Suspect | PeerState::Failed | PeerState::Left | PeerState::Static => false,
    });
    (!reached && vitals.peers.len() >= 2).then(|| vitals.peers.iter().map(|(name, _)| name.as_str()).collect())
}

pub(super) fn join_refused(vitals: &Vitals) -> Vec<Finding> {
    let refused = |refused: &RefusedJoin| Finding {
        id: Id::JoinRefused,
        severity: refused.severity,
        host: vitals.host.clone(),
        segment: None,
        subject: "join".to_owned(),
        evidence: format!("this host cannot join at {}: {}", refused.at, refused.why),
        cause: match refused.meanwhile {
            Meanwhile::NoCluster => "this host is in no cluster, and has no segment until it is",
            Meanwhile::Alone => "this host is alone in a cluster of its own: its guests reach no other host's",
        }
        .to_owned(),
        fix: "follow what the refusal says; this host tries again on its own".to_owned(),
        verify: "overlayctl status".to_owned(),
        depends_on: Vec::new(),
    };
    vitals.refused_join.iter().map(refused).collect()
}

pub(super) fn peer_failed(vitals: &Vitals) -> Vec<Finding> {
    let cut_off = unreached(vitals).is_some();
    let own = if vitals.peers.len() == 1 {
        "check this host's own network, then "
    } else {
        ""
    };
    let failed = |host: &str| Finding {
        id: Id::PeerFailed,
        severity: Severity::Warn,
        host: host.to_owned(),
        segment: None,
        subject: host.to_owned(),
        evidence: format!("{host} has failed: neither its agent nor its kernel responds"),
        cause: "the host is off, or the network between the hosts is cut".to_owned(),
        fix: if cut_off {
            "check this host's network first: it reaches no peer".to_owned()
        } else {
            format!("{own}start {host}; if it is gone for good: `overlayctl peer remove {host}`")
        },
        verify: "overlayctl peer list".to_owned(),
        depends_on: explained_by(vitals),
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
        depends_on: explained_by(vitals),
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

fn explained_by(vitals: &Vitals) -> Vec<Id> {
    let cut_off = unreached(vitals).map(|_| Id::CutOff);
    explained_by_underlay(vitals).into_iter().chain(cut_off).collect()
}

/// A host without an underlay hears nobody.
fn explained_by_underlay(vitals: &Vitals) -> Vec<Id> {
    match vitals.underlay {
        UnderlayState::Present => Vec::new(),
        UnderlayState::Missing(_) => vec![Id::UnderlayMissing],
    }
}
