//! Findings about the frames of guests: where they go, and whether they get there.

use super::finding::{Finding, Id, Severity};
use super::firewalls::{id_of, let_vxlan_in};
use super::vitals::{BlockedPath, DuplicateMac, Vitals};
use crate::id::{IfName, SegmentName};
use crate::kernel::foreign::Hook;

pub(super) fn path_blocked(vitals: &Vitals) -> Vec<Finding> {
    let host = &vitals.host;
    let mut chains = vitals.edge.firewalls.iter().filter(|chain| chain.hook == Hook::Input);
    let dropping = chains.next();
    let finding = |path: &BlockedPath| {
        let BlockedPath {
            from,
            segments,
            source,
            destination,
            port,
        } = path;
        let names: Vec<&str> = segments.iter().map(SegmentName::as_str).collect();
        let (cause, fix) = match dropping {
            Some(chain) => (
                format!(
                    "chain {} of table {} on {host} lets no VXLAN in (UDP {port})",
                    chain.name, chain.table
                ),
                let_vxlan_in(chain, *port),
            ),
            None => (
                format!("a firewall on {host}, on {from} or between them drops UDP {port} in this direction"),
                format!(
                    "`tcpdump -ni any udp dst port {port} and src host {source}`: if packets arrive, a rule \
                     of {host} drops them (`nft list ruleset`); if none does within 5 s, look at the rules of {from} and at \
                     what is between"
                ),
            ),
        };
        Finding {
            id: Id::PathBlocked,
            severity: Severity::Fail,
            host: host.clone(),
            segment: match segments.as_slice() {
                [one] => Some(one.clone()),
                [] | [_, ..] => None,
            },
            subject: format!("{from} to {host}"),
            evidence: format!(
                "VXLAN from {from} ({source}) does not reach {host} ({destination}): at least two frames in a row were lost in \
                 {}, while both agents respond",
                names.join(", ")
            ),
            cause,
            fix,
            verify: "overlayctl status".to_owned(),
            depends_on: dropping.map(id_of).into_iter().collect(),
        }
    };
    vitals.blocked_paths.iter().map(finding).collect()
}

pub(super) fn duplicate_mac(vitals: &Vitals) -> Vec<Finding> {
    let finding = |found: &DuplicateMac| {
        let DuplicateMac {
            segment,
            mac,
            hosts: [one, other],
        } = found;
        Finding {
            id: Id::DuplicateMac,
            severity: Severity::Fail,
            host: other.clone(),
            segment: Some(segment.clone()),
            subject: mac.to_string(),
            evidence: format!(
                "{mac} moved between hosts 5 times or more within 180 s, last from {one} to {other}; it is left on {other} \
                 for now"
            ),
            cause: format!("two guests have this MAC, one on {one} and one on {other}: one may be a copy of the other"),
            fix: format!(
                "give one of the guests another MAC: `bridge fdb show | grep {mac}` on {one} and {other} names their ports"
            ),
            verify: "overlayctl endpoint list".to_owned(),
            depends_on: Vec::new(),
        }
    };
    vitals.duplicate_macs.iter().map(finding).collect()
}

pub(super) fn port_left_out(vitals: &Vitals) -> Vec<Finding> {
    let finding = |(port, bridge): (&IfName, &IfName)| Finding {
        id: Id::PortLeftOut,
        severity: Severity::Fail,
        host: vitals.host.clone(),
        segment: None,
        subject: port.to_string(),
        evidence: format!("{port} was on {bridge} until {bridge} was deleted, and is on no bridge now"),
        cause: format!("{bridge} could not be created again within 10 s; after that ports are left to the operator"),
        fix: format!("`ip link set {port} master {bridge}`, or detach the guest"),
        verify: format!("ip link show master {bridge}"),
        depends_on: Vec::new(),
    };
    vitals.edge.left_out.iter().map(finding).collect()
}
