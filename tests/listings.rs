//! Listings of one tree of odd names, recorded from six real servers, through the parsers.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use coracle::ftp::{Facts, FactsKind, ListKind, ListLine, parse_line};
use coracle::time::Timestamp;

/// When the listings were recorded: 2026-11-22 14:30 UTC.
const RECORDED: Timestamp = Timestamp::from_secs(1_795_357_800);

fn load(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/listings")
        .join(name);
    fs::read(path).unwrap()
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

fn mlsd(name: &str) -> BTreeMap<Vec<u8>, (FactsKind, Option<u64>)> {
    let text = load(name);
    lines(&text)
        .filter_map(Facts::parse)
        .map(|facts| (facts.name.to_vec(), (facts.kind, facts.size)))
        .collect()
}

type ListEntries = BTreeMap<Vec<u8>, (ListKind, Option<u64>)>;

/// The entries, and the lines that could not be read.
fn list(name: &str) -> (ListEntries, Vec<Vec<u8>>) {
    let text = load(name);
    let (mut entries, mut unreadable) = (BTreeMap::new(), Vec::new());
    for line in lines(&text) {
        match parse_line(line, RECORDED) {
            ListLine::Entry(entry) => {
                entries.insert(entry.name.to_vec(), (entry.kind, entry.size));
            }
            ListLine::Nothing => {}
            ListLine::Heading | ListLine::Unreadable => unreadable.push(line.to_vec()),
        }
    }
    (entries, unreadable)
}

#[test]
fn mlsd_shows_every_file_with_its_name_and_size() {
    for server in ["proftpd.mlsd", "pureftpd.mlsd", "pyftpdlib.mlsd"] {
        let entries = mlsd(server);
        let file = |size| Some((FactsKind::File, Some(size)));
        for name in [
            "  lead2.txt",
            " lead.txt",
            "trail2.txt  ",
            "-la",
            "a -> b.txt",
            "semi;colon=x; y.txt",
            "quote\"name.txt",
            "total 5",
            "y2110.txt",
        ] {
            assert_eq!(
                entries.get(name.as_bytes()).copied(),
                file(11),
                "{server}: {name}"
            );
        }
        assert_eq!(
            entries.get(&b"sparse5g.bin"[..]).copied(),
            file(5_368_709_120),
            "{server}"
        );
        assert_eq!(
            entries[&b"dir with space"[..]].0,
            FactsKind::Dir,
            "{server}"
        );
    }
    assert_eq!(mlsd("proftpd.mlsd")[&b"."[..]].0, FactsKind::CurrentDir);
    assert_eq!(
        mlsd("pureftpd.mlsd")[&b"link_broken"[..]].0,
        FactsKind::Unknown
    );
}

#[test]
fn list_shows_every_file_with_its_name_and_size() {
    for server in ["vsftpd.list", "busybox.list", "inetutils.list"] {
        let (entries, _) = list(server);
        for name in [
            "  lead2.txt",
            " lead.txt",
            "trail2.txt  ",
            "-la",
            "a -> b.txt",
            "semi;colon=x; y.txt",
            "quote\"name.txt",
            "total 5",
            "y2110.txt",
        ] {
            assert_eq!(
                entries.get(name.as_bytes()),
                Some(&(ListKind::File, Some(11))),
                "{server}: {name}"
            );
        }
        assert_eq!(
            entries[&b"sparse5g.bin"[..]],
            (ListKind::File, Some(5_368_709_120)),
            "{server}"
        );
        assert_eq!(entries[&b"dir with space"[..]].0, ListKind::Dir, "{server}");
        for link in ["link_dir", "link_out", "link_up", "link_broken"] {
            assert_eq!(
                entries[link.as_bytes()].0,
                ListKind::Special,
                "{server}: {link}"
            );
        }
        assert_eq!(entries[&b"fifo"[..]].0, ListKind::Special, "{server}");
    }
}

#[test]
fn a_name_with_a_line_break_leaves_a_line_that_cannot_be_read() {
    assert_eq!(list("vsftpd.list").1, [b"line.txt".to_vec()]);
    assert_eq!(list("inetutils.list").1, [b"line.txt".to_vec()]);
    // BusyBox writes a question mark in its place.
    assert_eq!(list("busybox.list").1, [b""; 0]);
}

#[test]
fn recorded_listings_cut_anywhere_never_panic() {
    for name in [
        "proftpd.mlsd",
        "pureftpd.mlsd",
        "pyftpdlib.mlsd",
        "vsftpd.list",
        "busybox.list",
        "inetutils.list",
    ] {
        let text = load(name);
        for line in lines(&text) {
            for end in 0..line.len() {
                let _ = Facts::parse(&line[..end]);
                let _ = parse_line(&line[..end], RECORDED);
            }
            for place in 0..line.len() {
                for byte in [0, b' ', b';', b'=', b'0', b'9', 0x80, 0xff] {
                    let mut changed = line.to_vec();
                    changed[place] = byte;
                    let _ = Facts::parse(&changed);
                    let _ = parse_line(&changed, RECORDED);
                }
            }
        }
    }
}
