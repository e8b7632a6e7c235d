//! The journal of a run: which files it was about to place, written before it places them. Metadata is written when a
//! directory is done; a run that is killed before that leaves files which no record knows, and without a journal they
//! would look like conflicts.
//!
//! The file is a line of JSON for each run (who and since which boot) and for each intent, appended with one write
//! each, so that a kill tears at most the last line. Nothing is synced to the disk: a power cut loses the memory of
//! finished work, and the flash is spared. Each peer has a journal of its own, for one local root may have several.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Doing, Error, ErrorKind, Result};
use crate::path::{Escaped, Fnv64, JOURNAL_PREFIX, Name, RelPath};
use crate::replica::Stat;
use crate::side::Side;
use crate::sync::json;
use crate::sync::peer::PeerKey;
use crate::time::Timestamp;

/// The most that is read of a journal, in bytes: an intent takes some 150 bytes, and a million files is the most that
/// one directory may hold.
const MAX_BYTES: u64 = 256 << 20;

/// Where Linux tells this boot from all others.
const BOOT_ID_FILE: &str = "/proc/sys/kernel/random/boot_id";

/// What a run is about to place: the file as it will be right after the rename.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// The directory it is placed in.
    pub dir: RelPath,
    /// Its name there.
    pub name: Box<[u8]>,
    /// The side it is placed on.
    pub to: Side,
    /// Its size in bytes.
    pub size: u64,
    /// Its true mtime: the source's.
    pub mtime: Timestamp,
    /// Its mtime as the destination lists it, where that is known and another one.
    pub seen: Option<Timestamp>,
    /// When it is placed, by this machine's clock.
    pub at: Timestamp,
}

impl Intent {
    /// To place the file `name` of `dir` on that side, as it is at its source, with the mtime `shown` there. None where the
    /// source has no mtime: nothing could tell it from another file then.
    pub fn new(
        dir: RelPath,
        name: &[u8],
        to: Side,
        source: &Stat,
        shown: Option<Timestamp>,
    ) -> Option<Self> {
        let mtime = source.best_mtime()?;
        Some(Self {
            dir,
            name: name.into(),
            to,
            size: source.size,
            mtime,
            seen: shown.filter(|seen| !seen.is_close_to(mtime)),
            at: Timestamp::now(),
        })
    }
}

/// A file that a run is about to delete, and of which no record will tell afterwards: the other side has lost the
/// directory with the records in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Doomed {
    /// Its directory.
    pub dir: RelPath,
    /// Its name there.
    pub name: Box<[u8]>,
    /// Its size in bytes.
    pub size: u64,
    /// Its mtime as its side shows it.
    pub mtime: Timestamp,
}

/// What runs that were killed have left.
#[derive(Debug, Clone, Default)]
pub struct Leftover {
    /// By directory and name; of one name in the order in which they were written.
    intents: Vec<Intent>,
    /// In order.
    doomed: Vec<Doomed>,
    is_same_boot: bool,
}

impl Leftover {
    /// Whether nothing was left.
    pub const fn is_empty(&self) -> bool {
        self.intents.is_empty()
    }

    /// How many intents were left.
    pub const fn len(&self) -> usize {
        self.intents.len()
    }

    /// The intents for the files of one directory, by name. Of several for one name any may be the one that came to be:
    /// an intent may have been written and its file never placed.
    pub fn intents_of(&self, dir: &RelPath) -> &[Intent] {
        let start = self.intents.partition_point(|intent| intent.dir < *dir);
        let count = self.intents[start..].partition_point(|intent| intent.dir == *dir);
        &self.intents[start..][..count]
    }

    /// Whether a run has seen to it that this file may be deleted, and was cut off before all of its directory was
    /// gone.
    pub fn has_doomed(&self, file: &Doomed) -> bool {
        self.doomed.binary_search(file).is_ok()
    }

    /// Whether all of it surely comes from this boot of the machine. If not, a partial file here may lack data that
    /// was never synced to the disk, whatever its size says; so it is too where no journal was left at all.
    pub const fn is_same_boot(&self) -> bool {
        self.is_same_boot
    }
}

/// A journal to be appended to, by any thread.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    /// The line that says whose journal this is, for each boot that has left something.
    headers: Vec<u8>,
    file: Mutex<OpenState>,
}

