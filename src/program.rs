//! The program: arguments to a job, the job to its run, the run to what the user sees.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crate::cli::{self, Action, Invocation, Request, TaskRequest, Visiting, meant, patterns, url};
#[cfg(feature = "yaml")]
use crate::error::Doing;
use crate::error::{Error, ErrorKind, Result};
#[cfg(feature = "sftp")]
use crate::job::HostKeys;
use crate::job::{Job, Limits, Location, SSH_PORT, Selection, Trust};
use crate::login::{self, CredentialOptions, Keeper, Remark};
use crate::net::Halt;
#[cfg(feature = "yaml")]
use crate::path::Escaped;
use crate::path::RelPath;
use crate::run::Run;
use crate::screen::ask::{AskStyle, TerminalAsk};
use crate::screen::terminal::TerminalKeys;
use crate::screen::{self, Ending, ExitCode, Explanation, ProcessReport, Style, Verbosity};
use crate::sync::Summary;
use crate::sync::event::{Ask, Event, Totals};
use crate::sync::workers::Stop;
use crate::system;
#[cfg(feature = "yaml")]
use crate::tasks::{TaskFile, Work};

/// Runs the program with its arguments, the first of which is its name.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    system::adopt_time_zone();
    hide_passwords(&args);
    match cli::parse(args.into_iter().skip(1)) {
        Ok(Request::Help(help)) => {
            screen::print(&help.text(screen::terminal::width()));
            ExitCode::Done
        }
        Ok(Request::Print(text)) => {
            screen::print(&text);
            ExitCode::Done
        }
        Ok(Request::Run(invocation)) => match refuse_lost_schemes(&invocation.job) {
            Ok(()) => run_invocation(*invocation, &Remarks::default()),
            Err(error) => screen::print_failure(&error),
        },
        Ok(Request::Visit(visiting)) => match refuse_lost_scheme(&visiting.visit.target) {
            Ok(()) => run_visit(*visiting, &Remarks::default()),
            Err(error) => screen::print_failure(&error),
        },
        Ok(Request::Tasks(request)) => {
            run_tasks(&request).unwrap_or_else(|error| screen::print_failure(&error))
        }
        Err(error) => screen::print_failure(&error),
    }
}

/// Overwrites passwords in URLs where everyone on this machine sees them: in the list of processes.
fn hide_passwords(args: &[OsString]) {
    let hidden = args
        .iter()
        .map(|arg| url::without_password(arg).unwrap_or_else(|| arg.clone()));
    let hidden: Vec<OsString> = hidden.collect();
    if hidden != args {
        // Where it cannot be done it is as with every program; the README says what helps.
        let _ = system::replace_arguments(args, &hidden);
    }
}

/// Refuses paths that were meant for addresses.
fn refuse_lost_schemes(job: &Job) -> Result<()> {
    let here = Path::new("");
    meant::refuse_lost_scheme(&job.local, here)?;
    refuse_lost_scheme(&job.remote)
}

fn refuse_lost_scheme(location: &Location) -> Result<()> {
    match location {
        Location::Path(path) => meant::refuse_lost_scheme(path, Path::new("")),
        Location::Ftp(_) | Location::Sftp(_) => Ok(()),
    }
}

/// Runs tasks one after the other, whatever becomes of each; all of them are read before the first begins.
#[cfg(feature = "yaml")]
fn run_tasks(request: &TaskRequest) -> Result<ExitCode> {
    let here = std::env::current_dir()
        .map_err(ErrorKind::Disk)
        .doing(|| "finding the current directory")?;
    let tasks = TaskFile::find(&here)?.tasks(request, &here)?;
    let began = Instant::now();
    let is_for_all = request
        .options
        .iter()
        .any(|(option, _)| *option == "--max-duration");
    let mut worst = ExitCode::Done;
    for mut task in tasks {
        let limits = match &mut task.work {
            Work::Sync(invocation) => &mut invocation.job.limits,
            Work::Look(visiting) => &mut visiting.visit.limits,
        };
        let limit = &mut limits.max_duration;
        if let (Some(limit), true) = (limit, is_for_all) {
            *limit = limit.saturating_sub(began.elapsed());
        }
        if system::stopped_by().is_some() {
            let begun = ErrorKind::Interrupted(Stop::BY_USER);
            let error = Error::new(begun).while_doing(format!(
                "before the task '{}' began",
                Escaped(task.name.as_bytes())
            ));
            return Ok(worst.worse(screen::print_failure(&error)));
        }
        let remarks = Remarks {
            warnings: task.warnings,
            notices: task.notices,
        };
        worst = worst.worse(match task.work {
            Work::Sync(invocation) => run_invocation(*invocation, &remarks),
            Work::Look(visiting) => run_visit(*visiting, &remarks),
        });
    }
    Ok(worst)
}

