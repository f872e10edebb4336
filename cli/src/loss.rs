//! What guests lose by a command: listed where that is refused, and where it was forced.

use overlayd_proto::control::{Loss, LossKind};
use serde::Serialize;

/// A loss, as JSON has it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LossRow {
    segment: Option<String>,
    kind: &'static str,
    /// All of it, for people.
    pub(crate) text: String,
    host: Option<String>,
    port: Option<String>,
    mac: Option<String>,
    addresses: Vec<String>,
    out_of_reach: bool,
}

impl From<Loss> for LossRow {
    fn from(loss: Loss) -> Self {
        let kind = match loss.kind() {
            LossKind::Unspecified => "unknown",
            LossKind::Port => "port",
            LossKind::Lease => "lease",
            LossKind::PublishedPort => "published_port",
            LossKind::GatewayAddress => "gateway_address",
            LossKind::Segment => "segment",
        };
        let Loss {
            segment,
            kind: _,
            text,
            host,
            port,
            mac,
            addresses,
            out_of_reach,
        } = loss;
        Self {
            segment,
            kind,
            text,
            host,
            port,
            mac,
            addresses,
            out_of_reach,
        }
    }
}

/// All of an answer.
pub(crate) fn rows(losses: Vec<Loss>) -> Vec<LossRow> {
    losses.into_iter().map(LossRow::from).collect()
}
