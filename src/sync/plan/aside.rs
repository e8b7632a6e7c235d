//! The names that losers of conflicts get, and what gives way to an entry of another kind. Pure.

use crate::replica::Kind;
use crate::side::Side;
use crate::time::Timestamp;

/// An entry that gives way to one of another kind: it gets another name on its side before anything else is done.
#[derive(Debug, Clone)]
pub struct Aside {
    /// The plan of the directory it is in.
    pub dir: usize,
    /// The side it is on.
    pub on: Side,
    /// Its name there.
    pub name: Box<[u8]>,
    /// The name that it gets.
    pub other: Box<[u8]>,
    /// What it is.
    pub kind: Kind,
    /// Its own plan under the other name, where it is a directory that something is to be done in.
    pub plan: Option<usize>,
}

/// The name under which the loser of a conflict is kept: the first that is not taken.
pub fn aside_name(name: &[u8], now: Timestamp, is_taken: impl Fn(&[u8]) -> bool) -> Box<[u8]> {
    (0..)
        .map(|secs| conflict_name(name, now.plus_secs(secs)))
        .find(|name| !is_taken(name))
        .expect("there are more seconds than names")
        .into()
}

/// The longest ending that is kept behind the time: `.jpeg`, `.tar.gz` loses a part, a sentence is none.
const MAX_ENDING_BYTES: usize = 12;

/// `NAME.conflict-20231114-221320.EXT`, within what a name may be long.
fn conflict_name(name: &[u8], now: Timestamp) -> Vec<u8> {
    let at = now.to_ftp();
    let dot = name.iter().rposition(|byte| *byte == b'.');
    let (stem, ending) = match dot {
        Some(dot) if dot > 0 && name.len() - dot <= MAX_ENDING_BYTES => name.split_at(dot),
        Some(_) | None => (name, &b""[..]),
    };
    let mark = format!(".conflict-{}-{}", &at[..8], &at[8..]);
    let room = 255 - mark.len() - ending.len();
    let mut kept = &stem[..stem.len().min(room)];
    // A character is not cut in two.
    while kept.len() < stem.len()
        && !kept.is_empty()
        && std::str::from_utf8(kept).is_err()
        && std::str::from_utf8(stem).is_ok()
    {
        kept = &kept[..kept.len() - 1];
    }
    [kept, mark.as_bytes(), ending].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_name_says_when_and_stays_within_a_names_length() {
        let now = Timestamp::from_secs(1_700_000_000);
        let name = |name: &str| String::from_utf8(conflict_name(name.as_bytes(), now)).unwrap();
        assert_eq!(name("a.txt"), "a.conflict-20231114-221320.txt");
        assert_eq!(name("Makefile"), "Makefile.conflict-20231114-221320");
        assert_eq!(name(".netrc"), ".netrc.conflict-20231114-221320");
        assert_eq!(
            name("a. long sentence"),
            "a. long sentence.conflict-20231114-221320"
        );
        assert!(name(&"é".repeat(127)).len() <= 255);
    }
}