#[cfg(not(feature = "yaml"))]
fn run_tasks(_request: &TaskRequest) -> Result<ExitCode> {
    let text = "this build of coracle cannot read task files (see coracle -Vv)";
    Err(ErrorKind::Usage(text.to_owned()).into())
}

/// What is told before a job begins.
#[derive(Default)]
struct Remarks {
    warnings: Vec<String>,
    notices: Vec<String>,
}

impl Remarks {
    fn tell(&self, report: &mut ProcessReport) {
        for notice in &self.notices {
            report.show(&Event::Notice(notice));
        }
        for warning in &self.warnings {
            report.warning(warning);
        }
    }
}

fn run_invocation(mut invocation: Invocation, remarks: &Remarks) -> ExitCode {
    begin(invocation.verbosity, invocation.debug_classify);
    if let Some(entry) = invocation.job.selection.entry() {
        return explain(invocation, entry);
    }
    let mut report = ProcessReport::of_process(
        &invocation.job,
        Style::of_process(
            invocation.verbosity,
            invocation.color,
            invocation.progress,
            invocation.debug_classify,
        ),
    );
    remarks.tell(&mut report);
    let style = if report.is_colored() {
        AskStyle::Colored
    } else {
        AskStyle::Plain
    };
    let is_there = io::stdin().is_terminal() && io::stdout().is_terminal();
    let mut user = is_there.then(|| TerminalAsk::new(TerminalKeys, io::stdout(), style));
    let ask = user.as_mut().map(|user| user as &mut dyn Ask);
    let keeper = keeper_of_job(&invocation);
    let ended =
        complete_job(&mut invocation, &keeper, &mut |text| report.warning(text)).and_then(|()| {
            // Typing a password takes as long as it takes.
            report.restart_clock();
            run_job(&invocation, &keeper, &mut |event| report.show(&event), ask)
        });
    let (totals, error) = match ended {
        Ok(Summary {
            totals, stopped_by, ..
        }) => (totals, stopped_by),
        Err(error) => (Totals::default(), Some(error)),
    };
    tell_of_password(&keeper, error.as_ref(), &mut |event| report.show(&event));
    report.finish(&Ending {
        totals: &totals,
        error: error.as_ref(),
        report_problems: invocation.report_problems,
    })
}

/// Looks at one entry, and tells what would be done about it.
fn explain(mut invocation: Invocation, entry: RelPath) -> ExitCode {
    let mut explanation = Explanation::of_process(entry);
    let mut tell = |event: Event<'_>| explanation.show(&event);
    let keeper = keeper_of_job(&invocation);
    let mut warn = |text: &str| tell(Event::Warning(text));
    let ended = complete_job(&mut invocation, &keeper, &mut warn)
        .and_then(|()| run_job(&invocation, &keeper, &mut tell, None));
    let error = match ended {
        Ok(summary) => summary.stopped_by,
        Err(error) => Some(error),
    };
    tell_of_password(&keeper, error.as_ref(), &mut tell);
    explanation.finish(error.as_ref())
}

/// Who keeps the password of a location's server; of a directory there is none.
fn keeper_of(location: &Location, credentials: &CredentialOptions, dry_run: bool) -> Arc<Keeper> {
    let (host, port) = match location {
        Location::Path(_) => ("", 0),
        Location::Ftp(ftp) => (&ftp.host[..], ftp.port),
        Location::Sftp(sftp) => (&sftp.host[..], sftp.port.unwrap_or(SSH_PORT)),
    };
    Arc::new(Keeper::new(host, port, credentials, dry_run))
}

fn keeper_of_job(invocation: &Invocation) -> Arc<Keeper> {
    let Invocation {
        job, credentials, ..
    } = invocation;
    keeper_of(&job.remote, credentials, job.dry_run)
}

