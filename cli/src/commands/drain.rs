//! `drain` and `undrain`: a host that takes no gateway, for its maintenance.

use overlayd_proto::control::{DrainRequest, UndrainRequest};
use serde::Serialize;

use super::gateway::{GatewayRow, now_served};
use crate::args;
use crate::client::{Client, LONG, SHORT};
use crate::failure::Failure;
use crate::output::Output;

#[derive(Serialize)]
struct Drained {
    drained: bool,
    gateways: Vec<GatewayRow>,
    kept: Vec<String>,
}

pub(super) async fn drain(drain: &args::Drain, client: &Client, output: &Output) -> Result<(), Failure> {
    let until_restart = drain.until_restart;
    let request = DrainRequest { until_restart };
    let call = client.ask(output, LONG, |mut calls| async move { calls.drain(request).await });
    let answer = output
        .progress("draining: handing over this host's gateways", call)
        .await?;
    let gateways = answer.gateways.into_iter().map(GatewayRow::from).collect();
    let drained = Drained {
        drained: true,
        gateways,
        kept: answer.kept,
    };
    if !drained.kept.is_empty() {
        let kept = drained.kept.join(", ");
        output.warning(&format!(
            "no other host can take {kept}: this host remains the active gateway"
        ));
    }
    output.note(&now_served(&drained.gateways));
    let until = match until_restart {
        true => "the agent stops",
        false => "`overlayctl undrain`",
    };
    output.outcome(
        &drained,
        &format!("drained: this host accepts no gateway while another host can, until {until}"),
    )
}

pub(super) async fn undrain(client: &Client, output: &Output) -> Result<(), Failure> {
    client
        .ask(output, SHORT, |mut calls| async move {
            calls.undrain(UndrainRequest {}).await
        })
        .await?;
    let drained = Drained {
        drained: false,
        gateways: Vec::new(),
        kept: Vec::new(),
    };
    output.outcome(&drained, "this host is eligible as gateway again")
}
