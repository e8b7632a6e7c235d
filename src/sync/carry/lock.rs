//! The lock of the remote root: a directory, the one thing that every server makes in one step on the control connection.
//!
//! Whoever wants to write makes a mark in `.coracle-lock` and then looks at what is in there: of two who do so, one sees the
//! other at least. It is theirs who sees no other fresh mark; all others take theirs back. How old a mark is tells the server
//! alone, which dates mine as well as yours. A mark bears the name of its holder and a number that no mark had before, and is
//! replaced by the next one in time ([`Keeping`]); one that was not belongs to a run that died.
//!
//! Where no directory can be made, pyftpsync's lock file stands for it: advice, as no server creates a file in one step. That
//! of another counts in any case.

use crate::error::{Error, ErrorKind, Result, Scope};
use crate::path::{Escaped, LOCK_DIR_NAME, Name, RelPath};
use crate::replica::{self, Mtime, Removal, Replica};
use crate::time::Timestamp;

pub use keeping::Keeping;

mod file;
mod keeping;

/// A lock that was not refreshed for this long belongs to a run that died.
const STALE_AFTER_SECS: i64 = 3600;

/// Whoever lets go takes the directory away, perhaps right before a mark is made in it: so often it is made again.
const MARK_TRIES: usize = 3;

/// What a run claims.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// Who claims it: no other run that goes on bears this name.
    pub holder: &'a str,
    /// Whether a lock that another run holds is broken.
    pub breaks: bool,
    /// Whether there may be a lock file.
    pub may_have_file: bool,
    /// The wall clock.
    pub now: Timestamp,
}

/// What came of a claim.
#[derive(Debug)]
pub struct Taken {
    /// What stands for the lock; none where the root cannot be written.
    pub sign: Option<Sign>,
    /// What the user is told.
    pub told: Vec<String>,
}

/// What stands for a lock that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sign {
    /// A mark of that number; or several where it is not known what became of an earlier one.
    Marks(Vec<i64>),
    /// A lock file.
    File,
}

/// What another name beside our mark means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Other {
    /// An earlier run of this holder left it.
    Own,
    /// It was left so many seconds ago.
    Stale(i64),
    /// It is held; for so many seconds, where the server tells.
    Fresh(Option<i64>),
}

type Seen = Vec<(Vec<u8>, Option<Mtime>)>;

/// A lock that lies in a root, whoever looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lying {
    /// What its holder calls itself; none where a lock file names nobody.
    pub holder: Option<Box<[u8]>>,
    /// When it was taken or refreshed, where that can be told: of a mark by the clock of its own side, of a lock file by that of
    /// the machine that wrote it.
    pub made: Option<Timestamp>,
}

/// A lock that was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cleared {
    /// What its holder calls itself; none where a lock file names nobody.
    pub holder: Option<Box<[u8]>>,
    /// How old it was, in seconds.
    pub age_secs: Option<i64>,
    /// Whether the run that holds it may go on.
    pub is_fresh: bool,
}

/// All locks that lie in the root. Nothing is written, so that nobody tells what time it is there.
pub fn lying(remote: &mut dyn Replica) -> Result<Vec<Lying>> {
    let names = names_lying(remote)?;
    let marks: Vec<RelPath> = names
        .iter()
        .filter_map(|name| Some(dir().join(Name::new(name).ok()?)))
        .collect();
    let stats = remote.look_up(&marks);
    let of_mark = |(name, stat): (&Vec<u8>, Result<Option<replica::Stat>>)| Lying {
        holder: Some(holder_of(name).into()),
        made: stat.ok().flatten().and_then(|stat| Some(stat.mtime?.at)),
    };
    let mut all: Vec<Lying> = names.iter().zip(stats).map(of_mark).collect();
    all.extend(file::load(remote)?.map(|content| Lying {
        holder: content.lock_holder.map(|holder| holder.into_bytes().into()),
        made: Some(content.lock_time),
    }));
    Ok(all)
}

/// The holder in the name of a mark.
fn holder_of(mark: &[u8]) -> &[u8] {
    let dash = mark.iter().rposition(|byte| *byte == b'-');
    &mark[..dash.unwrap_or(mark.len())]
}

/// The names in the lock; none where there is no lock.
fn names_lying(remote: &mut dyn Replica) -> Result<Vec<Vec<u8>>> {
    match names_in_lock(remote) {
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        names => names,
    }
}

