//! Conversions between `meta-core`'s words and the generated messages.
//!
//! `From<&word>` makes the message. [`Convert`] makes the word again and refuses what no peer of a
//! known version sends.

mod answer;
mod clone;
mod command;
mod compaction;
mod lock;
mod mirror;
mod operation;
mod path;
mod query;
mod quota;
mod record;
mod reply;
mod task;
mod trash;
mod types;

pub use answer::query_answer;
pub(crate) use record::encode as encode_record;
pub use types::refusal;

use crate::error::ConvertError;
use meta_core::name::Name;

/// A message from outside becomes a word of the engine.
pub trait Convert<T> {
    /// Checks and converts.
    ///
    /// # Errors
    /// [`ConvertError`] names the field that is missing, unknown or past a limit.
    fn convert(self) -> Result<T, ConvertError>;
}

/// A field that every version sends.
fn need<M: Convert<T>, T>(message: Option<M>, field: &'static str) -> Result<T, ConvertError> {
    message.ok_or(ConvertError::Missing(field))?.convert()
}

/// A field that may be absent.
fn maybe<M: Convert<T>, T>(message: Option<M>) -> Result<Option<T>, ConvertError> {
    message.map(Convert::convert).transpose()
}

/// A list of bounded length.
fn list<M: Convert<T>, T>(
    messages: Vec<M>,
    field: &'static str,
    max: usize,
) -> Result<Vec<T>, ConvertError> {
    within(messages.len() as u64, field, max as u64)?;
    messages.into_iter().map(Convert::convert).collect()
}

/// A list or bytes of bounded length, as they are.
fn bounded<T>(values: Vec<T>, field: &'static str, max: usize) -> Result<Vec<T>, ConvertError> {
    within(values.len() as u64, field, max as u64)?;
    Ok(values)
}

fn text(value: String, field: &'static str, max: usize) -> Result<String, ConvertError> {
    within(value.len() as u64, field, max as u64)?;
    Ok(value)
}

fn within(value: u64, field: &'static str, max: u64) -> Result<(), ConvertError> {
    if value > max {
        return Err(ConvertError::PastLimit { field, value, max });
    }
    Ok(())
}

/// A number that is narrower in the engine than on the wire.
fn narrow<W, N>(value: W, field: &'static str, max: N) -> Result<N, ConvertError>
where
    W: Copy + Into<u64> + TryInto<N>,
    N: Into<u64>,
{
    value.try_into().map_err(|_| ConvertError::PastLimit {
        field,
        value: value.into(),
        max: max.into(),
    })
}

fn sixteen(bytes: &[u8], field: &'static str) -> Result<[u8; 16], ConvertError> {
    let wrong = ConvertError::WrongLength {
        field,
        len: bytes.len(),
        expected: 16,
    };
    bytes.try_into().map_err(|_| wrong)
}

fn name(bytes: Vec<u8>, field: &'static str) -> Result<Name, ConvertError> {
    Name::new(bytes).map_err(|refusal| ConvertError::Name { field, refusal })
}

fn unknown(field: &'static str, number: impl Into<i64>) -> ConvertError {
    ConvertError::UnknownNumber {
        field,
        number: number.into(),
    }
}
