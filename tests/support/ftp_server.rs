//! An FTP server inside this process: it serves a real directory on a free loopback port, logs every command, and
//! misbehaves on request. It knows nothing of coracle and needs nothing but std, so that the demo can include it too.
//!
//! ```text
//! FtpServer ── acceptor thread ──▶ one Session thread per control connection
//!                                    read a line ▸ log it ▸ ask the hooks ▸ act ▸ say ▸ then
//! ```
//!
//! Misbehaviour is an [`Effect`]: what is done ([`Act`]), what is said about it ([`Say`]) and what becomes of the control
//! connection ([`Then`]), each independent of the others. A [`Fault`] ties an effect to the n-th command of a kind; a hook
//! decides freely.

// Whoever includes this file uses a part of it, and includes it privately.
#![allow(dead_code, unreachable_pub)]

use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{array, mem};

/// A running server. Dropping it closes every socket and waits for every thread.
pub struct FtpServer {
    shared: Arc<Shared>,
    addr: SocketAddr,
    acceptor: Option<JoinHandle<()>>,
}

impl FtpServer {
    /// Serves `config.root`, which must exist, from a free port of the loopback address.
    pub fn start(config: Config) -> Self {
        let root = fs::canonicalize(&config.root).expect("Config.root names an existing directory");
        let ip = match config.family {
            Family::V4 => IpAddr::from(Ipv4Addr::LOCALHOST),
            Family::V6 => IpAddr::from(Ipv6Addr::LOCALHOST),
        };
        let listener = TcpListener::bind((ip, 0)).expect("loopback has a free port");
        let addr = listener
            .local_addr()
            .expect("a bound listener has an address");
        let shared = Arc::new(Shared {
            root,
            hooks: Mutex::new(
                config
                    .faults
                    .iter()
                    .cloned()
                    .map(Fault::into_hook)
                    .collect(),
            ),
            config,
            stopping: Mutex::new(false),
            stopped: Condvar::new(),
            sockets: Mutex::default(),
            sessions: Mutex::default(),
            log: Mutex::default(),
            counts: Mutex::default(),
        });
        let acceptor = Some(thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept_sessions(&listener, &shared)
        }));
        Self {
            shared,
            addr,
            acceptor,
        }
    }

    /// Where the control connection is served.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The directory that is served, without symbolic links in its path.
    pub fn root(&self) -> &Path {
        &self.shared.root
    }

    /// `ftp://user:password@host:port/path`; `path` is taken as it is, so it must be percent-encoded where that matters.
    pub fn url(&self, path: &str) -> String {
        let Config { user, password, .. } = &self.shared.config;
        let user = user.as_deref().unwrap_or("anonymous");
        let password = password.as_deref().unwrap_or("guest");
        format!(
            "ftp://{user}:{password}@{}/{}",
            self.addr,
            path.trim_start_matches('/')
        )
    }

    /// Adds a fault; it counts commands from now on. Where several apply to one command, the oldest wins.
    pub fn inject(&self, fault: Fault) {
        locked(&self.shared.hooks).push(fault.into_hook());
    }

    /// Adds a function that sees every command before it is carried out. It may change files, but must not call the server.
    pub fn hook(&self, hook: impl FnMut(&CommandContext<'_>) -> Option<Effect> + Send + 'static) {
        locked(&self.shared.hooks).push(Box::new(hook));
    }

    /// Removes all faults and hooks.
    pub fn heal(&self) {
        locked(&self.shared.hooks).clear();
    }

    /// Every command so far, in order of arrival over all connections.
    pub fn log(&self) -> Vec<Logged> {
        locked(&self.shared.log).clone()
    }

    /// The lines of [`log`](Self::log) as text.
    pub fn commands(&self) -> Vec<String> {
        locked(&self.shared.log).iter().map(Logged::text).collect()
    }

    /// Like [`commands`](Self::commands), and empties the log: what one run asked, apart from the next.
    pub fn take_commands(&self) -> Vec<String> {
        mem::take(&mut *locked(&self.shared.log))
            .iter()
            .map(Logged::text)
            .collect()
    }

    /// Control connections accepted so far, refused ones included.
    pub fn connections(&self) -> usize {
        locked(&self.shared.counts).connections
    }

    /// Data connections opened so far.
    pub fn data_connections(&self) -> usize {
        locked(&self.shared.counts).data_connections
    }

    /// Sessions served at this moment.
    pub fn sessions(&self) -> usize {
        locked(&self.shared.counts).sessions
    }

    /// The most sessions that were served at one time.
    pub fn max_sessions_seen(&self) -> usize {
        locked(&self.shared.counts).max_sessions_seen
    }
}

impl Drop for FtpServer {
    fn drop(&mut self) {
        *locked(&self.shared.stopping) = true;
        self.shared.stopped.notify_all();
        let acceptor = self.acceptor.take().expect("the acceptor is joined once");
        while !acceptor.is_finished() {
            // std cannot interrupt accept(); a connection of our own ends it. It may fail for want of descriptors.
            let _ = TcpStream::connect_timeout(&self.addr, Duration::from_millis(100));
            thread::yield_now();
        }
        self.shared.join(vec![acceptor]);
        self.shared.shut_sockets();
        let sessions = mem::take(&mut *locked(&self.shared.sessions));
        self.shared.join(sessions);
        let panics = locked(&self.shared.counts).panics;
        assert!(
            panics == 0 || thread::panicking(),
            "a thread of the FTP server panicked"
        );
    }
}

/// What the server serves and what it can do. `..Config::serving(root)` fills in a capable, patient, honest one.
#[derive(Clone)]
pub struct Config {
    /// The directory that is served; clients see it as `/`.
    pub root: PathBuf,
    pub family: Family,
    /// The only user name that may log in; `None` lets any in.
    pub user: Option<String>,
    /// The only password that is taken; `None` takes any.
    pub password: Option<String>,
    /// Text of the 220; a line feed in it makes the reply a multi-line one.
    pub greeting: String,

    /// MLSD and MLST.
    pub mlsd: bool,
    pub mfmt: bool,
    /// `MDTM time name` sets the time, as vsftpd does.
    pub mdtm_set: bool,
    /// Both forms of `SITE UTIME`.
    pub site_utime: bool,
    pub epsv: bool,
    pub pasv: bool,
    /// PORT and EPRT.
    pub active: bool,
    pub feat: bool,
    /// FEAT names UTF8 and `OPTS UTF8 ON` is taken. Names are bytes either way.
    pub utf8: bool,
    pub size: bool,
    pub mdtm: bool,
    pub rest: bool,
    /// STAT with a path: a listing on the control connection.
    pub stat: bool,
    /// Further verbs that are answered with 500.
    pub without: Vec<&'static str>,

    /// Refuses whatever would change a file.
    pub read_only: bool,
    /// RNTO onto a file replaces it; otherwise 550, as some Windows servers do.
    pub rename_over: bool,
    /// 0xFF arrives doubled in commands, as telnet and RFC 959 want it.
    pub doubled_iac: bool,
    pub list_style: ListStyle,
    /// The zone of the times in LIST, in seconds east of UTC.
    pub list_zone_secs: i64,
    /// LIST shows names with a leading dot without `-a` too.
    pub list_dotfiles: bool,
    /// LIST of a missing directory is an empty listing and 226 (vsftpd, BusyBox); otherwise 550.
    pub list_missing_is_empty: bool,
    /// A listing stops after so many entries and still says 226, as Pure-FTPd does after 10,000.
    pub lists_max: Option<usize>,
    /// The server's clock minus ours, in seconds: shows in the times of what is uploaded or made.
    pub clock_offset: i64,

    /// Sessions at one time; the next one gets 421 at connect.
    pub max_sessions: Option<usize>,
    /// Logins at one time; the next one gets 530 after PASS.
    pub max_logins: Option<usize>,
    /// A line's round trip: waits so long before the greeting and before every command but those that came before the
    /// reply to their predecessor.
    pub latency: Duration,
    /// The address that PASV names instead of the server's own.
    pub pasv_host: Option<Ipv4Addr>,
    /// 150 goes out before the data connection is there, not after.
    pub early_150: bool,
    /// How long a command waits for its data connection before it ends with 425.
    pub accept_timeout: Duration,
    /// A control connection that is silent so long gets 421; a data connection that stands still so long, 426.
    pub idle_timeout: Duration,
    pub faults: Vec<Fault>,
}

