//! The state directory's thread: who this host is, what the cluster knows and who answered go to disk there, in order.
//!
//! It owns the directory and its lock, and opens the journal, which then has a thread of its own. Whatever was ordered while
//! it wrote is looked at together: of each file the newest content alone is written. What the disk refuses stays due and is
//! tried again, and nothing behind it is written before it. It ends when its handle is dropped, after one last try and the
//! journal's last append.

use std::collections::BTreeSet;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use overlayd_core::cluster::gossip::Record;
use overlayd_core::health::Unsaved;
use overlayd_core::id::HostId;
use prost::Message;
use tokio::sync::oneshot;
use tracing::{error, info, warn};

use super::disk;
use crate::journal::Journal;
use crate::state_dir::{Identity, StateDir};

/// What was refused is tried again after so long.
const RETRY: Duration = Duration::from_secs(5);

/// Whether an identity is in the cluster that the one before it was in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cluster {
    /// It is.
    Same,
    /// It is in another or in none: the other files are the former one's, and go.
    Another,
}

/// How a journal begins.
#[derive(Debug)]
pub enum Begin {
    /// With this one, which was read before.
    With(Journal),
    /// With the file that is there; an empty one if there is none.
    AsFound,
    /// Empty, in the place of the file that is there.
    Anew,
}

/// What the thread tells.
#[derive(Debug)]
pub enum Report {
    /// What cannot be written for now; `None`: everything is on disk.
    Unsaved(Option<Unsaved>),
    /// From the thread of this journal.
    Journal(u64, disk::Report),
}

enum Order {
    Identity(Identity, Cluster),
    Journal(NewJournal),
    Records(Vec<Record>),
    Answered(BTreeSet<HostId>),
    Flush(oneshot::Sender<Opened>),
}

/// Whether the newest journal takes appends.
#[derive(Debug, PartialEq, Eq)]
enum Opened {
    /// It does, or is lost.
    Yes,
    /// It waits for a disk that has refused it, or what goes before it.
    NotYet,
}

struct NewJournal {
    life: u64,
    begin: Begin,
    inbox: Receiver<disk::Order>,
}

/// The thread's handle; dropping it waits until what was ordered is on disk, or was refused once more. The journal's sender
/// must be gone by then: its thread is waited for, too.
pub struct StateFiles {
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl StateFiles {
    /// Starts the thread; `report` is called there and on the threads of journals.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(state: StateDir, report: impl Fn(Report) + Clone + Send + 'static) -> Result<Self> {
        Self::start_with(state, report, RETRY)
    }

    fn start_with(state: StateDir, report: impl Fn(Report) + Clone + Send + 'static, retry: Duration) -> Result<Self> {
        let (orders, inbox) = mpsc::channel();
        let worker = Worker {
            state,
            report,
            due: Due::default(),
            unsaved: None,
            journal: None,
        };
        let thread = thread::Builder::new()
            .name("state".into())
            .spawn(move || worker.run(&inbox, retry))
            .context("cannot start a thread")?;
        Ok(Self {
            orders: Some(orders),
            thread: Some(thread),
        })
    }

    /// Who this host is from now on.
    pub fn save_identity(&self, identity: Identity, cluster: Cluster) {
        self.order(Order::Identity(identity, cluster));
    }

    /// What the cluster knows.
    pub fn save_records(&self, records: Vec<Record>) {
        self.order(Order::Records(records));
    }

    /// Whose kernel ever answered.
    pub fn save_answered(&self, hosts: BTreeSet<HostId>) {
        self.order(Order::Answered(hosts));
    }

    /// Begins a journal in the place of the one before, whose sender must be gone. What is sent before it is open waits.
    pub fn begin_journal(&self, life: u64, begin: Begin) -> Sender<disk::Order> {
        let (appends, inbox) = mpsc::channel();
        self.order(Order::Journal(NewJournal { life, begin, inbox }));
        appends
    }

    /// Resolves once all that was ordered before, of the journal behind this sender, too, is on disk, or was refused and
    /// reported.
    pub fn flushed(&self, journal: Option<&Sender<disk::Order>>) -> impl Future<Output = ()> + Send + use<> {
        let (done, files) = oneshot::channel();
        self.order(Order::Flush(done));
        let (done, appended) = oneshot::channel();
        if let Some(journal) = journal {
            // A thread that is gone has told why, and what it leaves is closed.
            let _ = journal.send(disk::Order::Flush(done));
        } else {
            drop(done);
        }
        async move {
            if files.await == Ok(Opened::Yes) {
                let _ = appended.await;
            }
        }
    }

    fn order(&self, order: Order) {
        if self.orders.as_ref().is_none_or(|orders| orders.send(order).is_err()) {
            error!("internal error: the thread of the state directory has ended");
        }
    }
}

