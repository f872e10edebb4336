//! `overlayctl`: asks the agent on this host over its unix socket, and shows the answer.
//!
//! It decides nothing about segments or hosts: every command is one request and the rendering of its answer. Data goes
//! to stdout, everything else to stderr; the exit status tells who failed (see [`failure::Failure`]).

mod args;
mod client;
mod commands;
mod failure;
mod loss;
mod output;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::Arguments;
use crate::failure::Failure;
use crate::output::Output;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
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
