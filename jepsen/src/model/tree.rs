//! Several directories, among which a fixed number of files move. A file has one name at any
//! moment, so that its id stands for it.

use super::{Model, Subjects};
use crate::history::Codec;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Directories with files in them.
#[derive(Clone, Default, Debug)]
pub struct Tree {
    /// The directory of each id at first.
    pub initial: BTreeMap<u64, u64>,
}

/// What is asked of the tree.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum TreeInput {
    /// Rename a file from one directory to another.
    Move {
        /// The file.
        id: u64,
        /// Where it must be.
        from: u64,
        /// Where it then is.
        to: u64,
    },
    /// Let two files change places, wherever they are.
    Exchange {
        /// One file.
        one: u64,
        /// The other.
        two: u64,
    },
    /// All directories, at one moment.
    Snapshot,
}

/// What is answered.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum TreeOutput {
    /// Moved.
    Done,
    /// Not moved, for it is not there.
    Absent,
    /// Each directory with the ids in it, as they were listed.
    Directories(Vec<(u64, Vec<u64>)>),
}

impl Model for Tree {
    type State = BTreeMap<u64, u64>;
    type Input = TreeInput;
    type Output = TreeOutput;

    fn initial(&self) -> BTreeMap<u64, u64> {
        self.initial.clone()
    }

    fn step(
        &self,
        state: &BTreeMap<u64, u64>,
        input: &TreeInput,
        output: Option<&TreeOutput>,
    ) -> Option<BTreeMap<u64, u64>> {
        let (possible, next) = match input {
            TreeInput::Move { id, from, to } => {
                let mut next = state.clone();
                next.insert(*id, *to);
                (state.get(id) == Some(from), next)
            }
            TreeInput::Exchange { one, two } => exchanged(state, *one, *two),
            TreeInput::Snapshot => {
                let right = match output {
                    None => true,
                    Some(TreeOutput::Directories(directories)) => shows(directories, state),
                    Some(TreeOutput::Done | TreeOutput::Absent) => false,
                };
                return right.then(|| state.clone());
            }
        };
        match output {
            None if possible => Some(next),
            None => Some(state.clone()),
            Some(TreeOutput::Done) => possible.then_some(next),
            Some(TreeOutput::Absent) => (!possible).then(|| state.clone()),
            Some(TreeOutput::Directories(_)) => None,
        }
    }

    fn reads_only(&self, input: &TreeInput, output: Option<&TreeOutput>) -> bool {
        *input == TreeInput::Snapshot || output == Some(&TreeOutput::Absent)
    }

    fn subjects(&self, input: &TreeInput, _output: Option<&TreeOutput>) -> Subjects {
        match input {
            TreeInput::Move { id, .. } => Subjects::one(id),
            TreeInput::Exchange { one, two } => {
                Subjects::Some(vec![one.to_string(), two.to_string()])
            }
            TreeInput::Snapshot => Subjects::All,
        }
    }
}

fn exchanged(state: &BTreeMap<u64, u64>, one: u64, two: u64) -> (bool, BTreeMap<u64, u64>) {
    let mut next = state.clone();
    let (Some(of_one), Some(of_two)) = (state.get(&one), state.get(&two)) else {
        return (false, next);
    };
    next.insert(one, *of_two);
    next.insert(two, *of_one);
    (true, next)
}

/// Whether the listings show each id once, and where it is.
fn shows(directories: &[(u64, Vec<u64>)], state: &BTreeMap<u64, u64>) -> bool {
    let mut seen = BTreeMap::new();
    for (directory, ids) in directories {
        for id in ids {
            if seen.insert(*id, *directory).is_some() {
                return false;
            }
        }
    }
    seen == *state
}

impl Codec for TreeInput {
    type Output = TreeOutput;

    fn f(&self) -> &'static str {
        match self {
            Self::Move { .. } => "move",
            Self::Exchange { .. } => "exchange",
            Self::Snapshot => "snapshot",
        }
    }

    fn argument(&self) -> Value {
        match self {
            Self::Move { id, from, to } => json!([id, from, to]),
            Self::Exchange { one, two } => json!([one, two]),
            Self::Snapshot => Value::Null,
        }
    }

    fn answer(&self, output: &TreeOutput) -> Value {
        match output {
            TreeOutput::Done => self.argument(),
            TreeOutput::Absent => json!("absent"),
            TreeOutput::Directories(directories) => json!(directories),
        }
    }

    fn decode(f: &str, argument: &Value) -> Option<Self> {
        let numbers = || -> Option<Vec<u64>> {
            let values = argument.as_array()?.iter();
            values.map(Value::as_u64).collect()
        };
        match f {
            "move" => match *numbers()?.as_slice() {
                [id, from, to] => Some(Self::Move { id, from, to }),
                _ => None,
            },
            "exchange" => match *numbers()?.as_slice() {
                [one, two] => Some(Self::Exchange { one, two }),
                _ => None,
            },
            "snapshot" => Some(Self::Snapshot),
            _ => None,
        }
    }

    fn decode_answer(&self, answer: &Value) -> Option<TreeOutput> {
        match self {
            Self::Snapshot => {
                let directories = serde_json::from_value(answer.clone()).ok()?;
                Some(TreeOutput::Directories(directories))
            }
            _ if answer == "absent" => Some(TreeOutput::Absent),
            _ if *answer == self.argument() => Some(TreeOutput::Done),
            _ => None,
        }
    }
}
