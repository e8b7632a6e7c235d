//! What happens to folders between two runs.

#![allow(unreachable_pub)]

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use crate::life::Life;
use crate::life_model::Side;
use crate::life_tree::{self, ARCHIVE_DIR, Seen, can_hold, is_at_or_below, is_below, parent};
use crate::life_world::Kind;
use crate::random::Random;

/// Directories of a life. Few, so that events meet one another.
const DIRS: [&str; 9] = ["", "a", "b", "c", "a/d", "a/e", "b/d", "c/d/e", "b/m"];

/// Names of files. The last ones are what filters leave out.
const NAMES: [&str; 8] = ["f0", "f1", "f2", "f3", "f4", "f5", "x.raw", "y.raw"];

/// Where disks are mounted.
const MOUNT_POINTS: [&str; 2] = ["disk", "b/m"];

/// Snapshots that are kept at a time.
const MOST_SNAPSHOTS: usize = 3;

/// A root as it was.
pub struct Snapshot {
    side: Side,
    pub path: PathBuf,
    /// The home of that time.
    pub home: PathBuf,
}

impl Life {
    /// Lets something happen on a side, and says what in words like a shell's. Nothing happens where there is nothing for it to
    /// happen to.
    pub fn happen(&mut self) -> Option<String> {
        let side = if self.random.percent(60) {
            Side::Local
        } else {
            Side::Remote
        };
        let before = self.now.clone();
        let done = match self.random.below(100) {
            0..14 => self.write_new(side),
            14..28 => self.edit(side),
            28..34 => self.delete_files(side),
            34..40 => self.delete_dir(side),
            40..47 => self.move_dir(side),
            47..53 => self.merge_dirs(side),
            53..58 => self.copy_dir(side),
            58..64 => self.replace_dir(side),
            64..69 => self.move_files(side),
            69..71 => self.touch(side),
            71..76 => self.link(side),
            76..79 => self.change_kind(side),
            79..83 => self.take_snapshot(side),
            83..88 => self.restore_part(side),
            88..92 => return self.restore_root(side),
            92..94 => self.make_alike(side),
            94..99 => return self.plug(side),
            _ => return self.forget_archive(),
        };
        let done = match done {
            Ok(done) => done?,
            // A disk that is mounted in the way; what was done before it was met is done.
            Err(error) => format!("({error})"),
        };
        self.now = self.world.look(&self.contents);
        self.model.happened(side, &before, &self.now);
        Some(format!("{}: {done}", side.name()))
    }

    fn write_new(&mut self, side: Side) -> io::Result<Option<String>> {
        let dir = self.random.pick(&DIRS);
        let mut written = Vec::new();
        for _ in 0..1 + self.random.below(4) {
            let path = join(dir, self.random.pick(&NAMES));
            let there = &self.now.of(side);
            if there.dirs.contains(&path) || there.links.contains(&path) {
                continue;
            }
            written.extend(self.write(side, &path, None)?);
        }
        Ok((!written.is_empty()).then(|| format!("write {}", written.join(" "))))
    }

    fn edit(&mut self, side: Side) -> io::Result<Option<String>> {
        let mut written = Vec::new();
        for _ in 0..1 + self.random.below(3) {
            let Some((path, content)) = self.any_file(side) else {
                break;
            };
            // A server that shows no times cannot show that a file of the same size is another.
            let same_size = self.world.kind != Kind::ServerWithoutTimes && self.random.percent(25);
            let size = same_size.then(|| self.contents.bytes(content).len());
            written.extend(self.write(side, &path, size)?);
        }
        Ok((!written.is_empty()).then(|| format!("edit {}", written.join(" "))))
    }

    /// Writes a new content, and says so.
    pub fn write(
        &mut self,
        side: Side,
        path: &str,
        size: Option<usize>,
    ) -> io::Result<Option<String>> {
        let root = self.world.root(side);
        if !can_hold(&root, path) {
            return Ok(None);
        }
        let size = size.unwrap_or_else(|| self.new_size());
        let content = self.contents.make(size);
        let at = self.new_time();
        life_tree::write(
            &root.join(path),
            self.contents.bytes(content),
            life_tree::moment(at),
        )?;
        Ok(Some(format!("{path} #{content}")))
    }

