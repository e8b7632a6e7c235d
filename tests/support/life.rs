//! One folder life: events and runs in turn, and what is asked of each run.

#![allow(unreachable_pub)]

use std::fmt::Write;
use std::io::Read;
use std::path::PathBuf;
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::ftp_server::{Close, Effect};
use crate::life_events::Snapshot;
use crate::life_model::{Asked, Both, End, Model, Side};
use crate::life_tree::{Contents, TRASH};
use crate::life_world::{Kind, World};
use crate::random::Random;

/// Exit codes that a life may come to: done, some entries failed, a guard refused.
const ALLOWED_CODES: [i32; 3] = [0, 1, 4];

/// No run takes longer, on a loaded machine either.
const LONGEST_RUN: Duration = Duration::from_secs(60);

/// The first time that a file is given, in seconds after the epoch: 2026-02-01. All others lie before the real clock's time.
const FIRST_TIME_SECS: u64 = 1_769_904_000;

/// Files get old times from before that.
const OLD_SECS: usize = 40_000_000;

const NANOS: u64 = 1_000_000_000;

/// One file in this many is large: a run can be killed in the middle of it.
const LARGE_EVERY: usize = 40;
const LARGE_SIZE: usize = 150_000;

/// What came of lives.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub lives: usize,
    pub events: usize,
    pub runs: usize,
    /// Runs that a signal ended before they ended themselves.
    pub killed: usize,
    pub refused: usize,
    pub partly: usize,
    pub plugged: usize,
    pub unplugged: usize,
    pub linked: usize,
    /// Roots that came back from a snapshot.
    pub restored: usize,
    /// Runs right after one that did all.
    pub repeated: usize,
}

impl Tally {
    pub fn add(&mut self, other: Self) {
        self.lives += other.lives;
        self.events += other.events;
        self.runs += other.runs;
        self.killed += other.killed;
        self.refused += other.refused;
        self.partly += other.partly;
        self.plugged += other.plugged;
        self.unplugged += other.unplugged;
        self.linked += other.linked;
        self.restored += other.restored;
        self.repeated += other.repeated;
    }
}

/// One life under way.
pub struct Life {
    pub random: Random,
    pub world: World,
    pub contents: Contents,
    pub model: Model,
    pub now: Both,
    pub snapshots: Vec<Snapshot>,
    pub snapshots_taken: usize,
    pub linked: usize,
    pub plugged: usize,
    pub unplugged: usize,
    pub restored: usize,
    pub runs: usize,
    pub has_state_dir: bool,
    clock_nanos: u64,
    style: Style,
    last_code: i32,
    /// The model says that the last run held back what the next may do.
    is_held_back: bool,
    took: Duration,
    commands: usize,
    tally: Tally,
    story: String,
}

/// What most runs of a life have in common, for people have habits.
struct Style {
    commands: &'static [&'static [&'static str]],
    filters: &'static [&'static str],
}

const SYNC: &[&str] = &["sync"];
const UPLOAD: &[&str] = &["upload"];
const MIRROR: &[&str] = &["upload", "--delete"];
const DOWNLOAD: &[&str] = &["download"];
const FOLLOW: &[&str] = &["download", "--delete"];

const HABITS: [&[&[&str]]; 5] = [
    &[SYNC],
    &[UPLOAD, MIRROR, SYNC],
    &[MIRROR],
    &[DOWNLOAD, FOLLOW, SYNC],
    &[SYNC, SYNC, UPLOAD, MIRROR, DOWNLOAD, FOLLOW],
];

const FILTERS: [&[&str]; 3] = [&[], &["*.raw"], &["*.raw", "b/", "/c"]];

