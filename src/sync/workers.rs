//! The workers: threads that own their sessions for life, and the only concurrency of a run.
//!
//! The calling thread looks around, plans, asks, records and tells. What takes a session, or the disk, is a task: it is handed
//! in, and what it brings comes back in the [`Inbox`] that it was handed in for. A session is opened when a task first needs
//! it, so that work on the disk never waits for a server that has died.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope as ThreadScope};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result, Scope};
use crate::replica::{Connect, Replica};
use crate::side::{Side, Sides};
use crate::system::Bell;

/// What a worker works with: its own session of each side, opened when it is first asked for.
pub struct Hands<'env> {
    connect: Sides<&'env dyn Connect>,
    open: Sides<Option<Box<dyn Replica>>>,
    /// The last failure was one of opening a session.
    is_connecting: bool,
    /// The try before this one brought something.
    got_further: bool,
}

impl<'env> Hands<'env> {
    /// Hands without a session yet.
    pub fn new(connect: Sides<&'env dyn Connect>) -> Self {
        Self {
            connect,
            open: Sides::new(None, None),
            is_connecting: false,
            got_further: false,
        }
    }

    /// That side's replica.
    pub fn of(&mut self, side: Side) -> Result<&mut dyn Replica> {
        self.open_one(side)?;
        let open = self.open.of_mut(side).as_mut();
        Ok(open.expect("it was opened just now").as_mut())
    }

    /// Both replicas at once.
    pub fn both(&mut self) -> Result<Sides<&mut dyn Replica>> {
        Side::BOTH
            .into_iter()
            .try_for_each(|side| self.open_one(side))?;
        let Sides { local, remote } = &mut self.open;
        let opened = "it was opened just now";
        Ok(Sides::new(
            local.as_mut().expect(opened).as_mut(),
            remote.as_mut().expect(opened).as_mut(),
        ))
    }

    fn open_one(&mut self, side: Side) -> Result<()> {
        if self.open.of(side).is_none() {
            self.is_connecting = true;
            let opened = self.connect.of(side).connect()?;
            self.is_connecting = false;
            *self.open.of_mut(side) = Some(opened);
        }
        Ok(())
    }

    /// Says that the try before this one got further, so that it was no lost one.
    pub const fn note_progress(&mut self) {
        self.got_further = true;
    }

    /// Leaves sessions behind of which one has died.
    fn drop_sessions(&mut self) {
        self.open = Sides::new(None, None);
    }
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
    /// Never.
    pub const NEVER: Stop<'static> = Stop {
        asked: &|| false,
        deadline: None,
    };
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
    pub fn pause(&self, span: Duration) -> Result<()> {
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

/// Where results arrive, each with the key of its task.
type Arrivals<K, R> = Arc<Mutex<VecDeque<(K, R)>>>;

/// What a task brought that is about several things, and why it brought no more.
#[derive(Debug)]
pub struct Pile<R> {
    /// What it brought.
    pub brought: Vec<R>,
    /// What kept it from bringing the rest.
    pub failure: Option<Failure>,
}

/// What came of tasks of one kind, each with the key it was handed in under.
pub struct Inbox<K, R> {
    arrived: Arrivals<K, R>,
    pending: usize,
}

impl<K, R> Default for Inbox<K, R> {
    fn default() -> Self {
        Self {
            arrived: Arc::default(),
            pending: 0,
        }
    }
}

impl<K, R> Inbox<K, R> {
    /// How many tasks were handed in for it and not yet taken out.
    pub const fn pending(&self) -> usize {
        self.pending
    }

    /// Where one more is to arrive.
    fn await_one(&mut self) -> Arrivals<K, R> {
        self.pending += 1;
        Arc::clone(&self.arrived)
    }

    fn take(&mut self) -> Option<(K, R)> {
        // The guard lives for this statement alone.
        let next = lock(&self.arrived).pop_front();
        self.pending -= usize::from(next.is_some());
        next
    }
}

/// When a task has its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Before those that wait.
    First,
    /// Behind them; a further worker takes it, if all are busy.
    Last,
    /// Behind them, and no worker starts for it where there is one: it is not worth a login.
    Frugal,
}

/// The workers of a run.
pub struct Workers<'scope, 'env> {
    scope: &'scope ThreadScope<'scope, 'env>,
    shared: Arc<Shared<'env>>,
}

/// A task that was handed in. It may be tried again after the session died in the middle of it.
trait Work<'env>: Send {
    fn attempt(&mut self, hands: &mut Hands<'env>) -> Result<()>;
    /// Delivers what the last attempt brought, or why there is nothing.
    fn end(self: Box<Self>, failure: Option<Failure>);
}

/// What is tried until it ends, what it has brought, and where that goes.
struct Call<B, F, D> {
    brought: B,
    task: F,
    deliver: D,
}

