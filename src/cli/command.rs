//! The commands: what each does, what it says about itself in the help, and which options it has.

use std::ffi::OsStr;

use argh::ArgsInfo;

use super::arguments;
use super::options::{Options, RESOLVE, one_of};
use super::usage;
use super::visit::Asks;
use crate::error::Result;
use crate::job::{Direction, Resolve};
use crate::path::Escaped;

/// What is to be done with a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Its two sides are synced, in this direction.
    Sync(Direction),
    /// What its last run moved to the trash is taken back.
    Undo,
    /// One entry of it is looked at, and explained.
    Explain,
}

/// A command.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) name: &'static str,
    pub(super) does: Does,
    pub(super) operands: &'static str,
    pub(super) summary: &'static str,
    pub(super) about: &'static str,
}

/// What a command does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Does {
    /// It does something with two sides.
    Do(Action),
    /// It tells something of one target.
    Ask(Asks),
    /// It does so as a file says.
    Run,
}

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "upload",
        does: Does::Do(Action::Sync(Direction::Upload)),
        operands: "LOCAL REMOTE",
        summary: "make REMOTE follow LOCAL; LOCAL is never changed",
        about: "Copies new and changed files from LOCAL to REMOTE. LOCAL is never changed, and nothing is\n\
                deleted without --delete. Files that were changed on REMOTE are not overwritten without asking.",
    },
    Command {
        name: "download",
        does: Does::Do(Action::Sync(Direction::Download)),
        operands: "LOCAL REMOTE",
        summary: "make LOCAL follow REMOTE; REMOTE is never changed",
        about: "Copies new and changed files from REMOTE to LOCAL. REMOTE is never changed, and nothing is\n\
                deleted without --delete. Files that were changed on LOCAL are not overwritten without asking.",
    },
    Command {
        name: "sync",
        does: Does::Do(Action::Sync(Direction::Sync)),
        operands: "LOCAL REMOTE",
        summary: "bring each side what was changed, added and deleted on the other",
        about: "Brings each side what was changed, added and deleted on the other since the last run. A file\n\
                that was changed on both sides is a conflict; see --resolve.",
    },
    Command {
        name: "undo",
        does: Does::Do(Action::Undo),
        operands: "LOCAL REMOTE",
        summary: "bring back what the last run moved to the trash (--trash)",
        about: "Gives what the last run with --trash deleted or overwrote its names back, on both sides. What\n\
                has one of these names now goes to the trash for it. To the next run, what came back is new.",
    },
    Command {
        name: "explain",
        does: Does::Do(Action::Explain),
        operands: "LOCAL REMOTE PATH",
        summary: "what both sides show of an entry, what is recorded, what would be done and why",
        about: "Looks at one file or directory, changes nothing, and tells what each side shows of it, what is\n\
                recorded of it, and what each command would do about it by which rule. PATH begins at the roots.",
    },
    Command {
        name: "tree",
        does: Does::Ask(Asks::Tree),
        operands: "TARGET",
        summary: "show the directories of TARGET as a tree, with --files the files, too",
        about: "Shows the directories of TARGET, a directory here or on a server, as a tree; with --files the files,\n\
                too, with their times (of this machine's zone) and sizes. Nothing is changed.",
    },
    Command {
        name: "scan",
        does: Does::Ask(Asks::Scan),
        operands: "TARGET",
        summary: "tell what is in TARGET, what runs have left there and what is damaged; tidy up",
        about: "Tells what is in TARGET, a directory here or on a server: files and bytes, trashes, partial files\n\
                of transfers that were cut off, locks and who holds them, pyftpsync's metadata, and of which peer\n\
                and how old the archives are. What is damaged ends it with exit code 1. Nothing is changed but by\n\
                --remove-meta, --remove-locks and --repair; with --dry-run they only tell what they would do.",
    },
    Command {
        name: "probe",
        does: Does::Ask(Asks::Probe),
        operands: "REMOTE",
        summary: "tell what a server can do, what was learnt of it, and the command line that suits it",
        about: "Tells what the server of REMOTE is and says that it can do, which ways of listing, of asking for\n\
                names and of opening data connections work, what was learnt of it in earlier runs, how it is\n\
                protected and by which key it can be pinned, how many connections it lets in, and a command\n\
                line and a task for it. Nothing is written on the server; what is learnt is kept for the next\n\
                run.",
    },
    Command {
        name: "run",
        does: Does::Run,
        operands: "[TASK...]",
        summary: "do what a task says in coracle.yaml or pyftpsync.yaml, here or further up",
        about: "Does what a task of coracle.yaml or pyftpsync.yaml says; the file lies in this directory or in one\n\
                above it. A task has a command (upload, download, sync or tree), remote, local, and options as\n\
                below, without dashes and with _ for -; common_config holds what all tasks share. Without TASK, the\n\
                default_task is run. Options given here win over the file; exclusions add up. Paths in the file\n\
                begin at the file.",
    },
];

