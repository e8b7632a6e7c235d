//! What `~/.netrc` says of a host: the file of curl, wget, lftp and Git, as people and other systems write it.
//!
//! A word that nobody knows spoils the entry that it is in, and no other. Whoever such an entry is for gets no password from
//! this file at all: the next entry that fits, often `default`, may be meant for somebody else.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::given::BYTE_ORDER_MARK;
use super::{Asked, private};
use crate::job::{FTP_PORT, FTPS_PORT, SSH_PORT, Secret};
use crate::path::Escaped;

/// One `machine` or `default`.
#[derive(Clone, PartialEq, Eq, Default)]
pub(super) struct Entry {
    /// The host; none for `default`.
    machine: Option<String>,
    /// The port as it is written; any, where none is.
    port: Option<String>,
    pub(super) login: Option<String>,
    pub(super) password: Option<Secret>,
    /// The first line of it that cannot be understood.
    unclear: Option<usize>,
}

/// The entry that fits in the file at that path. A file that cannot be used is none, with a warning, and so is an entry that
/// cannot be understood.
pub(super) fn entry(path: &Path, asked: &Asked<'_>, warn: &mut dyn FnMut(&str)) -> Option<Entry> {
    let shown = Escaped(path.as_os_str().as_bytes()).to_string();
    let content = match private::read(path) {
        Ok(content) => content?,
        Err(reason) => {
            warn(&format!("{shown} is not used: {reason}"));
            return None;
        }
    };
    // What is no UTF-8 spoils only the entries that hold it.
    let text = String::from_utf8_lossy(&content);
    let found = find(parse(&text), asked)?;
    match found.unclear {
        None => Some(found),
        Some(line) => {
            warn(&format!(
                "line {line} of {shown} cannot be understood, so what it says of {} is not used; a value with blanks goes in double quotes",
                asked.host
            ));
            None
        }
    }
}

/// The first entry that fits.
fn find(entries: Vec<Entry>, asked: &Asked<'_>) -> Option<Entry> {
    entries.into_iter().find(|entry| {
        let fits_host = match &entry.machine {
            Some(machine) => machine.eq_ignore_ascii_case(asked.host),
            None => true,
        };
        let fits_port = match &entry.port {
            Some(port) => port_number(port) == Some(asked.port),
            None => true,
        };
        let fits_user = match (asked.user, &entry.login) {
            (Some(user), Some(login)) => user == login,
            (_, None) | (None, Some(_)) => true,
        };
        fits_host && fits_port && fits_user
    })
}

/// A port by its number or by the name of its service; none for services that are not ours.
fn port_number(text: &str) -> Option<u16> {
    match text {
        "ftp" => Some(FTP_PORT),
        "ftps" => Some(FTPS_PORT),
        "sftp" | "ssh" => Some(SSH_PORT),
        number => number.parse().ok(),
    }
}

/// Reads all entries. What stands before the first one belongs to none, and is passed over.
fn parse(text: &str) -> Vec<Entry> {
    let text = text.replace("\r\n", "\n");
    let mut words = Words {
        rest: text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&text),
        line: 1,
    };
    let mut entries = Vec::new();
    loop {
        match words.next_pair(&mut entries) {
            Ok(true) => {}
            Ok(false) => return entries,
            Err(line) => {
                if let Some(entry) = entries.last_mut() {
                    entry.unclear.get_or_insert(line);
                }
                // An entry begins with its line, or the words of a password might pass for one.
                words.skip_line();
            }
        }
    }
}

/// A host, and the port that some write behind it.
fn machine(text: &str) -> Entry {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        Some(_) | None => (text, None),
    };
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    Entry {
        machine: Some(bare.unwrap_or(host).to_owned()),
        port: port.map(str::to_owned),
        ..Entry::default()
    }
}

struct Words<'a> {
    rest: &'a str,
    line: usize,
}

