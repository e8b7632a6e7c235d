//! A world of two trees in memory and a job between them: put trees, run, compare trees.
//!
//! Trees are written as words: `a=one@1` is a file `a` holding `one`, modified one tick after the beginning; `d/` is an
//! empty directory, `l~` a link. Directories that hold something are not named.

use std::collections::VecDeque;
use std::fs;
use std::num::NonZeroU8;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use coracle::error::Result;
use coracle::job::{Connections, DataMode, Direction, Job, Limits, Location, Resolve};
use coracle::path::{PartOwner, RelPath};
use coracle::replica::{
    Algorithm, Capabilities, Connect, Digest, FileIdentity, Listing, Mtime, NewFile, Removal,
    Renaming, Replica, Source, Stat, Times, Watch, Written,
};
use coracle::side::{Side, Sides};
use coracle::sync::event::{
    Answer, Ask, Choice, Conflict, Deed, DeletedFor, Event, Resolved, Skipped,
};
use coracle::sync::record::{Home, Mode, PeerKey, open};
use coracle::sync::workers::Stop;
use coracle::sync::{self, Setting, Summary};
use coracle::time::Timestamp;

use super::connections;
use super::faulty::{FaultyReplica, Script};
use super::memory::{Manners, Node, Tree};
use super::served::{Idle, Served, Session};
use super::temp::TempDir;

/// The beginning: tick 0, in seconds since 1970.
pub const BEGINNING_SECS: i64 = 1_700_000_000;

/// The length of a tick: far more than the tolerance, and no multiple of it is a plausible shift of zones.
pub const TICK_SECS: i64 = 77;

/// When every run takes place, in seconds since 1970: long after the program was made.
pub const NOW_SECS: i64 = 1_800_000_000;

/// Two trees, the job between them, and what else a run is told.
pub struct World {
    /// The two sides.
    pub trees: Sides<Tree>,
    /// Where the archive is: beside the trees, which know nothing of it.
    records: TempDir,
    /// What is to be done.
    pub job: Job,
    /// What the user answers, in order. A question beyond them fails the test.
    pub answers: VecDeque<Answer>,
    /// Whether the roots are known from elsewhere to have held files.
    pub held_files: Sides<bool>,
    /// The time of the next run, in seconds since 1970.
    pub now_secs: i64,
    /// What fails, and on which side.
    pub script: Option<(Side, Script)>,
    /// What has been done to the targets since the last run began: `local write a`.
    changes: Arc<Mutex<Vec<String>>>,
    /// What stands in for the remote tree during a run.
    served: Option<Served>,
}

/// What came of a run.
#[derive(Debug)]
pub struct Ran {
    /// What became of each entry, one line each.
    pub lines: Vec<String>,
    /// What the run came to.
    pub summary: Result<Summary>,
    /// Every call that changed something on either side, metadata and locks included.
    pub changes: Vec<String>,
}

impl World {
    /// Two empty trees that keep times, and a `sync` that skips conflicts.
    pub fn new() -> Self {
        Self::with(Manners::default(), Manners::default())
    }

    /// Two empty trees with those manners.
    pub fn with(local: Manners, remote: Manners) -> Self {
        let trees = Sides::new(Tree::with(local), Tree::with(remote));
        for side in Side::BOTH {
            trees.of(side).set_clock(Timestamp::from_secs(NOW_SECS));
        }
        Self {
            trees,
            records: TempDir::in_memory("world"),
            job: plain_job(Direction::Sync),
            answers: VecDeque::new(),
            held_files: Sides::new(false, false),
            now_secs: NOW_SECS,
            script: None,
            changes: Arc::default(),
            served: Served::as_asked(),
        }
    }

    /// Trees that hold the same and were synced: every entry is recorded.
    pub fn synced(words: &str) -> Self {
        let mut world = Self::new();
        world.put(Side::Local, words);
        world.put(Side::Remote, words);
        world.run().expect_clean();
        world
    }

    /// The same world with another command.
    pub fn command(mut self, direction: Direction) -> Self {
        self.job.direction = direction;
        self
    }

    /// The same world with its remote tree in memory, whatever `CORACLE_REMOTE` says: it shows what no SFTP server does.
    pub fn in_memory(mut self) -> Self {
        self.served = None;
        self
    }

    /// Whether a server holds the remote tree during runs.
    pub fn is_served(&self) -> bool {
        self.served.is_some()
    }

    /// The same world with another rule for conflicts.
    pub fn resolve(mut self, resolve: Resolve) -> Self {
        self.job.policy.resolve = resolve;
        self
    }

