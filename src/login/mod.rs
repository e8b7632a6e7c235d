//! Who logs in with which password: URL, file, command, environment, `~/.netrc`, the user at the terminal, anonymous.
//!
//! No password is shown, and none is sent to an account that it was not given for.

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

/// Finds the account for a host, with what the process has around it.
pub fn resolve(
    host: &str,
    options: &CredentialOptions,
    warn: &mut dyn FnMut(&str),
) -> Result<Account> {
    let surroundings = Surroundings {
        environment: std::env::var_os("CORACLE_PASSWORD"),
        home: std::env::var_os("HOME").map(PathBuf::from),
        terminal: &mut || Terminal::open().map(|terminal| Box::new(terminal) as Box<dyn Keyboard>),
        warn,
    };
    resolve_within(host, options, surroundings)
}

/// Finds the account for a host.
///
/// Fails with `Usage` where an option cannot be followed, with `Login` where a user has no password.
pub fn resolve_within(
    host: &str,
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
        Some(home) if options.netrc => netrc_entry(
            &home.join(".netrc"),
            host,
            options.user.as_deref(),
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
fn known_password(user: &str, host: &str, options: &CredentialOptions) -> Result<Option<Secret>> {
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
        netrc_entry(
            &Path::new(&home).join(".netrc"),
            host,
            Some(user),
            &mut warn,
        )
    });
    Ok(entry.and_then(|entry| entry.password))
}

/// What anonymous users give as password: an address, of which servers check at most the '@'.
const ANONYMOUS_PASSWORD: &str = "anonymous@";

/// A password is a line; what is longer is another file.
const MAX_PASSWORD_BYTES: u64 = 4096;

/// A `.netrc` lists some hosts; what is larger is something else.
const MAX_NETRC_BYTES: u64 = 1024 * 1024;

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

/// The entry for a host in a `.netrc`; a file that cannot be used is none, with a warning.
fn netrc_entry(
    path: &Path,
    host: &str,
    user: Option<&str>,
    warn: &mut dyn FnMut(&str),
) -> Option<NetrcEntry> {
    let shown = Escaped(path.as_os_str().as_bytes()).to_string();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            warn(&format!("{shown} is not used: {error}"));
            return None;
        }
    };
    let mut content = String::new();
    let mode = file
        .metadata()
        .map(|metadata| metadata.permissions().mode());
    match mode.and_then(|mode| {
        file.take(MAX_NETRC_BYTES).read_to_string(&mut content)?;
        Ok(mode)
    }) {
        Ok(mode) if is_open_to_others(mode) => {
            warn(&format!(
                "{shown} is not used, because others can read it; chmod 600 helps"
            ));
            return None;
        }
        Ok(_) => {}
        Err(error) => {
            warn(&format!("{shown} is not used: {error}"));
            return None;
        }
    }
    match parse_netrc(&content) {
        Ok(entries) => find_entry(entries, host, user),
        Err(line) => {
            warn(&format!(
                "{shown} is not used: line {line} cannot be understood"
            ));
            None
        }
    }
}

/// One `machine` or `default` of a `.netrc`.
#[derive(Clone, PartialEq, Eq, Default)]
struct NetrcEntry {
    /// The host; none for `default`.
    machine: Option<String>,
    login: Option<String>,
    password: Option<Secret>,
}

/// The first entry that fits the host, and the user where one is given.
fn find_entry(entries: Vec<NetrcEntry>, host: &str, user: Option<&str>) -> Option<NetrcEntry> {
    entries.into_iter().find(|entry| {
        let fits_host = match &entry.machine {
            Some(machine) => machine.eq_ignore_ascii_case(host),
            None => true,
        };
        let fits_user = match (user, &entry.login) {
            (Some(user), Some(login)) => user == login,
            (_, None) | (None, Some(_)) => true,
        };
        fits_host && fits_user
    })
}

/// Reads a `.netrc`; fails with the number of the line that cannot be understood.
fn parse_netrc(text: &str) -> Result<Vec<NetrcEntry>, usize> {
    let mut words = NetrcWords {
        rest: text,
        line: 1,
    };
    let mut entries: Vec<NetrcEntry> = Vec::new();
    while let Some(keyword) = words.next_keyword()? {
        let line = words.line;
        let mut value = || words.next_word()?.ok_or(line);
        match keyword.as_str() {
            "machine" => entries.push(NetrcEntry {
                machine: Some(value()?),
                ..NetrcEntry::default()
            }),
            "default" => entries.push(NetrcEntry::default()),
            "login" | "user" => entries.last_mut().ok_or(line)?.login = Some(value()?),
            "password" => entries.last_mut().ok_or(line)?.password = Some(Secret::new(value()?)),
            "account" => drop(value()?),
            "macdef" => words.skip_macro(),
            _ => return Err(line),
        }
    }
    Ok(entries)
}

