//! Network namespaces by name, and work inside them.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use nix::sched::{CloneFlags, setns};
use serde_json::Value;

/// A named network namespace; it stays when this is dropped, see [`crate::ledger`].
#[derive(Clone, Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// The namespace `name`, which exists or will.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }

    /// Its name, as `ip netns list` shows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    /// Whether it is there.
    pub fn exists(&self) -> bool {
        self.path().exists()
    }

    /// `program`, to be run inside, with a `/sys` that shows this namespace.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Runs a shell script inside; what it printed.
    ///
    /// # Errors
    /// It cannot be started or fails: what it said on standard error.
    pub fn sh(&self, script: &str) -> Result<String> {
        said(self.command("sh").args(["-ec", script]), script)
    }

    /// Runs `ip` inside; what it printed.
    ///
    /// # Errors
    /// As [`Namespace::sh`].
    pub fn ip(&self, arguments: &str) -> Result<String> {
        let mut command = Command::new("ip");
        command.args(["-n", &self.name]).args(arguments.split_whitespace());
        said(&mut command, &format!("ip {arguments}"))
    }

    /// Runs several lines of `ip` inside, and stops at the first that fails.
    ///
    /// # Errors
    /// As [`Namespace::sh`].
    pub fn ip_batch(&self, lines: &str) -> Result<()> {
        fed(Command::new("ip").args(["-n", &self.name, "-batch", "-"]), lines)
    }

    /// Runs `ip -json -details` inside.
    ///
    /// # Errors
    /// As [`Namespace::sh`], or the answer is no JSON.
    pub fn ip_json(&self, arguments: &str) -> Result<Vec<Value>> {
        let text = self.ip(&format!("-j -d {arguments}"))?;
        objects(&text).with_context(|| format!("ip {arguments}"))
    }

    /// Runs `bridge -json -details` inside.
    ///
    /// # Errors
    /// As [`Namespace::ip_json`].
    pub fn bridge_json(&self, arguments: &str) -> Result<Vec<Value>> {
        let mut command = Command::new("bridge");
        command
            .args(["-n", &self.name, "-j", "-d"])
            .args(arguments.split_whitespace());
        let text = said(&mut command, &format!("bridge {arguments}"))?;
        objects(&text).with_context(|| format!("bridge {arguments}"))
    }

    /// Loads an nftables script inside, as one transaction.
    ///
    /// # Errors
    /// As [`Namespace::sh`].
    pub fn nft(&self, script: &str) -> Result<()> {
        fed(self.command("nft").args(["-f", "-"]), script)
    }

    /// Does `work` on a thread that is inside; sockets that it makes stay inside for good.
    ///
    /// # Errors
    /// The namespace cannot be entered, or `work` fails.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let file = File::open(self.path()).with_context(|| format!("cannot open the namespace {}", self.name))?;
        std::thread::scope(|scope| {
            let inside = scope.spawn(move || {
                setns(file, CloneFlags::CLONE_NEWNET).context("cannot enter the namespace")?;
                work()
            });
            inside
                .join()
                .map_err(|_| anyhow!("the work inside {} panicked", self.name))?
        })
    }

    /// Removes it with all that is in it; nothing to do is fine.
    ///
    /// # Errors
    /// As [`Namespace::sh`].
    pub fn remove(&self) -> Result<()> {
        if !self.exists() {
            return Ok(());
        }
        said(Command::new("ip").args(["netns", "del", &self.name]), "ip netns del")?;
        Ok(())
    }
}

fn objects(text: &str) -> Result<Vec<Value>> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let values: Vec<Value> = serde_json::from_str(text).with_context(|| format!("no JSON list: {text}"))?;
    // `ip` prints an empty object for what a filter hides.
    let full = |value: &Value| value.as_object().is_some_and(|object| !object.is_empty());
    Ok(values.into_iter().filter(full).collect())
}

/// Runs `command`; what it printed.
///
/// # Errors
/// It cannot be started or fails: what it said on standard error.
pub fn said(command: &mut Command, what: &str) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", command.get_program().to_string_lossy()))?;
    printed(&output, what)
}

fn printed(output: &Output, what: &str) -> Result<String> {
    ensure!(
        output.status.success(),
        "`{what}` failed ({}): {}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim(),
        String::from_utf8_lossy(&output.stdout).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs `command` with `text` as its standard input.
fn fed(command: &mut Command, text: &str) -> Result<()> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {}", command.get_program().to_string_lossy()))?;
    let Some(mut stdin) = child.stdin.take() else {
        bail!("no standard input to write to");
    };
    // A command that stopped reading tells why on its standard error.
    let _ = stdin.write_all(text.as_bytes());
    drop(stdin);
    printed(&child.wait_with_output()?, text.trim())?;
    Ok(())
}

/// Makes namespaces, each with its loopback up.
///
/// # Errors
/// One cannot be made; those before it stay.
pub fn make(names: &[&Namespace]) -> Result<()> {
    let lines: String = names.iter().map(|name| format!("netns add {}\n", name.name)).collect();
    fed(Command::new("ip").args(["-batch", "-"]), &lines)
        .context("cannot make network namespaces (the laboratory needs root)")?;
    for name in names {
        name.ip("link set lo up")?;
    }
    Ok(())
}
