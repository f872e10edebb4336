//! Sets and chains as nft's text.

use crate::id::IfName;
use crate::kernel::table::{Table, TableName};
use std::fmt::Display;

pub(super) const REJECT: &str = "reject with icmpx type admin-prohibited";

/// The set that counts what guests sent and may not leave by, as pairs of interfaces: in by, out by.
pub const REJECTED: &str = "rejected";

pub(super) struct Set {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) elements: Vec<String>,
}

pub(super) struct Chain {
    pub(super) name: String,
    pub(super) hook: Option<String>,
    pub(super) rules: Vec<String>,
}

impl Chain {
    pub(super) fn base(name: impl Into<String>, hook: impl Into<String>, rules: Vec<String>) -> Self {
        Self {
            name: name.into(),
            hook: Some(hook.into()),
            rules,
        }
    }

    pub(super) fn jumped_to(name: String, rules: Vec<String>) -> Self {
        Self {
            name,
            hook: None,
            rules,
        }
    }
}

/// `add` before `delete`, so that the delete cannot fail where there is no table yet.
pub(super) fn render(name: TableName, sets: &[Set], chains: &[Chain]) -> Table {
    let mut lines = vec![
        format!("add table {name}"),
        format!("delete table {name}"),
        format!("table {name} {{"),
    ];
    for Set { name, kind, elements } in sets {
        lines.push(format!("\tset {name} {{"));
        lines.extend(kind.lines().map(|line| format!("\t\t{line}")));
        if !elements.is_empty() {
            lines.push(format!("\t\telements = {}", braces(elements)));
        }
        lines.push("\t}".to_owned());
    }
    for Chain { name, hook, rules } in chains {
        lines.push(format!("\tchain {name} {{"));
        lines.extend(hook.iter().map(|hook| format!("\t\ttype {hook}; policy accept;")));
        lines.extend(rules.iter().map(|rule| format!("\t\t{rule}")));
        lines.push("\t}".to_owned());
    }
    lines.push("}\n".to_owned());
    Table {
        name,
        text: lines.join("\n"),
    }
}

pub(super) fn braces(items: impl IntoIterator<Item = impl Display>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    format!("{{ {} }}", items.join(", "))
}

/// nft has no way to write a quotation mark inside a name.
pub(super) fn quotable(link: &IfName) -> bool {
    !link.as_str().contains(['"', '\\', '*'])
}

/// One name, or a set of them.
pub(super) fn names<'a>(links: impl IntoIterator<Item = &'a IfName>) -> String {
    let links: Vec<String> = links.into_iter().map(quoted).collect();
    match links.as_slice() {
        [link] => link.clone(),
        _ => braces(links),
    }
}

pub(super) fn quoted(link: &IfName) -> String {
    format!("\"{link}\"")
}
