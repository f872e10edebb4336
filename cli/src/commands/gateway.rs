//! `gateway`: who serves which segment, and the planned hand-over.

use overlayd_proto::control::{Gateway, GatewayListRequest, GatewayMoveRequest};
use serde::Serialize;

use crate::args;
use crate::client::{Client, LONG, SHORT};
use crate::failure::Failure;
use crate::output::{Moment, Output, Text, Tone, optional, plain};

/// Who serves a segment, as JSON has it.
#[derive(Debug, Serialize)]
pub(super) struct GatewayRow {
    pub(super) segment: String,
    pub(super) host: Option<String>,
    pub(super) term: u64,
    pub(super) since: Option<Moment>,
    #[serde(rename = "self")]
    pub(super) this_host: bool,
    pub(super) reason: String,
}

impl From<Gateway> for GatewayRow {
    fn from(gateway: Gateway) -> Self {
        let Gateway {
            segment,
            host,
            term,
            since_unix_ms,
            self_,
            reason,
        } = gateway;
        Self {
            segment,
            host,
            term,
            since: since_unix_ms.and_then(Moment::from_unix_ms),
            this_host: self_,
            reason,
        }
    }
}

/// Columns of [`cells`].
pub(super) const HEADER: &[&str] = &["SEGMENT", "HOST", "TERM", "SINCE", "REASON"];

/// A gateway as a row of a table; `*` marks this host.
pub(super) fn cells(gateway: &GatewayRow) -> Vec<Text> {
    let mark = if gateway.this_host { "*" } else { "" };
    vec![
        plain(&gateway.segment),
        match &gateway.host {
            Some(host) => plain(format!("{host}{mark}")),
            None => Text::new("none", Tone::Bad),
        },
        plain(gateway.term),
        optional(gateway.since),
        plain(&gateway.reason),
    ]
}

/// One line per gateway: which segment is now served by whom.
pub(super) fn now_served(gateways: &[GatewayRow]) -> String {
    let line = |gateway: &GatewayRow| match &gateway.host {
        Some(host) => format!("{}: now on {host}, term {}", gateway.segment, gateway.term),
        None => format!("{}: no gateway now: {}", gateway.segment, gateway.reason),
    };
    gateways.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[derive(Serialize)]
struct Moved {
    from: Option<String>,
    gateways: Vec<GatewayRow>,
}

pub(super) async fn run(command: &args::Gateway, client: &Client, output: &Output) -> Result<(), Failure> {
    match command {
        args::Gateway::List => list(client, output).await,
        args::Gateway::Move { segment, host } => hand_over(segment, host.as_deref(), client, output).await,
    }
}

async fn list(client: &Client, output: &Output) -> Result<(), Failure> {
    let request = GatewayListRequest {};
    let answer = client
        .ask(
            output,
            SHORT,
            |mut calls| async move { calls.gateway_list(request).await },
        )
        .await?;
    let rows: Vec<GatewayRow> = answer.gateways.into_iter().map(GatewayRow::from).collect();
    output.list(&rows, HEADER, "no gateways: no segments", cells)
}

async fn hand_over(segment: &str, host: Option<&str>, client: &Client, output: &Output) -> Result<(), Failure> {
    let request = GatewayMoveRequest {
        segment: segment.to_owned(),
        host: host.map(str::to_owned),
    };
    let call = client.ask(
        output,
        LONG,
        |mut calls| async move { calls.gateway_move(request).await },
    );
    let answer = output
        .progress(&format!("moving the gateway of {segment}"), call)
        .await?;
    let moved = Moved {
        from: answer.from,
        gateways: answer.gateways.into_iter().map(GatewayRow::from).collect(),
    };
    let from = moved
        .from
        .as_ref()
        .map(|from| format!(" (was on {from})"))
        .unwrap_or_default();
    output.outcome(&moved, &format!("{}{from}", now_served(&moved.gateways)))
}