    fn delete_files(&mut self, side: Side) -> io::Result<Option<String>> {
        let mut gone = Vec::new();
        for _ in 0..1 + self.random.below(3) {
            let Some((path, _)) = self.any_file(side) else {
                break;
            };
            life_tree::remove(&self.world.root(side).join(&path))?;
            gone.push(path);
        }
        Ok((!gone.is_empty()).then(|| format!("rm {}", gone.join(" "))))
    }

    fn delete_dir(&mut self, side: Side) -> io::Result<Option<String>> {
        let Some(dir) = self.any_dir(side) else {
            return Ok(None);
        };
        life_tree::remove(&self.world.root(side).join(&dir))?;
        Ok(Some(format!("rm -r {dir}")))
    }

    fn move_dir(&mut self, side: Side) -> io::Result<Option<String>> {
        let Some(dir) = self.any_dir(side) else {
            return Ok(None);
        };
        let Some(free) = self.free_path(side, &dir) else {
            return Ok(None);
        };
        let root = self.world.root(side);
        fs::create_dir_all(root.join(parent(&free)))?;
        fs::rename(root.join(&dir), root.join(&free))?;
        Ok(Some(format!("mv {dir} {free}")))
    }

    fn merge_dirs(&mut self, side: Side) -> io::Result<Option<String>> {
        let Some((from, to)) = self.two_dirs(side) else {
            return Ok(None);
        };
        let root = self.world.root(side);
        life_tree::merge(&root.join(&from), &root.join(&to))?;
        Ok(Some(format!("merge {from} into {to}")))
    }

    fn copy_dir(&mut self, side: Side) -> io::Result<Option<String>> {
        let Some(from) = self.any_dir(side) else {
            return Ok(None);
        };
        let into_other = self.random.percent(40);
        let to = if into_other {
            self.any_dir(side)
        } else {
            self.free_path(side, &from)
        };
        let Some(to) = to.filter(|to| !overlap(&from, to)) else {
            return Ok(None);
        };
        let root = self.world.root(side);
        fs::create_dir_all(root.join(parent(&to)))?;
        life_tree::copy(&root.join(&from), &root.join(&to))?;
        Ok(Some(format!("cp -aT {from} {to}")))
    }

    fn replace_dir(&mut self, side: Side) -> io::Result<Option<String>> {
        let Some((from, to)) = self.two_dirs(side) else {
            return Ok(None);
        };
        let root = self.world.root(side);
        life_tree::remove(&root.join(&to))?;
        fs::rename(root.join(&from), root.join(&to))?;
        Ok(Some(format!("rm -r {to}; mv {from} {to}")))
    }

    fn move_files(&mut self, side: Side) -> io::Result<Option<String>> {
        let root = self.world.root(side);
        let Some((from, _)) = self.any_file(side) else {
            return Ok(None);
        };
        if self.random.percent(30) {
            let Some((other, _)) = self.any_file(side) else {
                return Ok(None);
            };
            if other == from {
                return Ok(None);
            }
            let spare = self.world.path().join("outside").join("spare");
            fs::rename(root.join(&from), &spare)?;
            fs::rename(root.join(&other), root.join(&from))?;
            fs::rename(&spare, root.join(&other))?;
            return Ok(Some(format!("swap {from} {other}")));
        }
        let to = join(self.random.pick(&DIRS), self.random.pick(&NAMES));
        let there = self.now.of(side);
        if to == from || there.dirs.contains(&to) || !can_hold(&root, &to) {
            return Ok(None);
        }
        fs::create_dir_all(root.join(parent(&to)))?;
        fs::rename(root.join(&from), root.join(&to))?;
        Ok(Some(format!("mv {from} {to}")))
    }

    fn touch(&mut self, side: Side) -> io::Result<Option<String>> {
        let Some((path, _)) = self.any_file(side) else {
            return Ok(None);
        };
        let at = life_tree::moment(self.new_time());
        life_tree::touch(&self.world.root(side).join(&path), at)?;
        Ok(Some(format!("touch {path}")))
    }

