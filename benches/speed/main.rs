//! Measures the program against a real server behind a line of a given delay, beside other clients in the same run.
//!
//! ```sh
//! tests/run --peers                                                      # installs the servers and lftp and ncftp
//! cargo bench --bench speed -- proftpd --delay 20 --connections 1,4,8 --peers
//! cargo bench --bench speed -- vsftpd --only large,version --peers       # 1 GiB, without the line
//! ```
//!
//! Round trips are what the delay costs: the time with it less the time without it, by the delay, for each unit and
//! connection. A unit is a file, or a directory where nothing changed; the root is one, too. What a run does once is shared out
//! among its units, above all the login. Only `unchanged` has one login taken off, which would be much of it: the delay's cost
//! of `--no-remote-scan` with as many connections, which logs in once and does nothing else. Commands and data connections
//! are all that there were, those of logins included. Wall times count only beside others of the same run.

mod delay;
#[path = "../../tests/support/servers.rs"]
#[allow(dead_code, unreachable_pub)]
mod servers;
#[path = "../../tests/support/temp.rs"]
mod temp;
#[path = "../watch/mod.rs"]
mod watch;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use argh::FromArgs;

use delay::Delay;
use servers::{Kind, Options, Server};
use temp::TempDir;
use watch::{Taken, watch};

/// The large file.
const LARGE_BYTES: u64 = 1 << 30;

/// How often the large file is moved by each client, and the program is started: the least of them counts.
const ROUNDS: usize = 3;
const STARTS: usize = 50;

/// A run that finds nothing to do, and one that does not even look: it logs in, and that is all.
const UNCHANGED: &str = "unchanged";
const LOGIN: &str = "--no-remote-scan";

/// Measures speed.
#[derive(FromArgs)]
struct Arguments {
    /// what serves: vsftpd, proftpd, pure-ftpd, pyftpdlib (default: proftpd)
    #[argh(positional)]
    servers: Vec<String>,
    /// the round trip, in milliseconds (default: 20)
    #[argh(option, default = "20")]
    delay: u64,
    /// how many files (default: 2000)
    #[argh(option, default = "2000")]
    files: usize,
    /// how many directories they are in (default: 100)
    #[argh(option, default = "100")]
    dirs: usize,
    /// how many connections, one after another (default: 1,4,8)
    #[argh(option, default = "String::from(\"1,4,8\")")]
    connections: String,
    /// what to measure (default: upload,unchanged,download,large,version)
    #[argh(
        option,
        default = "String::from(\"upload,unchanged,download,large,version\")"
    )]
    only: String,
    /// measure lftp, curl and ncftp as well, where they are installed
    #[argh(switch)]
    peers: bool,
    /// what cargo says to benchmarks
    #[argh(switch, hidden_help)]
    #[allow(dead_code)]
    bench: bool,
}

impl Arguments {
    fn wants(&self, what: &str) -> bool {
        self.only.split(',').any(|wanted| wanted == what)
    }
}

fn main() {
    let arguments: Arguments = argh::from_env();
    let mut kinds: Vec<Kind> = Kind::startable();
    if arguments.servers.is_empty() {
        kinds.retain(|kind| *kind == Kind::Proftpd);
    } else {
        kinds.retain(|kind| arguments.servers.iter().any(|name| name == kind.name()));
    }
    if arguments.wants("version") {
        measure_starts();
    }
    for kind in kinds {
        let bench = Bench::new(kind);
        if ["upload", UNCHANGED, "download"]
            .iter()
            .any(|what| arguments.wants(what))
        {
            bench.measure_small(&arguments);
        }
        if arguments.wants("large") {
            bench.measure_large(&arguments);
        }
    }
}

/// A program that moves files.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Client {
    Coracle,
    Lftp,
    Curl,
    Ncftp,
}

impl Client {
    const fn name(self) -> &'static str {
        match self {
            Self::Coracle => "coracle",
            Self::Lftp => "lftp",
            Self::Curl => "curl",
            Self::Ncftp => "ncftp",
        }
    }
}

/// One server and the trees that go to and fro.
struct Bench {
    server: Server,
    home: TempDir,
}

/// Where a client finds the server.
struct Place<'a> {
    server: &'a Server,
    port: u16,
}

impl Place<'_> {
    fn url(&self, path: &str) -> String {
        let direct = self.server.address().to_string();
        let here = format!("127.0.0.1:{}", self.port);
        self.server.url(path).replace(&direct, &here)
    }
}

/// What a client's run took, of this machine and of the server.
struct Cost {
    taken: Taken,
    commands: usize,
    data: usize,
}

impl Bench {
    fn new(kind: Kind) -> Self {
        let options = Options {
            sessions_per_ip: Some(50),
            ..Options::default()
        };
        Self {
            server: Server::start(kind, options),
            home: TempDir::new("speed"),
        }
    }

