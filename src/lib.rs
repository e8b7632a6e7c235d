//! Keeps a local directory in step with an FTP server.
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

pub mod cli;

pub mod credentials;

pub mod ask;
pub mod report;

pub mod sync;

pub mod target;

pub mod system;

pub mod error;
pub mod job;
pub mod path;
pub mod patterns;
pub mod side;
pub mod terminal;
pub mod time;
pub mod url;

use std::ffi::OsString;

use cli::Request;
use job::Location;
use report::{ExitCode, ProcessReport};

/// Runs the program with its arguments, the first of which is its name.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match cli::parse(args.into_iter().skip(1)) {
        Ok(Request::Print(text)) => {
            report::print(&text);
            ExitCode::Done
        }
        Ok(Request::Run(invocation)) => run_job(*invocation),
        Err(error) => report::print_failure(&error),
    }
}

fn run_job(mut invocation: cli::Invocation) -> ExitCode {
    report::start_log(invocation.verbosity, invocation.debug_classify);
    let mut report = ProcessReport::of_process(
        &invocation.job,
        invocation.verbosity,
        invocation.color,
        invocation.progress,
    );
    let prepared = prepare(&mut invocation, &mut |text| report.warning(text));
    report.show(&sync::event::Event::Started);
    report.finish(&report::Ending {
        totals: &sync::event::Totals::default(),
        error: prepared.as_ref().err(),
        asked: false,
        report_problems: invocation.report_problems,
    })
}

/// Completes the job with what lies outside the command line: patterns in files, user and password.
fn prepare(invocation: &mut cli::Invocation, warn: &mut dyn FnMut(&str)) -> error::Result<()> {
    for file in &invocation.exclude_from {
        invocation
            .job
            .selection
            .excluded
            .extend(patterns::read(file)?);
    }
    if let Location::Ftp(ftp) = &mut invocation.job.remote {
        let account = credentials::resolve(&ftp.host, &invocation.credentials, warn)?;
        ftp.user = account.user;
        ftp.password = account.password;
    }
    Ok(())
}
