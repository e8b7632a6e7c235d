//! The in-process FTP server that other tests lean on, driven through raw sockets.

mod support;

use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use support::ftp_server::{CONNECT, Close, Config, Effect, Family, Fault, FtpServer, ListStyle};

// Login and settings.

#[test]
fn refuses_commands_before_login() {
    let (_root, server) = serve("before_login", |_| {});
    let mut client = Client::connect(&server);
    assert_eq!(client.ask("PWD"), "530 Please login with USER and PASS.");
    assert!(
        client.ask("FEAT").contains("\n MLST type*;size*;"),
        "FEAT works before login"
    );
}

#[test]
fn takes_only_the_configured_user_and_password() {
    let (_root, server) = serve("password", |config| {
        config.user = Some("me".into());
        config.password = Some("secret".into());
    });
    for (user, password, code) in [
        ("me", "wrong", "530"),
        ("you", "secret", "530"),
        ("me", "secret", "230"),
    ] {
        let mut client = Client::connect(&server);
        client.expect("331", &format!("USER {user}"));
        client.expect(code, &format!("PASS {password}"));
    }
    assert_eq!(
        server.url("/a/b"),
        format!("ftp://me:secret@{}/a/b", server.addr())
    );
}

#[test]
fn logs_every_command_with_its_connection() {
    let (_root, server) = serve("log", |_| {});
    let mut first = Client::connect(&server);
    let mut second = Client::connect(&server);
    second.expect("331", "USER b");
    first.expect("331", "USER a");
    let log: Vec<_> = server
        .log()
        .iter()
        .map(|it| (it.connection, it.text()))
        .collect();
    assert_eq!(log, [(2, "USER b".to_owned()), (1, "USER a".to_owned())]);
    assert_eq!(server.take_commands().len(), 2);
    assert_eq!(server.commands(), [""; 0]);
    assert_eq!(server.connections(), 2);
}

#[test]
fn refuses_sessions_and_logins_above_the_limits() {
    let (_root, server) = serve("limits", |config| {
        config.max_sessions = Some(2);
        config.max_logins = Some(1);
    });
    let mut first = Client::login(&server);
    let mut second = Client::connect(&server);
    second.expect("331", "USER u");
    second.expect("530", "PASS p");
    assert!(Client::open(&server).reply().starts_with("421 "));
    first.expect("221", "QUIT");
    second.expect("331", "USER u");
    second.expect("230", "PASS p");
    Client::connect(&server);
    assert_eq!(server.max_sessions_seen(), 2);
}

#[test]
fn hides_what_is_switched_off() {
    let (_root, server) = serve("switches", |config| {
        config.mlsd = false;
        config.epsv = false;
        config.utf8 = false;
        config.without = vec!["ALLO"];
    });
    let mut client = Client::login(&server);
    for command in ["MLSD", "MLST", "EPSV", "ALLO 5"] {
        client.expect("500", command);
    }
    client.expect("501", "OPTS UTF8 ON");
    let features = client.ask("FEAT");
    assert_eq!(
        features,
        "211-Features:\n EPRT\n MDTM\n MFMT\n PASV\n REST STREAM\n SIZE\n TVFS\n211 End"
    );
}

#[test]
fn says_goodbye_to_an_idle_session() {
    let (_root, server) = serve("idle", |config| {
        config.idle_timeout = Duration::from_millis(50)
    });
    let mut client = Client::login(&server);
    assert_eq!(client.reply(), "421 Timeout.");
    assert!(client.is_closed());
}

#[test]
fn ends_a_session_over_an_overlong_line() {
    let (_root, server) = serve("overlong", |_| {});
    let mut client = Client::login(&server);
    client.write(&[b'x'; 20_000]);
    assert_eq!(client.reply(), "500 Input line too long.");
}

// Listings.

