//! Tries all orders of a tiny history.

use crate::objects::Object;
use jepsen::model::OperationOf;

/// Whether some order of the operations of one object explains all answers.
pub(crate) fn has_order<T: Object>(history: &[OperationOf<T>]) -> bool {
    let left: Vec<&OperationOf<T>> = history.iter().filter(|one| !one.is_failed()).collect();
    assert!(left.len() <= 8, "too many orders");
    try_all::<T>(&T::start(), &left)
}

fn try_all<T: Object>(real: &T::Real, left: &[&OperationOf<T>]) -> bool {
    if left.iter().all(|operation| operation.output().is_none()) {
        return true;
    }
    (0..left.len()).any(|place| {
        let next = left[place];
        if left.iter().any(|other| other.precedes(next)) {
            return false;
        }
        let mut real = real.clone();
        let output = T::act(&mut real, &next.input);
        if next.output().is_some_and(|told| !T::same(told, &output)) {
            return false;
        }
        let mut rest = left.to_vec();
        rest.remove(place);
        try_all::<T>(&real, &rest)
    })
}
