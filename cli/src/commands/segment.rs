//! `segment`: what the cluster's segments are, and what became of them.

use overlayd_proto::control::{Segment, SegmentDeleteRequest, SegmentListRequest, SegmentShowRequest};
use serde::Serialize;

use crate::args;
use crate::client::{Client, SHORT};
use crate::failure::Failure;
use crate::loss::{self, LossRow};
use crate::output::{Output, Text, Tone, plain};

/// A segment, as JSON has it.
#[derive(Debug, Serialize)]
pub(super) struct SegmentRow {
    pub(super) name: String,
    pub(super) vni: u32,
    pub(super) bridge: String,
    pub(super) mode: String,
    pub(super) mtu: u32,
    pub(super) gateway: Option<String>,
    pub(super) hosts: Vec<String>,
    pub(super) rolled_back_in: Option<u32>,
}

impl From<Segment> for SegmentRow {
    fn from(segment: Segment) -> Self {
        let Segment {
            name,
            vni,
            bridge,
            mode,
            mtu,
            gateway,
            hosts,
            rolled_back_in,
        } = segment;
        Self {
            name,
            vni,
            bridge,
            mode,
            mtu,
            gateway,
            hosts,
            rolled_back_in,
        }
    }
}

/// Columns of [`cells`].
pub(super) const HEADER: &[&str] = &["NAME", "VNI", "BRIDGE", "MODE", "MTU", "GATEWAY", "HOSTS"];

/// A segment as a row of a table.
pub(super) fn cells(segment: &SegmentRow) -> Vec<Text> {
    vec![
        plain(&segment.name),
        plain(segment.vni),
        plain(&segment.bridge),
        plain(&segment.mode),
        plain(segment.mtu),
        match &segment.gateway {
            Some(host) => plain(host),
            None => Text::new("none", Tone::Bad),
        },
        plain(segment.hosts.join(",")),
    ]
}

/// Everything about one segment, as JSON has it.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    segment: SegmentRow,
    generation: u64,
    written_by: String,
    configuration: serde_json::Value,
    #[serde(skip)]
    yaml: String,
}

#[derive(Serialize)]
struct Deleted {
    name: String,
    guest_ports: Vec<String>,
    losses: Vec<LossRow>,
}

pub(super) async fn run(command: &args::Segment, client: &Client, output: &Output) -> Result<(), Failure> {
    match command {
        args::Segment::List => list(client, output).await,
        args::Segment::Show { name } => show(name, client, output).await,
        args::Segment::Delete { name, force } => delete(name, *force, client, output).await,
    }
}

async fn list(client: &Client, output: &Output) -> Result<(), Failure> {
    let request = SegmentListRequest {};
    let answer = client
        .ask(
            output,
            SHORT,
            |mut calls| async move { calls.segment_list(request).await },
        )
        .await?;
    let rows: Vec<SegmentRow> = answer.segments.into_iter().map(SegmentRow::from).collect();
    output.list(
        &rows,
        HEADER,
        "no segments: create some with `overlayctl apply -f FILE`",
        cells,
    )
}

async fn show(name: &str, client: &Client, output: &Output) -> Result<(), Failure> {
    let request = SegmentShowRequest { name: name.to_owned() };
    let answer = client
        .ask(
            output,
            SHORT,
            |mut calls| async move { calls.segment_show(request).await },
        )
        .await?;
    let Some(segment) = answer.segment else {
        return Err(anyhow::anyhow!("invalid reply from the agent: segment {name} is missing").into());
    };
    let shown = Shown {
        segment: SegmentRow::from(segment),
        generation: answer.generation,
        written_by: answer.written_by,
        configuration: configuration(&answer.yaml)?,
        yaml: answer.yaml,
    };
    output.data(&shown, file)
}

/// The segment itself out of a file with `segments: [...]`.
fn configuration(yaml: &str) -> Result<serde_json::Value, Failure> {
    let file: serde_json::Value =
        serde_yaml::from_str(yaml).map_err(|error| anyhow::anyhow!("invalid reply from the agent: {error}"))?;
    Ok(file.pointer("/segments/0").cloned().unwrap_or(file))
}

/// A file that `apply` takes; what is no configuration stands in comments.
fn file(shown: &Shown) -> String {
    let Shown {
        segment,
        generation,
        written_by,
        yaml,
        ..
    } = shown;
    let gateway = segment.gateway.as_deref().unwrap_or("none");
    let hosts = segment.hosts.join(", ");
    let mtu = segment.mtu;
    let trial = segment
        .rolled_back_in
        .map(|seconds| format!("# on trial: rolled back in {seconds} s unless you run `overlayctl apply confirm`\n"));
    format!(
        "# generation {generation}, written by {written_by}\n{}\
         # mtu {mtu}, gateway {gateway}, hosts {hosts}\n\
         {}\n",
        trial.unwrap_or_default(),
        yaml.trim_end()
    )
}

async fn delete(name: &str, force: bool, client: &Client, output: &Output) -> Result<(), Failure> {
    let request = SegmentDeleteRequest {
        name: name.to_owned(),
        force,
    };
    let answer = client
        .ask(
            output,
            SHORT,
            |mut calls| async move { calls.segment_delete(request).await },
        )
        .await?;
    let deleted = Deleted {
        name: name.to_owned(),
        guest_ports: answer.guest_ports,
        losses: loss::rows(answer.losses),
    };
    output.losses("lost", &deleted.losses);
    if !deleted.guest_ports.is_empty() {
        let ports = deleted.guest_ports.join(", ");
        output.warning(&format!(
            "the bridge on this host stays until its guest ports are gone: {ports}"
        ));
    }
    output.outcome(&deleted, &format!("deleted segment {name}"))
}