    /// A directory becomes a link to itself elsewhere, or a link the directory that it leads to.
    fn link(&mut self, side: Side) -> io::Result<Option<String>> {
        let root = self.world.root(side);
        let link = pick(&mut self.random, self.now.of(side).links.iter());
        if let (Some(link), true) = (link, self.random.percent(60)) {
            let leads_to = fs::read_link(root.join(&link))?;
            fs::remove_file(root.join(&link))?;
            if self.random.percent(30) || fs::symlink_metadata(&leads_to).is_err() {
                return Ok(Some(format!("rm {link} (a link)")));
            }
            fs::rename(leads_to, root.join(&link))?;
            return Ok(Some(format!("{link} is a directory again")));
        }
        let Some(dir) = self.any_dir(side) else {
            return Ok(None);
        };
        self.linked += 1;
        let outside = self
            .world
            .path()
            .join("outside")
            .join(self.linked.to_string());
        fs::rename(root.join(&dir), &outside)?;
        symlink(&outside, root.join(&dir))?;
        Ok(Some(format!("mv {dir} OUTSIDE; ln -s OUTSIDE {dir}")))
    }

    /// A file becomes a directory, or a directory a file.
    fn change_kind(&mut self, side: Side) -> io::Result<Option<String>> {
        let root = self.world.root(side);
        if self.random.percent(50) {
            let Some((path, _)) = self.any_file(side) else {
                return Ok(None);
            };
            fs::remove_file(root.join(&path))?;
            let inner = join(&path, "f0");
            self.write(side, &inner, None)?;
            return Ok(Some(format!("rm {path}; mkdir {path}; write {inner}")));
        }
        let Some(dir) = self.any_dir(side) else {
            return Ok(None);
        };
        life_tree::remove(&root.join(&dir))?;
        self.write(side, &dir, None)?;
        Ok(Some(format!("rm -r {dir}; write {dir}")))
    }

    fn take_snapshot(&mut self, side: Side) -> io::Result<Option<String>> {
        self.snapshots_taken += 1;
        let number = self.snapshots_taken;
        let shots = self.world.path().join("shots");
        let path = shots.join(number.to_string());
        let home = shots.join(format!("home-{number}"));
        life_tree::copy(&self.world.root(side), &path)?;
        life_tree::copy(&self.world.home(), &home)?;
        self.snapshots.push(Snapshot { side, path, home });
        if self.snapshots.len() > MOST_SNAPSHOTS {
            self.snapshots.remove(0);
        }
        Ok(Some("snapshot".to_owned()))
    }

    fn snapshot_of(&mut self, side: Side) -> Option<(PathBuf, PathBuf)> {
        let of_side = self
            .snapshots
            .iter()
            .filter(|snapshot| snapshot.side == side);
        let all: Vec<_> = of_side
            .map(|shot| (shot.path.clone(), shot.home.clone()))
            .collect();
        (!all.is_empty()).then(|| self.random.pick(&all))
    }

    /// A file or a directory comes back from a snapshot, in place of what is there or over it.
    fn restore_part(&mut self, side: Side) -> io::Result<Option<String>> {
        let Some((shot, _)) = self.snapshot_of(side) else {
            return self.take_snapshot(side);
        };
        let old = Seen::of(&shot, &self.contents);
        let of_files = self.random.percent(40);
        let path = if of_files {
            pick(&mut self.random, old.files.keys())
        } else {
            pick(&mut self.random, old.dirs.iter())
        };
        let root = self.world.root(side);
        let Some(path) = path.filter(|path| can_hold(&root, path) && !self.is_busy(side, path))
        else {
            return Ok(None);
        };
        let is_over = self.random.percent(50);
        if !is_over {
            life_tree::remove(&root.join(&path))?;
        }
        fs::create_dir_all(root.join(parent(&path)))?;
        life_tree::copy(&shot.join(&path), &root.join(&path))?;
        let how = if is_over { "restore over" } else { "restore" };
        Ok(Some(format!("{how} {path}")))
    }

