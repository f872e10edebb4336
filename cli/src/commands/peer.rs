//! `peer`: the hosts as this one sees them.

use overlayd_proto::control::{
    Peer, PeerAddRequest, PeerAddStaticRequest, PeerListRequest, PeerRemoveRequest, PeerState,
};
use serde::Serialize;

use crate::args;
use crate::client::{Client, LONG, SHORT};
use crate::failure::Failure;
use crate::output::{Output, Text, Tone, optional, plain};

/// A host, as JSON has it.
#[derive(Debug, Serialize)]
pub(super) struct PeerRow {
    pub(super) name: String,
    pub(super) id: Option<String>,
    pub(super) address: String,
    pub(super) state: &'static str,
    #[serde(rename = "self")]
    pub(super) this_host: bool,
    pub(super) mtu: Option<u32>,
    pub(super) drained: bool,
}

impl From<Peer> for PeerRow {
    fn from(peer: Peer) -> Self {
        let state = match peer.state() {
            PeerState::Unspecified => "unknown",
            PeerState::Alive => "alive",
            PeerState::Suspect => "suspect",
            PeerState::Failed => "failed",
            PeerState::Left => "left",
            PeerState::Static => "static",
        };
        let Peer {
            name,
            id,
            address,
            state: _,
            self_,
            mtu,
            drained,
        } = peer;
        Self {
            name,
            id,
            address,
            state,
            this_host: self_,
            mtu,
            drained,
        }
    }
}

/// Columns of [`cells`].
pub(super) const HEADER: &[&str] = &["NAME", "ADDRESS", "STATE", "MTU", "ID"];

/// A host as a row of a table; `*` marks this one.
pub(super) fn cells(peer: &PeerRow) -> Vec<Text> {
    let tone = match peer.state {
        "alive" => Tone::Good,
        "suspect" => Tone::Warn,
        "failed" | "unknown" => Tone::Bad,
        _ => Tone::Plain,
    };
    let mark = if peer.this_host { "*" } else { "" };
    vec![
        plain(format!("{}{mark}", peer.name)),
        plain(&peer.address),
        match peer.drained {
            true => Text::new(format!("{}, drained", peer.state), tone),
            false => Text::new(peer.state, tone),
        },
        optional(peer.mtu),
        optional(peer.id.as_ref()),
    ]
}

#[derive(Serialize)]
struct Added {
    peer: Option<PeerRow>,
    already_member: bool,
    segments: Vec<String>,
}

#[derive(Serialize)]
struct Removed {
    peer: Option<PeerRow>,
    inheriting: Vec<String>,
}

pub(super) async fn run(command: &args::Peer, client: &Client, output: &Output) -> Result<(), Failure> {
    match command {
        args::Peer::List => list(client, output).await,
        args::Peer::Add(add) if add.no_agent => add_static(add, client, output).await,
        args::Peer::Add(add) => invite(add, client, output).await,
        args::Peer::Remove { name } => remove(name, client, output).await,
    }
}

async fn list(client: &Client, output: &Output) -> Result<(), Failure> {
    let answer = client
        .ask(output, SHORT, |mut calls| async move {
            calls.peer_list(PeerListRequest {}).await
        })
        .await?;
    let rows: Vec<PeerRow> = answer.peers.into_iter().map(PeerRow::from).collect();
    output.list(&rows, HEADER, "no peers", cells)
}

async fn invite(add: &args::PeerAdd, client: &Client, output: &Output) -> Result<(), Failure> {
    let request = PeerAddRequest {
        address: add.address.clone(),
    };
    let call = client.ask(output, LONG, |mut calls| async move { calls.peer_add(request).await });
    let answer = output.progress(&format!("inviting {}", add.address), call).await?;
    let added = Added {
        peer: answer.peer.map(PeerRow::from),
        already_member: answer.already_member,
        segments: Vec::new(),
    };
    let name = added
        .peer
        .as_ref()
        .map_or(add.address.as_str(), |peer| peer.name.as_str());
    let sentence = match added.already_member {
        true => format!("{name} is a member already"),
        false => format!("{name} joined the cluster"),
    };
    output.outcome(&added, &sentence)
}

async fn add_static(add: &args::PeerAdd, client: &Client, output: &Output) -> Result<(), Failure> {
    let request = PeerAddStaticRequest {
        address: add.address.clone(),
        segment: add.segment.clone(),
    };
    let answer = client
        .ask(output, SHORT, |mut calls| async move {
            calls.peer_add_static(request).await
        })
        .await?;
    let added = Added {
        peer: answer.peer.map(PeerRow::from),
        already_member: false,
        segments: answer.segments,
    };
    let segments = match added.segments.as_slice() {
        [] => "in no segment's flood list yet".to_owned(),
        segments => format!("in the flood list of {}", segments.join(", ")),
    };
    output.outcome(&added, &format!("added static peer {}: {segments}", add.address))
}

async fn remove(name: &str, client: &Client, output: &Output) -> Result<(), Failure> {
    let request = PeerRemoveRequest { name: name.to_owned() };
    let call = client.ask(
        output,
        LONG,
        |mut calls| async move { calls.peer_remove(request).await },
    );
    let answer = output.progress(&format!("removing {name}"), call).await?;
    let removed = Removed {
        peer: answer.peer.map(PeerRow::from),
        inheriting: answer.inheriting,
    };
    if !removed.inheriting.is_empty() {
        let segments = removed.inheriting.join(", ");
        output.note(&format!(
            "its ranges in {segments} go to the other hosts: `overlayctl pool show`"
        ));
    }
    output.outcome(&removed, &format!("removed {name}"))
}
