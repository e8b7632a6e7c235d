//! coracle against pyftpsync 4.1: the same random trees, changes and commands leave the same trees on both sides.
//!
//! pyftpsync runs with its known defects mended (`pyftpsync_worker.py`, where each mend names the row of the table of intended
//! differences that it is about; `differences.rs` tests these rows). What cannot be mended there is avoided in [`Case::avoid`].
//!
//! coracle runs with eight connections, or as many as `CORACLE_CONNECTIONS` says. Where it speaks SFTP, pyftpsync has a directory: its own
//! SFTP does not start today.
//!
//! `CORACLE_SEEDS=17..18 cargo test --test differential local` runs other seeds; a failure prints the command that repeats it.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{env, fs, thread};

use coracle::side::{Side, Sides};
use serde_json::{Value, json};

use support::random::Random;
use support::servers::{self, Kind, Options, Server};
#[cfg(feature = "sftp")]
use support::ssh::Daemon;
use support::ssh::{SshClient, SshServer};
use support::temp::TempDir;
use support::tree::{self, Content, Edit, MOMENTS, Node, Row, TOLERANCE_SECS, Tree};
use support::{connections, is_long};

const WORKERS: usize = 2;

/// More would say nothing new, and hide the first.
const SHOWN_FAILURES: usize = 2;

#[test]
fn local_directories_end_up_as_with_pyftpsync() {
    compare_all("local_directories", 0, 120, On::Directories);
}

#[test]
fn a_server_that_keeps_times_ends_up_as_with_pyftpsync() {
    let server = Server::start(Kind::Pyftpdlib, Options::default());
    compare_all("keeps_times", 10_000, 30, On::Ftp(&server));
}

#[test]
fn a_server_without_times_ends_up_as_with_pyftpsync() {
    let options = Options {
        sets_times: false,
        ..Options::default()
    };
    let server = Server::start(Kind::Pyftpdlib, options);
    compare_all("without_times", 20_000, 30, On::Ftp(&server));
}

#[cfg(feature = "sftp")]
#[test]
fn openssh_ends_up_as_a_directory_with_pyftpsync() {
    let server = SshServer::start(Daemon::OpenSsh);
    compare_all("openssh", 30_000, 12, On::Sftp(&server, SshClient::Ssh));
}

#[cfg(feature = "sftp")]
#[test]
fn dropbear_ends_up_as_a_directory_with_pyftpsync() {
    let server = SshServer::start(Daemon::Dropbear);
    let on = On::Sftp(&server, SshClient::Dbclient);
    compare_all("dropbear", 40_000, 12, on);
}

