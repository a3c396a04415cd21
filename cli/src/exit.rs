//! How a command ends, as scripts see it: 0 done and nothing wrong, 1 failed or found something
//! wrong, 2 wrong usage.

use std::fmt;
use std::process::ExitCode;

/// What a command that ran to its end found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Finding {
    /// Nothing is wrong.
    Fine,
    /// Something is wrong; the command has said what.
    Wrong,
}

impl From<Finding> for ExitCode {
    fn from(finding: Finding) -> Self {
        match finding {
            Finding::Fine => Self::SUCCESS,
            Finding::Wrong => Self::from(1),
        }
    }
}

/// What the user typed makes no sense. Found after argument parsing, it ends like a parse error.
#[derive(Debug)]
pub(crate) struct Usage(String);

impl Usage {
    pub(crate) fn error(message: impl Into<String>) -> anyhow::Error {
        anyhow::Error::new(Self(message.into()))
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// The exit status for a command that did not run to its end.
pub(crate) fn code_of(error: &anyhow::Error) -> ExitCode {
    if error.is::<Usage>() {
        ExitCode::from(2)
    } else {
        ExitCode::from(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_errors_end_with_2_and_others_with_1() {
        let usage = Usage::error("no such option");
        assert_eq!(code_of(&usage), ExitCode::from(2));
        assert_eq!(code_of(&usage.context("while mounting")), ExitCode::from(2));
        assert_eq!(code_of(&anyhow::anyhow!("disk is gone")), ExitCode::from(1));
    }
}
