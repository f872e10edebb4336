//! Findings about the definitions of segments.

use super::finding::{Finding, Id, Severity};
use super::vitals::Vitals;
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
