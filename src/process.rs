//! Programs that are run for what they say, and for no longer than somebody may be kept waiting.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{read, write};

use crate::system;

/// Between two looks at whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// So much of each of its outputs is kept, from the end: an answer is a line or two.
const KEPT_BYTES: usize = 16 * 1024;

/// What a program said.
pub struct Said {
    /// How it ended.
    pub status: ExitStatus,
    /// The end of its output.
    pub output: Vec<u8>,
    /// The end of its complaints.
    pub complaints: Vec<u8>,
}

/// Runs a program to its end, with this as its input. One that takes longer is killed: `TimedOut`. `Interrupted` when the user
/// wants no more of it.
pub fn ask(command: &mut Command, input: &[u8], patience: Duration) -> io::Result<Said> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut pipes = Pipes {
        input: child.stdin.take().map(OwnedFd::from),
        unsaid: input,
        outputs: [
            (child.stdout.take().map(OwnedFd::from), Vec::new()),
            (child.stderr.take().map(OwnedFd::from), Vec::new()),
        ],
    };
    let until = Instant::now() + patience;
    let ended = pipes.unblock().and_then(|()| {
        loop {
            // What it said before it ended is in the pipes; whoever it left behind may keep them open.
            let status = child.try_wait()?;
            pipes.turn();
            match status {
                Some(status) => return Ok(status),
                None if system::stopped_by().is_some() => {
                    return Err(ErrorKind::Interrupted.into());
                }
                None if Instant::now() > until => return Err(ErrorKind::TimedOut.into()),
                None => thread::sleep(LOOK_EVERY),
            }
        }
    });
    if ended.is_err() {
        // Either fails only where it has ended by itself.
        let _ = child.kill();
        let _ = child.wait();
    }
    let [(_, output), (_, complaints)] = pipes.outputs;
    Ok(Said {
        status: ended?,
        output,
        complaints,
    })
}

struct Pipes<'a> {
    input: Option<OwnedFd>,
    unsaid: &'a [u8],
    outputs: [(Option<OwnedFd>, Vec<u8>); 2],
}

impl Pipes<'_> {
    fn unblock(&self) -> io::Result<()> {
        let outputs = self.outputs.iter().map(|(fd, _)| fd);
        for fd in outputs.chain([&self.input]).flatten() {
            fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        Ok(())
    }

    /// Says and hears what can be said and heard without waiting.
    fn turn(&mut self) {
        if let Some(input) = &self.input {
            match write(input, self.unsaid) {
                Ok(count) => self.unsaid = &self.unsaid[count..],
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                // It listens no more.
                Err(_) => self.unsaid = &[],
            }
            if self.unsaid.is_empty() {
                self.input = None;
            }
        }
        for (fd, kept) in &mut self.outputs {
            if let Some(open) = fd
                && take_in(open.as_fd(), kept, KEPT_BYTES)
            {
                *fd = None;
            }
        }
    }
}

/// Appends what can be read without waiting, keeping the end of it; whether there will never be more.
pub fn take_in(fd: BorrowedFd<'_>, kept: &mut Vec<u8>, most: usize) -> bool {
    let mut buffer = [0; 1024];
    loop {
        match read(fd, &mut buffer) {
            Ok(0) => return true,
            Ok(count) => {
                kept.extend_from_slice(&buffer[..count]);
                kept.drain(..kept.len().saturating_sub(most));
            }
            Err(Errno::EINTR) => {}
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn shell(script: &str, input: &[u8], patience: Duration) -> io::Result<Said> {
        ask(Command::new("sh").args(["-c", script]), input, patience)
    }

    #[test]
    fn hears_both_outputs_and_the_end() {
        let said = shell("cat; echo no >&2; exit 3", b"a:b", LONG).unwrap();
        assert_eq!(said.output, b"a:b");
        assert_eq!(said.complaints, b"no\n");
        assert_eq!(said.status.code(), Some(3));
    }

    #[test]
    fn more_than_a_pipe_holds_goes_through_and_its_end_is_kept() {
        let input = [&vec![b'a'; 300_000][..], b"end"].concat();
        let said = shell("cat", &input, LONG).unwrap();
        assert_eq!(said.output.len(), KEPT_BYTES);
        assert!(said.output.ends_with(b"aend"));
        let said = shell("exec <&-; echo deaf", &input, LONG).unwrap();
        assert_eq!(said.output, b"deaf\n");
    }

    #[test]
    fn who_says_nothing_is_not_waited_for() {
        let ended = shell("exec sleep 1000", b"", Duration::from_millis(50));
        assert_eq!(
            ended.err().map(|error| error.kind()),
            Some(ErrorKind::TimedOut)
        );
    }

    #[test]
    fn what_stays_behind_is_not_waited_for() {
        let said = shell("sleep 1000 & echo $!", b"", LONG).unwrap();
        let pid = String::from_utf8(said.output).unwrap();
        let pid = nix::unistd::Pid::from_raw(pid.trim().parse().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    }
}
