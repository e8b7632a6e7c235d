//! Workers that own their connection for life, and the one place that decides what a failure means for it.
//!
//! ```text
//!  caller ── submit(task) ──▶ queue ──▶ worker: connect once, run the task on both targets
//!         ◀─ next_within() ─ outcomes ◀── its result; on a dead connection: redial, run the task again
//! ```
//!
//! A worker starts when there is a task and nobody idle to take it, so connections are opened only when there is work
//! for them. A server that refuses a further connection makes the pool smaller for good, and the task goes to the
//! workers that have one. A task may run several times, and must begin by finding out what is done already.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, Scope as ThreadScope};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result, Scope};
use crate::replica::Replica;
use crate::side::{Side, Sides};

/// What a worker works with: its own handle of each target.
pub struct Hands {
    /// The two sides.
    pub sides: Sides<Box<dyn Replica>>,
    /// The state directory, where metadata does not live beside the files.
    pub state: Option<Box<dyn Replica>>,
}

impl Hands {
    /// Opens a handle of each.
    pub fn connect(connector: &dyn Connect) -> Result<Self> {
        Ok(Self {
            sides: Sides::new(
                connector.connect(Side::Local)?,
                connector.connect(Side::Remote)?,
            ),
            state: connector.connect_state()?,
        })
    }

    /// The target that holds the local metadata.
    pub fn metadata_home(&mut self) -> &mut dyn Replica {
        match &mut self.state {
            Some(state) => state.as_mut(),
            None => self.sides.local.as_mut(),
        }
    }
}

/// Something to be done with both targets. It may be run again after the connection died in the middle of it.
pub type Task<'env, T> = Box<dyn FnMut(&mut Hands) -> Result<T> + Send + 'env>;

/// Opens targets. One connection each time.
pub trait Connect: Sync {
    /// A new handle of that side's target.
    fn connect(&self, side: Side) -> Result<Box<dyn Replica>>;

    /// A new handle of the state directory; none when metadata lives beside the files.
    fn connect_state(&self) -> Result<Option<Box<dyn Replica>>>;
}

/// How a task ended that did not succeed.
#[derive(Debug)]
pub enum Failure {
    /// What the task was about failed; others may succeed.
    Entry(Error),
    /// Nothing more can succeed: no connection, a dead disk, the user's wish.
    Job(Error),
}

impl Failure {
    /// What happened.
    pub fn into_error(self) -> Error {
        match self {
            Self::Entry(error) | Self::Job(error) => error,
        }
    }
}

/// When to stop: the user said so, or the time is up.
#[derive(Clone, Copy)]
pub struct Stop<'a> {
    /// Whether the user asked for it.
    pub asked: &'a (dyn Fn() -> bool + Sync),
    /// The end of `--max-duration`.
    pub deadline: Option<Instant>,
}

impl Stop<'_> {
    /// What the error says when the user stopped the run.
    pub const BY_USER: &'static str = "the user";
    /// What the error says when the time was up.
    pub const BY_TIME: &'static str = "the time limit (--max-duration); the next run continues";

    /// Fails once the run is to end.
    pub fn check(&self) -> Result<()> {
        if (self.asked)() {
            return Err(ErrorKind::Interrupted(Self::BY_USER).into());
        }
        if self
            .deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
        {
            return Err(ErrorKind::Interrupted(Self::BY_TIME).into());
        }
        Ok(())
    }

    /// Waits, but not beyond the end of the run.
    fn pause(&self, span: Duration) -> Result<()> {
        let until = Instant::now() + span;
        while Instant::now() < until {
            self.check()?;
            thread::sleep(STOP_INTERVAL.min(until.saturating_duration_since(Instant::now())));
        }
        self.check()
    }
}

/// How often a waiting worker looks whether the run is to end: short for a person, long for a CPU.
const STOP_INTERVAL: Duration = Duration::from_millis(100);

/// The longest pause between two tries to connect; a DSL line that reconnects is back within a minute.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A worker's stack: a transfer uses less than 100 KiB of it, buffers included.
const STACK_BYTES: usize = 256 * 1024;

/// The workers of a run.
pub struct Pool<'scope, 'env, T> {
    scope: &'scope ThreadScope<'scope, 'env>,
    shared: Arc<Shared<'env, T>>,
    next_id: u64,
    pending: usize,
}

/// What all workers of a pool share.
struct Shared<'env, T> {
    queue: Mutex<Queue<'env, T>>,
    changed: Condvar,
    ended: Condvar,
    connect: &'env dyn Connect,
    stop: Stop<'env>,
    retries: u32,
    winding_down: AtomicBool,
}

