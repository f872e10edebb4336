//! What guests would lose for good by a change: a function from who uses a segment, and what is to become of it. A gateway
//! that moves to another host is no loss.
//!
//! It is a courtesy to the operator. What it rests on may be old, and no guarantee rests on it.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use ipnet::Ipv4Net;

use crate::config::{Mode, PortForward, Range4, Segment};
use crate::id::{HostId, Mac, SegmentName};

/// Something that guests would lose for good, or have lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Whose guests; `None`: of a segment that was deleted, and whose bridge they keep.
    pub segment: Option<SegmentName>,
    /// What they lose.
    pub what: Lost,
}

/// What is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// An attached guest's network.
    Port(Guest),
    /// An address, by a guest that is not cut off as a whole.
    Lease(GuestLease),
    /// A port of the gateway host that leads to a guest.
    Published(PortForward),
    /// The gateway address that guests use, with the length of the prefix that they were told.
    Gateway(Ipv4Net),
    /// The segment itself, with its definition.
    Segment,
}

/// What a kind of loss is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Noun {
    pub(super) one: &'static str,
    pub(super) many: &'static str,
}

impl Lost {
    pub(super) fn noun(&self) -> Noun {
        let (one, many) = match self {
            Lost::Port(_) => ("attached port", "attached ports"),
            Lost::Lease(_) => ("lease", "leases"),
            Lost::Published(_) => ("published port", "published ports"),
            Lost::Gateway(_) => ("gateway address", "gateway addresses"),
            Lost::Segment => ("segment", "segments"),
        };
        Noun { one, many }
    }
}

/// A guest's port on a host's bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guest {
    /// The host it is on.
    pub host: HostId,
    /// That host's name.
    pub host_name: String,
    /// How good the knowledge is.
    pub sighting: Sighting,
    /// The port; empty where its host did not say.
    pub port: String,
    /// `None`: nothing has been heard on the port.
    pub mac: Option<Mac>,
    /// What the guest is known to use.
    pub addresses: BTreeSet<IpAddr>,
}

/// How good the knowledge of a guest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// Its host says so.
    Current,
    /// Its host said so before it went out of reach.
    LastKnown,
}

/// A lease that a guest holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestLease {
    /// The address.
    pub address: IpAddr,
    /// Whose.
    pub mac: Mac,
    /// Empty where the guest did not say.
    pub hostname: String,
}

/// Who uses a segment, as far as this host knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct InUse {
    /// On all hosts.
    pub(super) guests: Vec<Guest>,
    /// Leases that run.
    pub(super) leases: Vec<GuestLease>,
}

impl InUse {
    fn is_nobody(&self) -> bool {
        self.guests.is_empty() && self.leases.is_empty()
    }

    /// What is lost when `old` becomes `new`, and these hosts have it no more; without `new` it is deleted.
    pub(super) fn losses(&self, old: &Segment, new: Option<&Segment>, without: &BTreeSet<HostId>) -> Vec<Loss> {
        if self.is_nobody() {
            return Vec::new();
        }
        let stays = |guest: &Guest| {
            !without.contains(&guest.host) && new.is_some_and(|new| new.bridge == old.bridge && new.vni == old.vni)
        };
        let cut: Vec<&Guest> = self.guests.iter().filter(|guest| !stays(guest)).collect();
        let named: BTreeSet<Mac> = cut.iter().filter_map(|guest| guest.mac).collect();
        let pool = new.map(Segment::pool_v4).unwrap_or_default();
        let gone = |lease: &&GuestLease| match new {
            Some(new) => !is_left(new, &pool, lease),
            // A guest that is cut off has lost its lease with all else.
            None => !named.contains(&lease.mac),
        };
        let closed = |port: &&PortForward| new.is_none_or(|new| !new.ports.contains(port));
        let moved = gateway(old).filter(|_| new.is_none_or(|new| !keeps_gateway(old, new)));
        let ports = cut.iter().map(|guest| Lost::Port((*guest).clone()));
        let leases = self.leases.iter().filter(gone).cloned().map(Lost::Lease);
        let published = old.ports.iter().filter(closed).cloned().map(Lost::Published);
        let all = ports.chain(leases).chain(published).chain(moved.map(Lost::Gateway));
        all.map(|what| Loss {
            segment: Some(old.name.clone()),
            what,
        })
        .collect()
    }
}

