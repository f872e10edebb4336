//! The house rules that a machine can hold.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod imports;
mod sizes;
mod source;

use source::Source;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the pure crate may depend on, and why it may: none of them does IO of its own accord.
const CORE_MAY_USE: &[&str] = &[
    "bytes",         // message buffers
    "dhcproto",      // DHCP options
    "foca",          // membership
    "ipnet",         // prefixes
    "rand",          // the trait that the seeded generator given to foca implements
    "saphyr-parser", // YAML with places
    "siphasher",     // stable hashes
    "thiserror",     // error enums
];

/// Files of these kinds are held to the rules about words.
const TEXTS: &[&str] = &["rs", "md", "toml", "yaml", "yml", "proto", "service", "sh"];

/// The crates that are installed; generated code is not held to the rules about size and imports.
const PRODUCTION: &[&str] = &["core/src", "proto/src", "agent/src", "cli/src"];
const GENERATED: &str = "proto/src/gen/";

/// Which modules of the core are below which others: each may use those of its own layer and of the layers before.
const LAYERS: &[&[&str]] = &[
    &["id", "time", "mtu", "checksum", "range", "lease", "network", "severity"],
    &["config"],
    &["cluster", "election", "addresses", "gateway", "kernel"],
    &["health"],
    &["node"],
];

/// Modules of one layer that know nothing of each other, the first not of the second.
const STRANGERS: &[(&str, &str)] = &[
    ("kernel", "cluster"),
    ("cluster", "kernel"),
    ("gateway", "election"),
    ("addresses", "election"),
];

/// Functions that are one flat `match`, and why they may be as long as they are.
const FLAT_MATCHES: &[(&str, &str)] = &[
    ("agent/src/effects.rs: perform", "an arm for each effect"),
    ("agent/src/netlink/encode.rs: request", "an arm for each op"),
    (
        "core/src/addresses/dispatch.rs: handle_about_addresses",
        "an arm for each message",
    ),
    (
        "core/src/cluster/gossip/fingerprint.rs: of_record",
        "an arm for each record",
    ),
    ("core/src/health/log_line.rs: fields", "an arm for each event"),
    ("core/src/health/log_line.rs: message", "an arm for each event"),
    ("core/src/kernel/plan/model.rs: apply_model", "an arm for each op"),
    ("core/src/kernel/plan/op.rs: fmt", "an arm for each op"),
    ("proto/src/convert/election.rs: part_in", "an arm for each message"),
    ("proto/src/convert/gossip/record.rs: try_from", "an arm for each record"),
    ("proto/src/convert/lease/mod.rs: message_out", "an arm for each message"),
    ("proto/src/convert/lease/mod.rs: try_from", "an arm for each message"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// Every file that is, or is about to be, under version control; names relative to the root.
fn files() -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .unwrap();
    let mut found: Vec<String> = match listed.status.success() {
        true => String::from_utf8(listed.stdout)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect(),
        // A source archive has no git.
        false => walk(&root(), &root()),
    };
    found.retain(|name| root().join(name).is_file());
    found.sort();
    assert!(found.len() > 100, "the tree is not here: {found:?}");
    found
}

fn walk(root: &Path, folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        if path.is_dir() && name != "target" && !name.ends_with(".git") {
            found.extend(walk(root, &path));
        } else if path.is_file() {
            found.push(name);
        }
    }
    found
}

