//! `curlew load`: makes a volume of a dump, from a file or straight from a bucket. [`args`] says what
//! is wanted, [`bucket`] which backups there are, [`download`] brings one here, [`command`] loads it.

mod args;
mod bucket;
mod command;
mod download;
mod listing;

pub(crate) use args::LoadArgs;
pub(crate) use command::run;
