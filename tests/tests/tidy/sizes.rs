//! How long a file and a function may be.

use super::source::Source;
use std::collections::BTreeSet;

/// No production file has more lines than this; unit tests in the file do not count.
pub(crate) const FILE: usize = 400;

/// No function has more lines than this, unless it is one flat `match`.
pub(crate) const FUNCTION: usize = 60;

/// The functions that are too long, as `file: function`, with their lines.
pub(crate) fn long_functions(source: &Source) -> Vec<(String, usize)> {
    let lines: Vec<&str> = source.code.lines().collect();
    let mut found = Vec::new();
    for (begin, line) in lines.iter().enumerate() {
        let Some(name) = function(line) else { continue };
        let mut depth = 0_usize;
        let mut opened = false;
        for (end, line) in lines.iter().enumerate().skip(begin) {
            let bare = !opened && line.trim_end().ends_with(';');
            opened |= line.contains('{');
            depth += line.matches('{').count();
            depth = depth.saturating_sub(line.matches('}').count());
            if bare || (opened && depth == 0) {
                let length = end - begin + 1;
                if length > FUNCTION {
                    found.push((format!("{}: {name}", source.name), length));
                }
                break;
            }
        }
    }
    found
}

/// The name of the function that begins on a line.
fn function(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let qualifiers = ["pub", "const", "async", "unsafe", "extern"];
    let is_item = before
        .split_whitespace()
        .all(|word| qualifiers.iter().any(|it| word.starts_with(it)) || word == "\"\"");
    let name = after.split(['(', '<']).next()?;
    (is_item && !name.is_empty()).then_some(name)
}

/// What is wrong, given what is allowed to be too large: also an allowance that nothing needs.
pub(crate) fn faults(found: &[(String, usize)], allowed: &[&str]) -> Vec<String> {
    let names: BTreeSet<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    let large = found.iter().filter(|(name, _)| !allowed.contains(&name.as_str()));
    let large = large.map(|(name, lines)| format!("{name} has {lines} lines"));
    let needless = allowed.iter().filter(|name| !names.contains(*name));
    large
        .chain(needless.map(|name| format!("{name} is not too long (any more): take it off the list")))
        .collect()
}

#[test]
fn a_long_function_is_found_wherever_it_stands() {
    let body = "    a();\n".repeat(FUNCTION);
    let text = format!(
        "trait T {{\n    fn declared();\n}}\npub(super) const fn short() {{\n}}\nimpl A {{\n    pub async fn long<T>(\n        a: u8,\n    ) {{\n{body}    }}\n}}\n"
    );
    let found = long_functions(&Source::new("a.rs", &text));
    assert_eq!(found, [("a.rs: long".to_owned(), FUNCTION + 4)]);
    assert_eq!(faults(&found, &["a.rs: long"]), Vec::<String>::new());
    assert_eq!(faults(&found, &[]).len(), 1);
    assert_eq!(faults(&[], &["a.rs: long"]).len(), 1);
}
