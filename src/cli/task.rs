//! What is asked of a task file.

use std::ffi::{OsStr, OsString};

use super::command::OF_RUN;
use super::options::Options;
use super::usage;
use crate::error::Result;

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

pub(super) fn task_request(
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
        (true, _) => Some(Branch::Here),
        (false, true) => Some(Branch::Root),
        (false, false) => None,
    };
    let rest = given.iter().filter(|(name, _)| !OF_RUN.contains(name));
    Ok(TaskRequest {
        which,
        branch,
        execute: options.execute || options.no_dry_run,
        options: rest.cloned().collect(),
    })
}