impl Words<'_> {
    /// Reads the next keyword and what belongs to it. Says whether there was one; fails with the number of the line that
    /// cannot be understood.
    fn next_pair(&mut self, entries: &mut Vec<Entry>) -> Result<bool, usize> {
        let Some(keyword) = self.next_keyword()? else {
            return Ok(false);
        };
        let line = self.line;
        let mut value = || self.next_word()?.ok_or(line);
        match keyword.as_str() {
            "machine" => {
                // Whatever its name turns out to be: what follows belongs to it, and to nobody else.
                entries.push(machine(""));
                let name = value()?;
                *entries.last_mut().ok_or(line)? = machine(&name);
            }
            "default" => entries.push(Entry::default()),
            "login" | "user" => entries.last_mut().ok_or(line)?.login = Some(value()?),
            "password" => entries.last_mut().ok_or(line)?.password = Some(Secret::new(value()?)),
            "port" => entries.last_mut().ok_or(line)?.port = Some(value()?),
            "account" => drop(value()?),
            "macdef" => self.skip_macro(),
            _ => return Err(line),
        }
        Ok(true)
    }

    /// The next word that is no comment. A value may begin with `#`, so only keywords look for comments.
    fn next_keyword(&mut self) -> Result<Option<String>, usize> {
        loop {
            self.skip_blanks();
            if !self.rest.starts_with('#') {
                return self.next_word();
            }
            self.skip_line();
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
                char::REPLACEMENT_CHARACTER => return Err(self.line),
                _ if !quoted && c.is_ascii_whitespace() => {
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

    fn skip_line(&mut self) {
        self.skip_to(self.rest.find('\n').unwrap_or(self.rest.len()));
    }

    fn skip_blanks(&mut self) {
        let blanks = self.rest.len() - self.rest.trim_ascii_start().len();
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

    fn entries(text: &str) -> Vec<(Option<String>, Option<String>, Option<String>)> {
        let show = |entry: Entry| {
            let password = entry.password.map(|secret| secret.reveal().to_owned());
            (entry.machine, entry.login, password)
        };
        parse(text).into_iter().map(show).collect()
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn words_may_stand_on_any_line() {
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
    fn values_may_be_quoted_and_begin_with_a_hash() {
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
    fn macros_are_skipped() {
        let text = "machine a\nmacdef init\ncd /x\nlogin y\n\nmachine b login c\nmacdef end\nquit";
        assert_eq!(
            entries(text),
            [(some("a"), None, None), (some("b"), some("c"), None)]
        );
    }

    fn login(text: &str, host: &str, port: u16, user: Option<&str>) -> Option<String> {
        find(parse(text), &Asked { host, port, user }).and_then(|entry| entry.login)
    }

    #[test]
    fn entries_fit_host_and_user() {
        let text = "machine nas login a password 1\nmachine nas login b password 2\n\
                    machine other login c password 3\ndefault login d password 4";
        let login = |host, user| login(text, host, 21, user);
        assert_eq!(login("NAS", None), some("a"));
        assert_eq!(login("nas", Some("b")), some("b"));
        assert_eq!(login("nas", Some("c")), None);
        assert_eq!(login("elsewhere", None), some("d"));
        assert_eq!(login("nas", Some("d")), some("d"));
    }

    #[test]
    fn an_entry_with_a_port_is_for_that_port_alone() {
        for text in [
            "machine nas:2121 login a",
            "machine nas port 2121 login a",
            "machine nas login a port 2121",
        ] {
            assert_eq!(login(text, "nas", 2121, None), some("a"), "{text}");
            assert_eq!(login(text, "nas", 21, None), None, "{text}");
        }
        assert_eq!(
            login("machine nas port ftp login a", "nas", 21, None),
            some("a")
        );
        assert_eq!(
            login("machine nas port https login a", "nas", 21, None),
            None
        );
        assert_eq!(login("machine nas:x login a", "nas", 21, None), None);
        let text = "machine ::1 login a\nmachine [fe80::1]:22 login b\nmachine [fe80::2] login c";
        assert_eq!(login(text, "::1", 21, None), some("a"));
        assert_eq!(login(text, "fe80::1", 22, None), some("b"));
        assert_eq!(login(text, "fe80::2", 21, None), some("c"));
    }

    #[test]
    fn other_systems_mark_and_end_lines_in_their_own_way() {
        let text = "\u{feff}machine a\r\nlogin b\r\npassword c\u{a0}d\r\nmacdef init\r\nquit\r\n\r\nmachine e login f\r\n";
        assert_eq!(
            entries(text),
            [
                (some("a"), some("b"), some("c\u{a0}d")),
                (some("e"), some("f"), None)
            ]
        );
    }

    #[test]
    fn what_is_not_understood_spoils_its_entry_and_no_other() {
        for (spoilt, line) in [
            ("machine a bogus", 2),
            ("machine a\nlogin b bogus x\npassword c", 3),
            ("machine a password two words", 2),
            ("machine a password machine b machine c", 2),
            ("machine a password \"x\ny\"", 2),
            ("machine a password \u{fffd}", 2),
        ] {
            let text = format!("machine before login x\n{spoilt}\nmachine after login y\n");
            let read = parse(&text);
            let unclear: Vec<_> = read.iter().map(|entry| entry.unclear).collect();
            assert_eq!(unclear, [None, Some(line), None], "{text}");
            assert_eq!(login(&text, "before", 21, None), some("x"), "{text}");
            assert_eq!(login(&text, "after", 21, None), some("y"), "{text}");
        }
    }

    #[test]
    fn words_without_a_machine_belong_to_nobody() {
        assert_eq!(
            login("login me password x\nmachine nas", "nas", 21, None),
            None
        );
        let text = "machine \"nas\nlogin x\nmachine other login y";
        assert_eq!(login(text, "nas", 21, None), None);
        assert_eq!(login(text, "other", 21, None), some("y"));
    }

    #[test]
    fn survives_being_cut_anywhere() {
        let text = "machine a:21 login \"b\\\"\" password c # d\nmacdef x\ny\n\ndefault account z";
        for end in 0..=text.len() {
            let _ = parse(&text[..end]);
        }
    }
}
