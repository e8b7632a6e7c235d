//! Every option there is: its name, what it takes, what it says about itself in the help, and how its value is read.
//!
//! The order is the order of the help; [`super::help::GROUPS`] names the first option of each group there.

use std::num::{NonZeroU8, NonZeroU64};
use std::path::PathBuf;
use std::time::Duration;

use argh::{ArgsInfo, FromArgs};

use crate::job::{
    Case, Compare, Connections, Encoding, Links, MaxDelete, Passive, Pin, Resolve, Verify,
};
use crate::path::RelPath;

/// The options of all commands; [`super::command::lacks`] tells which one has which.
#[derive(FromArgs, ArgsInfo, Debug)]
pub(super) struct Options {
    /// run all tasks of the file, in its order
    #[argh(switch)]
    pub(super) all: bool,

    /// run the task for this directory and what is below it, where the file lies further up
    #[argh(switch)]
    pub(super) here: bool,

    /// run the whole task, where the file lies further up
    #[argh(switch)]
    pub(super) root: bool,

    /// do it, although the task says dry_run
    #[argh(switch)]
    pub(super) execute: bool,

    /// another name of that
    #[argh(switch)]
    pub(super) no_dry_run: bool,

    /// tell each entry
    #[argh(switch)]
    pub(super) list: bool,

    /// look into the directories below the root, too
    #[argh(switch, short = 'r')]
    pub(super) recursive: bool,

    /// remove what is recorded: the files .pyftpsync-meta.json, and the archives of a directory on this machine; the next
    /// run meets as for the first time
    #[argh(switch)]
    pub(super) remove_meta: bool,

    /// remove all locks, but those of runs that are known to go on; a fresh one is told
    #[argh(switch)]
    pub(super) remove_locks: bool,

    /// remove partial files of this machine, and set damaged archives aside
    #[argh(switch)]
    pub(super) repair: bool,

    /// show files, too
    #[argh(switch)]
    pub(super) files: bool,

    /// sort by names in which case does not count, files before directories
    #[argh(switch)]
    pub(super) sort: bool,

    /// copy only files whose names match one of these wildcards (*, ?, [abc]); separate several by
    /// commas and quote them: -m '*.jpg,*.png'; may be given several times
    #[argh(option, short = 'm', long = "match", arg_name = "patterns")]
    pub(super) matching: Vec<String>,

    /// leave out files and directories that match one of these wildcards, too; a pattern with a slash is
    /// matched against the path from the root, name/ means directories, !pattern takes back what an
    /// earlier one left out; may be given several times
    #[argh(option, short = 'x', arg_name = "patterns")]
    pub(super) exclude: Vec<String>,

    /// do not leave out what is left out by default: .DS_Store, .git, .hg, .svn, #recycle, lost+found,
    /// @eaDir, Thumbs.db, .ftpquota
    #[argh(switch)]
    pub(super) no_default_excludes: bool,

    /// leave out what these patterns match, too: one a line, lines that start with # are comments
    #[argh(option, arg_name = "file")]
    pub(super) exclude_from: Vec<PathBuf>,

    /// walk only this branch, from the root of each side
    #[argh(option, arg_name = "path", from_str_fn(path_below_root))]
    pub(super) only: Option<RelPath>,

    /// what to do with symbolic links: skip them, or follow those that stay within the root; nothing is deleted
    /// through a link, and none is replaced; default: skip
    #[argh(option, arg_name = "how", default = "Links::Skip", from_str_fn(links))]
    pub(super) links: Links,

