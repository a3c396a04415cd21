//! Processes of this machine, told apart for ever: a pid alone is given out again.

mod identity;

pub(crate) use identity::{Ending, ProcessId};
