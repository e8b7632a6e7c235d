//! The command line: arguments in, an [`Invocation`] out. Sole owner of flag names. No I/O.

mod arguments;
mod help;
pub mod meant;
mod options;
pub mod patterns;
pub mod url;

use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

use argh::{ArgsInfo, FlagInfo, FromArgs};

use crate::cli::url::{Address, Scheme, ServerUrl};
use crate::error::{Error, ErrorKind, Result};
use crate::job::{
    ANONYMOUS, DataMode, Delete, Direction, Encoding, FTPS_PORT, FtpLocation, Habits, HostKeys,
    Identity, Job, Limits, Location, Modes, Overrides, Pin, Policy, Protection, RemoteScan,
    Resolve, Selection, SftpLocation, StateDir, TlsSettings, Trash, Trust,
};
use crate::login::{CredentialOptions, Prompt};
use crate::net::BACKEND;
use crate::path::Escaped;
use crate::screen::{Color, ShowProgress, Verbosity};
use options::{Debug, Options, RESOLVE, TlsMode, one_of};

/// What the user wants.
#[derive(Debug, Clone)]
pub enum Request {
    /// A job to be done.
    Run(Box<Invocation>),
    /// Tasks of a task file to be done.
    Tasks(TaskRequest),
    /// A text to be printed: help or version.
    Print(String),
}

/// What is to be done with a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Its two sides are synced, in this direction.
    Sync(Direction),
    /// What its last run moved to the trash is taken back.
    Undo,
}

/// A job and how to go about it.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// What is to be done.
    pub action: Action,
    /// The job. Where the remote side is a server, its account is only what the URL says, and `credentials`
    /// finds the rest; its selection lacks what is in the files of `exclude_from`.
    pub job: Job,
    /// Where user and password come from.
    pub credentials: CredentialOptions,
    /// Files with more patterns to exclude.
    pub exclude_from: Vec<PathBuf>,
    /// How much is said.
    pub verbosity: Verbosity,
    /// Whether to log how entries are classified, whatever the verbosity.
    pub debug_classify: bool,
    /// Whether lines are colored.
    pub color: Color,
    /// When progress is shown.
    pub progress: ShowProgress,
    /// Whether skipped conflicts and failed copies make an exit code of their own.
    pub report_problems: bool,
}

/// What is asked of a task file.
#[derive(Debug, Clone)]
pub struct TaskRequest {
    /// The tasks.
    pub which: Which,
    /// What of them, where the file lies further up.
    pub branch: Option<Branch>,
    /// Whether it is done although a task says that it is only shown.
    pub execute: bool,
    /// The other options, in their long form, with their values: they win over the task's.
    pub options: Vec<(&'static str, Option<String>)>,
}

/// Which tasks of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The one that the file names.
    Default,
    /// Those of these names, in this order.
    Named(Vec<OsString>),
    /// All of them.
    All,
}

/// What of a task is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Branch {
    /// The current directory and what is below it.
    Here,
    /// All of it.
    Root,
}

/// Every option that a command has, with what it takes: what a task file may say, too.
pub fn known_options() -> &'static [FlagInfo<'static>] {
    Options::get_args_info().flags
}

/// What is wrong with one option of a task, read alone; none where nothing is.
pub fn wrong_alone(words: &[OsString]) -> Option<Error> {
    let given = arguments::sort(words.iter().cloned(), known_options());
    given.and_then(|sorted| options_of(&sorted)).err()
}

/// The name that a slip of the finger made another of, or of which what was typed is the beginning.
pub fn nearest<'a>(typed: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let near = known.clone().filter(|name| arguments::is_near(typed, name));
    near.min_by_key(|name| arguments::edit_distance(typed, name))
        .or_else(|| {
            known
                .into_iter()
                .find(|name| !typed.is_empty() && name.starts_with(typed))
        })
}

/// Reads the arguments that follow the program's name.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Request> {
    let sorted = arguments::sort(args, known_options())?;
    let mut words = sorted.words.iter().map(OsString::as_os_str);
    let word = words.next();
    if sorted.help || word == Some(OsStr::new("help")) {
        // `coracle help upload`, `coracle upload --help`, `coracle help`.
        let about = if word == Some(OsStr::new("help")) {
            words.next()
        } else {
            word
        };
        return Ok(Request::Print(match about {
            Some(name) => help::of(Command::named(name)?),
            None => help::overview(),
        }));
    }
    let options = options_of(&sorted)?;
    if options.version {
        return Ok(Request::Print(version(options.verbose)));
    }
    let Some(word) = word else {
        return Err(usage(format!(
            "no command; use {}, or see coracle --help",
            command_names()
        )));
    };
    let command = Command::named(word)?;
    for (option, _) in &sorted.options {
        if let Some(reason) = lacks(command.does, option) {
            return Err(usage(format!("{} has no {option}: {reason}", command.name)));
        }
    }
    let words: Vec<&OsStr> = words.collect();
    match command.does {
        Does::Do(action) => {
            let (local, remote) = two_targets(command, &words)?;
            invocation(action, options, local, remote)
                .map(|invocation| Request::Run(Box::new(invocation)))
        }
        Does::Run => task_request(&options, &words, &sorted.options).map(Request::Tasks),
    }
}

fn options_of(sorted: &arguments::Arguments) -> Result<Options> {
    let given: Vec<&str> = sorted
        .options
        .iter()
        .flat_map(|(name, value)| std::iter::once(*name).chain(value.as_deref()))
        .collect();
    Options::from_args(&[PROGRAM], &given).map_err(bad_value)
}

