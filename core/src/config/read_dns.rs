//! Reading a segment's `dns`.

use super::cursor::{At, Section};
use super::error::Report;
use super::read_addresses::Subnets;
use super::scalar::{domain, is_domain, unicast, wrong_name};
use super::segment::Dns;

pub(super) const DNS: Section = Section {
    path: "segments.dns",
    keys: &["domain", "upstream", "hosts"],
};

pub(super) fn dns(at: &At<'_>, report: &mut Report, subnets: &Subnets<'_>) -> Dns {
    let mut dns = Dns::default();
    let Some(fields) = at.fields(report, &DNS) else {
        return dns;
    };
    dns.domain = fields
        .maybe("domain")
        .and_then(|at| domain(&at, report, "a domain name", 253));
    if let Some(at) = fields.filled("upstream") {
        for at in at.list(report, "a list of resolvers' addresses") {
            let Some(address) = unicast(&at, report) else { continue };
            if subnets.is_gateway(address) {
                at.wrong(
                    report,
                    format!("{address} is the segment's own gateway"),
                    "name another resolver or remove it",
                );
            }
            dns.upstream.push(address);
        }
    }
    if let Some(at) = fields.filled("hosts") {
        for (name, at) in at.entries(report, "a mapping of names to addresses, { db: 192.168.124.20 }") {
            if name.len() > 253 || !is_domain(name) {
                wrong_name(&at, report, name, "a host name", 253);
            }
            let Some(address) = unicast(&at, report) else { continue };
            dns.hosts.insert(name.to_owned(), address);
        }
    }
    dns
}
