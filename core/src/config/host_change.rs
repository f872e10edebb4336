//! What differs between two versions of a host's file, as it is written there, and what a running agent makes of it.

use std::collections::BTreeMap;
use std::fmt;

use super::cursor;
use super::error::Report;
use super::host::HostConfig;
use super::wire::{self, Kind, Node};
use crate::id::SegmentName;

/// A key whose value is another than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostChange {
    /// Its path, such as `host.labels.rack`; of a segment `segments.NAME`.
    pub key: String,
    /// What was written; `None`: nothing.
    pub old: Option<String>,
    /// What is written now; `None`: nothing.
    pub new: Option<String>,
    /// What becomes of it.
    pub consequence: Consequence,
}

/// What becomes of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// It is in force.
    Applied,
    /// It is read at a start alone.
    AtRestart,
    /// A segment that is new in the file.
    Introduced,
    /// A segment of which the file says something else.
    Differs,
    /// A segment that the file does not have any more.
    Stays,
}

/// After the words for what it is about.
impl fmt::Display for Consequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Applied => "applied",
            Self::AtRestart => "needs a restart: `systemctl restart overlayd`",
            Self::Introduced => "added to the cluster unless it has a segment of that name",
            Self::Differs => "not applied: the cluster's definition stands until `overlayctl apply`",
            Self::Stays => "not deleted: the cluster keeps it until `overlayctl segment delete`",
        })
    }
}

/// From what is written and meant to what is written and meant now.
pub fn host_changes(old: (&str, &HostConfig), new: (&str, &HostConfig)) -> Vec<HostChange> {
    let (before, after) = (values(old.0), values(new.0));
    let mut keys: Vec<&String> = before.keys().chain(after.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    let mut changes: Vec<HostChange> = keys
        .into_iter()
        .filter(|key| before.get(*key) != after.get(*key))
        .map(|key| HostChange {
            key: key.clone(),
            old: before.get(key).cloned(),
            new: after.get(key).cloned(),
            consequence: match key.as_str() {
                "state_dir" | "control_socket" | "metrics" => Consequence::AtRestart,
                _ => Consequence::Applied,
            },
        })
        .collect();
    changes.extend(segments(old.1, new.1));
    changes
}

fn segments(old: &HostConfig, new: &HostConfig) -> Vec<HostChange> {
    let change = |name: &SegmentName, consequence| HostChange {
        key: format!("segments.{name}"),
        old: None,
        new: None,
        consequence,
    };
    let of_now = new.segments.iter().filter_map(|segment| {
        let before = old.segments.iter().find(|before| before.name == segment.name);
        match before {
            None => Some(change(&segment.name, Consequence::Introduced)),
            Some(before) if before != segment => Some(change(&segment.name, Consequence::Differs)),
            Some(_) => None,
        }
    });
    let gone = old
        .segments
        .iter()
        .filter(|before| new.segments.iter().all(|now| now.name != before.name));
    of_now
        .chain(gone.map(|gone| change(&gone.name, Consequence::Stays)))
        .collect()
}

/// Every value of a file with its path, but those of segments.
fn values(text: &str) -> BTreeMap<String, String> {
    fn walk(node: &Node, path: &str, found: &mut BTreeMap<String, String>) {
        match &node.kind {
            Kind::Empty => {}
            Kind::Plain(text) | Kind::Quoted(text) => drop(found.insert(path.to_owned(), text.clone())),
            Kind::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    walk(item, &format!("{path}[{index}]"), found);
                }
            }
            Kind::Map(entries) => {
                for (key, value) in entries
                    .iter()
                    .filter(|(key, _)| !path.is_empty() || key.text != "segments")
                {
                    walk(value, &cursor::join(path, &key.text), found);
                }
            }
        }
    }
    let mut found = BTreeMap::new();
    if let Some(node) = wire::tree(text, &mut Report::new("")) {
        walk(&node, "", &mut found);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(old: &str, new: &str) -> Vec<String> {
        let read = |text| crate::config::host(text, "overlayd.yaml").unwrap();
        let changes = host_changes((old, &read(old)), (new, &read(new)));
        let line = |it: HostChange| format!("{} {:?} {:?} {:?}", it.key, it.old, it.new, it.consequence);
        changes.into_iter().map(line).collect()
    }

    #[test]
    fn what_is_written_otherwise_is_named_by_key_and_what_is_only_laid_out_otherwise_is_not() {
        let old = "host: { labels: { rack: a }, gateway: { priority: 100 } }\nstate_dir: /a\n";
        assert_eq!(
            changed(
                old,
                "# new\nstate_dir: \"/a\"\nhost:\n  gateway:\n    priority: 100\n  labels: { rack: a }\n"
            ),
            [""; 0]
        );
        assert_eq!(
            changed(
                old,
                "host: { labels: { rack: b } }\nstate_dir: /b\ncluster: { join: [ \"192.0.2.1\" ] }\n"
            ),
            [
                "cluster.join[0] None Some(\"192.0.2.1\") Applied",
                "host.gateway.priority Some(\"100\") None Applied",
                "host.labels.rack Some(\"a\") Some(\"b\") Applied",
                "state_dir Some(\"/a\") Some(\"/b\") AtRestart",
            ]
        );
    }

    #[test]
    fn segments_are_named_with_what_the_cluster_makes_of_them() {
        let segment = |name: &str, vni: u32| format!("{{ name: {name}, vni: {vni} }}");
        let file = |segments: &[String]| format!("segments: [ {} ]\n", segments.join(", "));
        assert_eq!(
            changed(
                &file(&[segment("blue", 1), segment("red", 2)]),
                &file(&[segment("blue", 3), segment("green", 4)])
            ),
            [
                "segments.blue None None Differs",
                "segments.green None None Introduced",
                "segments.red None None Stays",
            ]
        );
    }
}
