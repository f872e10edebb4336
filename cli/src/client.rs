//! The connection to the agent on this host, and what can go wrong with it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use overlayd_proto::control::Refused;
use overlayd_proto::control::control_client::ControlClient;
use prost::Message as _;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status};

use crate::failure::Failure;
use crate::loss;
use crate::output::Output;

/// How long the agent may take for an answer that needs nobody else.
pub(crate) const SHORT: Duration = Duration::from_secs(15);

/// How long it may take where other hosts take part (a join takes 5 s at most, a leave waits for other disks).
pub(crate) const LONG: Duration = Duration::from_secs(120);

/// The agent, reachable when this was made.
pub(crate) struct Client {
    calls: ControlClient<Channel>,
    socket: PathBuf,
}

impl Client {
    /// Connects to the agent's socket.
    ///
    /// # Errors
    /// [`Failure::Unreachable`] with a hint that fits the reason.
    pub(crate) async fn connect(socket: &Path) -> Result<Self, Failure> {
        // Tried by hand first: the transport would bury the reason.
        drop(
            UnixStream::connect(socket)
                .await
                .map_err(|error| unreachable(socket, &error))?,
        );
        let path = socket.to_owned();
        let connector = tower::service_fn(move |_| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        // The authority is never looked up: the connector knows the way.
        let channel = Endpoint::from_static("http://overlayd.invalid")
            .connect_with_connector(connector)
            .await
            .map_err(|error| went_away(socket, &error.to_string()))?;
        Ok(Self {
            calls: ControlClient::new(channel),
            socket: socket.to_owned(),
        })
    }

    /// Asks one thing and waits for the answer, at most for `limit`. Ctrl-C ends the waiting, not what was begun.
    ///
    /// # Errors
    /// What the agent says, or that it does not answer.
    pub(crate) async fn ask<Answer, Call>(
        &self,
        output: &Output,
        limit: Duration,
        call: impl FnOnce(ControlClient<Channel>) -> Call,
    ) -> Result<Answer, Failure>
    where
        Call: Future<Output = Result<Response<Answer>, Status>>,
    {
        let call = self.call(output, limit, call);
        if limit == SHORT {
            return output.progress("waiting for overlayd on this host", call).await;
        }
        tokio::select! {
            biased;
            answer = call => answer,
            () = interrupted() => Err(Failure::Interrupted(
                "interrupted; overlayd goes on with it: see `overlayctl status`",
            )),
        }
    }

    /// As [`Client::ask`], and Ctrl-C is the caller's concern.
    ///
    /// # Errors
    /// What the agent says, or that it does not answer.
    pub(crate) async fn call<Answer, Call>(
        &self,
        output: &Output,
        limit: Duration,
        call: impl FnOnce(ControlClient<Channel>) -> Call,
    ) -> Result<Answer, Failure>
    where
        Call: Future<Output = Result<Response<Answer>, Status>>,
    {
        let asked = Instant::now();
        let answer = tokio::time::timeout(limit, call(self.calls.clone())).await;
        output.detail(&format!(
            "request to {}: {} ms",
            self.socket.display(),
            asked.elapsed().as_millis()
        ));
        match answer {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(self.refused(&status)),
            Err(_) => Err(went_away(
                &self.socket,
                &format!("no response within {} s", limit.as_secs()),
            )),
        }
    }

    fn refused(&self, status: &Status) -> Failure {
        // A status that came over the wire has no source; one that the transport made up for itself has.
        if let Some(source) = std::error::Error::source(status) {
            return went_away(&self.socket, &innermost(source).to_string());
        }
        let hint = hint(status).or_else(|| {
            (status.code() == Code::Unimplemented)
                .then(|| "the running agent is older than overlayctl: systemctl restart overlayd".to_owned())
        });
        let message = match status.message() {
            "" => format!("the agent refused the request ({})", status.code()),
            message => message.to_owned(),
        };
        let why = Refused::decode(status.details()).unwrap_or_default();
        Failure::Refused {
            message,
            hint,
            losses: loss::rows(why.losses),
            more: why.more,
        }
    }
}

/// Ctrl-C was pressed.
pub(crate) async fn interrupted() {
    // Without a handler Ctrl-C ends this process, as it does any other.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}

fn hint(status: &Status) -> Option<String> {
    let metadata = status.metadata();
    if let Some(text) = metadata.get_bin("hint-bin") {
        let bytes = text.to_bytes().ok()?;
        return Some(String::from_utf8_lossy(&bytes).into_owned());
    }
    metadata
        .get("hint")
        .and_then(|text| text.to_str().ok())
        .map(str::to_owned)
}

fn innermost<'a>(mut error: &'a (dyn std::error::Error + 'static)) -> &'a (dyn std::error::Error + 'static) {
    while let Some(source) = error.source() {
        error = source;
    }
    error
}

fn unreachable(socket: &Path, error: &std::io::Error) -> Failure {
    let hint = if error.kind() == ErrorKind::PermissionDenied {
        "only root and members of group overlayd may use the socket: use sudo, or `usermod -aG overlayd USER` and log in again"
    } else {
        "check that overlayd runs: `systemctl status overlayd`; for another socket use --socket PATH or OVERLAYD_SOCKET"
    };
    Failure::Unreachable {
        message: format!("cannot reach the agent on this host at {}: {error}", socket.display()),
        hint: hint.to_owned(),
    }
}

fn went_away(socket: &Path, why: &str) -> Failure {
    Failure::Unreachable {
        message: format!("the agent at {} did not respond: {why}", socket.display()),
        hint: "it may have stopped or be stuck, and the request may or may not have taken effect: `journalctl -u \
               overlayd`, then `overlayctl status`"
            .to_owned(),
    }
}
