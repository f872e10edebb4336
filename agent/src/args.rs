//! The command line of the agent.

use clap::{Parser, ValueEnum};
use std::path::PathBuf;

/// Shared layer-2 segments over VXLAN for KVM hosts, with an elected gateway.
///
/// One agent runs on every host; operators talk to it with overlayctl.
#[derive(Debug, Parser)]
#[command(name = "overlayd", version, max_term_width = 100)]
pub struct Args {
    /// The host's configuration; a missing file at the default place means all defaults.
    #[arg(long, value_name = "FILE", default_value = "/etc/overlayd/overlayd.yaml")]
    pub config: PathBuf,

    /// Validate the configuration and print what would be done to this host, changing nothing.
    #[arg(long, conflicts_with = "cleanup")]
    pub check: bool,

    /// Remove everything that the agent ever made on this host, and nothing else, then exit.
    #[arg(long)]
    pub cleanup: bool,

    /// With --cleanup: also while guests are attached.
    #[arg(long, requires = "cleanup")]
    pub force: bool,

    /// How log lines look on stderr.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// What is logged: error, warn, info, debug, trace, or a filter such as `info,overlayd::netlink=trace`.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: String,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For a person.
    Text,
    /// For a machine: one object a line.
    Json,
}
