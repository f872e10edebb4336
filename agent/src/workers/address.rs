//! The gateway addresses, on a thread of their own: taken, renewed and given up in the order asked.
//!
//! It owns the netlink socket for addresses. It ends when its sender is dropped; what it has set stays, and the
//! kernel's lifetime ends it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ipnet::IpNet;
use overlayd_core::election::{AddressEvent, GroupId};
use overlayd_core::id::{SegmentName, Term};
use tracing::{debug, error, warn};

use crate::netlink::{Error, GatewayAddress, Renewal};

/// The link may be a plan away when a group is taken for the first time.
const LINK_WITHIN: Duration = Duration::from_secs(1);
/// A decision older than this brings no address back that has run out.
const FRESH: Duration = Duration::from_millis(100);
/// How often it is looked for.
const LINK_EVERY: Duration = Duration::from_millis(4);

/// What is to be done.
#[derive(Debug)]
pub enum Order {
    /// Take or renew.
    Set {
        /// Comes back in the report.
        group: GroupId,
        /// The gateway address of each segment.
        addresses: BTreeMap<SegmentName, IpNet>,
        /// For the link's alias.
        term: Term,
        /// `valid_lft`; `None`: for ever.
        lifetime: Option<Duration>,
        /// When the election decided it.
        asked: Instant,
    },
    /// Give up.
    Remove {
        /// Comes back in the report.
        group: GroupId,
        /// Whose addresses.
        segments: Vec<SegmentName>,
    },
}

/// Starts the thread; `report` is called there after each order.
///
/// # Errors
/// There is no netlink socket to be had, or no thread.
pub fn start(report: impl Fn(GroupId, AddressEvent) + Send + 'static) -> Result<Sender<Order>> {
    let (orders, inbox) = mpsc::channel();
    let socket = GatewayAddress::open().context("cannot open a netlink socket for the gateway addresses")?;
    std::thread::Builder::new()
        .name("addresses".into())
        .spawn(move || {
            Worker {
                socket,
                taken: BTreeMap::new(),
                waiting: BTreeMap::new(),
            }
            .run(&inbox, &report)
        })
        .context("cannot start a thread")?;
    Ok(orders)
}

/// A group whose link is not there yet.
struct Waiting {
    addresses: BTreeMap<SegmentName, IpNet>,
    term: Term,
    lifetime: Option<Duration>,
    asked: Instant,
}

struct Worker {
    socket: GatewayAddress,
    /// What was set and not given up: address and term.
    taken: BTreeMap<SegmentName, (IpNet, Term)>,
    waiting: BTreeMap<GroupId, Waiting>,
}

impl Worker {
    fn run(mut self, inbox: &Receiver<Order>, report: &impl Fn(GroupId, AddressEvent)) {
        loop {
            let order = if self.waiting.is_empty() {
                inbox.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                inbox.recv_timeout(LINK_EVERY)
            };
            match order {
                Ok(Order::Set {
                    group,
                    addresses,
                    term,
                    lifetime,
                    asked,
                }) => {
                    self.waiting.insert(
                        group,
                        Waiting {
                            addresses,
                            term,
                            lifetime,
                            asked,
                        },
                    );
                }
                Ok(Order::Remove { group, segments }) => {
                    self.waiting.remove(&group);
                    self.remove(&segments);
                    report(group, AddressEvent::Removed);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            for group in self.waiting.keys().copied().collect::<BTreeSet<_>>() {
                let Some(waiting) = self.waiting.remove(&group) else {
                    continue;
                };
                match self.set(&waiting) {
                    Ok(()) => report(group, AddressEvent::Set),
                    Err(Error::NoInterface(link)) if waiting.asked.elapsed() < LINK_WITHIN => {
                        debug!(%link, "the gateway interface does not exist yet");
                        self.waiting.insert(group, waiting);
                    }
                    Err(problem) => {
                        error!(%problem, "cannot set the gateway address");
                        self.remove(&waiting.addresses.into_keys().collect::<Vec<_>>());
                        report(group, AddressEvent::Failed);
                    }
                }
            }
        }
    }

    fn set(&mut self, waiting: &Waiting) -> Result<(), Error> {
        for (segment, address) in &waiting.addresses {
            let known = self.taken.get(segment);
            if known == Some(&(*address, waiting.term)) {
                match self.socket.renew(segment, *address, waiting.lifetime)? {
                    Renewal::Renewed => continue,
                    // Somebody took it away, and the decision to have it is fresh. An old one is that of an agent that
                    // was frozen: another host may have the address by now.
                    Renewal::Gone if waiting.asked.elapsed() < FRESH => {}
                    Renewal::Gone => return Err(Error::NoInterface(segment.gateway())),
                }
            }
            if let Some((former, _)) = known.filter(|(former, _)| former != address).copied() {
                self.socket.remove(segment, former)?;
            }
            self.socket.set(segment, *address, waiting.term, waiting.lifetime)?;
            self.taken.insert(segment.clone(), (*address, waiting.term));
        }
        Ok(())
    }

    /// Takes off what was taken here or found: an address that is still there must not stay because of an error
    /// elsewhere.
    fn remove(&mut self, segments: &[SegmentName]) {
        let found = self.socket.found().unwrap_or_else(|problem| {
            warn!(%problem, "cannot read the gateway addresses");
            Vec::new()
        });
        for segment in segments {
            let taken = self.taken.remove(segment).map(|(address, _)| address);
            let there = found
                .iter()
                .filter(|found| found.segment == *segment)
                .map(|found| found.address);
            for address in there.chain(taken).collect::<BTreeSet<_>>() {
                if let Err(problem) = self.socket.remove(segment, address) {
                    error!(%problem, %segment, %address, "cannot remove the gateway address; it expires within 5 s");
                }
            }
        }
    }
}