/// What the remote trees are on.
#[derive(Clone, Copy)]
enum On<'a> {
    /// This machine.
    Directories,
    /// An FTP server, for both programs.
    Ftp(&'a Server),
    /// A directory for pyftpsync, and an SSH server for coracle.
    #[cfg_attr(not(feature = "sftp"), allow(dead_code))]
    Sftp(&'a SshServer, SshClient),
}

/// The pairs of statuses that can arise from sound records, as `local,remote`. The others cannot: what has a record is not new, and
/// what has none was not deleted.
const CELLS: [&str; 15] = [
    "missing,existing",
    "missing,new",
    "existing,missing",
    "existing,existing",
    "new,missing",
    "new,new",
    "unmodified,unmodified",
    "unmodified,modified",
    "unmodified,deleted",
    "modified,unmodified",
    "modified,modified",
    "modified,deleted",
    "deleted,unmodified",
    "deleted,modified",
    "deleted,deleted",
];

/// How often each command met each cell.
type Statistics = BTreeMap<String, BTreeMap<&'static str, u64>>;

/// How many seeds each test has with `tests/run --long`.
const LONG_SEEDS: u64 = 400;

/// Compares so many random histories, the first of that seed.
fn compare_all(test: &str, first: u64, seeds: u64, on: On<'_>) {
    let seeds = first..first + if is_long() { LONG_SEEDS } else { seeds };
    let (seeds, is_full) = match env::var("CORACLE_SEEDS") {
        Ok(range) => (seeds_of(&range), false),
        Err(_) => (seeds, true),
    };
    let next = AtomicU64::new(seeds.start);
    let failures = Mutex::new(Vec::new());
    let statistics = Mutex::new(Statistics::new());
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                let mut pyftpsync = Worker::start();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let mut case = Case::new(seed, on);
                    if let Err(failure) = case.run(&mut pyftpsync) {
                        let again = format!(
                            "CORACLE_SEEDS={seed}..{} cargo test --test differential {test}",
                            seed + 1
                        );
                        failures
                            .lock()
                            .unwrap()
                            .push((seed, format!("{}{failure}\nagain: {again}\n", case.log)));
                    }
                    let mut statistics = statistics.lock().unwrap();
                    for (cell, command, count) in case.cells {
                        *statistics
                            .entry(cell)
                            .or_default()
                            .entry(command)
                            .or_default() += count;
                    }
                }
            });
        }
    });
    let statistics = statistics.into_inner().unwrap();
    println!(
        "{test}: {} seeds\n{}",
        seeds.end - seeds.start,
        table(&statistics)
    );
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    let reports: Vec<&str> = failures
        .iter()
        .take(SHOWN_FAILURES)
        .map(|(_, report)| report.as_str())
        .collect();
    let failed: Vec<u64> = failures.iter().map(|(seed, _)| *seed).collect();
    assert!(
        failures.is_empty(),
        "{} of {} seeds differ: {failed:?}\n\n{}",
        failed.len(),
        seeds.end - seeds.start,
        reports.join("\n")
    );
    if is_full {
        // Fewer seeds run on servers; there, one command is enough for each.
        let commands = match on {
            On::Directories => &["upload", "download", "sync"][..],
            On::Ftp(_) => &[],
            On::Sftp(..) if is_long() => &[],
            // What each comes to is met on directories; here a few show that they come to the same.
            On::Sftp(..) => return,
        };
        let unmet: Vec<&str> = CELLS
            .into_iter()
            .filter(|cell| {
                statistics
                    .get(*cell)
                    .is_none_or(|met| commands.iter().any(|command| !met.contains_key(command)))
            })
            .collect();
        assert_eq!(unmet, [""; 0], "cells that were not met");
    }
}

fn seeds_of(range: &str) -> Range<u64> {
    let parsed = range
        .split_once("..")
        .and_then(|(start, end)| Some(start.parse().ok()?..end.parse().ok()?));
    parsed.expect("CORACLE_SEEDS is START..END")
}

fn table(statistics: &Statistics) -> String {
    let mut text = format!(
        "{:24}{:>10}{:>10}{:>10}\n",
        "local,remote", "upload", "download", "sync"
    );
    for (cell, met) in statistics {
        let count = |command| met.get(command).unwrap_or(&0);
        let _ = writeln!(
            text,
            "{cell:24}{:>10}{:>10}{:>10}",
            count("upload"),
            count("download"),
            count("sync")
        );
    }
    text
}

/// Few names, so that changes meet. Two differ only in case, some match a pattern, one needs quoting.
const NAMES: [&str; 9] = [
    "a", "b.txt", "c.txt", "d.log", "B.txt", "Dir", "sub", "x y.bin", "ü",
];

/// What `--match` and `--exclude` are given; Python's fnmatch and coracle read these alike.
const PATTERNS: [&str; 8] = [
    "*.txt",
    "*.log,*.bin",
    "[a-c]*",
    "sub",
    "Dir,*.log",
    "?",
    "*",
    "[!a]*.txt",
];

const MAX_DEPTH: usize = 3;