impl Config {
    pub fn serving(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            ..Self::default()
        }
    }

    fn offers(&self, verb: &str) -> bool {
        let offered = match verb {
            "MLSD" | "MLST" => self.mlsd,
            "MFMT" => self.mfmt,
            "EPSV" => self.epsv,
            "PASV" => self.pasv,
            "PORT" | "EPRT" => self.active,
            "FEAT" => self.feat,
            "SIZE" => self.size,
            "MDTM" => self.mdtm,
            "REST" => self.rest,
            "STAT" => self.stat,
            _ => true,
        };
        offered && !self.without.contains(&verb)
    }

    fn features(&self) -> String {
        let lines = [
            ("EPRT", "EPRT"),
            ("EPSV", "EPSV"),
            ("MDTM", "MDTM"),
            ("MFMT", "MFMT"),
            ("MLST", "MLST type*;size*;modify*;perm*;unique*;UNIX.mode*;"),
            ("PASV", "PASV"),
            ("REST", "REST STREAM"),
            ("SIZE", "SIZE"),
            ("TVFS", "TVFS"),
            ("UTF8", "UTF8"),
        ];
        let offered = lines
            .iter()
            .filter(|(verb, _)| self.offers(verb) && (*verb != "UTF8" || self.utf8));
        offered.map(|(_, line)| format!(" {line}\n")).collect()
    }

    fn now(&self) -> i64 {
        unix_secs(SystemTime::now()) + self.clock_offset
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            root: PathBuf::new(),
            family: Family::V4,
            user: None,
            password: None,
            greeting: "ready".into(),
            mlsd: true,
            mfmt: true,
            mdtm_set: true,
            site_utime: true,
            epsv: true,
            pasv: true,
            active: true,
            feat: true,
            utf8: true,
            size: true,
            mdtm: true,
            rest: true,
            stat: true,
            without: Vec::new(),
            read_only: false,
            rename_over: true,
            doubled_iac: false,
            list_style: ListStyle::Unix,
            list_zone_secs: 0,
            list_dotfiles: false,
            list_missing_is_empty: false,
            lists_max: None,
            clock_offset: 0,
            max_sessions: None,
            max_logins: None,
            latency: Duration::ZERO,
            pasv_host: None,
            early_150: false,
            accept_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(300),
            faults: Vec::new(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

/// The shape of a LIST line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ListStyle {
    Unix,
    Dos,
}

/// One command line as it arrived, without its end. PASS is not masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Which control connection, counted from 1.
    pub connection: usize,
    pub line: Vec<u8>,
}

impl Logged {
    /// The line, with U+FFFD for what is not UTF-8.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.line).into_owned()
    }
}

/// The verb under which hooks see a new control connection; its reply is the greeting.
pub const CONNECT: &str = "CONNECT";

/// One command, as hooks see it.
pub struct CommandContext<'a> {
    /// Which control connection, counted from 1.
    pub connection: usize,
    /// In capitals, or [`CONNECT`].
    pub verb: &'a str,
    pub argument: &'a [u8],
    /// Whether it was here before the reply to the one before it went out.
    pub is_sent_ahead: bool,
}

type Hook = Box<dyn FnMut(&CommandContext<'_>) -> Option<Effect> + Send>;

/// An effect and the commands that it befalls: `Fault::on("RETR").nth(2).then(Effect::cut_data(100))`.
#[derive(Clone)]
pub struct Fault {
    verb: Option<&'static str>,
    part: Vec<u8>,
    nth: usize,
    times: usize,
    effect: Effect,
}

impl Fault {
    /// The first command with this verb, or the first connection with [`CONNECT`].
    pub fn on(verb: &'static str) -> Self {
        Self {
            verb: Some(verb),
            part: Vec::new(),
            nth: 1,
            times: 1,
            effect: Effect::default(),
        }
    }

    /// The n-th command of any kind over all connections, counted from 1; connecting is not a command.
    pub fn at_command(n: usize) -> Self {
        Self {
            verb: None,
            nth: n,
            ..Self::on(CONNECT)
        }
    }

    /// Counts only commands with this in their argument.
    pub fn containing(mut self, part: impl Into<Vec<u8>>) -> Self {
        self.part = part.into();
        self
    }

    /// Begins with the n-th of the matching commands, counted from 1.
    pub fn nth(mut self, nth: usize) -> Self {
        self.nth = nth;
        self
    }

    /// Befalls so many in a row instead of one.
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// Befalls all from there on.
    pub fn always(self) -> Self {
        self.times(usize::MAX)
    }

    /// Sets what befalls them; without it they are served honestly.
    pub fn then(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self
    }

    fn into_hook(self) -> Hook {
        let mut seen = 0;
        Box::new(move |command| {
            let matches = self
                .verb
                .map_or(command.verb != CONNECT, |verb| verb == command.verb)
                && (self.part.is_empty()
                    || command
                        .argument
                        .windows(self.part.len())
                        .any(|part| part == self.part));
            seen += usize::from(matches);
            let befallen = matches && seen >= self.nth && seen - self.nth < self.times;
            befallen.then(|| self.effect.clone())
        })
    }
}

/// What becomes of one command. The default is what an honest server does.
#[derive(Clone, Default)]
pub struct Effect {
    pub act: Act,
    pub say: Say,
    pub then: Then,
}

impl Effect {
    /// The three parts freely combined; the functions below name the usual ones.
    pub fn of(act: Act, say: Say, then: Then) -> Self {
        Self { act, say, then }
    }

    /// Does nothing and says this: a refusal, or with a 2xx a lie.
    pub fn reply(code: u16, text: &str) -> Self {
        Self::of(Act::Skip, Say::Code(code, text.into()), Then::GoOn)
    }

    /// Does what was asked, and says this at the end.
    pub fn act_then_reply(code: u16, text: &str) -> Self {
        Self::default().saying(code, text)
    }

    /// Does what was asked, and never says so.
    pub fn drop_reply() -> Self {
        Self::of(Act::Truly, Say::Nothing, Then::GoOn)
    }

    /// Does nothing and sends these bytes.
    pub fn raw_reply(bytes: impl Into<Vec<u8>>) -> Self {
        Self::of(Act::Skip, Say::Raw(bytes.into()), Then::GoOn)
    }

    /// Does what was asked, and sends what `edit` makes of the true reply.
    pub fn edit_reply(edit: impl Fn(Vec<u8>) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::of(Act::Truly, Say::Edited(Arc::new(edit)), Then::GoOn)
    }

    /// Does what was asked, and sends the true reply twice.
    pub fn double_reply() -> Self {
        Self::edit_reply(|reply| reply.repeat(2))
    }

    /// Does what was asked, and sends the true reply byte by byte, with a pause after each.
    pub fn slow_reply(pause: Duration) -> Self {
        Self::of(Act::Truly, Say::Slowly(pause), Then::GoOn)
    }

    /// Sends `chunk` over and over, with a pause after each.
    pub fn endless_reply(chunk: impl Into<Vec<u8>>, pause: Duration) -> Self {
        let chunk = chunk.into();
        Self::of(Act::Skip, Say::Endless { chunk, pause }, Then::GoOn)
    }

    /// Closes the control connection instead of an answer; nothing is done.
    pub fn close_control(how: Close) -> Self {
        Self::of(Act::Skip, Say::Nothing, Then::Close(how))
    }

    /// Does what was asked, then closes the control connection without a reply.
    pub fn act_then_close(how: Close) -> Self {
        Self::of(Act::Truly, Say::Nothing, Then::Close(how))
    }

    /// Never answers and never reads on; nothing is done.
    pub fn stall() -> Self {
        Self::of(Act::Skip, Say::Nothing, Then::Stall)
    }

    /// Ends the data connection after so many bytes. The reply is 426; `.saying(226, …)` makes it
    /// a lie.
    pub fn cut_data(after_bytes: u64) -> Self {
        Self::of(Act::CutData { after_bytes }, Say::Truth, Then::GoOn)
    }

    /// Leaves the data connection open after so many bytes, but moves nothing more.
    pub fn stall_data(after_bytes: u64) -> Self {
        Self::of(Act::StallData { after_bytes }, Say::Truth, Then::GoOn)
    }

    /// Sends (RETR, listings) or stores (STOR, APPE) what `edit` makes of the bytes, and says 226.
    pub fn edit_data(edit: impl Fn(Vec<u8>) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::of(Act::EditData(Arc::new(edit)), Say::Truth, Then::GoOn)
    }

    /// Takes the whole upload, stores only its first bytes, and says 226.
    pub fn write_short(len: usize) -> Self {
        Self::edit_data(move |mut bytes| {
            bytes.truncate(len);
            bytes
        })
    }

    /// A listing without the lines that `drop` picks by their place (from 0) and text (without
    /// their end).
    pub fn short_listing(drop: impl Fn(usize, &[u8]) -> bool + Send + Sync + 'static) -> Self {
        Self::edit_data(move |bytes| {
            let lines = bytes.split_inclusive(|&byte| byte == b'\n').enumerate();
            let kept = lines.filter(|(place, line)| !drop(*place, line.trim_ascii_end()));
            kept.flat_map(|(_, line)| line).copied().collect()
        })
    }

    /// A listing with these lines at its end.
    pub fn extra_listing_lines(lines: &[&[u8]]) -> Self {
        let lines = lines.iter().flat_map(|line| [line, &b"\r\n"[..]].concat());
        let extra: Vec<u8> = lines.collect();
        Self::edit_data(move |bytes| [bytes, extra.clone()].concat())
    }

    /// These bytes and nothing else, as a listing or as a file.
    pub fn replace_data(with: impl Into<Vec<u8>>) -> Self {
        let with = with.into();
        Self::edit_data(move |_| with.clone())
    }

    /// PASV names another host; the port is the true one.
    pub fn foreign_address(host: Ipv4Addr) -> Self {
        let host = host.octets().map(|octet| octet.to_string()).join(",");
        Self::edit_reply(move |reply| {
            let text = String::from_utf8_lossy(&reply);
            let port = text.splitn(5, ',').nth(4).unwrap_or_default();
            format!("227 Entering Passive Mode ({host},{port}").into_bytes()
        })
    }

    /// The same effect with this as its final reply.
    pub fn saying(mut self, code: u16, text: &str) -> Self {
        self.say = Say::Code(code, text.into());
        self
    }

    /// The same effect, and afterwards the control connection is closed.
    pub fn closing(mut self, how: Close) -> Self {
        self.then = Then::Close(how);
        self
    }
}

type Edit = Arc<dyn Fn(Vec<u8>) -> Vec<u8> + Send + Sync>;

/// What the server does for a command.
#[derive(Clone, Default)]
pub enum Act {
    #[default]
    Truly,
    Skip,
    CutData {
        after_bytes: u64,
    },
    StallData {
        after_bytes: u64,
    },
    EditData(Edit),
}

/// What the server says at the end of a command; a 150 goes out untouched.
#[derive(Clone, Default)]
pub enum Say {
    #[default]
    Truth,
    Code(u16, String),
    Nothing,
    Raw(Vec<u8>),
    Edited(Edit),
    /// The true reply byte by byte, with this pause after each.
    Slowly(Duration),
    Endless {
        chunk: Vec<u8>,
        pause: Duration,
    },
}

/// What becomes of the control connection after a command.
#[derive(Clone, Copy, Default)]
pub enum Then {
    #[default]
    GoOn,
    Close(Close),
    /// Stays open, but nothing is answered any more.
    Stall,
}

/// How the control connection ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Close {
    Fin,
    /// RST. On [`CONNECT`] there is nothing to leave unread, and it is a FIN.
    Reset,
}

