//! Who logs in with which password: URL, file, command, environment, `~/.netrc`, the user at the terminal, anonymous.
//!
//! No password is shown, and none is sent to an account that it was not given for.

mod netrc;
#[cfg(feature = "sftp")]
mod ssh;

#[cfg(feature = "sftp")]
pub use ssh::SshAnswers;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Doing, Error, ErrorKind, Result};
use crate::job::{ANONYMOUS, Secret};
use crate::path::Escaped;
use crate::screen::terminal::{Keyboard, Terminal};

/// Where user and password come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialOptions {
    /// The user in the URL.
    pub user: Option<String>,
    /// The password in the URL.
    pub password: Option<Secret>,
    /// A file whose first line is the password.
    pub password_file: Option<PathBuf>,
    /// A shell command that prints the password.
    pub password_command: Option<String>,
    /// Whether `~/.netrc` is looked into.
    pub netrc: bool,
    /// When the user is asked.
    pub prompt: Prompt,
}

/// When the user is asked for a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prompt {
    /// When nothing else has one, and there is a terminal.
    IfNeeded,
    /// In any case.
    Always,
    /// Never.
    Never,
}

/// Who logs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// User name.
    pub user: String,
    /// Password.
    pub password: Secret,
}

/// What lies around the process that may know a password.
pub struct Surroundings<'a> {
    /// The value of `CORACLE_PASSWORD`.
    pub environment: Option<OsString>,
    /// The home directory, where `.netrc` lies.
    pub home: Option<PathBuf>,
    /// Finds the user's terminal, if there is one.
    pub terminal: &'a mut dyn FnMut() -> Option<Box<dyn Keyboard>>,
    /// Takes what the user should know.
    pub warn: &'a mut dyn FnMut(&str),
}

/// Finds the account for a host and port, with what the process has around it.
pub fn resolve(
    host: &str,
    port: u16,
    options: &CredentialOptions,
    warn: &mut dyn FnMut(&str),
) -> Result<Account> {
    let surroundings = Surroundings {
        environment: std::env::var_os("CORACLE_PASSWORD"),
        home: std::env::var_os("HOME").map(PathBuf::from),
        terminal: &mut || Terminal::open().map(|terminal| Box::new(terminal) as Box<dyn Keyboard>),
        warn,
    };
    resolve_within(host, port, options, surroundings)
}

/// Finds the account for a host and port.
///
/// Fails with `Usage` where an option cannot be followed, with `Login` where a user has no password.
pub fn resolve_within(
    host: &str,
    port: u16,
    options: &CredentialOptions,
    around: Surroundings<'_>,
) -> Result<Account> {
    if options.prompt == Prompt::Always {
        let mut keyboard = (around.terminal)().ok_or_else(|| {
            ErrorKind::Usage("--prompt needs a terminal to ask on, and there is none".to_owned())
        })?;
        return ask(host, options.user.clone(), keyboard.as_mut());
    }
    if let (Some(user), Some(password)) = (&options.user, &options.password) {
        return Ok(Account {
            user: user.clone(),
            password: password.clone(),
        });
    }
    let ordered = password_from_option(options, around.warn)?;
    let offered = match around.environment {
        Some(password) => {
            Some(first_line(password.as_bytes()).doing(|| "reading CORACLE_PASSWORD")?)
        }
        None => None,
    };
    let entry = match &around.home {
        Some(home) if options.netrc => netrc::entry(
            &home.join(".netrc"),
            &netrc::Asked {
                host,
                port,
                user: options.user.as_deref(),
            },
            around.warn,
        ),
        _ => None,
    };
    let (login, remembered) = entry.map_or((None, None), |entry| (entry.login, entry.password));
    let Some(user) = options.user.clone().or(login) else {
        if ordered.is_some() {
            return Err(Error::new(ErrorKind::Usage(format!(
                "a password is given but no user; write ftp://USER@{host}/…"
            ))));
        }
        return match keyboard(options, around.terminal) {
            Some(mut keyboard) => ask(host, None, keyboard.as_mut()),
            None => Ok(anonymous()),
        };
    };
    if let Some(password) = ordered.or(offered).or(remembered) {
        return Ok(Account { user, password });
    }
    if user == ANONYMOUS {
        return Ok(anonymous());
    }
    match keyboard(options, around.terminal) {
        Some(mut keyboard) => ask(host, Some(user), keyboard.as_mut()),
        None => Err(Error::new(ErrorKind::Login(format!(
            "there is no password for {}@{host}; give it by --password-file, --password-command, \
             CORACLE_PASSWORD or ~/.netrc",
            Escaped(user.as_bytes())
        )))),
    }
}

