//! A job and how to go about it, of what the options say. No I/O.

use std::ffi::OsStr;
use std::path::PathBuf;

use super::command::{Action, Does, can_resolve, choices_of_resolve};
use super::options::{Debug, Options, one_of, path_below_root};
use super::url::Address;
use super::{location, patterns, rules, usage};
use crate::error::Result;
use crate::job::{
    DataMode, Delete, Job, Limits, Location, Modes, Overrides, Policy, RemoteScan, Secret,
    Selection, StateDir, Trash,
};
use crate::login::{CredentialOptions, Prompt};
use crate::screen::{Color, ShowProgress, Verbosity};

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

impl Invocation {
    /// Has it look at this entry alone.
    pub(super) fn explain(&mut self, path: &OsStr) -> Result<()> {
        let wrong = |why: String| usage(format!("PATH: {why}"));
        let Some(path) = path.to_str() else {
            return Err(wrong("it is not UTF-8".to_owned()));
        };
        let path = path_below_root(path).map_err(wrong)?;
        self.job.selection.narrow_to(&path);
        self.job.dry_run = true;
        Ok(())
    }
}

/// What one command line says.
///
/// `given` are the long names of its options: a default that is spelled out counts as given.
pub(super) fn invocation(
    action: Action,
    options: Options,
    given: &[&str],
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
    let verbosity = verbosity(&options);
    let debug_classify = options.debug.contains(&Debug::Classify);
    if debug_classify && verbosity < Verbosity::EQUALS {
        return Err(usage("--debug needs -v"));
    }
    let local = location::local_root(local)?;
    let (mut user, mut password) = (None, None);
    let remote = match Address::parse(remote)? {
        Address::Path(path) => {
            rules::fit(given, None)?;
            location::refuse_overlap(&local, &path)?;
            Location::Path(path)
        }
        Address::Server(url) => {
            rules::fit(given, Some(url.scheme))?;
            (user, password) = (url.user.clone(), url.password.clone());
            location::server(url, &options)?
        }
    };
    let credentials = credentials(&options, user, password)?;
    let (color, progress) = (color(&options), progress(&options));
    let job = Job {
        direction,
        local,
        remote,
        policy: policy(&options)?,
        selection: selection(&options)?,
        limits: limits(&options),
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
        color,
        progress,
        report_problems: options.report_problems,
    })
}

/// Where user and password come from, besides the URL.
pub(super) fn credentials(
    options: &Options,
    user: Option<String>,
    password: Option<Secret>,
) -> Result<CredentialOptions> {
    if options.store_password && !cfg!(feature = "keyring") {
        return Err(usage(
            "--store-password: this build of coracle keeps no passwords (see coracle -Vv)",
        ));
    }
    Ok(CredentialOptions {
        user,
        password,
        password_file: options.password_file.clone(),
        password_command: options.password_command.clone(),
        keyring: !options.no_keyring,
        netrc: !options.no_netrc,
        prompt: match (options.prompt, options.no_prompt) {
            (true, _) => Prompt::Always,
            (false, true) => Prompt::Never,
            (false, false) => Prompt::IfNeeded,
        },
        store: options.store_password,
    })
}

/// How much is said.
pub(super) fn verbosity(options: &Options) -> Verbosity {
    let more = i32::from(options.verbose) - i32::from(options.quiet);
    Verbosity::new(i32::from(Verbosity::DEFAULT.level()) + more)
}

pub(super) const fn color(options: &Options) -> Color {
    if options.no_color {
        Color::Never
    } else {
        Color::OnTerminal
    }
}

pub(super) const fn progress(options: &Options) -> ShowProgress {
    if options.progress {
        ShowProgress::Always
    } else {
        ShowProgress::OnTerminal
    }
}

/// Which entries take part.
pub(super) fn selection(options: &Options) -> Result<Selection> {
    Ok(Selection {
        matching: pattern_list(&options.matching)?,
        excluded: pattern_list(&options.exclude)?,
        default_excludes: !options.no_default_excludes,
        only: options.only.clone().unwrap_or_default(),
        alone: None,
    })
}

/// What the connections may take.
pub(super) fn limits(options: &Options) -> Limits {
    Limits {
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
    }
}

/// What may be done to the entries. Which options exclude each other is known already.
fn policy(options: &Options) -> Result<Policy> {
    Ok(Policy {
        force: options.force,
        delete: if options.delete_ours {
            Delete::Ours
        } else if options.delete_unmatched {
            Delete::Unmatched
        } else if options.delete {
            Delete::Missing
        } else {
            Delete::Never
        },
        resolve: options.resolve,
        case: options.case,
        links: options.links,
        min_age: options.min_age,
        trash: options.trash.clone().map(|dir| Trash {
            dir,
            keep_days: options.trash_days,
        }),
        last: pattern_list(&options.last)?,
        modes: match options.chmod {
            Some(mode) => Modes::Remote(mode),
            None if options.perms => Modes::Carried,
            None => Modes::Theirs,
        },
        compare: options.compare,
        verify: options.verify,
        remote_scan: if options.no_remote_scan {
            RemoteScan::Trusted
        } else if options.quick_scan {
            RemoteScan::Quick
        } else {
            RemoteScan::Full
        },
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
    })
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