impl Life {
    /// Lives the life of a seed. The error is the story of what went wrong.
    pub fn live(seed: u64, can_mount: bool) -> Result<Tally, String> {
        let mut random = Random::new(seed);
        let kind = random.pick(&Kind::ALL);
        // A disk is slow, and most of what matters is the same in memory.
        let in_memory = !random.percent(8);
        let style = Style {
            commands: random.pick(&HABITS),
            filters: random.pick(&FILTERS),
        };
        let has_state_dir = random.percent(25);
        let mut life = Self {
            world: World::new(kind, can_mount, in_memory),
            contents: Contents::default(),
            model: Model::default(),
            now: Both::default(),
            snapshots: Vec::new(),
            snapshots_taken: 0,
            linked: 0,
            plugged: 0,
            unplugged: 0,
            restored: 0,
            runs: 0,
            has_state_dir,
            clock_nanos: FIRST_TIME_SECS * NANOS,
            style,
            last_code: 0,
            is_held_back: false,
            took: Duration::from_millis(20),
            commands: 30,
            tally: Tally::default(),
            story: format!("life {seed}: {kind:?}, state directory: {has_state_dir}\n"),
            random,
        };
        life.begin();
        for _ in 0..5 + life.random.below(11) {
            let told = life.happen();
            if let Some(told) = told {
                life.tally.events += 1;
                let _ = writeln!(life.story, "{told}");
            }
            if life.random.percent(55) {
                life.run_once()?;
            }
        }
        life.run_once()?;
        life.tally.lives = 1;
        life.tally.plugged = life.plugged;
        life.tally.unplugged = life.unplugged;
        life.tally.linked = life.linked;
        life.tally.restored = life.restored;
        Ok(life.tally)
    }

    /// Some lives begin with many files on one side, some with few, some on both sides.
    fn begin(&mut self) {
        let files = self.random.pick(&[2, 6, 14, 30]);
        let on_both = self.random.percent(30);
        for _ in 0..files {
            let side = if on_both && self.random.percent(50) {
                Side::Remote
            } else {
                Side::Local
            };
            let dir = self.random.pick(&["", "a/", "b/", "c/", "a/d/", "b/d/"]);
            let name = self
                .random
                .pick(&["f0", "f1", "f2", "f3", "f4", "f5", "x.raw"]);
            let written = self.write(side, &format!("{dir}{name}"), None);
            written.expect("the place is new");
        }
        self.now = self.world.look(&self.contents);
        let _ = write!(self.story, "{}", self.now.shown());
    }

    /// A size that no other content has.
    pub fn new_size(&mut self) -> usize {
        let base = if self.random.below(LARGE_EVERY) == 0 {
            LARGE_SIZE
        } else {
            20
        };
        base + self.contents.count()
    }

    /// A time that no other content has: later than all, or sometimes long ago.
    pub fn new_time(&mut self) -> u64 {
        self.clock_nanos += (61 + self.random.below(5_000) as u64) * NANOS;
        let fraction = if self.random.percent(50) {
            self.random.below(NANOS as usize) as u64
        } else {
            0
        };
        if self.random.percent(10) {
            let back = (1 + self.random.below(OLD_SECS)) as u64;
            return (FIRST_TIME_SECS - back) * NANOS + fraction;
        }
        self.clock_nanos + fraction
    }

    fn run_once(&mut self) -> Result<(), String> {
        let (arguments, asked) = self.choose();
        let kill = self.random.percent(15);
        let (end, said) = self.run(&arguments, &asked, kill)?;
        // A mount point cannot be removed, and the run that tries says so each time.
        let is_settled = matches!(end, End::Code(0 | 4)) && !said.contains("busy");
        // A run after a copied archive, and only that one, holds back what the next may do.
        if !is_settled || asked.is_dry || self.is_held_back || !self.random.percent(40) {
            return Ok(());
        }
        let before = self.now.clone();
        let archives = self.world.archives();
        let (again, said_again) = self.run(&arguments, &asked, false)?;
        self.tally.repeated += 1;
        // That a run emptied a side makes the next one ask whether its disk is mounted.
        let is_emptied = Side::BOTH
            .into_iter()
            .any(|side| self.now.of(side).is_empty());
        let is_asked = is_emptied && again == End::Code(4);
        if again != end && !is_asked
            || !before.is_like(&self.now)
            || archives != self.world.archives()
        {
            let archives_now = self.world.archives();
            let changed = if archives == archives_now {
                String::new()
            } else {
                format!("{}--- became\n{}", shown(&archives), shown(&archives_now))
            };
            let what = format!(
                "the second run in a row did something: {said}--- then\n{said_again}{changed}"
            );
            return Err(self.fail(&what, &before));
        }
        Ok(())
    }

