//! What there is to say of an SFTP server: what it announces, and what it was found to do. Nothing is asked of it here.

use super::SftpReplica;
use crate::path::Escaped;
use crate::replica::{Described, Times, Topic};

impl SftpReplica {
    pub(super) fn describe_server(&self) -> Described {
        let mut described = Described::default();
        if let Some(program) = self.session.program() {
            let text = format!("by SSH: {program} checks the host key against those that it knows");
            described.say(Topic("protection"), text);
        }
        if let Some(dir) = &self.login_dir {
            described.say(Topic("login directory"), Escaped(dir).to_string());
        }
        let extensions: Vec<String> = self
            .session
            .extensions()
            .map(|name| Escaped(name).to_string())
            .collect();
        let extensions = match extensions.as_slice() {
            [] => "none announced".to_owned(),
            some => some.join(" "),
        };
        described.say(Topic("extensions"), extensions);
        let times = match self.learnt.times {
            Times::Kept => "kept as they are set",
            Times::Lost => "not kept",
            Times::Unknown => {
                "not tried: nothing is written to find out, the first upload shows it"
            }
        };
        described.say(Topic("times"), times.to_owned());
        if !self.learnt.renames_over {
            described.say(Topic("old files go"), "aside".to_owned());
        }
        described
    }
}
