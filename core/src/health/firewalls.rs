//! Findings about what guests send and a firewall on this host keeps from its way, ours or another one.

use super::finding::{Finding, Id, Severity};
use super::vitals::{Rejected, Vitals};
use crate::config::VXLAN_PORT;
use crate::id::SegmentName;
use crate::kernel::foreign::{ForeignChain, Hook, Otherwise};

/// As [`crate::kernel::firewall::REJECTED`] keeps them.
const MINUTES: u32 = 10;

pub(super) fn bridge_netfilter(vitals: &Vitals) -> Vec<Finding> {
    let Some(first) = vitals.filtered_bridges.first() else {
        return Vec::new();
    };
    vec![Finding {
        id: Id::BridgeNetfilter,
        severity: Severity::Warn,
        host: vitals.host.clone(),
        segment: None,
        subject: "net.bridge.bridge-nf-call-iptables".to_owned(),
        evidence: "bridge netfilter is on: the host's firewall rules see what guests send each other and may drop it, \
                   guests do not reach published ports from inside, and throughput is a fifth lower"
            .to_owned(),
        cause:
            "overlayd leaves it on where Docker, Kubernetes or a firewall for bridges may need it; the log says which"
                .to_owned(),
        fix: format!(
            "if nothing here needs it: `host.bridge_netfilter: off` in overlayd.yaml; with Docker instead, for each \
             bridge: `iptables -I DOCKER-USER -i {first} -o {first} -j ACCEPT`"
        ),
        verify: "sysctl net.bridge".to_owned(),
        depends_on: Vec::new(),
    }]
}

pub(super) fn way_rejected(vitals: &Vitals) -> Vec<Finding> {
    let finding = |Rejected { segment, link, packets }: &Rejected| Finding {
        id: Id::WayRejected,
        severity: Severity::Warn,
        host: vitals.host.clone(),
        segment: Some(segment.clone()),
        subject: link.to_string(),
        evidence: format!(
            "guests of segment {segment} sent {packets} packets or more that would have left by {link}; they were \
             rejected, the last within {MINUTES} minutes"
        ),
        cause: format!(
            "{link} is not in `host.gateway.uplink`, or (with `auto`) what they were sent to is connected to {link} \
             without a router in between"
        ),
        fix: format!(
            "if guests may go there, list {link} and the interfaces of the default routes in `host.gateway.uplink`, as \
             in `uplink: [ eth0, {link} ]`, and run `systemctl reload overlayd`; otherwise see which guest it is: \
             `tcpdump -ni {gateway}`",
            gateway = segment.gateway()
        ),
        verify: format!("nft list set inet overlayd {}", crate::kernel::firewall::REJECTED),
        depends_on: Vec::new(),
    };
    vitals.edge.rejected.iter().map(finding).collect()
}

pub(super) fn foreign_chain(vitals: &Vitals) -> Vec<Finding> {
    vitals
        .edge
        .firewalls
        .iter()
        .map(|chain| of_chain(vitals, chain))
        .collect()
}

/// The finding that names a chain.
pub(super) fn id_of(chain: &ForeignChain) -> Id {
    if chain.table.ends_with(" firewalld") {
        Id::Firewalld
    } else {
        Id::ForeignChain
    }
}

/// The command that has a chain of the input hook let in what comes from other hosts.
pub(super) fn let_vxlan_in(chain: &ForeignChain, port: u16) -> String {
    let ForeignChain { table, name, .. } = chain;
    if id_of(chain) == Id::Firewalld {
        format!("`firewall-cmd --permanent --add-port={port}/udp --add-port=7480/tcp && firewall-cmd --reload`")
    } else {
        format!(
            "`nft insert rule {table} {name} udp dport {port} accept`, and the like for TCP 7480; with ufw `ufw allow \
             {port}/udp` and `ufw allow 7480/tcp`"
        )
    }
}

fn of_chain(vitals: &Vitals, chain: &ForeignChain) -> Finding {
    let ForeignChain { table, name, .. } = chain;
    let does = match chain.otherwise {
        Otherwise::Policy => "its policy is drop",
        Otherwise::LastRule => "its last rule drops or rejects whatever is left",
    };
    let led_out: Vec<&str> = vitals.led_out.iter().map(SegmentName::as_str).collect();
    let (severity, lets_pass, loses) = match chain.hook {
        Hook::Input => (
            Severity::Warn,
            "none of its rules lets the segments' VXLAN (UDP 4789, or their `port`) in",
            "guests here may not be reached from other hosts".to_owned(),
        ),
        Hook::Forward if led_out.is_empty() => (
            Severity::Warn,
            "its rules do not let pass both what comes in by gw-* and what leaves by it",
            "guests lose the outside when this host becomes their gateway".to_owned(),
        ),
        Hook::Forward => (
            Severity::Fail,
            "its rules do not let pass both what comes in by gw-* and what leaves by it",
            format!(
                "guests of {} may not reach the outside, or be reached at published ports",
                led_out.join(", ")
            ),
        ),
    };
    let fix = match chain.hook {
        Hook::Input => let_vxlan_in(chain, VXLAN_PORT),
        Hook::Forward if id_of(chain) == Id::Firewalld => {
            "`firewall-cmd --permanent --zone=trusted --add-interface=gw-+ && firewall-cmd --reload`".to_owned()
        }
        Hook::Forward => format!(
            "`nft insert rule {table} {name} iifname \"gw-*\" accept` and `nft insert rule {table} {name} oifname \
             \"gw-*\" accept`; with Docker `iptables -I DOCKER-USER -i gw-+ -j ACCEPT` and `iptables -I DOCKER-USER -o \
             gw-+ -j ACCEPT`; with ufw `ufw route allow in on gw-+` and `ufw route allow out on gw-+`"
        ),
    };
    Finding {
        id: id_of(chain),
        severity,
        host: vitals.host.clone(),
        segment: None,
        subject: format!("table {table}, chain {name}"),
        evidence: format!("chain {name} of table {table}: {does}, and {lets_pass}"),
        cause: format!("this host's firewall is not set up for overlayd: {loses}"),
        fix: format!("{fix}; overlayd's own rules stay in force"),
        verify: format!("nft list table {table}"),
        depends_on: Vec::new(),
    }
}
