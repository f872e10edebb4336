//! Walking the tree key by key: types, unknown, missing and duplicate keys. Every method reports what it finds wrong
//! and answers `None`, so that the reader goes on and all faults come out at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::error::Report;
use super::wire::{Key, Kind, Node, Place};

/// The keys of one kind of mapping.
pub(super) struct Section {
    /// The path of the mapping, without indices; empty for the file itself.
    pub(super) path: &'static str,
    /// All keys that it may have.
    pub(super) keys: &'static [&'static str],
}

/// A value with the path of its key.
#[derive(Clone)]
pub(super) struct At<'t> {
    pub(super) node: &'t Node,
    pub(super) path: String,
    place: Place,
}

/// The entries of a mapping whose keys are known.
pub(super) struct Fields<'t> {
    at: At<'t>,
    entries: &'t [(Key, Node)],
}

impl<'t> At<'t> {
    pub(super) fn root(node: &'t Node) -> Self {
        Self {
            node,
            path: String::new(),
            place: node.place,
        }
    }

    pub(super) fn wrong(&self, report: &mut Report, message: impl Into<String>, hint: impl Into<String>) {
        report.add(self.place, &self.path, message, hint);
    }

    /// Whether the key stands there without a value.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self.node.kind, Kind::Empty)
    }

    /// Whether it is a single value without quotes.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self.node.kind, Kind::Plain(_))
    }

    /// The text of a scalar, however it is quoted.
    pub(super) fn text(&self, report: &mut Report, expected: &str) -> Option<&'t str> {
        match &self.node.kind {
            Kind::Plain(text) | Kind::Quoted(text) => Some(text),
            Kind::Empty | Kind::List(_) | Kind::Map(_) => {
                self.wrong_kind(report, expected);
                None
            }
        }
    }

    /// The text if it is a scalar; reports nothing.
    pub(super) fn scalar(&self) -> Option<&'t str> {
        match &self.node.kind {
            Kind::Plain(text) | Kind::Quoted(text) => Some(text),
            Kind::Empty | Kind::List(_) | Kind::Map(_) => None,
        }
    }

    pub(super) fn parse<T: FromStr>(&self, report: &mut Report, expected: &str, hint: &str) -> Option<T> {
        let text = self.text(report, expected)?;
        let value = text.parse().ok();
        if value.is_none() {
            self.wrong(report, format!("{text:?} is not {expected}"), hint);
        }
        value
    }

    pub(super) fn number<T: TryFrom<u64>>(
        &self,
        report: &mut Report,
        what: &str,
        range: RangeInclusive<u64>,
    ) -> Option<T> {
        let expected = format!("{what}, a number from {} to {}", range.start(), range.end());
        let Kind::Plain(text) = &self.node.kind else {
            if let Kind::Quoted(text) = &self.node.kind {
                self.wrong(
                    report,
                    format!("{text:?} is a text, not {expected}"),
                    "write the number without quotes",
                );
            } else {
                self.wrong_kind(report, &expected);
            }
            return None;
        };
        let number = decimal(text)
            .filter(|number| range.contains(number))
            .and_then(|number| T::try_from(number).ok());
        if number.is_none() {
            self.wrong(
                report,
                format!("{text} is not {expected}"),
                format!("give a whole number from {} to {}", range.start(), range.end()),
            );
        }
        number
    }

    pub(super) fn word<T: Clone>(&self, report: &mut Report, words: &[(&str, T)]) -> Option<T> {
        let listed = words.iter().map(|(word, _)| *word).collect::<Vec<_>>();
        let text = self.text(report, &format!("one of {}", listed.join(", ")))?;
        let found = words
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, value)| value.clone());
        if found.is_none() {
            let hint = match nearest(text, &listed) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("write one of {}", listed.join(", ")),
            };
            self.wrong(report, format!("{text:?} is not one of {}", listed.join(", ")), hint);
        }
        found
    }

    pub(super) fn list(&self, report: &mut Report, expected: &str) -> Vec<At<'t>> {
        let Kind::List(items) = &self.node.kind else {
            self.wrong_kind(report, expected);
            return Vec::new();
        };
        let item = |(index, node): (usize, &'t Node)| At {
            node,
            path: format!("{}[{index}]", self.path),
            place: node.place,
        };
        items.iter().enumerate().map(item).collect()
    }

    /// The entries of a mapping with free keys; a key that stands there twice is reported and left out.
    pub(super) fn entries(&self, report: &mut Report, expected: &str) -> Vec<(&'t str, At<'t>)> {
        let Kind::Map(entries) = &self.node.kind else {
            self.wrong_kind(report, expected);
            return Vec::new();
        };
        self.report_duplicates(entries, report);
        let mut seen = BTreeSet::new();
        let first = |(key, _): &&'t (Key, Node)| seen.insert(key.text.as_str());
        entries
            .iter()
            .filter(first)
            .map(|(key, node)| (key.text.as_str(), self.child(key, node)))
            .collect()
    }

    /// The mapping's fields, after unknown and duplicate keys have been reported.
    pub(super) fn fields(&self, report: &mut Report, section: &Section) -> Option<Fields<'t>> {
        let Kind::Map(entries) = &self.node.kind else {
            self.wrong_kind(report, &format!("a mapping with {}", section.keys.join(", ")));
            return None;
        };
        self.report_duplicates(entries, report);
        for (key, _) in entries {
            if !section.keys.contains(&key.text.as_str()) {
                let hint = match nearest(&key.text, section.keys) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("valid keys are {}", section.keys.join(", ")),
                };
                report.add(
                    key.place,
                    &join(&self.path, &key.text),
                    format!("unknown key {:?}", key.text),
                    hint,
                );
            }
        }
        Some(Fields {
            at: self.clone(),
            entries,
        })
    }

    fn child(&self, key: &Key, node: &'t Node) -> At<'t> {
        // A single value is pointed at itself, everything else at its key: there an operator looks for it.
        let place = match &node.kind {
            Kind::Plain(_) | Kind::Quoted(_) => node.place,
            Kind::Empty | Kind::List(_) | Kind::Map(_) => key.place,
        };
        At {
            node,
            path: join(&self.path, &key.text),
            place,
        }
    }

    fn report_duplicates(&self, entries: &'t [(Key, Node)], report: &mut Report) {
        let mut seen = BTreeMap::new();
        for (key, _) in entries {
            if let Some(first) = seen.get(key.text.as_str()) {
                let message = format!("duplicate key {:?}, first in line {first}", key.text);
                report.add(key.place, &join(&self.path, &key.text), message, "keep one of the two");
            } else {
                seen.insert(key.text.as_str(), key.place.0);
            }
        }
    }

    fn wrong_kind(&self, report: &mut Report, expected: &str) {
        let found = match &self.node.kind {
            Kind::Empty => "nothing",
            Kind::Plain(_) | Kind::Quoted(_) => "a single value",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a mapping",
        };
        let hint = match &self.node.kind {
            Kind::Empty => "give a value or remove the key".to_owned(),
            Kind::Plain(_) | Kind::Quoted(_) | Kind::List(_) | Kind::Map(_) => format!("give {expected}"),
        };
        self.wrong(report, format!("expected {expected}, found {found}"), hint);
    }

    /// The value at a path such as `ipv4.gateway` or `ports[2].listen`, or the nearest above it.
    pub(super) fn find(&self, path: &str) -> At<'t> {
        let mut at = self.clone();
        for step in path.split(['.', '[', ']']).filter(|step| !step.is_empty()) {
            let next = match &at.node.kind {
                Kind::Map(entries) => entries
                    .iter()
                    .find(|(key, _)| key.text == step)
                    .map(|(key, node)| at.child(key, node)),
                Kind::List(_) => {
                    let index = step.parse::<usize>().ok();
                    index.and_then(|index| at.list(&mut Report::new(""), "").into_iter().nth(index))
                }
                Kind::Empty | Kind::Plain(_) | Kind::Quoted(_) => None,
            };
            let Some(next) = next else { break };
            at = next;
        }
        at
    }
}