fn task_request(
    options: &Options,
    names: &[&OsStr],
    given: &[(&'static str, Option<String>)],
) -> Result<TaskRequest> {
    let which = match (names, options.all) {
        ([], true) => Which::All,
        ([], false) => Which::Default,
        (names, false) => Which::Named(names.iter().map(|name| (*name).to_owned()).collect()),
        (_, true) => return Err(usage("--all and names of tasks exclude each other")),
    };
    let branch = match (options.here, options.root) {
        (true, true) => return Err(usage("--here and --root exclude each other")),
        (true, false) => Some(Branch::Here),
        (false, true) => Some(Branch::Root),
        (false, false) => None,
    };
    let execute = options.execute || options.no_dry_run;
    if execute && options.dry_run {
        return Err(usage("--execute and --dry-run exclude each other"));
    }
    let rest = given.iter().filter(|(name, _)| !OF_RUN.contains(name));
    Ok(TaskRequest {
        which,
        branch,
        execute,
        options: rest.cloned().collect(),
    })
}

const PROGRAM: &str = "coracle";

/// A command.
struct Command {
    name: &'static str,
    does: Does,
    operands: &'static str,
    summary: &'static str,
    about: &'static str,
}

/// What a command does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    /// It does something with two sides.
    Do(Action),
    /// It does so as a file says.
    Run,
}

const COMMANDS: &[Command] = &[
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
        name: "run",
        does: Does::Run,
        operands: "[TASK...]",
        summary: "do what a task says in coracle.yaml or pyftpsync.yaml, here or further up",
        about: "Does what a task of coracle.yaml or pyftpsync.yaml says; the file lies in this directory or in one\n\
                above it. A task has a command (upload, download or sync), remote, local, and options as\n\
                below, without dashes and with _ for -; common_config holds what all tasks share. Without TASK, the\n\
                default_task is run. Options given here win over the file; exclusions add up. Paths in the file\n\
                begin at the file.",
    },
];

/// Commands that are documented and not built yet.
const LATER_COMMANDS: &[&str] = &["tree", "scan", "probe"];

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
const OF_RUN: [&str; 5] = ["--all", "--here", "--root", "--execute", "--no-dry-run"];
const IN_TASK_FILE: &str = "only a task file has what it is about; see coracle run --help";

/// Why a command lacks an option, if it does.
fn lacks(does: Does, option: &str) -> Option<&'static str> {
    match does {
        // What its task lacks is refused, or passed over, when the task is known.
        Does::Run => None,
        Does::Do(_) if OF_RUN.contains(&option) => Some(IN_TASK_FILE),
        Does::Do(action) => lacks_to(action, option),
    }
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

/// Why what is to be done lacks an option, if it does.
fn lacks_to(action: Action, option: &str) -> Option<&'static str> {
    let direction = match action {
        Action::Sync(direction) => direction,
        Action::Undo => {
            let all = Options::get_args_info().flags;
            let mut from_there = all
                .iter()
                .skip_while(|one| one.long != FIRST_OF_CONNECTIONS);
            let is_for_it = UNDO_OPTIONS.contains(&option)
                || from_there.any(|one| one.long == option) && !OF_SYNC_ALONE.contains(&option);
            return (!is_for_it).then_some(UNDO_COPIES_NOTHING);
        }
    };
    MISSING_OPTIONS
        .iter()
        .find(|(name, lacking, _)| *name == option && *lacking == direction)
        .map(|(_, _, reason)| *reason)
}

/// Why the command of a task lacks an option, if it does.
pub fn task_lacks(direction: Direction, option: &str) -> Option<&'static str> {
    lacks_to(Action::Sync(direction), option)
}

/// The commands that a task may name.
pub fn task_commands() -> impl Iterator<Item = (&'static str, Direction)> + Clone {
    COMMANDS.iter().filter_map(|command| match command.does {
        Does::Do(Action::Sync(direction)) => Some((command.name, direction)),
        Does::Do(Action::Undo) | Does::Run => None,
    })
}

/// The words that `--resolve` knows in a command.
fn choices_of_resolve(does: Does) -> Vec<&'static str> {
    RESOLVE
        .iter()
        .filter(|(_, resolve)| match does {
            Does::Do(action) => can_resolve(action.direction(), *resolve),
            Does::Run => true,
        })
        .map(|(word, _)| *word)
        .collect()
}

/// Whether a command can resolve conflicts so: upload and download never make the source lose.
fn can_resolve(direction: Direction, resolve: Resolve) -> bool {
    match resolve {
        Resolve::Skip | Resolve::Ask => true,
        Resolve::Local => direction != Direction::Download,
        Resolve::Remote => direction != Direction::Upload,
        Resolve::Old | Resolve::New | Resolve::Both => direction == Direction::Sync,
    }
}

impl Action {
    /// Which way changes travel. What is taken back comes back on both sides.
    const fn direction(self) -> Direction {
        match self {
            Self::Sync(direction) => direction,
            Self::Undo => Direction::Sync,
        }
    }
}

impl Command {
    fn named(word: &OsStr) -> Result<&'static Self> {
        if let Some(command) = COMMANDS.iter().find(|command| word == command.name) {
            return Ok(command);
        }
        let shown = Escaped(word.as_encoded_bytes());
        Err(usage(
            if LATER_COMMANDS.iter().any(|later| word == *later) {
                format!("the command '{shown}' is not supported by this build yet")
            } else {
                let typed = word.to_string_lossy();
                match COMMANDS
                    .iter()
                    .find(|command| arguments::is_near(&typed, command.name))
                {
                    Some(near) => {
                        format!("unknown command '{shown}'; did you mean '{}'?", near.name)
                    }
                    None => format!(
                        "unknown command '{shown}'; use {}, or see coracle --help",
                        command_names()
                    ),
                }
            },
        ))
    }
}