    /// Many small files, at no delay and then at the one asked for.
    fn measure_small(&self, arguments: &Arguments) {
        let tree = self.home.path().join("tree");
        make_tree(&tree, arguments.files, arguments.dirs);
        println!(
            "\n{}: {} files in {} directories, {} ms\n\
             {:<34}{:>9}{:>9}{:>8}{:>12}{:>10}{:>8}{:>8}{:>9}",
            self.server.kind().name(),
            arguments.files,
            arguments.dirs,
            arguments.delay,
            "",
            "s",
            "s at 0",
            "units/s",
            "round trips",
            "commands",
            "data",
            "CPU s",
            "RSS MiB"
        );
        for connections in arguments.connections.split(',') {
            let connections: usize = connections.parse().expect("connections are numbers");
            for client in [Client::Coracle, Client::Lftp] {
                if client == Client::Lftp && !(arguments.peers && peer("lftp").is_some()) {
                    continue;
                }
                let at_once = self.small_runs(arguments, client, connections, 0);
                let delayed = self.small_runs(arguments, client, connections, arguments.delay);
                let runs: Vec<_> = at_once.iter().zip(&delayed).collect();
                let late_secs = |what: &str| {
                    let run = runs.iter().find(|((name, ..), _)| *name == what);
                    run.map_or(0.0, |((.., base), (.., cost))| {
                        cost.taken.wall.as_secs_f64() - base.taken.wall.as_secs_f64()
                    })
                };
                for ((what, units, base), (.., cost)) in &runs {
                    let delay = arguments.delay.max(1) as f64 / 1000.0;
                    let units = *units as f64;
                    let taken = cost.taken;
                    let login_secs = match *what {
                        UNCHANGED => late_secs(LOGIN),
                        _ => 0.0,
                    };
                    let late = late_secs(what) - login_secs;
                    println!(
                        "{:<34}{:>9.2}{:>9.2}{:>8.1}{:>12.2}{:>10.2}{:>8.2}{:>8.2}{:>9.1}",
                        format!("{} {what}, {connections}", client.name()),
                        taken.wall.as_secs_f64(),
                        base.taken.wall.as_secs_f64(),
                        units / taken.wall.as_secs_f64(),
                        late / delay / units * connections as f64,
                        cost.commands as f64 / units,
                        cost.data as f64 / units,
                        taken.cpu.as_secs_f64(),
                        taken.peak_kib as f64 / 1024.0
                    );
                }
            }
        }
    }

    /// What is asked for, with what counts in each and how many of them there are.
    fn small_runs(
        &self,
        arguments: &Arguments,
        client: Client,
        connections: usize,
        delay: u64,
    ) -> Vec<(&'static str, usize, Cost)> {
        let (files, dirs) = (arguments.files, arguments.dirs + 1);
        let line = Delay::start(self.server.address(), Duration::from_millis(delay));
        let place = Place {
            server: &self.server,
            port: line.address().port(),
        };
        let tree = self.home.path().join("tree");
        let there = format!("{}-{connections}-{delay}", client.name());
        let back = self.home.path().join(&there);
        let measure = |command: Command| {
            let (commands, data) = (self.server.commands().len(), line.data_connections());
            Cost {
                taken: run(command),
                commands: self.server.commands().len() - commands,
                data: line.data_connections() - data,
            }
        };
        let (up, down, scan): (Command, Command, Option<[Command; 2]>) = match client {
            Client::Coracle => {
                let connections = connections.to_string();
                let coracle = |what: &str, dir: &Path, more: &[&str]| {
                    let mut command = self.coracle(what, dir, &place.url(&there));
                    command.args(["--connections", &connections]).args(more);
                    command
                };
                (
                    coracle("upload", &tree, &[]),
                    coracle("download", &back, &[]),
                    Some([
                        coracle("upload", &tree, &[]),
                        coracle("upload", &tree, &[LOGIN]),
                    ]),
                )
            }
            Client::Lftp => {
                let remote = self.server.remote_path(&there);
                let mirror = |more: &str, from: &str, to: &str| {
                    self.lftp(
                        &place,
                        &format!("mirror {more} --parallel={connections} {from} {to}"),
                    )
                };
                let (tree, back) = (tree.display().to_string(), back.display().to_string());
                (
                    mirror("-R", &tree, &remote),
                    mirror("", &remote, &back),
                    None,
                )
            }
            Client::Curl | Client::Ncftp => unreachable!("they move one file"),
        };
        let mut costs = Vec::new();
        // It is what the others begin with.
        let cost = measure(up);
        assert_eq!(
            count_files(&self.server.root().join(&there)),
            files,
            "{}",
            client.name()
        );
        if arguments.wants("upload") {
            costs.push(("upload", files, cost));
        }
        if arguments.wants(UNCHANGED)
            && let Some([full, trusting]) = scan
        {
            costs.push((UNCHANGED, dirs, measure(full)));
            costs.push((LOGIN, dirs, measure(trusting)));
        }
        if arguments.wants("download") {
            fs::create_dir_all(&back).expect("a directory below target/tmp can be made");
            costs.push(("download", files, measure(down)));
            assert_eq!(count_files(&back), files, "{}", client.name());
            fs::remove_dir_all(&back).expect("it is ours");
        }
        costs
    }

