//! Runs killed with SIGKILL at any moment. Whenever it strikes: whole files under final names, nothing lost, a whole archive; the next run comes to where an undisturbed one comes, meets no conflict that was not there, leaves nothing
//! of its own behind; and the run after that does nothing.
//!
//! `tests/run --long` kills more than 300 uploads, downloads and syncs each.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use coracle::side::Side;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::ftp_server::{Close, Config, Effect};
use support::is_long;
use support::scenario::{Random, Reference, Scenario, World, reap, until};
use support::servers::Kind;
#[cfg(feature = "sftp")]
use support::ssh::{Daemon, SshClient};

/// Kills of a scenario at every place. There are two scenarios each of upload and download, and six of sync.
fn kills(world: &World, scenario: &Scenario) -> u64 {
    match scenario.run[0] {
        // Each takes three runs, and each of these its logins.
        _ if !is_long() && world.is_over_ssh() => 1,
        _ if !is_long() => 2,
        "sync" => 7,
        _ => 20,
    }
}

#[test]
fn between_directories() {
    at_moments(&mut |name| World::of_directories(name), 1, Victim::Run);
}

#[test]
fn with_a_server_that_keeps_times() {
    at_moments(
        &mut |name| World::of_server(name, Kind::Proftpd, true),
        2,
        Victim::Run,
    );
}

#[test]
fn with_a_server_that_loses_times() {
    at_moments(
        &mut |name| World::of_server(name, Kind::Pyftpdlib, false),
        3,
        Victim::Run,
    );
}

#[test]
fn with_a_server_that_knows_only_list() {
    at_moments(
        &mut |name| World::of_server(name, Kind::Vsftpd, true),
        4,
        Victim::Run,
    );
}

#[cfg(feature = "sftp")]
#[test]
fn over_openssh() {
    at_moments(
        &mut |name| World::of_ssh(name, Daemon::OpenSsh, SshClient::Ssh),
        5,
        Victim::Run,
    );
}

#[cfg(feature = "sftp")]
#[test]
fn over_dropbear() {
    at_moments(
        &mut |name| World::of_ssh(name, Daemon::Dropbear, SshClient::Dbclient),
        6,
        Victim::Run,
    );
}

#[cfg(feature = "sftp")]
#[test]
fn when_the_ssh_program_is_killed() {
    at_moments(
        &mut |name| World::of_ssh(name, Daemon::OpenSsh, SshClient::Ssh),
        7,
        Victim::SshProgram,
    );
}

#[test]
fn at_commands() {
    at_commands_of(11, |_| {});
}

#[test]
fn at_commands_without_times() {
    at_commands_of(12, |config| {
        config.mfmt = false;
        config.mdtm_set = false;
        config.site_utime = false;
    });
}

#[test]
fn at_commands_without_mlsd() {
    at_commands_of(13, |config| config.mlsd = false);
}

#[test]
fn at_commands_without_renaming_over_files() {
    at_commands_of(14, |config| config.rename_over = false);
}

/// What was placed and not recorded is known to the server alone.
#[test]
fn at_commands_without_a_remote_scan() {
    let scenario = Scenario {
        name: "without a remote scan",
        born: |world| world.put(Side::Local, "d/old", "old", 9_000, 0),
        first: Some(&["upload"]),
        changed: |world| {
            world.put(Side::Local, "d/old", "changed", 9_500, 1);
            world.put(Side::Local, "new/deep/one", "new", 8_000, 1);
        },
        run: &["upload", "--no-remote-scan"],
    };
    after_each_command(&scenario, |world, _, when| {
        for run in [scenario.run, scenario.run, &["upload"]] {
            let ended = world.run(run);
            assert_eq!(ended.code, Some(0), "{when}: {}", ended.printed);
        }
    });
}

/// A piece of a file may stand under its name then. It is newer than all else, and wins nothing.
#[test]
fn at_commands_in_place() {
    let scenario = Scenario {
        name: "in place",
        born: |world| world.put(Side::Local, "d/old", "old", 90_000, 0),
        first: Some(&["sync"]),
        changed: |world| {
            world.put(Side::Local, "d/old", "changed", 90_000, 1);
            world.put(Side::Local, "d/new", "new", 80_000, 1);
        },
        run: &["sync", "--inplace", "--resolve", "new"],
    };
    after_each_command(&scenario, |world, reference, when| {
        world.check_recovers(scenario.run, reference, when);
    });
}

/// Kills a run right after each of its commands.
fn after_each_command(scenario: &Scenario, check: impl Fn(&World, &Reference, &str)) {
    let world = World::of_process("kill-each-command", |config| {
        config.accept_timeout = Duration::from_secs(1);
    });
    scenario.play(&world);
    let reference = world.reference(scenario.run);
    let mut tally = Tally::default();
    for nth in 1..=reference.commands {
        let was_killed = kill_at_command(&world, scenario, nth, true);
        tally.count(scenario.run[0], was_killed);
        until(|| world.server().sessions() == 0);
        let when = format!("{}: killed after command {nth}", scenario.name);
        check(&world, &reference, &when);
        world.restore();
    }
    tally.expect(90);
}

