//! The opinion of another checker, the package `porcupine-rs`, which knows nothing of our search. It
//! uses the same models.

use super::verdict::Verdict;
use super::wgl::Linearizability;
use crate::model::{Model, OperationOf};
use porcupine_rs::{CheckResult, Model as Peer, Operation};
use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::marker::PhantomData;
use std::sync::Arc;
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

impl<M> Debug for Second<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Second")
    }
}

/// An operation, and the object that it is of: what this checker calls has nothing else to go by.
type Asked<M> = (Arc<M>, <M as Model>::Input, Option<<M as Model>::Output>);

impl<M: Model + Debug + Send + Sync + 'static> Peer for Second<M> {
    /// Nothing before the first operation, which knows how the object begins.
    type State = Option<M::State>;
    type Op = Asked<M>;
    type Metadata = ();

    fn init() -> Self::State {
        None
    }

    fn step(state: &Self::State, (model, input, told): &Self::Op) -> (bool, Self::State) {
        let before = state.clone().unwrap_or_else(|| model.initial());
        match model.step(&before, input, told.as_ref()) {
            Some(next) => (true, Some(next)),
            None => (false, state.clone()),
        }
    }
}

/// Checks a history of several objects, each with its own key.
pub fn opinion<M>(model: &M, history: &[OperationOf<M>]) -> Opinion
where
    M: Model + Debug + Send + Sync + 'static,
{
    let mut by_key: BTreeMap<&str, Vec<&OperationOf<M>>> = BTreeMap::new();
    for operation in history.iter().filter(|operation| !operation.is_failed()) {
        by_key.entry(&operation.key).or_default().push(operation);
    }
    let mut unknown = false;
    for operations in by_key.values() {
        let object = Arc::new(model.focus(operations));
        let asked: Vec<_> = operations.iter().map(|one| ask(&object, one)).collect();
        match porcupine_rs::check_operations_timeout(&asked, PATIENCE) {
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

fn ask<M>(object: &Arc<M>, operation: &OperationOf<M>) -> Operation<Second<M>>
where
    M: Model + Debug + Send + Sync + 'static,
{
    // It wants every operation done. One with an unknown end has for ever to be done, so that not to
    // be done is to be done after all others.
    let ended = operation.ended();
    Operation {
        client_id: None,
        call_time: operation.invoked.index.cast_signed(),
        return_time: ended.map_or(i64::MAX, |at| at.index.cast_signed()),
        op: (
            Arc::clone(object),
            operation.input.clone(),
            operation.output().cloned(),
        ),
        metadata: None,
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

/// What both say together. A pass needs the word of both: who came to no end has not agreed. A
/// violation comes with operations that show it, and stands without the other's word.
pub fn both<I: Debug, O: Debug>(first: &Linearizability<I, O>, second: Opinion) -> Verdict {
    if !agree(first, second) {
        return Verdict::Unknown(format!("two checkers differ: {second:?}, and {first}"));
    }
    if first.is_ok() && second == Opinion::Unknown {
        return Verdict::Unknown("the second checker came to no end".to_owned());
    }
    first.verdict()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::Counterexample;
    use crate::checker::wgl::Limit;

    type Found = Linearizability<u64, u64>;

    fn violation() -> Found {
        Found::Violation(Box::new(Counterexample {
            key: "x".to_owned(),
            operations: Vec::new(),
            among: 0,
            is_minimal: true,
        }))
    }

    fn unknown() -> Found {
        Found::Unknown {
            key: "x".to_owned(),
            limit: Limit::Steps,
        }
    }

    #[test]
    fn a_pass_needs_the_word_of_both() {
        assert_eq!(both(&Found::Ok, Opinion::Ok), Verdict::Ok);
        for undecided in [
            both(&Found::Ok, Opinion::Unknown),
            both(&unknown(), Opinion::Ok),
            both(&unknown(), Opinion::Unknown),
        ] {
            assert!(matches!(undecided, Verdict::Unknown(_)), "{undecided}");
        }
    }

    #[test]
    fn a_violation_stands_unless_the_other_finds_an_order() {
        assert!(both(&violation(), Opinion::Violation).is_violation());
        assert!(both(&violation(), Opinion::Unknown).is_violation());
        for contradicted in [
            both(&violation(), Opinion::Ok),
            both(&Found::Ok, Opinion::Violation),
        ] {
            let Verdict::Unknown(why) = contradicted else {
                panic!("{contradicted}");
            };
            assert!(why.contains("differ"), "{why}");
        }
    }
}
