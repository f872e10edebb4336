//! What hosts say is wrong on them.

use overlayd_core::cluster::gossip as core;
use overlayd_core::id::HostId;
use overlayd_core::severity::Severity;

use crate::convert::{Malformed, unknown};
use crate::gossip as wire;

impl From<core::HostFindings> for wire::HostFindings {
    fn from(findings: core::HostFindings) -> Self {
        Self {
            told: findings.told,
            host: findings.host.0,
            findings: findings.findings.into_iter().map(wire::Finding::from).collect(),
        }
    }
}

impl TryFrom<wire::HostFindings> for core::HostFindings {
    type Error = Malformed;

    fn try_from(findings: wire::HostFindings) -> Result<Self, Malformed> {
        if findings.findings.len() > core::FINDINGS_AT_MOST {
            return Err(Malformed::Contradiction("findings"));
        }
        let notes = findings.findings.into_iter().map(core::FindingNote::try_from);
        Ok(Self {
            told: findings.told,
            host: HostId(findings.host),
            findings: notes.collect::<Result<_, _>>()?,
        })
    }
}

impl From<core::FindingNote> for wire::Finding {
    fn from(note: core::FindingNote) -> Self {
        Self {
            severity: match note.severity {
                Severity::Fail => wire::finding::Severity::Fail,
                Severity::Warn => wire::finding::Severity::Warn,
                Severity::Unknown => wire::finding::Severity::Unknown,
            }
            .into(),
            id: note.id,
            segment: note.segment,
            subject: note.subject,
            evidence: note.evidence,
            cause: note.cause,
            fix: note.fix,
            verify: note.verify,
            depends_on: note.depends_on,
        }
    }
}

impl TryFrom<wire::Finding> for core::FindingNote {
    type Error = Malformed;

    fn try_from(finding: wire::Finding) -> Result<Self, Malformed> {
        Ok(Self {
            severity: match finding.severity() {
                wire::finding::Severity::Fail => Severity::Fail,
                wire::finding::Severity::Warn => Severity::Warn,
                wire::finding::Severity::Unknown => Severity::Unknown,
                wire::finding::Severity::Unspecified => return Err(unknown(finding.severity, "finding.severity")),
            },
            id: finding.id,
            segment: finding.segment,
            subject: finding.subject,
            evidence: finding.evidence,
            cause: finding.cause,
            fix: finding.fix,
            verify: finding.verify,
            depends_on: finding.depends_on,
        })
    }
}
