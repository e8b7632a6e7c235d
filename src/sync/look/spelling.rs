//! Names that a side spells otherwise than it was told: decomposed, in other case, without dots or blanks at their end, with `_`
//! for what it does not take. And names that its user spells otherwise now: renamed in case alone.
//!
//! The two are told apart by asking for the name that is not listed:
//!
//! ```text
//!  confirmed  the side takes both names for one: its own spelling, which is recorded for that side
//!  denied     the side tells them apart: the user renamed it, where the two differ in case alone
//! ```
//!
//! Only names that look alike are asked about, so that a directory in which all is spelled as it was told costs nothing.

use crate::error::{Result, Scope};
use crate::job::Case;
use crate::path::{Escaped, Fnv64, Name, RelPath, fold_case};
use crate::replica::Stat;
use crate::side::{Side, Sides};
use crate::sync::look::Found;
use crate::sync::look::directory::Where;
use crate::sync::record::{Change, Intent, What};
use crate::sync::workers::Hands;

/// How many names are asked about in one go.
const BATCH: usize = 256;

/// A listed name that stands for another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spelling {
    /// The name that the side lists.
    pub shown: Box<[u8]>,
    /// The name that it pairs by: the recorded one, or the one of the other side.
    pub meant: Box<[u8]>,
    /// Whether the side tells the two names apart, so that its user renamed the entry.
    pub is_rename: bool,
}

/// Two names that a side takes for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meeting {
    /// The name that it does not list, as it pairs.
    pub name: Box<[u8]>,
    /// That side.
    pub on: Side,
    /// The name that it lists.
    pub with: Box<[u8]>,
    /// Whether both were recorded: then nobody can say whose content is there.
    pub is_recorded: bool,
}

/// A name that a side should list, and does not.
struct Wanted {
    /// The name as that side was told it.
    name: Box<[u8]>,
    /// The name that it pairs by.
    meant: Box<[u8]>,
    /// Whether it was recorded, or about to be placed, under this name; otherwise the other side has it.
    is_given: bool,
}

/// Finds the names that a side spells otherwise, on those that were listed, and takes them in.
///
/// `case` says whether names that differ in case alone are two at all.
pub fn find(found: &mut Found, hands: &mut Hands<'_>, at: &Where, case: Case) -> Result<()> {
    for side in Side::BOTH {
        if *at.there.of(side) && !(side == Side::Remote && at.is_remote_known) {
            find_on(found, hands, side, at.paths.of(side))?;
        }
    }
    if case == Case::Strict {
        let mut renames: Vec<(Side, Spelling)> = Vec::new();
        for side in Side::BOTH {
            let of_side = found.spellings.of_mut(side);
            renames.extend(
                of_side
                    .extract_if(.., |one| one.is_rename)
                    .map(|one| (side, one)),
            );
        }
        let sure = renames.iter().filter(|(_, one)| {
            let of_record = renames.iter().filter(|(_, other)| other.meant == one.meant);
            is_one_file(found, &of_record.collect::<Vec<_>>())
        });
        let sure: Vec<(Side, Spelling)> = sure.cloned().collect();
        for (side, one) in sure {
            found.spellings.of_mut(side).push(one);
        }
    }
    let Found {
        meetings,
        spellings,
        ..
    } = found;
    // What its user renamed meets nothing but its old name.
    meetings.retain(|meeting| {
        let mut of_peer = spellings.of(meeting.on.peer()).iter();
        of_peer.all(|spelling| spelling.shown != meeting.name)
    });
    Ok(())
}

/// Whether the renames of one record are about that file, with `--case strict`: another file under the new name is another one,
/// unless the other side takes both names for one.
fn is_one_file(found: &Found, renames: &[&(Side, Spelling)]) -> bool {
    let is_as_recorded = |(side, one): &&(Side, Spelling)| is_as_recorded(found, *side, one);
    let has_one_name = renames
        .windows(2)
        .all(|pair| pair[0].1.shown == pair[1].1.shown);
    let is_taken_for_one = |(side, one): &&(Side, Spelling)| {
        let mut meetings = found.meetings.iter();
        meetings.any(|meeting| meeting.on == side.peer() && meeting.name == one.shown)
    };
    renames.iter().all(&is_as_recorded)
        || has_one_name && renames.iter().any(is_as_recorded) && renames.len() > 1
        || renames.iter().any(is_taken_for_one)
}

