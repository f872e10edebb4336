//! What hosts ask each other before ports are published.

use overlayd_core::config::{PortRange, Protocol};
use overlayd_core::node::{Listener, Listening, PublishedPorts};

use crate::convert::{Malformed, unknown};
use crate::gossip as wire;
use wire::bulk_message::Kind;

/// A command's name, as the kernel has it, takes 15 bytes.
const LONGEST_PROGRAM: usize = 64;

pub(super) fn kind(listening: Listening) -> Kind {
    match listening {
        Listening::Asked { number, ports } => Kind::ListeningAsked(wire::ListeningAsked {
            number,
            ports: ports
                .into_iter()
                .map(|it| wire::listening_asked::Ports {
                    protocol: wire_protocol(it.protocol).into(),
                    first: it.ports.first.into(),
                    last: it.ports.last.into(),
                })
                .collect(),
        }),
        Listening::Told { number, listeners } => Kind::ListeningTold(wire::ListeningTold {
            number,
            listeners: listeners
                .into_iter()
                .map(|it| wire::listening_told::Listener {
                    protocol: wire_protocol(it.protocol).into(),
                    port: it.port.into(),
                    program: it.program,
                })
                .collect(),
        }),
    }
}

pub(super) fn asked(asked: wire::ListeningAsked) -> Result<Listening, Malformed> {
    let ports = asked.ports.into_iter().map(|it| {
        let (first, last) = (port(it.first)?, port(it.last)?);
        if first > last {
            return Err(Malformed::Contradiction("listening_asked.ports"));
        }
        Ok(PublishedPorts {
            protocol: protocol(it.protocol())?,
            ports: PortRange { first, last },
        })
    });
    Ok(Listening::Asked {
        number: asked.number,
        ports: ports.collect::<Result<_, _>>()?,
    })
}

pub(super) fn told(told: wire::ListeningTold) -> Result<Listening, Malformed> {
    let listeners = told.listeners.into_iter().map(|it| {
        if it.program.len() > LONGEST_PROGRAM {
            return Err(Malformed::Length {
                field: "listening_told.program",
                length: it.program.len(),
            });
        }
        Ok(Listener {
            protocol: protocol(it.protocol())?,
            port: port(it.port)?,
            program: it.program,
        })
    });
    Ok(Listening::Told {
        number: told.number,
        listeners: listeners.collect::<Result<_, _>>()?,
    })
}

fn wire_protocol(protocol: Protocol) -> wire::TransportProtocol {
    match protocol {
        Protocol::Tcp => wire::TransportProtocol::Tcp,
        Protocol::Udp => wire::TransportProtocol::Udp,
    }
}

fn protocol(protocol: wire::TransportProtocol) -> Result<Protocol, Malformed> {
    match protocol {
        wire::TransportProtocol::Tcp => Ok(Protocol::Tcp),
        wire::TransportProtocol::Udp => Ok(Protocol::Udp),
        wire::TransportProtocol::Unspecified => Err(unknown(protocol, "listening.protocol")),
    }
}

fn port(number: u32) -> Result<u16, Malformed> {
    let port = u16::try_from(number).ok().filter(|port| *port > 0);
    port.ok_or(Malformed::Contradiction("listening.port"))
}