impl<'env, B: Send, F, D> Work<'env> for Call<B, F, D>
where
    F: FnMut(&mut Hands<'env>, &mut B) -> Result<()> + Send,
    D: FnOnce(B, Option<Failure>) + Send,
{
    fn attempt(&mut self, hands: &mut Hands<'env>) -> Result<()> {
        (self.task)(hands, &mut self.brought)
    }

    fn end(self: Box<Self>, failure: Option<Failure>) {
        (self.deliver)(self.brought, failure);
    }
}

type Task<'env> = Box<dyn Work<'env> + 'env>;

/// What all workers share.
struct Shared<'env> {
    queue: Mutex<Queue<'env>>,
    changed: Condvar,
    bell: Bell,
    connect: Sides<&'env dyn Connect>,
    stop: Stop<'env>,
    retries: u32,
    is_winding_down: AtomicBool,
}

struct Queue<'env> {
    tasks: VecDeque<Task<'env>>,
    workers: usize,
    idle: usize,
    most: usize,
    is_closed: bool,
}

/// Whoever panics elsewhere leaves queue and inboxes whole: each change to them is one statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared<'_> {
    fn check_stop(&self) -> Result<()> {
        if self.is_winding_down.load(Ordering::Relaxed) {
            Ok(())
        } else {
            self.stop.check()
        }
    }

    fn end(&self, task: Task<'_>, failure: Option<Failure>) {
        task.end(failure);
        self.bell.ring();
    }
}

impl<'scope, 'env> Workers<'scope, 'env> {
    /// No worker yet; their threads will live in `scope`: at most `most`, each of which tries `retries` times more when a
    /// session dies.
    pub fn new(
        scope: &'scope ThreadScope<'scope, 'env>,
        connect: Sides<&'env dyn Connect>,
        stop: Stop<'env>,
        most: usize,
        retries: u32,
    ) -> Result<Self> {
        let bell = Bell::new().map_err(ErrorKind::Disk)?;
        Ok(Self {
            scope,
            shared: Arc::new(Shared {
                queue: Mutex::new(Queue {
                    tasks: VecDeque::new(),
                    workers: 0,
                    idle: 0,
                    most,
                    is_closed: false,
                }),
                changed: Condvar::new(),
                bell,
                connect,
                stop,
                retries,
                is_winding_down: AtomicBool::new(false),
            }),
        })
    }

    /// A handle of that side alone for the calling thread, for what needs no worker and, on a disk, no session.
    pub fn open(&self, side: Side) -> Result<Box<dyn Replica>> {
        self.shared.connect.of(side).connect()
    }

    /// How many tasks may be handed in without the memory for waiting ones growing: enough that no worker is idle.
    pub fn room(&self) -> usize {
        lock(&self.shared.queue).most * 2
    }

    /// How many small things a worker takes in one go.
    pub fn batch(&self) -> usize {
        self.shared.connect.remote.batch()
    }

    /// Whether the run is to end.
    pub fn check_stop(&self) -> Result<()> {
        self.shared.stop.check()
    }

    /// From now on tasks run even though the run was told to stop: what was done is recorded, the lock removed.
    pub fn wind_down(&self) {
        self.shared.is_winding_down.store(true, Ordering::Relaxed);
    }

    /// Hands in a task; what it brings comes into `inbox` under `key`.
    pub fn send<K: Send + 'env, R: Send + 'env>(
        &self,
        inbox: &mut Inbox<K, Result<R, Failure>>,
        key: K,
        turn: Turn,
        mut task: impl FnMut(&mut Hands<'env>) -> Result<R> + Send + 'env,
    ) {
        let arrived = inbox.await_one();
        let call = Call {
            brought: None,
            task: move |hands: &mut Hands<'env>, brought: &mut Option<R>| {
                *brought = Some(task(hands)?);
                Ok(())
            },
            deliver: move |brought: Option<R>, failure: Option<Failure>| {
                let result = match failure {
                    None => Ok(brought.expect("an attempt that succeeds brings something")),
                    Some(failure) => Err(failure),
                };
                lock(&arrived).push_back((key, result));
            },
        };
        self.hand_in(Box::new(call), turn);
    }

