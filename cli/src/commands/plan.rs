//! `plan`: what is due on this host.

use overlayd_proto::control::{PlanOp, PlanRequest};
use serde::Serialize;

use crate::client::{Client, SHORT};
use crate::failure::Failure;
use crate::output::Output;

/// An op, as JSON has it.
#[derive(Serialize)]
struct OpRow {
    op: String,
    segment: Option<String>,
}

impl From<PlanOp> for OpRow {
    fn from(op: PlanOp) -> Self {
        let PlanOp { op, segment } = op;
        Self { op, segment }
    }
}

pub(super) async fn run(client: &Client, output: &Output) -> Result<(), Failure> {
    let answer = client
        .ask(
            output,
            SHORT,
            |mut calls| async move { calls.plan(PlanRequest {}).await },
        )
        .await?;
    let ops: Vec<OpRow> = answer.ops.into_iter().map(OpRow::from).collect();
    if ops.is_empty() && output.is_table() {
        output.note("no changes pending");
    }
    // An op may be a whole nftables transaction, over several lines.
    output.data(&ops, |ops| {
        ops.iter().map(|op| format!("{}\n", op.op.trim_end())).collect()
    })
}
