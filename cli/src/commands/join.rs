//! `join`: this host becomes a member of another host's cluster. Ctrl-C gives that up until a member has let it in.

use overlayd_proto::control::{JoinCancelRequest, JoinRequest, JoinResponse};
use serde::Serialize;

use crate::args::Join;
use crate::client::{Client, LONG, SHORT, interrupted};
use crate::failure::Failure;
use crate::loss::{self, LossRow};
use crate::output::Output;

#[derive(Serialize)]
struct Joined {
    cluster_id: String,
    via: String,
    hosts: u32,
    gave_way: Vec<String>,
    already_member: bool,
    losses: Vec<LossRow>,
}

impl From<JoinResponse> for Joined {
    fn from(answer: JoinResponse) -> Self {
        let JoinResponse {
            cluster_id,
            via,
            hosts,
            gave_way,
            already_member,
            losses,
        } = answer;
        Self {
            cluster_id,
            via,
            hosts,
            gave_way,
            already_member,
            losses: loss::rows(losses),
        }
    }
}

pub(super) async fn run(join: &Join, client: &Client, output: &Output) -> Result<(), Failure> {
    let request = JoinRequest {
        address: join.address.clone(),
        token: join.token.clone(),
        force: join.force,
    };
    let call = client.call(output, LONG, |mut calls| async move { calls.join(request).await });
    let what = format!("joining through {}", join.address);
    let work = output.progress(&what, call);
    tokio::pin!(work);
    let answer = tokio::select! {
        biased;
        answer = &mut work => answer?,
        () = interrupted() => {
            cancel(client, output).await?;
            tokio::select! {
                biased;
                answer = &mut work => answer?,
                () = interrupted() => {
                    return Err(Failure::Interrupted("interrupted; see `overlayctl status` for what became of it"));
                }
            }
        }
    };
    let joined = Joined::from(answer);
    for what in &joined.gave_way {
        output.warning(what);
    }
    output.losses("lost", &joined.losses);
    let Joined {
        cluster_id, via, hosts, ..
    } = &joined;
    let sentence = match joined.already_member {
        true => {
            format!("{via} is a member already: it is in this host's cluster {cluster_id}, which has {hosts} hosts")
        }
        false => format!("joined cluster {cluster_id} through {via}; it now has {hosts} hosts"),
    };
    output.outcome(&joined, &sentence)
}

/// What came of it is the answer to the join: a member may have let this host in already.
async fn cancel(client: &Client, output: &Output) -> Result<(), Failure> {
    output.note("giving up, unless a member has let this host in already");
    let request = JoinCancelRequest {};
    let cancelled = client
        .call(
            output,
            SHORT,
            |mut calls| async move { calls.join_cancel(request).await },
        )
        .await;
    match cancelled {
        // It has just ended.
        Ok(_) | Err(Failure::Refused { .. }) => Ok(()),
        Err(failure) => Err(failure),
    }
}
