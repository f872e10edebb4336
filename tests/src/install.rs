//! What the laboratory needs on the machine: Debian packages by name, and the programs under test.

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use crate::client::Client;

/// The folder with ready programs, instead of building them: `OVERLAYD_PROGRAMS=/usr/bin`.
const READY: &str = "OVERLAYD_PROGRAMS";

/// What the agents of a laboratory log: `OVERLAYD_LAB_LOG=debug`.
const LOG_LEVEL: &str = "OVERLAYD_LAB_LOG";

/// A tool and the Debian package that brings it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tool {
    /// A command, or a file.
    pub program: &'static str,
    /// The package.
    pub package: &'static str,
}

const fn tool(program: &'static str, package: &'static str) -> Tool {
    Tool { program, package }
}

/// What every laboratory uses.
pub const LABORATORY: &[Tool] = &[
    tool("cc", "gcc"),
    tool("ip", "iproute2"),
    tool("nft", "nftables"),
    tool("ping", "iputils-ping"),
    tool("unshare", "util-linux"),
    tool("udhcpc", "udhcpc"),
];

/// What the end-to-end suite uses beside it.
pub fn suite() -> Vec<Tool> {
    let clients = Client::ALL
        .iter()
        .map(|client| tool(client.program(), client.package()));
    LABORATORY
        .iter()
        .copied()
        .chain(clients)
        .chain([
            tool("dbus-daemon", "dbus-daemon"),
            tool("dnsmasq", "dnsmasq-base"),
            tool("iptables-nft", "iptables"),
            tool("sysctl", "procps"),
            tool("tcpdump", "tcpdump"),
            tool("/usr/bin/setpriv", "util-linux"),
        ])
        .collect()
}

impl Tool {
    /// Whether it is there.
    pub fn is_there(self) -> bool {
        if self.program.starts_with('/') {
            return Path::new(self.program).exists();
        }
        let path = env::var("PATH").unwrap_or_default();
        // Not every user's PATH has the system folders, where `ip` and `nft` are.
        let folders = path.split(':').chain(["/usr/sbin", "/sbin"]);
        folders
            .into_iter()
            .any(|folder| Path::new(folder).join(self.program).exists())
    }
}

/// The packages of those tools that are not there, each once.
pub fn missing(tools: &[Tool]) -> Vec<&'static str> {
    let mut packages: Vec<&str> = tools
        .iter()
        .filter(|tool| !tool.is_there())
        .map(|tool| tool.package)
        .collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

/// Installs Debian packages by name, asking nothing.
///
/// # Errors
/// There is no `apt-get`, or it fails: what it said.
pub fn install(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    ensure!(
        tool("apt-get", "apt").is_there(),
        "this machine has no apt-get: install by its own means what these Debian packages bring: {}",
        packages.join(" ")
    );
    apt(&["update", "-q"])?;
    let mut arguments = vec!["install", "-q", "-y", "--no-install-recommends"];
    arguments.extend(packages);
    let mask = Path::new("/etc/systemd/system/NetworkManager.service");
    if !packages.contains(&Client::NetworkManager.package()) || mask.exists() {
        return apt(&arguments);
    }
    // Its program is wanted, no daemon: started, now or at the next boot, it would take the machine's own network over.
    fs::create_dir_all("/etc/systemd/system").context("cannot make /etc/systemd/system")?;
    symlink("/dev/null", mask).with_context(|| format!("cannot make {}", mask.display()))?;
    let installed = apt(&arguments);
    fs::remove_file(mask).with_context(|| format!("cannot remove {}", mask.display()))?;
    installed?;
    let disabled = Command::new("systemctl")
        .args(["--quiet", "disable", "NetworkManager.service"])
        .status()
        .context("cannot run systemctl")?;
    ensure!(disabled.success(), "NetworkManager.service could not be disabled");
    Ok(())
}

fn apt(arguments: &[&str]) -> Result<()> {
    let output = Command::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .context("cannot run apt-get")?;
    ensure!(
        output.status.success(),
        "`apt-get {}` failed ({}): {}",
        arguments.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

/// The programs under test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programs {
    /// `overlayd`.
    pub agent: PathBuf,
    /// `overlayctl`.
    pub operator: PathBuf,
    /// What agents log.
    pub log_level: String,
}

impl Programs {
    /// Those in `folder`.
    fn of(folder: &Path) -> Self {
        Self {
            agent: folder.join("overlayd"),
            operator: folder.join("overlayctl"),
            log_level: env::var(LOG_LEVEL).unwrap_or_else(|_| "info".to_owned()),
        }
    }

    /// The programs of this source tree, built beside this very program and in its profile; once in a process.
    ///
    /// Those in the folder that the environment variable `OVERLAYD_PROGRAMS` names are taken as they are.
    ///
    /// # Errors
    /// They cannot be built: cargo says why on standard error.
    pub fn built() -> Result<Self> {
        static BUILT: OnceLock<Result<Programs, String>> = OnceLock::new();
        let built = BUILT.get_or_init(|| Self::build(Stdio::inherit()).map_err(|error| format!("{error:#}")));
        built.clone().map_err(|error| anyhow!(error))
    }

    /// The same programs as they were built last, whatever has become of the sources since: what a laboratory that is up
    /// runs.
    ///
    /// # Errors
    /// They never were.
    pub fn as_built() -> Result<Self> {
        if let Some(ready) = Self::ready()? {
            return Ok(ready);
        }
        let programs = Self::of(&folder()?);
        ensure!(
            programs.operator.exists(),
            "there is no {}: `./lab up` builds it",
            programs.operator.display()
        );
        Ok(programs)
    }

    /// Those in the folder that the environment names, if it names one.
    fn ready() -> Result<Option<Self>> {
        let Some(folder) = env::var_os(READY) else {
            return Ok(None);
        };
        let programs = Self::of(Path::new(&folder));
        for program in [&programs.agent, &programs.operator] {
            ensure!(
                program.exists(),
                "{READY} is set, but there is no {}",
                program.display()
            );
        }
        Ok(Some(programs))
    }

    fn build(talk: Stdio) -> Result<Self> {
        if let Some(ready) = Self::ready()? {
            return Ok(ready);
        }
        let folder = folder()?;
        let (Some(target), Some(name)) = (folder.parent(), folder.file_name().and_then(|name| name.to_str())) else {
            bail!("{} is not in cargo's target directory", folder.display());
        };
        let profile = if name == "debug" { "dev" } else { name };
        // With the features of the whole workspace, as the tests: nothing is built twice.
        let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["build", "--locked", "--bin", "overlayd", "--bin", "overlayctl"])
            .args(["--profile", profile, "--target-dir"])
            .arg(target)
            .args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")])
            .stdin(Stdio::null())
            .stdout(talk)
            .status()
            .context("cannot run cargo")?;
        ensure!(status.success(), "cargo could not build overlayd and overlayctl");
        Ok(Self::of(&folder))
    }
}

/// Where cargo puts the programs of this one's profile.
fn folder() -> Result<PathBuf> {
    let own = env::current_exe().context("this program does not know where it is")?;
    let mut folder = own.parent().context("a program is in a folder")?;
    if folder.ends_with("deps") {
        folder = folder.parent().context("`deps` is in a profile's folder")?;
    }
    Ok(folder.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tool_names_its_package_once() {
        let tools = [
            tool("sh", "dash"),
            tool("no-such-program", "left"),
            tool("/no/such/file", "right"),
            tool("nor-such-a-one", "left"),
        ];
        assert_eq!(missing(&tools), ["left", "right"]);
    }
}
