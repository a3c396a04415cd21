//! A store that fails as a test tells it to.

use super::ObjectStore;
use crate::error::ObjectError;
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// A kind of operation on a store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Step {
    /// `put` and `put_file`.
    Put,
    /// `get`.
    Get,
    /// `head`.
    Head,
    /// `delete`.
    Delete,
    /// `list`.
    List,
}

/// What happens to an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// It works.
    None,
    /// It fails before anything was done.
    Fail,
    /// It is done, but its answer is lost.
    LoseAnswer,
    /// The store is full.
    NoSpace,
    /// A read comes back with one bit flipped.
    FlipBit,
    /// A read comes back without its last byte.
    Short,
    /// It works, after a while.
    Delay(Duration),
}

#[derive(Debug, Default)]
struct Plan {
    scripts: BTreeMap<Step, VecDeque<Fault>>,
    always: BTreeMap<Step, Fault>,
    counts: BTreeMap<Step, u64>,
    /// State of a generator, and how many of 100 operations meet a fault.
    seeded: Option<(u64, u64)>,
}

/// A store whose operations meet faults: first those of a script, in order; then the standing one
/// of their kind; else, if seeded, what the seed draws.
#[derive(Debug)]
pub struct Failing<S> {
    inner: S,
    plan: Mutex<Plan>,
}

impl<S> Failing<S> {
    /// No faults yet.
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            plan: Mutex::default(),
        }
    }

    /// `percent` of all operations meet a fault that passes. The same seed and the same order of
    /// operations give the same faults.
    pub fn seeded(inner: S, seed: u64, percent: u64) -> Self {
        let failing = Self::new(inner);
        failing.plan.lock().seeded = Some((seed, percent));
        failing
    }

    /// The store behind.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// What the next operations of a kind meet, one after the other; those after them are free.
    pub fn script(&self, step: Step, faults: impl IntoIterator<Item = Fault>) {
        let faults = faults.into_iter().collect();
        self.plan.lock().scripts.insert(step, faults);
    }

    /// Only the `nth` operation of a kind from now on (the next is 1) meets the fault.
    pub fn nth(&self, step: Step, nth: usize, fault: Fault) {
        let free = std::iter::repeat_n(Fault::None, nth.saturating_sub(1));
        self.script(step, free.chain([fault]));
    }

    /// What all operations of a kind meet that have no script. `Fault::None` ends it.
    pub fn always(&self, step: Step, fault: Fault) {
        self.plan.lock().always.insert(step, fault);
    }

    /// How many operations of a kind there were.
    pub fn count(&self, step: Step) -> u64 {
        self.plan.lock().counts.get(&step).copied().unwrap_or(0)
    }

    fn next(&self, step: Step) -> Fault {
        let mut plan = self.plan.lock();
        *plan.counts.entry(step).or_default() += 1;
        let scripted = plan.scripts.get_mut(&step).and_then(VecDeque::pop_front);
        let standing = scripted.or_else(|| plan.always.get(&step).copied());
        standing.unwrap_or_else(|| plan.draw(step))
    }

    /// Lets time pass or fails before the operation; `true` if its answer is to be lost.
    async fn before(&self, step: Step, key: &str) -> Result<Fault, ObjectError> {
        let fault = self.next(step);
        match fault {
            Fault::Fail => return Err(fail(step, key)),
            Fault::NoSpace => {
                return Err(ObjectError::NoSpace {
                    key: key.to_owned(),
                });
            }
            Fault::Delay(time) => tokio::time::sleep(time).await,
            Fault::None | Fault::LoseAnswer | Fault::FlipBit | Fault::Short => {}
        }
        Ok(fault)
    }
}

impl Plan {
    fn draw(&mut self, step: Step) -> Fault {
        let Some((state, percent)) = &mut self.seeded else {
            return Fault::None;
        };
        // splitmix64: small, and the same everywhere.
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut drawn = *state;
        drawn = (drawn ^ (drawn >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        drawn = (drawn ^ (drawn >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        drawn ^= drawn >> 31;
        if drawn % 100 >= *percent {
            return Fault::None;
        }
        match ((drawn >> 8) % 5, step) {
            (0, _) => Fault::Fail,
            (1, _) => Fault::LoseAnswer,
            (2, Step::Get) => Fault::FlipBit,
            (3, Step::Get) => Fault::Short,
            _ => Fault::Delay(Duration::from_millis(1)),
        }
    }
}

fn fail(step: Step, key: &str) -> ObjectError {
    let action = match step {
        Step::Put => "put",
        Step::Get => "get",
        Step::Head => "head",
        Step::Delete => "delete",
        Step::List => "list",
    };
    ObjectError::Failed {
        action,
        key: key.to_owned(),
        why: "told to fail".to_owned(),
    }
}

fn answer<T>(fault: Fault, step: Step, key: &str, done: T) -> Result<T, ObjectError> {
    match fault {
        Fault::LoseAnswer => Err(fail(step, key)),
        _ => Ok(done),
    }
}

#[async_trait]
impl<S: ObjectStore> ObjectStore for Failing<S> {
    async fn put(&self, key: &str, data: Bytes) -> Result<(), ObjectError> {
        let fault = self.before(Step::Put, key).await?;
        let done = self.inner.put(key, data).await?;
        answer(fault, Step::Put, key, done)
    }

    async fn put_file(&self, key: &str, file: Arc<File>) -> Result<(), ObjectError> {
        let fault = self.before(Step::Put, key).await?;
        let done = self.inner.put_file(key, file).await?;
        answer(fault, Step::Put, key, done)
    }

    async fn get(&self, key: &str, range: Range<u64>) -> Result<Bytes, ObjectError> {
        let fault = self.before(Step::Get, key).await?;
        let data = self.inner.get(key, range).await?;
        match fault {
            Fault::FlipBit if !data.is_empty() => {
                let mut bytes = data.to_vec();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                Ok(bytes.into())
            }
            Fault::Short => Ok(data.slice(..data.len().saturating_sub(1))),
            fault => answer(fault, Step::Get, key, data),
        }
    }

    async fn head(&self, key: &str) -> Result<Option<u64>, ObjectError> {
        let fault = self.before(Step::Head, key).await?;
        answer(fault, Step::Head, key, self.inner.head(key).await?)
    }

    async fn delete(&self, key: &str) -> Result<(), ObjectError> {
        let fault = self.before(Step::Delete, key).await?;
        let done = self.inner.delete(key).await?;
        answer(fault, Step::Delete, key, done)
    }

    async fn list(
        &self,
        prefix: &str,
        after: &str,
        count_max: usize,
    ) -> Result<Vec<(String, u64)>, ObjectError> {
        let fault = self.before(Step::List, prefix).await?;
        let listed = self.inner.list(prefix, after, count_max).await?;
        answer(fault, Step::List, prefix, listed)
    }
}