/// Whether the holder of a lease may go on with its address.
fn is_left(segment: &Segment, pool: &[Range4], lease: &GuestLease) -> bool {
    let IpAddr::V4(address) = lease.address else {
        return true;
    };
    let dhcp = segment.ipv4.as_ref().and_then(|ipv4| ipv4.dhcp.as_ref());
    let mut reservations = dhcp.iter().flat_map(|dhcp| &dhcp.reservations);
    pool.iter().any(|range| range.contains(address))
        || reservations.any(|reserved| (reserved.mac, reserved.address) == (lease.mac, address))
}

fn gateway(segment: &Segment) -> Option<Ipv4Net> {
    let ipv4 = segment.ipv4.as_ref()?;
    Ipv4Net::new(ipv4.gateway, ipv4.subnet.prefix_len()).ok()
}

/// Whether guests of `old` reach the same gateway in `new`, and through it as much as before.
fn keeps_gateway(old: &Segment, new: &Segment) -> bool {
    let leads_out = |segment: &Segment| match segment.mode {
        Mode::Nat | Mode::Routed => true,
        Mode::Isolated | Mode::Bridged(_) => false,
    };
    gateway(old) == gateway(new) && (leads_out(new) || !leads_out(old))
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.segment {
            Some(segment) => write!(f, "{segment}: {}", self.what),
            None => self.what.fmt(f),
        }
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lost::Port(guest) => guest.fmt(f),
            Lost::Lease(lease) => lease.fmt(f),
            Lost::Published(PortForward { protocol, listen, to }) => {
                write!(f, "published port {protocol}/{listen} to {to}")
            }
            Lost::Gateway(address) => write!(f, "gateway address {address}"),
            Lost::Segment => f.write_str("the segment"),
        }
    }
}

impl fmt::Display for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { port, host_name, .. } = self;
        match port.as_str() {
            "" => write!(f, "port on {host_name}")?,
            port => write!(f, "port {port} on {host_name}")?,
        }
        match self.sighting {
            Sighting::Current => {}
            Sighting::LastKnown => f.write_str(" (out of reach, last known)")?,
        }
        let Some(mac) = self.mac else { return Ok(()) };
        write!(f, ", guest {mac}")?;
        let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        match addresses.as_slice() {
            [] => Ok(()),
            addresses => write!(f, " ({})", addresses.join(", ")),
        }
    }
}