/// What all threads share.
struct Shared {
    config: Config,
    root: PathBuf,
    stopping: Mutex<bool>,
    stopped: Condvar,
    /// Weak, so that a connection is really closed when its session lets go of it.
    sockets: Mutex<Vec<Weak<TcpStream>>>,
    sessions: Mutex<Vec<JoinHandle<()>>>,
    hooks: Mutex<Vec<Hook>>,
    log: Mutex<Vec<Logged>>,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    connections: usize,
    data_connections: usize,
    sessions: usize,
    logins: usize,
    max_sessions_seen: usize,
    panics: usize,
}

impl Shared {
    /// Makes `stream` one that the end of the server shuts down.
    fn register(&self, stream: TcpStream) -> Arc<TcpStream> {
        let stream = Arc::new(stream);
        let mut sockets = locked(&self.sockets);
        sockets.retain(|socket| socket.strong_count() > 0);
        sockets.push(Arc::downgrade(&stream));
        drop(sockets);
        if self.is_stopping() {
            self.shut_sockets();
        }
        stream
    }

    fn shut_sockets(&self) {
        for socket in locked(&self.sockets).iter().filter_map(Weak::upgrade) {
            // It may be closed by its peer already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Joins the threads that are done, because a thread keeps its stack until it is joined.
    fn reap(&self) {
        let mut sessions = locked(&self.sessions);
        let (done, running) = mem::take(&mut *sessions)
            .into_iter()
            .partition(JoinHandle::is_finished);
        *sessions = running;
        drop(sessions);
        self.join(done);
    }

    fn join(&self, threads: Vec<JoinHandle<()>>) {
        for thread in threads {
            locked(&self.counts).panics += usize::from(thread.join().is_err());
        }
    }

    fn is_stopping(&self) -> bool {
        *locked(&self.stopping)
    }

    /// Waits so long, or until the server stops.
    fn pause(&self, time: Duration) {
        let stopping = locked(&self.stopping);
        let wait = self
            .stopped
            .wait_timeout_while(stopping, time, |stopping| !*stopping);
        drop(wait);
    }

    fn effect(&self, command: &CommandContext<'_>) -> Effect {
        // Every hook sees every command, so that each counts for itself.
        let mut hooks = locked(&self.hooks);
        let effects: Vec<_> = hooks.iter_mut().filter_map(|hook| hook(command)).collect();
        effects.into_iter().next().unwrap_or_default()
    }
}

/// A poisoned lock still guards sound data here, and the panic that poisoned it is reported when the server is dropped.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One of a limited number, given back when it is dropped.
struct Seat {
    shared: Arc<Shared>,
    count: fn(&mut Counts) -> &mut usize,
}

impl Seat {
    fn take(
        shared: &Arc<Shared>,
        count: fn(&mut Counts) -> &mut usize,
        max: Option<usize>,
    ) -> Option<Self> {
        let mut counts = locked(&shared.counts);
        if max.is_some_and(|max| *count(&mut counts) >= max) {
            return None;
        }
        *count(&mut counts) += 1;
        counts.max_sessions_seen = counts.max_sessions_seen.max(counts.sessions);
        Some(Self {
            shared: Arc::clone(shared),
            count,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        *(self.count)(&mut locked(&self.shared.counts)) -= 1;
    }
}

fn accept_sessions(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        let accepted = listener.accept();
        if shared.is_stopping() {
            return;
        }
        let Ok((stream, peer)) = accepted else {
            // Out of descriptors, or the client has left: the next one may fare better.
            shared.pause(POLL_PAUSE);
            continue;
        };
        let number = {
            let mut counts = locked(&shared.counts);
            counts.connections += 1;
            counts.connections
        };
        let Some(seat) = Seat::take(
            shared,
            |counts| &mut counts.sessions,
            shared.config.max_sessions,
        ) else {
            // The client may have left without waiting for the refusal.
            let _ = (&stream).write_all(&reply(421, "There are too many users, try later.").0);
            continue;
        };
        // A reply is small and the client waits for it; without this the kernel would hold back the second of two.
        let _ = stream.set_nodelay(true);
        let _ = stream.set_read_timeout(Some(shared.config.idle_timeout));
        let session = Session::new(shared, shared.register(stream), peer, number, seat);
        let thread = thread::Builder::new()
            .stack_size(SESSION_STACK_BYTES)
            .spawn(move || session.serve());
        shared.reap();
        // Out of threads: the client sees its connection closed.
        locked(&shared.sessions).extend(thread.ok());
    }
}

/// One control connection.
struct Session {
    shared: Arc<Shared>,
    control: Arc<TcpStream>,
    /// The line feed of the last command is still unread: with it a close is a reset, which std offers no other way.
    owes_line_feed: bool,
    /// The command at hand came before the reply to the one before it, so it shares that one's round trip.
    is_sent_ahead: bool,
    peer: SocketAddr,
    number: usize,
    seat: Option<Seat>,
    login: Login,
    act: Act,
    directory: Vec<Vec<u8>>,
    data_port: Option<DataPort>,
    is_ascii: bool,
    facts: Vec<String>,
    rest: u64,
    rename_from: Option<PathBuf>,
}

enum Login {
    Out,
    Named(Vec<u8>),
    In { _seat: Seat },
}

enum DataPort {
    Passive(TcpListener),
    Active(SocketAddr),
}

enum Line {
    Command(Vec<u8>),
    TooLong,
    Idle,
    Gone,
}

/// The answer to a command. As an `Err` it only leaves its function early: both arms are sent alike.
#[derive(Debug)]
struct Reply(Vec<u8>);

type Answer = Result<Reply, Reply>;

/// A reply; line feeds in the text make it a multi-line one (RFC 959, 4.2).
fn reply(code: u16, text: impl AsRef<[u8]>) -> Reply {
    let mut lines: Vec<&[u8]> = text.as_ref().split(|&byte| byte == b'\n').collect();
    let last = lines.pop().expect("split yields at least one part");
    let mut bytes = Vec::new();
    for (place, line) in lines.into_iter().enumerate() {
        let code = if place == 0 {
            format!("{code}-")
        } else {
            String::new()
        };
        bytes.extend([code.as_bytes(), line, b"\r\n"].concat());
    }
    bytes.extend([format!("{code} ").as_bytes(), last, b"\r\n"].concat());
    Reply(bytes)
}

fn denied() -> Reply {
    reply(550, "Permission denied.")
}

impl From<io::Error> for Reply {
    fn from(error: io::Error) -> Self {
        let code = if error.kind() == ErrorKind::StorageFull {
            452
        } else {
            550
        };
        reply(code, format!("{error}."))
    }
}

impl Session {
    fn new(
        shared: &Arc<Shared>,
        control: Arc<TcpStream>,
        peer: SocketAddr,
        number: usize,
        seat: Seat,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            control,
            owes_line_feed: false,
            is_sent_ahead: false,
            peer,
            number,
            seat: Some(seat),
            login: Login::Out,
            act: Act::Truly,
            directory: Vec::new(),
            data_port: None,
            is_ascii: true,
            facts: FACTS.map(str::to_owned).to_vec(),
            rest: 0,
            rename_from: None,
        }
    }

    fn config(&self) -> &Config {
        &self.shared.config
    }

    fn serve(mut self) {
        let how = self.converse();
        // First the seats, so that a client that sees the end and reconnects at once finds them free.
        self.login = Login::Out;
        self.seat = None;
        if how == Close::Fin {
            // Unread input would turn the close into a reset, which may overtake the last reply.
            let _ = self.control.shutdown(Shutdown::Write);
            let _ = self.control.set_nonblocking(true);
            while (&*self.control)
                .read(&mut [0; 4096])
                .is_ok_and(|count| count > 0)
            {}
        }
    }

    /// Answers commands until one of the two hangs up.
    fn converse(&mut self) -> Close {
        let mut end = self.step(CONNECT, b"");
        while end.is_none() {
            end = match self.read_line() {
                Line::Command(line) => {
                    let (verb, argument) = parse_command(&line, self.config().doubled_iac);
                    locked(&self.shared.log).push(Logged {
                        connection: self.number,
                        line,
                    });
                    self.step(&verb, &argument)
                }
                Line::TooLong => self.leave(500, "Input line too long."),
                Line::Idle => self.leave(421, "Timeout."),
                Line::Gone => Some(Close::Fin),
            };
        }
        end.unwrap_or(Close::Fin)
    }

    fn leave(&self, code: u16, text: &str) -> Option<Close> {
        self.write(&reply(code, text).0);
        Some(Close::Fin)
    }

    /// Carries out one command, or what a hook makes of it. Some if the conversation is over.
    fn step(&mut self, verb: &str, argument: &[u8]) -> Option<Close> {
        let effect = self.shared.effect(&CommandContext {
            connection: self.number,
            verb,
            argument,
            is_sent_ahead: self.is_sent_ahead,
        });
        self.act = effect.act;
        if !self.is_sent_ahead && !self.config().latency.is_zero() {
            self.shared.pause(self.config().latency);
        }
        let truth = match self.act {
            Act::Skip => Reply(Vec::new()),
            Act::Truly | Act::CutData { .. } | Act::StallData { .. } | Act::EditData(_) => {
                self.run(verb, argument).unwrap_or_else(|refusal| refusal)
            }
        };
        // What a command announces to the next one is spent by it, whatever came of it.
        match verb {
            "RETR" | "STOR" | "APPE" => self.rest = 0,
            "RNTO" => self.rename_from = None,
            _ => {}
        }
        self.is_sent_ahead = self.has_input();
        self.say(effect.say, truth);
        match effect.then {
            Then::GoOn => (verb == "QUIT").then_some(Close::Fin),
            Then::Close(how) => Some(how),
            Then::Stall => {
                self.stall();
                Some(Close::Fin)
            }
        }
    }

    fn say(&self, say: Say, truth: Reply) {
        match say {
            Say::Truth => self.write(&truth.0),
            Say::Code(code, text) => self.write(&reply(code, text).0),
            Say::Nothing => true,
            Say::Raw(bytes) => self.write(&bytes),
            Say::Edited(edit) => self.write(&edit(truth.0)),
            Say::Slowly(pause) => truth.0.iter().all(|&byte| {
                let written = self.write(&[byte]);
                self.shared.pause(pause);
                written
            }),
            Say::Endless { chunk, pause } => {
                while self.write(&chunk) && !self.shared.is_stopping() {
                    self.shared.pause(pause);
                }
                false
            }
        };
    }

    /// False if the client is gone, which the next read finds out as well.
    fn write(&self, bytes: &[u8]) -> bool {
        (&*self.control).write_all(bytes).is_ok()
    }

    /// Reads no more than one line, so that commands sent ahead wait in the kernel. Its line feed stays there too.
    fn read_line(&mut self) -> Line {
        let mut control = &*self.control;
        if mem::take(&mut self.owes_line_feed) && control.read_exact(&mut [0]).is_err() {
            return Line::Gone;
        }
        let mut line = Vec::new();
        let mut buffer = [0; 1024];
        while line.len() <= LINE_MAX_BYTES {
            let seen = match control.peek(&mut buffer) {
                Ok(0) => return Line::Gone,
                Ok(seen) => seen,
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return Line::Idle;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return Line::Gone,
            };
            let end = buffer[..seen].iter().position(|&byte| byte == b'\n');
            let part = &mut buffer[..end.unwrap_or(seen)];
            if control.read_exact(part).is_err() {
                return Line::Gone;
            }
            line.extend_from_slice(part);
            if end.is_some() {
                self.owes_line_feed = true;
                line.pop_if(|last| *last == b'\r');
                return Line::Command(line);
            }
        }
        Line::TooLong
    }

    /// Whether the next command is here already. Before a reply is sent this tells a client that sends ahead from one
    /// that waits for its replies.
    fn has_input(&self) -> bool {
        let _ = self.control.set_nonblocking(true);
        let waiting = self.control.peek(&mut [0; 2]).unwrap_or(0);
        let _ = self.control.set_nonblocking(false);
        waiting > usize::from(self.owes_line_feed)
    }

    /// Holds everything open until the client hangs up or the server stops.
    fn stall(&self) {
        let _ = self.control.set_read_timeout(None);
        while (&*self.control)
            .read(&mut [0; 4096])
            .is_ok_and(|count| count > 0)
        {}
    }

    fn run(&mut self, verb: &str, argument: &[u8]) -> Answer {
        if !self.config().offers(verb) {
            return Err(reply(500, "Unknown command."));
        }
        let is_free = [
            CONNECT, "USER", "PASS", "ACCT", "FEAT", "OPTS", "SYST", "NOOP", "HELP", "QUIT",
        ]
        .contains(&verb);
        if !is_free && !matches!(self.login, Login::In { .. }) {
            return Err(reply(530, "Please login with USER and PASS."));
        }
        let writes = [
            "STOR", "APPE", "MKD", "XMKD", "RMD", "XRMD", "DELE", "RNFR", "RNTO", "MFMT", "SITE",
        ];
        if self.config().read_only && writes.contains(&verb) {
            return Err(denied());
        }
        match verb {
            CONNECT => Ok(reply(220, &self.config().greeting)),
            "USER" => self.user(argument),
            "PASS" => self.pass(argument),
            "ACCT" => Ok(reply(202, "No account is needed.")),
            "QUIT" => {
                // Before the reply, so that a client that reconnects at once finds the seat free.
                self.login = Login::Out;
                self.seat = None;
                Ok(reply(221, "Goodbye."))
            }
            "FEAT" => Ok(reply(
                211,
                format!("Features:\n{}End", self.config().features()),
            )),
            "OPTS" => self.opts(argument),
            "SYST" => Ok(match self.config().list_style {
                ListStyle::Unix => reply(215, "UNIX Type: L8"),
                ListStyle::Dos => reply(215, "Windows_NT"),
            }),
            "NOOP" => Ok(reply(200, "NOOP ok.")),
            "HELP" => Ok(reply(
                214,
                "The following commands are recognized.\n USER PASS QUIT and more\nHelp OK.",
            )),
            "ALLO" => Ok(reply(202, "No storage allocation necessary.")),
            "ABOR" => Ok(reply(225, "No transfer to ABOR.")),
            "TYPE" => self.representation(argument),
            "MODE" if argument.eq_ignore_ascii_case(b"S") => Ok(reply(200, "Mode set to S.")),
            "STRU" if argument.eq_ignore_ascii_case(b"F") => Ok(reply(200, "Structure set to F.")),
            "MODE" | "STRU" => Err(reply(504, "Not implemented for that parameter.")),
            "PWD" | "XPWD" => Ok(self.quoted(&self.directory, "is the current directory")),
            "CWD" | "XCWD" => self.change_directory(argument),
            "CDUP" | "XCUP" => {
                self.directory.pop();
                Ok(reply(250, "Directory successfully changed."))
            }
            "PASV" => self.pasv(),
            "EPSV" => self.epsv(argument),
            "PORT" => self.active(parse_port(argument)),
            "EPRT" => self.active(parse_eprt(argument)),
            "REST" => {
                self.rest = number(argument)?;
                Ok(reply(
                    350,
                    format!("Restart position accepted ({}).", self.rest),
                ))
            }
            "RETR" => self.retrieve(argument),
            "STOR" => self.store(argument, Start::At(self.rest)),
            "APPE" => self.store(argument, Start::End),
            "LIST" => self.list(argument, Self::list_row),
            "NLST" => self.list(argument, Self::name_row),
            "MLSD" => self.mlsd(argument),
            "MLST" => self.mlst(argument),
            "STAT" => self.stat(argument),
            "SIZE" if self.is_ascii => Err(reply(550, "SIZE not allowed in ASCII mode.")),
            "SIZE" => Ok(reply(213, self.file(argument)?.1.len().to_string())),
            "MDTM" => self.mdtm(argument),
            "MFMT" => self.mfmt(argument),
            "SITE" => self.site(argument),
            "MKD" | "XMKD" => {
                let path = self.path(argument)?;
                fs::create_dir(&path)?;
                self.stamp(&path)?;
                Ok(self.quoted(&self.components(argument)?, "created"))
            }
            "RMD" | "XRMD" => {
                fs::remove_dir(self.path(argument)?)?;
                Ok(reply(250, "Remove directory operation successful."))
            }
            "DELE" => {
                fs::remove_file(self.path(argument)?)?;
                Ok(reply(250, "Delete operation successful."))
            }
            "RNFR" => {
                let path = self.path(argument)?;
                fs::symlink_metadata(&path)?;
                self.rename_from = Some(path);
                Ok(reply(350, "Ready for RNTO."))
            }
            "RNTO" => self.rename(argument),
            _ => Err(reply(500, "Unknown command.")),
        }
    }

    // Login and settings.

    fn user(&mut self, name: &[u8]) -> Answer {
        self.login = Login::Named(name.to_vec());
        Ok(reply(331, "Please specify the password."))
    }

    fn pass(&mut self, password: &[u8]) -> Answer {
        let Login::Named(name) = mem::replace(&mut self.login, Login::Out) else {
            return Err(reply(503, "Login with USER first."));
        };
        let Config {
            user,
            password: wanted,
            max_logins,
            ..
        } = self.config();
        let agrees = |wanted: &Option<String>, given: &[u8]| {
            wanted.as_ref().is_none_or(|it| it.as_bytes() == given)
        };
        if !agrees(user, &name) || !agrees(wanted, password) {
            return Err(reply(530, "Login incorrect."));
        }
        let Some(seat) = Seat::take(&self.shared, |counts| &mut counts.logins, *max_logins) else {
            return Err(reply(530, "Too many users are logged in already."));
        };
        self.login = Login::In { _seat: seat };
        Ok(reply(230, "Login successful."))
    }

    fn opts(&mut self, argument: &[u8]) -> Answer {
        let argument = String::from_utf8_lossy(argument).into_owned();
        let (option, value) = argument.split_once(' ').unwrap_or((&argument, ""));
        match option.to_ascii_uppercase().as_str() {
            "UTF8" if self.config().utf8 => Ok(reply(200, "Always in UTF8 mode.")),
            "MLST" if self.config().mlsd => {
                let wanted: Vec<String> = value.split(';').map(str::to_ascii_lowercase).collect();
                let known = FACTS
                    .iter()
                    .filter(|fact| wanted.contains(&fact.to_ascii_lowercase()));
                self.facts = known.map(|&fact| fact.to_owned()).collect();
                let facts: String = self.facts.iter().map(|fact| format!("{fact};")).collect();
                Ok(reply(200, format!("MLST OPTS {facts}").trim_end()))
            }
            _ => Err(reply(501, "Option not understood.")),
        }
    }

    fn representation(&mut self, argument: &[u8]) -> Answer {
        self.is_ascii = match argument.to_ascii_uppercase().as_slice() {
            b"A" | b"A N" => true,
            b"I" | b"L 8" => false,
            _ => return Err(reply(504, "Unrecognised TYPE command.")),
        };
        Ok(reply(200, "Type set."))
    }

    // Paths. Clients see the root as `/`; nothing outside it can be reached, not through `..` and not through a link.

    fn components(&self, argument: &[u8]) -> Result<Vec<Vec<u8>>, Reply> {
        let mut components = if argument.starts_with(b"/") {
            Vec::new()
        } else {
            self.directory.clone()
        };
        for part in argument.split(|&byte| byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => {
                    components.pop().ok_or_else(denied)?;
                }
                name => components.push(name.to_vec()),
            }
        }
        Ok(components)
    }

    /// The entry that a command names: a link itself, not what it points to. The root cannot be named.
    fn path(&self, argument: &[u8]) -> Result<PathBuf, Reply> {
        let mut components = self.components(argument)?;
        let name = components.pop().ok_or_else(denied)?;
        let parent = self.inside(fs::canonicalize(self.on_disk(&components))?)?;
        Ok(parent.join(OsStr::from_bytes(&name)))
    }

    /// The existing entry that a command names, links followed.
    fn followed(&self, argument: &[u8]) -> Result<PathBuf, Reply> {
        self.inside(fs::canonicalize(self.on_disk(&self.components(argument)?))?)
    }

    fn on_disk(&self, components: &[Vec<u8>]) -> PathBuf {
        let mut path = self.shared.root.clone();
        path.extend(components.iter().map(|name| OsStr::from_bytes(name)));
        path
    }

    fn inside(&self, path: PathBuf) -> Result<PathBuf, Reply> {
        let is_inside = path.starts_with(&self.shared.root);
        is_inside.then_some(path).ok_or_else(denied)
    }

    /// An existing plain file; a FIFO would block whoever opens it.
    fn file(&self, argument: &[u8]) -> Result<(PathBuf, Metadata), Reply> {
        let path = self.followed(argument)?;
        let metadata = fs::metadata(&path)?;
        if metadata.is_file() {
            Ok((path, metadata))
        } else {
            Err(reply(550, "Not a plain file."))
        }
    }

    /// `257 "/a ""quoted"" name" text`.
    fn quoted(&self, components: &[Vec<u8>], text: &str) -> Reply {
        let mut line = vec![b'"'];
        for &byte in &absolute(components) {
            line.extend(if byte == b'"' {
                &b"\"\""[..]
            } else {
                array::from_ref(&byte)
            });
        }
        reply(257, [&line, &b"\" "[..], text.as_bytes()].concat())
    }

    fn change_directory(&mut self, argument: &[u8]) -> Answer {
        fs::read_dir(self.followed(argument)?)?;
        self.directory = self.components(argument)?;
        Ok(reply(250, "Directory successfully changed."))
    }

    fn rename(&mut self, argument: &[u8]) -> Answer {
        let from = self
            .rename_from
            .take()
            .ok_or_else(|| reply(503, "RNFR required first."))?;
        let to = self.path(argument)?;
        if fs::symlink_metadata(&to).is_ok_and(|there| there.is_dir() || !self.config().rename_over)
        {
            return Err(reply(550, "File exists."));
        }
        fs::rename(from, to)?;
        Ok(reply(250, "Rename successful."))
    }

    // Times.

    /// Gives what was just written the time that the server's clock shows.
    fn stamp(&self, path: &Path) -> io::Result<()> {
        match self.config().clock_offset {
            0 => Ok(()),
            _ => set_mtime(path, self.config().now()),
        }
    }

    fn mdtm(&self, argument: &[u8]) -> Answer {
        if let Some((time, name)) = split_word(argument).filter(|_| self.config().mdtm_set)
            && let Some(time) = parse_time(time)
        {
            let (path, _) = self.file(name)?;
            if self.config().read_only {
                return Err(denied());
            }
            set_mtime(&path, time)?;
            return Ok(reply(213, "File modification time set."));
        }
        Ok(reply(
            213,
            Civil::at(self.file(argument)?.1.mtime()).stamp(),
        ))
    }

    fn mfmt(&self, argument: &[u8]) -> Answer {
        let (stamp, name) =
            split_word(argument).ok_or_else(|| reply(501, "Invalid number of arguments."))?;
        let time = parse_time(stamp).ok_or_else(|| reply(501, "Invalid time."))?;
        set_mtime(&self.followed(name)?, time)?;
        let stamp = Civil::at(time).stamp();
        Ok(reply(
            213,
            [format!("Modify={stamp}; ").as_bytes(), name].concat(),
        ))
    }

    fn site(&self, argument: &[u8]) -> Answer {
        let syntax = || reply(501, "Syntax error in SITE command.");
        let (verb, rest) = split_word(argument).ok_or_else(syntax)?;
        match verb.to_ascii_uppercase().as_slice() {
            b"CHMOD" => {
                let (mode, name) = split_word(rest).ok_or_else(syntax)?;
                let mode = str::from_utf8(mode)
                    .ok()
                    .and_then(|mode| u32::from_str_radix(mode, 8).ok());
                fs::set_permissions(
                    self.followed(name)?,
                    Permissions::from_mode(mode.ok_or_else(syntax)?),
                )?;
                Ok(reply(200, "SITE CHMOD command ok."))
            }
            b"UTIME" if self.config().site_utime => {
                let (time, name) = parse_utime(rest).ok_or_else(syntax)?;
                set_mtime(&self.followed(name)?, time)?;
                Ok(reply(200, "SITE UTIME command ok."))
            }
            _ => Err(reply(500, "Unknown SITE command.")),
        }
    }

    // Data connections.

    fn pasv(&mut self) -> Answer {
        let port = self.listen()?;
        let IpAddr::V4(own) = self.control.local_addr()?.ip() else {
            self.data_port = None;
            return Err(reply(425, "PASV cannot name an IPv6 address."));
        };
        let [a, b, c, d] = self.config().pasv_host.unwrap_or(own).octets();
        Ok(reply(
            227,
            format!(
                "Entering Passive Mode ({a},{b},{c},{d},{},{}).",
                port >> 8,
                port & 0xff
            ),
        ))
    }

    fn epsv(&mut self, argument: &[u8]) -> Answer {
        let own = if self.peer.is_ipv4() { b"1" } else { b"2" };
        match argument {
            b"ALL" => Ok(reply(200, "EPSV ALL ok.")),
            b"1" | b"2" if argument != own => Err(reply(522, "Bad network protocol.")),
            _ => {
                let port = self.listen()?;
                Ok(reply(
                    229,
                    format!("Entering Extended Passive Mode (|||{port}|)."),
                ))
            }
        }
    }

    fn listen(&mut self) -> io::Result<u16> {
        let listener = TcpListener::bind((self.control.local_addr()?.ip(), 0))?;
        let port = listener.local_addr()?.port();
        self.data_port = Some(DataPort::Passive(listener));
        Ok(port)
    }

    fn active(&mut self, addr: Option<SocketAddr>) -> Answer {
        // Anything but the client's own address would let it attack others through us (RFC 2577, 3).
        let addr = addr.filter(|addr| addr.ip() == self.peer.ip() && addr.port() >= 1024);
        let addr = addr.ok_or_else(|| reply(500, "Illegal PORT command."))?;
        self.data_port = Some(DataPort::Active(addr));
        Ok(reply(200, "PORT command successful."))
    }

    /// Opens the data connection that was agreed on and says 150.
    fn open_data(&mut self) -> Result<Arc<TcpStream>, Reply> {
        let port = self.data_port.take();
        let port = port.ok_or_else(|| reply(425, "Use PORT or PASV first."))?;
        let opening = reply(150, "Here it comes.");
        if self.config().early_150 {
            self.write(&opening.0);
        }
        let stream = match port {
            DataPort::Passive(listener) => self.accept_data(&listener),
            DataPort::Active(addr) => {
                TcpStream::connect_timeout(&addr, self.config().accept_timeout)
                    .map_err(|_| reply(425, "Failed to establish connection."))
            }
        }?;
        locked(&self.shared.counts).data_connections += 1;
        stream.set_read_timeout(Some(self.config().idle_timeout))?;
        stream.set_write_timeout(Some(self.config().idle_timeout))?;
        if !self.config().early_150 {
            self.write(&opening.0);
        }
        Ok(self.shared.register(stream))
    }

    fn accept_data(&self, listener: &TcpListener) -> Result<TcpStream, Reply> {
        listener.set_nonblocking(true)?;
        let deadline = Instant::now() + self.config().accept_timeout;
        let mut polls = 0;
        while Instant::now() < deadline && !self.shared.is_stopping() {
            match listener.accept() {
                Ok((stream, from)) if from.ip() == self.peer.ip() => {
                    stream.set_nonblocking(false)?;
                    return Ok(stream);
                }
                Ok(_) => return Err(reply(425, "Security: Bad IP connecting.")),
                // std has no accept with a deadline. The client is usually there already or comes within microseconds.
                Err(_) if polls < EAGER_POLLS => thread::yield_now(),
                Err(_) => self.shared.pause(POLL_PAUSE),
            }
            polls += 1;
        }
        Err(reply(425, "Failed to establish connection."))
    }

    /// Sends all of `source` on a new data connection.
    fn send(&mut self, source: &mut (impl Read + ?Sized)) -> Answer {
        let data = self.open_data()?;
        let lost = |_| reply(426, "Failure writing network stream.");
        match self.act.clone() {
            Act::Truly | Act::Skip => {
                let mut buffer = vec![0; COPY_BYTES];
                loop {
                    match source.read(&mut buffer) {
                        Ok(0) => break,
                        Ok(count) => (&*data).write_all(&buffer[..count]).map_err(lost)?,
                        Err(_) => return Err(reply(451, "Failure reading local file.")),
                    }
                }
            }
            Act::EditData(edit) => {
                let mut bytes = Vec::new();
                source.read_to_end(&mut bytes)?;
                (&*data).write_all(&edit(bytes)).map_err(lost)?;
            }
            Act::CutData { after_bytes } => {
                io::copy(&mut source.take(after_bytes), &mut &*data).map_err(lost)?;
                return Err(reply(426, "Failure writing network stream."));
            }
            Act::StallData { after_bytes } => {
                io::copy(&mut source.take(after_bytes), &mut &*data).map_err(lost)?;
                self.stall();
            }
        }
        Ok(reply(226, "Transfer complete."))
    }

    fn retrieve(&mut self, argument: &[u8]) -> Answer {
        let (path, metadata) = self.file(argument)?;
        if self.rest > metadata.len() {
            return Err(reply(554, "Restart position is past the end of the file."));
        }
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(self.rest))?;
        self.send(&mut file)
    }

