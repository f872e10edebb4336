//! The value of a DHCP option as an operator means it, and as it goes on the wire.

use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// The value of a DHCP option, at most 255 bytes long on the wire and not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DhcpOption {
    /// IPv4 addresses, four bytes each.
    Addresses(Vec<Ipv4Addr>),
    /// Text, as its UTF-8 bytes without a terminator.
    Text(String),
    /// Bytes as they are.
    Bytes(Vec<u8>),
    /// One number.
    Number(OptionNumber),
    /// Numbers of two bytes each.
    Numbers(Vec<u16>),
    /// Domain names (RFC 3397, without its compression).
    Domains(Vec<String>),
    /// Classless static routes (RFC 3442).
    Routes(Vec<StaticRoute>),
}

/// A number by the size that its option has; 1 and 0 are also a yes and a no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionNumber {
    /// One byte.
    Byte(u8),
    /// Two bytes.
    Short(u16),
    /// Four bytes.
    Long(u32),
    /// Four bytes with a sign.
    Signed(i32),
}

/// A route that guests are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaticRoute {
    /// Where it leads; its host bits are zero.
    pub to: Ipv4Net,
    /// The router.
    pub via: Ipv4Addr,
}

impl DhcpOption {
    /// The option's value as it goes on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            DhcpOption::Addresses(addresses) => addresses.iter().flat_map(Ipv4Addr::octets).collect(),
            DhcpOption::Text(text) => text.clone().into_bytes(),
            DhcpOption::Bytes(bytes) => bytes.clone(),
            DhcpOption::Number(OptionNumber::Byte(number)) => vec![*number],
            DhcpOption::Number(OptionNumber::Short(number)) => number.to_be_bytes().to_vec(),
            DhcpOption::Number(OptionNumber::Long(number)) => number.to_be_bytes().to_vec(),
            DhcpOption::Number(OptionNumber::Signed(number)) => number.to_be_bytes().to_vec(),
            DhcpOption::Numbers(numbers) => numbers.iter().flat_map(|number| number.to_be_bytes()).collect(),
            DhcpOption::Domains(names) => names.iter().flat_map(|name| wire_name(name)).collect(),
            DhcpOption::Routes(routes) => routes.iter().flat_map(StaticRoute::bytes).collect(),
        }
    }
}

impl StaticRoute {
    /// The prefix length, its significant octets, the router (RFC 3442).
    fn bytes(&self) -> Vec<u8> {
        let length = self.to.prefix_len();
        let significant = usize::from(length).div_ceil(8);
        let mut bytes = vec![length];
        bytes.extend(self.to.network().octets().iter().take(significant));
        bytes.extend(self.via.octets());
        bytes
    }
}

impl fmt::Display for StaticRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} via {}", self.to, self.via)
    }
}

impl fmt::Display for OptionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OptionNumber::Byte(number) => number.fmt(f),
            OptionNumber::Short(number) => number.fmt(f),
            OptionNumber::Long(number) => number.fmt(f),
            OptionNumber::Signed(number) => number.fmt(f),
        }
    }
}

/// A domain name as its labels, each with its length in front, and the root (RFC 1035 section 3.1). No label of a name
/// that was read is longer than 63 bytes.
pub(crate) fn wire_name(name: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.len() + 2);
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}
