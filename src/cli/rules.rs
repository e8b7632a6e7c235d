//! Which options go together, and which need a certain kind of server: tables, so that a task file is read by the same rules.

use super::url::Scheme;
use super::usage;
use crate::error::Result;

/// Options of which only one can be meant.
const EXCLUSIVE: &[&[&str]] = &[
    &["--here", "--root"],
    &["--execute", "--dry-run"],
    &["--no-dry-run", "--dry-run"],
    &["--chmod", "--perms"],
    // Both delete what is not ours, too.
    &["--delete-ours", "--delete"],
    &["--delete-ours", "--delete-unmatched"],
    &["--no-remote-scan", "--quick-scan"],
    &["--passive", "--ftp-active"],
    &["--ca-file", "--pin", "--insecure"],
    &["--accept-new-host-key", "--no-verify-host-keys", "--pin"],
    &["--prompt", "--no-prompt"],
];

/// Options that may stand together on a command line, and speak of one matter: what is typed wins over what a file says.
const OF_ONE_MATTER: &[&[&str]] = &[
    &["--verbose", "--quiet"],
    &["--delete", "--delete-unmatched"],
    &["--password-file", "--password-command"],
];

/// Options that mean nothing without another.
const NEEDS: &[(&str, &str)] = &[
    ("--trash-days", "--trash"),
    ("--client-cert", "--client-key"),
    ("--client-key", "--client-cert"),
];

/// Options for certain servers. Who gives one believes in it, so it is never passed over.
///
/// `--no-verify-host-keys` is not among them: pyftpsync takes it for every target.
const FOR_SCHEMES: &[(&[Scheme], &[&str])] = &[
    (
        &[Scheme::Ftps],
        &[
            "--tls",
            "--ca-file",
            "--insecure",
            "--tls-unclean-ends",
            "--client-cert",
            "--client-key",
        ],
    ),
    (&[Scheme::Ftps, Scheme::Sftp], &["--pin"]),
    (&[Scheme::Sftp], &["--ssh-command", "--accept-new-host-key"]),
    (
        &[Scheme::Ftp, Scheme::Ftps],
        &["--encoding", "--passive", "--inplace"],
    ),
];

/// Refuses options that contradict each other. `given` are the long names.
pub(super) fn check(given: &[&str]) -> Result<()> {
    for (at, one) in given.iter().enumerate() {
        if let Some(other) = given[at + 1..]
            .iter()
            .find(|other| meet(EXCLUSIVE, one, other))
        {
            return Err(usage(format!("{one} and {other} exclude each other")));
        }
    }
    Ok(())
}

/// Refuses options that mean nothing for such a remote side, or without one that is not given; none stands for a directory of this machine.
pub(super) fn fit(given: &[&str], remote: Option<Scheme>) -> Result<()> {
    for (schemes, options) in FOR_SCHEMES {
        if remote.is_some_and(|scheme| schemes.contains(&scheme)) {
            continue;
        }
        if let Some(option) = options.iter().find(|option| given.contains(option)) {
            let servers: Vec<&str> = schemes.iter().map(|scheme| scheme.prefix()).collect();
            let servers = servers.join(" or ");
            return Err(usage(format!("{option} needs a REMOTE with {servers}")));
        }
    }
    let lacking = NEEDS
        .iter()
        .find(|(option, needed)| given.contains(option) && !given.contains(needed));
    match lacking {
        Some((option, needed)) => Err(usage(format!("{option} needs {needed}"))),
        None => Ok(()),
    }
}

/// Whether an option that is typed takes the word from another of a task file.
pub fn outrules(typed: &str, of_file: &str) -> bool {
    typed != of_file && (meet(EXCLUSIVE, typed, of_file) || meet(OF_ONE_MATTER, typed, of_file))
}

/// Whether one group holds both options, which are two.
fn meet(groups: &[&[&str]], one: &str, other: &str) -> bool {
    let both = |group: &[&str]| group.contains(&one) && group.contains(&other);
    one != other && groups.iter().any(|group| both(group))
}

#[cfg(test)]
mod tests {
    use argh::ArgsInfo;

    use super::super::options::Options;
    use super::*;

    #[test]
    fn every_name_is_that_of_an_option() {
        let groups = EXCLUSIVE.iter().chain(OF_ONE_MATTER);
        let of_schemes = FOR_SCHEMES.iter().map(|(_, options)| options);
        let pairs = NEEDS.iter().flat_map(|(one, other)| [one, other]);
        for name in groups
            .chain(of_schemes)
            .flat_map(|all| all.iter())
            .chain(pairs)
        {
            let known = Options::get_args_info().flags;
            assert!(known.iter().any(|option| option.long == *name), "{name}");
        }
    }

    #[test]
    fn what_is_typed_wins_over_what_speaks_against_it() {
        assert!(outrules("--quiet", "--verbose"));
        assert!(outrules("--delete", "--delete-ours"));
        assert!(outrules("--insecure", "--pin"));
        assert!(!outrules("--pin", "--pin"));
        assert!(!outrules("--pin", "--delete"));
    }
}