/// Tells what became of the password.
fn tell_of_password(keeper: &Keeper, error: Option<&Error>, tell: &mut dyn FnMut(Event<'_>)) {
    for remark in keeper.remarks() {
        match &remark {
            Remark::Notice(text) => tell(Event::Notice(text)),
            Remark::Warning(text) => tell(Event::Warning(text)),
        }
    }
    if let Some(advice) = error.and_then(|error| keeper.advice(error)) {
        tell(Event::Warning(&advice));
    }
}

fn complete_job(
    invocation: &mut Invocation,
    keeper: &Keeper,
    warn: &mut dyn FnMut(&str),
) -> Result<()> {
    let Invocation {
        job,
        credentials,
        exclude_from,
        ..
    } = invocation;
    let (remote, selection) = (&mut job.remote, &mut job.selection);
    complete(remote, selection, credentials, exclude_from, keeper, warn)
}

/// Completes a request with what lies outside the command line: patterns in files, user and password.
fn complete(
    location: &mut Location,
    selection: &mut Selection,
    credentials: &CredentialOptions,
    exclude_from: &[PathBuf],
    keeper: &Keeper,
    warn: &mut dyn FnMut(&str),
) -> Result<()> {
    system::watch_signals().map_err(ErrorKind::Disk)?;
    for file in exclude_from {
        selection.excluded.extend(patterns::read(file)?);
    }
    if let Location::Ftp(ftp) = location {
        let account = login::resolve(&ftp.host, ftp.port, credentials, warn)?;
        keeper.note(&account);
        ftp.user = account.user;
        ftp.password = account.password;
    }
    Ok(())
}

fn run_job(
    invocation: &Invocation,
    keeper: &Arc<Keeper>,
    tell: &mut dyn FnMut(Event<'_>),
    ask: Option<&mut dyn Ask>,
) -> Result<Summary> {
    let Invocation {
        job, credentials, ..
    } = invocation;
    let run = surrounded(
        Run::of(job),
        &job.remote,
        &job.limits,
        credentials,
        keeper,
        tell,
    );
    match invocation.action {
        Action::Undo => run.undo(tell),
        Action::Sync(_) | Action::Explain => run.start(tell, ask),
    }
}

/// A run with what lies around this process: the user who ends it or answers for it. What the user gave up for it is told.
fn surrounded<'a, R>(
    run: Run<'a, R>,
    location: &Location,
    limits: &Limits,
    credentials: &CredentialOptions,
    keeper: &Arc<Keeper>,
    tell: &mut dyn FnMut(Event<'_>),
) -> Run<'a, R> {
    if let Location::Ftp(ftp) = location
        && let Some(Trust::Anyone) = ftp.protection.settings().map(|tls| &tls.trust)
    {
        tell(Event::Warning(
            "--insecure: any server is accepted; whoever is between may read and change everything, the password too",
        ));
    }
    #[cfg(feature = "sftp")]
    if let Location::Sftp(sftp) = location
        && sftp.host_keys == HostKeys::Anyone
    {
        tell(Event::Warning(
            "--no-verify-host-keys: any server is accepted; whoever is between may read and change everything, the \
             password too",
        ));
    }
    let deadline = limits.max_duration.map(|span| Instant::now() + span);
    let halt = Halt::new(move || {
        let is_over = deadline.is_some_and(|deadline| Instant::now() >= deadline);
        let by_user = system::stopped_by().map(|_| Stop::BY_USER);
        by_user.or(is_over.then_some(Stop::BY_TIME))
    });
    let run = run.halted_by(halt).stopped_by(Stop {
        asked: &is_stopped,
        deadline,
    });
    let welcomed = Arc::clone(keeper);
    let run = run.welcomed_by(Arc::new(move || welcomed.welcome()));
    #[cfg(feature = "sftp")]
    let run = match location {
        Location::Sftp(sftp) => {
            let port = sftp.port.unwrap_or(SSH_PORT);
            let answers = login::SshAnswers::new(&sftp.host, port, credentials, Arc::clone(keeper));
            run.answered_by(Arc::new(answers))
        }
        Location::Path(_) | Location::Ftp(_) => run,
    };
    #[cfg(not(feature = "sftp"))]
    let _ = credentials;
    run
}

fn is_stopped() -> bool {
    system::stopped_by().is_some()
}

/// Tells what is asked of one target.
fn run_visit(mut visiting: Visiting, remarks: &Remarks) -> ExitCode {
    let style = Style::of_process(visiting.verbosity, visiting.color, visiting.progress, false);
    let mut report = ProcessReport::of_target(visiting.visit.dry_run, style);
    begin(visiting.verbosity, false);
    remarks.tell(&mut report);
    let Visiting {
        visit,
        credentials,
        exclude_from,
        ..
    } = &mut visiting;
    let (target, selection) = (&mut visit.target, &mut visit.selection);
    let keeper = keeper_of(target, credentials, visit.dry_run);
    let mut warn = |text: &str| report.warning(text);
    let completed = complete(
        target,
        selection,
        credentials,
        exclude_from,
        &keeper,
        &mut warn,
    );
    let mut tell = |event: Event<'_>| report.show(&event);
    let ended = completed.and_then(|()| {
        let (target, limits) = (&visit.target, &visit.limits);
        let run = surrounded(
            Run::of(&*visit),
            target,
            limits,
            credentials,
            &keeper,
            &mut tell,
        );
        run.visit(&mut tell)
    });
    tell_of_password(&keeper, ended.as_ref().err(), &mut tell);
    report.end(ended.err().as_ref())
}

/// What every command begins with.
fn begin(verbosity: Verbosity, debug_classify: bool) {
    screen::start_log(verbosity, debug_classify);
    system::forbid_core_dumps();
    system::spare_memory();
}
