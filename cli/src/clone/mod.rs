//! `curlew clone`: copies whole trees in the metadata engine, without their data being read.

mod args;
mod command;
mod place;

pub(crate) use args::CloneArgs;
pub(crate) use command::run;