/// Options that not every command has: the option, the command, and why not.
const MISSING_OPTIONS: &[(&str, Direction, &str)] = &[
    ("--force", Direction::Sync, SYNC_HAS_NO_SOURCE),
    ("--delete", Direction::Sync, SYNC_DELETES),
    ("--delete-unmatched", Direction::Sync, SYNC_DELETES),
    ("--delete-ours", Direction::Sync, SYNC_DELETES),
    ("--no-remote-scan", Direction::Sync, UPLOAD_ONLY),
    ("--no-remote-scan", Direction::Download, UPLOAD_ONLY),
    ("--chmod", Direction::Download, NOTHING_UPLOADED),
];
const SYNC_HAS_NO_SOURCE: &str = "neither side is the source; see --resolve";
const SYNC_DELETES: &str = "it always deletes on one side what was deleted on the other";
const UPLOAD_ONLY: &str = "it must know what changed on the server";
const NOTHING_UPLOADED: &str = "it writes nothing on the remote side";

/// Options that only make sense with a task file.
pub(super) const OF_RUN: [&str; 5] = ["--all", "--here", "--root", "--execute", "--no-dry-run"];
const IN_TASK_FILE: &str = "only a task file has what it is about; see coracle run --help";

/// Why a command lacks an option, if it does.
pub(super) fn lacks(does: Does, option: &str) -> Option<&'static str> {
    match does {
        Does::Run if OF_SCAN.contains(&option) => Some(SCAN_LISTS),
        // What its task lacks is refused, or passed over, when the task is known.
        Does::Run => None,
        Does::Do(_) | Does::Ask(_) if OF_RUN.contains(&option) => Some(IN_TASK_FILE),
        Does::Do(action) => lacks_to(action, option),
        Does::Ask(asks) => lacks_asked(asks, option),
    }
}

/// Options that are for those commands alone that look at one target.
const OF_SCAN: [&str; 5] = [
    "--list",
    "--recursive",
    "--remove-meta",
    "--remove-locks",
    "--repair",
];
const OF_TREE: [&str; 2] = ["--files", "--sort"];
/// Whether a task can say it: what is asked of a task file itself, or of a scan, is typed.
pub fn is_of_tasks(option: &str) -> bool {
    !OF_RUN.contains(&option) && !OF_SCAN.contains(&option)
}

const SCAN_LISTS: &str = "that is for coracle scan";
const TREE_DRAWS: &str = "that is for coracle tree";

/// Options that say which entries are looked at.
const OF_LOOKS: [&str; 5] = [
    "--match",
    "--exclude",
    "--no-default-excludes",
    "--exclude-from",
    "--links",
];
/// Options that are about what a sync decided.
const OF_DECISIONS: [&str; 2] = ["--debug", "--report-problems"];
const COPIES_NOTHING: &str = "it looks at one target, and copies nothing";

/// Why a command that looks at one target lacks an option, if it does.
fn lacks_asked(asks: Asks, option: &str) -> Option<&'static str> {
    let is_about_entries = OF_LOOKS.contains(&option);
    let has_it = option == "--help"
        || is_of_connections(option) && !OF_DECISIONS.contains(&option)
        || match asks {
            Asks::Tree => is_about_entries || OF_TREE.contains(&option) || option == "--only",
            Asks::Probe => ["--connections", "--state-dir"].contains(&option),
            Asks::Scan => {
                is_about_entries
                    || OF_SCAN.contains(&option)
                    || ["--dry-run", "--state-dir"].contains(&option)
            }
        };
    match () {
        () if has_it => None,
        () if OF_SCAN.contains(&option) => Some(SCAN_LISTS),
        () if OF_TREE.contains(&option) => Some(TREE_DRAWS),
        () => Some(COPIES_NOTHING),
    }
}

/// Whether an option is about connections, the login or what is said, and so for every command.
fn is_of_connections(option: &str) -> bool {
    let all = Options::get_args_info().flags;
    let mut from_there = all
        .iter()
        .skip_while(|one| one.long != FIRST_OF_CONNECTIONS);
    from_there.any(|one| one.long == option) && !OF_SYNC_ALONE.contains(&option)
}

/// Options that are for `undo`, too, before those of this name; all behind it are, but for those after it.
const UNDO_OPTIONS: &[&str] = &[
    "--help",
    "--dry-run",
    "--break-lock",
    "--trash",
    "--state-dir",
];
const FIRST_OF_CONNECTIONS: &str = "--timeout";
const OF_SYNC_ALONE: &[&str] = &[
    "--no-remote-scan",
    "--quick-scan",
    "--limit-rate",
    "--inplace",
];
const UNDO_COPIES_NOTHING: &str = "it takes back what is in the trash, and copies nothing";

