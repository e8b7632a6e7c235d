//! Asks the user at the terminal how to resolve a conflict: shows both sides and what each answer comes to, takes one key.
//!
//! `words` says what there is and what would be done, `keys` tells what a key means.

mod keys;
mod words;

use std::io::{Read, Write};

use crate::error::{Error, ErrorKind, Result};
use crate::side::Sides;
use crate::sync::event::{Answer, Ask, Conflict};
use keys::{Key, Meaning};

/// Where keys come from.
pub trait Keys {
    /// Listens for single keys until what is given back is dropped. What was typed before that is not heard: nobody answers what
    /// was not asked yet.
    fn listen(&mut self) -> Result<impl Read + '_>;
}

/// Asks over a terminal.
#[derive(Debug)]
pub struct TerminalAsk<In, Out> {
    input: In,
    output: Out,
    style: AskStyle,
}

/// How questions look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskStyle {
    /// Keys are marked, conflicts are red.
    Colored,
    /// Plain text.
    Plain,
}

impl<In: Keys, Out: Write> TerminalAsk<In, Out> {
    /// Somebody who has not been asked yet.
    ///
    /// `input` must pass on that a signal interrupted it: that is the user breaking off.
    pub const fn new(input: In, output: Out, style: AskStyle) -> Self {
        Self {
            input,
            output,
            style,
        }
    }
}

impl<In: Keys, Out: Write> Ask for TerminalAsk<In, Out> {
    fn ask(
        &mut self,
        conflict: &Conflict<'_>,
        compare: &mut dyn FnMut() -> Result<bool>,
    ) -> Result<Answer> {
        let mut dialogue = Dialogue {
            keys: keys::Reader::new(self.input.listen()?),
            output: &mut self.output,
            conflict,
            style: self.style,
        };
        dialogue.say(&words::describe(conflict, self.style))?;
        dialogue.say(&words::offer(conflict, self.style))?;
        loop {
            match dialogue.take("Which?", &words::keys(conflict))? {
                Key::Gone => return Err(dialogue.quit()),
                Key::Lost => return Err(lost()),
                Key::Typed(key) => {
                    if let Some(answer) = dialogue.heed(key, compare)? {
                        return Ok(answer);
                    }
                }
            }
        }
    }
}

/// One conflict's questions and answers.
struct Dialogue<'d, In, Out> {
    keys: keys::Reader<In>,
    output: &'d mut Out,
    conflict: &'d Conflict<'d>,
    style: AskStyle,
}

impl<In: Read, Out: Write> Dialogue<'_, In, Out> {
    fn say(&mut self, text: &str) -> Result<()> {
        writeln!(self.output, "{text}").map_err(|_| lost())
    }

    /// Asks for a key, in a line that the answer completes.
    fn take(&mut self, question: &str, keys: &str) -> Result<Key> {
        write!(self.output, "{question} [{keys}] ")
            .and_then(|()| self.output.flush())
            .map_err(|_| lost())?;
        Ok(self.keys.next())
    }

    /// Does what the key means; the answer, if it is one.
    fn heed(
        &mut self,
        key: char,
        compare: &mut dyn FnMut() -> Result<bool>,
    ) -> Result<Option<Answer>> {
        match Meaning::of(key, self.conflict) {
            Meaning::Answer(choice) => {
                self.say(words::of(choice))?;
                return Ok(Some(Answer::Once(choice)));
            }
            Meaning::All => return self.take_for_all(),
            Meaning::Quit => return Err(self.quit()),
            Meaning::Compare => {
                self.say("compare")?;
                let verdict = verdict(self.conflict, compare)?;
                self.say(&verdict)?;
            }
            Meaning::Help => {
                self.say("help")?;
                self.say(&words::describe(self.conflict, self.style))?;
                self.say(&words::offer(self.conflict, self.style))?;
                self.say(words::HELP)?;
            }
            Meaning::Nothing => {
                let why = words::why_not(key, self.conflict);
                self.say(&why)?;
            }
        }
        Ok(None)
    }

    /// The second key of an answer that holds for all that follow; none where that is taken back.
    fn take_for_all(&mut self) -> Result<Option<Answer>> {
        self.say("all")?;
        let (keys, question) = (words::answers(self.conflict), words::for_all(self.conflict));
        let key = match self.take(&question, &keys)? {
            Key::Typed(key) => key,
            Key::Gone => return Err(self.quit()),
            Key::Lost => return Err(lost()),
        };
        if let Meaning::Answer(choice) = Meaning::of(key, self.conflict) {
            self.say(&format!("{}, for all that follow, too", words::of(choice)))?;
            return Ok(Some(Answer::Always(choice)));
        }
        self.say("no answer: only about this one, then")?;
        Ok(None)
    }

    /// The user breaks off.
    fn quit(&mut self) -> Error {
        // A terminal that is gone needs no explanation.
        let _ = self.say(&format!("quit\n{}", words::quit(self.conflict)));
        Error::new(ErrorKind::Interrupted("the user"))
    }
}

