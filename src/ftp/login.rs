//! The login: greeting, TLS, user and password, what the server can do, and the trial of what it may bear.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::command::{Command, Iac};
use super::features::Features;
use super::meaning::{Login, says_tls_is_wanted};
use super::reply::Reply;
use super::session::{Account, Protection, Security, Session};
use super::software::Software;
use super::tricks::{Trick, line_limits};
use crate::error::{ErrorKind, Phase, Result, Scope};
use crate::net::TlsClient;

/// A greeting or a login may take this long in all: servers that hash passwords slowly were seen to take 13 s.
pub(super) const LOGIN_TOTAL: Duration = Duration::from_secs(120);

/// A TLS handshake may take this long in all, unless the silence that is allowed is longer.
const HANDSHAKE_TOTAL: Duration = Duration::from_secs(60);

/// So long a reply may take while a trick is tried: a server that has lost a command says nothing more.
const TRIAL_WAIT: Duration = Duration::from_secs(3);

impl Session {
    /// All that comes before the first question of the caller.
    pub(super) fn begin_session(
        &mut self,
        account: Account<'_>,
        security: &Security,
    ) -> Result<()> {
        match security {
            Security::Clear => {
                self.greet()?;
            }
            Security::Explicit(client) => {
                let code = self.greet().map_err(|error| match error.kind() {
                    ErrorKind::Timeout(Phase::Greeting) => ErrorKind::Tls(format!(
                        "{error}; if TLS begins at once on this port: --tls implicit"
                    ))
                    .into(),
                    _ => error,
                })?;
                // Nobody is in before TLS begins; somebody between may wish that we were.
                if code == 230 {
                    let text = "it begins with 230, in the clear".to_owned();
                    return Err(self.fail(ErrorKind::Protocol(text).into()));
                }
                self.ask_for_tls()?;
                self.secure(client)?;
            }
            Security::Implicit(client) => {
                self.secure(client)?;
                self.greet()?;
            }
        }
        self.log_in(account)?;
        self.settings.tricks.let_in();
        self.is_in = true;
        self.ask_around(matches!(security, Security::Implicit(_)))?;
        self.try_tricks()
    }

    /// Awaits the greeting; its code.
    fn greet(&mut self) -> Result<u16> {
        let reply = loop {
            let reply =
                self.next_reply(Phase::Greeting, self.settings.timeout, Some(LOGIN_TOTAL))?;
            // 120 says that the server will be ready soon.
            if !reply.is_preliminary() {
                break reply;
            }
        };
        if reply.is_success() {
            self.software = Software::of(reply.text());
            self.settings.tricks.meet(&self.mask().hide(reply.text()));
            return Ok(reply.code);
        }
        let text = format!("{} {}", reply.code, self.shown(&reply));
        let kind = if (400..600).contains(&reply.code) {
            ErrorKind::Unavailable(text)
        } else {
            ErrorKind::Protocol(format!("it begins with {text}"))
        };
        Err(self.fail(kind.into()))
    }

    /// Asks for TLS, and sees to it that nothing follows in the clear: it could have been put there by somebody between,
    /// to be taken for what the server says through TLS.
    fn ask_for_tls(&mut self) -> Result<()> {
        let reply = self.ask(&Command::AuthTls)?;
        // RFC 4217, 4: no other code says that TLS begins.
        if reply.code != 234 {
            let text = format!(
                "the server gives no TLS, so nothing more was said to it: {} {} (ftp:// would send user, password and \
                 files readable by everyone on the way)",
                reply.code,
                self.shown(&reply)
            );
            return Err(self.fail(ErrorKind::Tls(text).into()));
        }
        if !self.input.is_empty() {
            let text = "more follows in the clear where TLS should begin; somebody may be tampering with the connection"
                .to_owned();
            return Err(self.fail(ErrorKind::Tls(text).into()));
        }
        Ok(())
    }

    fn secure(&mut self, client: &Arc<TlsClient>) -> Result<()> {
        let wait = self.settings.timeout;
        self.stream
            .enter(Phase::Handshake, wait, Some(HANDSHAKE_TOTAL.max(wait)));
        let mut tickets = client.tickets()?;
        if let Err(error) = self.stream.secure(client, &mut tickets) {
            return Err(self.fail(error));
        }
        self.protection = Some(Protection {
            client: Arc::clone(client),
            tickets,
            since: Instant::now(),
            has_resumed: false,
            refusal: None,
        });
        Ok(())
    }

