//! Lines of MLSD and MLST (RFC 3659, 7.2): bytes in, facts out, no socket.

use crate::time::Timestamp;

/// What a server says of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts<'a> {
    /// What it is.
    pub kind: FactsKind,
    /// Bytes, where told and understood.
    pub size: Option<u64>,
    /// The modification time, where told and understood.
    pub modify: Option<Timestamp>,
    /// What may be done with it, one letter each, as the server wrote them.
    pub perm: Option<&'a [u8]>,
    /// What tells this entry from all others on the server.
    pub unique: Option<&'a [u8]>,
    /// Unix permission bits.
    pub unix_mode: Option<u32>,
    /// The name as it was sent: for MLST it may be a path.
    pub name: &'a [u8],
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FactsKind {
    /// A file; some servers call a named pipe one, too.
    File,
    /// A directory.
    Dir,
    /// The listed directory itself.
    CurrentDir,
    /// Its parent.
    ParentDir,
    /// A link, a device, a type that this program does not know, or none told.
    Unknown,
}

impl<'a> Facts<'a> {
    /// Parses a line without its line end; none when it is no line of facts.
    ///
    /// A fact that is not understood counts as not told. The name is everything after the blank that ends the facts, so it
    /// may begin with more blanks; values may hold some, too.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let is_end =
            |place: &usize| line[*place] == b' ' && (*place == 0 || line[*place - 1] == b';');
        let blank = (0..line.len()).find(is_end)?;
        let (told, name) = (&line[..blank], &line[blank + 1..]);
        let mut facts = Self {
            kind: FactsKind::Unknown,
            size: None,
            modify: None,
            perm: None,
            unique: None,
            unix_mode: None,
            name,
        };
        if name.is_empty() {
            return None;
        }
        for fact in told
            .split(|byte| *byte == b';')
            .filter(|fact| !fact.is_empty())
        {
            let equals = fact.iter().position(|byte| *byte == b'=')?;
            facts.take(&fact[..equals], &fact[equals + 1..]);
        }
        Some(facts)
    }

    fn take(&mut self, fact: &[u8], value: &'a [u8]) {
        match fact.to_ascii_lowercase().as_slice() {
            b"type" => self.kind = FactsKind::parse(value),
            // `sizd` is Pure-FTPd's size of a directory.
            b"size" | b"sizd" => self.size = parse_number(value),
            b"modify" => self.modify = Timestamp::parse_ftp(value),
            b"perm" => self.perm = Some(value),
            b"unique" => self.unique = Some(value),
            b"unix.mode" => {
                let digits = value.strip_prefix(b"0o").unwrap_or(value);
                self.unix_mode = std::str::from_utf8(digits)
                    .ok()
                    .and_then(|digits| u32::from_str_radix(digits, 8).ok());
            }
            _ => {}
        }
    }

    /// Parses a line of a reply to MLST, which servers indent in several ways; none when it tells no fact.
    pub fn parse_indented(line: &'a [u8]) -> Option<Self> {
        let line = line.trim_ascii_start();
        Self::parse(line).filter(|_| !line.is_empty() && line.contains(&b'='))
    }

    /// Whether anything but the name was told.
    pub const fn tell_nothing(&self) -> bool {
        matches!(self.kind, FactsKind::Unknown) && self.size.is_none() && self.modify.is_none()
    }

    /// Whether the server says that the directory can be entered.
    pub fn may_enter(&self) -> bool {
        self.perm
            .is_some_and(|perm| perm.iter().any(|letter| letter.eq_ignore_ascii_case(&b'e')))
    }
}

impl FactsKind {
    fn parse(value: &[u8]) -> Self {
        match value.to_ascii_lowercase().as_slice() {
            b"file" => Self::File,
            b"dir" => Self::Dir,
            b"cdir" => Self::CurrentDir,
            b"pdir" => Self::ParentDir,
            _ => Self::Unknown,
        }
    }
}

