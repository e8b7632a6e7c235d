//! What a server was found to do: the ways that hold, each in the place of those before it that failed. All targets of one
//! connector share it, and a [`Memory`] keeps it for the next run.

use super::{SetTime, Setter};
use crate::ftp::{Features, Tricks};

/// Keeps what was learnt of servers from one run to the next.
pub trait Memory: Send + Sync {
    /// What was kept of the server at `place`, which is host and port.
    fn recall(&self, place: &str) -> Option<Vec<u8>>;

    /// Keeps `text`, some lines of readable words. A failure is nobody's business: it only costs the next run some time.
    fn keep(&self, place: &str, text: &[u8]);
}

/// What this server was found to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Learnt {
    pub(super) lists: Lists,
    pub(super) looks: Looks,
    pub(super) setter: Setter,
    /// What is to be added to the times of `LIST`, in seconds. Not kept: clocks are set forward in spring.
    pub(super) zone_secs: Option<i64>,
    /// Whether `RNTO` replaces an existing file.
    pub(super) renames_over: bool,
    /// Whether it sets modes (`SITE CHMOD`), and tells them where `MLST` does not (`STAT` of a file). Not kept.
    pub(super) sets_modes: bool,
    pub(super) tells_modes: bool,
    /// Whether `LIST` has the year behind the time of day.
    pub(super) has_years_behind: bool,
    /// Whether the times that `MDTM` tells are wrong.
    pub(super) has_wrong_mdtm: bool,
    /// Whether names that are no ASCII are listed as they were sent; none before one was sent.
    pub(super) keeps_letters: Option<bool>,
    /// Whether a name was confirmed that is there: before that a denial says nothing.
    pub(super) has_confirmed: bool,
    /// Whether a reset was seen to take the end of a listing with it. Not kept.
    pub(super) loses_ends: bool,
    /// How many directories were listed a second time to see whether `MLSD` shows all.
    pub(super) mlsd_trials: u8,
}

/// How directories are listed, the most exact way first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lists {
    /// `MLSD`.
    Mlsd,
    /// `MLSD`, which lacks something that `LIST` does not tell either.
    MlsdAtBest,
    /// `LIST -a`, which was seen to work or not.
    ListAll { proven: bool },
    /// `LIST`: the server takes `-a` for a name.
    List,
    /// `NLST`, and a question for each name: no line of `LIST` can be read.
    Nlst,
}

/// How a name is asked for, the most exact way first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Looks {
    /// `MLST`.
    Mlst,
    /// `SIZE` and `MDTM`, and `CWD` for directories.
    Size,
    /// The listing of the directory that it is in.
    Listing,
}

const LISTS: [(&str, Lists); 5] = [
    ("MLSD", Lists::Mlsd),
    ("MLSD at best", Lists::MlsdAtBest),
    ("LIST -a", Lists::ListAll { proven: true }),
    ("LIST", Lists::List),
    ("NLST", Lists::Nlst),
];

const LOOKS: [(&str, Looks); 3] = [
    ("MLST", Looks::Mlst),
    ("SIZE", Looks::Size),
    ("listing", Looks::Listing),
];

const SETTERS: [(&str, Setter); 5] = [
    ("MFMT", Setter::Known(SetTime::Mfmt)),
    ("MDTM", Setter::Known(SetTime::Mdtm)),
    ("SITE UTIME", Setter::Known(SetTime::SiteUtime)),
    ("SITE UTIME with UTC", Setter::Known(SetTime::SiteUtimeLong)),
    ("none", Setter::Missing),
];

impl Learnt {
    /// What the features promise.
    pub(super) fn of(features: &Features) -> Self {
        // A server that tells its features and leaves one out does not have it; one that tells nothing may have all.
        let mlst = features.mlst || !features.told;
        Self {
            lists: if mlst {
                Lists::Mlsd
            } else {
                Lists::ListAll { proven: false }
            },
            looks: if mlst { Looks::Mlst } else { Looks::Size },
            setter: Setter::Untried,
            zone_secs: None,
            renames_over: true,
            sets_modes: true,
            tells_modes: true,
            has_years_behind: false,
            has_wrong_mdtm: false,
            keeps_letters: None,
            has_confirmed: false,
            loses_ends: false,
            mlsd_trials: 0,
        }
    }

    /// Takes in what an earlier run kept; lines that this version does not know are passed over.
    pub(super) fn recall(mut self, tricks: &Tricks, text: &[u8]) -> Self {
        for (key, value) in tricks.lines_of(text) {
            match key {
                "lists" => self.lists = named(&LISTS, value).unwrap_or(self.lists),
                "looks" => self.looks = named(&LOOKS, value).unwrap_or(self.looks),
                "times" => self.setter = named(&SETTERS, value).unwrap_or(self.setter),
                "renames" => self.renames_over = value != "aside",
                "letters" => self.keeps_letters = Some(value == "kept"),
                "mdtm" => self.has_wrong_mdtm = value == "wrong",
                "years" => self.has_years_behind = value == "behind",
                _ => {}
            }
        }
        self
    }

    /// The lines to keep.
    pub(super) fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = Vec::new();
        let mut add = |key, value: Option<&str>| {
            lines.extend(value.map(|value| (key, value.to_owned())));
        };
        add("lists", name_of(&LISTS, self.lists));
        add("looks", name_of(&LOOKS, self.looks));
        add("times", name_of(&SETTERS, self.setter));
        add("renames", (!self.renames_over).then_some("aside"));
        add(
            "letters",
            self.keeps_letters
                .map(|kept| if kept { "kept" } else { "changed" }),
        );
        add("mdtm", self.has_wrong_mdtm.then_some("wrong"));
        add("years", self.has_years_behind.then_some("behind"));
        lines
    }

    /// That way to ask for names yields nothing that can be used.
    pub(super) fn leave_looks(&mut self, looks: Looks) {
        let next = match looks {
            Looks::Mlst => Looks::Size,
            Looks::Size | Looks::Listing => Looks::Listing,
        };
        if next > self.looks {
            log::debug!("names are asked for by {next:?} from now on");
            self.looks = next;
        }
    }
}

fn named<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    let row = table.iter().find(|(known, _)| *known == name)?;
    Some(row.1)
}

fn name_of<T: PartialEq>(table: &[(&'static str, T)], value: T) -> Option<&'static str> {
    let row = table.iter().find(|(_, known)| *known == value)?;
    Some(row.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_learnt_comes_back_as_text() {
        let fresh = Learnt::of(&Features::default());
        let mut learnt = fresh;
        learnt.lists = Lists::ListAll { proven: true };
        learnt.leave_looks(Looks::Mlst);
        learnt.setter = Setter::Known(SetTime::SiteUtimeLong);
        learnt.renames_over = false;
        learnt.zone_secs = Some(3600);
        let tricks = Tricks::default();
        let text = tricks.to_text(&learnt.lines());
        // Nobody has greeted, so it is nobody's.
        assert_eq!(fresh.recall(&tricks, &text), fresh);
        let lines: Vec<String> = learnt
            .lines()
            .iter()
            .map(|(key, value)| format!("{key} {value}"))
            .collect();
        assert_eq!(
            lines,
            [
                "lists LIST -a",
                "looks SIZE",
                "times SITE UTIME with UTC",
                "renames aside"
            ]
        );
    }

    #[test]
    fn a_way_that_failed_is_not_gone_back_to() {
        let mut learnt = Learnt::of(&Features::default());
        learnt.leave_looks(Looks::Size);
        learnt.leave_looks(Looks::Mlst);
        assert_eq!(learnt.looks, Looks::Listing);
    }
}
