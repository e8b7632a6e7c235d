//! Measures the program over SFTP beside lftp, both through OpenSSH's `ssh` on OpenSSH's server: what 1 GiB takes of either itself, without
//! its `ssh`, and how fast it goes through a long line.
//!
//! ```sh
//! tests/run --peers            # installs the server and lftp
//! cargo bench --bench sftp     # or with `-- 256`, for as many MiB
//! ```
//!
//! What a client's own process took is read when it has ended and nobody has waited for it yet. Times are medians.

#[path = "speed/delay.rs"]
mod delay;
#[path = "../tests/support/servers.rs"]
#[allow(dead_code, unreachable_pub)]
mod servers;
#[path = "../tests/support/ssh.rs"]
#[allow(dead_code, unreachable_pub)]
mod ssh;
#[path = "../tests/support/temp.rs"]
mod temp;

use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{Pid, SysconfVar, sysconf};

use delay::Delay;
use ssh::{Daemon, SshClient, SshServer, USER};
use temp::TempDir;

/// How often each client moves the file.
const ROUNDS: usize = 3;

/// Moved unless an argument says how many MiB.
const MIB: u64 = 1024;

/// The round trip of a line to another country.
const ROUND_TRIP: Duration = Duration::from_millis(20);

const NAME: &str = "large";

/// What moves the file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Client {
    Coracle,
    Lftp,
    /// `cat` through `ssh`: as fast as SSH is on this line.
    Cat,
}

fn main() {
    let mib = std::env::args().find_map(|word| word.parse().ok());
    let bench = Bench::new(mib.unwrap_or(MIB));
    println!(
        "{} MiB, the median of {ROUNDS}\n{:<28}{:>9}{:>9}{:>12}",
        bench.mib, "", "s", "MiB/s", "own CPU s"
    );
    let near = bench.server.address();
    bench.measure("loopback", near, &[Client::Coracle, Client::Lftp]);
    let line = Delay::start_bytes(near, ROUND_TRIP);
    let all = [Client::Coracle, Client::Lftp, Client::Cat];
    bench.measure("20 ms", line.address(), &all);
}

struct Bench {
    server: SshServer,
    ssh: String,
    home: TempDir,
    mib: u64,
}

impl Bench {
    fn new(mib: u64) -> Self {
        let server = SshServer::start(Daemon::OpenSsh);
        let home = TempDir::new("sftp-speed");
        let here = home.path().join("here");
        fs::create_dir(&here).expect("it is ours");
        let mut file = File::create(here.join(NAME)).expect("it is ours");
        let piece: Vec<u8> = (0..1 << 20)
            .map(|n: u32| (n.wrapping_mul(n) >> 7) as u8)
            .collect();
        for _ in 0..mib {
            file.write_all(&piece).expect("there is room");
        }
        Self {
            // The line has another port.
            ssh: server.command(SshClient::Ssh) + " -o StrictHostKeyChecking=no",
            server,
            home,
            mib,
        }
    }

    fn measure(&self, line: &str, address: SocketAddr, clients: &[Client]) {
        for is_upload in [true, false] {
            let mut taken: Vec<Vec<(f64, f64)>> = vec![Vec::new(); clients.len()];
            for round in 0..ROUNDS {
                // Each is first once.
                for turn in (round..round + clients.len()).map(|turn| turn % clients.len()) {
                    taken[turn].push(self.move_file(clients[turn], is_upload, address));
                }
            }
            for (client, mut taken) in clients.iter().zip(taken) {
                let name = match client {
                    Client::Coracle => "coracle",
                    Client::Lftp => "lftp",
                    Client::Cat => "ssh cat",
                };
                let what = format!("{line} {} {name}", if is_upload { "up" } else { "down" });
                taken.sort_by(|one, other| one.0.total_cmp(&other.0));
                let wall = taken[ROUNDS / 2].0;
                taken.sort_by(|one, other| one.1.total_cmp(&other.1));
                let cpu = taken[ROUNDS / 2].1;
                println!(
                    "{what:<28}{wall:>9.2}{:>9.0}{cpu:>12.2}",
                    self.mib as f64 / wall
                );
            }
        }
    }