/// Whether the side shows what is recorded of it.
fn is_as_recorded(found: &Found, side: Side, spelling: &Spelling) -> bool {
    let record = found.block.find(&spelling.meant);
    let entry = found.listings.of(side).find(&spelling.shown);
    record
        .zip(entry)
        .is_some_and(|(record, entry)| match record.what {
            What::File(shown) => shown.of(side).is_same(&entry.shown),
            What::Dir => false,
        })
}

fn find_on(found: &mut Found, hands: &mut Hands<'_>, side: Side, dir: &RelPath) -> Result<()> {
    if !*found.complete.of(side) || found.listings.of(side).is_empty() {
        return Ok(());
    }
    let mut search = Search::of(found, side);
    let mut wanted = search.wanted(found);
    if wanted.is_empty() {
        return Ok(());
    }
    search.look(found);
    let listing = found.listings.of(side);
    let has_free = (listing.iter()).any(|entry| search.is_free(found, entry.name.as_bytes()));
    wanted.retain(|wanted| wanted.is_given && has_free || search.has_alike(&wanted.name));
    for batch in wanted.chunks(BATCH) {
        let names: Vec<&[u8]> = batch.iter().map(|wanted| &*wanted.name).collect();
        let answers = ask(hands, side, dir, &names)?;
        let mut likely = Vec::new();
        for (wanted, answer) in batch.iter().zip(answers) {
            match answer {
                Some(Some(stat)) => {
                    let shown = search.settle(found, wanted, &stat);
                    likely.extend(shown.map(|shown| (wanted, shown)));
                }
                Some(None) => search.take_rename(found, wanted),
                None => {}
            }
        }
        // A server that knows the file by the name it was told alone can be asked for nothing else.
        let names: Vec<&[u8]> = likely.iter().map(|(_, shown)| &**shown).collect();
        let answers = ask(hands, side, dir, &names)?;
        for ((wanted, shown), answer) in likely.iter().zip(answers) {
            if matches!(answer, Some(Some(_))) {
                search.respell(found, wanted, shown);
            } else if wanted.is_given {
                leave_untold(found, side, &wanted.name);
            }
        }
    }
    Ok(())
}

/// What is at these names; none where that cannot be told.
fn ask(
    hands: &mut Hands<'_>,
    side: Side,
    dir: &RelPath,
    names: &[&[u8]],
) -> Result<Vec<Option<Option<Stat>>>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let paths: Vec<RelPath> = names
        .iter()
        .map(|name| dir.join(Name::accepted(name)))
        .collect();
    let answers = hands.of(side)?.look_up(&paths).into_iter();
    let told = answers.map(|answer| match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.scope() == Scope::Entry => Ok(None),
        Err(error) => Err(error),
    });
    told.collect()
}

fn leave_untold(found: &mut Found, side: Side, name: &[u8]) {
    let text = format!(
        "{} is not listed, and is there when asked for",
        Escaped(name)
    );
    found.listings.of_mut(side).mark_incomplete(text);
    *found.complete.of_mut(side) = false;
}

/// A search for the spellings of one side.
struct Search {
    side: Side,
    /// The names of records that the remote side spells otherwise, as it does; sorted.
    spelled: Vec<Box<[u8]>>,
    /// The listed names by how they look: the hash of that, and where they stand.
    looks: Vec<(u32, u32)>,
}

impl Search {
    fn of(found: &Found, side: Side) -> Self {
        let records = found.block.iter().filter(|_| found.block.has_spellings());
        let spelled = records.filter_map(|record| record.remote_name);
        let mut spelled: Vec<Box<[u8]>> = spelled.map(|name| name.as_bytes().into()).collect();
        spelled.sort_unstable();
        Self {
            side,
            spelled,
            looks: Vec::new(),
        }
    }

    fn is_recorded(&self, found: &Found, side: Side, name: &[u8]) -> bool {
        let record = found.block.find(name);
        match side {
            Side::Local => record.is_some(),
            Side::Remote => {
                record.is_some_and(|record| record.remote_name.is_none())
                    || self
                        .spelled
                        .binary_search_by(|other| (**other).cmp(name))
                        .is_ok()
            }
        }
    }

