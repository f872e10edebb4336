//! The client side: one task per address, and a queue for each stream of each host.
//!
//! Elections have a connection of their own. Sending never waits: a full queue drops, and whoever needs more asks again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use overlayd_core::addresses::Message as LeaseMessage;
use overlayd_core::election::message::Message as ElectionMessage;
use overlayd_core::id::HostId;
use overlayd_proto::convert::Bulk;
use tokio::task::JoinHandle;

use super::dialler::Dialler;
use super::event::Inbox;
use super::identity::Identity;
use super::links::{Links, Sent};

/// All connections of this host to others.
#[derive(Debug)]
pub struct Transport {
    identity: Identity,
    inbox: Inbox,
    links: Links,
    dialling: BTreeMap<SocketAddr, JoinHandle<()>>,
}

impl Transport {
    /// Without any connection.
    pub fn new(identity: Identity, inbox: Inbox) -> Self {
        Self {
            identity,
            inbox,
            links: Links::default(),
            dialling: BTreeMap::new(),
        }
    }

    /// The addresses to be connected to, given whole: new ones are dialled, missing ones hung up.
    pub fn set_addresses(&mut self, wanted: &BTreeSet<SocketAddr>) {
        self.dialling.retain(|address, task| {
            let keep = wanted.contains(address);
            if !keep {
                task.abort();
            }
            keep
        });
        for address in wanted {
            self.dialling.entry(*address).or_insert_with(|| {
                let dialler = Dialler {
                    address: *address,
                    identity: self.identity.clone(),
                    inbox: self.inbox.clone(),
                    links: self.links.clone(),
                };
                // Owns the connections to one address; ending it closes them.
                tokio::spawn(dialler.run())
            });
        }
    }

    /// Hangs up everywhere and dials again: after a change of cluster.
    pub fn reconnect(&mut self) {
        let addresses = self.dialling.keys().copied().collect();
        self.set_addresses(&BTreeSet::new());
        self.set_addresses(&addresses);
    }

    /// On the election stream.
    pub fn send_election(&self, to: HostId, message: ElectionMessage) -> Sent {
        self.links.send(to, |link| &link.election, || message.into())
    }

    /// On the bulk stream.
    pub fn send_bulk(&self, to: HostId, message: Bulk) -> Sent {
        self.links.send_bulk(to, message)
    }

    /// On the stream for leases.
    pub fn send_leases(&self, to: HostId, message: LeaseMessage) -> Sent {
        self.links.send(to, |link| &link.leases, || message.into())
    }

    /// The hosts that can be sent to.
    pub fn connected(&self) -> BTreeSet<HostId> {
        self.links.lock().keys().copied().collect()
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        for task in self.dialling.values() {
            task.abort();
        }
    }
}
