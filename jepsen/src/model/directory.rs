//! One directory as a set of names. Without listings the names are independent of each other: then
//! let the key of an operation be directory and name, and each name is checked alone.

use super::{Model, Subjects};
use crate::history::Codec;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A directory that is empty at first.
#[derive(Clone, Default, Debug)]
pub struct Directory;

/// What is asked of a directory.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum DirectoryInput {
    /// Make this name, which must not be there.
    Create(String),
    /// Take this name away.
    Unlink(String),
    /// Is this name there?
    Lookup(String),
    /// All names, at one moment.
    List,
}

/// What a directory answers.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum DirectoryOutput {
    /// It was made or taken away.
    Done,
    /// It was not made, for it is there.
    Exists,
    /// It was not taken away, for it is not there; or the answer to a lookup.
    Absent,
    /// The answer to a lookup.
    Present,
    /// All names, in any order.
    Names(Vec<String>),
}

impl Model for Directory {
    type State = BTreeSet<String>;
    type Input = DirectoryInput;
    type Output = DirectoryOutput;

    fn initial(&self) -> BTreeSet<String> {
        BTreeSet::new()
    }

    fn step(
        &self,
        state: &BTreeSet<String>,
        input: &DirectoryInput,
        output: Option<&DirectoryOutput>,
    ) -> Option<BTreeSet<String>> {
        use DirectoryOutput::{Absent, Done, Exists, Names, Present};
        let same = |right: bool| right.then(|| state.clone());
        match (input, output) {
            (DirectoryInput::Create(name), None | Some(Done)) => {
                let mut next = state.clone();
                let fresh = next.insert(name.clone());
                (fresh || output.is_none()).then_some(next)
            }
            (DirectoryInput::Unlink(name), None | Some(Done)) => {
                let mut next = state.clone();
                let there = next.remove(name);
                (there || output.is_none()).then_some(next)
            }
            (DirectoryInput::Create(name), Some(Exists))
            | (DirectoryInput::Lookup(name), Some(Present)) => same(state.contains(name)),
            (DirectoryInput::Unlink(name) | DirectoryInput::Lookup(name), Some(Absent)) => {
                same(!state.contains(name))
            }
            (DirectoryInput::List, Some(Names(names))) => {
                // As many as there are, and all of them there: none can be listed twice.
                let mut seen = BTreeSet::new();
                let right = names
                    .iter()
                    .all(|name| state.contains(name) && seen.insert(name));
                same(right && seen.len() == state.len())
            }
            (DirectoryInput::Lookup(_) | DirectoryInput::List, None) => same(true),
            _ => None,
        }
    }

    fn reads_only(&self, input: &DirectoryInput, output: Option<&DirectoryOutput>) -> bool {
        match input {
            DirectoryInput::Lookup(_) | DirectoryInput::List => true,
            DirectoryInput::Create(_) | DirectoryInput::Unlink(_) => {
                output.is_some_and(|output| *output != DirectoryOutput::Done)
            }
        }
    }

    fn subjects(&self, input: &DirectoryInput, output: Option<&DirectoryOutput>) -> Subjects {
        match (input, output) {
            (
                DirectoryInput::Create(name)
                | DirectoryInput::Unlink(name)
                | DirectoryInput::Lookup(name),
                _,
            ) => Subjects::one(name),
            // Names that it misses are right once nobody else speaks of them.
            (DirectoryInput::List, Some(DirectoryOutput::Names(names))) => {
                Subjects::Some(names.clone())
            }
            (DirectoryInput::List, _) => Subjects::Some(Vec::new()),
        }
    }
}

impl Codec for DirectoryInput {
    type Output = DirectoryOutput;

    fn f(&self) -> &'static str {
        match self {
            Self::Create(_) => "create",
            Self::Unlink(_) => "unlink",
            Self::Lookup(_) => "lookup",
            Self::List => "list",
        }
    }

    fn argument(&self) -> Value {
        match self {
            Self::Create(name) | Self::Unlink(name) | Self::Lookup(name) => json!(name),
            Self::List => Value::Null,
        }
    }

    fn answer(&self, output: &DirectoryOutput) -> Value {
        match output {
            DirectoryOutput::Done => json!("done"),
            DirectoryOutput::Exists => json!("exists"),
            DirectoryOutput::Absent => json!("absent"),
            DirectoryOutput::Present => json!("present"),
            DirectoryOutput::Names(names) => json!(names),
        }
    }

    fn decode(f: &str, argument: &Value) -> Option<Self> {
        let name = || argument.as_str().map(str::to_owned);
        match f {
            "create" => Some(Self::Create(name()?)),
            "unlink" => Some(Self::Unlink(name()?)),
            "lookup" => Some(Self::Lookup(name()?)),
            "list" => Some(Self::List),
            _ => None,
        }
    }

    fn decode_answer(&self, answer: &Value) -> Option<DirectoryOutput> {
        match (self, answer.as_str()) {
            (Self::List, _) => {
                let names = answer.as_array()?.iter();
                let names: Option<_> = names.map(|name| name.as_str().map(str::to_owned)).collect();
                Some(DirectoryOutput::Names(names?))
            }
            (Self::Create(_) | Self::Unlink(_), Some("done")) => Some(DirectoryOutput::Done),
            (Self::Create(_), Some("exists")) => Some(DirectoryOutput::Exists),
            (Self::Unlink(_) | Self::Lookup(_), Some("absent")) => Some(DirectoryOutput::Absent),
            (Self::Lookup(_), Some("present")) => Some(DirectoryOutput::Present),
            _ => None,
        }
    }
}