impl<'t> Fields<'t> {
    /// The value of a key, if it is there.
    pub(super) fn maybe(&self, key: &str) -> Option<At<'t>> {
        self.entries
            .iter()
            .find(|(found, _)| found.text == key)
            .map(|(found, node)| self.at.child(found, node))
    }

    /// What `reader` makes of the value of a key, if it is there.
    pub(super) fn read<T>(&self, key: &str, reader: impl FnOnce(&At<'t>) -> Option<T>) -> Option<T> {
        self.maybe(key).and_then(|at| reader(&at))
    }

    /// The value of a key that has to be there.
    pub(super) fn required(&self, report: &mut Report, key: &str, hint: &str) -> Option<At<'t>> {
        let found = self.maybe(key);
        if found.is_none() {
            report.add(self.at.place, &join(&self.at.path, key), "missing key", hint);
        }
        found
    }

    /// The value of a key that need not be there, and counts as absent when it has no value.
    pub(super) fn filled(&self, key: &str) -> Option<At<'t>> {
        self.maybe(key).filter(|at| !at.is_empty())
    }
}

/// The path of a key below another.
pub(super) fn join(path: &str, key: impl Display) -> String {
    if path.is_empty() {
        key.to_string()
    } else {
        format!("{path}.{key}")
    }
}

fn decimal(text: &str) -> Option<u64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

/// The known word that was probably meant: at most two letters off, and less than half of it.
fn nearest<'w>(text: &str, words: &[&'w str]) -> Option<&'w str> {
    if text.len() > 40 {
        return None;
    }
    words
        .iter()
        .map(|word| (distance(text, word), *word))
        .filter(|(distance, word)| *distance <= 2 && distance * 2 < word.len())
        .min()
        .map(|(_, word)| word)
}

/// How many letters have to be put in, taken out, changed or swapped with their neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.chars().collect::<Vec<_>>(), b.chars().collect::<Vec<_>>());
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = changed.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}
