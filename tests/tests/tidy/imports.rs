//! Which file of a crate uses which other: from its `use`s and the paths in its code.
//!
//! A name that a module only passes on (`pub use`) leads to the file that defines it, so that a surface is no circle.
//! Methods are not seen: they need no import.

use super::source::{Source, Token, tokens};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The edges of one crate: a file, and those that it uses.
pub(crate) type Edges = BTreeMap<String, BTreeSet<String>>;

/// How often a name may be passed on before it is given up.
const PASSED_ON: usize = 8;

struct File {
    name: String,
    module: Vec<String>,
    tokens: Vec<Token>,
    uses: Vec<Use>,
}

/// One name that a `use` brings.
struct Use {
    path: Vec<String>,
    brings: Brings,
    passed_on: bool,
}

#[derive(PartialEq, Eq)]
enum Brings {
    Name(String),
    Everything,
}

/// The files of one crate; `root` is the folder of its sources.
pub(crate) fn edges(root: &str, sources: &[Source]) -> Edges {
    let files: Vec<File> = sources.iter().map(|source| File::new(root, source)).collect();
    let tree = Tree(files.iter().map(|file| (file.module.clone(), file)).collect());
    let targets = |file: &File| {
        let found = tree.targets(file).into_iter();
        found.filter(|name| *name != file.name).collect()
    };
    files.iter().map(|file| (file.name.clone(), targets(file))).collect()
}

impl File {
    fn new(root: &str, source: &Source) -> Self {
        let path = source.name.trim_start_matches(root).trim_end_matches(".rs");
        let mut module: Vec<String> = path
            .split('/')
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect();
        if module
            .last()
            .is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str()))
        {
            module.pop();
        }
        let (tokens, uses) = uses(tokens(&source.code));
        Self {
            name: source.name.clone(),
            module,
            tokens,
            uses,
        }
    }

    fn defines(&self, name: &str) -> bool {
        const ITEMS: [&str; 9] = [
            "struct", "enum", "fn", "const", "static", "type", "trait", "mod", "union",
        ];
        self.tokens
            .windows(2)
            .any(|pair| pair[1].is(name) && ITEMS.iter().any(|item| pair[0].is(item)))
    }

    fn mentions(&self, name: &str) -> bool {
        self.tokens.iter().any(|token| token.is(name))
    }

    /// The paths in the code: words with `::` between.
    fn paths(&self) -> Vec<Vec<String>> {
        let mut found = Vec::new();
        let mut path: Vec<String> = Vec::new();
        let mut joined = false;
        for token in &self.tokens {
            match token {
                Token::Word(word) if path.is_empty() || joined => path.push(word.clone()),
                Token::Word(word) => found.extend(Some(std::mem::replace(&mut path, vec![word.clone()]))),
                Token::Path => {}
                Token::Sign(_) => found.extend(Some(std::mem::take(&mut path))),
            }
            joined = *token == Token::Path && !path.is_empty();
        }
        found.push(path);
        found.retain(|path| path.len() > 1);
        found
    }
}

/// Splits the `use`s from the rest.
fn uses(tokens: Vec<Token>) -> (Vec<Token>, Vec<Use>) {
    let (mut rest, mut found) = (Vec::new(), Vec::new());
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        // `impl Trait + use<'a>` is no import.
        if !token.is("use") || tokens.peek() == Some(&Token::Sign('<')) {
            rest.push(token);
            continue;
        }
        let passed_on = rest
            .last()
            .is_some_and(|before| before.is("pub") || *before == Token::Sign(')'));
        let mut one: VecDeque<Token> = tokens.by_ref().take_while(|it| *it != Token::Sign(';')).collect();
        let mut brought = Vec::new();
        branch(&mut one, &mut Vec::new(), &mut brought);
        found.extend(brought.into_iter().map(|(path, brings)| Use {
            path,
            brings,
            passed_on,
        }));
    }
    (rest, found)
}

