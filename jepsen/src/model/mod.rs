//! Objects as they are when only one client uses them: what [`crate::checker::wgl`] compares with.

mod append;
mod counter;
mod directory;
mod mutex;
mod register;
mod tree;

pub use append::{AppendInput, AppendList, AppendOutput};
pub use counter::{Counter, CounterInput};
pub use directory::{Directory, DirectoryInput, DirectoryOutput};
pub use mutex::{Mutex, MutexInput, MutexOutput};
pub use register::{Register, RegisterInput, RegisterOutput};
pub use tree::{Tree, TreeInput, TreeOutput};

use crate::history::Operation;
use std::fmt::Debug;
use std::hash::Hash;

/// The operations of a model.
pub type OperationOf<M> = Operation<<M as Model>::Input, <M as Model>::Output>;

/// An object, and what its operations do to it one after the other.
pub trait Model: Clone {
    /// All that later answers depend on.
    type State: Clone + Eq + Hash + Debug + Send + Sync;
    /// What is asked.
    type Input: Clone + Debug + Send + Sync;
    /// What is answered.
    type Output: Clone + Debug + Send + Sync;

    /// The object before the first operation.
    fn initial(&self) -> Self::State;

    /// The object after an operation, or nothing if the object in this state does not give that
    /// answer. Without an `output` the answer is unknown and the object did what it does.
    fn step(
        &self,
        state: &Self::State,
        input: &Self::Input,
        output: Option<&Self::Output>,
    ) -> Option<Self::State>;

    /// The same model with what a whole history tells about the states that can occur. It may
    /// refuse more steps than before, but none that an explanation of this history needs.
    #[must_use]
    fn focus(&self, _history: &[&OperationOf<Self>]) -> Self {
        self.clone()
    }

    /// Whether this leaves the object as it is in every state that gives this answer. `true` for an
    /// operation that changes something makes the checker blind; `false` only makes it slow.
    fn reads_only(&self, _input: &Self::Input, _output: Option<&Self::Output>) -> bool {
        false
    }

    /// What an operation speaks of; a counterexample leaves out all operations on a subject
    /// together, or none.
    fn subjects(&self, _input: &Self::Input, _output: Option<&Self::Output>) -> Subjects {
        Subjects::All
    }
}

/// What an operation speaks of. If all operations that name a subject are taken out of a
/// history that has an explanation, the rest must have one too.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Subjects {
    /// It may depend on everything.
    All,
    /// It depends on these, and no others can change its answer.
    Some(Vec<String>),
}

impl Subjects {
    /// Just one.
    pub fn one(subject: impl ToString) -> Self {
        Self::Some(vec![subject.to_string()])
    }
}
