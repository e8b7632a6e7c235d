//! Commands sent ahead. Replies come in the order of the commands, so several can be on their way: that is what makes FTP
//! bearable on a slow line. How many is a matter of [`Trick::Ahead`] and [`Trick::Stream`].

use std::collections::VecDeque;

use super::command::Command;
use super::reply::Reply;
use super::session::Session;
use super::tricks::Trick;
use crate::error::Result;

/// Bytes of commands on their way without a reply: so few fit into the socket buffers of the poorest server, so that
/// both ends never wait for each other to read.
const MAX_AHEAD_BYTES: usize = 16 * 1024;
/// Bytes of commands in one flight: one TCP segment on any line, IPv6's least included.
const MAX_FLIGHT_BYTES: usize = 1200;

impl Session {
    /// Sends the commands ahead and collects the final reply to each. A command that cannot be sent has its error; an
    /// error of the session ends it all.
    ///
    /// What is refused when it was sent ahead is sent once more alone, until it is known whether this server minds; where it
    /// does, so is all behind it. So a command may be run twice, but no rename is that was confirmed.
    pub fn ask_all(&mut self, commands: &[Command<'_>]) -> Result<Vec<Result<Reply>>> {
        self.ask_doubting(commands, |_| {})
    }

    /// The same; and while the commands travel, opens the data connection that the next transfer will use.
    pub fn ask_all_and_connect(&mut self, commands: &[Command<'_>]) -> Result<Vec<Result<Reply>>> {
        self.ask_doubting(commands, Self::connect_ahead)
    }

    /// Like [`Session::ask_all`] for replies that hold listings: the lines between the first and the last go to `take`
    /// as they come, with the place of their command, and are not in the replies. No refusal is doubted.
    pub fn ask_long(
        &mut self,
        commands: &[Command<'_>],
        take: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<Vec<Result<Reply>>> {
        self.ask_ahead(commands, |_| {}, &mut |session, place| {
            session.long_reply(&mut |line| take(place, line))
        })
    }

    /// Sends the commands ahead, come what may.
    pub(super) fn ask_ahead_plainly(
        &mut self,
        commands: &[Command<'_>],
    ) -> Result<Vec<Result<Reply>>> {
        self.ask_ahead(commands, |_| {}, &mut |session, _| session.reply())
    }

    fn ask_doubting(
        &mut self,
        commands: &[Command<'_>],
        meanwhile: fn(&mut Self),
    ) -> Result<Vec<Result<Reply>>> {
        let mut replies = self.ask_ahead(commands, meanwhile, &mut |session, _| session.reply())?;
        let Some(first) = self.first_doubted(commands, &replies) else {
            return Ok(replies);
        };
        if let Command::Rnto(_) = commands[first] {
            // It counts only right behind its RNFR.
            replies[first - 1] = Ok(self.ask(&commands[first - 1])?);
        }
        let again = self.ask(&commands[first])?;
        let was_taken = !again.says_too_early();
        replies[first] = Ok(again);
        self.settings.tricks.sent_again(was_taken);
        if !was_taken {
            return Ok(replies);
        }
        for place in first + 1..commands.len() {
            let is_confirmed = |place: usize| {
                matches!(commands.get(place), Some(Command::Rnto(_)))
                    && replies[place].as_ref().is_ok_and(Reply::is_success)
            };
            let is_half_a_rename = matches!(commands[place], Command::Rnfr(_));
            let is_done = is_confirmed(place) || is_half_a_rename && is_confirmed(place + 1);
            if replies[place].is_ok() && !is_done {
                replies[place] = Ok(self.ask(&commands[place])?);
            }
        }
        Ok(replies)
    }

    /// The first command that may have been refused for having been sent ahead.
    fn first_doubted(&self, commands: &[Command<'_>], replies: &[Result<Reply>]) -> Option<usize> {
        if !self.settings.tricks.doubts_refusals() {
            return None;
        }
        let is_doubted = |place: &usize| {
            // Most servers refuse OPTS UTF8, and nothing depends on it.
            !matches!(commands[*place], Command::OptsUtf8)
                && replies[*place].as_ref().is_ok_and(Reply::says_too_early)
        };
        (1..commands.len()).find(is_doubted)
    }

    fn ask_ahead(
        &mut self,
        commands: &[Command<'_>],
        meanwhile: fn(&mut Self),
        read: &mut dyn FnMut(&mut Self, usize) -> Result<Reply>,
    ) -> Result<Vec<Result<Reply>>> {
        self.check_quiet()?;
        let mut meanwhile = Some(meanwhile);
        let most = if self.is_trying {
            commands.len()
        } else {
            self.settings.tricks.most()
        };
        let is_stream = self.settings.tricks.holds(Trick::Stream);
        let mut replies: Vec<Option<Result<Reply>>> = Vec::with_capacity(commands.len());
        let mut waiting = VecDeque::new();
        let mut next = 0;
        loop {
            // Filled up only when half empty, so that commands travel in large segments.
            let may_send = if is_stream {
                self.ahead_bytes() * 2 <= MAX_AHEAD_BYTES && waiting.len() * 2 <= most
            } else {
                waiting.is_empty()
            };
            if may_send {
                while let Some(command) = commands.get(next)
                    && (waiting.is_empty() || self.has_room_for(command))
                    && waiting.len() < most
                {
                    match self.enqueue(command) {
                        Ok(()) => {
                            waiting.push_back(next);
                            replies.push(None);
                        }
                        Err(error) => replies.push(Some(Err(error))),
                    }
                    next += 1;
                }
            }
            let Some(index) = waiting.pop_front() else {
                break;
            };
            self.flush()?;
            if let Some(meanwhile) = meanwhile.take() {
                meanwhile(self);
            }
            let reply = read(self, index)?;
            replies[index] = Some(Ok(reply));
        }
        self.settings.tricks.answered(self.flight);
        let replies = replies.into_iter();
        Ok(replies
            .map(|reply| reply.expect("each command was answered or refused"))
            .collect())
    }

    fn has_room_for(&self, command: &Command<'_>) -> bool {
        let limit = if self.settings.tricks.holds(Trick::Stream) {
            MAX_AHEAD_BYTES
        } else {
            MAX_FLIGHT_BYTES
        };
        let mut line = Vec::new();
        // What cannot be sent takes no room.
        let _ = command.encode(&mut line, self.max_line_bytes, self.iac);
        self.ahead_bytes() + line.len() <= limit
    }

    fn ahead_bytes(&self) -> usize {
        self.sent.iter().sum()
    }
}
