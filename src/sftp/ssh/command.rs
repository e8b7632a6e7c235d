//! What the SSH program is called, and what it is told. Pure, but for asking the program what it is.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::job::{HostKeys, SftpLocation};
use crate::path::Escaped;
use crate::process;

/// A program that is asked for its version and says nothing for so long is not what it should be.
const VERSION_WAIT: Duration = Duration::from_secs(10);

/// How much dropbear may receive before it has to be told that there is room, in bytes: its own 24 KiB allow 1.1 MB a
/// second at 20 ms.
const DROPBEAR_WINDOW: &str = "1048576";

/// An SSH program on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    words: Vec<OsString>,
    dialect: Dialect,
}

/// Whose options a program takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    OpenSsh,
    Dropbear,
}

/// Whom to reach, as whom, and how far to trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The host as the user wrote it.
    pub host: String,
    /// The port, where the URL names one.
    pub port: Option<u16>,
    /// The user, where the URL names one.
    pub user: Option<String>,
    /// Which host keys are the right ones.
    pub host_keys: HostKeys,
    /// How long the line may be silent.
    pub timeout: Duration,
}

impl Terms {
    /// The terms of a location. A host or user that the program could take for something else is refused here, before
    /// anything is started: dropbear runs the command in a host named `-Jcommand`.
    pub fn of(location: &SftpLocation, timeout: Duration) -> Result<Self> {
        let refuse =
            |what: &str| Err(ErrorKind::Usage(format!("{what}; nothing was started")).into());
        let (host, user) = (&location.host, location.user.as_deref());
        if host.is_empty() || host.starts_with('-') {
            return refuse("the host in the URL is empty or begins with '-'");
        }
        let is_odd = |c: char| c.is_whitespace() || c.is_control() || "/,@".contains(c);
        if host.contains(is_odd) {
            return refuse(
                "the host in the URL holds a blank, '/', ',' or '@', which the SSH program would misread",
            );
        }
        if user.is_some_and(|user| user.is_empty() || user.starts_with('-')) {
            return refuse("the user in the URL is empty or begins with '-'");
        }
        if user.is_some_and(|user| user.contains(char::is_control)) {
            return refuse("the user in the URL holds a control character");
        }
        Ok(Self {
            host: host.clone(),
            port: location.port,
            user: location.user.clone(),
            host_keys: location.host_keys.clone(),
            timeout,
        })
    }
}

impl Client {
    /// Finds the program: the given one, else `ssh`, else `dbclient`.
    pub fn find(given: Option<&str>) -> Result<Self> {
        if let Some(given) = given {
            let words: Vec<OsString> = given.split_whitespace().map(OsString::from).collect();
            let Some(program) = words.first() else {
                return Err(ErrorKind::Usage("--ssh-command is empty".to_owned()).into());
            };
            let said = version(&words).map_err(|error| {
                let shown = Escaped(program.as_encoded_bytes());
                usage(format!(
                    "--ssh-command: {shown} cannot be started: {}",
                    plain(&error)
                ))
            })?;
            let dialect = dialect_of(&said).unwrap_or(Dialect::OpenSsh);
            return Ok(Self { words, dialect });
        }
        for name in ["ssh", "dbclient"] {
            let words = vec![OsString::from(name)];
            if let Ok(said) = version(&words)
                && let Some(dialect) = dialect_of(&said)
            {
                return Ok(Self { words, dialect });
            }
        }
        Err(usage(
            "sftp:// needs an SSH program, and there is none; install OpenSSH's ssh or dropbear's dbclient, or name one by \
             --ssh-command"
                .to_owned(),
        ))
    }

    pub(super) const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The program's name, for messages.
    pub(super) fn name(&self) -> String {
        let first = self.words.first().map(|word| word.as_encoded_bytes());
        Escaped(first.unwrap_or_default()).to_string()
    }

    /// The command that reaches the host's SFTP.
    pub(super) fn command(&self, terms: &Terms) -> Command {
        let mut words = self.words.iter();
        let mut command = Command::new(words.next().cloned().unwrap_or_default());
        command.args(words);
        match self.dialect {
            Dialect::OpenSsh => command.args(openssh_arguments(terms)),
            Dialect::Dropbear => command.args(dropbear_arguments(terms, default_key())),
        };
        // It is not to ask in a window, and what is secret is handed on to nobody.
        for name in [
            "SSH_ASKPASS_REQUIRE",
            "CORACLE_PASSWORD",
            "DROPBEAR_PASSWORD",
        ] {
            command.env_remove(name);
        }
        if self.dialect == Dialect::Dropbear && matches!(terms.host_keys, HostKeys::Pins(_)) {
            // Without a list of known hosts it asks about each key, and notes none.
            command.env("HOME", "/dev/null");
        }
        command
    }
}