/// One random history, lived by two copies of the trees: the first by pyftpsync, the second by coracle.
struct Case {
    rng: Random,
    home: TempDir,
    place: Place,
    /// What pyftpsync has recorded, of directories too that were since deleted on the local side.
    records: BTreeMap<String, Row>,
    /// Its metadata files, by their directories. They stay where their directories were, as the rows of an archive do.
    metadata: BTreeMap<String, Vec<u8>>,
    has_run: bool,
    /// Directories with records that the last run left out.
    left_out: BTreeSet<String>,
    log: String,
    cells: Vec<(String, &'static str, u64)>,
}

/// Where both copies are.
struct Place {
    roots: [Sides<PathBuf>; 2],
    remotes: [String; 2],
    is_ftp: bool,
    /// How coracle reaches its own.
    ssh: Option<String>,
    _remotes_on_the_server: Option<RemoteDirs>,
}

/// Directories below a server's root, removed when the case is over.
struct RemoteDirs([PathBuf; 2]);

impl Drop for RemoteDirs {
    fn drop(&mut self) {
        for dir in &self.0 {
            // A failure to tidy up must not hide the test's own.
            let _ = fs::remove_dir_all(dir);
        }
    }
}

const TOOLS: [&str; 2] = ["pyftpsync", "coracle"];

impl Place {
    fn new(seed: u64, home: &Path, on: On<'_>) -> Self {
        let names = TOOLS.map(|tool| format!("{seed}-{tool}"));
        let (below, ssh) = match on {
            On::Directories => (home.to_owned(), None),
            On::Ftp(server) => (server.root().to_owned(), None),
            On::Sftp(server, client) => (server.root(), Some(server.command(client))),
        };
        let dirs = names.clone().map(|name| below.join(name));
        let locals = TOOLS.map(|tool| home.join(tool));
        for dir in dirs.iter().chain(&locals) {
            fs::create_dir_all(dir).unwrap();
        }
        let mut remotes = dirs.clone().map(|dir| dir.to_str().unwrap().to_owned());
        match on {
            On::Directories => {}
            On::Ftp(server) => remotes = names.map(|name| server.url(&name)),
            On::Sftp(server, _) => remotes[1] = server.url_of(&dirs[1]),
        }
        let [first, second] = dirs.clone();
        let [local, other] = locals;
        Self {
            roots: [Sides::new(local, first), Sides::new(other, second)],
            remotes,
            is_ftp: matches!(on, On::Ftp(_)),
            ssh,
            _remotes_on_the_server: (below != home).then(|| RemoteDirs(dirs)),
        }
    }

    /// Of coracle, where nobody asks for another number; over SSH each is a login.
    fn connections(&self) -> u8 {
        if self.ssh.is_some() { 2 } else { 8 }
    }

    fn trees(&self, copy: usize) -> Sides<Tree> {
        self.roots[copy].as_ref().map(|root| tree::read(root))
    }
}

/// A command with its options.
#[derive(Debug)]
struct Job {
    command: &'static str,
    resolve: &'static str,
    force: bool,
    delete: bool,
    delete_unmatched: bool,
    dry_run: bool,
    matched: Option<&'static str>,
    excluded: Option<&'static str>,
}

impl Case {
    fn new(seed: u64, on: On<'_>) -> Self {
        let home = TempDir::new("differential");
        Self {
            rng: Random::new(seed),
            place: Place::new(seed, home.path(), on),
            home,
            records: BTreeMap::new(),
            metadata: BTreeMap::new(),
            has_run: false,
            left_out: BTreeSet::new(),
            log: format!("seed {seed}\n"),
            cells: Vec::new(),
        }
    }

    fn run(&mut self, pyftpsync: &mut Worker) -> Result<(), String> {
        self.plant();
        let rounds = 2 + self.rng.below(3);
        for round in 0..rounds {
            // Mostly the sides start in step, so that the table's cells with records are met.
            let job = if round == 0 && self.rng.percent(60) {
                Job::settling()
            } else {
                self.random_job()
            };
            if round > 0 {
                let edits = self.rng.below(9);
                for _ in 0..edits {
                    self.change();
                }
            }
            self.avoid(&job);
            self.compare(&job, pyftpsync)?;
        }
        Ok(())
    }

