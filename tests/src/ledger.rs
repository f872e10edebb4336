//! What a laboratory made, on disk before it is made: so that a crash leaves nothing that the next one cannot remove.
//!
//! ```text
//! /run/overlayd-lab/INSTANCE/ledger    owner PID START        who runs the laboratory
//!                                      namespace NAME
//!                                      process PID START WHAT
//!                                      stays                  `lab up`: outlives the process that made it
//! ```

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;

use crate::namespace::Namespace;
use crate::process::Identity;

/// Where laboratories keep their files.
pub const BASE: &str = "/run/overlayd-lab";

/// How long killed processes may take to go.
const GONE: Duration = Duration::from_secs(5);

/// The open ledger of one laboratory.
#[derive(Debug)]
pub struct Ledger {
    folder: PathBuf,
    file: File,
}

/// What a ledger says.
#[derive(Debug, Default)]
pub struct Entries {
    /// Who runs the laboratory.
    pub owner: Option<Identity>,
    /// Its namespaces.
    pub namespaces: Vec<Namespace>,
    /// Its processes, with what they are.
    pub processes: Vec<(Identity, String)>,
    /// It was made to outlive its owner, and is complete.
    pub stays: bool,
}

impl Ledger {
    /// Begins the laboratory `instance`, after cleaning up what an earlier one of that name left.
    ///
    /// # Errors
    /// One of that name is there and in use; or its folder cannot be made (the laboratory needs root).
    pub fn begin(instance: &str) -> Result<Self> {
        let folder = Path::new(BASE).join(instance);
        if let Some(entries) = Entries::read(&folder) {
            if entries.stays {
                bail!("a laboratory is up already: `./lab down` takes it down");
            }
            if let Some(owner) = entries.owner.filter(|owner| owner.is_alive()) {
                bail!("process {} runs this laboratory just now", owner.pid);
            }
            clean(&folder)?;
        }
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make {} (the laboratory needs root)", folder.display()))?;
        let file = File::options()
            .append(true)
            .create(true)
            .open(folder.join("ledger"))
            .with_context(|| format!("cannot write the ledger in {}", folder.display()))?;
        let ledger = Self { folder, file };
        let own = Identity::of(std::process::id() as i32).context("this process is not in /proc")?;
        ledger.line(&format!("owner {} {}", own.pid, own.started))?;
        Ok(ledger)
    }

    /// The laboratory's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Notes a namespace that is about to be made.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn namespace(&self, namespace: &Namespace) -> Result<()> {
        self.line(&format!("namespace {}", namespace.name()))
    }

    /// Notes a process that was started.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn process(&self, process: Identity, what: &str) -> Result<()> {
        self.line(&format!("process {} {} {what}", process.pid, process.started))
    }

    /// The laboratory is complete and outlives this process.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub fn stays(&self) -> Result<()> {
        self.line("stays")
    }

    fn line(&self, line: &str) -> Result<()> {
        // One write, so that a crash leaves whole lines.
        (&self.file)
            .write_all(format!("{line}\n").as_bytes())
            .with_context(|| format!("cannot write the ledger in {}", self.folder.display()))
    }
}

impl Entries {
    /// What the ledger in `folder` says; none if there is none.
    pub fn read(folder: &Path) -> Option<Self> {
        let text = fs::read_to_string(folder.join("ledger")).ok()?;
        let mut entries = Self::default();
        for line in text.lines() {
            let words: Vec<&str> = line.splitn(4, ' ').collect();
            let identity = |pid: &str, started: &str| {
                Some(Identity {
                    pid: pid.parse().ok()?,
                    started: started.parse().ok()?,
                })
            };
            match words[..] {
                ["owner", pid, started] => entries.owner = identity(pid, started),
                ["namespace", name] => entries.namespaces.push(Namespace::named(name)),
                ["process", pid, started, what] => {
                    entries
                        .processes
                        .extend(identity(pid, started).map(|identity| (identity, what.to_owned())));
                }
                ["stays"] => entries.stays = true,
                // A line that a crash cut short.
                _ => {}
            }
        }
        Some(entries)
    }
}

/// Removes all that the laboratory in `folder` made: its processes, its namespaces, its files.
///
/// # Errors
/// What could not be removed; the rest is.
pub fn clean(folder: &Path) -> Result<()> {
    let entries = Entries::read(folder).unwrap_or_default();
    for (process, _) in &entries.processes {
        process.signal(Signal::SIGKILL);
    }
    let begun = Instant::now();
    while entries.processes.iter().any(|(process, _)| process.is_alive()) && begun.elapsed() < GONE {
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut failed = Vec::new();
    for namespace in &entries.namespaces {
        failed.extend(namespace.remove().err().map(|error| format!("{error:#}")));
    }
    if !failed.is_empty() {
        bail!("not everything could be removed: {}", failed.join("; "));
    }
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Removes what laboratories left whose process is gone without a word; their names.
pub fn sweep() -> Vec<String> {
    let mut swept = Vec::new();
    for entry in fs::read_dir(BASE).into_iter().flatten().flatten() {
        let folder = entry.path();
        let Some(entries) = Entries::read(&folder) else {
            continue;
        };
        let in_use = entries.stays || entries.owner.is_none_or(Identity::is_alive);
        // Two that sweep at once get in each other's way: the later one finds less to do.
        if !in_use && clean(&folder).is_ok() {
            swept.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    swept
}