/// One branch of a tree of `use`, up to the comma or brace behind it.
fn branch(tokens: &mut VecDeque<Token>, path: &mut Vec<String>, found: &mut Vec<(Vec<String>, Brings)>) {
    let depth = path.len();
    let mut alias = None;
    let mut leaf = true;
    while let Some(token) = tokens.front() {
        match token {
            Token::Sign(',' | '}') => break,
            Token::Sign('{') => {
                leaf = false;
                tokens.pop_front();
                while tokens.front().is_some_and(|it| *it != Token::Sign('}')) {
                    branch(tokens, path, found);
                    if tokens.front() == Some(&Token::Sign(',')) {
                        tokens.pop_front();
                    }
                }
                tokens.pop_front();
                continue;
            }
            Token::Sign('*') => {
                leaf = false;
                found.push((path.clone(), Brings::Everything));
            }
            Token::Word(word) if word == "as" => {
                tokens.pop_front();
                alias = tokens.front().and_then(Token::word).map(str::to_owned);
            }
            // `{self}` names what is before the brace.
            Token::Word(word) if word == "self" && !path.is_empty() => {}
            Token::Word(word) => path.push(word.clone()),
            Token::Path | Token::Sign(_) => {}
        }
        tokens.pop_front();
    }
    if leaf && let Some(name) = alias.or_else(|| path.last().cloned()) {
        found.push((path.clone(), Brings::Name(name)));
    }
    path.truncate(depth);
}

struct Tree<'a>(BTreeMap<Vec<String>, &'a File>);

impl Tree<'_> {
    fn targets(&self, file: &File) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for it in &file.uses {
            let Some(path) = self.absolute(file, &it.path, false) else {
                continue;
            };
            match &it.brings {
                Brings::Name(name) if !it.passed_on || file.mentions(name) => {
                    found.extend(self.target(&path, PASSED_ON).filter(|_| !self.0.contains_key(&path)));
                }
                Brings::Name(_) => {}
                Brings::Everything => {
                    let whole = self.0.get(&path);
                    let used =
                        whole.filter(|whole| file.tokens.iter().filter_map(Token::word).any(|it| whole.defines(it)));
                    found.extend(used.map(|whole| whole.name.clone()));
                }
            }
        }
        for path in file.paths() {
            // A path of modules alone, as in `pub(in crate::a)`, uses nothing of them.
            let path = self
                .absolute(file, &path, true)
                .filter(|path| !self.0.contains_key(path));
            found.extend(path.and_then(|path| self.target(&path, PASSED_ON)));
        }
        found
    }

    /// A path from the crate's root; `None`: it leads out of the crate, or is no path of modules.
    fn absolute(&self, file: &File, path: &[String], by_names: bool) -> Option<Vec<String>> {
        let mut from = file.module.clone();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => {
                from.clear();
                rest = &path[1..];
            }
            "self" => rest = &path[1..],
            "super" => {
                while let Some("super") = rest.first().map(String::as_str) {
                    from.pop()?;
                    rest = &rest[1..];
                }
            }
            first => {
                from.push(first.to_owned());
                if !self.0.contains_key(&from) {
                    let brought =
                        by_names.then(|| file.uses.iter().find(|it| it.brings == Brings::Name(first.to_owned())));
                    from = self.absolute(file, &brought??.path, false)?;
                }
                rest = &path[1..];
            }
        }
        from.extend_from_slice(rest);
        Some(from)
    }

    /// The file that a path leads to, through the modules that only pass the name on.
    fn target(&self, path: &[String], left: usize) -> Option<String> {
        let depth = (0..=path.len())
            .rev()
            .find(|depth| self.0.contains_key(&path[..*depth]))?;
        let file = self.0.get(&path[..depth])?;
        let Some(name) = path.get(depth).filter(|_| left > 0) else {
            return Some(file.name.clone());
        };
        if file.defines(name) {
            return Some(file.name.clone());
        }
        for it in &file.uses {
            let Some(mut through) = self.absolute(file, &it.path, false) else {
                continue;
            };
            if it.brings == Brings::Name(name.clone()) {
                return self.target(&through, left - 1);
            }
            if it.brings == Brings::Everything && self.0.get(&through).is_some_and(|it| it.defines(name)) {
                through.push(name.clone());
                return self.target(&through, left - 1);
            }
        }
        Some(file.name.clone())
    }
}

/// The shortest way from each file back to itself, each circle once.
pub(crate) fn circles(edges: &Edges) -> Vec<Vec<String>> {
    let mut found: Vec<Vec<String>> = Vec::new();
    for start in edges.keys() {
        if found.iter().any(|circle| circle.contains(start)) {
            continue;
        }
        let mut ways: VecDeque<Vec<String>> = VecDeque::from([vec![start.clone()]]);
        let mut seen = BTreeSet::new();
        'search: while let Some(way) = ways.pop_front() {
            for next in way.last().and_then(|last| edges.get(last)).into_iter().flatten() {
                if next == start {
                    found.push(way);
                    break 'search;
                }
                if seen.insert(next) {
                    ways.push_back([way.clone(), vec![next.clone()]].concat());
                }
            }
        }
    }
    found
}

