//! What there is to say of a server: what it says of itself, and what it was found to do. Nothing is asked of it here.

use super::FtpReplica;
use super::learnt::Learnt;
use crate::ftp::Session;
use crate::path::Escaped;
use crate::replica::{Described, Topic};

/// What is kept of a server, by the words in which it is kept, and what they mean.
const KEPT: [(&str, Topic); 9] = [
    ("lists", Topic("listed by")),
    ("looks", Topic("looked up by")),
    ("times", Topic("times set by")),
    ("renames", Topic("old files go")),
    ("letters", Topic("other letters")),
    ("mdtm", Topic("MDTM tells")),
    ("fails", Topic("leads nowhere")),
    ("wants", Topic("wants first")),
    ("most", Topic("commands ahead")),
];

impl FtpReplica {
    pub(super) fn describe_server(&self) -> Described {
        let session = &self.session;
        let mut described = Described::default();
        let kept = session.tricks().to_text(&self.learnt.lines());
        let kept = String::from_utf8_lossy(&kept);
        let lines: Vec<(&str, &str)> = kept
            .lines()
            .filter_map(|line| line.split_once(' '))
            .collect();
        let of_key = |key: &str| -> Vec<&str> {
            let of_key = lines.iter().filter(|(known, _)| *known == key);
            of_key.map(|(_, value)| *value).collect()
        };
        let greeting = of_key("server").join(" ");
        described.say(
            Topic("server"),
            format!("{:?}: {greeting}", session.software()),
        );
        described.say(Topic("address"), session.peer().to_string());
        protection(session, &mut described);
        if let Some(dir) = session.login_dir() {
            described.say(Topic("login directory"), Escaped(dir).to_string());
        }
        features(session, &mut described);
        if let Some(way) = session.data_way() {
            described.say(Topic("data by"), way.to_string());
        }
        for (key, topic) in KEPT {
            let values = of_key(key);
            if !values.is_empty() {
                described.say(topic, values.join(", "));
            }
        }
        zone(&self.learnt, &mut described);
        if of_key("times").is_empty() {
            let text = "not tried: nothing is written to find out, the first upload shows it";
            described.say(Topic("times set by"), text.to_owned());
        }
        for (key, topic) in [("bears", "faster with"), ("lacks", "by the book for")] {
            let tricks = of_key(key);
            if !tricks.is_empty() {
                described.say(Topic(topic), tricks.join(", "));
            }
        }
        described
    }
}

fn protection(session: &Session, described: &mut Described) {
    let topic = Topic("protection");
    match session.secured() {
        Some(secured) => {
            described.say(topic, secured.describe());
            described.pin = secured.pin();
        }
        None if session.features().has("auth") => described.say(
            topic,
            "none, though the server knows TLS: ftps:// hides user, password and files".to_owned(),
        ),
        None => described.say(
            topic,
            "none: user, password and files can be read by everyone on the way".to_owned(),
        ),
    }
}

fn features(session: &Session, described: &mut Described) {
    let features = session.features();
    let text = if features.told {
        // The first and the last line are a heading and an end.
        let is_frame = |name: &&str| {
            name.starts_with("211") || ["features", "features:", "extensions", "end"].contains(name)
        };
        let names = features.names().filter(|name| !is_frame(name));
        let mut names: Vec<String> = names
            .map(|name| Escaped(name.as_bytes()).to_string().to_uppercase())
            .collect();
        names.dedup();
        names.join(" ")
    } else {
        "not told: each is tried when it is needed".to_owned()
    };
    described.say(Topic("features"), text);
    if !features.hash.is_empty() {
        described.say(Topic("digests"), features.hash.join(" ").to_uppercase());
    }
}

fn zone(learnt: &Learnt, described: &mut Described) {
    if let Some(secs) = learnt.zone_secs {
        let text = match secs {
            0 => "its listings are in UTC".to_owned(),
            secs => {
                let ahead = -secs as f64 / 3600.0;
                format!("its listings are {ahead:+} hours from UTC; that is taken off")
            }
        };
        described.say(Topic("zone"), text);
    }
}
