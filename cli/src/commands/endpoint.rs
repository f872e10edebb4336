//! `endpoint`: the guests' network interfaces, on every host.

use overlayd_proto::control::{Endpoint, EndpointListRequest};
use serde::Serialize;

use crate::args;
use crate::client::{Client, SHORT};
use crate::failure::Failure;
use crate::output::{Output, Text, optional, plain};

/// A guest's network interface, as JSON has it.
#[derive(Serialize)]
struct EndpointRow {
    segment: String,
    mac: String,
    addresses: Vec<String>,
    host: String,
    interface: Option<String>,
}

impl From<Endpoint> for EndpointRow {
    fn from(endpoint: Endpoint) -> Self {
        let Endpoint {
            segment,
            mac,
            addresses,
            host,
            interface,
        } = endpoint;
        Self {
            segment,
            mac,
            addresses,
            host,
            interface,
        }
    }
}

const HEADER: &[&str] = &["SEGMENT", "MAC", "ADDRESSES", "HOST", "INTERFACE"];

fn cells(endpoint: &EndpointRow) -> Vec<Text> {
    vec![
        plain(&endpoint.segment),
        plain(&endpoint.mac),
        plain(endpoint.addresses.join(",")),
        plain(&endpoint.host),
        optional(endpoint.interface.as_ref()),
    ]
}

pub(super) async fn run(command: &args::Endpoint, client: &Client, output: &Output) -> Result<(), Failure> {
    let args::Endpoint::List { segment } = command;
    let request = EndpointListRequest {
        segment: segment.clone(),
    };
    let answer = client
        .ask(
            output,
            SHORT,
            |mut calls| async move { calls.endpoint_list(request).await },
        )
        .await?;
    let rows: Vec<EndpointRow> = answer.endpoints.into_iter().map(EndpointRow::from).collect();
    output.list(&rows, HEADER, "no guests", cells)
}