/// dropbear's own key, which it does not find without a home.
fn default_key() -> Option<PathBuf> {
    let home = std::env::var_os("HOME")?;
    let key = PathBuf::from(home).join(".ssh/id_dropbear");
    key.exists().then_some(key)
}

fn openssh_arguments(terms: &Terms) -> Vec<OsString> {
    let secs = terms.timeout.as_secs().max(1);
    // Whatever the user's settings say about background, commands, forwards and sharing: this is a session of its own. The
    // first option comes first, since an older ssh does not know the two newest.
    let mut options = vec![
        "IgnoreUnknown=ForkAfterAuthentication,StdinNull".to_owned(),
        "ForkAfterAuthentication=no".to_owned(),
        "StdinNull=no".to_owned(),
        "RemoteCommand=none".to_owned(),
        "ClearAllForwardings=yes".to_owned(),
        "PermitLocalCommand=no".to_owned(),
        "ControlMaster=no".to_owned(),
        "Compression=no".to_owned(),
        format!("ConnectTimeout={secs}"),
        format!("ServerAliveInterval={}", (secs / 3).max(1)),
        "ServerAliveCountMax=2".to_owned(),
        "NumberOfPasswordPrompts=1".to_owned(),
        "LogLevel=ERROR".to_owned(),
    ];
    let (strict, own_lists) = match &terms.host_keys {
        // An unknown key is asked about, so that its fingerprint can be told; a changed one is refused without.
        HostKeys::Known => ("ask", true),
        HostKeys::AcceptNew => ("accept-new", true),
        HostKeys::Pins(_) => ("ask", false),
        // With the real lists a changed key would disable passwords.
        HostKeys::Anyone => ("no", false),
    };
    options.push(format!("StrictHostKeyChecking={strict}"));
    if !own_lists {
        options.push("UserKnownHostsFile=/dev/null".to_owned());
        options.push("GlobalKnownHostsFile=/dev/null".to_owned());
    }
    let mut arguments: Vec<OsString> = ["-T", "-x", "-a"].map(OsString::from).to_vec();
    for option in options {
        arguments.extend(["-o".into(), option.into()]);
    }
    push_port_and_user(&mut arguments, terms);
    arguments.extend(["-s", "--", &terms.host, "sftp"].map(OsString::from));
    arguments
}

fn dropbear_arguments(terms: &Terms, key: Option<PathBuf>) -> Vec<OsString> {
    let keep_alive = (terms.timeout.as_secs() / 3).max(1).to_string();
    let mut arguments: Vec<OsString> = ["-T", "-q", "-K", &keep_alive, "-W", DROPBEAR_WINDOW]
        .map(OsString::from)
        .to_vec();
    match &terms.host_keys {
        HostKeys::Known | HostKeys::AcceptNew => {}
        HostKeys::Anyone => arguments.extend(["-y".into(), "-y".into()]),
        HostKeys::Pins(_) => {
            if let Some(key) = key {
                arguments.extend(["-i".into(), key.into_os_string()]);
            }
        }
    }
    push_port_and_user(&mut arguments, terms);
    arguments.extend(["-s", &terms.host, "sftp"].map(OsString::from));
    arguments
}

/// Only what the URL says: the rest is the program's settings to say.
fn push_port_and_user(arguments: &mut Vec<OsString>, terms: &Terms) {
    if let Some(port) = terms.port {
        arguments.extend(["-p".into(), port.to_string().into()]);
    }
    if let Some(user) = &terms.user {
        arguments.extend(["-l".into(), user.into()]);
    }
}

/// What a program says when it is asked for its version.
fn version(words: &[OsString]) -> io::Result<Vec<u8>> {
    let Some((program, rest)) = words.split_first() else {
        return Err(io::ErrorKind::NotFound.into());
    };
    let mut command = Command::new(program);
    Ok(process::ask(command.args(rest).arg("-V"), b"", VERSION_WAIT)?.complaints)
}

