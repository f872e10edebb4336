//! What differs between two definitions of a segment, key by key.

use super::emit::{Key, Value, tree};
use super::segment::Segment;

/// A key whose value differs between two definitions of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldChange {
    /// Its path within the segment, such as `ipv4.subnet` or `ports[0].to`.
    pub key: String,
    /// The value before, as it is written in YAML; `None`: the key is new.
    pub old: Option<String>,
    /// The value now, as it is written in YAML; `None`: the key is gone.
    pub new: Option<String>,
}

/// The keys that differ, in the order of the canonical text, those that are gone last. Without `old` the segment is
/// new, and every key is.
pub fn difference(old: Option<&Segment>, new: &Segment) -> Vec<FieldChange> {
    let old = old.map(leaves).unwrap_or_default();
    let new = leaves(new);
    let value = |of: &[(String, String)], key: &str| of.iter().find(|(known, _)| known == key).map(|(_, v)| v.clone());
    let gone = old.iter().filter(|(key, _)| value(&new, key).is_none());
    new.iter()
        .chain(gone)
        .map(|(key, _)| FieldChange {
            key: key.clone(),
            old: value(&old, key),
            new: value(&new, key),
        })
        .filter(|field| field.old != field.new)
        .collect()
}

/// Every value with its path.
fn leaves(segment: &Segment) -> Vec<(String, String)> {
    let mut found = Vec::new();
    walk("", tree(segment), &mut found);
    found
}

fn walk(path: &str, entries: Vec<(Key, Value)>, found: &mut Vec<(String, String)>) {
    for (key, value) in entries {
        let key = match key {
            Key::Known(key) => key.to_owned(),
            Key::Chosen(key) => key,
            Key::Number(number) => number.to_string(),
        };
        let path = if path.is_empty() { key } else { format!("{path}.{key}") };
        match value {
            Value::Leaf(value) => found.push((path, value)),
            Value::Map(entries) if entries.is_empty() => found.push((path, "{}".to_owned())),
            Value::Map(entries) => walk(&path, entries, found),
            Value::List(items) => {
                for (index, item) in items.into_iter().enumerate() {
                    walk(&format!("{path}[{index}]"), item, found);
                }
            }
        }
    }
}
