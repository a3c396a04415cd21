//! A contradiction, small enough to be looked at.

use crate::history::Operation;
use std::fmt::{self, Debug};

/// Operations of one object which no order explains.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Counterexample<I, O> {
    /// Which object.
    pub key: String,
    /// The operations, in the order of their begins. Ends after the contradiction are unknown here.
    pub operations: Vec<Operation<I, O>>,
    /// How many operations the object had.
    pub among: usize,
    /// Whether it was certainly made as small as it can be by leaving out operations without which
    /// the rest of a right history would be right.
    pub is_minimal: bool,
}

/// Columns of the picture, at most.
const COLUMNS_MAX: usize = 60;

impl<I: Debug, O: Debug> fmt::Display for Counterexample<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no order of these operations")?;
        if !self.key.is_empty() {
            write!(f, " on {}", self.key)?;
        }
        writeln!(
            f,
            " explains their answers ({} of {}{}):",
            self.operations.len(),
            self.among,
            if self.is_minimal {
                ""
            } else {
                "; perhaps more than needed"
            }
        )?;
        let moments = self.moments();
        for operation in &self.operations {
            self.write_line(f, operation, &moments)?;
        }
        Ok(())
    }
}

impl<I: Debug, O: Debug> Counterexample<I, O> {
    /// All begins and ends, sorted: the picture shows the order, not the lengths.
    fn moments(&self) -> Vec<u64> {
        let begins = self.operations.iter().map(|operation| operation.invoked);
        let ends = self.operations.iter().filter_map(Operation::ended);
        let mut moments: Vec<u64> = begins.chain(ends).map(|at| at.index).collect();
        moments.sort_unstable();
        moments.dedup();
        moments
    }

    fn write_line(
        &self,
        f: &mut fmt::Formatter<'_>,
        operation: &Operation<I, O>,
        moments: &[u64],
    ) -> fmt::Result {
        let per_moment = (COLUMNS_MAX / moments.len().max(1)).clamp(1, 3);
        let column = |index| moments.partition_point(|moment| *moment < index) * per_moment;
        let width = moments.len() * per_moment;
        let begin = column(operation.invoked.index);
        let (end, closing) = match operation.ended() {
            Some(at) => (column(at.index), '|'),
            None => (width, '?'),
        };
        let bar = "-".repeat(end.saturating_sub(begin + 1));
        let picture = format!("{}|{bar}{closing}", " ".repeat(begin));
        let Operation { process, input, .. } = operation;
        write!(f, "  {picture:<0$} p{process} ", width + 1)?;
        write!(f, "#{} {input:?}", operation.invoked.index)?;
        match (operation.output(), operation.is_failed()) {
            (Some(output), _) => write!(f, " -> {output:?}")?,
            (None, true) => write!(f, " -> failed")?,
            (None, false) => write!(f, " -> unknown")?,
        }
        let begin_ms = millis(operation.invoked.time_ns);
        match operation.ended() {
            Some(at) => writeln!(f, "  [{begin_ms} .. {} ms]", millis(at.time_ns)),
            None => writeln!(f, "  [{begin_ms} .. ms]"),
        }
    }
}

fn millis(time_ns: u64) -> String {
    format!("{}.{:03}", time_ns / 1_000_000, time_ns / 1_000 % 1_000)
}
