//! What a key means in the dialogue about a conflict. A capital letter means what the small one does.

use std::io::{self, Read};

use super::words;
use crate::replica::Kind;
use crate::side::{Side, Sides};
use crate::sync::event::{Choice, Conflict};
use crate::sync::plan::resolve::Resolution;

/// The answers, in the order in which they are offered.
pub(super) const ANSWERS: [(char, Choice); 6] = [
    ('l', Choice::Use(Side::Local)),
    ('r', Choice::Use(Side::Remote)),
    ('o', Choice::Older),
    ('n', Choice::Newer),
    ('b', Choice::Both),
    ('s', Choice::Skip),
];

/// What a key means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    Answer(Choice),
    /// The next key is an answer to all that follow.
    All,
    Compare,
    Quit,
    Help,
    Nothing,
}

impl Meaning {
    pub(super) fn of(key: char, conflict: &Conflict<'_>) -> Self {
        let key = key.to_ascii_lowercase();
        let answer = offered(conflict).find(|(letter, _)| *letter == key);
        match (answer, key) {
            (Some((_, choice)), _) => Self::Answer(choice),
            (None, 'a') if has_followers(conflict) => Self::All,
            (None, 'd') if is_comparable(conflict) => Self::Compare,
            (None, 'q') => Self::Quit,
            (None, '?' | 'h') => Self::Help,
            (None, _) => Self::Nothing,
        }
    }
}

/// The answers that change something here, and the one that does not.
pub(super) fn offered(conflict: &Conflict<'_>) -> impl Iterator<Item = (char, Choice)> {
    ANSWERS.into_iter().filter(|(_, choice)| {
        *choice == Choice::Skip || conflict.comes_to(*choice) != Resolution::Skip
    })
}

/// Whether there are conflicts that the user was not asked about yet.
pub(super) const fn has_followers(conflict: &Conflict<'_>) -> bool {
    conflict.number < conflict.all
}

/// Whether there are two files.
pub(super) fn is_comparable(conflict: &Conflict<'_>) -> bool {
    let Sides { local, remote } = conflict
        .stats
        .map(|stat| stat.is_some_and(|stat| stat.kind == Kind::File));
    local && remote
}

/// What came from the keyboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Typed(char),
    /// The user broke off, by ^C, ^D or a signal, or went away.
    Gone,
    /// The terminal failed.
    Lost,
}

/// Takes what a terminal sends apart into keys.
pub(super) struct Reader<In> {
    input: In,
    /// What came together with the last key.
    rest: Vec<u8>,
}

impl<In: Read> Reader<In> {
    pub(super) const fn new(input: In) -> Self {
        Self {
            input,
            rest: Vec::new(),
        }
    }

    pub(super) fn next(&mut self) -> Key {
        const CTRL_C: u8 = 3;
        const CTRL_D: u8 = 4;
        const CTRL_BACKSLASH: u8 = 28;
        if self.rest.is_empty() {
            let mut bytes = [0; 16];
            match self.input.read(&mut bytes) {
                Ok(count) => self.rest.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Key::Gone,
                Err(_) => return Key::Lost,
            }
        }
        let Some(first) = self.rest.first().copied() else {
            return Key::Gone;
        };
        if matches!(first, CTRL_C | CTRL_D | CTRL_BACKSLASH) {
            return Key::Gone;
        }
        let bytes: Vec<u8> = self.rest.drain(..length(&self.rest)).collect();
        match bytes[..] {
            [byte] if byte.is_ascii() => Key::Typed(char::from(byte)),
            // An arrow, an accented letter.
            _ => Key::Typed(words::SOME_KEY),
        }
    }
}

/// How many bytes the first key sent: arrows and the like send what begins with an escape (ECMA-48, 5.4), letters beyond ASCII
/// are UTF-8.
fn length(bytes: &[u8]) -> usize {
    const ESCAPE: u8 = 27;
    let is_final = |byte: &u8| (0x40..0x7f).contains(byte);
    match bytes {
        [ESCAPE, b'[' | b'O', rest @ ..] => {
            let end = rest.iter().position(is_final);
            2 + end.map_or(rest.len(), |end| end + 1)
        }
        // Alt with a key.
        [ESCAPE, _, ..] => 2,
        [_, rest @ ..] => 1 + rest.iter().take_while(|byte| **byte & 0xc0 == 0x80).count(),
        [] => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_several_bytes_are_one_key() {
        let keys = |typed: &[u8]| {
            let mut reader = Reader::new(typed);
            std::iter::from_fn(|| Some(reader.next()).filter(|key| *key != Key::Gone))
                .collect::<Vec<_>>()
        };
        let some = Key::Typed(words::SOME_KEY);
        assert_eq!(keys(b"lr"), [Key::Typed('l'), Key::Typed('r')]);
        assert_eq!(keys(b"\x1b[Al"), [some, Key::Typed('l')]);
        assert_eq!(keys(b"\x1b[1;5Da"), [some, Key::Typed('a')]);
        assert_eq!(keys(b"\x1b"), [Key::Typed('\x1b')]);
        assert_eq!(keys("éa".as_bytes()), [some, Key::Typed('a')]);
        assert_eq!(keys(b"\x03l"), []);
    }
}