#[derive(Debug)]
struct OpenState {
    /// Opened with the first write, so that a run with nothing to do writes nothing.
    file: Option<File>,
    /// What must be written before the next intent.
    pending: Vec<u8>,
    /// Whether there may be a file at all.
    is_there: bool,
    /// Whether there is anything to be forgotten at a checkpoint.
    has_intents: bool,
    written_bytes: u64,
}

impl Journal {
    /// The name of the journal for `peer`.
    pub fn name(peer: &PeerKey) -> Vec<u8> {
        let mut hash = Fnv64::new();
        hash.update(peer.own().as_bytes());
        let mut name = JOURNAL_PREFIX.to_vec();
        json::push(&mut name, format_args!("{:016x}", hash.finish()));
        name
    }

    /// Opens the journal at `path`, whether there is a file or not, and reads what was left there. What cannot be
    /// understood is no intent.
    pub fn open(path: &Path, peer: &PeerKey, boot: &BootId) -> Result<(Self, Leftover)> {
        let doing = || format!("reading the journal {}", shown(path));
        let left = read(path, peer).doing(doing)?;
        let mut pending = Vec::new();
        if left.is_torn {
            pending.push(b'\n');
        }
        let is_same_boot = boot.is_known() && left.boots.iter().all(|left| left == &boot.0);
        let has_own_header = left.is_ours && left.boots.last() == Some(&boot.0);
        let mut headers = Vec::new();
        for left in left.boots.iter().filter(|left| **left != boot.0) {
            write_header(peer, left, &mut headers);
        }
        write_header(peer, &boot.0, &mut headers);
        if !has_own_header {
            write_header(peer, &boot.0, &mut pending);
        }
        let journal = Self {
            path: path.to_owned(),
            headers,
            file: Mutex::new(OpenState {
                file: None,
                pending,
                is_there: left.is_there,
                has_intents: !left.intents.is_empty() || !left.doomed.is_empty(),
                written_bytes: 0,
            }),
        };
        let leftover = Leftover {
            is_same_boot: is_same_boot && !left.boots.is_empty(),
            intents: left.intents,
            doomed: left.doomed,
        };
        Ok((journal, leftover))
    }

    /// Notes that transfers begin, so that the partial files of this run can be told from those of another boot.
    pub fn begin(&self) -> Result<()> {
        self.write_out(&mut self.lock(), &[])
    }

    /// Notes that a file is about to be placed; to be called right before the rename.
    fn placing(&self, intent: &Intent) -> Result<()> {
        let mut line = Vec::with_capacity(200);
        write_intent(intent, &mut line);
        let mut state = self.lock();
        state.has_intents = true;
        self.write_out(&mut state, &line)
    }

    /// The same where nothing is to fail for it: the journal is for runs that are cut off, and that it cannot be kept was
    /// said when it was begun.
    pub fn note(&self, intent: &Intent) {
        if let Err(error) = self.placing(intent) {
            log::debug!("{error}");
        }
    }