impl fmt::Display for GuestLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, mac, hostname } = self;
        write!(f, "lease {address} of {mac}")?;
        match hostname.as_str() {
            "" => Ok(()),
            hostname => write!(f, " ({hostname})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::segments;

    const HV1: HostId = HostId(1);

    fn blue(more: &str) -> Segment {
        let text = format!("segments:\n- {{ name: blue, vni: 10, {more} }}\n");
        segments(&text, "test.yaml").expect("it is right").remove(0)
    }

    fn before() -> Segment {
        blue(
            "ipv4: { subnet: 10.0.0.0/24, dhcp: { range: 10.0.0.16-10.0.0.99 } }, \
             ports: [ { protocol: tcp, listen: 8080, to: '10.0.0.20:80' } ]",
        )
    }

    fn with(range: &str, more: &str) -> Segment {
        blue(&format!(
            "ipv4: {{ subnet: 10.0.0.0/24, dhcp: {{ range: {range} }} }}, {more} \
             ports: [ {{ protocol: tcp, listen: 8080, to: '10.0.0.20:80' }} ]"
        ))
    }

    fn mac(last: u8) -> Mac {
        Mac([2, 0, 0, 0, 0, last])
    }

    /// A guest on hv1 that has leased .20, and a lease on .30 whose guest is off.
    fn used() -> InUse {
        let lease = |last: u8| GuestLease {
            address: IpAddr::from([10, 0, 0, last]),
            mac: mac(last),
            hostname: String::new(),
        };
        InUse {
            guests: vec![Guest {
                host: HV1,
                host_name: "hv1".to_owned(),
                sighting: Sighting::Current,
                port: "vnet0".to_owned(),
                mac: Some(mac(20)),
                addresses: BTreeSet::from([IpAddr::from([10, 0, 0, 20])]),
            }],
            leases: vec![lease(20), lease(30)],
        }
    }

    fn told(new: Option<&Segment>, without: &[HostId]) -> Vec<String> {
        let losses = used().losses(&before(), new, &without.iter().copied().collect());
        losses.iter().map(ToString::to_string).collect()
    }

    const PORT: &str = "blue: port vnet0 on hv1, guest 02:00:00:00:00:14 (10.0.0.20)";
    const LEASE_20: &str = "blue: lease 10.0.0.20 of 02:00:00:00:00:14";
    const LEASE_30: &str = "blue: lease 10.0.0.30 of 02:00:00:00:00:1e";
    const PUBLISHED: &str = "blue: published port tcp/8080 to 10.0.0.20:80";
    const GATEWAY: &str = "blue: gateway address 10.0.0.1/24";

    #[test]
    fn with_its_segment_a_guest_loses_everything_and_its_own_lease_is_not_told_twice() {
        assert_eq!(told(None, &[]), [PORT, LEASE_30, PUBLISHED, GATEWAY]);
    }

    #[test]
    fn nobody_loses_what_nobody_uses() {
        assert_eq!(InUse::default().losses(&before(), None, &BTreeSet::from([HV1])), []);
    }

    #[test]
    fn what_each_change_costs() {
        let none: &[&str] = &[];
        let range = "10.0.0.16-10.0.0.99";
        for (new, expected) in [
            (before(), none),
            (with("10.0.0.10-10.0.0.200", ""), none),
            (with("10.0.0.25-10.0.0.99", ""), &[LEASE_20]),
            (
                blue(
                    "ipv4: { subnet: 10.0.0.0/24, dhcp: { range: 10.0.0.50-10.0.0.99, reservations: \
                     [ { mac: '02:00:00:00:00:14', address: 10.0.0.20 } ] } }, \
                     ports: [ { protocol: tcp, listen: 8080, to: '10.0.0.20:80' } ]",
                ),
                &[LEASE_30],
            ),
            (blue("ipv4: { subnet: 10.0.0.0/24 }"), &[LEASE_20, LEASE_30, PUBLISHED]),
            (blue("mode: nat"), &[LEASE_20, LEASE_30, PUBLISHED, GATEWAY]),
            (with(range, "bridge: br-other,"), &[PORT]),
            (
                blue(
                    "ipv4: { subnet: 10.0.0.0/24, gateway: 10.0.0.254, dhcp: { range: 10.0.0.16-10.0.0.99 } }, \
                     ports: [ { protocol: tcp, listen: 8080, to: '10.0.0.20:80' } ]",
                ),
                &[GATEWAY],
            ),
        ] {
            assert_eq!(told(Some(&new), &[]), expected, "{new:?}");
        }
    }

    #[test]
    fn an_isolated_segment_has_no_gateway_that_leads_out_any_more() {
        let isolated = blue("mode: isolated, ipv4: { subnet: 10.0.0.0/24, dhcp: { range: 10.0.0.16-10.0.0.99 } }");
        assert_eq!(told(Some(&isolated), &[]), [PUBLISHED, GATEWAY]);
    }

    #[test]
    fn a_host_that_goes_without_the_segment_cuts_its_own_guests_off_alone() {
        assert_eq!(told(Some(&before()), &[HV1]), [PORT]);
        assert_eq!(told(Some(&before()), &[HostId(2)]), [""; 0]);
    }
}