/// Whose options a program takes that says this of its version.
fn dialect_of(said: &[u8]) -> Option<Dialect> {
    let has = |word: &[u8]| said.windows(word.len()).any(|part| part == word);
    if has(b"OpenSSH") {
        Some(Dialect::OpenSsh)
    } else if has(b"Dropbear") {
        Some(Dialect::Dropbear)
    } else {
        None
    }
}

fn usage(text: String) -> Error {
    ErrorKind::Usage(text).into()
}

/// The error in the words that all errors have here.
pub(super) fn plain(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => Error::new(ErrorKind::Disk(io::Error::from_raw_os_error(code))).to_string(),
        None => error.kind().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Pin, ServerPath};
    use crate::path::RelPath;

    fn location(host: &str, user: Option<&str>) -> SftpLocation {
        SftpLocation {
            host: host.to_owned(),
            port: None,
            user: user.map(str::to_owned),
            password: None,
            path: ServerPath::Absolute(RelPath::root()),
            host_keys: HostKeys::Known,
            ssh_command: None,
        }
    }

    fn terms(host_keys: HostKeys) -> Terms {
        let timeout = Duration::from_secs(30);
        let mut terms = Terms::of(&location("nas", Some("me")), timeout).unwrap();
        terms.host_keys = host_keys;
        terms
    }

    fn text(arguments: Vec<OsString>) -> String {
        let words: Vec<_> = arguments
            .iter()
            .map(|word| word.to_string_lossy())
            .collect();
        words.join(" ")
    }

    #[test]
    fn odd_hosts_and_users_start_nothing() {
        let timeout = Duration::from_secs(1);
        for (host, user) in [
            ("-Jtouch", None),
            ("", None),
            ("a/22", None),
            ("a,b", None),
            ("a b", None),
            ("a@b", None),
            ("nas", Some("-oProxyCommand=x")),
            ("nas", Some("")),
            ("nas", Some("a\x1bb")),
        ] {
            let error = Terms::of(&location(host, user), timeout).unwrap_err();
            assert!(
                matches!(error.kind(), ErrorKind::Usage(_)),
                "{host} {user:?}"
            );
        }
        assert!(Terms::of(&location("::1", Some("me")), timeout).is_ok());
    }

    #[test]
    fn openssh_is_told_what_the_users_settings_may_not_say() {
        let told = text(openssh_arguments(&terms(HostKeys::Known)));
        assert!(told.starts_with("-T -x -a -o IgnoreUnknown="), "{told}");
        assert!(
            told.ends_with("-o StrictHostKeyChecking=ask -l me -s -- nas sftp"),
            "{told}"
        );
        assert!(
            told.contains("ConnectTimeout=30 -o ServerAliveInterval=10"),
            "{told}"
        );
        let pinned = text(openssh_arguments(&terms(HostKeys::Pins(vec![
            Pin([0; 32]),
        ]))));
        assert!(pinned.contains("UserKnownHostsFile=/dev/null"), "{pinned}");
        assert!(text(openssh_arguments(&terms(HostKeys::AcceptNew))).contains("=accept-new -l"));
    }

    #[test]
    fn dropbear_is_told_in_its_own_words() {
        let mut with_port = terms(HostKeys::Known);
        with_port.port = Some(2222);
        assert_eq!(
            text(dropbear_arguments(&with_port, None)),
            "-T -q -K 10 -W 1048576 -p 2222 -l me -s nas sftp"
        );
        let anyone = text(dropbear_arguments(&terms(HostKeys::Anyone), None));
        assert!(anyone.contains("-y -y"), "{anyone}");
        let key = Some(PathBuf::from("/home/me/.ssh/id_dropbear"));
        let pinned = text(dropbear_arguments(&terms(HostKeys::Pins(Vec::new())), key));
        assert!(pinned.contains("-i /home/me/.ssh/id_dropbear"), "{pinned}");
    }

    #[test]
    fn a_program_is_known_by_what_it_says() {
        assert_eq!(dialect_of(b"OpenSSH_9.2p1 Debian"), Some(Dialect::OpenSsh));
        assert_eq!(dialect_of(b"Dropbear v2022.83\n"), Some(Dialect::Dropbear));
        assert_eq!(dialect_of(b""), None);
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = Client::find(Some("/no/such/ssh -4")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "--ssh-command: /no/such/ssh cannot be started: no such file or directory"
        );
        assert!(Client::find(Some(" ")).is_err());
    }
}