    /// Whether nothing but this side speaks of the name.
    fn is_free(&self, found: &Found, name: &[u8]) -> bool {
        !self.is_recorded(found, self.side, name)
            && found.listings.of(self.side.peer()).find(name).is_none()
            && (found.spellings.of(self.side).iter()).all(|spelling| *spelling.shown != *name)
    }

    /// What should be listed, and is not: what is recorded or was about to be placed, and what the other side has.
    fn wanted(&self, found: &Found) -> Vec<Wanted> {
        let side = self.side;
        let is_listed = |name: &[u8]| found.listings.of(side).find(name).is_some();
        let records = found.block.iter();
        let lacking = records.filter(|record| !is_listed(record.name_on(side).as_bytes()));
        let mut wanted: Vec<Wanted> = lacking
            .map(|record| Wanted {
                name: record.name_on(side).as_bytes().into(),
                meant: record.name.as_bytes().into(),
                is_given: true,
            })
            .collect();
        let is_placed = |name: &[u8]| {
            found.block.intents().iter().any(
                |intent| matches!(intent, Intent::Place { name: placed, to, .. } if *to == side && **placed == *name),
            )
        };
        let of_peer = found.listings.of(side.peer()).iter();
        let of_peer = of_peer
            .map(|entry| entry.name.as_bytes())
            .filter(|name| !is_listed(name) && !self.is_recorded(found, side.peer(), name));
        wanted.extend(of_peer.map(|name| Wanted {
            name: name.into(),
            meant: name.into(),
            is_given: is_placed(name),
        }));
        wanted
    }

    fn look(&mut self, found: &Found) {
        let names = found.listings.of(self.side).iter().zip(0..);
        let looks = names.map(|(entry, place)| (look_hash(entry.name.as_bytes()), place));
        self.looks = looks.collect();
        self.looks.sort_unstable();
    }

    fn has_alike(&self, name: &[u8]) -> bool {
        let hash = look_hash(name);
        let found = self.looks.binary_search_by_key(&hash, |(hash, _)| *hash);
        found.is_ok()
    }

    /// The listed names that look like this one.
    fn alike<'f>(&'f self, found: &'f Found, name: &[u8]) -> impl Iterator<Item = &'f [u8]> {
        let (hash, look) = (look_hash(name), skeleton(name));
        let start = self.looks.partition_point(|(other, _)| *other < hash);
        let of_hash = self.looks[start..]
            .iter()
            .take_while(move |(other, _)| *other == hash);
        of_hash
            .map(|(_, place)| found.listings.of(self.side).name_at(*place as usize))
            .filter(move |other| skeleton(other) == look)
    }

    /// The one listed entry that the confirmed name can be. Where all that it can be goes by a name of its own, the two meet on
    /// this side. Where a recorded name is none of what is listed, nothing may be deleted for want of it.
    fn settle(&self, found: &mut Found, wanted: &Wanted, stat: &Stat) -> Option<Box<[u8]>> {
        let is_fitting = |name: &&[u8]| {
            let entry = found.listings.of(self.side).find(name);
            entry.is_some_and(|entry| entry.shown.may_equal(stat))
        };
        let fitting = self.alike(found, &wanted.name).filter(is_fitting);
        let (free, taken): (Vec<&[u8]>, Vec<&[u8]>) =
            fitting.partition(|name| self.is_free(found, name));
        match (&free[..], &taken[..]) {
            // Names that differ in case alone, and were never one, are for --case to tell.
            ([shown], _) if !wanted.is_given && fold_case(shown) == fold_case(&wanted.name) => None,
            ([shown], _) => Some((*shown).into()),
            ([], [taken, ..]) => {
                let taken = (*taken).into();
                self.tell_meeting(found, wanted, taken);
                None
            }
            (_, _) => {
                if wanted.is_given {
                    leave_untold(found, self.side, &wanted.name);
                }
                None
            }
        }
    }

    /// Two names of the other side are one here: only the one that has the entry goes on.
    fn tell_meeting(&self, found: &mut Found, wanted: &Wanted, taken: Box<[u8]>) {
        found.meetings.push(Meeting {
            name: wanted.meant.clone(),
            on: self.side,
            with: taken,
            is_recorded: found.block.find(&wanted.meant).is_some(),
        });
    }

