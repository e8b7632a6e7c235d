//! Terminals: one that a program asks on, and the window that a user looks at.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

/// A terminal that nobody sits at: a program asks on one end, we answer at the other.
#[derive(Debug)]
pub struct Pty {
    /// Where we read what is asked, and write the answers.
    pub ours: OwnedFd,
    /// The program's end. Kept open here as well: programs close what they inherit and open their terminal anew to ask, and
    /// with nobody at that end in between ours would fail.
    pub theirs: OwnedFd,
}

impl Pty {
    /// Makes a terminal that does not repeat what is typed. No child inherits either end.
    pub fn open() -> io::Result<Self> {
        use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let ours = nix::pty::posix_openpt(flags)?;
        nix::pty::grantpt(&ours)?;
        nix::pty::unlockpt(&ours)?;
        let name = nix::pty::ptsname_r(&ours)?;
        let theirs = nix::fcntl::open(name.as_str(), flags, Mode::empty())?;
        let mut settings = tcgetattr(&theirs)?;
        settings
            .local_flags
            .remove(LocalFlags::ECHO | LocalFlags::ECHONL);
        tcsetattr(&theirs, SetArg::TCSANOW, &settings)?;
        Ok(Self {
            ours: OwnedFd::from(ours),
            theirs,
        })
    }

    /// Has the command run in a session of its own, which this terminal controls: there it asks, and there it is told by
    /// the kernel when this process ends. This must live until the command is started.
    pub fn control(&self, command: &mut std::process::Command) {
        use std::os::unix::process::CommandExt;
        let theirs = self.theirs.as_raw_fd();
        let take = move || {
            nix::unistd::setsid()?;
            // SAFETY: this request takes a number and touches no memory.
            Errno::result(unsafe { libc::ioctl(theirs, libc::TIOCSCTTY, 0) })?;
            Ok(())
        };
        // SAFETY: between fork and exec it makes two system calls, and allocates nothing.
        unsafe { command.pre_exec(take) };
    }
}

/// How many columns the terminal has; none where this is not a terminal or it does not say.
pub fn terminal_columns(terminal: impl AsFd) -> Option<u16> {
    let mut size = MaybeUninit::<libc::winsize>::zeroed();
    // SAFETY: this request fills a `winsize`.
    let done = unsafe {
        libc::ioctl(
            terminal.as_fd().as_raw_fd(),
            libc::TIOCGWINSZ,
            size.as_mut_ptr(),
        )
    };
    Errno::result(done).ok()?;
    // SAFETY: all bits zero is a valid `winsize`, and the call has filled it.
    let columns = unsafe { size.assume_init() }.ws_col;
    (columns > 0).then_some(columns)
}
