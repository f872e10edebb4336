//! A host: its namespace, its agent, its operator.

use std::fs;
use std::net::IpAddr;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::install::Programs;
use crate::ledger::Ledger;
use crate::namespace::Namespace;
use crate::process::Running;
use crate::wait::wait_for;

/// How long an agent may take from its start until it answers an operator.
const ANSWERS: Duration = Duration::from_secs(5);

/// How long an agent may take to end when asked.
const ENDS: Duration = Duration::from_secs(5);

/// A host of the laboratory.
#[derive(Debug)]
pub struct Host {
    name: String,
    namespace: Namespace,
    address: IpAddr,
    folder: PathBuf,
    programs: Programs,
    ledger: Arc<Ledger>,
    agent: Mutex<Option<Running>>,
}

impl Host {
    /// The host `name` in `namespace`, with its VTEP at `address`; no agent runs yet.
    ///
    /// # Errors
    /// Its folder cannot be made.
    pub fn new(
        name: &str,
        namespace: Namespace,
        address: IpAddr,
        programs: &Programs,
        ledger: &Arc<Ledger>,
    ) -> Result<Self> {
        let folder = ledger.folder().join(name);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self {
            name: name.to_owned(),
            namespace,
            address,
            folder,
            programs: programs.clone(),
            ledger: Arc::clone(ledger),
            agent: Mutex::default(),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Its VTEP address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Where other hosts' agents reach its agent.
    pub fn listen(&self) -> String {
        std::net::SocketAddr::new(self.address, 7480).to_string()
    }

    /// The folder with its configuration, state and log.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its configuration file.
    pub fn file(&self) -> PathBuf {
        self.folder.join("overlayd.yaml")
    }

    /// Its agent's state directory.
    pub fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("control.sock")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn agent(&self) -> MutexGuard<'_, Option<Running>> {
        self.agent.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Writes its configuration file: what every host has, changed by `change` (an object within an object is merged).
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn configure(&self, change: &Value) -> Result<()> {
        let mut configuration = json!({
            "host": { "name": self.name, "underlay": "eth0", "address": self.address.to_string() },
            "cluster": { "listen": self.listen(), "join": [], "insecure": true },
            "state_dir": self.state(),
            "control_socket": self.socket(),
            "metrics": "off",
        });
        merge(&mut configuration, change);
        let text = serde_yaml::to_string(&configuration).context("cannot write YAML")?;
        fs::write(self.file(), text).with_context(|| format!("cannot write {}", self.file().display()))
    }

    /// Writes its configuration and starts the agent; returns when it answers an operator.
    ///
    /// # Errors
    /// It ends, or does not answer within five seconds: the end of its log.
    pub fn start_agent(&self, change: &Value) -> Result<()> {
        self.configure(change)?;
        self.restart_agent()
    }

    /// Starts the agent with the file that is there; returns when it answers an operator.
    ///
    /// # Errors
    /// As [`Host::start_agent`].
    pub fn restart_agent(&self) -> Result<()> {
        self.launch_agent()?;
        wait_for(&format!("the agent of {} answers", self.name), ANSWERS, || {
            if let Some(status) = self.agent_ended() {
                bail!("the agent ended ({status}): {}", self.last_log(10));
            }
            self.ctl(&["status"])
        })?;
        Ok(())
    }

    /// Starts the agent and does not wait for anything.
    ///
    /// # Errors
    /// It cannot be started, or one runs already.
    pub fn launch_agent(&self) -> Result<()> {
        self.launch_agent_by(&[])
    }

    /// As [`Host::launch_agent`], by a program (with its arguments) that then runs the agent, as `setpriv` does.
    ///
    /// # Errors
    /// As [`Host::launch_agent`].
    pub fn launch_agent_by(&self, launcher: &[&str]) -> Result<()> {
        let mut agent = self.agent();
        ensure!(agent.is_none(), "an agent runs on {} already", self.name);
        let program = self.programs.agent.to_string_lossy();
        let line = [launcher, &[&*program]].concat();
        let (first, rest) = line.split_first().context("there is a program to run")?;
        let mut command = self.namespace.command(first);
        command.args(rest);
        command.args(["--log-level", &self.programs.log_level, "--config"]);
        command.arg(self.file());
        let what = format!("overlayd on {}", self.name);
        *agent = Some(Running::start(&mut command, &what, &self.log_file(), &self.ledger)?);
        Ok(())
    }

    /// Starts the agent as a service manager does, with these variables (`NAME=VALUE`), and waits until it says that it is
    /// ready.
    ///
    /// # Errors
    /// As [`Host::launch_agent`]; it does not say so in time.
    pub fn launch_managed(&self, variables: &[&str], within: Duration) -> Result<()> {
        let socket = self.folder.join("notify");
        let manager = UnixDatagram::bind(&socket)?;
        manager.set_read_timeout(Some(within))?;
        let notify = format!("NOTIFY_SOCKET={}", socket.display());
        self.launch_agent_by(&[&["env", &*notify], variables].concat())?;
        let mut said = [0; 512];
        let length = manager
            .recv(&mut said)
            .with_context(|| format!("the agent of {} never said that it is ready", self.name))?;
        let said = String::from_utf8_lossy(said.get(..length).unwrap_or_default());
        ensure!(said.lines().any(|line| line == "READY=1"), "it said {said:?} first");
        Ok(())
    }

    /// How the agent ended, if it did by itself; the next one may be started then.
    pub fn agent_ended(&self) -> Option<ExitStatus> {
        let mut agent = self.agent();
        let status = agent.as_mut()?.ended()?;
        *agent = None;
        Some(status)
    }

    /// The agent's process number.
    pub fn agent_pid(&self) -> Option<i32> {
        self.agent().as_ref().map(Running::pid)
    }

    /// Kills the agent, as a crash would; the kernel stays as it is.
    pub fn kill_agent(&self) {
        if let Some(mut agent) = self.agent().take() {
            agent.kill();
        }
    }

    /// Stops the agent as a service manager does; its exit status.
    ///
    /// # Errors
    /// None runs, or it had to be killed.
    pub fn stop_agent(&self) -> Result<ExitStatus> {
        let agent = self.agent().take();
        let mut agent = agent.with_context(|| format!("no agent runs on {}", self.name))?;
        agent
            .stop(ENDS)
            .with_context(|| format!("the agent of {} did not end within {ENDS:?}", self.name))
    }

    /// Sends the agent a signal.
    pub fn signal_agent(&self, signal: Signal) {
        if let Some(agent) = self.agent().as_ref() {
            agent.signal(signal);
        }
    }

    /// Runs the agent's program with other arguments beside its configuration, to its end.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn overlayd(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = self.namespace.command(&self.programs.agent);
        command.arg("--config").arg(self.file()).args(arguments);
        Ok(command.stdin(Stdio::null()).output()?)
    }

    /// Runs `overlayctl` to its end.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn overlayctl(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = std::process::Command::new(&self.programs.operator);
        command.arg("--socket").arg(self.socket()).args(arguments);
        Ok(command.stdin(Stdio::null()).output()?)
    }

