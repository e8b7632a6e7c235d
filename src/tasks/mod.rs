//! Task files, `coracle.yaml` and pyftpsync's `pyftpsync.yaml`: from what they say to the invocations that do it.
//!
//! ```yaml
//! default_task: photos
//! common_config: {exclude: "*.tmp"}        # what all tasks share
//! tasks:
//!   photos: {command: sync, local: photos, remote: ftps://me@nas/photos, max_delete: 20%}
//! ```
//!
//! There is no second table of options: a task becomes words of a command line (`words`), which the one parser of
//! [`crate::cli`] reads; what goes wrong there is told in the words of the file.

mod tree;
mod words;
mod yaml;

use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::cli::{Invocation, TaskRequest, Visiting, Which, nearest};
use crate::error::{Doing, Error, ErrorKind, Result};
use crate::path::{Escaped, TASK_FILE_NAMES};
use crate::system;
use tree::{Entry, Node, entry};

/// How far up it may lie, as in pyftpsync.
const MAX_LEVELS: usize = 15;

/// A task file that is longer is another file of that name.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The keys of a file.
const KEYS: [&str; 3] = ["default_task", "common_config", "tasks"];

/// A task file that was read.
#[derive(Debug)]
pub struct TaskFile {
    path: PathBuf,
    /// How many directories up it lies; 0 is here.
    level: usize,
    can_read: Others,
    can_change: Others,
    root: Rc<Node>,
}

/// Whether others than its owner can do something with the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Others {
    Can,
    Cannot,
}

/// A task, ready to be done.
#[derive(Debug)]
pub struct Task {
    /// Its name in the file.
    pub name: String,
    /// What is done.
    pub work: Work,
    /// What the user should act on.
    pub warnings: Vec<String>,
    /// What the user may want to know.
    pub notices: Vec<String>,
}

/// What a task does.
#[derive(Debug)]
pub enum Work {
    /// It syncs.
    Sync(Box<Invocation>),
    /// It tells something of its remote side.
    Look(Box<Visiting>),
}

/// What is wrong, and in which line.
#[derive(Debug)]
struct Wrong {
    line: usize,
    what: String,
}

impl Wrong {
    fn at(line: usize, what: impl Into<String>) -> Self {
        Self {
            line,
            what: what.into(),
        }
    }
}

impl TaskFile {
    /// Finds and reads the file that is in force in a directory, given without links.
    pub fn find(here: &Path) -> Result<Self> {
        for (level, dir) in here.ancestors().take(MAX_LEVELS + 1).enumerate() {
            for name in TASK_FILE_NAMES {
                let path = dir.join(name);
                if path.is_file() {
                    return Self::read(path, level);
                }
            }
        }
        Err(usage(format!(
            "there is no task file in {} or the directories above: {}",
            Escaped(here.as_os_str().as_bytes()),
            TASK_FILE_NAMES.join(", ")
        )))
    }

    fn read(path: PathBuf, level: usize) -> Result<Self> {
        let shown = Escaped(path.as_os_str().as_bytes()).to_string();
        let unreadable = |error| usage(Error::from(ErrorKind::Disk(error)).to_string());
        let doing = || format!("reading {shown}");
        let file = File::open(&path).map_err(unreadable).doing(doing)?;
        let metadata = file.metadata().map_err(unreadable).doing(doing)?;
        let mut content = Vec::new();
        file.take(MAX_FILE_BYTES + 1)
            .read_to_end(&mut content)
            .map_err(unreadable)
            .doing(doing)?;
        if content.len() as u64 > MAX_FILE_BYTES {
            return Err(usage(format!(
                "the file is larger than {MAX_FILE_BYTES} bytes"
            )))
            .doing(doing);
        }
        let text = String::from_utf8(content)
            .map_err(|_| usage("the file is not UTF-8"))
            .doing(doing)?;
        let is_known_owner = [0, system::effective_user()].contains(&metadata.uid());
        let mut file = Self {
            path,
            level,
            can_read: Others::can_if(metadata.mode() & 0o044 != 0),
            can_change: Others::can_if(metadata.mode() & 0o002 != 0 || !is_known_owner),
            root: Rc::new(Node::nothing()),
        };
        file.root = yaml::read(&text).map_err(|wrong| file.error(wrong))?;
        Ok(file)
    }