#[test]
fn lists_facts_of_every_entry() {
    let (root, server) = serve("mlsd", |_| {});
    root.file("a b;c", b"12345", 1_709_210_096);
    root.file(".hidden", b"", 0);
    fs::create_dir(root.path("dir")).unwrap();
    symlink("nowhere", root.path("link")).unwrap();
    let mut client = Client::login(&server);
    client.expect(
        "200 MLST OPTS type;size;modify;perm;",
        "OPTS MLST type;size;modify;perm;",
    );
    let listing = client.fetch_text("MLSD");
    let lines: Vec<&str> = listing.lines().collect();
    assert!(
        lines[0].starts_with("type=cdir;modify=") && lines[0].ends_with("perm=flcdmpe; ."),
        "{listing}"
    );
    assert_eq!(
        lines[1],
        "type=file;size=0;modify=19700101000000;perm=adfrw; .hidden"
    );
    assert_eq!(
        lines[2],
        "type=file;size=5;modify=20240229123456;perm=adfrw; a b;c"
    );
    assert!(
        lines[3].starts_with("type=dir;modify=") && lines[3].ends_with("; dir"),
        "{listing}"
    );
    assert!(
        lines[4].starts_with("type=OS.unix=symlink;size=7;") && lines[4].ends_with("; link"),
        "{listing}"
    );
    assert_eq!(lines.len(), 5);
    assert!(client.fetch_text("MLSD dir").contains("type=pdir;"));
    let entry = client.ask("MLST a b;c");
    assert_eq!(
        entry,
        "250-Listing a b;c\n type=file;size=5;modify=20240229123456;perm=adfrw; /a b;c\n250 End"
    );
    client.expect("550", "MLST missing");
    client.expect("550", "MLSD missing");
}

#[test]
fn lists_like_ls() {
    let (root, server) = serve("list", |config| config.list_zone_secs = -5 * 3600);
    root.file("old", b"12345", 1_709_210_096);
    root.file(".hidden", b"", 0);
    symlink("old", root.path("link")).unwrap();
    let mut client = Client::login(&server);
    let listing = client.fetch_text("LIST");
    let (link, old) = listing.split_once("\r\n").unwrap();
    assert!(
        link.starts_with("lrwxrwxrwx    1 ") && link.ends_with(" link -> old"),
        "{listing}"
    );
    assert!(
        !link.contains("  20"),
        "a fresh entry shows its time of day: {listing}"
    );
    assert!(
        old.starts_with("-rw-r--r--    1 ") && old.ends_with("        5 Feb 29  2024 old\r\n"),
        "{listing}"
    );
    let all = client.fetch_text("LIST -la");
    let names: Vec<&str> = all
        .lines()
        .map(|line| line.rsplit_once(' ').unwrap().1)
        .collect();
    assert_eq!(names, [".", "..", ".hidden", "old", "old"]);
    assert_eq!(client.fetch_text("NLST"), "link\r\nold\r\n");
    assert_eq!(
        client.ask("STAT old"),
        format!("213-Status follows:\n{}\n213 End of status", old.trim_end())
    );
}

#[test]
fn lists_like_dos() {
    let (root, server) = serve("dos", |config| config.list_style = ListStyle::Dos);
    root.file("f", b"12345", 1_709_210_096);
    fs::create_dir(root.path("d")).unwrap();
    root.age("d", 1_709_164_800);
    let listing = Client::login(&server).fetch_text("LIST");
    let wanted =
        "02-29-24  12:00AM       <DIR>          d\r\n02-29-24  12:34PM                    5 f\r\n";
    assert_eq!(listing, wanted);
}

#[test]
fn cuts_long_listings_without_a_word() {
    let (root, server) = serve("cut_listing", |config| {
        config.lists_max = Some(2);
        config.list_missing_is_empty = true;
    });
    for name in ["a", "b", "c"] {
        root.file(name, b"", 0);
    }
    let mut client = Client::login(&server);
    assert_eq!(client.fetch_text("NLST"), "a\r\nb\r\n");
    assert_eq!(client.fetch_text("LIST missing"), "");
}

#[test]
fn serves_names_as_bytes() {
    let (_root, server) = serve("bytes", |config| config.doubled_iac = true);
    let mut client = Client::login(&server);
    client.write(b"MKD \xe4\xff\xff \r\n");
    assert!(
        client
            .reply_bytes()
            .unwrap()
            .starts_with(b"257 \"/\xe4\xff \" created")
    );
    assert_eq!(client.fetch("NLST").0, b"\xe4\xff \r\n");
    client.expect("257 \"/a\"\"b\" created", "MKD a\"b");
}

