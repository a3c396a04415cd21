//! Why a message was refused.

use meta_core::outcome::Refusal;

/// A message that no peer of a known version makes. Nothing of it is used.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// A field that every version sends is not there, or a choice of none.
    #[error("{0} is missing; the sender is damaged or newer than this build")]
    Missing(&'static str),
    /// A number that stands for nothing here.
    #[error(
        "{number} stands for nothing in {field}; the sender is damaged or newer than this build"
    )]
    UnknownNumber {
        /// Which field.
        field: &'static str,
        /// What it held.
        number: i64,
    },
    /// A value or a length past its limit.
    #[error("{field} is {value}, past its limit of {max}")]
    PastLimit {
        /// Which field.
        field: &'static str,
        /// What it held.
        value: u64,
        /// The most it may hold.
        max: u64,
    },
    /// A field of fixed length has another.
    #[error("{field} has {len} bytes instead of {expected}")]
    WrongLength {
        /// Which field.
        field: &'static str,
        /// Its length.
        len: usize,
        /// The length it must have.
        expected: usize,
    },
    /// A name that no directory can hold.
    #[error("{field} is no name: {refusal}")]
    Name {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        refusal: Refusal,
    },
    /// The first byte tells a version that this build does not read.
    #[error("version {0} is not known here; upgrade this node")]
    Version(u8),
    /// There is not even a version byte.
    #[error("no bytes")]
    Empty,
    /// The bytes are no protobuf message.
    #[error("not a message: {0}")]
    Wire(#[from] prost::DecodeError),
}

impl ConvertError {
    /// The kind of error in fixed words, for errors that carry no more.
    pub const fn why(&self) -> &'static str {
        match self {
            Self::Missing(_) => "a field is missing",
            Self::UnknownNumber { .. } => "an unknown number",
            Self::PastLimit { .. } => "a value past its limit",
            Self::WrongLength { .. } => "a field of the wrong length",
            Self::Name { .. } => "a name that cannot be",
            Self::Version(_) => "an unknown version",
            Self::Empty => "no bytes",
            Self::Wire(_) => "not a message",
        }
    }
}
