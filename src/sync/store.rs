//! Brings metadata files from their target into memory and back, atomically and only when something in them changed.

use std::io::{self, Read};

use crate::error::{Doing, Error, ErrorKind, Result};
use crate::path::{CORRUPT_METADATA_NAME, METADATA_NAME, Name, RelPath, partial_name};
use crate::replica::{Bytes, NewFile, Removal, Replica, Source, Unwatched};
use crate::sync::metadata::{METADATA_MAX_BYTES, Metadata, Text, Unreadable};
use crate::sync::peer::PeerKey;
use crate::time::Timestamp;

/// What the metadata file of a directory held.
#[derive(Debug)]
pub struct Loaded {
    /// Its content, or nothing where it was not there or not to be used.
    pub metadata: Metadata,
    /// Whether it cannot be read and is to be set aside.
    pub is_damaged: bool,
}

/// What to do with metadata of another version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtherVersion {
    /// Stop the run: the user decides.
    Refuse,
    /// Use nothing of it, and replace it.
    Discard,
}

/// The path of a directory's metadata file.
pub fn metadata_path(dir: &RelPath) -> RelPath {
    dir.join(own_name(METADATA_NAME))
}

fn own_name(name: &'static [u8]) -> Name<'static> {
    Name::new(name).expect("our own names are good names")
}

/// Reads the metadata of a directory. Damage is no error: what cannot be read is treated as absent.
pub fn load(
    home: &mut dyn Replica,
    dir: &RelPath,
    key: &PeerKey,
    other_version: OtherVersion,
) -> Result<Loaded> {
    let path = metadata_path(dir);
    let read = read(home, &path, key).doing(|| format!("reading {path}"))?;
    match read.unwrap_or_else(|| Ok(Metadata::empty(key))) {
        Ok(metadata) => Ok(Loaded {
            metadata,
            is_damaged: false,
        }),
        Err(Unreadable::Corrupt(why)) => {
            // That it is so is told by the report.
            log::info!("{path} is damaged ({why}) and is treated as absent");
            Ok(Loaded {
                metadata: Metadata::empty(key),
                is_damaged: true,
            })
        }
        Err(Unreadable::Version(_)) if other_version == OtherVersion::Discard => Ok(Loaded {
            metadata: Metadata::empty(key),
            is_damaged: false,
        }),
        Err(Unreadable::Version(version)) => Err(Error::new(ErrorKind::MetadataVersion(format!(
            "{path} has version {version}, and this program reads version 3; --migrate discards it"
        )))),
    }
}

/// Reads a metadata file while it comes; none when it is not there.
fn read(
    home: &mut dyn Replica,
    path: &RelPath,
    key: &PeerKey,
) -> Result<Option<Result<Metadata, Unreadable>>> {
    let source = match home.open(path, 0) {
        Ok(source) => source,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut feed = Feed {
        source,
        left: METADATA_MAX_BYTES,
        is_over: false,
        failure: None,
    };
    let read = Metadata::read(&mut feed, key);
    // A file that makes no sense may be one that did not come whole: that shows at the end.
    let mut rest = [0; 512];
    while feed.read(&mut rest).is_ok_and(|count| count > 0) {}
    if let Some(failure) = feed.failure {
        return Err(failure);
    }
    feed.source.finish()?;
    Ok(Some(read))
}

/// Hands out a file of ours, and keeps what goes wrong.
struct Feed<'a> {
    source: Box<dyn Source + 'a>,
    left: usize,
    is_over: bool,
    failure: Option<Error>,
}

impl Read for Feed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_over {
            return Ok(0);
        }
        let failure = match self.source.read(buffer) {
            Ok(count) if count <= self.left => {
                self.left -= count;
                self.is_over = count == 0;
                return Ok(count);
            }
            Ok(_) => ErrorKind::Metadata(format!(
                "it is larger than {METADATA_MAX_BYTES} bytes and cannot be ours"
            ))
            .into(),
            Err(error) => error,
        };
        self.is_over = true;
        self.failure = Some(failure);
        Err(io::ErrorKind::Other.into())
    }
}

/// Writes the metadata of a directory if it changed; removes the file when there is nothing to remember.
pub fn save(
    home: &mut dyn Replica,
    dir: &RelPath,
    metadata: &mut Metadata,
    now: Timestamp,
) -> Result<()> {
    if !metadata.is_changed() {
        return Ok(());
    }
    let path = metadata_path(dir);
    if metadata.is_empty_of_content() {
        let removed = home.remove(&[Removal::File(path.clone())]);
        removed
            .into_iter()
            .collect::<Result<()>>()
            .doing(|| format!("removing {path}"))?;
    } else {
        let mut text = metadata.text(now);
        let mut head = vec![0; HEAD_BYTES];
        let mut filled = 0;
        while let count @ 1.. = text.take(&mut head[filled..]) {
            filled += count;
        }
        if filled < HEAD_BYTES {
            write_own(home, &path, &head[..filled])?;
        } else {
            drop(head);
            let size = text.count() + filled as u64;
            write(home, &path, size, &mut Taken(metadata.text(now)))?;
        }
    }
    metadata.mark_saved();
    Ok(())
}

/// A metadata file up to this size is made in memory, in bytes: enough for 200 files. Larger ones are made twice, first to
/// find out how large.
const HEAD_BYTES: usize = 32 * 1024;

/// A metadata file on its way out.
struct Taken<'m>(Text<'m>);

impl Source for Taken<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        Ok(self.0.take(buffer))
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Writes a small file of ours, replacing what is there.
pub fn write_own(home: &mut dyn Replica, path: &RelPath, content: &[u8]) -> Result<()> {
    write(home, path, content.len() as u64, &mut Bytes(content))
}

fn write(
    home: &mut dyn Replica,
    path: &RelPath,
    size: u64,
    content: &mut dyn Source,
) -> Result<()> {
    let name = path.name().expect("our files have names");
    // Always the same, so that one that was left is taken the next time, even where nobody would see it.
    let partial_bytes = partial_name(name, 0, None);
    let partial = path
        .parent()
        .join(Name::new(&partial_bytes).expect("partial names are good names"));
    let there = home
        .look_up(std::slice::from_ref(path))
        .pop()
        .expect("one answer for one question");
    let file = NewFile {
        path,
        partial: &partial,
        size,
        mtime: None,
        resume_at: 0,
        replaces: there.doing(|| format!("looking for {path}"))?,
        set_aside: None,
        keep_partial: false,
    };
    home.write(&file, content, &mut Unwatched)
        .doing(|| format!("writing {path}"))?;
    home.make_lasting(&path.parent())
}

/// Puts a metadata file that cannot be read out of the way, where the user can look at it.
pub fn set_aside(home: &mut dyn Replica, dir: &RelPath) -> Result<()> {
    let from = metadata_path(dir);
    let to = dir.join(own_name(CORRUPT_METADATA_NAME));
    let _an_older_one_makes_room = home.remove(&[Removal::File(to.clone())]);
    home.rename(&from, &to)
        .doing(|| format!("setting the damaged {from} aside"))
}