    /// The same world with something else changed about its job.
    pub fn job(mut self, change: impl FnOnce(&mut Job)) -> Self {
        change(&mut self.job);
        self
    }

    /// Puts entries into a tree, over those that are there.
    pub fn put(&mut self, side: Side, words: &str) {
        for word in words.split_whitespace() {
            let (path, node) = parse(word);
            self.trees.of(side).put(path, node);
        }
    }

    /// Puts entries into the local tree.
    pub fn put_local(&mut self, words: &str) {
        self.put(Side::Local, words);
    }

    /// Puts entries into the remote tree.
    pub fn put_remote(&mut self, words: &str) {
        self.put(Side::Remote, words);
    }

    /// Takes entries, and all below them, from a tree.
    pub fn take(&mut self, side: Side, paths: &str) {
        for path in paths.split_whitespace() {
            self.trees.of(side).take(path);
        }
    }

    /// Renames a file or a directory of a tree, metadata and all; what has the new name is replaced.
    pub fn rename(&mut self, side: Side, from: &str, to: &str) {
        self.trees.of(side).rename(from, to);
    }

    /// What a tree holds, in words; without coracle's own files.
    pub fn words(&self, side: Side) -> String {
        words_of(self.trees.of(side))
    }

    /// Runs the job.
    pub fn run(&mut self) -> Ran {
        self.changes.lock().unwrap().clear();
        let home = Home::in_root(self.records.path());
        let mode = if self.job.dry_run {
            Mode::ReadOnly
        } else {
            Mode::ReadWrite
        };
        let peer = PeerKey::named("memory".to_owned());
        let opened = open(&home, None, self.records.path(), &peer, mode, false);
        let opened = opened.expect("the archive is whole");
        let mut served = self
            .served
            .as_mut()
            .filter(|_| self.trees.remote.is_plain());
        if let Some(served) = &mut served {
            served.lay_out(&self.trees.remote);
        }
        let door = |side| Door {
            tree: self.trees.of(side),
            served: served.as_deref().filter(|_| side == Side::Remote),
            side,
            script: (self.script.as_ref())
                .filter(|(struck, _)| *struck == side)
                .map(|(_, script)| script),
            changes: &self.changes,
        };
        let doors = Sides::new(door(Side::Local), door(Side::Remote));
        let setting = Setting {
            connect: Sides::new(&doors.local, &doors.remote),
            stop: Stop::NEVER,
            opened: &opened,
            home: &home,
            held_files: self.held_files,
            holder: "the test",
            owner: PartOwner::of(b"the test", b"the peer"),
            now: Timestamp::from_secs(self.now_secs),
        };
        let mut lines = Vec::new();
        let mut user = Answers(&mut self.answers);
        let summary = sync::run(
            &self.job,
            &setting,
            &mut |event| lines.extend(line(&event)),
            Some(&mut user),
        );
        if let Some(served) = served {
            served.read_back(&self.trees.remote);
        }
        Ran {
            lines,
            summary,
            changes: self.changes.lock().unwrap().clone(),
        }
    }

    /// The archive; none where nothing was ever recorded.
    pub fn archive(&self) -> Option<String> {
        let home = Home::in_root(self.records.path());
        let files = fs::read_dir(home.path()).into_iter().flatten().flatten();
        let archive = files
            .map(|file| file.path())
            .find(|path| path.to_string_lossy().contains("/archive-"))?;
        Some(fs::read_to_string(archive).expect("names in these worlds are UTF-8"))
    }

    /// Whether a run left its journal behind.
    pub fn has_journal(&self) -> bool {
        let home = Home::in_root(self.records.path());
        let mut files = fs::read_dir(home.path()).into_iter().flatten().flatten();
        files.any(|file| file.file_name().to_string_lossy().starts_with("journal"))
    }

    /// Fails unless the trees hold exactly this.
    #[track_caller]
    pub fn assert_trees(&self, local: &str, remote: &str) {
        let held = Sides::new(self.words(Side::Local), self.words(Side::Remote));
        let expected = Sides::new(sorted(local), sorted(remote));
        assert!(
            held == expected,
            "expected local:  {}\n   found local:  {}\nexpected remote: {}\n   found remote: {}",
            expected.local,
            held.local,
            expected.remote,
            held.remote
        );
    }

    /// Fails unless both trees hold exactly this.
    #[track_caller]
    pub fn assert_both(&self, words: &str) {
        self.assert_trees(words, words);
    }

