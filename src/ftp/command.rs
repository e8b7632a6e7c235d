//! Commands on the control connection: the one place that turns them into bytes, so that no name can end a line.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::path::Escaped;
use crate::time::Timestamp;

/// One command.
///
/// Paths are full paths on the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the command of that name")]
pub enum Command<'a> {
    User(&'a str),
    Pass(&'a str),
    Acct(&'a str),
    /// `AUTH TLS`
    AuthTls,
    /// `PBSZ 0`
    Pbsz,
    /// `PROT P`
    ProtPrivate,
    Feat,
    Pwd,
    Quit,
    /// `TYPE I`
    TypeImage,
    /// `OPTS UTF8 ON`
    OptsUtf8,
    /// `OPTS HASH` with the name of an algorithm
    OptsHash(&'a str),
    /// `OPTS MLST` with the facts that are of use, modes among them
    OptsMlstModes,
    Epsv,
    Pasv,
    /// `PRET` and the transfer that is to come
    Pret(&'a Self),
    Eprt(SocketAddr),
    /// Only for IPv4; an IPv6 address goes out as `EPRT`.
    Port(SocketAddr),
    Cwd(&'a [u8]),
    Mlsd(&'a [u8]),
    Mlst(&'a [u8]),
    /// `STAT` of a directory: a listing on the control connection
    Stat(&'a [u8]),
    /// `STAT -a` of a directory: with dot files, where they are hidden otherwise
    StatAll(&'a [u8]),
    /// `LIST` of the current directory
    List,
    /// `LIST -a` of the current directory
    ListAll,
    /// `LIST` with a path
    ListPath(&'a [u8]),
    /// `NLST` of the current directory: names alone
    Nlst,
    Size(&'a [u8]),
    Mdtm(&'a [u8]),
    Mfmt(Timestamp, &'a [u8]),
    /// `MDTM` with a time before the path: vsftpd's way to set it
    MdtmSet(Timestamp, &'a [u8]),
    /// `SITE UTIME time path`
    SiteUtime(Timestamp, &'a [u8]),
    /// `SITE UTIME path atime mtime ctime UTC`
    SiteUtimeLong(Timestamp, &'a [u8]),
    /// `SITE CHMOD mode path`
    SiteChmod(u32, &'a [u8]),
    Rest(u64),
    Retr(&'a [u8]),
    Stor(&'a [u8]),
    Rnfr(&'a [u8]),
    Rnto(&'a [u8]),
    Dele(&'a [u8]),
    Rmd(&'a [u8]),
    Mkd(&'a [u8]),
    Hash(&'a [u8]),
    Xsha256(&'a [u8]),
    Xmd5(&'a [u8]),
    Xcrc(&'a [u8]),
    Avbl(&'a [u8]),
}

/// What a server wants in place of a byte 0xFF, which Telnet calls IAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Iac {
    /// The byte twice (ProFTPD, BusyBox, inetutils).
    Doubled,
    /// The byte as it is (vsftpd, Pure-FTPd).
    Single,
    /// Nobody knows: a name with it is refused, for it would reach another file.
    Refused,
}

/// Why a command cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadCommand {
    /// An argument holds CR, LF or NUL.
    Breaks,
    /// The line is longer than this server takes, in bytes.
    TooLong(usize),
    /// An argument holds the byte 0xFF and the server's way with it is not known.
    Iac,
}

impl fmt::Display for BadCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Breaks => {
                f.write_str("the name holds a line break or a NUL byte, so FTP cannot send it")
            }
            Self::TooLong(limit) => {
                write!(
                    f,
                    "the path is too long: this server takes command lines of {limit} bytes"
                )
            }
            Self::Iac => f.write_str(
                "the name holds the byte 0xff, and how this server takes it is not known",
            ),
        }
    }
}

impl Command<'_> {
    /// Appends the command line to `out`, at most `max_line_bytes` with its CR LF. On an error nothing is appended.
    pub fn encode(
        &self,
        out: &mut Vec<u8>,
        max_line_bytes: usize,
        iac: Iac,
    ) -> Result<(), BadCommand> {
        let mut line = Vec::with_capacity(64);
        self.write(&mut line);
        if line.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n')) {
            return Err(BadCommand::Breaks);
        }
        if line.contains(&0xff) {
            match iac {
                Iac::Single => {}
                Iac::Refused => return Err(BadCommand::Iac),
                Iac::Doubled => {
                    line = line
                        .iter()
                        .flat_map(|byte| {
                            std::iter::repeat_n(*byte, if *byte == 0xff { 2 } else { 1 })
                        })
                        .collect();
                }
            }
        }
        if line.len() + 2 > max_line_bytes {
            return Err(BadCommand::TooLong(max_line_bytes));
        }
        out.extend_from_slice(&line);
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    fn write(&self, line: &mut Vec<u8>) {
        let (verb, argument): (&str, &[u8]) = match *self {
            Self::User(name) => ("USER ", name.as_bytes()),
            Self::Pass(password) => ("PASS ", password.as_bytes()),
            Self::Acct(account) => ("ACCT ", account.as_bytes()),
            Self::AuthTls => ("AUTH TLS", b""),
            Self::Pbsz => ("PBSZ 0", b""),
            Self::ProtPrivate => ("PROT P", b""),
            Self::Feat => ("FEAT", b""),
            Self::Pwd => ("PWD", b""),
            Self::Quit => ("QUIT", b""),
            Self::TypeImage => ("TYPE I", b""),
            Self::OptsUtf8 => ("OPTS UTF8 ON", b""),
            Self::OptsMlstModes => ("OPTS MLST type;size;modify;perm;unique;UNIX.mode;", b""),
            Self::OptsHash(algorithm) => ("OPTS HASH ", algorithm.as_bytes()),
            Self::Epsv => ("EPSV", b""),
            Self::Pasv => ("PASV", b""),
            Self::Pret(transfer) => {
                line.extend_from_slice(b"PRET ");
                return transfer.write(line);
            }
            Self::Eprt(address) => return write_eprt(address, line),
            Self::Port(address) => return write_port(address, line),
            Self::Cwd(path) => ("CWD ", path),
            Self::Mlsd(path) => ("MLSD ", path),
            Self::Mlst(path) => ("MLST ", path),
            Self::Stat(path) => ("STAT ", path),
            Self::StatAll(path) => ("STAT -a ", path),
            Self::List => ("LIST", b""),
            Self::ListAll => ("LIST -a", b""),
            Self::ListPath(path) => ("LIST ", path),
            Self::Nlst => ("NLST", b""),
            Self::Size(path) => ("SIZE ", path),
            Self::Mdtm(path) => ("MDTM ", path),
            Self::Mfmt(time, path) => return write_timed("MFMT", time, path, line),
            Self::MdtmSet(time, path) => return write_timed("MDTM", time, path, line),
            Self::SiteUtime(time, path) => return write_timed("SITE UTIME", time, path, line),
            Self::SiteUtimeLong(time, path) => {
                let time = time.to_ftp();
                line.extend_from_slice(b"SITE UTIME ");
                line.extend_from_slice(path);
                line.extend_from_slice(format!(" {time} {time} {time} UTC").as_bytes());
                return;
            }
            Self::SiteChmod(mode, path) => {
                line.extend_from_slice(format!("SITE CHMOD {mode:o} ").as_bytes());
                line.extend_from_slice(path);
                return;
            }
            Self::Rest(offset) => {
                line.extend_from_slice(format!("REST {offset}").as_bytes());
                return;
            }
            Self::Retr(path) => ("RETR ", path),
            Self::Stor(path) => ("STOR ", path),
            Self::Rnfr(path) => ("RNFR ", path),
            Self::Rnto(path) => ("RNTO ", path),
            Self::Dele(path) => ("DELE ", path),
            Self::Rmd(path) => ("RMD ", path),
            Self::Mkd(path) => ("MKD ", path),
            Self::Hash(path) => ("HASH ", path),
            Self::Xsha256(path) => ("XSHA256 ", path),
            Self::Xmd5(path) => ("XMD5 ", path),
            Self::Xcrc(path) => ("XCRC ", path),
            Self::Avbl(path) => ("AVBL ", path),
        };
        line.extend_from_slice(verb.as_bytes());
        line.extend_from_slice(argument);
    }
}

/// The command as logs show it: names escaped, the password hidden.
impl fmt::Display for Command<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass(_) => f.write_str("PASS ****"),
            Self::Acct(_) => f.write_str("ACCT ****"),
            _ => {
                let mut line = Vec::new();
                self.write(&mut line);
                write!(f, "{}", Escaped(&line))
            }
        }
    }
}

fn write_timed(verb: &str, time: Timestamp, path: &[u8], line: &mut Vec<u8>) {
    line.extend_from_slice(format!("{verb} {} ", time.to_ftp()).as_bytes());
    line.extend_from_slice(path);
}

/// RFC 2428, 2.
fn write_eprt(address: SocketAddr, line: &mut Vec<u8>) {
    let family = if address.is_ipv4() { 1 } else { 2 };
    let text = format!("EPRT |{family}|{}|{}|", address.ip(), address.port());
    line.extend_from_slice(text.as_bytes());
}

/// RFC 959, 4.1.2.
fn write_port(address: SocketAddr, line: &mut Vec<u8>) {
    let IpAddr::V4(ip) = address.ip() else {
        return write_eprt(address, line);
    };
    let [a, b, c, d] = ip.octets();
    let (high, low) = (address.port() / 256, address.port() % 256);
    line.extend_from_slice(format!("PORT {a},{b},{c},{d},{high},{low}").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(command: Command<'_>, iac: Iac) -> Result<Vec<u8>, BadCommand> {
        let mut out = Vec::new();
        command.encode(&mut out, 500, iac).map(|()| out)
    }

    #[test]
    fn no_argument_ends_a_line() {
        for bad in [&b"/a\rb"[..], b"/a\nDELE b", b"/a\0"] {
            assert_eq!(
                encode(Command::Stor(bad), Iac::Single),
                Err(BadCommand::Breaks)
            );
        }
        assert_eq!(
            encode(Command::User("a\r\nDELE b"), Iac::Single),
            Err(BadCommand::Breaks)
        );
        assert_eq!(
            encode(Command::Pass("a\n"), Iac::Single),
            Err(BadCommand::Breaks)
        );
    }

    #[test]
    fn keeps_blanks_and_odd_bytes() {
        assert_eq!(
            encode(Command::Stor(b"/ a \xe9"), Iac::Refused).unwrap(),
            b"STOR / a \xe9\r\n"
        );
    }

    #[test]
    fn a_long_line_is_refused_whole() {
        let path = [b'x'; 494];
        assert_eq!(
            encode(Command::Stor(&path), Iac::Single),
            Err(BadCommand::TooLong(500))
        );
        assert_eq!(
            encode(Command::Stor(&path[..493]), Iac::Single)
                .unwrap()
                .len(),
            500
        );
    }

    #[test]
    fn iac_is_doubled_only_where_known() {
        let command = Command::Size(b"/\xff");
        assert_eq!(
            encode(command, Iac::Doubled).unwrap(),
            b"SIZE /\xff\xff\r\n"
        );
        assert_eq!(encode(command, Iac::Single).unwrap(), b"SIZE /\xff\r\n");
        assert_eq!(encode(command, Iac::Refused), Err(BadCommand::Iac));
    }

    #[test]
    fn the_password_is_never_shown() {
        assert_eq!(Command::Pass("geheim").to_string(), "PASS ****");
        assert_eq!(Command::Dele(b"/\x1b[2J").to_string(), r"DELE /\x1b[2J");
    }

    #[test]
    fn times_have_fourteen_digits() {
        let time = Timestamp::from_nanos(1_709_210_096_789_000_000);
        assert_eq!(
            Command::Mfmt(time, b"/a b").to_string(),
            "MFMT 20240229123456 /a b"
        );
        assert_eq!(
            Command::MdtmSet(time, b"/a").to_string(),
            "MDTM 20240229123456 /a"
        );
        assert_eq!(
            Command::SiteUtimeLong(time, b"/a").to_string(),
            "SITE UTIME /a 20240229123456 20240229123456 20240229123456 UTC"
        );
    }

    #[test]
    fn addresses_are_written_for_both_families() {
        let four: SocketAddr = "192.0.2.7:1027".parse().unwrap();
        let six: SocketAddr = "[2001:db8::1]:1027".parse().unwrap();
        assert_eq!(Command::Port(four).to_string(), "PORT 192,0,2,7,4,3");
        assert_eq!(Command::Eprt(six).to_string(), "EPRT |2|2001:db8::1|1027|");
    }
}