struct NetrcWords<'a> {
    rest: &'a str,
    line: usize,
}

impl NetrcWords<'_> {
    /// The next word that is no comment. A value may begin with `#`, so only keywords look for comments.
    fn next_keyword(&mut self) -> Result<Option<String>, usize> {
        loop {
            self.skip_blanks();
            if !self.rest.starts_with('#') {
                return self.next_word();
            }
            self.skip_to(self.rest.find('\n').unwrap_or(self.rest.len()));
        }
    }

    /// The next word; in double quotes it may hold blanks, and `\` keeps the next character as it is.
    fn next_word(&mut self) -> Result<Option<String>, usize> {
        self.skip_blanks();
        let quoted = self.rest.starts_with('"');
        let mut word = String::new();
        let mut chars = self.rest.char_indices().skip(usize::from(quoted));
        while let Some((at, c)) = chars.next() {
            match c {
                '"' if quoted => {
                    self.skip_to(at + 1);
                    return Ok(Some(word));
                }
                '\n' if quoted => return Err(self.line),
                '\\' if quoted => word.push(chars.next().ok_or(self.line)?.1),
                _ if !quoted && c.is_whitespace() => {
                    self.skip_to(at);
                    return Ok(Some(word));
                }
                _ => word.push(c),
            }
        }
        if quoted {
            return Err(self.line);
        }
        self.skip_to(self.rest.len());
        Ok(Some(word).filter(|word| !word.is_empty()))
    }

    /// A macro ends at an empty line.
    fn skip_macro(&mut self) {
        let end = self.rest.find("\n\n").unwrap_or(self.rest.len());
        self.skip_to(end);
    }

    fn skip_blanks(&mut self) {
        let blanks = self.rest.len() - self.rest.trim_start().len();
        self.skip_to(blanks);
    }

    fn skip_to(&mut self, end: usize) {
        self.line += self.rest[..end].matches('\n').count();
        self.rest = &self.rest[end..];
    }
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

    fn entries(text: &str) -> Vec<(Option<String>, Option<String>, Option<String>)> {
        let show = |entry: NetrcEntry| {
            let password = entry.password.map(|secret| secret.reveal().to_owned());
            (entry.machine, entry.login, password)
        };
        parse_netrc(text).unwrap().into_iter().map(show).collect()
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn netrc_words_may_stand_on_any_line() {
        assert_eq!(
            entries("machine a login b\n\tpassword c account d\nmachine\ne\ndefault login f"),
            [
                (some("a"), some("b"), some("c")),
                (some("e"), None, None),
                (None, some("f"), None)
            ]
        );
        assert_eq!(entries(""), []);
    }

    #[test]
    fn netrc_values_may_be_quoted_and_begin_with_a_hash() {
        assert_eq!(
            entries(
                r#"# mine
            machine a # the nas
            login "me \"too\"" password #1\2"#
            ),
            [(some("a"), some("me \"too\""), some(r"#1\2"))]
        );
        assert_eq!(
            entries(r#"machine a password """#),
            [(some("a"), None, some(""))]
        );
    }

    #[test]
    fn netrc_macros_are_skipped() {
        let text = "machine a\nmacdef init\ncd /x\nlogin y\n\nmachine b login c\nmacdef end\nquit";
        assert_eq!(
            entries(text),
            [(some("a"), None, None), (some("b"), some("c"), None)]
        );
    }

    #[test]
    fn netrc_that_makes_no_sense_is_told_by_line() {
        for (text, line) in [
            ("login me", 1),
            ("machine a\nbogus", 2),
            ("machine a\nlogin", 2),
            ("machine \"a", 1),
            ("\n\nmachine a password \"x\ny\"", 3),
        ] {
            assert_eq!(parse_netrc(text).map(|_| ()), Err(line), "{text}");
        }
    }

    #[test]
    fn netrc_entries_fit_host_and_user() {
        let text = "machine nas login a password 1\nmachine nas login b password 2\n\
                    machine other login c password 3\ndefault login d password 4";
        let login = |host, user| {
            find_entry(parse_netrc(text).unwrap(), host, user).and_then(|entry| entry.login)
        };
        assert_eq!(login("NAS", None), some("a"));
        assert_eq!(login("nas", Some("b")), some("b"));
        assert_eq!(login("nas", Some("c")), None);
        assert_eq!(login("elsewhere", None), some("d"));
        assert_eq!(login("nas", Some("d")), some("d"));
    }

    #[test]
    fn netrc_survives_being_cut_anywhere() {
        let text = "machine a login \"b\\\"\" password c # d\nmacdef x\ny\n\ndefault account z";
        for end in 0..=text.len() {
            let _ = parse_netrc(&text[..end]);
        }
    }
}
