//! The opinion of another checker, the package `porcupine-rs`, which knows nothing of our search. It
//! uses the same models.

use super::wgl::Linearizability;
use crate::model::{Model, OperationOf};
use porcupine_rs::{CheckResult, Model as Peer, Operation};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

/// How long it may think about one object.
const PATIENCE: Duration = Duration::from_secs(60);

/// What it thinks of a history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opinion {
    /// There is an order.
    Ok,
    /// There is none.
    Violation,
    /// It came to no end.
    Unknown,
}

struct Second<M>(PhantomData<fn() -> M>);

impl<M> Clone for Second<M> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

impl<M> fmt::Debug for Second<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Second")
    }
}

impl<M: Model + Default + 'static> Peer for Second<M> {
    type State = M::State;
    type Op = (M::Input, Option<M::Output>);
    type Metadata = ();

    fn init() -> M::State {
        M::default().initial()
    }

    fn step(state: &M::State, (input, told): &Self::Op) -> (bool, M::State) {
        match M::default().step(state, input, told.as_ref()) {
            Some(next) => (true, next),
            None => (false, state.clone()),
        }
    }
}

/// Checks a history of several objects, each with its own key.
pub fn opinion<M: Model + Default + 'static>(history: &[OperationOf<M>]) -> Opinion {
    let mut objects: BTreeMap<&str, Vec<Operation<Second<M>>>> = BTreeMap::new();
    for operation in history.iter().filter(|operation| !operation.is_failed()) {
        // It wants every operation done. One with an unknown end has for ever to be done, so that
        // not to be done is to be done after all others.
        let ended = operation.ended();
        let object = objects.entry(&operation.key).or_default();
        object.push(Operation {
            client_id: None,
            call_time: operation.invoked.index.cast_signed(),
            return_time: ended.map_or(i64::MAX, |at| at.index.cast_signed()),
            op: (operation.input.clone(), operation.output().cloned()),
            metadata: None,
        });
    }
    let mut unknown = false;
    for operations in objects.values() {
        match porcupine_rs::check_operations_timeout(operations, PATIENCE) {
            CheckResult::Ok => {}
            CheckResult::Illegal => return Opinion::Violation,
            CheckResult::Unknown => unknown = true,
        }
    }
    if unknown {
        Opinion::Unknown
    } else {
        Opinion::Ok
    }
}

/// Whether both say the same, as far as both say anything.
pub fn agree<I, O>(first: &Linearizability<I, O>, second: Opinion) -> bool {
    match second {
        Opinion::Ok => !first.is_violation(),
        Opinion::Violation => !first.is_ok(),
        Opinion::Unknown => true,
    }
}