    /// Stores from `start` on; what lies behind the new bytes is kept unless the file is written from its beginning.
    fn store(&mut self, argument: &[u8], start: Start) -> Answer {
        let path = self.path(argument)?;
        let before = fs::metadata(&path).ok();
        if before.as_ref().is_some_and(|there| !there.is_file()) {
            return Err(reply(553, "Could not create file."));
        }
        if fs::symlink_metadata(&path).is_ok() {
            // A link may lead out of the root.
            self.followed(argument)?;
        }
        let len = before.as_ref().map_or(0, Metadata::len);
        let offset = match start {
            Start::At(offset) => offset,
            Start::End => len,
        };
        if offset > len {
            return Err(reply(554, "Restart position is past the end of the file."));
        }
        let opened = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let mut file =
            opened.map_err(|error| reply(553, format!("Could not create file: {error}.")))?;
        let data = match self.open_data() {
            Ok(data) => data,
            Err(refusal) => {
                if before.is_none() {
                    fs::remove_file(&path)?;
                }
                return Err(refusal);
            }
        };
        if offset == 0 {
            file.set_len(0)?;
        }
        file.seek(SeekFrom::Start(offset))?;
        let answer = self.receive(&data, &mut file);
        drop(file);
        self.stamp(&path)?;
        answer
    }

