//! `lab`: overlayd on this machine alone, in network namespaces: to be shown, to be played with, to be tested.

mod demo;
mod play;
mod stages;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use nix::sys::signal::Signal;
use overlayd_tests::ledger;
use overlayd_tests::story::Story;
use play::Laboratory;
use tokio::signal::unix::{SignalKind, signal};

/// overlayd on this machine alone: hosts, guests and an internet in network namespaces.
///
/// Needs root. Installs what is missing from Debian packages, never touches the machine's own network, starts no
/// daemon of the system.
#[derive(Debug, Parser)]
#[command(
    name = "lab",
    max_term_width = 100,
    after_help = "\
Examples:
  ./lab demo                               the whole story, told and taken down
  ./lab up                                 three hosts with a guest each, to play in
  ./lab shell hv1                          a shell on a host; overlayctl and overlayd are at hand
  ./lab shell guest2 -- ping 203.0.113.1   one command
  ./lab down
  ./lab --name two up                      another one beside it; `./lab --name two down` takes it down"
)]
struct Arguments {
    /// Which laboratory, where there are several side by side
    #[arg(long, global = true, default_value = "lab", value_name = "NAME")]
    name: Laboratory,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tell the story: three hosts, one segment, leases, NAT, a gateway that dies
    Demo {
        /// Leave the laboratory up if a step fails, for `lab shell` and `lab down`
        #[arg(long)]
        keep: bool,
    },
    /// Build a laboratory and leave it up
    Up(play::Up),
    /// Show what every host of the laboratory says
    Status,
    /// Open a shell in a host, a guest, `internet` or `switch`, or run one command there
    Shell {
        /// hv1, guest1, internet, switch, …
        place: String,
        /// The command; a shell if there is none
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Take the laboratory down, and what a crashed one left
    Down,
    /// Run everything that must pass: format, lints, all suites, house rules
    Test,
}

fn main() -> ExitCode {
    let Arguments { name, command } = Arguments::parse();
    let done = match command {
        Command::Demo { keep } => match name.is_not_up().and_then(|()| clean_up_when_interrupted(&name)) {
            Ok(()) => return demo::run(&name, keep),
            Err(error) => Err(error),
        },
        Command::Up(up) => clean_up_when_interrupted(&name).and_then(|()| play::up(&name, &up)),
        Command::Status => play::status(&name),
        Command::Shell { place, command } => return play::shell(&name, &place, &command),
        Command::Down => play::down(&name),
        Command::Test => return stages::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// From now on Ctrl-C and the like take down what is there of the laboratory, and end this process.
///
/// Handlers, not blocked signals: programs that are started inherit what is blocked, and could not be stopped.
fn clean_up_when_interrupted(laboratory: &Laboratory) -> anyhow::Result<()> {
    let folder = laboratory.folder();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate, mut hangup) = runtime.block_on(async {
        anyhow::Ok((
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ))
    })?;
    std::thread::spawn(move || {
        let signal = runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => Signal::SIGINT,
                _ = terminate.recv() => Signal::SIGTERM,
                _ = hangup.recv() => Signal::SIGHUP,
            }
        });
        // The story has nothing more to tell.
        let _silence = std::io::stdout().lock();
        let owner = ledger::Entries::read(&folder).and_then(|entries| entries.owner);
        // One that was up before, and is in the way, is somebody else's.
        if owner.is_some_and(|owner| owner.pid == std::process::id() as i32) {
            eprintln("\ninterrupted: taking the laboratory down");
            // What cannot be removed now is removed by the next laboratory.
            let _ = ledger::clean(&folder);
        }
        // As a shell tells of a process that a signal ended.
        std::process::exit(128 + signal as i32);
    });
    Ok(())
}

/// The first step of every story: what is missing on the machine.
fn packages(story: &mut Story, tools: &[overlayd_tests::install::Tool]) -> anyhow::Result<()> {
    use overlayd_tests::install::{install, missing};
    let packages = missing(tools);
    let title = match packages.is_empty() {
        true => "nothing has to be installed".to_owned(),
        false => format!("installing Debian packages: {}", packages.join(" ")),
    };
    story.step(&title, |_| install(&packages))
}

#[expect(clippy::print_stderr, reason = "errors go to standard error")]
fn eprintln(text: &str) {
    eprintln!("{text}");
}

/// Whether anybody still reads or not, what was begun is brought to its end.
fn println(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