    /// Notes files that are about to be deleted; to be called right before that.
    pub fn deleting(&self, files: &[Doomed]) -> Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        let mut lines = Vec::new();
        for file in files {
            write_doomed(file, &mut lines);
        }
        let mut state = self.lock();
        state.has_intents = true;
        self.write_out(&mut state, &lines)
    }

    /// How many bytes this run has written here since the last checkpoint.
    pub fn bytes(&self) -> u64 {
        self.lock().written_bytes
    }

    /// Forgets all intents; to be called when all metadata is written. What tells the boots apart stays.
    pub fn checkpoint(&self) -> Result<()> {
        let mut state = self.lock();
        if state.has_intents {
            let doing = || format!("emptying the journal {}", shown(&self.path));
            self.opened(&mut state)
                .and_then(|file| file.set_len(0))
                .map_err(ErrorKind::Disk)
                .doing(doing)?;
            state.pending.clone_from(&self.headers);
            self.write_out(&mut state, &[])?;
            state.written_bytes = 0;
            state.has_intents = false;
        }
        Ok(())
    }

    /// Forgets what is recorded by now: all but those entries for which `is_open` says so, by directory and name. What
    /// is recorded and still here would hide from the next run what happens to the file from now on.
    pub fn keep_only(&self, is_open: impl Fn(&RelPath, &[u8]) -> bool) -> Result<()> {
        let mut state = self.lock();
        if !state.has_intents {
            return Ok(());
        }
        let doing = || format!("clearing the journal {}", shown(&self.path));
        let content = std::fs::read(&self.path)
            .map_err(ErrorKind::Disk)
            .doing(doing)?;
        let mut kept = self.headers.clone();
        for line in content.split_inclusive(|byte| *byte == b'\n') {
            let is_kept = match str::from_utf8(line).ok().and_then(parse_line) {
                Some(Line::Intent(intent)) => is_open(&intent.dir, &intent.name),
                Some(Line::Doomed(file)) => is_open(&file.dir, &file.name),
                Some(Line::Header { .. }) | None => false,
            };
            if is_kept {
                kept.extend_from_slice(line);
            }
        }
        self.opened(&mut state)
            .and_then(|file| file.set_len(0))
            .map_err(ErrorKind::Disk)
            .doing(doing)?;
        state.pending.clear();
        self.write_out(&mut state, &kept)
    }

    /// Ends the journal: all metadata is written, and no partial file is left to be told from others. The file is
    /// removed.
    pub fn finish(self) -> Result<()> {
        let is_there = self.lock().is_there;
        if !is_there {
            return Ok(());
        }
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let doing = format!("removing the journal {}", shown(&self.path));
                Err(Error::new(ErrorKind::Disk(error)).while_doing(doing))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Writes what is pending and `line` at once. The lock is held over this one small write: it opens the file.
    fn write_out(&self, state: &mut OpenState, line: &[u8]) -> Result<()> {
        let mut bytes = std::mem::take(&mut state.pending);
        bytes.extend_from_slice(line);
        if bytes.is_empty() {
            return Ok(());
        }
        let outcome = self
            .opened(state)
            .and_then(|mut file| file.write_all(&bytes));
        match outcome {
            Ok(()) => {
                state.written_bytes += bytes.len() as u64;
                Ok(())
            }
            Err(error) => {
                // A full disk may have taken a part of it: the next line must not be glued to that, and whose
                // journal this is must be said again.
                state.pending = [b"\n", &self.headers[..]].concat();
                let doing = format!("writing the journal {}", shown(&self.path));
                Err(Error::new(ErrorKind::Disk(error)).while_doing(doing))
            }
        }
    }

    fn opened<'s>(&self, state: &'s mut OpenState) -> io::Result<&'s File> {
        let file = match state.file.take() {
            Some(file) => file,
            None => {
                // A state directory that is used for the first time is not there yet.
                self.path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
                OpenOptions::new()
                    .append(true)
                    .create(true)
                    .mode(0o600)
                    .custom_flags(libc::O_NOFOLLOW)
                    .open(&self.path)?
            }
        };
        state.is_there = true;
        Ok(state.file.insert(file))
    }

    fn lock(&self) -> MutexGuard<'_, OpenState> {
        // A panic elsewhere leaves the state whole: it changes only after a write.
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One boot of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootId(String);

impl BootId {
    /// This boot's; where the system does not tell, it counts as another one each time.
    pub fn current() -> Self {
        let text = std::fs::read_to_string(BOOT_ID_FILE).unwrap_or_default();
        Self::new(text.trim())
    }

    /// A boot of that name.
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    fn is_known(&self) -> bool {
        !self.0.is_empty()
    }
}

/// What is in a journal file.
#[derive(Default)]
struct Left {
    intents: Vec<Intent>,
    doomed: Vec<Doomed>,
    /// The boots of the runs that have written here, in order.
    boots: Vec<String>,
    /// Whether the last of these lines is this peer's.
    is_ours: bool,
    is_torn: bool,
    is_there: bool,
}

fn read(path: &Path, peer: &PeerKey) -> Result<Left> {
    let file = match OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
    {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Left::default()),
        Err(error) => return Err(ErrorKind::Disk(error).into()),
    };
    let mut left = Left {
        is_there: true,
        ..Left::default()
    };
    let mut lines = BufReader::new(file.take(MAX_BYTES));
    let mut line = Vec::new();
    loop {
        line.clear();
        let count = lines
            .read_until(b'\n', &mut line)
            .map_err(ErrorKind::Disk)?;
        if count == 0 {
            break;
        }
        left.is_torn = line.last() != Some(&b'\n');
        match str::from_utf8(&line).ok().and_then(parse_line) {
            Some(Line::Header { peer: of, boot }) => {
                // Two peers whose hashes are equal: the other one's intents are not for this run.
                left.is_ours = of == peer.own();
                if left.is_ours && !left.boots.contains(&boot) {
                    left.boots.push(boot);
                }
            }
            Some(Line::Intent(intent)) if left.is_ours && !left.is_torn => {
                left.intents.push(intent)
            }
            Some(Line::Doomed(file)) if left.is_ours && !left.is_torn => left.doomed.push(file),
            Some(Line::Intent(_) | Line::Doomed(_)) | None => {}
        }
    }
    // The stable sort keeps the order of intents for one name.
    left.intents
        .sort_by(|one, two| (&one.dir, &one.name).cmp(&(&two.dir, &two.name)));
    left.doomed.sort();
    Ok(left)
}

