//! What an operator writes, and what holds after it was checked.
//!
//! ```text
//!  text ──► wire (a tree with places) ──► read_*, key by key ──► HostConfig, Segment ──► to_yaml ──► text
//!                         │                    │  across (segments beside each other)
//!                         └────────► Report ◄──┘ ──► Errors: all at once, each with place, key and hint
//! ```
//! Reading never stops at the first fault, takes nothing over if there is any, and panics on no bytes at all. What can
//! be said but is not supported yet is read and checked, too, and refused afterwards by [`built_host`] and
//! [`built_segments`].

mod across;
mod built;
mod cursor;
mod dhcp_option;
mod difference;
mod emit;
mod error;
mod host;
mod host_change;
mod option_format;
mod range;
mod read_addresses;
mod read_boot;
mod read_dhcp;
mod read_dns;
mod read_host;
mod read_link;
mod read_options;
mod read_ports;
mod read_segment;
mod scalar;
mod segment;
mod wire;

#[cfg(test)]
mod tests;

pub use across::{Clash, Shared, check_together};
pub use built::{Unbuilt, built_host, built_segments, unbuilt, unbuilt_in_host};
pub(crate) use dhcp_option::wire_name;
pub use dhcp_option::{DhcpOption, OptionNumber, StaticRoute};
pub use difference::{FieldChange, difference};
pub use error::{Error, Errors};
pub use host::*;
pub use host_change::{Consequence, HostChange, host_changes};
pub use range::*;
pub use segment::*;

use std::collections::BTreeSet;

use cursor::{At, Section};
use error::Report;
use wire::{Kind, Node};

/// Every kind of mapping whose keys are fixed.
const SECTIONS: [&Section; 14] = [
    &read_host::FILE,
    &read_host::HOST,
    &read_host::GATEWAY,
    &read_host::CLUSTER,
    &read_segment::SEGMENT,
    &read_link::TRANSPORT,
    &read_link::BRIDGED,
    &read_addresses::IPV4,
    &read_dhcp::DHCP4,
    &read_dhcp::RESERVATION,
    &read_addresses::IPV6,
    &read_dhcp::DHCP6,
    &read_dns::DNS,
    &read_ports::PORT,
];

/// Reads a host's configuration, `overlayd.yaml`; an empty text is one where every key has its default. `file` is the
/// name that the errors show.
///
/// ```
/// let config = overlayd_core::config::host("host: { name: hv1 }", "overlayd.yaml").unwrap();
/// assert_eq!(config.host.name.as_deref(), Some("hv1"));
/// assert_eq!(config.host.gateway.priority, 100);
/// ```
///
/// # Errors
/// Everything that is wrong with the text.
pub fn host(text: &str, file: &str) -> Result<HostConfig, Errors> {
    let mut report = Report::new(file);
    let config = wire::tree(text, &mut report).map(|node| read_host::host_config(&At::root(&node), &mut report));
    report.finish(config)
}

/// Reads the segments of a file with `segments: [...]`; a host's whole configuration will do, too, and is then checked
/// as a whole. `file` is the name that the errors show.
///
/// ```
/// let text = "segments: [ { name: blue, vni: 10, ipv4: { subnet: 192.168.124.0/24 } } ]";
/// let segments = overlayd_core::config::segments(text, "blue.yaml").unwrap();
/// assert_eq!(segments[0].bridge.as_str(), "br-blue");
/// assert_eq!(overlayd_core::config::segments(&segments[0].to_yaml(), "again").unwrap(), segments);
/// ```
///
/// # Errors
/// Everything that is wrong with the text; also if it has no `segments` at all.
pub fn segments(text: &str, file: &str) -> Result<Vec<Segment>, Errors> {
    let mut report = Report::new(file);
    let segments = wire::tree(text, &mut report).map(|node| {
        let root = At::root(&node);
        let hint = "put the segments into a list, `segments: [ { name: blue, vni: 10 } ]`";
        match &node.kind {
            Kind::Map(entries) if entries.iter().all(|(key, _)| key.text != "segments") => {
                report.add(node.place, "segments", "missing key", hint);
            }
            Kind::Empty | Kind::List(_) | Kind::Plain(_) | Kind::Quoted(_) => {
                report.add(
                    node.place,
                    "segments",
                    "expected a mapping with the key `segments`",
                    hint,
                );
                return Vec::new();
            }
            Kind::Map(_) => {}
        }
        read_host::host_config(&root, &mut report).segments
    });
    report.finish(segments)
}

/// The path of every key that is known, with `segments.` for those of a segment: what the reference example must show.
pub fn known_keys() -> Vec<String> {
    SECTIONS
        .iter()
        .flat_map(|section| section.keys.iter().map(|key| cursor::join(section.path, key)))
        .collect()
}

/// The paths of all keys that stand in a text, without indices; empty if it is no YAML.
pub fn written_keys(text: &str) -> BTreeSet<String> {
    fn walk(node: &Node, path: &str, found: &mut BTreeSet<String>) {
        match &node.kind {
            Kind::Empty | Kind::Plain(_) | Kind::Quoted(_) => {}
            Kind::List(items) => items.iter().for_each(|item| walk(item, path, found)),
            Kind::Map(entries) => {
                for (key, value) in entries {
                    let path = cursor::join(path, &key.text);
                    walk(value, &path, found);
                    found.insert(path);
                }
            }
        }
    }
    let mut found = BTreeSet::new();
    if let Some(node) = wire::tree(text, &mut Report::new("")) {
        walk(&node, "", &mut found);
    }
    found
}
