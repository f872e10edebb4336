//! `status`: one screen about this host, its cluster, and what is wrong.

use overlayd_proto::control::{ClusterStatus, HostStatus, Problem, Severity, StatusRequest, StatusResponse};
use serde::Serialize;

use super::gateway::{self, GatewayRow};
use super::peer::{self, PeerRow};
use super::segment::{self, SegmentRow};
use crate::args::Status;
use crate::client::{Client, SHORT};
use crate::failure::{Failure, Grade};
use crate::output::{Moment, Output, Tone};

/// The screen, as JSON has it.
#[derive(Serialize)]
struct Screen {
    host: HostRow,
    cluster: Option<ClusterRow>,
    waiting: Option<String>,
    peers: Vec<PeerRow>,
    segments: Vec<SegmentRow>,
    gateways: Vec<GatewayRow>,
    problems: Vec<ProblemRow>,
}

#[derive(Serialize)]
struct HostRow {
    name: String,
    id: String,
    address: Option<String>,
    underlay: String,
    underlay_mtu: Option<u32>,
    overlay_mtu: Option<u32>,
    version: String,
    drained: bool,
    started: Option<Moment>,
    ops_due: u32,
}

#[derive(Serialize)]
struct ClusterRow {
    id: String,
    insecure: bool,
}

#[derive(Serialize)]
struct ProblemRow {
    id: String,
    severity: &'static str,
    host: String,
    segment: Option<String>,
    subject: String,
    evidence: String,
    cause: String,
    fix: String,
    verify: String,
    depends_on: Vec<String>,
}

impl From<StatusResponse> for Screen {
    fn from(answer: StatusResponse) -> Self {
        let StatusResponse {
            host,
            cluster,
            waiting,
            peers,
            segments,
            gateways,
            problems,
        } = answer;
        Self {
            host: HostRow::from(host.unwrap_or_default()),
            cluster: cluster.map(|ClusterStatus { id, insecure }| ClusterRow { id, insecure }),
            waiting: (!waiting.is_empty()).then_some(waiting),
            peers: peers.into_iter().map(PeerRow::from).collect(),
            segments: segments.into_iter().map(SegmentRow::from).collect(),
            gateways: gateways.into_iter().map(GatewayRow::from).collect(),
            problems: problems.into_iter().map(ProblemRow::from).collect(),
        }
    }
}

impl From<HostStatus> for HostRow {
    fn from(host: HostStatus) -> Self {
        let HostStatus {
            name,
            id,
            address,
            underlay,
            underlay_mtu,
            overlay_mtu,
            version,
            drained,
            started_unix_ms,
            ops_due,
        } = host;
        let started = Moment::from_unix_ms(started_unix_ms);
        Self {
            name,
            id,
            address,
            underlay,
            underlay_mtu,
            overlay_mtu,
            version,
            drained,
            started,
            ops_due,
        }
    }
}

impl From<Problem> for ProblemRow {
    fn from(problem: Problem) -> Self {
        let severity = match problem.severity() {
            Severity::Ok => "ok",
            Severity::Unspecified | Severity::Warn => "warn",
            Severity::Fail => "fail",
            Severity::Unknown => "unknown",
        };
        let Problem {
            id,
            severity: _,
            host,
            segment,
            subject,
            evidence,
            cause,
            fix,
            verify,
            depends_on,
        } = problem;
        Self {
            id,
            severity,
            host,
            segment,
            subject,
            evidence,
            cause,
            fix,
            verify,
            depends_on,
        }
    }
}

pub(super) async fn run(status: &Status, client: &Client, output: &Output) -> Result<(), Failure> {
    let answer = client
        .ask(output, SHORT, |mut calls| async move {
            calls.status(StatusRequest {}).await
        })
        .await?;
    let worst = answer.problems.iter().filter_map(grade).max();
    output.data(&Screen::from(answer), |screen| text(screen, output))?;
    match worst {
        Some(grade) if status.check => Err(Failure::Unhealthy(grade)),
        Some(_) | None => Ok(()),
    }
}

/// How bad a problem is, if it is bad.
fn grade(problem: &Problem) -> Option<Grade> {
    match problem.severity() {
        Severity::Ok | Severity::Unknown => None,
        Severity::Unspecified | Severity::Warn => Some(Grade::Warn),
        Severity::Fail => Some(Grade::Fail),
    }
}

