//! What an operation gave.

use super::facts::{Content, Facts};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;

/// What came of an operation on one side, without what is that side's own affair.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Outcome {
    Done,
    Number(i64),
    /// How many bytes, their hash, and the first of them that is not as the one before.
    Bytes(usize, u64, String),
    Text(String),
    Facts(Facts),
    Names(Vec<(String, char)>),
    Content(Content),
    Xattr(usize, u64),
    Failed(Failure),
    /// There is nothing open that it could be done to, or it was not to be done here.
    Nothing,
    /// Wrong whatever the other side says.
    Wrong(String),
}

/// An error's number.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failure(pub(super) i32);

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", io::Error::from_raw_os_error(self.0))
    }
}

impl Outcome {
    /// The outcome of a call.
    pub(super) fn of(result: io::Result<Self>) -> Self {
        result.unwrap_or_else(|error| match error.raw_os_error() {
            Some(number) => Self::Failed(Failure(number)),
            None => Self::Wrong(format!("an error without a number: {error}")),
        })
    }

    /// Bytes that were read.
    pub(super) fn bytes(bytes: &[u8]) -> Self {
        let runs = bytes.chunk_by(|one, other| one == other).take(6);
        let runs: Vec<String> = runs
            .map(|run| format!("{}*{:#x}", run.len(), run[0]))
            .collect();
        Self::Bytes(bytes.len(), super::facts::hash(bytes), runs.join(" "))
    }

    /// In which kinds it is counted.
    pub(super) fn kind(&self) -> String {
        match self {
            Self::Failed(failure) => format!("{failure:?}"),
            Self::Nothing => "nothing to do".to_owned(),
            _ => "ok".to_owned(),
        }
    }
}
