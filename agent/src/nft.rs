//! nftables through `nft -f -`: one script is one transaction, taken whole or not at all.
//!
//! After a table was loaded it gets a seal (an empty chain, see [`Seal`]) that names what was loaded and what the
//! kernel made of it, so that later any change by another hand is seen.

use std::collections::BTreeMap;
use std::io;
use std::process::{Output, Stdio};
use std::time::Duration;

use overlayd_core::kernel::table::{Seal, Table, TableName};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use crate::nfnetlink;
use crate::retry::Retry;

/// The longest a transaction may take: ten thousand rules take 0.3 s on a slow machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why nftables did not do as told; the rules that were there still stand.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The `nft` program is not installed.
    #[error("nft not found; install the package nftables")]
    Missing,
    /// The `nft` program could not be run or spoken to.
    #[error("cannot run nft: {0}")]
    Run(io::Error),
    /// It gave no answer in time and was killed; the kernel took the script whole or not at all.
    #[error("nft did not finish within {} s and was killed; retrying", PATIENCE.as_secs())]
    Silent,
    /// Somebody removed the table between its loading and its sealing.
    #[error("table {0} was removed while it was being loaded; retrying")]
    Vanished(TableName),
    /// The kernel does not let us.
    #[error("nft is not permitted to change the rules; run overlayd as root or with CAP_NET_ADMIN")]
    NotPermitted,
    /// The script was refused.
    #[error("nft refused line {line} of the script, {text:?}: {reason}")]
    Refused {
        /// One-based line of the script; 0 where nft names none.
        line: usize,
        /// The line itself.
        text: String,
        /// What nft says about it.
        reason: String,
    },
}

impl Error {
    /// Whether another try can help.
    pub fn retry(&self) -> Retry {
        match self {
            Error::Missing | Error::NotPermitted => Retry::Fatal,
            Error::Run(_) | Error::Silent | Error::Vanished(_) => Retry::Again,
            Error::Refused { .. } => Retry::Skip,
        }
    }
}

/// Loads a table in place of the one that is there, then seals it with what the kernel made of it.
///
/// # Errors
/// See [`Error`]. If the seal alone fails, the new table stands unsealed and the next plan loads it again.
pub async fn replace(table: &Table) -> Result<(), Error> {
    load(&table.text).await?;
    let Some((listing, _)) = read(table.name).await? else {
        return Err(Error::Vanished(table.name));
    };
    let seal = Seal {
        text: table.hash(),
        listing,
    };
    load(&format!("add chain {} {seal}\n", table.name)).await
}

/// Removes a table; one that is not there is no error.
///
/// # Errors
/// See [`Error`]; nothing was changed.
pub async fn delete(table: TableName) -> Result<(), Error> {
    load(&format!("add table {table}\ndelete table {table}\n")).await
}

/// What stands in a table, by its family and name, as `nft` prints it.
///
/// # Errors
/// See [`Error`]; the table may be gone.
pub async fn list(table: &str) -> Result<String, Error> {
    let arguments: Vec<&str> = ["--numeric-protocol", "--stateless", "list", "table"]
        .into_iter()
        .chain(table.splitn(2, ' '))
        .collect();
    let output = run(&arguments, "").await?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(refusal("", &output))
    }
}

/// Reads our tables, again only when the kernel has taken any change of any table since.
#[derive(Debug, Default)]
pub struct Reader {
    /// What was read last, and the generation of the rules that it is of.
    known: Option<(u32, BTreeMap<TableName, Option<Seal>>)>,
}

impl Reader {
    /// The next look reads the tables, whatever the kernel counts.
    pub fn forget(&mut self) {
        self.known = None;
    }

    /// Our tables that are there, each with its seal if that still fits.
    ///
    /// A host without the program `nft` has none of our tables.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn observe(&mut self) -> Result<BTreeMap<TableName, Option<Seal>>, Error> {
        // Before reading: what changes meanwhile has another generation.
        let generation = nfnetlink::generation();
        if let (Some(now), Some((then, tables))) = (generation, &self.known)
            && now == *then
        {
            return Ok(tables.clone());
        }
        let [inet, netdev, bridge, arp] = TableName::ALL.map(observe);
        let (inet, netdev, bridge, arp) = tokio::join!(inet, netdev, bridge, arp);
        let mut tables = BTreeMap::new();
        for (table, found) in TableName::ALL.into_iter().zip([inet?, netdev?, bridge?, arp?]) {
            tables.extend(found.map(|seal| (table, seal)));
        }
        self.known = generation.map(|generation| (generation, tables.clone()));
        Ok(tables)
    }
}

