//! YAML as people write it, to a small tree of values that know their lines: anchors, merge keys, quotes, comments, JSON. Pure.
//!
//! The events are `saphyr-parser`'s; what a plain word means is YAML 1.1's, as in pyftpsync's PyYAML: `no` and `off` are booleans.

use std::collections::HashMap;
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::Wrong;
use super::tree::{Content, Entry, Node};
use crate::path::Escaped;

/// A task file nests four deep; whoever nests deeper means to exhaust the stack.
const MAX_DEPTH: usize = 32;

/// Reads the one document of a text.
pub(super) fn read(text: &str) -> Result<Rc<Node>, Wrong> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text.trim_start_matches('\u{feff}')) {
        let (event, span) = event.map_err(|error| {
            Wrong::at(
                error.marker().line(),
                format!("this is no YAML: {}", error.info()),
            )
        })?;
        builder.take(event, span)?;
    }
    builder
        .document
        .ok_or_else(|| Wrong::at(1, "the file is empty"))
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Node>>,
    document: Option<Rc<Node>>,
}

/// A collection whose end has not come yet.
struct Open {
    line: usize,
    anchor: usize,
    inside: Inside,
}

enum Inside {
    List(Vec<Rc<Node>>),
    Map {
        entries: Vec<Entry>,
        merged: Vec<Rc<Node>>,
        key: Option<Key>,
    },
}

/// What the value that comes next belongs to.
enum Key {
    Named { name: String, line: usize },
    Merge,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Wrong> {
        let line = span.start.line();
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) if self.document.is_some() => Err(Wrong::at(
                line,
                "a second document begins; a task file is one",
            )),
            Event::DocumentStart(_) => Ok(()),
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some(node) => self.put(node, line),
                None => Err(Wrong::at(line, "an alias lies within what it stands for")),
            },
            Event::Scalar(text, style, anchor, tag) => {
                self.take_scalar(&text, style, anchor, tag.as_deref(), line)
            }
            Event::SequenceStart(anchor, tag) => {
                refuse_tag(tag.as_deref(), &["seq"], line)?;
                self.begin(line, anchor, Inside::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                refuse_tag(tag.as_deref(), &["map"], line)?;
                let inside = Inside::Map {
                    entries: Vec::new(),
                    merged: Vec::new(),
                    key: None,
                };
                self.begin(line, anchor, inside)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
        }
    }

    fn take_scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        line: usize,
    ) -> Result<(), Wrong> {
        refuse_tag(tag, &["str", "bool", "int", "float", "null"], line)?;
        let is_plain = style == ScalarStyle::Plain && tag.is_none_or(|tag| tag.suffix != "str");
        if let Some(Open {
            inside: Inside::Map {
                key: key @ None, ..
            },
            ..
        }) = self.open.last_mut()
        {
            *key = Some(if is_plain && text == "<<" {
                Key::Merge
            } else {
                Key::Named {
                    name: text.to_owned(),
                    line,
                }
            });
            return Ok(());
        }
        let content = match text {
            "" | "~" | "null" | "Null" | "NULL" if is_plain => Content::Null,
            word if is_plain => Content::Word(word.to_owned()),
            text => Content::Text(text.to_owned()),
        };
        self.finish(line, anchor, content)
    }

    fn begin(&mut self, line: usize, anchor: usize, inside: Inside) -> Result<(), Wrong> {
        if self.open.len() == MAX_DEPTH {
            return Err(Wrong::at(
                line,
                format!("lists and maps are nested more than {MAX_DEPTH} deep"),
            ));
        }
        if let Some(Open {
            inside: Inside::Map { key: None, .. },
            ..
        }) = self.open.last()
        {
            return Err(Wrong::at(line, "a key is a list or a map; a key is a word"));
        }
        self.open.push(Open {
            line,
            anchor,
            inside,
        });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Wrong> {
        let Open {
            line,
            anchor,
            inside,
        } = self.open.pop().expect("what ends has begun");
        let content = match inside {
            Inside::List(items) => Content::List(items),
            Inside::Map {
                entries, merged, ..
            } => Content::Map(merge(entries, &merged)?),
        };
        self.finish(line, anchor, content)
    }

    fn finish(&mut self, line: usize, anchor: usize, content: Content) -> Result<(), Wrong> {
        let node = Rc::new(Node {
            line,
            anchored: anchor != 0,
            content,
        });
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        self.put(node, line)
    }

    fn put(&mut self, node: Rc<Node>, line: usize) -> Result<(), Wrong> {
        match self.open.last_mut().map(|open| &mut open.inside) {
            None => self.document = Some(node),
            Some(Inside::List(items)) => items.push(node),
            Some(Inside::Map {
                entries,
                merged,
                key,
            }) => match key.take() {
                Some(Key::Merge) => merged.push(node),
                Some(Key::Named { name, line }) => {
                    if let Some(first) = entries.iter().find(|entry| entry.name == name) {
                        return Err(Wrong::at(
                            line,
                            format!(
                                "the key '{}' is given twice, first in line {}",
                                Escaped(name.as_bytes()),
                                first.line
                            ),
                        ));
                    }
                    entries.push(Entry {
                        name,
                        line,
                        value: node,
                    });
                }
                None => return Err(Wrong::at(line, "a key is an alias; write the word itself")),
            },
        }
        Ok(())
    }
}