// Transfers.

#[test]
fn stores_and_retrieves_a_file() {
    let (root, server) = serve("transfer", |_| {});
    let bytes: Vec<u8> = (0..1_000_000u32).map(|it| (it % 251) as u8).collect();
    let mut client = Client::login(&server);
    assert_eq!(client.store("STOR f", &bytes), "226 Transfer complete.");
    assert_eq!(fs::read(root.path("f")).unwrap(), bytes);
    assert_eq!(
        client.fetch("RETR f"),
        (bytes, "226 Transfer complete.".into())
    );
    client.expect("213 1000000", "SIZE f");
    assert_eq!(server.data_connections(), 2);
}

#[test]
fn restarts_where_it_is_told_and_keeps_the_tail() {
    let (root, server) = serve("rest", |_| {});
    root.file("f", b"0123456789", 0);
    let mut client = Client::login(&server);
    client.expect("350", "REST 7");
    assert_eq!(client.fetch_text("RETR f"), "789");
    assert_eq!(client.fetch_text("RETR f"), "0123456789");
    client.expect("350", "REST 2");
    client.store("STOR f", b"ab");
    assert_eq!(root.read("f"), "01ab456789");
    client.store("APPE f", b"cd");
    assert_eq!(root.read("f"), "01ab456789cd");
    client.store("STOR f", b"new");
    assert_eq!(root.read("f"), "new");
    client.expect("350", "REST 4");
    client.expect("554", "STOR f");
}

#[test]
fn refused_store_leaves_the_data_port_and_the_disk_alone() {
    let (root, server) = serve("refused_store", |_| {});
    fs::create_dir(root.path("dir")).unwrap();
    let mut client = Client::login(&server);
    let mut data = client.passive();
    client.expect("553", "STOR dir");
    client.expect("550", "STOR missing/f");
    client.expect("150", "STOR f");
    data.write_all(b"x").unwrap();
    drop(data);
    assert_eq!(client.reply(), "226 Transfer complete.");
    assert_eq!(root.read("f"), "x");
}

#[test]
fn gives_up_on_a_data_connection_that_never_comes() {
    let (root, server) = serve("no_data", |config| {
        config.accept_timeout = Duration::from_millis(30)
    });
    let mut client = Client::login(&server);
    client.expect("425", "STOR f");
    client.expect("229", "EPSV");
    client.expect("425", "STOR f");
    assert!(!root.path("f").exists());
}

#[test]
fn connects_to_the_client_in_active_mode() {
    let (root, server) = serve("active", |_| {});
    root.file("f", b"hello", 0);
    let mut client = Client::login(&server);
    for form in ["EPRT |1|127.0.0.1|{port}|", "PORT 127,0,0,1,{high},{low}"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let numbers = [
            ("{port}", port),
            ("{high}", port >> 8),
            ("{low}", port & 255),
        ];
        let command = numbers.iter().fold(form.to_owned(), |text, (from, to)| {
            text.replace(from, &to.to_string())
        });
        client.expect("200", &command);
        client.expect("150", "RETR f");
        let mut text = String::new();
        listener
            .accept()
            .unwrap()
            .0
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "hello");
        client.expect_reply("226");
    }
    client.expect("500", "PORT 127,0,0,9,200,1");
}

#[test]
fn serves_over_ipv6() {
    let (root, server) = serve("ipv6", |config| config.family = Family::V6);
    root.file("f", b"six", 0);
    let mut client = Client::login(&server);
    client.expect("522", "EPSV 1");
    client.expect("425", "PASV");
    assert_eq!(client.fetch_text("RETR f"), "six");
}

#[test]
fn says_150_before_the_data_connection_if_configured() {
    let (_root, server) = serve("early", |config| config.early_150 = true);
    let mut client = Client::login(&server);
    let port = client.passive_port();
    client.expect("150", "NLST");
    drop(TcpStream::connect((server.addr().ip(), port)).unwrap());
    client.expect_reply("226");
}

