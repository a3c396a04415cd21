//! What clients asked and were told.

use meta_client::{ClientError, NearestCounts};
use meta_core::command::Operation;
use meta_core::outcome::{Refusal, Success};
use meta_core::query::{Answer, QueryBody};
use parking_lot::Mutex;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::Arc;

/// What was asked.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Asked {
    /// An operation, which carries this number among its caller's groups.
    Operation(u32, Operation),
    /// A query.
    Query(QueryBody),
}

/// What came back.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Told {
    /// To an operation.
    Done(Result<Success, Refusal>),
    /// To a query.
    Answered(Result<Answer, Refusal>),
    /// Certainly not done.
    Failed,
    /// Nobody knows.
    Unknown,
}

impl Told {
    /// The end of an operation.
    pub(crate) fn operation(result: Result<Success, ClientError>) -> Self {
        match result {
            Ok(success) => Self::Done(Ok(success)),
            Err(ClientError::Refused(refusal)) => Self::Done(Err(refusal)),
            Err(ClientError::Failed(_)) => Self::Failed,
            Err(ClientError::Unknown(_)) => Self::Unknown,
        }
    }

    /// The end of a query, which changes nothing.
    pub(crate) fn query(result: Result<Answer, ClientError>) -> Self {
        match result {
            Ok(answer) => Self::Answered(Ok(answer)),
            Err(ClientError::Refused(refusal)) => Self::Answered(Err(refusal)),
            Err(ClientError::Failed(_) | ClientError::Unknown(_)) => Self::Failed,
        }
    }
}

/// One call.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Call {
    /// Whose.
    pub(crate) client: usize,
    /// In which of all sessions.
    pub(crate) session: u64,
    /// Whether a mirror may have answered.
    pub(crate) at_mirror: bool,
    /// What was asked.
    pub(crate) asked: Asked,
    /// Its place among all begins and ends.
    pub(crate) invoked: u64,
    /// The same for its end.
    pub(crate) ended: u64,
    /// The highest entry that was applied anywhere when it ended.
    pub(crate) ceiling: u64,
    /// What came back.
    pub(crate) told: Told,
}

/// Takes calls down. Clones are the same recorder.
#[derive(Clone, Default)]
pub(crate) struct Recorder {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    clock: u64,
    calls: Vec<Call>,
    next_tag: u32,
    /// Calls that were answered, by client.
    answered: Vec<u64>,
    /// Queries that were answered from a cache, and recalls of what was cached.
    cached: (u64, u64),
    /// Queries that nearest members answered, and that the leader did in their place.
    nearest: (u64, u64),
}

impl Recorder {
    /// Counts one event.
    pub(crate) fn event(&self) -> u64 {
        let inner = &mut *self.inner.lock();
        inner.clock += 1;
        inner.clock
    }

    /// A number for an operation.
    pub(crate) fn tag(&self) -> u32 {
        let inner = &mut *self.inner.lock();
        inner.next_tag += 1;
        inner.next_tag
    }

    /// Adds a call that has ended.
    pub(crate) fn add(&self, call: Call) {
        let inner = &mut *self.inner.lock();
        if matches!(call.told, Told::Done(_) | Told::Answered(_)) {
            if inner.answered.len() <= call.client {
                inner.answered.resize(call.client + 1, 0);
            }
            inner.answered[call.client] += 1;
        }
        inner.calls.push(call);
    }

    /// Counts what a session's cache did.
    pub(crate) fn add_cached(&self, hits: u64, recalls: u64) {
        let inner = &mut *self.inner.lock();
        inner.cached.0 += hits;
        inner.cached.1 += recalls;
    }

    /// Queries answered from caches, and recalls.
    pub(crate) fn cached(&self) -> (u64, u64) {
        self.inner.lock().cached
    }

    /// Counts what a session that reads at the nearest member was answered where.
    pub(crate) fn add_nearest(&self, counts: NearestCounts) {
        let inner = &mut *self.inner.lock();
        inner.nearest.0 += counts.served;
        inner.nearest.1 += counts.behind + counts.unavailable;
    }

    /// Queries that nearest members answered, and that the leader did in their place.
    pub(crate) fn nearest(&self) -> (u64, u64) {
        self.inner.lock().nearest
    }

    /// How many calls of a client were answered.
    pub(crate) fn answered(&self, client: usize) -> u64 {
        let inner = self.inner.lock();
        inner.answered.get(client).copied().unwrap_or(0)
    }

    /// All calls that have ended, in the order of their ends.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.inner.lock().calls.clone()
    }

    /// A number that stands for all calls.
    pub(crate) fn trace(&self) -> u64 {
        hash(&format!("{:?}", self.inner.lock().calls))
    }
}

/// A hash that is the same in every process.
pub(crate) fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
