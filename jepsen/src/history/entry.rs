//! One line of the log.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;

/// What an entry tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// An operation begins.
    Invoke,
    /// It ended, and its effect is there.
    Ok,
    /// It ended, and certainly has no effect.
    Fail,
    /// Nobody knows whether it has, or will have, an effect.
    Info,
}

impl Kind {
    /// The word for it in a file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Invoke => "invoke",
            Self::Ok => "ok",
            Self::Fail => "fail",
            Self::Info => "info",
        }
    }
}

/// One event of one process.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Its place in the log.
    pub index: u64,
    /// Who acts. Never used again after an unknown end.
    pub process: u64,
    /// What happens.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The name of the operation.
    pub f: Cow<'static, str>,
    /// Which of several independent objects; empty if there is only one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key: String,
    /// The argument, and in an ok entry the answer.
    pub value: Value,
    /// Nanoseconds since the log's begin.
    #[serde(rename = "time")]
    pub time_ns: u64,
    /// Why it failed, or why its end is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
