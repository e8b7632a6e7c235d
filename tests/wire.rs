//! A connection, or the server behind it, fails at any command of a run of the program. Whatever it does: whole files under
//! final names, nothing lost, no deletion that was not proven, a documented exit code within bounded time; and the next run,
//! with the fault gone, comes to where an undisturbed one comes.
//!
//! `CORACLE_FAULTS=all` fails every command in every way; otherwise as many of each are chosen as it says, or a few.
//! `CORACLE_CONNECTIONS=4` runs with so many connections; with more than one the same number is another command each time.

mod support;

use std::time::Duration;

use coracle::side::Side;

use support::connections;
use support::ftp_server::{Close, Config, Effect, Fault};
use support::scenario::{Random, Scenario, World, until};

/// Commands that fail of each scenario and in each way, unless all do.
const SAMPLES: u64 = 2;

/// A run that a fault strikes ends within this. Where replies get out of step, it may be the end of a transfer that is waited
/// for, and twice: that takes a minute each time, whatever `--timeout` says.
const LONGEST_RUN: Duration = Duration::from_secs(150);

/// What a run that met trouble may end with: done all the same, some failed, a guard, the network, the login, no room. The
/// last where a reply came twice, and a time was taken for the size of the next file.
const CODES: [i32; 6] = [0, 1, 4, 6, 7, 8];

const LOST_REPLY: &str = "done, reply lost";