    /// Takes in how the side spells the name.
    fn respell(&mut self, found: &mut Found, wanted: &Wanted, shown: &[u8]) {
        if !self.is_free(found, shown) {
            return self.tell_meeting(found, wanted, shown.into());
        }
        // What is known of a local directory goes by its old name until the walk has been there.
        let record = found.block.find(&wanted.meant);
        let Some(record) =
            record.filter(|record| self.side == Side::Remote || record.what != What::Dir)
        else {
            found.spellings.of_mut(self.side).push(Spelling {
                shown: shown.into(),
                meant: wanted.meant.clone(),
                is_rename: false,
            });
            return;
        };
        let mut names = record.names().map(|name| Box::from(name.as_bytes()));
        *names.of_mut(self.side) = shown.into();
        for change in renamed(&wanted.meant, names, record.what, record.ids) {
            found.block.apply(&change);
            found.notes.push(change);
        }
        if self.side == Side::Remote
            && let Err(place) = self.spelled.binary_search_by(|other| (**other).cmp(shown))
        {
            self.spelled.insert(place, shown.into());
        }
    }

    /// Takes a listed name for the one of this record, which the side denies: where the two differ in case alone.
    fn take_rename(&self, found: &mut Found, wanted: &Wanted) {
        let Some(record) = found.block.find(&wanted.meant) else {
            return;
        };
        let folded = fold_case(&wanted.name);
        let peer = found.listings.of(self.side.peer());
        let of_peer = record.name_on(self.side.peer());
        let is_renamed_there = peer.find(of_peer.as_bytes()).is_none();
        let is_new = |name: &&[u8]| {
            let is_its_own = peer.find(name).is_some() && !is_renamed_there;
            fold_case(name) == folded
                && !self.is_recorded(found, self.side, name)
                && !is_its_own
                && (found.spellings.of(self.side).iter()).all(|other| *other.shown != **name)
        };
        let mut news = self.alike(found, &wanted.name).filter(is_new);
        if let (Some(shown), None) = (news.next(), news.next()) {
            let spelling = Spelling {
                shown: shown.into(),
                meant: wanted.meant.clone(),
                is_rename: true,
            };
            drop(news);
            found.spellings.of_mut(self.side).push(spelling);
        }
    }
}

/// What puts the record of `old` under the names that both sides have now.
pub fn renamed(old: &[u8], names: Sides<Box<[u8]>>, what: What, ids: Sides<u64>) -> Vec<Change> {
    let mut changes = Vec::new();
    if *old != *names.local {
        changes.push(Change::Forget { name: old.into() });
    }
    changes.push(Change::Set {
        remote_name: Some(names.remote).filter(|remote| *remote != names.local),
        name: names.local,
        what,
        ids,
    });
    changes
}

/// A number for what a name looks like: names that a side may list as one another have the same.
fn look_hash(name: &[u8]) -> u32 {
    hash_of(&[&skeleton(name)])
}

/// A number for what a name is to a side that folds case or decomposes letters: names that such a side takes for one have the
/// same. It tells more names apart than looks do, so that copies to names without ASCII letters need not wait for each other.
pub fn twin_hash(name: &[u8]) -> u32 {
    hash_of(&[&skeleton(name), letters(name).as_bytes()])
}

fn hash_of(parts: &[&[u8]]) -> u32 {
    let mut hash = Fnv64::new();
    parts.iter().for_each(|part| hash.update(part));
    let hash = hash.finish();
    (hash ^ hash >> 32) as u32
}

/// The letters beyond ASCII that stay what they are where sides change a name, in lower case; without those that carry a mark.
fn letters(name: &[u8]) -> String {
    let mut kept = String::new();
    for chunk in name.utf8_chunks() {
        let mut chars = chunk.valid().chars().peekable();
        while let Some(one) = chars.next() {
            if !chars.peek().is_some_and(is_mark) {
                kept.extend(jamo(one).into_iter().flatten());
                kept.extend(one.to_lowercase().filter(is_stable));
            }
        }
    }
    kept
}

/// Marks that compose with the letter before them.
fn is_mark(one: &char) -> bool {
    matches!(one, '\u{300}'..='\u{36f}' | '\u{591}'..='\u{5c7}' | '\u{64b}'..='\u{65f}' | '\u{3099}' | '\u{309a}')
}

