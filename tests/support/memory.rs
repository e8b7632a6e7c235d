//! A target in memory: a tree that several handles share, for tests that want no disk and no server.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use coracle::error::{Doing, Error, ErrorKind, Result};
use coracle::path::RelPath;
use coracle::replica::{
    Algorithm, Capabilities, CaseSensitivity, Digest, FileIdentity, Hasher, Kind, Listing, NewFile,
    Own, Removal, Replica, Source, Stat, Times, Watch, Written,
};
use coracle::time::Timestamp;

/// What is at a path of a tree.
#[derive(Clone, PartialEq, Eq)]
pub enum Node {
    /// A file.
    File {
        /// What is in it.
        content: Vec<u8>,
        /// Its modification time.
        mtime: Timestamp,
    },
    /// A directory.
    Dir,
    /// A link, a device or the like.
    Special,
}

impl Node {
    /// A file of that content, modified so many seconds after 1970.
    pub fn file(content: impl Into<Vec<u8>>, mtime_secs: i64) -> Self {
        Self::File {
            content: content.into(),
            mtime: Timestamp::from_secs(mtime_secs),
        }
    }

    fn stat(&self) -> Stat {
        match self {
            Self::File { content, mtime } => Stat::file(content.len() as u64, *mtime),
            Self::Dir => Stat::dir(),
            Self::Special => Stat {
                kind: Kind::Special,
                size: 0,
                mtime: None,
            },
        }
    }
}

/// Short, so that a failing test shows trees that can be compared by eye.
impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File { content, mtime } if content.len() <= 40 => {
                write!(
                    f,
                    "{:?} @{}",
                    String::from_utf8_lossy(content),
                    mtime.as_secs_f64()
                )
            }
            Self::File { content, mtime } => {
                write!(f, "{} bytes @{}", content.len(), mtime.as_secs_f64())
            }
            Self::Dir => f.write_str("dir"),
            Self::Special => f.write_str("special"),
        }
    }
}

/// How a tree behaves.
#[derive(Debug, Clone, Copy)]
pub struct Manners {
    /// Whether files keep the mtimes they are given; otherwise they carry the tree's own time.
    pub times: Times,
    /// Whether names that differ only in (ASCII) case are different files.
    pub case: CaseSensitivity,
    /// How many bytes all files together may have.
    pub room: u64,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            times: Times::Kept,
            case: CaseSensitivity::Sensitive,
            room: u64::MAX,
        }
    }
}

/// A tree that lives as long as anybody holds it.
#[derive(Clone)]
pub struct Tree(Arc<Mutex<Inside>>);

struct Inside {
    nodes: BTreeMap<RelPath, Node>,
    /// The inodes of all that is there, and when each of them was made.
    inodes: BTreeMap<RelPath, FileIdentity>,
    manners: Manners,
    /// The tree's own time; each written file moves it on by a second.
    clock: Timestamp,
    /// Directories that can be listed only in part.
    broken: Vec<RelPath>,
    /// Paths that cannot be written.
    refused: Vec<RelPath>,
    /// The file systems that are mounted below the root, by their mount points.
    mounts: BTreeMap<RelPath, u64>,
}

impl Tree {
    /// An empty tree that keeps times and tells case apart.
    pub fn new() -> Self {
        Self::with(Manners::default())
    }

    /// An empty tree.
    pub fn with(manners: Manners) -> Self {
        let root = FileIdentity {
            inode: 2,
            born: None,
        };
        Self(Arc::new(Mutex::new(Inside {
            nodes: BTreeMap::new(),
            inodes: BTreeMap::from([(RelPath::root(), root)]),
            manners,
            clock: Timestamp::from_secs(1_600_000_000),
            broken: Vec::new(),
            refused: Vec::new(),
            mounts: BTreeMap::new(),
        })))
    }

    /// Puts something at `path`, with the directories above it.
    pub fn put(&self, path: &str, node: Node) {
        let path = parse(path);
        let mut inside = self.inside();
        inside.make_above(&path);
        // What is written anew keeps its inode, as an editor leaves it.
        if !inside.nodes.contains_key(&path) {
            inside.number(&path);
        }
        inside.nodes.insert(path, node);
    }