    /// leave files alone that changed less than this many seconds ago; default: 0
    #[argh(
        option,
        arg_name = "secs",
        default = "Duration::ZERO",
        from_str_fn(age)
    )]
    pub(super) min_age: Duration,

    /// names that differ only in case: strict takes them for different names; local and remote pair them
    /// and keep that side's spelling; default: nothing is done with such names
    #[argh(option, arg_name = "mode", default = "Case::Refuse", from_str_fn(case))]
    pub(super) case: Case,

    /// only show what would be done
    #[argh(switch, short = 'n')]
    pub(super) dry_run: bool,

    /// overwrite changes made on the other side, even newer ones
    #[argh(switch)]
    pub(super) force: bool,

    /// when a file changed on both sides, the winner: CHOICES; default: ask
    #[argh(
        option,
        arg_name = "how",
        default = "Resolve::Ask",
        from_str_fn(resolve)
    )]
    pub(super) resolve: Resolve,

    /// give the files that are written on the remote side this mode, as 644
    #[argh(option, arg_name = "mode", from_str_fn(mode))]
    pub(super) chmod: Option<u32>,

    /// give the files that are written the modes of those that they are copies of, where both sides have modes
    #[argh(switch)]
    pub(super) perms: bool,

    /// delete what the source does not have
    #[argh(switch)]
    pub(super) delete: bool,

    /// delete that, and what the filter (--match, --exclude) leaves out
    #[argh(switch)]
    pub(super) delete_unmatched: bool,

    /// delete what the source does not have and what a run of this job made equal once: what others put there stays
    #[argh(switch)]
    pub(super) delete_ours: bool,

    /// make the root directory when it is missing
    #[argh(switch)]
    pub(super) create_folder: bool,

    /// refuse to delete more than N files, or N% of a side's files; default: half of them
    #[argh(
        option,
        arg_name = "n|n%",
        default = "MaxDelete::Half",
        from_str_fn(max_delete)
    )]
    pub(super) max_delete: MaxDelete,

    /// go on although a side that had files is empty now
    #[argh(switch)]
    pub(super) allow_empty: bool,

    /// go on although another disk is where one was known, and remember it
    #[argh(switch)]
    pub(super) accept_disk: bool,

    /// go on although all times have shifted by the same span (daylight saving, time zone)
    #[argh(switch)]
    pub(super) accept_time_shift: bool,

    /// go on although nearly all files have new times and their old sizes (a rebuilt site)
    #[argh(switch)]
    pub(super) accept_new_times: bool,

    /// go on although most changes of a side went back in time (an old backup was restored)
    #[argh(switch)]
    pub(super) allow_older: bool,

    /// take the lock of the remote root although another run seems to hold it
    #[argh(switch)]
    pub(super) break_lock: bool,

    /// work only if this file exists in both roots: proof that both disks are mounted
    #[argh(option, arg_name = "path", from_str_fn(path_below_root))]
    pub(super) check_file: Option<RelPath>,

    /// move what would be deleted or overwritten to this directory of its side
    #[argh(option, arg_name = "dir", from_str_fn(path_below_root))]
    pub(super) trash: Option<RelPath>,

    /// empty the trash of what has been there for this many days; default: keep it
    #[argh(option, arg_name = "days", from_str_fn(days))]
    pub(super) trash_days: Option<u32>,

    /// copy files that match one of these patterns (as those of -x) after all others, once these are in place, and
    /// delete only after that: --last index.html; files that were renamed are sent again then; may be given several times
    #[argh(option, arg_name = "patterns")]
    pub(super) last: Vec<String>,

    /// how to tell that a file changed: time, or content as well: what has a new time and its old size is read, and only
    /// recorded where it holds what it held when it was copied with this option (rebuilt sites, checkouts); default: time
    #[argh(
        option,
        arg_name = "how",
        default = "Compare::Time",
        from_str_fn(compare)
    )]
    pub(super) compare: Compare,

    /// what to compare after each copy: size, or hash as well where the server can compute one; default:
    /// size
    #[argh(
        option,
        arg_name = "what",
        default = "Verify::Size",
        from_str_fn(verify)
    )]
    pub(super) verify: Verify,

    /// keep the records of what was synced below this directory instead of in .coracle in LOCAL
    #[argh(option, arg_name = "dir")]
    pub(super) state_dir: Option<PathBuf>,

    /// do not take over what pyftpsync recorded
    #[argh(switch)]
    pub(super) migrate: bool,

    /// leave no true times for other clients on servers that cannot set times
    #[argh(switch)]
    pub(super) no_remote_meta: bool,

    /// connections to the server at a time; auto: as many as there is work for, up to 8 by FTP and 4 by SFTP; default: auto
    #[argh(
        option,
        arg_name = "n",
        default = "Connections::Auto",
        from_str_fn(connections)
    )]
    pub(super) connections: Connections,

    /// give up on a connection that is silent for this long; default: 30
    #[argh(
        option,
        arg_name = "secs",
        default = "DEFAULT_TIMEOUT",
        from_str_fn(span)
    )]
    pub(super) timeout: Duration,

    /// try again this often when a connection fails; a try that got further does not count; default: 3
    #[argh(
        option,
        arg_name = "n",
        default = "DEFAULT_RETRIES",
        from_str_fn(retries)
    )]
    pub(super) retries: u32,

    /// stop cleanly after this time; the next run continues
    #[argh(option, arg_name = "secs", from_str_fn(span))]
    pub(super) max_duration: Option<Duration>,

    /// the most bytes a second over all connections; k and M are understood: 500k
    #[argh(option, arg_name = "rate", from_str_fn(rate))]
    pub(super) limit_rate: Option<NonZeroU64>,

    /// trust the records and do not list the server: fast where nobody else writes there
    #[argh(switch)]
    pub(super) no_remote_scan: bool,

    /// list only the directories that the server does not tell at a glance (STAT) to be as recorded; a file that was
    /// overwritten in place and dated back to the same minute goes unnoticed
    #[argh(switch)]
    pub(super) quick_scan: bool,

    /// let the server open the data connections (active FTP)
    #[argh(switch)]
    pub(super) ftp_active: bool,

    /// the commands that ask for a passive port, in this order: epsv,pasv or one of them; default: whichever
    /// works
    #[argh(option, arg_name = "how", from_str_fn(passive))]
    pub(super) passive: Option<PassiveOrder>,

    /// how the server writes names: utf-8, latin-1 or windows-1252; default: utf-8
    #[argh(
        option,
        arg_name = "name",
        default = "Encoding::Utf8",
        from_str_fn(encoding)
    )]
    pub(super) encoding: Encoding,

    /// write files under their final names at once, for servers that rename nothing: what breaks off leaves a
    /// short file there
    #[argh(switch)]
    pub(super) inplace: bool,

    /// how ftps:// begins: explicit (the client asks for TLS, port 21) or implicit (TLS from the first byte,
    /// port 990); default: implicit on port 990, explicit elsewhere
    #[argh(option, arg_name = "how", from_str_fn(tls))]
    pub(super) tls: Option<TlsMode>,

    /// trust the authorities in this file (PEM) instead of those of the system
    #[argh(option, arg_name = "file")]
    pub(super) ca_file: Option<PathBuf>,

    /// accept exactly the server whose key has this digest, whatever its certificate or the list of known hosts says:
    /// sha256:HEX; may be given several times
    #[argh(option, arg_name = "digest", from_str_fn(pin))]
    pub(super) pin: Vec<Pin>,

    /// accept any server, which may be somebody who reads and changes everything
    #[argh(switch)]
    pub(super) insecure: bool,

    /// take listings that end without the end mark of TLS for whole: for servers that never send it, but somebody
    /// on the way can cut them short then
    #[argh(switch)]
    pub(super) tls_unclean_ends: bool,

    /// show this certificate (PEM) to a server that asks for one
    #[argh(option, arg_name = "file")]
    pub(super) client_cert: Option<PathBuf>,

    /// the private key (PEM) of that certificate
    #[argh(option, arg_name = "file")]
    pub(super) client_key: Option<PathBuf>,

    /// the SSH program for sftp://, called as ssh or dbclient is, with its first arguments; default: ssh, else dbclient
    #[argh(option, arg_name = "command")]
    pub(super) ssh_command: Option<String>,

    /// accept the key of a host that is not known yet, and note it; a key that has changed is refused all the same
    #[argh(switch)]
    pub(super) accept_new_host_key: bool,

    /// accept any host key, which may be that of somebody who reads and changes everything
    #[argh(switch)]
    pub(super) no_verify_host_keys: bool,

    /// read the password from the first line of this file
    #[argh(option, arg_name = "file")]
    pub(super) password_file: Option<PathBuf>,

    /// run this shell command and take the first line it prints as the password
    #[argh(option, arg_name = "command")]
    pub(super) password_command: Option<String>,

    /// do not look for the login in ~/.netrc
    #[argh(switch)]
    pub(super) no_netrc: bool,

    /// do not look for the login among the passwords that are kept (--store-password)
    #[argh(switch)]
    pub(super) no_keyring: bool,

    /// keep the password once the server took it: in the keyring that pyftpsync uses, too (secret-tool), or where there is none
    /// in ~/.config/coracle/passwords; over SFTP only one that the SSH program asked for
    #[argh(switch)]
    pub(super) store_password: bool,

    /// always ask for the password
    #[argh(switch)]
    pub(super) prompt: bool,

    /// never ask for user or password
    #[argh(switch)]
    pub(super) no_prompt: bool,

    /// say more; repeat it for equal files (-v), decisions (-vv), the protocol (-vvv)
    #[argh(switch, short = 'v')]
    pub(super) verbose: u8,

    /// say less: problems only (-q), errors only (-qq), nothing (-qqq)
    #[argh(switch, short = 'q')]
    pub(super) quiet: u8,

    /// log one thing in detail: classify; needs -v
    #[argh(option, arg_name = "what", from_str_fn(debug))]
    pub(super) debug: Vec<Debug>,

    /// show progress even when the output is no terminal
    #[argh(switch)]
    pub(super) progress: bool,

    /// use no colors
    #[argh(switch)]
    pub(super) no_color: bool,

    /// exit with 10 when a conflict was skipped or a copy failed
    #[argh(switch)]
    pub(super) report_problems: bool,

    /// print the version; with -v also what this build can do
    #[argh(switch, short = 'V')]
    pub(super) version: bool,
}

