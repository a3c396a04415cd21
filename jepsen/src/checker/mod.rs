//! What is said of a history after a run.
//!
//! [`wgl`] searches for an order that explains all answers, for any [`Model`](crate::model::Model).
//! The others know one workload each, need no search, and so take histories of any length.

pub mod changelog;
pub mod elements;
pub mod second;
pub mod session;
pub mod set_full;
pub mod tree;
pub mod wgl;

mod counterexample;
mod minimise;
mod timeline;
mod verdict;
mod visited;

pub use counterexample::Counterexample;
pub use verdict::{Verdict, Violation};
