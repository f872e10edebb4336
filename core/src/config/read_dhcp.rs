//! Reading a segment's DHCP: the pool, the reservations and how they fit subnet, gateway and the hosts' own addresses.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use super::cursor::{At, Section};
use super::error::Report;
use super::range::Range4;
use super::read_addresses::Subnets;
use super::read_boot;
use super::read_options;
use super::scalar::{domain, duration, range4, range6};
use super::segment::{
    DEFAULT_LEASE_TIME, Dhcp4, Dhcp6, HostAddress, Ipv4, Ipv6, LONGEST_LEASE, NetworkBoot, Reservation, SHORTEST_LEASE,
};
use crate::id::Mac;
use crate::time::Duration;

pub(super) const DHCP4: Section = Section {
    path: "segments.ipv4.dhcp",
    keys: &[
        "range",
        "lease_time",
        "max_leases",
        "next_server",
        "boot_file",
        "reservations",
        "options",
    ],
};
pub(super) const RESERVATION: Section = Section {
    path: "segments.ipv4.dhcp.reservations",
    keys: &["mac", "address", "hostname", "next_server", "boot_file"],
};
pub(super) const DHCP6: Section = Section {
    path: "segments.ipv6.dhcp",
    keys: &["range"],
};

/// IPv4 and IPv6 of a segment, with their DHCP.
pub(super) fn services(
    subnets: &Subnets<'_>,
    report: &mut Report,
    host_address: &HostAddress,
) -> (Option<Ipv4>, Option<Ipv6>) {
    let dhcp4 = subnets.ipv4.as_ref().and_then(|fields| fields.maybe("dhcp"));
    let dhcp4 = dhcp4.and_then(|at| dhcp_v4(&at, report, subnets, host_address));
    let dhcp6 = subnets.ipv6.as_ref().and_then(|fields| fields.maybe("dhcp"));
    let dhcp6 = dhcp6.and_then(|at| dhcp_v6(&at, report, subnets, host_address));
    let ipv4 = subnets.v4.and_then(|(subnet, gateway)| {
        Some(Ipv4 {
            subnet,
            gateway: gateway?,
            dhcp: dhcp4,
        })
    });
    let ipv6 = subnets.v6.and_then(|(subnet, gateway)| {
        Some(Ipv6 {
            subnet,
            gateway: gateway?,
            dhcp: dhcp6,
        })
    });
    (ipv4, ipv6)
}

fn dhcp_v4(at: &At<'_>, report: &mut Report, subnets: &Subnets<'_>, host_address: &HostAddress) -> Option<Dhcp4> {
    let fields = at.fields(report, &DHCP4)?;
    let range = fields.maybe("range").and_then(|at| {
        let range = range4(&at, report)?;
        check_range4(&at, report, subnets, range);
        check_hosts(
            &at,
            report,
            host_address,
            |address| matches!(address, IpAddr::V4(v4) if range.contains(v4)),
        );
        Some(range)
    });
    let lease_time = fields
        .maybe("lease_time")
        .and_then(|at| lease_time(&at, report))
        .unwrap_or(DEFAULT_LEASE_TIME);
    let max_leases = fields.maybe("max_leases");
    let max_leases = max_leases.and_then(|at| at.number(report, "a number of leases", 1..=u64::from(u32::MAX)));
    let boot = read_boot::boot(&fields, report, None);
    let reservations = fields
        .filled("reservations")
        .map(|at| reservations(&at, report, subnets, (host_address, &boot)));
    let options = fields.filled("options").map(|at| read_options::options(&at, report));
    Some(Dhcp4 {
        range,
        lease_time,
        max_leases,
        boot,
        reservations: reservations.unwrap_or_default(),
        options: options.unwrap_or_default(),
    })
}

fn check_range4(at: &At<'_>, report: &mut Report, subnets: &Subnets<'_>, range: Range4) {
    let Some((subnet, gateway)) = subnets.v4 else { return };
    let Range4 { first, last } = range;
    if !subnet.contains(&first) || !subnet.contains(&last) {
        let message = format!("the range {first}-{last} is outside the subnet {subnet}");
        at.wrong(report, message, "give addresses of the subnet");
        return;
    }
    for (edge, what) in [
        (subnet.network(), "the network address"),
        (subnet.broadcast(), "the broadcast address"),
    ] {
        if range.contains(edge) {
            at.wrong(
                report,
                format!("the range {first}-{last} contains {what} {edge}"),
                "leave it out of the range",
            );
        }
    }
    if let Some(gateway) = gateway.filter(|gateway| range.contains(*gateway)) {
        let message = format!("the range {first}-{last} contains the gateway {gateway}");
        at.wrong(
            report,
            message,
            "leave the gateway out of the range: begin behind it, or move it",
        );
    }
}

