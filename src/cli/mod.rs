//! The command line: arguments in, an [`Invocation`] out. Sole owner of flag names. No I/O.

mod arguments;
mod command;
mod help;
mod invocation;
mod location;
pub mod meant;
mod options;
pub mod patterns;
pub mod rules;
mod task;
pub mod url;
mod visit;

use std::ffi::{OsStr, OsString};

use argh::{ArgsInfo, FlagInfo, FromArgs};

use crate::error::{Error, ErrorKind, Result};
use crate::net::BACKEND;
use crate::path::Escaped;
use command::{Command, Does, command_names, lacks};
use help::Length;
use options::Options;

pub use command::{Action, TaskCommand, is_of_tasks, task_commands};
pub use help::Help;
pub use invocation::Invocation;
pub use location::overlap;
pub use task::{Branch, TaskRequest, Which};
pub use visit::Visiting;

/// What the user wants.
#[derive(Debug, Clone)]
pub enum Request {
    /// A job to be done.
    Run(Box<Invocation>),
    /// Something to be told of one target.
    Visit(Box<Visiting>),
    /// Tasks of a task file to be done.
    Tasks(TaskRequest),
    /// Help.
    Help(Help),
    /// A text to be printed: the version.
    Print(String),
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
    if sorted.help.is_some() || word == Some(OsStr::new("help")) {
        // `coracle help upload`, `coracle upload --help`, `coracle help`.
        let about = if word == Some(OsStr::new("help")) {
            words.next()
        } else {
            word
        };
        return Ok(Request::Help(Help {
            about: about.map(Command::named).transpose()?,
            length: sorted.help.unwrap_or(Length::All),
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
    let given: Vec<&str> = sorted.options.iter().map(|(option, _)| *option).collect();
    for option in &given {
        if let Some(reason) = lacks(command.does, option) {
            return Err(usage(format!("{} has no {option}: {reason}", command.name)));
        }
    }
    rules::check(&given)?;
    let words: Vec<&OsStr> = words.collect();
    match command.does {
        Does::Do(action) => {
            let (local, remote, path) = targets(command, &words)?;
            let mut invocation = invocation::invocation(action, options, &given, local, remote)?;
            if let Some(path) = path {
                invocation.explain(path)?;
            }
            Ok(Request::Run(Box::new(invocation)))
        }
        Does::Ask(asks) => {
            let target = one_target(command, &words)?;
            let visiting = visit::visiting(asks, options, &given, target)?;
            Ok(Request::Visit(Box::new(visiting)))
        }
        Does::Run => task::task_request(&options, &words, &sorted.options).map(Request::Tasks),
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

const PROGRAM: &str = "coracle";

/// The two sides, and the path where the command is about one.
fn targets<'a>(
    command: &Command,
    words: &[&'a OsStr],
) -> Result<(&'a OsStr, &'a OsStr, Option<&'a OsStr>)> {
    let form = format!("coracle {} [OPTIONS] {}", command.name, command.operands);
    let takes_path = command.does == Does::Do(Action::Explain);
    match words {
        [local, remote] if !takes_path => Ok((*local, *remote, None)),
        [local, remote, path] if takes_path => Ok((*local, *remote, Some(*path))),
        [] => Err(usage(format!("LOCAL and REMOTE are missing: {form}"))),
        [_] => Err(usage(format!("REMOTE is missing: {form}"))),
        [_, _] => Err(usage(format!("PATH is missing: {form}"))),
        // A fourth word may be a URL with a password, so none is shown.
        [..] => {
            let more = words.len() - command.operands.split(' ').count();
            let (are, s) = if more == 1 { ("is", "") } else { ("are", "s") };
            Err(usage(format!(
                "{more} argument{s} {are} too many: {form}; put quotes around patterns and around names with blanks"
            )))
        }
    }
}

fn one_target<'a>(command: &Command, words: &[&'a OsStr]) -> Result<&'a OsStr> {
    let form = format!("coracle {} [OPTIONS] {}", command.name, command.operands);
    match words {
        [target] => Ok(target),
        [] => Err(usage(format!("{} is missing: {form}", command.operands))),
        [_, more @ ..] => Err(usage(format!(
            "{} argument(s) too many: {form}; put quotes around patterns and around names with blanks",
            more.len()
        ))),
    }
}

fn version(verbose: u8) -> String {
    let mut text = format!("{PROGRAM} {}\n", env!("CARGO_PKG_VERSION"));
    if verbose > 0 {
        let protocols = match BACKEND {
            Some(library) => format!("ftp, ftps ({library})"),
            None => "ftp".to_owned(),
        };
        let passwords = if cfg!(feature = "keyring") {
            "kept by --store-password"
        } else {
            "never kept"
        };
        let sftp = if cfg!(feature = "sftp") { ", sftp" } else { "" };
        let tasks = if cfg!(feature = "yaml") {
            "yaml, json"
        } else {
            "none"
        };
        text.push_str(&format!(
            "protocols: {protocols}{sftp}\ntasks:     {tasks}\npasswords: {passwords}\nplatform:  {} {} ({} bits)\n",
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
    use std::path::PathBuf;

    use super::*;
    #[cfg(feature = "sftp")]
    use crate::job::HostKeys;
    #[cfg(any(feature = "sftp", feature = "tls-rustls", feature = "tls-native"))]
    use crate::job::Pin;
    use crate::job::{
        Case, Connections, DataMode, Delete, Direction, Location, MaxDelete, RemoteScan, Resolve,
        Secret, Selection, ServerPath, StateDir,
    };
    #[cfg(any(feature = "tls-rustls", feature = "tls-native"))]
    use crate::job::{Protection, TlsSettings, Trust};
    use crate::login::Prompt;
    use crate::path::RelPath;
    use crate::screen::{Color, ShowProgress, Verbosity};

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
            Ok(Request::Help(help)) => help.text(100),
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
        assert_eq!(job.limits.connections, Connections::Auto);
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
            assert!(refused_option(&["--delete-ours", other]).contains("exclude each other"));
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
            "--connections cannot be '0': use a whole number from 1 to 64, or auto"
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
        for later in ["--json", "--syslog"] {
            assert!(refused_option(&[later]).starts_with(&format!("unknown option '{later}'")));
        }
    }

    #[test]
    fn a_build_that_keeps_no_passwords_says_so() {
        for args in [
            &["sync", "a", "ftp://nas/", "--store-password"][..],
            &["tree", "ftp://nas/", "--store-password"],
        ] {
            assert_eq!(parsed(args).is_ok(), cfg!(feature = "keyring"), "{args:?}");
        }
        assert!(parsed(&["sync", "a", "ftp://nas/", "--no-keyring"]).is_ok());
    }

    #[test]
    fn missing_and_superfluous_words_are_told() {
        assert!(
            refusal(&[])
                .contains("use upload, download, sync, undo, explain, tree, scan, probe or run")
        );
        assert!(refusal(&["upload"]).starts_with("LOCAL and REMOTE are missing"));
        assert!(refusal(&["sync", "a"]).starts_with("REMOTE is missing"));
        let many = refusal(&["sync", "a", "b", "ftp://me:hunter2@nas/"]);
        assert!(
            many.starts_with("1 argument is too many") && !many.contains("hunter2"),
            "{many}"
        );
    }

    #[test]
    fn unknown_commands_are_answered_with_the_nearest() {
        assert_eq!(
            refusal(&["uplaod", "a", "b"]),
            "unknown command 'uplaod'; did you mean 'upload'?"
        );
        assert!(
            refusal(&["frobnicate"])
                .contains("use upload, download, sync, undo, explain, tree, scan, probe or run")
        );
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
