//! What a host is asked before ports are published: whether something listens there already. Each host alone knows.

use std::fmt;

use crate::config::{PortRange, Protocol};

/// Between members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listening {
    /// The sender wants to know what listens on these ports.
    Asked {
        /// Of the question.
        number: u64,
        /// Which.
        ports: Vec<PublishedPorts>,
    },
    /// What listens there on the sender.
    Told {
        /// Of the question.
        number: u64,
        /// One per port and program.
        listeners: Vec<Listener>,
    },
}

/// Ports of the gateway's host that are to lead to a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublishedPorts {
    /// Their protocol.
    pub protocol: Protocol,
    /// Which.
    pub ports: PortRange,
}

/// A program that takes connections, or datagrams, from outside.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listener {
    /// Of the port.
    pub protocol: Protocol,
    /// Where it listens.
    pub port: u16,
    /// Its name; empty where that cannot be read.
    pub program: String,
}

impl fmt::Display for PublishedPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.protocol, self.ports)
    }
}
