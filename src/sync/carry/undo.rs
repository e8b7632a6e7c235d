//! Takes back what the last run moved to the trash: each file gets the name that it had, on its side.
//!
//! No record is changed. The next run sees files that came back, and says what it makes of them. What has the name of a file
//! meanwhile goes to the trash for it, so that this can be undone, too.

use super::copy::make_parents;
use super::lock::Claim;
use super::rename::rename_or_find;
use super::trash;
use crate::error::{Doing, Error, ErrorKind, Result, Scope};
use crate::job::{Job, Trash};
use crate::path::{Name, PartOwner, RelPath, TRASH_MARK};
use crate::replica::{Connect, Kind, Listing, Removal, Replica, Stat, look_up_one};
use crate::side::{Side, Sides};
use crate::sync::event::{Deed, Event, Totals};
use crate::sync::workers::Stop;
use crate::time::Timestamp;

/// What taking back takes.
pub struct Undo<'a> {
    /// The job: its roots, its trash.
    pub job: &'a Job,
    /// Opens the two sides.
    pub connect: Sides<&'a dyn Connect>,
    /// When to stop.
    pub stop: Stop<'a>,
    /// What this run calls itself in the remote lock.
    pub holder: &'a str,
    /// Whose partial files it makes.
    pub owner: PartOwner,
    /// The wall clock at the start.
    pub now: Timestamp,
}

/// What one side has of the last run.
struct Left {
    side: Side,
    replica: Box<dyn Replica>,
    trash: RelPath,
    run: Box<[u8]>,
}

