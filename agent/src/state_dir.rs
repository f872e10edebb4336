//! What survives a restart: who this host is, which cluster it belongs to, what the cluster knows, its journal.
//!
//! ```text
//! state_dir/lock       held while an agent runs
//!           identity   host id, cluster, instance: replaced whole
//!           cluster    what gossip knew last: replaced whole
//!           answered   hosts whose kernel ever answered a probe: replaced whole
//!           journal    addresses and leases: appended, see `journal`
//!           sysctls    what kernel settings were before the agent changed them: see `workers::kernel`
//! ```
//!
//! A file that cannot be read counts as lost: it is set aside under a new name and named in the log. Without
//! `identity` this is a new host; without `cluster` the `join:` list finds the others again.

use crate::journal::{Found, Journal, replace};
use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};
use overlayd_core::id::HostId;
use overlayd_core::node::{Drained, Formation};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Who this host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Made at the first start.
    pub host: HostId,
    /// The cluster, if any.
    pub formation: Formation,
    /// The host that this one was before `overlayd --cleanup`, until it is in a cluster again.
    pub former: Option<HostId>,
    /// Grows with each start.
    pub instance: u64,
    /// Whether an operator has drained it.
    pub drained: Drained,
}

/// Whose the other files of the directory are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Files {
    /// This identity's.
    Own,
    /// A former cluster's, which are to go: this agent was about to remove them.
    Former,
}

/// How long a killed agent's lock may outlive it: a child that it was starting holds the lock until its own program runs.
const LINGERS: Duration = Duration::from_secs(2);

/// An open, locked state directory.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: Flock<File>,
}

