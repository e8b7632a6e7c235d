//! The terminal a user sits at: whether there is one, how wide it is, and questions whose answers are not shown.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::termios::{self, LocalFlags, SetArg, SpecialCharacterIndices, Termios};

use crate::error::{Doing, Error, ErrorKind, Result};
use crate::screen::ask::Keys;
use crate::system;

/// Somebody who can be asked for a line.
pub trait Keyboard {
    /// Asks for a line that may be seen. Fails with `Interrupted` when the user breaks off.
    fn read_line(&mut self, prompt: &str) -> Result<String>;

    /// Asks for a line that is not shown. Fails with `Interrupted` when the user breaks off.
    fn read_secret(&mut self, prompt: &str) -> Result<String>;
}

/// The terminal that controls this process.
#[derive(Debug)]
pub struct Terminal(File);

impl Terminal {
    /// The terminal, if there is one and this process is not told to leave it alone by a redirected input.
    ///
    /// Questions go to the terminal itself, so that they are seen when the output is redirected.
    pub fn open() -> Option<Self> {
        if !io::stdin().is_terminal() {
            return None;
        }
        let tty = OpenOptions::new().read(true).write(true).open("/dev/tty");
        tty.ok().map(Self)
    }

    fn ask(&mut self, prompt: &str) -> Result<()> {
        self.0.write_all(prompt.as_bytes()).map_err(broken)
    }

    /// One byte; a signal that a handler took is the user breaking off.
    fn next_byte(&mut self) -> Result<u8> {
        let mut byte = [0];
        match self.0.read(&mut byte) {
            Ok(0) => Err(given_up()),
            Ok(_) => Ok(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(given_up()),
            Err(error) => Err(broken(error)),
        }
    }
}

impl Keyboard for Terminal {
    fn read_line(&mut self, prompt: &str) -> Result<String> {
        self.ask(prompt)?;
        let mut line = Vec::new();
        loop {
            match self.next_byte()? {
                b'\n' => return text(line),
                byte if line.len() < MAX_LINE_BYTES => line.push(byte),
                _ => {}
            }
        }
    }

    fn read_secret(&mut self, prompt: &str) -> Result<String> {
        let silence = Silence::begin(&self.0)?;
        self.ask(prompt)?;
        let mut line = Vec::new();
        let typed = loop {
            match edit(&mut line, self.next_byte()?) {
                Edit::Going => {}
                Edit::Done => break text(line),
                Edit::GivenUp => break Err(given_up()),
            }
        };
        drop(silence);
        // The user's own line break was not shown.
        self.ask("\n")?;
        typed
    }
}

/// How many columns the terminal at the standard output has, or what the shell says; 80 otherwise, which nearly all have.
pub fn width() -> usize {
    let told_by_shell = || std::env::var("COLUMNS").ok()?.parse().ok();
    system::terminal_columns(io::stdout())
        .map(usize::from)
        .or_else(told_by_shell)
        .filter(|columns| (20..=1000).contains(columns))
        .unwrap_or(80)
}

/// The keys of the terminal at the standard input.
#[derive(Debug)]
pub struct TerminalKeys;

impl Keys for TerminalKeys {
    fn listen(&mut self) -> Result<impl Read + '_> {
        Ok(Listening {
            _silence: Silence::begin(io::stdin())?,
        })
    }
}

/// The standard input, key by key: a signal that asks the process to stop ends the waiting, whichever thread the signal may
/// have struck.
struct Listening {
    _silence: Silence,
}

