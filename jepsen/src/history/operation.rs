//! An operation with its begin and its end.

/// A moment of a run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct At {
    /// The entry of the log. This, not the time, says what came first.
    pub index: u64,
    /// Nanoseconds since the log's begin.
    pub time_ns: u64,
}

/// How an operation ended.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum End<O> {
    /// It was done, with this answer.
    Ok {
        /// When the answer came.
        at: At,
        /// The answer.
        output: O,
    },
    /// It was certainly not done.
    Fail {
        /// When that was known.
        at: At,
    },
    /// Nobody knows; it may also be done later.
    Info,
}

/// One operation of one process.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Operation<I, O> {
    /// Who asked.
    pub process: u64,
    /// Which of several independent objects.
    pub key: String,
    /// What was asked.
    pub input: I,
    /// When.
    pub invoked: At,
    /// How it ended.
    pub end: End<O>,
}

impl<I, O> Operation<I, O> {
    /// The answer, if there was one.
    pub fn output(&self) -> Option<&O> {
        match &self.end {
            End::Ok { output, .. } => Some(output),
            End::Fail { .. } | End::Info => None,
        }
    }

    /// When it ended, if that is known.
    pub fn ended(&self) -> Option<At> {
        match &self.end {
            End::Ok { at, .. } | End::Fail { at } => Some(*at),
            End::Info => None,
        }
    }

    /// Whether it certainly has no effect.
    pub fn is_failed(&self) -> bool {
        matches!(self.end, End::Fail { .. })
    }

    /// Whether this had ended when `other` began.
    pub fn precedes<J, P>(&self, other: &Operation<J, P>) -> bool {
        self.ended()
            .is_some_and(|end| end.index < other.invoked.index)
    }

    /// The same operation with another end, for a checker that knows less or more of it.
    #[must_use]
    pub fn with_end<P>(self, end: End<P>) -> Operation<I, P> {
        Operation {
            process: self.process,
            key: self.key,
            input: self.input,
            invoked: self.invoked,
            end,
        }
    }
}