/// How a command fails, and what it is called.
type Way = (&'static str, fn() -> Effect);

const WAYS: [Way; 11] = [
    ("FIN", || Effect::close_control(Close::Fin)),
    ("RST", || Effect::close_control(Close::Reset)),
    ("done, then FIN", || Effect::act_then_close(Close::Fin)),
    ("done, then RST", || Effect::act_then_close(Close::Reset)),
    (LOST_REPLY, Effect::drop_reply),
    ("reply doubled", Effect::double_reply),
    ("garbage", || Effect::raw_reply(b"\x00\xff garbage\r\n")),
    ("421", || Effect::reply(421, "closing").closing(Close::Fin)),
    ("450", || Effect::reply(450, "busy")),
    ("550", || Effect::reply(550, "no")),
    ("500", || Effect::reply(500, "what?")),
];

#[test]
fn with_mlsd() {
    fail_commands(1, &[], connections(1), |_| {});
}

#[test]
fn with_eight_connections() {
    fail_commands(3, &[], connections(8), |_| {});
}

#[test]
fn with_list_and_eight_connections() {
    fail_commands(4, &["500", "550"], connections(8), |config| {
        config.mlsd = false;
    });
}

#[test]
fn with_list_and_lost_times() {
    // A server that says once that it knows no MDTM, or has no such file, is believed: the day that LIST tells is the time
    // then, and the trees differ in it.
    fail_commands(2, &["500", "550"], connections(1), |config| {
        config.mlsd = false;
        config.mfmt = false;
        config.mdtm_set = false;
        config.site_utime = false;
    });
}

fn fail_commands(seed: u64, left_out: &[&str], connections: u8, configure: fn(&mut Config)) {
    let mut random = Random::new(seed);
    let wish = std::env::var("CORACLE_FAULTS").ok();
    let all = wish.as_deref() == Some("all");
    // With several connections the sample is another one in every run anyway.
    let usual = if connections == 1 { SAMPLES } else { 1 };
    let samples = wish.filter(|_| !all).map_or(usual, |count| {
        count
            .parse()
            .expect("CORACLE_FAULTS is a number, or \"all\"")
    });
    for scenario in Scenario::ALL {
        let mut world = World::of_process("wire", configure);
        world.connections = connections;
        scenario.play(&world);
        let reference = world.reference(scenario.run);
        // A file whose time the server refused to set keeps the time of its upload, and the true one is remembered.
        world.keeps_times = false;
        for (way, effect) in WAYS {
            // That takes minutes, see above.
            if (way == LOST_REPLY && !all) || left_out.contains(&way) {
                continue;
            }
            let sampled = (0..samples).map(|_| 1 + random.below(reference.commands));
            let places: Vec<u64> = if all {
                (1..=reference.commands).collect()
            } else {
                sampled.collect()
            };
            for nth in places {
                let when = format!("{}: {way} at command {nth}", scenario.name);
                let fault = Fault::at_command(nth as usize).then(effect());
                world.server().inject(fault);
                world.timeout_secs = 2;
                let ended = world.run(scenario.run);
                world.timeout_secs = 10;
                world.server().heal();
                let code = ended.code.expect("nobody killed it");
                assert!(
                    CODES.contains(&code),
                    "{when}: exit code {code}: {}",
                    ended.printed
                );
                assert!(ended.took < LONGEST_RUN, "{when}: took {:?}", ended.took);
                assert!(
                    !ended.printed.contains("panicked"),
                    "{when}: {}",
                    ended.printed
                );
                until(|| world.server().sessions() == 0);
                world.check_cut_off(&reference, &when);
                world.check_recovers(scenario.run, &reference, &when);
                world.restore();
            }
        }
    }
}

/// How many names the listing has about which the server lies.
const NAMES: usize = 20;

#[test]
fn lies_of_a_listing_delete_nothing() {
    for mlsd in [true, false] {
        for command in [&["sync"][..], &["download", "--delete"]] {
            let world = World::of_process("lies", |config| config.mlsd = mlsd);
            for n in 0..NAMES {
                world.put(
                    Side::Local,
                    &format!("d/name {n}"),
                    &format!("content {n}"),
                    30,
                    0,
                );
            }
            world.put(Side::Local, "beside", "beside", 30, 0);
            assert_eq!(world.run(&["sync"]).code, Some(0), "{}", world.printed());
            let trees = world.trees();
            let verb = if mlsd { "MLSD" } else { "LIST" };
            for (lie, effect) in lies() {
                // The lie is told of every directory, and each time one is listed.
                world.server().inject(Fault::on(verb).always().then(effect));
                let ended = world.run(command);
                world.server().heal();
                let code = ended.code.expect("nobody killed it");
                let when = format!("{command:?}, {lie} in {verb}: {code}, {}", ended.printed);
                assert!(CODES.contains(&code), "{when}");
                let now = world.trees();
                for side in Side::BOTH {
                    for (path, node) in trees.of(side).users() {
                        assert_eq!(
                            now.of(side).0.get(path),
                            Some(node),
                            "{when}: {side} {path}"
                        );
                    }
                }
                let ended = world.run(command);
                assert_eq!(
                    ended.code,
                    Some(0),
                    "after {when}, the truth: {}",
                    ended.printed
                );
            }
        }
    }
}

fn lies() -> Vec<(String, Effect)> {
    let mut lies = vec![
        ("nothing".to_owned(), Effect::replace_data("")),
        (
            "all twice".to_owned(),
            Effect::edit_data(|data| data.repeat(2)),
        ),
    ];
    // With the two that MLSD shows of the directory itself and its parent.
    for place in 0..NAMES + 2 {
        let dropped = Effect::short_listing(move |at, _| at == place);
        lies.push((format!("without line {place}"), dropped));
        let cut = Effect::short_listing(move |at, _| at >= place);
        lies.push((format!("up to line {place}"), cut));
        let in_line = Effect::edit_data(move |data| {
            let lines: Vec<&[u8]> = data.split_inclusive(|byte| *byte == b'\n').collect();
            let whole: usize = lines.iter().take(place).map(|line| line.len()).sum();
            let half = lines.get(place).map_or(0, |line| line.len() / 2);
            data[..whole + half].to_vec()
        });
        lies.push((format!("up to the middle of line {place}"), in_line));
        let doubled = Effect::edit_data(move |data| {
            let lines = data.split_inclusive(|byte| *byte == b'\n').enumerate();
            let doubled = lines.flat_map(|(at, line)| line.repeat(1 + usize::from(at == place)));
            doubled.collect()
        });
        lies.push((format!("line {place} twice"), doubled));
    }
    lies
}