enum Line {
    Header { peer: String, boot: String },
    Intent(Intent),
    Doomed(Doomed),
}

fn parse_line(text: &str) -> Option<Line> {
    let (mut peer, mut boot, mut dir, mut name) = (None, None, None, None);
    let (mut to, mut size, mut mtime, mut seen, mut at) = (None, None, None, None, None);
    let mut is_doomed = false;
    json::each_field(text, &mut |key, value| match key {
        b"peer" => peer = json::parse_bytes(value),
        b"boot" => boot = json::parse_bytes(value),
        b"dir" => dir = json::parse_bytes(value),
        b"name" => name = json::parse_bytes(value),
        b"to" => to = parse_side(value),
        b"size" => size = value.parse().ok(),
        b"m" => mtime = json::parse_secs(value),
        b"seen" => seen = Some(value),
        b"u" => at = json::parse_secs(value),
        b"doomed" => is_doomed = value == "true",
        _ => {}
    })
    .ok()?;
    if let (Some(peer), Some(boot)) = (peer, boot) {
        return Some(Line::Header {
            peer: String::from_utf8(peer).ok()?,
            boot: String::from_utf8(boot).ok()?,
        });
    }
    let name = name.filter(|name| Name::new(name).is_ok())?;
    if is_doomed {
        return Some(Line::Doomed(Doomed {
            dir: RelPath::parse(&dir?).ok()?,
            name: name.into(),
            size: size?,
            mtime: mtime?,
        }));
    }
    let seen = match seen {
        Some(seen) => Some(json::parse_secs(seen)?),
        None => None,
    };
    Some(Line::Intent(Intent {
        dir: RelPath::parse(&dir?).ok()?,
        name: name.into(),
        to: to?,
        size: size?,
        mtime: mtime?,
        seen,
        at: at?,
    }))
}

fn parse_side(text: &str) -> Option<Side> {
    match text {
        "\"local\"" => Some(Side::Local),
        "\"remote\"" => Some(Side::Remote),
        _ => None,
    }
}

fn write_header(peer: &PeerKey, boot: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"version\":1,\"peer\":");
    json::write_bytes(peer.own().as_bytes(), out);
    out.extend_from_slice(b",\"boot\":");
    json::write_bytes(boot.as_bytes(), out);
    out.extend_from_slice(b"}\n");
}

fn write_intent(intent: &Intent, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"dir\":");
    json::write_bytes(intent.dir.as_bytes(), out);
    out.extend_from_slice(b",\"name\":");
    json::write_bytes(&intent.name, out);
    let Intent { to, size, .. } = intent;
    json::push(out, format_args!(",\"to\":\"{to}\",\"size\":{size},\"m\":"));
    json::write_secs(intent.mtime, out);
    if let Some(seen) = intent.seen {
        out.extend_from_slice(b",\"seen\":");
        json::write_secs(seen, out);
    }
    out.extend_from_slice(b",\"u\":");
    json::write_secs(intent.at, out);
    out.extend_from_slice(b"}\n");
}

fn write_doomed(file: &Doomed, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"dir\":");
    json::write_bytes(file.dir.as_bytes(), out);
    out.extend_from_slice(b",\"name\":");
    json::write_bytes(&file.name, out);
    json::push(out, format_args!(",\"size\":{},\"m\":", file.size));
    json::write_secs(file.mtime, out);
    out.extend_from_slice(b",\"doomed\":true}\n");
}

