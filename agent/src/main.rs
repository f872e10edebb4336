//! `overlayd`: reads the command line and the configuration, and starts the agent.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use overlayd::args::{Args, LogFormat};
use tracing_subscriber::EnvFilter;

/// A configuration that cannot be used.
const BAD_CONFIGURATION: u8 = 2;

fn main() -> ExitCode {
    let args = Args::parse();
    let filter = match EnvFilter::try_new(&args.log_level) {
        Ok(filter) => filter,
        Err(problem) => return failed(BAD_CONFIGURATION, &format!("--log-level: {problem}")),
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match args.log_format {
        LogFormat::Text => log.with_target(false).init(),
        LogFormat::Json => log.json().init(),
    }
    let (config, text) = match overlayd::read_config(&args.config) {
        Ok(read) => read,
        Err(problem) => return failed(BAD_CONFIGURATION, &format!("{problem:#}")),
    };
    let result = if args.check {
        overlayd::check::check(config)
    } else if args.cleanup {
        overlayd::start::cleanup(config, args.force)
    } else {
        overlayd::start::run(config, (args.config, text))
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            let code = if problem.is::<overlayd::start::Unusable>() {
                BAD_CONFIGURATION
            } else {
                1
            };
            failed(code, &format!("{problem:#}"))
        }
    }
}

#[allow(clippy::print_stderr)]
fn failed(code: u8, text: &str) -> ExitCode {
    eprintln!("error: {text}");
    ExitCode::from(code)
}