#[test]
fn reads_nothing_while_a_transfer_runs() {
    let (root, server) = serve("queued", |_| {});
    let mut client = Client::login(&server);
    let data = client.passive();
    client.expect("150", "STOR f");
    client.write(b"NOOP\r\nSIZE f\r\n");
    (&data).write_all(b"12345").unwrap();
    assert_eq!(server.commands().last().unwrap(), "STOR f");
    drop(data);
    client.expect_reply("226");
    client.expect_reply("200");
    client.expect_reply("213 5");
    assert_eq!(root.read("f"), "12345");
}

#[test]
fn answers_commands_sent_ahead_in_order() {
    let (_root, server) = serve("ahead", |_| {});
    let mut client = Client::login(&server);
    let mut writer = client.control.get_ref().try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        let lines: String = (0..5_000)
            .map(|place| format!("REST {place}\r\n"))
            .collect();
        writer.write_all(lines.as_bytes()).unwrap();
    });
    for place in 0..5_000 {
        assert_eq!(
            client.reply(),
            format!("350 Restart position accepted ({place}).")
        );
    }
    sender.join().unwrap();
}

#[test]
fn latency_is_paid_once_for_a_batch() {
    let (_root, server) = serve("latency", |config| {
        config.latency = Duration::from_millis(40)
    });
    let mut client = Client::login(&server);
    let before = Instant::now();
    client.write("NOOP\r\n".repeat(50).as_bytes());
    for _ in 0..50 {
        client.expect_reply("200");
    }
    let took = before.elapsed();
    assert!(
        (Duration::from_millis(40)..Duration::from_secs(1)).contains(&took),
        "{took:?}"
    );
}

// Names, directories, times.

#[test]
fn makes_and_removes_directories_and_files() {
    let (root, server) = serve("tree", |_| {});
    let mut client = Client::login(&server);
    client.expect("257 \"/d\" created", "MKD d");
    client.expect("550", "MKD d");
    client.expect("250", "CWD d");
    client.expect("257 \"/d\" is", "PWD");
    client.store("STOR f", b"x");
    client.expect("550", "RMD /d");
    client.expect("550", "DELE /d");
    client.expect("250", "DELE f");
    client.expect("250", "CDUP");
    client.expect("250", "RMD d");
    assert_eq!(fs::read_dir(&root.0).unwrap().count(), 0);
}

#[test]
fn renames_over_a_file_unless_forbidden() {
    for (may, code) in [(true, "250"), (false, "550")] {
        let (root, server) = serve(&format!("rename_{may}"), |config| config.rename_over = may);
        root.file("from", b"new", 0);
        root.file("to", b"old", 0);
        fs::create_dir(root.path("dir")).unwrap();
        let mut client = Client::login(&server);
        client.expect("503", "RNTO to");
        client.expect("550", "RNFR missing");
        client.expect("350", "RNFR from");
        client.expect("550", "RNTO dir");
        client.expect("503", "RNTO to");
        client.expect("350", "RNFR from");
        client.expect("200", "NOOP");
        client.expect(code, "RNTO to");
        assert_eq!(root.read("to"), if may { "new" } else { "old" });
    }
}

#[test]
fn nothing_outside_the_root_can_be_reached() {
    let (root, server) = serve("escape", |_| {});
    symlink("/", root.path("out")).unwrap();
    symlink("/tmp/coracle-no-such-file", root.path("dangling")).unwrap();
    let mut client = Client::login(&server);
    for command in [
        "CWD ..",
        "CWD out",
        "MKD ../x",
        "STOR out/x",
        "RETR /../etc/passwd",
        "MLST out/etc",
        "STOR dangling",
    ] {
        client.expect("550", command);
    }
    client.expect("250", "DELE out");
    assert!(
        fs::symlink_metadata(root.path("out")).is_err(),
        "the link itself can be removed"
    );
}

