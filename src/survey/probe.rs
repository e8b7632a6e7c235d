//! What a server is and can do, what was learnt of it, and the command line that suits it.
//!
//! It is asked for its root, for a file in it and for a name that is not there: what a run asks first, so that what is learnt by
//! it is kept for the next run. Nothing is written on it.

use std::time::Instant;

use super::Visitor;
use crate::error::{Result, Scope};
use crate::job::{HostKeys, Location, Passive, Protection, Trust};
use crate::path::{Name, RelPath};
use crate::replica::{Kind, Listing, Replica};
use crate::sync::event::Event;
use crate::words::{count, grouped, wrapped};

/// No server has it: whoever denies it denies what is not there.
const ABSENT: &[u8] = b".coracle-absent";

/// Where a topic's text begins, and where it is wrapped.
const INDENT: usize = 18;
const MAX_COLUMNS: usize = 100;

/// Probes the server.
pub fn probe(visitor: &mut Visitor<'_>, tell: &mut dyn FnMut(Event<'_>)) -> Result<()> {
    let target = visitor.visit.target.clone();
    let mut say = |topic: &str, text: &str| {
        let topic = format!("{topic:<INDENT$}");
        tell(Event::Line(&wrapped(&topic, INDENT, text, MAX_COLUMNS)));
    };
    say("target", &target.to_string());
    let began = Instant::now();
    let root = look_at_root(visitor)?;
    let free = visitor.ask(|replica| Ok(replica.free_space()));
    let took = began.elapsed();
    let described = visitor.ask(|replica| Ok(replica.describe()))?;
    for (topic, text) in &described.lines {
        say(topic.0, text);
    }
    say("root", &root);
    // Where it cannot be told, nothing is said.
    if let Ok(Ok(Some(bytes))) = free {
        say("free", &format!("{} bytes", grouped(bytes)));
    }
    let most = visitor.visit.limits.connections.most(&target);
    let let_in = count_sessions(visitor, most);
    let enough = if let_in < most {
        ", and no more"
    } else {
        " were let in; more were not tried (--connections N tries so many)"
    };
    say("connections", &format!("{let_in} at a time{enough}"));
    say("took", &format!("{} ms", took.as_millis()));
    if let Some(pin) = &described.pin {
        say("key", &format!("--pin {pin} accepts exactly this server"));
    }
    let mut options = options_for(&target);
    if let Some(pin) = described.pin.filter(|_| is_unchecked(&target)) {
        options.retain(|option| option != "--insecure");
        options.push(format!("--pin {pin}"));
    }
    if let_in < most {
        options.push(format!("--connections {let_in}"));
    }
    let url = target.to_string().replace('%', "%25");
    let words: String = options.iter().map(|option| format!("{option} ")).collect();
    tell(Event::Line(&format!(
        "\ncoracle sync --dry-run {words}DIRECTORY {}",
        quoted(&url)
    )));
    tell(Event::Line(&task(&url, &options)));
    Ok(())
}

/// Lists the root, and asks for a file and for what is not there, as the first run does.
fn look_at_root(visitor: &mut Visitor<'_>) -> Result<String> {
    let listing = match visitor.list(&RelPath::root()) {
        Ok(listing) => listing,
        Err(error) if error.is_not_found() => {
            return Ok("not there (upload --create-folder makes it)".to_owned());
        }
        Err(error) if error.scope() == Scope::Entry => return Ok(format!("{error}")),
        Err(error) => return Err(error),
    };
    let mut paths = vec![RelPath::root().join(Name::accepted(ABSENT))];
    let mut files = listing.iter().filter(|entry| entry.stat.kind == Kind::File);
    paths.extend(files.next().map(|entry| RelPath::root().join(entry.name)));
    let answers = visitor.ask(|replica| Ok(replica.look_up(&paths)))?;
    let told = match answers.iter().find_map(|answer| answer.as_ref().err()) {
        Some(error) => format!("; asking for single names: {error}"),
        None => String::new(),
    };
    // The way that works is known only once more than one directory was listed.
    let mut second = Listing::new();
    let dir = listing.iter().find(|entry| entry.stat.kind == Kind::Dir);
    if let Some(dir) = dir.map(|entry| RelPath::root().join(entry.name)) {
        // Whether it may be listed is no matter here.
        let _ = visitor.ask(|replica| Ok(replica.list(&dir, &mut second)))?;
    }
    let gap = listing
        .gap()
        .map_or(String::new(), |gap| format!("; {gap}"));
    let entries = count(listing.len() as u64, "entry");
    Ok(format!("{entries}{gap}{told}"))
}