fn command_names() -> String {
    let names: Vec<&str> = COMMANDS.iter().map(|command| command.name).collect();
    one_of(&names)
}

fn two_targets<'a>(command: &Command, words: &[&'a OsStr]) -> Result<(&'a OsStr, &'a OsStr)> {
    let form = format!("coracle {} [OPTIONS] {}", command.name, command.operands);
    match words {
        [local, remote] => Ok((*local, *remote)),
        [] => Err(usage(format!("LOCAL and REMOTE are missing: {form}"))),
        [_] => Err(usage(format!("REMOTE is missing: {form}"))),
        // A fourth word may be a URL with a password, so none is shown.
        [_, _, more @ ..] => Err(usage(format!(
            "{} argument(s) too many: {form}; put quotes around patterns and around names with blanks",
            more.len()
        ))),
    }
}

fn invocation(
    action: Action,
    options: Options,
    local: &OsStr,
    remote: &OsStr,
) -> Result<Invocation> {
    let direction = action.direction();
    if !can_resolve(direction, options.resolve) {
        return Err(usage(format!(
            "--resolve: for this command use {}",
            one_of(&choices_of_resolve(Does::Do(action)))
        )));
    }
    if options.trash_days.is_some() && options.trash.is_none() {
        return Err(usage("--trash-days needs --trash"));
    }
    let verbosity = Verbosity::new(
        i32::from(Verbosity::DEFAULT.level()) + i32::from(options.verbose)
            - i32::from(options.quiet),
    );
    let debug_classify = options.debug.contains(&Debug::Classify);
    if debug_classify && verbosity < Verbosity::EQUALS {
        return Err(usage("--debug needs -v"));
    }
    let modes = match (options.chmod, options.perms) {
        (Some(_), true) => return Err(usage("--chmod and --perms exclude each other")),
        (Some(mode), false) => Modes::Remote(mode),
        (None, true) => Modes::Carried,
        (None, false) => Modes::Theirs,
    };
    let remote_scan = match (options.no_remote_scan, options.quick_scan) {
        (true, true) => {
            return Err(usage(
                "--no-remote-scan and --quick-scan exclude each other",
            ));
        }
        (true, false) => RemoteScan::Trusted,
        (false, true) => RemoteScan::Quick,
        (false, false) => RemoteScan::Full,
    };
    let prompt = match (options.prompt, options.no_prompt) {
        (true, true) => return Err(usage("--prompt and --no-prompt exclude each other")),
        (true, false) => Prompt::Always,
        (false, true) => Prompt::Never,
        (false, false) => Prompt::IfNeeded,
    };
    let mut credentials = CredentialOptions {
        user: None,
        password: None,
        password_file: options.password_file,
        password_command: options.password_command,
        netrc: !options.no_netrc,
        prompt,
    };
    let tls = TlsOptions {
        mode: options.tls,
        ca_file: options.ca_file,
        pins: options.pin,
        insecure: options.insecure,
        unclean_ends: options.tls_unclean_ends,
        cert: options.client_cert,
        key: options.client_key,
    };
    let habits = Habits {
        encoding: options.encoding,
        passive: options.passive.map_or_else(Vec::new, |order| order.0),
        unclean_ends: options.tls_unclean_ends,
        in_place: options.inplace,
    };
    if options.ftp_active && !habits.passive.is_empty() {
        return Err(usage("--passive and --ftp-active exclude each other"));
    }
    let ssh = SshOptions {
        command: options.ssh_command,
        accept_new: options.accept_new_host_key,
        no_verify: options.no_verify_host_keys,
    };
    let local = local_root(local)?;
    let remote = match Address::parse(remote)? {
        Address::Path(path) => {
            tls.refuse_without_ftps()?;
            refuse_habits(&habits)?;
            ssh.refuse_without_sftp()?;
            refuse_overlap(&local, &path)?;
            Location::Path(path)
        }
        Address::Server(url) => {
            credentials.user = url.user.clone();
            credentials.password = url.password.clone();
            server(url, tls, ssh, habits)?
        }
    };
    let job = Job {
        direction,
        local,
        remote,
        policy: Policy {
            force: options.force,
            delete: match (
                options.delete,
                options.delete_unmatched,
                options.delete_ours,
            ) {
                (_, true, false) => Delete::Unmatched,
                (true, false, false) => Delete::Missing,
                (false, false, true) => Delete::Ours,
                (false, false, false) => Delete::Never,
                (true, _, true) | (_, true, true) => {
                    return Err(usage(
                        "--delete-ours excludes --delete and --delete-unmatched: they delete what is not ours, too",
                    ));
                }
            },
            resolve: options.resolve,
            case: options.case,
            links: options.links,
            min_age: options.min_age,
            trash: options.trash.map(|dir| Trash {
                dir,
                keep_days: options.trash_days,
            }),
            last: pattern_list(&options.last)?,
            modes,
            compare: options.compare,
            verify: options.verify,
            remote_scan,
            remote_times: !options.no_remote_meta,
            allow: Overrides {
                empty: options.allow_empty,
                disk: options.accept_disk,
                time_shift: options.accept_time_shift,
                new_times: options.accept_new_times,
                older: options.allow_older,
                lock: options.break_lock,
                delete: options.max_delete,
            },
        },
        selection: Selection {
            matching: pattern_list(&options.matching)?,
            excluded: pattern_list(&options.exclude)?,
            default_excludes: !options.no_default_excludes,
            only: options.only.unwrap_or_default(),
        },
        limits: Limits {
            connections: options.connections,
            timeout: options.timeout,
            retries: options.retries,
            max_duration: options.max_duration,
            bytes_per_sec: options.limit_rate,
            data: if options.ftp_active {
                DataMode::Active
            } else {
                DataMode::Passive
            },
            ..Limits::default()
        },
        state: options.state_dir.map_or(StateDir::InRoot, StateDir::Below),
        create_folder: options.create_folder,
        migrate: options.migrate,
        dry_run: options.dry_run,
        check_file: options.check_file,
    };
    Ok(Invocation {
        action,
        job,
        credentials,
        exclude_from: options.exclude_from,
        verbosity,
        debug_classify,
        color: if options.no_color {
            Color::Never
        } else {
            Color::OnTerminal
        },
        progress: if options.progress {
            ShowProgress::Always
        } else {
            ShowProgress::OnTerminal
        },
        report_problems: options.report_problems,
    })
}