impl Undo<'_> {
    /// Takes the last run back. The totals tell how many files have their names again, and how many could not get them.
    ///
    /// Fails where there is no trash, and where a session is lost; what was put back by then stays so.
    pub fn run(&self, tell: &mut dyn FnMut(Event<'_>)) -> Result<Totals> {
        let mut all = Vec::new();
        for side in Side::BOTH {
            let replica = self.connect.of(side).connect()?;
            let left = self.find_left(side, replica);
            all.extend(left.doing(|| format!("looking for the trash on the {side} side"))?);
        }
        let newest = all.iter().map(|left| left.run.clone()).max();
        let Some(newest) = newest else {
            let text =
                "there is nothing in a trash on either side (--trash names another directory)";
            return Err(ErrorKind::Usage(text.to_owned()).into());
        };
        // What another run left is not of this one.
        all.retain(|left| left.run == newest);
        let mut totals = Totals::default();
        for left in &mut all {
            self.put_back_locked(left, &mut totals, tell)?;
        }
        Ok(totals)
    }

    fn find_left(&self, side: Side, mut replica: Box<dyn Replica>) -> Result<Option<Left>> {
        let trash = match &self.job.policy.trash {
            Some(trash) => Some(trash.dir.clone()),
            None => find_trash(replica.as_mut())?,
        };
        let Some(trash) = trash else { return Ok(None) };
        let mut runs = Listing::new();
        match replica.list(&trash, &mut runs) {
            Err(error) if error.is_not_found() => return Ok(None),
            listed => listed?,
        }
        let dirs = runs.iter().filter(|entry| entry.stat.kind == Kind::Dir);
        let run = dirs
            .map(|entry| entry.name.as_bytes())
            .filter(|name| trash::is_run(name))
            .max();
        let run: Option<Box<[u8]>> = run.map(Into::into);
        Ok(run.map(|run| Left {
            side,
            replica,
            trash,
            run,
        }))
    }

    fn put_back_locked(
        &self,
        left: &mut Left,
        totals: &mut Totals,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<()> {
        if self.job.dry_run || left.side == Side::Local {
            return self.put_back_all(left, totals, tell);
        }
        let claim = Claim {
            holder: self.holder,
            breaks: self.job.policy.allow.lock,
            may_have_file: true,
            now: self.now,
        };
        let taken = claim.take(left.replica.as_mut())?;
        taken
            .told
            .iter()
            .for_each(|text| tell(Event::Warning(text)));
        let done = self.put_back_all(left, totals, tell);
        let released = match &taken.sign {
            Some(sign) => claim.release(left.replica.as_mut(), sign),
            None => Ok(()),
        };
        done.and(released)
    }

    /// Puts back what is in the directory of the run, and removes what is empty of it then.
    fn put_back_all(
        &self,
        left: &mut Left,
        totals: &mut Totals,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<()> {
        let side = left.side;
        let top = left.trash.join(Name::accepted(&left.run));
        // Each directory in the trash, and where it belongs.
        let mut dirs = vec![(top, RelPath::root())];
        let mut next = 0;
        let mut run_of_swapped = None;
        while let Some((from_dir, to_dir)) = dirs.get(next).cloned() {
            next += 1;
            let mut listing = Listing::new();
            left.replica.list(&from_dir, &mut listing)?;
            for entry in listing.iter() {
                self.stop.check()?;
                let (from, to) = (from_dir.join(entry.name), to_dir.join(entry.name));
                if entry.stat.kind == Kind::Dir {
                    dirs.push((from, to));
                    continue;
                }
                let put_back = match self.job.dry_run {
                    true => Ok(()),
                    false => self.put_back(left, &from, &to, &entry.stat, &mut run_of_swapped),
                };
                match put_back {
                    Ok(()) => {
                        totals.put_back += 1;
                        tell(Event::Entry {
                            path: &to,
                            kind: entry.stat.kind,
                            deed: Deed::PutBack { on: side },
                        });
                    }
                    Err(error) if error.scope() == Scope::Session => return Err(error),
                    Err(error) => {
                        totals.errors += 1;
                        let error =
                            error.while_doing(format!("putting it back on the {side} side"));
                        tell(Event::Failed {
                            path: &to,
                            error: &error,
                        });
                    }
                }
            }
        }
        if !self.job.dry_run {
            let emptied = dirs.into_iter().rev().map(|(dir, _)| Removal::Dir(dir));
            let emptied: Vec<Removal> = emptied.collect();
            // One in which something stays is not empty.
            left.replica.remove(&emptied);
        }
        Ok(())
    }

    fn put_back(
        &self,
        left: &mut Left,
        from: &RelPath,
        to: &RelPath,
        listed: &Stat,
        run_of_swapped: &mut Option<Timestamp>,
    ) -> Result<()> {
        let replica = left.replica.as_mut();
        let there = look_up_one(replica, to)?;
        let is_it = |there: &Stat| there.may_equal(listed);
        match there {
            None => {
                make_parents(replica, to)?;
                rename_or_find(replica, from, to, is_it)
            }
            Some(there) if there.kind == Kind::File => {
                let trash = Trash {
                    dir: left.trash.clone(),
                    keep_days: None,
                };
                let run = match *run_of_swapped {
                    Some(run) => run,
                    None => trash::open(replica, &trash, self.now, self.owner)?,
                };
                *run_of_swapped = Some(run);
                let swapped = trash::place(&trash, run, to);
                trash::move_to(replica, to, &swapped, Some(there))?;
                rename_or_find(replica, from, to, is_it).inspect_err(|_| {
                    // Where this fails, too, both are in the trash, and the message names what is missing.
                    let _ = replica.rename(&swapped, to);
                })
            }
            Some(_) => {
                let text = "a directory has its name now; the file stays in the trash";
                Err(Error::from(ErrorKind::Changed(text)))
            }
        }
    }
}

/// The one directory in the root that is marked as a trash.
fn find_trash(replica: &mut dyn Replica) -> Result<Option<RelPath>> {
    let mut listing = Listing::new();
    replica.list(&RelPath::root(), &mut listing)?;
    let dirs = listing.iter().filter(|entry| entry.stat.kind == Kind::Dir);
    let dirs: Vec<RelPath> = dirs.map(|entry| RelPath::root().join(entry.name)).collect();
    let mark = Name::new(TRASH_MARK).expect("our own names are good names");
    let marks: Vec<RelPath> = dirs.iter().map(|dir| dir.join(mark)).collect();
    let answers = replica.look_up(&marks);
    let found = dirs.into_iter().zip(answers);
    let mut found = found.filter(|(_, answer)| matches!(answer, Ok(Some(_))));
    match (found.next(), found.next()) {
        (Some((one, _)), Some((other, _))) => {
            let text = format!("{one} and {other} are both a trash; say which with --trash");
            Err(ErrorKind::Usage(text).into())
        }
        (found, _) => Ok(found.map(|(dir, _)| dir)),
    }
}
