//! Runs killed with SIGKILL at any moment. Whenever it strikes: whole files under final names, nothing lost, metadata that
//! can be read; the next run comes to where an undisturbed one comes, meets no conflict that was not there, leaves nothing
//! of its own behind; and the run after that does nothing.
//!
//! `CORACLE_KILLS=20` kills twenty times as often.

mod support;

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use support::ftp_server::{Close, Config, Effect};
use support::scenario::{Random, Reference, Scenario, World, reap, until};
use support::servers::Kind;

/// Kills of every scenario at every place, unless asked for more.
const KILLS: u64 = 4;

fn kills() -> u64 {
    let factor = std::env::var("CORACLE_KILLS")
        .map_or(1, |text| text.parse().expect("CORACLE_KILLS is a number"));
    KILLS * factor
}

#[test]
fn between_directories() {
    at_moments(&mut |name| World::of_directories(name), 1);
}

#[test]
fn with_a_server_that_keeps_times() {
    at_moments(&mut |name| World::of_server(name, Kind::Proftpd, true), 2);
}

#[test]
fn with_a_server_that_loses_times() {
    at_moments(
        &mut |name| World::of_server(name, Kind::Pyftpdlib, false),
        3,
    );
}

#[test]
fn with_a_server_that_knows_only_list() {
    at_moments(&mut |name| World::of_server(name, Kind::Vsftpd, true), 4);
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

/// Kills each scenario at random moments of the time that it takes.
fn at_moments(make: &mut dyn FnMut(&str) -> World, seed: u64) {
    let mut random = Random::new(seed);
    let mut killed = 0;
    for scenario in Scenario::ALL {
        let world = make("kill-moment");
        scenario.play(&world);
        let reference = world.reference(scenario.run);
        assert_eq!(reference.renames > 0, scenario.name == "renames");
        for _ in 0..kills() {
            let moment = Duration::from_nanos(random.below(reference.took.as_nanos() as u64));
            let mut child = world.coracle(scenario.run).spawn().unwrap();
            thread::sleep(moment);
            child.kill().unwrap();
            let status = child.wait().unwrap();
            killed += usize::from(status.code().is_none());
            let when = format!("{}: killed after {moment:?}", scenario.name);
            check(&world, &scenario, &reference, &when);
        }
    }
    println!("{killed} runs killed");
}

/// Kills each scenario at commands chosen at random: right before or right after the server acts on them.
fn at_commands_of(seed: u64, configure: fn(&mut Config)) {
    let mut random = Random::new(seed);
    let mut killed = 0;
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
        for _ in 0..kills() {
            let nth = 1 + random.below(commands);
            let acts = random.below(2) == 1;
            let was_killed = kill_at_command(&world, &scenario, nth, acts);
            killed += usize::from(was_killed);
            let acted = if acts { "after" } else { "before" };
            let when = format!(
                "{}: killed {acted} command {nth} of {commands}",
                scenario.name
            );
            until(|| world.server().sessions() == 0);
            check(&world, &scenario, &reference, &when);
        }
    }
    println!("{killed} runs killed");
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
