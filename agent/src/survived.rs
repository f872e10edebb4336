//! What an earlier run left: the files of the state directory, and the gateway addresses in the kernel. Read once, at the
//! start.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::{Context, Result};
use overlayd_core::addresses::Recovered;
use overlayd_core::cluster::gossip::{Presence, Record};
use overlayd_core::config::HostConfig;
use overlayd_core::id::HostId;
use overlayd_core::node::{Disk, Found, Start};
use prost::Message;
use tracing::{error, warn};

use crate::journal;
use crate::netlink::GatewayAddress;
use crate::state_dir::{Identity, StateDir};
use crate::workers::disk;

/// What an earlier run left.
pub(crate) struct Survived {
    /// Who this host is, with the instance of this start.
    pub(crate) identity: Identity,
    /// Open, and read into `leases`.
    journal: journal::Journal,
    /// What the journal held.
    leases: Recovered,
    /// Whether it is whole.
    disk: Disk,
    /// What the cluster knew.
    records: Vec<Record>,
    /// Hosts whose kernel ever answered a probe.
    answered: BTreeSet<HostId>,
    /// Gateway addresses that the kernel still has.
    found: Vec<Found>,
}

impl Survived {
    /// Reads it all; `new` names this host where nothing is known yet.
    ///
    /// # Errors
    /// The disk refuses, or kernel state cannot be read.
    pub(crate) fn read(state: &StateDir, new: HostId) -> Result<Self> {
        let identity = state.begin(new)?;
        let (journal, leases, disk) = open_journal(state)?;
        Ok(Self {
            identity,
            journal,
            leases,
            disk,
            records: decoded(state.cluster()?),
            answered: state.answered(),
            found: found_addresses()?,
        })
    }

    /// The VTEPs of the other members.
    pub(crate) fn others(&self) -> BTreeSet<IpAddr> {
        others(&self.records, self.identity.host)
    }

    /// What the node begins with, and the journal that goes on.
    pub(crate) fn into_start(self, config: HostConfig, seed: u64) -> (Start, journal::Journal) {
        let start = Start {
            host: self.identity.host,
            instance: self.identity.instance,
            formation: self.identity.formation,
            drained: self.identity.drained,
            former: self.identity.former,
            seed,
            config,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            records: self.records,
            leases: self.leases,
            disk: self.disk,
            found: self.found,
            answered: self.answered,
        };
        (start, self.journal)
    }
}

/// The VTEPs of the other members.
pub(crate) fn others(records: &[Record], me: HostId) -> BTreeSet<IpAddr> {
    let vtep = |record: &Record| match record {
        Record::Host(host) => (host.id != me).then_some(host.vtep),
        Record::StaticPeer(peer) => (peer.presence == Presence::Here).then_some(peer.address),
        Record::Segment(_)
        | Record::Removed(_)
        | Record::Claim(_)
        | Record::Findings(_)
        | Record::Endpoint(_)
        | Record::Lease(_)
        | Record::Share(_) => None,
    };
    records.iter().filter_map(vtep).collect()
}

/// What the node would begin with, were it started now; nothing is changed, and an agent may be running.
///
/// # Errors
/// A file or kernel state cannot be read.
pub(crate) fn peek(identity: Identity, config: HostConfig) -> Result<Start> {
    let read = |name: &str| {
        let path = config.state_dir.join(name);
        journal::Journal::peek(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let journal = read("journal")?.and_then(|records| recovered(&records));
    let (leases, disk) = match journal {
        Some(leases) => (leases, Disk::Whole),
        None => (Recovered::default(), Disk::Lost),
    };
    Ok(Start {
        host: identity.host,
        instance: identity.instance + 1,
        formation: identity.formation,
        drained: identity.drained,
        former: identity.former,
        seed: 0,
        version: String::new(),
        records: decoded(read("cluster")?.unwrap_or_default()),
        leases,
        disk,
        found: found_addresses()?,
        answered: BTreeSet::new(),
        config,
    })
}

/// What the records of a journal say; `None`: this version cannot read one of them.
fn recovered(records: &[Vec<u8>]) -> Option<Recovered> {
    let mut recovered = Recovered::default();
    for bytes in records {
        let (sequence, record) = disk::decode(bytes)?;
        recovered.sequence = sequence;
        recovered.records.push(record);
    }
    Some(recovered)
}

fn open_journal(state: &StateDir) -> Result<(journal::Journal, Recovered, Disk)> {
    let (journal, found) = state.journal()?;
    Ok(match found {
        journal::Found::New => (journal, Recovered::default(), Disk::Whole),
        journal::Found::Whole { records, cut } => {
            if cut > 0 {
                warn!(
                    bytes = cut,
                    "dropped an incomplete record at the end of the journal, left by a crash; nothing that was confirmed is lost"
                );
            }
            match recovered(&records) {
                Some(recovered) => (journal, recovered, Disk::Whole),
                None => {
                    error!("the journal has a record that this version cannot read; treating the journal as lost");
                    (journal, Recovered::default(), Disk::Lost)
                }
            }
        }
        journal::Found::Damaged { at, kept } => {
            error!(
                at,
                kept = %kept.display(),
                "the journal of addresses and leases is damaged: leases that only this host had are lost, and it no longer \
                 owns or keeps any; see `overlayctl status` for the fix"
            );
            (journal, Recovered::default(), Disk::Lost)
        }
    })
}

/// What the cluster knew.
fn decoded(saved: Vec<Vec<u8>>) -> Vec<Record> {
    let mut records = Vec::new();
    for bytes in saved {
        match overlayd_proto::gossip::Record::decode(bytes.as_slice())
            .ok()
            .and_then(|record| record.try_into().ok())
        {
            Some(record) => records.push(record),
            None => warn!("cannot read a record of the saved cluster state; the other hosts send it again"),
        }
    }
    records
}

fn found_addresses() -> Result<Vec<Found>> {
    let mut socket = GatewayAddress::open().context("cannot open a netlink socket")?;
    let found = socket.found().context("cannot read the gateway addresses")?;
    Ok(found
        .into_iter()
        .map(|found| Found {
            segment: found.segment,
            term: found.term,
            remaining: found.remaining,
        })
        .collect())
}
