//! Who logs in with which password: URL, file, command, environment, what is kept, `~/.netrc`, the user at the terminal, anonymous.
//!
//! No password is shown, and none is sent to an account that it was not given for.
//!
//! | file | what is in it |
//! |---|---|
//! | `given` | what the options and the environment say |
//! | `keyring`, `place` | what is kept from run to run: the keyring of the desktop, else a file |
//! | `netrc` | what `~/.netrc` says |
//! | `keeper` | what becomes of a password that a server took (`--store-password`) |
//! | `ssh` | answers for the SSH program |

mod given;
mod keeper;
#[cfg_attr(not(feature = "keyring"), path = "keyring/none.rs")]
mod keyring;
mod netrc;
mod place;
mod private;
#[cfg(feature = "sftp")]
mod ssh;

pub use keeper::{Keeper, Remark};
pub use place::Place;
#[cfg(feature = "sftp")]
pub use ssh::SshAnswers;

use std::ffi::OsString;
use std::path::PathBuf;

use self::place::Kept;
use crate::error::{Error, ErrorKind, Result};
use crate::job::{ANONYMOUS, ANONYMOUS_PASSWORD, Secret};
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
    /// Whether it is looked for among those that are kept.
    pub keyring: bool,
    /// Whether `~/.netrc` is looked into.
    pub netrc: bool,
    /// When the user is asked.
    pub prompt: Prompt,
    /// Whether a password that a server took is kept for the next run.
    pub store: bool,
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
    /// Where it is kept, if it comes from there.
    pub kept: Option<Place>,
}

impl Account {
    fn new(user: String, password: Secret) -> Self {
        Self {
            user,
            password,
            kept: None,
        }
    }

    /// What anonymous users give as password: an address, of which servers check at most the '@'.
    fn anonymous() -> Self {
        Self::new(
            ANONYMOUS.to_owned(),
            Secret::new(ANONYMOUS_PASSWORD.to_owned()),
        )
    }
}

/// Whom a password is looked for.
#[derive(Clone, Copy)]
struct Asked<'a> {
    host: &'a str,
    port: u16,
    /// Any, where none is given.
    user: Option<&'a str>,
}

/// Finds what is kept for somebody, and tells what the user should know.
type Find<'a> = dyn FnMut(&Asked<'_>, &mut dyn FnMut(&str)) -> Option<Kept> + 'a;

/// What lies around the process that may know a password.
struct Surroundings<'a> {
    /// The value of `CORACLE_PASSWORD`.
    environment: Option<OsString>,
    /// Finds what is kept.
    kept: &'a mut Find<'a>,
    /// The home directory, where `.netrc` lies.
    home: Option<PathBuf>,
    /// Finds the user's terminal, if there is one.
    terminal: &'a mut dyn FnMut() -> Option<Box<dyn Keyboard>>,
    /// Takes what the user should know.
    warn: &'a mut dyn FnMut(&str),
}

