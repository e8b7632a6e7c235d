//! What replicas on servers are held to, whatever the protocol: what may be replaced, what a failed transfer leaves, what a
//! confirmation is worth.

use std::fmt::Display;
use std::sync::Once;

use crate::error::{Error, ErrorKind, Result};
use crate::path::{RelPath, fold_case};
use crate::replica::{Listing, Renaming, Replica, Source, Stat};

/// Whether what is under the final name is what the caller meant to replace.
pub(super) fn check_replaced(expected: Option<Stat>, present: Option<Stat>) -> Result<()> {
    let what = match (expected, present) {
        (None, None) => return Ok(()),
        (Some(expected), Some(present)) if present.may_equal(&expected) => return Ok(()),
        (Some(_), Some(_)) => "the file there has changed since it was listed",
        (Some(_), None) => "the file there has vanished since it was listed",
        (None, Some(_)) => "something of that name has appeared there since it was listed",
    };
    Err(ErrorKind::Changed(what).into())
}

/// Whether the place where the old file is to go is free.
pub(super) fn check_aside(present: Option<Stat>) -> Result<()> {
    match present {
        Some(_) => {
            Err(ErrorKind::Changed("something is already where the old file is to go").into())
        }
        None => Ok(()),
    }
}

/// Whether the new name is free, of which the server told that before a rename: some replace a file without a word.
pub(super) fn check_free(
    replica: &mut dyn Replica,
    there: Option<Stat>,
    renaming: &Renaming,
) -> Result<()> {
    match there {
        Some(_) if is_respelling(replica, renaming)? => Ok(()),
        Some(_) => Err(taken()),
        None => Ok(()),
    }
}

/// Something has the new name of what was to be renamed: nothing is replaced by a rename.
fn taken() -> Error {
    ErrorKind::Changed("there is something under the new name already").into()
}

/// Whether the old file is out of the way, and where it was to go: what replaces it would be the end of it otherwise.
pub(super) fn check_moved_aside(place: Option<Stat>, aside: Option<Stat>) -> Result<()> {
    match (place, aside) {
        (None, Some(_)) => Ok(()),
        (Some(_), _) => Err(unmoved()),
        (None, None) => Err(misplaced(None)),
    }
}

/// The rename was confirmed, and what was to be renamed is where it was.
pub(super) fn unmoved() -> Error {
    let text = "the server confirmed the rename, but shows the old name".to_owned();
    ErrorKind::Verify(text).into()
}

/// Whether the new name, which the server has confirmed, is free all the same: it differs in case alone, and is the old one for a
/// server that does not tell case apart. Such a server lists the old one alone.
fn is_respelling(replica: &mut dyn Replica, renaming: &Renaming) -> Result<bool> {
    let Renaming { from, to } = renaming;
    let dir = from.parent();
    let (from, to) = (from.as_bytes(), to.as_bytes());
    if from == to || fold_case(from) != fold_case(to) || renaming.to.parent() != dir {
        return Ok(false);
    }
    let mut listing = Listing::new();
    replica.list(&dir, &mut listing)?;
    let is_listed = |path: &RelPath| {
        let name = path.name();
        name.is_some_and(|name| listing.find(name.as_bytes()).is_some())
    };
    Ok(listing.gap().is_none() && is_listed(&renaming.from) && !is_listed(&renaming.to))
}

/// Tells, once, that files do not get the mode that is asked for.
pub(super) fn tell_unset_mode(why: &dyn Display) {
    static TOLD: Once = Once::new();
    TOLD.call_once(|| {
        log::warn!("--chmod: the remote side does not set this mode ({why}); its files get what it gives them");
    });
}

/// The rename was confirmed, and yet the file is not there: Pure-FTPd, for one, writes some names in another way.
pub(super) fn misplaced(shown: Option<Stat>) -> Error {
    let text = match shown {
        None => "the server confirmed the rename, but does not show the file; it may not keep such a name".to_owned(),
        Some(stat) => format!(
            "the server confirmed the rename, but shows another file there ({} bytes)",
            stat.size
        ),
    };
    ErrorKind::Verify(text).into()
}

/// A source that does not have the size it should have; where it knows better why, it says so itself.
pub(super) fn misread(source: &mut dyn Source) -> Error {
    let text = "the source is not as long as it was listed";
    match source.finish() {
        Err(error) => error,
        Ok(()) => ErrorKind::Verify(text.to_owned()).into(),
    }
}

/// What a failed transfer left under the partial name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Litter {
    /// The beginning of the file: the next try can go on.
    Resumable,
    /// Nothing, or something else.
    Useless,
}

impl Litter {
    pub(super) fn after(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Changed(_) | ErrorKind::Verify(_) => Self::Useless,
            _ if error.is_full() => Self::Useless,
            _ => Self::Resumable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Scope;
    use crate::time::Timestamp;

    #[test]
    fn only_what_was_listed_is_replaced() {
        let listed = Stat::file(5, Timestamp::from_secs(100));
        let other = Stat::file(6, Timestamp::from_secs(100));
        assert!(check_replaced(None, None).is_ok());
        assert!(check_replaced(Some(listed), Some(listed)).is_ok());
        for (expected, present) in [
            (Some(listed), Some(other)),
            (Some(listed), None),
            (None, Some(listed)),
        ] {
            let error = check_replaced(expected, present).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Changed(_)));
            assert_eq!(error.scope(), Scope::Entry);
        }
    }
}
