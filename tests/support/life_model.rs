//! What a run may take away. See the head of `tests/life.rs` for the model in words.

#![allow(unreachable_pub)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::life_tree::{Content, Seen, is_at_or_below, is_below, parent};

/// One of the two sides of a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    Local,
    Remote,
}

impl Side {
    pub const BOTH: [Self; 2] = [Self::Local, Self::Remote];

    pub fn peer(self) -> Self {
        match self {
            Self::Local => Self::Remote,
            Self::Remote => Self::Local,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Remote => "remote",
        }
    }
}

/// What both sides show.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Both {
    pub local: Seen,
    pub remote: Seen,
}

impl Both {
    pub fn of(&self, side: Side) -> &Seen {
        match side {
            Side::Local => &self.local,
            Side::Remote => &self.remote,
        }
    }

    pub fn is_like(&self, other: &Self) -> bool {
        self.local.is_like(&other.local) && self.remote.is_like(&other.remote)
    }

    /// The content that both sides have at this path.
    fn in_step(&self, path: &str) -> Option<Content> {
        let content = self.local.files.get(path)?;
        (self.remote.files.get(path) == Some(content)).then_some(*content)
    }

    pub fn shown(&self) -> String {
        format!(
            "  local:  {}\n  remote: {}\n",
            self.local.shown(),
            self.remote.shown()
        )
    }
}

/// What a run was asked to do, as far as the model cares.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The side that is written; none for `sync`.
    pub follower: Option<Side>,
    pub deletes: bool,
    pub is_dry: bool,
    pub allows_empty: bool,
    /// The only branch to be walked.
    pub only: Option<String>,
    /// Patterns of the forms `*.EXT`, `DIR/` and `/NAME`.
    pub excluded: Vec<&'static str>,
}

impl Asked {
    /// Whether the run leaves this path alone.
    pub fn leaves_out(&self, path: &str) -> bool {
        let is_elsewhere = |only: &String| !is_at_or_below(path, only);
        self.only.as_ref().is_some_and(is_elsewhere)
            || self.excluded.iter().any(|pattern| matches(pattern, path))
    }
}

