//! A directory on a real SSH server that stands in for a tree in memory: what the tree holds is laid out there before a run, and what the
//! run made of it is read back into the tree. So the engine's tests run over SFTP as they are.
//!
//! `CORACLE_REMOTE=openssh cargo test --test sync` runs them so over OpenSSH and its `ssh`, `dropbear` over dropbear and its `dbclient`,
//! `proftpd` and `asyncssh` over these and `ssh`; `tests/run` does. A tree with manners that no disk here has stays in memory.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, UNIX_EPOCH};

use coracle::error::Result;
use coracle::job::{Limits, Secret, ServerPath};
use coracle::path::RelPath;
use coracle::replica::{Answers, Connect, Replica, Secrecy, SftpConnector};
use coracle::time::Timestamp;

use super::memory::{Node, Tree};
use super::servers::{ids, is_root};
use super::ssh::{Daemon, PASSWORD, SshClient, SshServer};
use super::temp::TempDir;

/// Logins cost more than all else here, and a loaded machine takes its time for many at once.
const TIMEOUT: Duration = Duration::from_secs(60);

/// One server for all tests of this process that run at the same time.
static SERVING: Mutex<Weak<Harbour>> = Mutex::new(Weak::new());

thread_local! {
    /// Keeps it from ending between two worlds of one test.
    static NEEDED: RefCell<Option<Arc<Harbour>>> = const { RefCell::new(None) };
}

/// The directory of one world.
pub struct Served {
    // Dropped before the server that it is on.
    berth: Option<Berth>,
    harbour: Arc<Harbour>,
}

/// A server with the directories that no world uses.
struct Harbour {
    free: Mutex<Vec<Berth>>,
    server: SshServer,
    client: SshClient,
}

/// A directory and its sessions.
struct Berth {
    connector: SftpConnector,
    idle: Idle,
    /// What it held when somebody last looked.
    held: BTreeMap<RelPath, Node>,
    dir: TempDir,
}

/// Sessions of earlier runs.
pub type Idle = Arc<Mutex<Vec<Session>>>;

/// One of them.
pub type Session = Box<dyn Replica + Send>;

/// Knows the password, for servers that take no keys; nobody is asked.
struct Password;

impl Answers for Password {
    fn password(&self, _user: &str) -> Result<Option<Secret>> {
        Ok(Some(Secret::new(PASSWORD.to_owned())))
    }

    fn ask(&self, _question: &str, _secrecy: Secrecy) -> Result<Option<Secret>> {
        Ok(None)
    }
}

impl Harbour {
    fn of(daemon: Daemon, client: SshClient) -> Arc<Self> {
        let mut serving = SERVING.lock().unwrap_or_else(PoisonError::into_inner);
        let harbour = serving.upgrade().unwrap_or_else(|| {
            Arc::new(Self {
                free: Mutex::default(),
                server: SshServer::start(daemon),
                client,
            })
        });
        *serving = Arc::downgrade(&harbour);
        NEEDED.set(Some(Arc::clone(&harbour)));
        harbour
    }

    fn berth(&self) -> Berth {
        let free = self.free.lock().expect("it is held for one step").pop();
        free.unwrap_or_else(|| {
            let dir = TempDir::in_memory("served");
            self.server.own(dir.path());
            let mut location = self.server.location(self.client);
            let root = dir.path().as_os_str().as_bytes();
            location.path = ServerPath::Absolute(RelPath::parse(root).expect("it is a path"));
            let limits = Limits {
                timeout: TIMEOUT,
                ..Limits::default()
            };
            let connector = SftpConnector::new(&location, &limits, Arc::new(Password));
            Berth {
                connector: connector.expect("the program is installed"),
                idle: Idle::default(),
                held: BTreeMap::new(),
                dir,
            }
        })
    }
}

impl Served {
    /// A directory on the server that `CORACLE_REMOTE` asks for.
    pub fn as_asked() -> Option<Self> {
        let asked = std::env::var("CORACLE_REMOTE").ok()?;
        let harbour = match asked.as_str() {
            "openssh" => Harbour::of(Daemon::OpenSsh, SshClient::Ssh),
            "dropbear" => Harbour::of(Daemon::Dropbear, SshClient::Dbclient),
            "proftpd" => Harbour::of(Daemon::Proftpd, SshClient::Ssh),
            "asyncssh" => Harbour::of(Daemon::Asyncssh, SshClient::Ssh),
            other => {
                panic!("CORACLE_REMOTE is openssh, dropbear, proftpd or asyncssh, not {other}")
            }
        };
        Some(Self {
            berth: Some(harbour.berth()),
            harbour,
        })
    }

