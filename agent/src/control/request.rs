//! What operators' programs send, as values; and refusals as they read them.

use std::net::{IpAddr, SocketAddr};

use overlayd_core::config::{self, CLUSTER_PORT, Segment};
use overlayd_core::id::SegmentName;
use overlayd_core::node::{Done, Force, Refusal, Run};
use overlayd_proto::control as wire;
use prost::Message as _;
use tonic::metadata::{AsciiMetadataValue, BinaryMetadataValue};
use tonic::transport::server::UdsConnectInfo;
use tonic::{Code, Request, Status};
use tracing::info;

/// Who has something changed, and what: for the log.
pub(super) fn log_command<Q, W: AsRef<str>>(request: &Request<Q>, words: impl FnOnce(&Q) -> W) {
    let caller = request
        .extensions()
        .get::<UdsConnectInfo>()
        .and_then(|info| info.peer_cred);
    let (uid, pid) = (
        caller.map(|caller| caller.uid()),
        caller.and_then(|caller| caller.pid()),
    );
    let words = words(request.get_ref());
    info!(uid, pid, command = words.as_ref().trim_end(), "an operator's command");
}

use super::wire::loss;

/// Losses that a refusal lists: a status travels as headers, which take 16 KB.
const LISTED: usize = 25;

/// A refusal as the CLI reads it: the hint and the losses go beside the message.
pub(super) fn refused(refusal: Refusal) -> Status {
    let losses = wire::Refused {
        losses: refusal.losses.iter().take(LISTED).map(loss).collect(),
        more: u32::try_from(refusal.losses.len().saturating_sub(LISTED)).unwrap_or(u32::MAX),
    };
    let mut status = Status::with_details(Code::FailedPrecondition, refusal.what, losses.encode_to_vec().into());
    if let Some(hint) = refusal.hint {
        match AsciiMetadataValue::try_from(hint.as_str()) {
            Ok(hint) => drop(status.metadata_mut().insert("hint", hint)),
            Err(_) => {
                let hint = BinaryMetadataValue::from_bytes(hint.as_bytes());
                status.metadata_mut().insert_bin("hint-bin", hint);
            }
        }
    }
    status
}

pub(super) fn forced(flag: bool) -> Force {
    if flag { Force::Yes } else { Force::No }
}

pub(super) fn segment_name(text: &str) -> Result<SegmentName, Status> {
    SegmentName::new(text).map_err(|invalid| Status::invalid_argument(invalid.to_string()))
}

/// ADDR or ADDR:PORT, an IPv6 address with a port in brackets.
pub(super) fn address(text: &str) -> Result<SocketAddr, Status> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    text.parse()
        .or_else(|_| bare.parse().map(|ip: IpAddr| SocketAddr::new(ip, CLUSTER_PORT)))
        .map_err(|_| {
            Status::invalid_argument(format!(
                "invalid address {text:?}: expected ADDR or ADDR:PORT, with a numeric ADDR"
            ))
        })
}

/// An operation ended as another kind would have.
pub(super) fn unexpected(done: &Done) -> Status {
    Status::internal(format!("internal error: unexpected result {done:?}"))
}

/// An `apply` as its log line has it.
pub(super) fn apply_line(request: &wire::ApplyRequest) -> String {
    let mut line = format!("apply -f {}", request.file);
    if request.dry_run {
        line.push_str(" --dry-run");
    }
    if let Some(seconds) = request.confirm_seconds {
        line.push_str(&format!(" --confirm {seconds}s"));
    }
    line
}

/// What an `apply` is to be.
pub(super) fn run_of(request: &wire::ApplyRequest) -> Run {
    match (request.dry_run, request.confirm_seconds) {
        (true, _) => Run::Dry,
        (false, Some(seconds)) => Run::OnTrial { seconds },
        (false, None) => Run::Real,
    }
}

/// What a file for `apply` says that is not applied.
pub(super) fn besides_segments(text: &str, segments: &[Segment]) -> Vec<String> {
    let keys = config::written_keys(text);
    let others: Vec<&str> = keys
        .iter()
        .filter(|key| !key.contains('.') && *key != "segments")
        .map(String::as_str)
        .collect();
    let mut notes = Vec::new();
    if segments.is_empty() {
        notes.push(
            "the file has no segments: nothing to apply; to delete one, run `overlayctl segment delete NAME`"
                .to_owned(),
        );
    }
    if !others.is_empty() {
        notes.push(format!(
            "not applied: {}: these are settings of a host, in its own overlayd.yaml; only `segments` is applied",
            others.join(", ")
        ));
    }
    notes
}

/// The shortest way to say an address: the usual port goes without saying.
pub(super) fn spoken(address: SocketAddr) -> String {
    if address.port() == CLUSTER_PORT {
        address.ip().to_string()
    } else {
        address.to_string()
    }
}

/// An address of a guest or a VTEP.
pub(super) fn ip(text: &str) -> Result<IpAddr, Status> {
    text.parse()
        .map_err(|_| Status::invalid_argument(format!("invalid IP address {text:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_for_apply_says_in_vain_is_named() {
        let said = |text: &str| besides_segments(text, &config::segments(text, "test.yaml").unwrap());
        let blue = "segments: [ { name: blue, vni: 10 } ]\n";
        assert!(said(blue).is_empty());
        let host = said(&format!("cluster: {{ insecure: true }}\nhost: {{ name: hv1 }}\n{blue}"));
        assert!(
            host.len() == 1 && host[0].starts_with("not applied: cluster, host:"),
            "{host:?}"
        );
        let empty = said("segments: []\n");
        assert!(
            empty.len() == 1 && empty[0].contains("overlayctl segment delete"),
            "{empty:?}"
        );
    }

    #[test]
    fn an_address_may_go_without_port_and_ipv6_with_or_without_brackets() {
        for (text, meant) in [
            ("172.31.0.11", "172.31.0.11:7480"),
            ("172.31.0.11:99", "172.31.0.11:99"),
            ("fd00::1", "[fd00::1]:7480"),
            ("[fd00::1]", "[fd00::1]:7480"),
            ("[fd00::1]:99", "[fd00::1]:99"),
        ] {
            assert_eq!(address(text).unwrap(), meant.parse().unwrap(), "{text}");
        }
        assert!(address("hv1").is_err() && address("172.31.0.11:99999").is_err());
    }
}