fn check_hosts(at: &At<'_>, report: &mut Report, hosts: &HostAddress, is_taken: impl Fn(IpAddr) -> bool) {
    let HostAddress::Named(addresses) = hosts else { return };
    for (host, address) in addresses {
        if is_taken(*address) {
            let message = format!("contains {address}, the `host_address` of {host:?}");
            at.wrong(report, message, "move the one or the other");
        }
    }
}

fn lease_time(at: &At<'_>, report: &mut Report) -> Option<Duration> {
    const EXPECTED: &str = "a duration (3600, 90m, 1h30m, 7d)";
    let text = at.text(report, EXPECTED)?;
    let Some(time) = duration(text) else {
        at.wrong(
            report,
            format!("{text:?} is not {EXPECTED}"),
            "write seconds, or numbers with d, h, m and s",
        );
        return None;
    };
    if !(SHORTEST_LEASE..=LONGEST_LEASE).contains(&time) {
        let (least, most) = (SHORTEST_LEASE.as_secs(), LONGEST_LEASE.as_secs() / 86_400);
        let message = format!(
            "a lease of {} s is not between {least} s and {most} days",
            time.as_secs()
        );
        at.wrong(
            report,
            message,
            "an hour is a good lease: guests ask again after half of it",
        );
        return None;
    }
    Some(time)
}

fn guest_mac(at: &At<'_>, report: &mut Report) -> Option<Mac> {
    let hint = "write six pairs of hexadecimal digits, \"52:54:00:aa:bb:cc\"";
    let mac = at.parse::<Mac>(report, "a MAC address", hint)?;
    if mac.is_multicast() || mac == Mac::ZERO {
        let message = format!("{mac} is not a unicast MAC address");
        at.wrong(report, message, "give the MAC of the guest's NIC");
    }
    Some(mac)
}

fn reservations(
    at: &At<'_>,
    report: &mut Report,
    subnets: &Subnets<'_>,
    (hosts, boot): (&HostAddress, &NetworkBoot),
) -> Vec<Reservation> {
    let mut found = Vec::new();
    let mut macs = BTreeMap::new();
    let mut addresses = BTreeMap::new();
    for at in at.list(
        report,
        "a list of reservations, [ { mac: \"52:54:00:aa:bb:cc\", address: 192.168.124.10 } ]",
    ) {
        let Some(fields) = at.fields(report, &RESERVATION) else {
            continue;
        };
        let hostname = fields
            .maybe("hostname")
            .and_then(|at| domain(&at, report, "a host name", 64));
        let mac = fields.required(report, "mac", "give the guest's MAC").and_then(|at| {
            let mac = guest_mac(&at, report)?;
            if let Some(first) = macs.insert(mac, at.path.clone()) {
                at.wrong(
                    report,
                    format!("{mac} already has a reservation, {first}"),
                    "keep one of the two",
                );
            }
            Some(mac)
        });
        let address = fields
            .required(report, "address", "give the address to be kept")
            .and_then(|at| {
                let address = at.parse::<Ipv4Addr>(report, "an IPv4 address", "give an address of the subnet")?;
                subnets.check_member(&at, report, IpAddr::V4(address));
                check_hosts(&at, report, hosts, |taken| taken == IpAddr::V4(address));
                if let Some(first) = addresses.insert(address, at.path.clone()) {
                    at.wrong(
                        report,
                        format!("{address} is already reserved, {first}"),
                        "give each guest its own",
                    );
                }
                Some(address)
            });
        let boot = read_boot::boot(&fields, report, Some(boot));
        found.extend(mac.zip(address).map(|(mac, address)| Reservation {
            mac,
            address,
            hostname,
            boot,
        }));
    }
    found
}

fn dhcp_v6(at: &At<'_>, report: &mut Report, subnets: &Subnets<'_>, hosts: &HostAddress) -> Option<Dhcp6> {
    let fields = at.fields(report, &DHCP6)?;
    let at = fields.required(
        report,
        "range",
        "give a range, `range: \"fd10:0:2::100-fd10:0:2::1ff\"`",
    )?;
    let range = range6(&at, report)?;
    let (subnet, gateway) = subnets.v6?;
    let (first, last) = (range.first, range.last);
    if !subnet.contains(&first) || !subnet.contains(&last) {
        let message = format!("the range {first}-{last} is outside the subnet {subnet}");
        at.wrong(report, message, "give addresses of the subnet");
    } else if range.contains(subnet.network()) {
        let message = format!("the range {first}-{last} contains the prefix's own address");
        at.wrong(report, message, "leave it out of the range");
    }
    if let Some(gateway) = gateway.filter(|gateway| range.contains(*gateway)) {
        let message = format!("the range {first}-{last} contains the gateway {gateway}");
        at.wrong(
            report,
            message,
            "leave the gateway out of the range: begin behind it, or move it",
        );
    }
    check_hosts(
        &at,
        report,
        hosts,
        |address| matches!(address, IpAddr::V6(v6) if range.contains(v6)),
    );
    Some(Dhcp6 { range })
}