    fn log_in(&mut self, account: Account<'_>) -> Result<()> {
        // Who let us in without TLS before does not want it now.
        let may_want_tls = self.is_clear() && !self.settings.tricks.has_let_in();
        self.give_account(account)
            .map_err(|error| match error.kind() {
                ErrorKind::Unavailable(text) | ErrorKind::Login(text)
                    if may_want_tls && says_tls_is_wanted(text) =>
                {
                    let text = format!("{text} (it wants TLS: use ftps:// in place of ftp://)");
                    ErrorKind::Login(text).into()
                }
                _ => error,
            })
    }

    fn give_account(&mut self, account: Account<'_>) -> Result<()> {
        let was_let_in = self.settings.tricks.has_let_in();
        let mut reply = self.ask_login(&Command::User(account.user))?;
        let mut meaning = reply.login_meaning(was_let_in);
        if meaning == Login::Password {
            reply = self.ask_login(&Command::Pass(account.password))?;
            meaning = reply.login_meaning(was_let_in);
        }
        let text = format!("{} {}", reply.code, self.shown(&reply));
        let kind = match meaning {
            Login::Done => return Ok(()),
            Login::Full => ErrorKind::Unavailable(text),
            Login::Refused | Login::Password => ErrorKind::Login(text),
            Login::Account => ErrorKind::Login(
                "the server wants an account name (ACCT), which is not supported".to_owned(),
            ),
        };
        Err(self.fail(kind.into()))
    }

    fn ask_login(&mut self, command: &Command<'_>) -> Result<Reply> {
        self.check_quiet()?;
        // Not a path: the rule for 0xFF in names is not known yet and must not stop a login.
        self.iac = Iac::Single;
        let queued = self.enqueue(command);
        self.iac = Iac::Refused;
        queued?;
        self.flush()?;
        let reply = self.next_reply(Phase::Login, self.settings.timeout, Some(LOGIN_TOTAL))?;
        self.sent.pop_front();
        Ok(reply)
    }

    /// Asks all that a session needs to know: in one go where the server, or its greeting, vouches for that.
    fn ask_around(&mut self, is_implicit: bool) -> Result<()> {
        let mut commands = vec![
            Command::Feat,
            Command::OptsUtf8,
            Command::TypeImage,
            Command::Pwd,
        ];
        if !self.is_clear() {
            // RFC 4217, 9: the size comes before the level, and is always 0.
            commands.extend([Command::Pbsz, Command::ProtPrivate]);
        }
        if !self.settings.utf8 {
            commands.remove(1);
        }
        self.is_trying =
            self.software != Software::Unknown && self.settings.tricks.is_untried(Trick::Ahead);
        let asked = self.ask_all(&commands);
        self.is_trying = false;
        let replies = asked.inspect_err(|error| {
            if error.scope() == Scope::Session {
                self.settings.tricks.give_up(Trick::Ahead, error);
            }
        })?;
        for (command, reply) in commands.iter().zip(replies) {
            self.take_answer(command, &reply?, is_implicit)?;
        }
        if !self.software.agrees(&self.features) {
            log::debug!("it greets as {:?}, but has other features", self.software);
            self.software = Software::Unknown;
        }
        self.settings.tricks.vouch(self.software);
        (self.max_line_bytes, self.iac) = line_limits(self.software, &self.features);
        Ok(())
    }