    fn receive(&self, data: &TcpStream, file: &mut File) -> Answer {
        let lost = |_| reply(426, "Failure reading network stream.");
        let mut data = data;
        match &self.act {
            Act::Truly | Act::Skip => {
                let mut buffer = vec![0; COPY_BYTES];
                loop {
                    match data.read(&mut buffer).map_err(lost)? {
                        0 => break,
                        count => file.write_all(&buffer[..count])?,
                    }
                }
            }
            Act::EditData(edit) => {
                let mut bytes = Vec::new();
                data.read_to_end(&mut bytes).map_err(lost)?;
                file.write_all(&edit(bytes))?;
            }
            Act::CutData { after_bytes } => {
                io::copy(&mut data.take(*after_bytes), file).map_err(lost)?;
                return Err(reply(426, "Failure reading network stream."));
            }
            Act::StallData { after_bytes } => {
                io::copy(&mut data.take(*after_bytes), file).map_err(lost)?;
                self.stall();
            }
        }
        Ok(reply(226, "Transfer complete."))
    }

    // Listings.

    /// LIST and NLST; `row` makes the line of one name, or nothing if the entry is gone.
    fn list(&mut self, argument: &[u8], row: Row) -> Answer {
        let listing = match self.rows(argument, row) {
            Err(_) if self.config().list_missing_is_empty => Vec::new(),
            listing => listing?,
        };
        self.send(&mut listing.as_slice())
    }