/// Whether a pattern leaves a file out, by its own name or a directory's above it.
fn matches(pattern: &str, path: &str) -> bool {
    if let Some(extension) = pattern.strip_prefix('*') {
        return path.split('/').any(|name| name.ends_with(extension));
    }
    match pattern.strip_prefix('/') {
        Some(name) => is_at_or_below(path, name),
        None => {
            let dir = pattern.trim_end_matches('/');
            parent(path).split('/').any(|name| name == dir)
        }
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Code(i32),
    Killed,
}

/// What the model knows of the past.
#[derive(Default)]
pub struct Model {
    /// Contents with which each path was in step, as far back as an archive may remember.
    stepped: BTreeMap<String, BTreeSet<Content>>,
    /// What the archive is sure to say.
    recorded: BTreeMap<String, Content>,
    /// Directories that are sure to have been in step.
    known_dirs: BTreeSet<String>,
    /// What the user removed or overwrote on one side, of what was in step: where, and on which side.
    given_up: BTreeSet<(String, Content, Side)>,
    /// The archive is a copy: the next run deletes nothing.
    is_copied: bool,
    /// A disk that was mounted here, on that side, when it was last in step.
    mounts: Vec<(Side, String)>,
}

impl Model {
    /// Takes in what the user did on a side.
    pub fn happened(&mut self, side: Side, before: &Both, now: &Both) {
        for (path, content) in &before.of(side).files {
            let is_gone = now.of(side).files.get(path) != Some(content);
            let was_in_step = self
                .stepped
                .get(path)
                .is_some_and(|all| all.contains(content));
            if is_gone && was_in_step {
                self.given_up.insert((path.clone(), *content, side));
            }
        }
        // What is written where a disk is away is as good as written over what is on it.
        for (path, content) in &now.of(side).files {
            if before.of(side).files.get(path) != Some(content) {
                let old = self.stepped.get(path).into_iter().flatten();
                let old = old.filter(|old| *old != content);
                self.given_up
                    .extend(old.map(|old| (path.clone(), *old, side)));
            }
        }
    }

    /// Takes in that the archive is gone, or a copy of an earlier one.
    pub fn archive_lost(&mut self, is_copied: bool) {
        *self = Self {
            is_copied,
            ..Self::default()
        };
    }

    /// Whether it is known that a disk belongs there, so that what is on it is not taken for deleted while it is away.
    pub fn knows_disk(&self, place: &(Side, String)) -> bool {
        self.mounts.contains(place)
    }

    /// Whether the next run deletes nothing, for the archive is a copy.
    pub fn is_copied(&self) -> bool {
        self.is_copied
    }

    /// What is wrong with a run, if anything is.
    pub fn judge(
        &self,
        asked: &Asked,
        mounted: &[(Side, String)],
        before: &Both,
        after: &Both,
    ) -> String {
        let mut faults = String::new();
        let mut fault = |text: String| {
            let _ = writeln!(faults, "{text}");
        };
        let left: BTreeSet<Content> = Side::BOTH
            .into_iter()
            .flat_map(|side| {
                let seen = after.of(side);
                seen.files.values().chain(&seen.put_aside)
            })
            .copied()
            .collect();
        for side in Side::BOTH {
            let (was, is) = (before.of(side), after.of(side));
            for path in is.torn.iter().filter(|path| !was.torn.contains(path)) {
                fault(format!("{path} is torn on the {} side", side.name()));
            }
            if asked.is_dry && !was.is_like(is) {
                fault(format!("a dry run changed the {} side", side.name()));
            }
            if asked.follower == Some(side.peer()) && !was.is_like(is) {
                fault(format!(
                    "the {} side was written, which is the source",
                    side.name()
                ));
            }
            for (path, content) in &was.files {
                let is_gone = is.files.get(path) != Some(content);
                if !is_gone {
                    continue;
                }
                // It may go along with its directory that was renamed.
                let is_renamed = is.files.values().any(|left| left == content);
                if asked.leaves_out(path) && !is_renamed {
                    fault(format!(
                        "{path} #{content} was left out, and is gone from the {} side",
                        side.name()
                    ));
                }
                let by = self.protector(side, path, asked, mounted, before);
                if let (Some(by), false) = (by, is_renamed) {
                    fault(format!(
                        "{path} #{content} is gone from the {} side, although {by}",
                        side.name()
                    ));
                }
                if !left.contains(content) && !self.may_go(asked, side, path, *content, before) {
                    fault(format!(
                        "#{content} is lost: it was {path} on the {} side",
                        side.name()
                    ));
                }
            }
        }
        faults
    }

    /// What protects a path against deletion and replacement.
    fn protector(
        &self,
        side: Side,
        path: &str,
        asked: &Asked,
        mounted: &[(Side, String)],
        before: &Both,
    ) -> Option<String> {
        let links = &before.of(side.peer()).links;
        if let Some(link) = links.iter().find(|link| is_at_or_below(path, link)) {
            return Some(format!("there is a link on the other side: {link}"));
        }
        let is_protecting = |mount: &&(Side, String)| {
            let mut recorded = self.recorded.keys().filter(|path| is_below(path, &mount.1));
            let lacks_some = recorded.any(|path| !before.of(mount.0).files.contains_key(path));
            is_below(path, &mount.1) && !mounted.contains(mount) && lacks_some
        };
        if let (Some((_, dir)), false) =
            (self.mounts.iter().find(is_protecting), asked.allows_empty)
        {
            return Some(format!("the disk at {dir} is not mounted"));
        }
        None
    }

    /// Whether the run may take a copy away.
    fn may_go(
        &self,
        asked: &Asked,
        side: Side,
        path: &str,
        content: Content,
        before: &Both,
    ) -> bool {
        let there = before.of(side.peer()).files.get(path);
        let is_given_up = self.is_given_up(side, path, content, before);
        let may_delete = !self.is_copied;
        if asked.allows_empty && self.mounts.iter().any(|(_, dir)| is_below(path, dir)) {
            return true;
        }
        match (asked.follower, there) {
            (None, Some(_)) => is_given_up,
            (None, None) => is_given_up && may_delete,
            (Some(follower), _) if follower != side => false,
            // At a first meeting the newer one wins.
            (Some(_), Some(_)) => is_given_up || !self.known_dirs.contains(parent(path)),
            (Some(_), None) => {
                let is_changed = self
                    .recorded
                    .get(path)
                    .is_some_and(|recorded| *recorded != content);
                may_delete && asked.deletes && (is_given_up || !is_changed)
            }
        }
    }

    /// Whether the other side gave up this content: under this path, or under the one that it had here before it was renamed.
    fn is_given_up(&self, side: Side, path: &str, content: Content, before: &Both) -> bool {
        let was_in_step = |path: &str| {
            self.stepped
                .get(path)
                .is_some_and(|all| all.contains(&content))
        };
        let mut there = self
            .given_up
            .iter()
            .filter(|(_, of, by)| (*of, *by) == (content, side.peer()));
        there.any(|(old, _, _)| {
            let was_renamed =
                !was_in_step(path) && before.of(side).files.get(old) != Some(&content);
            old == path || was_renamed
        })
    }

    /// Takes in what came of a run.
    pub fn ran(&mut self, asked: &Asked, end: End, mounted: &[(Side, String)], after: &Both) {
        if asked.is_dry {
            return;
        }
        self.is_copied = false;
        if asked.allows_empty {
            self.give_up_disks(mounted);
        }
        for (path, content) in &after.local.files {
            if after.remote.files.get(path) == Some(content) {
                self.stepped
                    .entry(path.clone())
                    .or_default()
                    .insert(*content);
            }
        }
        if end != End::Code(0) {
            // Whatever it may have forgotten or recorded is not sure.
            self.recorded
                .retain(|path, content| after.in_step(path) == Some(*content));
            self.known_dirs.retain(|dir| {
                dir.is_empty()
                    || Side::BOTH
                        .iter()
                        .all(|side| after.of(*side).dirs.contains(dir))
            });
            return;
        }
        let unmounted: Vec<_> = self
            .mounts
            .iter()
            .filter(|mount| !mounted.contains(mount))
            .cloned()
            .collect();
        let is_blocked = |path: &str| {
            let is_linked = |side: &Side| {
                let mut links = after.of(*side).links.iter();
                links.any(|link| is_at_or_below(path, link))
            };
            Side::BOTH.iter().any(is_linked) || unmounted.iter().any(|(_, dir)| is_below(path, dir))
        };
        let paths: BTreeSet<String> = self.stepped.keys().cloned().collect();
        for path in paths.iter().filter(|path| !is_blocked(path)) {
            self.settle(path, asked, after);
        }
        self.known_dirs = self
            .recorded
            .keys()
            .map(|path| parent(path).to_owned())
            .collect();
        for mount in mounted {
            let is_in_step = self.recorded.keys().any(|path| is_below(path, &mount.1));
            if is_in_step
                && !asked.leaves_out(&format!("{}/.", mount.1))
                && !self.mounts.contains(mount)
            {
                self.mounts.push(mount.clone());
            }
        }
    }

    /// Whoever allows a disk to be away takes what was on it for deleted.
    fn give_up_disks(&mut self, mounted: &[(Side, String)]) {
        for (side, dir) in self.mounts.extract_if(.., |mount| !mounted.contains(mount)) {
            let below = self.stepped.iter().filter(|(path, _)| is_below(path, &dir));
            for (path, contents) in below {
                let of_path = contents
                    .iter()
                    .map(|content| (path.clone(), *content, side));
                self.given_up.extend(of_path);
            }
        }
    }

    /// What the archive says of a path after a run that did all it was asked to do.
    fn settle(&mut self, path: &str, asked: &Asked, after: &Both) {
        let stepped = self.stepped.get(path);
        let is_in_step = after.in_step(path);
        if asked.leaves_out(path) {
            // What is done to it while it is left out is not carried over later.
            let is_elsewhere = asked
                .only
                .as_ref()
                .is_some_and(|only| !is_at_or_below(path, only));
            if !is_elsewhere && is_in_step.is_none() {
                self.forget(path);
            }
            return;
        }
        let is_left_behind = |kept: Option<&Content>| {
            kept.is_some_and(|kept| stepped.is_some_and(|stepped| stepped.contains(kept)))
        };
        // A directory in place of a file is a conflict, which keeps the record.
        let is_gone = |side| !after.of(side).has(path);
        let is_forgotten = match asked.follower {
            _ if Side::BOTH.into_iter().all(is_gone) => true,
            Some(follower) if !asked.deletes && is_gone(follower.peer()) => {
                is_left_behind(after.of(follower).files.get(path))
            }
            _ => false,
        };
        if is_forgotten {
            self.forget(path);
        } else if let Some(content) = is_in_step {
            self.forget(path);
            self.stepped
                .insert(path.to_owned(), BTreeSet::from([content]));
            self.recorded.insert(path.to_owned(), content);
        }
    }

    fn forget(&mut self, path: &str) {
        self.stepped.remove(path);
        self.recorded.remove(path);
        self.given_up.retain(|(given_up, _, _)| given_up != path);
    }
}