    /// Runs `overlayctl`, which succeeds; what it printed.
    ///
    /// # Errors
    /// It fails: what it said.
    pub fn ctl(&self, arguments: &[&str]) -> Result<String> {
        let output = self.overlayctl(arguments)?;
        ensure!(
            output.status.success(),
            "{}: overlayctl {} ({}): {}",
            self.name,
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs `overlayctl`, which refuses; what it said on standard error.
    ///
    /// # Errors
    /// It succeeds.
    pub fn refused(&self, arguments: &[&str]) -> Result<String> {
        let output = self.overlayctl(arguments)?;
        ensure!(
            output.status.code() == Some(1),
            "{}: overlayctl {} should have been refused, and ended with {}",
            self.name,
            arguments.join(" "),
            output.status
        );
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Runs `overlayctl -o json`.
    ///
    /// # Errors
    /// It fails, or prints no JSON.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let mut arguments = arguments.to_vec();
        arguments.extend(["-o", "json"]);
        let text = self.ctl(&arguments)?;
        serde_json::from_str(&text).with_context(|| format!("no JSON: {text}"))
    }

    /// Runs `overlayctl -o json` for a list.
    ///
    /// # Errors
    /// As [`Host::json`], or it is no list.
    pub fn list(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        match self.json(arguments)? {
            Value::Array(rows) => Ok(rows),
            other => bail!("no list: {other}"),
        }
    }

    /// Applies segments, written as YAML.
    ///
    /// # Errors
    /// The agent refuses them.
    pub fn apply(&self, segments: &str) -> Result<String> {
        let file = self.folder.join("segments.yaml");
        fs::write(&file, segments).with_context(|| format!("cannot write {}", file.display()))?;
        self.ctl(&["apply", "-f", &file.to_string_lossy()])
    }

    /// The names of the hosts that it sees alive, itself among them.
    ///
    /// # Errors
    /// The agent does not answer.
    pub fn alive(&self) -> Result<Vec<String>> {
        let alive = |peer: &Value| (peer["state"] == "alive").then(|| text_of(&peer["name"]));
        let mut names: Vec<String> = self.list(&["peer", "list"])?.iter().filter_map(alive).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// The host that serves a segment as gateway, as this host sees it.
    ///
    /// # Errors
    /// The agent does not answer, or knows none.
    pub fn gateway_of(&self, segment: &str) -> Result<String> {
        let gateways = self.list(&["gateway", "list"])?;
        let row = gateways.iter().find(|row| row["segment"] == segment);
        let host = row.and_then(|row| row["host"].as_str());
        host.map(str::to_owned).with_context(|| {
            format!(
                "{} knows no gateway of {segment}: {}",
                self.name,
                Value::Array(gateways.clone())
            )
        })
    }

    /// The destinations of the all-zero MAC on a VXLAN interface, in order.
    ///
    /// # Errors
    /// There is no such interface.
    pub fn flood_list(&self, vxlan: &str) -> Result<Vec<String>> {
        let entries = self.namespace.bridge_json(&format!("fdb show dev {vxlan}"))?;
        let zero = entries.iter().filter(|entry| entry["mac"] == "00:00:00:00:00:00");
        let mut destinations: Vec<String> = zero.map(|entry| text_of(&entry["dst"])).collect();
        destinations.sort_unstable();
        Ok(destinations)
    }

    /// One interface, as `ip -json -details link show` tells it; none if there is no such.
    pub fn link(&self, interface: &str) -> Option<Value> {
        let found = self.namespace.ip_json(&format!("link show dev {interface}"));
        found.ok()?.into_iter().next()
    }

    /// The MTU of an interface.
    ///
    /// # Errors
    /// There is no such interface.
    pub fn mtu_of(&self, interface: &str) -> Result<u64> {
        let link = self
            .link(interface)
            .with_context(|| format!("no {interface} on {}", self.name))?;
        link["mtu"].as_u64().context("an interface has an MTU")
    }

    /// The ops that are due on this host.
    ///
    /// # Errors
    /// The agent does not answer.
    pub fn plan(&self) -> Result<Vec<String>> {
        let ops = self.list(&["plan"])?;
        Ok(ops.iter().map(|op| text_of(&op["op"])).collect())
    }

    /// All that its agent logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// The last lines of that.
    pub fn last_log(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

/// A JSON string, bare; anything else as JSON writes it.
pub fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn merge(into: &mut Value, change: &Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            for (key, value) in change {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, change) => *into = change.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_merged_into_what_every_host_has() {
        let mut value = json!({ "cluster": { "join": [], "insecure": true }, "metrics": "off" });
        merge(&mut value, &json!({ "cluster": { "join": ["x"] }, "segments": [1] }));
        let expected = json!({
            "cluster": { "join": ["x"], "insecure": true }, "metrics": "off", "segments": [1]
        });
        assert_eq!(value, expected);
    }
}