    fn rows(&self, argument: &[u8], row: Row) -> Result<Vec<u8>, Reply> {
        let mut argument = argument.trim_ascii_start();
        let mut shows_all = self.config().list_dotfiles;
        let mut shows_self = false;
        while argument.starts_with(b"-") {
            let (flags, rest) = split_word(argument).unwrap_or((argument, b""));
            shows_self |= flags.contains(&b'a');
            argument = rest.trim_ascii_start();
        }
        shows_all |= shows_self;
        let path = self.followed(argument)?;
        if !path.is_dir() {
            return Ok(row(self, argument, &path)
                .map_or(Vec::new(), |line| [line, b"\r\n".to_vec()].concat()));
        }
        let mut names = self.names(
            &path,
            if shows_all {
                Dotfiles::Shown
            } else {
                Dotfiles::Hidden
            },
        )?;
        if shows_self && self.config().list_style == ListStyle::Unix {
            names.splice(0..0, [b".".to_vec(), b"..".to_vec()]);
        }
        let lines = names
            .iter()
            .filter_map(|name| row(self, name, &path.join(OsStr::from_bytes(name))));
        Ok(lines
            .flat_map(|line| [line, b"\r\n".to_vec()].concat())
            .collect())
    }

    fn names(&self, directory: &Path, dotfiles: Dotfiles) -> Result<Vec<Vec<u8>>, Reply> {
        let mut names = Vec::new();
        for entry in fs::read_dir(directory)? {
            let name = entry?.file_name().as_bytes().to_vec();
            if dotfiles == Dotfiles::Shown || !name.starts_with(b".") {
                names.push(name);
            }
        }
        names.sort();
        names.truncate(self.config().lists_max.unwrap_or(usize::MAX));
        Ok(names)
    }