/// The commands that ask for a passive port, the first one first.
#[derive(Debug, Clone)]
pub(super) struct PassiveOrder(pub(super) Vec<Passive>);

/// What `--debug` logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Debug {
    /// How entries are classified, and what follows from it.
    Classify,
}

/// How TLS begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TlsMode {
    /// After AUTH.
    Explicit,
    /// At once.
    Implicit,
}

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
const DEFAULT_RETRIES: u32 = 3;

/// Home servers allow a handful of connections for each client, generous ones some tens.
const MAX_CONNECTIONS: u8 = 64;
/// A month: any longer wait is a slip, and clocks on 32 bits can still add it.
const MAX_SPAN_SECS: u64 = 31 * 86_400;
/// Ages may be years, but must fit file times.
const MAX_AGE_SECS: u64 = 100 * 366 * 86_400;
/// With growing pauses, that many retries take hours.
const MAX_RETRIES: u32 = 100;
/// A century of trash.
const MAX_DAYS: u32 = 36_525;

/// The words of `--resolve`.
pub(super) const RESOLVE: &[(&str, Resolve)] = &[
    ("old", Resolve::Old),
    ("new", Resolve::New),
    ("local", Resolve::Local),
    ("remote", Resolve::Remote),
    ("both", Resolve::Both),
    ("skip", Resolve::Skip),
    ("ask", Resolve::Ask),
];