    /// Gives what is at `from` another name, as its user does; what is at `to` is replaced.
    pub fn rename(&self, from: &str, to: &str) {
        self.take(to);
        let (from, to) = (parse(from), parse(to));
        let mut inside = self.inside();
        inside.make_above(&to);
        inside.rename(&from, &to).expect("it is there");
    }

    /// Gives a file another inode, or one that another file has, and says when it was made.
    pub fn set_inode(&self, path: &str, inode: u64, born: Option<Timestamp>) {
        let identity = FileIdentity { inode, born };
        self.inside().inodes.insert(parse(path), identity);
    }

    /// The inode of a file.
    pub fn inode(&self, path: &str) -> u64 {
        self.inside().inodes[&parse(path)].inode
    }

    /// Takes away what is at `path` and all below it.
    pub fn take(&self, path: &str) {
        let path = parse(path);
        self.inside()
            .nodes
            .retain(|other, _| !other.is_within(&path));
    }

    /// Everything in the tree, by its shown path.
    pub fn paths(&self) -> BTreeMap<String, Node> {
        let inside = self.inside();
        inside
            .nodes
            .iter()
            .map(|(path, node)| (path.to_string(), node.clone()))
            .collect()
    }

    /// The same without what coracle keeps for itself (metadata, locks, partial files).
    pub fn user_paths(&self) -> BTreeMap<String, Node> {
        let inside = self.inside();
        let users = |path: &RelPath| !path.names().any(|name| name.is_reserved());
        inside
            .nodes
            .iter()
            .filter(|(path, _)| users(path))
            .map(|(path, node)| (path.to_string(), node.clone()))
            .collect()
    }

    /// Sets the tree's own time.
    pub fn set_clock(&self, now: Timestamp) {
        self.inside().clock = now;
    }

    /// Mounts a file system on that directory, or takes it away; what is in it is not touched.
    pub fn mount(&self, dir: &str, file_system: Option<u64>) {
        let dir = parse(dir);
        match file_system {
            Some(id) => self.inside().mounts.insert(dir, id),
            None => self.inside().mounts.remove(&dir),
        };
    }

    /// Makes every listing of that directory incomplete.
    pub fn break_listing(&self, dir: &str) {
        self.inside().broken.push(parse(dir));
    }

    /// Refuses every file of that path.
    pub fn refuse(&self, path: &str) {
        self.inside().refused.push(parse(path));
    }

    /// Refuses nothing any more.
    pub fn refuse_nothing(&self) {
        self.inside().refused.clear();
    }

    /// Whether a disk can stand in for it.
    pub fn is_plain(&self) -> bool {
        let inside = self.inside();
        let manners = inside.manners;
        (manners.times, manners.case, manners.room)
            == (Times::Kept, CaseSensitivity::Sensitive, u64::MAX)
            && inside.broken.is_empty()
            && inside.refused.is_empty()
            && inside.mounts.is_empty()
    }

    /// Everything in the tree.
    pub fn nodes(&self) -> BTreeMap<RelPath, Node> {
        self.inside().nodes.clone()
    }

    /// Makes it hold exactly this; what changes has another inode then.
    pub fn hold(&self, nodes: &BTreeMap<RelPath, Node>) {
        let mut inside = self.inside();
        for (path, node) in nodes {
            if inside.nodes.get(path) != Some(node) {
                inside.number(path);
            }
        }
        inside.nodes.clone_from(nodes);
    }

    /// A handle to this tree.
    pub fn target(&self) -> MemoryReplica {
        MemoryReplica(self.clone())
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0
            .lock()
            .expect("no test panics while it holds the tree")
    }
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

fn parse(path: &str) -> RelPath {
    RelPath::parse(path.as_bytes()).expect("the test names a good path")
}

impl Inside {
    /// The path under which the tree holds what is at `path`, which may be spelled in another case.
    fn find(&self, path: &RelPath) -> Option<RelPath> {
        if self.nodes.contains_key(path) {
            return Some(path.clone());
        }
        match self.manners.case {
            CaseSensitivity::Insensitive => {
                let same =
                    |other: &&RelPath| other.as_bytes().eq_ignore_ascii_case(path.as_bytes());
                self.nodes.keys().find(same).cloned()
            }
            CaseSensitivity::Sensitive | CaseSensitivity::Unknown => None,
        }
    }