struct Queue<'env, T> {
    tasks: VecDeque<(u64, Task<'env, T>)>,
    // Beside the tasks, not in a channel: the channel of std is three, and takes 10 KB on a router's processor.
    results: VecDeque<(u64, Result<T, Failure>)>,
    workers: usize,
    idle: usize,
    most: usize,
    closed: bool,
}

/// When a task has its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Before those that wait.
    First,
    /// Behind them; a further worker takes it, if all are busy.
    Last,
    /// Behind them, and no worker starts for it where there is one.
    Frugal,
}

impl<'env, T> Shared<'env, T> {
    fn check_stop(&self) -> Result<()> {
        if self.winding_down.load(Ordering::Relaxed) {
            Ok(())
        } else {
            self.stop.check()
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue<'env, T>> {
        self.queue
            .lock()
            .expect("no worker panics while it holds the queue")
    }

    fn end(&self, id: u64, result: Result<T, Failure>) {
        self.lock().results.push_back((id, result));
        self.ended.notify_one();
    }
}

impl<'scope, 'env, T: Send + 'env> Pool<'scope, 'env, T> {
    /// A pool without workers yet, whose threads live in `scope`: at most `most`, each of which tries `retries` times
    /// more when a connection fails.
    pub fn new(
        scope: &'scope ThreadScope<'scope, 'env>,
        connect: &'env dyn Connect,
        stop: Stop<'env>,
        most: usize,
        retries: u32,
    ) -> Self {
        let queue = Queue {
            tasks: VecDeque::new(),
            results: VecDeque::new(),
            workers: 0,
            idle: 0,
            most,
            closed: false,
        };
        let shared = Arc::new(Shared {
            queue: Mutex::new(queue),
            changed: Condvar::new(),
            ended: Condvar::new(),
            connect,
            stop,
            retries,
            winding_down: AtomicBool::new(false),
        });
        Self {
            scope,
            shared,
            next_id: 0,
            pending: 0,
        }
    }

    /// A handle of that side alone for the calling thread, for what needs no worker and, on a disk, no connection.
    pub fn open(&self, side: Side) -> Result<Box<dyn Replica>> {
        self.shared.connect.connect(side)
    }

    /// How many tasks may be in the pool without the memory for waiting ones growing: enough that no worker is idle.
    pub fn room(&self) -> usize {
        self.shared.lock().most * 2
    }

    /// How many tasks were submitted and not yet taken out again.
    pub fn pending(&self) -> usize {
        self.pending
    }

    /// From now on tasks run even though the run was told to stop: what was done is recorded, the lock removed.
    pub fn wind_down(&self) {
        self.shared.winding_down.store(true, Ordering::Relaxed);
    }

    /// Hands in a task; the number comes back with its result.
    pub fn submit(&mut self, task: Task<'env, T>) -> u64 {
        self.hand_in(task, Turn::Last)
    }

    /// Hands in a task for which no further connection is worth its login: it waits for the workers that are there.
    pub fn submit_frugally(&mut self, task: Task<'env, T>) -> u64 {
        self.hand_in(task, Turn::Frugal)
    }

    fn hand_in(&mut self, task: Task<'env, T>, turn: Turn) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.pending += 1;
        let mut queue = self.shared.lock();
        match turn {
            Turn::First => queue.tasks.push_front((id, task)),
            Turn::Last | Turn::Frugal => queue.tasks.push_back((id, task)),
        }
        let is_worth_a_worker = turn != Turn::Frugal || queue.workers == 0;
        if is_worth_a_worker && queue.idle < queue.tasks.len() && queue.workers < queue.most {
            queue.workers += 1;
            drop(queue);
            self.start_worker();
        } else {
            drop(queue);
            self.shared.changed.notify_one();
        }
        id
    }

    /// The next result, if one comes within `span`.
    pub fn next_within(&mut self, span: Duration) -> Option<(u64, Result<T, Failure>)> {
        if self.pending == 0 {
            return None;
        }
        let queue = self.shared.lock();
        let (mut queue, _) = self
            .shared
            .ended
            .wait_timeout_while(queue, span, |queue| queue.results.is_empty())
            .expect("no worker panics while it holds the queue");
        let next = queue.results.pop_front();
        self.pending -= usize::from(next.is_some());
        next
    }

    /// Waits for the result of one task; others that come meanwhile are kept.
    pub fn wait_for(&mut self, id: u64) -> Result<T, Failure> {
        let mut queue = self.shared.lock();
        loop {
            let at = queue.results.iter().position(|(other, _)| *other == id);
            if let Some((_, result)) = at.and_then(|at| queue.results.remove(at)) {
                self.pending -= 1;
                return result;
            }
            queue = self
                .shared
                .ended
                .wait(queue)
                .expect("no worker panics while it holds the queue");
        }
    }

