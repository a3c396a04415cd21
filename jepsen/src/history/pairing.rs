//! From the entries of a log to operations. A log that cannot have come from honest clients is
//! refused: a checker would say nonsense of it.

use super::codec::Codec;
use super::entry::{Entry, Kind};
use super::operation::{At, End, Operation};
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// What is wrong with a log.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// The entries are not in their order.
    #[error("entry {index} comes after entry {last}")]
    IndexBack {
        /// The later one in the file.
        index: u64,
        /// The one before.
        last: u64,
    },
    /// The clock went back.
    #[error("entry {index} has time {time_ns}, the one before {last_ns}")]
    TimeBack {
        /// The entry.
        index: u64,
        /// Its time.
        time_ns: u64,
        /// The time before.
        last_ns: u64,
    },
    /// Something ended that never began.
    #[error("entry {index} ends an operation of process {process}, which has none open")]
    EndWithoutBegin {
        /// The entry.
        index: u64,
        /// The process.
        process: u64,
    },
    /// A process began something while something else of it was open.
    #[error("entry {index} begins a second operation of process {process}")]
    TwoOpen {
        /// The entry.
        index: u64,
        /// The process.
        process: u64,
    },
    /// A process went on after an unknown end.
    #[error("entry {index} is of process {process}, whose last operation has an unknown end")]
    ProcessReused {
        /// The entry.
        index: u64,
        /// The process.
        process: u64,
    },
    /// The end belongs to another operation than the begin.
    #[error("entry {index} ends another operation than entry {begin} began")]
    OtherOperation {
        /// The end.
        index: u64,
        /// The begin.
        begin: u64,
    },
    /// The value does not fit the operation.
    #[error("entry {index}: {f} with {value} is no operation of this workload")]
    Undecodable {
        /// The entry.
        index: u64,
        /// The operation.
        f: String,
        /// The value.
        value: String,
    },
    /// A line of the file is no entry.
    #[error("line {line} is no entry")]
    Line {
        /// Which line, from 1.
        line: usize,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The file cannot be read or written.
    #[error("cannot read or write the log")]
    Io(#[from] std::io::Error),
}

/// A begin and its end, if it has one.
struct Pair<'a> {
    begin: &'a Entry,
    end: Option<&'a Entry>,
}

/// Which operation of each process is open.
#[derive(Default)]
struct Pairing<'a> {
    pairs: Vec<Pair<'a>>,
    open: BTreeMap<u64, usize>,
    gone: BTreeSet<u64>,
    last: Option<&'a Entry>,
}

impl<'a> Pairing<'a> {
    fn add(&mut self, entry: &'a Entry) -> Result<(), HistoryError> {
        self.check_order(entry)?;
        self.last = Some(entry);
        match entry.kind {
            Kind::Invoke => self.begin(entry),
            Kind::Ok | Kind::Fail | Kind::Info => self.end(entry),
        }
    }

    fn check_order(&self, entry: &Entry) -> Result<(), HistoryError> {
        let Some(last) = self.last else {
            return Ok(());
        };
        let index = entry.index;
        if index <= last.index {
            let last = last.index;
            return Err(HistoryError::IndexBack { index, last });
        }
        if entry.time_ns < last.time_ns {
            return Err(HistoryError::TimeBack {
                index,
                time_ns: entry.time_ns,
                last_ns: last.time_ns,
            });
        }
        Ok(())
    }

    fn begin(&mut self, entry: &'a Entry) -> Result<(), HistoryError> {
        let (index, process) = (entry.index, entry.process);
        if self.gone.contains(&process) {
            return Err(HistoryError::ProcessReused { index, process });
        }
        if self.open.insert(process, self.pairs.len()).is_some() {
            return Err(HistoryError::TwoOpen { index, process });
        }
        self.pairs.push(Pair {
            begin: entry,
            end: None,
        });
        Ok(())
    }

    fn end(&mut self, entry: &'a Entry) -> Result<(), HistoryError> {
        let (index, process) = (entry.index, entry.process);
        let Some(place) = self.open.remove(&process) else {
            return Err(HistoryError::EndWithoutBegin { index, process });
        };
        let pair = &mut self.pairs[place];
        if pair.begin.f != entry.f || pair.begin.key != entry.key {
            let begin = pair.begin.index;
            return Err(HistoryError::OtherOperation { index, begin });
        }
        pair.end = Some(entry);
        if entry.kind == Kind::Info {
            self.gone.insert(process);
        }
        Ok(())
    }
}

fn pairs(entries: &[Entry]) -> Result<Vec<Pair<'_>>, HistoryError> {
    let mut pairing = Pairing::default();
    for entry in entries {
        pairing.add(entry)?;
    }
    Ok(pairing.pairs)
}

/// Whether begins and ends fit together.
///
/// # Errors
/// When they do not.
pub fn validate(entries: &[Entry]) -> Result<(), HistoryError> {
    pairs(entries).map(|_| ())
}

/// The operations of a log, in the order of their begins. One that never ended has an unknown end.
///
/// # Errors
/// When begins and ends do not fit together, or a value is not of this workload.
pub fn pair<I: Codec>(entries: &[Entry]) -> Result<Vec<Operation<I, I::Output>>, HistoryError> {
    pairs(entries)?.iter().map(decode).collect()
}

fn decode<I: Codec>(pair: &Pair<'_>) -> Result<Operation<I, I::Output>, HistoryError> {
    let begin = pair.begin;
    let input = I::decode(&begin.f, &begin.value).ok_or_else(|| undecodable(begin))?;
    let end = match pair.end {
        Some(end) if end.kind == Kind::Ok => End::Ok {
            at: at(end),
            output: input
                .decode_answer(&end.value)
                .ok_or_else(|| undecodable(end))?,
        },
        Some(end) if end.kind == Kind::Fail => End::Fail { at: at(end) },
        Some(_) | None => End::Info,
    };
    Ok(Operation {
        process: begin.process,
        key: begin.key.clone(),
        input,
        invoked: at(begin),
        end,
    })
}

fn at(entry: &Entry) -> At {
    At {
        index: entry.index,
        time_ns: entry.time_ns,
    }
}

fn undecodable(entry: &Entry) -> HistoryError {
    HistoryError::Undecodable {
        index: entry.index,
        f: entry.f.to_string(),
        value: entry.value.to_string(),
    }
}
