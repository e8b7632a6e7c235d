//! The records of other programs: what pyftpsync left in the directories of a local root is taken over once, and taken
//! out there once it is safe.
//!
//! No link is followed. What other peers have in these files stays, and so does what is not known.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use crate::error::{Doing, ErrorKind, Result};
use crate::path::{Escaped, METADATA_NAME, Name, PartOwner, RelPath, partial_name};
use crate::sync::record::block::Block;
use crate::sync::record::journal::{create_anew, remove};
use crate::sync::record::pyftpsync::{self, Keys, Unreadable};
use crate::system::{self, FileKind};

/// Calls `take` with the block of each directory in which pyftpsync, or an earlier version of this program, recorded this
/// peer, in the order of a walk. A file that cannot be read gets a notice; one of another version ends it.
pub(super) fn each_block(
    local_root: &Path,
    keys: &Keys<'_>,
    notices: &mut Vec<String>,
    take: &mut dyn FnMut(&RelPath, &Block) -> Result<()>,
) -> Result<()> {
    each_file(local_root, notices, &mut |dir, path, notices| {
        let mut file = match system::open_to_read(dir.as_fd(), METADATA_NAME) {
            Ok(file) => file,
            Err(error) => {
                notices.push(unread(path, &error.to_string()));
                return Ok(());
            }
        };
        match pyftpsync::read(&mut file, keys) {
            Ok(None) => Ok(()),
            Ok(Some(block)) => take(path, &block),
            Err(Unreadable::Damaged(why)) => {
                notices.push(unread(path, &why));
                Ok(())
            }
            Err(Unreadable::Version(version)) => Err(ErrorKind::MetadataVersion(format!(
                "{} has version {version}, and this program reads version 3; --migrate goes on without what it records",
                metadata_path(path)
            ))
            .into()),
        }
    })
}

/// Takes the records of this peer out of all these files; a file with nothing left in it is removed. Says whether the last
/// one is out; what could not be written gets a notice.
pub(super) fn take_out(
    local_root: &Path,
    keys: &Keys<'_>,
    notices: &mut Vec<String>,
) -> Result<bool> {
    let mut is_out = true;
    each_file(local_root, notices, &mut |dir, path, notices| {
        if let Err(error) = take_out_of(dir, keys) {
            is_out = false;
            notices.push(format!(
                "{}: {error}; what it records is taken out in the next run",
                metadata_path(path)
            ));
        }
        Ok(())
    })?;
    Ok(is_out)
}

fn take_out_of(dir: &OwnedFd, keys: &Keys<'_>) -> Result<()> {
    let doing = || "taking our records out";
    let mut file = system::open_to_read(dir.as_fd(), METADATA_NAME)
        .map_err(ErrorKind::Disk)
        .doing(doing)?;
    // What cannot be read was not taken over, and is not ours to change.
    let Ok(Some(rest)) = pyftpsync::without(&mut file, keys) else {
        return Ok(());
    };
    if rest.is_empty() {
        return remove(dir, METADATA_NAME).doing(doing);
    }
    let name = Name::new(METADATA_NAME).expect("our own names are good names");
    let beside = partial_name(PartOwner::ANYONE, name, 0, None);
    let mut new = create_anew(dir, &beside).doing(doing)?;
    let replaced = new
        .write_all(&rest)
        .and_then(|()| new.set_permissions(file.metadata()?.permissions()))
        .and_then(|()| new.sync_all())
        .and_then(|()| system::rename((dir.as_fd(), &beside), (dir.as_fd(), METADATA_NAME)));
    if replaced.is_err() {
        // The failure itself is told.
        let _ = remove(dir, &beside);
    }
    replaced.map_err(ErrorKind::Disk).doing(doing)
}

/// What is done with each directory that has such a file.
type Visit<'v> = dyn FnMut(&OwnedFd, &RelPath, &mut Vec<String>) -> Result<()> + 'v;

/// Walks the directories of the root, in order, and visits those that have such a file.
fn each_file(local_root: &Path, notices: &mut Vec<String>, visit: &mut Visit<'_>) -> Result<()> {
    let root = match system::open_root(local_root) {
        Ok(root) => root,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(ErrorKind::Disk(error).into()),
    };
    let mut waiting = vec![RelPath::root()];
    while let Some(path) = waiting.pop() {
        let listed = open_below(&root, &path).and_then(|dir| {
            let mut found = Contents::default();
            read(&dir, &path, &mut found)?;
            Ok((dir, found))
        });
        let (dir, mut found) = match listed {
            Ok(listed) => listed,
            Err(error) => {
                notices.push(format!(
                    "{path}: {error}; what is recorded below it is not taken over"
                ));
                continue;
            }
        };
        if found.has_metadata {
            visit(&dir, &path, notices)?;
        }
        // The last one is the next.
        found.subdirectories.sort();
        waiting.extend(found.subdirectories.into_iter().rev());
    }
    Ok(())
}

/// What matters of a directory.
#[derive(Default)]
struct Contents {
    has_metadata: bool,
    subdirectories: Vec<RelPath>,
}

fn read(dir: &OwnedFd, path: &RelPath, found: &mut Contents) -> io::Result<()> {
    // A descriptor of its own: reading moves it.
    let fresh = system::open_dir_at(dir.as_fd(), b".")?;
    system::read_dir(fresh, |bytes, kind| {
        let kind = kind.or_else(|| Some(system::status_at(dir.as_fd(), bytes).ok()?.kind));
        match (Name::new(bytes), kind) {
            (Ok(name), Some(FileKind::Dir)) if !name.is_reserved() => {
                found.subdirectories.push(path.join(name));
            }
            (Ok(_), Some(FileKind::File)) => found.has_metadata |= bytes == METADATA_NAME,
            (Ok(_) | Err(_), _) => {}
        }
    })
}

/// Opens a directory step by step, so that no link is followed.
fn open_below(root: &OwnedFd, path: &RelPath) -> io::Result<OwnedFd> {
    let mut dir = root.try_clone()?;
    for name in path.names() {
        dir = system::open_dir_at(dir.as_fd(), name.as_bytes())?;
    }
    Ok(dir)
}

fn metadata_path(dir: &RelPath) -> RelPath {
    dir.join(Name::new(METADATA_NAME).expect("our own names are good names"))
}

fn unread(dir: &RelPath, why: &str) -> String {
    format!(
        "{} cannot be read ({}), and nothing in it is taken over",
        metadata_path(dir),
        Escaped(why.as_bytes())
    )
}