    /// Hands in a task that is about several things. What it has brought is kept when it is tried again, and comes back also
    /// where it failed before it had brought all.
    pub fn send_pile<K: Send + 'env, R: Send + 'env>(
        &self,
        inbox: &mut Inbox<K, Pile<R>>,
        key: K,
        turn: Turn,
        task: impl FnMut(&mut Hands<'env>, &mut Vec<R>) -> Result<()> + Send + 'env,
    ) {
        let arrived = inbox.await_one();
        let call = Call {
            brought: Vec::new(),
            task,
            deliver: move |brought, failure| {
                lock(&arrived).push_back((key, Pile { brought, failure }));
            },
        };
        self.hand_in(Box::new(call), turn);
    }

    /// The next thing that comes into `inbox` within `span`, or whenever it comes; none where nothing is pending.
    pub fn next<K, R>(&self, inbox: &mut Inbox<K, R>, span: Option<Duration>) -> Option<(K, R)> {
        let until = span.map(|span| Instant::now() + span);
        loop {
            if inbox.pending == 0 {
                return None;
            }
            if let Some(next) = inbox.take() {
                return Some(next);
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return None;
            }
            self.shared.bell.wait(left);
        }
    }

    /// Runs one task, before those that wait, and brings back what it is for: nothing more is handed in until it is done, so
    /// the workers would be idle if it came last.
    pub fn call<R: Send + 'env>(
        &self,
        task: impl FnMut(&mut Hands<'env>) -> Result<R> + Send + 'env,
    ) -> Result<R, Failure> {
        let mut inbox = Inbox::default();
        self.send(&mut inbox, (), Turn::First, task);
        let (_, result) = self
            .next(&mut inbox, None)
            .expect("a task that was handed in comes back");
        result
    }

    fn hand_in(&self, task: Task<'env>, turn: Turn) {
        let mut queue = lock(&self.shared.queue);
        match turn {
            Turn::First => queue.tasks.push_front(task),
            Turn::Last | Turn::Frugal => queue.tasks.push_back(task),
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
    }

    fn start_worker(&self) {
        let shared = Arc::clone(&self.shared);
        let started = thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn_scoped(self.scope, move || work(&shared));
        if let Err(error) = started {
            let mut queue = lock(&self.shared.queue);
            queue.workers -= 1;
            queue.most = queue.workers;
            let left = match queue.workers {
                // Nobody is left to take the tasks: they fail here.
                0 => std::mem::take(&mut queue.tasks),
                _ => VecDeque::new(),
            };
            drop(queue);
            for task in left {
                let error = Error::new(ErrorKind::Disk(std::io::Error::from(error.kind())))
                    .while_doing("starting a worker thread");
                self.shared.end(task, Some(Failure::Job(error)));
            }
        }
    }
}

impl Drop for Workers<'_, '_> {
    /// Ends the workers once they have done what they are doing; what waits in the queue is dropped.
    fn drop(&mut self) {
        let mut queue = lock(&self.shared.queue);
        queue.is_closed = true;
        queue.tasks.clear();
        drop(queue);
        self.shared.changed.notify_all();
    }
}

/// The life of a worker.
fn work(shared: &Shared<'_>) {
    let mut hands = Hands::new(shared.connect);
    loop {
        // The guard must not live while the task runs, or the workers would take turns.
        let next = take(shared);
        let Some(mut task) = next else { return };
        match run(shared, &mut hands, task.as_mut()) {
            Run::Ended(failure) => shared.end(task, failure),
            Run::NoRoom => {
                let mut queue = lock(&shared.queue);
                queue.tasks.push_front(task);
                drop(queue);
                shared.changed.notify_one();
                return;
            }
        }
    }
}

fn take<'env>(shared: &Shared<'env>) -> Option<Task<'env>> {
    let mut queue = lock(&shared.queue);
    loop {
        if queue.is_closed {
            return None;
        }
        if let Some(task) = queue.tasks.pop_front() {
            return Some(task);
        }
        queue.idle += 1;
        queue = shared
            .changed
            .wait(queue)
            .unwrap_or_else(PoisonError::into_inner);
        queue.idle -= 1;
    }
}

enum Run {
    Ended(Option<Failure>),
    /// The server gives no further connection, and others have one.
    NoRoom,
}

/// Runs a task to its end, redialling where the session dies: at once the first time, then after pauses. Tries are counted
/// anew whenever one got further, as the next one finds.
fn run<'env>(
    shared: &Shared<'env>,
    hands: &mut Hands<'env>,
    task: &mut (dyn Work<'env> + 'env),
) -> Run {
    let mut tries = 0;
    loop {
        if let Err(error) = shared.check_stop() {
            return Run::Ended(Some(Failure::Job(error)));
        }
        hands.is_connecting = false;
        hands.got_further = false;
        let attempt = catch_unwind(AssertUnwindSafe(|| task.attempt(hands)));
        let Ok(attempted) = attempt else {
            // Whoever waits for the task would wait for ever. (The program itself aborts: this is for who uses the library.)
            hands.drop_sessions();
            let fault = "the program has a fault, of which it said more before this; what was done until then is recorded";
            return Run::Ended(Some(Failure::Job(
                ErrorKind::Verify(fault.to_owned()).into(),
            )));
        };
        let Err(error) = attempted else {
            return Run::Ended(None);
        };
        let is_connecting = hands.is_connecting;
        if is_connecting
            && matches!(error.kind(), ErrorKind::Unavailable(_))
            && leave_to_others(shared)
        {
            return Run::NoRoom;
        }
        match error.scope() {
            Scope::Entry if !is_connecting => return Run::Ended(Some(Failure::Entry(error))),
            Scope::Entry | Scope::Job => return Run::Ended(Some(Failure::Job(error))),
            Scope::Session => hands.drop_sessions(),
        }
        if hands.got_further {
            tries = 0;
        }
        if tries == shared.retries {
            // Where connecting fails, everything fails. Where it works, only this task is at fault.
            return Run::Ended(Some(if is_connecting {
                Failure::Job(error)
            } else {
                Failure::Entry(error)
            }));
        }
        tries += 1;
        log::info!("{error}; trying again ({tries} of {})", shared.retries);
        if let Err(error) = shared.stop.pause(pause_before(tries)) {
            return Run::Ended(Some(Failure::Job(error)));
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
fn leave_to_others(shared: &Shared<'_>) -> bool {
    let mut queue = lock(&shared.queue);
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