impl StateDir {
    /// Makes the directory if need be, and locks it.
    ///
    /// # Errors
    /// It cannot be made or written, or another agent holds it.
    pub fn open(path: &Path) -> Result<Self> {
        let hint = "set `state_dir` to a directory on a writable disk";
        fs::create_dir_all(path)
            .with_context(|| format!("cannot create the state directory {}; {hint}", path.display()))?;
        let lock = path.join("lock");
        let mut file = File::create(&lock).with_context(|| format!("cannot write {}; {hint}", lock.display()))?;
        let begun = Instant::now();
        let lock = loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => break lock,
                Err((same, nix::errno::Errno::EWOULDBLOCK)) if begun.elapsed() < LINGERS => file = same,
                Err((_, nix::errno::Errno::EWOULDBLOCK)) => bail!(
                    "another overlayd is using the state directory {}; stop it first",
                    path.display()
                ),
                Err((_, error)) => return Err(error).with_context(|| format!("cannot lock {}", lock.display())),
            }
            thread::sleep(Duration::from_millis(5));
        };
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// Who this host is, with the instance of this start already on disk; `new` names it where nothing is known yet.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn begin(&self, new: HostId) -> Result<Identity> {
        let file = self.path.join("identity");
        let mut identity = match fs::read_to_string(&file) {
            Ok(text) => match parse_identity(&text) {
                Some((identity, Files::Own)) => identity,
                Some((identity, Files::Former)) => {
                    self.forget()?;
                    identity
                }
                None => {
                    let kept = self.set_aside(&file)?;
                    tracing::error!(
                        kept = %kept.display(),
                        "cannot read this host's identity: starting as a new host. If its cluster still exists, run \
                         `overlayctl peer remove NAME` on a member and join again"
                    );
                    Identity {
                        host: new,
                        formation: Formation::Unformed,
                        former: None,
                        instance: 0,
                        drained: Drained::No,
                    }
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Identity {
                host: new,
                formation: Formation::Unformed,
                former: None,
                instance: 0,
                drained: Drained::No,
            },
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
        };
        identity.instance += 1;
        self.save_identity(&identity)?;
        Ok(identity)
    }

    /// Who this host is, read without changing anything.
    pub fn peek(path: &Path) -> Option<Identity> {
        parse_identity(&fs::read_to_string(path.join("identity")).ok()?).map(|(identity, _)| identity)
    }

    /// Puts `identity` on disk.
    ///
    /// # Errors
    /// The disk refuses; the old one is still there.
    pub fn save_identity(&self, identity: &Identity) -> Result<()> {
        self.save("identity", identity_text(identity, Files::Own).as_bytes())
    }

    /// Puts an identity on disk that is in another cluster than before, or in none, and removes what belonged to the
    /// former one. A crash in between cannot bring the former cluster's leases into the new one: the next start goes on
    /// with the removal.
    ///
    /// # Errors
    /// The disk refuses: the old identity is still there with all its files, or the new one without any.
    pub fn change_cluster(&self, identity: &Identity) -> Result<()> {
        self.save("identity", identity_text(identity, Files::Former).as_bytes())?;
        self.forget()?;
        self.save_identity(identity)
    }

    /// What gossip knew last; nothing where it cannot be read.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn cluster(&self) -> Result<Vec<Vec<u8>>> {
        let path = self.path.join("cluster");
        let (_, found) = Journal::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(match found {
            Found::New => Vec::new(),
            Found::Whole { records, cut } => {
                if cut > 0 {
                    tracing::warn!(
                        cut,
                        "{} was truncated; the other hosts send what is missing",
                        path.display()
                    );
                }
                records
            }
            Found::Damaged { at, kept } => {
                tracing::error!(at, kept = %kept.display(), "the saved cluster state is damaged; asking the hosts listed in `join:`");
                Vec::new()
            }
        })
    }

    /// Puts what gossip knows on disk.
    ///
    /// # Errors
    /// The disk refuses; the old state is still there.
    pub fn save_cluster(&self, records: &[Vec<u8>]) -> Result<()> {
        let path = self.path.join("cluster");
        Journal::write(&path, records.iter().map(Vec::as_slice))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Hosts whose kernel ever answered a probe.
    pub fn answered(&self) -> BTreeSet<HostId> {
        let text = fs::read_to_string(self.path.join("answered")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Puts them on disk.
    ///
    /// # Errors
    /// The disk refuses; the old set is still there.
    pub fn save_answered(&self, hosts: &BTreeSet<HostId>) -> Result<()> {
        let text: String = hosts.iter().map(|host| format!("{host}\n")).collect();
        self.save("answered", text.as_bytes())
    }

    /// Begins an empty journal in the place of the one that is there.
    ///
    /// # Errors
    /// The journal cannot be made.
    pub fn new_journal(&self) -> Result<Journal> {
        let path = self.path.join("journal");
        Journal::anew(&path).with_context(|| format!("cannot create {}", path.display()))
    }

    /// Opens the journal of addresses and leases.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn journal(&self) -> Result<(Journal, Found)> {
        let path = self.path.join("journal");
        Journal::open(&path).with_context(|| format!("cannot open {}", path.display()))
    }

    /// Forgets the cluster, its leases and who answered: what remains is this host's id, and that it left.
    ///
    /// # Errors
    /// The disk refuses.
    fn forget(&self) -> Result<()> {
        for name in ["cluster", "journal", "answered"] {
            match fs::remove_file(self.path.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot remove {}", self.path.join(name).display()));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    fn save(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path.join(name);
        replace(&path, bytes)
            .with_context(|| format!("cannot write {}; is the disk full or read-only?", path.display()))
    }

    fn set_aside(&self, file: &Path) -> Result<PathBuf> {
        let kept = file.with_extension("damaged");
        fs::rename(file, &kept).with_context(|| format!("cannot rename {}", file.display()))?;
        Ok(kept)
    }
}

fn identity_text(identity: &Identity, files: Files) -> String {
    let formation = match identity.formation {
        Formation::Unformed => "none".to_owned(),
        Formation::Formed(id) => id.to_string(),
        Formation::Left { .. } => "left".to_owned(),
    };
    let drained = match identity.drained {
        Drained::No => "no",
        Drained::Yes => "yes",
    };
    let files = match files {
        Files::Own => "own",
        Files::Former => "former",
    };
    let former = identity.former.map_or("none".to_owned(), |former| former.to_string());
    let body = format!(
        "host {}\ncluster {formation}\nformer {former}\ninstance {}\ndrained {drained}\nfiles {files}\n",
        identity.host, identity.instance
    );
    format!("{body}check {:08x}\n", crc32fast::hash(body.as_bytes()))
}

fn parse_identity(text: &str) -> Option<(Identity, Files)> {
    let (body, check) = text.split_at(text.rfind("check ")?);
    if check != format!("check {:08x}\n", crc32fast::hash(body.as_bytes())) {
        return None;
    }
    let mut values = body.lines().map(|line| line.split_once(' '));
    let mut value = |key: &str| {
        values
            .next()?
            .filter(|(found, _)| *found == key)
            .map(|(_, value)| value)
    };
    let host = value("host")?.parse().ok()?;
    let formation = match value("cluster")? {
        "none" => Formation::Unformed,
        "left" => Formation::Left { next: host },
        id => Formation::Formed(id.parse().ok()?),
    };
    let identity = Identity {
        host,
        formation,
        former: match value("former")? {
            "none" => None,
            id => Some(id.parse().ok()?),
        },
        instance: value("instance")?.parse().ok()?,
        drained: match value("drained")? {
            "no" => Drained::No,
            "yes" => Drained::Yes,
            _ => return None,
        },
    };
    let files = match value("files")? {
        "own" => Files::Own,
        "former" => Files::Former,
        _ => return None,
    };
    Some((identity, files))
}

#[cfg(test)]
mod tests {
    use super::*;

    use overlayd_core::id::ClusterId;

    const ME: HostId = HostId(7);

    #[test]
    fn the_instance_grows_with_each_start_and_the_id_stays() {
        let folder = tempfile::tempdir().unwrap();
        for instance in 1..4 {
            let state = StateDir::open(folder.path()).unwrap();
            let identity = state.begin(HostId(7 + instance)).unwrap();
            assert_eq!((identity.host, identity.instance), (HostId(8), instance));
            state
                .save_identity(&Identity {
                    formation: Formation::Formed(ClusterId(9)),
                    ..identity
                })
                .unwrap();
        }
        assert_eq!(
            StateDir::peek(folder.path()).unwrap().formation,
            Formation::Formed(ClusterId(9))
        );
    }

    #[test]
    fn an_identity_cut_at_any_byte_starts_a_new_host_and_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("identity");
        StateDir::open(folder.path()).unwrap().begin(ME).unwrap();
        let whole = fs::read(&file).unwrap();
        for length in 0..whole.len() {
            fs::write(&file, &whole[..length]).unwrap();
            let identity = StateDir::open(folder.path()).unwrap().begin(HostId(99)).unwrap();
            assert_eq!((identity.host, identity.instance), (HostId(99), 1), "cut at {length}");
            assert_eq!(
                fs::read(folder.path().join("identity.damaged")).unwrap(),
                whole[..length]
            );
        }
    }

    #[test]
    fn a_former_clusters_files_never_count_in_the_new_one_wherever_a_crash_comes() {
        let files = ["cluster", "journal", "answered"];
        let new = Identity {
            host: ME,
            formation: Formation::Formed(ClusterId(2)),
            former: None,
            instance: 1,
            drained: Drained::No,
        };
        // How many of the files are gone when it crashes.
        for gone in 0..=files.len() {
            let folder = tempfile::tempdir().unwrap();
            let state = StateDir::open(folder.path()).unwrap();
            state.begin(ME).unwrap();
            for name in &files[gone..] {
                fs::write(folder.path().join(name), "of the former cluster").unwrap();
            }
            state
                .save("identity", identity_text(&new, Files::Former).as_bytes())
                .unwrap();
            drop(state);
            let state = StateDir::open(folder.path()).unwrap();
            let identity = state.begin(HostId(99)).unwrap();
            assert_eq!((identity.host, identity.formation), (ME, new.formation));
            assert!(
                files.iter().all(|name| !folder.path().join(name).exists()),
                "{gone} gone"
            );
            // From now on what is there is its own.
            let (mut journal, _) = state.journal().unwrap();
            journal.append([b"own".as_slice()]).unwrap();
            drop(state);
            let state = StateDir::open(folder.path()).unwrap();
            state.begin(HostId(99)).unwrap();
            let (_, found) = state.journal().unwrap();
            assert!(matches!(found, Found::Whole { records, .. } if records == [b"own"]));
        }
    }

    #[test]
    fn a_change_of_cluster_removes_what_belonged_to_the_former_one() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path()).unwrap();
        let identity = state.begin(ME).unwrap();
        state.save_cluster(&[b"one".to_vec()]).unwrap();
        let formation = Formation::Formed(ClusterId(2));
        state.change_cluster(&Identity { formation, ..identity }).unwrap();
        assert_eq!(StateDir::peek(folder.path()).unwrap().formation, formation);
        assert!(state.cluster().unwrap().is_empty());
    }

    #[test]
    fn two_agents_do_not_share_a_state_directory() {
        let folder = tempfile::tempdir().unwrap();
        let _first = StateDir::open(folder.path()).unwrap();
        let error = StateDir::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("another overlayd"), "{error}");
    }

    #[test]
    fn a_lock_that_outlives_its_agent_a_little_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let first = StateDir::open(folder.path()).unwrap();
        let ends = thread::spawn(move || {
            thread::sleep(Duration::from_millis(100));
            drop(first);
        });
        StateDir::open(folder.path()).unwrap();
        ends.join().unwrap();
    }

    #[test]
    fn what_the_cluster_knew_survives_and_a_cut_file_gives_its_whole_part() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path()).unwrap();
        let records = vec![b"one".to_vec(), b"two".to_vec()];
        assert!(state.cluster().unwrap().is_empty());
        state.save_cluster(&records).unwrap();
        assert_eq!(state.cluster().unwrap(), records);
        let file = folder.path().join("cluster");
        let whole = fs::read(&file).unwrap();
        for length in 0..whole.len() {
            fs::write(&file, &whole[..length]).unwrap();
            let read = state.cluster().unwrap();
            assert!(records.starts_with(&read), "cut at {length}");
        }
    }
}
