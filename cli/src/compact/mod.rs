//! `curlew compact`: few slices in the place of many, in all files of a tree.

mod args;
mod chunks;
mod command;
mod place;
mod report;
mod tally;
mod volume;
mod walk;
mod work;

pub(crate) use args::CompactArgs;
pub(crate) use command::run;
