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
    let mut builder = Builder::default();
    while let Some(event) = parser.next_event() {
        let read = match event {
            Ok((event, span)) => builder.take(event, place(span)),
            Err(error) => Err(Fault {
                place: (error.marker().line().max(1), error.marker().col() + 1),
                message: format!("invalid YAML: {}", error.info()),
                hint: "check indentation, quotes and brackets in this line and the one before",
            }),
        };
        if let Err(Fault { place, message, hint }) = read {
            report.add(place, "", message, hint);
            return None;
        }
    }
    Some(builder.root.unwrap_or(Node {
        place: (1, 1),
        kind: Kind::Empty,
    }))
}

/// What ends the reading.
struct Fault {
    place: Place,
    message: String,
    hint: &'static str,
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    root: Option<Node>,
    documents: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, place: Place) -> Result<(), Fault> {
        let fault = |message: &str, hint| {
            let message = message.to_owned();
            Err(Fault { place, message, hint })
        };
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return fault(
                        "a second document begins here",
                        "give one document per file, without `---` between",
                    );
                }
            }
            Event::Alias(_) => {
                return fault("aliases are not supported", "write the value out where it is used");
            }
            Event::Scalar(_, _, _, Some(tag))
            | Event::SequenceStart(_, Some(tag))
            | Event::MappingStart(_, Some(tag)) => {
                return fault(&format!("the tag {tag} is not supported"), "remove the tag");
            }
            Event::Scalar(text, style, _, None) => match self.open.last_mut() {
                Some(Open::Map(_, _, key @ None)) => {
                    let text = text.into_owned();
                    *key = Some(Key { place, text });
                }
                Some(Open::List(..) | Open::Map(_, _, Some(_))) | None => self.put(Node {
                    place,
                    kind: scalar(text.into_owned(), style),
                }),
            },
            Event::SequenceStart(_, None) => self.enter(Open::List(place, Vec::new()), place)?,
            Event::MappingStart(_, None) => self.enter(Open::Map(place, Vec::new(), None), place)?,
            Event::SequenceEnd | Event::MappingEnd => self.leave(),
            Event::StreamStart | Event::StreamEnd | Event::DocumentEnd | Event::Nothing => {}
        }
        Ok(())
    }

    fn enter(&mut self, it: Open, place: Place) -> Result<(), Fault> {
        let (message, hint) = if let Some(Open::Map(_, _, None)) = self.open.last() {
            ("a list or mapping cannot be a key".to_owned(), "write `key: value`")
        } else if self.open.len() >= DEEPEST {
            let message = format!("nested deeper than {DEEPEST} levels");
            (message, "no key is this deep")
        } else {
            self.open.push(it);
            return Ok(());
        };
        Err(Fault { place, message, hint })
    }

    fn leave(&mut self) {
        match self.open.pop() {
            Some(Open::List(place, items)) => self.put(Node {
                place,
                kind: Kind::List(items),
            }),
            Some(Open::Map(place, entries, _)) => self.put(Node {
                place,
                kind: Kind::Map(entries),
            }),
            None => {}
        }
    }

    /// Puts a value where it belongs: into the innermost open list or mapping.
    fn put(&mut self, node: Node) {
        match self.open.last_mut() {
            Some(Open::List(_, items)) => items.push(node),
            Some(Open::Map(_, entries, key)) => entries.extend(key.take().map(|key| (key, node))),
            None => self.root = Some(node),
        }
    }
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