fn resolve(value: &str) -> Result<Resolve, String> {
    choice(value, RESOLVE)
}

fn links(value: &str) -> Result<Links, String> {
    choice(value, &[("skip", Links::Skip), ("follow", Links::Follow)])
}

fn case(value: &str) -> Result<Case, String> {
    choice(
        value,
        &[
            ("strict", Case::Strict),
            ("local", Case::Local),
            ("remote", Case::Remote),
        ],
    )
}

fn compare(value: &str) -> Result<Compare, String> {
    choice(
        value,
        &[("time", Compare::Time), ("content", Compare::Content)],
    )
}

fn verify(value: &str) -> Result<Verify, String> {
    choice(value, &[("size", Verify::Size), ("hash", Verify::Hash)])
}

fn tls(value: &str) -> Result<TlsMode, String> {
    choice(
        value,
        &[
            ("explicit", TlsMode::Explicit),
            ("implicit", TlsMode::Implicit),
        ],
    )
}

fn passive(value: &str) -> Result<PassiveOrder, String> {
    let command = |word| choice(word, &[("epsv", Passive::Epsv), ("pasv", Passive::Pasv)]);
    let commands: Vec<Passive> = value.split(',').map(command).collect::<Result<_, _>>()?;
    match commands[..] {
        [one, other] if one == other => Err("name each once".to_owned()),
        [_] | [_, _] => Ok(PassiveOrder(commands)),
        _ => Err("use epsv,pasv, or one of them".to_owned()),
    }
}

