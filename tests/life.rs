//! Random folder lives: what people do to folders between runs, and nothing may be lost.
//!
//! A life has two roots (two directories, or one and a server, with times and without), a home of its own, habits (which commands,
//! filters, state directory), and a seed from which all else follows. Between runs of the program files are written, edited and
//! deleted; folders moved, merged, copied, replaced, restored from a snapshot, the whole root too, with its archive or without;
//! directories become links and files, disks come and go, runs are killed. After each run the test looks at both sides.
//!
//! **The model.** Every content that was ever written is known by its bytes, and no two are alike. A content that either side
//! had before a run must be on one of them after it, under whatever name, or in the trash; it may be gone only if *each* copy
//! that there was may go:
//!
//! - *In `sync`* the copy at a path may go only if the user gave that content up on the other side: he removed or overwrote it
//!   there, under this path (or the one it had here before it was renamed), at a time when both sides had it there. What is
//!   only hidden, by a link in place of a directory or by a disk that is away, was not given up.
//! - *In `upload` and `download`* the source never changes. On the follower a copy may also go at a first meeting, where the
//!   source has another file of that name; and with `--delete` where the source has none, unless the archive is sure to tell
//!   that the follower's file was changed.
//! - *After the archive was lost, or came with a copy,* nothing was given up, and the next run deletes nothing.
//! - *What was done to an entry while a filter left it out* gives nothing up, nor does a deletion that `upload` or `download`
//!   did not carry over.
//!
//! Where the model cannot tell what the archive says (after runs that were killed or failed), it believes that the most was
//! given up. Besides: what a filter or `--only` leaves out stays as it is, and what a link or a disk that is away protects; no
//! file under a user's name is torn; a dry run changes nothing; of two runs in a row the second does nothing, and leaves the
//! archive as it is; exit codes are 0, 1 and 4.
//!
//! `CORACLE_LIFE=7` lives one life; `CORACLE_LIVES`, `CORACLE_FIRST_LIFE` and `CORACLE_SHOWN` say how many, from which on, and how
//! many failures are told; `CORACLE_LONG=1` lives 20,000; `CORACLE_PROGRAM` names another build. All of a life follows from its
//! seed, but for the moment of a kill between two directories.

#[path = "support/ftp_server.rs"]
mod ftp_server;
#[path = "support/life.rs"]
mod life;
#[path = "support/life_events.rs"]
mod life_events;
#[path = "support/life_model.rs"]
mod life_model;
#[path = "support/life_tree.rs"]
mod life_tree;
#[path = "support/life_world.rs"]
mod life_world;
#[path = "support/mounts.rs"]
mod mounts;
#[path = "support/random.rs"]
mod random;
#[path = "support/temp.rs"]
mod temp;

use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use life::{Life, Tally};

/// Lives of the plain test run.
const LIVES: u64 = 240;

/// Lives with `CORACLE_LONG=1`.
const LONG_LIVES: u64 = 20_000;

/// Lives at a time: one waits while another works.
const THREADS: usize = 2;

/// Failures that are shown; the rest is counted.
const SHOWN: usize = 3;

#[test]
fn nothing_is_lost() {
    if let Some(seed) = number("CORACLE_LIFE") {
        live_apart(seed).unwrap_or_else(|story| panic!("{story}"));
        return;
    }
    let lives = match (number("CORACLE_LIVES"), number("CORACLE_LONG")) {
        (Some(lives), _) => lives,
        (None, Some(1)) => LONG_LIVES,
        (None, _) => LIVES,
    };
    let first = number("CORACLE_FIRST_LIFE").unwrap_or(0);
    let shown = number("CORACLE_SHOWN").map_or(SHOWN, |shown| shown as usize);
    let next = AtomicU64::new(first);
    let came_of_all = Mutex::new((Tally::default(), Vec::<u64>::new()));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let can_mount = mounts::own();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + lives {
                        return;
                    }
                    let came = live(seed, can_mount);
                    let mut all = came_of_all.lock().expect("nobody panics with it");
                    match came {
                        Ok(tally) => all.0.add(tally),
                        Err(story) => {
                            if all.1.len() < shown {
                                println!(
                                    "\n{story}\nagain: CORACLE_LIFE={seed} cargo test --test life\n"
                                );
                            }
                            all.1.push(seed);
                        }
                    }
                }
            });
        }
    });
    let (tally, mut failures) = came_of_all.into_inner().expect("nobody panics with it");
    println!("{tally:?}");
    failures.sort_unstable();
    assert!(
        failures.is_empty(),
        "{} lives failed: {failures:?}",
        failures.len()
    );
    // What never happened proves nothing. The kills between directories are a matter of luck.
    let lives = tally.lives;
    assert!(
        tally.runs > 5 * lives && tally.repeated > lives,
        "{tally:?}"
    );
    assert!(
        tally.killed * 3 > lives && tally.refused * 10 > lives,
        "{tally:?}"
    );
    assert!(
        tally.plugged * 5 > lives && tally.unplugged * 20 > lives,
        "{tally:?}"
    );
    assert!(
        tally.restored * 40 > lives && tally.linked * 5 > lives,
        "{tally:?}"
    );
}

/// A life in a thread of its own, for what it mounts.
fn live_apart(seed: u64) -> Result<Tally, String> {
    let life = thread::spawn(move || live(seed, mounts::own()));
    life.join().expect("a life is caught")
}

fn live(seed: u64, can_mount: bool) -> Result<Tally, String> {
    panic::catch_unwind(AssertUnwindSafe(|| Life::live(seed, can_mount)))
        .unwrap_or_else(|_| Err(format!("life {seed}: the test itself panicked")))
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is a number")),
    )
}
