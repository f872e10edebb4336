//! Findings about guests: those that get no address, and those that use what is not theirs.

use super::finding::{Finding, Id, Severity};
use super::guest_vitals::{Crowd, Misuse, PoolState};
use super::vitals::Vitals;
use crate::cluster::crowds::MOST;
use crate::gateway::dhcp::Shortage;
use crate::id::{IfName, SegmentName};

pub(super) fn pool_exhausted(vitals: &Vitals) -> Vec<Finding> {
    vitals.pools.iter().filter_map(|pool| of_pool(vitals, pool)).collect()
}

/// A pool without a free address, or one of which a guest lately got none.
fn of_pool(vitals: &Vitals, pool: &PoolState) -> Option<Finding> {
    let limit = pool.max_leases.filter(|most| pool.held >= *most);
    let refused = pool.refused.as_ref();
    // Addresses that are only on their way from host to host count as quarantined, too, and those of a new pool.
    let full = pool.free == 0 && (pool.held + pool.declined > 0 || pool.quarantined_for.is_some());
    if !full && limit.is_none() && refused.is_none() {
        return None;
    }
    let segment = &pool.segment;
    let PoolState {
        free,
        held,
        quarantined,
        declined,
        ..
    } = pool;
    let wait = pool
        .quarantined_for
        .map_or_else(String::new, |left| format!(" (for up to {} s)", left.as_secs()));
    let state = format!("{free} free, {held} leased, {quarantined} quarantined{wait}, {declined} declined");
    let guests = refused.map_or_else(String::new, |refused| {
        let seconds = refused.ago.as_secs();
        format!(
            "; {} DISCOVERs got no address, the last one {seconds} s ago",
            refused.times
        )
    });
    let (evidence, cause, fix) = shortage(pool, limit, &format!("{state}{guests}"));
    Some(Finding {
        evidence,
        cause: cause.to_owned(),
        fix,
        verify: format!("overlayctl pool show {segment}"),
        ..about(vitals, Id::PoolExhausted, pool.segment.clone())
    })
}

/// What the pool lacks, why, and what to do.
fn shortage(pool: &PoolState, limit: Option<u64>, state: &str) -> (String, &'static str, String) {
    let segment = &pool.segment;
    let lack = pool.refused.as_ref().map(|refused| refused.shortage);
    let enlarge = format!("enlarge `ipv4.dhcp.range` of segment {segment}, or shorten its `lease_time`");
    if let (Some(most), Some(Shortage::MaxLeases) | None) = (limit, lack) {
        (
            format!("segment {segment} has reached `max_leases` ({most}): {state}"),
            "more guests than `ipv4.dhcp.max_leases` allows, or leases of guests that are gone and have not ended",
            format!(
                "raise `ipv4.dhcp.max_leases` of segment {segment}; `overlayctl lease list {segment}` shows the leases"
            ),
        )
    } else if let Some(crowd) = pool.refused.as_ref().and_then(|refused| refused.crowd.as_ref()) {
        let Crowd { host, port, offers } = crowd;
        (
            format!(
                "a guest of segment {segment} got no address: {state}; {offers} were offered to MACs at port {port} of {host}"
            ),
            "a guest at that port asks for addresses under MACs that it makes up, or a whole network is behind it",
            format!("on {host}: `ip link set {port} nomaster` detaches that guest; or {enlarge}"),
        )
    } else if pool.free > 0 {
        (
            format!("a guest of segment {segment} got no address: {state}"),
            "the free addresses belong to hosts that are out of reach, are offered to guests that do not respond, or are \
             used by guests that have set them by hand",
            format!(
                "`overlayctl pool show {segment}` names the owners, `overlayctl endpoint list {segment}` the addresses in \
                 use; start overlayd where it does not run, or {enlarge}"
            ),
        )
    } else if pool.quarantined + pool.declined > pool.held {
        (
            format!("no address of segment {segment} is free: {state}"),
            "hosts were removed or have lost their disks, and what their guests hold is unknown until a lease time has \
             passed; or guests have declined addresses",
            format!("wait (`overlayctl pool show {segment}`), or {enlarge}: new addresses are free at once"),
        )
    } else {
        (
            format!("no address of segment {segment} is free: {state}"),
            "more guests than addresses, or leases of guests that are gone and have not ended",
            enlarge,
        )
    }
}

pub(super) fn misuse(vitals: &Vitals) -> Vec<Finding> {
    vitals.misuses.iter().map(|misuse| of_misuse(vitals, misuse)).collect()
}

fn of_misuse(vitals: &Vitals, misuse: &Misuse) -> Finding {
    match misuse {
        Misuse::Gateway {
            segment,
            address,
            guest,
        } => Finding {
            severity: Severity::Fail,
            subject: guest.mac.to_string(),
            evidence: format!("guest {guest} uses {address}, the gateway address of segment {segment}"),
            cause: "the address was set by hand in that guest; other guests lose their gateway by it".to_owned(),
            fix: format!("give guest {} another address, or detach it", guest.mac),
            verify: "overlayctl status".to_owned(),
            ..about(vitals, Id::DuplicateAddress, segment.clone())
        },
        Misuse::Shared {
            segment,
            address,
            guests,
        } => {
            let names: Vec<String> = guests.iter().map(ToString::to_string).collect();
            Finding {
                severity: Severity::Fail,
                subject: address.to_string(),
                evidence: format!(
                    "{} guests of segment {segment} use {address}: {}",
                    guests.len(),
                    names.join(", ")
                ),
                cause: "the address was set by hand in one of them, or a guest kept it past its lease".to_owned(),
                fix: "give one of them another address".to_owned(),
                verify: format!("overlayctl endpoint list {segment}"),
                ..about(vitals, Id::DuplicateAddress, segment.clone())
            }
        }
        Misuse::Everything { segment, guest } => Finding {
            subject: guest.mac.to_string(),
            evidence: format!(
                "guest {guest} of segment {segment} answers ARP for, or declines, more than four addresses: it is not \
                 believed any more"
            ),
            cause: "the guest answers for other guests (proxy ARP), or wants to empty the pool".to_owned(),
            fix: "switch proxy ARP off in that guest (`sysctl net.ipv4.conf.all.proxy_arp=0`), or detach it".to_owned(),
            verify: "overlayctl status".to_owned(),
            ..about(vitals, Id::GuestDisbelieved, segment.clone())
        },
    }
}

pub(super) fn port_crowded(vitals: &Vitals) -> Vec<Finding> {
    let crowded = |(segment, port, count): &(SegmentName, IfName, usize)| Finding {
        subject: port.to_string(),
        evidence: format!("port {port} of segment {segment} shows {count} MACs; the other hosts are told of {MOST}"),
        cause: "a guest makes up MACs, or a whole network is behind that port".to_owned(),
        fix: format!("detach the guest at {port} (`ip link set {port} nomaster`), or put fewer MACs behind one port"),
        verify: format!("bridge fdb show brport {port}"),
        ..about(vitals, Id::PortCrowded, segment.clone())
    };
    vitals.crowded_ports.iter().map(crowded).collect()
}

fn about(vitals: &Vitals, id: Id, segment: SegmentName) -> Finding {
    Finding {
        id,
        severity: Severity::Warn,
        host: vitals.host.clone(),
        subject: segment.to_string(),
        segment: Some(segment),
        evidence: String::new(),
        cause: String::new(),
        fix: String::new(),
        verify: String::new(),
        depends_on: Vec::new(),
    }
}