    fn berth(&mut self) -> &mut Berth {
        self.berth.as_mut().expect("it is given back at the end")
    }

    /// Makes the directory hold what the tree does.
    pub fn lay_out(&mut self, tree: &Tree) {
        let berth = self.berth();
        let nodes = tree.nodes();
        // Backwards: what is in a directory comes before it.
        for (path, node) in berth.held.iter().rev() {
            if nodes.get(path) != Some(node) {
                remove(&berth.full(path), node);
            }
        }
        for (path, node) in &nodes {
            if berth.held.get(path) != Some(node) {
                make(&berth.full(path), node);
            }
        }
        berth.held = nodes;
    }

    /// Makes the tree hold what the directory does.
    pub fn read_back(&mut self, tree: &Tree) {
        let berth = self.berth();
        berth.held = read(berth.dir.path(), &RelPath::root());
        tree.hold(&berth.held);
    }

    /// A session, and where it goes when it is done.
    pub fn connect(&self) -> Result<(Session, Idle)> {
        let berth = self.berth.as_ref().expect("it is given back at the end");
        let idle = berth
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        if let Some(mut replica) = idle {
            // What it was told to expect has changed since.
            replica.list_ahead(&[]);
            replica.read_ahead(&[]);
            if replica
                .look_up(&[RelPath::root()])
                .iter()
                .all(Result::is_ok)
            {
                return Ok((replica, Arc::clone(&berth.idle)));
            }
        }
        Ok((
            Box::new(berth.connector.connect()?),
            Arc::clone(&berth.idle),
        ))
    }

    /// How many small files its sessions take in one go.
    pub fn batch(&self) -> usize {
        let berth = self.berth.as_ref().expect("it is given back at the end");
        berth.connector.batch()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.lay_out(&Tree::new());
        let mut free = self
            .harbour
            .free
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        free.extend(self.berth.take());
    }
}

impl Berth {
    fn full(&self, path: &RelPath) -> PathBuf {
        self.dir.path().join(OsStr::from_bytes(path.as_bytes()))
    }
}

fn remove(path: &Path, node: &Node) {
    match node {
        Node::Dir => fs::remove_dir(path),
        Node::File { .. } | Node::Special => fs::remove_file(path),
    }
    .expect("it was there when somebody last looked");
}

fn make(path: &Path, node: &Node) {
    match node {
        Node::Dir => fs::create_dir(path).expect("the name is free"),
        Node::Special => return symlink("nowhere", path).expect("the name is free"),
        Node::File { content, mtime } => {
            fs::write(path, content).expect("the name is free");
            let file = File::options().append(true).open(path);
            let since = Duration::from_nanos(mtime.as_nanos().try_into().expect("after 1970"));
            file.and_then(|file| file.set_modified(UNIX_EPOCH + since))
                .expect("it was just made");
        }
    }
    if is_root() {
        let (uid, gid) = ids();
        chown(path, Some(uid), Some(gid)).expect("root may");
    }
}

fn read(root: &Path, dir: &RelPath) -> BTreeMap<RelPath, Node> {
    let mut nodes = BTreeMap::new();
    let full = root.join(OsStr::from_bytes(dir.as_bytes()));
    for entry in fs::read_dir(full).expect("it is there") {
        let entry = entry.expect("it can be read");
        let relative = entry.path();
        let relative = relative.strip_prefix(root).expect("it is below");
        let path = RelPath::parse(relative.as_os_str().as_bytes()).expect("names are good");
        let metadata = entry.metadata().expect("it is there");
        if metadata.is_dir() {
            nodes.extend(read(root, &path));
            nodes.insert(path, Node::Dir);
        } else if metadata.is_file() {
            let node = Node::File {
                content: fs::read(entry.path()).expect("it is there"),
                mtime: Timestamp::from_nanos(
                    metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec(),
                ),
            };
            nodes.insert(path, node);
        } else {
            nodes.insert(path, Node::Special);
        }
    }
    nodes
}
