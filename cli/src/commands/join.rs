//! `join`: this host becomes a member of another host's cluster.

use overlayd_proto::control::{JoinRequest, JoinResponse};
use serde::Serialize;

use crate::args::Join;
use crate::client::{Client, LONG};
use crate::failure::Failure;
use crate::output::Output;

#[derive(Serialize)]
struct Joined {
    cluster_id: String,
    via: String,
    hosts: u32,
    gave_way: Vec<String>,
}

impl From<JoinResponse> for Joined {
    fn from(answer: JoinResponse) -> Self {
        let JoinResponse {
            cluster_id,
            via,
            hosts,
            gave_way,
        } = answer;
        Self {
            cluster_id,
            via,
            hosts,
            gave_way,
        }
    }
}

pub(super) async fn run(join: &Join, client: &Client, output: &Output) -> Result<(), Failure> {
    let request = JoinRequest {
        address: join.address.clone(),
        token: join.token.clone(),
    };
    let call = client.ask(output, LONG, |mut calls| async move { calls.join(request).await });
    let answer = output
        .progress(&format!("joining through {}", join.address), call)
        .await?;
    let joined = Joined::from(answer);
    for what in &joined.gave_way {
        output.warning(what);
    }
    let Joined {
        cluster_id, via, hosts, ..
    } = &joined;
    output.outcome(
        &joined,
        &format!("joined cluster {cluster_id} through {via}; it now has {hosts} hosts"),
    )
}
