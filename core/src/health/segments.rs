//! Findings about the definitions of segments.

use super::finding::{Finding, Id, Severity};
use super::vitals::{Conflict, SubnetConflict, Vitals, WaitingPool};
use crate::id::SegmentName;

pub(super) fn file_differs(vitals: &Vitals) -> Vec<Finding> {
    let differs = |segment: &SegmentName| Finding {
        id: Id::FileDiffers,
        severity: Severity::Warn,
        host: vitals.host.clone(),
        segment: Some(segment.clone()),
        subject: segment.to_string(),
        evidence: format!("segment {segment} in this host's file differs from the cluster's, which counts"),
        cause: "the file was edited after the cluster knew the segment, or another host applied a change".to_owned(),
        fix: format!("`overlayctl apply -f FILE` to change the cluster, or copy `overlayctl segment show {segment}`"),
        verify: format!("overlayctl segment show {segment}"),
        depends_on: Vec::new(),
    };
    vitals.differing.iter().map(differs).collect()
}

pub(super) fn generation_lost(vitals: &Vitals) -> Vec<Finding> {
    let lost = |(segment, newest): &(SegmentName, u64)| Finding {
        id: Id::GenerationLost,
        severity: Severity::Fail,
        host: vitals.host.clone(),
        segment: Some(segment.clone()),
        subject: segment.to_string(),
        evidence: format!(
            "segment {segment}: generation {newest} is lost on this host, which assigns no addresses until it is back"
        ),
        cause: "the disk was full or failed while the segment was applied".to_owned(),
        fix: format!("start a host that has generation {newest}; if none has, `overlayctl apply` it again"),
        verify: format!("overlayctl segment show {segment}"),
        depends_on: Vec::new(),
    };
    vitals.lost_generations.iter().map(lost).collect()
}

pub(super) fn subnet_conflict(vitals: &Vitals) -> Vec<Finding> {
    let conflict = |it: &SubnetConflict| {
        let SubnetConflict { segment, subnet, with } = it;
        let host = &vitals.host;
        let other = "`overlayctl apply` the segment with another subnet".to_owned();
        let (severity, evidence, cause, fix, verify) = match with {
            Conflict::Network(network) => (
                Severity::Warn,
                format!(
                    "segment {segment}: subnet {subnet} overlaps {network} of {host}, which is therefore the last choice as \
                     gateway"
                ),
                "another program on the host, such as libvirt or Docker, or the host's own network uses these addresses",
                format!("remove {} from the host if nothing needs it, or {other}", network.link),
                "ip -4 route",
            ),
            Conflict::Held(held) => (
                Severity::Fail,
                format!("segment {segment}: subnet {subnet} holds {held}, so that {host} is not its gateway"),
                "a gateway in this subnet would send what is for the underlay or the uplink into the segment",
                other,
                "overlayctl gateway list",
            ),
        };
        Finding {
            id: Id::SubnetConflict,
            severity,
            host: host.clone(),
            segment: Some(segment.clone()),
            subject: segment.to_string(),
            evidence,
            cause: cause.to_owned(),
            fix,
            verify: verify.to_owned(),
            depends_on: Vec::new(),
        }
    };
    vitals.conflicts.iter().map(conflict).collect()
}

pub(super) fn addresses_wait(vitals: &Vitals) -> Vec<Finding> {
    let waits = |pool: &WaitingPool| {
        let WaitingPool {
            segment,
            addresses,
            waits,
            members,
        } = pool;
        let (cause, fix) = match members.first() {
            Some(first) => (
                "a segment with these addresses was deleted, and not every member knows it",
                format!(
                    "`systemctl start overlayd` there; if the host is gone for good: `overlayctl peer remove {first}`"
                ),
            ),
            None => (
                "a segment with these addresses was deleted less than a lease time ago",
                "wait, or apply the deleted segment again: its leases go on".to_owned(),
            ),
        };
        Finding {
            id: Id::AddressesWait,
            severity: Severity::Warn,
            host: vitals.host.clone(),
            segment: Some(segment.clone()),
            subject: segment.to_string(),
            evidence: format!(
                "segment {segment}: {addresses} addresses are not assigned yet, because guests may still use them in a \
                 deleted segment; waits {waits}"
            ),
            cause: cause.to_owned(),
            fix,
            verify: format!("overlayctl pool show {segment}"),
            depends_on: Vec::new(),
        }
    };
    vitals.waiting.iter().map(waits).collect()
}
