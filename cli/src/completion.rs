//! What a shell offers while a command line is typed; names of segments, hosts and addresses are the agent's, which is asked
//! in silence and not for long.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, Command, CommandFactory as _};
use clap_complete::{ArgValueCandidates, CompletionCandidate};
use overlayd_proto::control::{LeaseListRequest, PeerListRequest, SegmentListRequest};

use crate::args::{Arguments, Colour, DEFAULT_SOCKET, Format, Global};
use crate::client::{Client, SHORT};
use crate::failure::Failure;
use crate::output::Output;

/// A shell waits for no agent that is stuck.
const PATIENCE: Duration = Duration::from_millis(500);

/// The command line, with what may stand where the agent knows it.
pub(crate) fn command() -> Command {
    with_names("", Arguments::command())
}

fn with_names(above: &str, command: Command) -> Command {
    let name = command.get_name().to_owned();
    let path = format!("{above} {name}");
    let command = command.mut_args(|arg| match values(&path, &arg) {
        Some(candidates) => arg.add(candidates),
        None => arg,
    });
    command.mut_subcommands(|below| with_names(&path, below))
}

fn values(path: &str, arg: &Arg) -> Option<ArgValueCandidates> {
    match (path.trim_start_matches(" overlayctl "), arg.get_id().as_str()) {
        ("segment show" | "segment delete", "name") | (_, "segment") => Some(ArgValueCandidates::new(segments)),
        ("peer remove", "name") | ("gateway move", "host") => Some(ArgValueCandidates::new(hosts)),
        ("lease release", "address") => Some(ArgValueCandidates::new(addresses)),
        _ => None,
    }
}

fn segments() -> Vec<CompletionCandidate> {
    ask(async |client, output| {
        let request = SegmentListRequest {};
        let answer = client.call(
            output,
            SHORT,
            |mut calls| async move { calls.segment_list(request).await },
        );
        let segments = answer.await?.segments.into_iter();
        Ok(segments.map(|segment| CompletionCandidate::new(segment.name)).collect())
    })
}

fn hosts() -> Vec<CompletionCandidate> {
    ask(async |client, output| {
        let request = PeerListRequest {};
        let answer = client.call(output, SHORT, |mut calls| async move { calls.peer_list(request).await });
        let others = answer.await?.peers.into_iter().filter(|peer| !peer.self_);
        let candidate = |peer: overlayd_proto::control::Peer| {
            let help = (peer.address != peer.name).then(|| peer.address.into());
            CompletionCandidate::new(peer.name).help(help)
        };
        Ok(others.map(candidate).collect())
    })
}

fn addresses() -> Vec<CompletionCandidate> {
    ask(async |client, output| {
        let request = LeaseListRequest {
            segment: None,
            all: false,
        };
        let answer = client.call(
            output,
            SHORT,
            |mut calls| async move { calls.lease_list(request).await },
        );
        let leases = answer.await?.leases.into_iter();
        let candidate = |lease: overlayd_proto::control::Lease| {
            let help = lease.hostname.or(lease.mac).map(Into::into);
            CompletionCandidate::new(lease.address).help(help)
        };
        Ok(leases.map(candidate).collect())
    })
}

/// What the agent says; nothing where it says nothing.
fn ask(
    question: impl AsyncFnOnce(&Client, &Output) -> Result<Vec<CompletionCandidate>, Failure>,
) -> Vec<CompletionCandidate> {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Vec::new();
    };
    let socket = socket();
    let output = Output::new(&Global {
        socket: socket.clone(),
        output: Format::Table,
        color: Colour::Never,
        quiet: true,
        verbose: false,
    });
    runtime.block_on(async {
        let asked = async { question(&Client::connect(&socket).await?, &output).await };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(found)) => found,
            Ok(Err(_)) | Err(_) => Vec::new(),
        }
    })
}

/// As the line that is being typed says, or the environment.
fn socket() -> PathBuf {
    let words: Vec<_> = std::env::args_os().collect();
    let named = words
        .windows(2)
        .find(|pair| pair[0] == "--socket")
        .map(|pair| pair[1].clone());
    let socket = named.or_else(|| std::env::var_os("OVERLAYD_SOCKET"));
    socket.map_or_else(|| DEFAULT_SOCKET.into(), PathBuf::from)
}