fn of_kind<'a>(files: &'a [String], kinds: &'a [&str]) -> impl Iterator<Item = &'a String> {
    files
        .iter()
        .filter(|name| kinds.iter().any(|kind| name.ends_with(&format!(".{kind}"))))
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// `rule` tells what is wrong with a file, if anything.
#[track_caller]
fn check<'a>(files: impl Iterator<Item = &'a String>, rule: impl Fn(&str, &str) -> Option<String>) {
    let faults: Vec<String> = files
        .filter_map(|name| rule(name, &read(name)).map(|fault| format!("{name}: {fault}")))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The lines of one section of a Cargo.toml, each the name of a dependency.
fn dependencies(manifest: &str, section: &str) -> BTreeSet<String> {
    manifest
        .lines()
        .skip_while(|line| *line != section)
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_pure_crate_depends_on_nothing_that_does_io() {
    let manifest = read("core/Cargo.toml");
    let used = dependencies(&manifest, "[dependencies]");
    let allowed: BTreeSet<String> = CORE_MAY_USE.iter().map(|name| (*name).to_owned()).collect();
    assert!(used.contains("foca"), "the section is read: {used:?}");
    assert_eq!(used, allowed, "core's dependencies and the list here");
    assert_eq!(
        dependencies(&manifest, "[dev-dependencies]"),
        BTreeSet::from(["proptest".to_owned()])
    );
    // `proto` knows core's values and the wire, nothing of the agent; `cli` knows the wire alone.
    let ours = |file: &str| -> BTreeSet<String> {
        let used = dependencies(&read(file), "[dependencies]").into_iter();
        used.filter(|name| name.starts_with("overlay")).collect()
    };
    assert_eq!(ours("proto/Cargo.toml"), BTreeSet::from(["overlayd-core".to_owned()]));
    assert_eq!(ours("cli/Cargo.toml"), BTreeSet::from(["overlayd-proto".to_owned()]));
    let both = ["overlayd-core", "overlayd-proto"].map(str::to_owned);
    assert_eq!(ours("agent/Cargo.toml"), BTreeSet::from(both));
}

#[test]
fn every_source_file_says_what_it_is_about() {
    let files = files();
    let own = of_kind(&files, &["rs"]).filter(|name| !name.starts_with("proto/src/gen/"));
    check(own, |_, text| {
        let first = text.lines().next().unwrap_or_default();
        (!first.starts_with("//! ") || first.len() < 12).then(|| "does not open with `//!` and a sentence".to_owned())
    });
}

#[test]
fn nothing_is_left_for_later() {
    // Put together here, so that this file does not hold them.
    let marks = [["TO", "DO"], ["FIX", "ME"], ["XX", "X"]].map(|parts| parts.concat());
    let macros = [format!("{}!(", "todo"), format!("{}!(", "unimplemented")];
    let files = files();
    check(of_kind(&files, TEXTS), |_, text| {
        let found = marks.iter().chain(&macros).find(|mark| text.contains(mark.as_str()));
        found.map(|mark| format!("holds {mark}"))
    });
}

#[test]
fn nothing_refers_to_a_place_outside_the_tree() {
    let outside = [
        "/work".to_owned() + "/",
        "/tmp".to_owned() + "/wt",
        "../".to_owned() + "shared",
        "/root".to_owned() + "/",
    ];
    let files = files();
    check(of_kind(&files, TEXTS), |_, text| {
        outside
            .iter()
            .find(|place| text.contains(place.as_str()))
            .map(|place| format!("refers to {place}"))
    });
}

#[test]
fn no_module_is_a_drawer() {
    let drawers = ["utils", "util", "common", "helpers", "types", "misc"];
    let files = files();
    let faults: Vec<&String> = of_kind(&files, &["rs"])
        .filter(|name| {
            Path::new(name.as_str())
                .with_extension("")
                .components()
                .any(|part| drawers.iter().any(|drawer| part.as_os_str() == *drawer))
        })
        .collect();
    assert!(faults.is_empty(), "{faults:?}");
}

/// What stands in backticks or as a link's target, without a fragment.
fn mentioned(text: &str) -> Vec<&str> {
    let mut inside_block = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            inside_block = !inside_block;
            continue;
        }
        if !inside_block {
            found.extend(line.split('`').skip(1).step_by(2));
            let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
            found.extend(targets.map(|target| target.split('#').next().unwrap_or_default()));
        }
    }
    found
}

#[test]
fn paths_that_documents_name_exist() {
    let tops: Vec<&str> = "core proto agent cli tests examples docs benches vagrant fuzz"
        .split(' ')
        .collect();
    let files = files();
    for document in of_kind(&files, &["md"]) {
        let folder = root().join(document).parent().unwrap().to_owned();
        for path in mentioned(&read(document)) {
            let a_path = tops.iter().any(|top| path.starts_with(&format!("{top}/")));
            let a_link = [".md", "/"].iter().any(|end| path.ends_with(end)) && !path.contains("://");
            // Words with spaces, patterns and places on an installed system are no paths of the tree.
            if !(a_path || a_link) || path.contains([' ', '*', '{', '<', '…']) || path.starts_with('/') {
                continue;
            }
            let exists = root().join(path).exists() || folder.join(path).exists();
            assert!(exists, "{document} names {path}, which is not there");
        }
    }
}

/// Documents say which test holds a rule or shows a fact, as `suite::name_of_the_test`.
#[test]
fn tests_that_documents_name_exist() {
    let files = files();
    let sources: String = of_kind(&files, &["rs"]).map(|name| read(name)).collect();
    let mut named = 0;
    for document in of_kind(&files, &["md"]) {
        for words in mentioned(&read(document)) {
            let name = words.rsplit("::").next().unwrap_or_default();
            let is_test = words.contains("::") && name.matches('_').count() >= 3 && !name.contains([' ', '(']);
            if is_test {
                named += 1;
                let exists = sources.contains(&format!("fn {name}("));
                assert!(exists, "{document} names the test {words}, which is not there");
            }
        }
    }
    assert!(named > 20, "the documents name {named} tests");
}

/// What is nowhere on the map is not found.
#[test]
fn the_map_names_every_folder_and_every_module_of_the_core() {
    let map = read("ARCHITECTURE.md");
    let mut places = BTreeSet::new();
    for name in files() {
        let parts: Vec<&str> = name.split('/').collect();
        match parts[..] {
            ["core", "src", "lib.rs"] => {}
            // `gateway` is a shelf: its modules are named one by one.
            ["core", "src", "gateway", "mod.rs"] => {}
            ["core", "src", "gateway", module, ..] => drop(places.insert(format!("core/src/gateway/{module}"))),
            ["core", "src", module, ..] => drop(places.insert(format!("core/src/{module}"))),
            [top, _, ..] if top != ".cargo" => drop(places.insert(format!("{top}/"))),
            _ => {}
        }
    }
    let missing: Vec<&String> = places.iter().filter(|place| !map.contains(place.as_str())).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md names nothing of {missing:?}");
}

