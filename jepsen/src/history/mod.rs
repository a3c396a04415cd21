//! What clients asked and were told, with times, in the form that checkers read.
//!
//! An operation with an unknown end stays open for ever: it may take effect at any later time.

mod register;
mod set;

pub use register::{RegisterCall, check_register};
pub use set::{SetCall, check_set};

use std::fmt::{self, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// How a call ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End<R> {
    /// It was done, with this answer.
    Ok {
        /// When the answer came, in nanoseconds since the history's begin.
        at: u64,
        /// The answer.
        result: R,
    },
    /// It was certainly not done.
    Fail {
        /// When that was known.
        at: u64,
    },
    /// Nobody knows; it may also be done later.
    Unknown {
        /// When the client gave up.
        at: u64,
    },
}

/// One call of one process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry<C, R> {
    /// Who called. A process with an unknown end never calls again: it goes on as another one.
    pub process: u64,
    /// What was asked.
    pub call: C,
    /// When, in nanoseconds since the history's begin.
    pub invoked: u64,
    /// How it ended.
    pub end: End<R>,
}

impl<C, R> Entry<C, R> {
    /// The last instant at which it can have taken effect.
    pub fn latest(&self) -> u64 {
        match self.end {
            End::Ok { at, .. } | End::Fail { at } => at,
            End::Unknown { .. } => u64::MAX,
        }
    }
}

/// A history under way, shared by all clients.
#[derive(Debug)]
pub struct History<C, R> {
    begin: Instant,
    entries: Mutex<Vec<Entry<C, R>>>,
}

impl<C, R> History<C, R> {
    /// Begins now.
    pub fn begin() -> Self {
        Self {
            begin: Instant::now(),
            entries: Mutex::new(Vec::new()),
        }
    }

    /// Nanoseconds since the begin.
    pub fn now(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Adds a call that has ended.
    pub fn add(&self, entry: Entry<C, R>) {
        self.entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(entry);
    }

    /// Calls that were answered so far.
    pub fn answered(&self) -> usize {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries
            .iter()
            .filter(|entry| matches!(entry.end, End::Ok { .. }))
            .count()
    }

    /// All of it so far.
    pub fn entries(&self) -> Vec<Entry<C, R>>
    where
        C: Clone,
        R: Clone,
    {
        self.entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// How calls and answers are written as EDN.
pub trait Edn<R> {
    /// The name of the operation, without the colon.
    fn function(&self) -> &'static str;
    /// The value of the event: with the answer, if there is one.
    fn value(&self, result: Option<&R>) -> String;
}

/// The history as EDN, one event a line, for other checkers.
pub fn edn<C: Edn<R>, R>(entries: &[Entry<C, R>]) -> String {
    let mut events = Vec::new();
    for entry in entries {
        let (at, kind, result) = match &entry.end {
            End::Ok { at, result } => (*at, "ok", Some(result)),
            End::Fail { at } => (*at, "fail", None),
            End::Unknown { at } => (*at, "info", None),
        };
        events.push((entry.invoked, entry, "invoke", None));
        events.push((at, entry, kind, result));
    }
    events.sort_by_key(|(time, ..)| *time);
    let mut text = String::new();
    for (index, (time, entry, kind, result)) in events.into_iter().enumerate() {
        // Writing to a String cannot fail.
        let _infallible = writeln!(
            text,
            "{{:index {index} :process {} :type :{kind} :f :{} :value {} :time {time}}}",
            entry.process,
            entry.call.function(),
            entry.call.value(result)
        );
    }
    text
}

/// What a checker says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Nothing wrong was found, and the run exercised what it was to exercise.
    Ok,
    /// Something is wrong.
    Violation,
    /// The run tells too little.
    Unknown,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Violation => "violation",
            Self::Unknown => "unknown",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_events_of_a_history_are_in_the_order_of_their_times() {
        let entries = [
            Entry {
                process: 1,
                call: SetCall::Add(5),
                invoked: 10,
                end: End::Ok {
                    at: 40,
                    result: Vec::new(),
                },
            },
            Entry {
                process: 2,
                call: SetCall::Read,
                invoked: 20,
                end: End::Unknown { at: 30 },
            },
        ];
        assert_eq!(
            edn(&entries),
            "{:index 0 :process 1 :type :invoke :f :add :value 5 :time 10}\n\
             {:index 1 :process 2 :type :invoke :f :read :value nil :time 20}\n\
             {:index 2 :process 2 :type :info :f :read :value nil :time 30}\n\
             {:index 3 :process 1 :type :ok :f :add :value 5 :time 40}\n"
        );
    }
}
