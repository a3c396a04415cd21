//! Is there an order of the operations, each at some moment between its begin and its end, in
//! which an object used by one client gives all these answers?
//!
//! The search is that of J. M. Wing and C. Gong, "Testing and Verifying Concurrent Objects",
//! Journal of Parallel and Distributed Computing 17, 1993: put any operation next that began
//! before the first end among the rest, and go back when the object does not give its answer.
//! Sets of operations that led to the same state are remembered, after G. Lowe, "Testing for
//! linearizability", Concurrency and Computation: Practice and Experience 29(4), 2017. Objects with
//! different keys are checked apart from each other, after A. Horn and D. Kroening, "Faster
//! linearizability checking via P-compositionality", FORTE 2015 (for whole objects this is the
//! locality of Herlihy and Wing, 1990).
//!
//! Two things are ours. An operation that fits now and can never change anything is put next
//! without looking at others, as every order with it later stays right with it now. And operations
//! with an unknown end are tried after all others, as they need not happen at all.

use super::counterexample::Counterexample;
use super::minimise::minimise;
use super::timeline::Timeline;
use super::verdict::{Verdict, Violation};
use super::visited::{Bits, Visited};
use crate::history::Operation;
use crate::model::{Model, OperationOf};
use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::time::{Duration, Instant};

/// How much work a check may be. Each key has the steps for itself; the time is for all.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Steps of the model. Each may need some hundred bytes.
    pub steps_max: u64,
    /// Time.
    pub time_max: Duration,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            steps_max: 5_000_000,
            time_max: Duration::from_secs(60),
        }
    }
}

/// Why a check came to no end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    /// It took too many steps.
    Steps,
    /// It took too long.
    Time,
}

/// What the search says of a history.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use = "a result that nobody looks at is no check"]
pub enum Linearizability<I, O> {
    /// There is such an order.
    Ok,
    /// There is none.
    Violation(Box<Counterexample<I, O>>),
    /// The budget is used up. This is no pass.
    Unknown {
        /// The first object that was not checked to the end.
        key: String,
        /// What was used up.
        limit: Limit,
    },
}

impl<I, O> Linearizability<I, O> {
    /// Whether there is such an order.
    pub fn is_ok(&self) -> bool {
        matches!(self, Self::Ok)
    }

    /// Whether there is none.
    pub fn is_violation(&self) -> bool {
        matches!(self, Self::Violation(_))
    }

    /// The same in words.
    pub fn verdict(&self) -> Verdict
    where
        I: Debug,
        O: Debug,
    {
        match self {
            Self::Ok => Verdict::Ok,
            Self::Violation(example) => Verdict::Violation(Violation {
                problems: vec![example.to_string()],
            }),
            Self::Unknown { .. } => Verdict::Unknown(self.to_string()),
        }
    }
}

impl<I: Debug, O: Debug> fmt::Display for Linearizability<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("linearizable"),
            Self::Violation(example) => write!(f, "{example}"),
            Self::Unknown { key, limit } => {
                let what = match limit {
                    Limit::Steps => "steps",
                    Limit::Time => "time",
                };
                write!(f, "not enough {what} to check the object {key:?}")
            }
        }
    }
}

/// Checks a history of several objects, each with its own key and all of the same model.
pub fn check<M: Model>(
    model: &M,
    history: &[OperationOf<M>],
    budget: Budget,
) -> Linearizability<M::Input, M::Output> {
    let mut objects: BTreeMap<&str, Vec<&OperationOf<M>>> = BTreeMap::new();
    for operation in history {
        let object = objects.entry(&operation.key).or_default();
        object.push(operation);
    }
    let deadline = Instant::now() + budget.time_max;
    let mut unknown = None;
    for (key, operations) in objects {
        let mut meter = Meter::new(budget.steps_max, deadline);
        match search(model, &operations, &mut meter) {
            Found::Order => {}
            Found::Contradiction => {
                let example = minimise(model, &operations, budget);
                return Linearizability::Violation(Box::new(example));
            }
            Found::Limit(limit) => {
                let key = key.to_owned();
                unknown.get_or_insert(Linearizability::Unknown { key, limit });
            }
        }
    }
    unknown.unwrap_or(Linearizability::Ok)
}

/// Counts the work.
#[derive(Debug)]
pub(super) struct Meter {
    steps_left: u64,
    deadline: Instant,
}

impl Meter {
    pub(super) fn new(steps_max: u64, deadline: Instant) -> Self {
        Self {
            steps_left: steps_max,
            deadline,
        }
    }

