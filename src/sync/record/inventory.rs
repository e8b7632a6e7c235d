//! What lies in the home of a root, whatever peer it is of: for a user who looks, and tidies up.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use crate::error::{Doing, Error, ErrorKind, Result};
use crate::sync::record::header::{FORMAT, Header, HeaderOf};
use crate::sync::record::home::{self, Home, ends, starts};
use crate::sync::record::index::{Found, Index};
use crate::sync::record::journal::remove;
use crate::sync::record::lines::{Lines, Source};
use crate::system::{self, FileKind};
use crate::time::Timestamp;

/// A file in a home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its name.
    pub name: Box<[u8]>,
    /// When it was written last.
    pub written: Timestamp,
    /// What it is.
    pub what: Keeps,
}

/// What a file in a home is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keeps {
    /// The archive of a peer.
    Archive {
        /// The peer's whole name.
        peer: String,
        /// How many directories are recorded.
        dirs: u64,
        /// How many files are recorded.
        files: u64,
        /// Whether it came with a copy of its directory.
        is_copy: bool,
    },
    /// What a run that was cut off noted for the next one.
    Journal {
        /// The peer's whole name; none where the file does not tell.
        peer: Option<String>,
    },
    /// What should be an archive and is none, and why: the next run sets it aside.
    Damaged(&'static str),
    /// What no run of this program can read, and why: each refuses until that is mended.
    Unusable(String),
    /// An archive that was set aside: no run reads it.
    SetAside,
    /// What a run had begun to write: the next one does so anew.
    Unfinished,
}

impl Home {
    /// What of ours lies in it; nothing where it was never made.
    pub fn inventory(&self, local_root: &Path) -> Result<Vec<Kept>> {
        let Some(dir) = self.find()? else {
            return Ok(Vec::new());
        };
        let doing = || format!("reading {}", self.shown(b""));
        let mut names = Vec::new();
        let fresh = system::open_dir_at(dir.as_fd(), b".").and_then(|fresh| {
            system::read_dir(fresh, |name, _| {
                if [starts::ARCHIVE, starts::JOURNAL]
                    .iter()
                    .any(|start| name.starts_with(start.as_bytes()))
                {
                    names.push(name.to_vec());
                }
            })
        });
        fresh.map_err(ErrorKind::Disk).doing(doing)?;
        names.sort();
        let mut all = Vec::new();
        for name in names {
            let status = system::status_at(dir.as_fd(), &name);
            let status = status.map_err(ErrorKind::Disk).doing(doing)?;
            let what = match status.kind {
                FileKind::File => self.what_is(&dir, &name, local_root),
                FileKind::Dir | FileKind::Link | FileKind::Special => {
                    Keeps::Unusable("it is no file".to_owned())
                }
            };
            all.push(Kept {
                name: name.into(),
                written: status.mtime,
                what,
            });
        }
        Ok(all)
    }

    fn what_is(&self, dir: &impl AsFd, name: &[u8], local_root: &Path) -> Keeps {
        let ends_with = |end: &str| name.ends_with(end.as_bytes());
        if ends_with(ends::DAMAGED) || ends_with(ends::COPIED) {
            return Keeps::SetAside;
        }
        if ends_with(ends::UNFINISHED) {
            return Keeps::Unfinished;
        }
        if name.starts_with(starts::JOURNAL.as_bytes()) {
            let peer = header_of_journal(dir, name).map(|header| header.peer);
            return Keeps::Journal { peer };
        }
        self.read_archive(dir, name, local_root)
            .unwrap_or_else(|error| {
                let error = Error::from(ErrorKind::Disk(error));
                Keeps::Unusable(error.to_string())
            })
    }