/// What is said of a server must not be passed over where there is none.
fn refuse_habits(habits: &Habits) -> Result<()> {
    let given = [
        ("--encoding", habits.encoding != Encoding::Utf8),
        ("--passive", !habits.passive.is_empty()),
        ("--inplace", habits.in_place),
    ];
    match given.iter().find(|(_, is_given)| *is_given) {
        None => Ok(()),
        Some((name, _)) => Err(usage(format!(
            "{name} needs a REMOTE with ftp:// or ftps://"
        ))),
    }
}

/// The options for `ftps://`.
struct TlsOptions {
    mode: Option<TlsMode>,
    ca_file: Option<PathBuf>,
    pins: Vec<Pin>,
    insecure: bool,
    unclean_ends: bool,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl TlsOptions {
    /// An option for TLS shows that somebody believes in it, so it must not be passed over.
    fn refuse_without_ftps(&self) -> Result<()> {
        let given = [
            ("--tls", self.mode.is_some()),
            ("--ca-file", self.ca_file.is_some()),
            ("--pin", !self.pins.is_empty()),
            ("--insecure", self.insecure),
            ("--tls-unclean-ends", self.unclean_ends),
            ("--client-cert", self.cert.is_some()),
            ("--client-key", self.key.is_some()),
        ];
        match given.iter().find(|(_, is_given)| *is_given) {
            None => Ok(()),
            Some((name, _)) => Err(usage(format!("{name} needs a REMOTE with ftps://"))),
        }
    }

    fn settings(self) -> Result<TlsSettings> {
        let trust = match (self.ca_file, self.pins, self.insecure) {
            (None, pins, false) if pins.is_empty() => Trust::System,
            (Some(file), pins, false) if pins.is_empty() => Trust::CaFile(file),
            (None, pins, false) => Trust::Pins(pins),
            (None, pins, true) if pins.is_empty() => Trust::Anyone,
            (Some(_) | None, _, _) => {
                return Err(usage("--ca-file, --pin and --insecure exclude each other"));
            }
        };
        let identity = match (self.cert, self.key) {
            (Some(cert), Some(key)) => Some(Identity { cert, key }),
            (None, None) => None,
            (Some(_), None) => return Err(usage("--client-cert needs --client-key")),
            (None, Some(_)) => return Err(usage("--client-key needs --client-cert")),
        };
        Ok(TlsSettings { trust, identity })
    }
}

/// The options for `sftp://`.
struct SshOptions {
    command: Option<String>,
    accept_new: bool,
    no_verify: bool,
}

impl SshOptions {
    fn refuse_without_sftp(&self) -> Result<()> {
        let given = [
            ("--ssh-command", self.command.is_some()),
            ("--accept-new-host-key", self.accept_new),
            ("--no-verify-host-keys", self.no_verify),
        ];
        match given.iter().find(|(_, is_given)| *is_given) {
            None => Ok(()),
            Some((name, _)) => Err(usage(format!("{name} needs a REMOTE with sftp://"))),
        }
    }