    /// Fails if another run does anything at all.
    #[track_caller]
    pub fn assert_settled(&mut self) {
        let before = (self.trees.local.paths(), self.trees.remote.paths());
        let recorded = self.archive();
        let ran = self.run();
        assert!(
            ran.changes.is_empty(),
            "a second run did: {:#?}\nand said: {:#?}",
            ran.changes,
            ran.lines
        );
        assert_eq!(
            before,
            (self.trees.local.paths(), self.trees.remote.paths())
        );
        let (recorded, now) = (
            recorded.unwrap_or_default(),
            self.archive().unwrap_or_default(),
        );
        let new: Vec<&str> = (now.lines())
            .filter(|line| !recorded.lines().any(|old| old == *line))
            .collect();
        assert!(
            recorded == now,
            "a second run recorded {new:#?} over\n{recorded}"
        );
    }

    /// The true times that are left for other clients in a remote directory, as text; none when there is no such file.
    pub fn remote_times(&self, dir: &str) -> Option<String> {
        let path = match dir {
            "" => ".pyftpsync-meta.json".to_owned(),
            dir => format!("{dir}/.pyftpsync-meta.json"),
        };
        match self.trees.remote.paths().get(&path) {
            Some(Node::File { content, .. }) => Some(String::from_utf8(content.clone()).unwrap()),
            _ => None,
        }
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl Ran {
    /// Fails unless the run did all it wanted to.
    #[track_caller]
    pub fn expect_clean(self) -> Self {
        match &self.summary {
            Ok(summary) => {
                assert_eq!(summary.totals.errors, 0, "{:#?}", self.lines);
                assert!(summary.stopped_by.is_none(), "{summary:?}");
            }
            Err(error) => panic!("the run was refused: {error}"),
        }
        self
    }

    /// Whether the run did all it wanted to, as far as it knows.
    pub fn is_clean(&self) -> bool {
        let summary = self.summary.as_ref();
        summary.is_ok_and(|ran| ran.totals.errors == 0 && ran.stopped_by.is_none())
    }

    /// What the run was refused for.
    #[track_caller]
    pub fn refusal(&self) -> String {
        match &self.summary {
            Ok(_) => panic!("nothing was refused: {:#?}", self.lines),
            Err(error) => {
                assert!(
                    self.changes.is_empty(),
                    "refused, and yet: {:?}",
                    self.changes
                );
                error.to_string()
            }
        }
    }

    /// What was said of one entry.
    pub fn said_of(&self, path: &str) -> Vec<&str> {
        let end = format!(" {path}");
        let of_it = self.lines.iter().filter(|line| line.ends_with(&end));
        of_it.map(|line| &line[..line.len() - end.len()]).collect()
    }

    /// The numbers of the run.
    #[track_caller]
    pub fn totals(&self) -> coracle::sync::event::Totals {
        self.summary.as_ref().expect("the run went through").totals
    }
}

/// A job between the two trees with nothing but defaults, that skips conflicts.
pub fn plain_job(direction: Direction) -> Job {
    let remote = Location::Path(PathBuf::from("/remote"));
    let limits = Limits {
        connections: Connections::AtMost(
            NonZeroU8::new(connections(1)).expect("CORACLE_CONNECTIONS is not 0"),
        ),
        timeout: Duration::from_secs(5),
        retries: 0,
        max_duration: None,
        bytes_per_sec: None,
        data: DataMode::Passive,
        ..Limits::default()
    };
    Job {
        limits,
        ..Job::new(direction, "/local", remote)
    }
}

/// The time of a tick.
pub fn tick(number: i64) -> Timestamp {
    Timestamp::from_secs(BEGINNING_SECS + number * TICK_SECS)
}

/// What a tree holds, in words.
pub fn words_of(tree: &Tree) -> String {
    let nodes = tree.user_paths();
    let mut words = Vec::new();
    for (path, node) in &nodes {
        match node {
            Node::File { content, mtime } => {
                let content = String::from_utf8_lossy(content);
                let since = mtime.as_secs() - BEGINNING_SECS;
                if since % TICK_SECS == 0 {
                    words.push(format!("{path}={content}@{}", since / TICK_SECS));
                } else {
                    words.push(format!("{path}={content}@{}s", mtime.as_secs()));
                }
            }
            Node::Dir => {
                let below = format!("{path}/");
                if !nodes.keys().any(|other| other.starts_with(&below)) {
                    words.push(below);
                }
            }
            Node::Special => words.push(format!("{path}~")),
        }
    }
    words.sort();
    words.join(" ")
}

fn sorted(words: &str) -> String {
    let mut words: Vec<&str> = words.split_whitespace().collect();
    words.sort_unstable();
    words.join(" ")
}

fn parse(word: &str) -> (&str, Node) {
    if let Some(path) = word.strip_suffix('/') {
        return (path, Node::Dir);
    }
    if let Some(path) = word.strip_suffix('~') {
        return (path, Node::Special);
    }
    let (path, rest) = word.split_once('=').expect("a file is path=content@tick");
    let (content, at) = rest.split_once('@').expect("a file is path=content@tick");
    let secs = match at.strip_suffix('s') {
        Some(secs) => secs.parse().expect("seconds"),
        None => BEGINNING_SECS + at.parse::<i64>().expect("a tick") * TICK_SECS,
    };
    (path, Node::file(content, secs))
}

/// One line for each event that concerns an entry.
fn line(event: &Event<'_>) -> Option<String> {
    match event {
        Event::Entry { path, deed, .. } => Some(format!("{} {path}", words_for(*deed))),
        Event::Failed { path, error } => Some(format!("failed: {error}: {path}")),
        Event::Warning(text) => Some(format!("warning: {text}")),
        Event::Notice(text) | Event::Line(text) => Some(format!("notice: {text}")),
        Event::Started
        | Event::Scanned { .. }
        | Event::Planned { .. }
        | Event::Decided(_)
        | Event::Moved { .. }
        | Event::Question => None,
    }
}

/// `>` is towards the remote side, `<` towards the local one.
fn words_for(deed: Deed) -> &'static str {
    use Side::{Local, Remote};
    match deed {
        Deed::Equal => "equal",
        Deed::Recorded => "found equal",
        Deed::Visited => "visit",
        Deed::Copied { from: Local, .. } => "copy >",
        Deed::Copied { from: Remote, .. } => "copy <",
        Deed::PutBack { on: Local } => "restore <",
        Deed::PutBack { on: Remote } => "restore >",
        Deed::Renamed { from: Local } => "rename >",
        Deed::Renamed { from: Remote } => "rename <",
        Deed::Deleted { on, why } => match (on, why) {
            (Remote, DeletedFor::Missing) => "delete >",
            (Local, DeletedFor::Missing) => "delete <",
            (Remote, DeletedFor::Unmatched) => "delete unmatched >",
            (Local, DeletedFor::Unmatched) => "delete unmatched <",
        },
        Deed::Forgotten => "forget",
        Deed::Resolved(resolved) => match resolved {
            Resolved::Copied { from: Local, .. } => "resolve >",
            Resolved::Copied { from: Remote, .. } => "resolve <",
            Resolved::Restored { from: Local, .. } => "restore >",
            Resolved::Restored { from: Remote, .. } => "restore <",
            Resolved::Deleted { on: Remote } => "resolve by delete >",
            Resolved::Deleted { on: Local } => "resolve by delete <",
            Resolved::KeptBoth { winner: Local } => "both >",
            Resolved::KeptBoth { winner: Remote } => "both <",
            Resolved::MovedAside { loser } => match loser {
                Local => "aside <",
                Remote => "aside >",
            },
        },
        Deed::ConflictSkipped => "conflict",
        Deed::Skipped(skipped) => match skipped {
            Skipped::Unmatched => "skip unmatched",
            Skipped::OneWay { .. } => "skip one-way",
            Skipped::NotDeleted { .. } => "skip deletion",
            Skipped::NotOurs { .. } => "skip surplus",
            Skipped::Gone { .. } => "skip gone",
            Skipped::TooYoung => "skip too young",
            Skipped::Special { .. } => "skip special",
            Skipped::Linked { .. } => "skip linked",
            Skipped::Protected { .. } => "skip protected",
        },
    }
}

/// A user whose answers are known beforehand.
struct Answers<'a>(&'a mut VecDeque<Answer>);