    /// The whole root comes back from a snapshot: with its archive or without, in place of what is there or over it, or the
    /// archive first and the files later.
    fn restore_root(&mut self, side: Side) -> Option<String> {
        let Some((shot, home)) = self.snapshot_of(side) else {
            return self.take_snapshot(side).ok()?;
        };
        if self
            .world
            .mounted
            .iter()
            .any(|(mounted, _)| *mounted == side)
        {
            return None;
        }
        let root = self.world.root(side);
        let before = self.now.clone();
        let archives = self.world.archives();
        let is_over = self.random.percent(40);
        let is_new_root =
            !is_over && self.world.kind == Kind::Directories && self.random.percent(30);
        let with_archive = self.random.percent(60);
        let (only_archive, half) = (self.random.percent(15), self.random.percent(25));
        let state_too = with_archive && side == Side::Local && self.has_state_dir;
        if is_new_root {
            let away = self
                .world
                .path()
                .join("outside")
                .join(format!("root-{}", self.runs));
            let archive = away.join(ARCHIVE_DIR);
            fs::rename(&root, &away).expect("the root can be moved");
            fs::create_dir(&root).expect("it is free");
            if !with_archive && archive.exists() {
                fs::rename(archive, root.join(ARCHIVE_DIR)).expect("it is free");
            }
        } else if !is_over {
            for name in names(&root) {
                if name != ARCHIVE_DIR || with_archive {
                    life_tree::remove(&root.join(name)).expect("nothing is mounted in it");
                }
            }
        }
        for name in names(&shot) {
            let wanted = match name == ARCHIVE_DIR {
                true => with_archive,
                false => {
                    let is_left = with_archive && only_archive;
                    !(is_left || half && self.random.percent(50))
                }
            };
            if wanted {
                life_tree::copy(&shot.join(&name), &root.join(&name)).expect("it is free");
            }
        }
        if state_too {
            life_tree::remove(&self.world.home()).expect("it is ours");
            life_tree::copy(&home, &self.world.home()).expect("it is free");
        }
        self.now = self.world.look(&self.contents);
        let archives_now = self.world.archives();
        // With a state directory the archive fits one root alone. One in the root that was written over with what it was is
        // still the same file.
        let is_same = match self.has_state_dir {
            true => !state_too && !is_new_root,
            false => !with_archive || is_over && archives_now == archives,
        };
        let is_gone = archives_now.is_empty();
        let is_copied = !is_gone && !is_same;
        self.restored += 1;
        if side == Side::Local && (is_copied || is_gone) {
            self.model.archive_lost(is_copied);
        } else {
            self.model.happened(side, &before, &self.now);
        }
        Some(format!(
            "{}: restore the root{}{}{}{}{}{}",
            side.name(),
            if is_new_root { ", a new directory" } else { "" },
            if is_over { " over it" } else { "" },
            if with_archive {
                " with its archive"
            } else {
                ""
            },
            if with_archive && only_archive {
                ", without files"
            } else if half {
                ", half of it"
            } else {
                ""
            },
            if is_copied { " (a copy)" } else { "" },
            if is_gone { " (none)" } else { "" },
        ))
    }

    /// Both sides get the same file, or different ones of one name.
    fn make_alike(&mut self, side: Side) -> io::Result<Option<String>> {
        let Some((path, _)) = self.any_file(side) else {
            return Ok(None);
        };
        let (from, to) = (self.world.root(side), self.world.root(side.peer()));
        let there = self.now.of(side.peer());
        if !can_hold(&to, &path) || there.dirs.contains(&path) || there.links.contains(&path) {
            return Ok(None);
        }
        let before = self.now.clone();
        fs::create_dir_all(to.join(parent(&path)))?;
        fs::copy(from.join(&path), to.join(&path))?;
        life_tree::touch(&to.join(&path), fs::metadata(from.join(&path))?.modified()?)?;
        self.now = self.world.look(&self.contents);
        self.model.happened(side.peer(), &before, &self.now);
        Ok(Some(format!("copy {path} to the other side by hand")))
    }

    /// A disk comes or goes.
    fn plug(&mut self, side: Side) -> Option<String> {
        if !self.world.can_mount {
            return self.swap(side);
        }
        // A server does not tell what is mounted there.
        let side = if self.world.kind == Kind::Directories {
            side
        } else {
            Side::Local
        };
        let mounted = self.world.mounted.clone();
        if !mounted.is_empty() && self.random.percent(60) {
            let place = self.random.pick(&mounted);
            self.world.unmount(&place).ok()?;
            let before = self.now.clone();
            self.now = self.world.look(&self.contents);
            if !self.model.knows_disk(&place) {
                self.model.happened(place.0, &before, &self.now);
            }
            self.unplugged += 1;
            return Some(format!("{}: umount {}", place.0.name(), place.1));
        }
        let dir = self.random.pick(&MOUNT_POINTS);
        let there = self.now.of(side);
        let is_free = can_hold(&self.world.root(side), &join(dir, "f0"))
            && !there.files.contains_key(dir)
            && there.below(dir).next().is_none()
            && !mounted.contains(&(side, dir.to_owned()));
        if !is_free {
            return None;
        }
        self.world.mount(side, dir).ok()?;
        let mut written = Vec::new();
        if names(&self.world.disk(side, dir)).is_empty() {
            for name in &NAMES[..2 + self.random.below(5)] {
                written.extend(self.write(side, &join(dir, name), None).ok()?);
            }
        }
        self.now = self.world.look(&self.contents);
        self.plugged += 1;
        Some(format!(
            "{}: mount {dir}; write {}",
            side.name(),
            written.join(" ")
        ))
    }

