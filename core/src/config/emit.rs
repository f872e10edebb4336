//! A segment as canonical text: the form in which its definition travels between hosts and lies on disk.
//!
//! One segment has one text; [`super::segments`] reads it back to an equal value.

use std::fmt::{Display, Write};

use super::segment::{
    BridgedOn, Dhcp4, DhcpOption, HostAddress, HostSelector, Mode, MtuBound, PortSecurity, Segment, Stp, Transport,
};

impl Segment {
    /// The canonical text, a file with this one segment.
    pub fn to_yaml(&self) -> String {
        let mut text = Text(String::from("segments:\n"));
        text.line(2, format_args!("- name: {}", quoted(self.name.as_str())));
        text.line(4, format_args!("vni: {}", self.vni));
        text.line(4, format_args!("bridge: {}", quoted(self.bridge.as_str())));
        match &self.transport {
            Transport::Unicast => text.line(4, "transport: unicast"),
            Transport::Multicast { group, interface } => {
                text.line(4, "transport:");
                text.line(6, format_args!("multicast: {}", quoted(group)));
                if let Some(interface) = interface {
                    text.line(6, format_args!("interface: {}", quoted(interface)));
                }
            }
        }
        text.line(4, format_args!("port: {}", self.port));
        self.write_mode(&mut text);
        match self.mtu {
            MtuBound::Auto => text.line(4, "mtu: auto"),
            MtuBound::AtMost(bytes) => text.line(4, format_args!("mtu: {bytes}")),
        }
        text.line(4, format_args!("stp: {}", self.stp == Stp::On));
        match &self.hosts {
            HostSelector::All => text.line(4, "hosts: all"),
            HostSelector::Labels(labels) => text.map(
                4,
                "hosts",
                labels.iter().map(|(key, value)| (quoted(key), quoted(value))),
            ),
        }
        match &self.host_address {
            HostAddress::None => text.line(4, "host_address: none"),
            HostAddress::Auto => text.line(4, "host_address: auto"),
            HostAddress::Named(addresses) => {
                text.map(
                    4,
                    "host_address",
                    addresses.iter().map(|(host, address)| (quoted(host), quoted(address))),
                );
            }
        }
        self.write_addresses(&mut text);
        self.write_services(&mut text);
        let security = match self.port_security {
            PortSecurity::Off => "off",
            PortSecurity::On => "on",
        };
        text.line(4, format_args!("port_security: {security}"));
        text.0
    }

    fn write_mode(&self, text: &mut Text) {
        match &self.mode {
            Mode::Nat => text.line(4, "mode: nat"),
            Mode::Routed => text.line(4, "mode: routed"),
            Mode::Isolated => text.line(4, "mode: isolated"),
            Mode::Bridged(bridged) => {
                text.line(4, "mode: bridged");
                text.line(4, "bridged:");
                text.line(6, format_args!("interface: {}", quoted(&bridged.interface)));
                text.line(6, format_args!("every_host: {}", bridged.on == BridgedOn::EveryHost));
            }
        }
    }

    fn write_addresses(&self, text: &mut Text) {
        if let Some(ipv4) = &self.ipv4 {
            text.line(4, "ipv4:");
            text.line(6, format_args!("subnet: {}", ipv4.subnet));
            text.line(6, format_args!("gateway: {}", ipv4.gateway));
            if let Some(dhcp) = &ipv4.dhcp {
                write_dhcp(text, dhcp);
            }
        }
        if let Some(ipv6) = &self.ipv6 {
            text.line(4, "ipv6:");
            text.line(6, format_args!("subnet: {}", quoted(ipv6.subnet)));
            text.line(6, format_args!("gateway: {}", quoted(ipv6.gateway)));
            if let Some(dhcp) = &ipv6.dhcp {
                text.line(6, "dhcp:");
                text.line(8, format_args!("range: {}", quoted(dhcp.range)));
            }
        }
    }

    fn write_services(&self, text: &mut Text) {
        text.line(4, "dns:");
        if let Some(domain) = &self.dns.domain {
            text.line(6, format_args!("domain: {}", quoted(domain)));
        }
        text.line(
            6,
            format_args!("upstream: [{}]", listed(self.dns.upstream.iter().map(quoted))),
        );
        text.map(
            6,
            "hosts",
            self.dns
                .hosts
                .iter()
                .map(|(name, address)| (quoted(name), quoted(address))),
        );
        text.line(
            4,
            format_args!("forward_to: [{}]", listed(self.forward_to.iter().map(quoted))),
        );
        if !self.ports.is_empty() {
            text.line(4, "ports:");
        }
        for forward in &self.ports {
            text.line(6, format_args!("- protocol: {}", forward.protocol));
            text.line(8, format_args!("listen: {}", forward.listen));
            text.line(8, format_args!("to: {}", quoted(forward.to)));
        }
        if let Some(address) = &self.uplink_address {
            text.line(4, format_args!("uplink_address: {}", quoted(address)));
        }
    }
}

fn write_dhcp(text: &mut Text, dhcp: &Dhcp4) {
    text.line(6, "dhcp:");
    if let Some(range) = dhcp.range {
        text.line(8, format_args!("range: {range}"));
    }
    text.line(8, format_args!("lease_time: {}", dhcp.lease_time.as_secs()));
    if let Some(most) = dhcp.max_leases {
        text.line(8, format_args!("max_leases: {most}"));
    }
    if !dhcp.reservations.is_empty() {
        text.line(8, "reservations:");
    }
    for reservation in &dhcp.reservations {
        text.line(10, format_args!("- mac: {}", quoted(reservation.mac)));
        text.line(12, format_args!("address: {}", reservation.address));
        if let Some(hostname) = &reservation.hostname {
            text.line(12, format_args!("hostname: {}", quoted(hostname)));
        }
    }
    let options = dhcp.options.iter().map(|(number, value)| {
        let value = match value {
            DhcpOption::Addresses(addresses) => format!("[{}]", listed(addresses)),
            DhcpOption::Bytes(bytes) => format!("[{}]", listed(bytes)),
            DhcpOption::Text(text) => quoted(text),
        };
        (number.to_string(), value)
    });
    text.map(8, "options", options);
}

struct Text(String);

impl Text {
    fn line(&mut self, indent: usize, line: impl Display) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{:indent$}{line}", "");
    }

    fn map(&mut self, indent: usize, key: &str, entries: impl Iterator<Item = (String, String)>) {
        let entries = entries.collect::<Vec<_>>();
        if entries.is_empty() {
            return self.line(indent, format_args!("{key}: {{}}"));
        }
        self.line(indent, format_args!("{key}:"));
        for (key, value) in entries {
            self.line(indent + 2, format_args!("{key}: {value}"));
        }
    }
}

fn listed(items: impl IntoIterator<Item = impl Display>) -> String {
    items
        .into_iter()
        .map(|item| item.to_string())
        .collect::<Vec<_>>()
        .join(", ")
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
