//! The built `overlayctl` against a fake agent: what it asks, prints, and with which status it ends.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod answers;
mod done;
mod fake;
mod refused;
mod shown;

use fake::{Agent, Ran};

/// Runs overlayctl and compares standard output with the golden text.
#[track_caller]
pub(crate) fn check(agent: &Agent, arguments: &[&str], expected: &str) -> Ran {
    let ran = agent.run(arguments);
    assert_eq!(ran.status, Some(0), "{arguments:?}: {}", ran.stderr);
    assert_eq!(ran.stdout, expected, "{arguments:?}");
    ran
}

/// Every command that asks the agent.
pub(crate) const ASKING: &[&[&str]] = &[
    &["init"],
    &["join", "192.0.2.12"],
    &["leave"],
    &["peer", "list"],
    &["peer", "add", "192.0.2.12"],
    &["peer", "add", "192.0.2.60", "--static"],
    &["peer", "remove", "hv3"],
    &["segment", "list"],
    &["segment", "show", "blue"],
    &["segment", "delete", "blue"],
    &["apply", "-f", "-"],
    &["apply", "confirm"],
    &["status"],
    &["gateway", "list"],
    &["gateway", "move", "blue"],
    &["drain"],
    &["undrain"],
    &["lease", "list"],
    &["lease", "release", "192.168.124.16"],
    &["pool", "show"],
    &["pool", "recover"],
    &["endpoint", "list"],
    &["plan"],
];
