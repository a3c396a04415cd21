//! `curlew restore`: puts back what was removed; `curlew trash`: lists it, and empties the trash.

mod args;
mod command;
mod listing;
mod report;

pub(crate) use args::{RestoreArgs, TrashArgs};
pub(crate) use command::run;
pub(crate) use listing::run as run_trash;