fn encoding(value: &str) -> Result<Encoding, String> {
    choice(
        &value.to_ascii_lowercase(),
        &[
            ("utf-8", Encoding::Utf8),
            ("latin-1", Encoding::Latin1),
            ("iso-8859-1", Encoding::Latin1),
            ("windows-1252", Encoding::Windows1252),
        ],
    )
}

fn pin(value: &str) -> Result<Pin, String> {
    Pin::parse(value).ok_or_else(|| "use sha256: and 64 hexadecimal digits".to_owned())
}

fn debug(value: &str) -> Result<Debug, String> {
    choice(value, &[("classify", Debug::Classify)])
}

fn choice<T: Copy>(value: &str, choices: &[(&str, T)]) -> Result<T, String> {
    match choices.iter().find(|(word, _)| *word == value) {
        Some((_, meaning)) => Ok(*meaning),
        None => {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            Err(format!("use {}", one_of(&words)))
        }
    }
}

/// `a`, `a or b`, `a, b or c`.
pub(super) fn one_of(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

fn connections(value: &str) -> Result<Connections, String> {
    if value == "auto" {
        return Ok(Connections::Auto);
    }
    let count = number(value, 1, u64::from(MAX_CONNECTIONS)).map_err(|text| text + ", or auto")?;
    let count = u8::try_from(count).ok().and_then(NonZeroU8::new);
    Ok(Connections::AtMost(
        count.expect("the number lies between 1 and 64"),
    ))
}

fn span(value: &str) -> Result<Duration, String> {
    number(value, 1, MAX_SPAN_SECS).map(Duration::from_secs)
}

fn age(value: &str) -> Result<Duration, String> {
    number(value, 0, MAX_AGE_SECS).map(Duration::from_secs)
}

fn retries(value: &str) -> Result<u32, String> {
    small_number(value, 0, MAX_RETRIES)
}

fn days(value: &str) -> Result<u32, String> {
    small_number(value, 1, MAX_DAYS)
}

fn small_number(value: &str, least: u32, most: u32) -> Result<u32, String> {
    let number = number(value, u64::from(least), u64::from(most))?;
    Ok(u32::try_from(number).expect("the number is at most a u32"))
}

fn number(value: &str, least: u64, most: u64) -> Result<u64, String> {
    digits(value)
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("use a whole number from {least} to {most}"))
}

/// Digits alone: `parse` would take a sign as well.
fn digits(value: &str) -> Option<u64> {
    if value.bytes().all(|byte| byte.is_ascii_digit()) {
        value.parse().ok()
    } else {
        None
    }
}

/// Rights alone: programs get a set-user-ID bit from whoever trusts them.
fn mode(value: &str) -> Result<u32, String> {
    let is_octal = value.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    u32::from_str_radix(value, 8)
        .ok()
        .filter(|mode| is_octal && *mode <= 0o777)
        .ok_or_else(|| "use a mode in octal, from 0 to 777, as 644".to_owned())
}

fn max_delete(value: &str) -> Result<MaxDelete, String> {
    let limit = match value.strip_suffix('%') {
        Some(share) => digits(share)
            .filter(|share| *share <= 100)
            .and_then(|share| u8::try_from(share).ok())
            .map(MaxDelete::Percent),
        None => digits(value).map(MaxDelete::Files),
    };
    limit.ok_or_else(|| "use a number of files, or a share from 0% to 100%".to_owned())
}