/// A table that is there, with its seal if that still fits; nothing where there is none.
///
/// Where the kernel will not even list it, loading it fails, too, and is told by name; all else on the host is made.
async fn observe(table: TableName) -> Result<Option<Option<Seal>>, Error> {
    match read(table).await {
        Ok(found) => Ok(found.map(|(listing, seal)| seal.filter(|seal| seal.listing == listing))),
        Err(Error::Missing | Error::Refused { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Gives the kernel a script as one transaction.
async fn load(script: &str) -> Result<(), Error> {
    let output = run(&["-f", "-"], script).await?;
    if output.status.success() {
        Ok(())
    } else {
        Err(refusal(script, &output))
    }
}

/// A hash of what the kernel has of a table, and the seal in it.
async fn read(table: TableName) -> Result<Option<(u64, Option<Seal>)>, Error> {
    let name = table.to_string();
    let mut arguments = vec!["-j", "--stateless", "list", "table"];
    arguments.extend(name.split(' '));
    let output = run(&arguments, "").await?;
    if output.status.success() {
        let listing = serde_json::from_slice(&output.stdout).map_err(|error| Error::Run(error.into()))?;
        return Ok(Some(digest(listing)));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let absent = said.contains("No such file or directory");
    if absent { Ok(None) } else { Err(refusal("", &output)) }
}

/// The listing's hash without what changes by itself: handles, counters, elements that come and go, versions, the seal.
fn digest(mut listing: Value) -> (u64, Option<Seal>) {
    let mut seal = None;
    let mut hashed = Vec::new();
    let items = listing
        .get_mut("nftables")
        .and_then(Value::as_array_mut)
        .map(std::mem::take)
        .unwrap_or_default();
    for mut item in items {
        if item.get("metainfo").is_some() {
            continue;
        }
        let chain = item
            .get("chain")
            .and_then(|chain| chain.get("name"))
            .and_then(Value::as_str);
        if let Some(found) = chain.and_then(|name| name.parse().ok()) {
            seal = Some(found);
            continue;
        }
        for body in item.as_object_mut().into_iter().flat_map(serde_json::Map::values_mut) {
            let Some(body) = body.as_object_mut() else { continue };
            body.remove("handle");
            let comes_and_goes = ["dynamic", "timeout"].map(Value::from);
            let flags = body.get("flags").and_then(Value::as_array);
            if flags.is_some_and(|flags| flags.iter().any(|flag| comes_and_goes.contains(flag))) {
                body.remove("elem");
            }
        }
        hashed.extend_from_slice(item.to_string().as_bytes());
        hashed.push(b'\n');
    }
    (Seal::hash(&hashed), seal)
}

/// `nft`, from PATH or where it is on a host whose PATH has no folders of the system.
fn start(arguments: &[&str]) -> Result<Child, Error> {
    for program in ["nft", "/usr/sbin/nft", "/sbin/nft"] {
        let child = Command::new(program)
            .args(arguments)
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        match child {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            child => return child.map_err(Error::Run),
        }
    }
    Err(Error::Missing)
}

async fn run(arguments: &[&str], script: &str) -> Result<Output, Error> {
    let mut child = start(arguments)?;
    let stdin = child.stdin.take();
    let talk = async {
        if let Some(mut stdin) = stdin {
            // A program that ended early has said why on stderr: that is the better error.
            match stdin.write_all(script.as_bytes()).await {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(Error::Run(error)),
                Ok(()) | Err(_) => {}
            }
        }
        child.wait_with_output().await.map_err(Error::Run)
    };
    tokio::time::timeout(PATIENCE, talk).await.unwrap_or(Err(Error::Silent))
}

/// Reads `/dev/stdin:3:1-5: Error: what is wrong` from what nft says.
fn refusal(script: &str, output: &Output) -> Error {
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("Operation not permitted") {
        return Error::NotPermitted;
    }
    let first = said
        .lines()
        .find(|line| line.contains("Error: "))
        .or(said.lines().next())
        .unwrap_or_default();
    let line = first
        .strip_prefix("/dev/stdin:")
        .and_then(|rest| rest.split(':').next())
        .and_then(|n| n.parse().ok());
    let line: usize = line.unwrap_or(0);
    let text = line
        .checked_sub(1)
        .and_then(|at| script.lines().nth(at))
        .unwrap_or_default()
        .trim()
        .to_owned();
    let reason = first.split_once("Error: ").map_or(first, |(_, reason)| reason).trim();
    let reason = if reason.is_empty() {
        format!("nft failed with {}", output.status)
    } else {
        reason.to_owned()
    };
    // The first line of each of our scripts makes the table, and a kernel that has no such family refuses that.
    let lacks = text.starts_with("add table ") && reason.ends_with("Operation not supported");
    let reason = if lacks {
        format!(
            "{reason}; this kernel does not support these nftables families: it needs CONFIG_NF_TABLES_INET and \
             CONFIG_NF_TABLES_NETDEV, and `modprobe nf_tables` must succeed"
        )
    } else {
        reason
    };
    Error::Refused { line, text, reason }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn output(said: &str) -> Output {
        Output {
            status: std::process::ExitStatus::from_raw(256),
            stdout: Vec::new(),
            stderr: said.as_bytes().to_vec(),
        }
    }

    #[test]
    fn a_kernel_without_our_tables_is_named_with_what_it_needs() {
        let script = "add table inet overlayd\ndelete table inet overlayd\n";
        let said =
            "/dev/stdin:1:1-24: Error: Could not process rule: Operation not supported\nadd table inet overlayd\n^^^\n";
        let error = refusal(script, &output(said)).to_string();
        assert!(
            error.contains("Operation not supported; this kernel does not support these nftables families"),
            "{error}"
        );
        assert!(error.contains("CONFIG_NF_TABLES_INET"), "{error}");
    }

    #[test]
    fn a_refusal_names_the_line_of_the_script() {
        let script = "table inet overlayd {\n  chain c {\n    nonsense\n  }\n}\n";
        let said = "/dev/stdin:3:5-12: Error: syntax error, unexpected newline\n    nonsense\n    ^^^^^^^^\n";
        let error = refusal(script, &output(said));
        assert_eq!(
            error.to_string(),
            "nft refused line 3 of the script, \"nonsense\": syntax error, unexpected newline"
        );
        assert_eq!(error.retry(), Retry::Skip);
    }

    #[test]
    fn a_refusal_without_a_line_still_says_something() {
        assert_eq!(
            refusal("", &output("")).to_string(),
            "nft refused line 0 of the script, \"\": nft failed with exit status: 1"
        );
        assert!(matches!(
            refusal(
                "",
                &output("Operation not permitted (you must be root)\nnetlink: Error: cache")
            ),
            Error::NotPermitted
        ));
    }

    #[test]
    fn a_listing_keeps_its_hash_while_only_counters_and_handles_change() {
        let listing = |handle: u64, elements: &str, policy: &str| {
            let text = format!(
                r#"{{"nftables": [{{"metainfo": {{"version": "1.0.{handle}"}}}},
                    {{"table": {{"family": "inet", "name": "overlayd", "handle": {handle}}}}},
                    {{"set": {{"name": "s", "flags": ["timeout"], "elem": [{elements}]}}}},
                    {{"chain": {{"name": "c", "handle": {handle}, "policy": "{policy}"}}}},
                    {{"chain": {{"name": "seal_0000000000000001_00000000000000{handle:02}"}}}}]}}"#
            );
            digest(serde_json::from_str(&text).unwrap())
        };
        let (hash, seal) = listing(1, "", "accept");
        assert_eq!(seal, Some(Seal { text: 1, listing: 1 }));
        assert_eq!(listing(9, "\"10.0.0.1\"", "accept").0, hash);
        assert_ne!(listing(1, "", "drop").0, hash);
    }
}