    /// What to ask, in the habits of this life.
    fn choose(&mut self) -> (Vec<String>, Asked) {
        let words = self.random.pick(self.style.commands);
        let mut arguments: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let mut asked = Asked {
            follower: match words[0] {
                "upload" => Some(Side::Remote),
                "download" => Some(Side::Local),
                _ => None,
            },
            deletes: words.contains(&"--delete"),
            ..Asked::default()
        };
        let mut add =
            |words: &[&str]| arguments.extend(words.iter().map(|word| (*word).to_owned()));
        if self.has_state_dir {
            add(&["--state-dir", "home/own"]);
        }
        add(&["--connections", self.random.pick(&["1", "4"])]);
        for filter in self.style.filters {
            if self.random.percent(30) {
                asked.excluded.push(filter);
                add(&["-x", filter]);
            }
        }
        if self.random.percent(8) {
            let only = self.random.pick(&["a", "b", "a/d"]);
            let is_there = |side| self.now.of(side).dirs.contains(only);
            // What is asked for and left out at the same time is walked.
            let is_left_out = asked.leaves_out(&format!("{only}/."));
            if is_there(Side::Local) && is_there(Side::Remote) && !is_left_out {
                asked.only = Some(only.to_owned());
                add(&["--only", only]);
            }
        }
        if self.world.server().is_some() && self.random.percent(10) {
            add(&["--quick-scan"]);
        }
        if self.random.percent(12) {
            add(&["--trash", TRASH]);
        }
        if asked.follower.is_none() && self.random.percent(15) {
            add(&["--resolve", "both"]);
        }
        if self.random.percent(5) {
            asked.is_dry = true;
            add(&["--dry-run"]);
        }
        // Whom a guard refused may go on all the same.
        if self.last_code == 4 && self.random.percent(60) || self.random.percent(10) {
            add(&[
                "--max-delete",
                "100%",
                "--allow-older",
                "--accept-new-times",
            ]);
            if self.random.percent(30) {
                asked.allows_empty = true;
                add(&["--allow-empty"]);
            }
        }
        (arguments, asked)
    }

    /// Runs once, and asks all that is asked of a run.
    fn run(
        &mut self,
        arguments: &[String],
        asked: &Asked,
        kill: bool,
    ) -> Result<(End, String), String> {
        let before = self.now.clone();
        let _ = writeln!(
            self.story,
            "{}coracle {}",
            if kill { "(kill) " } else { "" },
            arguments.join(" ")
        );
        let started = Instant::now();
        let (code, said) = match (kill, self.world.server().is_some()) {
            (false, _) => self.run_to_its_end(arguments),
            (true, false) => self.run_and_kill(arguments),
            (true, true) => self.run_and_kill_at_command(arguments),
        };
        self.runs += 1;
        self.tally.runs += 1;
        let end = match code {
            Some(code) => End::Code(code),
            None => End::Killed,
        };
        if end != End::Killed {
            self.took = started.elapsed();
        }
        self.now = self.world.look(&self.contents);
        let _ = writeln!(self.story, "  -> {end:?}");
        for line in said.lines().skip(2) {
            let _ = writeln!(self.story, "     {line}");
        }
        if said.contains("panicked") {
            return Err(self.fail(&format!("it panicked: {said}"), &before));
        }
        match code {
            None => self.tally.killed += 1,
            Some(4) => self.tally.refused += 1,
            Some(1) => self.tally.partly += 1,
            Some(_) => {}
        }
        if code.is_some_and(|code| !ALLOWED_CODES.contains(&code)) {
            return Err(self.fail(&format!("it ended with {code:?}: {said}"), &before));
        }
        self.last_code = code.unwrap_or(0);
        let faults = self
            .model
            .judge(asked, &self.world.mounted, &before, &self.now);
        if !faults.is_empty() {
            return Err(self.fail(&format!("{faults}{said}"), &before));
        }
        self.is_held_back = self.model.is_copied();
        self.model.ran(asked, end, &self.world.mounted, &self.now);
        Ok((end, said))
    }