/// The password of a user whose name is known, from wherever it lies; none where it would have to be asked for.
#[cfg(feature = "sftp")]
fn known_password(
    user: &str,
    host: &str,
    port: u16,
    options: &CredentialOptions,
) -> Result<Option<Secret>> {
    let mut warn = |text: &str| log::warn!("{text}");
    if let Some(password) = &options.password {
        return Ok(Some(password.clone()));
    }
    if let Some(password) = password_from_option(options, &mut warn)? {
        return Ok(Some(password));
    }
    if let Some(password) = std::env::var_os("CORACLE_PASSWORD") {
        return first_line(password.as_bytes())
            .map(Some)
            .doing(|| "reading CORACLE_PASSWORD");
    }
    let home = std::env::var_os("HOME").filter(|_| options.netrc);
    let entry = home.and_then(|home| {
        netrc::entry(
            &Path::new(&home).join(".netrc"),
            &netrc::Asked {
                host,
                port,
                user: Some(user),
            },
            &mut warn,
        )
    });
    Ok(entry.and_then(|entry| entry.password))
}

/// What anonymous users give as password: an address, of which servers check at most the '@'.
const ANONYMOUS_PASSWORD: &str = "anonymous@";

/// A password is a line; what is longer is another file.
const MAX_PASSWORD_BYTES: u64 = 4096;

/// What editors of Windows put before UTF-8 text; it belongs to no password.
const BYTE_ORDER_MARK: &str = "\u{feff}";

fn anonymous() -> Account {
    Account {
        user: ANONYMOUS.to_owned(),
        password: Secret::new(ANONYMOUS_PASSWORD.to_owned()),
    }
}

fn keyboard(
    options: &CredentialOptions,
    terminal: &mut dyn FnMut() -> Option<Box<dyn Keyboard>>,
) -> Option<Box<dyn Keyboard>> {
    match options.prompt {
        Prompt::Never => None,
        Prompt::IfNeeded | Prompt::Always => terminal(),
    }
}

fn ask(host: &str, user: Option<String>, keyboard: &mut dyn Keyboard) -> Result<Account> {
    let user = match user {
        Some(user) => user,
        None => {
            let typed = keyboard.read_line(&format!("User name for {host} [{ANONYMOUS}]: "))?;
            match typed.trim() {
                "" | ANONYMOUS => return Ok(anonymous()),
                user => user.to_owned(),
            }
        }
    };
    let prompt = format!("Password for {}@{host}: ", Escaped(user.as_bytes()));
    let password = Secret::new(keyboard.read_secret(&prompt)?);
    Ok(Account { user, password })
}

fn password_from_option(
    options: &CredentialOptions,
    warn: &mut dyn FnMut(&str),
) -> Result<Option<Secret>> {
    if let Some(path) = &options.password_file {
        return password_from_file(path, warn).map(Some);
    }
    match &options.password_command {
        Some(command) => password_from_command(command).map(Some),
        None => Ok(None),
    }
}