    fn list_row(&self, name: &[u8], path: &Path) -> Option<Vec<u8>> {
        let entry = fs::symlink_metadata(path).ok()?;
        let time = Civil::at(entry.mtime() + self.config().list_zone_secs);
        let row = match self.config().list_style {
            ListStyle::Unix => {
                let is_recent =
                    (-DAY_SECS..HALF_YEAR_SECS).contains(&(self.config().now() - entry.mtime()));
                let (mode, links, len) = (mode_text(&entry), entry.nlink(), entry.len());
                let (uid, gid, time) = (entry.uid(), entry.gid(), time.list_text(is_recent));
                format!("{mode} {links:>4} {uid:<8} {gid:<8} {len:>8} {time} ")
            }
            ListStyle::Dos if entry.is_dir() => {
                format!("{}       <DIR>          ", time.dos_text())
            }
            ListStyle::Dos => format!("{} {:>20} ", time.dos_text(), entry.len()),
        };
        let mut row = [row.as_bytes(), name].concat();
        if let (ListStyle::Unix, Ok(link)) = (self.config().list_style, fs::read_link(path)) {
            row.extend([b" -> ", link.as_os_str().as_bytes()].concat());
        }
        Some(row)
    }

    fn name_row(&self, name: &[u8], path: &Path) -> Option<Vec<u8>> {
        fs::symlink_metadata(path).ok().map(|_| name.to_vec())
    }

    fn mlsd(&mut self, argument: &[u8]) -> Answer {
        let path = self.followed(argument)?;
        if !path.is_dir() {
            return Err(reply(501, "Not a directory."));
        }
        let names = self.names(&path, Dotfiles::Shown)?;
        let mut listing = Vec::new();
        let mut add = |path: &Path, kind: Option<&str>, name: &[u8]| {
            // An entry may be gone since its name was read.
            let facts = self.facts(path, kind);
            let facts = facts.map(|facts| [&facts[..], b" ", name, b"\r\n"].concat());
            listing.extend(facts.unwrap_or_default());
        };
        add(&path, Some("cdir"), b".");
        if path != self.shared.root {
            add(&path.join(".."), Some("pdir"), b"..");
        }
        for name in &names {
            add(&path.join(OsStr::from_bytes(name)), None, name);
        }
        self.send(&mut listing.as_slice())
    }

    fn mlst(&self, argument: &[u8]) -> Answer {
        let components = self.components(argument)?;
        let path = if components.is_empty() {
            self.shared.root.clone()
        } else {
            self.path(argument)?
        };
        let facts = self
            .facts(&path, None)
            .ok_or_else(|| reply(550, "No such file or directory."))?;
        let mut text = [b"Listing ", argument].concat();
        text.extend([b"\n ", &facts[..], b" ", &absolute(&components), b"\nEnd"].concat());
        Ok(reply(250, text))
    }

    /// `type=file;size=11;…;` of the entry itself, or nothing if it is gone (RFC 3659, 7.5).
    fn facts(&self, path: &Path, kind: Option<&str>) -> Option<Vec<u8>> {
        let entry = fs::symlink_metadata(path).ok()?;
        let kind = kind.unwrap_or(match entry.file_type() {
            kind if kind.is_dir() => "dir",
            kind if kind.is_file() => "file",
            kind if kind.is_symlink() => "OS.unix=symlink",
            _ => "unknown",
        });
        let perm = match (entry.is_dir(), self.config().read_only) {
            (true, false) => "flcdmpe",
            (true, true) => "el",
            (false, false) => "adfrw",
            (false, true) => "r",
        };
        let facts = self.facts.iter().map(|fact| match fact.as_str() {
            "type" => format!("type={kind};"),
            "size" if !entry.is_dir() => format!("size={};", entry.len()),
            "modify" => format!("modify={};", Civil::at(entry.mtime()).stamp()),
            "perm" => format!("perm={perm};"),
            "unique" => format!("unique={:X}U{:X};", entry.dev(), entry.ino()),
            "UNIX.mode" => format!("UNIX.mode=0{:o};", entry.mode() & 0o7777),
            _ => String::new(),
        });
        Some(facts.collect::<String>().into_bytes())
    }

