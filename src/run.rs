//! Joins the parts: arguments to a job, the job to its targets, locks and memory, the run to its report.

use std::ffi::OsString;
use std::io::{self, BufReader, IsTerminal};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::cli::patterns;
use crate::cli::{self, Invocation, Request};
use crate::error::{Doing, ErrorKind, Result};
#[cfg(feature = "sftp")]
use crate::job::HostKeys;
use crate::job::{Job, Links, Location, StateDir, Trust};
use crate::login::{self, CredentialOptions};
use crate::path::Escaped;
#[cfg(feature = "sftp")]
use crate::replica::SftpConnector;
use crate::replica::{FtpConnector, LocalReplica, Replica, RootIdentity, RootLock};
use crate::screen::ask::{AskStyle, Nobody, TerminalAsk};
use crate::screen::terminal::Answers;
use crate::screen::{self, Ending, ExitCode, ProcessReport};
use crate::side::{Side, Sides};
use crate::sync::event::{Ask, Event, Totals};
use crate::sync::journal::{BootId, Journal, Leftover};
use crate::sync::peer::PeerKey;
use crate::sync::pool::{Connect, Stop};
use crate::sync::register::{JobId, Register, Remembered};
use crate::sync::{self, Setting, Summary};
use crate::system;
use crate::time::Timestamp;

/// Runs the program with its arguments, the first of which is its name.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match cli::parse(args.into_iter().skip(1)) {
        Ok(Request::Print(text)) => {
            screen::print(&text);
            ExitCode::Done
        }
        Ok(Request::Run(invocation)) => run_invocation(*invocation),
        Err(error) => screen::print_failure(&error),
    }
}

fn run_invocation(mut invocation: Invocation) -> ExitCode {
    screen::start_log(invocation.verbosity, invocation.debug_classify);
    system::forbid_core_dumps();
    system::spare_memory();
    let mut report = ProcessReport::of_process(
        &invocation.job,
        invocation.verbosity,
        invocation.color,
        invocation.progress,
    );
    let mut asked = false;
    let ended = system::watch_signals()
        .map_err(|error| ErrorKind::Disk(error).into())
        .and_then(|()| complete(&mut invocation, &mut |text| report.warning(text)))
        .and_then(|()| {
            let Invocation {
                job, credentials, ..
            } = &invocation;
            run_job(job, credentials, &mut report, &mut asked)
        });
    let (totals, error) = match ended {
        Ok(Summary {
            totals, stopped_by, ..
        }) => (totals, stopped_by),
        Err(error) => (Totals::default(), Some(error)),
    };
    report.finish(&Ending {
        totals: &totals,
        error: error.as_ref(),
        asked,
        report_problems: invocation.report_problems,
    })
}

/// Completes the job with what lies outside the command line: patterns in files, user and password.
fn complete(invocation: &mut Invocation, warn: &mut dyn FnMut(&str)) -> Result<()> {
    for file in &invocation.exclude_from {
        invocation
            .job
            .selection
            .excluded
            .extend(patterns::read(file)?);
    }
    match &mut invocation.job.remote {
        Location::Ftp(ftp) => {
            let account = login::resolve(&ftp.host, &invocation.credentials, warn)?;
            ftp.user = account.user;
            ftp.password = account.password;
        }
        Location::Path(remote) => refuse_overlap(&invocation.job.local, remote)?,
        // The SSH program asks for the password if it needs one.
        Location::Sftp(_) => {}
    }
    Ok(())
}

/// Two roots of which one lies in the other would be synced into each other without end.
fn refuse_overlap(local: &Path, remote: &Path) -> Result<()> {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if cli::overlap(&real(local), &real(remote)) {
        return Err(ErrorKind::Usage(
            "one of the two directories lies in the other, or they are the same".to_owned(),
        )
        .into());
    }
    Ok(())
}