/// Options that are not for `explain`.
const NOT_TO_EXPLAIN: &[&str] = &[
    "--only",
    "--dry-run",
    "--force",
    "--resolve",
    "--chmod",
    "--perms",
    "--delete",
    "--delete-unmatched",
    "--delete-ours",
    "--create-folder",
    "--max-delete",
    "--break-lock",
    "--check-file",
    "--trash",
    "--trash-days",
    "--last",
    "--verify",
    "--no-remote-scan",
    "--quick-scan",
    "--limit-rate",
    "--inplace",
    "--progress",
    "--report-problems",
];
const EXPLAIN_LOOKS: &str =
    "it only looks at one entry, and tells what commands without options would do";

/// Why what is to be done lacks an option, if it does.
fn lacks_to(action: Action, option: &str) -> Option<&'static str> {
    let direction = match action {
        Action::Sync(direction) => direction,
        Action::Undo => {
            let is_for_it = UNDO_OPTIONS.contains(&option) || is_of_connections(option);
            return (!is_for_it).then_some(UNDO_COPIES_NOTHING);
        }
        Action::Explain => {
            return NOT_TO_EXPLAIN.contains(&option).then_some(EXPLAIN_LOOKS);
        }
    };
    if OF_SCAN.contains(&option) {
        return Some(SCAN_LISTS);
    }
    if OF_TREE.contains(&option) {
        return Some(TREE_DRAWS);
    }
    MISSING_OPTIONS
        .iter()
        .find(|(name, lacking, _)| *name == option && *lacking == direction)
        .map(|(_, _, reason)| *reason)
}

/// A command that a task may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskCommand(Does);

impl TaskCommand {
    /// Why it lacks an option, if it does.
    pub fn lacks(self, option: &str) -> Option<&'static str> {
        lacks(self.0, option)
    }

    /// Whether it is about the remote side alone.
    pub const fn is_of_one_target(self) -> bool {
        matches!(self.0, Does::Ask(_))
    }
}

/// The commands that a task may name, as in pyftpsync.
pub fn task_commands() -> impl Iterator<Item = (&'static str, TaskCommand)> + Clone {
    COMMANDS.iter().filter_map(|command| match command.does {
        does @ (Does::Do(Action::Sync(_)) | Does::Ask(Asks::Tree)) => {
            Some((command.name, TaskCommand(does)))
        }
        Does::Do(Action::Undo | Action::Explain)
        | Does::Ask(Asks::Scan | Asks::Probe)
        | Does::Run => None,
    })
}

/// The words that `--resolve` knows in a command.
pub(super) fn choices_of_resolve(does: Does) -> Vec<&'static str> {
    RESOLVE
        .iter()
        .filter(|(_, resolve)| match does {
            Does::Do(action) => can_resolve(action.direction(), *resolve),
            Does::Ask(_) | Does::Run => true,
        })
        .map(|(word, _)| *word)
        .collect()
}

/// Whether a command can resolve conflicts so: upload and download never make the source lose.
pub(super) fn can_resolve(direction: Direction, resolve: Resolve) -> bool {
    match resolve {
        Resolve::Skip | Resolve::Ask => true,
        Resolve::Local => direction != Direction::Download,
        Resolve::Remote => direction != Direction::Upload,
        Resolve::Old | Resolve::New | Resolve::Both => direction == Direction::Sync,
    }
}

impl Action {
    /// Which way changes travel. What is taken back comes back on both sides; what is explained may go either way.
    pub(super) const fn direction(self) -> Direction {
        match self {
            Self::Sync(direction) => direction,
            Self::Undo | Self::Explain => Direction::Sync,
        }
    }
}

impl Command {
    pub(super) fn named(word: &OsStr) -> Result<&'static Self> {
        if let Some(command) = COMMANDS.iter().find(|command| word == command.name) {
            return Ok(command);
        }
        let shown = Escaped(word.as_encoded_bytes());
        let typed = word.to_string_lossy();
        let mut commands = COMMANDS.iter();
        Err(usage(
            match commands.find(|command| arguments::is_near(&typed, command.name)) {
                Some(near) => format!("unknown command '{shown}'; did you mean '{}'?", near.name),
                None => format!(
                    "unknown command '{shown}'; use {}, or see coracle --help",
                    command_names()
                ),
            },
        ))
    }
}

pub(super) fn command_names() -> String {
    let names: Vec<&str> = COMMANDS.iter().map(|command| command.name).collect();
    one_of(&names)
}