    fn stat(&self, argument: &[u8]) -> Answer {
        if argument.is_empty() {
            return Ok(reply(211, "FTP server status:\n Logged in\nEnd of status"));
        }
        let rows = self.rows(argument, Self::list_row)?;
        let rows = rows
            .split_inclusive(|&byte| byte == b'\n')
            .flat_map(|row| [row.trim_ascii_end(), b"\n"].concat());
        let text: Vec<u8> = b"Status follows:\n"
            .iter()
            .copied()
            .chain(rows)
            .chain(*b"End of status")
            .collect();
        Ok(reply(213, text))
    }
}

type Row = fn(&Session, &[u8], &Path) -> Option<Vec<u8>>;

/// Where an upload begins.
enum Start {
    At(u64),
    End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Dotfiles {
    Shown,
    Hidden,
}

// What the server reads.

/// The verb in capitals and the argument, of which every byte counts.
fn parse_command(line: &[u8], doubled_iac: bool) -> (String, Vec<u8>) {
    // Telnet IP and Synch may come before ABOR (RFC 959, 4.1.3).
    let line = match line.iter().position(|byte| *byte < TELNET_MIN) {
        Some(start) => &line[start..],
        None => line,
    };
    let (verb, argument) = split_word(line).unwrap_or((line, b""));
    let mut argument = argument.to_vec();
    if doubled_iac {
        let mut is_second = false;
        argument.retain(|&byte| {
            is_second = byte == 0xff && !is_second;
            byte != 0xff || is_second
        });
    }
    (String::from_utf8_lossy(verb).to_ascii_uppercase(), argument)
}

fn split_word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = text.iter().position(|&byte| byte == b' ')?;
    Some((&text[..space], &text[space + 1..]))
}

fn number(text: &[u8]) -> Result<u64, Reply> {
    let number = str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| reply(501, "Not a number."))
}

/// `h,h,h,h,p,p` (RFC 959, 5.3.2).
fn parse_port(argument: &[u8]) -> Option<SocketAddr> {
    let numbers: Result<Vec<u8>, _> = str::from_utf8(argument)
        .ok()?
        .split(',')
        .map(str::parse)
        .collect();
    let [a, b, c, d, high, low] = numbers.ok()?.try_into().ok()?;
    Some((Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low])).into())
}

/// `|1|address|port|` (RFC 2428, 2).
fn parse_eprt(argument: &[u8]) -> Option<SocketAddr> {
    let text = str::from_utf8(argument).ok()?;
    let parts: Vec<&str> = text.split(text.chars().next()?).collect();
    let [_, family, ip, port, _] = parts.try_into().ok()?;
    let ip: IpAddr = ip.parse().ok()?;
    (family == if ip.is_ipv4() { "1" } else { "2" }).then_some((ip, port.parse().ok()?).into())
}

/// `YYYYMMDDhhmmss`, with a fraction that is dropped, as UTC.
fn parse_time(text: &[u8]) -> Option<i64> {
    let whole = text.split(|&byte| byte == b'.').next()?;
    let digits = str::from_utf8(whole).ok().filter(|text| text.len() == 14)?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, to: usize| digits[from..to].parse().ok();
    let civil = Civil {
        year: part(0, 4)?,
        month: part(4, 6)?,
        day: part(6, 8)?,
        hour: part(8, 10)?,
        minute: part(10, 12)?,
        second: part(12, 14)?,
    };
    let secs = civil.unix_secs();
    // What does not come back the same is no date: 30 February, 25 o'clock.
    (Civil::at(secs) == civil).then_some(secs)
}

/// `YYYYMMDDhhmm[ss] name` or `name atime mtime ctime UTC`: the mtime and the name.
fn parse_utime(text: &[u8]) -> Option<(i64, &[u8])> {
    if let Some(long) = text.strip_suffix(b" UTC") {
        let mut parts = long.rsplitn(4, |&byte| byte == b' ').skip(1);
        let mtime = parse_time(parts.next()?)?;
        return Some((mtime, parts.nth(1)?));
    }
    let (time, name) = split_word(text)?;
    let time = if time.len() == 12 {
        [time, b"00"].concat()
    } else {
        time.to_vec()
    };
    Some((parse_time(&time)?, name))
}

// What the server writes.

fn absolute(components: &[Vec<u8>]) -> Vec<u8> {
    [b"/", &components.join(&b'/')[..]].concat()
}

fn mode_text(entry: &Metadata) -> String {
    let kind = match entry.file_type() {
        kind if kind.is_dir() => 'd',
        kind if kind.is_symlink() => 'l',
        kind if kind.is_fifo() => 'p',
        kind if kind.is_socket() => 's',
        _ => '-',
    };
    let bit = |place: u32| {
        if entry.mode() >> place & 1 == 1 {
            ['x', 'w', 'r'][place as usize % 3]
        } else {
            '-'
        }
    };
    [kind].into_iter().chain((0..9).rev().map(bit)).collect()
}

/// Through a read-only handle, which is enough for the owner and works for directories too.
fn set_mtime(path: &Path, unix_secs: i64) -> io::Result<()> {
    let distance = Duration::from_secs(unix_secs.unsigned_abs());
    let time = if unix_secs < 0 {
        UNIX_EPOCH - distance
    } else {
        UNIX_EPOCH + distance
    };
    File::open(path)?.set_modified(time)
}

/// Seconds since 1970, rounded down.
fn unix_secs(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_secs() as i64,
        Err(before) => -(before.duration().as_secs_f64().ceil() as i64),
    }
}

/// A date and time without a zone.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Civil {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
}

impl Civil {
    /// Years are counted from March, so that the leap day is the last of its year; 400 of them have 146,097 days.
    fn at(unix_secs: i64) -> Self {
        let days = unix_secs.div_euclid(DAY_SECS) + EPOCH_DAYS;
        let secs = unix_secs.rem_euclid(DAY_SECS);
        let era = days.div_euclid(146_097);
        let day = days.rem_euclid(146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        Self {
            year: era * 400 + year + i64::from(month >= 10),
            month: if month < 10 { month + 3 } else { month - 9 },
            day: day - (153 * month + 2) / 5 + 1,
            hour: secs / 3600,
            minute: secs / 60 % 60,
            second: secs % 60,
        }
    }

    fn unix_secs(self) -> i64 {
        let year = self.year - i64::from(self.month <= 2);
        let month = (self.month + 9) % 12;
        let days = 365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
        let days = days + (153 * month + 2) / 5 + self.day - 1 - EPOCH_DAYS;
        days * DAY_SECS + self.hour * 3600 + self.minute * 60 + self.second
    }

    fn stamp(self) -> String {
        let Self {
            year,
            month,
            day,
            hour,
            minute,
            second,
        } = self;
        format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}")
    }

    fn list_text(self, is_recent: bool) -> String {
        let Self {
            year,
            day,
            hour,
            minute,
            ..
        } = self;
        let month = MONTHS[self.month as usize - 1];
        if is_recent {
            format!("{month} {day:02} {hour:02}:{minute:02}")
        } else {
            format!("{month} {day:02}  {year:04}")
        }
    }

    fn dos_text(self) -> String {
        let Self {
            year,
            month,
            day,
            hour,
            minute,
            ..
        } = self;
        let (half, hour) = (if hour < 12 { "AM" } else { "PM" }, (hour + 11) % 12 + 1);
        format!(
            "{month:02}-{day:02}-{:02}  {hour:02}:{minute:02}{half}",
            year.rem_euclid(100)
        )
    }
}

const FACTS: [&str; 6] = ["type", "size", "modify", "perm", "unique", "UNIX.mode"];

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

const DAY_SECS: i64 = 86_400;

/// An older entry is listed with its year, a younger one with its time of day, as ls does.
const HALF_YEAR_SECS: i64 = 182 * DAY_SECS;

/// From 1 March of the year 0 to 1 January 1970.
const EPOCH_DAYS: i64 = 719_468;

/// vsftpd's and ProFTPD's limit; a longer line ends the session.
const LINE_MAX_BYTES: usize = 4096;

/// The telnet commands that may come before a verb are all at or above this byte.
const TELNET_MIN: u8 = 0xf0;

/// A test may open many sessions; none of them nests calls or keeps large buffers on its stack.
const SESSION_STACK_BYTES: usize = 256 * 1024;

/// Enough that a copy is not dominated by system calls.
const COPY_BYTES: usize = 128 * 1024;

/// So often the server only yields before it begins to sleep between looks at a data port.
const EAGER_POLLS: u32 = 100;

/// Short against any latency that a test measures, long enough to cost no processor time.
const POLL_PAUSE: Duration = Duration::from_millis(1);