fn run_job(
    job: &Job,
    credentials: &CredentialOptions,
    report: &mut ProcessReport,
    asked: &mut bool,
) -> Result<Summary> {
    if let Location::Ftp(ftp) = &job.remote
        && let Some(Trust::Anyone) = ftp.protection.settings().map(|tls| &tls.trust)
    {
        report.warning(
            "--insecure: any server is accepted; whoever is between may read and change everything, the password too",
        );
    }
    let deadline = job.limits.max_duration.map(|span| Instant::now() + span);
    let asked_to_stop = || system::stopped_by().is_some();
    let stop = Stop {
        asked: &asked_to_stop,
        deadline,
    };
    let now = Timestamp::now();

    let place = Place::of(job)?;
    let remembered = place.register.read(&place.id);
    place.refuse_missing(job, remembered)?;
    let (_lock, identity) = place.lock_root(job, report)?;
    let (journal, leftover) = place.journal(job)?;
    let targets = Targets {
        job,
        state: place.state.clone(),
        remote: remote_of(job, credentials, report)?,
    };

    let holder = place.holder();
    let setting = Setting {
        connect: &targets,
        stop,
        journal: journal.as_ref(),
        leftover: &leftover,
        held_files: remembered.map_or(Sides::new(false, false), |known| {
            Sides::new(known.had_files, known.remote_had_files)
        }),
        is_elsewhere: remembered
            .zip(identity)
            .is_some_and(|(known, found)| is_elsewhere(known, found)),
        holder: &holder,
        now,
    };
    let ran = run_with_answers(job, &setting, report, asked);
    if let Remote::Ftp(ftp) = &targets.remote
        && let Some(address) = ftp.overheard_on_the_way_to()
    {
        report.warning(&format!(
            "user, password and files went to {address} readable by everyone on the way; does the server know ftps://?"
        ));
    }
    let summary = ran?;
    if !job.dry_run {
        settle(&place, journal, identity, &summary);
    }
    Ok(summary)
}

/// Prepares what reaches the remote root; nothing is sent.
fn remote_of<'a>(
    job: &'a Job,
    credentials: &CredentialOptions,
    report: &mut ProcessReport,
) -> Result<Remote<'a>> {
    Ok(match &job.remote {
        Location::Path(path) => Remote::Path(path),
        Location::Ftp(ftp) => Remote::Ftp(Box::new(FtpConnector::new(ftp, &job.limits)?)),
        #[cfg(feature = "sftp")]
        Location::Sftp(sftp) => {
            if sftp.host_keys == HostKeys::Anyone {
                report.warning(
                    "--no-verify-host-keys: any server is accepted; whoever is between may read and change everything, the \
                     password too",
                );
            }
            let answers = std::sync::Arc::new(login::SshAnswers::new(&sftp.host, credentials));
            Remote::Sftp(Box::new(SftpConnector::new(sftp, &job.limits, answers)?))
        }
        #[cfg(not(feature = "sftp"))]
        Location::Sftp(_) => {
            let _ = (credentials, report);
            let text = "this build of coracle cannot follow sftp://";
            return Err(ErrorKind::Usage(text.to_owned()).into());
        }
    })
}

/// Runs the job with whoever can answer: the user at the terminal, or nobody.
fn run_with_answers(
    job: &Job,
    setting: &Setting<'_>,
    report: &mut ProcessReport,
    asked: &mut bool,
) -> Result<Summary> {
    if io::stdin().is_terminal() && io::stdout().is_terminal() {
        let style = if report.is_colored() {
            AskStyle::Colored
        } else {
            AskStyle::Plain
        };
        let mut user = TerminalAsk::new(BufReader::new(Answers), io::stdout(), style);
        let summary = sync::run(job, setting, &mut |event| report.show(&event), &mut user);
        *asked = user.asked() > 0;
        return summary;
    }
    let mut nobody_was_there = None;
    let mut warn = |text: &str| nobody_was_there = Some(text.to_owned());
    let mut nobody = Nobody::new(&mut warn);
    let answers: &mut dyn Ask = &mut nobody;
    let summary = sync::run(job, setting, &mut |event| report.show(&event), answers);
    if let Some(text) = nobody_was_there {
        report.warning(&text);
    }
    summary
}

/// What this machine knows of the job: where its roots are, where its memory is.
struct Place {
    local: PathBuf,
    state: Option<PathBuf>,
    register: Register,
    id: JobId,
}

impl Place {
    fn of(job: &Job) -> Result<Self> {
        let absolute = |path: &Path| {
            std::path::absolute(path)
                .map_err(ErrorKind::Disk)
                .doing(|| format!("finding {}", Escaped(path.as_os_str().as_bytes())))
        };
        let local = job.local.canonicalize().or_else(|_| absolute(&job.local))?;
        let state = match &job.state {
            StateDir::Beside => None,
            StateDir::Below(dir) => Some(absolute(dir)?),
        };
        let register = Register::of(&job.state, |name| std::env::var_os(name).map(Into::into));
        let id = JobId {
            local: local.clone(),
            peer: PeerKey::of(&job.remote),
        };
        Ok(Self {
            local,
            state,
            register,
            id,
        })
    }

