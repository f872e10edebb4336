//! `leave`: this host leaves its cluster, and nothing of the agent's stays in its kernel.

use overlayd_proto::control::{LeaveRequest, LeaveResponse};
use serde::Serialize;

use crate::args::Leave;
use crate::client::{Client, LONG};
use crate::failure::Failure;
use crate::loss::{self, LossRow};
use crate::output::Output;

#[derive(Serialize)]
struct Left {
    cluster_ended: bool,
    removed: Vec<String>,
    notes: Vec<String>,
    losses: Vec<LossRow>,
}

impl From<LeaveResponse> for Left {
    fn from(answer: LeaveResponse) -> Self {
        let LeaveResponse {
            cluster_ended,
            removed,
            notes,
            losses,
        } = answer;
        Self {
            cluster_ended,
            removed,
            notes,
            losses: loss::rows(losses),
        }
    }
}

pub(super) async fn run(leave: &Leave, client: &Client, output: &Output) -> Result<(), Failure> {
    let request = LeaveRequest { force: leave.force };
    let call = client.ask(output, LONG, |mut calls| async move { calls.leave(request).await });
    let left = Left::from(
        output
            .progress("leaving: handing over this host's gateways", call)
            .await?,
    );
    for op in &left.removed {
        output.detail(op);
    }
    output.losses("lost", &left.losses);
    for note in &left.notes {
        output.warning(note);
    }
    output.outcome(
        &left,
        match left.cluster_ended {
            true => "left the cluster; this host was its last member",
            false => "left the cluster",
        },
    )
}
