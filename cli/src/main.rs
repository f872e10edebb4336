//! `overlayctl`: asks the agent on this host over its unix socket, and shows the answer.
//!
//! It decides nothing about segments or hosts: every command is one request and the rendering of its answer. Data goes
//! to stdout, everything else to stderr; the exit status tells who failed (see [`failure::Failure`]).

mod args;
mod client;
mod commands;
mod completion;
mod failure;
mod loss;
mod output;

use std::process::ExitCode;

use clap::FromArgMatches as _;

use crate::args::Arguments;
use crate::failure::Failure;
use crate::output::Output;

fn main() -> ExitCode {
    clap_complete::CompleteEnv::with_factory(completion::command).complete();
    let arguments = match Arguments::from_arg_matches(&args::command().get_matches()) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    let output = Output::new(&arguments.global);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return output.failed(&Failure::Local(error.into())),
    };
    match runtime.block_on(commands::run(&arguments, &output)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => output.failed(&failure),
    }
}
