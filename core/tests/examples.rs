//! Every file of `examples/` is read; the reference shows every key; what can be used as it is, can.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use overlayd_core::config;

/// Examples that show what is not supported yet, with the keys that are refused for it.
const UNBUILT: [(&str, &[&str]); 3] = [
    ("bridged.yaml", &["segments[0].mode", "segments[0].bridged"]),
    ("dual-stack.yaml", &["segments[0].ipv6"]),
    (
        "every-key.yaml",
        &[
            "segments[0].ipv6",
            "segments[0].dns.hosts",
            "segments[0].forward_to",
            "segments[0].uplink_address",
            "segments[2].mode",
            "segments[2].bridged",
        ],
    ),
];

#[expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the examples are files; a test may panic"
)]
fn examples() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let read = |entry: fs::DirEntry| {
        (
            entry.file_name().into_string().unwrap(),
            fs::read_to_string(entry.path()).unwrap(),
        )
    };
    let found = entries
        .map(read)
        .filter(|(name, _)| name.ends_with(".yaml"))
        .collect::<BTreeMap<_, _>>();
    assert!(found.len() >= 12, "{:?}", found.keys());
    found
}

#[test]
fn every_example_is_read_and_comes_with_a_comment() {
    for (name, text) in examples() {
        assert!(text.starts_with("# "), "{name} says what it is for");
        if let Err(errors) = config::host(&text, &name) {
            panic!("{errors}");
        }
        let refused = config::built_host(&text, &name).err();
        let refused = refused
            .iter()
            .flatten()
            .map(|error| error.key.as_str())
            .collect::<BTreeSet<_>>();
        let expected = UNBUILT
            .iter()
            .find(|(file, _)| *file == name)
            .map_or(&[][..], |(_, keys)| keys);
        assert_eq!(refused, expected.iter().copied().collect(), "{name}");
        let warned = text
            .lines()
            .next()
            .is_some_and(|line| line.contains("NOT SUPPORTED YET"));
        assert_eq!(
            warned,
            !refused.is_empty(),
            "{name}: the first line says what is refused"
        );
    }
}

#[test]
fn the_reference_shows_every_key_that_is_known() {
    let text = &examples()["every-key.yaml"];
    let mut missing = config::known_keys();
    assert!(missing.len() > 55 && missing.contains(&"segments.ipv4.dhcp.max_leases".to_owned()));
    // The reader itself tells where a key stands: a key that it did not know would be an error.
    let shown = config::written_keys(text);
    missing.retain(|key| !shown.contains(key));
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn the_segments_of_all_built_examples_survive_their_canonical_text() {
    for (name, text) in examples() {
        for segment in config::host(&text, &name).unwrap().segments {
            assert_eq!(
                config::segments(&segment.to_yaml(), "canonical"),
                Ok(vec![segment]),
                "{name}"
            );
        }
    }
}
