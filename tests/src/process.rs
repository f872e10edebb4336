//! Processes of the laboratory: started in a namespace, known by id and start time, ended by those alone.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::ledger::Ledger;

/// A process that cannot be taken for another one that got its number later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its number.
    pub pid: i32,
    /// When it started, in clock ticks since the machine did.
    pub started: u64,
}

impl Identity {
    /// Of the process that has this number now; none if there is none, or only what is left of it.
    pub fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, may hold anything; the fields after it are counted from the state, number 3.
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_whitespace();
        let state = fields.next()?;
        let started = fields.nth(18)?.parse().ok()?;
        (state != "Z").then_some(Self { pid, started })
    }

    /// Whether it runs.
    pub fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Sends a signal, if it still runs.
    pub fn signal(self, signal: Signal) {
        if self.is_alive() {
            // It may end between the two calls, which is as good.
            let _ = kill(Pid::from_raw(self.pid), signal);
        }
    }
}

/// A program of the laboratory that runs beside the test.
#[derive(Debug)]
pub struct Running {
    child: Child,
    identity: Option<Identity>,
}

impl Running {
    /// Starts `command` in a process group of its own; what it prints goes to the end of `log`.
    ///
    /// # Errors
    /// The log cannot be opened or the program not be started.
    pub fn start(command: &mut Command, what: &str, log: &Path, ledger: &Ledger) -> Result<Self> {
        let file = File::options()
            .append(true)
            .create(true)
            .open(log)
            .with_context(|| format!("cannot open {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {what}"))?;
        let identity = Identity::of(child.id() as i32);
        if let Some(identity) = identity {
            ledger.process(identity, what)?;
        }
        Ok(Self { child, identity })
    }

    /// Its number.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(identity) = self.identity {
            identity.signal(signal);
        }
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Kills it and waits until it is gone.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        // An error would mean that somebody else waited for it: gone all the same.
        let _ = self.child.wait();
    }

    /// Asks it to end and waits for that; kills it after `limit`.
    pub fn stop(&mut self, limit: Duration) -> Option<ExitStatus> {
        self.signal(Signal::SIGTERM);
        let begun = Instant::now();
        while begun.elapsed() < limit {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.kill();
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_until_it_ends() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let identity = Identity::of(child.id() as i32).unwrap();
        assert!(identity.is_alive());
        let later = Identity {
            started: identity.started + 1,
            ..identity
        };
        assert!(!later.is_alive(), "the same number, another process");
        later.signal(Signal::SIGKILL);
        assert!(identity.is_alive());
        identity.signal(Signal::SIGKILL);
        child.wait().unwrap();
        assert!(!identity.is_alive());
    }
}