/// Does something with what this process has around it.
fn within_process<T>(
    warn: &mut dyn FnMut(&str),
    act: impl FnOnce(&mut Surroundings<'_>) -> T,
) -> T {
    act(&mut Surroundings {
        environment: std::env::var_os("CORACLE_PASSWORD"),
        kept: &mut keyring::find,
        home: std::env::var_os("HOME").map(PathBuf::from),
        terminal: &mut || Terminal::open().map(|terminal| Box::new(terminal) as Box<dyn Keyboard>),
        warn,
    })
}

/// Finds the account for a host and port, with what the process has around it.
///
/// Fails with `Usage` where an option cannot be followed, with `Login` where a user has no password.
pub fn resolve(
    host: &str,
    port: u16,
    options: &CredentialOptions,
    warn: &mut dyn FnMut(&str),
) -> Result<Account> {
    within_process(warn, |around| resolve_within(host, port, options, around))
}

fn resolve_within(
    host: &str,
    port: u16,
    options: &CredentialOptions,
    around: &mut Surroundings<'_>,
) -> Result<Account> {
    if options.prompt == Prompt::Always {
        let mut keyboard = (around.terminal)().ok_or_else(|| {
            ErrorKind::Usage("--prompt needs a terminal to ask on, and there is none".to_owned())
        })?;
        return ask(host, options.user.clone(), keyboard.as_mut());
    }
    let user = options.user.as_deref();
    let known = known(&Asked { host, port, user }, options, around)?;
    let Some(user) = known.user else {
        if known.is_ordered {
            return Err(Error::new(ErrorKind::Usage(format!(
                "a password is given but no user; write ftp://USER@{host}/…"
            ))));
        }
        return match keyboard(options, around.terminal) {
            Some(mut keyboard) => ask(host, None, keyboard.as_mut()),
            None => Ok(Account::anonymous()),
        };
    };
    if let Some(password) = known.password {
        return Ok(Account {
            user,
            password,
            kept: known.kept,
        });
    }
    if user == ANONYMOUS {
        return Ok(Account::anonymous());
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

/// What is known of an account without anybody being asked.
#[derive(Default)]
struct Known {
    user: Option<String>,
    password: Option<Secret>,
    /// Where the password is kept, if it comes from there.
    kept: Option<Place>,
    /// Whether an option gives the password.
    is_ordered: bool,
}

/// Looks where passwords come from, and no further than to the first that has what is missing.
fn known(
    asked: &Asked<'_>,
    options: &CredentialOptions,
    around: &mut Surroundings<'_>,
) -> Result<Known> {
    let mut known = Known {
        user: asked.user.map(str::to_owned),
        ..Known::default()
    };
    known.password = options.password.clone().filter(|_| asked.user.is_some());
    if known.password.is_none() {
        known.password = given::by_option(options, around.warn)?;
        known.is_ordered = known.password.is_some();
    }
    if known.password.is_none() {
        known.password = given::by_environment(around)?;
    }
    if known.user.is_some() && known.password.is_some() {
        return Ok(known);
    }
    let (login, password, kept) = if options.keyring
        && let Some(kept) = (around.kept)(asked, around.warn)
    {
        (Some(kept.user), Some(kept.password), Some(kept.place))
    } else {
        let home = around.home.as_deref().filter(|_| options.netrc);
        let entry = home.and_then(|home| netrc::entry(&home.join(".netrc"), asked, around.warn));
        entry.map_or((None, None, None), |entry| {
            (entry.login, entry.password, None)
        })
    };
    known.user = known.user.or(login);
    if known.password.is_none() {
        (known.password, known.kept) = (password, kept);
    }
    Ok(known)
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
                "" | ANONYMOUS => return Ok(Account::anonymous()),
                user => user.to_owned(),
            }
        }
    };
    let prompt = format!("Password for {}@{host}: ", Escaped(user.as_bytes()));
    let password = Secret::new(keyboard.read_secret(&prompt)?);
    Ok(Account::new(user, password))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

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

    pub(super) struct Case {
        pub(super) options: CredentialOptions,
        environment: Option<&'static str>,
        /// User and password.
        kept: Option<(&'static str, &'static str)>,
        was_asked_what_is_kept: usize,
        home: Option<PathBuf>,
        typed: Option<Vec<&'static str>>,
        pub(super) warnings: Vec<String>,
    }

    impl Case {
        pub(super) fn new(user: Option<&str>) -> Self {
            Self {
                options: CredentialOptions {
                    user: user.map(str::to_owned),
                    password: None,
                    password_file: None,
                    password_command: None,
                    keyring: true,
                    netrc: true,
                    prompt: Prompt::IfNeeded,
                    store: false,
                },
                environment: None,
                kept: None,
                was_asked_what_is_kept: 0,
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

        pub(super) fn resolve(&mut self) -> Result<(String, String)> {
            let mut typed = self.typed.clone();
            let account = resolve_within(
                "nas",
                21,
                &self.options,
                &mut Surroundings {
                    environment: self.environment.map(OsString::from),
                    kept: &mut |asked, _| {
                        self.was_asked_what_is_kept += 1;
                        let (user, password) = self.kept?;
                        asked.user.is_none_or(|asked| asked == user).then(|| Kept {
                            user: user.to_owned(),
                            password: Secret::new(password.to_owned()),
                            place: Place::Keyring("nas".to_owned()),
                        })
                    },
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

        pub(super) fn account(&mut self) -> (String, String) {
            self.resolve().unwrap()
        }
    }

    /// A directory of one test.
    pub(super) struct Scratch(pub(super) PathBuf);

    impl Scratch {
        pub(super) fn new(test: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("coracle-{test}-{}", std::process::id()));
            std::fs::create_dir_all(&dir).unwrap();
            Self(dir)
        }

        pub(super) fn write(&self, name: &str, text: &str, mode: u32) -> PathBuf {
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

    pub(super) fn pair(user: &str, password: &str) -> (String, String) {
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
    fn file_comes_before_command_before_environment_before_what_is_kept_before_netrc() {
        let dir = Scratch::new("chain");
        let mut case =
            Case::new(Some("me")).with_netrc(&dir, "machine nas login me password rc", 0o600);
        assert_eq!(case.account(), pair("me", "rc"));
        case.kept = Some(("me", "kept"));
        assert_eq!(case.account(), pair("me", "kept"));
        case.environment = Some("env");
        assert_eq!(case.account(), pair("me", "env"));
        case.options.password_command = Some("echo command; echo more".into());
        assert_eq!(case.account(), pair("me", "command"));
        case.options.password_file = Some(dir.write("pw", "file\r\nmore\n", 0o600));
        assert_eq!(case.account(), pair("me", "file"));
        assert_eq!(case.warnings, [] as [&str; 0]);
    }

    #[test]
    fn nobody_is_asked_what_is_kept_where_it_cannot_matter() {
        let mut case = Case::new(Some("me"));
        case.kept = Some(("me", "kept"));
        case.environment = Some("env");
        assert_eq!(case.account(), pair("me", "env"));
        case.environment = None;
        case.options.password = Some(Secret::new("url".into()));
        assert_eq!(case.account(), pair("me", "url"));
        case.options.password = None;
        case.options.keyring = false;
        assert!(case.resolve().is_err());
        case.options.keyring = true;
        case.options.prompt = Prompt::Always;
        case.typed = Some(vec!["typed"]);
        assert_eq!(case.account(), pair("me", "typed"));
        assert_eq!(case.was_asked_what_is_kept, 0);
        let mut nobody = Case::new(None);
        assert_eq!(nobody.account(), pair("anonymous", "anonymous@"));
        assert_eq!(nobody.was_asked_what_is_kept, 1);
    }

    #[test]
    fn what_is_kept_tells_the_user_too_and_is_of_no_other() {
        let mut case = Case::new(None);
        case.kept = Some(("me", "kept"));
        assert_eq!(case.account(), pair("me", "kept"));
        case.environment = Some("env");
        assert_eq!(case.account(), pair("me", "env"));
        let mut case = Case::new(Some("you"));
        case.kept = Some(("me", "kept"));
        assert!(case.resolve().is_err());
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
}
