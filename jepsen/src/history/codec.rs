//! How typed operations become values in a log, and the way back.

use serde_json::Value;

/// The argument of an operation, which knows how its answer looks.
pub trait Codec: Sized {
    /// The answer.
    type Output;

    /// The name of the operation.
    fn f(&self) -> &'static str;

    /// The argument as a value.
    fn argument(&self) -> Value;

    /// The answer as a value.
    fn answer(&self, output: &Self::Output) -> Value;

    /// The operation of that name, if the argument fits it.
    fn decode(f: &str, argument: &Value) -> Option<Self>;

    /// The answer, if the value fits this operation.
    fn decode_answer(&self, answer: &Value) -> Option<Self::Output>;
}
