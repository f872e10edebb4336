//! The file as it is written: a tree of texts, lists and mappings, each with its place.
//!
//! Built from the parser's events without recursion, so that no depth of nesting can exhaust the stack. Mappings keep
//! duplicate keys and texts keep their spelling: what they mean is for the reader to say.

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::error::Report;

/// Line and column, both from 1.
pub(super) type Place = (usize, usize);

/// Nothing that we read is deeper than eight levels.
const DEEPEST: usize = 24;

/// Thousands of segments fit; what is compared with each other stays cheap.
const LARGEST: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// Nothing, `~` or `null`.
    Empty,
    /// A text without quotes: also numbers and truth values.
    Plain(String),
    /// A text in quotes or a block.
    Quoted(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

#[derive(Debug)]
pub(super) struct Key {
    pub(super) place: Place,
    pub(super) text: String,
}

/// A list or mapping that is still open.
enum Open {
    List(Place, Vec<Node>),
    Map(Place, Vec<(Key, Node)>, Option<Key>),
}

/// The one document of a text; an empty text is an empty node. `None` once a fault was reported that ends the reading.
pub(super) fn tree(text: &str, report: &mut Report) -> Option<Node> {
    if text.len() > LARGEST {
        let message = format!("the file has {} bytes, more than {LARGEST}", text.len());
        report.add((1, 1), "", message, "give the file of a host or of segments");
        return None;
    }
    let mut parser = Parser::new_from_str(text);
    let mut open = Vec::new();
    let mut root = None;
    let mut documents = 0;
    while let Some(event) = parser.next_event() {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                let place = (error.marker().line().max(1), error.marker().col() + 1);
                report.add(
                    place,
                    "",
                    format!("this is no YAML: {}", error.info()),
                    "look at indentation, quotes and brackets here and in the line before",
                );
                return None;
            }
        };
        let place = place(span);
        let node = match event {
            Event::DocumentStart(_) => {
                documents += 1;
                if documents > 1 {
                    report.add(
                        place,
                        "",
                        "a second document begins here",
                        "give one document per file, without `---` between",
                    );
                    return None;
                }
                continue;
            }
            Event::Alias(_) => {
                report.add(
                    place,
                    "",
                    "aliases are not read",
                    "write the value out where it is used",
                );
                return None;
            }
            Event::Scalar(_, _, _, Some(tag))
            | Event::SequenceStart(_, Some(tag))
            | Event::MappingStart(_, Some(tag)) => {
                report.add(place, "", format!("the tag {tag} is not read"), "remove the tag");
                return None;
            }
            Event::Scalar(text, style, _, None) => {
                if let Some(Open::Map(_, _, key @ None)) = open.last_mut() {
                    *key = Some(Key {
                        place,
                        text: text.into_owned(),
                    });
                    continue;
                }
                Node {
                    place,
                    kind: scalar(text.into_owned(), style),
                }
            }
            Event::SequenceStart(..) | Event::MappingStart(..) => {
                if let Some(Open::Map(_, _, None)) = open.last() {
                    report.add(
                        place,
                        "",
                        "a list or mapping stands where a key should",
                        "write `key: value`",
                    );
                    return None;
                }
                if open.len() >= DEEPEST {
                    report.add(
                        place,
                        "",
                        format!("nested deeper than {DEEPEST} levels"),
                        "no key lies this deep",
                    );
                    return None;
                }
                open.push(if let Event::SequenceStart(..) = event {
                    Open::List(place, Vec::new())
                } else {
                    Open::Map(place, Vec::new(), None)
                });
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::List(place, items)) => Node {
                    place,
                    kind: Kind::List(items),
                },
                Some(Open::Map(place, entries, _)) => Node {
                    place,
                    kind: Kind::Map(entries),
                },
                None => continue,
            },
            Event::StreamStart | Event::StreamEnd | Event::DocumentEnd | Event::Nothing => continue,
        };
        match open.last_mut() {
            Some(Open::List(_, items)) => items.push(node),
            Some(Open::Map(_, entries, key)) => entries.extend(key.take().map(|key| (key, node))),
            None => root = Some(node),
        }
    }
    Some(root.unwrap_or(Node {
        place: (1, 1),
        kind: Kind::Empty,
    }))
}

fn scalar(text: String, style: ScalarStyle) -> Kind {
    match (style, text.as_str()) {
        (ScalarStyle::Plain, "" | "~" | "null" | "Null" | "NULL") => Kind::Empty,
        (ScalarStyle::Plain, _) => Kind::Plain(text),
        _ => Kind::Quoted(text),
    }
}

fn place(span: Span) -> Place {
    (span.start.line().max(1), span.start.col() + 1)
}