    /// How many seconds it took, of the clock and of the client's own process.
    fn move_file(&self, client: Client, is_upload: bool, address: SocketAddr) -> (f64, f64) {
        let (there, back) = (
            self.server.root().join("there"),
            self.home.path().join("back"),
        );
        for dir in [&there, &back] {
            let _none_the_first_time = fs::remove_dir_all(dir);
            fs::create_dir(dir).expect("it is ours");
        }
        let here = self.home.path().join("here");
        if !is_upload {
            fs::hard_link(here.join(NAME), there.join(NAME)).expect("one disk holds both");
        }
        self.server.own_files();
        let local = if is_upload { &here } else { &back };
        let taken = run(&mut self.command(client, is_upload, local, &there, address));
        if client != Client::Cat {
            let arrived = if is_upload { &there } else { &back }.join(NAME);
            let size = fs::metadata(arrived).map_or(0, |found| found.len());
            assert_eq!(size, self.mib << 20, "all of it arrived");
        }
        taken
    }

    fn command(
        &self,
        client: Client,
        is_upload: bool,
        local: &Path,
        there: &Path,
        address: SocketAddr,
    ) -> Command {
        let (host, port) = (address.ip(), address.port());
        let file = there.join(NAME);
        let mut command;
        match client {
            Client::Coracle => {
                command = Command::new(env!("CARGO_BIN_EXE_coracle"));
                let url = format!("sftp://{USER}@{address}{}", there.display());
                let state = self.home.path().join("state");
                let _none_the_first_time = fs::remove_dir_all(&state);
                let verb = if is_upload { "upload" } else { "download" };
                command.args([
                    verb,
                    "--no-color",
                    "--ssh-command",
                    &self.ssh,
                    "--state-dir",
                ]);
                command.arg(state).arg(local).arg(url);
            }
            Client::Lftp => {
                command = Command::new(peer("lftp"));
                let libraries = peers().join("lib");
                command.env("LD_LIBRARY_PATH", libraries);
                let (local, there) = (local.display(), there.display());
                let moves = if is_upload {
                    format!("put -O {there} {local}/{NAME}")
                } else {
                    format!("get -O {local} {there}/{NAME}")
                };
                let ssh = &self.ssh;
                command.args(["--norc", "-c"]).arg(format!(
                    "set cmd:fail-exit true; set sftp:connect-program \"{ssh} -a -x\"; \
                     open -u {USER}, sftp://{host}:{port}; {moves}"
                ));
            }
            Client::Cat => {
                let mut words = self.ssh.split(' ');
                command = Command::new(words.next().expect("it is a command"));
                command.args(words);
                command.args(["-p", &port.to_string(), "-l", USER, &host.to_string()]);
                if is_upload {
                    command.arg(format!("cat > {}", file.display()));
                    command.stdin(File::open(local.join(NAME)).expect("it is ours"));
                } else {
                    command.arg(format!("cat {}", file.display()));
                }
            }
        }
        command.env("HOME", self.home.path());
        command
    }
}

fn peers() -> PathBuf {
    servers::target().join("peers")
}

fn peer(name: &str) -> PathBuf {
    let program = peers().join("debian/usr/bin").join(name);
    assert!(program.exists(), "{name} is missing; run tests/run --peers");
    program
}

/// Runs a client, which must succeed.
fn run(command: &mut Command) -> (f64, f64) {
    let started = Instant::now();
    let mut child = (command.stdout(Stdio::null()).spawn()).expect("the program is there");
    let id = Pid::from_raw(child.id().cast_signed());
    waitid(Id::Pid(id), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).expect("it is our child");
    let wall = started.elapsed();
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).expect("nobody has waited for it");
    let status = child.wait().expect("it is our child");
    assert!(status.success(), "{command:?}: {status}");
    (wall.as_secs_f64(), own_secs(&stat))
}

/// What the process took itself, of a line of proc(5): its children stand elsewhere.
fn own_secs(stat: &str) -> f64 {
    let after_name = stat.rsplit(") ").next().expect("the line has a name");
    let ticks = after_name.split(' ').skip(11).take(2);
    let ticks: u64 = ticks
        .map(|field| field.parse::<u64>().expect("it is a number"))
        .sum();
    let a_second = sysconf(SysconfVar::CLK_TCK).expect("every system has one");
    ticks as f64 / a_second.expect("every system has one") as f64
}
