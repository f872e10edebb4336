//! One file per command: its request, and how the answer looks.

mod apply;
mod completions;
mod drain;
mod endpoint;
mod gateway;
mod init;
mod join;
mod lease;
mod leave;
mod man;
mod peer;
mod plan;
mod pool;
mod segment;
mod status;

use crate::args::{self, ApplyThen, Arguments, Command};
use crate::client::Client;
use crate::failure::Failure;
use crate::output::Output;

/// Does what the command line says.
///
/// # Errors
/// As the command's own file tells; nothing that failed has been printed yet but with [`Failure::Reported`].
pub(crate) async fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let connect = || Client::connect(&arguments.global.socket);
    match &arguments.command {
        Command::Completions { shell } => completions::run(*shell, output),
        Command::Man { page, dir } => man::run(*page, dir.as_deref(), output),
        Command::Init => init::run(&connect().await?, output).await,
        Command::Join(join) => join::run(join, &connect().await?, output).await,
        Command::Leave(leave) => leave::run(leave, &connect().await?, output).await,
        Command::Peer(peer) => peer::run(peer, &connect().await?, output).await,
        Command::Segment(segment) => segment::run(segment, &connect().await?, output).await,
        Command::Apply(args::Apply {
            then: Some(ApplyThen::Confirm),
            ..
        }) => apply::confirm(&connect().await?, output).await,
        Command::Apply(apply) => {
            // A file that cannot be read is told before anybody is asked.
            let request = apply::request(apply)?;
            apply::run(request, &connect().await?, output).await
        }
        Command::Status(status) => status::run(status, &connect().await?, output).await,
        Command::Gateway(gateway) => gateway::run(gateway, &connect().await?, output).await,
        Command::Drain(drain) => drain::drain(drain, &connect().await?, output).await,
        Command::Undrain => drain::undrain(&connect().await?, output).await,
        Command::Lease(lease) => lease::run(lease, &connect().await?, output).await,
        Command::Pool(pool) => pool::run(pool, &connect().await?, output).await,
        Command::Endpoint(endpoint) => endpoint::run(endpoint, &connect().await?, output).await,
        Command::Plan => plan::run(&connect().await?, output).await,
    }
}
