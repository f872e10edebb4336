//! Findings about the frames of guests: where they go, and whether they get there.

use super::finding::{Finding, Id, Severity};
use super::vitals::{DuplicateMac, Vitals};
use crate::id::IfName;

pub(super) fn duplicate_mac(vitals: &Vitals) -> Vec<Finding> {
    let finding = |found: &DuplicateMac| {
        let DuplicateMac {
            segment,
            mac,
            hosts: [one, other],
        } = found;
        Finding {
            id: Id::DuplicateMac,
            severity: Severity::Fail,
            host: other.clone(),
            segment: Some(segment.clone()),
            subject: mac.to_string(),
            evidence: format!(
                "{mac} moved between hosts 5 times or more within 180 s, last from {one} to {other}; it is left on {other} \
                 for now"
            ),
            cause: format!("two guests have this MAC, one on {one} and one on {other}: one may be a copy of the other"),
            fix: format!(
                "give one of the guests another MAC: `bridge fdb show | grep {mac}` on {one} and {other} names their ports"
            ),
            verify: "overlayctl endpoint list".to_owned(),
            depends_on: Vec::new(),
        }
    };
    vitals.duplicate_macs.iter().map(finding).collect()
}

pub(super) fn port_left_out(vitals: &Vitals) -> Vec<Finding> {
    let finding = |(port, bridge): (&IfName, &IfName)| Finding {
        id: Id::PortLeftOut,
        severity: Severity::Fail,
        host: vitals.host.clone(),
        segment: None,
        subject: port.to_string(),
        evidence: format!("{port} was on {bridge} until {bridge} was deleted, and is on no bridge now"),
        cause: format!("{bridge} could not be created again within 10 s; after that ports are left to the operator"),
        fix: format!("`ip link set {port} master {bridge}`, or detach the guest"),
        verify: format!("ip link show master {bridge}"),
        depends_on: Vec::new(),
    };
    vitals.edge.left_out.iter().map(finding).collect()
}
