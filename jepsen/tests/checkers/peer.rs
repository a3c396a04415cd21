//! The checker of the package `porcupine-rs`, asked about the same histories. It knows nothing of
//! our models: it uses the plain objects.

use crate::objects::Object;
use jepsen::model::OperationOf;
use porcupine_rs::{CheckResult, Model, Operation};
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

struct Peer<T>(PhantomData<fn() -> T>);

impl<T> Clone for Peer<T> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

impl<T> fmt::Debug for Peer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Peer")
    }
}

impl<T: Object> Model for Peer<T> {
    type State = T::Real;
    type Op = (T::Input, Option<T::Output>);
    type Metadata = ();

    fn init() -> T::Real {
        T::start()
    }

    fn step(real: &T::Real, (input, told): &Self::Op) -> (bool, T::Real) {
        let mut next = real.clone();
        let output = T::act(&mut next, input);
        let fits = told.as_ref().is_none_or(|told| T::same(told, &output));
        (fits, next)
    }
}

/// How long it may search: with many unknown ends it needs ever more time and memory.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether it finds an order for the operations of one object; nothing if it comes to no end.
pub(crate) fn has_order<T: Object>(history: &[OperationOf<T>]) -> Option<bool> {
    let known = history.iter().filter(|operation| !operation.is_failed());
    // It wants every operation done. One with an unknown end has for ever to be done, so that not
    // to be done is to be done after all others.
    let operations = known.map(|operation| Operation::<Peer<T>> {
        client_id: None,
        call_time: operation.invoked.index.cast_signed(),
        return_time: operation
            .ended()
            .map_or(i64::MAX, |at| at.index.cast_signed()),
        op: (operation.input.clone(), operation.output().cloned()),
        metadata: None,
    });
    let operations: Vec<_> = operations.collect();
    match porcupine_rs::check_operations_timeout(&operations, PATIENCE) {
        CheckResult::Ok => Some(true),
        CheckResult::Illegal => Some(false),
        CheckResult::Unknown => None,
    }
}
