//! Tests of the stored and sent encodings, from outside.

mod frozen;
mod hostile;
mod refusals;
mod round_trip;
mod words;
