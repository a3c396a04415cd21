//! A lock made of one name: who creates it exclusively holds it, and removes it to let go.

use super::{Model, Subjects};
use crate::history::Codec;
use serde_json::{Value, json};

/// A lock that is free at first.
#[derive(Clone, Default, Debug)]
pub struct Mutex;

/// What is asked of a lock. A holder is best a number of one attempt, not of a client: then a
/// counterexample can leave out whole turns.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum MutexInput {
    /// Take it, for this holder.
    Acquire(u64),
    /// Let it go, as this holder.
    Release(u64),
    /// Who holds it?
    Look,
}

/// What a lock answers.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum MutexOutput {
    /// Taken, or let go.
    Done,
    /// Not taken, for somebody holds it; not let go, for somebody else or nobody holds it.
    Refused,
    /// Who holds it.
    Holder(Option<u64>),
}

impl Model for Mutex {
    type State = Option<u64>;
    type Input = MutexInput;
    type Output = MutexOutput;

    fn initial(&self) -> Option<u64> {
        None
    }

    fn step(
        &self,
        state: &Option<u64>,
        input: &MutexInput,
        output: Option<&MutexOutput>,
    ) -> Option<Option<u64>> {
        let (possible, next) = match input {
            MutexInput::Acquire(holder) => (state.is_none(), Some(*holder)),
            MutexInput::Release(holder) => (*state == Some(*holder), None),
            MutexInput::Look => {
                let right = match output {
                    None => true,
                    Some(MutexOutput::Holder(holder)) => holder == state,
                    Some(MutexOutput::Done | MutexOutput::Refused) => false,
                };
                return right.then_some(*state);
            }
        };
        match output {
            None if possible => Some(next),
            None => Some(*state),
            Some(MutexOutput::Done) => possible.then_some(next),
            Some(MutexOutput::Refused) => (!possible).then_some(*state),
            Some(MutexOutput::Holder(_)) => None,
        }
    }

    fn reads_only(&self, input: &MutexInput, output: Option<&MutexOutput>) -> bool {
        *input == MutexInput::Look || output == Some(&MutexOutput::Refused)
    }

    fn subjects(&self, input: &MutexInput, output: Option<&MutexOutput>) -> Subjects {
        match (input, output) {
            (
                MutexInput::Acquire(holder) | MutexInput::Release(holder),
                None | Some(MutexOutput::Done),
            ) => Subjects::one(holder),
            (MutexInput::Look, Some(MutexOutput::Holder(Some(holder)))) => Subjects::one(holder),
            (MutexInput::Look, Some(MutexOutput::Holder(None))) => Subjects::Some(Vec::new()),
            _ => Subjects::All,
        }
    }
}

impl Codec for MutexInput {
    type Output = MutexOutput;

    fn f(&self) -> &'static str {
        match self {
            Self::Acquire(_) => "acquire",
            Self::Release(_) => "release",
            Self::Look => "look",
        }
    }

    fn argument(&self) -> Value {
        match self {
            Self::Acquire(holder) | Self::Release(holder) => json!(holder),
            Self::Look => Value::Null,
        }
    }

    fn answer(&self, output: &MutexOutput) -> Value {
        match output {
            MutexOutput::Done => self.argument(),
            MutexOutput::Refused => json!("refused"),
            MutexOutput::Holder(holder) => json!(holder),
        }
    }

    fn decode(f: &str, argument: &Value) -> Option<Self> {
        match f {
            "acquire" => Some(Self::Acquire(argument.as_u64()?)),
            "release" => Some(Self::Release(argument.as_u64()?)),
            "look" => Some(Self::Look),
            _ => None,
        }
    }

    fn decode_answer(&self, answer: &Value) -> Option<MutexOutput> {
        match self {
            Self::Look if answer.is_null() => Some(MutexOutput::Holder(None)),
            Self::Look => Some(MutexOutput::Holder(Some(answer.as_u64()?))),
            _ if answer == "refused" => Some(MutexOutput::Refused),
            _ if *answer == self.argument() => Some(MutexOutput::Done),
            _ => None,
        }
    }
}
