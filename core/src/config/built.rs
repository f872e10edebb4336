//! What the configuration can say and this version cannot do yet: refused by name, never silently left out.
//!
//! It is read and checked like everything else. As a feature is built, its lines go from here.

use super::Errors;
use super::cursor::At;
use super::error::Report;
use super::host::{HostConfig, Libvirt, Metrics};
use super::segment::{HostAddress, Mode, PortSecurity, Segment};
use super::wire::{self, Kind, Node};

/// A key whose meaning is not supported yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unbuilt {
    /// The path of the key, from the segment or the file that was asked about.
    pub key: String,
    /// What is not built.
    pub what: &'static str,
    /// How to fix it, as an imperative sentence.
    pub hint: &'static str,
}

/// What a segment asks for and is not supported yet.
pub fn unbuilt(segment: &Segment) -> Vec<Unbuilt> {
    let mut found = Vec::new();
    let mut add = |asked: bool, key: &str, what, hint| {
        if asked {
            found.push(Unbuilt {
                key: key.to_owned(),
                what,
                hint,
            });
        }
    };
    let bridged = matches!(segment.mode, Mode::Bridged(_));
    add(bridged, "mode", "`mode: bridged`", "choose nat, routed or isolated");
    add(bridged, "bridged", "`bridged`", "remove it");
    add(
        segment.host_address == HostAddress::Auto,
        "host_address",
        "`host_address: auto`",
        "name each host's address, { hv1: 192.168.124.2 }",
    );
    add(segment.ipv6.is_some(), "ipv6", "`ipv6` in a segment", "remove it");
    add(!segment.dns.hosts.is_empty(), "dns.hosts", "`dns.hosts`", "remove it");
    add(
        !segment.forward_to.is_empty(),
        "forward_to",
        "`forward_to`",
        "remove it",
    );
    add(
        segment.uplink_address.is_some(),
        "uplink_address",
        "`uplink_address`",
        "remove it",
    );
    add(
        segment.port_security == PortSecurity::On,
        "port_security",
        "`port_security: on`",
        "write `off` or remove it",
    );
    found
}

/// What a host's configuration asks for and is not supported yet, its segments included.
pub fn unbuilt_in_host(config: &HostConfig) -> Vec<Unbuilt> {
    let mut found = Vec::new();
    if config.host.libvirt == Libvirt::Auto {
        let (what, hint) = ("`libvirt: auto`", "write `off` or remove it");
        found.push(Unbuilt {
            key: "host.libvirt".to_owned(),
            what,
            hint,
        });
    }
    if matches!(config.metrics, Metrics::At(_)) {
        let (what, hint) = ("an address for `metrics`", "write `off` or remove it");
        found.push(Unbuilt {
            key: "metrics".to_owned(),
            what,
            hint,
        });
    }
    found.extend(unbuilt_in_segments(&config.segments));
    found
}

fn unbuilt_in_segments(segments: &[Segment]) -> Vec<Unbuilt> {
    let of = |(index, segment): (usize, &Segment)| {
        unbuilt(segment).into_iter().map(move |found| Unbuilt {
            key: format!("segments[{index}].{}", found.key),
            ..found
        })
    };
    segments.iter().enumerate().flat_map(of).collect()
}

/// A host's configuration, for use: like [`super::host`], and what is not supported yet is refused.
///
/// # Errors
/// Everything that is wrong with the text; if nothing is, everything that it asks for and is not built.
pub fn built_host(text: &str, file: &str) -> Result<HostConfig, Errors> {
    let config = super::host(text, file)?;
    refuse(text, file, &unbuilt_in_host(&config))?;
    Ok(config)
}

/// Segments for use: like [`super::segments`], and what is not supported yet is refused.
///
/// # Errors
/// Everything that is wrong with the text; if nothing is, everything that it asks for and is not built.
pub fn built_segments(text: &str, file: &str) -> Result<Vec<Segment>, Errors> {
    let segments = super::segments(text, file)?;
    refuse(text, file, &unbuilt_in_segments(&segments))?;
    Ok(segments)
}

fn refuse(text: &str, file: &str, unbuilt: &[Unbuilt]) -> Result<(), Errors> {
    let mut report = Report::new(file);
    if !unbuilt.is_empty() {
        let node = wire::tree(text, &mut report).unwrap_or(Node {
            place: (1, 1),
            kind: Kind::Empty,
        });
        let root = At::root(&node);
        for Unbuilt { key, what, hint } in unbuilt {
            root.find(key)
                .wrong(&mut report, format!("{what} is not supported yet"), *hint);
        }
    }
    report.finish(Some(()))
}
