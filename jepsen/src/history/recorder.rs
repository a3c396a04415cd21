//! Writes the log while clients work.

use super::codec::Codec;
use super::entry::{Entry, Kind};
use serde_json::Value;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Where times come from.
enum Clock {
    Since(Instant),
    Given(Box<dyn Fn() -> u64 + Send + Sync>),
}

impl Clock {
    fn now_ns(&self) -> u64 {
        match self {
            Self::Since(begin) => u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX),
            Self::Given(clock) => clock(),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Since(_) => "Since",
            Self::Given(_) => "Given",
        })
    }
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    next_process: AtomicU64,
    log: Mutex<Vec<Entry>>,
}

/// A log under way. Clones write into the same one.
#[derive(Clone, Debug)]
pub struct Recorder {
    shared: Arc<Shared>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

impl Recorder {
    /// Begins now.
    pub fn new() -> Self {
        Self::on(Clock::Since(Instant::now()))
    }

    /// With another clock, for example a simulated one. It must never go back: such a log is
    /// refused when it is read.
    pub fn with_clock(now_ns: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self::on(Clock::Given(Box::new(now_ns)))
    }

    fn on(clock: Clock) -> Self {
        Self {
            shared: Arc::new(Shared {
                clock,
                next_process: AtomicU64::new(0),
                log: Mutex::new(Vec::new()),
            }),
        }
    }

    /// A process that has done nothing yet.
    pub fn process(&self) -> Process {
        Process {
            recorder: self.clone(),
            number: self.next_process(),
        }
    }

    /// Nanoseconds since the begin.
    pub fn now_ns(&self) -> u64 {
        self.shared.clock.now_ns()
    }

    /// The log so far.
    pub fn entries(&self) -> Vec<Entry> {
        let log = self.shared.log.lock();
        log.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many operations were answered so far.
    pub fn answered(&self) -> usize {
        let log = self.shared.log.lock();
        let log = log.unwrap_or_else(PoisonError::into_inner);
        log.iter().filter(|entry| entry.kind == Kind::Ok).count()
    }

    fn next_process(&self) -> u64 {
        self.shared.next_process.fetch_add(1, Ordering::Relaxed)
    }

    /// The clock is read under the lock, so that the order of the log is that of the times.
    fn push(&self, mut entry: Entry) {
        let log = self.shared.log.lock();
        let mut log = log.unwrap_or_else(PoisonError::into_inner);
        entry.index = u64::try_from(log.len()).unwrap_or(u64::MAX);
        entry.time_ns = self.now_ns();
        log.push(entry);
    }
}

/// One client's place in the log: it does one thing at a time.
#[derive(Debug)]
pub struct Process {
    recorder: Recorder,
    number: u64,
}

impl Process {
    /// Its number now. It changes after an unknown end.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Notes that an operation begins. Call it before anything is sent.
    pub fn invoke<I: Codec>(&mut self, key: impl Into<String>, input: I) -> Token<'_, I> {
        let token = Token {
            key: key.into(),
            process: self,
            input,
            open: true,
        };
        let argument = token.input.argument();
        token.push(Kind::Invoke, argument, None);
        token
    }
}

/// An operation under way. One that is dropped, for example with its task, has an unknown end.
#[derive(Debug)]
#[must_use = "an operation has an end"]
pub struct Token<'a, I: Codec> {
    process: &'a mut Process,
    key: String,
    input: I,
    open: bool,
}

impl<I: Codec> Token<'_, I> {
    /// What was asked.
    pub fn input(&self) -> &I {
        &self.input
    }

    /// It was done, with this answer.
    pub fn ok(mut self, output: &I::Output) {
        self.open = false;
        self.push(Kind::Ok, self.input.answer(output), None);
    }

    /// It was certainly not done.
    pub fn fail(mut self, error: impl Into<String>) {
        self.open = false;
        self.push(Kind::Fail, self.input.argument(), Some(error.into()));
    }

    /// Nobody knows whether it was done or will be.
    pub fn info(mut self, error: impl Into<String>) {
        self.leave(error.into());
    }

    fn leave(&mut self, error: String) {
        self.open = false;
        self.push(Kind::Info, self.input.argument(), Some(error));
        self.process.number = self.process.recorder.next_process();
    }

    fn push(&self, kind: Kind, value: Value, error: Option<String>) {
        self.process.recorder.push(Entry {
            index: 0,
            process: self.process.number,
            kind,
            f: self.input.f().into(),
            key: self.key.clone(),
            value,
            time_ns: 0,
            error,
        });
    }
}

impl<I: Codec> Drop for Token<'_, I> {
    fn drop(&mut self) {
        if self.open {
            self.leave("dropped".to_owned());
        }
    }
}