    /// Makes the trees of the beginning: something on one side, often something on the other.
    fn plant(&mut self) {
        let sides: &[Side] = match self.rng.below(4) {
            0 => &[Side::Local],
            1 => &[Side::Remote],
            _ => &Side::BOTH,
        };
        let entries = self.rng.below(26);
        for _ in 0..entries {
            let on = self.rng.pick(sides);
            let Some(path) = self.free_path(on) else {
                continue;
            };
            let edit = if self.rng.percent(25) {
                Edit::MakeDir { on, path }
            } else {
                let content = self.content(MOMENTS);
                // Often the same file, or almost, on both sides.
                if sides.len() == 2 && self.rng.percent(30) {
                    let is_late = self.rng.percent(30);
                    if self.place.trees(0).of(on.peer()).get(&path).is_none()
                        && self.has_parent(on.peer(), &path)
                    {
                        let content = Content { is_late, ..content };
                        self.edit(Edit::Write {
                            on: on.peer(),
                            path: path.clone(),
                            content,
                        });
                    }
                }
                Edit::Write { on, path, content }
            };
            self.edit(edit);
        }
    }

    /// Makes one random change on a random side.
    fn change(&mut self) {
        let on = self.rng.pick(&Side::BOTH);
        let trees = self.place.trees(0);
        let tree = trees.of(on);
        let files: Vec<String> = paths(tree, |node| *node != Node::Dir);
        let dirs: Vec<String> = paths(tree, |node| *node == Node::Dir);
        match self.rng.below(100) {
            0..30 if !files.is_empty() => {
                let path = self.rng.pick(&files);
                let mut content = self.written(on);
                if self.rng.percent(25)
                    && matches!(trees.of(on.peer()).get(&path), Some(Node::File { .. }))
                {
                    // The same change on both sides, or nearly.
                    content = self.written(Side::Remote);
                    let content = Content {
                        is_late: self.rng.percent(30),
                        ..content
                    };
                    self.edit(Edit::Write {
                        on: on.peer(),
                        path: path.clone(),
                        content,
                    });
                }
                self.edit(Edit::Write { on, path, content });
            }
            30..42 if !files.is_empty() => {
                // Another time, the same size: for every fifth size, the same bytes, too.
                let path = self.rng.pick(&files);
                let Some(Node::File { bytes, .. }) = tree.get(&path) else {
                    unreachable!("it was listed as a file");
                };
                let content = Content {
                    size: bytes.len(),
                    ..self.written(on)
                };
                self.edit(Edit::Write { on, path, content });
            }
            42..60 if !files.is_empty() => {
                let path = self.rng.pick(&files);
                if self.rng.percent(20) && trees.of(on.peer()).contains_key(&path) {
                    self.edit(Edit::Remove {
                        on: on.peer(),
                        path: path.clone(),
                    });
                }
                self.edit(Edit::Remove { on, path });
            }
            60..78 => {
                if let Some(path) = self.free_path(on) {
                    let mut content = self.written(on);
                    if self.rng.percent(25)
                        && self.has_parent(on.peer(), &path)
                        && !trees.of(on.peer()).contains_key(&path)
                    {
                        content = self.written(Side::Remote);
                        let content = Content {
                            size: content.size + self.rng.below(2),
                            ..content
                        };
                        self.edit(Edit::Write {
                            on: on.peer(),
                            path: path.clone(),
                            content,
                        });
                    }
                    self.edit(Edit::Write { on, path, content });
                }
            }
            78..83 => {
                if let Some(path) = self.free_path(on) {
                    self.edit(Edit::MakeDir { on, path });
                }
            }
            83..90 if !tree.is_empty() => {
                let from = self.rng.pick(&paths(tree, |_| true));
                if let Some(to) = self.free_path(on).filter(|to| !to.starts_with(&from)) {
                    let rewritten = self.is_server(on).then(|| self.written(on).moment);
                    self.edit(Edit::Rename {
                        on,
                        from,
                        to,
                        rewritten,
                    });
                }
            }
            90..96 if !dirs.is_empty() => {
                let path = self.rng.pick(&dirs);
                self.edit(Edit::Remove { on, path });
            }
            96..100 if !tree.is_empty() => {
                // A file becomes a directory, a directory a file.
                let path = self.rng.pick(&paths(tree, |_| true));
                let was_dir = tree[&path] == Node::Dir;
                self.edit(Edit::Remove {
                    on,
                    path: path.clone(),
                });
                let content = self.written(on);
                let path = if was_dir {
                    path
                } else {
                    format!("{path}/c.txt")
                };
                self.edit(Edit::Write { on, path, content });
            }
            _ => {}
        }
    }

