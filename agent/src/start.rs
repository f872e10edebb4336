//! From a configuration to a running agent; and `--cleanup`, which runs without one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use overlayd_core::config::{HostConfig, Trust};
use overlayd_core::id::HostId;
use overlayd_core::node::{Drained, Formation, Node};
use overlayd_proto::control::control_server::ControlServer;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnixListenerStream;
use tracing::{info, warn};

use crate::clock;
use crate::control::Service;
use crate::effects::Edge;
use crate::event::{Event, Inboxes};
use crate::event_loop::{Agent, run as run_loop};
use crate::grpc::{Identity, Inbox, Standing, Transport};
use crate::sockets::arp::Announcer;
use crate::sockets::guests::GuestSockets;
use crate::sockets::icmp::Ended;
use crate::state_dir::{self, StateDir};
use crate::survived::Survived;
use crate::systemd::Systemd;
use crate::workers::state_files::{Begin, Report, StateFiles};
use crate::workers::{address, kernel};

/// The configuration is well written and cannot be used by this version.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(String);

/// What no start accepts, although it is well written.
///
/// # Errors
/// [`Unusable`].
pub(crate) fn refuse_unusable(config: &HostConfig) -> Result<()> {
    match config.cluster.trust {
        Trust::Insecure => Ok(()),
        Trust::MutualTls => Err(Unusable(
            "`cluster.insecure` is false, and this version does not support TLS between hosts yet\nhint: in a laboratory, or on \
             an underlay that nobody else can reach, set `cluster.insecure: true`"
                .to_owned(),
        )
        .into()),
    }
}

/// Nothing can be done, or seen, in the kernel without these.
///
/// # Errors
/// This process may not.
pub(crate) fn refuse_unprivileged() -> Result<()> {
    let status = std::fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    // linux/capability.h
    let (net_admin, net_raw) = (1 << 12, 1 << 13);
    // A kernel that tells nothing of it refuses by itself.
    if effective.is_some_and(|bits| bits & net_admin == 0 || bits & net_raw == 0) {
        bail!("overlayd needs the capabilities CAP_NET_ADMIN and CAP_NET_RAW; run as root");
    }
    Ok(())
}

/// Room for messages of other hosts that the loop has not taken yet.
const PEER_QUEUE: usize = 4096;
/// Room for guests' messages: a burst of boots.
const DHCP_QUEUE: usize = 4096;
/// Answers by ARP that may wait; what comes beyond them is dropped by the kernel.
const ARP_QUEUE: usize = 256;

/// Runs the agent until a signal ends it; `file` is what the configuration was read from, and its text.
///
/// # Errors
/// It could not start, or something it needs has failed; the network stays as it is.
pub fn run(config: HostConfig, file: (PathBuf, String)) -> Result<()> {
    refuse_unusable(&config)?;
    refuse_unprivileged()?;
    warn!("cluster.insecure: no TLS between hosts; anyone who can reach the underlay can join the cluster");
    runtime()?.block_on(serve(config, file))
}

pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")
}

async fn serve(config: HostConfig, file: (PathBuf, String)) -> Result<()> {
    let state = StateDir::open(&config.state_dir)?;
    let survived = Survived::read(&state, HostId(random()?))?;
    let identity = survived.identity;
    let (senders, inboxes) = queues();
    let control = control_socket(&config.control_socket, senders.events.clone()).await?;
    let threads = threads(&config, state, survived.others(), &senders.events)?;
    let mut edge = edge(file, identity, senders, threads);
    let (start, journal) = survived.into_start(config, random()?);
    edge.begin_journal(Begin::With(journal));
    let node = Node::new(start, clock::now());
    info!("overlayd {} starting", env!("CARGO_PKG_VERSION"));
    if node.waiting().is_some() {
        // There is nothing to be applied first.
        edge.systemd.ready();
    }
    let ended = tokio::select! {
        ended = run_loop(Agent::new(node, edge), inboxes) => ended.map(|_| ()),
        ended = control => ended,
    };
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    ended
}

/// The sending ends of [`Inboxes`].
struct Senders {
    inbox: Inbox,
    events: mpsc::UnboundedSender<Event>,
    probes: mpsc::Sender<Ended>,
    guests: GuestSockets,
}

fn queues() -> (Senders, Inboxes) {
    let (events, inbox_events) = mpsc::unbounded_channel();
    let (election, inbox_election) = mpsc::channel(PEER_QUEUE);
    let (rest, inbox_peers) = mpsc::channel(PEER_QUEUE);
    let (probes, inbox_probes) = mpsc::channel(PEER_QUEUE);
    let (dhcp, inbox_dhcp) = mpsc::channel(DHCP_QUEUE);
    let (arp, inbox_arp) = mpsc::channel(ARP_QUEUE);
    let (used, inbox_used) = mpsc::channel(ARP_QUEUE);
    let inboxes = Inboxes {
        election: inbox_election,
        events: inbox_events,
        probes: inbox_probes,
        dhcp: inbox_dhcp,
        arp: inbox_arp,
        used: inbox_used,
        peers: inbox_peers,
    };
    let inbox = Inbox { election, rest };
    (
        Senders {
            inbox,
            events,
            probes,
            guests: GuestSockets::new(dhcp, arp, used),
        },
        inboxes,
    )
}