/// What a map says itself, and what `<<` brings that it does not say; of several, the first has it.
fn merge(mut entries: Vec<Entry>, merged: &[Rc<Node>]) -> Result<Vec<Entry>, Wrong> {
    for node in merged {
        let maps = match &node.content {
            Content::List(maps) => maps.as_slice(),
            Content::Map(_) | Content::Null | Content::Word(_) | Content::Text(_) => {
                std::slice::from_ref(node)
            }
        };
        for map in maps {
            let Content::Map(brought) = &map.content else {
                return Err(Wrong::at(node.line, "'<<' takes in maps: <<: *ANCHOR"));
            };
            for entry in brought {
                if !entries.iter().any(|own| own.name == entry.name) {
                    entries.push(entry.clone());
                }
            }
        }
    }
    Ok(entries)
}

/// A tag asks for another meaning; only those that change nothing, and `!!str`, are followed.
fn refuse_tag(tag: Option<&Tag>, known: &[&str], line: usize) -> Result<(), Wrong> {
    match tag {
        Some(tag) if !(tag.is_yaml_core_schema() && known.contains(&tag.suffix.as_str())) => {
            Err(Wrong::at(
                line,
                format!(
                    "the tag '{}' means nothing here",
                    Escaped(tag.to_string().as_bytes())
                ),
            ))
        }
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree on one line, without its lines.
    fn shown(text: &str) -> String {
        match read(text) {
            Ok(node) => node.shown(),
            Err(wrong) => format!("{}: {}", wrong.line, wrong.what),
        }
    }

    #[test]
    fn words_quotes_and_comments() {
        assert_eq!(
            shown("a: b # c\nd: 'no'\ne: no\nf:\ng: \"x: y\""),
            "{a: b, d: \"no\", e: no, f: ~, g: \"x: y\"}"
        );
        assert_eq!(
            shown("\u{feff}{\"a\": [1, true, null]}"),
            "{a: [1, true, ~]}"
        );
        assert_eq!(shown("a: >\n  b\n  c\n"), "{a: \"b c\n\"}");
        assert_eq!(shown("a: !!str no"), "{a: \"no\"}");
    }

    #[test]
    fn what_is_merged_gives_way() {
        assert_eq!(
            shown("x: &x {a: 1, b: 2}\ny: &y {b: 3, c: 4}\nz:\n  <<: [*x, *y]\n  a: 0\n"),
            "{x: {a: 1, b: 2}, y: {b: 3, c: 4}, z: {a: 0, b: 2, c: 4}}"
        );
        assert_eq!(shown("x: &x [1]\ny: *x"), "{x: [1], y: [1]}");
        assert_eq!(
            shown("x: &x 1\ny:\n  <<: *x"),
            "1: '<<' takes in maps: <<: *ANCHOR"
        );
    }

    #[test]
    fn what_makes_no_sense_is_told_with_its_line() {
        for (text, part) in [
            ("", "1: the file is empty"),
            (
                "a: 1\nb: 2\na: 3",
                "3: the key 'a' is given twice, first in line 1",
            ),
            ("a: 1\n---\nb: 2", "2: a second document"),
            ("a: 1\nb: [1, 2", "this is no YAML"),
            ("a:\n  - b\n c: d", "this is no YAML"),
            ("a: *b", "this is no YAML"),
            ("a: &a [*a]", "within what it stands for"),
            ("? [a]\n: b", "a key is a word"),
            ("a: !ref b", "the tag '!ref'"),
        ] {
            assert!(shown(text).contains(part), "{text}: {}", shown(text));
        }
    }

    #[test]
    fn depth_and_aliases_cost_little() {
        let deep = shown(&"[".repeat(100));
        assert!(deep.contains("nested more than"), "{deep}");
        assert!(read(&"[".repeat(100_000)).is_err());
        assert!(read(&"- ".repeat(100_000)).is_err());
        let mut bomb = "a0: &a0 [x]\n".to_owned();
        for n in 1..30 {
            let one = format!("*a{}", n - 1);
            bomb.push_str(&format!("a{n}: &a{n} [{one}, {one}, {one}, {one}]\n"));
        }
        assert!(read(&bomb).is_ok());
    }
}