impl Drop for StateFiles {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!("internal error: the thread of the state directory panicked");
        }
    }
}

/// What is not on disk yet.
#[derive(Default)]
struct Due {
    identity: Option<(Identity, Cluster)>,
    journal: Option<NewJournal>,
    records: Option<Vec<Vec<u8>>>,
    answered: Option<BTreeSet<HostId>>,
}

impl Due {
    fn is_empty(&self) -> bool {
        self.identity.is_none() && self.journal.is_none() && self.records.is_none() && self.answered.is_none()
    }
}

struct Worker<R> {
    state: StateDir,
    report: R,
    due: Due,
    /// As last reported.
    unsaved: Option<Unsaved>,
    journal: Option<JoinHandle<()>>,
}

impl<R: Fn(Report) + Clone + Send + 'static> Worker<R> {
    fn run(mut self, inbox: &Receiver<Order>, retry: Duration) {
        loop {
            let first = if self.due.is_empty() {
                inbox.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                inbox.recv_timeout(retry)
            };
            let mut waiting = Vec::new();
            match first {
                Ok(first) => {
                    for order in std::iter::once(first).chain(inbox.try_iter()) {
                        waiting.extend(self.take(order));
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.write();
                    self.end_journal();
                    return;
                }
            }
            self.write();
            for done in waiting {
                let opened = match self.due.journal {
                    Some(_) => Opened::NotYet,
                    None => Opened::Yes,
                };
                // Whoever asked may have gone.
                let _ = done.send(opened);
            }
        }
    }

    /// Puts the order in the place of the one that it supersedes; whom to tell, once it is done.
    fn take(&mut self, order: Order) -> Option<oneshot::Sender<Opened>> {
        match order {
            Order::Identity(identity, cluster) => {
                let before = self.due.identity.take().map(|(_, cluster)| cluster);
                let cluster = match (before, cluster) {
                    (Some(Cluster::Another), _) | (_, Cluster::Another) => Cluster::Another,
                    (Some(Cluster::Same) | None, Cluster::Same) => Cluster::Same,
                };
                if cluster == Cluster::Another {
                    self.due = Due::default();
                }
                self.due.identity = Some((identity, cluster));
            }
            Order::Journal(journal) => self.due.journal = Some(journal),
            Order::Records(records) => {
                let bytes = |record| overlayd_proto::gossip::Record::from(record).encode_to_vec();
                self.due.records = Some(records.into_iter().map(bytes).collect());
            }
            Order::Answered(hosts) => self.due.answered = Some(hosts),
            Order::Flush(done) => return Some(done),
        }
        None
    }

    fn write(&mut self) {
        let unsaved = self.try_write().err().map(|problem| {
            let problem = format!("{problem:#}");
            if self.due.identity.is_some() {
                Unsaved::Identity(problem)
            } else if self.due.journal.is_some() {
                Unsaved::Journal(problem)
            } else {
                Unsaved::Shared(problem)
            }
        });
        if self.unsaved == unsaved {
            return;
        }
        match &unsaved {
            Some(Unsaved::Identity(problem)) => {
                error!("{problem}; after a restart this host would not know its cluster, or whether it is drained");
            }
            Some(Unsaved::Journal(problem)) => error!("{problem}; this host keeps no leases until that is fixed"),
            Some(Unsaved::Shared(problem)) => warn!("{problem}; after a restart the other hosts send it again"),
            None => info!("everything is on disk again"),
        }
        self.unsaved.clone_from(&unsaved);
        (self.report)(Report::Unsaved(unsaved));
    }

    fn try_write(&mut self) -> Result<()> {
        if let Some((identity, cluster)) = self.due.identity {
            let saved = match cluster {
                Cluster::Same => self.state.save_identity(&identity),
                Cluster::Another => {
                    // Its thread must not write into the place of what is removed.
                    self.end_journal();
                    self.state.change_cluster(&identity)
                }
            };
            saved?;
            self.due.identity = None;
        }
        if let Some(journal) = self.due.journal.take() {
            self.begin(journal)?;
        }
        if let Some(records) = &self.due.records {
            self.state.save_cluster(records)?;
            self.due.records = None;
        }
        if let Some(hosts) = &self.due.answered {
            self.state.save_answered(hosts)?;
            self.due.answered = None;
        }
        Ok(())
    }

    /// The first journal of a cluster may be late: nothing that has to be in it was said yet. In the place of a lost one it
    /// is made at once or not at all, because the operator waits for it.
    fn begin(&mut self, NewJournal { life, begin, inbox }: NewJournal) -> Result<()> {
        self.end_journal();
        let opened = match begin {
            Begin::With(journal) => Ok(journal),
            Begin::AsFound => match self.state.journal() {
                Ok((journal, _)) => Ok(journal),
                Err(problem) => {
                    self.due.journal = Some(NewJournal { life, begin, inbox });
                    return Err(problem);
                }
            },
            Begin::Anew => self.state.new_journal(),
        };
        let report = self.report.clone();
        let started =
            opened.and_then(|journal| disk::start(journal, inbox, move |said| report(Report::Journal(life, said))));
        match started {
            Ok(thread) => self.journal = Some(thread),
            Err(problem) => self.lost(life, &problem),
        }
        Ok(())
    }

    fn end_journal(&mut self) {
        if let Some(thread) = self.journal.take()
            && thread.join().is_err()
        {
            error!("internal error: the journal's thread panicked");
        }
    }

    /// Nothing that has to be in this journal may be said.
    fn lost(&self, life: u64, problem: &anyhow::Error) {
        (self.report)(Report::Journal(life, disk::Report::Lost(format!("{problem:#}"))));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::task::{Context, Waker};

    use super::*;

    use overlayd_core::addresses::{JournalRecord, Members};
    use overlayd_core::id::ClusterId;
    use overlayd_core::node::Formation;

    const ME: HostId = HostId(7);
    const PATIENCE: Duration = Duration::from_secs(10);

    fn start(folder: &Path, retry: Duration) -> (StateFiles, Identity, Receiver<Report>) {
        let state = StateDir::open(folder).unwrap();
        let identity = state.begin(ME).unwrap();
        let (tell, told) = mpsc::channel();
        let files = StateFiles::start_with(state, move |report| drop(tell.send(report)), retry).unwrap();
        (files, identity, told)
    }

    fn formed(identity: Identity, cluster: u64) -> Identity {
        Identity {
            formation: Formation::Formed(ClusterId(cluster)),
            ..identity
        }
    }

    fn hosts(count: u64) -> BTreeSet<HostId> {
        (0..count).map(HostId).collect()
    }

    fn answered(folder: &Path) -> usize {
        fs::read_to_string(folder.join("answered")).unwrap().lines().count()
    }

    fn append(sequence: u64) -> disk::Order {
        let members = Members {
            members: [ME].into(),
            ..Members::default()
        };
        disk::Order::Append {
            sequence,
            records: vec![JournalRecord::Membership(members)],
        }
    }

    fn wait(flushed: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async { tokio::time::timeout(PATIENCE, flushed).await.unwrap() });
    }

    #[test]
    fn on_a_slow_disk_nobody_but_who_asks_waits_and_only_the_newest_content_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let (files, identity, _told) = start(folder.path(), Duration::from_millis(1));
        // The file in the making is a pipe: opening it lasts until somebody reads, and then it refuses to be synced.
        let pipe = folder.path().join("identity.new");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        files.save_identity(formed(identity, 2), Cluster::Same);
        let flushed = files.flushed(None);
        for count in 1..100 {
            files.save_answered(hosts(count));
        }
        let mut flushed = Box::pin(flushed);
        let mut context = Context::from_waker(Waker::noop());
        assert!(flushed.as_mut().poll(&mut context).is_pending());
        assert!(!folder.path().join("answered").exists());
        // Open to the end: nothing waits for a reader that is gone.
        let _reader = fs::File::open(&pipe).unwrap();
        fs::remove_file(&pipe).unwrap();
        wait(flushed);
        wait(files.flushed(None));
        assert_eq!(answered(folder.path()), 99);
        assert_eq!(
            StateDir::peek(folder.path()).unwrap().formation,
            Formation::Formed(ClusterId(2))
        );
    }

    #[test]
    fn what_the_disk_refuses_is_told_and_tried_again_and_what_comes_behind_it_waits() {
        let folder = tempfile::tempdir().unwrap();
        let (files, identity, told) = start(folder.path(), Duration::from_millis(1));
        let obstacle = folder.path().join("identity.new");
        fs::create_dir(&obstacle).unwrap();
        files.save_identity(formed(identity, 2), Cluster::Another);
        files.save_answered(hosts(3));
        wait(files.flushed(None));
        let Report::Unsaved(Some(Unsaved::Identity(problem))) = told.recv_timeout(PATIENCE).unwrap() else {
            panic!("not told")
        };
        assert!(problem.contains("identity"), "{problem}");
        assert!(!folder.path().join("answered").exists());
        fs::remove_dir(&obstacle).unwrap();
        assert!(matches!(told.recv_timeout(PATIENCE), Ok(Report::Unsaved(None))));
        assert_eq!(answered(folder.path()), 3);
        assert_eq!(
            StateDir::peek(folder.path()).unwrap().formation,
            Formation::Formed(ClusterId(2))
        );
    }

    #[test]
    fn an_end_writes_what_is_still_due() {
        let folder = tempfile::tempdir().unwrap();
        let (files, identity, _told) = start(folder.path(), PATIENCE);
        for count in 1..100 {
            files.save_answered(hosts(count));
        }
        files.save_identity(formed(identity, 2), Cluster::Same);
        drop(files);
        assert_eq!(answered(folder.path()), 99);
        assert_eq!(
            StateDir::peek(folder.path()).unwrap().formation,
            Formation::Formed(ClusterId(2))
        );
    }

    #[test]
    fn a_flush_covers_the_journal_and_ends_where_the_disk_refuses() {
        let folder = tempfile::tempdir().unwrap();
        let (files, identity, told) = start(folder.path(), Duration::from_millis(1));
        let synced = || {
            told.try_iter()
                .any(|report| matches!(report, Report::Journal(_, disk::Report::Synced(_))))
        };
        for refused in ["identity.new", "journal.new"] {
            let obstacle = folder.path().join(refused);
            fs::create_dir(&obstacle).unwrap();
            files.save_identity(formed(identity, 2), Cluster::Another);
            let journal = files.begin_journal(1, Begin::AsFound);
            journal.send(append(1)).unwrap();
            wait(files.flushed(Some(&journal)));
            assert!(!synced());
            fs::remove_dir(&obstacle).unwrap();
            drop(journal);
        }
        files.save_identity(formed(identity, 3), Cluster::Another);
        let journal = files.begin_journal(2, Begin::AsFound);
        journal.send(append(1)).unwrap();
        wait(files.flushed(Some(&journal)));
        assert!(synced());
        drop(journal);
        fs::remove_file(folder.path().join("journal")).unwrap();
        fs::create_dir(folder.path().join("journal.new")).unwrap();
        let journal = files.begin_journal(3, Begin::Anew);
        journal.send(append(1)).unwrap();
        wait(files.flushed(Some(&journal)));
    }

    #[test]
    fn an_end_waits_for_the_journals_last_append() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path()).unwrap();
        let identity = state.begin(ME).unwrap();
        let (tell, told) = mpsc::channel();
        let slowly = move |report| {
            thread::sleep(Duration::from_millis(100));
            let _ = tell.send(report);
        };
        let files = StateFiles::start_with(state, slowly, PATIENCE).unwrap();
        files.save_identity(formed(identity, 2), Cluster::Another);
        let journal = files.begin_journal(1, Begin::AsFound);
        journal.send(append(1)).unwrap();
        drop(journal);
        drop(files);
        assert!(matches!(
            told.try_recv(),
            Ok(Report::Journal(1, disk::Report::Synced(1)))
        ));
    }

    #[test]
    fn a_journal_takes_appends_before_it_is_open_and_ends_with_its_cluster() {
        let folder = tempfile::tempdir().unwrap();
        let (files, identity, told) = start(folder.path(), PATIENCE);
        let synced = |life, sequence| match told.recv_timeout(PATIENCE) {
            Ok(Report::Journal(of, disk::Report::Synced(to))) => assert_eq!((of, to), (life, sequence)),
            other => panic!("{other:?}"),
        };
        files.save_identity(formed(identity, 2), Cluster::Another);
        let journal = files.begin_journal(1, Begin::AsFound);
        journal.send(append(1)).unwrap();
        synced(1, 1);
        drop(journal);
        files.save_identity(formed(identity, 3), Cluster::Another);
        wait(files.flushed(None));
        assert!(!folder.path().join("journal").exists());
        let journal = files.begin_journal(2, Begin::AsFound);
        journal.send(append(1)).unwrap();
        synced(2, 1);
        drop(journal);
        let journal = files.begin_journal(3, Begin::Anew);
        journal.send(append(1)).unwrap();
        synced(3, 1);
        assert!(folder.path().join("journal.lost").exists());
    }

    #[test]
    fn the_first_journal_of_a_cluster_waits_until_the_disk_takes_its_identity_and_itself() {
        for refused in ["identity.new", "journal.new"] {
            let folder = tempfile::tempdir().unwrap();
            let (files, identity, told) = start(folder.path(), Duration::from_millis(1));
            let obstacle = folder.path().join(refused);
            fs::create_dir(&obstacle).unwrap();
            files.save_identity(formed(identity, 2), Cluster::Another);
            let journal = files.begin_journal(1, Begin::AsFound);
            journal.send(append(1)).unwrap();
            assert!(matches!(told.recv_timeout(PATIENCE), Ok(Report::Unsaved(Some(_)))));
            fs::remove_dir(&obstacle).unwrap();
            let later: Vec<Report> = (0..2).map(|_| told.recv_timeout(PATIENCE).unwrap()).collect();
            let synced = |report: &Report| matches!(report, Report::Journal(1, disk::Report::Synced(1)));
            assert!(later.iter().any(synced), "{later:?}");
            assert!(
                later.iter().any(|report| matches!(report, Report::Unsaved(None))),
                "{later:?}"
            );
            assert!(folder.path().join("journal").exists());
        }
    }
}