    /// One large file, without the line.
    fn measure_large(&self, arguments: &Arguments) {
        const NAME: &str = "large";
        let here = self.home.path().join("one");
        fs::create_dir_all(&here).expect("a directory below target/tmp can be made");
        let file = here.join(NAME);
        make_large(&file);
        let place = Place {
            server: &self.server,
            port: self.server.address().port(),
        };
        println!(
            "\n{}: 1 GiB, the best of {ROUNDS}\n{:<34}{:>9}{:>9}{:>8}{:>9}",
            self.server.kind().name(),
            "",
            "s",
            "MiB/s",
            "CPU s",
            "RSS MiB"
        );
        let mut clients = vec![Client::Coracle];
        if arguments.peers {
            clients.extend(peer("curl").map(|_| Client::Curl));
            clients.extend(peer("ncftpput").map(|_| Client::Ncftp));
            clients.extend(peer("lftp").map(|_| Client::Lftp));
        }
        for is_upload in [true, false] {
            let mut best: Vec<Option<Taken>> = vec![None; clients.len()];
            for round in 0..ROUNDS {
                // Each is first once: the first one meets a disk and a server that are busy with what went before.
                for turn in (round..round + clients.len()).map(|turn| turn % clients.len()) {
                    let (client, best) = (&clients[turn], &mut best[turn]);
                    let there = format!("one-{}-{round}", client.name());
                    let back = self.home.path().join(&there);
                    fs::create_dir_all(&back).expect("a directory below target/tmp can be made");
                    let source = self.server.root().join(&there);
                    // Each client finds a directory, but no file.
                    fs::create_dir_all(&source).expect("a directory below target/tmp can be made");
                    if !is_upload {
                        fs::hard_link(&file, source.join(NAME))
                            .expect("one file system holds both");
                    }
                    self.server.own_files();
                    let taken = run(self.large_command(*client, is_upload, &here, &there, &place));
                    let arrived = if is_upload { &source } else { &back }.join(NAME);
                    let size = fs::metadata(arrived).map_or(0, |found| found.len());
                    assert_eq!(size, LARGE_BYTES, "{}", client.name());
                    *best = Some(best.map_or(taken, |best| least(best, taken)));
                    fs::remove_dir_all(&source).expect("it is ours");
                    fs::remove_dir_all(&back).expect("it is ours");
                }
            }
            for (client, taken) in clients.iter().zip(best) {
                let taken = taken.expect("there is a round");
                println!(
                    "{:<34}{:>9.2}{:>9.0}{:>8.3}{:>9.1}",
                    format!(
                        "{} {}",
                        client.name(),
                        if is_upload { "up" } else { "down" }
                    ),
                    taken.wall.as_secs_f64(),
                    (LARGE_BYTES >> 20) as f64 / taken.wall.as_secs_f64(),
                    taken.cpu.as_secs_f64(),
                    taken.peak_kib as f64 / 1024.0
                );
            }
        }
    }

    fn large_command(
        &self,
        client: Client,
        is_upload: bool,
        here: &Path,
        there: &str,
        place: &Place<'_>,
    ) -> Command {
        let back = self.home.path().join(there);
        let url = place.url(there);
        let remote = self.server.remote_path(there);
        let (user, password) = (self.server.user(), self.server.password());
        let port = place.port.to_string();
        let login = ["-u", user, "-p", password, "-P", &port, "127.0.0.1"];
        let installed = |name| peer(name).expect("it was found before");
        match (client, is_upload) {
            (Client::Coracle, true) => self.coracle("upload", here, &url),
            (Client::Coracle, false) => self.coracle("download", &back, &url),
            (Client::Curl, true) => {
                let mut command = installed("curl");
                command.args(["-sS", "-T"]).arg(here.join("large"));
                command.arg(format!("{url}/large"));
                command
            }
            (Client::Curl, false) => {
                let mut command = installed("curl");
                command.args(["-sS", "-o"]).arg(back.join("large"));
                command.arg(format!("{url}/large"));
                command
            }
            (Client::Ncftp, true) => {
                let mut command = installed("ncftpput");
                command
                    .arg("-V")
                    .args(login)
                    .arg(remote)
                    .arg(here.join("large"));
                command
            }
            (Client::Ncftp, false) => {
                let mut command = installed("ncftpget");
                command
                    .arg("-V")
                    .args(login)
                    .arg(back)
                    .arg(format!("{remote}/large"));
                command
            }
            (Client::Lftp, true) => {
                self.lftp(place, &format!("put -O {remote} {}/large", here.display()))
            }
            (Client::Lftp, false) => {
                self.lftp(place, &format!("get -O {} {remote}/large", back.display()))
            }
        }
    }