/// Everything outside of the node, before anything has happened.
fn edge(config_file: (PathBuf, String), identity: state_dir::Identity, senders: Senders, threads: Threads) -> Edge {
    let standing = standing(&identity);
    let (kernel, addresses, files) = threads;
    Edge {
        config_file,
        files,
        identity,
        transport: Transport::new(standing.clone(), senders.inbox.clone()),
        standing,
        inbox: senders.inbox,
        server: None,
        prober: None,
        paths: None,
        probes: senders.probes,
        announcer: Announcer::new(),
        guests: senders.guests,
        addresses,
        kernel,
        journal: None,
        journal_life: 0,
        events: senders.events,
        tasks: tokio::task::JoinSet::new(),
        calls: BTreeMap::new(),
        joins: BTreeMap::new(),
        invites: BTreeMap::new(),
        last_call: 0,
        look: kernel::Look::default(),
        blind: None,
        unsaved: None,
        facts: None,
        started_wall: clock::wall_millis(),
        systemd: Systemd::new(),
    }
}

/// As whom this host speaks to the others at first.
fn standing(identity: &state_dir::Identity) -> Identity {
    Identity::new(Standing {
        host: identity.host,
        instance: identity.instance,
        cluster: match identity.formation {
            Formation::Formed(cluster) => Some(cluster),
            Formation::Unformed | Formation::Left { .. } => None,
        },
        removed: Default::default(),
    })
}

type Threads = (
    mpsc::UnboundedSender<kernel::Order>,
    std::sync::mpsc::Sender<address::Order>,
    StateFiles,
);

/// The threads that do what may wait; what they tell becomes events.
fn threads(
    config: &HostConfig,
    state: StateDir,
    members: BTreeSet<IpAddr>,
    events: &mpsc::UnboundedSender<Event>,
) -> Result<Threads> {
    let (tell, tell_far) = (events.clone(), events.clone());
    let kernel = kernel::start(
        config.clone(),
        config.state_dir.clone(),
        members,
        move |report| {
            let _ = tell.send(Event::Kernel(report));
        },
        move |guests| {
            let _ = tell_far.send(Event::RemoteMacs(guests));
        },
    )?;
    let tell = events.clone();
    let addresses = address::start(move |group, event| {
        let _ = tell.send(Event::Address(group, event));
    })?;
    let tell = events.clone();
    let files = StateFiles::start(state, move |report| {
        let _ = tell.send(match report {
            Report::Unsaved(problem) => Event::Unsaved(problem),
            Report::Journal(life, report) => Event::Disk(life, report),
        });
    })?;
    Ok((kernel, addresses, files))
}

/// Accepts operators' calls until dropped.
async fn control_socket(
    path: &Path,
    events: mpsc::UnboundedSender<Event>,
) -> Result<impl Future<Output = Result<()>> + use<>> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    if UnixStream::connect(path).await.is_ok() {
        bail!("another overlayd is listening on {}; stop it first", path.display());
    }
    match std::fs::remove_file(path) {
        Err(problem) if problem.kind() != std::io::ErrorKind::NotFound => {
            return Err(problem).with_context(|| format!("cannot replace {}", path.display()));
        }
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(path).with_context(|| format!("cannot create the socket {}", path.display()))?;
    let group = nix::unistd::Group::from_name("overlayd").ok().flatten();
    let mode = if group.is_some() { 0o660 } else { 0o600 };
    if let Some(group) = group {
        nix::unistd::chown(path, None, Some(group.gid))
            .with_context(|| format!("cannot give {} to the group overlayd", path.display()))?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .with_context(|| format!("cannot set the mode of {}", path.display()))?;
    let server = tonic::transport::Server::builder().serve_with_incoming(
        ControlServer::new(Service::new(events)),
        UnixListenerStream::new(listener),
    );
    Ok(async move { server.await.context("the control socket failed") })
}

fn random() -> Result<u64> {
    getrandom::u64().context("cannot get random numbers from the kernel")
}

/// Removes everything that the agent ever made on this host.
///
/// # Errors
/// Guests are attached and `force` does not say to cut them off, an agent runs, or something could not be removed.
pub fn cleanup(config: HostConfig, force: bool) -> Result<()> {
    refuse_unprivileged()?;
    let known = StateDir::peek(&config.state_dir);
    let state = StateDir::open(&config.state_dir)?;
    let runtime = runtime()?;
    let guests = if force {
        kernel::Guests::CutOff
    } else {
        kernel::Guests::Keep
    };
    let removed = runtime.block_on(kernel::clean(&config, guests))?;
    for line in &removed.lines {
        print_line(line);
    }
    if !removed.kept.is_empty() {
        bail!("not everything could be removed:\n{}", removed.kept.join("\n"));
    }
    let membership = known.and_then(|identity| match identity.formation {
        Formation::Formed(cluster) => Some((identity.host, cluster)),
        Formation::Unformed | Formation::Left { .. } => None,
    });
    let identity = state_dir::Identity {
        host: HostId(random()?),
        formation: Formation::Unformed,
        former: membership
            .map(|(host, _)| host)
            .or(known.and_then(|identity| identity.former)),
        instance: 0,
        drained: Drained::No,
    };
    state.change_cluster(&identity)?;
    if let Some((_, cluster)) = membership {
        warn!(
            "this host has forgotten that it is a member of cluster {cluster}, with its leases and address ranges. If it is \
             to come back, start overlayd and run `overlayctl join ADDR` here; else run `overlayctl peer remove NAME` on a \
             member, with the name of this host"
        );
    }
    Ok(())
}

#[allow(clippy::print_stdout)]
pub(crate) fn print_line(line: &str) {
    println!("{line}");
}
