//! The log of a run: one entry when an operation begins, one when it ends.
//!
//! The order of the entries is the order in which things happened: an operation that begins after
//! another one's end has a later entry. A [`Recorder`] makes such a log, [`write_json_lines`] and
//! [`write_edn`] put it into a file, and [`pair`] makes [`Operation`]s of it, which checkers read.
//!
//! An operation with an unknown end stays open for ever: it may take effect at any later time, or
//! never. Its process goes on under a new number, since a process does one thing at a time.

mod codec;
mod entry;
mod operation;
mod pairing;
mod recorder;
mod text;

pub use codec::Codec;
pub use entry::{Entry, Kind};
pub use operation::{At, End, Operation};
pub use pairing::{HistoryError, pair, validate};
pub use recorder::{Process, Recorder, Token};
pub use text::{read_json_lines, write_edn, write_json_lines};