/// The ids of findings are the quoted words that their list maps to.
#[test]
fn every_finding_is_in_the_troubleshooting_table() {
    let source = read("core/src/health/finding.rs");
    let ids: BTreeSet<&str> = source
        .lines()
        .filter_map(|line| line.split_once("=> \"")?.1.strip_suffix("\","))
        .collect();
    assert!(ids.contains("G2"), "the ids are found: {ids:?}");
    let page = read("docs/troubleshooting.md");
    let rows = page
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let told: BTreeSet<&str> = rows.filter(|id| *id != "id").collect();
    assert_eq!(told, ids);
}

#[test]
fn the_agents_manual_names_every_option() {
    use clap::CommandFactory as _;
    let page = read("docs/overlayd.8").replace("\\-", "-");
    for option in overlayd::args::Args::command()
        .get_arguments()
        .filter_map(|arg| arg.get_long())
    {
        assert!(page.contains(&format!("\\fB--{option}\\fR")), "--{option}");
    }
}

#[test]
fn the_changelog_has_its_unreleased_part() {
    let changelog = read("CHANGELOG.md");
    let unreleased = changelog
        .split("## Unreleased")
        .nth(1)
        .expect("a part named Unreleased");
    assert!(
        unreleased.lines().any(|line| line.starts_with("- ")),
        "with something in it"
    );
}

#[test]
fn what_must_be_at_the_top_is_there() {
    for file in [
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
        "deny.toml",
        "clippy.toml",
        ".ci/run",
        "agent/overlayd.service",
    ] {
        assert!(root().join(file).is_file(), "{file}");
    }
    let readme = read("README.md");
    for command in ["    ./lab demo", "    ./lab test"] {
        assert!(readme.lines().any(|line| line == command), "README shows {command:?}");
    }
}

#[test]
fn tests_that_are_ignored_say_why() {
    let files = files();
    let marker = format!("#[{}]", "ignore");
    check(of_kind(&files, &["rs"]), |_, text| {
        text.contains(&marker)
            .then(|| "has a test that is ignored without a reason".to_owned())
    });
}

/// The production files of the crate whose sources lie in `root`.
fn production(root: &str) -> Vec<Source> {
    let files = files();
    let own = files.iter().filter(|name| {
        let tests = name.ends_with("/tests.rs") || name.contains("/tests/");
        name.starts_with(&format!("{root}/")) && name.ends_with(".rs") && !tests && !name.starts_with(GENERATED)
    });
    let own: Vec<Source> = own.map(|name| Source::new(name, &read(name))).collect();
    assert!(own.len() > 3, "{root} is read");
    own
}

fn all_production() -> impl Iterator<Item = Source> {
    PRODUCTION.iter().flat_map(|root| production(root))
}

#[track_caller]
fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn long_files() -> Vec<(String, usize)> {
    all_production()
        .filter(|source| source.lines > sizes::FILE)
        .map(|source| (source.name, source.lines))
        .collect()
}

fn long_functions() -> Vec<(String, usize)> {
    all_production()
        .flat_map(|source| sizes::long_functions(&source))
        .collect()
}

fn circles() -> Vec<Vec<String>> {
    PRODUCTION
        .iter()
        .flat_map(|root| imports::circles(&imports::edges(root, &production(root))))
        .collect()
}

#[test]
fn no_file_is_too_long() {
    assert_none(&sizes::faults(&long_files(), &[]));
}

#[test]
fn no_function_is_too_long() {
    let flat: Vec<&str> = FLAT_MATCHES.iter().map(|(name, _)| *name).collect();
    assert_none(&sizes::faults(&long_functions(), &flat));
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let circles: Vec<String> = circles().iter().map(|circle| circle.join(" → ")).collect();
    assert_none(&circles);
}

#[test]
fn in_the_core_arrows_lead_downwards() {
    let layer = |module: &str| LAYERS.iter().position(|layer| layer.contains(&module));
    let edges = imports::edges("core/src", &production("core/src"));
    let between = imports::between_modules("core/src", &edges);
    assert!(between.len() > 10, "the edges are found: {between:?}");
    let mut faults = Vec::new();
    for ((from, to), example) in &between {
        if from == "lib" || to == "lib" {
            continue;
        }
        let downwards = layer(from).is_some() && layer(to).is_some_and(|to| Some(to) <= layer(from));
        let pair = (from.as_str(), to.as_str());
        if !downwards || STRANGERS.contains(&pair) {
            faults.push(format!("{from} → {to}: {example}"));
        }
    }
    assert_none(&faults);
}
