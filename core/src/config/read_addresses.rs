//! Reading a segment's subnets and gateways, and what address can be a guest's or a host's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use super::cursor::{At, Fields, Section};
use super::error::Report;

pub(super) const IPV4: Section = Section {
    path: "segments.ipv4",
    keys: &["subnet", "gateway", "dhcp"],
};
pub(super) const IPV6: Section = Section {
    path: "segments.ipv6",
    keys: &["subnet", "gateway", "dhcp"],
};

/// A segment's subnets with their gateways, as far as they could be read.
pub(super) struct Subnets<'t> {
    pub(super) v4: Option<(Ipv4Net, Option<Ipv4Addr>)>,
    pub(super) v6: Option<(Ipv6Net, Option<Ipv6Addr>)>,
    pub(super) ipv4: Option<Fields<'t>>,
    pub(super) ipv6: Option<Fields<'t>>,
}

impl<'t> Subnets<'t> {
    pub(super) fn read(fields: &Fields<'t>, report: &mut Report) -> Self {
        let ipv4 = fields.maybe("ipv4").and_then(|at| at.fields(report, &IPV4));
        let ipv6 = fields.maybe("ipv6").and_then(|at| at.fields(report, &IPV6));
        let v4 = ipv4.as_ref().and_then(|fields| {
            let subnet = subnet4(fields, report)?;
            let first = Ipv4Addr::from_bits(subnet.network().to_bits().saturating_add(1));
            Some((
                subnet,
                fields
                    .maybe("gateway")
                    .map_or(Some(first), |at| gateway4(&at, report, subnet)),
            ))
        });
        let v6 = ipv6.as_ref().and_then(|fields| {
            let subnet = subnet6(fields, report)?;
            let first = Ipv6Addr::from_bits(subnet.network().to_bits().saturating_add(1));
            Some((
                subnet,
                fields
                    .maybe("gateway")
                    .map_or(Some(first), |at| gateway6(&at, report, subnet)),
            ))
        });
        Self { v4, v6, ipv4, ipv6 }
    }

    pub(super) fn are_absent(&self) -> bool {
        self.ipv4.is_none() && self.ipv6.is_none()
    }

    pub(super) fn is_gateway(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.v4.is_some_and(|(_, gateway)| gateway == Some(address)),
            IpAddr::V6(address) => self.v6.is_some_and(|(_, gateway)| gateway == Some(address)),
        }
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.v4.is_some_and(|(subnet, _)| subnet.contains(&address)),
            IpAddr::V6(address) => self.v6.is_some_and(|(subnet, _)| subnet.contains(&address)),
        }
    }

    /// Reports an address that no guest or host of the segment can have.
    pub(super) fn check_member(&self, at: &At<'_>, report: &mut Report, address: IpAddr) {
        let (family, declared, subnet) = match address {
            IpAddr::V4(_) => ("IPv4", self.ipv4.is_some(), self.v4.map(|(subnet, _)| subnet.into())),
            IpAddr::V6(_) => (
                "IPv6",
                self.ipv6.is_some(),
                self.v6.map(|(subnet, _)| ipnet::IpNet::from(subnet)),
            ),
        };
        let Some(subnet) = subnet else {
            // A subnet that could not be read was reported already.
            if !declared {
                let hint = format!("give the segment `{}`, or another address", family.to_lowercase());
                at.wrong(
                    report,
                    format!("{address} is given, but the segment has no {family} subnet"),
                    hint,
                );
            }
            return;
        };
        if !subnet.contains(&address) {
            at.wrong(
                report,
                format!("{address} is outside the subnet {subnet}"),
                "give an address of the subnet",
            );
        } else if self.is_gateway(address) {
            at.wrong(
                report,
                format!("{address} is the gateway's address"),
                "give another address of the subnet",
            );
        } else if address == subnet.network() || address == subnet.broadcast() && address.is_ipv4() {
            let message = format!("{address} is the network or broadcast address of {subnet}");
            at.wrong(report, message, "give a host address of the subnet");
        }
    }
}