/// How many sessions are let in at a time, up to so many; one is open already.
fn count_sessions(visitor: &Visitor<'_>, most: usize) -> usize {
    let mut sessions: Vec<Box<dyn Replica>> = Vec::new();
    while sessions.len() + 1 < most {
        match visitor.connect.connect() {
            Ok(session) => sessions.push(session),
            Err(error) => {
                log::info!("{error}");
                break;
            }
        }
    }
    sessions.len() + 1
}

/// What of the options has to be said again in every run.
fn options_for(target: &Location) -> Vec<String> {
    let mut options = Vec::new();
    match target {
        Location::Path(_) => {}
        Location::Ftp(ftp) => {
            if let Some(tls) = ftp.protection.settings() {
                match &tls.trust {
                    Trust::System => {}
                    Trust::CaFile(file) => {
                        let file = file.display().to_string();
                        options.push(format!("--ca-file {}", quoted(&file)));
                    }
                    Trust::Pins(pins) => {
                        options.extend(pins.iter().map(|pin| format!("--pin {pin}")));
                    }
                    Trust::Anyone => options.push("--insecure".to_owned()),
                }
            }
            if matches!(ftp.protection, Protection::Implicit(_)) {
                options.push("--tls implicit".to_owned());
            }
            if ftp.habits.unclean_ends {
                options.push("--tls-unclean-ends".to_owned());
            }
            let ways: Vec<&str> = ftp
                .habits
                .passive
                .iter()
                .map(|way| match way {
                    Passive::Epsv => "epsv",
                    Passive::Pasv => "pasv",
                })
                .collect();
            if !ways.is_empty() {
                options.push(format!("--passive {}", ways.join(",")));
            }
        }
        Location::Sftp(sftp) => {
            match &sftp.host_keys {
                HostKeys::Known | HostKeys::AcceptNew => {}
                HostKeys::Pins(pins) => {
                    options.extend(pins.iter().map(|pin| format!("--pin {pin}")));
                }
                HostKeys::Anyone => options.push("--no-verify-host-keys".to_owned()),
            }
            let command = sftp.ssh_command.iter();
            options.extend(command.map(|command| format!("--ssh-command {}", quoted(command))));
        }
    }
    options
}

/// As a shell takes it for one word.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', SHELL_QUOTE))
}

/// A quote between quotes, for a shell and in YAML.
const SHELL_QUOTE: &str = "'\\''";
const YAML_QUOTE: &str = "''";

fn is_unchecked(target: &Location) -> bool {
    match target {
        Location::Ftp(ftp) => {
            let tls = ftp.protection.settings();
            tls.is_some_and(|tls| tls.trust == Trust::Anyone)
        }
        Location::Path(_) | Location::Sftp(_) => false,
    }
}

/// The same as a task of a task file.
fn task(url: &str, options: &[String]) -> String {
    let remote = quoted(url).replace(SHELL_QUOTE, YAML_QUOTE);
    let mut task =
        format!("\ntasks:\n  NAME:\n    command: sync\n    local: DIRECTORY\n    remote: {remote}");
    for option in options {
        let (name, value) = option.split_once(' ').unwrap_or((option, "true"));
        let key = name.trim_start_matches('-').replace('-', "_");
        let value = value.replace(SHELL_QUOTE, YAML_QUOTE);
        task.push_str(&format!("\n    {key}: {value}"));
    }
    task
}
