//! Writes the next archive: the last one, laid over with the journal, directory by directory. Beside, synced, renamed.

use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::ops::Range;
use std::os::fd::AsFd;

use crate::error::{Doing, ErrorKind, Result};
use crate::sync::record::adopt;
use crate::sync::record::archive_file::Archive;
use crate::sync::record::header::{FORMAT, Header};
use crate::sync::record::home::{self, Home};
use crate::sync::record::index::{Found, Index};
use crate::sync::record::journal::{Journal, Keeper, remove};
use crate::sync::record::layers::Layers;
use crate::sync::record::lines::Source;
use crate::sync::record::pyftpsync::Keys;
use crate::sync::record::writer::Writer;
use crate::system;

/// How much is copied at a time, in bytes.
const COPY_BYTES: usize = 64 << 10;

/// Writes the next archive and ends the journal, which must not be used any more. Where nothing was noted and nothing was
/// taken over, nothing is written. Returns what the user has to be told.
///
/// After a failure the last archive and the journal are as they were, and the next run goes on with them.
pub fn save(home: &Home, archive: &Archive, journal: &Journal) -> Result<Vec<String>> {
    let Some(keeper) = &journal.keeper else {
        return Ok(Vec::new());
    };
    if journal.is_empty() && !archive.is_unwritten {
        keeper.remove()?;
        return Ok(Vec::new());
    }
    journal.flush()?;
    let doing = || format!("writing {}", home.shown(&keeper.names.archive));
    let mut header = next_header(&archive.header);
    write_next(keeper, archive, &mut header).doing(doing)?;
    keeper.remove()?;
    let mut notices = Vec::new();
    if header.is_adopting {
        let keys = Keys::of(&archive.peer);
        if adopt::take_out(&archive.local_root, &keys, &mut notices)? {
            say_adopted(home, archive, keeper).doing(doing)?;
        }
    }
    Ok(notices)
}

/// A number and an id that no earlier archive has.
fn next_header(last: &Header) -> Header {
    Header {
        format: FORMAT,
        number: last.number + 1,
        id: RandomState::new().build_hasher().finish(),
        ..last.clone()
    }
}

fn write_next(keeper: &Keeper, archive: &Archive, header: &mut Header) -> Result<()> {
    let journal = keeper.written()?;
    let layers = Layers::read(&journal, &archive.index).map_err(ErrorKind::Disk)?;
    let file = keeper.next_archive()?;
    let written = write_file(file, archive, header, (&layers, &journal))
        .map_err(ErrorKind::Disk)
        .map_err(Into::into)
        .and_then(|()| put_in_place(keeper));
    if written.is_err()
        && let Ok(Some(dir)) = keeper.home.find()
    {
        // The failure itself is told.
        let _ = remove(&dir, &keeper.names.new_archive);
    }
    written
}

/// Writes the file, and waits until it is safe.
fn write_file(
    mut file: File,
    archive: &Archive,
    header: &mut Header,
    journal: (&Layers, &Source),
) -> io::Result<()> {
    header.seal = home::seal(&file)?;
    let bytes = write_all(&mut file, archive, header, journal)?;
    // Room that was reserved and not needed goes back to the file system; where it cannot, nothing is lost.
    let _ = file.set_len(bytes);
    file.sync_all()
}

/// Gives the new archive its name.
fn put_in_place(keeper: &Keeper) -> Result<()> {
    let dir = keeper.home.make()?;
    let names = &keeper.names;
    system::rename(
        (dir.as_fd(), &names.new_archive),
        (dir.as_fd(), &names.archive),
    )
    .and_then(|()| system::sync_dir(dir.as_fd()))
    .map_err(|error| ErrorKind::Disk(error).into())
}

/// Writes old and new blocks in the order of a walk; says how many bytes there are.
fn write_all(
    out: &mut dyn Write,
    archive: &Archive,
    header: &Header,
    (layers, journal): (&Layers, &Source),
) -> io::Result<u64> {
    let index = &archive.index;
    let mut writer = Writer::begin(header, out);
    let mut next = 0;
    for (dir, layer) in layers.iter() {
        let (place, is_there) = match index.find(dir) {
            Ok(place) => (place, true),
            Err(place) => (place, false),
        };
        copy(&archive.source, index.bytes(next..place), &mut writer)?;
        next = place + usize::from(is_there);
        if let Some(block) = layer.block((&archive.source, index), journal, dir)? {
            writer.block(dir, &block)?;
        }
    }
    copy(&archive.source, index.bytes(next..index.len()), &mut writer)?;
    writer.end()
}

/// Copies the lines of directories that did not change.
fn copy(source: &Source, bytes: Range<u64>, writer: &mut Writer<'_>) -> io::Result<()> {
    let mut buffer = vec![0; COPY_BYTES.min((bytes.end - bytes.start) as usize)];
    let mut at = bytes.start;
    while at < bytes.end {
        let most = buffer.len().min((bytes.end - at) as usize);
        let count = source.read_at(&mut buffer[..most], at)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        writer.lines(&buffer[..count])?;
        at += count as u64;
    }
    Ok(())
}

/// Writes the archive once more, without the word that something is still to be taken out elsewhere.
fn say_adopted(home: &Home, archive: &Archive, keeper: &Keeper) -> Result<()> {
    let dir = home.make()?;
    let file = system::open_to_read(dir.as_fd(), &keeper.names.archive).map_err(ErrorKind::Disk)?;
    let source = Source::File(file);
    let (header, index) = match Index::read(&source).map_err(ErrorKind::Disk)? {
        Found::Whole(header, index) => (header, index),
        Found::Damaged(why) => return Err(ErrorKind::Metadata(why.to_owned()).into()),
    };
    let mut next = Header {
        is_adopting: false,
        ..next_header(&header)
    };
    let written = Archive::of(header, &archive.peer, source, index);
    write_next(keeper, &written, &mut next)
}
