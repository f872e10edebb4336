//! `pool`: which host may hand out which addresses.

use std::time::Duration;

use overlayd_proto::control::{PoolRange, PoolRecoverRequest, PoolShowRequest};
use serde::Serialize;

use crate::args::Pool;
use crate::client::{Client, LONG, SHORT};
use crate::failure::Failure;
use crate::output::{Output, Text, Tone, plain};

/// A range, as JSON has it.
#[derive(Serialize)]
struct RangeRow {
    segment: String,
    range: String,
    owner: Option<String>,
    free: u64,
    held: u64,
    quarantined: u64,
    declined: u64,
    waits: Option<String>,
}

impl From<PoolRange> for RangeRow {
    fn from(range: PoolRange) -> Self {
        let PoolRange {
            segment,
            range,
            owner,
            free,
            held,
            quarantined,
            declined,
            waits,
        } = range;
        Self {
            segment,
            range,
            owner,
            free,
            held,
            quarantined,
            declined,
            waits,
        }
    }
}

const HEADER: &[&str] = &[
    "SEGMENT",
    "RANGE",
    "OWNER",
    "FREE",
    "HELD",
    "QUARANTINED",
    "DECLINED",
    "WAITS",
];

fn cells(range: &RangeRow) -> Vec<Text> {
    vec![
        plain(&range.segment),
        plain(&range.range),
        match &range.owner {
            Some(owner) => plain(owner),
            None => Text::new("none", Tone::Bad),
        },
        plain(range.free),
        plain(range.held),
        plain(range.quarantined),
        plain(range.declined),
        plain(range.waits.as_deref().unwrap_or_default()),
    ]
}

/// A recovery, as JSON has it.
#[derive(Serialize)]
struct Recovered {
    recovered: bool,
    quarantine_seconds: f64,
}

pub(super) async fn run(command: &Pool, client: &Client, output: &Output) -> Result<(), Failure> {
    match command {
        Pool::Show { segment } => show(segment.clone(), client, output).await,
        Pool::Recover => recover(client, output).await,
    }
}

async fn show(segment: Option<String>, client: &Client, output: &Output) -> Result<(), Failure> {
    let request = PoolShowRequest { segment };
    let answer = client
        .ask(output, SHORT, |mut calls| async move { calls.pool_show(request).await })
        .await?;
    let rows: Vec<RangeRow> = answer.ranges.into_iter().map(RangeRow::from).collect();
    output.list(&rows, HEADER, "no pools", cells)
}

async fn recover(client: &Client, output: &Output) -> Result<(), Failure> {
    let call = client.ask(output, LONG, |mut calls| async move {
        calls.pool_recover(PoolRecoverRequest {}).await
    });
    let answer = output.progress("recovering the address pools", call).await?;
    let quarantine = Duration::from_millis(answer.quarantine_ms);
    let recovered = Recovered {
        recovered: true,
        quarantine_seconds: quarantine.as_secs_f64(),
    };
    output.outcome(
        &recovered,
        &format!(
            "recovered: this host owns every address that had no owner; new leases start within {} s (see \
             `overlayctl pool show`)",
            quarantine.as_secs()
        ),
    )
}
