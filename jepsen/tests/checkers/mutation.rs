//! Small changes to a history, which may or may not make it wrong.

use crate::objects::Object;
use crate::simulate::at;
use jepsen::history::End;
use jepsen::model::OperationOf;
use rand::Rng as _;
use rand::rngs::StdRng;

/// Changes one thing.
pub(crate) fn mutate<T: Object>(history: &mut Vec<OperationOf<T>>, rng: &mut StdRng) {
    if history.is_empty() {
        return;
    }
    let place = rng.random_range(0..history.len());
    let begin = history[place].invoked.index;
    let last = history
        .iter()
        .filter_map(|one| one.ended())
        .map(|at| at.index)
        .max();
    let last = last.unwrap_or(0).max(begin);
    match rng.random_range(0..8) {
        0 | 1 => spoil::<T>(&mut history[place], rng),
        2 => swap_outputs::<T>(history, place, rng),
        3 => drop(history.remove(place)),
        4 => end_at::<T>(&mut history[place], begin + 1),
        5 => {
            if let Some(end) = history[place].ended() {
                history[place].invoked = at(end.index.saturating_sub(1).max(begin));
            }
        }
        6 => toggle::<T>(&mut history[place], rng),
        _ => {
            let length = history[place].ended().map_or(1, |end| end.index - begin);
            let begin = rng.random_range(0..=last);
            history[place].invoked = at(begin);
            end_at::<T>(&mut history[place], begin + length);
        }
    }
}

fn spoil<T: Object>(operation: &mut OperationOf<T>, rng: &mut StdRng) {
    if let End::Ok { output, .. } = &mut operation.end {
        *output = T::spoil(output, &operation.input, rng);
    }
}

/// Gives an answer to another operation of the same kind, and the other way round.
fn swap_outputs<T: Object>(history: &mut [OperationOf<T>], place: usize, rng: &mut StdRng) {
    use jepsen::history::Codec as _;
    let Some(mine) = history[place].output().cloned() else {
        return;
    };
    let f = history[place].input.f();
    let fits = |one: &usize| history[*one].input.f() == f && history[*one].output().is_some();
    let others: Vec<usize> = (0..history.len()).filter(fits).collect();
    let other = others[rng.random_range(0..others.len())];
    let theirs = history[other].output().cloned();
    if let (End::Ok { output, .. }, Some(theirs)) = (&mut history[place].end, theirs) {
        *output = theirs;
    }
    if let End::Ok { output, .. } = &mut history[other].end {
        *output = mine;
    }
}

fn end_at<T: Object>(operation: &mut OperationOf<T>, index: u64) {
    if let End::Ok { at: end, .. } | End::Fail { at: end } = &mut operation.end {
        *end = at(index);
    }
}

/// An effect that was promised is denied, or one that was denied becomes possible.
fn toggle<T: Object>(operation: &mut OperationOf<T>, rng: &mut StdRng) {
    let end = operation.ended();
    operation.end = match (&operation.end, end) {
        (End::Ok { .. }, Some(at)) if rng.random_bool(0.5) => End::Fail { at },
        (End::Ok { .. } | End::Fail { .. }, _) => End::Info,
        (End::Info, _) => End::Fail {
            at: at(operation.invoked.index + 1),
        },
    };
}