    fn coracle(&self, what: &str, local: &Path, url: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coracle"));
        command.args([
            what,
            "--create-folder",
            "--no-prompt",
            "--no-color",
            "--state-dir",
        ]);
        command.arg(self.state_dir(what)).arg(local).arg(url);
        command.env_clear().env("HOME", self.home.path());
        command
    }

    /// Outside the trees, so that other clients do not take the records for files.
    fn state_dir(&self, what: &str) -> PathBuf {
        let dir = self.home.path().join(format!("state-{what}"));
        fs::create_dir_all(&dir).expect("a directory below target/tmp can be made");
        dir
    }

    fn lftp(&self, place: &Place<'_>, what: &str) -> Command {
        let (user, password) = (self.server.user(), self.server.password());
        let mut command = peer("lftp").expect("it was found before");
        command.env("HOME", self.home.path()).args(["--norc", "-c"]);
        command.arg(format!(
            "set cmd:fail-exit true; open -u {user},{password} -p {} 127.0.0.1; {what}",
            place.port
        ));
        command
    }
}

/// The least time of two runs, and the most memory.
fn least(one: Taken, other: Taken) -> Taken {
    Taken {
        wall: one.wall.min(other.wall),
        cpu: one.cpu.min(other.cpu),
        peak_kib: one.peak_kib.max(other.peak_kib),
    }
}

/// Another client, as `tests/run --peers` or the machine's owner installed it.
fn peer(name: &str) -> Option<Command> {
    let peers = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()?
        .join("peers");
    let unpacked = peers.join("debian/usr/bin").join(name);
    if unpacked.exists() {
        let mut command = Command::new(unpacked);
        command.env("LD_LIBRARY_PATH", peers.join("lib"));
        return Some(command);
    }
    let paths = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&paths)
        .map(|dir| dir.join(name))
        .find(|path| path.exists())?;
    Some(Command::new(found))
}

/// Runs a client, which must succeed.
fn run(mut command: Command) -> Taken {
    let (status, taken) = watch(command.stdout(Stdio::null()));
    assert!(
        status.success(),
        "{}: {status}",
        Path::new(command.get_program()).display()
    );
    taken
}

/// How long the program takes to do nothing.
fn measure_starts() {
    let mut millis: Vec<f64> = (0..STARTS)
        .map(|_| {
            let started = Instant::now();
            let output = Command::new(env!("CARGO_BIN_EXE_coracle"))
                .arg("--version")
                .output();
            assert!(output.expect("the program was built").status.success());
            started.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    millis.sort_by(f64::total_cmp);
    println!(
        "--version: {:.2} ms, the median of {STARTS} (least {:.2})",
        millis[STARTS / 2],
        millis[0]
    );
}

/// The directory of that number: every tenth lies in the root, with the nine that follow in it.
fn directory(number: usize) -> PathBuf {
    const WIDTH: usize = 10;
    let mut path = PathBuf::from(format!("directory {:03}", number / WIDTH));
    if !number.is_multiple_of(WIDTH) {
        path.push(format!("below-{:03}", number % WIDTH));
    }
    path
}

/// Files of 1 to 8 KB, alike wherever this is called.
fn make_tree(root: &Path, files: usize, dirs: usize) {
    const OLDEST_SECS: u64 = 1_500_000_000;
    let noise = noise(8 * 1024);
    for file in 0..files {
        let dir = root.join(directory(file % dirs));
        fs::create_dir_all(&dir).expect("a directory below target/tmp can be made");
        let size = 1024 + file * 7919 % (7 * 1024);
        let mtime = SystemTime::UNIX_EPOCH + Duration::from_secs(OLDEST_SECS + file as u64);
        File::create(dir.join(format!("file-{file:05}.bin")))
            .and_then(|mut made| {
                made.write_all(&noise[..size])
                    .and_then(|()| made.set_modified(mtime))
            })
            .expect("a file below target/tmp can be made");
    }
}

fn make_large(path: &Path) {
    let noise = noise(1 << 20);
    let mut file = File::create(path).expect("a file below target/tmp can be made");
    for _ in 0..LARGE_BYTES >> 20 {
        file.write_all(&noise).expect("there is room for 1 GiB");
    }
    file.sync_all().expect("there is room for 1 GiB");
}

/// Bytes that no file system takes for zeros.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let bytes = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    });
    bytes.take(count).collect()
}

fn count_files(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => count_files(&entry.path()),
            Ok(_) => 1,
            Err(_) => 0,
        })
        .sum()
}
