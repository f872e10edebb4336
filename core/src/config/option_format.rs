//! Which form the value of a DHCP option has (RFC 2132 where no other is named), and how it is written in YAML.
//!
//! An option that stands here goes out in its form or is refused: what is written as a text for one that is none would
//! be bytes that no guest understands. Of the others the operator knows the form.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::dhcp_option::{DhcpOption, OptionNumber, StaticRoute};
use super::scalar::is_domain;

/// The form of an option's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Not known here: addresses, bytes or a text.
    Any,
    Addresses,
    Address,
    /// Addresses two by two: a network with its mask.
    Masks,
    /// Addresses two by two: a host and the router to it.
    HostRoutes,
    Routes,
    Domains,
    Text,
    Flag,
    Byte,
    Short,
    Long,
    Signed,
    Shorts,
}

/// The form of an option, by its number.
pub(super) fn of(code: u8) -> Format {
    match code {
        2 => Format::Signed,
        4 | 5 | 7..=11 | 41 | 42 | 44 | 45 | 48 | 49 | 65 | 68..=76 => Format::Addresses,
        // RFC 4280, RFC 5192, RFC 5417.
        89 | 136 | 138 => Format::Addresses,
        16 | 32 => Format::Address,
        21 => Format::Masks,
        33 => Format::HostRoutes,
        // RFC 3442, and its number at Microsoft.
        121 | 249 => Format::Routes,
        // RFC 3397, RFC 4280.
        119 | 88 => Format::Domains,
        14 | 17 | 18 | 40 | 47 | 60 | 64 | 66 | 67 => Format::Text,
        // RFC 4833, RFC 8910, RFC 5071, WPAD.
        100 | 101 | 114 | 209 | 210 | 252 => Format::Text,
        19 | 20 | 27 | 29 | 30 | 31 | 34 | 36 | 39 => Format::Flag,
        // RFC 2563.
        116 => Format::Flag,
        23 | 37 | 46 => Format::Byte,
        13 | 22 => Format::Short,
        24 | 35 | 38 => Format::Long,
        // RFC 8925, RFC 5071.
        108 | 211 => Format::Long,
        25 => Format::Shorts,
        _ => Format::Any,
    }
}

impl Format {
    /// What should stand there.
    pub(super) fn expected(self) -> &'static str {
        match self {
            Format::Any => "a list of IPv4 addresses, a list of bytes (0 to 255), or a text",
            Format::Addresses => "a list of IPv4 addresses",
            Format::Address => "a list of one IPv4 address",
            Format::Masks => "a list of IPv4 networks and their masks in turn",
            Format::HostRoutes => "a list of routes to single hosts",
            Format::Routes => "a list of routes",
            Format::Domains => "a list of domain names",
            Format::Text => "a text",
            Format::Flag => "true or false",
            Format::Byte => "a number from 0 to 255",
            Format::Short => "a number from 0 to 65535",
            Format::Long => "a number from 0 to 4294967295",
            Format::Signed => "a number from -2147483648 to 2147483647",
            Format::Shorts => "a list of numbers from 0 to 65535",
        }
    }

    /// A value in that form.
    pub(super) fn example(self) -> &'static str {
        match self {
            Format::Any => "[192.168.124.1], [1, 2, 255] or \"text\"",
            Format::Addresses | Format::Address => "[192.168.124.1]",
            Format::Masks => "[10.0.0.0, 255.0.0.0]",
            Format::HostRoutes => "[\"10.0.0.5 via 192.168.124.254\"]",
            Format::Routes => "[\"10.0.0.0/8 via 192.168.124.254\", \"0.0.0.0/0 via 192.168.124.1\"]",
            Format::Domains => "[blue.internal, example.com]",
            Format::Text => "\"text\"",
            Format::Flag => "true",
            Format::Byte => "64",
            Format::Short => "576",
            Format::Long => "3600",
            Format::Signed => "-3600",
            Format::Shorts => "[68, 296, 1500]",
        }
    }

    /// A single value.
    pub(super) fn read_one(self, text: &str) -> Option<DhcpOption> {
        match self {
            Format::Any | Format::Text => Some(DhcpOption::Text(text.to_owned())),
            Format::Domains => self.read_list(&[text]),
            Format::Flag => match text {
                "true" | "1" => Some(DhcpOption::Number(OptionNumber::Byte(1))),
                "false" | "0" => Some(DhcpOption::Number(OptionNumber::Byte(0))),
                _ => None,
            },
            Format::Byte => text.parse().ok().map(OptionNumber::Byte).map(DhcpOption::Number),
            Format::Short => text.parse().ok().map(OptionNumber::Short).map(DhcpOption::Number),
            Format::Long => text.parse().ok().map(OptionNumber::Long).map(DhcpOption::Number),
            Format::Signed => text.parse().ok().map(OptionNumber::Signed).map(DhcpOption::Number),
            Format::Addresses
            | Format::Address
            | Format::Masks
            | Format::HostRoutes
            | Format::Routes
            | Format::Shorts => None,
        }
    }

    /// A list; one of bytes is what goes on the wire, if it can be that at all.
    pub(super) fn read_list(self, texts: &[&str]) -> Option<DhcpOption> {
        let addresses = |found: &[&str]| {
            found
                .iter()
                .map(|text| text.parse::<Ipv4Addr>().ok())
                .collect::<Option<Vec<_>>>()
        };
        let bytes = || {
            texts
                .iter()
                .map(|text| text.parse::<u8>().ok())
                .collect::<Option<Vec<_>>>()
        };
        let sized = |size| bytes().filter(|bytes| bytes.len() == size).map(DhcpOption::Bytes);
        match self {
            Format::Any => addresses(texts)
                .map(DhcpOption::Addresses)
                .or_else(|| bytes().map(DhcpOption::Bytes)),
            Format::Addresses => addresses(texts).map(DhcpOption::Addresses),
            Format::Address => addresses(texts).filter(|all| all.len() == 1).map(DhcpOption::Addresses),
            Format::Masks => addresses(texts)
                .filter(|all| all.len() % 2 == 0)
                .map(DhcpOption::Addresses),
            Format::HostRoutes => {
                let pairs: Vec<&str> = texts.iter().flat_map(|text| text.split(" via ")).collect();
                addresses(&pairs)
                    .filter(|all| all.len() % 2 == 0)
                    .map(DhcpOption::Addresses)
            }
            Format::Routes => {
                let routes = texts.iter().map(|text| route(text)).collect::<Option<Vec<_>>>();
                routes
                    .map(DhcpOption::Routes)
                    .or_else(|| bytes().map(DhcpOption::Bytes))
            }
            Format::Domains => {
                let fine = texts.iter().all(|text| is_domain(text) && text.parse::<u8>().is_err());
                let names = || DhcpOption::Domains(texts.iter().map(|&text| text.to_owned()).collect());
                fine.then(names).or_else(|| bytes().map(DhcpOption::Bytes))
            }
            Format::Text => bytes().map(DhcpOption::Bytes),
            Format::Flag | Format::Byte => sized(1),
            Format::Short => sized(2),
            Format::Long | Format::Signed => sized(4),
            Format::Shorts => {
                let numbers = texts.iter().map(|text| text.parse::<u16>().ok());
                numbers.collect::<Option<Vec<_>>>().map(DhcpOption::Numbers)
            }
        }
    }
}

fn route(text: &str) -> Option<StaticRoute> {
    let (to, via) = text.split_once(" via ")?;
    let to = to.parse::<Ipv4Net>().ok().filter(|net| net.trunc() == *net)?;
    let via = via.parse().ok()?;
    Some(StaticRoute { to, via })
}