    /// Where nothing can be mounted: a directory is empty for a while.
    fn swap(&mut self, side: Side) -> Option<String> {
        let before = self.now.clone();
        let dir = self.any_dir(side)?;
        let (at, disk) = (
            self.world.root(side).join(&dir),
            self.world.disk(side, &dir),
        );
        let spare = self.world.path().join("outside").join("swap");
        if !disk.exists() {
            fs::create_dir_all(&disk).ok()?;
        }
        fs::rename(&at, &spare).ok()?;
        fs::rename(&disk, &at).ok()?;
        fs::rename(&spare, &disk).ok()?;
        self.now = self.world.look(&self.contents);
        self.model.happened(side, &before, &self.now);
        self.plugged += 1;
        self.unplugged += 1;
        Some(format!("{}: swap {dir}", side.name()))
    }

    fn forget_archive(&mut self) -> Option<String> {
        if self.has_state_dir {
            return None;
        }
        life_tree::remove(&self.world.root(Side::Local).join(ARCHIVE_DIR)).ok()?;
        self.model.archive_lost(false);
        Some("local: rm -r .coracle".to_owned())
    }

    fn any_file(&mut self, side: Side) -> Option<(String, usize)> {
        let files: Vec<_> = self.now.of(side).files.iter().collect();
        if files.is_empty() {
            return None;
        }
        let (path, content) = self.random.pick(&files);
        Some((path.clone(), *content))
    }

    /// A directory that can be moved: no disk is mounted at it or below.
    fn any_dir(&mut self, side: Side) -> Option<String> {
        let dirs = self.now.of(side).dirs.iter();
        let dirs: Vec<_> = dirs
            .filter(|dir| !self.is_busy(side, dir))
            .cloned()
            .collect();
        (!dirs.is_empty()).then(|| self.random.pick(&dirs))
    }

    fn two_dirs(&mut self, side: Side) -> Option<(String, String)> {
        let (from, to) = (self.any_dir(side)?, self.any_dir(side)?);
        (!overlap(&from, &to)).then_some((from, to))
    }

    fn is_busy(&self, side: Side, path: &str) -> bool {
        let mut mounted = self.world.mounted.iter();
        mounted.any(|(on, dir)| *on == side && is_at_or_below(dir, path))
    }

    /// A name that is free, not below the directory that is to get it.
    fn free_path(&mut self, side: Side, besides: &str) -> Option<String> {
        let parent = self.random.pick(&DIRS);
        let path = join(parent, self.random.pick(&["a", "b", "c", "d", "n", "z"]));
        let is_free = !self.now.of(side).has(&path)
            && !is_at_or_below(&path, besides)
            && can_hold(&self.world.root(side), &path);
        is_free.then_some(path)
    }
}

fn pick<'a>(random: &mut Random, all: impl Iterator<Item = &'a String>) -> Option<String> {
    let all: Vec<&String> = all.collect();
    (!all.is_empty()).then(|| random.pick(&all).clone())
}

fn join(dir: &str, name: &str) -> String {
    if dir.is_empty() {
        name.to_owned()
    } else {
        format!("{dir}/{name}")
    }
}

fn overlap(one: &str, other: &str) -> bool {
    is_at_or_below(one, other) || is_below(other, one)
}

fn names(dir: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("it is there");
    let mut names: Vec<String> = entries
        .map(|entry| {
            entry
                .expect("it can be listed")
                .file_name()
                .into_string()
                .expect("our names are text")
        })
        .collect();
    names.sort();
    names
}
