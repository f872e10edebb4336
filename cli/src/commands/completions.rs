//! `completions`: what makes a shell ask `overlayctl` itself what can be typed.

use anyhow::Context as _;
use clap_complete::Shell;
use clap_complete::env::Shells;

use crate::failure::Failure;
use crate::output::Output;

/// The variable by which the script asks, as `clap_complete::CompleteEnv` has it.
const ASKED_BY: &str = "COMPLETE";

pub(super) fn run(shell: Shell, output: &Output) -> Result<(), Failure> {
    let shells = Shells::builtins();
    let shell = shells
        .completer(&shell.to_string())
        .context("this shell is not supported")?;
    let mut script = Vec::new();
    shell
        .write_registration(ASKED_BY, "overlayctl", "overlayctl", "overlayctl", &mut script)
        .context("cannot write the script")?;
    output.raw(&script)
}