/// Whether the files are equal, in words. A comparison that fails is a word, too: the user can still decide.
fn verdict(conflict: &Conflict<'_>, compare: &mut dyn FnMut() -> Result<bool>) -> Result<String> {
    if let Sides {
        local: Some(local),
        remote: Some(remote),
    } = conflict.stats
        && local.size != remote.size
    {
        return Ok("They are different: their sizes are.".to_owned());
    }
    match compare() {
        Ok(true) => Ok("They are equal, byte for byte.".to_owned()),
        Ok(false) => Ok("They are different, although their sizes are equal.".to_owned()),
        Err(error) if matches!(error.kind(), ErrorKind::Interrupted(_)) => Err(error),
        Err(error) => Ok(format!("They cannot be compared: {error}")),
    }
}

fn lost() -> Error {
    Error::new(ErrorKind::Interrupted("the loss of the terminal"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    use crate::job::{Delete, Direction};
    use crate::path::RelPath;
    use crate::replica::Stat;
    use crate::side::Side;
    use crate::sync::event::Choice;
    use crate::sync::plan::status::Status;
    use crate::sync::record::Shown;
    use crate::time::Timestamp;

    struct Typing<'a>(&'a [u8]);

    impl Keys for Typing<'_> {
        fn listen(&mut self) -> Result<impl Read + '_> {
            Ok(&mut self.0)
        }
    }

    fn conflict(path: &RelPath, direction: Direction) -> Conflict<'_> {
        Conflict {
            path,
            number: 2,
            all: 3,
            stats: Sides::new(
                Some(Stat::file(1234, Timestamp::from_secs(1_700_000_000))),
                Some(Stat::file(1000, Timestamp::from_secs(1_600_000_000))),
            ),
            status: Sides::new(Status::Modified, Status::Modified),
            record: Some(Sides::new(
                Shown::of(&Stat::file(10, Timestamp::from_secs(0))),
                Shown::of(&Stat::file(10, Timestamp::from_secs(0))),
            )),
            direction,
            delete: Delete::Never,
        }
    }

    /// What comes of these keys, and what was written.
    fn typed(conflict: &Conflict<'_>, keys: &str) -> (Result<Answer>, String) {
        let mut output = Vec::new();
        let mut asker = TerminalAsk::new(Typing(keys.as_bytes()), &mut output, AskStyle::Plain);
        let answer = asker.ask(conflict, &mut || Ok(true));
        (answer, String::from_utf8(output).unwrap())
    }

    fn x() -> RelPath {
        RelPath::parse(b"x").unwrap()
    }

    #[test]
    fn each_letter_is_a_choice_and_a_capital_is_the_same_letter() {
        let choices = [
            ("l", Choice::Use(Side::Local)),
            ("r", Choice::Use(Side::Remote)),
            ("o", Choice::Older),
            ("n", Choice::Newer),
            ("b", Choice::Both),
            ("s", Choice::Skip),
        ];
        let path = x();
        let conflict = conflict(&path, Direction::Sync);
        for (letter, choice) in choices {
            for key in [letter.to_owned(), letter.to_uppercase()] {
                let answer = typed(&conflict, &key).0.unwrap();
                assert_eq!(answer, Answer::Once(choice), "{key}");
                let answer = typed(&conflict, &format!("a{key}")).0.unwrap();
                assert_eq!(answer, Answer::Always(choice), "a{key}");
            }
        }
    }

    #[test]
    fn all_is_taken_back_by_a_key_that_is_no_answer() {
        let path = x();
        let (answer, output) = typed(&conflict(&path, Direction::Sync), "adl");
        assert_eq!(answer.unwrap(), Answer::Once(Choice::Use(Side::Local)));
        assert!(
            output.contains("no answer: only about this one"),
            "{output}"
        );
    }

    #[test]
    fn a_key_that_means_nothing_says_so() {
        let path = x();
        let (answer, output) = typed(&conflict(&path, Direction::Sync), "x\n\x1b[As");
        assert_eq!(answer.unwrap(), Answer::Once(Choice::Skip));
        assert!(output.contains("'x' means nothing here"), "{output}");
        assert!(output.contains("Return means nothing here"), "{output}");
        assert!(output.contains("that key means nothing here"), "{output}");
    }

    #[test]
    fn a_mirror_lets_only_its_source_win() {
        let path = x();
        let (answer, output) = typed(&conflict(&path, Direction::Upload), "robl");
        assert_eq!(answer.unwrap(), Answer::Once(Choice::Use(Side::Local)));
        assert_eq!(
            output
                .matches("upload never changes the local side")
                .count(),
            3,
            "{output}"
        );
        let (answer, output) = typed(&conflict(&path, Direction::Download), "lr");
        assert_eq!(answer.unwrap(), Answer::Once(Choice::Use(Side::Remote)));
        assert!(
            output.contains("download never changes the remote side"),
            "{output}"
        );
    }

    #[test]
    fn equal_times_rule_out_older_and_newer() {
        let path = x();
        let mut conflict = conflict(&path, Direction::Sync);
        conflict.stats.remote = conflict.stats.local;
        let (answer, output) = typed(&conflict, "ons");
        assert_eq!(answer.unwrap(), Answer::Once(Choice::Skip));
        let told = output.matches("their times are equal, or not known");
        assert_eq!(told.count(), 2, "{output}");
        assert!(!output.contains("newer"), "{output}");
    }

    #[test]
    fn a_deleted_side_is_shown_and_cannot_be_compared() {
        let path = x();
        let mut conflict = conflict(&path, Direction::Sync);
        conflict.stats.remote = None;
        conflict.status.remote = Status::Deleted;
        let (answer, output) = typed(&conflict, "dnr");
        assert_eq!(answer.unwrap(), Answer::Once(Choice::Use(Side::Remote)));
        assert_eq!(
            output.matches("there are no two files").count(),
            2,
            "{output}"
        );
    }

    #[test]
    fn bytes_are_compared_where_sizes_do_not_tell() {
        let path = x();
        let mut conflict = conflict(&path, Direction::Sync);
        let (_, output) = typed(&conflict, "ds");
        assert!(output.contains("different: their sizes are"), "{output}");
        conflict.stats.remote = conflict.stats.local;
        let (_, output) = typed(&conflict, "ds");
        assert!(output.contains("equal, byte for byte"), "{output}");
        let mut output = Vec::new();
        let mut asker = TerminalAsk::new(Typing(b"ds"), &mut output, AskStyle::Plain);
        let answer = asker.ask(&conflict, &mut || Err(Error::new(ErrorKind::NotFound)));
        assert_eq!(answer.unwrap(), Answer::Once(Choice::Skip));
        let output = String::from_utf8(output).unwrap();
        assert!(output.contains("cannot be compared: no such"), "{output}");
    }

    #[test]
    fn breaking_off_says_what_was_not_done() {
        struct Signal;
        impl Read for Signal {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::Interrupted.into())
            }
        }
        impl Keys for Signal {
            fn listen(&mut self) -> Result<impl Read + '_> {
                Ok(&mut *self)
            }
        }
        let path = x();
        let conflict = conflict(&path, Direction::Sync);
        for keys in ["q", "Q", "aq", "\x03", "\x04", ""] {
            let (answer, output) = typed(&conflict, keys);
            let error = answer.unwrap_err();
            // `q` is no answer after `a`, and the end of the keys comes then.
            assert!(
                matches!(error.kind(), ErrorKind::Interrupted(_)),
                "{keys:?}"
            );
            assert!(output.contains("Nothing was changed"), "{keys:?}: {output}");
        }
        let mut output = Vec::new();
        let mut asker = TerminalAsk::new(Signal, &mut output, AskStyle::Plain);
        let error = asker.ask(&conflict, &mut || Ok(true)).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Interrupted(_)));
        assert!(
            String::from_utf8(output)
                .unwrap()
                .contains("Nothing was changed")
        );
    }
}
