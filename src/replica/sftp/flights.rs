//! Many things done at once on one session: each is a row of flights, and a flight is what can be sent without an answer.
//!
//! A line of 20 ms takes as long for one file as for sixty; so each thing says what it sends next when all of its answers
//! are there, and one driver keeps as many of them under way as the server can bear.

use std::collections::HashMap;

use crate::error::Result;
use crate::sftp::{Reply, Request, Session};

/// Something that is done in flights.
pub(super) trait Flights {
    /// Takes the replies to the last flight, in the order of its requests, and sends the next one. Sends nothing when all
    /// is done. An error is the session's end.
    fn fly(&mut self, replies: Vec<Reply>, out: &mut Outbox<'_>) -> Result<()>;
}

/// Takes the requests of one flight.
pub(super) struct Outbox<'a> {
    session: &'a mut Session,
    ids: Vec<u32>,
}

impl Outbox<'_> {
    /// Sends a request; the reply comes with the others of this flight.
    pub(super) fn send(&mut self, request: &Request<'_>) -> Result<()> {
        let id = self.session.send(request)?;
        self.ids.push(id);
        Ok(())
    }

    /// Sends a request of which nobody needs the reply: it may travel with the next one.
    pub(super) fn tell(&mut self, request: &Request<'_>) -> Result<()> {
        let id = self.session.send(request)?;
        self.session.forget(id);
        Ok(())
    }

    /// The session's end, because a reply makes no sense.
    pub(super) fn nonsense(&mut self) -> crate::error::Error {
        self.session.nonsense(NONSENSE)
    }
}

/// What is said of a reply of the wrong kind.
pub(super) const NONSENSE: &str = "its reply does not fit what was asked";

/// The replies to one flight.
struct Awaited {
    replies: Vec<Option<Reply>>,
    missing: usize,
}

/// Does all of it, `most` at a time. An error is the session's end: what is not done by then stays as it is.
pub(super) fn drive<T: Flights>(session: &mut Session, tasks: &mut [T], most: usize) -> Result<()> {
    let mut awaited: Vec<Awaited> = Vec::with_capacity(tasks.len());
    let mut asked: HashMap<u32, (usize, usize)> = HashMap::new();
    let mut under_way = 0;
    loop {
        while under_way < most && awaited.len() < tasks.len() {
            let place = awaited.len();
            awaited.push(launch(session, tasks, place, Vec::new(), &mut asked)?);
            under_way += usize::from(awaited[place].missing > 0);
        }
        if under_way == 0 {
            return Ok(());
        }
        let (id, reply) = session.receive_any()?;
        let Some((place, slot)) = asked.remove(&id) else {
            return Err(session.nonsense(NONSENSE));
        };
        let flight = &mut awaited[place];
        flight.replies[slot] = Some(reply);
        flight.missing -= 1;
        if flight.missing == 0 {
            let replies = std::mem::take(&mut flight.replies);
            let replies = replies.into_iter().flatten().collect();
            awaited[place] = launch(session, tasks, place, replies, &mut asked)?;
            under_way -= usize::from(awaited[place].missing == 0);
        }
    }
}

fn launch<T: Flights>(
    session: &mut Session,
    tasks: &mut [T],
    place: usize,
    replies: Vec<Reply>,
    asked: &mut HashMap<u32, (usize, usize)>,
) -> Result<Awaited> {
    let mut out = Outbox {
        session,
        ids: Vec::new(),
    };
    tasks[place].fly(replies, &mut out)?;
    let ids = out.ids;
    for (slot, id) in ids.iter().enumerate() {
        asked.insert(*id, (place, slot));
    }
    Ok(Awaited {
        missing: ids.len(),
        replies: ids.iter().map(|_| None).collect(),
    })
}

/// Asks all of it at once; the replies in the order of the requests.
pub(super) fn ask_all(session: &mut Session, requests: &[Request<'_>]) -> Result<Vec<Reply>> {
    let ids: Vec<u32> = requests
        .iter()
        .map(|request| session.send(request))
        .collect::<Result<_>>()?;
    ids.into_iter().map(|id| session.receive(id)).collect()
}