/// Bytes a second; `k`, `M` and `G` are powers of 1024, as curl and wget take them.
fn rate(value: &str) -> Result<NonZeroU64, String> {
    let (count, unit) = match value.as_bytes().last() {
        Some(b'k' | b'K') => (&value[..value.len() - 1], 1 << 10),
        Some(b'm' | b'M') => (&value[..value.len() - 1], 1 << 20),
        Some(b'g' | b'G') => (&value[..value.len() - 1], 1 << 30),
        _ => (value, 1),
    };
    digits(count)
        .and_then(|count| count.checked_mul(unit))
        .and_then(NonZeroU64::new)
        .ok_or_else(|| "use bytes a second, such as 50000, 500k or 2M".to_owned())
}

pub(super) fn path_below_root(value: &str) -> Result<RelPath, String> {
    match RelPath::parse(value.as_bytes()) {
        Ok(path) if path.is_root() => Err("use a path below the root".to_owned()),
        Ok(_) if value.starts_with('/') => {
            Err("use a path from the root of each side, without a leading slash".to_owned())
        }
        Ok(path) => Ok(path),
        Err(reason) => Err(reason.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_units() {
        let bytes = |text| rate(text).map(NonZeroU64::get).ok();
        assert_eq!(bytes("1"), Some(1));
        assert_eq!(bytes("500k"), Some(512_000));
        assert_eq!(bytes("2M"), Some(2 << 20));
        for bad in [
            "",
            "k",
            "0",
            "0k",
            "-1",
            "1.5M",
            "1kk",
            "99999999999999999999",
            "17179869184G",
            "é",
        ] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_mode_is_octal_and_rights_alone() {
        assert_eq!(mode("644"), Ok(0o644));
        assert_eq!(mode("0600"), Ok(0o600));
        for bad in ["", "+644", "648", "1777", "u=rw", "-1", "0o644"] {
            assert!(mode(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn max_delete_is_a_number_or_a_share() {
        assert_eq!(max_delete("0"), Ok(MaxDelete::Files(0)));
        assert_eq!(max_delete("100%"), Ok(MaxDelete::Percent(100)));
        for bad in ["", "%", "101%", "-5", "+5", "5 %", "x"] {
            assert!(max_delete(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_keep_their_bounds() {
        let most = NonZeroU8::new(64).unwrap();
        assert_eq!(connections("64"), Ok(Connections::AtMost(most)));
        assert_eq!(connections("auto"), Ok(Connections::Auto));
        for bad in ["0", "65", "-1", "", "4x", "18446744073709551616"] {
            assert!(connections(bad).is_err(), "{bad}");
        }
        assert_eq!(span("30"), Ok(Duration::from_secs(30)));
        assert!(span("0").is_err() && span("99999999999").is_err());
        assert_eq!(age("0"), Ok(Duration::ZERO));
        assert_eq!((retries("0"), days("30")), (Ok(0), Ok(30)));
    }

    #[test]
    fn a_pin_is_read_in_both_spellings() {
        let plain = "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
        let colons = format!(
            "sha256:{}",
            ["00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF"; 2].join(":")
        );
        assert_eq!(pin(plain), pin(&colons));
        assert_eq!(pin(plain).map(|pin| pin.to_string()), Ok(plain.to_owned()));
        for bad in [
            "",
            "sha256:",
            "sha256:00",
            &plain[7..],
            &plain[..70],
            &format!("{plain}0"),
            &format!("{plain}00"),
        ] {
            assert!(pin(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_wrong_word_is_answered_with_the_right_ones() {
        assert_eq!(links("hard"), Err("use skip or follow".to_owned()));
        assert_eq!(case("x"), Err("use strict, local or remote".to_owned()));
        assert_eq!(debug("x"), Err("use classify".to_owned()));
        assert_eq!(resolve("both"), Ok(Resolve::Both));
        assert_eq!(verify("hash"), Ok(Verify::Hash));
    }

    #[test]
    fn trash_lies_below_the_root() {
        assert_eq!(
            path_below_root(".trash/x").map(|p| p.to_string()),
            Ok(".trash/x".into())
        );
        for bad in ["", ".", "/", "/abs", "../up", "a/../b"] {
            assert!(path_below_root(bad).is_err(), "{bad}");
        }
    }
}