impl Ask for Answers<'_> {
    fn ask(
        &mut self,
        conflict: &Conflict<'_>,
        _compare: &mut dyn FnMut() -> Result<bool>,
    ) -> Result<Answer> {
        let answer = self.0.pop_front();
        Ok(answer.unwrap_or_else(|| panic!("asked about {}: no answer is left", conflict.path)))
    }
}

/// The answer that holds once.
pub const fn once(choice: Choice) -> Answer {
    Answer::Once(choice)
}

/// Opens a tree.
struct Door<'a> {
    tree: &'a Tree,
    served: Option<&'a Served>,
    side: Side,
    script: Option<&'a Script>,
    changes: &'a Arc<Mutex<Vec<String>>>,
}

impl Connect for Door<'_> {
    fn connect(&self) -> Result<Box<dyn Replica>> {
        let (target, idle): (Session, _) = match self.served {
            Some(served) => served.connect()?,
            None => (Box::new(self.tree.target()), Idle::default()),
        };
        let watched = Watched {
            target: Some(target),
            idle,
            side: self.side,
            changes: Arc::clone(self.changes),
        };
        Ok(match self.script {
            Some(script) => Box::new(FaultyReplica::new(watched, script)),
            None => Box::new(watched),
        })
    }

    fn batch(&self) -> usize {
        self.served.map_or(1, Served::batch)
    }

    fn is_disk(&self) -> bool {
        self.side == Side::Local
    }
}

