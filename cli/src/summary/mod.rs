//! `curlew summary`: where the bytes and files of a tree are, from the totals that directories have.

mod args;
mod biggest;
mod command;
mod report;
mod walk;

pub(crate) use args::SummaryArgs;
pub(crate) use command::run;