impl Read for Listening {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        const LOOK_EVERY_MILLIS: u16 = 200;
        let input = io::stdin();
        loop {
            if system::stopped_by().is_some() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let mut waiting = [PollFd::new(input.as_fd(), PollFlags::POLLIN)];
            match poll(&mut waiting, LOOK_EVERY_MILLIS) {
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(nix::unistd::read(&input, buffer)?),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// The longest line that is read; the kernel's own limit for a line.
const MAX_LINE_BYTES: usize = 4096;

/// A terminal that shows nothing of what is typed, until this is dropped.
struct Silence {
    tty: OwnedFd,
    before: Termios,
}

impl Silence {
    /// What was typed before is dropped.
    fn begin(tty: impl AsFd) -> Result<Self> {
        let doing = || "turning off the terminal's echo";
        let tty = tty.as_fd().try_clone_to_owned();
        let tty = tty.map_err(broken).doing(doing)?;
        let before = termios::tcgetattr(&tty)
            .map_err(io::Error::from)
            .map_err(broken)
            .doing(doing)?;
        let mut quiet = before.clone();
        // Byte by byte and without signals: a ^C that killed the process here would leave the user's shell mute.
        quiet
            .local_flags
            .remove(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG);
        quiet.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
        quiet.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
        termios::tcsetattr(&tty, SetArg::TCSAFLUSH, &quiet)
            .map_err(io::Error::from)
            .map_err(broken)
            .doing(doing)?;
        Ok(Self { tty, before })
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // A terminal that has gone away needs no echo.
        let _ = termios::tcsetattr(&self.tty, SetArg::TCSADRAIN, &self.before);
    }
}

/// What a key did to the line.
#[derive(Debug, PartialEq, Eq)]
enum Edit {
    Going,
    Done,
    GivenUp,
}

/// Applies a key to the line, as the terminal itself would: rubs out, starts over, ends, breaks off.
fn edit(line: &mut Vec<u8>, key: u8) -> Edit {
    const CTRL_C: u8 = 3;
    const CTRL_D: u8 = 4;
    const BACKSPACE: u8 = 8;
    const CTRL_U: u8 = 21;
    const CTRL_BACKSLASH: u8 = 28;
    const DELETE: u8 = 127;
    match key {
        b'\n' | b'\r' => return Edit::Done,
        CTRL_C | CTRL_BACKSLASH => return Edit::GivenUp,
        CTRL_D if line.is_empty() => return Edit::GivenUp,
        CTRL_D => return Edit::Done,
        // All bytes of a character: those that continue it, and the first.
        BACKSPACE | DELETE => while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
        CTRL_U => line.clear(),
        0..32 => {}
        _ if line.len() < MAX_LINE_BYTES => line.push(key),
        _ => {}
    }
    Edit::Going
}

fn text(line: Vec<u8>) -> Result<String> {
    String::from_utf8(line).map_err(|_| {
        Error::new(ErrorKind::Usage(
            "what was typed is not UTF-8; is the terminal set to another encoding?".to_owned(),
        ))
    })
}

fn given_up() -> Error {
    Error::new(ErrorKind::Interrupted("the user"))
}

fn broken(error: io::Error) -> Error {
    Error::new(ErrorKind::Disk(error)).while_doing("asking on the terminal")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &[u8]) -> (Vec<u8>, Edit) {
        let mut line = Vec::new();
        for key in keys {
            match edit(&mut line, *key) {
                Edit::Going => {}
                end => return (line, end),
            }
        }
        (line, Edit::Going)
    }

    #[test]
    fn return_ends_the_line() {
        assert_eq!(typed(b"ab\rc"), (b"ab".to_vec(), Edit::Done));
        assert_eq!(typed(b"\n"), (Vec::new(), Edit::Done));
        assert_eq!(typed(b"ab"), (b"ab".to_vec(), Edit::Going));
    }

    #[test]
    fn backspace_takes_a_whole_character() {
        assert_eq!(typed("aé\x7fb\n".as_bytes()).0, b"ab");
        assert_eq!(typed(b"\x7f\x08a\n").0, b"a");
        assert_eq!(typed(b"abc\x15d\n").0, b"d");
    }

    #[test]
    fn control_keys_break_off() {
        assert_eq!(typed(b"ab\x03").1, Edit::GivenUp);
        assert_eq!(typed(b"\x04").1, Edit::GivenUp);
        assert_eq!(typed(b"ab\x04"), (b"ab".to_vec(), Edit::Done));
    }

    #[test]
    fn other_control_keys_do_nothing() {
        assert_eq!(typed(b"a\x1b\x1ab\0\n").0, b"ab");
    }
}
