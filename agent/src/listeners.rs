//! What listens on this host's ports, from `/proc`: read when a port is to be published, and at no other time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use overlayd_core::config::Protocol;
use overlayd_core::node::{Listener, PublishedPorts};

/// More are not told of: one is enough to refuse a port.
const TOLD: usize = 16;

/// The state of a TCP socket that listens, and of a UDP socket that is connected to nobody (`include/net/tcp_states.h`).
const LISTEN: &str = "0A";
const UNCONNECTED: &str = "07";

/// A socket that takes what comes from outside.
#[derive(Debug, PartialEq, Eq)]
struct Socket {
    protocol: Protocol,
    port: u16,
    inode: u64,
}

/// What listens on one of these ports.
pub(crate) fn find(ports: &[PublishedPorts]) -> Vec<Listener> {
    let wanted = |socket: &Socket| {
        let mut ports = ports.iter();
        ports.any(|it| it.protocol == socket.protocol && it.ports.contains(socket.port))
    };
    let tables = [
        ("tcp", Protocol::Tcp),
        ("tcp6", Protocol::Tcp),
        ("udp", Protocol::Udp),
        ("udp6", Protocol::Udp),
    ];
    let mut sockets: Vec<Socket> = Vec::new();
    for (table, protocol) in tables {
        // Without IPv6 there are no tables of it.
        let text = std::fs::read_to_string(format!("/proc/self/net/{table}")).unwrap_or_default();
        sockets.extend(text.lines().filter_map(|line| socket(protocol, line)).filter(wanted));
    }
    if sockets.is_empty() {
        return Vec::new();
    }
    let programs = programs(&sockets.iter().map(|socket| socket.inode).collect());
    let listeners: BTreeSet<Listener> = sockets
        .into_iter()
        .map(|socket| Listener {
            protocol: socket.protocol,
            port: socket.port,
            program: programs.get(&socket.inode).cloned().unwrap_or_default(),
        })
        .collect();
    listeners.into_iter().take(TOLD).collect()
}

/// A line of `/proc/net/tcp` and its like; `None`: it takes nothing from outside by IPv4, or is the head.
fn socket(protocol: Protocol, line: &str) -> Option<Socket> {
    let mut fields = line.split_whitespace();
    let local = fields.nth(1)?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?.parse().ok()?;
    let listens = match protocol {
        Protocol::Tcp => state == LISTEN,
        Protocol::Udp => state == UNCONNECTED,
    };
    let (address, port) = local.split_once(':')?;
    let outside = match address_of(address)? {
        IpAddr::V4(v4) => !v4.is_loopback(),
        // Without an address of its own it takes IPv4, too.
        IpAddr::V6(v6) => v6.is_unspecified(),
    };
    (listens && outside).then_some(Socket {
        protocol,
        port: u16::from_str_radix(port, 16).ok()?,
        inode,
    })
}

/// The kernel prints an address as words of four bytes, each as a number of this machine.
fn address_of(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(hex.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let bytes = <[u8; 16]>::try_from(words.concat()).ok()?;
            Some(Ipv6Addr::from(bytes).to_canonical())
        }
        _ => None,
    }
}

/// The names of the programs that have these sockets open, where they can be read.
fn programs(inodes: &BTreeSet<u64>) -> BTreeMap<u64, String> {
    let mut found = BTreeMap::new();
    for process in entries(Path::new("/proc")) {
        let of_process = process.file_name().is_some_and(|name| {
            let name = name.as_encoded_bytes();
            name.iter().all(u8::is_ascii_digit)
        });
        if !of_process {
            continue;
        }
        for file in entries(&process.join("fd")) {
            let inode = std::fs::read_link(file).ok().and_then(|target| {
                let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
                inode.parse().ok()
            });
            if let Some(inode) = inode.filter(|inode| inodes.contains(inode)) {
                let mut name = std::fs::read_to_string(process.join("comm")).unwrap_or_default();
                // A process names itself, and the name is shown on a terminal.
                name.retain(|it| !it.is_control());
                found.insert(inode, name);
            }
        }
        if found.len() == inodes.len() {
            break;
        }
    }
    found
}

/// A process may end at any moment, and of others' nothing can be read.
fn entries(folder: &Path) -> impl Iterator<Item = std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use overlayd_core::config::PortRange;

    #[test]
    fn only_what_takes_ipv4_from_outside_counts() {
        let line = |local: &str, state: &str| {
            format!(
                "   0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 4711 1 0"
            )
        };
        for (local, counts) in [
            ("00000000:0016", true),
            ("0B001FAC:0016", true),
            ("0100007F:0016", false),
            ("00000000000000000000000000000000:0016", true),
            ("00000000000000000000000001000000:0016", false),
            ("0000000000000000FFFF00000100007F:0016", false),
            ("000080FE00000000FF005450B6AD8DFE:0016", false),
        ] {
            let expected = counts.then_some(Socket {
                protocol: Protocol::Tcp,
                port: 22,
                inode: 4711,
            });
            assert_eq!(socket(Protocol::Tcp, &line(local, LISTEN)), expected, "{local}");
        }
        assert_eq!(socket(Protocol::Tcp, &line("00000000:0016", "01")), None);
        assert_eq!(socket(Protocol::Udp, &line("00000000:0016", "01")), None);
        assert!(socket(Protocol::Udp, &line("00000000:0016", UNCONNECTED)).is_some());
        assert_eq!(
            socket(Protocol::Tcp, "  sl  local_address rem_address   st tx_queue"),
            None
        );
    }

    #[test]
    fn a_listener_of_this_very_program_is_found_by_its_name() {
        let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let ports = PortRange {
            first: port,
            last: port,
        };
        let on = |protocol| find(&[PublishedPorts { protocol, ports }]);
        let found = on(Protocol::Tcp);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(!found[0].program.is_empty());
        assert_eq!(on(Protocol::Udp), []);
    }
}