fn subnet4(fields: &Fields<'_>, report: &mut Report) -> Option<Ipv4Net> {
    let at = fields.required(report, "subnet", "give the subnet, `subnet: 192.168.124.0/24`")?;
    let subnet = at.parse::<Ipv4Net>(report, "an IPv4 subnet", "write ADDRESS/LENGTH, as in 192.168.124.0/24")?;
    let network = subnet.network();
    if subnet.addr() != network {
        let message = format!("{subnet} has host bits set");
        at.wrong(report, message, format!("write {}", subnet.trunc()));
        return Some(subnet.trunc());
    }
    if !(8..=30).contains(&subnet.prefix_len()) {
        let message = format!("{subnet} has a prefix of {} bits", subnet.prefix_len());
        at.wrong(
            report,
            message,
            "give a prefix of 8 to 30 bits: the gateway and a guest need an address each",
        );
        return None;
    }
    if let Some((reserved, purpose)) = special_use(subnet) {
        at.wrong(
            report,
            format!("guests cannot use addresses of {subnet}: {reserved} is reserved for {purpose}"),
            "give a private subnet, as in 192.168.124.0/24",
        );
        return None;
    }
    Some(subnet)
}

/// The range of RFC 6890 that a subnet shares addresses with, and what it is for: hosts and routers treat those
/// differently. Ranges for documentation, benchmarks and shared address space are ordinary to them.
fn special_use(subnet: Ipv4Net) -> Option<(Ipv4Net, &'static str)> {
    let ranges = [
        ([0, 0, 0, 0], 8, "\"this network\""),
        ([127, 0, 0, 0], 8, "loopback addresses"),
        ([169, 254, 0, 0], 16, "link-local addresses"),
        ([192, 0, 0, 0], 24, "IETF protocols"),
        ([224, 0, 0, 0], 4, "multicast"),
        ([240, 0, 0, 0], 4, "future use"),
    ];
    ranges
        .into_iter()
        .filter_map(|(first, bits, purpose)| Some((Ipv4Net::new(first.into(), bits).ok()?, purpose)))
        .find(|(reserved, _)| reserved.contains(&subnet) || subnet.contains(reserved))
}

fn gateway4(at: &At<'_>, report: &mut Report, subnet: Ipv4Net) -> Option<Ipv4Addr> {
    let gateway = at.parse::<Ipv4Addr>(report, "an IPv4 address", "give an address of the subnet")?;
    if !subnet.contains(&gateway) {
        at.wrong(
            report,
            format!("the gateway {gateway} is outside the subnet {subnet}"),
            "give an address of the subnet",
        );
        return None;
    }
    if gateway == subnet.network() || gateway == subnet.broadcast() {
        let message = format!("the gateway {gateway} is the network or broadcast address of {subnet}");
        at.wrong(report, message, "give a host address of the subnet");
        return None;
    }
    Some(gateway)
}

fn subnet6(fields: &Fields<'_>, report: &mut Report) -> Option<Ipv6Net> {
    let at = fields.required(report, "subnet", "give the prefix, `subnet: fd10:0:2::/64`")?;
    let subnet = at.parse::<Ipv6Net>(report, "an IPv6 subnet", "write ADDRESS/LENGTH, as in fd10:0:2::/64")?;
    let network = subnet.network();
    if subnet.addr() != network {
        let message = format!("{subnet} has host bits set");
        at.wrong(report, message, format!("write {}", subnet.trunc()));
        return Some(subnet.trunc());
    }
    if !(48..=126).contains(&subnet.prefix_len()) {
        let message = format!("{subnet} has a prefix of {} bits", subnet.prefix_len());
        at.wrong(
            report,
            message,
            "give a prefix of 48 to 126 bits; 64 lets guests choose their addresses themselves",
        );
        return None;
    }
    if network.is_loopback() || network.is_multicast() || network.is_unicast_link_local() || network.is_unspecified() {
        at.wrong(
            report,
            format!("guests cannot use addresses of {subnet}"),
            "give a prefix of fd00::/8 or a global one",
        );
        return None;
    }
    Some(subnet)
}

fn gateway6(at: &At<'_>, report: &mut Report, subnet: Ipv6Net) -> Option<Ipv6Addr> {
    let gateway = at.parse::<Ipv6Addr>(report, "an IPv6 address", "give an address of the subnet")?;
    if !subnet.contains(&gateway) {
        at.wrong(
            report,
            format!("the gateway {gateway} is outside the subnet {subnet}"),
            "give an address of the subnet",
        );
        return None;
    }
    if gateway == subnet.network() {
        // The address that every router of the link answers to (RFC 4291 section 2.6.1).
        at.wrong(
            report,
            format!("the gateway {gateway} is the prefix's own address"),
            "give another address of the subnet",
        );
        return None;
    }
    Some(gateway)
}
