//! A task as the words of a command line. Pure, but for the look at what a path is.
//!
//! Which options there are, and what they take, is told by the parser itself. Nearer words win: what is typed over the task, the
//! task over what all tasks share.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use argh::{FlagInfo, FlagInfoKind, Optionality};

use super::tree::{Content, Entry, Node, entry};
use super::{Others, Task, TaskFile, Work, Wrong, unknown_key};
use crate::cli::rules::outrules;
use crate::cli::url::{Address, without_password};
use crate::cli::{self, Branch, Request, TaskCommand, TaskRequest, meant};
use crate::path::Escaped;
use crate::screen::Verbosity;

type Result<T> = std::result::Result<T, Wrong>;

/// Keys of a task that are no options.
const OWN_KEYS: [&str; 5] = ["command", "remote", "local", "here", "root"];

/// Options that no file can give.
const NOT_IN_FILES: [&str; 2] = ["--help", "--version"];

/// What leaves out adds up, as on the command line: to replace it would publish what the task keeps back.
const ADDING: [&str; 2] = ["--exclude", "--exclude-from"];

/// Takes a directory of this machine; options that take a file of it say `file`.
const OF_DIRECTORY: &str = "--state-dir";

/// What one key says.
struct Given {
    option: &'static str,
    line: usize,
    words: Vec<OsString>,
}

/// The task, read, checked, and joined with what is typed.
pub(super) fn ready(
    file: &TaskFile,
    common: &[Entry],
    task: &Entry,
    request: &TaskRequest,
    here: &Path,
) -> Result<Task> {
    let own = task
        .value
        .entries(&format!("the task '{}'", Escaped(task.name.as_bytes())))?;
    let source = Source {
        file,
        task,
        common,
        own,
    };
    let (word, command) = source.command()?;
    let (local, remote) = (source.local()?, source.remote()?);
    let mut notices = vec![format!(
        "Running task '{}' from {}",
        Escaped(task.name.as_bytes()),
        file.shown()
    )];
    let mut given = source.options(command, &mut notices)?;
    let typed: Vec<&str> = request.options.iter().map(|(option, _)| *option).collect();
    give_way(&mut given, &typed);
    if request.execute {
        given.retain(|given| given.option != "--dry-run");
    } else if given.iter().any(|given| given.option == "--dry-run") {
        notices.push("The task says dry_run: nothing is changed; --execute does it".to_owned());
    }
    let mut words = vec![OsString::from(word)];
    words.extend(given.iter().flat_map(|given| given.words.iter().cloned()));
    words.extend(request.options.iter().map(|(option, value)| match value {
        Some(value) => format!("{option}={value}").into(),
        None => OsString::from(option),
    }));
    if let Some(branch) = source.branch(request, &local, here)? {
        let only = given.iter().find(|given| given.option == "--only");
        if only.is_some() || typed.contains(&"--only") {
            let line = only.map_or(task.line, |only| only.line);
            return Err(Wrong::at(
                line,
                "--here and only exclude each other; run it where the file lies, or with --root",
            ));
        }
        let mut word = OsString::from("--only=");
        word.push(branch);
        words.push(word);
    }
    words.push("--".into());
    // A tree is that of the remote side, as in pyftpsync.
    if !command.is_of_one_target() {
        words.push(local.into());
    }
    words.push(remote.clone());
    let work = parse(words).map_err(|text| source.in_its_words(&text, &given))?;
    let mut warnings = Vec::new();
    if without_password(&remote).is_some() && file.can_read == Others::Can {
        let shown = file.shown();
        warnings.push(format!("{shown} holds a password and others can read it; chmod 600 keeps it secret, password_file keeps it apart"));
    }
    Ok(Task {
        name: task.name.clone(),
        work,
        warnings,
        notices,
    })
}