/// The edges between the modules at the top of the crate, each with a file that has it.
pub(crate) fn between_modules(root: &str, edges: &Edges) -> BTreeMap<(String, String), String> {
    let top = |name: &str| {
        let inside = name.trim_start_matches(root).trim_start_matches('/');
        inside.split(['/', '.']).next().unwrap_or_default().to_owned()
    };
    let all = edges.iter().flat_map(|(from, to)| to.iter().map(move |to| (from, to)));
    all.map(|(from, to)| ((top(from), top(to)), format!("{from} uses {to}")))
        .filter(|((from, to), _)| from != to)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: &[(&str, &str)]) -> Edges {
        let sources: Vec<Source> = files.iter().map(|(name, text)| Source::new(name, text)).collect();
        edges("a/src", &sources)
    }

    fn check(what: &str, files: &[(&str, &str)], expected: &[(&str, &str)]) {
        let found = of(files);
        let found: Vec<(&str, &str)> = found
            .iter()
            .flat_map(|(from, to)| to.iter().map(move |to| (from.as_str(), to.as_str())))
            .collect();
        assert_eq!(found, expected, "{what}");
    }

    #[test]
    fn every_way_to_name_another_file_is_found() {
        let (a, b, c) = ("a/src/a.rs", "a/src/b/mod.rs", "a/src/b/c.rs");
        let target = (c, "pub struct C; pub fn f() {}");
        for text in [
            "use crate::b::c::C;",
            "use crate::{b::{self, c::{C}}, x};",
            "use super::b::c::C as D;",
            "fn a() { crate::b::c::f() }",
            "use crate::b::c; fn a() { c::f() }",
            "use crate::b::c::*; fn a() { f() }",
            "use crate::b; fn a(_: b::c::C) {}",
        ] {
            check(text, &[(a, text), (b, "pub mod c;"), target], &[(a, c)]);
        }
        check("only in a comment", &[(a, "// crate::b::c::f"), (b, ""), target], &[]);
        check(
            "a visibility",
            &[(a, "pub(in crate::b) fn a() {}"), (b, ""), target],
            &[],
        );
        check("another crate", &[(a, "use other::b::c::C;"), (b, ""), target], &[]);
        check(
            "a child by its name",
            &[(b, "mod c; fn b() { c::f() }"), target],
            &[(b, c)],
        );
        check(
            "a parent",
            &[(b, "mod c; pub struct B;"), (c, "use super::B;")],
            &[(c, b)],
        );
    }

    #[test]
    fn a_name_that_is_passed_on_leads_to_its_file_and_using_it_counts() {
        let (a, b, c) = ("a/src/a.rs", "a/src/b/mod.rs", "a/src/b/c.rs");
        let target = (c, "pub struct C;");
        for surface in ["mod c; pub use c::C;", "mod c; pub use c::*;"] {
            check(surface, &[(a, "use crate::b::C;"), (b, surface), target], &[(a, c)]);
            let used = format!("{surface} fn b(_: C) {{}}");
            check(&used, &[(b, &used), target], &[(b, c)]);
        }
    }

    #[test]
    fn circles_are_found_and_chains_are_none() {
        let chain = [
            ("a/src/a.rs", "use crate::b::B;"),
            ("a/src/b.rs", "use crate::c::C; pub struct B;"),
        ];
        let end = ("a/src/c.rs", "pub struct C;");
        assert_eq!(circles(&of(&[chain[0], chain[1], end])), Vec::<Vec<String>>::new());
        let back = ("a/src/c.rs", "pub struct C(crate::a::A);");
        let found = circles(&of(&[chain[0], chain[1], back]));
        assert_eq!(found, [["a/src/a.rs", "a/src/b.rs", "a/src/c.rs"]]);
    }

    #[test]
    fn edges_between_modules_are_named_by_a_file() {
        let found = of(&[("a/src/a/x.rs", "use crate::b::B;"), ("a/src/b.rs", "pub struct B;")]);
        let between = between_modules("a/src", &found);
        let expected = ("a".to_owned(), "b".to_owned());
        assert_eq!(between[&expected], "a/src/a/x.rs uses a/src/b.rs");
        assert_eq!(between.len(), 1);
    }
}