    fn step(&mut self) -> Result<(), Limit> {
        /// Steps between two looks at the clock.
        const STEPS_PER_LOOK: u64 = 1024;
        if self.steps_left.is_multiple_of(STEPS_PER_LOOK) && Instant::now() >= self.deadline {
            return Err(Limit::Time);
        }
        self.steps_left = self.steps_left.checked_sub(1).ok_or(Limit::Steps)?;
        Ok(())
    }
}

/// How a search ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    Order,
    Contradiction,
    Limit(Limit),
}

/// Searches an order of one object's operations.
pub(super) fn search<M: Model>(model: &M, history: &[&OperationOf<M>], meter: &mut Meter) -> Found {
    match Search::new(model, history).run(meter) {
        Ok(true) => Found::Order,
        Ok(false) => Found::Contradiction,
        Err(limit) => Found::Limit(limit),
    }
}

/// An operation that is put into the order.
#[derive(Clone, Copy, Debug)]
enum Move {
    Required(usize),
    Optional(usize),
}

/// A move, and the state after it.
type Choice<S> = (Move, S);

/// A place of the search: how it was reached, and what is still to be tried from it.
struct Frame<S> {
    reached_by: Option<Move>,
    choices: std::vec::IntoIter<Choice<S>>,
}

struct Search<'a, M: Model> {
    model: M,
    /// Operations that were answered.
    required: Vec<&'a OperationOf<M>>,
    /// Operations with an unknown end, in the order of their begins.
    optional: Vec<&'a OperationOf<M>>,
    timeline: Timeline,
    placed: Bits,
    happened: Bits,
    visited: Visited<M::State>,
}

impl<'a, M: Model> Search<'a, M> {
    fn new(model: &M, history: &[&'a OperationOf<M>]) -> Self {
        let mut operations: Vec<&OperationOf<M>> = history.to_vec();
        operations.retain(|operation| !operation.is_failed());
        operations.sort_by_key(|operation| operation.invoked.index);
        let (required, mut optional): (Vec<_>, Vec<_>) = operations
            .into_iter()
            .partition(|operation| operation.output().is_some());
        // Nobody heard the answer, and nothing changed: it tells nothing.
        optional.retain(|operation| !model.reads_only(&operation.input, None));
        Self {
            model: model.focus(history),
            timeline: Timeline::new(&required),
            placed: Bits::new(required.len()),
            happened: Bits::new(optional.len()),
            visited: Visited::new(),
            required,
            optional,
        }
    }

    fn run(&mut self, meter: &mut Meter) -> Result<bool, Limit> {
        let first = self.model.initial();
        let mut frames = vec![Frame {
            reached_by: None,
            choices: self.choices(&first, meter)?,
        }];
        while let Some(frame) = frames.last_mut() {
            if self.timeline.is_empty() {
                return Ok(true);
            }
            let Some((next, state)) = frame.choices.next() else {
                if let Some(Frame {
                    reached_by: Some(last),
                    ..
                }) = frames.pop()
                {
                    self.undo(last);
                }
                continue;
            };
            self.make(next);
            if self
                .visited
                .insert(&self.placed, &self.happened, state.clone())
            {
                frames.push(Frame {
                    reached_by: Some(next),
                    choices: self.choices(&state, meter)?,
                });
            } else {
                self.undo(next);
            }
        }
        Ok(false)
    }

    /// All operations that can be next in this state.
    fn choices(
        &self,
        state: &M::State,
        meter: &mut Meter,
    ) -> Result<std::vec::IntoIter<Choice<M::State>>, Limit> {
        let mut choices = Vec::new();
        let (front, first_end) = self.timeline.front();
        for place in front {
            meter.step()?;
            let Operation { input, .. } = self.required[place];
            let output = self.required[place].output();
            let next = self.model.step(state, input, output);
            if next.is_some() && self.model.reads_only(input, output) {
                return Ok(vec![(Move::Required(place), state.clone())].into_iter());
            }
            choices.extend(next.map(|next| (Move::Required(place), next)));
        }
        for (place, operation) in self.optional.iter().enumerate() {
            if operation.invoked.index > first_end {
                break;
            }
            if self.happened.contains(place) {
                continue;
            }
            meter.step()?;
            let next = self.model.step(state, &operation.input, None);
            // To do nothing now leaves it free to do something later.
            let next = next.filter(|next| next != state);
            choices.extend(next.map(|next| (Move::Optional(place), next)));
        }
        Ok(choices.into_iter())
    }

    fn make(&mut self, next: Move) {
        match next {
            Move::Required(place) => {
                self.timeline.take(place);
                self.placed.insert(place);
            }
            Move::Optional(place) => self.happened.insert(place),
        }
    }

    fn undo(&mut self, last: Move) {
        match last {
            Move::Required(place) => {
                self.timeline.put_back(place);
                self.placed.remove(place);
            }
            Move::Optional(place) => self.happened.remove(place),
        }
    }
}