    /// A local root that is not there is made if that was asked for, and if it never held anything.
    fn refuse_missing(&self, job: &Job, remembered: Option<Remembered>) -> Result<()> {
        let held_files = remembered.is_some_and(|known| known.had_files);
        let may_be_made_anew = !held_files || job.policy.allow.empty;
        let may_make = job.create_folder
            && job.direction.writes(Side::Local)
            && may_be_made_anew
            && !job.dry_run;
        if may_make && !self.local.exists() {
            LocalReplica::create(&self.local, Links::Skip)?;
        }
        Ok(())
    }

    /// Keeps other runs on this machine out of the local root; none when there is no root.
    fn lock_root(
        &self,
        job: &Job,
        report: &mut ProcessReport,
    ) -> Result<(Option<RootLock>, Option<RootIdentity>)> {
        match LocalReplica::open(&self.local, job.policy.links) {
            Ok(root) => {
                let lock = root.lock()?;
                if !lock.is_held() {
                    report.show(&Event::Notice(
                        "the file system of the local directory has no locks",
                    ));
                }
                Ok((Some(lock), Some(root.root_identity()?)))
            }
            Err(error) if error.is_not_found() => Ok((None, None)),
            Err(error) => Err(error),
        }
    }

    /// The journal, and what a run that was cut off left in it; a dry run only reads it.
    fn journal(&self, job: &Job) -> Result<(Option<Journal>, Leftover)> {
        let home = self.state.as_deref().unwrap_or(&self.local);
        let peer = PeerKey::of(&job.remote);
        let path = home.join(std::ffi::OsStr::from_bytes(&Journal::name(&peer)));
        let (journal, leftover) = Journal::open(&path, &peer, &BootId::current())?;
        Ok(((!job.dry_run).then_some(journal), leftover))
    }

    /// What this run calls itself in the remote lock: the same for every run of this root on this machine, of which
    /// there is only one at a time.
    fn holder(&self) -> String {
        let host = nix::unistd::gethostname().unwrap_or_else(|_| "unknown host".into());
        format!(
            "coracle on {}:{}",
            host.to_string_lossy(),
            self.local.display()
        )
    }
}

/// Opens the job's targets.
struct Targets<'a> {
    job: &'a Job,
    state: Option<PathBuf>,
    remote: Remote<'a>,
}

enum Remote<'a> {
    Path(&'a Path),
    Ftp(Box<FtpConnector>),
    #[cfg(feature = "sftp")]
    Sftp(Box<SftpConnector>),
}

impl Connect for Targets<'_> {
    fn connect(&self, side: Side) -> Result<Box<dyn Replica>> {
        let links = self.job.policy.links;
        Ok(match (side, &self.remote) {
            (Side::Local, _) => Box::new(LocalReplica::open_or_absent(&self.job.local, links)?),
            (Side::Remote, Remote::Path(path)) => {
                Box::new(LocalReplica::open_or_absent(path, links)?)
            }
            (Side::Remote, Remote::Ftp(ftp)) => Box::new(ftp.connect()?),
            #[cfg(feature = "sftp")]
            (Side::Remote, Remote::Sftp(sftp)) => Box::new(sftp.connect()?),
        })
    }

    fn connect_state(&self) -> Result<Option<Box<dyn Replica>>> {
        let Some(dir) = &self.state else {
            return Ok(None);
        };
        Ok(Some(Box::new(LocalReplica::open_or_absent(
            dir,
            Links::Skip,
        )?)))
    }
}

/// Whether the local root is on another file system than last time: both of its numbers are others.
fn is_elsewhere(known: Remembered, found: RootIdentity) -> bool {
    known.device != found.device && known.fsid != found.fsid
}

/// After the run: forget the journal if nothing needs it, and remember what the next run's guards want to know.
fn settle(
    place: &Place,
    journal: Option<Journal>,
    identity: Option<RootIdentity>,
    summary: &Summary,
) {
    if let Some(journal) = journal
        && summary.is_settled
        && let Err(error) = journal.finish()
    {
        log::warn!("{error}");
    }
    if let Some(identity) = identity {
        let remembered = Remembered {
            device: identity.device,
            fsid: identity.fsid,
            had_files: summary.holds_files.local,
            remote_had_files: summary.holds_files.remote,
        };
        if let Err(error) = place.register.remember(&place.id, &remembered) {
            log::debug!("{error}");
        }
    }
}
