//! One value that is read, written, and compared and set.

use super::{Model, Subjects};
use crate::history::Codec;
use serde_json::{Value, json};

/// A register.
#[derive(Clone, Default, Debug)]
pub struct Register {
    /// What it holds before the first write.
    pub initial: Option<u64>,
}

/// What is asked of a register.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum RegisterInput {
    /// What does it hold?
    Read,
    /// Put this in.
    Write(u64),
    /// Put `to` in if it holds `from`.
    CompareAndSet {
        /// What it must hold.
        from: u64,
        /// What it then holds.
        to: u64,
    },
}

/// What a register answers.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum RegisterOutput {
    /// It holds this; nothing before the first write.
    Value(Option<u64>),
    /// It was put in.
    Done,
    /// It holds something else, and still does.
    Refused,
}

impl Model for Register {
    type State = Option<u64>;
    type Input = RegisterInput;
    type Output = RegisterOutput;

    fn initial(&self) -> Option<u64> {
        self.initial
    }

    fn step(
        &self,
        state: &Option<u64>,
        input: &RegisterInput,
        output: Option<&RegisterOutput>,
    ) -> Option<Option<u64>> {
        use RegisterOutput::{Done, Refused, Value};
        match (input, output) {
            (RegisterInput::Read, None) => Some(*state),
            (RegisterInput::Read, Some(Value(value))) => (value == state).then_some(*state),
            (RegisterInput::Write(value), None | Some(Done)) => Some(Some(*value)),
            (RegisterInput::CompareAndSet { from, to }, _) => {
                let fits = *state == Some(*from);
                match output {
                    None => Some(if fits { Some(*to) } else { *state }),
                    Some(Done) => fits.then_some(Some(*to)),
                    Some(Refused) => (!fits).then_some(*state),
                    Some(Value(_)) => None,
                }
            }
            (RegisterInput::Read | RegisterInput::Write(_), Some(_)) => None,
        }
    }

    fn reads_only(&self, input: &RegisterInput, output: Option<&RegisterOutput>) -> bool {
        *input == RegisterInput::Read || output == Some(&RegisterOutput::Refused)
    }

    fn subjects(&self, input: &RegisterInput, output: Option<&RegisterOutput>) -> Subjects {
        match (input, output) {
            (RegisterInput::Write(value), _) => Subjects::one(value),
            (RegisterInput::Read, Some(RegisterOutput::Value(value))) => {
                Subjects::Some(value.iter().map(u64::to_string).collect())
            }
            (RegisterInput::CompareAndSet { from, to }, None | Some(RegisterOutput::Done)) => {
                Subjects::Some(vec![from.to_string(), to.to_string()])
            }
            // A refusal may be due to any other value.
            _ => Subjects::All,
        }
    }
}

impl Codec for RegisterInput {
    type Output = RegisterOutput;

    fn f(&self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write(_) => "write",
            Self::CompareAndSet { .. } => "cas",
        }
    }

    fn argument(&self) -> Value {
        match self {
            Self::Read => Value::Null,
            Self::Write(value) => json!(value),
            Self::CompareAndSet { from, to } => json!([from, to]),
        }
    }

    fn answer(&self, output: &RegisterOutput) -> Value {
        match output {
            RegisterOutput::Value(value) => json!(value),
            RegisterOutput::Done => self.argument(),
            RegisterOutput::Refused => json!("refused"),
        }
    }

    fn decode(f: &str, argument: &Value) -> Option<Self> {
        match f {
            "read" => Some(Self::Read),
            "write" => Some(Self::Write(argument.as_u64()?)),
            "cas" => {
                let [from, to] = argument.as_array()?.as_slice() else {
                    return None;
                };
                let (from, to) = (from.as_u64()?, to.as_u64()?);
                Some(Self::CompareAndSet { from, to })
            }
            _ => None,
        }
    }

    fn decode_answer(&self, answer: &Value) -> Option<RegisterOutput> {
        match self {
            Self::Read if answer.is_null() => Some(RegisterOutput::Value(None)),
            Self::Read => Some(RegisterOutput::Value(Some(answer.as_u64()?))),
            _ if answer == "refused" => Some(RegisterOutput::Refused),
            _ if *answer == self.argument() => Some(RegisterOutput::Done),
            _ => None,
        }
    }
}
