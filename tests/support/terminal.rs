//! A terminal with a program on it, and a person who looks at it and types.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{Winsize, openpty};

use super::program::{Ended, Place};

/// Nobody looks at a terminal for longer without seeing what was to come, on a loaded machine either.
const PATIENCE: Duration = Duration::from_secs(60);

const ROWS: u16 = 24;

/// A program on a terminal of its own.
pub struct Terminal {
    child: Child,
    keyboard: File,
    device: PathBuf,
    screen: vt100::Parser,
    /// All that was printed, with what steers the terminal.
    printed: String,
    /// Up to where it was looked at.
    seen: usize,
    started: Instant,
    /// Looks at the screen whenever something was printed.
    watch: fn(&vt100::Screen),
}

impl Terminal {
    /// Starts the program with these arguments.
    pub fn start(place: &Place, arguments: &[&str], columns: u16) -> Self {
        Self::start_program(place, env!("CARGO_BIN_EXE_coracle"), arguments, columns)
    }

    /// Starts any program.
    pub fn start_program(place: &Place, program: &str, arguments: &[&str], columns: u16) -> Self {
        let size = Winsize {
            ws_row: ROWS,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pair = openpty(Some(&size), None).expect("there are terminals left");
        let device = nix::unistd::ttyname(&pair.slave).expect("it is a terminal");
        let end = |fd: &OwnedFd| Stdio::from(fd.try_clone().expect("it can be opened again"));
        // A session of its own has the terminal.
        let mut command = Command::new("setsid");
        command
            .args(["--ctty", "--wait", program])
            .args(arguments)
            .stdin(end(&pair.slave))
            .stdout(end(&pair.slave))
            .stderr(end(&pair.slave));
        place
            .surround(&mut command)
            .env("TERM", "xterm")
            .env("TZ", "UTC");
        Self {
            child: command.spawn().expect("setsid is there"),
            keyboard: File::from(pair.master),
            device,
            screen: vt100::Parser::new(non_zero(ROWS), non_zero(columns), 1000),
            printed: String::new(),
            seen: 0,
            started: Instant::now(),
            watch: |_| {},
        }
    }

    /// Looks at the screen whenever something was printed.
    pub fn watched(mut self, watch: fn(&vt100::Screen)) -> Self {
        self.watch = watch;
        self
    }

    /// Waits until this is printed, after what was waited for before.
    #[track_caller]
    pub fn expect(mut self, text: &str) -> Self {
        let until = Instant::now() + PATIENCE;
        while !self.printed[self.seen..].contains(text) {
            assert!(
                self.read(until),
                "{text:?} did not come; the screen is\n{}\nafter {:?}",
                self.look(),
                self.printed
            );
        }
        let at = self.printed[self.seen..].find(text);
        self.seen += at.expect("it came") + text.len();
        self
    }

    /// Types.
    pub fn send(mut self, keys: &str) -> Self {
        self.keyboard
            .write_all(keys.as_bytes())
            .expect("the terminal is there");
        self
    }

    /// Makes the window wider or narrower. What was printed before is shown in the old one.
    pub fn resize(mut self, columns: u16) -> Self {
        let set = Command::new("stty")
            .arg("-F")
            .arg(&self.device)
            .args(["cols", &columns.to_string()])
            .status();
        assert!(set.expect("stty is there").success());
        while self.read(Instant::now()) {}
        self.screen.set_size(non_zero(ROWS), non_zero(columns));
        self
    }

    /// What is on the screen now, without the blanks at the ends.
    pub fn look(&self) -> String {
        let contents = self.screen.screen().contents();
        let lines = contents.lines().map(str::trim_end);
        lines.collect::<Vec<_>>().join("\n").trim_end().to_owned()
    }

    /// Waits for the end. What was printed on either output is told as printed, with what steers the terminal.
    pub fn finish(self) -> Ended {
        self.finish_with_screen().0
    }

    /// Waits for the end; what came of it, and what is on the screen.
    pub fn finish_with_screen(mut self) -> (Ended, String) {
        let until = Instant::now() + PATIENCE;
        while self.read(until) {}
        assert!(Instant::now() < until, "it hangs: {}", self.printed);
        let status = self.child.wait().expect("it is our child");
        let screen = self.look();
        let ended = Ended {
            code: status.code(),
            stdout: std::mem::take(&mut self.printed),
            stderr: String::new(),
            took: self.started.elapsed(),
        };
        (ended, screen)
    }

    /// Takes what is printed next; whether there was anything before the end and the time.
    fn read(&mut self, until: Instant) -> bool {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).expect("it is no year");
        let mut waiting = [PollFd::new(self.keyboard.as_fd(), PollFlags::POLLIN)];
        if poll(&mut waiting, timeout) != Ok(1) {
            return false;
        }
        let mut bytes = [0; 65536];
        // An error is how Linux tells that nobody has the terminal open any more.
        let count = self.keyboard.read(&mut bytes).unwrap_or(0);
        self.screen.process(&bytes[..count]);
        (self.watch)(self.screen.screen());
        // Half a character at the end is told as broken; no test waits for one.
        self.printed
            .push_str(&String::from_utf8_lossy(&bytes[..count]));
        count > 0
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A test that failed has left it running.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn non_zero(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).expect("a screen has rows and columns")
}
