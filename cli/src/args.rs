//! The command line, once: parsing, `--help`, completions and manual pages come from this definition.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum, ValueHint};

/// Where the agent listens unless its configuration says otherwise.
pub(crate) const DEFAULT_SOCKET: &str = "/run/overlayd/control.sock";

/// Shows and changes the shared layer-2 segments of a cluster of hosts.
///
/// Asks the overlayd agent on this host, over its unix socket. Cluster-wide state (segments, peers, leases, gateways)
/// can be shown and changed on any host.
#[derive(Debug, Parser)]
#[command(
    name = "overlayctl",
    version,
    arg_required_else_help = true,
    subcommand_required = true,
    max_term_width = 100,
    after_help = "\
Examples:
  overlayctl init                       create a cluster; prints the command for the other hosts
  overlayctl join 192.0.2.11            join the cluster of 192.0.2.11
  overlayctl apply -f segments.yaml     create or change segments
  overlayctl status                     one screen: hosts, segments, gateways, what is wrong

Exit status: 0 success, 1 failure, 2 usage error, 3 agent not reachable."
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The command line, with the global options in the help of the tool itself alone.
pub(crate) fn command() -> clap::Command {
    let mut command = Arguments::command();
    // From here on commands have the global options.
    command.build();
    command.mut_subcommands(told_once)
}

fn told_once(command: clap::Command) -> clap::Command {
    let examples = command
        .get_after_help()
        .map(|text| format!("{text}\n\n"))
        .unwrap_or_default();
    command
        .mut_args(|arg| {
            let everywhere = arg.is_global_set();
            arg.hide(everywhere)
        })
        .after_help(format!(
            "{examples}Global options (--socket, -o json, -q, …): overlayctl --help"
        ))
        .mut_subcommands(told_once)
}

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The agent's control socket
    #[arg(long, global = true, env = "OVERLAYD_SOCKET", default_value = DEFAULT_SOCKET, value_name = "PATH",
          value_hint = ValueHint::FilePath, help_heading = "Global options")]
    pub(crate) socket: PathBuf,

    /// How data is printed on stdout
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table, value_name = "FORMAT",
          help_heading = "Global options")]
    pub(crate) output: Format,

    /// When to colour; `auto` is on a terminal, and never with NO_COLOR set
    #[arg(long, global = true, value_enum, default_value_t = Colour::Auto, value_name = "WHEN",
          help_heading = "Global options")]
    pub(crate) color: Colour,

    /// Print nothing but data, warnings and errors
    #[arg(
        short,
        long,
        global = true,
        conflicts_with = "verbose",
        help_heading = "Global options"
    )]
    pub(crate) quiet: bool,

    /// Print requests and response times on stderr
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub(crate) verbose: bool,
}

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// Stable keys, times as RFC 3339
    Json,
    /// The same keys as json
    Yaml,
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    /// On a terminal
    Auto,
    /// Also into a pipe
    Always,
    /// Not at all
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make this host the first of a new cluster
    ///
    /// Prints the `overlayctl join` command for the other hosts. On a host that already has a cluster, changes nothing
    /// and prints the command again.
    Init,
    /// Join the cluster of another host
    Join(Join),
    /// Leave the cluster and remove everything the agent made on this host
    Leave(Leave),
    /// Show, add and remove hosts
    #[command(subcommand, arg_required_else_help = true)]
    Peer(Peer),
    /// Show and delete segments
    #[command(subcommand, arg_required_else_help = true)]
    Segment(Segment),
    /// Create or change the segments in a file
    Apply(Apply),
    /// One screen: this host, peers, segments, gateways, MTU, what is wrong
    Status(Status),
    /// Show and move gateways
    #[command(subcommand, arg_required_else_help = true)]
    Gateway(Gateway),
    /// Hand over all gateways of this host and accept none while another host can, until `undrain`
    Drain(Drain),
    /// Make this host eligible as gateway again
    Undrain,
    /// Show and release leases
    #[command(subcommand, arg_required_else_help = true)]
    Lease(Lease),
    /// Show who may hand out which addresses, and recover them
    #[command(subcommand, arg_required_else_help = true)]
    Pool(Pool),
    /// Show the guests' network interfaces
    #[command(subcommand, arg_required_else_help = true)]
    Endpoint(Endpoint),
    /// Show the changes pending on this host: desired against observed state
    ///
    /// Prints one `ip`, `bridge`, `nft` or `sysctl` command per change; normally none. Changes nothing.
    Plan,
    /// Print the completion script of a shell
    ///
    /// It offers commands and options, and names of segments, hosts and leased addresses.
    #[command(after_help = "\