fn shown(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    Escaped(path.as_os_str().as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Location;
    use crate::sync::scratch::Scratch;

    fn peer(path: &str) -> PeerKey {
        PeerKey::of(&Location::Path(path.into()))
    }

    fn boot(text: &str) -> BootId {
        BootId::new(text)
    }

    fn intent(dir: &str, name: &[u8], size: u64) -> Intent {
        Intent {
            dir: RelPath::parse(dir.as_bytes()).unwrap(),
            name: name.into(),
            to: Side::Remote,
            size,
            mtime: Timestamp::from_nanos(1_700_000_000_123_456_789),
            seen: size
                .is_multiple_of(2)
                .then(|| Timestamp::from_secs(1_700_000_000)),
            at: Timestamp::from_nanos(-1),
        }
    }

    fn open(path: &Path, of: &str, at: &str) -> (Journal, Leftover) {
        Journal::open(path, &peer(of), &boot(at)).unwrap()
    }

    /// A journal of three intents as a killed run leaves it.
    fn leave_three(path: &Path) -> [Intent; 3] {
        let (journal, leftover) = open(path, "/peer", "one");
        assert!(leftover.is_empty());
        let intents = [
            intent("b", b"caf\xe9 \"x\"", 1),
            intent("a/b", b"y", 2),
            intent("b", b"a", 3),
        ];
        for intent in &intents {
            journal.placing(intent).unwrap();
        }
        assert_eq!(journal.bytes(), std::fs::metadata(path).unwrap().len());
        intents
    }

    #[test]
    fn a_killed_run_leaves_what_it_was_deleting() {
        let scratch = Scratch::new("journal-doomed");
        let path = scratch.join("j");
        let file = |name: &[u8], size| Doomed {
            dir: RelPath::parse(b"a/b").unwrap(),
            name: name.into(),
            size,
            mtime: Timestamp::from_secs(1_700_000_000),
        };
        let (journal, _) = open(&path, "/peer", "one");
        journal
            .deleting(&[file(b"y", 2), file(b"caf\xe9", 1)])
            .unwrap();
        let (_, leftover) = open(&path, "/peer", "one");
        assert!(leftover.is_empty(), "a deletion is nothing that was placed");
        assert!(leftover.has_doomed(&file(b"y", 2)));
        assert!(leftover.has_doomed(&file(b"caf\xe9", 1)));
        assert!(!leftover.has_doomed(&file(b"y", 3)), "another file by now");
    }

    #[test]
    fn what_is_recorded_is_forgotten_and_the_rest_kept() {
        let scratch = Scratch::new("journal-keep");
        let path = scratch.join("j");
        let [_, second, _] = leave_three(&path);
        let (journal, _) = open(&path, "/peer", "one");
        journal
            .keep_only(|dir, name| *dir == second.dir && *name == *second.name)
            .unwrap();
        let (_, leftover) = open(&path, "/peer", "one");
        assert_eq!(leftover.len(), 1);
        assert_eq!(leftover.intents_of(&second.dir), [second]);
        assert!(leftover.is_same_boot());
    }

    #[test]
    fn a_killed_run_leaves_its_intents_by_directory() {
        let scratch = Scratch::new("journal-left");
        let path = scratch.join("j");
        let [first, second, third] = leave_three(&path);
        let (_, leftover) = open(&path, "/peer", "one");
        assert!(leftover.is_same_boot());
        assert_eq!(leftover.len(), 3);
        assert_eq!(
            leftover.intents_of(&RelPath::parse(b"b").unwrap()),
            [third, first]
        );
        assert_eq!(
            leftover.intents_of(&RelPath::parse(b"a/b").unwrap()),
            [second]
        );
        assert_eq!(leftover.intents_of(&RelPath::root()), []);
    }

    #[test]
    fn a_run_with_nothing_to_place_writes_nothing() {
        let scratch = Scratch::new("journal-nothing");
        let path = scratch.join("j");
        let (journal, leftover) = open(&path, "/peer", "one");
        assert!(!leftover.is_same_boot());
        journal.checkpoint().unwrap();
        assert_eq!(journal.bytes(), 0);
        journal.finish().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_journal_cut_anywhere_can_be_read_and_continued() {
        let scratch = Scratch::new("journal-cut");
        let path = scratch.join("j");
        leave_three(&path);
        let whole = std::fs::read(&path).unwrap();
        let fourth = intent("", b"z", 4);
        for end in 0..=whole.len() {
            std::fs::write(&path, &whole[..end]).unwrap();
            let lines = whole[..end].iter().filter(|byte| **byte == b'\n').count();
            let (journal, leftover) = open(&path, "/peer", "one");
            assert_eq!(leftover.len(), lines.saturating_sub(1), "{end}");
            journal.placing(&fourth).unwrap();
            let (_, leftover) = open(&path, "/peer", "one");
            assert_eq!(
                leftover.intents_of(&RelPath::root()),
                std::slice::from_ref(&fourth),
                "{end}"
            );
            // A line that lacks nothing but its end becomes whole.
            let became_whole = end < whole.len() && whole[end] == b'\n';
            let before = lines.saturating_sub(1) + usize::from(became_whole && lines > 0);
            assert_eq!(leftover.len(), before + 1, "{end}");
        }
    }

    #[test]
    fn another_boot_is_noticed_until_the_journal_ends() {
        let scratch = Scratch::new("journal-boot");
        let path = scratch.join("j");
        let [first, ..] = leave_three(&path);
        let (journal, leftover) = open(&path, "/peer", "two");
        assert!(!leftover.is_same_boot());
        journal.begin().unwrap();
        let (journal, leftover) = open(&path, "/peer", "two");
        assert!(!leftover.is_same_boot() && leftover.len() == 3);
        journal.checkpoint().unwrap();
        let (journal, leftover) = open(&path, "/peer", "two");
        assert!(!leftover.is_same_boot() && leftover.is_empty());
        journal.placing(&first).unwrap();
        let (journal, leftover) = open(&path, "/peer", "two");
        assert_eq!(leftover.len(), 1);
        journal.finish().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_system_without_boot_ids_trusts_no_partial_file() {
        let scratch = Scratch::new("journal-no-boot");
        let path = scratch.join("j");
        open(&path, "/peer", "").0.begin().unwrap();
        assert!(!open(&path, "/peer", "").1.is_same_boot());
    }

    #[test]
    fn a_checkpoint_forgets_and_goes_on() {
        let scratch = Scratch::new("journal-checkpoint");
        let path = scratch.join("j");
        let [first, second, _] = leave_three(&path);
        let (journal, _) = open(&path, "/peer", "one");
        journal.checkpoint().unwrap();
        let bytes = journal.bytes();
        journal.checkpoint().unwrap();
        assert_eq!(journal.bytes(), bytes);
        journal.placing(&first).unwrap();
        journal.checkpoint().unwrap();
        journal.placing(&second).unwrap();
        let (_, leftover) = open(&path, "/peer", "one");
        assert!(leftover.is_same_boot());
        assert_eq!(
            leftover.intents_of(&second.dir),
            std::slice::from_ref(&second)
        );
        assert_eq!(leftover.len(), 1);
    }

    #[test]
    fn the_intents_of_another_peer_are_not_taken() {
        let scratch = Scratch::new("journal-foreign");
        let path = scratch.join("j");
        let [first, ..] = leave_three(&path);
        let (journal, leftover) = open(&path, "/other", "one");
        assert!(leftover.is_empty() && !leftover.is_same_boot());
        journal.placing(&first).unwrap();
        assert_eq!(open(&path, "/other", "one").1.len(), 1);
        let (journal, leftover) = open(&path, "/peer", "one");
        assert_eq!(leftover.len(), 3);
        journal.placing(&first).unwrap();
        assert_eq!(open(&path, "/peer", "one").1.len(), 4);
    }

    #[test]
    fn each_peer_has_a_reserved_name_of_its_own() {
        let (one, two) = (Journal::name(&peer("/a")), Journal::name(&peer("/b")));
        assert_ne!(one, two);
        assert!(Name::new(&one).unwrap().is_reserved());
        assert!(!Name::new(&one).unwrap().is_disposable());
    }

    #[test]
    fn a_link_in_its_place_is_not_followed() {
        let scratch = Scratch::new("journal-link");
        let (path, target) = (scratch.join("j"), scratch.join("precious"));
        std::fs::write(&target, b"x").unwrap();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        assert!(Journal::open(&path, &peer("/peer"), &boot("one")).is_err());
        assert_eq!(std::fs::read(&target).unwrap(), b"x");
    }

    #[test]
    fn intents_of_many_threads_are_whole_lines() {
        let scratch = Scratch::new("journal-threads");
        let path = scratch.join("j");
        let (journal, _) = open(&path, "/peer", "one");
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let journal = &journal;
                scope.spawn(move || {
                    for round in 0..50 {
                        let name = format!("{thread}-{round}");
                        journal
                            .placing(&intent("d", name.as_bytes(), round))
                            .unwrap();
                    }
                });
            }
        });
        assert_eq!(open(&path, "/peer", "one").1.len(), 200);
    }
}