/// Letters in lower case that are no composition and have one upper case at most: Greek, Cyrillic, Hebrew, Arabic, Thai, Hangul
/// in parts, kana without a voiced counterpart, ideographs.
fn is_stable(one: &char) -> bool {
    !matches!(one, '\u{3c2}' | '\u{3c3}' | '\u{439}')
        && matches!(one,
            '\u{3b1}'..='\u{3c9}' | '\u{430}'..='\u{44f}' | '\u{5d0}'..='\u{5ea}' | '\u{628}'..='\u{64a}'
            | '\u{e01}'..='\u{e4e}' | '\u{1100}'..='\u{11ff}' | '\u{3041}'..='\u{304a}' | '\u{306a}'..='\u{306e}'
            | '\u{307e}'..='\u{3093}' | '\u{30a1}'..='\u{30aa}' | '\u{30ca}'..='\u{30ce}' | '\u{30de}'..='\u{30f3}'
            | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}')
}

/// The parts of a Hangul syllable (The Unicode Standard, 3.12): leading consonant, vowel, trailing consonant.
fn jamo(one: char) -> [Option<char>; 3] {
    let Some(place) = (one as u32)
        .checked_sub(0xac00)
        .filter(|place| *place < 11172)
    else {
        return [None; 3];
    };
    let trailing = Some(place % 28).filter(|trailing| *trailing > 0);
    [
        char::from_u32(0x1100 + place / 588),
        char::from_u32(0x1161 + place % 588 / 28),
        trailing.and_then(|trailing| char::from_u32(0x11a7 + trailing)),
    ]
}

/// What is left of a name where sides change it: its ASCII in lower case, without letters that carry a mark of their own, without
/// blanks around it and dots at its end, and without what Windows does not take and the `_` that stands for it.
fn skeleton(name: &[u8]) -> Vec<u8> {
    let end = name.iter().rposition(|byte| !matches!(byte, b'.' | b' '));
    let name = &name[..end.map_or(0, |end| end + 1)];
    let mut look = Vec::with_capacity(name.len());
    for (place, byte) in name.iter().enumerate() {
        let is_marked = matches!(
            name[place + 1..],
            [0xcc, 0x80..=0xbf, ..] | [0xcd, 0x80..=0xaf, ..]
        );
        let is_kept = byte.is_ascii() && !is_marked && !byte.is_ascii_control();
        if is_kept && !b"<>:\"\\|?*_".contains(byte) {
            look.push(byte.to_ascii_lowercase());
        }
    }
    look.trim_ascii_start().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_its_other_spellings() {
        let spelled =
            |one: &str, other: &str| skeleton(one.as_bytes()) == skeleton(other.as_bytes());
        assert!(spelled("caf\u{e9}.jpg", "cafe\u{301}.jpg"));
        assert!(spelled("\u{ac00}.txt", "\u{1100}\u{1161}.txt"));
        assert!(spelled("Photo.JPG", "photo.jpg"));
        assert!(spelled("name. ", "name"));
        assert!(spelled(" name", "name"));
        assert!(spelled("a: b?", "a_ b_"));
        for (one, other) in [
            ("a.jpg", "b.jpg"),
            ("photo1.jpg", "photo2.jpg"),
            ("photo", "photo1"),
            ("cafe", "caf\u{e9}"),
            (".htaccess", "htaccess"),
        ] {
            assert!(!spelled(one, other), "{one} and {other}");
        }
    }

    #[test]
    fn names_that_a_side_takes_for_one() {
        let twins =
            |one: &str, other: &str| twin_hash(one.as_bytes()) == twin_hash(other.as_bytes());
        for (one, other) in [
            ("caf\u{e9}.jpg", "cafe\u{301}.jpg"),
            ("\u{ac01}.txt", "\u{1100}\u{1161}\u{11a8}.txt"),
            ("Май.txt", "маи\u{306}.txt"),
            ("ФОТО.jpg", "фото.JPG"),
            ("ΣΟΦΙΑΣ", "σοφιας"),
            ("ガラス", "カ\u{3099}ラス"),
            ("name. ", "name"),
        ] {
            assert!(twins(one, other), "{one} and {other}");
        }
        for (one, other) in [
            ("фото.jpg", "мама.jpg"),
            ("写真.jpg", "動画.jpg"),
            ("\u{ac00}.txt", "\u{b098}.txt"),
            ("なま", "まな"),
            ("ไทย", "ทะเล"),
        ] {
            assert!(!twins(one, other), "{one} and {other}");
        }
    }
}