fn password_from_file(path: &Path, warn: &mut dyn FnMut(&str)) -> Result<Secret> {
    let shown = Escaped(path.as_os_str().as_bytes()).to_string();
    let doing = || format!("reading the password file {shown}");
    let file = File::open(path).map_err(unreadable).doing(doing)?;
    let metadata = file.metadata().map_err(unreadable).doing(doing)?;
    if metadata.is_file() && is_open_to_others(metadata.permissions().mode()) {
        warn(&format!(
            "others can read the password file {shown}; chmod 600 keeps it secret"
        ));
    }
    let mut content = Vec::new();
    file.take(MAX_PASSWORD_BYTES)
        .read_to_end(&mut content)
        .map_err(unreadable)
        .doing(doing)?;
    first_line(&content).doing(doing)
}

fn password_from_command(command: &str) -> Result<Secret> {
    let failed =
        |what: String| Error::new(ErrorKind::Login(what)).while_doing("running --password-command");
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(command)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed(format!("sh cannot be started: {error}")))?;
    let mut content = Vec::new();
    let read = match child.stdout.take() {
        Some(mut stdout) => stdout
            .by_ref()
            .take(MAX_PASSWORD_BYTES)
            .read_to_end(&mut content)
            // To its end, so that a talkative command does not die of a closed pipe.
            .and_then(|_| io::copy(&mut stdout, &mut io::sink())),
        None => Ok(0),
    };
    let status = child.wait().and_then(|status| read.map(|_| status));
    match status {
        Ok(status) if status.success() => {
            first_line(&content).doing(|| "running --password-command")
        }
        Ok(status) => Err(failed(format!("the command failed ({status})"))),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// The first line as a password. The messages do not tell what is in it.
fn first_line(content: &[u8]) -> Result<Secret> {
    let line = content
        .strip_prefix(BYTE_ORDER_MARK.as_bytes())
        .unwrap_or(content)
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let bad = |what: &str| Err(ErrorKind::Usage(what.to_owned()).into());
    if line.is_empty() {
        return bad("the first line is empty");
    }
    if line.iter().any(|byte| matches!(byte, b'\r' | 0)) {
        return bad("the first line holds a carriage return or a NUL byte");
    }
    match std::str::from_utf8(line) {
        Ok(text) => Ok(Secret::new(text.to_owned())),
        Err(_) => bad("the first line is not UTF-8"),
    }
}

fn unreadable(error: io::Error) -> Error {
    ErrorKind::Usage(Error::new(ErrorKind::Disk(error)).to_string()).into()
}

fn is_open_to_others(mode: u32) -> bool {
    mode & 0o044 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers in order; asked for more, it fails the test.
    struct Typed(Vec<&'static str>);

    impl Keyboard for Typed {
        fn read_line(&mut self, _prompt: &str) -> Result<String> {
            Ok(self.0.remove(0).to_owned())
        }

        fn read_secret(&mut self, prompt: &str) -> Result<String> {
            assert!(prompt.starts_with("Password for "), "{prompt}");
            Ok(self.0.remove(0).to_owned())
        }
    }

    struct Case {
        options: CredentialOptions,
        environment: Option<&'static str>,
        home: Option<PathBuf>,
        typed: Option<Vec<&'static str>>,
        warnings: Vec<String>,
    }

    impl Case {
        fn new(user: Option<&str>) -> Self {
            Self {
                options: CredentialOptions {
                    user: user.map(str::to_owned),
                    password: None,
                    password_file: None,
                    password_command: None,
                    netrc: true,
                    prompt: Prompt::IfNeeded,
                },
                environment: None,
                home: None,
                typed: None,
                warnings: Vec::new(),
            }
        }

        fn with_netrc(mut self, dir: &Scratch, text: &str, mode: u32) -> Self {
            dir.write(".netrc", text, mode);
            self.home = Some(dir.0.clone());
            self
        }

        fn resolve(&mut self) -> Result<(String, String)> {
            let mut typed = self.typed.clone();
            let account = resolve_within(
                "nas",
                21,
                &self.options,
                Surroundings {
                    environment: self.environment.map(OsString::from),
                    home: self.home.clone(),
                    terminal: &mut || {
                        typed
                            .take()
                            .map(|answers| Box::new(Typed(answers)) as Box<dyn Keyboard>)
                    },
                    warn: &mut |text| self.warnings.push(text.to_owned()),
                },
            )?;
            Ok((account.user, account.password.reveal().to_owned()))
        }

        fn account(&mut self) -> (String, String) {
            self.resolve().unwrap()
        }
    }

    /// A directory of one test.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(test: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("coracle-{test}-{}", std::process::id()));
            std::fs::create_dir_all(&dir).unwrap();
            Self(dir)
        }

        fn write(&self, name: &str, text: &str, mode: u32) -> PathBuf {
            let path = self.0.join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            path
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn pair(user: &str, password: &str) -> (String, String) {
        (user.to_owned(), password.to_owned())
    }

    #[test]
    fn url_comes_first() {
        let mut case = Case::new(Some("me"));
        case.options.password = Some(Secret::new("url".into()));
        case.environment = Some("env");
        assert_eq!(case.account(), pair("me", "url"));
    }

    #[test]
    fn file_comes_before_command_before_environment_before_netrc() {
        let dir = Scratch::new("chain");
        let mut case =
            Case::new(Some("me")).with_netrc(&dir, "machine nas login me password rc", 0o600);
        assert_eq!(case.account(), pair("me", "rc"));
        case.environment = Some("env");
        assert_eq!(case.account(), pair("me", "env"));
        case.options.password_command = Some("echo command; echo more".into());
        assert_eq!(case.account(), pair("me", "command"));
        case.options.password_file = Some(dir.write("pw", "file\r\nmore\n", 0o600));
        assert_eq!(case.account(), pair("me", "file"));
        assert_eq!(case.warnings, [] as [&str; 0]);
    }

    #[test]
    fn nobody_to_ask_means_anonymous_or_a_refusal() {
        assert_eq!(Case::new(None).account(), pair("anonymous", "anonymous@"));
        assert_eq!(
            Case::new(Some("anonymous")).account(),
            pair("anonymous", "anonymous@")
        );
        let error = Case::new(Some("me")).resolve().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Login(_)));
        assert!(
            error.to_string().contains("no password for me@nas"),
            "{error}"
        );
    }

    #[test]
    fn the_user_is_asked_for_what_is_missing() {
        let mut case = Case::new(Some("me"));
        case.typed = Some(vec!["typed"]);
        assert_eq!(case.account(), pair("me", "typed"));
        let mut case = Case::new(None);
        case.typed = Some(vec!["you", "typed"]);
        assert_eq!(case.account(), pair("you", "typed"));
        case.typed = Some(vec![""]);
        assert_eq!(case.account(), pair("anonymous", "anonymous@"));
    }

    #[test]
    fn no_prompt_never_asks() {
        let mut case = Case::new(Some("me"));
        case.typed = Some(vec!["typed"]);
        case.options.prompt = Prompt::Never;
        assert!(case.resolve().is_err());
    }

    #[test]
    fn prompt_asks_whatever_is_known() {
        let mut case = Case::new(Some("me"));
        case.environment = Some("env");
        case.options.password = Some(Secret::new("url".into()));
        case.options.prompt = Prompt::Always;
        case.typed = Some(vec!["typed"]);
        assert_eq!(case.account(), pair("me", "typed"));
        case.typed = None;
        assert!(matches!(
            case.resolve().unwrap_err().kind(),
            ErrorKind::Usage(_)
        ));
    }

    #[test]
    fn a_password_without_a_user_goes_to_nobody() {
        let mut case = Case::new(None);
        case.environment = Some("env");
        assert_eq!(case.account(), pair("anonymous", "anonymous@"));
        case.options.password_command = Some("echo secret".into());
        let error = case.resolve().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Usage(_)));
        assert!(!error.to_string().contains("secret"));
    }

    #[test]
    fn netrc_tells_the_user_for_a_password_from_elsewhere() {
        let dir = Scratch::new("login");
        let mut case = Case::new(None).with_netrc(&dir, "machine nas login me", 0o600);
        case.environment = Some("env");
        assert_eq!(case.account(), pair("me", "env"));
    }

    #[test]
    fn netrc_that_others_can_read_is_refused() {
        let dir = Scratch::new("open");
        for mode in [0o640, 0o604] {
            let mut case = Case::new(None).with_netrc(&dir, "default login me password rc", mode);
            assert_eq!(case.account(), pair("anonymous", "anonymous@"));
            assert!(
                case.warnings[0].contains("others can read it"),
                "{:?}",
                case.warnings
            );
        }
    }

    #[test]
    fn no_netrc_leaves_it_alone() {
        let dir = Scratch::new("nonetrc");
        let mut case = Case::new(None).with_netrc(&dir, "default login me password rc", 0o600);
        case.options.netrc = false;
        assert_eq!(case.account(), pair("anonymous", "anonymous@"));
    }

    #[test]
    fn a_password_is_a_line_of_any_system() {
        let dir = Scratch::new("line-ends");
        let mut case = Case::new(Some("me"));
        for text in ["pw", "pw\n", "pw\r\n", "\u{feff}pw\r\nmore\r\n"] {
            case.options.password_file = Some(dir.write("pw", text, 0o600));
            assert_eq!(case.account(), pair("me", "pw"), "{text:?}");
        }
        case.options.password_file = Some(dir.write("pw", "\u{feff}\r\n", 0o600));
        assert!(case.resolve().unwrap_err().to_string().contains("empty"));
    }

    #[test]
    fn what_netrc_says_unclearly_of_this_host_is_told_and_used_for_nobody() {
        let dir = Scratch::new("unclear");
        let text = "machine nas login me password two words\ndefault login d password other";
        let mut case = Case::new(Some("me")).with_netrc(&dir, text, 0o600);
        assert!(case.resolve().is_err());
        let warning = &case.warnings[0];
        assert!(
            warning.contains("line 1 ") && !warning.contains("words"),
            "{warning}"
        );
    }

    #[test]
    fn what_netrc_says_unclearly_of_other_hosts_is_not_told() {
        let dir = Scratch::new("other-unclear");
        let text = "machine other login me passwort x\nmachine nas login me password rc";
        let mut case = Case::new(None).with_netrc(&dir, text, 0o600);
        assert_eq!(case.account(), pair("me", "rc"));
        assert_eq!(case.warnings, [] as [&str; 0]);
    }

    #[test]
    fn a_password_file_that_others_can_read_is_used_with_a_warning() {
        let dir = Scratch::new("file");
        let mut case = Case::new(Some("me"));
        case.options.password_file = Some(dir.write("pw", "s3cret", 0o644));
        assert_eq!(case.account(), pair("me", "s3cret"));
        assert!(case.warnings[0].contains("chmod 600"));
    }

    #[test]
    fn bad_sources_are_named_and_end_the_run() {
        let dir = Scratch::new("bad");
        let mut case = Case::new(Some("me"));
        case.options.password_file = Some(dir.0.join("none"));
        let error = case.resolve().unwrap_err().to_string();
        assert!(error.contains("/none: no such file"), "{error}");
        case.options.password_file = Some(dir.write("pw", "\nx", 0o600));
        assert!(
            case.resolve()
                .unwrap_err()
                .to_string()
                .contains("first line is empty")
        );
        case.options.password_file = None;
        case.options.password_command = Some("echo secret; exit 3".into());
        let error = case.resolve().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Login(_)));
        assert!(error.to_string().contains("exit status: 3"), "{error}");
        assert!(!error.to_string().contains("secret"));
    }

    #[test]
    fn a_talkative_command_is_heard_out() {
        let mut case = Case::new(Some("me"));
        case.options.password_command = Some("echo pw; head -c 300000 /dev/zero".into());
        assert_eq!(case.account(), pair("me", "pw"));
    }
}
