//! Makes a copy of the pure core in which each rule of `docs/protocol.md` can be weakened at run time.
//!
//! The production sources know nothing of this: the modules in [`COPIED`] are copied, their own tests cut off,
//! `crate::` turned into the path of the copy, and each text that `tests/sim/mutants/*.rs` names is replaced by one that
//! asks `crate::mutants::weak("E1")`. A text that is not found exactly once fails the build: whoever changes a rule
//! changes its mutation with it.
//!
//! To add mutations: name the core modules they touch in [`COPIED`], and add lines to a table in `mutants/`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

#[path = "tests/sim/mutants/tables.rs"]
mod tables;

/// What is copied: modules of the core (`outer::inner` where only a part of a folder is wanted), and the files or
/// folders that they live in. What they use of other crates must be a development dependency here.
const COPIED: &[(&str, &str)] = &[
    ("id", "id.rs"),
    ("time", "time.rs"),
    ("range", "range.rs"),
    ("lease", "lease.rs"),
    ("cluster::reachability", "cluster/reachability.rs"),
    ("election", "election"),
    ("addresses", "addresses"),
];

/// What `crate::` becomes.
const ROOT: &str = "crate::weaker::core::";

fn main() {
    let tests = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo names the package's folder"));
    let core = tests.join("../core/src");
    let copy = PathBuf::from(env::var_os("OUT_DIR").expect("cargo names the output folder")).join("core");
    println!("cargo::rerun-if-changed=tests/sim/mutants");
    println!("cargo::rerun-if-changed=../core/src");
    if copy.exists() {
        fs::remove_dir_all(&copy).expect("the last copy can be removed");
    }
    let mut patched = vec![0; tables::ALL.iter().map(|table| table.len()).sum()];
    let mut modules: BTreeMap<&str, String> = BTreeMap::new();
    for (module, path) in COPIED {
        let (from, to) = (core.join(path), copy.join(path));
        copy_tree(&core, &from, &to, &mut patched);
        let file = if to.is_dir() { to.join("mod.rs") } else { to };
        let (outer, inner) = module.rsplit_once("::").unwrap_or(("", module));
        writeln!(
            modules.entry(outer).or_default(),
            "#[path = {file:?}]\npub mod {inner};"
        )
        .expect("a string takes it");
    }
    let mut lost = String::new();
    for (weaker, found) in tables::ALL
        .iter()
        .copied()
        .flatten()
        .zip(&patched)
        .filter(|(_, found)| **found != 1)
    {
        let tables::Weaker {
            id, rule, file, from, ..
        } = weaker;
        writeln!(
            lost,
            "{id} ({rule}): this stands {found} times in core/src/{file}:\n{from}\n"
        )
        .expect("a string takes it");
    }
    assert!(
        lost.is_empty(),
        "each mutation's text must stand once in the core, in the file named:\n{lost}"
    );
    let mut root = modules.remove("").unwrap_or_default();
    for (outer, inner) in modules {
        // Absolute paths: where an inline module looks for its files does not matter.
        writeln!(root, "pub mod {outer} {{\n{inner}}}").expect("a string takes it");
    }
    fs::write(copy.join("mod.rs"), root).expect("the copy's root can be written");
}

fn copy_tree(core: &Path, from: &Path, to: &Path, patched: &mut [usize]) {
    if from.is_dir() {
        fs::create_dir_all(to).expect("a folder of the copy can be made");
        for entry in fs::read_dir(from).expect("a folder of the core can be read") {
            let entry = entry.expect("a folder of the core can be read");
            copy_tree(core, &entry.path(), &to.join(entry.file_name()), patched);
        }
        return;
    }
    let source = fs::read_to_string(from).expect("a file of the core can be read");
    let source = source
        .split("\n#[cfg(test)]")
        .next()
        .unwrap_or_default()
        .replace("crate::", ROOT);
    let name = from
        .strip_prefix(core)
        .expect("it lies in the core")
        .to_string_lossy()
        .replace('\\', "/");
    let mut places = Vec::new();
    for (index, weaker) in tables::ALL
        .iter()
        .copied()
        .flatten()
        .enumerate()
        .filter(|(_, weaker)| weaker.file == name)
    {
        let text = weaker.from.replace("crate::", ROOT);
        patched[index] = source.matches(&text).count();
        if let (1, Some(at)) = (patched[index], source.find(&text)) {
            places.push((at, at + text.len(), weaker));
        }
    }
    places.sort_by_key(|(from, ..)| *from);
    let mut weak = String::new();
    let mut done = 0;
    for (from, to, weaker) in places {
        assert!(
            done <= from,
            "mutation {} overlaps the one before it in {name}",
            weaker.id
        );
        weak.push_str(&source[done..from]);
        weak.push_str(weaker.to);
        done = to;
    }
    weak.push_str(&source[done..]);
    fs::create_dir_all(to.parent().expect("a file lies in a folder")).expect("a folder of the copy can be made");
    fs::write(to, weak).expect("a file of the copy can be written");
}
