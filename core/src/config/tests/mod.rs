//! What is refused and how it is said; what is read; that text and value are one.

mod defaults;
mod refusals;
mod round_trip;

use super::{Errors, Segment, segments};

/// A file with one segment, `blue`, and more of its keys.
fn blue(keys: &str) -> String {
    let mut text = String::from("segments:\n  - name: blue\n    vni: 10\n");
    for line in keys.lines() {
        text.push_str("    ");
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// A file with one segment with this DHCP in 10.0.0.0/24.
fn with_dhcp(keys: &str) -> String {
    blue(&format!("ipv4:\n  subnet: 10.0.0.0/24\n  dhcp: {{ {keys} }}"))
}

fn one(text: &str) -> Segment {
    let mut segments = segments(text, "test.yaml").unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    assert_eq!(segments.len(), 1, "{text}");
    segments.remove(0)
}

/// The errors as `line:column key: message`.
fn told(errors: &Errors) -> Vec<String> {
    errors
        .iter()
        .map(|e| format!("{}:{} {}: {}", e.line, e.column, e.key, e.message))
        .collect()
}