    fn run_to_its_end(&mut self, arguments: &[String]) -> (Option<i32>, String) {
        let child = self
            .world
            .command(arguments)
            .spawn()
            .expect("the program was built");
        let ended = finish(child);
        if let Some(server) = self.world.server() {
            self.commands = server.take_commands().len();
        }
        ended
    }

    /// Kills it after a part of the time that the last run took.
    fn run_and_kill(&mut self, arguments: &[String]) -> (Option<i32>, String) {
        let moment = self.took.mul_f64(self.random.below(1_000) as f64 / 1_000.0);
        let mut child = self
            .world
            .command(arguments)
            .spawn()
            .expect("the program was built");
        thread::sleep(moment);
        child.kill().expect("it is our child");
        finish(child)
    }

    /// Kills it right before or right after the server acts on a command.
    fn run_and_kill_at_command(&mut self, arguments: &[String]) -> (Option<i32>, String) {
        let nth = 1 + self.random.below(self.commands.max(1));
        let acts = self.random.percent(50);
        let child: Arc<Mutex<Option<Child>>> = Arc::default();
        // The hook waits for this, so that it finds the child even at the first command.
        let mut starting = child.lock().expect("no hook panics");
        let victim = Arc::clone(&child);
        let server = self.world.server().expect("there is one");
        let mut seen = 0;
        server.hook(move |_| {
            seen += 1;
            if seen != nth {
                return None;
            }
            let mut victim = victim.lock().expect("nobody panics with it");
            if let Some(victim) = victim.as_mut() {
                victim.kill().expect("it is our child");
                victim.wait().expect("it is our child");
            }
            (!acts).then(|| Effect::close_control(Close::Fin))
        });
        *starting = Some(
            self.world
                .command(arguments)
                .spawn()
                .expect("the program was built"),
        );
        let (stdout, stderr) = {
            let child = starting.as_mut().expect("it was put there a line ago");
            (drain(child.stdout.take()), drain(child.stderr.take()))
        };
        drop(starting);
        // The outputs end with the program.
        let said = format!(
            "{}{}",
            stdout.join().expect("it reads"),
            stderr.join().expect("it reads")
        );
        let mut child = child.lock().expect("no hook panics");
        let status = child
            .as_mut()
            .expect("it was started")
            .wait()
            .expect("it is our child");
        server.heal();
        let started = Instant::now();
        while server.sessions() > 0 {
            assert!(
                started.elapsed() < LONGEST_RUN,
                "a session of a killed client does not end"
            );
            thread::yield_now();
        }
        server.take_commands();
        (status.code(), said)
    }

    fn fail(&self, what: &str, before: &Both) -> String {
        format!(
            "{}\nbefore the run:\n{}after it:\n{}{what}",
            self.story,
            before.shown(),
            self.now.shown(),
        )
    }
}

fn shown(archives: &[(PathBuf, Vec<u8>)]) -> String {
    let texts = archives
        .iter()
        .map(|(_, bytes)| String::from_utf8_lossy(bytes));
    texts.collect()
}

/// Waits for a child, and reads what it says. One that hangs is killed and fails the life.
fn finish(mut child: Child) -> (Option<i32>, String) {
    let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let said = format!(
        "{}{}",
        stdout.join().expect("it reads"),
        stderr.join().expect("it reads")
    );
    let status = child.wait().expect("it is our child");
    (status.code(), said)
}

fn drain(stream: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            stream.read_to_end(&mut bytes).expect("a pipe can be read");
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