/// A number of decimal digits and nothing else; none when it does not fit.
pub(super) fn parse_number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, digit| {
        digit.is_ascii_digit().then_some(())?;
        value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from ProFTPD 1.3.8, Pure-FTPd 1.0.50 and pyftpdlib 2.2.0.
    const RECORDED: [&[u8]; 7] = [
        b"modify=20240229123456;perm=adfrw;size=11;type=file;unique=FE00UA10011;UNIX.mode=0644; semi;colon=x; y.txt",
        b"modify=20261122134843;perm=flcdmpe;type=cdir;unique=FE00UA10003;UNIX.mode=0755; .",
        b"modify=20261122134841;perm=adfrw;size=8;type=OS.unix=symlink;unique=FE00UA10004;UNIX.mode=0777; link_file",
        b"type=file;size=11;modify=20240229123456;UNIX.mode=0644;UNIX.uid=1002;UNIX.gid=1002;unique=fe00ga3606b;   lead2.txt",
        b"type=dir;sizd=4096;modify=20240229123456;UNIX.mode=0755;UNIX.uid=1002;UNIX.gid=1002;unique=fe00ga3608e; dir",
        b"type=OS.unix=slink:;size=7;modify=20261122141911;UNIX.mode=0777;UNIX.uid=1002;UNIX.gid=1002;unique=fe00ga360a5; link_broken",
        b"modify=20240229123456;perm=eldfmMTcp;size=4096;type=dir;unique=fe00ga38080;unix.mode=0o755; link_dir",
    ];

    #[test]
    fn reads_recorded_lines() {
        let read: Vec<_> = RECORDED
            .iter()
            .map(|line| {
                let facts = Facts::parse(line).unwrap();
                (facts.kind, facts.size, facts.name)
            })
            .collect();
        assert_eq!(
            read,
            [
                (FactsKind::File, Some(11), &b"semi;colon=x; y.txt"[..]),
                (FactsKind::CurrentDir, None, b"."),
                (FactsKind::Unknown, Some(8), b"link_file"),
                (FactsKind::File, Some(11), b"  lead2.txt"),
                (FactsKind::Dir, Some(4096), b"dir"),
                (FactsKind::Unknown, Some(7), b"link_broken"),
                (FactsKind::Dir, Some(4096), b"link_dir"),
            ]
        );
        let first = Facts::parse(RECORDED[0]).unwrap();
        assert_eq!(first.modify, Some(Timestamp::from_secs(1_709_210_096)));
        assert_eq!(
            (first.unique, first.unix_mode),
            (Some(&b"FE00UA10011"[..]), Some(0o644))
        );
        assert!(!first.may_enter() && Facts::parse(RECORDED[1]).unwrap().may_enter());
        assert_eq!(Facts::parse(RECORDED[6]).unwrap().unix_mode, Some(0o755));
    }

    #[test]
    fn survives_every_prefix_and_every_changed_byte() {
        for line in RECORDED {
            for end in 0..line.len() {
                let _ = Facts::parse(&line[..end]);
            }
            for place in 0..line.len() {
                for byte in 0..=255 {
                    let mut changed = line.to_vec();
                    changed[place] = byte;
                    if let Some(facts) = Facts::parse(&changed) {
                        assert!(changed.ends_with(facts.name));
                    }
                }
            }
        }
    }

    #[test]
    fn takes_any_case_and_fractions() {
        let facts = Facts::parse(b"TYPE=Dir;MODIFY=20240229123456.250;Size=3; A").unwrap();
        assert_eq!(facts.kind, FactsKind::Dir);
        assert_eq!(
            facts.modify,
            Some(Timestamp::from_nanos(1_709_210_096_250_000_000))
        );
    }

    #[test]
    fn values_may_hold_blanks_and_lines_may_be_indented() {
        let facts = Facts::parse(b"type=file;owner=Domain Admins;size=3; a; b").unwrap();
        assert_eq!((facts.size, facts.name), (Some(3), &b"a; b"[..]));
        let facts = Facts::parse_indented(b"    Type=Dir;Modify=20240229123456; /a").unwrap();
        assert_eq!((facts.kind, facts.name), (FactsKind::Dir, &b"/a"[..]));
        for line in [&b" Listing /a=b"[..], b" a", b"", b"End", b" Listing a; b"] {
            assert_eq!(Facts::parse_indented(line), None, "{line:?}");
        }
    }

    #[test]
    fn a_line_without_facts_has_a_name() {
        let facts = Facts::parse(b" a b").unwrap();
        assert_eq!((facts.kind, facts.name), (FactsKind::Unknown, &b"a b"[..]));
    }

    #[test]
    fn refuses_lines_that_are_none() {
        for bad in [
            &b""[..],
            b"name",
            b"type=file;",
            b"type=file; ",
            b"total 5",
            b"type=file x",
            b"file; x",
        ] {
            assert_eq!(Facts::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_number_that_is_none_is_not_told() {
        for bad in ["-1", "99999999999999999999", "1e3", "", " 1"] {
            let line = format!("size={};type=file; a", bad.trim());
            let size = Facts::parse(line.as_bytes()).unwrap().size;
            assert_eq!(size, if bad == " 1" { Some(1) } else { None }, "{bad}");
        }
    }
}
