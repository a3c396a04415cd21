//! A list to which records are appended, and which is read as a whole. All reads must agree on one
//! order, in which each record is there once.

use super::{Model, OperationOf, Subjects};
use crate::history::Codec;
use serde_json::{Value, json};
use std::sync::Arc;

/// A list that is empty at first.
///
/// The longest list that anybody read is the order of its records: a list only grows, so every
/// explanation of the history has exactly this list at some moment. So the state is only how much
/// of it is there, and concurrent appends need no guessing.
#[derive(Clone, Default, Debug)]
pub struct AppendList {
    longest: Arc<[u64]>,
}

/// How much of the list is there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Grown {
    /// This many records of the longest list that was read.
    len: usize,
    /// And more, which nobody ever reads.
    beyond: bool,
}

/// What is asked of a list.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum AppendInput {
    /// Put this record at the end.
    Append(u64),
    /// All records.
    Read,
}

/// What a list answers.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum AppendOutput {
    /// It is at the end.
    Done,
    /// All records, in their order.
    Records(Vec<u64>),
}

impl Model for AppendList {
    type State = Grown;
    type Input = AppendInput;
    type Output = AppendOutput;

    fn initial(&self) -> Grown {
        Grown {
            len: 0,
            beyond: false,
        }
    }

    fn step(
        &self,
        state: &Grown,
        input: &AppendInput,
        output: Option<&AppendOutput>,
    ) -> Option<Grown> {
        match (input, output) {
            (AppendInput::Append(record), None | Some(AppendOutput::Done)) => {
                if self.longest.get(state.len) == Some(record) {
                    let len = state.len + 1;
                    return Some(Grown { len, ..*state });
                }
                // Nothing can get between the records that were read.
                let complete = state.len == self.longest.len();
                complete.then_some(Grown {
                    beyond: true,
                    ..*state
                })
            }
            (AppendInput::Read, Some(AppendOutput::Records(records))) => {
                let there = &self.longest[..state.len];
                (!state.beyond && records == there).then_some(*state)
            }
            (AppendInput::Read, None) => Some(*state),
            (AppendInput::Append(_) | AppendInput::Read, Some(_)) => None,
        }
    }

    fn focus(&self, history: &[&OperationOf<Self>]) -> Self {
        let reads = history.iter().filter_map(|operation| operation.output());
        let lists = reads.filter_map(|output| match output {
            AppendOutput::Records(records) => Some(records),
            AppendOutput::Done => None,
        });
        let longest = lists.max_by_key(|records| records.len());
        Self {
            longest: longest
                .map(|records| records.as_slice().into())
                .unwrap_or_default(),
        }
    }

    fn reads_only(&self, input: &AppendInput, _output: Option<&AppendOutput>) -> bool {
        *input == AppendInput::Read
    }

    fn subjects(&self, input: &AppendInput, output: Option<&AppendOutput>) -> Subjects {
        match (input, output) {
            (AppendInput::Append(record), _) => Subjects::one(record),
            (AppendInput::Read, Some(AppendOutput::Records(records))) => {
                Subjects::Some(records.iter().map(u64::to_string).collect())
            }
            (AppendInput::Read, _) => Subjects::Some(Vec::new()),
        }
    }
}

impl Codec for AppendInput {
    type Output = AppendOutput;

    fn f(&self) -> &'static str {
        match self {
            Self::Append(_) => "append",
            Self::Read => "read",
        }
    }

    fn argument(&self) -> Value {
        match self {
            Self::Append(record) => json!(record),
            Self::Read => Value::Null,
        }
    }

    fn answer(&self, output: &AppendOutput) -> Value {
        match output {
            AppendOutput::Done => self.argument(),
            AppendOutput::Records(records) => json!(records),
        }
    }

    fn decode(f: &str, argument: &Value) -> Option<Self> {
        match f {
            "append" => Some(Self::Append(argument.as_u64()?)),
            "read" => Some(Self::Read),
            _ => None,
        }
    }

    fn decode_answer(&self, answer: &Value) -> Option<AppendOutput> {
        match self {
            Self::Append(_) => (*answer == self.argument()).then_some(AppendOutput::Done),
            Self::Read => {
                let records: Option<_> = answer.as_array()?.iter().map(Value::as_u64).collect();
                Some(AppendOutput::Records(records?))
            }
        }
    }
}
