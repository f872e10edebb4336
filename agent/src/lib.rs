//! The edge of overlayd: sockets, netlink, files and clocks around the pure `overlayd_core`.

#![deny(unsafe_code)]

pub mod args;
pub mod check;
pub mod clock;
pub mod control;
pub mod effects;
pub mod event;
pub mod event_loop;
pub mod grpc;
mod joining;
pub mod journal;
mod listeners;
mod log;
pub mod netlink;
mod nfnetlink;
pub mod nft;
pub mod retry;
pub mod sockets;
pub mod start;
pub mod state_dir;
mod survived;
pub mod sysctl;
mod system;
mod systemd;
mod underlay;
pub mod workers;

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use overlayd_core::config::{HostConfig, built_host};

/// Where the configuration lies unless the command line says otherwise; it may be missing.
const DEFAULT_CONFIG: &str = "/etc/overlayd/overlayd.yaml";

/// Reads and checks a host's configuration; with it the text that was read.
///
/// # Errors
/// The file cannot be read, or everything that is wrong with it.
pub fn read_config(path: &Path) -> Result<(HostConfig, String)> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(problem) if problem.kind() == std::io::ErrorKind::NotFound && path == Path::new(DEFAULT_CONFIG) => {
            String::new()
        }
        Err(problem) => return Err(problem).with_context(|| format!("cannot read {}", path.display())),
    };
    let config = built_host(&text, &path.display().to_string()).map_err(|errors| anyhow!("{errors}"))?;
    Ok((config, text))
}