    fn node(&self, path: &RelPath) -> Option<&Node> {
        if path.is_root() {
            return Some(&Node::Dir);
        }
        self.find(path).and_then(|path| self.nodes.get(&path))
    }

    /// Where something new at `path` goes: the directory as it is spelled in the tree, which must be there.
    fn place(&self, path: &RelPath) -> Result<RelPath> {
        if let Some(found) = self.find(path) {
            return Ok(found);
        }
        let name = path.name().ok_or(ErrorKind::Unsupported("not the root"))?;
        let parent = path.parent();
        match self.node(&parent) {
            Some(Node::Dir) => Ok(self.find(&parent).unwrap_or(parent).join(name)),
            Some(Node::File { .. } | Node::Special) => {
                Err(ErrorKind::Changed("not a directory").into())
            }
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn children(&self, dir: &RelPath) -> impl Iterator<Item = (&RelPath, &Node)> {
        self.nodes
            .iter()
            .filter(move |(path, _)| path.parent() == *dir)
    }

    fn used(&self) -> u64 {
        self.nodes.values().map(|node| node.stat().size).sum()
    }

    fn make_above(&mut self, path: &RelPath) {
        let mut above = path.parent();
        while !above.is_root() && !self.nodes.contains_key(&above) {
            self.number(&above);
            self.nodes.insert(above.clone(), Node::Dir);
            above = above.parent();
        }
    }

    /// Gives what is made a new inode.
    fn number(&mut self, path: &RelPath) {
        let last = self.inodes.values().map(|known| known.inode).max();
        let identity = FileIdentity {
            inode: last.unwrap_or(100) + 1,
            born: None,
        };
        self.inodes.insert(path.clone(), identity);
    }

    fn tick(&mut self) -> Timestamp {
        self.clock = self.clock.plus_secs(1);
        self.clock
    }

    fn rename(&mut self, from: &RelPath, to: &RelPath) -> Result<()> {
        let from = self.find(from).ok_or(ErrorKind::NotFound)?;
        let to = match self.find(to) {
            // The same thing in another spelling.
            Some(found) if found == from && from != *to => to.clone(),
            Some(_) => return Err(ErrorKind::Changed("something has the new name already").into()),
            None => self.place(to)?,
        };
        let moved: Vec<RelPath> = self
            .nodes
            .keys()
            .filter(|path| path.is_within(&from))
            .cloned()
            .collect();
        for path in moved {
            let node = self.nodes.remove(&path).expect("it was just listed");
            let below = &path.as_bytes()[from.as_bytes().len()..];
            let new = RelPath::parse(&[to.as_bytes(), below].concat())
                .expect("both halves are good paths");
            if let Some(inode) = self.inodes.remove(&path) {
                self.inodes.insert(new.clone(), inode);
            }
            self.nodes.insert(new, node);
        }
        Ok(())
    }
}

/// A handle to a tree.
pub struct MemoryReplica(Tree);

impl Replica for MemoryReplica {
    fn capabilities(&self) -> Capabilities {
        let manners = self.0.inside().manners;
        Capabilities {
            times: manners.times,
            case: manners.case,
        }
    }

    fn list(&mut self, dir: &RelPath, listing: &mut Listing) -> Result<()> {
        listing.clear();
        let inside = self.0.inside();
        match inside.node(dir) {
            Some(Node::Dir) => {}
            Some(Node::File { .. } | Node::Special) => {
                return Err(ErrorKind::Changed("not a directory").into());
            }
            None => {
                return Err(Error::new(ErrorKind::NotFound).while_doing(format!("listing {dir}")));
            }
        }
        let dir = inside.find(dir).unwrap_or_default();
        listing.own = Own {
            inode: inside.inodes[&dir].inode,
            mount: inside.mounts.get(&dir).copied(),
            is_linked: false,
        };
        for (path, node) in inside.children(&dir).filter(|(path, _)| !path.is_root()) {
            let name = path.name().expect("only the root has none");
            let inode = match node {
                Node::File { .. } => inside.inodes[path].inode,
                Node::Dir | Node::Special => 0,
            };
            listing.push_local(name.as_bytes(), node.stat(), inode);
        }
        if inside.broken.contains(&dir) {
            listing.mark_incomplete("the listing was cut short");
        }
        listing.sort();
        Ok(())
    }

    fn look_up(&mut self, paths: &[RelPath]) -> Vec<Result<Option<Stat>>> {
        let inside = self.0.inside();
        paths
            .iter()
            .map(|path| Ok(inside.node(path).map(Node::stat)))
            .collect()
    }

    fn open<'a>(&'a mut self, file: &RelPath, offset: u64) -> Result<Box<dyn Source + 'a>> {
        let (content, mtime) = match self.0.inside().node(file) {
            Some(Node::File { content, mtime }) => (content.clone(), *mtime),
            Some(Node::Dir | Node::Special) => return Err(ErrorKind::Changed("not a file").into()),
            None => {
                return Err(Error::new(ErrorKind::NotFound).while_doing(format!("reading {file}")));
            }
        };
        let position = usize::try_from(offset)
            .ok()
            .filter(|offset| *offset <= content.len());
        Ok(Box::new(MemorySource {
            tree: self.0.clone(),
            path: file.clone(),
            mtime,
            position: position.ok_or(ErrorKind::Changed("the file is shorter than that"))?,
            content,
        }))
    }

