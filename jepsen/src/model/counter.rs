//! A number that is counted up and down, each time with the number that it then is as the answer.

use super::Model;
use crate::history::Codec;
use serde_json::{Value, json};

/// A counter.
#[derive(Clone, Default, Debug)]
pub struct Counter {
    /// What it is before the first change.
    pub initial: i64,
}

/// What is asked of a counter.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum CounterInput {
    /// Count by so many, up or down.
    Add(i64),
    /// What is it?
    Read,
}

impl Model for Counter {
    type State = i64;
    type Input = CounterInput;
    /// What it is afterwards.
    type Output = i64;

    fn initial(&self) -> i64 {
        self.initial
    }

    fn step(&self, state: &i64, input: &CounterInput, output: Option<&i64>) -> Option<i64> {
        let after = match input {
            CounterInput::Add(by) => state.checked_add(*by)?,
            CounterInput::Read => *state,
        };
        output.is_none_or(|told| *told == after).then_some(after)
    }

    fn reads_only(&self, input: &CounterInput, _output: Option<&i64>) -> bool {
        *input == CounterInput::Read
    }
}

impl Codec for CounterInput {
    type Output = i64;

    fn f(&self) -> &'static str {
        match self {
            Self::Add(_) => "add",
            Self::Read => "read",
        }
    }

    fn argument(&self) -> Value {
        match self {
            Self::Add(by) => json!(by),
            Self::Read => Value::Null,
        }
    }

    fn answer(&self, output: &i64) -> Value {
        json!(output)
    }

    fn decode(f: &str, argument: &Value) -> Option<Self> {
        match f {
            "add" => Some(Self::Add(argument.as_i64()?)),
            "read" => Some(Self::Read),
            _ => None,
        }
    }

    fn decode_answer(&self, answer: &Value) -> Option<i64> {
        answer.as_i64()
    }
}
