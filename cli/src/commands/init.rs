//! `init`: makes this host the first of a new cluster, and prints what the others run.

use overlayd_proto::control::{InitRequest, InitResponse};
use serde::Serialize;

use crate::client::{Client, SHORT};
use crate::failure::Failure;
use crate::output::Output;

#[derive(Serialize)]
struct Formed {
    cluster_id: String,
    already_formed: bool,
    join_line: String,
}

impl From<InitResponse> for Formed {
    fn from(answer: InitResponse) -> Self {
        let InitResponse {
            cluster_id,
            already_formed,
            join_line,
        } = answer;
        Self {
            cluster_id,
            already_formed,
            join_line,
        }
    }
}

pub(super) async fn run(client: &Client, output: &Output) -> Result<(), Failure> {
    let answer = client
        .ask(
            output,
            SHORT,
            |mut calls| async move { calls.init(InitRequest {}).await },
        )
        .await?;
    let formed = Formed::from(answer);
    output.note(&match formed.already_formed {
        true => format!(
            "this host is already in cluster {}; on each of the other hosts run:",
            formed.cluster_id
        ),
        false => format!("formed cluster {}; on each of the other hosts run:", formed.cluster_id),
    });
    output.data(&formed, |formed| format!("{}\n", formed.join_line))
}