#[test]
fn sets_times_in_every_way_it_offers() {
    let (root, server) = serve("times", |_| {});
    root.file("a b", b"", 0);
    let mut client = Client::login(&server);
    let ways = [
        ("213", "MFMT 20240229123456 a b", "20240229123456"),
        ("213", "MFMT 19690101000000.5 a b", "19690101000000"),
        ("213", "MDTM 20240229123457 a b", "20240229123457"),
        ("200", "SITE UTIME 202402291234 a b", "20240229123400"),
        ("200", "SITE UTIME 20240229123459 a b", "20240229123459"),
        (
            "200",
            "SITE UTIME a b 20010101000000 20380119031408 20010101000000 UTC",
            "20380119031408",
        ),
    ];
    for (code, command, time) in ways {
        client.expect(code, command);
        assert_eq!(
            client.ask("MDTM a b"),
            format!("213 {time}"),
            "after {command}"
        );
    }
    client.expect("501", "MFMT 20230229000000 a b");
    client.expect("550", "MDTM 20230229000000 a b");
    client.expect("200", "SITE CHMOD 600 a b");
    assert_eq!(
        fs::metadata(root.path("a b")).unwrap().mode() & 0o777,
        0o600
    );
}

#[test]
fn clock_offset_shows_in_what_is_uploaded() {
    let (root, server) = serve("clock", |config| config.clock_offset = -100_000);
    let mut client = Client::login(&server);
    client.store("STOR f", b"");
    client.expect("257", "MKD d");
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs() as i64;
    for name in ["f", "d"] {
        let behind = now - fs::metadata(root.path(name)).unwrap().mtime();
        assert!((100_000..100_060).contains(&behind), "{behind}");
    }
}

#[test]
fn read_only_server_changes_nothing() {
    let (root, server) = serve("read_only", |config| config.read_only = true);
    root.file("f", b"x", 5);
    let mut client = Client::login(&server);
    let time = "20240229123456";
    for command in [
        "STOR g",
        "DELE f",
        "RNFR f",
        "MKD d",
        "SITE CHMOD 0 f",
        &format!("MFMT {time} f"),
        &format!("MDTM {time} f"),
    ] {
        client.expect("550", command);
    }
    assert_eq!(fs::metadata(root.path("f")).unwrap().mtime(), 5);
    assert!(client.fetch_text("MLSD").contains("perm=r;"));
}

// Faults.

#[test]
fn fault_befalls_the_commands_it_names() {
    let (_root, server) = serve("trigger", |config| {
        config.faults = vec![
            Fault::on("MKD")
                .containing("x")
                .nth(2)
                .times(2)
                .then(Effect::reply(452, "full")),
        ];
    });
    let mut client = Client::login(&server);
    let codes = ["x1", "y", "x2", "x3", "x4"]
        .map(|name| client.ask(&format!("MKD {name}"))[..3].to_owned());
    assert_eq!(codes, ["257", "257", "452", "452", "257"]);
    server.inject(Fault::at_command(2).then(Effect::reply(500, "no")));
    assert_eq!(
        ["", "", ""].map(|_| client.ask("NOOP")[..3].to_owned()),
        ["200", "500", "200"]
    );
    server.inject(Fault::on("NOOP").always().then(Effect::reply(500, "no")));
    client.expect("500", "NOOP");
    server.heal();
    client.expect("200", "NOOP");
}

#[test]
fn hook_sees_commands_and_decides() {
    let (_root, server) = serve("hook", |_| {});
    server.hook(|command| {
        (command.connection == 2 && command.argument == b"x")
            .then(|| Effect::reply(550, command.verb))
    });
    let (mut first, mut second) = (Client::login(&server), Client::login(&server));
    first.expect("257", "MKD x");
    assert_eq!(second.ask("RMD x"), "550 RMD");
}

#[test]
fn lies_about_a_rename() {
    let (root, server) = serve("lost_rename", |_| {});
    root.file("from", b"x", 0);
    server.inject(Fault::on("RNTO").then(Effect::reply(250, "Rename successful.")));
    let mut client = Client::login(&server);
    client.expect("350", "RNFR from");
    client.expect("250", "RNTO to");
    assert!(root.path("from").exists() && !root.path("to").exists());
    client.expect("503", "RNTO to");
}

#[test]
fn acts_but_says_otherwise_or_nothing_or_twice() {
    let (root, server) = serve("replies", |_| {});
    server.inject(Fault::on("MKD").then(Effect::act_then_reply(550, "no")));
    server.inject(Fault::on("MKD").nth(2).then(Effect::drop_reply()));
    server.inject(Fault::on("MKD").nth(3).then(Effect::double_reply()));
    let mut client = Client::login(&server);
    client.expect("550 no", "MKD a");
    client.write(b"MKD b\r\nMKD c\r\n");
    client.expect_reply("257 \"/c\"");
    client.expect_reply("257 \"/c\"");
    for name in ["a", "b", "c"] {
        assert!(root.path(name).is_dir());
    }
}

