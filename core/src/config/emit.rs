//! A segment as a tree of keys, written as canonical text: the form in which its definition travels between hosts and
//! lies on disk.
//!
//! One segment has one text; [`super::segments`] reads it back to an equal value. [`super::difference`] compares the
//! same tree, so that no key can be written and not compared.

use std::fmt::{Display, Write};

use super::dhcp_option::DhcpOption;
use super::segment::{
    BootFile, BridgedOn, Dhcp4, HostAddress, HostSelector, Mode, MtuBound, NetworkBoot, PortSecurity, Reservation,
    Segment, Stp, Transport,
};

/// What stands under a key.
pub(super) enum Value {
    /// One value in YAML's notation; also a list in one line.
    Leaf(String),
    /// Keys with their values; without any it is written `{}`.
    Map(Vec<(Key, Value)>),
    /// Mappings one below the other.
    List(Vec<Vec<(Key, Value)>>),
}

/// A key of a mapping.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Key {
    /// One of the language's own.
    Known(&'static str),
    /// A name that the operator chose; written in quotes.
    Chosen(String),
    /// The number of a DHCP option, or of an architecture.
    Number(u16),
}

impl Segment {
    /// The canonical text, a file with this one segment.
    pub fn to_yaml(&self) -> String {
        let mut text = String::from("segments:\n");
        write_list(&mut text, 2, &[tree(self)]);
        text
    }
}

/// The keys of a segment, in the order of the canonical text.
pub(super) fn tree(segment: &Segment) -> Vec<(Key, Value)> {
    let mut keys = vec![
        known("name", quoted(segment.name.as_str())),
        known("vni", segment.vni),
        known("bridge", quoted(segment.bridge.as_str())),
        (Key::Known("transport"), transport(&segment.transport)),
        known("port", segment.port),
    ];
    keys.extend(mode(&segment.mode));
    keys.push(match segment.mtu {
        MtuBound::Auto => known("mtu", "auto"),
        MtuBound::AtMost(bytes) => known("mtu", bytes),
    });
    keys.push(known("stp", segment.stp == Stp::On));
    keys.push(match &segment.hosts {
        HostSelector::All => known("hosts", "all"),
        HostSelector::Labels(labels) => chosen("hosts", labels),
    });
    keys.push(match &segment.host_address {
        HostAddress::None => known("host_address", "none"),
        HostAddress::Auto => known("host_address", "auto"),
        HostAddress::Named(addresses) => chosen("host_address", addresses),
    });
    keys.extend(addresses(segment));
    keys.extend(services(segment));
    keys.push(match segment.port_security {
        PortSecurity::Off => known("port_security", "off"),
        PortSecurity::On => known("port_security", "on"),
    });
    keys
}

fn transport(transport: &Transport) -> Value {
    match transport {
        Transport::Unicast => Value::Leaf("unicast".to_owned()),
        Transport::Multicast { group, interface } => {
            let mut keys = vec![known("multicast", quoted(group))];
            keys.extend(
                interface
                    .as_ref()
                    .map(|interface| known("interface", quoted(interface))),
            );
            Value::Map(keys)
        }
    }
}

fn mode(mode: &Mode) -> Vec<(Key, Value)> {
    match mode {
        Mode::Nat => vec![known("mode", "nat")],
        Mode::Routed => vec![known("mode", "routed")],
        Mode::Isolated => vec![known("mode", "isolated")],
        Mode::Bridged(bridged) => {
            let keys = vec![
                known("interface", quoted(&bridged.interface)),
                known("every_host", bridged.on == BridgedOn::EveryHost),
            ];
            vec![known("mode", "bridged"), (Key::Known("bridged"), Value::Map(keys))]
        }
    }
}

fn addresses(segment: &Segment) -> Vec<(Key, Value)> {
    let mut keys = Vec::new();
    if let Some(ipv4) = &segment.ipv4 {
        let mut inner = vec![known("subnet", ipv4.subnet), known("gateway", ipv4.gateway)];
        inner.extend(ipv4.dhcp.as_ref().map(|it| (Key::Known("dhcp"), dhcp(it))));
        keys.push((Key::Known("ipv4"), Value::Map(inner)));
    }
    if let Some(ipv6) = &segment.ipv6 {
        let mut inner = vec![
            known("subnet", quoted(ipv6.subnet)),
            known("gateway", quoted(ipv6.gateway)),
        ];
        inner.extend(ipv6.dhcp.as_ref().map(|dhcp| {
            let range = vec![known("range", quoted(dhcp.range))];
            (Key::Known("dhcp"), Value::Map(range))
        }));
        keys.push((Key::Known("ipv6"), Value::Map(inner)));
    }
    keys
}