fn text(screen: &Screen, output: &Output) -> String {
    let mut text = String::new();
    for (name, value) in facts(screen) {
        text.push_str(&format!(
            "{}{value}\n",
            output.styled(&format!("{name:<9}"), Tone::Heading)
        ));
    }
    let mut part = |title: &str, table: String| {
        text.push_str(&format!("\n{}\n{table}", output.styled(title, Tone::Heading)));
    };
    if !screen.peers.is_empty() {
        part(
            "Peers",
            output.table(peer::HEADER, screen.peers.iter().map(peer::cells)),
        );
    }
    if !screen.segments.is_empty() {
        part(
            "Segments",
            output.table(segment::HEADER, screen.segments.iter().map(segment::cells)),
        );
    }
    if !screen.gateways.is_empty() {
        part(
            "Gateways",
            output.table(gateway::HEADER, screen.gateways.iter().map(gateway::cells)),
        );
    }
    let problems = match screen.problems.is_empty() {
        true => format!("{}\n", output.styled("none", Tone::Good)),
        false => screen.problems.iter().map(|problem| lines(problem, output)).collect(),
    };
    part("Problems", problems);
    text
}

/// The facts above the tables: name and value.
fn facts(screen: &Screen) -> Vec<(&'static str, String)> {
    let host = &screen.host;
    let drained = if host.drained { ", drained" } else { "" };
    let address = host.address.as_deref().unwrap_or("no address");
    let started = host
        .started
        .map_or_else(|| "unknown".to_owned(), |started| started.to_string());
    let cluster = match (&screen.cluster, &screen.waiting) {
        (Some(cluster), _) if cluster.insecure => format!("{} (insecure: no TLS between hosts)", cluster.id),
        (Some(cluster), _) => cluster.id.clone(),
        (None, Some(waiting)) => format!("none: {waiting}"),
        (None, None) => "none: `overlayctl init` forms one, `overlayctl join ADDR` joins one".to_owned(),
    };
    let number = |mtu: Option<u32>| mtu.map_or_else(|| "unknown".to_owned(), |mtu| mtu.to_string());
    let plan = match host.ops_due {
        0 => "no changes pending".to_owned(),
        1 => "1 change pending (overlayctl plan)".to_owned(),
        ops => format!("{ops} changes pending (overlayctl plan)"),
    };
    let mut facts = vec![
        ("Host", format!("{} ({}){drained}", host.name, host.id)),
        ("Underlay", format!("{address} on {}", host.underlay)),
        (
            "MTU",
            format!(
                "underlay {}, overlay {}",
                number(host.underlay_mtu),
                number(host.overlay_mtu)
            ),
        ),
        ("Cluster", cluster),
        ("Agent", format!("overlayd {}, started {started}", host.version)),
        ("Plan", plan),
    ];
    let tried = screen
        .segments
        .iter()
        .filter_map(|it| Some((&it.name, it.rolled_back_in?)));
    let tried: Vec<String> = tried
        .map(|(name, seconds)| format!("{name} (rolled back in {seconds} s)"))
        .collect();
    if !tried.is_empty() {
        let tried = tried.join(", ");
        facts.push((
            "On trial",
            format!("{tried}; to keep it, run `overlayctl apply confirm`"),
        ));
    }
    facts
}

/// What is wrong in one line, and below it what to do.
fn lines(problem: &ProblemRow, output: &Output) -> String {
    let tone = match problem.severity {
        "fail" => Tone::Bad,
        _ => Tone::Warn,
    };
    let severity = output.styled(&format!("{:<7}", problem.severity), tone);
    let mut lines = format!(
        "{severity}  {:<3}  {}: {}\n",
        problem.id, problem.host, problem.evidence
    );
    let because = match problem.depends_on.as_slice() {
        [] => problem.cause.clone(),
        others => format!("{}; see {}", problem.cause, others.join(", ")),
    };
    for (name, value) in [("cause", &because), ("fix", &problem.fix), ("verify", &problem.verify)] {
        lines.push_str(&format!("              {name:<6}  {value}\n"));
    }
    lines
}