Examples:
  overlayctl completions bash > /etc/bash_completion.d/overlayctl
  overlayctl completions zsh > /usr/share/zsh/site-functions/_overlayctl
  overlayctl completions fish > /etc/fish/completions/overlayctl.fish")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print a manual page
    #[command(after_help = "\
Examples:
  overlayctl man | man -l -
  overlayctl man overlayd.yaml | man -l -
  overlayctl man --dir /usr/share/man")]
    Man {
        /// Which
        #[arg(value_enum, default_value_t = Page::Overlayctl)]
        page: Page,
        /// Write all pages to man1, man5 and man8 in this directory, one per command
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with = "page")]
        dir: Option<PathBuf>,
    },
}

/// A manual page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Page {
    /// This program, with all its commands
    Overlayctl,
    /// The agent
    Overlayd,
    /// The configuration of a host and of segments
    #[value(name = "overlayd.yaml")]
    OverlaydYaml,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  overlayctl join 192.0.2.11\n  overlayctl join [2001:db8::11]:7480")]
pub(crate) struct Join {
    /// Any member of the cluster; default port 7480
    #[arg(value_name = "ADDR[:PORT]")]
    pub(crate) address: String,
    /// The token that `init` printed; not needed without TLS
    #[arg(long)]
    pub(crate) token: Option<String>,
    /// Join even if guests are attached here, or segments of this host alone are lost
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Exit with 1 if there are warnings, 2 if something fails
    #[arg(long)]
    pub(crate) check: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Drain {
    /// Only until the agent stops, and to drained hosts, too: for a shutdown
    #[arg(long)]
    pub(crate) until_restart: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Leave {
    /// Leave even if guests are attached or the other hosts are unreachable
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Peer {
    /// List the hosts as seen from this one, itself included
    List,
    /// Invite the agent at an address, or add a VTEP without an agent
    Add(PeerAdd),
    /// Forget a host that is off for good, or a static peer
    ///
    /// Confirms that the host is off: its address ranges go to the other hosts. Refused while any host still reaches
    /// it.
    Remove {
        /// Name of the host, or address of a static peer
        name: String,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  overlayctl peer add 192.0.2.13
  overlayctl peer add 192.0.2.60 --static --segment blue")]
pub(crate) struct PeerAdd {
    /// Address of the agent (default port 7480); with --static, address of the VTEP
    #[arg(value_name = "ADDR[:PORT]")]
    pub(crate) address: String,
    /// The address is a switch or a host without an agent
    #[arg(long = "static")]
    pub(crate) no_agent: bool,
    /// Only in this segment; without it, in every unicast segment
    #[arg(long, requires = "no_agent", value_name = "SEGMENT")]
    pub(crate) segment: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Segment {
    /// List the cluster's segments
    List,
    /// Print a segment's configuration and its status on the hosts
    Show {
        /// Name of the segment
        name: String,
    },
    /// Delete a segment from the cluster
    ///
    /// It stays deleted even if a host's file still lists it. A host keeps the bridge until the last guest port is
    /// detached. Refused while guests on any host use the segment, with the list of what they would lose.
    Delete {
        /// Name of the segment
        name: String,
        /// Delete it even if guests lose their network
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "\
Examples:
  overlayctl apply -f segments.yaml --dry-run
  overlayctl apply -f segments.yaml --confirm 60s
  overlayctl apply confirm
  overlayctl segment show blue | sed 's/lease_time: .*/lease_time: 2h/' | overlayctl apply -f -")]
pub(crate) struct Apply {
    /// A file with `segments: [...]`; `-` reads standard input
    #[arg(short, long, required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    /// Show the changes without making them
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Roll the changes back on every host after this time, such as 60s or 5m, unless `apply confirm` comes first
    #[arg(long, value_name = "TIME", value_parser = seconds, conflicts_with = "dry_run")]
    pub(crate) confirm: Option<u32>,
    #[command(subcommand)]
    pub(crate) then: Option<ApplyThen>,
    /// Change them even if guests lose a port, a lease, a published port or their gateway address
    #[arg(long)]
    pub(crate) force: bool,
}

/// What follows an `apply --confirm`.
#[derive(Debug, Subcommand)]
pub(crate) enum ApplyThen {
    /// Keep what was applied with --confirm
    Confirm,
}

/// A time of 5 s to a day: a number of seconds, or one with `s`, `m` or `h`.
fn seconds(text: &str) -> Result<u32, String> {
    let (number, factor) = match text.as_bytes().last() {
        Some(b's') => (text.get(..text.len() - 1), 1),
        Some(b'm') => (text.get(..text.len() - 1), 60),
        Some(b'h') => (text.get(..text.len() - 1), 3600),
        Some(_) | None => (Some(text), 1),
    };
    let seconds = number.and_then(|number| number.parse::<u32>().ok()?.checked_mul(factor));
    seconds
        .filter(|seconds| (5..=86_400).contains(seconds))
        .ok_or_else(|| "expected a time from 5s to 24h, such as 60s or 5m".to_owned())
}

#[derive(Debug, Subcommand)]
pub(crate) enum Gateway {
    /// List the active gateway of each segment, since when, in which term, and why
    List,
    /// Hand a segment's gateway to another host
    #[command(after_help = "Examples:\n  overlayctl gateway move blue\n  overlayctl gateway move blue hv2")]
    Move {
        /// Name of the segment; segments that it forwards to or from move along
        segment: String,
        /// Name of the new gateway host; default: the next in order
        host: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Lease {
    /// List the leases that guests hold, on any host
    List {
        /// Only this segment
        segment: Option<String>,
        /// Also addresses that no guest holds but that are not free
        #[arg(long)]
        all: bool,
    },
    /// End the lease of an address
    ///
    /// Nobody extends it any more, and a renewal is refused. The address is free when its guest cannot use it any more.
    /// Refused while the guest is attached.
    Release {
        /// The address
        address: IpAddr,
        /// Its segment, where more than one has the address
        #[arg(long, value_name = "SEGMENT")]
        segment: Option<String>,
        /// End it even if the guest is attached
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Pool {
    /// Show the ranges: owner, free, held, quarantined, declined, and what they wait for
    Show {
        /// Only this segment
        segment: Option<String>,
    },
    /// Take over the addresses when every host that owned them is lost
    ///
    /// Confirms that no other host of the cluster is an active gateway: remove the lost hosts first (`overlayctl peer
    /// remove`), then run it on one host. Their guests' leases are unknown, so new leases start after a full lease time.
    /// Refused while another host can still hand out addresses.
    Recover,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Endpoint {
    /// List guest interfaces: MAC, addresses, host
    List {
        /// Only this segment
        segment: Option<String>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_change_is_tried_for_a_time_and_confirmed_by_a_word() {
        let parsed = |arguments: &[&str]| {
            let arguments = ["overlayctl", "apply"].iter().chain(arguments);
            match Arguments::try_parse_from(arguments).map(|parsed| parsed.command) {
                Ok(Command::Apply(apply)) => Some((apply.file.is_some(), apply.confirm, apply.then.is_some())),
                Ok(_) | Err(_) => None,
            }
        };
        assert_eq!(parsed(&["-f", "a"]), Some((true, None, false)));
        for (text, seconds) in [("60s", 60), ("60", 60), ("5m", 300), ("1h", 3600)] {
            assert_eq!(
                parsed(&["-f", "a", "--confirm", text]),
                Some((true, Some(seconds), false))
            );
        }
        for wrong in ["", "s", "1s", "25h", "1d", "-5s", "99999999h"] {
            assert_eq!(parsed(&["-f", "a", "--confirm", wrong]), None, "{wrong}");
        }
        assert_eq!(parsed(&["confirm"]), Some((false, None, true)));
        assert_eq!(parsed(&[]), None);
    }

    #[test]
    fn a_static_peer_alone_has_a_segment() {
        let with = [
            "overlayctl",
            "peer",
            "add",
            "192.0.2.60",
            "--static",
            "--segment",
            "blue",
        ];
        assert!(Arguments::try_parse_from(with).is_ok());
        let without = ["overlayctl", "peer", "add", "192.0.2.60", "--segment", "blue"];
        let error = Arguments::try_parse_from(without).unwrap_err();
        assert_eq!(error.kind(), clap::error::ErrorKind::MissingRequiredArgument);
    }
}