    fn host_keys(&self, pins: Vec<Pin>) -> Result<HostKeys> {
        match (self.accept_new, self.no_verify, pins.is_empty()) {
            (false, false, true) => Ok(HostKeys::Known),
            (true, false, true) => Ok(HostKeys::AcceptNew),
            (false, true, true) => Ok(HostKeys::Anyone),
            (false, false, false) => Ok(HostKeys::Pins(pins)),
            (true, true, _) | (_, _, false) => Err(usage(
                "--accept-new-host-key, --no-verify-host-keys and --pin exclude each other",
            )),
        }
    }
}

fn server(url: ServerUrl, tls: TlsOptions, ssh: SshOptions, habits: Habits) -> Result<Location> {
    let protection = match url.scheme {
        Scheme::Ftp => tls.refuse_without_ftps().map(|()| Protection::Clear)?,
        Scheme::Ftps => protection_of(&url, tls)?,
        Scheme::Sftp => {
            refuse_habits(&habits)?;
            return sftp_server(url, tls, ssh).map(Location::Sftp);
        }
    };
    ssh.refuse_without_sftp()?;
    Ok(Location::Ftp(FtpLocation {
        host: url.host,
        port: url.port.unwrap_or(protection.default_port()),
        protection,
        user: url.user.unwrap_or_else(|| ANONYMOUS.to_owned()),
        password: url.password.unwrap_or_default(),
        path: url.path,
        habits,
    }))
}

fn sftp_server(url: ServerUrl, mut tls: TlsOptions, ssh: SshOptions) -> Result<SftpLocation> {
    if !cfg!(feature = "sftp") {
        return Err(usage(
            "this build of coracle cannot follow sftp:// (see coracle -Vv)",
        ));
    }
    let pins = std::mem::take(&mut tls.pins);
    tls.refuse_without_ftps()?;
    Ok(SftpLocation {
        host: url.host,
        port: url.port,
        user: url.user,
        password: url.password,
        path: url.path,
        host_keys: ssh.host_keys(pins)?,
        ssh_command: ssh.command,
    })
}

fn protection_of(url: &ServerUrl, options: TlsOptions) -> Result<Protection> {
    if BACKEND.is_none() {
        return Err(usage(
            "this build of coracle has no TLS, so it cannot follow ftps:// (see coracle -Vv)",
        ));
    }
    let mode = options.mode.unwrap_or(match url.port {
        Some(FTPS_PORT) => TlsMode::Implicit,
        Some(_) | None => TlsMode::Explicit,
    });
    let settings = options.settings()?;
    Ok(match mode {
        TlsMode::Explicit => Protection::Explicit(settings),
        TlsMode::Implicit => Protection::Implicit(settings),
    })
}

fn local_root(text: &OsStr) -> Result<PathBuf> {
    let swapped = || {
        usage("LOCAL comes before REMOTE in every command, and must be a directory on this machine")
    };
    match Address::parse(text) {
        Ok(Address::Path(path)) => Ok(path),
        Ok(Address::Server(_)) => Err(swapped()),
        Err(error) if text.is_empty() => Err(error),
        Err(_) => Err(swapped()),
    }
}

fn refuse_overlap(local: &Path, remote: &Path) -> Result<()> {
    if is_here(remote) {
        return Err(usage(
            "REMOTE is '.', which is meant for LOCAL; LOCAL comes first",
        ));
    }
    if overlap(local, remote) {
        return Err(usage(
            "LOCAL and REMOTE are the same directory, or one lies inside the other",
        ));
    }
    Ok(())
}

fn is_here(path: &Path) -> bool {
    path.components().all(|part| part == Component::CurDir)
}

/// Whether one directory is the other or lies inside it, as far as their paths tell: links are not followed, and a
/// relative path is not compared with an absolute one. For certainty, give canonical paths.
pub fn overlap(one: &Path, other: &Path) -> bool {
    let plain = |path: &Path| -> Option<PathBuf> {
        path.components()
            .filter(|part| *part != Component::CurDir)
            // What `..` means depends on links.
            .map(|part| (part != Component::ParentDir).then_some(part))
            .collect()
    };
    match (plain(one), plain(other)) {
        (Some(a), Some(b)) => {
            a.is_absolute() == b.is_absolute() && (a.starts_with(&b) || b.starts_with(&a))
        }
        _ => false,
    }
}

/// Several `a, b,,c` as pyftpsync reads them: blanks around a pattern do not count.
fn pattern_list(texts: &[String]) -> Result<Vec<String>> {
    let split = texts.iter().flat_map(|text| text.split(','));
    split
        .map(str::trim)
        .filter(|pattern| !pattern.is_empty())
        .map(|pattern| {
            patterns::check(pattern)?;
            Ok(pattern.to_owned())
        })
        .collect()
}

fn version(verbose: u8) -> String {
    let mut text = format!("{PROGRAM} {}\n", env!("CARGO_PKG_VERSION"));
    if verbose > 0 {
        let protocols = match BACKEND {
            Some(library) => format!("ftp, ftps ({library})"),
            None => "ftp".to_owned(),
        };
        let sftp = if cfg!(feature = "sftp") { ", sftp" } else { "" };
        let tasks = if cfg!(feature = "yaml") {
            "yaml, json"
        } else {
            "none"
        };
        text.push_str(&format!(
            "protocols: {protocols}{sftp}\ntasks:     {tasks}\nplatform:  {} {} ({} bits)\n",
            std::env::consts::OS,
            std::env::consts::ARCH,
            usize::BITS
        ));
    }
    text
}

/// argh's words for a bad value, in ours.
fn bad_value(exit: argh::EarlyExit) -> Error {
    let text = exit.output.trim();
    let text = match text.strip_prefix("Error parsing option '") {
        Some(rest) => rest.replacen("' with value '", " cannot be '", 1),
        None => text.to_owned(),
    };
    usage(Escaped(text.as_bytes()))
}

fn usage(text: impl ToString) -> Error {
    ErrorKind::Usage(text.to_string()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Case, MaxDelete, Secret, ServerPath};
    use crate::path::RelPath;

    fn parsed(args: &[&str]) -> Result<Request> {
        parse(args.iter().map(OsString::from))
    }

    fn invocation(args: &[&str]) -> Invocation {
        match parsed(args) {
            Ok(Request::Run(invocation)) => *invocation,
            other => panic!("{args:?}: {other:?}"),
        }
    }

    fn text(args: &[&str]) -> String {
        match parsed(args) {
            Ok(Request::Print(text)) => text,
            other => panic!("{args:?}: {other:?}"),
        }
    }

    fn refusal(args: &[&str]) -> String {
        let error = parsed(args).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Usage(_)), "{error}");
        error.to_string()
    }

    /// The refusal of an upload with these options.
    fn refused_option(options: &[&str]) -> String {
        refusal(&[&["upload", "a", "b"], options].concat())
    }

    fn option(name: &str) -> Invocation {
        invocation(&["upload", "a", "b", name])
    }

    #[test]
    fn defaults_are_those_of_pyftpsync() {
        let Invocation {
            job,
            credentials,
            verbosity,
            ..
        } = invocation(&["sync", "a", "b"]);
        assert_eq!(job.direction, Direction::Sync);
        assert_eq!(
            (job.local, job.remote),
            ("a".into(), Location::Path("b".into()))
        );
        assert_eq!(job.policy.resolve, Resolve::Ask);
        assert_eq!(job.policy.delete, Delete::Never);
        assert_eq!(job.policy.case, Case::Refuse);
        assert_eq!(job.selection, Selection::default());
        assert_eq!(job.limits.connections.get(), 4);
        assert_eq!(job.limits.timeout.as_secs(), 30);
        assert!(!job.dry_run && !job.create_folder && !job.migrate);
        assert_eq!(verbosity, Verbosity::WRITES);
        assert_eq!(credentials.prompt, Prompt::IfNeeded);
        assert!(credentials.netrc);
    }

    #[test]
    fn options_may_stand_anywhere() {
        let before = invocation(&["-n", "upload", "a", "b"]);
        let after = invocation(&["upload", "a", "b", "-n"]);
        assert!(before.job.dry_run && after.job.dry_run);
    }

    #[test]
    fn verbosity_is_counted_and_bounded() {
        let level = |name| option(name).verbosity.level();
        assert_eq!(level("-v"), 4);
        assert_eq!(level("-vvq"), 4);
        assert_eq!(level("-vvvvvvv"), 6);
        assert_eq!(level("-qqqqq"), 0);
    }

    #[test]
    fn patterns_are_lists() {
        let Invocation { job, .. } = invocation(&["upload", "a", "b", "-m", " *.a, *.b ,,", "-x="]);
        assert_eq!(job.selection.matching, ["*.a", "*.b"]);
        assert_eq!(
            option("--last=index.html,*.xml").job.policy.last,
            ["index.html", "*.xml"]
        );
        assert_eq!(job.selection.excluded, [] as [&str; 0]);
    }

    #[test]
    fn switches_reach_the_job() {
        assert_eq!(option("--delete").job.policy.delete, Delete::Missing);
        assert_eq!(
            option("--delete-unmatched").job.policy.delete,
            Delete::Unmatched
        );
        assert_eq!(option("--delete-ours").job.policy.delete, Delete::Ours);
        assert!(option("--force").job.policy.force);
        assert!(option("--allow-empty").job.policy.allow.empty);
        assert!(option("--accept-time-shift").job.policy.allow.time_shift);
        assert!(option("--create-folder").job.create_folder);
        assert!(option("--migrate").job.migrate);
        assert!(option("--report-problems").report_problems);
        assert_eq!(option("--ftp-active").job.limits.data, DataMode::Active);
        assert_eq!(
            option("--no-remote-scan").job.policy.remote_scan,
            RemoteScan::Trusted
        );
        assert_eq!(
            option("--quick-scan").job.policy.remote_scan,
            RemoteScan::Quick
        );
        assert_eq!(option("--no-color").color, Color::Never);
        assert_eq!(option("--progress").progress, ShowProgress::Always);
        assert!(!option("--no-netrc").credentials.netrc);
        assert_eq!(option("--prompt").credentials.prompt, Prompt::Always);
        assert_eq!(option("--no-prompt").credentials.prompt, Prompt::Never);
    }

    #[test]
    fn values_reach_the_job() {
        let job = |name| option(name).job;
        assert_eq!(
            job("--max-delete=5%").policy.allow.delete,
            MaxDelete::Percent(5)
        );
        assert_eq!(
            job("--limit-rate=1k").limits.bytes_per_sec.map(u64::from),
            Some(1024)
        );
        assert_eq!(
            job("--max-duration=60")
                .limits
                .max_duration
                .map(|d| d.as_secs()),
            Some(60)
        );
        assert_eq!(job("--retries=0").limits.retries, 0);
        assert_eq!(job("--min-age=9").policy.min_age.as_secs(), 9);
        assert_eq!(job("--state-dir=/s").state, StateDir::Below("/s".into()));
        assert_eq!(
            job("--check-file=.here").check_file,
            RelPath::parse(b".here").ok()
        );
        let trash = invocation(&["sync", "a", "b", "--trash", ".old", "--trash-days", "9"]);
        let trash = trash.job.policy.trash.unwrap();
        assert_eq!(
            (trash.dir.to_string(), trash.keep_days),
            (".old".into(), Some(9))
        );
        assert_eq!(
            option("--password-file=/p").credentials.password_file,
            Some("/p".into())
        );
        assert_eq!(
            invocation(&["upload", "a", "b", "--exclude-from=x", "--exclude-from=y"]).exclude_from,
            [PathBuf::from("x"), PathBuf::from("y")]
        );
    }

    #[test]
    fn a_url_gives_the_location_and_its_login() {
        let Invocation {
            job, credentials, ..
        } = invocation(&["download", "a", "ftp://me:pw@nas:2121/~/b"]);
        let Location::Ftp(ftp) = job.remote else {
            panic!()
        };
        assert_eq!(
            (ftp.host.as_str(), ftp.port, ftp.user.as_str()),
            ("nas", 2121, "me")
        );
        assert_eq!(
            ftp.path,
            ServerPath::FromLogin(RelPath::parse(b"b").unwrap())
        );
        assert_eq!(credentials.user.as_deref(), Some("me"));
        assert_eq!(credentials.password, Some(Secret::new("pw".into())));
        let open = invocation(&["upload", "a", "ftp://nas"]);
        assert_eq!(
            (open.credentials.user, open.credentials.password),
            (None, None)
        );
    }

    #[test]
    #[cfg(any(feature = "tls-rustls", feature = "tls-native"))]
    fn ftps_is_explicit_but_on_its_own_port() {
        let ftps = |url: &str, options: &[&str]| {
            let args = [&["upload", "a", url], options].concat();
            match invocation(&args).job.remote {
                Location::Ftp(ftp) => (ftp.port, ftp.protection),
                Location::Path(_) | Location::Sftp(_) => panic!("{url} is a server"),
            }
        };
        let settings = TlsSettings::default;
        let (explicit, implicit) = (
            Protection::Explicit(settings()),
            Protection::Implicit(settings()),
        );
        assert_eq!(ftps("ftps://nas/", &[]), (21, explicit.clone()));
        assert_eq!(ftps("ftps://nas:990/", &[]), (990, implicit.clone()));
        assert_eq!(ftps("ftps://nas/", &["--tls=implicit"]), (990, implicit));
        assert_eq!(
            ftps("ftps://nas:990/", &["--tls=explicit"]),
            (990, explicit)
        );
    }

    #[test]
    #[cfg(any(feature = "tls-rustls", feature = "tls-native"))]
    fn ways_to_trust_exclude_each_other() {
        let pin = format!("--pin=sha256:{}", "0".repeat(64));
        let trust = |options: &[&str]| {
            let args = [&["upload", "a", "ftps://nas/"], options].concat();
            match invocation(&args).job.remote {
                Location::Ftp(ftp) => ftp.protection.settings().map(|tls| tls.trust.clone()),
                Location::Path(_) | Location::Sftp(_) => None,
            }
        };
        assert_eq!(trust(&[]), Some(Trust::System));
        assert_eq!(trust(&["--ca-file=c"]), Some(Trust::CaFile("c".into())));
        assert_eq!(
            trust(&[&pin, &pin]),
            Some(Trust::Pins(vec![Pin([0; 32]); 2]))
        );
        assert_eq!(trust(&["--insecure"]), Some(Trust::Anyone));
        for two in [
            ["--ca-file=c", &pin],
            ["--ca-file=c", "--insecure"],
            [&pin, "--insecure"],
        ] {
            let args = [&["upload", "a", "ftps://nas/"][..], &two].concat();
            assert!(refusal(&args).contains("exclude each other"), "{two:?}");
        }
        let alone = refusal(&["upload", "a", "ftps://nas/", "--client-cert=c"]);
        assert_eq!(alone, "--client-cert needs --client-key");
    }

    #[test]
    #[cfg(not(any(feature = "tls-rustls", feature = "tls-native")))]
    fn a_build_without_tls_says_so() {
        let refusal = refusal(&["upload", "a", "ftps://nas/"]);
        assert!(
            refusal.contains("this build of coracle has no TLS"),
            "{refusal}"
        );
        assert!(text(&["-Vv"]).contains("protocols: ftp\n"));
    }

    #[test]
    fn options_for_tls_are_not_passed_over() {
        for option in [
            "--tls=explicit",
            "--ca-file=c",
            "--insecure",
            "--client-key=k",
        ] {
            for remote in ["ftp://nas/", "b"] {
                let refusal = refusal(&["upload", "a", remote, option]);
                assert!(
                    refusal.ends_with("needs a REMOTE with ftps://"),
                    "{refusal}"
                );
            }
        }
    }

    #[test]
    fn each_command_resolves_only_as_it_can() {
        let all = ["old", "new", "local", "remote", "both", "skip", "ask"];
        let accepted = |command| -> Vec<&str> {
            all.into_iter()
                .filter(|how| parsed(&[command, "a", "b", "--resolve", how]).is_ok())
                .collect()
        };
        assert_eq!(accepted("sync"), all);
        assert_eq!(accepted("upload"), ["local", "skip", "ask"]);
        assert_eq!(accepted("download"), ["remote", "skip", "ask"]);
        assert_eq!(
            refused_option(&["--resolve", "remote"]),
            "--resolve: for this command use local, skip or ask"
        );
    }

    #[test]
    fn options_that_do_not_apply_are_named_with_the_reason() {
        for name in [
            "--force",
            "--delete",
            "--delete-unmatched",
            "--delete-ours",
            "--no-remote-scan",
        ] {
            let refusal = refusal(&["sync", "a", "b", name]);
            assert!(
                refusal.starts_with(&format!("sync has no {name}: ")),
                "{refusal}"
            );
        }
        assert!(
            refusal(&["download", "a", "b", "--no-remote-scan"]).contains("no --no-remote-scan")
        );
        assert!(parsed(&["download", "a", "b", "--force", "--delete"]).is_ok());
    }

    #[test]
    fn options_that_contradict_each_other_are_refused() {
        for two in [
            ["--prompt", "--no-prompt"],
            ["--no-remote-scan", "--quick-scan"],
        ] {
            assert!(refused_option(&two).contains("exclude each other"));
        }
        for other in ["--delete", "--delete-unmatched"] {
            assert!(refused_option(&["--delete-ours", other]).contains("excludes"));
        }
        assert_eq!(
            refused_option(&["--trash-days=3"]),
            "--trash-days needs --trash"
        );
        assert_eq!(refused_option(&["--debug=classify"]), "--debug needs -v");
        assert!(invocation(&["upload", "a", "b", "-v", "--debug=classify"]).debug_classify);
    }

    #[test]
    fn bad_values_are_named_with_what_is_right() {
        assert_eq!(
            refused_option(&["--connections=0"]),
            "--connections cannot be '0': use a whole number from 1 to 64"
        );
        assert_eq!(
            refused_option(&["--case", "no"]),
            "--case cannot be 'no': use strict, local or remote"
        );
        assert!(refused_option(&["--max-delete", "-5"]).contains("cannot be '-5'"));
    }

    #[test]
    #[cfg(feature = "sftp")]
    fn host_keys_are_trusted_in_one_way() {
        let pin = format!("--pin=sha256:{}", "0".repeat(64));
        let keys = |options: &[&str]| {
            let args = [&["upload", "a", "sftp://nas/x"], options].concat();
            match invocation(&args).job.remote {
                Location::Sftp(sftp) => sftp.host_keys,
                Location::Path(_) | Location::Ftp(_) => panic!("it is an SSH server"),
            }
        };
        assert_eq!(keys(&[]), HostKeys::Known);
        assert_eq!(keys(&["--accept-new-host-key"]), HostKeys::AcceptNew);
        assert_eq!(keys(&["--no-verify-host-keys"]), HostKeys::Anyone);
        assert_eq!(keys(&[&pin]), HostKeys::Pins(vec![Pin([0; 32])]));
        for (options, part) in [
            (
                ["--accept-new-host-key", "--no-verify-host-keys"],
                "exclude each other",
            ),
            (["--accept-new-host-key", &pin], "exclude each other"),
            (
                ["--insecure", "-v"],
                "--insecure needs a REMOTE with ftps://",
            ),
        ] {
            let args = [&["upload", "a", "sftp://nas/x"][..], &options].concat();
            assert!(refusal(&args).contains(part), "{options:?}");
        }
        assert_eq!(
            refusal(&["upload", "a", "ftp://nas/", "--accept-new-host-key"]),
            "--accept-new-host-key needs a REMOTE with sftp://"
        );
    }

    #[test]
    fn options_of_later_builds_are_unknown() {
        for later in ["--store-password", "--json", "--syslog"] {
            assert!(refused_option(&[later]).starts_with(&format!("unknown option '{later}'")));
        }
    }

    #[test]
    fn missing_and_superfluous_words_are_told() {
        assert!(refusal(&[]).contains("use upload, download, sync, undo or run"));
        assert!(refusal(&["upload"]).starts_with("LOCAL and REMOTE are missing"));
        assert!(refusal(&["sync", "a"]).starts_with("REMOTE is missing"));
        let many = refusal(&["sync", "a", "b", "ftp://me:hunter2@nas/"]);
        assert!(
            many.starts_with("1 argument(s) too many") && !many.contains("hunter2"),
            "{many}"
        );
    }

    #[test]
    fn unknown_commands_are_answered_with_the_nearest() {
        assert_eq!(
            refusal(&["uplaod", "a", "b"]),
            "unknown command 'uplaod'; did you mean 'upload'?"
        );
        assert!(refusal(&["tree", "a"]).contains("not supported by this build yet"));
        assert!(refusal(&["frobnicate"]).contains("use upload, download, sync, undo or run"));
    }

    #[test]
    fn local_and_remote_keep_their_places() {
        assert!(refusal(&["upload", "ftp://nas/", "a"]).contains("LOCAL comes before REMOTE"));
        assert!(refusal(&["upload", "sftp://nas/", "a"]).contains("LOCAL comes before REMOTE"));
        for here in [".", "./", "./."] {
            assert!(
                refusal(&["upload", "a", here]).contains("REMOTE is '.'"),
                "{here}"
            );
        }
        assert!(parsed(&["upload", ".", "/b"]).is_ok());
        assert!(refusal(&["upload", "", "b"]).contains("empty"));
        assert!(refusal(&["upload", "a", ""]).contains("empty"));
    }

    #[test]
    fn roots_within_each_other_are_refused() {
        for (a, b) in [
            ("a", "a"),
            ("a", "a/b"),
            ("a/b", "./a/"),
            ("/", "/x"),
            ("a", "a/./b"),
        ] {
            assert!(
                refusal(&["sync", a, b]).contains("one lies inside"),
                "{a} {b}"
            );
        }
        for (a, b) in [
            ("a", "ab"),
            ("a", "b/a"),
            ("a", "../a"),
            ("a", "a/../b"),
            ("a", "/a"),
        ] {
            assert!(parsed(&["sync", a, b]).is_ok(), "{a} {b}");
        }
        assert!(refusal(&["sync", ".", "b"]).contains("one lies inside"));
    }

    #[test]
    fn help_is_given_in_every_form() {
        for args in [&["--help"][..], &["-h"], &["help"], &["help", "-v"]] {
            assert!(text(args).starts_with("coracle keeps"), "{args:?}");
        }
        for args in [
            &["upload", "--help"][..],
            &["-h", "upload"],
            &["help", "upload"],
            &["upload", "a", "-h"],
        ] {
            assert!(text(args).starts_with("Usage: coracle upload"), "{args:?}");
        }
        assert!(refusal(&["help", "nonsense"]).contains("unknown command"));
    }

    #[test]
    fn version_tells_more_when_asked() {
        let version = format!("coracle {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(text(&["--version"]), version);
        assert_eq!(text(&["upload", "-V"]), version);
        assert!(text(&["-Vv"]).contains("protocols: ftp"));
    }

    #[test]
    fn targets_may_be_any_bytes() {
        use std::os::unix::ffi::OsStringExt;
        let raw = OsString::from_vec(b"caf\xe9".to_vec());
        let args = ["upload".into(), raw.clone(), "b".into()];
        assert!(matches!(parse(args), Ok(Request::Run(run)) if run.job.local == raw));
    }
}