#[test]
fn sends_rubbish_slow_and_endless_replies() {
    let (_root, server) = serve("rubbish", |_| {});
    server.inject(Fault::on(CONNECT).then(Effect::raw_reply(b"SSH-2.0-x\r\n")));
    server.inject(Fault::on("NOOP").then(Effect::raw_reply(b"2\0\xff\n")));
    server.inject(Fault::on("SYST").then(Effect::endless_reply("211-more\r\n", Duration::ZERO)));
    let mut client = Client::open(&server);
    assert_eq!(client.line().unwrap(), b"SSH-2.0-x");
    client.write(b"NOOP\r\nSYST\r\n");
    assert_eq!(client.line().unwrap(), b"2\0\xff");
    for _ in 0..10_000 {
        assert_eq!(client.line().unwrap(), b"211-more");
    }
}

#[test]
fn drips_a_true_reply() {
    let (_root, server) = serve("drip", |_| {});
    server.inject(Fault::on("NOOP").then(Effect::slow_reply(Duration::from_millis(2))));
    let mut client = Client::login(&server);
    let before = Instant::now();
    assert_eq!(client.ask("NOOP"), "200 NOOP ok.");
    assert!(
        before.elapsed() >= Duration::from_millis(20),
        "ten bytes cost ten pauses"
    );
}

#[test]
fn takes_telnet_bytes_before_abor() {
    let (_root, server) = serve("abor", |_| {});
    let mut client = Client::login(&server);
    client.write(b"\xff\xf4\xff\xf2ABOR\r\n");
    assert_eq!(client.reply(), "225 No transfer to ABOR.");
}

#[test]
fn closes_the_control_connection_gently_or_by_reset() {
    let (root, server) = serve("close", |_| {});
    for (how, seen) in [
        (Close::Fin, Ok(0)),
        (Close::Reset, Err(ErrorKind::ConnectionReset)),
    ] {
        server.inject(Fault::on("NOOP").then(Effect::close_control(how)));
        let mut client = Client::login(&server);
        client.write(b"NOOP\r\n");
        let end = client.control.read(&mut [0]).map_err(|error| error.kind());
        assert_eq!(end, seen);
        server.heal();
    }
    server.inject(Fault::on("MKD").then(Effect::act_then_close(Close::Fin)));
    let mut client = Client::login(&server);
    client.write(b"MKD d\r\n");
    assert!(client.is_closed());
    assert!(root.path("d").is_dir());
}

#[test]
fn cuts_the_data_connection_honestly_or_not() {
    let (root, server) = serve("cut_data", |_| {});
    root.file("f", b"0123456789", 0);
    server.inject(Fault::on("RETR").then(Effect::cut_data(4)));
    server.inject(
        Fault::on("RETR")
            .nth(2)
            .then(Effect::cut_data(4).saying(226, "fine")),
    );
    server.inject(Fault::on("STOR").then(Effect::cut_data(3).saying(226, "fine")));
    let mut client = Client::login(&server);
    assert_eq!(
        client.fetch("RETR f"),
        (
            b"0123".to_vec(),
            "426 Failure writing network stream.".into()
        )
    );
    assert_eq!(
        client.fetch("RETR f"),
        (b"0123".to_vec(), "226 fine".into())
    );
    assert_eq!(client.fetch_text("RETR f"), "0123456789");
    assert_eq!(client.store("STOR g", b"abcdef"), "226 fine");
    assert_eq!(root.read("g"), "abc");
}

#[test]
fn stalls_until_the_client_leaves() {
    let (root, server) = serve("stall", |_| {});
    root.file("f", b"0123456789", 0);
    server.inject(Fault::on("NOOP").then(Effect::stall()));
    server.inject(Fault::on("RETR").then(Effect::stall_data(4)));
    let mut client = Client::login(&server);
    client.write(b"NOOP\r\nPWD\r\n");
    client.assert_silent();
    drop(client);
    let mut client = Client::login(&server);
    let mut data = client.passive();
    client.expect("150", "RETR f");
    data.read_exact(&mut [0; 4]).unwrap();
    client.assert_silent();
    drop(client);
    assert_eq!(
        data.read(&mut [0]).unwrap(),
        0,
        "the data connection ends with its session"
    );
    wait_until("all sessions are over", || server.sessions() == 0);
}

