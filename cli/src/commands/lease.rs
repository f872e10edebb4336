//! `lease`: which guest has which address, on every host.

use overlayd_proto::control::{Lease, LeaseListRequest, LeaseReleaseRequest, LeaseState};
use serde::Serialize;

use crate::args;
use crate::client::{Client, LONG, SHORT};
use crate::failure::Failure;
use crate::output::{Moment, Output, Text, Tone, optional, plain};

/// A lease, as JSON has it.
#[derive(Serialize)]
struct LeaseRow {
    segment: String,
    address: String,
    mac: Option<String>,
    hostname: Option<String>,
    expires: Option<Moment>,
    owner: Option<String>,
    keeper: Option<String>,
    copies: u32,
    state: &'static str,
}

impl From<Lease> for LeaseRow {
    fn from(lease: Lease) -> Self {
        let state = match lease.state() {
            LeaseState::Unspecified => "unknown",
            LeaseState::Bound => "bound",
            LeaseState::Reserved => "reserved",
            LeaseState::Pending => "pending",
            LeaseState::Ending => "ending",
            LeaseState::Quarantined => "quarantined",
            LeaseState::Declined => "declined",
        };
        let Lease {
            segment,
            address,
            mac,
            hostname,
            expires_unix_ms,
            owner,
            keeper,
            copies,
            state: _,
        } = lease;
        let expires = expires_unix_ms.and_then(Moment::from_unix_ms);
        Self {
            segment,
            address,
            mac,
            hostname,
            expires,
            owner,
            keeper,
            copies,
            state,
        }
    }
}

const HEADER: &[&str] = &[
    "SEGMENT", "ADDRESS", "MAC", "HOSTNAME", "EXPIRES", "OWNER", "KEEPER", "COPIES", "STATE",
];

fn cells(lease: &LeaseRow) -> Vec<Text> {
    let tone = match lease.state {
        "bound" => Tone::Good,
        "pending" | "declined" => Tone::Warn,
        _ => Tone::Plain,
    };
    vec![
        plain(&lease.segment),
        plain(&lease.address),
        optional(lease.mac.as_ref()),
        optional(lease.hostname.as_ref()),
        optional(lease.expires),
        optional(lease.owner.as_ref()),
        optional(lease.keeper.as_ref()),
        plain(lease.copies),
        Text::new(lease.state, tone),
    ]
}

pub(super) async fn run(command: &args::Lease, client: &Client, output: &Output) -> Result<(), Failure> {
    match command {
        args::Lease::List { segment, all } => {
            let request = LeaseListRequest {
                segment: segment.clone(),
                all: *all,
            };
            list(request, client, output).await
        }
        args::Lease::Release {
            address,
            segment,
            force,
        } => {
            let request = LeaseReleaseRequest {
                address: address.to_string(),
                segment: segment.clone(),
                force: *force,
            };
            release(request, client, output).await
        }
    }
}

async fn list(request: LeaseListRequest, client: &Client, output: &Output) -> Result<(), Failure> {
    let answer = client
        .ask(
            output,
            SHORT,
            |mut calls| async move { calls.lease_list(request).await },
        )
        .await?;
    let rows: Vec<LeaseRow> = answer.leases.into_iter().map(LeaseRow::from).collect();
    output.list(&rows, HEADER, "no leases", cells)
}

async fn release(request: LeaseReleaseRequest, client: &Client, output: &Output) -> Result<(), Failure> {
    let address = request.address.clone();
    let call = client.ask(
        output,
        LONG,
        |mut calls| async move { calls.lease_release(request).await },
    );
    let answer = output.progress(&format!("releasing {address}"), call).await?;
    let lease = answer.lease.map(LeaseRow::from);
    let of = lease
        .as_ref()
        .and_then(|lease| lease.mac.as_ref())
        .map(|mac| format!(" of {mac}"))
        .unwrap_or_default();
    output.outcome(&lease, &format!("released {address}{of}"))
}