    fn write(
        &mut self,
        file: &NewFile<'_>,
        source: &mut dyn Source,
        watch: &mut dyn Watch,
    ) -> Result<Written> {
        let mut content = self
            .kept_content(file)
            .doing(|| format!("writing {}", file.path))?;
        let written = self
            .gather(file, source, watch, &mut content)
            .and_then(|()| self.put_in_place(file, &content, watch));
        if let Err(error) = &written {
            let mut inside = self.0.inside();
            let is_right_so_far =
                !matches!(error.kind(), ErrorKind::Changed(_) | ErrorKind::Verify(_));
            if file.keep_partial && is_right_so_far {
                let partial = inside.place(file.partial)?;
                let mtime = inside.tick();
                inside.number(&partial);
                inside.nodes.insert(partial, Node::File { content, mtime });
            } else if let Some(partial) = inside.find(file.partial) {
                inside.nodes.remove(&partial);
            }
        }
        written.doing(|| format!("writing {}", file.path))
    }

    fn make_dirs(&mut self, dirs: &[RelPath]) -> Vec<Result<()>> {
        let mut inside = self.0.inside();
        dirs.iter()
            .map(|dir| match inside.node(dir) {
                Some(Node::Dir) => Ok(()),
                Some(_) => Err(ErrorKind::Changed("something else has that name").into()),
                None => {
                    let place = inside.place(dir)?;
                    inside.number(&place);
                    inside.nodes.insert(place, Node::Dir);
                    Ok(())
                }
            })
            .collect()
    }

    fn remove(&mut self, removals: &[Removal]) -> Vec<Result<()>> {
        let mut inside = self.0.inside();
        removals
            .iter()
            .map(|removal| {
                let Some(path) = inside.find(removal.path()) else {
                    return Ok(());
                };
                match (removal, &inside.nodes[&path]) {
                    (Removal::File(_), Node::File { .. } | Node::Special) => {}
                    (Removal::Dir(_), Node::Dir) if inside.children(&path).next().is_none() => {}
                    (Removal::Dir(_), Node::Dir) => {
                        return Err(ErrorKind::Changed("the directory is not empty").into());
                    }
                    (Removal::File(_), Node::Dir)
                    | (Removal::Dir(_), Node::File { .. } | Node::Special) => {
                        return Err(ErrorKind::Changed("it is something else now").into());
                    }
                }
                inside.nodes.remove(&path);
                Ok(())
            })
            .collect()
    }

    fn rename(&mut self, from: &RelPath, to: &RelPath) -> Result<()> {
        self.0.inside().rename(from, to)
    }

    fn identify(&mut self, file: &RelPath) -> Result<Option<FileIdentity>> {
        let inside = self.0.inside();
        Ok(inside.find(file).map(|path| inside.inodes[&path]))
    }

    fn digest(&mut self, file: &RelPath, algorithms: &[Algorithm]) -> Result<Option<Digest>> {
        let inside = self.0.inside();
        let Some(Node::File { content, .. }) = inside.node(file) else {
            return Err(ErrorKind::NotFound.into());
        };
        Ok(algorithms.first().map(|algorithm| {
            let mut hasher = Hasher::new(*algorithm);
            hasher.update(content);
            hasher.finish()
        }))
    }

