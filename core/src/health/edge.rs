//! Findings about this host's kernel and disk, as the edge meets them.

use super::finding::{Finding, Id, Severity};
use super::vitals::{Unsaved, Vitals};
use crate::id::IfName;
use crate::kernel::plan::Obstacle;

pub(super) fn kernel_unreadable(vitals: &Vitals) -> Vec<Finding> {
    let unreadable = |error: &String| Finding {
        id: Id::KernelUnreadable,
        severity: Severity::Fail,
        host: vitals.host.clone(),
        segment: None,
        subject: "kernel".to_owned(),
        evidence: format!("cannot read kernel state: {error}"),
        cause: "the agent lacks a capability or a program, or the kernel a module".to_owned(),
        fix: "see `journalctl -u overlayd`".to_owned(),
        verify: "overlayctl plan".to_owned(),
        depends_on: Vec::new(),
    };
    vitals.edge.unreadable.iter().map(unreadable).collect()
}

pub(super) fn change_refused(vitals: &Vitals) -> Vec<Finding> {
    let refused = |error: &String| Finding {
        id: Id::ChangeRefused,
        severity: Severity::Fail,
        host: vitals.host.clone(),
        segment: None,
        subject: "kernel".to_owned(),
        evidence: error.clone(),
        cause: "the kernel refuses a change, so that this host is not as configured".to_owned(),
        fix: "remove what the error names; the agent tries again on its own".to_owned(),
        verify: "overlayctl plan".to_owned(),
        depends_on: Vec::new(),
    };
    vitals.edge.refused.iter().map(refused).collect()
}

pub(super) fn obstacles(vitals: &Vitals) -> Vec<Finding> {
    vitals
        .edge
        .obstacles
        .iter()
        .map(|obstacle| of_obstacle(vitals, obstacle))
        .collect()
}

fn of_obstacle(vitals: &Vitals, obstacle: &Obstacle) -> Finding {
    let leftover = "an earlier set-up or another program made it";
    let (id, severity, link, cause, fix) = match obstacle {
        Obstacle::Foreign { link } => (
            Id::Leftover,
            Severity::Fail,
            link,
            leftover,
            format!("`ip link del {link}`, or choose another name or bridge for the segment"),
        ),
        Obstacle::SameVni { link, other, .. } => (
            Id::Leftover,
            Severity::Fail,
            link,
            leftover,
            format!("`ip link del {other}`, or choose another VNI for the segment"),
        ),
        Obstacle::Occupied { bridge, ports } => (
            Id::BridgeOccupied,
            Severity::Warn,
            bridge,
            "guests are still attached to a segment that this host no longer has",
            format!("detach the guests at {}", names(ports)),
        ),
        Obstacle::Missing { link } => (
            Id::InterfaceMissing,
            Severity::Fail,
            link,
            "the interface was renamed, is gone, or is not up yet",
            format!("bring {link} up, or name another interface in the segment"),
        ),
    };
    Finding {
        id,
        severity,
        host: vitals.host.clone(),
        segment: None,
        subject: link.to_string(),
        evidence: obstacle.to_string(),
        cause: cause.to_owned(),
        fix,
        verify: "overlayctl plan".to_owned(),
        depends_on: Vec::new(),
    }
}

fn names(ports: &[IfName]) -> String {
    ports.iter().map(IfName::as_str).collect::<Vec<_>>().join(", ")
}

pub(super) fn state_unsaved(vitals: &Vitals) -> Vec<Finding> {
    let finding = |unsaved: &Unsaved| {
        let (severity, error, then) = match unsaved {
            Unsaved::Identity(error) => (
                Severity::Fail,
                error,
                "after a restart this host would not know its cluster, or whether it is drained",
            ),
            Unsaved::Journal(error) => (
                Severity::Fail,
                error,
                "this host keeps no leases until that is fixed, and after a restart its journal would count as lost",
            ),
            Unsaved::Shared(error) => (Severity::Warn, error, "after a restart this host asks its peers again"),
        };
        Finding {
            id: Id::StateUnsaved,
            severity,
            host: vitals.host.clone(),
            segment: None,
            subject: "state directory".to_owned(),
            evidence: error.clone(),
            cause: format!("the disk is full or read-only; {then}"),
            fix: "free the disk of the state directory, or make it writable".to_owned(),
            verify: "df".to_owned(),
            depends_on: Vec::new(),
        }
    };
    vitals.edge.unsaved.iter().map(finding).collect()
}