impl Claim<'_> {
    /// Takes the lock. Fails with `Locked` when another run has it; then nothing of ours is left there.
    pub fn take(&self, remote: &mut dyn Replica) -> Result<Taken> {
        let mut told = Vec::new();
        if self.may_have_file {
            told.extend(self.face_file(remote)?);
        }
        let number = Timestamp::now().as_nanos();
        let sign = Sign::Marks(vec![number]);
        let judged = self
            .put(remote, number)
            .and_then(|seen| self.judge(remote, &seen, number));
        let why = match judged {
            Ok(notices) => {
                told.extend(notices);
                let sign = Some(sign);
                return Ok(Taken { sign, told });
            }
            Err(error) if error.scope() == Scope::Session => return Err(error),
            Err(error) => error,
        };
        // Why there is no lock says more than why the mark stays.
        let _ = self.release(remote, &sign);
        if why.scope() != Scope::Entry {
            return Err(why);
        }
        self.refuse_contended(remote)?;
        if !self.may_have_file {
            told.extend(self.face_file(remote)?);
        }
        let sign = match self.take_file(remote) {
            Ok(()) => Some(Sign::File),
            Err(error) if error.scope() == Scope::Entry => {
                log::info!("{error}");
                told.push(format!(
                    "the remote root cannot be locked ({why}); the run goes on without, so let no other machine sync with it meanwhile"
                ));
                None
            }
            Err(error) => return Err(error),
        };
        Ok(Taken { sign, told })
    }

    /// Makes a mark, and tells what is beside it then.
    fn put(&self, remote: &mut dyn Replica, number: i64) -> Result<Seen> {
        let mark = self.mark(number);
        let mut failed = None;
        for _ in 0..MARK_TRIES {
            let mut seen = Seen::new();
            let made: Result<()> = remote.make_dirs(&[dir()]).into_iter().collect();
            let put = made.and_then(|()| {
                remote.put_mark(&mark, &mut |name, mtime| seen.push((name.to_vec(), mtime)))
            });
            match put {
                Ok(()) => return Ok(seen),
                Err(error) if error.scope() == Scope::Entry => failed = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(failed.expect("it was tried"))
    }

    /// Whether the lock is ours, now that our mark is there; what others left is removed, and told.
    fn judge(&self, remote: &mut dyn Replica, seen: &Seen, number: i64) -> Result<Vec<String>> {
        let others = self.others(seen, number).ok_or_else(|| {
            let text = "the server does not show what it made".to_owned();
            Error::new(ErrorKind::Verify(text))
        })?;
        let mut told = Vec::new();
        for (name, other) in &others {
            match other {
                Other::Own => {}
                Other::Stale(secs) => told.push(format!(
                    "the remote lock of a run that died was broken: it was {} minutes old",
                    secs.abs() / 60
                )),
                Other::Fresh(_) if self.breaks => {
                    told.push(
                        "the remote lock of another run was broken (--break-lock)".to_owned(),
                    );
                }
                Other::Fresh(age) => {
                    return Err(ErrorKind::Locked(locked_by(name, *age)).into());
                }
            }
        }
        let dirs = others
            .iter()
            .filter_map(|(name, _)| Some(Removal::Dir(dir().join(Name::new(name).ok()?))));
        let removals: Vec<Removal> = dirs.collect();
        if !removals.is_empty() {
            for error in remote.remove(&removals).into_iter().filter_map(Result::err) {
                if error.scope() != Scope::Entry {
                    return Err(error);
                }
                log::info!("removing the mark of a lock: {error}");
            }
        }
        Ok(told)
    }

    /// What is there beside our mark; none where that is not shown, and so nothing can be told.
    fn others<'s>(&self, seen: &'s Seen, number: i64) -> Option<Vec<(&'s [u8], Other)>> {
        let ours = self.mark(number);
        let ours = ours.name().expect("a mark has a name").as_bytes();
        let (_, now) = seen.iter().find(|(name, _)| name == ours)?;
        let others = seen.iter().filter(|(name, _)| name != ours);
        let judged = others.map(|(name, mtime)| {
            let is_own = name
                .strip_prefix(self.holder.as_bytes())
                .is_some_and(|rest| rest.starts_with(b"-"));
            let age = match (now, mtime) {
                (Some(now), Some(made)) => Some(now.at.as_secs() - made.latest().as_secs()),
                (None, _) | (_, None) => None,
            };
            let other = match age {
                _ if is_own => Other::Own,
                // One from the future was made before the server's clock was put right.
                Some(age) if age.abs() >= STALE_AFTER_SECS => Other::Stale(age),
                age => Other::Fresh(age),
            };
            (&name[..], other)
        });
        Some(judged.collect())
    }

    /// Where the marks of others are and none of ours can be, the lock is theirs.
    fn refuse_contended(&self, remote: &mut dyn Replica) -> Result<()> {
        match names_in_lock(remote) {
            Ok(names) => match names.first() {
                Some(name) if !self.breaks => Err(ErrorKind::Locked(locked_by(name, None)).into()),
                Some(_) | None => Ok(()),
            },
            Err(error) if error.scope() == Scope::Entry => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes every lock but those of the holders that are spared, and tells whose they were. Nothing of this claim stays.
    pub fn clear(&self, remote: &mut dyn Replica, spared: &[String]) -> Result<Vec<Cleared>> {
        let names = names_lying(remote)?;
        let mut cleared = Vec::new();
        if !names.is_empty() {
            let number = Timestamp::now().as_nanos();
            // What is made now shows what time it is there. Where nothing can be made, no age is told.
            let seen = match self.put(remote, number) {
                Ok(seen) => seen,
                Err(error) if error.scope() == Scope::Entry => Seen::new(),
                Err(error) => return Err(error),
            };
            let untold = || names.iter().map(|name| (&name[..], Other::Fresh(None)));
            let mut others = self
                .others(&seen, number)
                .unwrap_or_else(|| untold().collect());
            let is_spared = |name: &[u8]| {
                spared
                    .iter()
                    .any(|holder| holder.as_bytes() == holder_of(name))
            };
            others.retain(|(name, _)| !is_spared(name));
            let marks = others
                .iter()
                .filter_map(|(name, _)| Some(dir().join(Name::new(name).ok()?)));
            let marks: Vec<RelPath> = marks.chain([self.mark(number)]).collect();
            remove_marks(remote, marks)?;
            cleared.extend(others.into_iter().map(|(name, other)| {
                let (age_secs, is_fresh) = match other {
                    Other::Own => (None, false),
                    Other::Stale(age) => (Some(age), false),
                    Other::Fresh(age) => (age, true),
                };
                Cleared {
                    holder: Some(holder_of(name).into()),
                    age_secs,
                    is_fresh,
                }
            }));
        }
        cleared.extend(self.clear_file(remote)?);
        Ok(cleared)
    }

    /// Removes what an earlier run of this holder left that was killed.
    pub fn release_left(&self, remote: &mut dyn Replica) -> Result<()> {
        let prefix = [self.holder.as_bytes(), b"-"].concat();
        let names = names_lying(remote)?;
        let own = names.iter().filter(|name| name.starts_with(&prefix));
        let marks: Vec<RelPath> = own
            .filter_map(|name| Some(dir().join(Name::new(name).ok()?)))
            .collect();
        if !marks.is_empty() || names.is_empty() {
            remove_marks(remote, marks)?;
        }
        match file::load(remote)? {
            Some(content) if content.lock_holder.as_deref() == Some(self.holder) => {
                self.release(remote, &Sign::File)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Lets go of the lock. The directory stays where others have marks in it.
    pub fn release(&self, remote: &mut dyn Replica, sign: &Sign) -> Result<()> {
        match sign {
            Sign::Marks(numbers) => remove_marks(
                remote,
                numbers.iter().map(|number| self.mark(*number)).collect(),
            ),
            Sign::File => remote
                .remove(&[Removal::File(file::path())])
                .into_iter()
                .collect(),
        }
    }

    /// Replaces our sign by a fresh one. Fails with `Locked` where another run broke the lock.
    fn refresh(&self, remote: &mut dyn Replica, old: &[i64], number: i64) -> Result<()> {
        let seen = self.put(remote, number)?;
        let stands = |number: &i64| {
            let mark = self.mark(*number);
            let name = mark.name().expect("a mark has a name");
            seen.iter().any(|(seen, _)| seen == name.as_bytes())
        };
        // Others may just be trying; whoever broke the lock removed our mark.
        if stands(&number) && !old.iter().any(stands) {
            // Why it is lost says more than why the mark stays.
            let _ = self.release(remote, &Sign::Marks(vec![number]));
            return Err(lost());
        }
        let removals = old.iter().map(|number| Removal::Dir(self.mark(*number)));
        let removals: Vec<Removal> = removals.collect();
        remote.remove(&removals).into_iter().collect()
    }

    fn mark(&self, number: i64) -> RelPath {
        let name = format!("{}-{number}", self.holder);
        dir().join(Name::new(name.as_bytes()).expect("our own names are good names"))
    }
}

fn lost() -> Error {
    let text = "another run took the remote lock meanwhile (--break-lock)";
    ErrorKind::Locked(text.to_owned()).into()
}

fn locked_by(who: &[u8], age_secs: Option<i64>) -> String {
    let who = Escaped(who);
    match age_secs {
        Some(age_secs) => format!(
            "the remote directory is locked by another run ({who}) since {} s; if that run died, the lock counts as stale {} s from \
             now, or take it with --break-lock",
            age_secs.max(0),
            STALE_AFTER_SECS - age_secs.abs(),
        ),
        None => format!(
            "the remote directory is locked by another run ({who}), and the server does not tell since when; if that run died, take it \
             with --break-lock"
        ),
    }
}

fn dir() -> RelPath {
    RelPath::root().join(Name::new(LOCK_DIR_NAME).expect("our own names are good names"))
}

fn names_in_lock(remote: &mut dyn Replica) -> Result<Vec<Vec<u8>>> {
    let mut listing = replica::Listing::new();
    remote.list(&dir(), &mut listing)?;
    let names = listing.iter().map(|entry| entry.name.as_bytes().to_vec());
    Ok(names.collect())
}

/// Removes marks, and the directory where it is empty then.
fn remove_marks(remote: &mut dyn Replica, marks: Vec<RelPath>) -> Result<()> {
    let dirs = marks.into_iter().chain([dir()]);
    let removals: Vec<Removal> = dirs.map(Removal::Dir).collect();
    let mut removed = remote.remove(&removals);
    match removed.pop() {
        Some(Err(error)) if error.scope() != Scope::Entry => return Err(error),
        Some(Err(error)) => log::debug!("others have marks in the lock: {error}"),
        Some(Ok(())) | None => {}
    }
    removed.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::Precision;

    pub(super) const CLAIM: Claim<'_> = Claim {
        holder: "me",
        breaks: false,
        may_have_file: true,
        now: Timestamp::from_secs(1_000_000),
    };

    /// What another mark means, that was made so many seconds before ours; the server tells both to this precision.
    fn other(name: &str, age_secs: i64, precision: Precision) -> Other {
        let told = |secs| {
            Some(Mtime {
                at: Timestamp::from_secs(secs),
                precision,
            })
        };
        let now = 1_800_000_000;
        let seen = vec![
            (name.as_bytes().to_vec(), told(now - age_secs)),
            (b"me-7".to_vec(), told(now)),
        ];
        let others = CLAIM.others(&seen, 7).unwrap();
        assert_eq!(others.len(), 1);
        others[0].1
    }

    #[test]
    fn a_mark_is_as_old_as_the_server_says() {
        let second = Precision::Second;
        assert_eq!(other("you-1", 0, second), Other::Fresh(Some(0)));
        assert_eq!(other("you-1", 3599, second), Other::Fresh(Some(3599)));
        assert_eq!(other("you-1", -60, second), Other::Fresh(Some(-60)));
        assert_eq!(other("you-1", 3600, second), Other::Stale(3600));
        assert_eq!(other("you-1", -7200, second), Other::Stale(-7200));
        assert_eq!(other("me-6", 5, second), Other::Own);
        assert_eq!(other("mean-6", 5, second), Other::Fresh(Some(5)));
        assert_eq!(
            other("you-1", 3600, Precision::Minute),
            Other::Fresh(Some(3541)),
            "it may have been made at the end of that minute"
        );
        assert_eq!(
            other("you-1", 86_400, Precision::Day),
            Other::Fresh(Some(1))
        );
    }

    #[test]
    fn what_the_server_does_not_tell_is_no_reason_to_break_a_lock() {
        let seen = vec![(b"you-1".to_vec(), None), (b"me-7".to_vec(), None)];
        let others = CLAIM.others(&seen, 7);
        assert_eq!(others, Some(vec![(&b"you-1"[..], Other::Fresh(None))]));
        assert_eq!(CLAIM.others(&seen, 8), None, "our own mark is not shown");
    }
}