    /// The tasks that are asked for, each checked before any of them begins. `here` is the current directory, without links.
    pub fn tasks(&self, request: &TaskRequest, here: &Path) -> Result<Vec<Task>> {
        let chosen = self.chosen(request).map_err(|wrong| self.error(wrong))?;
        let common = self.common().map_err(|wrong| self.error(wrong))?;
        let ready = chosen
            .into_iter()
            .map(|task| words::ready(self, common, task, request, here));
        ready
            .map(|task| task.map_err(|wrong| self.error(wrong)))
            .collect()
    }

    /// How the file is called in messages.
    pub fn shown(&self) -> String {
        let path = match self.level {
            0 => self.path.file_name().unwrap_or(self.path.as_os_str()),
            _ => self.path.as_os_str(),
        };
        Escaped(path.as_bytes()).to_string()
    }

    fn dir(&self) -> &Path {
        self.path.parent().expect("a file lies in a directory")
    }

    fn error(&self, wrong: Wrong) -> Error {
        usage(format!("{}:{}: {}", self.shown(), wrong.line, wrong.what))
    }

    fn top(&self) -> std::result::Result<&[Entry], Wrong> {
        let top = self.root.entries("a task file")?;
        // What is only there to be referred to may have any name.
        let is_known = |top: &&Entry| {
            KEYS.contains(&top.name.as_str())
                || top.value.anchored
                || top.name.starts_with(['.', '_'])
                || top.name.starts_with("x-")
        };
        match top.iter().find(|top| !is_known(top)) {
            Some(unknown) => Err(unknown_key(unknown, KEYS.into_iter())),
            None => Ok(top),
        }
    }

    fn common(&self) -> std::result::Result<&[Entry], Wrong> {
        match entry(self.top()?, "common_config") {
            Some(common) => common.value.entries("common_config"),
            None => Ok(&[]),
        }
    }

    fn chosen(&self, request: &TaskRequest) -> std::result::Result<Vec<&Entry>, Wrong> {
        let top = self.top()?;
        let Some(tasks) = entry(top, "tasks") else {
            return Err(Wrong::at(self.root.line, "the key 'tasks' is missing"));
        };
        let line = tasks.line;
        let tasks = tasks.value.entries("tasks")?;
        let names = || tasks.iter().map(|task| task.name.as_str());
        let listed = || match tasks.len() {
            0 => "the file has no tasks".to_owned(),
            _ => format!(
                "the file has {}",
                names()
                    .map(|name| Escaped(name.as_bytes()).to_string())
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        };
        let named = |name: &str, line: usize| match entry(tasks, name) {
            Some(task) => Ok(task),
            None => {
                let meant = match nearest(name, names()) {
                    Some(near) => format!("did you mean '{}'?", Escaped(near.as_bytes())),
                    None => listed(),
                };
                Err(Wrong::at(
                    line,
                    format!("there is no task '{}'; {meant}", Escaped(name.as_bytes())),
                ))
            }
        };
        match (&request.which, entry(top, "default_task")) {
            (Which::All, _) if tasks.is_empty() => Err(Wrong::at(line, listed())),
            (Which::All, _) => Ok(tasks.iter().collect()),
            (Which::Named(given), _) => given
                .iter()
                .map(|name| named(&name.to_string_lossy(), line))
                .collect(),
            (Which::Default, Some(default)) if !default.value.is_nothing() => {
                match default.value.text() {
                    Some(name) => named(name, default.line).map(|task| vec![task]),
                    None => Err(Wrong::at(
                        default.line,
                        "default_task must be the name of a task",
                    )),
                }
            }
            (Which::Default, _) => Err(Wrong::at(
                line,
                format!(
                    "no task is named, and there is no default_task; {}",
                    listed()
                ),
            )),
        }
    }
}

impl Others {
    const fn can_if(they_can: bool) -> Self {
        if they_can { Self::Can } else { Self::Cannot }
    }
}

fn unknown_key<'a>(unknown: &Entry, known: impl Iterator<Item = &'a str> + Clone) -> Wrong {
    let shown = Escaped(unknown.name.as_bytes());
    let what = match nearest(&unknown.name, known) {
        Some(near) => format!("unknown key '{shown}'; did you mean '{near}'?"),
        None => format!("unknown key '{shown}'; see coracle run --help"),
    };
    Wrong::at(unknown.line, what)
}

fn usage(text: impl Into<String>) -> Error {
    ErrorKind::Usage(text.into()).into()
}
