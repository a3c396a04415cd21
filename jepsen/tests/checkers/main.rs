//! The checkers against histories that are right, wrong, or anything; and against two other
//! checkers, one from the registry and one that tries all orders.

mod brute;
mod corpus;
mod mutation;
mod objects;
mod peer;
mod random;
mod simulate;
mod valid;