    fn take_answer(
        &mut self,
        command: &Command<'_>,
        reply: &Reply,
        is_implicit: bool,
    ) -> Result<()> {
        match command {
            Command::Feat => self.features = Features::parse(reply),
            // A server without types sends files as they are; their sizes are checked.
            Command::TypeImage if !reply.is_success() && !reply.is_unknown_command() => {
                let said = self.shown(reply);
                let text = format!("it refuses binary transfers: {} {said}", reply.code);
                return Err(self.fail(ErrorKind::Protocol(text).into()));
            }
            Command::Pwd if reply.is_success() => {
                self.login_dir = parse_quoted(reply.last_line());
            }
            Command::ProtPrivate if !reply.is_success() => {
                let text = format!(
                    "the server does not protect files and listings, so none is sent: {} {}",
                    reply.code,
                    self.shown(reply)
                );
                // With TLS from the first byte data connections may be protected without a word (rclone's server); the
                // handshake tells, and nothing is sent before it.
                match &mut self.protection {
                    Some(protection) if is_implicit => protection.refusal = Some(text),
                    Some(_) | None => return Err(self.fail(ErrorKind::Tls(text).into())),
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Tries what may be tried at login, see [`Trick`]: with commands that change nothing, and whose replies are known
    /// by now. Where it goes wrong the session is of no use, and the next one begins without that trick.
    fn try_tricks(&mut self) -> Result<()> {
        let tricks = Arc::clone(&self.settings.tricks);
        if tricks.is_untried(Trick::Ahead) {
            let one = self.ask(&Command::Pwd)?;
            let other = self.ask(&Command::TypeImage)?;
            // Replies that look alike would show nothing of their order.
            if one != other {
                let tried = [(Command::Pwd, &one), (Command::TypeImage, &other)];
                self.try_ahead(Trick::Ahead, &[tried[0], tried[1], tried[1], tried[0]])?;
            }
        }
        if tricks.holds(Trick::Ahead)
            && tricks.is_untried(Trick::PortInHand)
            && !tricks.wants_plan()
            && let Some(port) = self.way_command()
        {
            let image = self.ask(&Command::TypeImage)?;
            let offer = self.ask(&port)?;
            if self.take_port(&offer) {
                self.try_ahead(Trick::PortInHand, &[(Command::TypeImage, &image)])?;
            }
        }
        Ok(())
    }

    /// Sends these ahead, each with the reply that it had alone.
    fn try_ahead(&mut self, trick: Trick, known: &[(Command<'_>, &Reply)]) -> Result<()> {
        let commands: Vec<Command<'_>> = known.iter().map(|(command, _)| *command).collect();
        let patience = self.settings.timeout;
        self.settings.timeout = patience.min(TRIAL_WAIT);
        self.is_trying = true;
        let replies = self.ask_ahead_plainly(&commands);
        self.is_trying = false;
        self.settings.timeout = patience;
        let is_same = |(reply, (_, known)): (&Result<Reply>, &(Command<'_>, &Reply))| {
            reply.as_ref().is_ok_and(|reply| reply.code == known.code)
        };
        let error = match replies {
            Ok(replies) if replies.iter().zip(known).all(is_same) => {
                self.settings.tricks.hold(trick);
                return Ok(());
            }
            Ok(_) => {
                let text = "it mixes up commands that are sent ahead".to_owned();
                ErrorKind::Protocol(text).into()
            }
            Err(error) => error,
        };
        self.settings.tricks.give_up(trick, &error);
        Err(self.fail(error))
    }
}

/// The path in a 257 reply. RFC 959 doubles quotes within it, Pure-FTPd does not: a quote ends the path where a blank
/// or nothing follows it.
fn parse_quoted(text: &[u8]) -> Option<Vec<u8>> {
    let open = text.iter().position(|byte| *byte == b'"')?;
    let mut path = Vec::new();
    let mut rest = &text[open + 1..];
    loop {
        match rest {
            [b'"', b'"', after @ ..] => {
                path.push(b'"');
                rest = after;
            }
            [b'"'] | [b'"', b' ', ..] => return (!path.is_empty()).then_some(path),
            [byte, after @ ..] => {
                path.push(*byte);
                rest = after;
            }
            [] => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_login_directory_of_all_servers() {
        let read =
            |text: &str| parse_quoted(text.as_bytes()).map(|path| String::from_utf8(path).unwrap());
        assert_eq!(read("\"/\""), Some("/".into()));
        assert_eq!(
            read("\"/a b\" is the current directory"),
            Some("/a b".into())
        );
        assert_eq!(
            read("\"/q\"\"q\" is the current directory"),
            Some("/q\"q".into())
        );
        assert_eq!(
            read("\"/q\"q\" is your current location"),
            Some("/q\"q".into())
        );
        assert_eq!(
            read("\"/\" is current directory for \"user\""),
            Some("/".into())
        );
        assert_eq!(read("\"/never ends"), None);
        assert_eq!(read("\"\" nothing"), None);
        assert_eq!(read("nothing"), None);
    }
}
