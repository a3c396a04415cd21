//! The three answers of a checker.

use std::fmt;

/// What a checker says. Only `Ok` is a pass.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use = "a verdict that nobody looks at is no check"]
pub enum Verdict {
    /// Nothing is wrong.
    Ok,
    /// Something is wrong.
    Violation(Violation),
    /// It cannot be said; with the reason.
    Unknown(String),
}

/// What is wrong, in words. Never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// One sentence each.
    pub problems: Vec<String>,
}

impl Verdict {
    /// `Ok` if there is no problem.
    pub fn of(problems: Vec<String>) -> Self {
        if problems.is_empty() {
            Self::Ok
        } else {
            Self::Violation(Violation { problems })
        }
    }

    /// Whether the history passes.
    pub fn is_ok(&self) -> bool {
        matches!(self, Self::Ok)
    }

    /// Whether something is wrong.
    pub fn is_violation(&self) -> bool {
        matches!(self, Self::Violation(_))
    }

    /// Both together: a violation counts more than not knowing, and that more than a pass.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Violation(mut one), Self::Violation(two)) => {
                one.problems.extend(two.problems);
                Self::Violation(one)
            }
            (violation @ Self::Violation(_), _) | (_, violation @ Self::Violation(_)) => violation,
            (unknown @ Self::Unknown(_), _) | (_, unknown @ Self::Unknown(_)) => unknown,
            (Self::Ok, Self::Ok) => Self::Ok,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("ok"),
            Self::Violation(violation) => {
                f.write_str("violation")?;
                for problem in &violation.problems {
                    write!(f, "\n- {problem}")?;
                }
                Ok(())
            }
            Self::Unknown(reason) => write!(f, "unknown: {reason}"),
        }
    }
}
