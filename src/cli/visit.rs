//! A request about one target, of what the options say. No I/O.

use std::ffi::OsStr;
use std::path::PathBuf;

use super::invocation::{color, credentials, limits, progress, selection, verbosity};
use super::options::Options;
use super::url::Address;
use super::{location, rules, usage};
use crate::error::Result;
use crate::job::{Location, Purpose, Scan, StateDir, Tree, Visit};
use crate::login::CredentialOptions;
use crate::screen::{Color, ShowProgress, Verbosity};

/// A request about one target, and how to go about it.
#[derive(Debug, Clone)]
pub struct Visiting {
    /// The request. Where the target is a server, its account is only what the URL says, and `credentials` finds the rest; its
    /// selection lacks what is in the files of `exclude_from`.
    pub visit: Visit,
    /// Where user and password come from.
    pub credentials: CredentialOptions,
    /// Files with more patterns to exclude.
    pub exclude_from: Vec<PathBuf>,
    /// How much is said.
    pub verbosity: Verbosity,
    /// Whether lines are colored.
    pub color: Color,
    /// When progress is shown.
    pub progress: ShowProgress,
}

/// What a command asks of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asks {
    /// What is in it, as a tree.
    Tree,
    /// What runs have left there, too.
    Scan,
    /// What its server can do.
    Probe,
}

/// What one command line says. `given` are the long names of its options.
pub(super) fn visiting(
    asks: Asks,
    options: Options,
    given: &[&str],
    target: &OsStr,
) -> Result<Visiting> {
    let (mut user, mut password) = (None, None);
    let target = match Address::parse(target)? {
        Address::Path(path) => {
            rules::fit(given, None)?;
            Location::Path(path)
        }
        Address::Server(url) => {
            rules::fit(given, Some(url.scheme))?;
            (user, password) = (url.user.clone(), url.password.clone());
            location::server(url, &options)?
        }
    };
    if asks == Asks::Probe && matches!(target, Location::Path(_)) {
        return Err(usage(
            "probe is about a server: write ftp://, ftps:// or sftp://",
        ));
    }
    let visit = Visit {
        target,
        purpose: match asks {
            Asks::Tree => Purpose::Tree(Tree {
                files: options.files,
                sort: options.sort,
            }),
            Asks::Probe => Purpose::Probe,
            Asks::Scan => Purpose::Scan(Scan {
                list: options.list,
                recursive: options.recursive,
                remove_meta: options.remove_meta,
                remove_locks: options.remove_locks,
                repair: options.repair,
            }),
        },
        selection: selection(&options)?,
        links: options.links,
        limits: limits(&options),
        state: options
            .state_dir
            .clone()
            .map_or(StateDir::InRoot, StateDir::Below),
        dry_run: options.dry_run,
    };
    Ok(Visiting {
        visit,
        credentials: credentials(&options, user, password)?,
        verbosity: verbosity(&options),
        color: color(&options),
        progress: progress(&options),
        exclude_from: options.exclude_from,
    })
}
