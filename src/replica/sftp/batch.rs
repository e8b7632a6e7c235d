//! Small files, many at once, in three flights: open, write, rename. Nothing is renamed before every write to it was confirmed,
//! so that a final name never holds half a file.

use std::cell::RefCell;

use super::flights::drive;
use super::place::{Names, Renamed, Stored, is_loss, written};
use super::storing::{Outcome, Storing};
use super::{SftpReplica, UNDER_WAY};
use crate::error::{Doing, Result};
use crate::replica::{NewFile, Stat, Times, Written};
use crate::sftp::Reply;

/// In a batch of up to so many files the server is asked to have them on its disk before they get their names; in a larger
/// one that would take longer than all the rest.
const SYNCED_FILES: usize = 8;

impl SftpReplica {
    pub(super) fn write_together(
        &mut self,
        files: &[(NewFile<'_>, &[u8])],
        placing: &mut dyn FnMut(usize, &Stat, Times),
    ) -> Vec<Result<Written>> {
        let syncs = files.len() <= SYNCED_FILES && self.session.offers(b"fsync@openssh.com");
        let names = files.iter().map(|(file, _)| self.names_of(file));
        let placing = &RefCell::new(placing);
        let mut tasks: Vec<Storing<'_>> = files
            .iter()
            .zip(names)
            .enumerate()
            .map(|(index, ((file, content), names))| {
                let placing =
                    move |stored: &Stored| placing.borrow_mut()(index, &stored.stat, stored.times);
                Storing::new(
                    file,
                    content,
                    names,
                    syncs,
                    self.learnt.renames_over,
                    Box::new(placing),
                )
            })
            .collect();
        let mut lost = drive(&mut self.session, &mut tasks, UNDER_WAY).err();
        let ended = tasks.into_iter().map(|task| (task.names, task.outcome));
        let ended: Vec<_> = ended.collect();
        let mut results = Vec::with_capacity(files.len());
        for ((names, outcome), (file, _)) in ended.into_iter().zip(files) {
            let result = match outcome {
                Outcome::Pending => Err(lost.take().unwrap_or_else(|| self.session.failure())),
                Outcome::Failed(error) => Err(self.explain_full(error)),
                Outcome::Stored {
                    stored,
                    replaces,
                    renamed,
                } => {
                    self.learn_times(&stored);
                    let named = self.finish_naming(&names, &stored, replaces, renamed);
                    if named.as_ref().is_err_and(|error| !is_loss(error)) {
                        self.clean_up(&names.partial);
                    }
                    named
                }
            };
            results.push(result.doing(|| format!("writing {}", file.path)));
        }
        results
    }

    /// What came of a rename that was sent behind the file; or the whole rename, where none was.
    fn finish_naming(
        &mut self,
        names: &Names,
        stored: &Stored,
        replaces: bool,
        renamed: Option<Vec<Reply>>,
    ) -> Result<Written> {
        let Some(replies) = renamed else {
            return self.give_name(names, stored, replaces);
        };
        match self.renamed(replies, &stored.stat) {
            Renamed::Done(stat) => Ok(written(stat, stored)),
            Renamed::Failed(error) => Err(error),
            Renamed::NeedsRoom => {
                let present = self.look_at_one(&names.place)?;
                self.give_name(names, stored, present.is_some())
            }
        }
    }
}
