//! The committed code in `src/gen` is what the `.proto` files say.
//!
//! `OVERLAYD_REGENERATE=1 cargo test -p overlayd-proto --test generated` writes it anew.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::fs;
use std::path::{Path, PathBuf};

const REGENERATE: &str = "OVERLAYD_REGENERATE";

/// Every `.proto` file of the crate, relative to it.
fn sources(root: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(root.join("overlayd/v1"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "proto"))
        .collect();
    found.sort();
    found
}

fn generate(root: &Path, out: &Path) {
    let descriptors = protox::compile(sources(root), [root]).unwrap();
    tonic_prost_build::configure()
        .build_transport(true)
        .out_dir(out)
        .compile_fds(descriptors)
        .unwrap();
}

#[test]
fn generated_code_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let committed = root.join("src/gen");
    let scratch = tempfile::tempdir().unwrap();
    generate(root, scratch.path());

    let mut names = 0;
    for entry in fs::read_dir(scratch.path()).unwrap() {
        let entry = entry.unwrap();
        let fresh = fs::read_to_string(entry.path()).unwrap();
        let place = committed.join(entry.file_name());
        if std::env::var_os(REGENERATE).is_some() {
            fs::create_dir_all(&committed).unwrap();
            fs::write(&place, &fresh).unwrap();
        }
        let kept = fs::read_to_string(&place).unwrap_or_default();
        assert!(
            kept == fresh,
            "{} is out of date: run again with {REGENERATE}=1",
            place.display()
        );
        names += 1;
    }
    assert_eq!(
        names,
        fs::read_dir(&committed).unwrap().count(),
        "a file in src/gen has no .proto file any more"
    );
}