    /// Runs one task, before those that wait, and waits for it: nothing more is handed in until it is done, so the workers
    /// would be idle if it came last.
    pub fn call(&mut self, task: Task<'env, T>) -> Result<T, Failure> {
        let id = self.hand_in(task, Turn::First);
        self.wait_for(id)
    }

    fn start_worker(&self) {
        let shared = Arc::clone(&self.shared);
        let worker = move || work(&shared);
        let started = thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn_scoped(self.scope, worker);
        if let Err(error) = started {
            let mut queue = self.shared.lock();
            queue.workers -= 1;
            queue.most = queue.workers;
            if queue.workers == 0 {
                // Nobody is left to take the tasks: they fail here.
                let Queue { tasks, results, .. } = &mut *queue;
                for (id, _) in tasks.drain(..) {
                    let error = Error::new(ErrorKind::Disk(std::io::Error::from(error.kind())))
                        .while_doing("starting a worker thread");
                    results.push_back((id, Err(Failure::Job(error))));
                }
            }
        }
    }
}

impl<T> Drop for Pool<'_, '_, T> {
    /// Ends the workers once they have done what they are doing; what waits in the queue is dropped.
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.closed = true;
        queue.tasks.clear();
        drop(queue);
        self.shared.changed.notify_all();
    }
}

/// The life of a worker.
fn work<T>(shared: &Shared<'_, T>) {
    let mut hands = None;
    loop {
        // The guard must not live while the task runs, or the workers would take turns.
        let next = take(shared);
        let Some((id, mut task)) = next else { return };
        match run(shared, &mut hands, &mut task) {
            Run::Ended(result) => shared.end(id, result),
            Run::NoRoom => {
                let mut queue = shared.lock();
                queue.tasks.push_front((id, task));
                drop(queue);
                shared.changed.notify_one();
                return;
            }
        }
    }
}

fn take<'env, T>(shared: &Shared<'env, T>) -> Option<(u64, Task<'env, T>)> {
    let mut queue = shared.lock();
    loop {
        if queue.closed {
            return None;
        }
        if let Some(task) = queue.tasks.pop_front() {
            return Some(task);
        }
        queue.idle += 1;
        queue = shared
            .changed
            .wait(queue)
            .expect("no worker panics while it holds the queue");
        queue.idle -= 1;
    }
}

enum Run<T> {
    Ended(Result<T, Failure>),
    /// The server gives no further connection, and others have one.
    NoRoom,
}

/// Runs a task to its end, redialling where the connection dies: at once the first time, then after pauses.
fn run<T>(shared: &Shared<'_, T>, hands: &mut Option<Hands>, task: &mut Task<'_, T>) -> Run<T> {
    let mut tries = 0;
    loop {
        if let Err(error) = shared.check_stop() {
            return Run::Ended(Err(Failure::Job(error)));
        }
        let connected = match hands.take() {
            Some(connected) => Ok(connected),
            None => Hands::connect(shared.connect),
        };
        let (error, connecting) = match connected {
            Ok(mut connected) => match task(&mut connected) {
                Ok(done) => {
                    *hands = Some(connected);
                    return Run::Ended(Ok(done));
                }
                Err(error) => match error.scope() {
                    Scope::Entry => {
                        *hands = Some(connected);
                        return Run::Ended(Err(Failure::Entry(error)));
                    }
                    Scope::Job => return Run::Ended(Err(Failure::Job(error))),
                    Scope::Session => (error, false),
                },
            },
            Err(error) => {
                if matches!(error.kind(), ErrorKind::Unavailable(_)) && leave_to_others(shared) {
                    return Run::NoRoom;
                }
                if error.scope() != Scope::Session {
                    return Run::Ended(Err(Failure::Job(error)));
                }
                (error, true)
            }
        };
        if tries == shared.retries {
            // Where connecting fails, everything fails. Where it works, only this task is at fault.
            return Run::Ended(Err(if connecting {
                Failure::Job(error)
            } else {
                Failure::Entry(error)
            }));
        }
        tries += 1;
        log::info!("{error}; trying again ({tries} of {})", shared.retries);
        if let Err(error) = shared.stop.pause(pause_before(tries)) {
            return Run::Ended(Err(Failure::Job(error)));
        }
    }
}

/// 0, 1, 2, 4, … seconds.
fn pause_before(attempt: u32) -> Duration {
    match attempt {
        0 | 1 => Duration::ZERO,
        later => Duration::from_secs(1 << (later - 2).min(6)).min(LONGEST_PAUSE),
    }
}

/// Makes the pool smaller by the calling worker, if it is not the last one.
fn leave_to_others<T>(shared: &Shared<'_, T>) -> bool {
    let mut queue = shared.lock();
    if queue.workers <= 1 {
        return false;
    }
    queue.workers -= 1;
    queue.most = queue.workers;
    log::info!(
        "the server gives no more than {} connections",
        queue.workers
    );
    true
}