    fn edit(&mut self, mut edit: Edit) {
        if let Edit::Write { path, content, .. } = &mut edit {
            self.make_plain(path, content);
        }
        let _ = writeln!(self.log, "  {edit:?}");
        for roots in &self.place.roots {
            edit.apply(roots);
        }
        if let Edit::Rename {
            on: Side::Local,
            to,
            ..
        } = &edit
        {
            // "records lie in each local folder, and travel with it"
            tree::strip_metadata_files(&self.place.roots[0].local.join(to));
        }
    }

    /// "a change within 2.01 s of the recorded time and of equal size goes unnoticed": such a change gets another size.
    fn make_plain(&self, path: &str, content: &mut Content) {
        if let Some(Row::File { size, mtime }) = self.records.get(path)
            && *size == content.size
            && mtime.abs_diff(content.mtime()) <= TOLERANCE_SECS
        {
            content.size += 41;
        }
    }

    /// What a user writes there now.
    fn written(&mut self, on: Side) -> Content {
        let content = self.content(MOMENTS);
        let earliest = if self.is_server(on) { MOMENTS / 2 } else { 0 };
        // A server dates what is written there after all that it has: pyftpsync, and coracle where a server sets no times, know
        // an upload from a later change by that alone.
        Content {
            moment: earliest + content.moment % (MOMENTS - earliest),
            ..content
        }
    }

    fn content(&mut self, moments: usize) -> Content {
        Content {
            size: self.rng.below(41),
            moment: self.rng.below(moments),
            is_late: self.rng.percent(15),
        }
    }

    fn is_server(&self, on: Side) -> bool {
        on == Side::Remote && self.place.is_ftp
    }

    /// A path that nothing has on that side, in a directory that is there.
    fn free_path(&mut self, on: Side) -> Option<String> {
        let tree = tree::read(self.place.roots[0].of(on));
        let mut dirs = paths(&tree, |node| *node == Node::Dir);
        dirs.retain(|dir| dir.split('/').count() < MAX_DEPTH);
        dirs.push(String::new());
        let (dir, name) = (self.rng.pick(&dirs), self.rng.pick(&NAMES));
        let path = if dir.is_empty() {
            (*name).into()
        } else {
            format!("{dir}/{name}")
        };
        (!tree.contains_key(&path)).then_some(path)
    }

    fn has_parent(&self, on: Side, path: &str) -> bool {
        let root = self.place.roots[0].of(on);
        root.join(path).parent().is_some_and(Path::is_dir)
    }

    fn random_job(&mut self) -> Job {
        let rng = &mut self.rng;
        let command = rng.pick(&["upload", "download", "sync"]);
        let resolve: &[&str] = match command {
            "upload" => &["local", "skip"],
            "download" => &["remote", "skip"],
            _ => &["local", "remote", "old", "new", "skip"],
        };
        let is_mirror = command != "sync";
        Job {
            command,
            resolve: rng.pick::<&str>(resolve),
            force: is_mirror && rng.percent(30),
            delete: is_mirror && rng.percent(50),
            delete_unmatched: is_mirror && rng.percent(15),
            dry_run: rng.percent(8),
            matched: rng.percent(20).then(|| rng.pick(&PATTERNS)),
            excluded: rng.percent(25).then(|| rng.pick(&PATTERNS)),
        }
    }