fn services(segment: &Segment) -> Vec<(Key, Value)> {
    let mut dns = Vec::new();
    dns.extend(
        segment
            .dns
            .domain
            .as_ref()
            .map(|domain| known("domain", quoted(domain))),
    );
    dns.push(known("upstream", listed(segment.dns.upstream.iter().map(quoted))));
    dns.push(chosen("hosts", &segment.dns.hosts));
    let mut keys = vec![
        (Key::Known("dns"), Value::Map(dns)),
        known("forward_to", listed(segment.forward_to.iter().map(quoted))),
    ];
    if !segment.ports.is_empty() {
        let forwards = segment.ports.iter().map(|forward| {
            vec![
                known("protocol", forward.protocol),
                known("listen", forward.listen),
                known("to", quoted(forward.to)),
            ]
        });
        keys.push((Key::Known("ports"), Value::List(forwards.collect())));
    }
    keys.extend(
        segment
            .uplink_address
            .map(|address| known("uplink_address", quoted(address))),
    );
    keys
}

fn dhcp(dhcp: &Dhcp4) -> Value {
    let mut keys = Vec::new();
    keys.extend(dhcp.range.map(|range| known("range", range)));
    keys.push(known("lease_time", dhcp.lease_time.as_secs()));
    keys.extend(dhcp.max_leases.map(|most| known("max_leases", most)));
    keys.extend(boot(&dhcp.boot));
    if !dhcp.reservations.is_empty() {
        let reservations = dhcp.reservations.iter().map(reservation).collect();
        keys.push((Key::Known("reservations"), Value::List(reservations)));
    }
    let options = dhcp.options.iter().map(|(number, value)| {
        let value = match value {
            DhcpOption::Addresses(addresses) => listed(addresses),
            DhcpOption::Bytes(bytes) => listed(bytes),
            DhcpOption::Text(text) => quoted(text),
            DhcpOption::Number(number) => number.to_string(),
            DhcpOption::Numbers(numbers) => listed(numbers),
            DhcpOption::Domains(names) => listed(names.iter().map(quoted)),
            DhcpOption::Routes(routes) => listed(routes.iter().map(quoted)),
        };
        (Key::Number(u16::from(*number)), Value::Leaf(value))
    });
    keys.push((Key::Known("options"), Value::Map(options.collect())));
    Value::Map(keys)
}

fn reservation(reservation: &Reservation) -> Vec<(Key, Value)> {
    let mut keys = vec![
        known("mac", quoted(reservation.mac)),
        known("address", reservation.address),
    ];
    keys.extend(
        reservation
            .hostname
            .as_ref()
            .map(|name| known("hostname", quoted(name))),
    );
    keys.extend(boot(&reservation.boot));
    keys
}

fn boot(boot: &NetworkBoot) -> Vec<(Key, Value)> {
    let mut keys = Vec::new();
    keys.extend(boot.next_server.map(|address| known("next_server", address)));
    match &boot.boot_file {
        None => {}
        Some(BootFile::Same(file)) => keys.push(known("boot_file", quoted(file))),
        Some(BootFile::ByClient { architectures, ipxe }) => {
            let mut files = Vec::new();
            for (number, file) in architectures {
                files.push((Key::Number(*number), Value::Leaf(quoted(file))));
            }
            files.extend(ipxe.as_ref().map(|file| known("ipxe", quoted(file))));
            keys.push((Key::Known("boot_file"), Value::Map(files)));
        }
    }
    keys
}

fn known(key: &'static str, value: impl Display) -> (Key, Value) {
    (Key::Known(key), Value::Leaf(value.to_string()))
}

/// A mapping whose keys the operator chose.
fn chosen<'a, V: Display + 'a>(
    key: &'static str,
    entries: impl IntoIterator<Item = (&'a String, &'a V)>,
) -> (Key, Value) {
    let entries = entries
        .into_iter()
        .map(|(key, value)| (Key::Chosen(key.clone()), Value::Leaf(quoted(value))));
    (Key::Known(key), Value::Map(entries.collect()))
}

fn write_list(text: &mut String, indent: usize, items: &[Vec<(Key, Value)>]) {
    for item in items {
        let start = text.len();
        write_map(text, indent + 2, item);
        text.replace_range(start + indent..start + indent + 1, "-");
    }
}

fn write_map(text: &mut String, indent: usize, entries: &[(Key, Value)]) {
    for (key, value) in entries {
        // Writing to a String cannot fail.
        let _ = match key {
            Key::Known(key) => write!(text, "{:indent$}{key}:", ""),
            Key::Chosen(key) => write!(text, "{:indent$}{}:", "", quoted(key)),
            Key::Number(number) => write!(text, "{:indent$}{number}:", ""),
        };
        match value {
            Value::Leaf(value) => {
                let _ = writeln!(text, " {value}");
            }
            Value::Map(entries) if entries.is_empty() => text.push_str(" {}\n"),
            Value::Map(entries) => {
                text.push('\n');
                write_map(text, indent + 2, entries);
            }
            Value::List(items) => {
                text.push('\n');
                write_list(text, indent + 2, items);
            }
        }
    }
}

/// A list in one line.
fn listed(items: impl IntoIterator<Item = impl Display>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    format!("[{}]", items.join(", "))
}

/// A text in double quotes, with the escapes of YAML 1.2 section 5.7 where they are needed.
fn quoted(text: impl Display) -> String {
    let mut quoted = String::from("\"");
    for letter in text.to_string().chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            ' '..='~' => quoted.push(letter),
            _ => {
                let _ = write!(quoted, "\\U{:08x}", u32::from(letter));
            }
        }
    }
    quoted.push('"');
    quoted
}
