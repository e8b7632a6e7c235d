//! The values of a task file, each with its line. Pure.

use std::rc::Rc;

use super::Wrong;

/// A value.
#[derive(Debug)]
pub(super) struct Node {
    /// The line it begins in, from 1.
    pub(super) line: usize,
    /// Whether it has a name by which others stand for it.
    pub(super) anchored: bool,
    pub(super) content: Content,
}

/// What a value is.
#[derive(Debug)]
pub(super) enum Content {
    /// Nothing: what has it is not given.
    Null,
    /// A word without quotes: a number, yes or no, or text.
    Word(String),
    /// Text that is nothing else.
    Text(String),
    List(Vec<Rc<Node>>),
    /// In the order of the file, each name once.
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) name: String,
    /// The line of the key.
    pub(super) line: usize,
    pub(super) value: Rc<Node>,
}

impl Node {
    /// What stands for no value at all.
    pub(super) const fn nothing() -> Self {
        Self {
            line: 1,
            anchored: false,
            content: Content::Null,
        }
    }

    /// Whether it says nothing.
    pub(super) const fn is_nothing(&self) -> bool {
        matches!(self.content, Content::Null)
    }

    /// The entries of a map; none where nothing is given.
    pub(super) fn entries(&self, what: &str) -> Result<&[Entry], Wrong> {
        match &self.content {
            Content::Null => Ok(&[]),
            Content::Map(entries) => Ok(entries),
            Content::Word(_) | Content::Text(_) | Content::List(_) => Err(Wrong::at(
                self.line,
                format!("{what} must be a map of keys and values"),
            )),
        }
    }

    /// The text of a word or of quoted text.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Word(text) | Content::Text(text) => Some(text),
            Content::Null | Content::List(_) | Content::Map(_) => None,
        }
    }

    /// Yes or no, in the words of YAML 1.1, or as 1 and 0, which pyftpsync takes, too. In quotes it is text.
    pub(super) fn answer(&self) -> Option<bool> {
        let Content::Word(word) = &self.content else {
            return None;
        };
        match word.as_str() {
            "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" | "1" => {
                Some(true)
            }
            "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" | "0" => {
                Some(false)
            }
            _ => None,
        }
    }

    /// The tree on one line, for tests.
    #[cfg(test)]
    pub(super) fn shown(&self) -> String {
        match &self.content {
            Content::Null => "~".to_owned(),
            Content::Word(word) => word.clone(),
            Content::Text(text) => format!("\"{text}\""),
            Content::List(items) => {
                let items: Vec<String> = items.iter().map(|item| item.shown()).collect();
                format!("[{}]", items.join(", "))
            }
            Content::Map(entries) => {
                let entries: Vec<String> = entries
                    .iter()
                    .map(|entry| format!("{}: {}", entry.name, entry.value.shown()))
                    .collect();
                format!("{{{}}}", entries.join(", "))
            }
        }
    }
}

/// The entry of that name.
pub(super) fn entry<'a>(entries: &'a [Entry], name: &str) -> Option<&'a Entry> {
    entries.iter().find(|entry| entry.name == name)
}
