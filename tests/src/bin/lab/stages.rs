//! `lab test`: everything that must pass, stage by stage; each is a command that can be run by hand.

use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use overlayd_tests::install::{Tool, install, missing, suite};

/// A stage: what it holds, and the command.
struct Stage {
    about: &'static str,
    command: &'static str,
    /// It is left out, loudly, where this program is not at hand.
    needs: Option<&'static str>,
}

const fn stage(about: &'static str, command: &'static str) -> Stage {
    Stage {
        about,
        command,
        needs: None,
    }
}

/// All of them, the quick ones first. One profile and one set of features, so that nothing is built twice.
const STAGES: &[Stage] = &[
    stage("format", "cargo fmt --all --check"),
    stage(
        "lints",
        "cargo clippy --locked --workspace --all-targets -- -D warnings",
    ),
    stage(
        "unit, property, plan, simulation and command line suites, house rules",
        "cargo test --locked --workspace",
    ),
    stage("end to end, in network namespaces", "cargo netns"),
    stage("documentation", "cargo doc --locked --workspace --no-deps --quiet"),
    Stage {
        about: "licences, sources and known faults of dependencies",
        command: "cargo deny check",
        needs: Some("cargo-deny"),
    },
    Stage {
        about: "the unit file",
        // The agent need not be installed here: any program in its place will do.
        command: "d=$(mktemp -d); trap 'rm -r $d' EXIT; sed s,/usr/bin/overlayd,/bin/true, agent/overlayd.service \
                  >$d/overlayd.service; systemd-analyze verify --man=no $d/overlayd.service",
        needs: Some("systemd-analyze"),
    },
    Stage {
        about: "the laboratory of virtual machines",
        command: "cd vagrant && vagrant validate --ignore-provider",
        needs: Some("vagrant"),
    },
];

/// Runs them all, and tells at the end which failed.
pub(crate) fn run() -> ExitCode {
    match stages() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            super::eprintln(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn stages() -> Result<()> {
    let packages = missing(&suite());
    if !packages.is_empty() {
        super::println(&format!("installing Debian packages: {}", packages.join(" ")));
        install(&packages)?;
    }
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let (mut told, mut failed) = (String::new(), Vec::new());
    for (number, stage) in STAGES.iter().enumerate() {
        let title = format!("{}/{} {}", number + 1, STAGES.len(), stage.about);
        if let Some(program) = stage.needs.filter(|program| !is_there(program)) {
            told.push_str(&format!("left out   {title}: there is no {program} here\n"));
            continue;
        }
        super::println(&format!("\n=== {title}\n$ {}", stage.command));
        let begun = Instant::now();
        let status = Command::new("sh")
            .args(["-ec", stage.command])
            .current_dir(root)
            .status()
            .with_context(|| format!("cannot run `{}`", stage.command))?;
        let took = begun.elapsed().as_secs();
        if status.success() {
            told.push_str(&format!("ok {took:>5} s {title}\n"));
        } else {
            told.push_str(&format!("FAILED{took:>2} s {title}: {}\n", stage.command));
            failed.push(stage.about);
        }
    }
    super::println(&format!("\n{told}"));
    ensure!(failed.is_empty(), "failed: {}", failed.join("; "));
    super::println("all passed");
    Ok(())
}

fn is_there(program: &'static str) -> bool {
    Tool { program, package: "" }.is_there()
}