#[test]
fn falsifies_listings_and_files() {
    let (root, server) = serve("edit_data", |_| {});
    for name in ["a", "b", "c"] {
        root.file(name, name.as_bytes(), 0);
    }
    let mut client = Client::login(&server);
    server.inject(Fault::on("NLST").then(Effect::short_listing(|place, line| {
        place == 0 || line == b"c"
    })));
    server.inject(
        Fault::on("NLST")
            .nth(2)
            .then(Effect::extra_listing_lines(&[b"..", b"x/y\rz"])),
    );
    server.inject(
        Fault::on("NLST")
            .nth(3)
            .then(Effect::replace_data("rubbish")),
    );
    server.inject(Fault::on("RETR").then(Effect::edit_data(|bytes| bytes.repeat(2))));
    server.inject(Fault::on("STOR").then(Effect::write_short(2)));
    assert_eq!(client.fetch_text("NLST"), "b\r\n");
    assert_eq!(client.fetch_text("NLST"), "a\r\nb\r\nc\r\n..\r\nx/y\rz\r\n");
    assert_eq!(client.fetch_text("NLST"), "rubbish");
    assert_eq!(client.fetch_text("RETR a"), "aa");
    assert_eq!(client.store("STOR d", b"12345"), "226 Transfer complete.");
    assert_eq!(root.read("d"), "12");
}

#[test]
fn names_a_foreign_address_in_pasv() {
    let (_root, server) = serve("foreign", |config| {
        config.pasv_host = Some(Ipv4Addr::new(127, 0, 0, 9))
    });
    server.inject(
        Fault::on("PASV")
            .nth(2)
            .then(Effect::foreign_address(Ipv4Addr::new(10, 1, 2, 3))),
    );
    let mut client = Client::login(&server);
    client.expect("227 Entering Passive Mode (127,0,0,9,", "PASV");
    client.expect("227 Entering Passive Mode (10,1,2,3,", "PASV");
}

// The end.

#[test]
fn dropping_the_server_ends_every_session() {
    let (_root, server) = serve("drop", |config| config.latency = Duration::from_secs(3600));
    let addr = server.addr();
    let _greeted_late = Client::open(&server);
    wait_until("the session has begun", || server.sessions() == 1);
    drop(server);
    assert!(TcpStream::connect(addr).is_err(), "nobody listens any more");

    let (root, server) = serve("drop_busy", |_| {});
    root.file("big", &[0; 10_000_000], 0);
    server.inject(Fault::on("NOOP").then(Effect::stall()));
    server.inject(Fault::on("SYST").then(Effect::endless_reply("x", Duration::from_secs(3600))));
    let idle = Client::login(&server);
    let (mut stalled, mut endless) = (Client::login(&server), Client::login(&server));
    let (mut storing, mut retrieving, mut awaiting) = (
        Client::login(&server),
        Client::login(&server),
        Client::login(&server),
    );
    stalled.write(b"NOOP\r\n");
    endless.write(b"SYST\r\n");
    let _up = storing.passive();
    storing.expect("150", "STOR f");
    let _down = retrieving.passive();
    retrieving.expect("150", "RETR big");
    awaiting.passive_port();
    awaiting.write(b"NLST\r\n");
    wait_until("all commands have arrived", || {
        ["NOOP", "SYST", "NLST"]
            .iter()
            .all(|command| server.commands().contains(&(*command).to_owned()))
    });
    drop(server);
    for mut client in [idle, stalled, endless, storing, retrieving, awaiting] {
        let _ = client.control.read_to_end(&mut Vec::new());
        assert!(client.is_closed());
    }
}