    fn read_archive(&self, dir: &impl AsFd, name: &[u8], local_root: &Path) -> io::Result<Keeps> {
        let file = system::open_to_read(dir.as_fd(), name)?;
        let seal = home::seal(&file)?;
        Ok(match Index::read(&Source::File(file))? {
            Found::Damaged(why) => Keeps::Damaged(why),
            Found::Whole(header, _) if header.format > FORMAT => Keeps::Unusable(format!(
                "it has format {}, and this program reads format {FORMAT}",
                header.format
            )),
            Found::Whole(header, index) => {
                let root = self.root_seal(local_root);
                Keeps::Archive {
                    is_copy: !seal.may_be(header.seal) || !root.may_be(header.root),
                    peer: header.peer,
                    dirs: index.len() as u64,
                    files: (0..index.len()).map(|place| index.files(place)).sum(),
                }
            }
        })
    }

    /// The whole path of a file in it.
    pub fn path_of(&self, kept: &Kept) -> PathBuf {
        use std::os::unix::ffi::OsStrExt;
        self.path().join(std::ffi::OsStr::from_bytes(&kept.name))
    }

    /// Puts a damaged archive where the next run would put it, and no run takes it for one.
    pub fn set_aside(&self, kept: &Kept) -> Result<()> {
        let to = [&kept.name[..], ends::DAMAGED.as_bytes()].concat();
        let doing = || format!("setting {} aside", self.shown(&kept.name));
        if let Some(dir) = self.find()? {
            system::rename((dir.as_fd(), &kept.name), (dir.as_fd(), &to))
                .map_err(ErrorKind::Disk)
                .doing(doing)?;
        }
        Ok(())
    }

    /// Removes a file.
    pub fn remove(&self, kept: &Kept) -> Result<()> {
        match self.find()? {
            Some(dir) => {
                remove(&dir, &kept.name).doing(|| format!("removing {}", self.shown(&kept.name)))
            }
            None => Ok(()),
        }
    }
}

fn header_of_journal(dir: &impl AsFd, name: &[u8]) -> Option<Header> {
    let source = Source::File(system::open_to_read(dir.as_fd(), name).ok()?);
    let mut lines = Lines::all(&source);
    let first = lines.next().ok()??;
    Header::parse(HeaderOf::Journal, first.text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::record::scene::{Scene, file, set, settled};

    fn one(scene: &Scene) -> Kept {
        let mut all = scene.home.inventory(&scene.root).unwrap();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    #[test]
    fn all_that_lies_in_a_home_is_told_for_what_it_is() {
        let scene = Scene::new("inventory");
        assert_eq!(scene.home.inventory(&scene.root).unwrap(), []);
        scene.record(&[("", settled()), ("d", settled()), ("d", set(b"f", file(1)))]);
        let archive = Keeps::Archive {
            peer: scene.peer.name().to_owned(),
            dirs: 2,
            files: 1,
            is_copy: false,
        };
        assert_eq!(one(&scene).what, archive);
        let whole = std::fs::read(scene.archive()).unwrap();
        std::fs::write(scene.archive(), &whole[..whole.len() - 1]).unwrap();
        let damaged = one(&scene);
        assert!(matches!(damaged.what, Keeps::Damaged(_)), "{damaged:?}");
        scene.home.set_aside(&damaged).unwrap();
        let aside = one(&scene);
        assert_eq!(aside.what, Keeps::SetAside);
        assert_eq!(scene.home.path_of(&aside), scene.file(&scene.names.damaged));
        // As the next run would have it.
        assert!(!scene.open().may_delete);
        scene.home.remove(&aside).unwrap();
        assert_eq!(scene.left(), [""; 0]);
        scene.be_killed(&[("", settled())]);
        let peer = Some(scene.peer.name().to_owned());
        let told = scene.home.inventory(&scene.root).unwrap();
        assert!(
            told.iter()
                .any(|kept| kept.what == Keeps::Journal { peer: peer.clone() }),
            "{told:?}"
        );
    }

    #[test]
    fn what_this_program_cannot_read_is_not_called_damaged() {
        let scene = Scene::new("inventory-unusable");
        scene.record(&[("", settled())]);
        std::fs::remove_file(scene.archive()).unwrap();
        std::fs::create_dir(scene.archive()).unwrap();
        assert!(matches!(one(&scene).what, Keeps::Unusable(_)));
    }
}