/// Who is killed.
#[derive(Clone, Copy)]
enum Victim {
    /// The run itself.
    Run,
    #[cfg_attr(not(feature = "sftp"), allow(dead_code))]
    /// All of its sessions; the run goes on with new ones, or ends.
    SshProgram,
}

impl Victim {
    /// Kills; whether there was anybody to kill.
    fn strike(self, run: &mut Child) -> bool {
        match self {
            Self::Run => {
                run.kill().unwrap();
                run.wait().unwrap().code().is_none()
            }
            Self::SshProgram => {
                let programs = children_of(run.id());
                for program in &programs {
                    // One that has just ended is no loss.
                    let _ = kill(*program, Signal::SIGKILL);
                }
                let code = run.wait().unwrap().code();
                assert!(matches!(code, Some(0 | 1 | 6)), "exit code {code:?}");
                !programs.is_empty()
            }
        }
    }
}

/// The programs that a process has started and that still run.
fn children_of(process: u32) -> Vec<Pid> {
    let threads = fs::read_dir(format!("/proc/{process}/task"));
    let threads = threads.into_iter().flatten().flatten();
    let children =
        threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let children: Vec<String> = children.collect();
    let ids = children.iter().flat_map(|text| text.split_whitespace());
    ids.map(|id| Pid::from_raw(id.parse().expect("Linux lists numbers")))
        .collect()
}

/// Kills each scenario at random moments of the time that it takes.
fn at_moments(make: &mut dyn FnMut(&str) -> World, seed: u64, victim: Victim) {
    let mut random = Random::new(seed);
    let mut tally = Tally::default();
    for scenario in Scenario::ALL {
        let world = make("kill-moment");
        scenario.play(&world);
        let reference = world.reference(scenario.run);
        assert_eq!(reference.renames > 0, scenario.name == "renames");
        for _ in 0..kills(&world, &scenario) {
            let moment = Duration::from_nanos(random.below(reference.took.as_nanos() as u64));
            let mut child = world.coracle(scenario.run).spawn().unwrap();
            thread::sleep(moment);
            tally.count(scenario.run[0], victim.strike(&mut child));
            let when = format!("{}: killed after {moment:?}", scenario.name);
            check(&world, &scenario, &reference, &when);
        }
    }
    // Some moments come when the run has just ended.
    tally.expect(60);
}

/// Kills each scenario at commands chosen at random: right before or right after the server acts on them.
fn at_commands_of(seed: u64, configure: fn(&mut Config)) {
    let mut random = Random::new(seed);
    let mut tally = Tally::default();
    for scenario in Scenario::ALL {
        let world = World::of_process("kill-command", |config| {
            // A killed client never comes to a data connection that it has asked for.
            config.accept_timeout = Duration::from_secs(1);
            configure(config);
        });
        scenario.play(&world);
        let reference = world.reference(scenario.run);
        assert_eq!(reference.renames > 0, scenario.name == "renames");
        let commands = reference.commands;
        for _ in 0..kills(&world, &scenario) {
            let nth = 1 + random.below(commands);
            let acts = random.below(2) == 1;
            let was_killed = kill_at_command(&world, &scenario, nth, acts);
            tally.count(scenario.run[0], was_killed);
            let acted = if acts { "after" } else { "before" };
            let when = format!(
                "{}: killed {acted} command {nth} of {commands}",
                scenario.name
            );
            until(|| world.server().sessions() == 0);
            check(&world, &scenario, &reference, &when);
        }
    }
    // A run may need a command less than the undisturbed one did.
    tally.expect(90);
}

/// How many runs of each command were to be killed, and how many of them were alive.
#[derive(Default)]
struct Tally(BTreeMap<&'static str, (u64, u64)>);

impl Tally {
    fn count(&mut self, command: &'static str, was_alive: bool) {
        let (tries, hits) = self.0.entry(command).or_default();
        *tries += 1;
        *hits += u64::from(was_alive);
    }

    /// Fails unless so many in a hundred were alive.
    fn expect(&self, percent: u64) {
        println!("runs to be killed, and alive then: {:?}", self.0);
        let (tries, hits) = self
            .0
            .values()
            .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        assert!(
            hits * 100 >= tries * percent,
            "{hits} of {tries} were alive"
        );
    }
}

fn kill_at_command(world: &World, scenario: &Scenario, nth: u64, acts: bool) -> bool {
    let child = Arc::new(Mutex::new(None));
    // The hook waits for this, so that it finds the child even at the first command.
    let mut starting = child.lock().unwrap();
    let mut seen = 0;
    let victim = Arc::clone(&child);
    world.server().hook(move |_| {
        seen += 1;
        if seen != nth {
            return None;
        }
        let mut victim = victim.lock().unwrap();
        let victim: &mut std::process::Child = victim.as_mut().expect("it sends commands");
        victim.kill().expect("one's own child can be killed");
        victim.wait().expect("one's own child can be waited for");
        (!acts).then(|| Effect::close_control(Close::Fin))
    });
    *starting = Some(world.coracle(scenario.run).spawn().unwrap());
    drop(starting);
    let status = reap(&child);
    world.server().heal();
    status.code().is_none()
}

fn check(world: &World, scenario: &Scenario, reference: &Reference, when: &str) {
    world.check_cut_off(reference, when);
    world.check_recovers(scenario.run, reference, when);
    world.restore();
}