fn parse(words: Vec<OsString>) -> std::result::Result<Work, String> {
    match cli::parse(words) {
        Ok(Request::Run(invocation)) => Ok(Work::Sync(invocation)),
        Ok(Request::Visit(visiting)) => Ok(Work::Look(visiting)),
        Ok(Request::Tasks(_) | Request::Print(_) | Request::Help(_)) => {
            Err("a task syncs or shows a tree, and does nothing else".to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Takes out what typed options win over.
fn give_way(given: &mut Vec<Given>, typed: &[&str]) {
    given.retain(|given| {
        let option = given.option;
        let adds_up = !typed.contains(&option) || ADDING.contains(&option);
        adds_up && !typed.iter().any(|typed| outrules(typed, option))
    });
}

/// A task, and what its file says for all tasks.
struct Source<'a> {
    file: &'a TaskFile,
    task: &'a Entry,
    common: &'a [Entry],
    own: &'a [Entry],
}

impl<'a> Source<'a> {
    /// What a key says: the task's word, else that for all.
    fn entry(&self, key: &str) -> Option<&'a Entry> {
        let found = entry(self.own, key).or_else(|| entry(self.common, key));
        found.filter(|entry| !entry.value.is_nothing())
    }

    fn text(&self, key: &str) -> Result<Option<(usize, &'a str)>> {
        let Some(entry) = self.entry(key) else {
            return Ok(None);
        };
        match entry.value.text() {
            Some(text) => Ok(Some((entry.line, text))),
            None => Err(Wrong::at(entry.line, format!("{key} must be text"))),
        }
    }

    fn needed(&self, key: &str) -> Result<(usize, &'a str)> {
        let missing = || {
            Wrong::at(
                self.task.line,
                format!(
                    "the task '{}' lacks the key '{key}'",
                    Escaped(self.task.name.as_bytes())
                ),
            )
        };
        self.text(key)?.ok_or_else(missing)
    }

    /// The command, as the file has it.
    fn command(&self) -> Result<(&'static str, TaskCommand)> {
        let (line, command) = self.needed("command")?;
        let mut known = cli::task_commands();
        match known.clone().find(|(name, _)| *name == command) {
            Some(known) => Ok(known),
            None => {
                let names: Vec<&str> = known.by_ref().map(|(name, _)| name).collect();
                let shown = Escaped(command.as_bytes());
                Err(Wrong::at(
                    line,
                    format!(
                        "command cannot be '{shown}': use one of {}",
                        names.join(", ")
                    ),
                ))
            }
        }
    }

    fn local(&self) -> Result<PathBuf> {
        let Some((line, text)) = self.text("local")?.filter(|(_, text)| !text.is_empty()) else {
            return Ok(self.file.dir().to_owned());
        };
        match Address::parse(text.as_ref()) {
            Ok(Address::Path(path)) => self.path("local", line, &path),
            Ok(Address::Server(_)) | Err(_) => {
                Err(Wrong::at(line, "local must be a directory on this machine"))
            }
        }
    }

    fn remote(&self) -> Result<OsString> {
        let (line, text) = self.needed("remote")?;
        match Address::parse(text.as_ref()) {
            Ok(Address::Server(_)) => Ok(text.into()),
            Ok(Address::Path(path)) => {
                meant::refuse_lost_scheme(&path, self.file.dir())
                    .map_err(|error| Wrong::at(line, format!("remote: {error}")))?;
                self.path("remote", line, &path).map(OsString::from)
            }
            Err(error) => Err(Wrong::at(line, format!("remote: {error}"))),
        }
    }

    /// A path of the file begins where the file lies.
    fn path(&self, key: &str, line: usize, path: &Path) -> Result<PathBuf> {
        if path.starts_with("~") {
            return Err(Wrong::at(
                line,
                format!("{key}: '~' is the shell's; write the whole path"),
            ));
        }
        // Without `.`, so that the path reads as it would be typed.
        Ok(self.file.dir().join(path).components().collect())
    }

    /// The branch of the tree that is asked for; none for all of it.
    fn branch(&self, request: &TaskRequest, local: &Path, here: &Path) -> Result<Option<PathBuf>> {
        let is_set = |key: &str| match self.entry(key) {
            Some(entry) => entry.value.answer().ok_or_else(|| no_switch(entry)),
            None => Ok(false),
        };
        let (root, branch) = (is_set("root")?, is_set("here")?);
        let said = match (root, branch) {
            (true, _) => Some(Branch::Root),
            (false, true) => Some(Branch::Here),
            (false, false) => None,
        };
        if self.file.level == 0 {
            return Ok(None);
        }
        let shown = Escaped(local.as_os_str().as_bytes());
        match request.branch.or(said) {
            Some(Branch::Root) => Ok(None),
            Some(Branch::Here) => {
                let root = local.canonicalize().unwrap_or_else(|_| local.to_owned());
                match here.strip_prefix(&root) {
                    Ok(below) if below.as_os_str().is_empty() => Ok(None),
                    Ok(below) => Ok(Some(below.to_owned())),
                    Err(_) => Err(Wrong::at(
                        self.task.line,
                        format!(
                            "--here: this directory is not below {shown}, which the task is about"
                        ),
                    )),
                }
            }
            None => Err(Wrong::at(
                self.task.line,
                format!(
                    "the file lies further up; --root syncs all of {shown}, --here what is below this directory"
                ),
            )),
        }
    }

    /// The options of the file. What the command has no use for is passed over, and told where the task itself says it.
    fn options(&self, command: TaskCommand, notices: &mut Vec<String>) -> Result<Vec<Given>> {
        let own = self.given_by(self.own)?;
        let shared: Vec<Entry> = self
            .common
            .iter()
            .filter(|shared| entry(self.own, &shared.name).is_none())
            .cloned()
            .collect();
        let mut all = self.given_by(&shared)?;
        all.retain(|shared| !own.iter().any(|own| outrules(own.option, shared.option)));
        all.retain(|shared| command.lacks(shared.option).is_none());
        for given in own {
            match command.lacks(given.option) {
                None => all.push(given),
                Some(reason) => notices.push(format!(
                    "{}:{}: {} has no effect: {reason}",
                    self.file.shown(),
                    given.line,
                    key_of(given.option)
                )),
            }
        }
        Ok(all)
    }

    fn given_by(&self, entries: &[Entry]) -> Result<Vec<Given>> {
        let mut all = Vec::new();
        for entry in entries
            .iter()
            .filter(|entry| !OWN_KEYS.contains(&entry.name.as_str()))
        {
            if entry.name == "no_dry_run" {
                return Err(Wrong::at(
                    entry.line,
                    "no_dry_run is for the command line; write dry_run: false",
                ));
            }
            let Some(option) = options().find(|option| key_of(option.long) == entry.name) else {
                let keys: Vec<String> = options().map(|option| key_of(option.long)).collect();
                return Err(unknown_key(
                    entry,
                    OWN_KEYS.into_iter().chain(keys.iter().map(String::as_str)),
                ));
            };
            let given = Given {
                option: option.long,
                line: entry.line,
                words: self.words(option, entry)?,
            };
            if let Some(error) = cli::wrong_alone(&given.words) {
                return Err(self.in_its_words(&error.to_string(), &[given]));
            }
            if !given.words.is_empty() {
                all.push(given);
            }
        }
        Ok(all)
    }

    /// The words of one key.
    fn words(&self, option: &FlagInfo<'static>, entry: &Entry) -> Result<Vec<OsString>> {
        let value = &entry.value;
        if value.is_nothing() {
            return Ok(Vec::new());
        }
        let arg_name = match option.kind {
            FlagInfoKind::Switch if ["--verbose", "--quiet"].contains(&option.long) => {
                return level(option.long, entry);
            }
            FlagInfoKind::Switch => {
                let is_on = value.answer().ok_or_else(|| no_switch(entry))?;
                return Ok(is_on.then(|| option.long.into()).into_iter().collect());
            }
            FlagInfoKind::Option { arg_name } => arg_name,
        };
        if arg_name == "command" && self.file.can_change == Others::Can {
            return Err(Wrong::at(
                entry.line,
                format!(
                    "{} would run a command, but somebody else owns this file or everybody can change it; chown or chmod it",
                    entry.name
                ),
            ));
        }
        let is_path = arg_name == "file" || option.long == OF_DIRECTORY;
        let word = |text: &str| -> Result<OsString> {
            let text = text.trim_end_matches('\n');
            let mut word = OsString::from(format!("{}=", option.long));
            if is_path && !text.is_empty() {
                word.push(self.path(&entry.name, entry.line, Path::new(text))?);
            } else {
                word.push(text);
            }
            Ok(word)
        };
        match &value.content {
            Content::List(items) => {
                let texts: Vec<&str> = items
                    .iter()
                    .map(|item| single(item, entry))
                    .collect::<Result<_>>()?;
                match option.optionality {
                    Optionality::Repeating => texts.into_iter().map(word).collect(),
                    _ => Ok(vec![word(&texts.join(","))?]),
                }
            }
            Content::Null | Content::Word(_) | Content::Text(_) | Content::Map(_) => {
                Ok(vec![word(single(value, entry)?)?])
            }
        }
    }

    /// What the parser says of options, said of the keys that gave them.
    fn in_its_words(&self, text: &str, given: &[Given]) -> Wrong {
        let mut line = None;
        let mut said = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("--") {
            let name = &rest[at..];
            let end = name
                .find(|c: char| c != '-' && !c.is_ascii_lowercase())
                .unwrap_or(name.len());
            let (name, after) = name.split_at(end);
            said.push_str(&rest[..at]);
            match given.iter().find(|given| given.option == name) {
                Some(given) => {
                    line = line.or(Some(given.line));
                    said.push_str(&key_of(name));
                }
                None => said.push_str(name),
            }
            rest = after;
        }
        said.push_str(rest);
        match line {
            Some(line) => Wrong::at(line, said),
            None => Wrong::at(
                self.task.line,
                format!("task '{}': {said}", Escaped(self.task.name.as_bytes())),
            ),
        }
    }
}

/// The options that a file can give.
fn options() -> impl Iterator<Item = &'static FlagInfo<'static>> {
    cli::known_options()
        .iter()
        .filter(|option| !NOT_IN_FILES.contains(&option.long) && cli::is_of_tasks(option.long))
}

/// `--max-delete` as a key.
fn key_of(option: &str) -> String {
    option.trim_start_matches('-').replace('-', "_")
}

/// The text of a value, or of one of a list.
fn single<'n>(node: &'n Node, entry: &Entry) -> Result<&'n str> {
    let is_answer = node.answer().is_some() && !matches!(node.text(), Some("0" | "1"));
    match node.text() {
        Some(text) if !is_answer => Ok(text),
        Some(text) => Err(Wrong::at(
            node.line,
            format!(
                "{} takes a value, and {text} is yes or no; text goes in quotes: \"{text}\"",
                entry.name
            ),
        )),
        None => Err(Wrong::at(
            node.line,
            format!("{} takes a value or a list of values", entry.name),
        )),
    }
}

fn no_switch(entry: &Entry) -> Wrong {
    Wrong::at(
        entry.line,
        format!("{} is true or false, without quotes", entry.name),
    )
}

/// `verbose: 4` is the level itself, as in pyftpsync; `quiet: 1` is one less than usual.
fn level(option: &str, entry: &Entry) -> Result<Vec<OsString>> {
    let usual = i32::from(Verbosity::DEFAULT.level());
    let most = i32::from(Verbosity::PROTOCOL.level());
    let number = entry.value.text().and_then(|text| text.parse::<i32>().ok());
    let is_quiet = option == "--quiet";
    let level = match number.filter(|number| (0..=most).contains(number)) {
        Some(number) if is_quiet => usual - number,
        Some(number) => number,
        None if is_quiet => {
            usual - i32::from(entry.value.answer().ok_or_else(|| no_switch(entry))?)
        }
        None => {
            return Err(Wrong::at(
                entry.line,
                format!(
                    "{} is a number from 0 to {most}; {usual} is the usual one",
                    entry.name
                ),
            ));
        }
    };
    let word = if level > usual {
        "--verbose"
    } else {
        "--quiet"
    };
    let times = usize::try_from((level - usual).abs()).unwrap_or_default();
    Ok(vec![word.into(); times])
}