/// A server on a directory of its own; the directory is removed with the first value.
fn serve(name: &str, configure: impl FnOnce(&mut Config)) -> (Root, FtpServer) {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("ftp_server-{name}-{}", std::process::id()));
    fs::create_dir_all(&path).unwrap();
    let root = Root(path);
    let mut config = Config::serving(&root.0);
    configure(&mut config);
    let server = FtpServer::start(config);
    (root, server)
}

struct Root(PathBuf);

impl Root {
    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn file(&self, name: &str, bytes: &[u8], mtime_secs: u64) {
        fs::write(self.path(name), bytes).unwrap();
        self.age(name, mtime_secs);
    }

    fn age(&self, name: &str, mtime_secs: u64) {
        let file = fs::File::open(self.path(name)).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(mtime_secs))
            .unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The plainest FTP client there can be.
struct Client {
    control: BufReader<TcpStream>,
}

impl Client {
    fn open(server: &FtpServer) -> Self {
        let control = TcpStream::connect(server.addr()).unwrap();
        control.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            control: BufReader::new(control),
        }
    }

    fn connect(server: &FtpServer) -> Self {
        let mut client = Self::open(server);
        client.expect_reply("220");
        client
    }

    fn login(server: &FtpServer) -> Self {
        let mut client = Self::connect(server);
        client.expect("331", "USER u");
        client.expect("230", "PASS p");
        client.expect("200", "TYPE I");
        client
    }

    fn write(&mut self, bytes: &[u8]) {
        self.control.get_mut().write_all(bytes).unwrap();
    }

    fn ask(&mut self, command: &str) -> String {
        self.write(format!("{command}\r\n").as_bytes());
        self.reply()
    }

    fn expect(&mut self, start: &str, command: &str) {
        let reply = self.ask(command);
        assert!(
            reply.starts_with(start),
            "{command} was answered with {reply}, not {start}"
        );
    }

    fn expect_reply(&mut self, start: &str) {
        let reply = self.reply();
        assert!(reply.starts_with(start), "{reply} came instead of {start}");
    }

    /// The next reply, its lines parted by line feeds.
    fn reply(&mut self) -> String {
        String::from_utf8(self.reply_bytes().unwrap()).unwrap()
    }

    fn reply_bytes(&mut self) -> io::Result<Vec<u8>> {
        let mut reply = self.line()?;
        if reply.get(3) == Some(&b'-') {
            let end = [&reply[..3], b" "].concat();
            loop {
                let line = self.line()?;
                reply.extend([b"\n", &line[..]].concat());
                if line.starts_with(&end) {
                    break;
                }
            }
        }
        Ok(reply)
    }

    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        if self.control.read_until(b'\n', &mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_ascii_end().to_vec())
    }

    fn passive_port(&mut self) -> u16 {
        let reply = self.ask("EPSV");
        reply
            .split('|')
            .nth(3)
            .and_then(|port| port.parse().ok())
            .unwrap_or_else(|| panic!("{reply}"))
    }

    fn passive(&mut self) -> TcpStream {
        let port = self.passive_port();
        let data =
            TcpStream::connect((self.control.get_ref().peer_addr().unwrap().ip(), port)).unwrap();
        data.set_read_timeout(Some(PATIENCE)).unwrap();
        data
    }

    fn fetch(&mut self, command: &str) -> (Vec<u8>, String) {
        let mut data = self.passive();
        self.expect("150", command);
        let mut bytes = Vec::new();
        data.read_to_end(&mut bytes).unwrap();
        (bytes, self.reply())
    }

    fn fetch_text(&mut self, command: &str) -> String {
        let (bytes, reply) = self.fetch(command);
        assert_eq!(reply, "226 Transfer complete.");
        String::from_utf8(bytes).unwrap()
    }

    fn store(&mut self, command: &str, bytes: &[u8]) -> String {
        let mut data = self.passive();
        self.expect("150", command);
        data.write_all(bytes).unwrap();
        drop(data);
        self.reply()
    }

    fn is_closed(&mut self) -> bool {
        match self.control.read(&mut [0]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        }
    }

    /// Nothing comes for a while: long against what a loopback answer takes.
    fn assert_silent(&mut self) {
        self.control
            .get_ref()
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        assert_eq!(self.line().unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::yield_now();
    }
}

/// Far beyond what a loaded machine takes, so that only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(30);