    /// Changes the trees where both programs differ on purpose and pyftpsync cannot be mended in a few lines.
    fn avoid(&mut self, job: &Job) {
        // "a file on one side, a directory of the same name on the other: assertion"
        let trees = self.place.trees(0);
        for (path, node) in &trees.local {
            let on = match (node, trees.remote.get(path)) {
                (Node::Dir, Some(Node::File { .. })) => Side::Remote,
                (Node::File { .. }, Some(Node::Dir)) => Side::Local,
                _ => continue,
            };
            self.edit(Edit::Remove {
                on,
                path: path.clone(),
            });
        }
        // "a directory deleted on one side removes the peer's, with files changed or added there since": here, such a directory
        // comes back empty, so that its files count one by one for pyftpsync, too. What the filter rejects counts as a change.
        self.remember();
        let trees = self.place.trees(0);
        let mut made = BTreeSet::new();
        for (path, row) in &self.records {
            if *row != Row::Dir {
                continue;
            }
            let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            let is_in = |side: Side, path: &str| {
                trees.of(side).get(path) == Some(&Node::Dir)
                    || made.contains(&(side == Side::Local, path.to_owned()))
            };
            let gone = Side::BOTH.into_iter().find(|side| {
                trees.of(*side).get(path).is_none()
                    && trees.of(side.peer()).get(path) == Some(&Node::Dir)
                    && (parent.is_empty() || is_in(*side, parent))
            });
            let Some(on) = gone else { continue };
            // Of a directory that was renamed here, deletions there hold under its new name, too.
            let in_full = on == Side::Local;
            if is_as_recorded(trees.of(on.peer()), &self.records, path, in_full, job) {
                continue;
            }
            made.insert((on == Side::Local, path.clone()));
        }
        for (is_local, path) in made {
            let on = if is_local { Side::Local } else { Side::Remote };
            self.edit(Edit::MakeDir { on, path });
        }
        let trees = self.place.trees(0);
        for (path, local) in &trees.local {
            let (Node::File { bytes, .. }, Some(remote @ Node::File { bytes: other, .. })) =
                (local, trees.remote.get(path))
            else {
                continue;
            };
            // Of files with the same bytes and other times, pyftpsync has one time for both sides to record.
            let is_dated_otherwise = bytes == other && !local.is_like(remote);
            // In a directory of which nothing is left to record pyftpsync takes what meets there for its first meeting.
            let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
            let has_row = |row: &String| row.rsplit_once('/').map_or("", |(dir, _)| dir) == dir;
            let is_emptied = self.has_run && !self.records.keys().any(has_row);
            if !self.records.contains_key(path) && (is_dated_otherwise || is_emptied) {
                self.edit(Edit::Remove {
                    on: Side::Remote,
                    path: path.clone(),
                });
            }
        }
    }

    /// Reads what pyftpsync has recorded; of directories that were deleted with their metadata, what it once had.
    fn remember(&mut self) {
        let local = &self.place.roots[0].local;
        let mut now = tree::read_records(local);
        let tree = tree::read(local);
        for (path, row) in &self.records {
            let gone = ancestors(path).find(|dir| !tree.contains_key(*dir));
            if gone.is_some_and(|dir| now.get(dir) == Some(&Row::Dir)) {
                now.insert(path.clone(), *row);
            }
        }
        self.records = now;
        let mut files = tree::read_metadata_files(local);
        for (dir, bytes) in std::mem::take(&mut self.metadata) {
            if self.records.get(&dir) == Some(&Row::Dir) {
                files.entry(dir).or_insert(bytes);
            }
        }
        self.metadata = files;
    }

