//! `pool`: which host may hand out which addresses.

use overlayd_proto::control::{PoolRange, PoolShowRequest};
use serde::Serialize;

use crate::args::Pool;
use crate::client::{Client, Failure, SHORT};
use crate::output::{Output, Text, Tone, plain};

/// A range, as JSON has it.
#[derive(Serialize)]
struct RangeRow {
    segment: String,
    range: String,
    owner: Option<String>,
    free: u64,
    held: u64,
    resting: u64,
    set_aside: u64,
}

impl From<PoolRange> for RangeRow {
    fn from(range: PoolRange) -> Self {
        let PoolRange {
            segment,
            range,
            owner,
            free,
            held,
            resting,
            set_aside,
        } = range;
        Self {
            segment,
            range,
            owner,
            free,
            held,
            resting,
            set_aside,
        }
    }
}

const HEADER: &[&str] = &["SEGMENT", "RANGE", "OWNER", "FREE", "HELD", "RESTING", "SET ASIDE"];

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
        plain(range.resting),
        plain(range.set_aside),
    ]
}

pub(super) async fn run(command: &Pool, client: &Client, output: &Output) -> Result<(), Failure> {
    let Pool::Show { segment } = command;
    let request = PoolShowRequest {
        segment: segment.clone(),
    };
    let answer = client
        .ask(output, SHORT, |mut calls| async move { calls.pool_show(request).await })
        .await?;
    let rows: Vec<RangeRow> = answer.ranges.into_iter().map(RangeRow::from).collect();
    output.list(&rows, HEADER, "no pools", cells)
}