    fn free_space(&mut self) -> Result<Option<u64>> {
        let inside = self.0.inside();
        Ok(Some(inside.manners.room.saturating_sub(inside.used())))
    }
}

impl MemoryReplica {
    /// What is kept of an earlier try.
    fn kept_content(&self, file: &NewFile<'_>) -> Result<Vec<u8>> {
        let inside = self.0.inside();
        inside.place(file.path)?;
        if inside.refused.contains(file.path) {
            return Err(ErrorKind::Refused {
                code: 553,
                text: "this name is not allowed".to_owned(),
            }
            .into());
        }
        if file.resume_at == 0 {
            return Ok(Vec::new());
        }
        match inside.node(file.partial) {
            Some(Node::File { content, .. }) if content.len() as u64 == file.resume_at => {
                Ok(content.clone())
            }
            _ => Err(ErrorKind::Changed("its partial file is not what it was").into()),
        }
    }

    /// Reads the whole source. The tree is not held meanwhile: the source may be a file of it.
    fn gather(
        &self,
        file: &NewFile<'_>,
        source: &mut dyn Source,
        watch: &mut dyn Watch,
        content: &mut Vec<u8>,
    ) -> Result<()> {
        // Small, so that tests see several pieces.
        let mut buffer = [0; 1024];
        loop {
            let count = source.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            let inside = self.0.inside();
            if inside.used() + (content.len() + count) as u64 > inside.manners.room {
                return Err(ErrorKind::Refused {
                    code: 552,
                    text: "no room".to_owned(),
                }
                .into());
            }
            drop(inside);
            content.extend_from_slice(&buffer[..count]);
            watch.moved(count as u64)?;
        }
        source.finish()?;
        if content.len() as u64 == file.size {
            Ok(())
        } else {
            let text = format!(
                "{} bytes were expected, {} arrived",
                file.size,
                content.len()
            );
            Err(ErrorKind::Verify(text).into())
        }
    }

    fn put_in_place(
        &self,
        file: &NewFile<'_>,
        content: &[u8],
        watch: &mut dyn Watch,
    ) -> Result<Written> {
        let (stat, times) = {
            let mut inside = self.0.inside();
            let now = inside.tick();
            let (mtime, times) = match (file.mtime, inside.manners.times) {
                (Some(asked), Times::Kept | Times::Unknown) => (asked, Times::Kept),
                (Some(_), Times::Lost) => (now, Times::Lost),
                (None, _) => (now, Times::Unknown),
            };
            (Stat::file(content.len() as u64, mtime), times)
        };
        watch.placing(&stat, times)?;
        let mut inside = self.0.inside();
        match (inside.node(file.path).map(Node::stat), &file.replaces) {
            (None, None) => {}
            (Some(now), Some(expected)) if now.may_equal(expected) => {}
            (Some(_), _) | (None, Some(_)) => {
                return Err(ErrorKind::Changed("the file to be replaced has changed").into());
            }
        }
        if let (Some(_), Some(aside)) = (file.replaces, file.set_aside) {
            inside.rename(file.path, aside)?;
        }
        let partial = inside.place(file.partial)?;
        inside.nodes.remove(&partial);
        let path = inside.place(file.path)?;
        inside.number(&path);
        let inode = inside.inodes[&path].inode;
        inside.nodes.insert(
            path,
            Node::File {
                content: content.to_vec(),
                mtime: stat.exact_mtime().expect("it was just made with one"),
            },
        );
        Ok(Written {
            stat,
            times,
            inode,
            digest: None,
        })
    }
}

/// A file as it was when it was opened.
struct MemorySource {
    tree: Tree,
    path: RelPath,
    content: Vec<u8>,
    mtime: Timestamp,
    position: usize,
}

impl Source for MemorySource {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let rest = &self.content[self.position..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.position += count;
        Ok(count)
    }

    fn finish(&mut self) -> Result<()> {
        let as_opened = Stat::file(self.content.len() as u64, self.mtime);
        match self.tree.inside().node(&self.path) {
            Some(node) if node.stat() == as_opened => Ok(()),
            _ => Err(ErrorKind::Changed("the file changed while it was read").into()),
        }
    }
}