    /// What was done below a directory while it was left out is not carried over later: its rows are forgotten.
    fn forget_what_changed_while_left_out(&mut self, job: &Job) {
        if job.dry_run {
            return;
        }
        let trees = self.place.trees(0);
        let walked = |path: &str| {
            ancestors(path)
                .chain([path])
                .all(|dir| job.accepts(dir, &Node::Dir))
        };
        for dir in std::mem::take(&mut self.left_out) {
            if !walked(&dir) {
                self.left_out.insert(dir);
                continue;
            }
            let inside = format!("{dir}/");
            let rows = (self.records.iter()).filter(|(path, _)| path.starts_with(&inside));
            for (path, row) in rows {
                let is_as_recorded = Side::BOTH
                    .into_iter()
                    .all(|side| trees.of(side).get(path).is_some_and(|node| row.is_of(node)));
                if !is_as_recorded && ancestors(path).all(walked) {
                    tree::forget_record(&self.place.roots[0].local, path);
                }
            }
        }
        for (path, row) in &self.records {
            let is_left_out = *row == Row::Dir && !job.accepts(path, &Node::Dir);
            if is_left_out && ancestors(path).all(walked) {
                self.left_out.insert(path.clone());
            }
        }
    }

    fn compare(&mut self, job: &Job, pyftpsync: &mut Worker) -> Result<(), String> {
        tree::restore_metadata_files(&self.place.roots[0].local, &self.metadata);
        self.forget_what_changed_while_left_out(job);
        let before = self.place.trees(0);
        let _ = writeln!(self.log, "{job:?}");
        if self.place.ssh.is_some() {
            tree::give(&self.place.roots[1].remote, servers::ids().0);
        }
        if self.place.is_ftp {
            for roots in &self.place.roots {
                tree::give(&roots.remote, servers::SERVER_UID);
            }
        }
        let answer =
            pyftpsync.run(&job.for_pyftpsync(&self.place.roots[0].local, &self.place.remotes[0]));
        let coracle = self.run_coracle(job);
        for (cell, count) in answer["cells"].as_object().unwrap() {
            self.cells
                .push((cell.clone(), job.command, count.as_u64().unwrap()));
        }
        let report = || {
            let output = answer["output"].as_str().unwrap();
            format!("\npyftpsync says:\n{output}\ncoracle says:\n{}", coracle.1)
        };
        if let Some(error) = answer["error"].as_str() {
            return Err(format!("pyftpsync failed: {error}{}", report()));
        }
        if coracle.0 != Some(0) {
            return Err(format!("coracle ended with {:?}{}", coracle.0, report()));
        }
        let (theirs, ours) = (self.place.trees(0), self.place.trees(1));
        for side in Side::BOTH {
            if job.dry_run && before.of(side) != ours.of(side) {
                let trees = tree::side_by_side(before.of(side), ours.of(side));
                return Err(format!(
                    "a dry run changed the {side} side (before | after):\n{trees}{}",
                    report()
                ));
            }
            if !tree::are_alike(theirs.of(side), ours.of(side)) {
                let trees = tree::side_by_side(theirs.of(side), ours.of(side));
                let before = tree::side_by_side(&before.local, &before.remote);
                return Err(format!(
                    "\nbefore (local | remote):\n{before}\nthe {side} sides differ (pyftpsync | coracle):\n{trees}{}",
                    report()
                ));
            }
        }
        self.has_run = true;
        self.remember();
        Ok(())
    }

    fn run_coracle(&self, job: &Job) -> (Option<i32>, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_coracle"))
            .args(job.for_coracle())
            .args([
                "--connections",
                &connections(self.place.connections()).to_string(),
            ])
            .args(self.place.ssh.iter().flat_map(|ssh| ["--ssh-command", ssh]))
            .arg(&self.place.roots[1].local)
            .arg(&self.place.remotes[1])
            .env("HOME", self.home.path())
            .env("XDG_STATE_HOME", self.home.path().join("state"))
            .env_remove("CORACLE_PASSWORD")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    }
}

/// Whether a directory holds nothing that is not recorded as it is, and nothing that the filter rejects; with `in_full`, all that
/// is recorded, too.
fn is_as_recorded(
    tree: &Tree,
    records: &BTreeMap<String, Row>,
    dir: &str,
    in_full: bool,
    job: &Job,
) -> bool {
    let inside = format!("{dir}/");
    let unchanged = tree
        .iter()
        .filter(|(path, _)| path.starts_with(&inside))
        .all(|(path, node)| {
            records.get(path).is_some_and(|row| row.is_of(node)) && job.accepts(path, node)
        });
    let mut recorded = records.keys().filter(|path| path.starts_with(&inside));
    unchanged && (!in_full || recorded.all(|path| tree.contains_key(path)))
}

fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

fn paths(tree: &Tree, wanted: impl Fn(&Node) -> bool) -> Vec<String> {
    tree.iter()
        .filter(|(_, node)| wanted(node))
        .map(|(path, _)| path.clone())
        .collect()
}

impl Job {
    /// The command that brings most trees into step.
    fn settling() -> Self {
        Self {
            command: "sync",
            resolve: "local",
            force: false,
            delete: false,
            delete_unmatched: false,
            dry_run: false,
            matched: None,
            excluded: None,
        }
    }

