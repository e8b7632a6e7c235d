//! The wish of a user or of the system that this process ends.

use std::io;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::errno::Errno;

/// The signal that asked this process to stop; 0 while none has.
static STOPPED_BY: AtomicI32 = AtomicI32::new(0);

/// From now on SIGINT, SIGTERM and SIGHUP are remembered for [`stopped_by`], and a second one ends the process at
/// once; SIGPIPE does nothing, so that a write to a closed pipe or socket fails instead.
///
/// A signal that was ignored before stays ignored: `nohup` and shells that start something in the background rely on
/// it.
pub fn watch_signals() -> io::Result<()> {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let before = sigaction(signal, None)?;
        if before.sa_sigaction != libc::SIG_IGN {
            sigaction(signal, Some(remember_signal as *const () as usize))?;
        }
    }
    sigaction(libc::SIGPIPE, Some(libc::SIG_IGN))?;
    Ok(())
}

/// The name of the signal that asked this process to stop, if one has.
pub fn stopped_by() -> Option<&'static str> {
    match STOPPED_BY.load(Ordering::Relaxed) {
        0 => None,
        libc::SIGINT => Some("SIGINT"),
        libc::SIGHUP => Some("SIGHUP"),
        _ => Some("SIGTERM"),
    }
}

/// Sets what is done at a signal, if anything is given, and says what was done before.
fn sigaction(signal: i32, action: Option<usize>) -> io::Result<libc::sigaction> {
    let mut before = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: all bits zero is a valid `sigaction`: no flags, no signals masked.
    let mut new: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    let new = match action {
        Some(action) => {
            new.sa_sigaction = action;
            // Without SA_RESTART, so that a wait for the network or the terminal ends.
            &raw const new
        }
        None => std::ptr::null(),
    };
    // SAFETY: `new` is null or valid, `before` can hold the answer, and what runs at the signal is `SIG_IGN` or
    // `remember_signal`, which does nothing that a signal handler must not do.
    Errno::result(unsafe { libc::sigaction(signal, new, before.as_mut_ptr()) })?;
    // SAFETY: the call has filled it.
    Ok(unsafe { before.assume_init() })
}

extern "C" fn remember_signal(signal: i32) {
    if STOPPED_BY.swap(signal, Ordering::Relaxed) != 0 {
        // Ends the process as the signal would have: whoever started it sees that. It is blocked while this function
        // runs, so it strikes when it returns.
        // SAFETY: both functions may be called in a signal handler.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        }
    }
}