/// A target that notes every call that may change something.
struct Watched {
    /// There until the end.
    target: Option<Session>,
    /// Where it goes then.
    idle: Idle,
    side: Side,
    changes: Arc<Mutex<Vec<String>>>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.extend(self.target.take());
    }
}

impl Watched {
    fn target(&mut self) -> &mut dyn Replica {
        self.target
            .as_deref_mut()
            .expect("it is there until the end")
    }

    fn note(&self, what: &str, path: &RelPath) {
        let note = format!("{} {what} {path}", self.side);
        self.changes.lock().unwrap().push(note);
    }
}

impl Replica for Watched {
    fn capabilities(&self) -> Capabilities {
        self.target
            .as_deref()
            .expect("it is there until the end")
            .capabilities()
    }

    fn list(&mut self, dir: &RelPath, listing: &mut Listing) -> Result<()> {
        self.target().list(dir, listing)
    }

    fn list_ahead(&mut self, dirs: &[RelPath]) {
        self.target().list_ahead(dirs);
    }

    fn read_ahead(&mut self, files: &[(RelPath, Stat)]) {
        self.target().read_ahead(files);
    }

    fn look_up(&mut self, paths: &[RelPath]) -> Vec<Result<Option<Stat>>> {
        self.target().look_up(paths)
    }

    fn open<'a>(&'a mut self, file: &RelPath, offset: u64) -> Result<Box<dyn Source + 'a>> {
        self.target().open(file, offset)
    }

    fn write(
        &mut self,
        file: &NewFile<'_>,
        source: &mut dyn Source,
        watch: &mut dyn Watch,
    ) -> Result<Written> {
        self.note("write", file.path);
        self.target().write(file, source, watch)
    }

    fn write_small(
        &mut self,
        files: &[(NewFile<'_>, &[u8])],
        placing: &mut dyn FnMut(usize, &Stat, Times),
    ) -> Vec<Result<Written>> {
        for (file, _) in files {
            self.note("write", file.path);
        }
        self.target().write_small(files, placing)
    }

    fn make_lasting(&mut self, dir: &RelPath) -> Result<()> {
        self.note("sync", dir);
        self.target().make_lasting(dir)
    }

    fn make_dirs(&mut self, dirs: &[RelPath]) -> Vec<Result<()>> {
        for dir in dirs {
            self.note("mkdir", dir);
        }
        self.target().make_dirs(dirs)
    }

    fn put_mark(
        &mut self,
        mark: &RelPath,
        see: &mut dyn FnMut(&[u8], Option<Mtime>),
    ) -> Result<()> {
        self.note("mkdir", mark);
        self.target().put_mark(mark, see)
    }

    fn remove(&mut self, removals: &[Removal]) -> Vec<Result<()>> {
        for removal in removals {
            self.note("remove", removal.path());
        }
        self.target().remove(removals)
    }

    fn rename(&mut self, from: &RelPath, to: &RelPath) -> Result<()> {
        self.note("rename", from);
        self.target().rename(from, to)
    }

    fn rename_each(&mut self, renames: &[Renaming]) -> Vec<Result<()>> {
        for renaming in renames {
            self.note("rename", &renaming.from);
        }
        self.target().rename_each(renames)
    }

    fn identify(&mut self, file: &RelPath) -> Result<Option<FileIdentity>> {
        self.target().identify(file)
    }

    fn digest(&mut self, file: &RelPath, algorithms: &[Algorithm]) -> Result<Option<Digest>> {
        self.target().digest(file, algorithms)
    }

    fn free_space(&mut self) -> Result<Option<u64>> {
        self.target().free_space()
    }
}
