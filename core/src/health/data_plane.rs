//! Findings about the frames of guests: where they go, and whether they get there.

use super::finding::{Finding, Id, Severity};
use super::vitals::{DuplicateMac, Vitals};

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
