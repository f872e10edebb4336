//! `status`: what the node knows, and what only the edge does.

use overlayd_core::config::Trust;
use overlayd_core::health::{Finding, Severity};
use overlayd_core::node::{Formation, Node, Reported};
use overlayd_core::time::Instant;
use overlayd_proto::control as wire;

use super::wire::{gateway, peer, segment};
use crate::effects::Edge;

/// All that one screen shows.
pub(super) fn status(node: &Node, edge: &Edge, now: Instant) -> wire::StatusResponse {
    let facts = node.facts();
    let (own, others) = node.findings(now);
    let own = own.into_iter().map(|finding| (finding.severity, problem(finding)));
    let others = others.into_iter().map(|said| (said.note.severity, reported(said)));
    let mut problems: Vec<_> = own.chain(others).collect();
    problems.sort_by_key(|(severity, _)| *severity);
    let problems = problems.into_iter().map(|(_, problem)| problem).collect();
    let own = node.config().host.name.clone();
    wire::StatusResponse {
        host: Some(wire::HostStatus {
            name: facts.map(|facts| facts.name.clone()).or(own).unwrap_or_default(),
            id: node.me().to_string(),
            address: facts.map(|facts| facts.vtep.to_string()),
            underlay: facts.map(|facts| facts.underlay.to_string()).unwrap_or_default(),
            underlay_mtu: facts.map(|facts| facts.underlay_mtu.bytes()),
            overlay_mtu: facts.map(|facts| facts.underlay_mtu.overlay(facts.vtep).bytes()),
            version: node.version().to_owned(),
            drained: node.is_drained(),
            started_unix_ms: i64::try_from(edge.started_wall).unwrap_or(i64::MAX),
            ops_due: u32::try_from(edge.look.due).unwrap_or(u32::MAX),
        }),
        cluster: match node.formation() {
            Formation::Formed(cluster) => Some(wire::ClusterStatus {
                id: cluster.to_string(),
                insecure: node.config().cluster.trust == Trust::Insecure,
            }),
            Formation::Unformed | Formation::Left { .. } => None,
        },
        waiting: node.waiting().unwrap_or_default(),
        peers: node.peer_lines().into_iter().map(peer).collect(),
        segments: node.segment_lines().iter().map(segment).collect(),
        gateways: node.gateway_lines(now).into_iter().map(gateway).collect(),
        problems,
    }
}

/// A problem of another host, in its own words.
fn reported(Reported { host, note }: Reported) -> wire::Problem {
    wire::Problem {
        id: note.id,
        severity: severity(note.severity).into(),
        segment: note.segment,
        subject: note.subject,
        evidence: note.evidence,
        cause: note.cause,
        fix: format!("on {host}: {}", note.fix),
        verify: format!("on {host}: {}", note.verify),
        depends_on: note.depends_on,
        host,
    }
}

fn severity(severity: Severity) -> wire::Severity {
    match severity {
        Severity::Fail => wire::Severity::Fail,
        Severity::Warn => wire::Severity::Warn,
        Severity::Unknown => wire::Severity::Unknown,
    }
}

fn problem(finding: Finding) -> wire::Problem {
    wire::Problem {
        id: finding.id.as_str().to_owned(),
        severity: severity(finding.severity).into(),
        host: finding.host,
        segment: finding.segment.map(|segment| segment.to_string()),
        subject: finding.subject,
        evidence: finding.evidence,
        cause: finding.cause,
        fix: finding.fix,
        verify: finding.verify,
        depends_on: finding.depends_on.iter().map(|id| id.as_str().to_owned()).collect(),
    }
}