    fn for_pyftpsync(&self, local: &Path, remote: &str) -> Value {
        let list = |patterns: Option<&'static str>| {
            patterns.map(|patterns| patterns.split(',').collect::<Vec<_>>())
        };
        json!({
            "command": self.command,
            "local": local,
            "remote": remote,
            "options": {
                "resolve": self.resolve,
                "force": self.force,
                "delete": self.delete || self.delete_unmatched,
                "delete_unmatched": self.delete_unmatched,
                "dry_run": self.dry_run,
                "match": list(self.matched),
                "exclude": list(self.excluded),
                "case": "strict",
                "no_color": true,
                "verbose": 4,
            },
        })
    }

    fn for_coracle(&self) -> Vec<String> {
        // pyftpsync has no guards; the times are chosen so that the one against shifted zones is silent.
        let mut args = vec![
            self.command,
            "-v",
            "--no-color",
            "--no-prompt",
            "--case=strict",
            "--max-delete=100%",
            "--allow-empty",
            "--allow-older",
            "--accept-new-times",
        ];
        for (is_set, option) in [
            (self.force, "--force"),
            (self.delete, "--delete"),
            (self.delete_unmatched, "--delete-unmatched"),
            (self.dry_run, "--dry-run"),
        ] {
            args.extend(is_set.then_some(option));
        }
        let mut args: Vec<String> = args.into_iter().map(String::from).collect();
        args.push(format!("--resolve={}", self.resolve));
        args.extend(self.matched.map(|patterns| format!("--match={patterns}")));
        args.extend(
            self.excluded
                .map(|patterns| format!("--exclude={patterns}")),
        );
        args
    }

    fn accepts(&self, path: &str, node: &Node) -> bool {
        let name = path.rsplit('/').next().expect("a path has a last name");
        let is_one_of = |patterns: &str| patterns.split(',').any(|pattern| fits(pattern, name));
        let is_matched = *node == Node::Dir || self.matched.is_none_or(is_one_of);
        is_matched && !self.excluded.is_some_and(is_one_of)
    }
}

/// Whether a name fits a pattern, for those in [`PATTERNS`].
fn fits(pattern: &str, name: &str) -> bool {
    match pattern {
        "[a-c]*" => name.starts_with(['a', 'b', 'c']),
        "[!a]*.txt" => name.len() > 4 && !name.starts_with('a') && name.ends_with(".txt"),
        "?" => name.chars().count() == 1,
        _ => match pattern.strip_prefix('*') {
            Some(end) => name.ends_with(end),
            None => name == pattern,
        },
    }
}

/// pyftpsync, loaded once and used for many jobs: loading takes it longer than most of them.
struct Worker {
    process: Child,
    jobs: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    fn start() -> Self {
        let script =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/pyftpsync_worker.py");
        let mut process = servers::python()
            .arg(script)
            .arg("--mended")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let jobs = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self {
            process,
            jobs,
            answers,
        }
    }

    fn run(&mut self, job: &Value) -> Value {
        writeln!(self.jobs, "{job}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).expect("the worker answers each job")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
